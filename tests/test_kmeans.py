import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from skdeepclust.kmeans import k_means


def blobs(n=600, d=8, k=5, scale=1.5, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(k, d)) * scale
    return (centers[rng.integers(0, k, n)] + rng.normal(size=(n, d))).astype("float32")


def reference(X, starts, **params):
    """Scikit-learn's result from each of the starts."""
    n_clusters = starts.shape[1]
    return [
        KMeans(n_clusters, init=start, n_init=1, algorithm="lloyd", **params).fit(X)
        for start in starts
    ]


def random_starts(X, k, n_init, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([X[rng.choice(len(X), k, replace=False)] for _ in range(n_init)])


DATA = {
    "overlapping": (blobs(), 5),
    "separate": (blobs(scale=20), 5),
    "offset": (blobs() + np.float32(1000), 5),
    "duplicates": (np.repeat(blobs(40), 10, axis=0), 7),
    "one cluster": (blobs(), 1),
    "two clusters, one feature": (blobs(d=1), 2),
    "many clusters": (blobs(900), 300),
    "as many clusters as samples": (blobs(20), 20),
    "more than a slice": (blobs(5000), 10),
}


@pytest.mark.parametrize("name", DATA)
def test_same_as_scikit_learn(name):
    X, k = DATA[name]
    starts = random_starts(X, k, 4)
    expected = reference(X, starts)
    for start, fitted in zip(starts, expected, strict=True):
        result = k_means(torch.from_numpy(X), k, init=start)
        assert result.inertia == pytest.approx(fitted.inertia_, rel=1e-4, abs=1e-4)
        assert result.centers.dtype == torch.float32 and result.labels.dtype == torch.int64
        np.testing.assert_allclose(result.centers, fitted.cluster_centers_, rtol=1e-4, atol=1e-2)
        assert (result.labels.numpy() == fitted.labels_).mean() > 0.99
        assert abs(result.n_iter - fitted.n_iter_) <= 1
    best = k_means(torch.from_numpy(X), k, init=torch.from_numpy(starts))
    lowest = min(fitted.inertia_ for fitted in expected)
    assert best.inertia == pytest.approx(lowest, rel=1e-4, abs=1e-4)
