"""IICClustering: the loss, the heads' turns, the head that predicts, learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback

from skdeepclust import IICClustering
from skdeepclust.cluster._base_overclustering import MergingNetwork
from skdeepclust.cluster._iic import IICObjective
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.networks import MergingHead
from skdeepclust.objective import ClassPrior
from skdeepclust.samples import Samples


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def information(pairs, weight):
    """Of pairs of probabilities, with loops: equation 3 of the paper and lambda of its code."""
    joint = np.mean([(np.outer(p, q) + np.outer(q, p)) / 2 for p, q in pairs], 0)
    sizes = joint.sum(0)
    return sum(
        p * (math.log(p) - weight * math.log(sizes[i]) - weight * math.log(sizes[j]))
        for (i, j), p in np.ndenumerate(joint)
    )


class Moved(torch.nn.Module):
    """An augmentation that moves each copy by an amount of its own."""

    def forward(self, x):
        return x + torch.arange(len(x)).view(-1, 1) / 10


def small(alternation=None):
    torch.manual_seed(0)
    network = MergingNetwork(torch.nn.Linear(3, 4), MergingHead(4, 2, 3, 2))
    objective = IICObjective(
        augmentation=Moved(), n_copies=2, entropy_weight=1.5, n_heads=3,
        alternation=alternation, prior=ClassPrior(None, 1),
    )  # fmt: skip
    return network, objective, torch.randn(5, 3)


def test_objective_is_the_papers_formula():
    """Sample by sample, copy by copy and head by head; mean over the heads of a kind."""
    network, objective, x = small()
    objective.on_epoch_begin(network, Samples(x))
    loss = objective.loss(network, x, torch.arange(5)).item()
    copies = Moved()(torch.cat([x, x]))
    expected, of_plain = 0.0, []
    for kind in (network.head.plain, network.head.over):
        found = []
        for head in range(3):
            p, q = (
                [
                    softmax(row.detach().double().numpy())
                    for row in kind.all(network.encoder(values))[head]
                ]
                for values in (x, copies)
            )
            pairs = [(p[n], q[n + 5 * copy]) for n in range(5) for copy in range(2)]
            found.append(-information(pairs, 1.5))
        of_plain = of_plain or found
        expected += np.mean(found)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(objective.head_losses / 5, of_plain, rtol=1e-5)
    objective.after_step(network, x, torch.arange(5))
    assert int(network.head.number) == int(np.argmin(of_plain))


def test_heads_take_turns():
    network, objective, x = small(alternation=2)
    turns = []
    for _ in range(6):
        objective.on_epoch_begin(network, Samples(x))
        network.zero_grad()
        objective.loss(network, x, torch.arange(5)).backward()
        kinds = (network.head.plain, network.head.over)
        turns.append([kind.linear.weight.grad is not None for kind in kinds])
    assert turns == [[True, False], [True, False], [False, True]] * 2
    # the losses of the last epoch of those that predict outlive the epoch of the others
    assert (objective.head_losses != 0).all()


def test_without_overclustering_heads():
    X = np.random.RandomState(0).randn(60, 4)
    settings = {"n_clusters": 3, "max_epochs": 2, "batch_size": 30, "random_state": 0}
    fitted = IICClustering(**settings, overclustering=1).fit(X)
    assert fitted.network_.head.over is None
    with pytest.raises(ValueError, match=r"overclustering must be above 1; got alternation=2"):
        IICClustering(**settings, overclustering=1, alternation=2).fit(X)


def test_the_head_with_the_lowest_loss_predicts(images):
    class Losses(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("best_head", int(net.criterion_.head_losses.argmin()))

    fitted = IICClustering(
        10, max_epochs=6, batch_size=100, callbacks=[Losses()], random_state=0
    ).fit(images)
    head = fitted.network_.head
    assert int(head.number) == fitted.history_[-1, "best_head"]
    features = torch.from_numpy(fitted.transform(images))
    probabilities = head.plain.all(features)[int(head.number)].softmax(1)
    np.testing.assert_allclose(
        fitted.predict_proba(images), probabilities.detach(), rtol=1e-4, atol=1e-6
    )


def test_learns_blobs():
    """Tabular data: a fully connected network and noise."""
    X, y = make_blobs(300, n_features=10, centers=4, cluster_std=2.0, random_state=0)
    model = IICClustering(4, max_epochs=40, batch_size=150, random_state=0)
    assert adjusted_rand_score(y, model.fit_predict(X)) > 0.95


def kmeans_accuracy(images, y):
    X = images.reshape(len(images), -1)
    return clustering_accuracy_score(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))


@pytest.mark.slow
def test_defaults_learn_the_digits(digits):
    images, y = digits
    accuracy = clustering_accuracy_score(y, IICClustering(10, random_state=0).fit_predict(images))
    assert accuracy > kmeans_accuracy(images, y) + 0.05  # 0.87 to 0.96 with five random states
