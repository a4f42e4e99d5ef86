"""DGG against slow references, its graph, and what it draws and learns."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors
from skorch.callbacks import Callback

from skdeepclust import AutoencoderClustering, DGGClustering, IDECClustering
from skdeepclust.cluster._dgg import ClassifiedMixture, DGGObjective, SiameseObjective
from skdeepclust.losses import clustered_kl
from skdeepclust.networks import AutoencoderNetwork, DenseNetwork
from skdeepclust.samples import Samples

few_epochs = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning"
)
FAST = {
    "n_clusters": 3,
    "n_init": 1,
    "autoencoder": AutoencoderClustering(max_epochs=2),
    "siamese_epochs": 2,
    "max_epochs": 2,
    "kmeans_n_init": 3,
    "random_state": 0,
}


def network():
    torch.manual_seed(0)
    head = ClassifiedMixture(2, 3)
    head.set_mixture(torch.tensor([0.2, 0.5, 0.3]), torch.randn(3, 2), 0.5 + torch.rand(3, 2))
    encoder, decoder = DenseNetwork([5, 8, 2]), DenseNetwork([2, 8, 5])
    return AutoencoderNetwork(encoder, decoder, head, torch.nn.Linear(2, 4))


def in_double(tensor):
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_objective_is_the_papers_formula(likelihood):
    """Sample by sample, neighbour by neighbour, with the weights 1/2 and 1/(2k)."""
    net, values = network(), torch.rand(7, 5)
    net.value_range = value_range = (-1.0, 3.0) if likelihood == "bernoulli" else None
    X, index = Samples(values), torch.tensor([4, 0, 6])
    neighbors = torch.stack([torch.randperm(7)[:2] for _ in range(7)])
    objective = DGGObjective(
        X,
        neighbors,
        mixture_lr=1e-3,
        augmentation=torch.nn.Identity(),
        kl_weight=0.7,
    )
    torch.manual_seed(1)
    loss = objective.loss(net, X[index], index).item()

    inputs = [*index.tolist(), *neighbors[index].flatten().tolist()]
    mean, log_variance = map(in_double, net.encode(values[inputs]))
    torch.manual_seed(1)
    z = mean + np.exp(log_variance / 2) * in_double(torch.randn(9, 2))
    decoded = in_double(net.decode(torch.from_numpy(z).float()))
    q = in_double(net.head.classifier(torch.from_numpy(mean).float()).softmax(1))
    centers, log_v = in_double(net.head.centers), in_double(net.head.log_variances)
    expected = 0.0
    for i in range(3):
        rows = {i: 1 / 2, 3 + 2 * i: 1 / 4, 4 + 2 * i: 1 / 4}
        prior = sum(weight * q[row] for row, weight in rows.items())
        for row, weight in rows.items():
            part = 0.0
            for value, target in zip(decoded[row], in_double(values[index[i]]), strict=True):
                if value_range:
                    p, t = (value + 1) / 4, (target + 1) / 4
                    part -= t * np.log(p) + (1 - t) * np.log(1 - p)
                else:
                    part += (value - target) ** 2 / 2
            for c in range(3):
                terms = sum(
                    log_v[c, d]
                    + np.exp(log_variance[row, d] - log_v[c, d])
                    + (mean[row, d] - centers[c, d]) ** 2 / np.exp(log_v[c, d])
                    for d in range(2)
                )
                part += 0.7 * q[row, c] * (terms / 2 + np.log(q[row, c] / prior[c]))
            part -= 0.7 * sum(1 + log_variance[row, d] for d in range(2)) / 2
            expected += weight * part / 3
    assert loss == pytest.approx(2 * expected / 5, rel=1e-4)


def test_prior_is_no_way_for_the_gradient(monkeypatch):
    net, values, seen = network(), torch.rand(6, 5), []

    def watched(mean, log_variance, log_q, log_prior, *mixture):
        seen.append((log_q.requires_grad, log_prior.requires_grad))
        return clustered_kl(mean, log_variance, log_q, log_prior, *mixture)

    monkeypatch.setattr("skdeepclust.cluster._dgg.clustered_kl", watched)
    objective = DGGObjective(
        Samples(values),
        torch.arange(6).roll(1)[:, None],
        mixture_lr=1e-3,
        augmentation=torch.nn.Identity(),
    )
    objective.loss(net, values, torch.arange(6)).backward()
    assert seen == [(True, False)] * 2
    assert net.head.classifier.weight.grad.any()
    assert net.head.weight_logits.grad is None


def test_siamese_objective_takes_neighbours_and_any_samples(monkeypatch):
    values = torch.randn(6, 5)
    neighbors = torch.stack([torch.arange(6).roll(1), torch.arange(6).roll(2)], 1)
    index, other = torch.tensor([3, 5]), torch.tensor([4, 0])
    objective = SiameseObjective(Samples(values), neighbors)
    monkeypatch.setattr("skdeepclust.cluster._dgg.draw_neighbors", lambda known, i: known[i, 1])
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: other)
    net = DenseNetwork([5, 4, 2])
    loss = objective.loss(net, values[index], index).item()
    z = in_double(net(values))
    expected = 0.0
    for i, near, far in ((3, 1, 4), (5, 3, 0)):
        expected += np.square(z[i] - z[near]).sum() / 2
        expected += max(0, 3 - np.square(z[i] - z[far]).sum()) / 2
    assert loss == pytest.approx(expected, rel=1e-4)


def test_clusters_begin_as_the_mixture_with_one_variance():
    head, z = network().head, torch.randn(50, 2)
    weights, centers, _ = map(in_double, head.mixture())
    variances = np.exp(in_double(head.log_variances))
    variance = np.exp(weights) @ variances.mean(1)
    distances = np.square(in_double(z)[:, None] - centers).sum(2)
    joint = np.exp(weights - distances / variance / 2)
    expected = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(head(z).softmax(1).detach(), expected, rtol=1e-4)


class Graph(Callback):
    """Notes the neighbours that a phase is trained with."""

    seen = {}

    def on_train_begin(self, net, **kwargs):
        neighbors = getattr(net.criterion_, "neighbors", None)
        self.seen[net.phase.name] = None if neighbors is None else neighbors.clone()
        self.seen[f"network of {net.phase.name}"] = net.module_


@few_epochs
def test_graph_is_drawn_from_the_nearest_in_siamese_space(images):
    model = DGGClustering(**FAST, n_candidates=30, callbacks=[Graph()]).fit(images)
    assert model.history_[:, "phase"] == ["pretraining"] * 2 + ["siamese"] * 2 + ["clustering"] * 2
    assert Graph.seen["pretraining"] is None
    points = images.reshape(200, -1).astype(float)
    expected = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(return_distance=False)
    same = np.sort(Graph.seen["siamese"], 1) == np.sort(expected, 1)
    assert same.mean() > 0.97  # but for ties
    siamese = Graph.seen["network of siamese"]
    x = torch.from_numpy(images[:, None]).float().sub(model.input_mean_).div(model.input_scale_)
    with torch.no_grad():
        points = siamese(x).flatten(1).double().numpy()
    nearest = NearestNeighbors(n_neighbors=30).fit(points).kneighbors(return_distance=False)
    drawn = Graph.seen["clustering"].numpy()
    assert drawn.shape == (200, 5)
    for own, near in zip(drawn, nearest, strict=True):
        assert len(set(own.tolist())) == 5
        assert len(set(own.tolist()) - set(near.tolist())) <= 1
    ranks = [near.tolist().index(j) for own, near in zip(drawn, nearest, strict=True) for j in own
             if j in near]  # fmt: skip
    assert 12 < np.mean(ranks) < 17  # any of the 30
    assert not hasattr(model.network_, "siamese")


@few_epochs
def test_few_samples_have_all_as_neighbours(images):
    model = DGGClustering(**FAST, callbacks=[Graph()]).fit(images[:4])
    assert Graph.seen["siamese"].shape == (4, 2)
    assert Graph.seen["clustering"].shape == (4, 3)
    assert model.labels_.shape == (4,)


def test_more_neighbours_than_candidates(images):
    with pytest.raises(ValueError, match=r"n_neighbors must be at most n_candidates=5.*got 6"):
        DGGClustering(**FAST, n_neighbors=6, n_candidates=5).fit(images)


@few_epochs
def test_samples_of_a_cluster_are_assigned_to_it(digits):
    images = digits[0][:400]
    model = DGGClustering(**{**FAST, "max_epochs": 6, "autoencoder": None}).fit(images)
    drawn = model.sample(200, random_state=0)
    assert drawn.shape == (200, 8, 8)
    shares = np.bincount(model.predict(drawn), minlength=3) / 200
    np.testing.assert_allclose(shares, np.bincount(model.labels_) / 400, atol=0.15)
    np.testing.assert_allclose(
        model.network_.head.weight_logits.softmax(0).numpy(),
        model.predict_proba(images).mean(0),
        atol=1e-4,
    )
    for cluster in range(3):
        of_one = model.sample(50, cluster=cluster, random_state=0)
        assert (model.predict(of_one) == cluster).mean() > 0.8
    idec = IDECClustering(3, autoencoder=model, max_epochs=1, tol=0, random_state=0).fit(images)
    assert idec.network_.kl_weight == 0


@pytest.mark.slow
def test_learns_digits(digits):
    """A short training is above k-means on the pixels."""
    images, y = digits
    X = images.reshape(len(images), -1)
    nmi = normalized_mutual_info_score
    baseline = nmi(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))
    parameters = {"siamese_epochs": 5, "max_epochs": 4, "n_neighbors": 2, "n_init": 1}
    autoencoder = AutoencoderClustering(max_epochs=15)
    model = DGGClustering(10, autoencoder=autoencoder, random_state=0, **parameters)
    assert nmi(y, model.fit_predict(images)) > baseline + 0.01
