import warnings

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, is_monotonic, is_valid_linkage
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture

import skdeepclust
from skdeepclust import (
    AutoencoderClustering,
    ConsensusClustering,
    DeepClustering,
    IMSATClustering,
    TEMIClustering,
)
from skdeepclust.cluster._temi import TEMIObjective
from skdeepclust.hierarchy import BLOCK, count_clusters, cut_tree, merge_tree
from skdeepclust.metrics import clustering_accuracy_score


def slow_tree(P):
    """Merge by the definition: all pairs anew after each merge, of the samples' own sums."""
    parts = {number: [number] for number in range(P.shape[1])}
    tree = []
    while len(parts) > 1:
        empty = [c for c in parts if c not in P.argmax(1) and len(parts[c]) == 1]
        pairs = [(i, j) for i in parts for j in parts if i < j]
        if empty:
            pairs = [pair for pair in pairs if empty[0] in pair]
        shares = {number: P[:, part].sum(1) for number, part in parts.items()}
        confusion = [
            len(P) * np.sum(shares[i] * shares[j]) / (shares[i].sum() * shares[j].sum())
            for i, j in pairs
        ]
        best = int(np.argmax(confusion))
        i, j = pairs[best]
        height = 0 if empty else 1 / (1 + confusion[best])
        parts[P.shape[1] + len(tree)] = parts.pop(i) + parts.pop(j)
        tree.append([i, j, height, len(parts[P.shape[1] + len(tree)])])
    return np.array(tree)


def draw(n_samples, n_clusters, seed, concentration=0.3):
    random = np.random.RandomState(seed)
    return random.dirichlet(random.uniform(0.1, 2, n_clusters) * concentration, n_samples)


@pytest.mark.parametrize("seed", range(8))
def test_tree_is_that_of_the_definition(seed):
    P = draw(60, 9, seed)
    assert len(np.unique(P.argmax(1))) > 4
    np.testing.assert_allclose(merge_tree(P), slow_tree(P))


def test_clusters_without_samples_merge_first():
    P = draw(60, 6, 0)
    P[:, 2] = P[:, 3] * 0.4  # never the most probable one
    P[:, 4] = 0
    P /= P.sum(1, keepdims=True)
    tree = merge_tree(P)
    np.testing.assert_array_equal(tree[:2, 2], 0)
    assert set(tree[0, :2]) == {2, 3}
    assert 4 in tree[1, :2]
    labels = cut_tree(tree, 4)
    assert len(np.unique(labels[P.argmax(1)])) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("concentration", [0.001, 0.1, 10])
def test_scipy_takes_the_tree(concentration, dtype):
    P = draw(300, 30, 1, concentration).astype(dtype)
    tree = merge_tree(P)
    is_valid_linkage(tree, throw=True)
    assert is_monotonic(tree)
    assert 0 <= tree[0, 2] <= tree[-1, 2] <= 1
    for n_clusters in (2, 7):
        cut, of_scipy = cut_tree(tree, n_clusters), fcluster(tree, n_clusters, "maxclust")
        if tree[-n_clusters, 2] < tree[1 - n_clusters, 2]:  # not cut among equals
            assert normalized_mutual_info_score(cut, of_scipy) == pytest.approx(1)


def test_samples_in_parts_and_their_number_change_nothing():
    P = draw(BLOCK + 500, 5, 2)
    np.testing.assert_allclose(merge_tree(P), slow_tree(P))
    np.testing.assert_allclose(merge_tree(np.tile(P[:50], (3, 1))), merge_tree(P[:50]))


def test_heights_say_how_far_from_chance():
    P = [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.3, 0.0, 0.7]]  # 0 and 1 are not correlated
    np.testing.assert_allclose(merge_tree(P)[0], [0, 1, 0.5, 2])
    assert merge_tree(np.eye(2))[0, 2] == 1
    assert merge_tree(np.ones((4, 1))).shape == (0, 4)


def test_cut():
    tree = [[1, 4, 0.1, 2], [2, 3, 0.2, 2], [0, 5, 0.3, 3], [6, 7, 0.4, 5]]
    expected = [[0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 1, 2, 2, 1], [0, 1, 2, 3, 1], range(5)]
    for number, labels in enumerate(expected, start=1):
        np.testing.assert_array_equal(cut_tree(tree, number), labels)
    np.testing.assert_array_equal(cut_tree(np.empty((0, 4)), 1), [0])


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (np.ones(4), "2D array"),
        (np.full((4, 2), np.nan), "probabilities contains NaN"),
        ([[1.5, -0.5]], "probabilities must not be negative; got -0.5"),
    ],
)
def test_bad_probabilities(P, message):
    with pytest.raises(ValueError, match=message):
        merge_tree(P)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tree": np.zeros((3, 3))}, "'tree' must have 4 columns"),
        ({"tree": [[0, 3, 0.1, 2], [1, 2, 0.2, 2]]}, "'tree' uses non-singleton cluster before"),
        ({"n_clusters": 0}, "n_clusters == 0, must be >= 1"),
        ({"n_clusters": 4}, "n_clusters == 4, must be <= 3"),
    ],
)
def test_bad_cuts(change, message):
    arguments = {"tree": [[0, 1, 0.1, 2], [2, 3, 0.2, 3]], "n_clusters": 2, **change}
    with pytest.raises(ValueError, match=message):
        cut_tree(**arguments)


def test_many_clusters_cut_at_ten_are_better_than_ten_of_k_means():
    X, y = load_digits(return_X_y=True)
    model = TEMIClustering(25, max_epochs=30, random_state=1).fit(X)
    cut = cut_tree(model.merge_tree_, 10)[model.labels_]
    k_means = KMeans(10, n_init=3, random_state=0).fit_predict(X)
    for metric in (clustering_accuracy_score, normalized_mutual_info_score):
        assert metric(y, cut) > metric(y, k_means) + 0.03
        assert metric(y, cut) > metric(y, model.labels_)


def test_one_cluster_and_a_second_fit():
    X = load_iris().data
    model = AutoencoderClustering(1, max_epochs=1, random_state=0).fit(X)
    assert model.merge_tree_.shape == (0, 4)
    assert model.set_params(n_clusters=4).fit(X).merge_tree_.shape == (3, 4)


def test_consensus():
    X = load_iris().data
    members = [(str(i), GaussianMixture(8, random_state=i)) for i in range(3)]
    model = ConsensusClustering(members, random_state=0).fit(X)
    np.testing.assert_array_equal(model.merge_tree_, merge_tree(model.predict_proba(X)))
    cut = cut_tree(model.merge_tree_, 2)[model.labels_]
    assert clustering_accuracy_score(load_iris().target > 0, cut) == 1  # setosa and the others


# ---------------------------------------------------------------------- a number that is found


@pytest.fixture(scope="module")
def four():
    """Four clusters of unlike size in eight dimensions."""
    sizes = [60, 90, 120, 150]
    X, y = make_blobs(sizes, n_features=8, cluster_std=1.5, random_state=0)
    return X.astype(np.float32), y


FOUND = {"n_neighbors": 20, "scaling": "standard", "random_state": 0}


def test_number_that_is_found(four, tmp_path):
    X, y = four
    model = TEMIClustering("auto", **FOUND).fit(X)
    assert model.n_clusters == "auto"
    assert model.n_clusters_ == 4
    eight = KMeans(n_init=3, random_state=0).fit_predict(X)  # scikit-learn's default
    assert adjusted_rand_score(y, model.labels_) > adjusted_rand_score(y, eight) + 0.1
    same = TEMIClustering(4, **FOUND).fit(X)
    np.testing.assert_array_equal(model.labels_, same.labels_)
    assert model.predict_proba(X).shape == (len(X), 4)
    skdeepclust.save(model, tmp_path / "model.skdc")
    loaded = skdeepclust.load(tmp_path / "model.skdc")
    assert (loaded.n_clusters, loaded.n_clusters_) == ("auto", 4)
    np.testing.assert_array_equal(loaded.predict(X), model.labels_)


@pytest.mark.parametrize("Estimator", [DeepClustering, IMSATClustering, TEMIClustering])
def test_numbers_of_few_samples(Estimator, four):
    X = four[0][:45]
    model = Estimator("auto", max_epochs=2, n_init=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X)
    assert 2 <= model.n_clusters_ <= 4  # ten samples in each at least, to begin with
    assert model.merge_tree_.shape == (model.n_clusters_ - 1, 4)


@pytest.mark.parametrize("at", [3, 13])  # in the first fit, in the second; of two steps an epoch
def test_stops_of_the_fit_that_finds_it(four, tmp_path, monkeypatch, at):
    X, loss, calls = four[0], TEMIObjective.loss, []

    def stopping(*args):
        calls.append(args)
        if len(calls) == at:
            raise KeyboardInterrupt if at == 3 else RuntimeError("stopped")
        return loss(*args)

    short = {**FOUND, "max_epochs": 5, "batch_size": 200}
    expected = TEMIClustering("auto", **short).fit(X)
    model = TEMIClustering("auto", checkpoint=tmp_path / "c.pt", **short)
    monkeypatch.setattr(TEMIObjective, "loss", stopping)
    with pytest.raises(KeyboardInterrupt if at == 3 else RuntimeError):
        model.fit(X)
    monkeypatch.undo()
    assert not hasattr(model, "labels_")
    assert (model.n_clusters, model.checkpoint) == ("auto", tmp_path / "c.pt")
    assert (tmp_path / "c.pt.many").exists()  # after the first epoch
    np.testing.assert_array_equal(model.fit(X).labels_, expected.labels_)


def test_more_than_there_are_to_begin_with(tmp_path, monkeypatch):
    """Twice as many follow where none have merged, up to a number that a warning names."""
    monkeypatch.setattr("skdeepclust.base.MANY_CLUSTERS", 4)
    X, y = make_blobs([30] * 10, n_features=8, random_state=0)
    short = {**FOUND, "max_epochs": 20, "batch_size": 100}
    model = TEMIClustering("auto", checkpoint=tmp_path / "c.pt", **short).fit(X)
    assert 8 < model.n_clusters_ <= 10  # 9
    assert adjusted_rand_score(y, model.labels_) > 0.8
    found = sorted(path.name for path in tmp_path.glob("*.many*"))
    assert found == ["c.pt.many", "c.pt.many16", "c.pt.many8"]
    monkeypatch.setattr("skdeepclust.base.MOST_CLUSTERS", 8)
    with pytest.warns(UserWarning, match="there may be more than n_clusters_=8"):
        assert TEMIClustering("auto", **short).fit(X).n_clusters_ == 8


def test_estimators_that_find_none(four):
    with pytest.raises(ValueError, match="The 'n_clusters' parameter"):
        AutoencoderClustering("auto").fit(four[0])


def test_shares_of_clusters_whose_number_is_to_be_found(four):
    model = IMSATClustering("auto", class_prior="estimate", max_epochs=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(four[0])
    assert model.class_prior_.shape == (model.n_clusters_,)
    with pytest.raises(ValueError, match=r"class_prior must be .* where n_clusters is 'auto'"):
        model.set_params(class_prior=[0.5, 0.5]).fit(four[0])


@pytest.mark.parametrize("height", [-0.1, 1.1, "high"])
def test_heights_that_are_none(height):
    with pytest.raises((ValueError, TypeError), match="height"):
        count_clusters([[0, 1, 0.1, 2]], height=height)


def test_clusters_above_a_height():
    tree = [[0, 1, 0.2, 2], [2, 4, 0.5, 3], [3, 5, 0.7, 4]]
    assert [count_clusters(tree, height=h) for h in (0, 0.2, 0.5, 0.7)] == [4, 3, 2, 1]
    assert count_clusters(np.empty((0, 4))) == 1


def test_probabilities_that_have_a_gradient():
    P = torch.rand(20, 4, dtype=torch.float64).softmax(1)
    np.testing.assert_array_equal(merge_tree(P.clone().requires_grad_()), merge_tree(P.numpy()))
