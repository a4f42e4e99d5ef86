"""Montage of the images that a clustering is most and least sure of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skdeepclust.plotting._images import (
    TWO_LINES,
    EstimatorImages,
    check_estimator,
    check_images,
    cluster_labels,
    draw_grid,
    import_pyplot,
    label_width,
    most_and_least,
    panels,
    to_unit_range,
)

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase


class ClusterMontageDisplay:
    """The most and the least confident images of each cluster, one row a cluster.

    An image belongs to its most probable cluster, and that probability is the confidence. It
    falls along a row: on the left the most confident images, on the right the least
    confident ones, the last of which is the least confident of all. No image is shown twice;
    a cluster with too few of them leaves places blank.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one.

    Parameters
    ----------
    images : ndarray of shape (n_clusters, 2 * n_images, height, width) or \
            (n_clusters, 2 * n_images, height, width, 3)
        The images of each row, in the units of `X`; NaN where a place is blank.
    indices : ndarray of shape (n_clusters, 2 * n_images), int
        Where the images are in `X`; -1 where a place is blank.
    sizes : ndarray of shape (n_clusters,), int
        Number of samples in each cluster.
    cluster_names : sequence of str, default=None
        Name of each cluster. None: "cluster 0", "cluster 1" and so on.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the montage is drawn.
    axes_ : ndarray of shape (2,)
        Axes of the most and of the least confident images.
    images_ : ndarray of shape (n_clusters, 2 * n_images)
        The AxesImage of each image; None where a place is blank.

    See Also
    --------
    ClusterStatisticsDisplay : Mean and spread of the images of each cluster.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import STDACClustering
    >>> from skdeepclust.plotting import ClusterMontageDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> st_dac = STDACClustering(n_clusters=3, n_init=1, max_epochs=2, random_state=0)
    >>> display = ClusterMontageDisplay.from_estimator(st_dac.fit(images), images, n_images=5)
    >>> display.images_.shape
    (3, 10)
    """

    def __init__(
        self,
        images: np.ndarray,
        indices: np.ndarray,
        sizes: np.ndarray,
        *,
        cluster_names: Sequence[str] | None = None,
    ) -> None:
        self.images = images
        self.indices = indices
        self.sizes = sizes
        self.cluster_names = cluster_names

    def plot(
        self, *, cmap: str = "gray", figure: FigureBase | None = None
    ) -> ClusterMontageDisplay:
        """Draw the montage.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        self : ClusterMontageDisplay
        """
        n_clusters, n_columns, height, width = self.images.shape[:4]
        labels = cluster_labels(self.cluster_names, self.sizes, "image")
        tile = 0.55
        row = max(tile * height / width, TWO_LINES)
        size = tile * n_columns + label_width(labels), row * n_clusters + 0.4
        most, least = np.split(to_unit_range(self.images), 2, axis=1)
        with panels(figure, self, *size, ncols=2) as (left, right):
            self.images_ = np.hstack(
                [
                    draw_grid(
                        left, most, cmap=cmap, row_labels=labels, row_height=TWO_LINES / tile
                    ),
                    draw_grid(right, least, cmap=cmap, row_height=TWO_LINES / tile),
                ]
            )
            left.set_title("most confident", fontsize=9)
            right.set_title("least confident", fontsize=9)
        self.axes_ = np.array([left, right])
        self.figure_ = left.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_images: int = 8,
        cluster_names: Sequence[str] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> ClusterMontageDisplay:
        """Draw a montage of the clusters that an estimator predicts.

        Parameters
        ----------
        estimator : estimator instance
            A deep clusterer fitted on images.
        X : array-like or Tensor
            Images, in any layout that `estimator` takes.
        n_images : int, default=8
            How many of the most confident images, and how many of the least confident ones.
        cluster_names : sequence of str, default=None
            Name of each cluster. None: "cluster 0", "cluster 1" and so on.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : ClusterMontageDisplay

        Raises
        ------
        ValueError
            If `estimator` has no ``predict_proba`` or was not fitted on images, or an argument is
            not valid.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "predict_proba", on_images=True)
        images = EstimatorImages(estimator, X)
        return cls._from_images(
            images, estimator.predict_proba(X), n_images, cluster_names, cmap, figure
        )

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        probabilities: Any,
        *,
        n_images: int = 8,
        cluster_names: Sequence[str] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> ClusterMontageDisplay:
        """Draw a montage of the clusters that probabilities or labels give.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images with 1 or 3 channels.
        probabilities : array-like of shape (n_samples, n_clusters) or (n_samples,)
            Probability of each cluster for each sample; or labels, of any clusterer, of which -1 is
            in no cluster. The first and the last images of each cluster are drawn of these.
        n_images : int, default=8
            How many of the most confident images, and how many of the least confident ones.
        cluster_names : sequence of str, default=None
            Name of each cluster. None: "cluster 0", "cluster 1" and so on.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : ClusterMontageDisplay

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.mixture import GaussianMixture
        >>> from skdeepclust.plotting import ClusterMontageDisplay
        >>> X, images = load_digits().data, load_digits().images
        >>> mixture = GaussianMixture(10, covariance_type="spherical", random_state=0)
        >>> probabilities = mixture.fit(X).predict_proba(X)
        >>> display = ClusterMontageDisplay.from_predictions(images, probabilities)
        >>> display.images_.shape
        (10, 16)
        """
        import_pyplot(cls)
        images = check_images(X, "X")
        return cls._from_images(images, probabilities, n_images, cluster_names, cmap, figure)

    @classmethod
    def _from_images(
        cls,
        images: np.ndarray | EstimatorImages,
        probabilities: Any,
        n_images: int,
        cluster_names: Sequence[str] | None,
        cmap: str,
        figure: FigureBase | None,
    ) -> ClusterMontageDisplay:
        indices, sizes = most_and_least(len(images), probabilities, n_images)
        shown = images[indices]
        shown[indices < 0] = np.nan
        return cls(shown, indices, sizes, cluster_names=cluster_names).plot(
            cmap=cmap, figure=figure
        )
