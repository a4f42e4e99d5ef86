"""DEN against a slow reference, its neighbours and groups, and what it learns."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from skdeepclust import DENClustering
from skdeepclust.cluster._den import DENObjective
from skdeepclust.networks import AutoencoderNetwork, DenseNetwork, StudentTHead
from skdeepclust.samples import Samples

FAST = {"n_clusters": 3, "n_init": 1, "max_epochs": 2, "kmeans_n_init": 3, "random_state": 0}


def objective(X, **parameters):
    settings = {
        "n_neighbors": 2,
        "bandwidth": 1.5,
        "locality_weight": 0.7,
        "sparsity_weight": 0.3,
        "n_groups": 2,
        "augmentation": torch.nn.Identity(),
    }
    return DENObjective(Samples(X), **{**settings, **parameters})


def test_objective_is_the_papers_formula():
    """Sample by sample and group by group, with the neighbour that is drawn."""
    torch.manual_seed(0)
    X, index = torch.randn(8, 5), torch.tensor([5, 0, 7])
    net = AutoencoderNetwork(DenseNetwork([5, 8, 3]), DenseNetwork([3, 8, 5]), StudentTHead(3, 2))
    terms = objective(X)
    torch.manual_seed(1)
    loss = terms.loss(net, X[index], index).item()

    points = X.double().numpy()
    distance, neighbors = NearestNeighbors(n_neighbors=2).fit(points).kneighbors()
    t = 1.5 * (distance**2).mean()
    np.testing.assert_array_equal(np.sort(terms.neighbors, 1), np.sort(neighbors, 1))
    torch.manual_seed(1)
    drawn = torch.randint(2, (3,)).tolist()
    expected = 0.0
    with torch.no_grad():
        Z = net.embed(X).double().numpy()
        decoded = net.decode(net.embed(X)).double().numpy()
    for i, d in zip(index.tolist(), drawn, strict=True):
        expected += np.mean((decoded[i] - points[i]) ** 2)
        j = int(terms.neighbors[i, d])
        similarity = math.exp(-np.sum((points[i] - points[j]) ** 2) / t)
        expected += 0.7 * similarity * np.sum((Z[i] - Z[j]) ** 2)
        first, second = Z[i, :2], Z[i, 2:]
        norms = math.sqrt(2) * math.hypot(*first) + math.sqrt(1) * abs(second[0])
        expected += 0.3 * norms
    assert loss == pytest.approx(expected / 3, rel=1e-4)


def test_neighbor_of_a_batch_is_drawn_from_all_samples():
    """In expectation it is the mean over all neighbours."""
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    terms = objective(X, n_neighbors=3, sparsity_weight=0.0, locality_weight=1.0)
    net = AutoencoderNetwork(torch.nn.Identity(), torch.nn.Identity(), StudentTHead(4, 2))
    index = torch.arange(20)
    torch.manual_seed(0)
    drawn = [terms.loss(net, X, index).item() for _ in range(300)]  # the reconstruction is exact
    squares = (X[:, None] - X[terms.neighbors]).square().sum(2)
    assert np.mean(drawn) == pytest.approx((terms.similarity * squares).mean().item(), rel=0.02)


def test_samples_that_are_all_the_same_have_a_loss():
    terms = objective(torch.ones(5, 4))
    torch.testing.assert_close(terms.similarity, torch.ones(5, 2))


def test_groups(images):
    for n_groups in (None, 16):
        DENClustering(**FAST, n_groups=n_groups).fit(images)
    with pytest.raises(ValueError, match="n_groups=17 should be <= 16, the number of latents"):
        DENClustering(**FAST, n_groups=17).fit(images)
    # 4 clusters, but 2 latents
    DENClustering(4, n_init=1, latent_size=2, max_epochs=1, random_state=0).fit(images)


def test_terms_shape_the_latents(digits):
    """Neighbours come nearer, beside the spread of all samples, and groups are left unused."""
    X = digits[0][:500].reshape(500, 64)

    def fit(**weights):
        settings = {"hidden_sizes": (64,), "latent_size": 20, "augmentation": None, "n_init": 1}
        settings |= {"locality_weight": 0.0, "sparsity_weight": 0.0, "max_epochs": 30, **weights}
        return DENClustering(10, random_state=0, **settings).fit(X).transform(X)

    neighbors = NearestNeighbors(n_neighbors=5).fit(X)
    near = neighbors.kneighbors(return_distance=False)

    def distance_to_neighbors(Z):
        return (
            np.square(Z[:, None] - Z[near]).sum(2).mean() / np.square(Z - Z.mean(0)).sum(1).mean()
        )

    def share_of_largest_groups(Z):
        norms = np.sort(np.linalg.norm(Z.reshape(500, 10, 2), axis=2), axis=1)
        return (norms[:, 5:].sum(1) / norms.sum(1)).mean()

    plain = fit()
    near_plain, near_fit = map(distance_to_neighbors, (plain, fit(locality_weight=1.0)))
    assert near_fit < 0.8 * near_plain
    few_plain, few_fit = map(share_of_largest_groups, (plain, fit(sparsity_weight=0.01)))
    assert few_fit > few_plain + 0.03


def kmeans_nmi(images, y):
    X = images.reshape(len(images), -1)
    return normalized_mutual_info_score(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))


@pytest.mark.slow
def test_defaults_learn_the_digits(digits):
    images, y = digits
    labels = DENClustering(10, random_state=0).fit_predict(images)
    # 0.80 to 0.83 with three random states, beside 0.74
    assert normalized_mutual_info_score(y, labels) > kmeans_nmi(images, y) + 0.02
