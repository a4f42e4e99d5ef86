"""The input contract, on one estimator: all share it."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from skdeepclust import (
    AutoencoderClustering,
    IDECClustering,
    IMSATClustering,
    STDACClustering,
    TEMIClustering,
    inference,
)
from skdeepclust._inputs import as_array
from skdeepclust.networks import SpatialTransformer
from skdeepclust.streaming import as_source

FAST = {"n_clusters": 4, "n_init": 1, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def X(images):
    return images.astype("float32") / 16


@pytest.fixture(scope="module")
def expected(X):
    return STDACClustering(**FAST).fit(X).predict_proba(X)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def memmap(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "change",
    {
        "float64": lambda X: X.astype("float64"),
        "float16": lambda X: X.astype("float16"),
        "0 to 16, int64": lambda X: (X * 16).astype("int64"),
        "4-D": lambda X: X[:, None],
        "read-only": read_only,
        "Fortran order": np.asfortranarray,
        "reversed view": lambda X: X[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
        "list": lambda X: X.tolist(),
        "tensor": torch.from_numpy,
        "tensor with gradient": lambda X: torch.from_numpy(X).clone().requires_grad_(),
        "bfloat16 tensor": lambda X: torch.from_numpy(X).bfloat16(),
        "float8 tensor": lambda X: torch.from_numpy(X).to(torch.float8_e4m3fn),
    }.items(),
    ids=lambda item: item[0],
)
def test_same_images_same_result(X, expected, change):
    same = change[1](X)
    fitted = STDACClustering(**FAST)
    fitted.fit(same)
    np.testing.assert_allclose(fitted.predict_proba(same), expected, atol=1e-6)


def test_memmap(X, expected, tmp_path):
    same = memmap(X, tmp_path)
    np.testing.assert_array_equal(STDACClustering(**FAST).fit(same).predict_proba(same), expected)


def test_flat_images(X, expected):
    flat = X.reshape(len(X), 64)
    for image_shape in ((8, 8), (1, 8, 8), [8, 8]):
        fitted = STDACClustering(**FAST, image_shape=image_shape).fit(flat)
        np.testing.assert_array_equal(fitted.predict_proba(flat), expected)
        np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    frame = pd.DataFrame(flat, columns=[f"pixel{i}" for i in range(64)])
    fitted = STDACClustering(**FAST, image_shape=(8, 8)).fit(frame)
    np.testing.assert_array_equal(fitted.predict_proba(frame), expected)
    assert list(fitted.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.iloc[:, ::-1])


@pytest.mark.parametrize("table", [pl.DataFrame, pa.table, pd.DataFrame], ids=lambda t: t.__name__)
def test_names_of_columns_are_kept(X, expected, table):
    names = [f"pixel{i}" for i in range(64)]
    frame = table(dict(zip(names, X.reshape(len(X), 64).T, strict=True)))
    fitted = STDACClustering(**FAST, image_shape=(8, 8)).fit(frame)
    assert list(fitted.feature_names_in_) == names
    np.testing.assert_array_equal(fitted.predict_proba(frame), expected)
    reordered = frame[names[::-1]] if table is pd.DataFrame else frame.select(names[::-1])
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(reordered)
    autoencoder = AutoencoderClustering(3, n_init=1, max_epochs=1, random_state=0).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        IDECClustering(3, autoencoder=autoencoder).fit(reordered)


CONTAINERS = {
    "uint8": lambda X: X.astype("uint8"),
    "int8": lambda X: X.astype("int8"),
    "uint16": lambda X: X.astype("uint16"),
    "int64": lambda X: X.astype("int64"),
    "float16": lambda X: X.astype("float16"),
    "float64": lambda X: X.astype("float64"),
    "big-endian": lambda X: X.astype(">f4"),
    "list": lambda X: X.astype("int64").tolist(),
    "list of arrays": list,
    "array of arrays": lambda X: nested(list(X)),
    "list of bfloat16 tensors": lambda X: [x.bfloat16() for x in torch.from_numpy(X)],
    "object": lambda X: X.astype(object),
}


def nested(samples):
    X = np.empty(len(samples), dtype=object)
    X[:] = samples
    return X


@pytest.mark.parametrize("table", [False, True], ids=["images", "table"])
@pytest.mark.parametrize("trained_on", ["uint8", "float64"])
def test_same_numbers_in_any_dtype_and_container(images, trained_on, table):
    X = images.astype("float32")
    X = X.reshape(len(X), -1) if table else X
    fitted = AutoencoderClustering(3, n_init=1, max_epochs=1, kmeans_n_init=2, random_state=0)
    fitted.fit(CONTAINERS[trained_on](X))
    expected = fitted.predict_proba(X)
    for name, convert in CONTAINERS.items():
        if not (table and "array" in name):
            np.testing.assert_array_equal(fitted.predict_proba(convert(X)), expected, name)
    again = AutoencoderClustering(3, autoencoder=fitted, n_init=1, kmeans_n_init=2, random_state=0)
    assert again.fit(X.astype("int64")).input_mean_ == fitted.input_mean_


def test_bits_are_the_numbers_0_and_1(images):
    X = images > 8
    fitted = STDACClustering(**FAST).fit(X)
    assert fitted.input_mean_ == pytest.approx(X.mean())
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(X.astype("uint8")))


def test_values_mean_what_they_are(images):
    fitted = STDACClustering(**FAST).fit(images)
    assert fitted.input_mean_ == pytest.approx(images.mean())
    assert fitted.input_scale_ == pytest.approx(images.std())


def test_integers_that_float32_does_not_hold():
    """Times in milliseconds, two clusters 40 s apart."""
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=200)
    X = 1_700_000_000_000 + 40_000 * y[:, None] + rng.randint(1000, size=(200, 3))
    fitted = AutoencoderClustering(2, hidden_sizes=(8,), latent_size=2, random_state=0).fit(X)
    assert adjusted_rand_score(y, fitted.labels_) == 1
    decoded = fitted.inverse_transform(fitted.transform(X))
    assert np.abs(decoded - X).mean() < 10_000  # float32 has steps of 131,072 here
    np.testing.assert_array_equal(fitted.predict(X.tolist()), fitted.labels_)


@pytest.mark.parametrize(("trained_on", "seen"), [(1, 255), (255, 1), (1, -9)])
def test_another_range_at_prediction_warns_with_both(X, trained_on, seen):
    fitted = STDACClustering(**FAST).fit(X * trained_on)
    message = r"X has values from .* but STDACClustering was fitted on values from 0 to "
    with pytest.warns(UserWarning, match=message + f"{trained_on}. Are they scaled alike"):
        fitted.predict(X * seen)
    with pytest.warns(UserWarning, match=message):
        fitted.transform(X * seen)
    fitted.predict(X[:1] * trained_on)  # a part of the range is no reason


def test_given_autoencoder_warns_of_another_range(X):
    autoencoder = AutoencoderClustering(3, n_init=1, max_epochs=1, random_state=0).fit(X)
    model = IDECClustering(3, autoencoder=autoencoder, max_epochs=1, tol=0, random_state=0)
    with pytest.warns(UserWarning, match="AutoencoderClustering was fitted on values from 0 to 1"):
        model.fit(X * 255)


@pytest.mark.parametrize("scale", [16, 255, 1 / 255, 1000])
def test_scale_and_offset_of_the_pixels_do_not_matter(X, scale):
    base = STDACClustering(**FAST).fit(X)
    other = STDACClustering(**FAST).fit(X.astype("float64") * scale + 3)
    assert adjusted_rand_score(base.labels_, other.labels_) > 0.9
    assert len(np.unique(base.labels_)) == 4


@pytest.mark.parametrize("shape", [(8, 8), (3, 9, 14), (1, 33, 47), (2, 12, 8), (3, 70, 70)])
@pytest.mark.parametrize("n_st_layers", [0, 3])
def test_images_of_any_size_and_any_number_of_channels(shape, n_st_layers, monkeypatch):
    X = np.random.RandomState(0).rand(12, *shape).astype("float32")
    parameters = {**FAST, "n_clusters": 2, "max_epochs": 1, "n_st_layers": n_st_layers}
    monkeypatch.setattr(inference, "CPU_SLICE", 12)  # not filled up to 128 samples in each pass
    fitted = STDACClustering(**parameters).fit(X)
    np.testing.assert_array_equal(fitted.predict_proba(X).argmax(1), fitted.labels_)
    layers = [m for m in fitted.network_.modules() if isinstance(m, SpatialTransformer)]
    assert len(layers) == n_st_layers


@pytest.mark.parametrize(
    ("fit_shape", "image_shape", "message"),
    [
        ((20, 8, 8, 3), None, r"width=3.*Channels come first: X.transpose\(0, 3, 1, 2\)"),
        ((20, 16, 16, 5), None, r"Channels come first: X.transpose\(0, 3, 1, 2\)"),
        ((20, 16, 24, 7), None, r"Channels come first: X.transpose\(0, 3, 1, 2\)"),
        ((20, 7, 8), None, "at least 8x8.*height=7, width=8"),
        ((20, 3, 8, 5), None, "at least 8x8.*channels=3, height=8, width=5"),
        ((20, 1, 1, 8, 8), None, r"X must have 2 dimensions .* got 5, of shape"),
        ((20, 60), (8, 8), r"X has 60 features.*image_shape=\(8, 8\).*64 = 1 x 8 x 8"),
        ((20, 9, 9), (8, 8), r"shape \(1, 9, 9\).*image_shape=\(8, 8\).*\(1, 8, 8\)"),
        ((20, 64), (64,), r"image_shape must be \(height, width\).*got \(64,\)"),
        ((20, 64), (8.0, 8.0), r"image_shape must be .* got \(8.0, 8.0\)"),
        ((1, 8, 8), None, "1 sample"),
        ((64,), None, "Expected 2D array"),
    ],
)
def test_wrong_shapes_at_fit(fit_shape, image_shape, message):
    with pytest.raises(ValueError, match=message):
        STDACClustering(**FAST, image_shape=image_shape).fit(np.zeros(fit_shape))


def test_many_bands_at_the_end_warn_with_both_readings():
    X = np.random.RandomState(0).rand(12, 16, 16, 13)
    parameters = {**FAST, "n_clusters": 2, "max_epochs": 1}
    both = r"read as images of 16x13 with 16 channels.* images of 16x16 with 13 channels"
    with pytest.warns(UserWarning, match=both + r".*X.transpose\(0, 3, 1, 2\)"):
        STDACClustering(**parameters).fit(X)
    STDACClustering(**parameters, image_shape=(16, 16, 13)).fit(X)  # who says so means it
    STDACClustering(**parameters).fit(X.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([np.ones((8, 8)), np.ones((9, 8))], r"one shape; got samples .*\(8, 8\), \(9, 8\)"),
        ([[1.0, 2.0], [3.0]], "X must hold samples of one shape"),
        (nested([np.ones((8, 8)), np.ones((9, 9))]), "X must hold samples of one shape"),
        (nested([[1.0], [3.0, 4.0]]), "X must hold samples of one shape"),
        ([torch.ones(3), torch.ones(4)], "X must hold samples of one shape"),
        ([Image.new("P", (8, 8))] * 20, r'X\[0\] is an image with a palette.*convert\("RGB"\)'),
        (torch.eye(20).to_sparse(), "X must be a dense tensor"),
        (None, "X must be an array.* got NoneType"),
        ("images/", "X must hold the samples themselves; got 'images/'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_an_array_of_samples(X, message):
    with pytest.raises(ValueError, match=message):
        STDACClustering(**FAST).fit(X)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensor():
    with pytest.raises(ValueError, match="X must be a dense tensor; got a nested one"):
        STDACClustering(**FAST).fit(torch.nested.nested_tensor([torch.eye(9), torch.eye(9)]))


def test_wrong_shapes_at_predict(X):
    fitted = STDACClustering(**FAST).fit(X)
    with pytest.raises(ValueError, match=r"shape \(1, 9, 9\).*fitted on .*\(1, 8, 8\)"):
        fitted.predict(np.zeros((2, 9, 9)))
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\).*fitted on .*\(1, 8, 8\)"):
        fitted.predict(np.zeros((2, 3, 8, 8)))
    with pytest.raises(ValueError, match="X has 65 features, but STDACClustering is expecting 64"):
        fitted.predict(np.zeros((2, 65)))
    tabular = STDACClustering(**FAST).fit(X.reshape(-1, 64)[:, :5])
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\).*fitted on .*\(5,\)"):
        tabular.predict(X)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(X, value):
    bad = X.copy()
    bad[3, 4, 5] = value
    word = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=rf"Input X contains {word}, in 1 row\(s\): 3\. Leave"):
        STDACClustering(**FAST).fit(bad)
    with pytest.raises(ValueError, match=f"Input X contains {word}"):
        STDACClustering(**FAST).fit(X).predict(torch.from_numpy(bad))


@pytest.mark.parametrize("limit", [1000, 2**30])
def test_rows_that_are_not_finite_are_named(X, tmp_path, monkeypatch, limit):
    monkeypatch.setattr("skdeepclust._inputs.SLICE", 2000)  # several slices
    bad = X.reshape(len(X), -1).astype("float16")
    bad[[3, 50, 60, 70, 80, 199], 5] = [np.nan, np.inf, np.nan, np.nan, np.nan, -np.inf]
    message = r"contains NaN and infinity, in 6 row\(s\): 3, 50, 60, 70, 80, \.\.\.\. Leave"
    model = AutoencoderClustering(**FAST, memory_limit=limit)
    for given in (bad, memmap(bad, tmp_path)):
        with pytest.raises(ValueError, match=message) as caught:
            model.fit(given)
        assert "supervised" not in str(caught.value)
    model.fit(np.nan_to_num(bad, posinf=0, neginf=0))
    with pytest.raises(ValueError, match=r"NaN.* in . row\(s\): 3"):
        model.predict(memmap(bad, tmp_path))


def test_values_too_large_for_their_type(X):
    with pytest.raises(ValueError, match="too large to be scaled"):
        STDACClustering(**FAST).fit(X.astype("float64") * 1e300)


def test_constant_images_do_not_divide_by_zero():
    X = np.full((20, 8, 8), 3.0)
    fitted = STDACClustering(n_clusters=1, n_init=1, max_epochs=1, random_state=0).fit(X)
    assert fitted.input_scale_ == 1
    embedding = fitted.transform(X)
    assert np.isfinite(embedding).all()
    np.testing.assert_allclose(embedding, embedding[[0] * 20], atol=1e-6)
    assert (fitted.transform(X + 1) != embedding).any()


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_arrays_in_a_column_beside_others(table):
    X = np.random.RandomState(0).rand(40, 6).astype(np.float32)
    model = IMSATClustering(3, max_epochs=1, random_state=0)
    expected = model.fit_predict(X)
    frame = table({"id": range(40), "embedding": X.tolist()})
    np.testing.assert_array_equal(model.fit_predict(frame["embedding"]), expected)
    np.testing.assert_array_equal(model.fit_predict(frame[["embedding"]]), expected)
    with pytest.raises(ValueError, match=r"'embedding' holds arrays. X\['embedding'\] alone"):
        model.fit(frame)


@pytest.mark.parametrize(
    "columns",
    {
        "polars, arrays": lambda X: pl.Series("z", X.tolist(), pl.Array(pl.Float32, 6)),
        "polars, lists": lambda X: pl.Series("z", X.tolist(), pl.List(pl.Float32)),
        "pyarrow": lambda X: pa.array(list(X)),
        "pyarrow, of one length": lambda X: pa.FixedSizeListArray.from_arrays(X.ravel(), 6),
        "pyarrow, chunks": lambda X: pa.chunked_array([list(X[:15]), list(X[15:])]),
        "pyarrow, table": lambda X: pa.table({"z": list(X)}),
    }.items(),
    ids=lambda item: item[0],
)
def test_columns_of_arrays_keep_their_type(columns):
    X = np.random.RandomState(0).rand(40, 6).astype(np.float32)
    found = as_array(columns[1](X))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, X)


def test_columns_of_lists_that_differ():
    with pytest.raises(ValueError, match="X must hold samples of one shape"):
        as_array(pl.Series([[1.0, 2.0], [3.0]]))
    images = np.arange(48.0).reshape(3, 4, 4)
    np.testing.assert_array_equal(as_array(pl.Series(images.tolist())), images)
    with pytest.raises(ValueError, match=r"'z' holds arrays. X\['z'\] alone"):
        as_array(pa.table({"id": [1, 2], "z": [[1.0], [2.0]]}))


def test_features_that_are_no_images():
    """Pooled ones of a convolution are vectors; for estimators of images they are too small."""
    X = np.random.RandomState(0).rand(40, 12).astype(np.float32)
    model = TEMIClustering(3, max_epochs=1, batch_size=20, random_state=0)
    expected = model.fit(X).predict_proba(X)
    for shape in [(40, 12, 1, 1), (40, 3, 2, 2), (40, 3, 4)]:
        same = X.reshape(shape)
        np.testing.assert_array_equal(model.fit(same).predict_proba(same), expected)
        np.testing.assert_array_equal(model.predict_proba(X), expected)
        with pytest.raises(ValueError, match="at least 8x8"):
            AutoencoderClustering(3).fit(same)
    with pytest.raises(ValueError, match="Channels come first"):
        model.fit(np.zeros((40, 8, 8, 3)))


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_table_of_no_rows(table):
    frame = table({"a": np.array([], dtype=object), "b": np.array([], dtype=float)})
    with pytest.raises(ValueError, match="0 sample"):
        IMSATClustering(3).fit(frame)


def test_sparse_tables_say_what_to_do():
    frame = pd.DataFrame({"a": list("abcdefghij") * 4, "b": range(40)})
    encoded = ColumnTransformer([("a", OneHotEncoder(), ["a"])], sparse_threshold=1)
    model = IMSATClustering(3, max_epochs=1, random_state=0)
    with pytest.raises(TypeError, match=r"OneHotEncoder\(sparse_output=False\)"):
        make_pipeline(encoded, model).fit(frame)
    sparse = pd.DataFrame.sparse.from_spmatrix(csr_array(np.eye(40)))
    with pytest.raises(TypeError, match=r"X.sparse.to_dense\(\)"):
        model.fit(sparse)


def test_dates_beside_numbers_in_a_table_of_polars():
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0]}).with_columns(when=pl.datetime(2020, 1, 1))
    with pytest.raises((TypeError, ValueError), match="datetime64"):
        AutoencoderClustering(2, max_epochs=1).fit(frame)


@pytest.mark.parametrize(
    "X",
    [
        ["photos/1.jpg", "photos/2.jpg"],
        [Path("photos/1.jpg"), Path("photos/2.jpg")],
        np.array([["photos/1.jpg"], ["photos/2.jpg"]]),
        pd.DataFrame({"a": [1.0, 2.0], "file": ["photos/1.jpg", "photos/2.jpg"]}),
    ],
    ids=["list", "paths", "array", "table"],
)
def test_names_of_files_are_not_samples(X):
    with pytest.raises(ValueError, match=r"must hold numbers; got .*photos/1\.jpg.*ImageFolder"):
        AutoencoderClustering(2, max_epochs=1).fit(X)


@pytest.mark.parametrize("table", [pd.Series, lambda rows: pd.DataFrame({"embedding": rows})])
def test_a_column_of_arrays(table, images):
    X = images.reshape(200, -1).astype("float32")
    expected = AutoencoderClustering(2, max_epochs=1, random_state=0).fit(X)
    found = AutoencoderClustering(2, max_epochs=1, random_state=0).fit(table(list(X)))
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(table(list(X[:5]))), expected.predict(X[:5]))


@pytest.mark.parametrize("dtype", [float, object])
def test_a_column_of_numbers_keeps_its_name(dtype):
    frame = pd.DataFrame({"size": np.arange(20.0)}, dtype=dtype)
    model = AutoencoderClustering(2, max_epochs=1, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["size"]


def test_texts_are_not_numbers(tmp_path):
    frame = pd.DataFrame({"size": [1.0, 2.0], "colour": ["red", "blue"]})
    with pytest.raises(ValueError, match=r"X must hold numbers; got 'red' in column"):
        AutoencoderClustering(2).fit(frame)
    frame["colour"] = "Mr. X"
    with pytest.raises(ValueError, match=r"X must hold numbers; got 'Mr. X' in column"):
        AutoencoderClustering(2).fit(frame)
    with pytest.raises(ValueError, match=r"samples themselves; got 'photos'.*ImageFolder"):
        AutoencoderClustering(2).fit("photos")


def test_files_that_hold_several_arrays(images, tmp_path):
    np.savez(tmp_path / "all.npz", X=images, y=images[:, 0, 0])
    with np.load(tmp_path / "all.npz") as file, h5py.File(tmp_path / "all.h5", "w") as other:
        other["X"] = images
        for found in (file, other):
            with pytest.raises(ValueError, match=r"one of the arrays in .*X\[name\]; it has 'X'"):
                AutoencoderClustering(2).fit(found)


def test_one_image_is_no_array_of_images(images):
    grey = AutoencoderClustering(2, max_epochs=1, random_state=0).fit(images)
    with pytest.raises(
        ValueError, match=r"got one, of shape \(8, 8\): X\[None\] is an array of it"
    ):
        grey.predict(images[0])
    colours = np.stack([images] * 3, 1)
    model = AutoencoderClustering(2, max_epochs=1, random_state=0).fit(colours)
    with pytest.raises(ValueError, match=r"got one, of shape \(3, 8, 8\)"):
        model.predict(colours[0])
    assert model.predict(colours[:1]).shape == grey.predict(images[None, 0]).shape == (1,)


class Records(Dataset):
    """Samples with names, as datasets of the hub have them."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return {"image": np.zeros((8, 8))}


class Stream(IterableDataset):
    def __len__(self):
        return 20

    def __iter__(self):
        return iter(np.zeros((20, 8, 8)))


NO_SAMPLES = {
    "sparse": (lambda X: csr_array(X.reshape(len(X), -1)), TypeError, "[Ss]parse"),
    "loader": (lambda X: DataLoader(torch.from_numpy(X)), ValueError, "X must be.*DataLoader"),
    "generator": (lambda X: (x for x in X), ValueError, "X must be.*generator"),
    "dicts": (lambda X: Records(), ValueError, r"X\[0\] is a dict"),
    "stream": (lambda X: Stream(), ValueError, "map-style Dataset.*Stream"),
    "missing": (lambda X: np.full((20, 8, 8), np.nan), ValueError, "NaN"),
}


@pytest.mark.parametrize("name", NO_SAMPLES)
def test_what_is_no_array_leaves_the_fit_before(X, expected, name):
    make, error, message = NO_SAMPLES[name]
    fitted = STDACClustering(**FAST).fit(X)
    with pytest.raises(error, match=message):
        fitted.fit(make(X))
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


def test_a_dataset_that_was_made_a_list(X, expected):
    """As scikit-learn's searches do."""
    pairs = TensorDataset(torch.from_numpy(X), torch.arange(len(X)))
    listed = [pairs[i] for i in range(len(pairs))]
    np.testing.assert_array_equal(STDACClustering(**FAST).fit(listed).predict_proba(X), expected)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (torch.optim.LBFGS, "closure"),  # goes over a batch several times
        (torch.optim.SparseAdam, "dense gradients"),
    ],
)
def test_optimiser_that_does_not_train_the_network(X, optimizer, message):
    model = STDACClustering(**FAST).fit(X)
    with pytest.raises(ValueError, match=f"optimizer=.* can't train parameters.*{message}"):
        model.set_params(optimizer=optimizer).fit(X)
    assert hasattr(model, "labels_")  # of the fit before


def test_warnings_are_of_the_users_line(X):
    with pytest.warns(UserWarning, match="Are they scaled alike") as caught:
        STDACClustering(**FAST).fit(X).predict(1000 + X)
    assert {w.filename for w in caught} == {__file__}
    with pytest.warns(UserWarning, match="channels come first") as caught:
        STDACClustering(**FAST).fit(np.random.default_rng(0).random((40, 12, 12, 8)))
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2020", periods=40), "got datetime64.* in column 'when'"),
        (pd.to_timedelta(np.arange(40), "s"), "got timedelta64.* in column 'when'"),
        (["a", "b"] * 20, "got 'a' in column 'when'. .*encodes categories"),
    ],
)
def test_columns_that_hold_no_numbers(column, message):
    table = pd.DataFrame({"size": np.arange(40.0), "when": column})
    with pytest.raises(ValueError, match=message):
        AutoencoderClustering(2).fit(table)


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("scaling", ["l2", "standard"])
def test_units_do_not_matter(scaling):
    X = np.random.RandomState(0).rand(60, 5)
    models = [
        IMSATClustering(3, max_epochs=2, scaling=scaling, random_state=0).fit(X * unit)
        for unit in (1.0, 2.0**-60)
    ]
    np.testing.assert_array_equal(models[0].labels_, models[1].labels_)


def test_values_too_small_are_refused():
    with pytest.raises(ValueError, match="X has values too small to be scaled: from"):
        STDACClustering(3).fit(np.random.RandomState(0).rand(60, 5) * 1e-165)


def test_what_joblib_makes_of_an_array_is_an_array(tmp_path):
    folder = tmp_path / "joblib_memmapping_folder_1"
    folder.mkdir()
    for name, is_source in ((folder / "X.npy", False), (tmp_path / "X.npy", True)):
        np.save(name, np.zeros((4, 3)))
        assert (as_source(np.load(name, mmap_mode="r"), 0) is not None) == is_source


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
def test_columns_of_numbers_are_not_looked_at(table):
    class Counted(table):
        n_looked_at = 0

        def __getitem__(self, key):
            Counted.n_looked_at += 1
            return super().__getitem__(key)

    X = Counted({f"x{i}": np.random.RandomState(i).rand(30) for i in range(200)})
    model = IMSATClustering(3, max_epochs=1, random_state=0).fit(X)
    Counted.n_looked_at = 0
    model.predict(X)
    assert Counted.n_looked_at < 20
