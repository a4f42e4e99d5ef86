"""ConsensusClustering: matching, agreement, and scikit-learn's conventions of meta-estimators."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import DBSCAN, KMeans, MeanShift
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skdeepclust import ConsensusClustering, TURTLEClustering
from skdeepclust._training._restarts import match_clusters
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


def test_clusters_are_matched_and_votes_counted():
    members = [
        Given([0, 0, 0, 1, 1, 1]),
        Given([1, 1, 1, 0, 0, 0]),  # the same, named otherwise
        Given([1, 1, 0, 0, 0, 0]),  # another mind about the third
    ]
    model = consensus_of(*members).fit(numbers(6))
    first = model.labels_[0]
    np.testing.assert_array_equal(model.labels_ == first, [1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(model.agreement_, [1, 1, 2 / 3, 1, 1, 1])
    np.testing.assert_allclose(model.predict_proba(numbers(6))[:, first], [1, 1, 2 / 3, 0, 0, 0])
    np.testing.assert_array_equal(model.predict(numbers(6)), model.labels_)
    model.set_params(weights=[1, 1, 3]).fit(numbers(6))
    np.testing.assert_allclose(model.agreement_, [1, 1, 0.6, 1, 1, 1])
    assert (model.labels_ == model.labels_[0]).tolist() == [True, True, False, False, False, False]


def test_probabilities_are_averaged_with_labels():
    odds = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    model = consensus_of(Odds(odds), Given([5, 3, 3, 3])).fit(numbers(4))  # of any numbers
    expected = (odds + np.array([[1, 0], [0, 1], [0, 1], [0, 1]])) / 2
    found = model.predict_proba(numbers(4))
    np.testing.assert_allclose(found[:, [found[0].argmax(), found[3].argmax()]], expected)
    np.testing.assert_allclose(model.agreement_, [1, 0.5, 1, 1])


def test_surplus_clusters_are_merged_and_noise_has_no_vote():
    coarse, fine = [0, 0, 0, 0, 1, 1, 1], [0, 0, 2, 2, 1, 1, 1]
    noisy = [0, 0, 0, -1, 1, 1, 1]
    model = consensus_of(Given(coarse), Given(fine), Given(noisy), Given(noisy)).fit(numbers(7))
    assert model.n_clusters_ == 2
    assert adjusted_rand_score(coarse, model.labels_) == 1
    np.testing.assert_allclose(model.agreement_, [1, 1, 1, 0.5, 1, 1, 1])
    np.testing.assert_allclose(model.predict_proba(numbers(7)).max(1), 1)
    only_noise = consensus_of(Given([0, 1, -1])).fit(numbers(3))
    np.testing.assert_allclose(only_noise.predict_proba(numbers(3))[2], [0.5, 0.5])
    finer = consensus_of(Given(coarse), Given(fine), n_clusters=3).fit(numbers(7))
    assert len(np.unique(finer.labels_)) == finer.n_clusters_ == 3


def test_matching_against_all_permutations():
    rng = np.random.RandomState(0)
    p, q = rng.dirichlet(np.ones(4), (2, 30))
    from itertools import permutations

    best = max(permutations(range(4)), key=lambda into: (p * q[:, into]).sum())
    np.testing.assert_array_equal(match_clusters(p, q), best)


def test_is_better_than_a_typical_member(digits):
    """Restarts of k-means from one start each; 0.79 to 0.81 beside 0.73 to 0.76 with five seeds."""
    images, y = digits
    X = images.reshape(len(images), -1)
    members = [KMeans(10, n_init=1, init="random", random_state=i) for i in range(15)]
    model = consensus_of(*members).fit(X)
    alone = [clustering_accuracy_score(y, member.labels_) for member in model.estimators_]
    found = clustering_accuracy_score(y, model.labels_)
    assert found > np.mean(alone) + 0.02
    sure = model.agreement_ > 0.9  # what all agree on is right more often
    matched = model.labels_ == match_clusters(np.eye(10)[y], np.eye(10)[model.labels_])[y]
    assert matched[sure].mean() > matched.mean() + 0.05


def test_of_methods_of_both_libraries():
    X, y = make_blobs(200, n_features=6, centers=3, cluster_std=2.0, random_state=0)
    model = ConsensusClustering(
        [
            ("pipeline", make_pipeline(PCA(2), KMeans(3, n_init=3, random_state=0))),
            ("mixture", GaussianMixture(3, random_state=0)),
            ("shift", MeanShift()),
            ("deep", TURTLEClustering(3, max_epochs=60, lr=0.01, inner_lr=0.01, random_state=0)),
        ],
        n_clusters=3,
    )
    assert adjusted_rand_score(y, model.fit_predict(X)) > 0.95
    assert model.agreement_.min() >= 0
    assert model.agreement_.max() <= 1
    assert model.n_features_in_ == 6
    two = clone(model).set_params(n_jobs=2).fit(X)
    np.testing.assert_allclose(two.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_follows_the_conventions_of_voting():
    X = np.random.RandomState(0).rand(40, 3)
    model = ConsensusClustering([("a", KMeans(2)), ("b", KMeans(3))])
    assert model.get_params()["a__n_clusters"] == 2
    assert set(model.get_params(deep=False)) == {"estimators", "n_clusters", "weights", "n_jobs"}
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


def test_fitted_members_stay_as_they_are():
    X = np.random.RandomState(0).rand(40, 3)
    fitted = KMeans(3, n_init=1, random_state=0).fit(X[:20])
    model = consensus_of(FrozenEstimator(fitted)).fit(X)
    np.testing.assert_array_equal(model.labels_, fitted.predict(X))


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
        ({"weights": [1.0]}, r"weights must be 2 numbers .* got \[1.0\]"),
        ({"weights": [1.0, -1.0]}, "weights must be 2 numbers that are not negative"),
        ({"weights": [0.0, 0.0]}, "with a weight above 0"),
        ({"n_clusters": 5}, "n_clusters=5 must be .* they have a: 2, b: 3"),
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
