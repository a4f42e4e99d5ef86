"""What lies between two images in the latent space of an auto-encoder."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from skdeepclust.plotting._images import (
    as_numpy,
    check_estimator,
    check_images,
    draw_grid,
    estimator_images,
    import_pyplot,
    panels,
    to_unit_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class InterpolationDisplay:
    """Pairs of images and what is decoded on the way from the one to the other.

    One row a pair, as in figure 4 of [1]_: the first image, what an auto-encoder decodes at
    points on the line between the latents of the two, and the second image. Black and white are
    the lowest and the highest value of the original images; decoded values beyond them are cut
    off.

    Use :meth:`from_estimator` or :meth:`from_arrays` to create one.

    Parameters
    ----------
    first : ndarray of shape (n_pairs, height, width) or (n_pairs, height, width, 3)
        The first image of each pair.
    decoded : ndarray of shape (n_pairs, n_steps, height, width) or \
            (n_pairs, n_steps, height, width, 3)
        What is decoded between the two, in the units of `first` and `last`.
    last : ndarray of shape (n_pairs, height, width) or (n_pairs, height, width, 3)
        The second image of each pair.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the images are drawn.
    ax_ : matplotlib Axes
        Axes of all images.
    images_ : ndarray of shape (n_pairs, n_steps + 2)
        The AxesImage of each image.

    See Also
    --------
    EmbeddingDisplay : Where samples lie in the latent space.

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import AutoencoderClustering
    >>> from skdeepclust.plotting import InterpolationDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> model = AutoencoderClustering(n_clusters=3, n_init=1, max_epochs=2, random_state=0)
    >>> display = InterpolationDisplay.from_estimator(model.fit(images), images[:4], images[4:8])
    >>> display.images_.shape
    (4, 9)
    """

    def __init__(self, first: np.ndarray, decoded: np.ndarray, last: np.ndarray) -> None:
        self.first = first
        self.decoded = decoded
        self.last = last

    def plot(self, *, cmap: str = "gray", ax: Axes | None = None) -> InterpolationDisplay:
        """Draw the images.

        Parameters
        ----------
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure of a fitting size.

        Returns
        -------
        self : InterpolationDisplay
        """
        originals = np.stack([self.first, self.last], axis=1)
        limits = originals.min(), originals.max()
        grid = np.concatenate([originals[:, :1], self.decoded, originals[:, 1:]], axis=1)
        n_pairs, n_columns, height, width = grid.shape[:4]
        tile = 0.6
        size = tile * (n_columns + 1), tile * n_pairs * height / width + 0.4
        with nullcontext([ax]) if ax is not None else panels(None, self, *size) as (axes,):
            self.images_ = draw_grid(
                axes,
                to_unit_range(grid, limits),
                cmap=cmap,
                breaks=(1, n_columns - 1),
            )
            lefts = np.array([image.get_extent()[0] for image in self.images_[0]])
            places = [lefts[0], lefts[1:-1].mean(), lefts[-1]]
            axes.set_xticks(np.add(places, width / 2), ["original", "decoded", "original"])
        self.ax_, self.figure_ = axes, axes.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X1: Any,
        X2: Any,
        *,
        n_steps: int = 7,
        cmap: str = "gray",
        ax: Axes | None = None,
    ) -> InterpolationDisplay:
        """Draw the interpolations of an estimator between pairs of images.

        Parameters
        ----------
        estimator : estimator instance
            A deep clusterer with ``interpolate``, fitted on images.
        X1, X2 : array-like or Tensor
            As many images each, in any layout that `estimator` takes: ``X1[i]`` and ``X2[i]``
            are a pair.
        n_steps : int, default=7
            Decoded images a pair, at least 2; the first and last are the reconstructions of
            the pair.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure of a fitting size.

        Returns
        -------
        display : InterpolationDisplay

        Raises
        ------
        ValueError
            If `estimator` has no ``interpolate`` or was not fitted on images, or an argument is
            not valid.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "interpolate", on_images=True)
        first, last = estimator_images(estimator, X1, "X1"), estimator_images(estimator, X2, "X2")
        decoded = estimator.interpolate(X1, X2, n_steps=n_steps)
        decoded = decoded.reshape(-1, *estimator.input_shape_)
        return cls._from_images(first, check_images(decoded, "decoded"), last, cmap, ax)

    @classmethod
    def from_arrays(
        cls, X1: Any, decoded: Any, X2: Any, *, cmap: str = "gray", ax: Axes | None = None
    ) -> InterpolationDisplay:
        """Draw interpolations that are at hand.

        Parameters
        ----------
        X1, X2 : array-like of shape (n_pairs, height, width) or \
                (n_pairs, channels, height, width)
            The images of each pair, with 1 or 3 channels.
        decoded : array-like of shape (n_pairs, n_steps, height, width) or \
                (n_pairs, n_steps, channels, height, width)
            Images between the two of a pair.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure of a fitting size.

        Returns
        -------
        display : InterpolationDisplay

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from skdeepclust.plotting import InterpolationDisplay
        >>> X1, X2 = load_digits().images[:4], load_digits().images[4:8]
        >>> decoded = np.linspace(X1, X2, 5, axis=1)  # in pixels, not in a latent space
        >>> InterpolationDisplay.from_arrays(X1, decoded, X2).images_.shape
        (4, 7)
        """
        import_pyplot(cls)
        first, last = check_images(X1, "X1"), check_images(X2, "X2")
        decoded = np.asarray(as_numpy(decoded))
        if decoded.ndim not in (4, 5) or len(decoded) != len(first):
            raise ValueError(
                f"decoded must hold images for each of the {len(first)} pairs, of shape (n_pairs, "
                "n_steps, height, width) or (n_pairs, n_steps, channels, height, width); got an "
                f"array of shape {decoded.shape}."
            )
        flat = check_images(decoded.reshape(-1, *decoded.shape[2:]), "decoded")
        return cls._from_images(first, flat, last, cmap, ax)

    @classmethod
    def _from_images(
        cls, first: np.ndarray, decoded: np.ndarray, last: np.ndarray, cmap: str, ax: Axes | None
    ) -> InterpolationDisplay:
        for name, images in (("X2", last), ("decoded", decoded)):
            if images.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"{name} must hold images of the shape of those in X1, {first.shape[1:]} with "
                    f"channels last; got {images.shape[1:]}."
                )
        if len(last) != len(first):
            raise ValueError(
                f"X1 and X2 must hold as many images each; got {len(first)} and {len(last)}."
            )
        decoded = decoded.reshape(len(first), -1, *first.shape[1:])
        return cls(first, decoded, last).plot(cmap=cmap, ax=ax)
