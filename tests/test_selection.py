import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import NearestNeighbors

from skdeepclust import (
    AutoencoderClustering,
    DeepClustering,
    DENClustering,
    DGGClustering,
    IMSATClustering,
    SCANClustering,
    STDACClustering,
    TEMIClustering,
)
from skdeepclust._training._restarts import consensus
from skdeepclust._training._selection import NeighborCriterion
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.neighbors import nearest_neighbors


@pytest.fixture
def X():
    return torch.from_numpy(np.random.RandomState(0).rand(2500, 6)).float()


def test_nearest_neighbors_agree_with_scikit_learn(X):
    ours = nearest_neighbors(X, 5)
    distances, theirs = (a[:, 1:] for a in NearestNeighbors(n_neighbors=6).fit(X).kneighbors(X))
    # by distance, because float32 can swap two that are equally far but for rounding
    np.testing.assert_allclose((X[ours] - X[:, None]).norm(dim=2), distances, rtol=1e-5)
    assert (ours.numpy() == theirs).mean() > 0.999


def test_of_few_samples_all_others_are_neighbours():
    found = nearest_neighbors(torch.tensor([[0.0], [1.0], [3.0]]), 20)
    assert found.tolist() == [[1, 2], [0, 2], [1, 0]]


def exact(X, n_neighbors):
    assert X.dtype == np.float32 and X.ndim == 2
    return nearest_neighbors(torch.from_numpy(X), n_neighbors).numpy().astype(np.int32)


SEARCHING = [
    TEMIClustering(3, n_neighbors=7),
    SCANClustering(3, representation="precomputed", self_label_epochs=0),
    DeepClustering(3),
    DENClustering(3),
    DGGClustering(3, siamese_epochs=1, autoencoder=AutoencoderClustering(max_epochs=1)),
    IMSATClustering(3),
]


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", SEARCHING, ids=lambda model: type(model).__name__)
def test_a_search_of_the_users_own(model, X):
    """Also of a view of the samples, which it may not change."""
    X = X[:150].numpy()
    model = clone(model).set_params(max_epochs=1, n_init=1, batch_size=50, random_state=0)
    expected = model.fit(X).predict_proba(X)
    found = clone(model).set_params(neighbors=exact).fit(X)
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    given = X.copy()
    model.fit(X)
    np.testing.assert_array_equal(X, given)


def itself(X, k):
    return np.repeat(np.arange(len(X))[:, None], k, 1)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (lambda X, k: exact(X, k)[:, 1:], r"integers of shape \(150, 7\); got int32 of .*150, 6\)"),
        (lambda X, k: exact(X, k) * 1.0, r"integers of shape \(150, 7\); got float64 of"),
        (lambda X, k: exact(X, k) - 1, r"in \[0, 150\); got -1 to 148"),
        (itself, r"without the sample itself; got it in 150 row\(s\), the first of which is 0"),
        (lambda X: X, r"failed: .*positional argument"),
    ],
    ids=["shape", "type", "range", "itself", "signature"],
)
def test_searches_that_do_not_do(search, message, X):
    with pytest.raises(ValueError, match=f"neighbors.*{message}"):
        TEMIClustering(3, n_neighbors=7, neighbors=search).fit(X[:150])


def test_criterion_is_the_mutual_information_of_neighbours(X):
    probabilities = torch.randn(len(X), 4).softmax(1).numpy()
    labels = probabilities.argmax(1)
    neighbors = NearestNeighbors(n_neighbors=6).fit(X).kneighbors(X, return_distance=False)[:, 1:]
    # in both directions, so that the two marginals are the same
    one, other = np.repeat(labels, 5), labels[neighbors].ravel()
    expected = mutual_info_score(np.r_[one, other], np.r_[other, one])
    assert NeighborCriterion(X)(probabilities) == pytest.approx(expected, abs=1e-5)


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
        n_clusters=3, n_init=4, max_epochs=4, screening=0.5, batch_size=50, random_state=0
    ).fit(images)
    runs = estimator.restarts_
    (selected,) = (run for run in runs if run["selected"])
    screened = [run for run in runs if not run["selected"]]
    assert [run["n_epochs"] for run in screened] == [2, 2, 2]
    assert estimator.history_[:, "phase"] == ["dac"] * 2 + ["consensus"] * 4 + ["dac"] * 2
    assert selected["n_epochs"] == 8
    assert len({run["seed"] for run in runs}) == 4
    assert selected["score"] == pytest.approx(estimator.score(images), abs=1e-9)


def test_the_restart_that_goes_on_was_the_best_when_screened(images):
    parameters = {"n_clusters": 3, "batch_size": 50, "random_state": 0, "consensus": False}
    both = STDACClustering(**parameters, n_init=3, max_epochs=2, screening=0.5).fit(images)
    # The same restarts' first epoch: the thresholds of one epoch are those of the first.
    first = STDACClustering(**parameters, n_init=3, max_epochs=1).fit(images)
    assert [run["seed"] for run in both.restarts_] == [run["seed"] for run in first.restarts_]
    scores = [run["score"] for run in first.restarts_]
    assert len(set(scores)) == 3
    assert [run["selected"] for run in both.restarts_] == [s == max(scores) for s in scores]


@pytest.mark.parametrize("agrees", [False, True])
def test_restarts_that_can_not_win_are_let_go(agrees, images, monkeypatch):
    """The two best are kept; all of them where the best learns what they agree on."""
    runs, held = [], []
    judge = STDACClustering._judge

    def watched(self, run, X, criterion):
        held.append(sum(other.probabilities is not None for other in runs))
        runs.append(run)
        return judge(self, run, X, criterion)

    monkeypatch.setattr(STDACClustering, "_judge", watched)
    parameters = {"n_init": 4, "max_epochs": 1, "batch_size": 50, "random_state": 0}
    STDACClustering(3, consensus=agrees, **parameters).fit(images)
    assert held[:4] == ([0, 1, 2, 3] if agrees else [0, 1, 2, 2])


def test_consensus_matches_the_clusters_before_it_averages():
    rng = np.random.RandomState(0)
    probabilities = rng.dirichlet([0.3] * 4, size=100)
    shuffled = [probabilities[:, rng.permutation(4)] for _ in range(5)]
    np.testing.assert_allclose(consensus([probabilities, *shuffled]), probabilities)


def test_consensus_corrects_independent_mistakes():
    rng = np.random.RandomState(0)
    true = rng.randint(4, size=2000)
    voters = []
    for _ in range(7):
        labels = np.where(rng.rand(2000) < 0.3, rng.randint(4, size=2000), true)
        voters.append(np.eye(4)[rng.permutation(4)[labels]])
    single = np.mean([clustering_accuracy_score(true, v.argmax(1)) for v in voters])
    together = clustering_accuracy_score(true, consensus(voters).argmax(1))
    assert single < 0.85
    assert together > 0.97


def test_points_of_the_criterion_are_bounded_by_their_values(monkeypatch):
    monkeypatch.setattr("skdeepclust._training._selection.MAX_VALUES", 3200)
    X = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    criterion = NeighborCriterion(X)
    assert len(criterion.neighbors) == 50
    labels = np.eye(2)[np.arange(100) // 2 % 2]
    found = criterion(labels)
    neighbors = NearestNeighbors(n_neighbors=5).fit(X[criterion.samples].flatten(1)).kneighbors()[1]
    half = labels[criterion.samples].argmax(1)
    own, others = np.repeat(half, 5), half[neighbors].ravel()
    both = np.r_[own, others], np.r_[others, own]
    assert found == pytest.approx(mutual_info_score(*both), abs=1e-6)


def test_samples_that_take_turns_are_all_looked_at(monkeypatch):
    """Every second one would be those of one cluster."""
    monkeypatch.setattr("skdeepclust._training._selection.MAX_SAMPLES", 200)
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(202, 2)) + np.tile([[0], [20]], (101, 2))).float()
    criterion = NeighborCriterion(X)
    assert len(criterion.neighbors) == 200
    assert criterion(np.eye(2)[np.arange(202) % 2]) == pytest.approx(np.log(2), abs=1e-3)
