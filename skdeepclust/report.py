"""A clustering as one HTML page that needs nothing else: to look at, to keep, to send."""

from __future__ import annotations

import base64
import inspect
import io
import json
from collections.abc import Callable, Iterator, Sequence
from html import escape
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_scalar

from skdeepclust._files import written
from skdeepclust._inputs import as_array
from skdeepclust._warnings import warn
from skdeepclust.datasets._image_folder import ImageFolder, _decode, _pillow
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.plotting._embedding import cluster_colour
from skdeepclust.plotting._images import (
    as_numpy,
    check_estimator,
    extremes,
    named_clusters,
    named_labels,
    sortable,
)
from skdeepclust.samples import some_of
from skdeepclust.streaming import SLICE_BYTES, as_source, stored_bytes

SIDE = 64  # pixels of a thumbnail
N_COLUMNS = 12  # of a sheet of them
SMALL = 32  # images up to that are shown pixel by pixel, without JPEG's traces
MOST_THUMBNAILS = 2000  # of all clusters together, some 5 MB
MOST_POINTS = 20_000  # on the map
MOST_CLASSES = 40  # rows of the table of classes
COORDINATES = 65535  # of the map, from 0

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 0 auto; padding: 1em;
  color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin: 1.6em 0 .4em }
h3 { font-size: 1em; margin: 1.2em 0 .3em } p.note, figcaption { color: #555; margin: .2em 0 }
table { border-collapse: collapse } td, th { padding: .15em .6em; text-align: right }
th[scope=col] { font-weight: 600; border-bottom: 1px solid #999; vertical-align: bottom }
th[scope=row] { font-weight: inherit }
th:first-child, td:has(.bar, code) { text-align: left }
tr:hover :is(td, th) { background: #f2f2f2 }
.scroll { overflow-x: auto } .bar { display: inline-block; height: .7em; background: #888 }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em }
.sheet { display: flex; flex-wrap: wrap; gap: 2px; margin: .2em 0 .6em }
.t { width: 64px; height: 64px; background-repeat: no-repeat; background-color: #ddd }
canvas { width: 100%; height: 560px; border: 1px solid #bbb; touch-action: none; cursor: grab }
#legend label { display: inline-block; margin-right: 1em; white-space: nowrap }
#about { min-height: 1.5em; overflow-wrap: anywhere } code { overflow-wrap: anywhere }
"""

SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const xy = new Uint16Array(bytes(data.xy)), cluster = new Uint16Array(bytes(data.cluster));
const sure = new Uint8Array(bytes(data.sure)), n = cluster.length;
const canvas = document.querySelector("canvas"), context = canvas.getContext("2d");
const about = document.getElementById("about"), hidden = new Set();
let view = null, drag = null, due = false;  // pixels = view.x + view.scale * coordinate

function whole() {
  const scale = Math.min(canvas.width, canvas.height) / 65535 * 0.94;
  view = {scale, x: (canvas.width - 65535 * scale) / 2, y: (canvas.height - 65535 * scale) / 2};
}
function resize() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
  whole(); draw();
}
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const side = Math.max(2, Math.min(9, 2.2 * Math.sqrt(view.scale * 65535 / 600)));
    for (let k = 0; k < data.colours.length; k++) {
      if (hidden.has(k)) continue;
      context.fillStyle = data.colours[k]; context.globalAlpha = 0.75;
      for (let i = 0; i < n; i++) if (cluster[i] === k)
        context.fillRect(view.x + view.scale * xy[2 * i] - side / 2,
          view.y + view.scale * xy[2 * i + 1] - side / 2, side, side);
    }
  });
}
function place(event) {
  const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
}
function show(event) {
  const [px, py] = place(event);
  let best = -1, least = 144;
  for (let i = 0; i < n; i++) {
    if (hidden.has(cluster[i])) continue;
    const dx = view.x + view.scale * xy[2 * i] - px, dy = view.y + view.scale * xy[2 * i + 1] - py;
    if (dx * dx + dy * dy < least) { least = dx * dx + dy * dy; best = i; }
  }
  about.textContent = best < 0 ? "" : data.names[best] + ": " + data.clusters[cluster[best]]
    + ", probability " + (sure[best] / 255).toFixed(2);
}
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const factor = Math.exp(-event.deltaY / 400), [px, py] = place(event);
  view = {scale: view.scale * factor, x: px - (px - view.x) * factor,
    y: py - (py - view.y) * factor};
  draw();
}, {passive: false});
canvas.addEventListener("pointerdown", event => {
  show(event); drag = place(event); canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", event => {
  if (!drag) return show(event);
  const [px, py] = place(event);
  view.x += px - drag[0]; view.y += py - drag[1]; drag = [px, py];
  draw();
});
for (const end of ["pointerup", "pointercancel"])
  canvas.addEventListener(end, () => { drag = null; });
canvas.addEventListener("dblclick", () => { whole(); draw(); });
document.getElementById("legend").addEventListener("change", event => {
  const k = Number(event.target.value);
  event.target.checked ? hidden.delete(k) : hidden.add(k);
  draw();
});
window.addEventListener("resize", resize);
resize();
"""


def cluster_report(
    estimator: Any,
    X: Any,
    *,
    probabilities: Any = None,
    y: Any = None,
    paths: Sequence[str] | None = None,
    images: Any = None,
    n_images: int = 24,
    cluster_names: Sequence[str] | None = None,
    title: str | None = None,
    out: str | PathLike[str] = "report",
) -> Path:
    """Write what a clustering has found as one HTML page, which needs nothing else.

    The page has a table of the clusters with their sizes; for each the images that the estimator is
    most and least sure of; where classes are known, how many of each are in which cluster; a map of
    the samples (the first two principal components of the embedding) to zoom and move; the
    parameters, with the size and mode of an ImageFolder, and the score. It loads nothing from
    elsewhere, and stays below some 10 MB: of more than 20,000 samples, as many drawn at random
    are on the map, and of many clusters fewer images each are shown.

    Parameters
    ----------
    estimator : estimator
        Fitted, with `predict_proba` and `transform`: a clusterer of this package, or a pipeline
        that ends with one.
    X : array-like, Tensor or Dataset
        The samples, in any layout that the estimator takes.
    probabilities : array-like of shape (n_samples, n_clusters), default=None
        What `predict_proba` gives for `X`, if it has been asked already. None: it is asked.
    y : array-like of shape (n_samples,), default=None
        Class of each sample: numbers or names; samples without one have -1, NaN or None, and count
        in no score. None: where `X` or `images` is an
        :class:`~skdeepclust.datasets.ImageFolder`, the sub-folders.
    paths : sequence of str, default=None
        Name of each sample. None: those of the ImageFolder's files, or the samples' numbers.
    images : sequence of ndarray, default=None
        Image of each sample, (height, width) or (channels, height, width), where `X` holds
        features: an array, a Tensor or an ImageFolder. None: `X`, if it is an array of shape
        (n_samples, height, width) or (n_samples, channels, height, width), or if the estimator (and
        not a step of a pipeline) was fitted on images; or else the files that `paths` names. Where
        one of these is missing or can't be read, a tile is grey, and a `UserWarning` says so.
    n_images : int, default=24
        How many of the most sure images of a cluster, and how many of the least sure.
    cluster_names : sequence of str, default=None
        Name of each cluster. None: "cluster 0", "cluster 1" and so on.
    title : str, default=None
        Heading of the page. None: the estimator's name.
    out : path-like, default="report"
        The folder that ``index.html`` is written to, which is made if it isn't there; or the page
        itself, if it ends in ``.html``. A page that is there is replaced.

    Returns
    -------
    path : Path
        The page.

    Raises
    ------
    ValueError
        If an argument is not valid.
    OSError
        If the page can't be written, or an image can't be read.
    ImportError
        If there are images and Pillow is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DeepClustering, cluster_report
    >>> images = load_digits().images[:200]
    >>> model = DeepClustering(n_clusters=3, max_epochs=2, n_init=1, random_state=0).fit(images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = cluster_report(model, images, out=folder).read_text()
    >>> page.count("<h3")
    3
    """
    needed = ["predict_proba"] if probabilities is None else []
    check_estimator(estimator, *needed, "transform")
    check_scalar(n_images, "n_images", Integral, min_val=1)
    # by position, where pandas would look for a label
    paths = None if paths is None else list(paths)
    images = list(images) if hasattr(images, "iloc") else as_numpy(images)
    folder = next((part for part in (images, X) if isinstance(part, ImageFolder)), None)
    classes = _classes(y, folder)
    if images is not None and images is not folder and len(images):
        _check_image(np.shape(images[0]))
    last, Z = estimator, X
    if isinstance(estimator, Pipeline):  # whose other steps, features of a large network say, cost
        last, Z = estimator[-1], estimator[:-1].transform(X)
    probabilities = _checked(last.predict_proba(Z) if probabilities is None else probabilities, Z)
    n_samples, n_clusters = probabilities.shape
    if paths is None:
        names = [str(i) for i in range(n_samples)] if folder is None else list(folder.paths)
    else:
        names = [str(path) for path in paths]
    for name, given in [("paths", names), ("y", classes and classes[0]), ("images", images)]:
        if given is not None and len(given) != n_samples:
            raise ValueError(
                f"{name} must have one entry for each of the {n_samples} samples; got {len(given)}."
            )
    cluster_names = named_clusters(cluster_names, n_clusters)
    labels, sure = probabilities.argmax(1), probabilities.max(1)
    sizes = np.bincount(labels, minlength=n_clusters)
    n_shown = max(1, min(n_images, MOST_THUMBNAILS // (2 * n_clusters)))
    shown = [extremes(np.flatnonzero(labels == k), sure, n_shown) for k in range(n_clusters)]
    title = type(estimator).__name__ if title is None else title
    colours = [cluster_colour(k) for k in range(n_clusters)]
    score = last.score(Z) if hasattr(last, "score") else None
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">{n_samples:,} samples, {n_clusters} clusters'
        + ("" if score is None else f"; score {score:.3f}, from 0 to {np.log(n_clusters):.3f}")
        + "</p>",
        _overview(labels, sure, sizes, classes, cluster_names, colours),
    ]
    if classes is not None:
        parts.append(_confusion(labels, classes, cluster_names))
    points = np.arange(n_samples)[some_of(n_samples, 1, MOST_POINTS, MOST_POINTS)]
    embedding = _embedding(last, Z, points)
    parts.append(_map(embedding, points, labels, sure, names, cluster_names, colours))
    image_of = _image_source(estimator, X, images, folder, paths)
    parts.append(_sheets(shown, sure, sizes, names, cluster_names, colours, image_of))
    parts.append(_settings(estimator, folder))
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        # nothing that a file's name might smuggle in is loaded
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    out = Path(out).expanduser()
    path = out if out.suffix.lower() == ".html" else out / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as partial:
        partial.write_bytes(page.encode("utf-8", "replace"))  # names of files may be no text
    return path


def _checked(probabilities: Any, X: Any) -> np.ndarray:
    """Return probabilities as an array; raise a ValueError unless they are those of `X`."""
    probabilities = np.asarray(as_numpy(probabilities))
    if probabilities.ndim != 2 or len(probabilities) != len(X):
        raise ValueError(
            f"probabilities must have one row for each of the {len(X)} samples and one column for "
            f"each cluster; got shape {probabilities.shape}."
        )
    return probabilities


def _embedding(estimator: Any, X: Any, points: np.ndarray) -> np.ndarray:
    """Return the embedding of some samples, of which those that are streamed are read in parts."""
    if len(points) == len(X):
        return np.asarray(estimator.transform(X))
    source = as_source(X, getattr(estimator, "num_workers", 0))
    if source is None:
        return np.asarray(estimator.transform(_safe_indexing(as_array(X), points)))
    size = max(1, SLICE_BYTES // stored_bytes(source.shape[1:], source.dtype))
    parts = np.split(points, range(size, len(points), size))
    return np.concatenate([np.asarray(estimator.transform(source.read(part))) for part in parts])


def _classes(y: Any, folder: ImageFolder | None) -> tuple[np.ndarray, list[str]] | None:
    """Return each sample's class as a number, and the classes' names; None if none is known.

    Samples without a class have the number 0, if there are any.
    """
    if y is not None:
        y = np.asarray(as_numpy(y))
        if y.ndim != 1:
            raise ValueError(f"y must have one class for each sample; got shape {y.shape}.")
        known = ~_missing(y)
        found, inverse = np.unique(sortable(y[known]), return_inverse=True)
        numbers = np.zeros(len(y), dtype=int)
        numbers[known] = inverse + 1
        return numbers, ["(no class)", *named_labels(found, None, "class")]
    if folder is None or folder.labels is None or folder.label_names is None:
        return None
    names = ["(in no sub-folder)", *folder.label_names]
    return folder.labels + 1, names


def _missing(y: np.ndarray) -> np.ndarray:
    """Return which samples have no class: None, NaN, or -1 unless the classes are -1 and 1."""

    def is_none(value: Any) -> bool:
        try:
            return bool(value is None or value != value)
        except TypeError:  # pandas.NA, which is neither
            return True

    is_missing = np.array([is_none(value) for value in y.tolist()], dtype=bool)
    if y.dtype.kind in "if" and set(np.unique(y[~is_missing])) != {-1, 1}:
        is_missing |= y == -1
    return is_missing


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Return a table of what cells hold, HTML already, or of cells; the first names its row."""
    lines = ["".join(f'<th scope="col">{cell}</th>' for cell in header)]
    for first, *rest in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<th scope="row">{first}</th>{cells}')
    return f'<div class="scroll"><table><tr>{"</tr><tr>".join(lines)}</tr></table></div>'


def _overview(
    labels: np.ndarray,
    sure: np.ndarray,
    sizes: np.ndarray,
    classes: tuple[np.ndarray, list[str]] | None,
    cluster_names: list[str],
    colours: list[str],
) -> str:
    header = ["cluster", "samples", "", "mean probability"]
    if classes is not None:
        header += ["most frequent class", "its share"]

    def rows() -> Iterator[list[str]]:
        for k, size in enumerate(sizes):
            members = labels == k
            width = 160 * size / sizes.max()
            row = [
                f'<span class="dot" style="background:{colours[k]}"></span>'
                f'<a href="#c{k}">{escape(cluster_names[k])}</a>',
                f"{size:,}",
                f'<span class="bar" style="width:{width:.0f}px"></span>',
                f"{sure[members].mean():.2f}" if size else "",
            ]
            if classes is not None:
                numbers, names = classes
                counts = np.bincount(numbers[members], minlength=len(names))[1:]
                n_known = counts.sum()
                row += (
                    [escape(names[1 + counts.argmax()]), f"{counts.max() / n_known:.0%}"]
                    if n_known
                    else ["", ""]
                )
            yield row

    return "<h2>Clusters</h2>" + _table(header, rows())


def _confusion(
    labels: np.ndarray, classes: tuple[np.ndarray, list[str]], cluster_names: list[str]
) -> str:
    """Return how many samples of each class are in which cluster, and how well the two agree."""
    numbers, names = classes
    table = np.zeros((len(names), len(cluster_names)), dtype=int)
    np.add.at(table, (numbers, labels), 1)
    counts = table.sum(1)
    found = np.flatnonzero(counts)
    largest = np.sort(found[np.argsort(-counts[found], kind="stable")][:MOST_CLASSES])

    def rows() -> Iterator[list[str]]:
        for k in largest:
            shares = table[k] / counts[k]
            cells = [
                f'<td style="background:rgba(0,114,178,{0.5 * share:.2f})">{count:,}</td>'
                if count
                else ""
                for count, share in zip(table[k], shares, strict=True)
            ]
            yield [escape(names[k]), *cells, f"{counts[k]:,}"]

    left_out = len(found) - len(largest)
    note = f"The {left_out} smallest classes are left out. " if left_out else ""
    if counts[0]:
        without = "1 sample has" if counts[0] == 1 else f"{counts[0]:,} samples have"
        note += f"{without} no class, and no part in what follows or in the shares above. "
    known = numbers > 0
    if known.any():
        pair = numbers[known], labels[known]
        note += (
            "Accuracy with the best match of clusters to classes "
            f"{clustering_accuracy_score(*pair):.3f}, normalised mutual information "
            f"{normalized_mutual_info_score(*pair):.3f}, adjusted Rand index "
            f"{adjusted_rand_score(*pair):.3f}. "
        )
    return (
        "<h2>Classes and clusters</h2>"
        + _table(["class", *map(escape, cluster_names), "all"], rows())
        + f'<p class="note">{note}'
        "The classes had no part in the clustering.</p>"
    )


def _map(
    embedding: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    sure: np.ndarray,
    names: list[str],
    cluster_names: list[str],
    colours: list[str],
) -> str:
    """Return the map of some samples: a canvas, its data, and the script that draws it."""
    Z = embedding.astype(np.float64)
    # both axes at the same scale
    xy = np.zeros((len(points), 2))
    n_components = min(2, *Z.shape)
    pca = PCA(n_components, random_state=0).set_output(transform="default")
    with np.errstate(invalid="ignore"):  # an embedding in which all samples are the same
        found = pca.fit_transform(Z)
    xy[:, :n_components] = found - found.min(0)
    xy *= COORDINATES / max(xy.max(), 1e-12)
    xy += (COORDINATES - xy.max(0)) / 2

    def packed(values: np.ndarray, dtype: str) -> str:
        return base64.b64encode(values.round().astype(dtype).tobytes()).decode()

    data = {
        "xy": packed(xy, "<u2"),
        "cluster": packed(labels[points], "<u2"),
        "sure": packed(255 * sure[points], "u1"),
        "names": [names[i] for i in points],
        "clusters": cluster_names,
        "colours": colours,
    }
    legend = "".join(
        f'<label><input type="checkbox" value="{k}" checked>'
        f'<span class="dot" style="background:{colour}"></span>{escape(name)}</label>'
        for k, (name, colour) in enumerate(zip(cluster_names, colours, strict=True))
    )
    some = f"{len(points):,} of the samples" if len(points) < len(labels) else "All samples"
    # in a script element, only what looks like its end would end it
    text = json.dumps(data).replace("<", "\\u003c")
    return (
        f'<h2>Map</h2><p class="note">{some}, by the first two principal components of the '
        "embedding. Wheel: zoom; drag: move; double click: all.</p>"
        f'<canvas role="img" aria-label="Map of the samples, coloured by cluster"></canvas>'
        f'<p id="about" aria-live="polite"></p><p id="legend">{legend}</p>'
        f'<script type="application/json" id="data">{text}</script><script>{SCRIPT}</script>'
    )


def _is_image(shape: tuple[int, ...]) -> bool:
    """Return whether it is the shape of an image, its channels first."""
    is_last = len(shape) == 3 and shape[0] not in (1, 3) and shape[2] in (1, 3, 4)
    return len(shape) in (2, 3) and not is_last


def _check_image(shape: tuple[int, ...]) -> None:
    if not _is_image(shape):
        raise ValueError(
            "images must hold arrays of shape (height, width) or (channels, height, width); got "
            f"shape {shape}."
        )


def _image_source(
    estimator: Any, X: Any, images: Any, folder: ImageFolder | None, paths: Sequence[str] | None
) -> tuple[Callable[[int], Any], bool] | None:
    """Return what gives a sample's image, and whether its values are known to be 0 to 255."""
    if images is not None:
        return lambda i: np.asarray(as_numpy(images[i])), images is folder
    if folder is not None:
        return lambda i: folder[i], True
    shape = getattr(estimator, "input_shape_", ())
    if len(shape) != 3:  # of a pipeline, say, whose first step takes images
        shape = tuple(getattr(X, "shape", ()))[1:]
    if _is_image(shape):
        source = as_source(X, 0)
        if source is not None:
            return lambda i: source.read(np.array([i])).reshape(shape), False
        samples = np.asarray(as_array(X))
        return lambda i: samples[i].reshape(shape), False
    if paths is not None and any(Path(path).is_file() for path in paths):
        return lambda i: _file_or_grey(str(paths[i])), True
    return None


def _file_or_grey(path: str) -> np.ndarray | None:
    """Return the image in a file; None if it can't be read."""
    try:
        return _decode(path, (SIDE, SIDE), "RGB")
    except ImportError:  # of Pillow
        raise
    except Exception:  # of many types, depending on where the file is damaged
        return None


def _sheets(
    shown: list[tuple[np.ndarray, np.ndarray]],
    sure: np.ndarray,
    sizes: np.ndarray,
    names: list[str],
    cluster_names: list[str],
    colours: list[str],
    image_of: tuple[Callable[[int], Any], bool] | None,
) -> str:
    """Return the images of each cluster, or the names of the samples where there are none."""
    limits = (0.0, 255.0)
    if image_of is not None and not image_of[1]:
        ranges = [
            (np.nanmin(image), np.nanmax(image))
            for image in (image_of[0](int(i)) for pair in shown for part in pair for i in part)
        ]
        limits = float(min(low for low, _ in ranges)), float(max(high for _, high in ranges))
    parts = ["<h2>What is in them</h2>"]
    unread = []
    for k, (most, least) in enumerate(shown):
        least = least[::-1]
        parts.append(
            f'<h3 id="c{k}"><span class="dot" style="background:{colours[k]}"></span>'
            f"{escape(cluster_names[k])}: {sizes[k]:,} samples</h3>"
        )
        both = np.concatenate([most, least])
        if image_of is not None and len(both):
            tiles = [image_of[0](int(i)) for i in both]
            unread += [names[i] for i, tile in zip(both, tiles, strict=True) if tile is None]
            sheet = _sheet(tiles, limits)
            parts.append(f"<style>.s{k}{{background-image:url({sheet})}}</style>")
        start = 0
        for part, heading in ((most, "most sure"), (least, "least sure of the rest")):
            if not len(part):
                continue
            parts.append(f"<figcaption>{heading}</figcaption>")
            captions = [escape(f"{names[i]}: {sure[i]:.2f}") for i in part]
            if image_of is None:
                parts.append("<p>" + ", ".join(captions) + "</p>")
            else:
                cells = [
                    f'<span class="t s{k}" role="img" title="{caption}" aria-label="{caption}" '
                    f'style="background-position:{-SIDE * (j % N_COLUMNS)}px '
                    f'{-SIDE * (j // N_COLUMNS)}px"></span>'
                    for j, caption in enumerate(captions, start)
                ]
                parts.append(f'<div class="sheet">{"".join(cells)}</div>')
            start += len(part)
    if unread:
        warn(
            f"{len(unread)} of the files to show are missing or no images that can be read, and "
            f"grey in the page; the first is {unread[0]!r}."
        )
    return "\n".join(parts)


def _sheet(images: list[np.ndarray | None], limits: tuple[float, float]) -> str:
    """Return thumbnails side by side, as the address of an image that holds its own data."""
    Image, _ = _pillow()
    n_rows = -(-len(images) // N_COLUMNS)
    sheet = Image.new("RGB", (SIDE * min(len(images), N_COLUMNS), SIDE * n_rows), "#dddddd")
    low, high = limits
    is_small = True
    for number, image in enumerate(images):
        if image is None:  # the ground is left
            continue
        pixels = image[None] if image.ndim == 2 else image
        if len(pixels) not in (1, 3):  # channels that are no colours
            pixels = pixels.mean(0, keepdims=True)
        scaled = (pixels.astype(np.float64) - low) / ((high - low) or 1)
        grey = np.nan_to_num(255 * scaled).clip(0, 255).round().astype(np.uint8)
        tile = Image.fromarray(grey[0]) if len(grey) == 1 else Image.fromarray(
            np.ascontiguousarray(grey.transpose(1, 2, 0))
        )  # fmt: skip
        longer = max(tile.size)
        is_small &= longer <= SMALL
        width, height = (max(1, round(SIDE * side / longer)) for side in tile.size)
        how = Image.Resampling.NEAREST if longer <= SMALL else Image.Resampling.LANCZOS
        row, column = divmod(number, N_COLUMNS)
        at = column * SIDE + (SIDE - width) // 2, row * SIDE + (SIDE - height) // 2
        sheet.paste(tile.resize((width, height), how), at)
    buffer = io.BytesIO()
    if is_small:
        sheet.save(buffer, "PNG", optimize=True)
    else:
        sheet.save(buffer, "JPEG", quality=85)
    kind = "png" if is_small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _settings(estimator: Any, folder: ImageFolder | None) -> str:
    """Return the parameters that aren't the default ones, and the versions."""
    from skdeepclust import __version__

    steps = [] if folder is None else [folder]
    steps += (
        [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    )

    def rows() -> Iterator[list[str]]:
        for step in steps:
            if isinstance(step, ImageFolder):
                given = {"size": step.size, "mode": step.mode}
            elif isinstance(step, BaseEstimator):
                given = step.get_params(deep=False)
            else:
                continue
            defaults = inspect.signature(type(step)).parameters
            yield [f"<b>{escape(type(step).__name__)}</b>", ""]
            for name, value in given.items():
                if repr(value) != repr(defaults[name].default):
                    text = repr(value)
                    text = text if len(text) <= 500 else f"{text[:500]} ..."
                    yield [escape(name), f"<code>{escape(text)}</code>"]

    versions = f"skdeepclust {__version__}, torch {torch.__version__}, scikit-learn "
    versions += sklearn.__version__
    return (
        "<h2>Settings</h2>"
        + _table(["parameter", "value"], rows())
        + f'<p class="note">Other parameters have their default values. {escape(versions)}.</p>'
    )
