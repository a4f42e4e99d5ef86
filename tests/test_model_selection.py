import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import FeatureAgglomeration, KMeans
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepclust import AutoencoderClustering, select_n_clusters
from skdeepclust.model_selection import NClustersSelection, prediction_strength
from skdeepclust.plotting import NClustersDisplay


def slow_strength(labels, predicted, n_clusters):
    shares = []
    for cluster in range(n_clusters):
        members = np.flatnonzero(labels == cluster)
        pairs = [(i, j) for i in members for j in members if i != j]
        together = [predicted[i] == predicted[j] for i, j in pairs]
        shares.append(np.mean(together) if pairs else 0)
    return min(shares)


def test_prediction_strength_is_that_of_the_pairs():
    random = np.random.RandomState(0)
    for _ in range(5):
        labels, predicted = random.randint(3, size=(2, 20))
        expected = slow_strength(labels, predicted, 3)
        assert prediction_strength(labels, predicted, 3) == pytest.approx(expected)
    assert prediction_strength(labels, (labels + 1) % 3, 3) == 1
    assert prediction_strength(labels, labels, 4) == 0  # one is empty


@pytest.mark.parametrize(("n_features", "centers", "state"), [(2, 4, 3), (10, 7, 5), (20, 11, 1)])
def test_finds_the_number_of_blobs(n_features, centers, state):
    X, _ = make_blobs(500, n_features=n_features, centers=centers, random_state=state)
    found = select_n_clusters(KMeans(n_init=3), X, range(2, 14), random_state=0)
    assert found.best == centers
    assert f"best={centers}, strength={{" in repr(found)
    assert found.strength.shape == (12, 6)
    assert found.stability.shape == (12, 3)


@pytest.mark.parametrize(
    ("labels", "predicted", "name"),
    [([0, 2], [0, 0], "labels"), ([0, -1], [0, 0], "labels"), ([0, 1], [0, -1], "predicted")],
)
def test_prediction_strength_takes_no_noise(labels, predicted, name):
    with pytest.raises(ValueError, match=f"{name} must be clusters from 0 on"):
        prediction_strength(labels, predicted, n_clusters=2)


def test_order_of_the_numbers_and_jobs_change_nothing():
    X, _ = make_blobs(200, centers=3, random_state=0)
    first = select_n_clusters(KMeans(n_init=1), X, [2, 3, 4], random_state=0)
    with parallel_config("threading"):  # processes: test_n_jobs.py
        second = select_n_clusters(KMeans(n_init=1), X, [4, 3, 3, 2], random_state=0, n_jobs=2)
    np.testing.assert_array_equal(first.strength, second.strength)
    np.testing.assert_array_equal(first.stability, second.stability)


def test_a_backend_without_generators():
    X = make_blobs(80, centers=3, random_state=0)[0]
    alone = select_n_clusters(KMeans(n_init=1), X, [2, 3], random_state=0)
    with parallel_config("multiprocessing"):
        found = select_n_clusters(KMeans(n_init=1), X, [2, 3], random_state=0, n_jobs=2)
    np.testing.assert_array_equal(found.strength, alone.strength)


def test_neither_estimator_nor_global_state_change():
    X, _ = make_blobs(100, centers=3, random_state=0)
    model, before = KMeans(8, n_init=1), np.random.get_state()[1].copy()  # noqa: NPY002
    select_n_clusters(model, X, [2, 3], random_state=0)
    assert model.n_clusters == 8
    assert not hasattr(model, "labels_")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_pipelines_and_deep_methods():
    X, _ = make_blobs(200, n_features=4, centers=3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), KMeans(n_init=3))
    assert select_n_clusters(pipeline, X, range(2, 6), random_state=0).best == 3
    deep = AutoencoderClustering(2, max_epochs=5, n_init=1)
    assert select_n_clusters(deep, X, [3, 6], n_splits=1, random_state=0).best == 3


def test_number_is_that_of_the_last_step():
    """Not that of a step before, whose name is shorter."""
    X, _ = make_blobs(200, n_features=6, centers=4, cluster_std=0.3, random_state=0)
    steps = [("pool", FeatureAgglomeration(3)), ("kmeans", KMeans(2, n_init=3))]
    assert select_n_clusters(Pipeline(steps), X, range(2, 7), random_state=0).best == 4
    nested = Pipeline([("scale", StandardScaler()), ("rest", Pipeline(steps))])
    assert select_n_clusters(nested, X, range(2, 7), random_state=0).best == 4
    mixture = Pipeline([steps[0], ("mixture", GaussianMixture(2))])
    with pytest.raises(ValueError, match="or end with one that does"):
        select_n_clusters(mixture, X, [2, 3])


def test_where_no_strength_suffices_the_most_stable_is_taken():
    strength = np.array([[0.5, 0.5], [0.4, 0.4]])
    found = NClustersSelection(np.array([2, 5]), strength, np.array([[0.3], [0.6]]), 0.8)
    assert found.best == 5
    found.threshold = 0.45
    assert found.best == 2


class WithoutNumber(ClusterMixin, BaseEstimator):
    def predict(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": []}, "n_clusters must hold integers"),
        ({"n_clusters": 3}, "n_clusters must hold integers of at least 2; got 3"),
        ({"n_clusters": [1, 2]}, "n_clusters must hold integers"),
        ({"n_clusters": [2.5]}, "n_clusters must hold integers"),
        ({"n_clusters": [2, 40]}, "at most half the samples of a half, 25 of 100; got 40"),
        ({"estimator": WithoutNumber()}, "estimator must have `predict`"),
        ({"n_splits": 0}, "n_splits == 0"),
        ({"threshold": 1.5}, "threshold == 1.5"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"estimator": KMeans(), "X": np.zeros((100, 2)), "n_clusters": [2], **change}
    with pytest.raises(ValueError, match=message):
        select_n_clusters(**arguments)


def test_display():
    pytest.importorskip("matplotlib")
    X, _ = make_blobs(200, centers=4, random_state=1)
    found = select_n_clusters(KMeans(n_init=3), X, range(2, 8), random_state=0)
    display = NClustersDisplay.from_selection(found)
    strength, stability = (bar.lines[0].get_ydata() for bar in display.errorbars_)
    np.testing.assert_allclose(strength, found.strength.mean(1))
    np.testing.assert_allclose(stability, found.stability.mean(1))
    assert display.ax_.get_legend_handles_labels()[1][0] == "4 clusters"


def test_error_bars_are_within_the_axes():
    pytest.importorskip("matplotlib")
    strength = np.array([[1.0, 0.9, 0.9, 1.0], [1.0, 1.0, 1.0, 0.2]])
    stability = np.array([[-0.1, -0.3], [1.0, 0.9]])
    display = NClustersDisplay.from_selection(
        NClustersSelection(np.array([2, 3]), strength, stability, 0.8)
    )
    low, high = display.ax_.get_ylim()
    ends = [line.get_ydata() for bar in display.errorbars_ for line in bar.lines[1]]
    assert low < np.min(ends) - 0.02 and high > np.max(ends) + 0.02
