"""N2D: a mixture on a manifold of latents; the real UMAP is run by the benchmarks alone."""

import sys
import types

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.manifold import TSNE, Isomap, LocallyLinearEmbedding
from sklearn.metrics import normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from skdeepclust import AutoencoderClustering, DECClustering, N2DClustering

FAST = {"n_clusters": 3, "max_epochs": 3, "n_init": 1, "random_state": 0}


class FakeUMAP(PCA):
    """Has UMAP's parameters, as far as they are used, and its form."""

    def __init__(self, n_neighbors=15, n_components=2, min_dist=0.1, random_state=None, n_jobs=-1):
        super().__init__(n_components, random_state=random_state)
        self.n_neighbors, self.min_dist, self.n_jobs = n_neighbors, min_dist, n_jobs

    def fit_transform(self, X, y=None):
        torch.set_num_threads(2)  # as numba does
        return super().fit_transform(X)

    def transform(self, X):
        torch.set_num_threads(2)
        return super().transform(X)


@pytest.fixture
def fake_umap(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=FakeUMAP))


def test_labels_are_those_of_a_mixture_on_the_manifold(images):
    model = N2DClustering(**FAST, manifold=PCA(2), mixture_n_init=10).fit(images)
    points = PCA(2).fit_transform(model.transform(images)).astype("float64")
    mixture = GaussianMixture(3, n_init=10, random_state=0).fit(points)
    assert model.network_.head.mixture.score(points) >= mixture.score(points) - 0.02
    expected = model.network_.head.mixture.predict_proba(points)
    np.testing.assert_allclose(model.predict_proba(images), expected, atol=1e-4)
    np.testing.assert_array_equal(model.labels_, expected.argmax(1))


def test_umap_has_the_papers_settings(images, fake_umap):
    model = N2DClustering(**FAST).fit(images)
    found = model.network_.head.manifold.get_params()
    assert isinstance(found.pop("random_state"), int)
    assert found == {"n_neighbors": 20, "n_components": 3, "min_dist": 0.0, "n_jobs": 1}
    few = N2DClustering(**FAST).fit(images[:12])
    assert few.network_.head.manifold.n_neighbors == 11
    again = N2DClustering(**FAST).fit(images)
    assert torch.get_num_threads() == 1
    np.testing.assert_array_equal(again.predict_proba(images), model.predict_proba(images))


def test_without_umap_the_extra_is_named_before_training(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    model = N2DClustering(**FAST)
    with pytest.raises(ImportError, match=r'pip install "skdeepclust\[umap\]"'):
        model.fit(images)
    assert not hasattr(model, "network_")


@pytest.mark.parametrize(
    ("manifold", "message"),
    [
        (TSNE(), "'manifold' parameter .* 'transform' .* Got TSNE"),
        ("tsne", "'manifold' parameter .* Got 'tsne'"),
        (PCA, "manifold must be 'umap' or a transformer, not its class; got .*PCA"),
    ],
    ids=["TSNE", "name", "class"],
)
def test_what_is_no_manifold_learner(manifold, message, images):
    model = N2DClustering(**FAST, manifold=manifold)
    with pytest.raises(ValueError, match=message):
        model.fit(images)
    assert not hasattr(model, "network_")


@pytest.mark.parametrize("seed", [None, 5])
def test_a_given_manifold_learner_is_copied_and_seeded(seed, images):
    given = LocallyLinearEmbedding(
        n_neighbors=20, n_components=2, eigen_solver="dense", random_state=seed
    )
    model = N2DClustering(**FAST, manifold=given).fit(images)
    with pytest.raises(NotFittedError):
        check_is_fitted(given)
    used = model.network_.head.manifold.random_state
    assert used == 5 if seed else isinstance(used, int)


def test_autoencoders_are_taken_over_and_given(images):
    before = AutoencoderClustering(**FAST).fit(images)
    model = N2DClustering(4, autoencoder=before, manifold=PCA(2), random_state=0).fit(images)
    assert len(model.history_) == 0
    assert len(np.unique(model.labels_)) == 4
    np.testing.assert_array_equal(model.transform(images), before.transform(images))
    after = DECClustering(3, autoencoder=model, max_epochs=1, tol=0, random_state=0).fit(images)
    assert after.history_[:, "phase"] == ["clustering"]


def test_digits_better_than_kmeans(digits):
    X, y = digits[0][500:1500].reshape(1000, 64), digits[1][500:1500]
    kmeans = KMeans(10, n_init=10, random_state=0).fit_predict(X)
    model = N2DClustering(
        10,
        manifold=Isomap(n_neighbors=10, n_components=10),
        hidden_sizes=(200, 200),
        augmentation=None,
        n_init=1,
        random_state=0,
    ).fit(X)
    scores = [normalized_mutual_info_score(y, found) for found in (model.labels_, kmeans)]
    # two random states: 0.84 and 0.86, k-means 0.74
    assert scores[0] > scores[1] + 0.05, np.round(scores, 3)
