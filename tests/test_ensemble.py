"""ConsensusClustering: matching, agreement, and scikit-learn's conventions of meta-estimators."""

import tracemalloc

import numpy as np
import pytest
from joblib import parallel_config
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import DBSCAN, KMeans, MeanShift
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skdeepclust import ConsensusClustering, TURTLEClustering
from skdeepclust.metrics import clustering_accuracy_score


class Given(ClusterMixin, BaseEstimator):
    """Predicts what it is given, by the number in the first column."""

    def __init__(self, labels):
        self.labels = labels

    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X):
        return np.asarray(self.labels)[np.asarray(X)[:, 0].astype(int)]


class Odds(Given):
    """Predicts probabilities."""

    def predict_proba(self, X):
        return np.asarray(self.labels)[np.asarray(X)[:, 0].astype(int)]

    def predict(self, X):
        return self.predict_proba(X).argmax(1)


def numbers(n):
    return np.arange(n, dtype=float)[:, None]


def consensus_of(*members, **parameters):
    return ConsensusClustering([(f"m{i}", m) for i, m in enumerate(members)], **parameters)


def test_what_most_agree_on_and_how_many():
    members = [
        Given([0, 0, 0, 1, 1, 1]),
        Given([1, 1, 1, 0, 0, 0]),  # the same, named otherwise
        Given([1, 1, 0, 0, 0, 0]),  # another mind about the third
    ]
    model = consensus_of(*members, random_state=0).fit(numbers(6))
    first = model.labels_[0]
    np.testing.assert_array_equal(model.labels_ == first, [1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(model.agreement_, [1, 1, 2 / 3, 1, 1, 1])
    odds = np.array([3, 3, 2.25, 0.25, 0.25, 0.25]) / 3  # a quarter of its cluster is of the first
    np.testing.assert_allclose(model.predict_proba(numbers(6))[:, first], odds)
    np.testing.assert_array_equal(model.predict(numbers(6)), model.labels_)
    model.set_params(weights=[1, 1, 3]).fit(numbers(6))
    np.testing.assert_allclose(model.agreement_, [1, 1, 0.6, 1, 1, 1])
    assert (model.labels_ == model.labels_[0]).tolist() == [True, True, False, False, False, False]


def test_new_samples_get_what_their_clusters_say():
    """Sample by sample, with one that gives probabilities and one that gives labels of any kind."""
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=30)
    odds = rng.dirichlet(np.ones(3), 30) / 2 + np.eye(3)[y] / 2
    labels = np.array([7, 3, 3])[y]
    members = Odds(odds), Given(labels)
    model = consensus_of(*members, weights=[1, 3], random_state=0).fit(numbers(30))
    assert model.n_clusters_ == 3
    found = model.predict_proba(numbers(30))
    together = np.hstack([odds / 2, np.sqrt(3 / 4) * (labels[:, None] == [3, 7])])
    consensus = KMeans(3, n_init=10, random_state=0).fit_predict(together)
    np.testing.assert_array_equal(model.labels_, consensus)
    sizes = np.bincount(consensus)
    for n in range(30):
        expected = np.zeros(3)
        for k in range(3):
            inside = np.array([odds[consensus == c, k].mean() for c in range(3)])
            expected += odds[n, k] * inside / inside.sum() / 4
        inside = np.bincount(consensus[labels == labels[n]], minlength=3) / sizes
        expected += 3 / 4 * inside / inside.sum()
        np.testing.assert_allclose(found[n], expected)
    np.testing.assert_allclose(found.sum(1), 1)


def test_clusters_of_any_number_and_noise():
    coarse, fine = [0, 0, 0, 0, 1, 1, 1], [0, 0, 2, 2, 1, 1, 1]
    noisy = [0, 0, 0, -1, 1, 1, 1]
    members = Given(coarse), Given(fine), Given(noisy), Given(noisy)
    model = consensus_of(*members, random_state=0).fit(numbers(7))
    assert model.n_clusters_ == 2
    assert adjusted_rand_score(coarse, model.labels_) == 1
    np.testing.assert_allclose(model.agreement_, [1, 1, 1, 0.5, 1, 1, 1])
    np.testing.assert_allclose(model.predict_proba(numbers(7)).max(1), 1)
    only_noise = consensus_of(Given([0, 1, -1]), random_state=0).fit(numbers(3))
    np.testing.assert_allclose(only_noise.predict_proba(numbers(3))[2], [0.5, 0.5])
    assert only_noise.agreement_[2] == 0
    finer = consensus_of(*members, n_clusters=3, random_state=0).fit(numbers(7))
    assert adjusted_rand_score(fine, finer.labels_) == 1


def test_memory_is_of_blocks(monkeypatch):
    """That of all votes, in float64, would be 32 MB, and that of all memberships as much."""
    labels = np.random.RandomState(0).randint(20, size=20_000)
    members = [Given(labels if i < 5 else np.roll(labels, i)) for i in range(10)]
    model = consensus_of(*members, random_state=0).fit(numbers(300))
    expected = model.predict_proba(numbers(20_000))
    tracemalloc.start()
    found = model.predict_proba(numbers(20_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    assert peak < 40e6  # 25; it was 95
    monkeypatch.setattr("skdeepclust.cluster._ensemble.BLOCK", 77)
    again = consensus_of(*members, random_state=0).fit(numbers(300))
    np.testing.assert_array_equal(again.labels_, model.labels_)
    np.testing.assert_allclose(again.agreement_, model.agreement_)
    np.testing.assert_allclose(again.predict_proba(numbers(20_000)), expected)


def test_is_better_than_a_typical_member(digits):
    """Of k-means from one random start each: 0.79 to 0.80 beside 0.69 to 0.73, five times."""
    images, y = digits
    X = images.reshape(len(images), -1)
    members = [KMeans(10, n_init=1, init="random", random_state=i) for i in range(15)]
    model = consensus_of(*members, random_state=0).fit(X)
    alone = [clustering_accuracy_score(y, member.labels_) for member in model.estimators_]
    assert clustering_accuracy_score(y, model.labels_) > np.mean(alone) + 0.05
    counts = contingency_matrix(y, model.labels_)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    is_right = y == rows[columns.argsort()][model.labels_]
    sure = model.agreement_ > 0.9  # what all say is right more often
    assert is_right[sure].mean() > is_right.mean() + 0.02


def test_of_methods_of_both_libraries():
    X, y = make_blobs(200, n_features=6, centers=3, cluster_std=2.0, random_state=0)
    model = ConsensusClustering(
        [
            ("pipeline", make_pipeline(PCA(2), KMeans(3, n_init=3, random_state=0))),
            ("mixture", GaussianMixture(3, random_state=0)),
            ("shift", MeanShift()),
            ("deep", TURTLEClustering(3, max_epochs=40, random_state=0)),
        ],
        n_clusters=3,
        random_state=0,
    )
    assert adjusted_rand_score(y, model.fit_predict(X)) > 0.95
    assert model.agreement_.mean() > 0.9
    assert model.agreement_.max() <= 1
    assert model.n_features_in_ == 6


def test_in_parallel():
    X = np.random.RandomState(0).rand(60, 3)
    members = [KMeans(4, n_init=1, random_state=i) for i in range(3)]
    with parallel_config("threading"):
        one, two = (consensus_of(*members, n_jobs=n, random_state=0).fit(X) for n in (None, 2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_follows_the_conventions_of_voting():
    X = np.random.RandomState(0).rand(40, 3)
    model = ConsensusClustering([("a", KMeans(2)), ("b", KMeans(3))])
    assert model.get_params()["a__n_clusters"] == 2
    assert set(model.get_params(deep=False)) == {
        *("estimators", "n_clusters", "weights", "n_jobs", "random_state")
    }
    model.set_params(a__n_clusters=3, b="drop").fit(X)
    assert model.named_estimators.a.n_clusters == 3
    assert list(model.named_estimators_) == ["a", "b"]
    assert model.named_estimators_.b == "drop"
    assert len(model.estimators_) == 1
    assert not hasattr(model.named_estimators.a, "labels_")  # a copy is fitted
    search = GridSearchCV(
        model.set_params(b=KMeans(3)), {"b__init": ["random", "k-means++"]}, cv=2,
        scoring=lambda estimator, X, y=None: estimator.predict_proba(X).max(1).mean(),
    ).fit(X)  # fmt: skip
    assert search.best_estimator_.n_clusters_ == 3


def test_where_all_is_noise():
    class Noise(ClusterMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def predict(self, X):
            return np.full(len(X), -1)

    with pytest.raises(ValueError, match="estimators must find clusters: all of them"):
        consensus_of(Noise(), Noise()).fit(np.random.RandomState(0).rand(40, 3))


def test_fitted_members_stay_as_they_are():
    X = np.random.RandomState(0).rand(40, 3)
    fitted = KMeans(3, n_init=1, random_state=0).fit(X[:20])
    model = consensus_of(FrozenEstimator(fitted)).fit(X)
    assert adjusted_rand_score(model.labels_, fitted.predict(X)) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimators": []}, r"estimators must be a list of pairs .* got \[\]"),
        ({"estimators": [KMeans()]}, "estimators must be a list of pairs"),
        ({"estimators": "k-means"}, "'estimators' parameter .* must be an instance of 'list'"),
        ({"estimators": [("a", DBSCAN())]}, r"must have fit and predict.* got DBSCAN\(\) as 'a'"),
        ({"estimators": [("a", KMeans)]}, "must have fit and predict"),
        ({"estimators": [("a", "drip")]}, "or be 'drop'; got 'drip' as 'a'"),
        ({"estimators": [("a", "drop")]}, "estimators: one at least must take part"),
        ({"estimators": [("a", KMeans(2)), ("a", KMeans(3))]}, "not unique"),
        ({"estimators": [("weights", KMeans(2))]}, "conflict"),
        ({"weights": [1.0]}, r"weights must be 2 finite numbers .* got \[1.0\]"),
        ({"weights": [1.0, -1.0]}, "weights must be 2 finite numbers that are not negative"),
        ({"weights": [1.0, np.inf]}, "weights must be 2 finite numbers"),
        ({"weights": [0.0, 0.0]}, "with a weight above 0"),
        ({"n_clusters": 0}, "'n_clusters' parameter .* Got 0"),
    ],
)
def test_bad_parameters(parameters, message):
    given = {"estimators": [("a", KMeans(2)), ("b", KMeans(3))], **parameters}
    with pytest.raises(ValueError, match=message):
        ConsensusClustering(**given).fit(np.random.RandomState(0).rand(20, 3))


def test_before_a_fit():
    model = consensus_of(KMeans(2))
    assert not hasattr(model, "n_features_in_")
    with pytest.raises(NotFittedError):
        model.predict(np.zeros((2, 2)))


def test_failed_fit_leaves_the_one_before():
    X, _ = make_blobs(60, centers=3, random_state=0)
    members = [("a", KMeans(3, random_state=0)), ("b", KMeans(3, random_state=1))]
    consensus = ConsensusClustering(members, random_state=0).fit(X)
    before = dict(vars(consensus))
    labels = consensus.predict(X)
    with pytest.raises(ValueError, match="n_samples=60"):
        consensus.set_params(n_clusters=1000).fit(X[::-1])
    consensus.set_params(n_clusters=None)
    assert vars(consensus) == before
    np.testing.assert_array_equal(consensus.predict(X), labels)


def test_more_clusters_than_samples_is_said_before_members_are_fitted():
    class Never(KMeans):
        def fit(self, X, y=None, sample_weight=None):
            raise AssertionError("fitted")

    model = ConsensusClustering([("a", Never(3)), ("b", Never(3))], n_clusters=31)
    with pytest.raises(ValueError, match="n_samples=30 should be >= n_clusters=31"):
        model.fit(np.zeros((30, 2)))


def test_random_state_seeds_members_that_have_none():
    X, _ = make_blobs(60, centers=6, cluster_std=4, random_state=0)
    members = [KMeans(6, n_init=1, init="random"), make_pipeline(PCA(2), KMeans(6, n_init=1))]
    members += [members[0], KMeans(6, n_init=1, init="random", random_state=7)]
    first, again = (consensus_of(*members, random_state=0).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.labels_, again.labels_)
    for one, other in zip(first.estimators_, again.estimators_, strict=True):
        np.testing.assert_array_equal(one.predict(X), other.predict(X))
    seeds = [first.estimators_[i].random_state for i in (0, 2, 3)]
    assert len(set(seeds)) == 3 and seeds[-1] == 7
    assert first.estimators[0][1].random_state is None  # what was given stays
    assert consensus_of(*members).fit(X).estimators_[0].random_state is None
