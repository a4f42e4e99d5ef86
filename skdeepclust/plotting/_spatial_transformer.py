"""Images before and after a spatial transformer."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_scalar

from skdeepclust.plotting._images import (
    EstimatorImages,
    as_numpy,
    check_estimator,
    check_images,
    draw_grid,
    import_pyplot,
    panels,
    part_of,
    to_unit_range,
    transformed_images,
)

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase


class SpatialTransformerDisplay:
    """Images before and after the first spatial transformer of a network.

    One row an image and one column a stage, as in figure 4 of [1]_: the image itself, then
    what the spatial transformer makes of it.

    Use :meth:`from_estimator` to create one.

    Parameters
    ----------
    stages : dict of str to ndarray of shape (n_images, height, width) or \
            (n_images, height, width, 3)
        The images of each column by its title, all in the same units.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the images are drawn.
    axes_ : ndarray of shape (n_stages,)
        Axes of each stage.
    images_ : ndarray of shape (n_images, n_stages)
        The AxesImage of each image.

    See Also
    --------
    ClusterStatisticsDisplay : Mean and spread of the images of each cluster.

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import STDACClustering
    >>> from skdeepclust.plotting import SpatialTransformerDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> st_dac = STDACClustering(n_clusters=3, n_init=1, max_epochs=1, random_state=0)
    >>> stages = {"after 1 epoch": st_dac.fit(images).spatial_transform(images)}
    >>> st_dac = st_dac.set_params(max_epochs=2).fit(images)
    >>> display = SpatialTransformerDisplay.from_estimator(st_dac, images, stages=stages)
    >>> list(display.stages)
    ['original', 'after 1 epoch', 'after training']
    """

    def __init__(self, stages: dict[str, np.ndarray]) -> None:
        self.stages = stages

    def plot(
        self, *, cmap: str = "gray", figure: FigureBase | None = None
    ) -> SpatialTransformerDisplay:
        """Draw the images.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        self : SpatialTransformerDisplay
        """
        columns = to_unit_range(np.stack(list(self.stages.values())))
        n_stages, n_images, height, width = columns.shape[:4]
        tile = 0.8
        size = tile * n_stages, tile * n_images * height / width + 0.3
        artists: list[np.ndarray] = []
        with panels(figure, self, *size, ncols=n_stages) as self.axes_:
            for ax, title, column in zip(self.axes_, self.stages, columns, strict=True):
                artists.append(draw_grid(ax, column[:, None], cmap=cmap))
                ax.set_title(textwrap.fill(title, 14), fontsize=8)
        self.images_ = np.hstack(artists)
        self.figure_ = self.axes_[0].figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_images: int = 8,
        stages: Mapping[str, Any] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> SpatialTransformerDisplay:
        """Draw images before and after the first spatial transformer of an estimator.

        Parameters
        ----------
        estimator : estimator instance
            A deep clusterer with ``spatial_transform``, fitted on images.
        X : array-like or Tensor
            Images, in any layout that `estimator` takes.
        n_images : int, default=8
            How many images to show: the first ones of `X`, or all if it has fewer.
        stages : mapping of str to array-like, default=None
            Columns between the first and the last, by their titles: what
            ``spatial_transform(X)`` gave at other times, such as after one epoch, in the units
            of `X`.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : SpatialTransformerDisplay

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
        check_scalar(n_images, "n_images", Integral, min_val=1)
        check_estimator(estimator, "spatial_transform", on_images=True)
        original = EstimatorImages(estimator, X)
        columns = {"original": original[:n_images]}
        shape = (len(original), *columns["original"].shape[1:])
        for title, images in (stages or {}).items():
            images = as_numpy(images)
            if np.shape(images)[1:] == estimator._sample_shape:  # perhaps flat, as X was
                images = np.reshape(images, (-1, *estimator.input_shape_))
            images = check_images(images, f"stages[{title!r}]")
            if images.shape != shape:
                raise ValueError(
                    f"stages[{title!r}] must have the shape of X with channels last, "
                    f"{shape}; got {images.shape}."
                )
            columns[title] = images[:n_images]
        first = part_of(X, slice(n_images))
        columns["after training"] = transformed_images(estimator, first)
        return cls(columns).plot(cmap=cmap, figure=figure)
