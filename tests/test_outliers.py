"""Outliers: distances to the training samples, and labels that are withheld."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import skdeepclust
from skdeepclust import AutoencoderClustering, N2DClustering, TEMIClustering
from skdeepclust.outliers import distance_to_references, references_among

FAST = {"n_clusters": 3, "max_epochs": 2, "n_init": 1, "random_state": 0}


@pytest.fixture(scope="module")
def fitted(images):
    return AutoencoderClustering(**FAST).fit(images)


def slow_distance(z, references):
    """Of one sample: to its fifth neighbour, by the definition."""
    unit = [r / np.linalg.norm(r) for r in references]
    found = sorted(np.linalg.norm(z / np.linalg.norm(z) - r) for r in unit)
    others = found[1:] if found[0] < 1e-3 else found
    return (others or found)[:5][-1]


def test_distances_are_to_the_fifth_neighbour():
    rng = np.random.default_rng(0)
    references = rng.normal(size=(30, 4))
    z = np.concatenate([rng.normal(size=(20, 4)), 3 * references[:10]])  # the last are among them
    unit = references / np.linalg.norm(references, axis=1, keepdims=True)
    for n in (30, 4, 1):
        found = distance_to_references(torch.from_numpy(z), torch.from_numpy(unit[:n]))
        expected = [slow_distance(sample, references[:n]) for sample in z[: 20 + n]]
        np.testing.assert_allclose(found[: 20 + n], expected, rtol=1e-6, atol=1e-7)
        assert ((found >= 0) & (found <= 2)).all()


class Rounded(torch.Tensor):
    """Whose products of matrices have ten bits, as those of TF32."""

    def __matmul__(self, other):
        return (self.as_subclass(torch.Tensor).half() @ other.half()).float()


def test_products_that_are_rounded():
    """A caller may have asked for them, and a sample is still not its own neighbour."""
    torch.manual_seed(0)
    references = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    exact = distance_to_references(references, references)
    assert exact.min() > 0.1
    rounded = distance_to_references(references.as_subclass(Rounded), references)
    np.testing.assert_allclose(rounded.as_subclass(torch.Tensor), exact, atol=0.02)


def test_few_features_are_kept():
    assert references_among(10_000, 16) == slice(None)
    assert len(references_among(10_001, 16)) == 10_000
    assert len(references_among(50_000, 1280)) == 3276
    assert len(references_among(3, 2**23)) == 1


def test_samples_that_take_turns_are_all_kept_to_compare_with(monkeypatch):
    monkeypatch.setattr("skdeepclust.outliers.MAX_SAMPLES", 200)
    X = np.random.default_rng(0).normal(size=(202, 16)) + np.tile(np.eye(2, 16) * 20, (101, 1))
    model = TEMIClustering(2, max_epochs=1, n_neighbors=5, random_state=0).fit(X)
    assert len(model._references) == 200
    first, second = model.outlier_scores_.reshape(-1, 2).T
    assert np.median(second) < 1.5 * np.median(first)


def test_scores_of_samples(fitted, images):
    scores = fitted.outlier_scores_
    assert scores.shape == (200,) and scores.dtype == np.float32
    np.testing.assert_array_equal(scores, -fitted.score_samples(images))
    z = fitted.transform(images)
    np.testing.assert_allclose(scores[:20], [slow_distance(x, z) for x in z[:20]], atol=1e-3)
    out = np.empty(200)
    assert fitted.score_samples(images, out=out) is out
    np.testing.assert_array_equal(-out, scores)


@pytest.mark.parametrize("reject", [0.05, np.float32(0.5), 0.999])
def test_as_many_are_rejected_as_asked_for(fitted, images, reject):
    labels = fitted.predict(images, reject=reject)
    assert labels.dtype == np.int64
    assert abs((labels < 0).sum() - reject * 200) <= 1
    least = fitted.outlier_scores_[labels < 0].min()
    assert (fitted.outlier_scores_[labels >= 0] < least).all()
    np.testing.assert_array_equal(labels[labels >= 0], fitted.labels_[labels >= 0])
    out = np.empty(200, np.int8)
    assert fitted.predict(images, out=out, reject=reject) is out
    np.testing.assert_array_equal(out, labels)


@pytest.mark.parametrize("reject", [0, 1, -0.1, "0.5", True, np.nan])
def test_shares_that_are_none(fitted, images, reject):
    with pytest.raises(ValueError, match=r"reject must be a number in \(0, 1\) or None; got "):
        fitted.predict(images, reject=reject)


def test_out_that_does_not_hold_minus_one(fitted, images):
    out = np.full(200, 7, np.uint8)
    with pytest.raises(ValueError, match="integers from -1 to 2"):
        fitted.predict(images, out=out, reject=0.1)
    assert (out == 7).all()


def test_clusters_on_a_manifold(images):
    model = N2DClustering(**FAST, manifold=PCA(2)).fit(images)
    labels = model.predict(images, reject=0.1)
    assert (labels < 0).sum() == 20
    np.testing.assert_array_equal(labels[labels >= 0], model.labels_[labels >= 0])


def test_data_on_disk_have_the_same_scores(fitted, images, tmp_path):
    np.save(tmp_path / "X.npy", images)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(fitted.score_samples(X), fitted.score_samples(images))
    streamed = AutoencoderClustering(**FAST, memory_limit=2**12).fit(X)
    np.testing.assert_array_equal(streamed.outlier_scores_, -streamed.score_samples(images))


def test_model_files_keep_them(fitted, images, tmp_path):
    skdeepclust.save(fitted, tmp_path / "model.skdc")
    loaded = skdeepclust.load(tmp_path / "model.skdc")
    np.testing.assert_array_equal(loaded.outlier_scores_, fitted.outlier_scores_)
    np.testing.assert_array_equal(
        loaded.predict(images, reject=0.1), fitted.predict(images, reject=0.1)
    )


def test_finds_a_class_that_it_has_not_seen(digits):
    """Better than the distance to k-means' nearest centre, which has seen the same."""
    X, y = digits[0].reshape(len(digits[0]), -1), digits[1]
    new = (np.random.RandomState(0).rand(len(X)) < 0.3) | (y == 0)
    is_zero = y[new] == 0
    model = TEMIClustering(9, random_state=0).fit(X[~new])
    of_model = roc_auc_score(is_zero, -model.score_samples(X[new]))
    k_means = KMeans(9, n_init=10, random_state=0).fit(X[~new])
    of_k_means = roc_auc_score(is_zero, k_means.transform(X[new]).min(1))
    rejected = model.predict(X[new], reject=0.05) < 0
    assert 1 - of_model < (1 - of_k_means) / 3
    assert rejected[is_zero].mean() > rejected[~is_zero].mean() + 0.1
