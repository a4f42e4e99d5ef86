"""Clusters that are drawn to unlike sizes."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

import skdeepclust
from skdeepclust import (
    DeepClustering,
    IICClustering,
    IMSATClustering,
    ProFeatClustering,
    RIMClustering,
    SCANClustering,
    TURTLEClustering,
)
from skdeepclust._training._selection import looked_at
from skdeepclust.cluster._base_prior import estimated_shares
from skdeepclust.networks import DenseEncoder
from skdeepclust.objective import ClassPrior

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning"
)
SHARES = [0.6, 0.2, 0.12, 0.08]
ESTIMATORS = [
    DeepClustering,
    IICClustering,
    IMSATClustering,
    ProFeatClustering,
    RIMClustering,
    SCANClustering,
    TURTLEClustering,
]
LEARNERS = {
    "IMSAT": IMSATClustering(4, network=DenseEncoder, batch_size=100, max_epochs=40),
    "RIM": RIMClustering(4, network=DenseEncoder, batch_size=100, n_init=1, max_epochs=20, lr=2e-3),
    "TURTLE": TURTLEClustering(4, n_init=1, max_epochs=100),
}


def blobs(shares, seed=0):
    y = np.repeat(np.arange(len(shares)), np.round(np.multiply(shares, 400)).astype(int))
    return 4 * np.eye(6)[y] + np.random.RandomState(seed).randn(len(y), 6), y


@pytest.mark.parametrize(
    ("name", "n_states"), [("IMSAT", 1), ("RIM", 3), ("TURTLE", 1)], ids=LEARNERS
)
def test_unlike_classes_are_found_with_their_shares(name, n_states):
    X, y = blobs(SHARES)
    scores = {}
    for prior in ("uniform", "estimate", "given"):
        model = clone(LEARNERS[name]).set_params(class_prior=SHARES if prior == "given" else prior)
        labels = [model.set_params(random_state=i).fit_predict(X) for i in range(n_states)]
        scores[prior] = np.mean([adjusted_rand_score(y, found) for found in labels])
    # 0.54, 0.94 and 0.95 with IMSAT; 0.44, 0.71 and 0.87 with TURTLE; RIM is a lottery: 0.28, 0.37
    # and 0.59 with torch 2.13, 0.28, 0.33 and 0.77 with 2.4
    assert scores["given"] > scores["uniform"] + 0.2
    assert scores["estimate"] > scores["uniform"]


def distance(found, shares):
    return np.abs(found.numpy() - np.sort(shares)[::-1]).sum()


@pytest.mark.parametrize("seed", range(3))
def test_estimate_is_nearer_to_the_truth_than_like_shares(seed):
    even = np.full(4, 0.25)
    found = estimated_shares(torch.from_numpy(blobs(SHARES, seed)[0]).float(), 4)
    assert found.sum() == pytest.approx(1)
    assert distance(found, SHARES) < distance(torch.from_numpy(even), SHARES) - 0.1
    found = estimated_shares(torch.from_numpy(blobs(even, seed)[0]).float(), 4)
    assert distance(found, even) < 0.1


@pytest.mark.parametrize(("n", "n_clusters"), [(1, 1), (5, 1), (2, 2), (9, 9), (30, 4)])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_estimate_is_a_distribution(n, n_clusters, scale):
    """Also of samples that are all the same."""
    X = scale * torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    found = estimated_shares(X, n_clusters)
    assert found.shape == (n_clusters,)
    assert found.sum().item() == pytest.approx(1)
    assert (found > 0).all()


def test_estimate_sees_a_bounded_number_of_values(monkeypatch):
    monkeypatch.setattr("skdeepclust._training._selection.MAX_VALUES", 300)
    X = torch.rand(400, 3)
    for n_clusters, n_seen in ((3, 100), (200, 200)):  # one each
        some = X[looked_at(X, at_least=n_clusters)]
        assert len(some) == n_seen
        assert torch.equal(estimated_shares(X, n_clusters), estimated_shares(some, n_clusters))


def test_estimate_draws_nothing():
    X = torch.rand(60, 3)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    found = estimated_shares(X, 3)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(estimated_shares(X, 3), found)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "prior",
    [
        [0.5, 0.5],
        [0.5, 0.3, 0.3],
        [1.0, 0.0, 0.0],
        [1.2, -0.1, -0.1],
        [0.5, 0.5, np.nan],
        [[0.2, 0.3, 0.5]],
        ["a", "b", "c"],
        [],
        "equal",
        0.3,
        None,
    ],
    ids=str,
)
def test_shares_that_are_none(Estimator, prior, images):
    with pytest.raises(ValueError, match=r"class_prior.* must be .*[gG]ot"):
        Estimator(3, class_prior=prior).fit(images)


def test_attribute(images, tmp_path):
    X = images[:60].reshape(60, 64)
    model = IMSATClustering(3, batch_size=30, max_epochs=2, network=DenseEncoder, random_state=0)
    np.testing.assert_array_equal(model.fit(X).class_prior_, np.full(3, 1 / 3))
    model.set_params(class_prior=np.float32([0.1, 0.7, 0.2])).fit(X)
    np.testing.assert_allclose(model.class_prior_, [0.1, 0.7, 0.2], rtol=1e-6)
    assert model.class_prior_.sum() == pytest.approx(1, abs=1e-15)
    skdeepclust.save(model, tmp_path / "model")
    again = skdeepclust.load(tmp_path / "model")
    np.testing.assert_array_equal(again.class_prior, model.class_prior)
    np.testing.assert_array_equal(again.class_prior_, model.class_prior_)
    model.set_params(class_prior="estimate", scaling="standard").fit(X)
    X = torch.from_numpy((X - X.mean(0)) / np.maximum(X.std(0), 1e-12)).float()
    np.testing.assert_allclose(model.class_prior_, estimated_shares(X, 3), atol=0.02)


def test_shares_come_in_halfway():
    prior, uniform = ClassPrior(torch.tensor([0.9, 0.1]), 5), ClassPrior(None, 5)
    assert not uniform.state_dict()  # a checkpoint is what it was
    seen = []
    for _ in range(5):
        prior.next_epoch()
        uniform.next_epoch()
        seen.append(prior.now is not None)
        assert uniform.now is None
    assert seen == [False, False, True, True, True]
    again = ClassPrior(torch.tensor([0.5, 0.5]), 5)
    again.load_state_dict(prior.state_dict())
    again.next_epoch()
    assert torch.equal(again.now, torch.tensor([0.9, 0.1]))


@pytest.mark.parametrize("model", list(map(clone, LEARNERS.values())), ids=LEARNERS)
def test_order_of_shares_is_of_no_effect(model):
    X, _ = blobs(SHARES)
    model.set_params(class_prior=SHARES, max_epochs=2, random_state=0)
    expected = model.fit(X).predict_proba(X)
    found = model.set_params(class_prior=SHARES[::-1]).fit(X).predict_proba(X)
    np.testing.assert_array_equal(found, expected)
