"""The displays: what they compute from data, what they draw of it, and what they refuse."""

import copy
import inspect
import re
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from skorch.history import History

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from skdeepclust import (  # noqa: E402
    AutoencoderClustering,
    CatGANClustering,
    ConsensusClustering,
    DACClustering,
    InfoGANClustering,
    SimCLR,
    STDACClustering,
    VaDEClustering,
    VAEClustering,
    cut_tree,
    merge_tree,
    plotting,
)
from skdeepclust.plotting import (  # noqa: E402
    ClusterMontageDisplay,
    ClusterSamplesDisplay,
    ClusterStatisticsDisplay,
    EmbeddingDisplay,
    InterpolationDisplay,
    MergeTreeDisplay,
    SpatialTransformerDisplay,
    TrainingCurvesDisplay,
    _images,
    _statistics,
)
from skdeepclust.plotting._embedding import PALETTE, cluster_colour  # noqa: E402
from skdeepclust.plotting._images import to_unit_range  # noqa: E402

PANEL_DISPLAYS = [ClusterMontageDisplay, ClusterStatisticsDisplay, SpatialTransformerDisplay]
IMAGE_DISPLAYS = [*PANEL_DISPLAYS, InterpolationDisplay]
WITHOUT_X = [TrainingCurvesDisplay, ClusterSamplesDisplay]
DISPLAYS = [*IMAGE_DISPLAYS, EmbeddingDisplay, MergeTreeDisplay, *WITHOUT_X]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def images():
    return load_digits().images[:120]


def fitted(estimator, X):
    with warnings.catch_warnings():
        # whether a cluster stays empty after so little training does not matter here
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X)


@pytest.fixture(scope="module")
def fitted_once():
    """Fits of estimators to the same samples, which are the same for most displays."""
    known = {}

    def get(estimator, X):
        key = joblib.hash([estimator, X])
        if key not in known:
            known[key] = fitted(estimator, X)
        return known[key]

    return get


@pytest.fixture(scope="module")
def st_dac(images):
    return fitted(STDACClustering(n_clusters=4, n_init=1, max_epochs=2, random_state=0), images)


@pytest.fixture(scope="module")
def autoencoder(images):
    estimator = AutoencoderClustering(n_clusters=4, n_init=1, max_epochs=2, random_state=0)
    return fitted(estimator, images)


@pytest.fixture(scope="module")
def infogan(images):
    return fitted(InfoGANClustering(n_clusters=4, n_init=1, max_epochs=2, random_state=0), images)


@pytest.fixture
def model(display, st_dac, autoencoder, infogan):
    """A fitted estimator that `display` can draw."""
    return {InterpolationDisplay: autoencoder, ClusterSamplesDisplay: infogan}.get(display, st_dac)


def draw(display, estimator, X, **options):
    if display is TrainingCurvesDisplay:
        return display.from_estimator(estimator, **options)
    if display is ClusterSamplesDisplay:
        return display.from_estimator(estimator, random_state=0, **options)
    if display is InterpolationDisplay:
        return display.from_estimator(estimator, X[:3], X[3:6], **options)
    return display.from_estimator(estimator, X, **options)


def axes_of(drawn):
    return drawn.axes_ if hasattr(drawn, "axes_") else [drawn.ax_]


def one_hot(labels, n_clusters, confidence):
    """Probabilities with the given argmax and maximum."""
    rest = (1 - np.asarray(confidence)) / (n_clusters - 1)
    probabilities = np.repeat(rest[:, None], n_clusters, axis=1)
    probabilities[np.arange(len(labels)), labels] = confidence
    return probabilities


def titles(display):
    return [ax.get_title() for ax in display.axes_]


def row_labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def column_labels(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


# All displays


@pytest.mark.parametrize("display", DISPLAYS)
def test_from_estimator_draws_a_figure(display, model, images):
    drawn = draw(display, model, images)
    assert isinstance(drawn, display)
    assert all(ax.figure is drawn.figure_ for ax in axes_of(drawn))
    drawn.figure_.canvas.draw()


@pytest.mark.parametrize("display", DISPLAYS)
def test_plot_can_be_called_again(display, model, images):
    drawn = draw(display, model, images)
    figure = drawn.figure_
    assert drawn.plot() is drawn
    assert drawn.figure_ is not figure


@pytest.mark.parametrize("display", DISPLAYS)
def test_an_unfitted_estimator_is_refused(display, model, images):
    with pytest.raises(NotFittedError):
        draw(display, clone(model), images)
    assert not plt.get_fignums()


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib_the_error_says_what_to_install(display, model, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf"{display.__name__} .*skdeepclust\[plot\]"):
        draw(display, model, images)


@pytest.mark.parametrize("display", [*IMAGE_DISPLAYS, ClusterSamplesDisplay])
def test_tabular_data_is_refused(display, model, images):
    X = images.reshape(len(images), -1)
    tabular = fitted(clone(model).set_params(max_epochs=1), X)
    with pytest.raises(ValueError, match=r"estimator must be .* images.*input_shape_=\(64,\)"):
        draw(display, tabular, X)


@pytest.mark.parametrize("display", IMAGE_DISPLAYS)
def test_an_estimator_of_another_kind_is_refused(display, images):
    X = images.reshape(len(images), -1)
    with pytest.raises(ValueError, match="estimator must be a deep clusterer"):
        draw(display, KMeans(3, n_init=1).fit(X), X)


NEEDED = {
    ClusterMontageDisplay: "predict_proba",
    MergeTreeDisplay: "predict_proba",
    ClusterStatisticsDisplay: "spatial_transform",
    SpatialTransformerDisplay: "spatial_transform",
    InterpolationDisplay: "interpolate",
    ClusterSamplesDisplay: "sample",
    EmbeddingDisplay: "transform",
    TrainingCurvesDisplay: "history_",
}


@pytest.mark.parametrize("display", DISPLAYS)
@pytest.mark.parametrize(
    "estimator", [None, "kmeans", KMeans, STDACClustering, KMeans(3), DBSCAN()], ids=repr
)
def test_what_cannot_be_drawn_is_named(display, estimator, images):
    if display is EmbeddingDisplay and isinstance(estimator, KMeans):
        return  # it draws k-means too, as the tests of embeddings show
    X = images.reshape(len(images), -1)
    is_class = isinstance(estimator, type)
    got = estimator.__name__ if is_class else repr(estimator)
    expected = "a fitted instance" if is_class else f"`{NEEDED[display]}`"
    candidates = [estimator]
    if isinstance(estimator, KMeans | DBSCAN):
        candidates.append(clone(estimator).fit(X))
    for candidate in candidates:
        with pytest.raises(ValueError, match=rf"estimator must .*{expected}.*; got ") as error:
            draw(display, candidate, X)
        assert str(error.value).endswith(f"{got}.")


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_pipeline_or_search_is_drawn_or_says_what_to_pass(display, model, images, fitted_once):
    X = images.reshape(len(images), -1)
    deep = clone(model).set_params(image_shape=(8, 8), max_epochs=1)
    pipeline = make_pipeline(MinMaxScaler(), deep)
    search = GridSearchCV(deep, {"lr": [1e-3]}, cv=2)
    both = GridSearchCV(pipeline, {"minmaxscaler__clip": [False]}, cv=2)
    scaled = MinMaxScaler().fit_transform(X)
    places = [
        (pipeline, "estimator[-1]", scaled),
        (search, "estimator.best_estimator_", X),
        (both, "estimator.best_estimator_[-1]", scaled),
        (make_pipeline(deep), "estimator[0]", X),
        (make_pipeline("passthrough", deep), "estimator[-1]", X),
    ]
    for estimator, place, seen in places:
        estimator = fitted_once(estimator, X)
        if display is EmbeddingDisplay:
            assert draw(display, estimator, X).sizes.sum() == len(X)
            continue
        with pytest.raises(ValueError, match=r"(?s)estimator must .*Pass `.*` instead") as error:
            draw(display, estimator, X)
        advised, rest = re.search("Pass `(.*)` instead(.*)", str(error.value)).groups()
        assert advised == place and "refit" not in rest
        has_steps_before = "-1" in place and display not in WITHOUT_X
        assert ("steps before" in rest) == has_steps_before
        draw(display, eval(advised, {"estimator": estimator}), seen)


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_search_without_the_best_estimator_says_what_makes_it(
    display, model, images, fitted_once
):
    X = images.reshape(len(images), -1)
    deep = clone(model).set_params(image_shape=(8, 8), max_epochs=1)
    search = fitted_once(GridSearchCV(deep, {"lr": [1e-3]}, cv=2, refit=False), X)
    with pytest.raises(ValueError, match=r"`estimator\.best_estimator_` instead, .*refit=True"):
        draw(display, search, X)


@pytest.mark.parametrize("display", [ClusterMontageDisplay, SpatialTransformerDisplay])
def test_only_what_is_shown_is_read(display, st_dac, images, monkeypatch):
    read = []
    check = _images.check_images
    monkeypatch.setattr(
        _images, "check_images", lambda X, name: read.append(len(X)) or check(X, name)
    )
    drawn = display.from_estimator(st_dac, images, n_images=3)
    assert 3 <= sum(read) <= 24 < len(images)
    plt.close(drawn.figure_)


@pytest.mark.parametrize("display", IMAGE_DISPLAYS)
def test_there_is_no_advice_to_pass_what_cannot_be_drawn_either(display, images):
    pipeline = make_pipeline(SimCLR(image_shape=(8, 8)), KMeans(3))
    with pytest.raises(ValueError, match=r"(?s)got Pipeline.*\)\.$"):
        draw(display, pipeline, images.reshape(len(images), -1))


def test_a_transformer_is_drawn_where_no_clusters_are_asked_for(images):
    simclr = SimCLR(max_epochs=1, random_state=0).fit(images)
    assert TrainingCurvesDisplay.from_estimator(simclr).lines_.shape == (1, 1)
    EmbeddingDisplay.from_estimator(simclr, images, np.zeros(len(images)))
    for display, needed in {**NEEDED, EmbeddingDisplay: "predict"}.items():
        if display is not TrainingCurvesDisplay:
            with pytest.raises(ValueError, match=rf"estimator must have `{needed}`.*got SimCLR"):
                draw(display, simclr, images)


@pytest.mark.parametrize("display", IMAGE_DISPLAYS)
def test_images_of_another_size_are_refused(display, model, images):
    with pytest.raises(ValueError, match="fitted on samples of shape"):
        draw(display, model, images.repeat(2, axis=1))


@pytest.mark.parametrize("display", IMAGE_DISPLAYS)
@pytest.mark.parametrize("to_layout", [lambda X: X[:, None], torch.as_tensor])
def test_layouts_of_images_do_not_matter(display, model, images, to_layout):
    expected, got = draw(display, model, images), draw(display, model, to_layout(images))
    for one, other in zip(expected.images_.flat, got.images_.flat, strict=True):
        if one is None:
            assert other is None
        else:
            assert_allclose(one.get_array(), other.get_array(), atol=1e-6)


@pytest.mark.parametrize("display", IMAGE_DISPLAYS)
def test_flat_images_take_their_shape_from_the_estimator(display, model, images):
    flat = pd.DataFrame(images.reshape(len(images), -1)).add_prefix("pixel")
    estimator = fitted(clone(model).set_params(image_shape=(8, 8), max_epochs=1), flat)
    drawn = draw(display, estimator, flat)
    assert next(filter(None, drawn.images_.flat)).get_array().shape == (8, 8)


@pytest.mark.parametrize("display", PANEL_DISPLAYS)
def test_images_go_where_the_caller_wants(display, model, images):
    figure = plt.figure(figsize=(4, 4), layout="constrained")
    left, _ = figure.subfigures(1, 2)
    drawn = display.from_estimator(model, images, figure=left, cmap="viridis")
    assert drawn.figure_ is left
    assert next(filter(None, drawn.images_.flat)).get_cmap().name == "viridis"
    figure.canvas.draw()
    assert_array_equal(figure.get_size_inches(), (4, 4))


@pytest.mark.parametrize("display", [EmbeddingDisplay, InterpolationDisplay, ClusterSamplesDisplay])
def test_one_axes_of_the_caller_is_drawn_on(display, model, images):
    figure, (left, right) = plt.subplots(1, 2)
    drawn = draw(display, model, images, ax=right)
    assert drawn.ax_ is right and drawn.figure_ is figure
    assert not left.has_data() and right.has_data()
    assert plt.get_fignums() == [figure.number]
    right.set_title("a title")
    figure.canvas.draw()
    labels = [label for label in right.get_xticklabels() if label.get_text()]
    for label in labels:  # the title stands clear of them
        assert label.get_window_extent().y1 <= right.title.get_window_extent().y0


@pytest.mark.parametrize("display", [*IMAGE_DISPLAYS, ClusterSamplesDisplay])
def test_images_leave_little_of_a_new_figure_empty(display, model, images):
    figure = draw(display, model, images).figure_
    figure.canvas.draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    assert box.width > width - 0.5 and box.height > height - 0.5


def test_images_are_upright_and_plain_in_any_style():
    X = np.zeros((2, 8, 8))
    X[:, 0] = 1  # white at the top
    with plt.rc_context({"image.origin": "lower", "axes.grid": True, "axes.grid.axis": "both"}):
        display = ClusterMontageDisplay.from_predictions(X, [0, 1], n_images=1)
        ax = display.axes_[0]
        assert not any(tick.gridline.get_visible() for tick in ax.xaxis.get_major_ticks())
        assert not any(tick.gridline.get_visible() for tick in ax.yaxis.get_major_ticks())
        display.figure_.canvas.draw()
    drawn = np.asarray(display.figure_.canvas.buffer_rgba())[::-1, :, 0]  # from the bottom
    corners = np.array([[4, 0.5], [4, 7.5]])
    (x, top), (_, bottom) = ax.transData.transform(corners).astype(int)
    assert drawn[top, x] == 255 and drawn[bottom, x] == 0


@pytest.mark.parametrize("shape", [(8, 64), (64, 64)])
def test_labels_of_rows_are_apart_and_leave_the_images_their_room(shape):
    X, labels = np.random.default_rng(0).random((60, *shape)), np.arange(60) % 6
    names = [f"the quite long name of cluster number {k}" for k in range(6)]
    probabilities = one_hot(labels, 6, np.full(60, 0.9))
    for drawn in [
        ClusterMontageDisplay.from_predictions(X, labels, cluster_names=names),
        MergeTreeDisplay.from_predictions(X, probabilities, cluster_names=names),
        ClusterSamplesDisplay(X[:, None][:6].repeat(5, 1), cluster_names=names).plot(),
        ClusterStatisticsDisplay.from_arrays(X, X, labels),
    ]:
        drawn.figure_.canvas.draw()
        ax = next(filter(None, drawn.images_.flat)).axes
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        bottoms, tops = np.array([(box.y0, box.y1) for box in boxes]).T
        assert (tops[1:] < bottoms[:-1]).all(), type(drawn)
        image = next(filter(None, drawn.images_.flat)).get_window_extent()
        assert 0.4 < image.width / drawn.figure_.dpi < 0.8, type(drawn)


def picture(drawn):
    """What is drawn, as a list of arrays."""
    if isinstance(drawn, EmbeddingDisplay):
        return [drawn.points_.get_offsets(), drawn.points_.get_facecolors()]
    if isinstance(drawn, TrainingCurvesDisplay):
        return [line.get_xydata() for line in drawn.lines_.flat]
    return [artist.get_array() for artist in drawn.images_.flat if artist is not None]


def draw_arrays(display, X, labels, to_type=lambda X: X):
    """Draw images, and what else `display` asks for, without an estimator."""
    if display is ClusterMontageDisplay:
        probabilities = to_type(one_hot(labels, 3, np.ones(len(X))))
        return display.from_predictions(to_type(X), probabilities)
    if display is ClusterStatisticsDisplay:
        return display.from_arrays(to_type(X), to_type(X[:, ::-1].copy()), to_type(labels))
    if display is InterpolationDisplay:
        decoded = to_type(np.stack([X, X[::-1]], axis=1))
        return display.from_arrays(to_type(X), decoded, to_type(X[::-1].copy()))
    return display.from_embedding(to_type(X.reshape(len(X), -1)), to_type(labels))


DRAW_ARRAYS = [
    ClusterMontageDisplay, ClusterStatisticsDisplay, InterpolationDisplay, EmbeddingDisplay
]  # fmt: skip


@pytest.mark.parametrize("display", DRAW_ARRAYS)
@pytest.mark.parametrize(
    "to_type",
    [
        lambda X: X.astype(np.uint8),
        lambda X: X.astype(np.int64),
        lambda X: X.astype(np.float32),
        lambda X: X.tolist(),
        lambda X: torch.from_numpy(X.astype(np.uint8)),
        lambda X: torch.from_numpy(X).bfloat16(),
        lambda X: torch.from_numpy(X.astype(float)).requires_grad_(),
    ],
    ids=["uint8", "int64", "float32", "list", "uint8 tensor", "bfloat16 tensor", "tensor in use"],
)
def test_the_same_numbers_make_the_same_picture_in_any_type(display, to_type):
    rng = np.random.default_rng(0)
    X, labels = rng.integers(3, 256, size=(12, 8, 9)), np.arange(12) % 3
    drawn = draw_arrays(display, X, labels, to_type)
    expected = draw_arrays(display, X.astype(float), labels)
    for one, other in zip(picture(drawn), picture(expected), strict=True):
        assert_array_equal(one, other)


def test_arrays_keep_their_units():
    X = np.random.default_rng(0).integers(256, size=(6, 8, 9), dtype=np.uint8)
    probabilities = one_hot([0, 0, 0, 1, 1, 1], 2, [0.9, 0.8, 0.7] * 2)
    montage = ClusterMontageDisplay.from_predictions(X, probabilities, n_images=1)
    assert_array_equal(montage.images, X[montage.indices])
    statistics = ClusterStatisticsDisplay.from_arrays(X, X, np.zeros(6)).statistics
    assert_allclose(statistics["mean"][0, 0], X.mean(0))
    assert_allclose(statistics["std"][1, 0], X.std(0))
    interpolation = InterpolationDisplay.from_arrays(X, X[:, None], X / 255)
    assert_array_equal(interpolation.first, X)
    assert_array_equal(interpolation.decoded[:, 0], X)
    assert_allclose(interpolation.last, X / 255)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize("display", DRAW_ARRAYS)
def test_large_numbers_are_not_rounded(display, dtype):
    X = np.random.default_rng(0).integers(256, size=(12, 8, 9)).astype(dtype)
    labels = np.arange(12) % 3
    drawn = draw_arrays(display, X + 2**30, labels)  # float32 would give steps of 128
    for one, other in zip(picture(drawn), picture(draw_arrays(display, X, labels)), strict=True):
        assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_images_of_an_estimator_are_as_fine_as_it_sees_them(st_dac, images):
    X = images / 7 + 1e6  # float32 would give steps of 1/16
    estimator = fitted(clone(st_dac).set_params(max_epochs=1), X)
    montage = ClusterMontageDisplay.from_estimator(estimator, X)
    shown = montage.indices >= 0
    assert_allclose(montage.images[shown], X[montage.indices[shown]], rtol=0, atol=1e-3)


def test_an_embedding_far_from_zero_is_not_rounded():
    Z = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32) + np.float32(1000)
    one = EmbeddingDisplay.from_embedding(Z, np.zeros(60))
    other = EmbeddingDisplay.from_embedding(Z.astype(float) - 1000, np.zeros(60))
    assert_allclose(one.coordinates, other.coordinates, atol=1e-6)


@pytest.mark.parametrize("display", IMAGE_DISPLAYS)
def test_colours_are_in_the_range_that_matplotlib_takes(display):
    X = np.random.default_rng(0).integers(3, 256, size=(12, 3, 8, 9))
    if display is SpatialTransformerDisplay:
        drawn = display({"original": X.transpose(0, 2, 3, 1)}).plot()
    else:
        drawn = draw_arrays(display, X, np.arange(12) % 3)
    for image in picture(drawn):
        assert image.shape == (8, 9, 3) and image.min() >= 0 and image.max() <= 1


def test_displays_of_integers_are_those_of_floats():
    first, last = np.full((2, 1, 8, 8), 100, dtype=np.int8)
    first[..., 0] = -100  # int8 can't hold the range
    decoded = np.full((1, 2, 8, 8), -120, dtype=np.int8)
    one = InterpolationDisplay(first, decoded, last).plot()
    other = InterpolationDisplay(*(a.astype(float) for a in (first, decoded, last))).plot()
    assert_array_equal(picture(one), picture(other))


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("display", DISPLAYS)
def test_the_output_that_transformers_are_set_to_does_not_matter(display, model, images, output):
    pytest.importorskip(output)
    expected = picture(draw(display, model, images))
    with config_context(transform_output=output):
        configured = [draw(display, model, X) for X in (images, torch.as_tensor(images))]
    estimator = copy.deepcopy(model).set_output(transform=output)
    for drawn in (*configured, draw(display, estimator, images)):
        for one, other in zip(picture(drawn), expected, strict=True):
            assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_an_embedding_can_be_a_data_frame(output):
    module = pytest.importorskip(output)
    Z, y = load_digits(return_X_y=True)
    expected = picture(EmbeddingDisplay.from_embedding(Z, y))
    with config_context(transform_output=output):
        drawn = EmbeddingDisplay.from_embedding(module.DataFrame(Z), module.Series(y))
    for one, other in zip(picture(drawn), expected, strict=True):
        assert_allclose(one, other, atol=1e-9)


def section(docstring, name):
    """The names that a section of a numpydoc docstring lists."""
    lines = inspect.cleandoc(docstring).splitlines()
    if name not in lines:
        return []
    body = lines[lines.index(name) + 2 :]
    end = next((i for i, line in enumerate(body) if line.startswith("---")), len(body) + 1)
    entries = [line for line in body[: end - 1] if line and not line[0].isspace()]
    return [part for line in entries for part in line.split(" : ")[0].split(", ")]


@pytest.mark.parametrize("display", DISPLAYS)
def test_docstrings_name_what_there_is(display, model, images):
    parameters = section(display.__doc__, "Parameters")
    attributes = section(display.__doc__, "Attributes")
    assert parameters == list(inspect.signature(display).parameters)
    drawn = draw(display, model, images)
    for name in parameters + attributes:
        assert hasattr(drawn, name), name
    assert set(attributes) == {name for name in vars(drawn) if name.endswith("_")}
    assert section(display.plot.__doc__, "Returns") == ["self"]
    ways = {name for name in dir(display) if name.startswith("from_")}
    use = re.search(r"Use (.*) to create one", " ".join(display.__doc__.split()))[1]
    assert set(re.findall(r":meth:`(\w+)`", use)) == ways
    assert {name for name in re.findall(r"\bfrom_\w+", display.__doc__)} <= ways
    for other in section(display.__doc__, "See Also"):
        assert other in plotting.__all__
    for name in ways | {"plot"}:
        method = getattr(display, name)
        expected = set(inspect.signature(method).parameters) - {"self"}
        assert set(section(method.__doc__, "Parameters")) == expected, name


NAMED = [
    ClusterMontageDisplay, ClusterSamplesDisplay, ClusterStatisticsDisplay, EmbeddingDisplay,
    MergeTreeDisplay,
]  # fmt: skip


def drawn_texts(drawn):
    """The texts in a figure, each in one line."""
    found = drawn.figure_.findobj(matplotlib.text.Text)
    return {" ".join(text.get_text().split()) for text in found}


@pytest.mark.parametrize("display", NAMED)
def test_clusters_have_names(display, model, images):
    ways = [getattr(display, name) for name in dir(display) if name.startswith("from_")]
    for way in [display, *ways]:
        assert inspect.signature(way).parameters["cluster_names"].default is None
    is_part = display in (ClusterStatisticsDisplay, EmbeddingDisplay)  # of the clusters
    shown = np.unique(model.predict(images)) if is_part else range(4)
    for names in (None, ["ankle boot", "bag", "coat", "dress"]):
        drawn = draw(display, model, images, cluster_names=names)
        expected = [f"cluster {k}" if names is None else names[k] for k in shown]
        for name in expected:
            assert any(text.startswith(name) for text in drawn_texts(drawn)), name
    for wrong in (names[:3], [*names, "shirt"]):
        figures = plt.get_fignums()
        with pytest.raises(ValueError, match=rf"cluster_names .* 4 clusters; got {len(wrong)}"):
            draw(display, model, images, cluster_names=wrong)
        drawn.cluster_names = [*expected, "more"]
        with pytest.raises(ValueError, match=rf"cluster_names .* {len(shown)} clusters; got"):
            drawn.plot()
        assert plt.get_fignums() == figures


def test_labels_have_the_names_of_their_clusters():
    for labels, names, kind, expected in [
        ([0, 2], None, "cluster", ["cluster 0", "cluster 2"]),
        ([0.0, 2.0], None, "cluster", ["cluster 0", "cluster 2"]),
        ([0, 2], None, "digit", ["0", "2"]),
        ([0, 2], "abcd", "cluster", ["a", "c"]),  # of four clusters, two are empty
        ([0, 2], "abcd", "class", ["a", "c"]),
        ([-1, 1], None, "cluster", ["outliers", "cluster 1"]),
        ([-1, 1], "ab", "cluster", ["outliers", "b"]),
        ([-1, 1], None, "class", ["-1", "1"]),
        ([0.0, 1.0, np.nan], None, "cluster", ["cluster 0", "cluster 1", "nan"]),
        ([0.0, 1.0, np.nan], "ab", "class", ["a", "b", "nan"]),
        ([np.nan], None, "class", ["nan"]),
        ([0.5, np.inf], None, "cluster", ["0.5", "inf"]),
        (["bag", "coat"], None, "cluster", ["bag", "coat"]),
    ]:
        assert _images.named_labels(np.array(labels), names, kind) == expected
    with pytest.raises(ValueError, match=r"cluster_names .* 6 clusters; got 2"):
        _images.named_labels(np.array([0, 5]), "ab")
    with pytest.raises(ValueError, match=r"cluster_names .* None where labels are names .*'bag'"):
        _images.named_labels(np.array(["bag", "coat"]), "ab")


def test_labels_at_hand_have_names(st_dac, images):
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.repeat([-1, 0, 2], 10)
    expected = ["outliers", "bag", "dress"]
    display = EmbeddingDisplay.from_embedding(Z, labels, cluster_names=["bag", "coat", "dress"])
    assert entries(display) == [f"{name} (10)" for name in expected]
    X = np.zeros((30, 8, 8))
    display = ClusterStatisticsDisplay.from_arrays(
        X, X, labels, cluster_names=["bag", "coat", "dress"]
    )
    assert column_labels(display.axes_[0]) == expected
    y = load_digits().target[: len(images)] % 2
    names = ["even", "odd"]
    display = EmbeddingDisplay.from_estimator(st_dac, images, y, cluster_names=names, kind="parity")
    assert [entry.split()[0] for entry in entries(display)] == names
    assert display.legend_.get_title().get_text() == "parity (size)"
    display = ClusterStatisticsDisplay.from_estimator(st_dac, images, y, cluster_names=names)
    assert column_labels(display.axes_[0]) == names


def test_a_tensor_without_values_is_refused():
    X, sparse = np.zeros((4, 8, 8)), torch.eye(4).to_sparse()
    with pytest.raises(ValueError, match="must be a dense tensor"):
        ClusterMontageDisplay.from_predictions(X, sparse)
    with pytest.raises(ValueError, match="must be a dense tensor"):
        MergeTreeDisplay.from_predictions(X, sparse)


# ClusterMontageDisplay


def test_montage_orders_each_cluster_by_confidence():
    rng = np.random.default_rng(0)
    labels, confidence = rng.integers(3, size=90), rng.uniform(0.5, 1, size=90)
    X = rng.random((90, 8, 9))
    display = ClusterMontageDisplay.from_predictions(X, one_hot(labels, 3, confidence), n_images=4)
    assert_array_equal(display.sizes, np.bincount(labels))
    for cluster, row in enumerate(display.indices):
        members = sorted(np.flatnonzero(labels == cluster), key=lambda i: -confidence[i])
        assert_array_equal(row, members[:4] + members[-4:])
        assert_allclose(display.images[cluster], X[row])
    assert titles(display) == ["most confident", "least confident"]
    assert row_labels(display.axes_[0])[1] == f"cluster 1\n{display.sizes[1]} images"
    assert row_labels(display.axes_[1]) == []


def test_montage_of_an_estimator_is_that_of_its_predictions(st_dac, images):
    one = ClusterMontageDisplay.from_estimator(st_dac, images, n_images=3)
    other = ClusterMontageDisplay.from_predictions(images, st_dac.predict_proba(images), n_images=3)
    assert_array_equal(one.indices, other.indices)
    assert_allclose(one.images, other.images, atol=1e-5)
    assert_array_equal(one.sizes, np.bincount(st_dac.labels_, minlength=4))


def test_montage_of_labels():
    X = np.arange(6)[:, None, None] + np.zeros((6, 8, 8))
    display = ClusterMontageDisplay.from_predictions(X, [1, 0, 1, -1, 1, 1], n_images=2)
    np.testing.assert_array_equal(display.indices, [[1, -1, -1, -1], [0, 2, 4, 5]])
    np.testing.assert_array_equal(display.sizes, [1, 4])
    for labels in ([0.5] * 6, [-2] * 6, [-1] * 6, ["a"] * 6):
        with pytest.raises(ValueError, match="or labels: integers from 0 on"):
            ClusterMontageDisplay.from_predictions(X, labels)


def test_montage_leaves_places_blank_rather_than_repeat_an_image():
    labels = np.repeat([0, 2, 3, 4], [2, 1, 5, 9])
    probabilities = one_hot(labels, 5, np.linspace(0.9, 0.6, len(labels)))
    display = ClusterMontageDisplay.from_predictions(
        np.zeros((len(labels), 8, 8)), probabilities, n_images=3
    )
    assert_array_equal(
        display.indices,
        [
            [0, 1, -1, -1, -1, -1],
            [-1, -1, -1, -1, -1, -1],
            [2, -1, -1, -1, -1, -1],
            [3, 4, 5, -1, 6, 7],
            [8, 9, 10, 14, 15, 16],
        ],
    )
    assert_array_equal(display.images_ == None, display.indices < 0)  # noqa: E711
    assert [label.split("\n")[1] for label in row_labels(display.axes_[0])] == [
        "2 images",
        "empty",
        "1 image",
        "5 images",
        "9 images",
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 8, 10), (6, 1, 8, 10), (6, 3, 8, 10)])
def test_montage_shows_grey_and_colour_in_the_range_of_what_is_shown(shape, dtype):
    X = np.random.default_rng(0).integers(50, 200, size=shape).astype(dtype)
    probabilities = one_hot([0, 0, 0, 1, 1, 1], 2, [0.9, 0.8, 0.7] * 2)
    display = ClusterMontageDisplay.from_predictions(X, probabilities, n_images=1)
    shown = X[display.indices.ravel()].astype(float)
    shown = (shown - shown.min()) / np.ptp(shown)
    shown = np.moveaxis(shown, 1, -1) if shape[1] == 3 else shown.reshape(-1, 8, 10)
    for artist, image in zip(display.images_.flat, shown, strict=True):
        assert_allclose(artist.get_array(), image, atol=1e-5)
        if shape[1] != 3:
            assert artist.get_clim() == (0, 1)


def test_montage_of_constant_images_and_one_cluster():
    display = ClusterMontageDisplay.from_predictions(np.ones((4, 8, 8)), np.ones((4, 1)))
    assert_array_equal(display.indices, [[0, 1, 2, 3] + [-1] * 12])


def test_montage_names_the_clusters(st_dac, images):
    display = ClusterMontageDisplay.from_estimator(
        st_dac, images, cluster_names=["ankle boot", "bag", "coat", "dress"]
    )
    assert row_labels(display.axes_[0])[0].startswith("ankle boot\n")


@pytest.mark.parametrize(
    ("X", "probabilities", "options", "message"),
    [
        (np.zeros((5, 64)), np.ones((5, 2)), {}, r"X must be images .* shape \(5, 64\)"),
        (np.zeros((5, 8, 8, 3)), np.ones((5, 2)), {}, r"X must be images .* \(5, 8, 8, 3\)"),
        (np.full((5, 8, 8), np.nan), np.ones((5, 2)), {}, "X contains NaN"),
        (np.zeros((5, 8, 8)), np.ones((4, 2)), {}, r"probabilities .* 5 images; got .*\(4, 2\)"),
        (np.zeros((5, 8, 8)), np.ones(5), {}, "or labels: integers"),
        (np.zeros((5, 8, 8)), np.ones((5, 2)), {"n_images": 0}, "n_images == 0, must be >= 1"),
        (
            np.zeros((5, 8, 8)),
            np.ones((5, 2)),
            {"cluster_names": ["a"]},
            "cluster_names .* 2 clusters; got 1",
        ),
    ],
)
def test_montage_refuses(X, probabilities, options, message):
    with pytest.raises(ValueError, match=message):
        ClusterMontageDisplay.from_predictions(X, probabilities, **options)


# MergeTreeDisplay


def test_merge_tree_has_the_most_confident_images_at_its_leaves():
    rng = np.random.default_rng(0)
    probabilities, X = rng.dirichlet(np.full(6, 0.3), size=150), rng.random((150, 8, 9))
    display = MergeTreeDisplay.from_predictions(X, probabilities, n_images=4)
    montage = ClusterMontageDisplay.from_predictions(X, probabilities, n_images=4)
    assert_array_equal(display.tree, merge_tree(probabilities))
    assert_array_equal(np.sort(display.leaves_), range(6))
    assert_allclose(display.images, montage.images[:, :4])
    first = to_unit_range(display.images)[display.leaves_[0]]
    for artist, image in zip(display.images_[0], first, strict=True):
        assert_allclose(artist.get_array(), image)
    images_ax = display.images_[0, 0].axes
    assert row_labels(images_ax)[0].startswith(f"cluster {display.leaves_[0]}\n")
    display.figure_.draw_without_rendering()
    for row, tick in enumerate(images_ax.get_yticks()):  # a leaf is where its images are
        leaf = display.ax_.transData.transform((0, 5 + 10 * row))
        assert_allclose(leaf, images_ax.transData.transform((0, tick)), atol=0.5)


def test_merge_tree_of_an_estimator_is_the_one_that_it_found(st_dac, images):
    display = MergeTreeDisplay.from_estimator(st_dac, images[:20], n_images=2)
    assert_array_equal(display.tree, st_dac.merge_tree_)  # of all samples
    assert_array_equal(display.sizes, np.bincount(st_dac.predict(images[:20]), minlength=4))
    assert display.images_.shape == (4, 2)


def test_merge_tree_of_tabular_data_has_names(images):
    X = images.reshape(len(images), -1)
    members = [(str(k), KMeans(k, random_state=0)) for k in (4, 5)]
    consensus = ConsensusClustering(members, n_clusters=4, random_state=0)
    deep = AutoencoderClustering(4, max_epochs=1, random_state=0)
    for estimator in (consensus, deep):
        display = MergeTreeDisplay.from_estimator(fitted(estimator, X), X, cluster_names="abcd")
        assert display.images_ is None
        names = [label[0] for label in row_labels(display.ax_)]
        assert names == ["abcd"[leaf] for leaf in display.leaves_]


def test_merge_tree_has_a_colour_for_each_cluster_of_a_cut():
    probabilities = np.random.default_rng(0).dirichlet(np.full(8, 0.3), size=200)
    display = MergeTreeDisplay.from_predictions(None, probabilities, n_clusters=3)
    labels = cut_tree(display.tree, 3)[display.leaves_]
    drawn = [label.get_color() for label in display.ax_.get_yticklabels()]
    assert drawn == [PALETTE[label] for label in labels]
    links = [line.get_color() for line in display.ax_.lines[:7]]
    assert sorted(color in PALETTE for color in links) == [False] * 2 + [True] * 5
    probabilities = np.random.default_rng(0).dirichlet(np.full(30, 0.3), size=200)
    display = MergeTreeDisplay.from_predictions(None, probabilities, n_clusters=25)
    assert len({label.get_color() for label in display.ax_.get_yticklabels()}) == 25


def test_greys_and_dark_colours_are_seen_on_a_dark_ground():
    probabilities = np.random.default_rng(0).dirichlet(np.full(12, 0.3), size=200)
    with plt.style.context("dark_background"):
        display = MergeTreeDisplay.from_predictions(None, probabilities, n_clusters=10)
        history = rows(("warm start", 2), ("dac", 2), train_loss=range(4))
        name = TrainingCurvesDisplay.from_histories({"": history}).axes_[0].texts[0]
    drawn = [line.get_color() for line in display.ax_.lines]
    drawn += [label.get_color() for label in display.ax_.get_yticklabels()]
    for color in [*drawn, name.get_color()]:
        rgb, alpha = matplotlib.colors.to_rgb(color), matplotlib.colors.to_rgba(color)[3]
        assert alpha * np.dot(rgb, (0.2, 0.7, 0.1)) > 0.15


@pytest.mark.parametrize(
    ("probabilities", "options", "message"),
    [
        (np.ones((5, 1)), {}, "tree must be one of at least two clusters; got 1"),
        (np.ones((4, 2)), {}, r"probabilities .* 5 images; got .*\(4, 2\)"),
        (np.ones((5, 2)), {"n_clusters": 3}, "n_clusters == 3, must be <= 2"),
        (np.ones((5, 2)), {"n_images": 0}, "n_images == 0, must be >= 1"),
    ],
)
def test_merge_tree_refuses(probabilities, options, message):
    with pytest.raises(ValueError, match=message):
        MergeTreeDisplay.from_predictions(np.zeros((5, 8, 8)), probabilities, **options)


# SpatialTransformerDisplay


def test_spatial_transformer_shows_images_before_and_after(st_dac, images):
    display = SpatialTransformerDisplay.from_estimator(st_dac, images, n_images=5)
    assert titles(display) == ["original", "after training"]
    assert display.images_.shape == (5, 2)
    original, after = display.stages.values()
    assert_allclose(original, images[:5], atol=1e-5)
    assert_allclose(after, st_dac.spatial_transform(images)[:5], atol=1e-5)
    both = np.stack([original, after])
    both = (both - both.min()) / np.ptp(both)
    for stage, row in np.ndindex(2, 5):
        assert_allclose(display.images_[row, stage].get_array(), both[stage, row], atol=1e-6)


def test_spatial_transformer_puts_stages_between(st_dac, images):
    early = images[:, None] / 2
    display = SpatialTransformerDisplay.from_estimator(
        st_dac, images, n_images=3, stages={"after 1 epoch": early, "after 2 epochs": early}
    )
    assert list(display.stages) == ["original", "after 1 epoch", "after 2 epochs", "after training"]
    assert_allclose(display.stages["after 1 epoch"], images[:3] / 2)


def test_spatial_transformer_has_uint8_in_its_own_units(st_dac, images):
    X = (images * 15).astype(np.uint8)
    estimator = fitted(clone(st_dac).set_params(max_epochs=1), X)
    stages = {"same": X}
    display = SpatialTransformerDisplay.from_estimator(estimator, X, stages=stages)
    assert_allclose(display.stages["original"], X[:8], atol=1e-4)
    assert_array_equal(display.stages["same"], X[:8])
    assert 128 < display.stages["after training"].max() < 256


def test_spatial_transformer_of_fewer_images_than_asked_for(st_dac, images):
    display = SpatialTransformerDisplay.from_estimator(st_dac, images[:2])
    assert display.images_.shape == (2, 2)


def test_spatial_transformer_takes_a_dataset(st_dac, images):
    X = torch.utils.data.TensorDataset(torch.from_numpy(images)[:, None])
    display = SpatialTransformerDisplay.from_estimator(st_dac, X, n_images=3)
    expected = SpatialTransformerDisplay.from_estimator(st_dac, images, n_images=3)
    for title, stage in expected.stages.items():
        assert_allclose(display.stages[title], stage, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": {"early": np.zeros((3, 8, 8))}}, r"stages\['early'\] .*got \(3, 8, 8\)"),
        ({"stages": {"early": np.zeros((120, 64))}}, r"stages\['early'\] must be images"),
        ({"n_images": 0}, "n_images == 0"),
    ],
)
def test_spatial_transformer_refuses(st_dac, images, options, message):
    with pytest.raises(ValueError, match=message):
        SpatialTransformerDisplay.from_estimator(st_dac, images, **options)


@pytest.mark.parametrize("display", [SpatialTransformerDisplay, ClusterStatisticsDisplay])
def test_without_spatial_transformer_the_estimator_says_so(display, st_dac, images):
    estimator = fitted(clone(st_dac).set_params(n_st_layers=0, max_epochs=1), images)
    with pytest.raises(ValueError, match=r"estimator must .*spatial transformer.*n_st_layers=0"):
        display.from_estimator(estimator, images)
    dac = fitted(DACClustering(n_clusters=2, n_init=1, max_epochs=1, random_state=0), images)
    with pytest.raises(ValueError, match=r"must have `spatial_transform`.*got DACClustering"):
        display.from_estimator(dac, images)


# ClusterStatisticsDisplay


@pytest.mark.parametrize("shape", [(8, 9), (1, 8, 9), (3, 8, 9)])
def test_statistics_equal_those_of_each_group(shape):
    rng = np.random.default_rng(0)
    original, transformed = rng.random((2, 30, *shape))
    labels = rng.choice(["bag", "coat", "shirt"], size=30)
    display = ClusterStatisticsDisplay.from_arrays(original, transformed, labels)
    assert display.images_.shape == (3, 2, 3)
    for column, label in enumerate(["bag", "coat", "shirt"]):
        for row, X in enumerate([original, transformed]):
            group = X[labels == label].reshape(-1, *shape[-3:])
            group = np.moveaxis(group, 1, -1).squeeze() if len(shape) == 3 else group
            for name, function in [("mean", np.mean), ("std", np.std), ("variance", np.var)]:
                assert_allclose(display.statistics[name][row, column], function(group, axis=0))
    assert [ax.get_ylabel() for ax in display.axes_] == ["mean", "std", "variance"]
    assert row_labels(display.axes_[2]) == ["original", "transformed"]
    assert column_labels(display.axes_[0]) == ["bag", "coat", "shirt"]
    assert column_labels(display.axes_[1]) == []


@pytest.mark.parametrize("offset", [0, 1e9])
def test_statistics_are_those_of_all_parts(offset, st_dac, images, monkeypatch):
    labels = np.arange(len(images)) // 50
    X = images / 16 + offset
    whole = ClusterStatisticsDisplay.from_arrays(X, X[:, ::-1], labels).statistics
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(images)[:, None])
    drawn = [
        ClusterStatisticsDisplay.from_estimator(st_dac, given, labels).statistics
        for given in (images, dataset)
    ]
    monkeypatch.setattr(_statistics, "PART", 64 * 7)
    parts = ClusterStatisticsDisplay.from_arrays(X, X[:, ::-1], labels).statistics
    for name, function in [("mean", np.mean), ("std", np.std), ("variance", np.var)]:
        expected = [function(X[labels == k] - offset, axis=0) for k in range(3)]
        for found in (whole, parts):
            got = found[name][0] - (offset if name == "mean" else 0)
            assert_allclose(got, expected, atol=1e-6)
    read = []
    check = _images.check_images
    monkeypatch.setattr(
        _images, "check_images", lambda X, name: read.append(len(X)) or check(X, name)
    )
    again = ClusterStatisticsDisplay.from_estimator(st_dac, dataset, labels).statistics
    assert max(read) == 7 and sum(read) == 2 * len(images)
    for name in again:
        for other in drawn:
            assert_allclose(again[name], other[name], atol=1e-4)


def test_statistics_of_samples_without_a_label():
    X = np.random.default_rng(0).random((6, 8, 8))
    display = ClusterStatisticsDisplay.from_arrays(X, X, [0, 1, np.nan, 0, 1, np.nan])
    assert display.cluster_names == ["cluster 0", "cluster 1", "nan"]
    assert_allclose(display.statistics["mean"][0, 2], X[[2, 5]].mean(0))


def test_statistics_share_a_scale_between_original_and_transformed():
    X = np.random.default_rng(0).random((20, 8, 8))
    display = ClusterStatisticsDisplay.from_arrays(X, X / 2, np.zeros(20, dtype=int))
    for original, transformed in display.images_[:, :, 0]:
        assert original.get_array().max() == 1
        assert transformed.get_array().max() < 1
        assert min(original.get_array().min(), transformed.get_array().min()) == 0


def test_statistics_default_to_the_predicted_clusters(st_dac, images):
    display = ClusterStatisticsDisplay.from_estimator(st_dac, images)
    transformed, labels = st_dac.spatial_transform(images), st_dac.predict(images)
    expected = ClusterStatisticsDisplay.from_arrays(images, transformed, labels)
    for name, values in display.statistics.items():
        assert_allclose(values, expected.statistics[name], atol=1e-4)
    assert display.cluster_names == [f"cluster {k}" for k in np.unique(labels)]


def test_statistics_take_true_classes(st_dac, images):
    y = load_digits().target[: len(images)]
    display = ClusterStatisticsDisplay.from_estimator(st_dac, images, y)
    assert display.cluster_names == [str(k) for k in range(10)]


def test_statistics_refuse_what_does_not_fit(st_dac, images):
    with pytest.raises(ValueError, match=r"y must .* 120 samples; got 3"):
        ClusterStatisticsDisplay.from_estimator(st_dac, images, [0, 1, 2])
    with pytest.raises(ValueError, match=r"labels must .* 120 samples; got 2"):
        ClusterStatisticsDisplay.from_arrays(images, images, [0, 1])
    with pytest.raises(ValueError, match=r"transformed .*\(120, 8, 8\).*got \(60, 8, 8\)"):
        ClusterStatisticsDisplay.from_arrays(images, images[::2], np.zeros(120))


# TrainingCurvesDisplay


def rows(*phases, **columns):
    """A history with phases of (name, epochs); a column of None is absent from that row."""
    names = [name for name, n_epochs in phases for _ in range(n_epochs)]
    history = [{"batches": [], "phase": name} for name in names]
    for column, values in columns.items():
        for row, value in zip(history, values, strict=True):
            if value is not None:
                row[column] = value
    return history


def texts(display):
    return [text.get_text() for text in display.axes_[0].texts]


def boundaries(ax):
    return [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]


def test_curves_of_an_estimator(st_dac):
    display = TrainingCurvesDisplay.from_estimator(st_dac, columns=["train_loss", "dur"])
    assert display.lines_.shape == (2, 1)
    for (line,), column in zip(display.lines_, ["train_loss", "dur"], strict=True):
        assert_array_equal(line.get_xdata(), [1, 2])
        assert_allclose(line.get_ydata(), st_dac.history_[:, column])
    assert [ax.get_ylabel() for ax in display.axes_] == ["train_loss", "dur"]
    assert display.axes_[1].get_xlabel() == "epoch"
    assert texts(display) == [] and display.axes_[0].get_legend() is None


def test_curves_of_several_histories():
    histories = {
        "0 layers": History(rows(("dac", 3), train_loss=[3, 2, 1])),
        "1 layer": rows(("dac", 2), train_loss=[np.float32(2.0), 1.5]),
    }
    display = TrainingCurvesDisplay.from_histories(histories, line_kw={"linewidth": 4})
    one, other = display.lines_[0]
    assert_array_equal(one.get_ydata(), [3, 2, 1])
    assert_array_equal(other.get_xydata(), [[1, 2], [2, 1.5]])
    assert one.get_linewidth() == 4
    legend = display.axes_[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list(histories)


def test_several_columns_of_several_histories():
    histories = {
        "a": rows(("dac", 2), train_loss=[2, 1], dur=[3, 4]),
        "b": rows(("dac", 2), train_loss=[5, 6], dur=[7, 8]),
    }
    display = TrainingCurvesDisplay.from_histories(histories, columns=("train_loss", "dur"))
    values = [[line.get_ydata() for line in panel] for panel in display.lines_]
    assert_array_equal(values, [[[2, 1], [5, 6]], [[3, 4], [7, 8]]])
    one = TrainingCurvesDisplay.from_histories(histories, columns="dur")
    assert list(one.curves) == ["dur"]


def test_curves_skip_rows_without_the_column():
    history = rows(("dac", 4), accuracy=[None, 0.5, None, 0.7])
    display = TrainingCurvesDisplay.from_histories({"": history}, columns="accuracy")
    assert_array_equal(display.lines_[0, 0].get_xydata(), [[2, 0.5], [4, 0.7]])


def test_curves_mark_phases():
    phases = [("warm start", 2), ("dac", 3)]
    history = rows(*phases, train_loss=[5, 4, 3, 2, 1])
    shorter = history[:4]  # stopped early
    display = TrainingCurvesDisplay.from_histories({"short": shorter, "long": history})
    assert display.phases == [("warm start", 1, 2), ("dac", 3, 5)]
    assert texts(display) == ["warm start", "dac"]
    assert boundaries(display.axes_[0]) == [2.5]
    nan = np.nan  # the curve is interrupted between the phases
    assert_array_equal(display.lines_[0, 0].get_ydata(), [5, 4, nan, 3, 2])


@pytest.mark.parametrize(("style", "n_colors"), [("default", 10), ("ggplot", 7)])
def test_curves_of_more_histories_than_colours(style, n_colors):
    histories = {str(i): rows(("dac", 2), train_loss=[2, 1]) for i in range(12)}
    with plt.style.context(style):
        lines = TrainingCurvesDisplay.from_histories(histories).lines_[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12
    assert {line.get_linestyle() for line in lines[:n_colors]} == {"-"}


def test_the_legend_of_many_curves_is_beside_them():
    histories = {f"run {i}": rows(("dac", 2), train_loss=[2, 1]) for i in range(14)}
    display = TrainingCurvesDisplay.from_histories(histories)
    display.figure_.canvas.draw()
    ax, figure = display.axes_[0], display.figure_
    box = ax.get_legend().get_window_extent()
    assert box.x0 >= ax.get_window_extent().x1 and box.x1 <= figure.bbox.x1
    assert box.height <= figure.bbox.height and ax.get_window_extent().width > 350
    display = TrainingCurvesDisplay.from_histories(histories, ax=plt.subplots()[1])
    assert display.axes_[0].get_legend()._ncols > 1


def test_curves_have_a_label_of_the_caller():
    history = rows(("dac", 2), train_loss=[2, 1])
    display = TrainingCurvesDisplay.from_histories({"": history}, line_kw={"label": "mine"})
    assert display.lines_[0, 0].get_label() == "mine"
    assert [t.get_text() for t in display.axes_[0].get_legend().get_texts()] == ["mine"]


@pytest.mark.parametrize("n_epochs", [[1] * 12, [50, 1, 1, 1], [1, 1, 1, 50]])
def test_curves_turn_the_names_of_narrow_phases(n_epochs):
    phases = [(f"phase {i}", n) for i, n in enumerate(n_epochs)]
    history = rows(*phases, train_loss=range(sum(n_epochs)))
    display = TrainingCurvesDisplay.from_histories({"": history})
    display.figure_.canvas.draw()
    names = display.axes_[0].texts
    assert [text.get_text() for text in names] == [name for name, _ in phases]
    assert {text.get_rotation() for text in names} == {40}
    lefts = np.array([text.get_window_extent().x0 for text in names])
    assert np.diff(lefts).min() > 15  # so that lines of text are apart
    wide = rows(*[(f"phase {i}", 9) for i in range(5)], train_loss=range(45))
    names = TrainingCurvesDisplay.from_histories({"": wide}).axes_[0].texts
    assert {text.get_rotation() for text in names} == {0}


def test_names_of_very_many_phases_leave_the_curves_their_room():
    history = rows(*[(f"phase {i}", 1) for i in range(200)], train_loss=range(200))
    display = TrainingCurvesDisplay.from_histories({"": history})
    display.figure_.canvas.draw()
    assert len(display.axes_[0].texts) < 50
    assert display.axes_[0].get_window_extent().width > 350


def test_curves_do_not_mark_phases_that_differ():
    histories = {
        "a": rows(("warm start", 1), ("dac", 2), train_loss=[3, 2, 1]),
        "b": rows(("warm start", 2), ("dac", 1), train_loss=[3, 2, 1]),
    }
    display = TrainingCurvesDisplay.from_histories(histories)
    assert display.phases == [] and texts(display) == [] and boundaries(display.axes_[0]) == []


def test_curves_go_where_the_caller_wants():
    figure, axes = plt.subplots(2)
    history = rows(("dac", 2), train_loss=[2, 1], dur=[1, 1])
    display = TrainingCurvesDisplay.from_histories({"": history}, ax=axes[1])
    assert display.figure_ is figure and display.axes_[0] is axes[1]
    assert not axes[0].lines


def test_curves_refuse(st_dac):
    with pytest.raises(ValueError, match=r"columns must .*'STDACClustering', .*train_loss.*'nmi'"):
        TrainingCurvesDisplay.from_estimator(st_dac, columns="nmi")
    with pytest.raises(ValueError, match=r"history of 'b', \['dur'\]; got 'train_loss'"):
        TrainingCurvesDisplay.from_histories(
            {"a": rows(("dac", 1), train_loss=[1]), "b": rows(("dac", 1), dur=[1])}
        )
    with pytest.raises(ValueError, match=r"columns must .*'train_loss_best'"):  # not a number
        TrainingCurvesDisplay.from_estimator(st_dac, columns=["train_loss_best"])
    with pytest.raises(ValueError, match="columns must name one column or more; got none"):
        TrainingCurvesDisplay.from_estimator(st_dac, columns=[])
    with pytest.raises(ValueError, match="histories must hold one"):
        TrainingCurvesDisplay.from_histories({})
    with pytest.raises(ValueError, match=r"ax must be one Axes .*\['train_loss', 'dur'\]; got 1"):
        TrainingCurvesDisplay.from_estimator(
            st_dac, columns=["train_loss", "dur"], ax=plt.subplots()[1]
        )


# EmbeddingDisplay


def colors_of(display):
    """The cluster of each point by its colour, as drawn."""
    palette = {matplotlib.colors.to_rgb(cluster_colour(k)): k for k in range(-1, 100)}
    return np.array([palette[tuple(rgba[:3])] for rgba in display.points_.get_facecolors()])


def entries(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def test_embedding_draws_principal_components_by_cluster(st_dac, images):
    display = EmbeddingDisplay.from_estimator(st_dac, images)
    Z = st_dac.transform(images).astype(float)
    assert_array_equal(np.sort(display.indices), np.arange(len(images)))
    points = display.points_.get_offsets()
    assert_array_equal(points, display.coordinates)
    left, singular_values, _ = np.linalg.svd(Z - Z.mean(0), full_matrices=False)
    expected = (left * singular_values)[display.indices, :2]
    scale = np.abs(expected).max()
    assert_allclose(np.abs(points), np.abs(expected), atol=1e-3 * scale)
    labels = st_dac.predict(images)
    clusters, sizes = np.unique(labels, return_counts=True)
    assert_array_equal(colors_of(display), labels[display.indices])
    assert entries(display) == [f"cluster {k} ({n})" for k, n in zip(clusters, sizes, strict=True)]
    assert display.legend_.get_title().get_text() == "cluster (size)"
    shares = singular_values[:2] ** 2 / (singular_values**2).sum()
    assert_allclose(display.explained_variance_ratio, shares, atol=1e-3)
    shares = display.explained_variance_ratio
    assert display.ax_.get_xlabel() == f"PC 1 ({shares[0]:.0%} of variance)"
    assert display.ax_.get_ylabel() == f"PC 2 ({shares[1]:.0%} of variance)"


def test_embedding_takes_true_classes_and_needs_no_predict(st_dac, images):
    y = np.array(["even", "odd"])[load_digits().target[: len(images)] % 2]
    display = EmbeddingDisplay.from_estimator(st_dac, images, y)
    assert_array_equal(np.array(["even", "odd"])[colors_of(display)], y[display.indices])
    assert entries(display) == [f"{k} ({(y == k).sum()})" for k in ("even", "odd")]
    assert display.legend_.get_title().get_text() == "class (size)"
    X = images.reshape(len(images), -1)
    scaler = StandardScaler().fit(X)
    assert_array_equal(EmbeddingDisplay.from_estimator(scaler, X, y).sizes, display.sizes)
    with pytest.raises(ValueError, match=r"estimator must have `predict`.*; got StandardScaler"):
        EmbeddingDisplay.from_estimator(scaler, X)


def test_embedding_draws_a_random_part_of_many_samples():
    rng = np.random.default_rng(0)
    Z, labels = rng.normal(size=(500, 4)), np.repeat([3, 5], [400, 100])
    every = EmbeddingDisplay.from_embedding(Z, labels, n_samples=None)
    part = EmbeddingDisplay.from_embedding(Z, labels, n_samples=200)
    again = EmbeddingDisplay.from_embedding(Z, labels, n_samples=200)
    other = EmbeddingDisplay.from_embedding(Z, labels, n_samples=200, random_state=1)
    assert len(every.points_.get_offsets()) == 500
    assert len(part.points_.get_offsets()) == len(np.unique(part.indices)) == 200
    assert_array_equal(part.indices, again.indices)
    assert set(part.indices) != set(other.indices)
    # components and sizes are those of all samples
    assert_array_equal(part.coordinates, every.coordinates[np.argsort(every.indices)][part.indices])
    assert entries(part) == entries(every) == ["cluster 3 (400)", "cluster 5 (100)"]
    assert part.points_.get_sizes() > every.points_.get_sizes()
    assert part.points_.get_alpha() >= every.points_.get_alpha()


def test_embedding_mixes_the_clusters_in_the_order_of_drawing():
    Z, labels = np.random.default_rng(0).normal(size=(1000, 3)), np.repeat(np.arange(10), 100)
    drawn = colors_of(EmbeddingDisplay.from_embedding(Z, labels))
    assert 850 < (np.diff(drawn) != 0).sum() < 950  # 9 of 10 in random order


def test_embedding_of_many_clusters_has_colours_and_shapes():
    rng = np.random.default_rng(0)
    labels = np.resize(np.arange(45), 450)
    Z = rng.normal(size=(450, 3))
    for n_clusters, n_columns in [(10, 1), (20, 1), (40, 2), (45, None)]:
        display = EmbeddingDisplay.from_embedding(Z, labels % n_clusters)
        drawn = labels[display.indices] % n_clusters
        assert_array_equal(colors_of(display), drawn)
        paths = display.points_.get_paths()
        if n_clusters == 10:
            assert len(paths) == 1
        else:
            shapes = {
                (p.vertices.tobytes(), label // 10) for p, label in zip(paths, drawn, strict=True)
            }
            assert len(shapes) == len({shape for shape, _ in shapes}) == -(-n_clusters // 10)
        assert (display.legend_ is None) == (n_columns is None)
        if n_columns:
            assert display.legend_._ncols == n_columns
            assert len(entries(display)) == n_clusters
            display.figure_.canvas.draw()
            box = display.legend_.get_window_extent()
            assert box.x0 >= display.ax_.get_window_extent().x1
            assert box.x1 <= display.figure_.bbox.x1 and box.height <= display.figure_.bbox.height
    display = EmbeddingDisplay.from_embedding(Z, labels, legend=True)
    assert display.legend_._ncols == 3
    without = EmbeddingDisplay.from_embedding(Z, np.arange(450))
    assert without.legend_ is None
    assert without.figure_.get_figwidth() < display.figure_.get_figwidth()


def test_a_cluster_has_the_colour_of_its_number():
    Z = np.random.default_rng(0).normal(size=(40, 3))
    for labels in ([-1, 0, 2, 30], [0.0, 2.0, 30.0, np.nan]):
        labels = np.resize(labels, 40)
        display = EmbeddingDisplay.from_embedding(Z, labels)
        expected = np.nan_to_num(labels, nan=-1)
        assert_array_equal(colors_of(display), expected[display.indices])
        handles = display.legend_.legend_handles
        shapes = {h.get_color(): h.get_marker() for h in handles}
        assert shapes == {cluster_colour(k): m for k, m in zip([-1, 0, 2, 30], "XooD", strict=True)}
    labels = np.resize([-7, 0, 5], 40)  # no clusters
    display = EmbeddingDisplay.from_embedding(Z, labels)
    assert set(colors_of(display)) == {0, 1, 2}


def test_the_palette_can_be_told_apart():
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in PALETTE])
    assert len(PALETTE) == 20
    luminance = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    # deuteranopia, the most frequent colour blindness, after Machado et al. (2009)
    seen = luminance @ np.array(
        [
            [0.367322, 0.280085, -0.01182],
            [0.860646, 0.672501, 0.04294],
            [-0.227968, 0.047413, 0.968881],
        ]
    )
    for colors in (luminance, seen):
        shades = np.cbrt(colors.clip(0, 1))
        distances = np.linalg.norm(shades[:, None] - shades, axis=-1)
        assert distances[np.triu_indices(20, 1)].min() > 0.08
        assert np.linalg.norm(shades - 1, axis=1).min() > 0.25  # from white


def test_embedding_has_a_legend_where_the_figure_makes_room():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    for layout, expected in [(None, False), ("constrained", True), ("tight", True)]:
        ax = plt.figure(layout=layout).subplots()
        assert bool(EmbeddingDisplay.from_embedding(Z, labels, ax=ax).legend_) is expected
    display = EmbeddingDisplay.from_embedding(Z, labels, ax=plt.subplots()[1], legend=True)
    assert entries(display) == [f"cluster {k} (10)" for k in range(3)]
    assert display.plot(legend=False).legend_ is None


def test_embedding_passes_options_to_scatter():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 15
    options = {"s": 3, "alpha": 1, "marker": "x"}
    display = EmbeddingDisplay.from_embedding(Z, labels, scatter_kw=options, kind="group")
    assert display.points_.get_sizes() == [3] and display.points_.get_alpha() == 1
    assert len(display.points_.get_paths()) == 1 and display.points_.get_linewidths() > 0
    assert {handle.get_marker() for handle in display.legend_.legend_handles} == {"x"}
    assert display.legend_.get_title().get_text() == "group (size)"


def test_other_names_of_options_are_taken(st_dac):
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    options = {"lw": 2, "color": "red"}
    points = EmbeddingDisplay.from_embedding(Z, labels, scatter_kw=options).points_
    assert points.get_linewidths() == [2]
    assert_allclose(points.get_facecolors(), [[1, 0, 0, points.get_alpha()]])
    points = EmbeddingDisplay.from_embedding(Z, labels, scatter_kw={"linewidths": 3}).points_
    assert points.get_linewidths() == [3] and len(points.get_facecolors()) == 30
    curves = TrainingCurvesDisplay.from_estimator(st_dac, line_kw={"lw": 4, "c": "red"})
    assert curves.lines_[0][0].get_linewidth() == 4


def handle_colors(display):
    handles = display.legend_.legend_handles
    return [[h.get_markerfacecolor(), h.get_markeredgecolor()] for h in handles]


def test_the_legend_has_the_colours_of_the_points():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3

    def draw(**options):
        return EmbeddingDisplay.from_embedding(Z, labels, scatter_kw=options)

    own = PALETTE[:3]
    assert handle_colors(draw()) == [[color, color] for color in own]
    for options in ({"color": "red"}, {"c": "red"}, {"facecolor": "red"}):
        display = draw(**options)
        assert handle_colors(display) == [["red", "red"]] * 3
        assert_allclose(display.points_.get_facecolors()[:, :3], [[1, 0, 0]])
    display = draw(edgecolor="red")
    assert handle_colors(display) == [[color, "red"] for color in own]
    assert display.points_.get_linewidths() > 0 and set(colors_of(display)) == {0, 1, 2}
    display = draw(facecolor="none")
    assert handle_colors(display) == [["none", color] for color in own]
    assert len(display.points_.get_facecolors()) == 0
    edges = [matplotlib.colors.to_hex(edge) for edge in display.points_.get_edgecolors()]
    assert edges == [own[label] for label in labels[display.indices]]
    display = draw(cmap="viridis")
    expected = plt.get_cmap("viridis")([0.0, 0.5, 1.0])
    assert_allclose([face for face, _ in handle_colors(display)], expected)
    display.figure_.canvas.draw()
    assert_allclose(display.points_.get_facecolors()[:, :3], expected[labels[display.indices], :3])


def test_options_of_each_point_are_in_the_order_of_the_samples():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    for n_samples in (None, 20):
        options = {"c": pd.Series(range(30), range(1, 31)), "s": list(range(1, 31))}
        display = EmbeddingDisplay.from_embedding(
            Z, labels, n_samples=n_samples, scatter_kw=options
        )
        assert_array_equal(display.points_.get_array(), display.indices)
        assert_array_equal(display.points_.get_sizes(), display.indices + 1)
        assert display.legend_ is None


def test_dark_points_have_an_outline_on_a_dark_ground():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.resize([0, 7], 30)
    display = EmbeddingDisplay.from_embedding(Z, labels)
    assert_array_equal(display.points_.get_linewidths(), 0)
    with plt.style.context("dark_background"):
        display = EmbeddingDisplay.from_embedding(Z, labels)
    outlined = labels[display.indices] == 7
    assert_array_equal(display.points_.get_linewidths(), np.where(outlined, 0.6, 0))
    assert_array_equal(display.points_.get_edgecolors()[outlined, :3], 1)
    assert [edge for _, edge in handle_colors(display)] == [PALETTE[0], "#ffffff"]


def test_long_names_leave_the_map_its_room():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    names = ["a name of twenty-nine letters", "of the second cluster " * 4]
    display = EmbeddingDisplay.from_embedding(Z, labels, cluster_names=names)
    assert entries(display) == [f"{names[0]} (15)", f"{names[1][:29]}… (15)"]
    display.figure_.canvas.draw()
    assert display.ax_.get_window_extent().width > 350


def test_a_figure_that_could_not_be_drawn_is_closed(st_dac, images):
    X, labels = images.reshape(len(images), -1), np.arange(len(images)) % 3
    for display, *arguments, options in [
        (EmbeddingDisplay.from_embedding, X, labels, {"scatter_kw": {"s": "large"}}),
        (TrainingCurvesDisplay.from_estimator, st_dac, {"line_kw": {"length": 3}}),
        (ClusterMontageDisplay.from_estimator, st_dac, images, {"cmap": "none such"}),
    ]:
        with pytest.raises((ValueError, AttributeError)):
            display(*arguments, **options)
        assert not plt.get_fignums()


def test_missing_names_are_drawn():
    Z, labels = np.random.default_rng(0).normal(size=(30, 3)), ["a", None, "b"] * 10
    display = EmbeddingDisplay.from_embedding(Z, pd.Series(labels, dtype=object))
    assert entries(display) == ["None (10)", "a (10)", "b (10)"]
    X = np.zeros((30, 8, 8))
    drawn = ClusterStatisticsDisplay.from_arrays(X, X, pd.Series(labels, dtype=object))
    assert drawn.cluster_names == ["None", "a", "b"]


def test_a_consensus_says_that_it_is_not_fitted():
    members = [("a", KMeans(3)), ("b", KMeans(4))]
    with pytest.raises(NotFittedError):
        MergeTreeDisplay.from_estimator(ConsensusClustering(members), np.zeros((9, 2)))


def test_embedding_that_collapsed_is_drawn():
    display = EmbeddingDisplay.from_embedding(np.ones((20, 5), np.float32), np.zeros(20))
    assert_array_equal(display.coordinates, 0)
    assert display.ax_.get_xlabel() == "PC 1 (0% of variance)"


@pytest.mark.parametrize(
    ("Z", "labels", "options", "message"),
    [
        (np.zeros((5, 1)), np.zeros(5), {}, r"Z must .* two features or more; got shape \(5, 1\)"),
        (np.zeros((1, 5)), np.zeros(1), {}, r"Z must have two samples .*\(1, 5\)"),
        (np.full((5, 2), np.nan), np.zeros(5), {}, "Z contains NaN"),
        (np.zeros((5, 2)), np.zeros(4), {}, "labels must .* 5 samples; got 4"),
        (np.zeros((5, 2)), np.zeros(5), {"n_samples": 0}, "n_samples == 0, must be >= 1"),
        (np.zeros((5, 2)), np.zeros(5), {"legend": "right"}, "legend must be .*; got 'right'"),
    ],
)
def test_embedding_refuses(Z, labels, options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_embedding(Z, labels, **options)
    assert not plt.get_fignums()


def test_embedding_names_what_an_estimator_gives(st_dac, images):
    with pytest.raises(ValueError, match=r"y must have .* 120 samples; got 3"):
        EmbeddingDisplay.from_estimator(st_dac, images, [0, 1, 2])
    X = images.reshape(len(images), -1)
    with pytest.raises(ValueError, match=r"transform\(X\) must .*got shape \(120, 1\)"):
        EmbeddingDisplay.from_estimator(KMeans(1, n_init=1).fit(X), X)


# InterpolationDisplay


def shown(display):
    """The images as drawn, of shape (n_pairs, n_steps + 2, ...)."""
    return np.array([[image.get_array() for image in row] for row in display.images_])


@pytest.mark.parametrize(
    "to_layout",
    [
        lambda X: X,
        lambda X: X[:, None],
        lambda X: X.reshape(len(X), -1),
        lambda X: np.stack([X, X / 2, X[::-1]], axis=1),
        lambda X: (X * 15).astype(np.uint8),
    ],
    ids=["h w", "1 h w", "flat", "3 h w", "uint8"],
)
def test_interpolation_of_an_estimator(images, to_layout):
    X = to_layout(images)
    estimator = AutoencoderClustering(4, image_shape=None, n_init=1, max_epochs=1, random_state=0)
    if X.ndim == 2:
        estimator.set_params(image_shape=(8, 8))
    estimator = fitted(estimator, X)
    display = InterpolationDisplay.from_estimator(estimator, X[:3], X[5:8], n_steps=4)
    first, last = X[:3].astype(float), X[5:8].astype(float)
    decoded = estimator.interpolate(to_layout(images)[:3], to_layout(images)[5:8], n_steps=4)
    expected = np.concatenate([first[:, None], decoded, last[:, None]], axis=1)
    low, high = min(first.min(), last.min()), max(first.max(), last.max())
    expected = ((expected - low) / (high - low)).clip(0, 1)
    if X.ndim == 4 and X.shape[1] == 3:
        expected = np.moveaxis(expected, 2, -1)
    assert display.images_.shape == (3, 6)
    expected = expected.reshape(shown(display).shape)
    assert_allclose(shown(display), expected, atol=1e-4)


def test_interpolation_parts_originals_from_what_is_decoded():
    X1, X2 = np.zeros((2, 8, 10)), np.ones((2, 8, 10))
    display = InterpolationDisplay.from_arrays(X1, np.linspace(X1, X2, 4, axis=1), X2)
    lefts, rights, bottoms, tops = np.array([i.get_extent() for i in display.images_[0]]).T
    gaps = lefts[1:] - rights[:-1]
    assert_allclose(gaps[1:-1], gaps[1])
    assert gaps[0] == pytest.approx(gaps[-1]) and gaps[0] > 4 * gaps[1] > 0
    assert_allclose(rights - lefts, 10)
    assert_allclose(bottoms - tops, 8)
    assert display.images_[1, 0].get_extent()[3] > bottoms[0]  # the second pair is below
    assert column_labels(display.ax_) == ["original", "decoded", "original"]
    centers = (lefts + rights) / 2
    assert_allclose(display.ax_.get_xticks(), [centers[0], centers[1:-1].mean(), centers[-1]])
    assert display.ax_.get_aspect() == 1


def test_interpolation_has_black_and_white_from_the_originals():
    X1, X2 = np.full((1, 8, 8), 2.0), np.full((1, 8, 8), 4.0)
    decoded = np.array([-1.0, 2.5, 9.0])[None, :, None, None] * np.ones((8, 8))
    display = InterpolationDisplay.from_arrays(X1, decoded, X2, cmap="viridis")
    assert_allclose(shown(display)[0, :, 0, 0], [0, 0, 0.25, 1, 1])
    assert display.images_[0, 0].get_clim() == (0, 1)
    assert display.images_[0, 0].get_cmap().name == "viridis"
    constant = InterpolationDisplay.from_arrays(X1, decoded, X1)
    assert np.isfinite(shown(constant)).all()


@pytest.mark.parametrize(
    ("X1", "decoded", "X2", "message"),
    [
        (np.zeros((2, 64)), np.zeros((2, 3, 8, 8)), np.zeros((2, 8, 8)), "X1 must be images"),
        (np.zeros((2, 8, 8)), np.zeros((2, 3, 8, 8)), np.zeros((2, 64)), "X2 must be images"),
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), "decoded .* 2 pairs"),
        (np.zeros((2, 8, 8)), np.zeros((3, 3, 8, 8)), np.zeros((2, 8, 8)), "decoded .* 2 pairs"),
        (np.zeros((2, 8, 8)), np.zeros((2, 3, 2, 8, 8)), np.zeros((2, 8, 8)), "decoded must be"),
        (
            np.zeros((2, 8, 8)),
            np.zeros((2, 3, 8, 9)),
            np.zeros((2, 8, 8)),
            r"decoded must .* X1, \(8, 8\) .*got \(8, 9\)",
        ),
        (
            np.zeros((2, 8, 8)),
            np.zeros((2, 3, 8, 8)),
            np.zeros((2, 3, 8, 8)),
            r"X2 must .* X1, \(8, 8\) .*got \(8, 8, 3\)",
        ),
        (np.zeros((2, 8, 8)), np.zeros((2, 3, 8, 8)), np.zeros((3, 8, 8)), "X1 and X2 .* 2 and 3"),
    ],
)
def test_interpolation_refuses(X1, decoded, X2, message):
    with pytest.raises(ValueError, match=message):
        InterpolationDisplay.from_arrays(X1, decoded, X2)
    assert not plt.get_fignums()


def test_interpolation_refuses_what_an_estimator_cannot_do(autoencoder, st_dac, images):
    with pytest.raises(ValueError, match=r"estimator must have `interpolate`.* STDACClustering"):
        InterpolationDisplay.from_estimator(st_dac, images[:2], images[2:4])
    with pytest.raises(ValueError, match=r"n_steps must .* at least 2; got 1"):
        InterpolationDisplay.from_estimator(autoencoder, images[:2], images[2:4], n_steps=1)
    with pytest.raises(ValueError, match=r"X1 and X2 .* 2 and 3"):
        InterpolationDisplay.from_estimator(autoencoder, images[:2], images[2:5])
    two_channels = np.stack([images, images], axis=1)
    estimator = fitted(clone(autoencoder).set_params(max_epochs=1), two_channels)
    with pytest.raises(ValueError, match=r"X1 must be images .* 1 or 3 channels"):
        InterpolationDisplay.from_estimator(estimator, two_channels[:2], two_channels[2:4])
    X = images.reshape(len(images), -1)
    tabular = AutoencoderClustering(4, hidden_sizes=(8,), n_init=1, max_epochs=1, random_state=0)
    with pytest.raises(ValueError, match=r"(?s)estimator must .* images.*input_shape_=\(64,\)"):
        InterpolationDisplay.from_estimator(fitted(tabular, X), X[:2], X[2:4])


# ClusterSamplesDisplay


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("Method", [InfoGANClustering, CatGANClustering, VaDEClustering])
def test_samples_are_those_of_each_cluster(Method, n_channels, images):
    X = images if n_channels == 1 else np.stack([images, images / 2, images[::-1]], axis=1)
    autoencoder = {"autoencoder": AutoencoderClustering(max_epochs=1)}
    longer = {"batch_size": 20} if Method is CatGANClustering else {}
    autoencoder = autoencoder if Method is VaDEClustering else {}
    estimator = Method(3, n_init=1, max_epochs=9, random_state=0, **autoencoder, **longer)
    drawn = ClusterSamplesDisplay.from_estimator(fitted(estimator, X), n_images=4, random_state=5)
    seed = np.random.RandomState(5).randint(np.iinfo(np.int32).max)
    expected = np.stack([estimator.sample(4, cluster=k, random_state=seed) for k in range(3)])
    if n_channels == 3:
        expected = np.moveaxis(expected, 2, -1)
    assert drawn.images_.shape == (3, 4)
    assert_allclose(drawn.images, expected, rtol=1e-5)
    low, high = expected.min(), expected.max()
    assert_allclose(
        shown(drawn), ((expected - low) / (high - low)).reshape(shown(drawn).shape), atol=1e-5
    )
    assert row_labels(drawn.ax_) == ["cluster 0", "cluster 1", "cluster 2"]


def test_samples_leave_a_cluster_blank_of_which_there_are_none(images):
    catgan = fitted(CatGANClustering(3, n_init=1, max_epochs=1, random_state=0), images)
    with torch.no_grad():
        catgan.network_.head.bias[:] = torch.tensor([0.0, -1e4, -1e4])
    drawn = ClusterSamplesDisplay.from_estimator(catgan, n_images=4)
    assert [artist is None for artist in drawn.images_[:, 0]] == [False, True, True]
    assert np.isnan(drawn.images[1:]).all() and np.isfinite(drawn.images[0]).all()


def test_samples_name_the_clusters(infogan):
    names = ["a", "b", "c", "d"]
    drawn = ClusterSamplesDisplay.from_estimator(infogan, cluster_names=names, cmap="viridis")
    assert row_labels(drawn.ax_) == names
    assert drawn.images_[0, 0].get_cmap().name == "viridis"


def test_samples_are_the_same_with_each_call(infogan):
    one, again = (ClusterSamplesDisplay.from_estimator(infogan, n_images=2) for _ in range(2))
    assert_array_equal(one.images, again.images)
    other = ClusterSamplesDisplay.from_estimator(infogan, n_images=2, random_state=None)
    assert not np.array_equal(one.images, other.images)


def test_samples_refuse(infogan, images):
    with pytest.raises(ValueError, match=r"cluster_names must have .* 4 clusters; got 1"):
        ClusterSamplesDisplay.from_estimator(infogan, cluster_names=["a"])
    with pytest.raises(ValueError, match="n_images == 0, must be >= 1"):
        ClusterSamplesDisplay.from_estimator(infogan, n_images=0)
    two_channels = np.stack([images, images], axis=1)
    estimator = fitted(clone(infogan).set_params(max_epochs=1), two_channels)
    with pytest.raises(ValueError, match=r"1 or 3 channels; got input_shape_=\(2, 8, 8\)"):
        ClusterSamplesDisplay.from_estimator(estimator)
    vae = fitted(VAEClustering(3, n_init=1, max_epochs=1, kmeans_n_init=1), images)
    with pytest.raises(ValueError, match=r"estimator must have `sample` with cluster=.*got VAE"):
        ClusterSamplesDisplay.from_estimator(vae)
