"""VaDE against slow references, its mixture, and what it draws and learns."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture

from skdeepclust import AutoencoderClustering, IDECClustering, VaDEClustering, VAEClustering
from skdeepclust.cluster._vade import VaDEObjective, decayed
from skdeepclust.engine import Engine, Phase
from skdeepclust.networks import AutoencoderNetwork, DenseNetwork, GaussianMixtureHead

few_epochs = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning"
)
FAST = {
    "n_clusters": 3,
    "n_init": 1,
    "autoencoder": AutoencoderClustering(max_epochs=2),
    "max_epochs": 2,
    "kmeans_n_init": 3,
    "random_state": 0,
}


def network():
    torch.manual_seed(0)
    head = GaussianMixtureHead(2, 3)
    head.set_mixture(torch.tensor([0.2, 0.5, 0.3]), torch.randn(3, 2), 0.5 + torch.rand(3, 2))
    encoder, decoder = DenseNetwork([5, 8, 2]), DenseNetwork([2, 8, 5])
    return AutoencoderNetwork(encoder, decoder, head, torch.nn.Linear(2, 4))


def in_double(tensor):
    return tensor.detach().double().numpy()


def slow_responsibilities(z, head):
    """p(c | z), component by component, with SciPy's densities."""
    weights, variances = in_double(head.weight_logits.softmax(0)), in_double(head.log_variances)
    centers = in_double(head.centers)
    joint = [
        w * multivariate_normal(m, np.diag(np.exp(s))).pdf(z)
        for w, m, s in zip(weights, centers, variances, strict=True)
    ]
    return np.array(joint) / sum(joint)


def test_variances_grow_again_from_the_least():
    """One that has fallen below it is not held there for ever."""
    head = GaussianMixtureHead(2, 3)
    with torch.no_grad():
        head.log_variances[0] = -20.0
    _, _, log_variances = head.mixture()
    torch.testing.assert_close(log_variances[0].exp(), torch.full((2,), 1e-6))
    head(torch.ones(4, 2))[:, 0].sum().backward()  # far from a centre of no extent
    assert (head.log_variances.grad[0] > 0).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_objective_is_the_papers_formula(likelihood):
    """Sample by sample and dimension by dimension: the ELBO of the paper, with one draw."""
    net, x = network(), torch.rand(4, 5)
    net.value_range = value_range = (-1.0, 3.0) if likelihood == "bernoulli" else None
    objective = VaDEObjective(1e-3, augmentation=torch.nn.Identity(), kl_weight=0.7)
    torch.manual_seed(1)
    loss = objective.loss(net, x, torch.arange(4)).item()

    mean, log_variance = map(in_double, net.encode(x))
    torch.manual_seed(1)
    z = mean + np.exp(log_variance / 2) * in_double(torch.randn(4, 2))
    decoded = in_double(net.decode(torch.from_numpy(z).float()))
    log_pi = np.log(in_double(net.head.weight_logits.softmax(0)))
    centers, log_v = in_double(net.head.centers), in_double(net.head.log_variances)
    expected = 0.0
    for i in range(4):
        for value, target in zip(decoded[i], in_double(x[i]), strict=True):
            if value_range:
                p, t = (value + 1) / 4, (target + 1) / 4
                expected -= t * np.log(p) + (1 - t) * np.log(1 - p)
            else:
                expected += (value - target) ** 2 / 2
        gamma = slow_responsibilities(z[i], net.head)
        for c in range(3):
            terms = sum(
                log_v[c, d]
                + np.exp(log_variance[i, d] - log_v[c, d])
                + (mean[i, d] - centers[c, d]) ** 2 / np.exp(log_v[c, d])
                for d in range(2)
            )
            expected += 0.7 * gamma[c] * (terms / 2 - log_pi[c] + np.log(gamma[c]))
        expected -= 0.7 * sum(1 + log_variance[i, d] for d in range(2)) / 2
    assert loss == pytest.approx(2 * expected / 4 / 5, rel=1e-4)


def test_probabilities_are_those_of_the_mixture():
    net, z = network(), torch.randn(7, 2)
    expected = [slow_responsibilities(in_double(row), net.head) for row in z]
    np.testing.assert_allclose(net.head(z).softmax(1).detach(), expected, rtol=1e-4)


def test_mixture_is_fitted_by_em_to_the_latents(images):
    """As scikit-learn's from the clusters of k-means, but for a least variance."""
    model = VaDEClustering(**FAST)
    autoencoder = AutoencoderClustering(3, n_init=1, random_state=0).fit(images)
    model.set_params(autoencoder=autoencoder, lr=1e-12, max_epochs=1, augmentation=None).fit(images)
    latents = autoencoder.transform(images).astype(np.float64)
    np.testing.assert_allclose(model.transform(images), latents, atol=1e-4)
    labels = KMeans(3, n_init=20, random_state=0).fit_predict(latents)
    expected = GaussianMixture(
        3,
        covariance_type="diag",
        reg_covar=1e-3 * latents.var(0).mean(),
        means_init=[latents[labels == c].mean(0) for c in range(3)],
        random_state=0,
    ).fit(latents)
    assert adjusted_rand_score(expected.predict(latents), model.labels_) > 0.95
    found = model.network_.head
    order = np.argsort(in_double(found.centers)[:, 0])
    known = np.argsort(expected.means_[:, 0])
    np.testing.assert_allclose(in_double(found.centers)[order], expected.means_[known], atol=0.1)
    variances = np.exp(in_double(found.log_variances))[order]
    np.testing.assert_allclose(variances, expected.covariances_[known], rtol=0.2, atol=0.02)
    shares = in_double(found.weight_logits.softmax(0))[order]
    np.testing.assert_allclose(shares, expected.weights_[known], atol=0.03)


@few_epochs
def test_pretraining_is_deterministic_and_its_latents_are_the_first_means(images):
    model = VaDEClustering(**FAST).fit(images)
    assert model.history_[:, "phase"] == ["pretraining"] * 2 + ["clustering"] * 2
    pretrained = AutoencoderClustering(3, n_init=1, max_epochs=2, random_state=0).fit(images)
    assert pretrained.history_[:, "train_loss"] == model.history_[:2, "train_loss"]
    layer = model.network_.posterior
    size = model.transform(images).shape[1]
    assert layer.weight.shape == (2 * size, size)
    variational = model.set_params(autoencoder=VAEClustering(max_epochs=2)).fit(images)
    assert variational.network_.posterior.weight.shape == (2 * size, size)


def test_learning_rates_of_mixture_and_network_decay():
    net = network()
    objective = VaDEObjective(0.5, augmentation=torch.nn.Identity())
    engine = Engine(net, Phase(objective, 1, lr=0.1, lr_factor=decayed)).start()
    rest, mixture = engine.optimizer_.param_groups
    assert (rest["lr"], mixture["lr"]) == (0.1, 0.5)
    assert {id(p) for p in mixture["params"]} == {id(p) for p in net.head.parameters()}
    assert len(rest["params"]) + len(mixture["params"]) == len(list(net.parameters()))
    assert [decayed(e) for e in (0, 9, 10, 29)] == pytest.approx([1, 1, 0.9, 0.81])
    assert decayed(2999) == 0.1


def test_a_component_never_becomes_a_point():
    head = GaussianMixtureHead(2, 1)
    head.set_mixture(torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 2))
    with torch.no_grad():
        head.log_variances.fill_(-1e4)
    logits = head(torch.ones(1, 2))
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert torch.isfinite(head.centers.grad).all()


def test_samples_of_a_cluster_are_assigned_to_it(digits):
    images = digits[0][:500]
    model = VaDEClustering(3, n_init=1, max_epochs=20, random_state=0).fit(images)
    drawn = model.sample(200, random_state=0)
    assert drawn.shape == (200, 8, 8)
    np.testing.assert_array_equal(drawn, model.sample(200, random_state=0))
    shares = np.bincount(model.predict(drawn), minlength=3) / 200
    np.testing.assert_allclose(shares, np.bincount(model.labels_) / 500, atol=0.15)
    for cluster in range(3):
        of_one = model.sample(50, cluster=cluster, random_state=0)
        assert (model.predict(of_one) == cluster).mean() > 0.8
    for wrong in (3, -1, 0.5):
        with pytest.raises(ValueError, match=r"cluster must be .* in \[0, 3\); got"):
            model.sample(2, cluster=wrong)
    with pytest.raises(ValueError, match="n_samples must be a positive integer; got 0"):
        model.sample(0)


@few_epochs
def test_bernoulli_likelihood_is_that_of_the_pretraining(images):
    X = (images > 8) * 9.0 + 3  # 3 and 12
    part = AutoencoderClustering(likelihood="bernoulli", max_epochs=2)
    model = VaDEClustering(**{**FAST, "autoencoder": part}, kl_weight=1.0).fit(X)
    drawn = model.sample(50, random_state=0)
    assert 3 <= drawn.min() < drawn.max() <= 12
    assert model.network_.value_range is not None


@few_epochs
def test_others_go_on_from_it_without_its_prior(images):
    model = VaDEClustering(**FAST).fit(images)
    idec = IDECClustering(4, autoencoder=model, max_epochs=1, tol=0, random_state=0).fit(images)
    assert idec.network_.kl_weight == 0
    assert idec.history_[:, "phase"] == ["clustering"]
    again = VaDEClustering(4, autoencoder=model, max_epochs=1, random_state=0).fit(images)
    assert again.predict_proba(images).shape == (200, 4)


def kmeans_nmi(images, y):
    X = images.reshape(len(images), -1)
    return normalized_mutual_info_score(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))


@pytest.mark.slow
def test_defaults_learn_the_digits(digits):
    images, y = digits
    labels = VaDEClustering(10, random_state=0).fit_predict(images)
    # 0.81 to 0.85 with five random states
    assert normalized_mutual_info_score(y, labels) > kmeans_nmi(images, y) + 0.05
