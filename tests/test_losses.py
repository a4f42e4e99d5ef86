"""Each loss against a slow twin that is written another way."""

import math

import numpy as np
import pytest
import torch

from skdeepclust.losses import (
    binary_cross_entropy,
    label_features,
    mutual_information,
    pairwise_loss,
)


@pytest.fixture
def probabilities():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, 4, generator=generator, dtype=torch.float64).mul(2).softmax(1)


def slow_pairwise_loss(features, similarity, upper, lower):
    """Equations 1 to 3 of the ST-DAC paper, pair by pair."""
    losses = []
    for i, f_i in enumerate(features):
        for j, f_j in enumerate(features):
            cosine = min(max(sum(a * b for a, b in zip(f_i, f_j, strict=True)), 1e-7), 1 - 1e-7)
            if similarity[i][j] >= upper:
                losses.append(-math.log(cosine))
            elif similarity[i][j] < lower:
                losses.append(-math.log(1 - cosine))
    return sum(losses) / max(1, len(losses))


@pytest.mark.parametrize(("upper", "lower"), [(0.95, 0.455), (0.7, 0.7), (0.999999, 0.0)])
def test_pairwise_loss(probabilities, upper, lower):
    features = label_features(probabilities)
    norms = [math.sqrt(sum(v * v for v in row)) for row in probabilities.tolist()]
    slow_features = [
        [v / norm for v in row] for row, norm in zip(probabilities.tolist(), norms, strict=True)
    ]
    np.testing.assert_allclose(features, slow_features)
    target = label_features(probabilities.flip(0))
    similarity = target @ target.T
    slow = slow_pairwise_loss(slow_features, similarity.tolist(), upper, lower)
    # the diagonal's cosine of 1 is clipped in float32, to within one part in 2^24
    assert pairwise_loss(features, similarity, upper, lower).item() == pytest.approx(slow, abs=2e-6)


def test_pairwise_loss_gradient(probabilities):
    """Pulls similar pairs together and pushes dissimilar ones apart."""
    raw = probabilities[:2].float().requires_grad_()
    for similarity, sign in ((1.0, 1), (0.0, -1)):
        wanted = torch.tensor([[1.0, similarity], [similarity, 1.0]])
        features = label_features(raw)
        (gradient,) = torch.autograd.grad(pairwise_loss(features, wanted, 0.5, 0.5), raw)
        moved = label_features(raw - 0.01 * gradient)
        before, after = ((f[0] @ f[1]).item() for f in (features, moved))
        assert (after - before) * sign > 0


def test_pairwise_loss_without_pairs_is_zero(probabilities):
    features = label_features(probabilities).requires_grad_()
    loss = pairwise_loss(features, torch.full((7, 7), 0.5), upper=0.9, lower=0.1)
    loss.backward()
    assert loss == 0
    assert torch.isfinite(features.grad).all()


def test_binary_cross_entropy(probabilities):
    target = probabilities.flip(1)
    expected = torch.nn.functional.binary_cross_entropy(probabilities, target, reduction="none")
    torch.testing.assert_close(
        binary_cross_entropy(probabilities, target), expected.float(), check_dtype=False
    )
    edges = binary_cross_entropy(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert torch.isfinite(edges).all()
    assert (edges > 10).all()


def test_mutual_information(probabilities):
    rows = probabilities.tolist()

    def entropy(p):
        return -sum(v * math.log(v) for v in p if v > 0)

    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    slow = entropy(mean) - sum(map(entropy, rows)) / len(rows)
    assert mutual_information(probabilities).item() == pytest.approx(slow)
    assert mutual_information(torch.eye(4)).item() == pytest.approx(math.log(4))
    assert mutual_information(torch.full((5, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
