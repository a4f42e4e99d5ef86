"""TEMIClustering: the objective, the teacher, the head that predicts, learning."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback

from skdeepclust import TEMIClustering
from skdeepclust.cluster._temi import TEMINetwork, TEMIObjective
from skdeepclust.losses import temi_loss
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.samples import Samples


def cosines(X, weight):
    """Logits of one head, sample by sample."""
    rows = [[float(x @ w / np.linalg.norm(x) / np.linalg.norm(w)) / 0.1 for w in weight] for x in X]
    return torch.tensor(rows)


def test_objective_follows_a_neighbour_and_the_teacher_follows():
    torch.manual_seed(0)
    X = torch.randn(6, 3)
    network = TEMINetwork(torch.nn.Flatten(), 3, n_clusters=2, n_heads=2, temperature=0.1)
    with torch.no_grad():
        network.student.linear.weight.normal_()
    neighbors = torch.tensor([[1], [2], [3], [4], [5], [0]])
    objective = TEMIObjective(Samples(X), neighbors, 2, 2, 0.6, 0.75)
    objective.on_epoch_begin(network, Samples(X))
    loss = objective.loss(network, X[:4], torch.arange(4))
    halves = X[:4].numpy(), X[1:5].numpy()
    of_student, of_teacher = (
        torch.stack(
            [
                torch.stack(
                    [
                        cosines(half, w)
                        for w in heads.linear.weight.detach().numpy().reshape(2, 2, 3)
                    ]
                )
                for half in halves
            ]
        )
        for heads in (network.student, network.head)
    )
    sizes = torch.full((2, 2), 0.5) * 0.9 + of_teacher.softmax(-1).mean((0, 2)) * 0.1
    torch.testing.assert_close(objective.sizes, sizes, rtol=1e-4, atol=1e-5)
    losses = temi_loss(of_student, of_teacher, sizes, 0.6)
    assert loss.item() == pytest.approx(losses.mean().item(), rel=1e-4)
    torch.testing.assert_close(objective.head_losses, 4 * losses, rtol=1e-4, atol=1e-5)
    loss.backward()
    assert network.head.linear.weight.grad is None
    before, student = network.head.linear.weight.clone(), network.student.linear.weight.detach()
    objective.after_step(network, X, torch.arange(4))
    torch.testing.assert_close(network.head.linear.weight, 0.75 * before + 0.25 * student)
    assert int(network.head.selected) == int(losses.argmin())


def test_the_head_with_the_lowest_loss_predicts(images):
    class Losses(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("best_head", int(net.criterion_.head_losses.argmin()))

    X = images.reshape(200, 64)
    fitted = TEMIClustering(10, max_epochs=5, callbacks=[Losses()], random_state=0).fit(X)
    head = fitted.network_.head
    assert int(head.selected) == fitted.history_[-1, "best_head"]
    logits = head.all(torch.from_numpy(fitted.transform(X)))[int(head.selected)]
    np.testing.assert_allclose(fitted.predict_proba(X), logits.softmax(1), rtol=1e-4, atol=1e-6)


def test_neighbours_are_those_by_cosines():
    """Of points on three rays from their mean, whose distances from it differ a hundredfold."""
    rng = np.random.RandomState(0)
    rays = np.array([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]])
    y = np.arange(300) % 3
    X = (rays[y] + 0.1 * rng.randn(300, 3)) * 10 ** rng.uniform(-1, 1, 100).repeat(3)[:, None]
    settings = {"n_neighbors": 10, "n_heads": 4, "max_epochs": 20, "lr": 0.02, "random_state": 0}
    labels = TEMIClustering(3, scaling="l2", **settings).fit_predict(X)
    assert adjusted_rand_score(y, labels) > 0.95
    assert adjusted_rand_score(y, KMeans(3, n_init=10, random_state=0).fit_predict(X)) < 0.5


def test_learns_digits_as_features(digits):
    images, y = digits
    X = images.reshape(len(images), -1)
    baseline = clustering_accuracy_score(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))
    model = TEMIClustering(10, n_heads=4, max_epochs=40, random_state=0)
    assert clustering_accuracy_score(y, model.fit_predict(X)) > baseline + 0.02


def test_learns_blobs():
    X, y = make_blobs(300, n_features=10, centers=4, cluster_std=2.0, random_state=0)
    model = TEMIClustering(4, n_heads=4, max_epochs=40, batch_size=100, random_state=0)
    assert adjusted_rand_score(y, model.fit_predict(X)) > 0.95
