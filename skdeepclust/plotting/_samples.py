"""Images that a generative model draws of each cluster."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state, check_scalar

from skdeepclust.plotting._images import (
    LINE,
    check_estimator,
    draw_grid,
    import_pyplot,
    label_width,
    named_clusters,
    panels,
    to_unit_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ClusterSamplesDisplay:
    """Generated images of each cluster, one row a cluster.

    Black and white are the lowest and the highest value shown. The row of a cluster that the
    generator makes no image of, which happens with CatGAN, stays blank.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    images : ndarray of shape (n_clusters, n_images, height, width) or \
            (n_clusters, n_images, height, width, 3)
        The images of each row, in the units of `X`; NaN where a row is blank.
    cluster_names : sequence of str, default=None
        Name of each cluster. None: "cluster 0", "cluster 1" and so on.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the images are drawn.
    ax_ : matplotlib Axes
        Axes of all images.
    images_ : ndarray of shape (n_clusters, n_images)
        The AxesImage of each image; None where a row is blank.

    See Also
    --------
    ClusterMontageDisplay : Images of the data that belong to each cluster.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import InfoGANClustering
    >>> from skdeepclust.plotting import ClusterSamplesDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> infogan = InfoGANClustering(n_clusters=3, n_init=1, max_epochs=5, random_state=0)
    >>> display = ClusterSamplesDisplay.from_estimator(infogan.fit(images))
    >>> display.images_.shape
    (3, 10)
    """

    def __init__(self, images: np.ndarray, *, cluster_names: Sequence[str] | None = None) -> None:
        self.images = images
        self.cluster_names = cluster_names

    def plot(self, *, cmap: str = "gray", ax: Axes | None = None) -> ClusterSamplesDisplay:
        """Draw the images.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure of a fitting size.

        Returns
        -------
        self : ClusterSamplesDisplay
        """
        n_clusters, n_images, height, width = self.images.shape[:4]
        names = named_clusters(self.cluster_names, n_clusters)
        tile = 0.55
        row = max(tile * height / width, LINE)
        size = tile * n_images + label_width(names), row * n_clusters
        with nullcontext([ax]) if ax is not None else panels(None, self, *size) as (axes,):
            self.images_ = draw_grid(
                axes,
                to_unit_range(self.images),
                cmap=cmap,
                row_labels=names,
                row_height=LINE / tile,
            )
        self.ax_, self.figure_ = axes, axes.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_images: int = 10,
        cluster_names: Sequence[str] | None = None,
        random_state: Any = 0,
        cmap: str = "gray",
        ax: Axes | None = None,
    ) -> ClusterSamplesDisplay:
        """Draw images that an estimator generates.

        Parameters
        ----------
        estimator : estimator instance
            A deep clusterer with ``sample(n_samples, cluster=)``, fitted on images.
        n_images : int, default=10
            Images of each cluster. Those of a column are made of the same noise, if the generator
            is told the cluster: of one manner of writing, say.
        cluster_names : sequence of str, default=None
            Name of each cluster. None: "cluster 0", "cluster 1" and so on.
        random_state : int, RandomState instance or None, default=0
            Decides the noise. None: another noise, and other images, with each call.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure of a fitting size.

        Returns
        -------
        display : ClusterSamplesDisplay

        Raises
        ------
        ValueError
            If `estimator` can't draw samples of a cluster or was not fitted on images, or an
            argument is not valid.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "sample")
        check_estimator(estimator, "sample", on_images=True)
        if "cluster" not in inspect.signature(estimator.sample).parameters:
            raise ValueError(
                f"estimator must have `sample` with cluster=, as VaDEClustering and "
                f"InfoGANClustering have; got {estimator!r}."
            )
        check_scalar(n_images, "n_images", Integral, min_val=1)
        n_clusters = estimator.n_clusters_
        if estimator.input_shape_[0] not in (1, 3):
            raise ValueError(
                "estimator must be fitted on images with 1 or 3 channels; got "
                f"input_shape_={estimator.input_shape_}."
            )
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        images = np.full((n_clusters, n_images, *estimator.input_shape_), np.nan)
        for cluster, row in enumerate(images):
            try:
                drawn = estimator.sample(n_images, cluster=cluster, random_state=seed)
            except ValueError:  # of a cluster that CatGAN's generator makes nothing of
                continue
            row[:] = np.reshape(drawn, row.shape)
        images = images[:, :, 0] if images.shape[2] == 1 else np.moveaxis(images, 2, -1)
        return cls(images, cluster_names=cluster_names).plot(cmap=cmap, ax=ax)
