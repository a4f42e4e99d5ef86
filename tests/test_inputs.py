"""The input contract, on one estimator: all share it."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from skdeepclust import STDACClustering

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


def test_uint8_is_scaled_to_one(images):
    fitted = STDACClustering(**FAST).fit(images)
    assert fitted.input_mean_ == pytest.approx(images.mean() / 255)
    assert fitted.input_scale_ == pytest.approx(images.std() / 255)
    np.testing.assert_allclose(
        fitted.predict_proba(images), fitted.predict_proba(images / 255.0), atol=1e-6
    )


@pytest.mark.parametrize("scale", [16, 255, 1 / 255, 1000])
def test_scale_and_offset_of_the_pixels_do_not_matter(X, scale):
    base = STDACClustering(**FAST).fit(X)
    other = STDACClustering(**FAST).fit(X.astype("float64") * scale + 3)
    assert adjusted_rand_score(base.labels_, other.labels_) > 0.9


@pytest.mark.parametrize("shape", [(8, 8), (3, 9, 14), (1, 33, 47), (2, 12, 8), (3, 70, 70)])
@pytest.mark.parametrize("n_st_layers", [0, 3])
def test_images_of_any_size_and_any_number_of_channels(shape, n_st_layers):
    X = np.random.RandomState(0).rand(12, *shape).astype("float32")
    parameters = {**FAST, "n_clusters": 2, "max_epochs": 1, "n_st_layers": n_st_layers}
    probabilities = STDACClustering(**parameters).fit(X).predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), np.ones(12), rtol=1e-5)


@pytest.mark.parametrize(
    ("fit_shape", "image_shape", "message"),
    [
        ((20, 8, 8, 3), None, r"width=3.*Channels come first: X.transpose\(0, 3, 1, 2\)"),
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
    with pytest.raises(ValueError, match=f"Input X contains {word}"):
        STDACClustering(**FAST).fit(bad)
    with pytest.raises(ValueError, match=f"Input X contains {word}"):
        STDACClustering(**FAST).fit(X).predict(torch.from_numpy(bad))


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
