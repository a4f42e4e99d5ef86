"""ACAI and MCDC against their formulas written out."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from skdeepclust import ACAIClustering, MCDCClustering
from skdeepclust.cluster._mcdc import MixingObjective
from skdeepclust.engine import Engine, Phase
from skdeepclust.networks import AutoencoderNetwork, DenseNetwork, StudentTHead
from skdeepclust.samples import Samples

FAST = {"n_clusters": 3, "max_epochs": 2, "kmeans_n_init": 3, "random_state": 0}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return AutoencoderNetwork(
        DenseNetwork([5, 8, 4]),
        DenseNetwork([4, 8, 5]),
        StudentTHead(4, 3),
        critic=DenseNetwork([5, 8, 3]),
    )


@pytest.fixture
def objective():
    return MixingObjective(
        adversarial_weight=0.5,
        consistency_weight=0.7,
        gamma=0.2,
        augmentation=torch.nn.Identity(),
    )


def mean_square(a, b):
    """Mean of the squared differences, in loops."""
    return sum((u - v) ** 2 for u, v in zip(a, b, strict=True)) / len(a)


@pytest.mark.parametrize(
    ("low", "high", "consistency_weight"), [(0, 1, 1.0), (-1, 1, 0.0)], ids=["MCDC", "ACAI"]
)
def test_losses_are_the_papers_equations(network, low, high, consistency_weight):
    """Equations 2, 4, 6 and 7 with a weight of 0.5 beside errors of pixels from `low` to `high`."""
    x = torch.randn(4, 5)
    deviation, mean = 0.3 * (high - low), low + 0.1 * (high - low)
    objective = MixingObjective(
        adversarial_weight=0.5 / deviation**2,
        consistency_weight=consistency_weight,
        gamma=0.2,
        augmentation=torch.nn.Identity(),
    )

    def as_pixels(values):
        return deviation * values.detach().double().numpy() + mean

    def critic(values):  # of pixels, to a number
        values = torch.from_numpy((values - mean) / deviation).float()
        return network.critic(values).detach().double().numpy().mean()

    steps = objective.steps(network, x, torch.arange(4))
    torch.manual_seed(2)
    player, loss = next(steps)
    torch.manual_seed(2)
    shares = (torch.rand(4, 1) / 2).double().numpy()[:, 0]
    z, pixels = network.embed(x), as_pixels(x)
    reconstructions = as_pixels(network.decode(z))
    total, of_critic = 0.0, 0.0
    for i in range(4):
        partner = 3 - i  # the batch is paired with itself reversed
        a = shares[i]
        assert 0 <= a <= 0.5
        mixture = as_pixels(network.decode((a * z[i] + (1 - a) * z[partner]).float()))
        total += mean_square(reconstructions[i], pixels[i]) / 4
        total += 0.5 * critic(mixture) ** 2 / 4
        total += consistency_weight * mean_square(mixture, pixels[partner]) / 4
        of_critic += (critic(mixture) - a) ** 2 / 4
        of_critic += critic(0.2 * pixels[i] + 0.8 * reconstructions[i]) ** 2 / 4
    assert player == "main"
    assert deviation**2 * loss.item() == pytest.approx(total, rel=1e-4)
    player, loss = next(steps)
    assert player == "critic"
    assert loss.item() == pytest.approx(of_critic, rel=1e-4)
    assert next(steps, None) is None


def test_each_player_gets_its_own_gradients(network, objective):
    x = torch.randn(4, 5)
    steps = objective.steps(network, x, torch.arange(4))
    next(steps)[1].backward()
    players = objective.players(network)
    assert all(p.grad is None for p in players["critic"])
    assert all(p.grad.abs().sum() > 0 for p in network.encoder.parameters())
    network.zero_grad(set_to_none=True)
    next(steps)[1].backward()
    assert all(p.grad is None for p in players["main"])
    assert all(p.grad.abs().sum() > 0 for p in players["critic"])
    assert len(players["main"]) + len(players["critic"]) == len(list(network.parameters()))


def test_frozen_layers_stay_frozen(network, objective):
    first, *others = network.critic.parameters()
    first.requires_grad_(False)  # a layer that a user froze
    try:
        list(objective.steps(network, torch.randn(4, 5), torch.arange(4)))
        assert not first.requires_grad
        assert all(p.requires_grad for p in others)
    finally:
        first.requires_grad_(True)


def test_critic_learns_the_share():
    """With an auto-encoder that is the identity, its error falls below a constant's."""
    torch.manual_seed(0)
    encoder = torch.nn.Linear(100, 100, bias=False)
    torch.nn.init.eye_(encoder.weight)
    critic = DenseNetwork([100, 256, 3])
    network = AutoencoderNetwork(encoder, torch.nn.Identity(), StudentTHead(100, 3), critic=critic)
    objective = MixingObjective(0.5, 1.0, 0.2, augmentation=torch.nn.Identity())
    X = torch.randn(8192, 100)
    engine = Engine(network, Phase(objective, max_epochs=5, batch_size=64, lr=3e-3)).start()
    engine.optimizer_.param_groups[0]["lr"] = 0.0
    engine.fit_loop(Samples(X), epochs=5)
    with torch.no_grad():
        losses = dict(objective.steps(network, torch.randn(512, 100), torch.arange(512)))
    # the best constant estimate of shares from U(0, 1/2) and zeros: equation 4
    shares = torch.cat([torch.linspace(0, 0.5, 1000), torch.zeros(1000)])
    assert losses["critic"].item() < 0.8 * 2 * shares.var().item()


def test_acai_is_mcdc_without_consistency(images):
    acai = ACAIClustering(**FAST).fit(images)
    mcdc = MCDCClustering(**FAST, consistency_weight=0.0).fit(images)
    np.testing.assert_array_equal(acai.transform(images), mcdc.transform(images))
    other = MCDCClustering(**FAST).fit(images)
    assert not np.array_equal(acai.transform(images), other.transform(images))


def test_mixtures_decode_to_the_nearer_one():
    """What the consistency is for: a mixture looks like the sample with the larger share."""
    X, _ = make_blobs(200, n_features=10, centers=3, random_state=0)
    errors = []
    for weight in (0.0, 1.0):
        model = MCDCClustering(
            3, consistency_weight=weight, hidden_sizes=(64, 64), max_epochs=60, random_state=0
        ).fit(X)
        between = model.interpolate(X[:100], X[100:], n_steps=5)
        errors.append(np.square(between[:, 1] - X[:100]).mean())  # three quarters of the first
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("base", ["ae", "vae", "idec"])
def test_bases(images, base):
    parameters = {**FAST, "max_epochs": 10}  # enough that no cluster is empty
    model = MCDCClustering(**parameters, base=base, finetune_epochs=2, tol=0).fit(images)
    phases = ["auto-encoder"] * 10 + ["clustering"] * 2 * (base == "idec")
    assert model.history_[:, "phase"] == phases
    assert (model.network_.posterior is not None) == (base == "vae")
    assert (model.network_.head.whitening is None) == (base == "idec")
