"""Mean and spread of the images of each cluster."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skdeepclust.plotting._images import (
    TWO_LINES,
    EstimatorImages,
    check_estimator,
    check_images,
    check_labels,
    draw_grid,
    import_pyplot,
    named_clusters,
    named_labels,
    panels,
    part_of,
    to_unit_range,
    transformed_images,
)

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

PART = 2**22  # values of images that are in memory at once


class ClusterStatisticsDisplay:
    """Mean, standard deviation and variance of each cluster's images, pixel by pixel.

    One column a cluster, and for each statistic a row of the original images and one of what
    the first spatial transformer makes of them, as in figure 5 of [1]_. Transformers that
    bring images of a cluster to a common pose show in sharper means and thinner edges of the
    standard deviation. The two rows of a statistic share their scale of grey.

    Use :meth:`from_estimator` or :meth:`from_arrays` to create one.

    Parameters
    ----------
    statistics : dict of str to ndarray of shape (2, n_clusters, height, width) or \
            (2, n_clusters, height, width, 3)
        For each statistic, by its name, the original and the transformed images' values; mean
        and standard deviation in the units of the images, the variance in their square.
    cluster_names : sequence of str, default=None
        Name of each cluster, the title of its column. None: "cluster 0", "cluster 1" and so on.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the images are drawn.
    axes_ : ndarray of shape (n_statistics,)
        Axes of each statistic.
    images_ : ndarray of shape (n_statistics, 2, n_clusters)
        The AxesImage of each image.

    See Also
    --------
    SpatialTransformerDisplay : Single images before and after the spatial transformer.

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import STDACClustering
    >>> from skdeepclust.plotting import ClusterStatisticsDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> st_dac = STDACClustering(n_clusters=3, n_init=1, max_epochs=2, random_state=0)
    >>> display = ClusterStatisticsDisplay.from_estimator(st_dac.fit(images), images)
    >>> list(display.statistics)
    ['mean', 'std', 'variance']
    """

    def __init__(
        self, statistics: dict[str, np.ndarray], *, cluster_names: Sequence[str] | None = None
    ) -> None:
        self.statistics = statistics
        self.cluster_names = cluster_names

    def plot(
        self, *, cmap: str = "gray", figure: FigureBase | None = None
    ) -> ClusterStatisticsDisplay:
        """Draw the statistics.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        self : ClusterStatisticsDisplay
        """
        n_statistics = len(self.statistics)
        _, n_clusters, height, width = next(iter(self.statistics.values())).shape[:4]
        tile = 0.65
        row = max(tile * height / width, TWO_LINES)
        size = tile * n_clusters + 1, row * 2 * n_statistics + 0.6
        names = named_clusters(self.cluster_names, n_clusters)
        titles = [textwrap.fill(name, 11, break_on_hyphens=False) for name in names]
        artists: list[np.ndarray] = []
        with panels(figure, self, *size, nrows=n_statistics) as self.axes_:
            for ax, (name, grid) in zip(self.axes_, self.statistics.items(), strict=True):
                artists.append(
                    draw_grid(
                        ax,
                        to_unit_range(grid),
                        cmap=cmap,
                        row_labels=["original", "transformed"],
                        column_labels=() if artists else titles,
                        row_height=TWO_LINES / tile,
                    )
                )
                ax.set_ylabel(name, fontsize=9)
        self.images_ = np.stack(artists)
        self.figure_ = self.axes_[0].figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        cluster_names: Sequence[str] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> ClusterStatisticsDisplay:
        """Draw the statistics before and after the first spatial transformer of an estimator.

        Parameters
        ----------
        estimator : estimator instance
            A deep clusterer with ``spatial_transform``, fitted on images.
        X : array-like or Tensor
            Images, in any layout that `estimator` takes.
        y : array-like of shape (n_samples,), default=None
            Classes, each with a column. None: the clusters that `estimator` predicts; empty ones
            have no column.
        cluster_names : sequence of str, default=None
            Name of each cluster; where `y` has numbers, of the classes 0, 1 and so on. None:
            "cluster 0", "cluster 1" and so on; classes are named as they are in `y`.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : ClusterStatisticsDisplay

        Raises
        ------
        ValueError
            If `estimator` has no ``spatial_transform``, was not fitted on images or its network
            does not begin with a spatial transformer, or an argument is not valid.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "spatial_transform", on_images=True)
        images = EstimatorImages(estimator, X)
        kind, labels = "class", y
        if y is None:
            kind, labels = "cluster", estimator.predict(X)
            cluster_names = named_clusters(cluster_names, estimator.n_clusters_)  # empty ones, too
        labels = check_labels(labels, len(images), "y")

        def pair(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            return images[rows], transformed_images(estimator, part_of(X, rows))

        size = math.prod(estimator.input_shape_)
        return cls._from_parts(pair, size, labels, cluster_names, kind).plot(
            cmap=cmap, figure=figure
        )

    @classmethod
    def from_arrays(
        cls,
        original: Any,
        transformed: Any,
        labels: Any,
        *,
        cluster_names: Sequence[str] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> ClusterStatisticsDisplay:
        """Draw the statistics of images that are at hand.

        Parameters
        ----------
        original : array-like of shape (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images with 1 or 3 channels.
        transformed : array-like of shape (n_samples, height, width) or \
                (n_samples, channels, height, width)
            The same after a transformation, of the same size.
        labels : array-like of shape (n_samples,)
            Which images go together: numbers of clusters, of which -1 is the outliers, or names.
        cluster_names : sequence of str, default=None
            Names of the labels 0, 1 and so on. None: "cluster 0", "cluster 1" and so on; labels
            that are no numbers are names themselves.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : ClusterStatisticsDisplay

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skdeepclust.plotting import ClusterStatisticsDisplay
        >>> images, y = load_digits().images, load_digits().target
        >>> mirrored = images[:, :, ::-1]
        >>> display = ClusterStatisticsDisplay.from_arrays(images, mirrored, y)
        >>> display.statistics["variance"].shape
        (2, 10, 8, 8)
        """
        import_pyplot(cls)
        original = check_images(original, "original")
        transformed = check_images(transformed, "transformed")
        if transformed.shape != original.shape:
            raise ValueError(
                "transformed must have the shape of original (with channels last, "
                f"{original.shape}); got {transformed.shape}."
            )
        labels = check_labels(labels, len(original), "labels")

        def pair(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            return original[rows], transformed[rows]

        size = math.prod(original.shape[1:])
        return cls._from_parts(pair, size, labels, cluster_names, "cluster").plot(
            cmap=cmap, figure=figure
        )

    @classmethod
    def _from_parts(
        cls,
        pair: Callable[[slice], tuple[np.ndarray, np.ndarray]],
        size: int,
        labels: np.ndarray,
        cluster_names: Sequence[str] | None,
        kind: str,
    ) -> ClusterStatisticsDisplay:
        """Go through what `pair` gives, original and transformed images of `size` values."""
        clusters, labels = np.unique(labels, return_inverse=True)
        names = named_labels(clusters, cluster_names, kind)
        counts = np.zeros(len(clusters))
        mean, squares = np.zeros(1), np.zeros(1)  # about the mean
        step = max(1, PART // size)
        for start in range(0, len(labels), step):
            rows = slice(start, start + step)
            both = np.stack(pair(rows)).astype(np.float64, copy=False)
            if start == 0:
                shape = (2, len(clusters), *both.shape[2:])
                mean, squares = np.zeros(shape), np.zeros(shape)
            for k in np.unique(labels[rows]):
                # Chan et al. (1983): what is far from 0 keeps its digits
                group = both[:, labels[rows] == k]
                n = group.shape[1]
                group_mean = group.mean(1)
                apart = group_mean - mean[:, k]
                counts[k] += n
                mean[:, k] += apart * n / counts[k]
                group -= group_mean[:, None]
                squares[:, k] += np.square(group, out=group).sum(1)
                squares[:, k] += apart**2 * n * (counts[k] - n) / counts[k]
        variance = squares / counts.reshape(-1, *[1] * (mean.ndim - 2))
        statistics = {"mean": mean, "std": np.sqrt(variance), "variance": variance}
        return cls(statistics, cluster_names=names)
