import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import NearestNeighbors

from skdeepclust import STDACClustering
from skdeepclust._selection import NeighborCriterion, nearest_neighbors


@pytest.fixture
def X():
    return torch.from_numpy(np.random.RandomState(0).rand(2500, 6)).float()


def test_nearest_neighbors_agree_with_scikit_learn(X):
    ours = nearest_neighbors(X, 5)
    theirs = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(X, return_distance=False)[:, 1:]
    np.testing.assert_array_equal(ours, theirs)


def test_criterion_is_the_mutual_information_of_neighbours(X):
    probabilities = torch.randn(len(X), 4).softmax(1).numpy()
    labels = probabilities.argmax(1)
    neighbors = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(X, return_distance=False)[:, 1:]
    # in both directions, so that the two marginals are the same
    one, other = np.repeat(labels, 5), labels[neighbors].ravel()
    expected = mutual_info_score(np.r_[one, other], np.r_[other, one])
    assert NeighborCriterion(X)(probabilities) == pytest.approx(expected)


def test_criterion_prefers_clusters_that_follow_the_data():
    rng = np.random.RandomState(0)
    centers = np.repeat(np.eye(4) * 10, 50, axis=0)
    X = torch.from_numpy(centers + rng.randn(200, 4)).float()
    criterion = NeighborCriterion(X)
    true = np.repeat(np.eye(4), 50, axis=0)
    joined = true.copy()
    joined[:, 0] += joined[:, 1]
    joined[:, 1] = 0
    noise = np.eye(4)[rng.randint(4, size=200)]
    assert criterion(true) == pytest.approx(np.log(4))
    assert criterion(true) > criterion(joined) > criterion(noise) >= 0


def test_restarts_keep_the_best_and_say_what_they_saw(images):
    estimator = STDACClustering(
        n_clusters=3, n_init=5, max_epochs=4, screening=0.5, batch_size=50, random_state=0
    ).fit(images)
    runs = estimator.restarts_
    assert sorted(run["n_epochs"] for run in runs) == [2, 2, 2, 4, 4]  # a quarter goes on
    (selected,) = (run for run in runs if run["selected"])
    finished = [run for run in runs if run["n_epochs"] == 4]
    assert selected["score"] == max(run["score"] for run in finished)
    assert selected["score"] == pytest.approx(estimator.score(images), abs=1e-9)
    screened = [run for run in runs if run["n_epochs"] == 2]
    assert len({run["seed"] for run in runs}) == 5
    assert all(run["score"] < np.log(3) for run in screened)
