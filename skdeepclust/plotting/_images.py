"""What the displays share: matplotlib on demand, images to show, grids of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_scalar, column_or_1d
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset, Subset

from skdeepclust._inputs import check_X
from skdeepclust.base import BaseDeepEstimator
from skdeepclust.cluster._ensemble import ConsensusClustering
from skdeepclust.streaming import tensor_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEPARATOR = 0.04  # between two images, in shares of the longer side
GAP = 0.25  # between two groups of images
LINE, TWO_LINES = 0.15, 0.3  # inches of a row's label
DEFAULT_NAME = "cluster {}"
OWNERS = {  # of what a display may need of an estimator
    "history_": "as fitted deep clusterers have",
    "interpolate": "as the deep clusterers with an auto-encoder have",
    "merge_tree_": "as deep clusterers and ConsensusClustering have",
    "predict": "as clusterers have, unless y is given",
    "predict_proba": "as deep clusterers have",
    "sample": "as VaDEClustering, DGGClustering, InfoGANClustering and CatGANClustering have",
    "spatial_transform": "as STDACClustering has",
    "transform": "as deep clusterers have",
}


def import_pyplot(caller: object) -> Any:
    """Return ``matplotlib.pyplot``, which only the plots need."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{getattr(caller, '__name__', type(caller).__name__)} needs matplotlib. Install it "
            'with: pip install "skdeepclust[plot]"'
        ) from error
    return plt


def as_numpy(X: Any) -> Any:
    """Return a tensor as an array, for scikit-learn takes few of them; anything else as it is."""
    return tensor_values(X).numpy() if isinstance(X, torch.Tensor) else X


def check_images(X: Any, name: str) -> np.ndarray:
    """Return `X` as float images of shape (n, height, width) or (n, height, width, 3).

    Values stay what they are, whatever their dtype.
    """
    # integers become float64, for float32 would round large ones
    dtypes = [np.float64, np.float32]
    X = check_array(as_numpy(X), dtype=dtypes, allow_nd=True, input_name=name)
    images = X[:, None] if X.ndim == 3 else X
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"{name} must be images of shape (n_samples, height, width) or (n_samples, channels, "
            f"height, width) with 1 or 3 channels; got an array of shape {X.shape}."
        )
    return images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)


def check_labels(labels: Any, n_samples: int, name: str) -> np.ndarray:
    """Return labels that can be sorted, one for each sample."""
    labels = column_or_1d(as_numpy(labels))
    if len(labels) != n_samples:
        raise ValueError(
            f"{name} must have one entry for each of the {n_samples} samples; got {len(labels)}."
        )
    return sortable(labels)


def sortable(labels: np.ndarray) -> np.ndarray:
    """Return labels as they are; as strings, if some can't be compared: names, and missing ones."""
    try:
        np.sort(labels)
    except TypeError:
        return np.array([str(label) for label in labels])
    return labels


def check_estimator(estimator: Any, *needed: str, on_images: bool = False) -> None:
    """Raise a helpful error unless `estimator` is a fitted instance with what is `needed`.

    ``on_images=True`` takes only deep clusterers, fitted on images.
    """
    if isinstance(estimator, type):
        raise ValueError(
            f"estimator must be a fitted instance; got the class {estimator.__name__}."
        )
    is_deep = isinstance(estimator, BaseDeepEstimator)
    missing = [name for name in needed if not _has(estimator, name)]
    problem = ""
    if on_images and not is_deep:
        problem = f"be a deep clusterer with `{needed[0]}`, fitted on images"
    elif missing:
        problem = f"have `{missing[0]}`, {OWNERS[missing[0]]}"
    if problem:
        advice = _advice(estimator, needed, on_images or "predict_proba" in needed)
        raise ValueError(f"estimator must {problem}; got {estimator!r}.{advice}")
    if is_deep:
        check_is_fitted(estimator, "network_")
    elif isinstance(estimator, BaseEstimator):
        check_is_fitted(estimator)
    if on_images and len(estimator.input_shape_) != 3:
        raise ValueError(
            "estimator must be a deep clusterer fitted on images (for flat ones, with "
            f"image_shape); got {estimator!r} with input_shape_={estimator.input_shape_}."
        )


def _has(estimator: Any, name: str) -> bool:
    """Return whether `estimator` has an attribute, or gets it when it is fitted."""
    is_learnt = isinstance(estimator, BaseDeepEstimator) and name.endswith("_")
    is_learnt |= isinstance(estimator, ConsensusClustering) and name == "merge_tree_"
    return is_learnt or hasattr(estimator, name)


def _advice(estimator: Any, needed: Sequence[str], of_samples: bool) -> str:
    """Return what to pass in place of a pipeline or search around an estimator that will do."""
    inner, place = _deep_part(estimator, "estimator")
    if inner is None or not all(_has(inner, name) for name in needed):
        return ""
    advice = f" Pass `{place}` instead"
    if "best_estimator_" in place and not hasattr(estimator, "best_estimator_"):
        advice += ", which a fit with refit=True makes"
    if of_samples and place.endswith("]") and not place.endswith("[0]"):
        advice += ", with samples as the steps before it transform them"
    return f"{advice}."


def _deep_part(estimator: Any, place: str) -> tuple[Any, str]:
    """Return the last deep estimator in `estimator`, or None, and the expression for it."""
    if isinstance(estimator, BaseDeepEstimator):
        return estimator, place
    parts: list[tuple[Any, str]] = []
    if isinstance(estimator, Pipeline):
        last = len(estimator.steps) - 1
        for i, (_, step) in enumerate(estimator.steps):
            parts.append((step, f"{place}[{-1 if 0 < i == last else i}]"))
    elif hasattr(estimator, "refit") and hasattr(estimator, "estimator"):  # a search
        best = getattr(estimator, "best_estimator_", estimator.estimator)
        parts = [(best, f"{place}.best_estimator_")]
    found = [_deep_part(*part) for part in reversed(parts)]
    return next((part for part in found if part[0] is not None), (None, place))


class EstimatorImages:
    """`X`, in any layout that an estimator takes, of which the images that are shown are read.

    The estimator is one that `check_estimator` lets pass with ``on_images=True``.
    """

    def __init__(self, estimator: Any, X: Any, name: str = "X") -> None:
        self.estimator, self.name = estimator, name
        self.samples = check_X(estimator, X, reset=False, features=False)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        """Return images as `check_images` does, for an array of indices of any shape."""
        wanted = np.arange(len(self))[index]
        rows = np.unique(wanted)
        # in place, for there may be many; float32 would coarsen values far from 0
        x = self.samples[torch.from_numpy(rows)].double()
        x = x.mul_(self.estimator.input_scale_).add_(self.estimator.input_mean_)
        return check_images(x, self.name)[np.searchsorted(rows, wanted)]


def estimator_images(estimator: Any, X: Any, name: str = "X") -> np.ndarray:
    """Return all of `X`, in any layout that `estimator` takes, as `check_images` does."""
    return EstimatorImages(estimator, X, name)[:]


def part_of(X: Any, rows: slice) -> Any:
    """Return rows of `X`, in the layout that it has."""
    if isinstance(X, Dataset):
        return Subset(X, range(len(X))[rows])  # type: ignore[arg-type]  # a Dataset has a length
    return X[rows]


def transformed_images(estimator: Any, X: Any) -> np.ndarray:
    """Return what the first spatial transformer of `estimator` makes of valid `X`."""
    try:
        transformed = estimator.spatial_transform(X)
    except ValueError as error:
        raise ValueError(
            "estimator must have a network that begins with a spatial transformer; got "
            f"{estimator!r}."
        ) from error
    images = transformed.reshape(-1, *estimator.input_shape_)  # they may be flat, as X was
    return check_images(images, "spatial_transform(X)")


def to_unit_range(images: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Scale `images` to [0, 1] by their common range, or `limits`; NaN marks blank ones."""
    images = np.asarray(images, dtype=float)  # differences of integers would wrap around
    low, high = map(float, limits or (np.nanmin(images), np.nanmax(images)))
    return ((images - low) / ((high - low) or 1)).clip(0, 1)


def extremes(members: np.ndarray, sure: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `n` most sure members and the `n` least sure of the rest, the most sure first."""
    members = members[np.argsort(-sure[members], kind="stable")]
    return members[:n], members[n:][-n:]


def most_and_least(
    n_samples: int, probabilities: Any, n_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each cluster's `n_images` most and `n_images` least confident samples, and its size.

    The arguments are checked. A cluster with too few has -1 in between. Of labels, all samples are
    alike.
    """
    check_scalar(n_images, "n_images", Integral, min_val=1)
    probabilities = as_numpy(probabilities)
    if np.ndim(probabilities) == 1:
        probabilities = np.asarray(probabilities)
    else:
        probabilities = check_array(probabilities, input_name="probabilities")
    if len(probabilities) != n_samples:
        raise ValueError(
            f"probabilities must have one row for each of the {n_samples} images; got shape "
            f"{probabilities.shape}."
        )
    if probabilities.ndim == 1:
        labels, confidence = probabilities, np.ones(n_samples)
        if labels.dtype.kind not in "iu" or labels.min() < -1 or labels.max() < 0:
            raise ValueError(
                "probabilities must be of shape (n_samples, n_clusters), or labels: integers from "
                f"0 on, and -1 for outliers; got {sorted(set(labels.tolist()))[:5]}."
            )
        n_clusters = labels.max() + 1
    else:
        labels, confidence = probabilities.argmax(1), probabilities.max(1)
        n_clusters = probabilities.shape[1]
    indices = np.full((n_clusters, 2 * n_images), -1)
    for cluster, row in enumerate(indices):
        most, least = extremes(np.flatnonzero(labels == cluster), confidence, n_images)
        row[: len(most)] = most
        row[len(row) - len(least) :] = least
    return indices, np.bincount(labels[labels >= 0], minlength=n_clusters)


def named_clusters(cluster_names: Sequence[str] | None, n_clusters: int) -> list[str]:
    """Return the name of each cluster; raise a ValueError if there are more or fewer names."""
    if cluster_names is None:
        return [DEFAULT_NAME.format(k) for k in range(n_clusters)]
    if len(cluster_names) != n_clusters:
        raise ValueError(
            f"cluster_names must have one name for each of the {n_clusters} clusters; got "
            f"{len(cluster_names)}."
        )
    return [str(name) for name in cluster_names]


def named_labels(
    labels: np.ndarray, cluster_names: Sequence[str] | None, kind: str = "cluster"
) -> list[str]:
    """Return the name of each of some labels, all different.

    Numbers are those of clusters: names, if given, are of the clusters 0, 1 and so on, whether a
    label is there or not, and -1 is the outliers. What is no number, or of another `kind`, is a
    name itself.
    """
    values = labels.tolist()
    numbers = whole_numbers(labels)
    if numbers is None:
        if cluster_names is not None:
            raise ValueError(
                "cluster_names names the clusters 0, 1 and so on, and must be None where labels "
                f"are names themselves; got the labels {values[:5]}."
            )
        return list(map(str, values))
    known = [k for k in numbers if k is not None]
    names: dict[int | None, str] = {None: "nan"}
    if kind == "cluster":
        names |= {k: "outliers" if k == -1 else DEFAULT_NAME.format(k) for k in known}
    if cluster_names is not None:
        n_clusters = max(len(cluster_names), 1 + max(known))
        names |= enumerate(named_clusters(cluster_names, n_clusters))
    return [names.get(k, str(k)) for k in numbers]


def whole_numbers(labels: np.ndarray) -> list[int | None] | None:
    """Return labels as integers, None for NaN; None if they are anything else."""
    values = labels.tolist()
    known = [value for value in values if value == value]
    if not known or not all(map(_is_whole, known)):
        return None
    return [int(value) if value == value else None for value in values]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0


def cluster_labels(cluster_names: Sequence[str] | None, sizes: np.ndarray, of: str) -> list[str]:
    """Return a label for each cluster: its name, on the next line how many it has of what."""
    counts = {0: "empty", 1: f"1 {of}"}
    return [
        f"{name}\n{counts.get(size, f'{size:,} {of}s')}"
        for name, size in zip(named_clusters(cluster_names, len(sizes)), sizes, strict=True)
    ]


@contextmanager
def new_figure(caller: object, **options: Any) -> Iterator[Any]:
    """Give a new figure, which is closed if drawing fails."""
    pyplot = import_pyplot(caller)
    figure = pyplot.figure(**options)
    try:
        yield figure
    except BaseException:
        pyplot.close(figure)
        raise


def muted(share: float) -> tuple[float, float, float, float]:
    """Return the colour of text, whatever the style, of which the ground leaves a share."""
    from matplotlib import rcParams
    from matplotlib.colors import to_rgba

    return to_rgba(rcParams["text.color"], share)


def is_lost(colour: str, ax: Axes) -> bool:
    """Return whether a colour can hardly be seen on the dark ground of `ax`."""
    from matplotlib.colors import to_rgb

    grounds: list[Any] = [part.patch.get_facecolor() for part in (ax, ax.figure)]
    ground = next((rgba[:3] for rgba in grounds if rgba[3] > 0.5), (1, 1, 1))
    # the contrast of WCAG, with a gamma of 2
    light, behind = (
        np.dot(np.square(rgb), (0.2126, 0.7152, 0.0722)) + 0.05 for rgb in (to_rgb(colour), ground)
    )
    return bool(behind < 0.25 and light < 2.5 * behind)


def lightened(colour: str, ax: Axes) -> str:
    """Return a colour, half of it white if it could hardly be seen on the ground of `ax`."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(colour)
    mixed = (1 + red) / 2, (1 + green) / 2, (1 + blue) / 2
    return to_hex(mixed) if is_lost(colour, ax) else colour


def label_width(labels: Sequence[str]) -> float:
    """Return about how many inches labels of rows take, in the size that `draw_grid` gives them."""
    lines = [line for label in labels for line in label.split("\n")]
    return max(1, 0.3 + 0.065 * max(map(len, lines), default=0))


@contextmanager
def panels(
    figure: Any, caller: object, width: float, height: float, **layout: int
) -> Iterator[np.ndarray]:
    """Give the axes of panels to draw on, in `figure` or a new one.

    A new figure has about the given size in inches; at the end, what labels and images of a
    fixed aspect left empty is cut off.
    """
    if figure is not None:
        yield figure.subplots(**layout, squeeze=False).ravel()
        return
    with new_figure(caller, figsize=(width, height), layout="compressed") as figure:
        figure.get_layout_engine().set(w_pad=0.07, h_pad=0.05)
        yield figure.subplots(**layout, squeeze=False).ravel()
        figure.draw_without_rendering()
        content = figure.get_tightbbox()
        figure.set_size_inches(content.width + 0.1, content.height + 0.1)


def draw_grid(
    ax: Axes,
    grid: np.ndarray,
    *,
    cmap: str,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    breaks: Sequence[int] = (),
    row_height: float = 0,
) -> np.ndarray:
    """Draw images of shape (n_rows, n_columns, height, width[, 3]) in [0, 1]; skip NaN.

    There is a gap before the columns in `breaks`. Rows of wide images are apart, for labels to have
    their room: they begin at least `row_height` widths of an image after each other.
    """
    n_rows, n_columns, height, width = grid.shape[:4]
    separator = SEPARATOR * max(height, width)
    tops = np.arange(n_rows) * max(height + separator, row_height * width)
    n_gaps = np.searchsorted(breaks, range(n_columns), side="right")
    lefts = np.arange(n_columns) * (width + separator) + n_gaps * GAP * max(height, width)
    artists = np.full((n_rows, n_columns), None)
    for row, column in np.ndindex(n_rows, n_columns):
        image, top, left = grid[row, column], tops[row], lefts[column]
        if not np.isnan(image).any():
            artists[row, column] = ax.imshow(
                image,
                cmap=cmap,
                vmin=0,
                vmax=1,
                extent=(left, left + width, top + height, top),
                origin="upper",  # whatever rcParams say
            )
    ax.grid(False)  # which styles draw over images
    ax.set(
        xlim=(0, lefts[-1] + width),
        ylim=(tops[-1] + height, 0),
        aspect="equal",
        frame_on=False,
    )
    ax.set_xticks(lefts[: len(column_labels)] + width / 2, column_labels)
    ax.set_yticks(tops[: len(row_labels)] + height / 2, row_labels)
    ax.tick_params(length=0, labelsize=8, labeltop=True, labelbottom=False)
    return artists
