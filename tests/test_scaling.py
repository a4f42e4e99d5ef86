"""The parameter `scaling` of heads on features."""

import numpy as np
import pytest

from skdeepclust import IMSATClustering, SCANClustering, TEMIClustering, TURTLEClustering
from skdeepclust._inputs import check_X
from skdeepclust.plotting._images import estimator_images

SHORT = {"n_clusters": 3, "max_epochs": 2, "random_state": 0}
HEADS = {
    "TEMI": TEMIClustering(**SHORT, batch_size=32),
    "TURTLE": TURTLEClustering(**SHORT, batch_size=32),
    "SCAN": SCANClustering(**SHORT, representation="precomputed", self_label_epochs=1),
    "IMSAT": IMSATClustering(**SHORT, batch_size=32),
}
every_head = pytest.mark.parametrize("model", HEADS.values(), ids=HEADS)
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
)


@pytest.fixture
def features():
    """Columns in units from a thousandth to a million, far from the origin."""
    rng = np.random.RandomState(0)
    return (rng.randn(90, 10) + 5 * rng.randint(-9, 9, 10)) * 10.0 ** rng.randint(-3, 7, 10)


def scaled(X, kind):
    """What is made of X, by NumPy."""
    if kind is None:
        return (X - X.mean()) / X.std()
    X = X - X.mean(0)
    if kind == "standard":
        return X / X.std(0)
    return X / np.sqrt(np.square(X).mean(1, keepdims=True))


@every_head
@pytest.mark.parametrize("kind", ["standard", "l2", None])
def test_samples_are_scaled_by_what_is_known_of_the_training(model, kind, features):
    X = features.astype("float32").astype(float)
    model.set_params(scaling=kind).fit(X)
    np.testing.assert_allclose(
        check_X(model, X, reset=False)[:], scaled(X, kind), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(model.predict(X[:7]), model.labels_[:7])
    if kind is None:
        assert model.feature_mean_ is model.feature_scale_ is None
    else:
        np.testing.assert_allclose(model.feature_mean_, X.mean(0))
        np.testing.assert_allclose(model.feature_scale_, X.std(0))


@every_head
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_features_on_disk(model, dtype, tmp_path):
    X = (np.random.RandomState(0).rand(120, 12) * 99).astype(dtype)
    X[:, 0] = 3  # constant
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for kind in ("standard", "l2"):
        model.set_params(scaling=kind, memory_limit=1000).fit(mapped)
        np.testing.assert_allclose(model.feature_mean_, X.astype(float).mean(0))
        streamed = check_X(model, mapped, reset=False)
        assert type(streamed).__name__ == "StreamedSamples"
        found = streamed[:].numpy()
        np.testing.assert_array_equal(found, check_X(model, X, reset=False)[:])
        assert (found[:, 0] == 0).all()
        np.testing.assert_allclose(
            found[:, 1:] * (1 if kind == "standard" else np.sqrt(11 / 12)),
            scaled(X[:, 1:].astype(float), kind),
            rtol=1e-4,
            atol=1e-5,
        )
        np.testing.assert_array_equal(model.predict(mapped), model.labels_)


def test_half_precision_means_what_it_is():
    X = np.random.RandomState(0).rand(60, 5).astype("float16")
    model = TEMIClustering(**SHORT).fit(X)
    same = TEMIClustering(**SHORT).fit(X.astype(float))
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X.astype(float)))


def test_a_representation_that_is_learnt_gets_images_as_ever():
    """`scaling` is for features alone."""
    model = SCANClustering(3, scaling="standard")
    model.input_shape_ = (1, 8, 8)
    assert model._feature_scaling() == (None, ())
    model.set_params(representation="precomputed")
    assert model._feature_scaling() == ("standard", ())


def test_images_are_shown_as_they_were_given(images):
    model = IMSATClustering(**SHORT, scaling="standard", batch_size=50).fit(images)
    np.testing.assert_allclose(estimator_images(model, images).squeeze(), images, atol=1e-3)


def test_a_model_of_version_0_2_0_predicts_as_it_did(features):
    """It doesn't hold how its features were scaled, but its parameter says so."""
    model = TEMIClustering(**SHORT, batch_size=32).fit(features)
    before = model.predict_proba(features)
    del model._scaled_by
    np.testing.assert_array_equal(model.predict_proba(features), before)


@pytest.mark.parametrize("kind", ["standard", "l2", None])
@pytest.mark.parametrize("limit", [1000, 2**30])
def test_rows_that_decide_the_scale_are_named(kind, limit, tmp_path):
    X = np.random.RandomState(0).randn(300, 8)
    X[[17, 250]] *= 3000
    np.save(tmp_path / "X.npy", X)
    model = TEMIClustering(**SHORT, scaling=kind, memory_limit=limit)
    for given in (X, np.load(tmp_path / "X.npy", mmap_mode="r")):
        with pytest.warns(UserWarning, match=r"2 row\(s\) far .* 17, 250, up to .*e\+03 times"):
            model.fit(given)


def test_rows_of_long_tails_are_none_of_these():
    X = np.random.RandomState(0).standard_t(3, size=(300, 4))
    TEMIClustering(**SHORT).fit(np.r_[X, np.zeros((10, 4))])
