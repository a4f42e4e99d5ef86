"""A map of an embedding: its first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hls_to_rgb
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_random_state, check_scalar

from skdeepclust.plotting._images import (
    as_numpy,
    check_estimator,
    check_labels,
    import_pyplot,
    is_lost,
    muted,
    named_clusters,
    named_labels,
    new_figure,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Six colours of Okabe and Ito (2008); the others are far from them and from each other in Oklab,
# also as people with protanopia, deuteranopia or tritanopia see them (Machado et al., 2009). The
# first ten keep the greatest distances.
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7",
    "#56b4e9", "#5a0f00", "#0000a5", "#2df0b4", "#a5004b",
    "#0000ff", "#3c0f69", "#c3e100", "#8778ff", "#d20fb4",
    "#3c4b1e", "#96b487", "#96d2ff", "#a55a4b", "#783c78",
)  # fmt: skip
MARKERS = "o^sDvP"  # the next one after each ten clusters
GREY, OUTLIER = "#808080", "X"  # of outliers
FACES = ("color", "c", "facecolor")  # options of scatter
MAX_LEGEND, MAX_NAME = 40, 30  # entries, letters of one


def cluster_colour(number: int) -> str:
    """Return the colour of a cluster in all pictures, "#rrggbb"; outliers, -1, are grey."""
    if number < len(PALETTE):
        return GREY if number < 0 else PALETTE[number]
    # by the golden angle, never the same
    rgb = hls_to_rgb(number * 137.508 % 360 / 360, 0.45, 0.6)
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)


class EmbeddingDisplay:
    """The first two principal components of an embedding, coloured by cluster.

    As in figure 5 of [1]_. The points are drawn in random order, so that no cluster hides the
    others. Each cluster has a colour of its own, by its number; those of the first 20 are chosen so
    that colour-blind people can tell them apart as far as possible. The shape of the points changes
    after each ten clusters, and outliers are grey crosses. Each axis has a scale of its own; the
    shares of variance at the axes compare them.

    Use :meth:`from_estimator` or :meth:`from_embedding` to create one.

    Parameters
    ----------
    coordinates : ndarray of shape (n_points, 2)
        Both principal components of each point, in the order of drawing.
    labels : ndarray of shape (n_points,), int
        Cluster of each point, a position in `sizes` and `cluster_names`.
    sizes : ndarray of shape (n_clusters,), int
        Number of samples in each cluster, those that are not drawn included.
    explained_variance_ratio : ndarray of shape (2,)
        Share of the variance of the embedding that each component has.
    indices : ndarray of shape (n_points,), int, default=None
        Where the points are in `X`.
    cluster_names : sequence of str, default=None
        Name of each cluster. None: "cluster 0", "cluster 1" and so on.
    kind : str, default="cluster"
        What the clusters are, the title of the legend.
    numbers : sequence of int, default=None
        Number of each cluster, which gives its colour and shape; -1 is the outliers. None: 0, 1
        and so on.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Where the points are drawn.
    ax_ : matplotlib Axes
        Axes of the points.
    points_ : matplotlib PathCollection
        The points.
    legend_ : matplotlib Legend or None
        The legend; None without one.

    See Also
    --------
    InterpolationDisplay : What is decoded between two images.
    ClusterMontageDisplay : The most and the least confident images of each cluster.

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import AutoencoderClustering
    >>> from skdeepclust.plotting import EmbeddingDisplay
    >>> images = load_digits(n_class=3).images[:200]
    >>> model = AutoencoderClustering(n_clusters=3, n_init=1, max_epochs=2, random_state=0)
    >>> display = EmbeddingDisplay.from_estimator(model.fit(images), images)
    >>> display.coordinates.shape
    (200, 2)
    """

    def __init__(
        self,
        coordinates: np.ndarray,
        labels: np.ndarray,
        *,
        sizes: np.ndarray,
        explained_variance_ratio: np.ndarray,
        indices: np.ndarray | None = None,
        cluster_names: Sequence[str] | None = None,
        kind: str = "cluster",
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.coordinates = coordinates
        self.labels = labels
        self.sizes = sizes
        self.explained_variance_ratio = explained_variance_ratio
        self.indices = indices
        self.cluster_names = cluster_names
        self.kind = kind
        self.numbers = numbers

    def plot(
        self,
        *,
        legend: bool | str = "auto",
        ax: Axes | None = None,
        scatter_kw: dict[str, Any] | None = None,
    ) -> EmbeddingDisplay:
        """Draw the points.

        Parameters
        ----------
        legend : bool or "auto", default="auto"
            Whether a legend stands to the right of the axes. "auto": if there are no more than
            40 clusters and the figure makes room for it, as a new one does, or one with
            ``layout="constrained"``.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        scatter_kw : dict, default=None
            Keywords for ``Axes.scatter``, such as ``{"s": 2}``. ``marker`` gives all points the
            same shape. What has a value for each sample is in the order of the samples; with a
            ``c`` of that kind there is no legend.

        Returns
        -------
        self : EmbeddingDisplay

        Raises
        ------
        ValueError
            If `legend` is none of those, or there are more or fewer names than clusters.
        """
        if not isinstance(legend, bool | np.bool_) and legend != "auto":
            raise ValueError(f"legend must be True, False or 'auto'; got {legend!r}.")
        import_pyplot(self)
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.collections import PathCollection
        from matplotlib.colors import is_color_like

        n_clusters = len(self.sizes)
        names = [
            name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
            for name in named_clusters(self.cluster_names, n_clusters)
        ]
        entries = [f"{name} ({size:,})" for name, size in zip(names, self.sizes, strict=True)]
        given = normalize_kwargs(scatter_kw or {}, PathCollection)
        given = {name: self._as_drawn(value) for name, value in given.items()}
        face = next((given[name] for name in FACES if name in given), None)
        if legend == "auto":
            makes_room = ax is None or ax.figure.get_layout_engine() is not None
            legend = makes_room and n_clusters <= MAX_LEGEND
        if face is not None and not is_color_like(face):
            legend = False  # colours don't tell the clusters
        if ax is not None:
            self._draw(ax, given, face, entries if legend else ())
            return self
        width = max(1.3, 0.4 + 0.065 * max(map(len, entries)))
        width = 4.5 + (width * _n_legend_columns(n_clusters) if legend else 0)
        with new_figure(self, figsize=(width, 4.2), layout="constrained") as figure:
            self._draw(figure.subplots(), given, face, entries if legend else ())
        return self

    def _as_drawn(self, value: Any) -> Any:
        """Return an option of scatter, its values for each sample in the order of drawing."""
        from matplotlib.colors import is_color_like

        is_one = isinstance(value, str) or not np.iterable(value) or is_color_like(value)
        if is_one or self.indices is None or len(value) != sum(self.sizes):
            return value
        return np.asarray(value)[self.indices]

    def _draw(self, ax: Axes, given: dict[str, Any], face: Any, entries: Sequence[str]) -> None:
        from matplotlib.colors import is_color_like, to_hex

        self.ax_, self.figure_ = ax, ax.figure
        n_points, n_clusters = len(self.coordinates), len(self.sizes)
        numbers = np.arange(n_clusters) if self.numbers is None else np.array(self.numbers)
        colours: Any = np.array([cluster_colour(int(k)) for k in numbers])
        options: dict[str, Any] = {
            "s": np.clip(300 / np.sqrt(n_points), 4, 25),
            "alpha": np.clip(30 / np.sqrt(n_points), 0.4, 0.8),
            **given,
        }
        is_hollow = isinstance(face, str) and face.lower() == "none"
        if face is None:
            options["c"] = (numbers if "cmap" in given else colours)[self.labels]
        elif is_hollow:
            options.setdefault("edgecolor", colours[self.labels])
        markers = [OUTLIER if k < 0 else MARKERS[k // 10 % len(MARKERS)] for k in numbers]
        edges = colours
        if "marker" in given:
            markers = [given["marker"]] * n_clusters
        elif is_hollow or "edgecolor" in given:
            options.setdefault("linewidth", 0.8)
        elif face is None and "cmap" not in given and "linewidth" not in given:
            # dark points on a dark ground have an outline
            is_dark = np.array([is_lost(colour, ax) for colour in colours])
            options["linewidth"] = 0
            if is_dark.any():
                edges = np.where(is_dark, to_hex(muted(1)), colours)
                options["linewidth"] = np.where(is_dark, 0.6, 0)[self.labels]
                options["edgecolor"] = edges[self.labels]
        else:
            options.setdefault("linewidth", 0)
        self.points_ = ax.scatter(*self.coordinates.T, **options)
        if len(set(markers)) > 1:
            # one collection in which each point has a path of its own keeps the order of drawing
            paths = {marker: _path(marker) for marker in markers}
            self.points_.set_paths([paths[markers[label]] for label in self.labels])

        for axis, number, share in zip(
            (ax.xaxis, ax.yaxis), (1, 2), self.explained_variance_ratio, strict=True
        ):
            axis.set_label_text(f"PC {number} ({share:.0%} of variance)", fontsize=9)
            axis.set_ticks([])  # the scale of an embedding is arbitrary
        ax.spines[["top", "right"]].set_visible(False)

        if face is None and "cmap" in given:
            colours = edges = self.points_.to_rgba(numbers)
        elif face is not None:
            colours = [face] * n_clusters
            edges = edges if is_hollow else colours
        if is_color_like(given.get("edgecolor")):
            edges = [given["edgecolor"]] * n_clusters
        self.legend_ = self._draw_legend(entries, markers, colours, edges) if entries else None

    def _draw_legend(
        self, entries: Sequence[str], markers: Sequence[Any], faces: Any, edges: Any
    ) -> Any:
        from matplotlib.lines import Line2D

        handles = [
            Line2D(
                [],
                [],
                linestyle="",
                marker=marker,
                markersize=5,
                color=edge,
                markerfacecolor=face,
            )
            for marker, face, edge in zip(markers, faces, edges, strict=True)
        ]
        return self.ax_.legend(
            handles,
            entries,
            title=f"{self.kind} (size)",
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            ncols=_n_legend_columns(len(entries)),
            fontsize=8,
            title_fontsize=8,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1,
            labelspacing=0.4,
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        n_samples: int | None = 5000,
        random_state: Any = 0,
        cluster_names: Sequence[str] | None = None,
        kind: str | None = None,
        legend: bool | str = "auto",
        ax: Axes | None = None,
        scatter_kw: dict[str, Any] | None = None,
    ) -> EmbeddingDisplay:
        """Draw the embedding of an estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted deep clusterer, or another estimator with ``transform`` and ``predict``.
        X : array-like or Tensor
            Samples, in any layout that `estimator` takes.
        y : array-like of shape (n_samples,), default=None
            Classes to colour the points by. None: the clusters that `estimator` predicts.
        n_samples : int or None, default=5000
            How many points to draw at most, a random choice; the components and the sizes in
            the legend are those of all samples. None: all.
        random_state : int, RandomState instance or None, default=0
            Decides which points are drawn, and in which order. None: others with each call.
        cluster_names : sequence of str, default=None
            Name of each cluster; where `y` has numbers, of the classes 0, 1 and so on. None:
            "cluster 0", "cluster 1" and so on; classes are named as they are in `y`.
        kind : str, default=None
            What the points are coloured by, the title of the legend. None: "cluster", or "class"
            with `y`.
        legend : bool or "auto", default="auto"
            Whether a legend stands to the right of the axes. "auto": if there are no more than
            40 clusters and the figure makes room for it, as a new one does, or one with
            ``layout="constrained"``.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        scatter_kw : dict, default=None
            Keywords for ``Axes.scatter``, such as ``{"s": 2}``. ``marker`` gives all points the
            same shape. What has a value for each sample is in the order of the samples; with a
            ``c`` of that kind there is no legend.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If `estimator` lacks a method, its embedding has a single feature, or an argument is
            not valid.
        sklearn.exceptions.NotFittedError
            If `estimator` is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        import_pyplot(cls)
        check_estimator(estimator, "transform", *(["predict"] if y is None else []))
        Z = estimator.transform(X)
        if y is None:
            argument_names, labels = ("transform(X)", "predict(X)"), estimator.predict(X)
            if cluster_names is not None and hasattr(estimator, "n_clusters_"):
                named_clusters(cluster_names, estimator.n_clusters_)  # of the empty ones, too
        else:
            argument_names, labels = ("transform(X)", "y"), y
        kind = kind or ("cluster" if y is None else "class")
        return cls._from_embedding(
            Z, labels, argument_names, n_samples, random_state, cluster_names, kind
        ).plot(legend=legend, ax=ax, scatter_kw=scatter_kw)

    @classmethod
    def from_embedding(
        cls,
        Z: Any,
        labels: Any,
        *,
        n_samples: int | None = 5000,
        random_state: Any = 0,
        cluster_names: Sequence[str] | None = None,
        kind: str = "cluster",
        legend: bool | str = "auto",
        ax: Axes | None = None,
        scatter_kw: dict[str, Any] | None = None,
    ) -> EmbeddingDisplay:
        """Draw an embedding that is at hand.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            The embedding, of two features or more.
        labels : array-like of shape (n_samples,)
            Cluster or class of each sample; of clusters, -1 is the outliers.
        n_samples : int or None, default=5000
            How many points to draw at most, a random choice; the components and the sizes in
            the legend are those of all samples. None: all.
        random_state : int, RandomState instance or None, default=0
            Decides which points are drawn, and in which order. None: others with each call.
        cluster_names : sequence of str, default=None
            Names of the labels 0, 1 and so on. None: "cluster 0", "cluster 1" and so on. Of
            another `kind`, or if they are no numbers, labels are names themselves.
        kind : str, default="cluster"
            What the labels are, the title of the legend.
        legend : bool or "auto", default="auto"
            Whether a legend stands to the right of the axes. "auto": if there are no more than
            40 clusters and the figure makes room for it, as a new one does, or one with
            ``layout="constrained"``.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        scatter_kw : dict, default=None
            Keywords for ``Axes.scatter``, such as ``{"s": 2}``. ``marker`` gives all points the
            same shape. What has a value for each sample is in the order of the samples; with a
            ``c`` of that kind there is no legend.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skdeepclust.plotting import EmbeddingDisplay
        >>> X, y = load_digits(return_X_y=True)
        >>> display = EmbeddingDisplay.from_embedding(X, y, n_samples=500, kind="digit")
        >>> display.coordinates.shape
        (500, 2)
        >>> display.sizes.tolist()  # of all samples
        [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        """
        import_pyplot(cls)
        return cls._from_embedding(
            Z, labels, ("Z", "labels"), n_samples, random_state, cluster_names, kind
        ).plot(legend=legend, ax=ax, scatter_kw=scatter_kw)

    @classmethod
    def _from_embedding(
        cls,
        Z: Any,
        labels: Any,
        argument_names: tuple[str, str],
        n_samples: int | None,
        random_state: Any,
        cluster_names: Sequence[str] | None,
        kind: str,
    ) -> EmbeddingDisplay:
        if n_samples is not None:
            check_scalar(n_samples, "n_samples", Integral, min_val=1)
        Z_name, labels_name = argument_names
        # PCA's covariance in float32 would lose an embedding that is far from 0
        Z = check_array(as_numpy(Z), dtype=np.float64, input_name=Z_name)
        if min(Z.shape) < 2:
            raise ValueError(
                f"{Z_name} must have two samples or more, of two features or more; got shape "
                f"{Z.shape}."
            )
        labels = check_labels(labels, len(Z), labels_name)
        clusters, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        cluster_names = named_labels(clusters, cluster_names, kind)
        found = whole_numbers(clusters)
        # by number, so that maps of other samples have the same colours
        numbers = None if found is None else [-1 if k is None else k for k in found]
        if numbers is not None and min(numbers) < -1:
            numbers = None
        random_state = check_random_state(random_state)
        # an array, whatever sklearn.set_config(transform_output=...) asks for
        pca = PCA(2, random_state=random_state).set_output(transform="default")
        with np.errstate(invalid="ignore"):  # an embedding in which all samples are the same
            coordinates = pca.fit_transform(Z)
        chosen = random_state.permutation(len(Z))[:n_samples]
        return cls(
            coordinates[chosen],
            labels[chosen],
            sizes=sizes,
            explained_variance_ratio=np.nan_to_num(pca.explained_variance_ratio_),
            indices=chosen,
            cluster_names=cluster_names,
            kind=kind,
            numbers=numbers,
        )


def _n_legend_columns(n_entries: int) -> int:
    return 1 + (n_entries - 1) // 20


def _path(marker: str) -> Any:
    """Return the outline of a marker, as ``Axes.scatter`` scales it."""
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(marker)
    return style.get_path().transformed(style.get_transform())
