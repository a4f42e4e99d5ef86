"""TURTLEClustering: the steps, feature spaces, learning."""

import copy

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch.nn import functional as F

from skdeepclust import TURTLEClustering
from skdeepclust.cluster._turtle import TURTLENetwork, TURTLEObjective
from skdeepclust.engine import Engine, Phase
from skdeepclust.losses import turtle_loss
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.objective import ClassPrior
from skdeepclust.samples import Samples


def small_network(widths=(3, 2)):
    torch.manual_seed(0)
    return TURTLENetwork(torch.nn.Flatten(), widths, widths, n_clusters=2)


def test_labels_are_the_mean_over_spaces_with_weight_normalisation():
    network = small_network()
    x = torch.randn(4, 5)
    for space in network.head.spaces:
        with torch.no_grad():
            space.weight.mul_(7.0)  # of no effect
            space.length.mul_(1.5)
    odds = []
    for space, z in zip(network.head.spaces, (x[:, :3], x[:, 3:]), strict=True):
        rows = [
            length * row / row.norm()
            for row, length in zip(space.weight, space.length, strict=True)
        ]
        odds.append((z @ torch.stack(rows).T + space.bias).softmax(1))
    torch.testing.assert_close(network(x).softmax(1), (odds[0] + odds[1]) / 2)


def test_a_step_is_the_papers():
    """By hand, with the optimisers that the engine makes: M inner steps, then an outer one."""
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    network = small_network()
    expected = copy.deepcopy(network)
    objective = TURTLEObjective(3, 0.05, entropy_weight=2.0, prior=ClassPrior(None, 1))
    phase = Phase(objective, 2, batch_size=6, optimizer=torch.optim.SGD, lr=0.1)
    Engine(network, phase).start().fit_loop(Samples(x), epochs=2)

    inner = torch.optim.SGD(expected.classifiers.parameters(), lr=0.05)
    outer = torch.optim.SGD(expected.head.parameters(), lr=0.1)
    for _ in range(2):
        p = expected.head.all(x).exp()
        labels = p.mean(0).detach()
        for _ in range(3):  # from where they are
            inner.zero_grad()
            spaces = zip(expected.classifiers, (x[:, :3], x[:, 3:]), strict=True)
            sum(F.cross_entropy(c(z), labels) for c, z in spaces).backward()
            inner.step()
        outer.zero_grad()
        turtle_loss(p, expected.classify(x).detach(), 2.0).backward()
        outer.step()
    for found, wanted in zip(network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_auto_is_a_number_of_steps():
    model = TURTLEClustering(batch_size=100)
    model.input_shape_ = (4,)
    assert [model._planned_epochs(n) for n in (50, 100, 399, 100_000)] == [300, 300, 100, 1]


@pytest.mark.parametrize("spaces", [(3, 2), (3, -1, 4), (), (3.0, 3.0)])
def test_feature_spaces_that_do_not_suit(spaces):
    with pytest.raises(ValueError, match=r"feature_spaces must .* the 6 features of X; got "):
        TURTLEClustering(2, feature_spaces=spaces).fit(np.random.RandomState(0).rand(9, 6))


def test_spaces_have_norms_of_their_own():
    X = np.random.RandomState(0).rand(20, 6) * [1, 1, 1, 100, 100, 100]
    model = TURTLEClustering(2, feature_spaces=(3, 3), scaling="l2", max_epochs=1, random_state=0)
    z = model.fit(X).transform(X)
    for part in (slice(3), slice(3, None)):
        space = X[:, part] - X[:, part].mean(0)
        expected = np.sqrt(3) * space / np.linalg.norm(space, axis=1, keepdims=True)
        np.testing.assert_allclose(z[:, part], expected, rtol=1e-5)


def test_learns_digits_as_features(digits):
    images, y = digits
    X = images.reshape(len(images), -1)
    baseline = clustering_accuracy_score(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))
    model = TURTLEClustering(10, max_epochs=150, n_inner_steps=5, random_state=0)
    assert clustering_accuracy_score(y, model.fit_predict(X)) > baseline  # 0.87 beside 0.79


def test_learns_blobs_in_two_spaces():
    """Neither of which tells all clusters apart: each joins two of four."""
    rng = np.random.RandomState(0)
    y = rng.randint(4, size=400)
    first, second = (
        6 * np.eye(5)[np.array([0, 1, 2, 2])[y]],
        6 * np.eye(5)[np.array([0, 0, 1, 2])[y]],
    )
    X = np.hstack([first, 1000 * second]) + rng.randn(400, 10) * ([1] * 5 + [1000] * 5)
    settings = {"max_epochs": 100, "random_state": 0}
    model = TURTLEClustering(4, feature_spaces=(5, 5), **settings)
    assert adjusted_rand_score(y, model.fit_predict(X)) > 0.95
