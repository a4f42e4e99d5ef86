"""The tree in which clusters merge, with images of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.cluster.hierarchy import dendrogram

from skdeepclust.base import BaseDeepEstimator
from skdeepclust.hierarchy import cut_tree, merge_tree
from skdeepclust.plotting._embedding import cluster_colour
from skdeepclust.plotting._images import (
    TWO_LINES,
    EstimatorImages,
    as_numpy,
    check_estimator,
    check_images,
    cluster_labels,
    draw_grid,
    import_pyplot,
    label_width,
    lightened,
    most_and_least,
    muted,
    panels,
    to_unit_range,
)

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

TILE = 0.5  # inches that an image is wide
WIDTH = 7  # of the tree beside images, in heights of these


class MergeTreeDisplay:
    """The tree in which clusters merge, with the most confident images of each at its leaves.

    Clusters that are confused much merge far to the right, near their images. A dotted line marks
    the height of what independent clusters share by chance.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create one.

    Parameters
    ----------
    tree : ndarray of shape (n_clusters - 1, 4)
        What :func:`~skdeepclust.merge_tree` returns, of two clusters or more.
    sizes : ndarray of shape (n_clusters,), int
        Number of samples in each cluster.
    images : ndarray of shape (n_clusters, n_images, height, width) or \
            (n_clusters, n_images, height, width, 3), default=None
        The images of each cluster, NaN where a place is blank. None: the leaves have names alone.
    cluster_names : sequence of str, default=None
        Name of each cluster. None: "cluster 0", "cluster 1" and so on.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the tree is drawn.
    ax_ : matplotlib Axes
        Axes of the tree.
    leaves_ : ndarray of shape (n_clusters,)
        The clusters from top to bottom.
    images_ : ndarray of shape (n_clusters, n_images) or None
        The AxesImage of each image, from top to bottom; None where a place is blank.

    See Also
    --------
    ClusterMontageDisplay : The most and the least confident images of each cluster.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import AutoencoderClustering
    >>> from skdeepclust.plotting import MergeTreeDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> model = AutoencoderClustering(n_clusters=6, max_epochs=2, random_state=0).fit(images)
    >>> display = MergeTreeDisplay.from_estimator(model, images, n_clusters=3)
    >>> display.images_.shape
    (6, 6)
    """

    def __init__(
        self,
        tree: np.ndarray,
        sizes: np.ndarray,
        images: np.ndarray | None = None,
        *,
        cluster_names: Sequence[str] | None = None,
    ) -> None:
        self.tree = tree
        self.sizes = sizes
        self.images = images
        self.cluster_names = cluster_names

    def plot(
        self,
        *,
        n_clusters: int | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> MergeTreeDisplay:
        """Draw the tree.

        Parameters
        ----------
        n_clusters : int, default=None
            Number of clusters at which the tree is cut: each of these has a colour, lightened on a
            dark ground. None: all is grey.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        self : MergeTreeDisplay

        Raises
        ------
        ValueError
            If there are no two clusters, or `n_clusters` is not valid.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(self)
        n_leaves = len(self.sizes)
        if n_leaves < 2:
            raise ValueError(f"tree must be one of at least two clusters; got {n_leaves}.")
        colours = self._colours(n_clusters)
        drawn = dendrogram(self.tree, no_plot=True, link_color_func=colours.__getitem__)
        self.leaves_ = np.array(drawn["leaves"])
        of = "sample" if self.images is None else "image"
        labels = np.array(cluster_labels(self.cluster_names, self.sizes, of))[self.leaves_]
        with panels(figure, self, *self._size(labels), ncols=1) as (outer,):
            colours = [lightened(colour, outer) for colour in colours]
            if self.images is None:
                self.images_, ax, margin = None, outer, 5.0
                ax.set_yticks(5 + 10 * np.arange(n_leaves), labels)
                ax.tick_params(axis="y", length=0)
            else:
                grid = to_unit_range(self.images[self.leaves_])
                self.images_ = draw_grid(
                    outer, grid, cmap=cmap, row_labels=labels, row_height=TWO_LINES / TILE
                )
                # leaves are at 5, 15, 25, ...: at the middle of their images
                middle, second = outer.get_yticks()[:2]
                margin = 10 * middle / (second - middle)
                width, right = WIDTH * (second - middle), outer.get_xlim()[1]
                outer.set_xlim(-width, right)
                ax = outer.inset_axes((0, 0, width / (width + right), 1))
                ax.set_yticks([])
            outer.yaxis.tick_right()
            for label, leaf in zip(outer.get_yticklabels(), self.leaves_, strict=True):
                label.set_color(colours[leaf])
            for depths, places, colour in zip(
                drawn["dcoord"], drawn["icoord"], drawn["color_list"], strict=True
            ):
                ax.plot(depths, places, color=lightened(colour, outer), linewidth=1.2)
            ax.axvline(0.5, color=muted(0.6), linestyle=":", linewidth=0.8)
            ax.set(xlim=(1.02, 0), ylim=(10 * n_leaves - 5 + margin, 5 - margin))
            ax.spines[["left", "top", "right"]].set_visible(False)
            ax.tick_params(labelsize=8)
            ax.set_xlabel("height of the merge", fontsize=9)
        self.ax_, self.figure_ = ax, outer.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_clusters: int | None = None,
        n_images: int = 6,
        cluster_names: Sequence[str] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> MergeTreeDisplay:
        """Draw the tree that an estimator has found, with images where it was fitted on any.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with ``merge_tree_`` and ``predict_proba``: a deep clusterer, or a
            :class:`~skdeepclust.ConsensusClustering`, of which no images are drawn.
        X : array-like or Tensor
            Samples, in any layout that `estimator` takes.
        n_clusters : int, default=None
            Number of clusters at which the tree is cut: each of these has a colour, lightened on a
            dark ground. None: all is grey.
        n_images : int, default=6
            How many of the most confident images of each cluster.
        cluster_names : sequence of str, default=None
            Name of each cluster. None: "cluster 0", "cluster 1" and so on.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : MergeTreeDisplay

        Raises
        ------
        ValueError
            If `estimator` has no ``predict_proba`` or ``merge_tree_``, or an argument is not valid.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "predict_proba", "merge_tree_")
        probabilities = np.asarray(estimator.predict_proba(X))
        is_of_images = isinstance(estimator, BaseDeepEstimator) and len(estimator.input_shape_) == 3
        images = EstimatorImages(estimator, X) if is_of_images else None
        return cls._from_arrays(
            estimator.merge_tree_, images, probabilities, n_images, cluster_names
        ).plot(n_clusters=n_clusters, cmap=cmap, figure=figure)

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        probabilities: Any,
        *,
        n_clusters: int | None = None,
        n_images: int = 6,
        cluster_names: Sequence[str] | None = None,
        cmap: str = "gray",
        figure: FigureBase | None = None,
    ) -> MergeTreeDisplay:
        """Draw the tree of the clusters that probabilities give.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or \
                (n_samples, channels, height, width), or None
            Images with 1 or 3 channels. None: the leaves have names alone.
        probabilities : array-like of shape (n_samples, n_clusters)
            Probability of each cluster for each sample.
        n_clusters : int, default=None
            Number of clusters at which the tree is cut: each of these has a colour, lightened on a
            dark ground. None: all is grey.
        n_images : int, default=6
            How many of the most confident images of each cluster.
        cluster_names : sequence of str, default=None
            Name of each cluster. None: "cluster 0", "cluster 1" and so on.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of images with one channel.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw, best with ``layout="compressed"``. None: a new figure of a fitting size.

        Returns
        -------
        display : MergeTreeDisplay

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.mixture import GaussianMixture
        >>> from skdeepclust.plotting import MergeTreeDisplay
        >>> X = load_iris().data
        >>> mixture = GaussianMixture(6, random_state=0).fit(X)
        >>> display = MergeTreeDisplay.from_predictions(None, mixture.predict_proba(X))
        >>> len(display.leaves_)
        6
        """
        import_pyplot(cls)
        images = None if X is None else check_images(X, "X")
        probabilities = as_numpy(probabilities)
        return cls._from_arrays(
            merge_tree(probabilities), images, probabilities, n_images, cluster_names
        ).plot(n_clusters=n_clusters, cmap=cmap, figure=figure)

    @classmethod
    def _from_arrays(
        cls,
        tree: np.ndarray,
        images: np.ndarray | EstimatorImages | None,
        probabilities: Any,
        n_images: int,
        cluster_names: Sequence[str] | None,
    ) -> MergeTreeDisplay:
        n_samples = len(probabilities if images is None else images)
        indices, sizes = most_and_least(n_samples, probabilities, n_images)
        shown = None
        if images is not None:
            indices = indices[:, :n_images]
            shown = images[indices]
            shown[indices < 0] = np.nan
        return cls(tree, sizes, shown, cluster_names=cluster_names)

    def _size(self, labels: Sequence[str]) -> tuple[float, float]:
        """Return the inches of a new figure."""
        if self.images is None:
            return 4.5 + label_width(labels), 0.35 * len(self.sizes) + 0.8
        n_clusters, n_columns, height, width = self.images.shape[:4]
        row = max(TILE * height / width, TWO_LINES)
        return TILE * n_columns + row * WIDTH + label_width(labels), row * n_clusters + 0.8

    def _colours(self, n_clusters: int | None) -> list[str]:
        """Return the colour of each cluster, also of those that merges make."""
        from matplotlib.colors import to_hex

        n_leaves, grey = len(self.tree) + 1, to_hex(muted(0.6), keep_alpha=True)
        if n_clusters is None:
            return [grey] * (2 * n_leaves - 1)
        labels = cut_tree(self.tree, n_clusters)
        colours = [cluster_colour(label) for label in labels]
        for step, one in enumerate(self.tree[:, 0].astype(int)):
            colours.append(colours[one] if step < n_leaves - n_clusters else grey)
        return colours
