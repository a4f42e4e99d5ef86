import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skdeepclust import ADCClustering
from skdeepclust.cluster._adc import NORM, ADCNetwork, AssociationHead, AssociationObjective


class Moved(torch.nn.Module):
    """An augmentation that moves each copy by an amount of its own."""

    def forward(self, x):
        return x + torch.arange(len(x)).view(-1, 1) / 10


def walks(a, b, groups, visit_weight):
    """The walker and visit loss, walk by walk."""
    n, m = len(a), len(b)
    score = [[float(a[i] @ b[j]) for j in range(m)] for i in range(n)]
    there = [[np.exp(s) / sum(np.exp(row)) for s in row] for row in score]
    columns = [sum(np.exp(score[i][j]) for i in range(n)) for j in range(m)]
    walker = 0.0
    for i in range(n):
        mates = [k for k in range(n) if groups[k] == groups[i]]
        for k in mates:
            p = sum(there[i][j] * np.exp(score[k][j]) / columns[j] for j in range(m))
            walker -= np.log(p) / len(mates) / n
    visits = [np.mean([there[i][j] for i in range(n)]) for j in range(m)]
    return walker - visit_weight * np.mean(np.log(visits))


@pytest.mark.parametrize("with_centers", [False, True])
def test_objective_is_the_formula(with_centers):
    torch.manual_seed(0)
    network = ADCNetwork(torch.nn.Linear(3, 5), AssociationHead(5, 4, 2, n_centers=3))
    x = torch.randn(5, 3)
    objective = AssociationObjective(
        Moved(), n_copies=2, copies_weight=0.3, centers_weight=0.7 * with_centers,
        visit_weight=0.6, logit_weight=0.5, norm_weight=0.2,
    )  # fmt: skip
    found = objective.loss(network, x, torch.arange(5)).item()
    z = network.embedding(x).detach().double().numpy()
    copies = network.embedding(Moved()(torch.cat([x, x]))).detach().double().numpy()

    def off_norm(points):
        return np.mean([(np.sqrt(sum(p**2)) - NORM) ** 2 for p in points])

    expected = 0.3 * walks(copies, z, [0, 1, 2, 3, 4] * 2, 1.0)
    expected += 0.2 * off_norm([*z, *copies])
    if with_centers:
        centers = network.head.centers.detach().double().numpy()
        groups = [0, 0, 0, 1, 1, 1]
        expected += 0.7 * walks(centers, z, groups, 0.6) + 0.2 / 2 * off_norm(centers)
        logits = network.head.classifier(network.head.centers).detach().double().numpy()
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected -= 0.5 * np.mean([np.log(shares[i, k]) for i, k in enumerate(groups)])
    assert found == pytest.approx(expected, rel=1e-5)


def test_centres_lie_around_those_of_k_means():
    head = AssociationHead(5, 2, 3, n_centers=4)
    given = torch.tensor([[0.0, 5.0], [5.0, 0.0], [-5.0, 0.0]])
    head.set_centers(given)
    assert (head.centers.view(3, 4, 2) - given[:, None]).abs().max() < 1e-3
    assert len(head.centers.unique(dim=0)) == 12  # which differ, so that they can part
    assert (head.groups.view(3, 4) == torch.arange(3)[:, None]).all()


def test_learns_blobs():
    X, y = make_blobs(300, n_features=10, centers=4, cluster_std=2.0, random_state=0)
    model = ADCClustering(4, max_epochs=20, random_state=0)
    assert adjusted_rand_score(y, model.fit_predict(X)) > 0.95


def nmi_beside_kmeans(model, images, y):
    X = images.reshape(len(images), -1)
    labels = KMeans(10, n_init=10, random_state=0).fit_predict(X), model.fit_predict(images)
    return [normalized_mutual_info_score(y, found) for found in labels]


@pytest.mark.slow
def test_defaults_learn_the_digits(digits):
    kmeans, found = nmi_beside_kmeans(ADCClustering(10, random_state=0), *digits)
    assert found > kmeans + 0.03
