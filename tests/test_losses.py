"""Each loss against a slow twin that is written another way."""

import inspect
import math
import re

import numpy as np
import pytest
import torch

from skdeepclust import losses
from skdeepclust.losses import (
    adversarial_loss,
    binary_cross_entropy,
    center_distance,
    clustered_kl,
    code_information,
    confident_cross_entropy,
    contrastive_loss,
    critic_loss,
    discriminator_loss,
    gaussian_kl,
    gaussian_mixture_kl,
    gaussian_mixture_logits,
    generator_loss,
    group_norms,
    invariant_information,
    label_features,
    layer_errors,
    mean_entropy,
    mixing_consistency,
    mixture,
    mutual_information,
    negative_elbo,
    neighbor_distance,
    pair_agreement,
    pairwise_loss,
    prediction_change,
    scan_loss,
    siamese_loss,
    sparsity_penalty,
    target_distribution,
    temi_loss,
    triplet_loss,
    turtle_loss,
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


@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
def test_pairwise_loss_is_of_float32_under_autocast(probabilities, loss):
    """bf16 has not the digits of cosines near 1."""
    features = label_features(probabilities).float()
    expected = pairwise_loss(features, features @ features.T, 0.9, 0.9, loss)
    similarity = features @ features.T
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pairwise_loss(features, similarity, 0.9, 0.9, loss), expected)
    with pytest.raises(ValueError, match="loss must be 'log_loss' or 'squared_error'; got 'log'"):
        pairwise_loss(features, similarity, 0.9, 0.9, "log")


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
    weighted = 4 * entropy(mean) - sum(map(entropy, rows)) / len(rows)  # IMSAT's mu
    assert mutual_information(probabilities, 4.0).item() == pytest.approx(weighted)
    assert mutual_information(torch.eye(4)).item() == pytest.approx(math.log(4))
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)  # the second probability is 0
    mutual_information(certain.softmax(1)).backward()
    assert torch.isfinite(certain.grad).all()
    assert mutual_information(torch.full((5, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)


PRIOR = torch.tensor([0.4, 0.1, 0.3, 0.2])


def slow_divergence(sizes):
    """log k - KL(sizes || prior), the larger share of the prior for the larger size."""
    shares = dict(zip(sorted(sizes), sorted(PRIOR.tolist()), strict=True))
    return math.log(len(sizes)) - sum(s * math.log(s / shares[s]) for s in sizes)


def test_losses_with_a_prior(probabilities):
    """The entropy of the sizes, and that alone, makes way for the divergence from the prior."""
    p, q = probabilities.float(), probabilities.flip(0).float()
    sizes = p.mean(0).tolist()
    excess = slow_divergence(sizes) + sum(s * math.log(s) for s in sizes)
    logits = p.log()
    for loss, factor in [
        (lambda *prior: mutual_information(p, 4.0, *prior), 4.0),
        (lambda *prior: invariant_information(p, q, 1.5, *prior), 3.0),
        (lambda *prior: scan_loss(logits, q.log(), 2.0, *prior), -2.0),
        (lambda *prior: turtle_loss(p[None], logits[None], 7.0, *prior), -7.0),
    ]:
        assert (loss(PRIOR) - loss()).item() == pytest.approx(factor * excess, rel=1e-3)
        assert loss(torch.full((4,), 0.25)).item() == pytest.approx(loss().item(), rel=1e-5)
    heads = torch.stack([logits, logits.flip(1)])  # each head has an order of its own
    of_heads = scan_loss(heads, heads, 5.0, PRIOR)
    assert of_heads[0].item() == pytest.approx(of_heads[1].item())


def test_a_prior_is_what_sizes_are_drawn_to():
    """Certain samples, whose sizes alone move the loss; also where a cluster is empty."""
    sizes = torch.tensor([[0.1, 0.2, 0.3, -200.0]]).softmax(1).clamp_min(1e-6).requires_grad_()
    optimizer = torch.optim.Adam([sizes], lr=0.01)
    for _ in range(500):
        p = sizes.abs() / sizes.abs().sum()
        loss = -(mutual_information(p, 2.0, PRIOR) - mutual_information(p, 1.0, PRIOR))
        optimizer.zero_grad()
        loss.backward()
        assert torch.isfinite(sizes.grad).all()
        optimizer.step()
    found = p.detach().flatten().sort().values
    torch.testing.assert_close(found, PRIOR.sort().values, atol=0.01, rtol=0)


def test_mean_entropy(probabilities):
    rows = probabilities.tolist()
    slow = -sum(p * math.log(p) for row in rows for p in row) / len(rows)
    assert mean_entropy(probabilities).item() == pytest.approx(slow)
    assert mean_entropy(torch.eye(4)).item() == pytest.approx(0, abs=1e-6)
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)
    mean_entropy(certain.softmax(1)).backward()
    assert torch.isfinite(certain.grad).all()


def test_adversarial_losses(probabilities):
    real, fake = probabilities[:, 0] * 6 - 3, probabilities[:, 1] * 6 - 3

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    slow = -sum(math.log(sigmoid(v)) for v in real.tolist()) / 7
    slow -= sum(math.log(1 - sigmoid(v)) for v in fake.tolist()) / 7
    assert discriminator_loss(real, fake).item() == pytest.approx(slow, rel=1e-6)
    slow = -sum(math.log(sigmoid(v)) for v in fake.tolist()) / 7
    assert generator_loss(fake).item() == pytest.approx(slow, rel=1e-6)
    # where the discriminator is sure, the gradient of log(1 - D) would be gone
    certain = torch.tensor([-300.0], requires_grad=True)
    generator_loss(certain).backward()
    assert certain.grad.item() == -1
    assert discriminator_loss(torch.tensor([300.0]), torch.tensor([-300.0])) == 0


@pytest.mark.parametrize("n_continuous", [0, 2])
def test_code_information(probabilities, n_continuous):
    """The entropies of the codes and the densities of Q, sample by sample."""
    cluster = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(7, n_continuous, generator=generator)
    codes = torch.rand(7, n_continuous, generator=generator) * 2 - 1
    slow = math.log(4) + n_continuous * math.log(2)  # H(c)
    for row, c, mean, code in zip(probabilities, cluster, means, codes, strict=True):
        slow += math.log(row[c]) / 7
        for m, v in zip(mean.tolist(), code.tolist(), strict=True):
            slow += math.log(math.exp(-((v - m) ** 2) / 2) / math.sqrt(2 * math.pi)) / 7
    found = code_information(probabilities.log(), cluster, means, codes)
    assert found.item() == pytest.approx(slow, rel=1e-5)
    sure = code_information(torch.eye(4) * 500, torch.tensor([1, 2, 3, 0]), means[:4], codes[:4])
    assert torch.isfinite(sure)


def slow_invariant_information(rows, others, weight):
    """Equation 3 of the IIC paper, with lambda as in its appendix, cell by cell."""
    n, k = len(rows), len(rows[0])
    joint = [
        [sum(p[i] * q[j] + p[j] * q[i] for p, q in zip(rows, others, strict=True)) / (2 * n)
         for j in range(k)]
        for i in range(k)
    ]  # fmt: skip
    first = [sum(row) for row in joint]
    second = [sum(column) for column in zip(*joint, strict=True)]
    return sum(
        joint[i][j]
        * (math.log(joint[i][j]) - weight * math.log(first[i]) - weight * math.log(second[j]))
        for i in range(k)
        for j in range(k)
    )


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_invariant_information(probabilities, weight):
    others = probabilities.flip(0)
    slow = slow_invariant_information(probabilities.tolist(), others.tolist(), weight)
    assert invariant_information(probabilities, others, weight).item() == pytest.approx(slow)
    heads = invariant_information(
        torch.stack([probabilities, others]), torch.stack([others, others]), weight
    )
    alone = slow_invariant_information(others.tolist(), others.tolist(), weight)
    np.testing.assert_allclose(heads, [slow, alone], rtol=1e-5)


def test_invariant_information_at_its_edges(probabilities):
    assert invariant_information(torch.eye(4), torch.eye(4)).item() == pytest.approx(math.log(4))
    one = torch.eye(4)[[0, 0, 0]]  # a single cluster: no information
    assert invariant_information(one, one).item() == pytest.approx(0, abs=1e-6)
    even = torch.full((5, 4), 0.25)
    assert invariant_information(even, even).item() == pytest.approx(0, abs=1e-6)
    certain = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    invariant_information(certain.softmax(1), certain.softmax(1)).backward()
    assert torch.isfinite(certain.grad).all()
    p = probabilities.float()
    with torch.autocast("cpu", torch.bfloat16):  # in float32 all the same
        found = invariant_information(p, p.flip(0))
    assert found.item() == invariant_information(p, p.flip(0)).item()


def test_prediction_change(probabilities):
    """The divergence in loops; the sample as it is is held fixed."""
    logits = probabilities.log().requires_grad_()
    perturbed = probabilities.flip(0).log().requires_grad_()
    change = prediction_change(logits, perturbed)
    rows, others = probabilities.tolist(), probabilities.flip(0).tolist()
    slow = [
        sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        for p, q in zip(rows, others, strict=True)
    ]
    np.testing.assert_allclose(change.tolist(), slow, rtol=1e-5, atol=1e-6)
    change.sum().backward()
    assert logits.grad is None
    np.testing.assert_allclose(perturbed.grad, probabilities.flip(0) - probabilities, atol=1e-6)
    certain = torch.tensor([[200.0, 0.0]])  # the second probability is 0
    assert prediction_change(certain, certain) == 0
    assert torch.isfinite(prediction_change(certain, -certain)).all()


def slow_contrastive_loss(z, positives, kept, temperature):
    """Equation 1 of ProFeat, pair by pair, as a mean over P."""
    norms = [math.sqrt(sum(v * v for v in row)) for row in z]

    def exponential(i, j):
        cosine = sum(a * b for a, b in zip(z[i], z[j], strict=True)) / (norms[i] * norms[j])
        return math.exp(cosine / temperature)

    terms = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i and kept[i] and kept[j]]
        for j in others:
            if positives[i][j]:
                denominator = sum(exponential(i, k) for k in others)
                terms.append(-math.log(exponential(i, j) / denominator))
    return sum(terms) / max(1, len(terms))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("kept", [[True] * 8, [True, False, True, True] * 2, [False] * 8])
def test_contrastive_loss(temperature, kept):
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    groups = torch.tensor([0, 0, 1, 2] * 2)
    positives = groups[:, None] == groups
    loss = contrastive_loss(z, positives, torch.tensor(kept), temperature)
    slow = slow_contrastive_loss(z.tolist(), positives.tolist(), kept, temperature)
    assert loss.item() == pytest.approx(slow, rel=1e-5)
    loss.backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad != 0).any(1).tolist() == kept  # who is left out is not moved


def test_contrastive_loss_of_two_views_is_nt_xent():
    z = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    positives = torch.eye(5, dtype=torch.bool).repeat(2, 2)
    cosines = torch.nn.functional.cosine_similarity(z[:, None], z, dim=2) / 0.5
    cosines.fill_diagonal_(-math.inf)
    expected = torch.nn.functional.cross_entropy(cosines, torch.arange(10).roll(5))
    torch.testing.assert_close(contrastive_loss(z, positives, temperature=0.5), expected)


def test_contrastive_loss_is_stable_in_bf16():
    z = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    positives = torch.eye(32, dtype=torch.bool).repeat(2, 2)
    expected = contrastive_loss(z.bfloat16().float(), positives)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(contrastive_loss(z.bfloat16(), positives), expected)


def test_scan_loss(probabilities):
    p, q = probabilities, probabilities.flip(0)
    consistency = -np.mean(
        [math.log(sum(a * b)) for a, b in zip(p.numpy(), q.numpy(), strict=True)]
    )
    mean = p.mean(0).tolist()
    expected = consistency + 2 * sum(m * math.log(m) for m in mean)
    assert scan_loss(p.log(), q.log(), 2.0).item() == pytest.approx(expected, rel=1e-5)
    heads = torch.stack([p.log(), q.log()])
    assert scan_loss(heads, heads.flip(0)).shape == (2,)
    assert scan_loss(heads, heads.flip(0))[0] == scan_loss(p.log(), q.log())


def test_scan_loss_is_finite_for_opposite_certainties():
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = scan_loss(certain, certain.detach().flip(1))
    loss.backward()
    assert loss.item() == pytest.approx(200 - math.log(2))
    assert torch.isfinite(certain.grad).all()


def test_confident_cross_entropy():
    given = torch.tensor([[9.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 1.0]])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    log_p = logits.detach().log_softmax(1)
    # two confident ones share the first cluster's weight, the last one is not confident
    expected = -((log_p[0, 0] + log_p[1, 0]) / 2 + log_p[2, 1]) / 2
    loss = confident_cross_entropy(logits, given, 0.9)
    torch.testing.assert_close(loss, expected, check_dtype=False)
    loss.backward()
    assert (logits.grad != 0).any(1).tolist() == [True, True, True, False]
    # as torch's own weighted mean has it
    own = torch.nn.functional.cross_entropy(
        logits.detach()[:3], torch.tensor([0, 0, 1]), torch.tensor([0.5, 1.0, 0.0])
    )
    torch.testing.assert_close(loss.detach(), own)
    assert confident_cross_entropy(logits, torch.zeros(4, 3), 0.9) == 0


def test_pair_agreement():
    labels = torch.randint(3, (5, 12), generator=torch.Generator().manual_seed(0))
    slow = [[sum(int(row[i] == row[j]) for row in labels) for j in range(12)] for i in range(12)]
    assert pair_agreement(labels).tolist() == slow
    renamed = (labels + torch.arange(5)[:, None]) % 3  # names of clusters don't matter
    assert torch.equal(pair_agreement(renamed), pair_agreement(labels))


def test_gaussian_kl():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 6, 3, generator=generator)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl(mean, log_variance), kl.sum(1).mean())


def test_gaussian_mixture():
    """Logits and divergence, component by component, with torch's distributions."""
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, z = torch.randn(3, 6, 3, generator=generator)
    centers, log_variances = torch.randn(2, 4, 3, generator=generator)
    pi = torch.rand(4, generator=generator)
    pi = pi / pi.sum()
    logits = gaussian_mixture_logits(z, pi.log(), centers, log_variances)
    divergence = gaussian_mixture_kl(mean, log_variance, z, pi.log(), centers, log_variances)
    slow = 0.0
    for i in range(6):
        posterior = torch.distributions.Normal(mean[i], (log_variance[i] / 2).exp())
        components = [
            torch.distributions.Normal(m, (s / 2).exp())
            for m, s in zip(centers, log_variances, strict=True)
        ]
        joint = [p * c.log_prob(z[i]).sum().exp() for p, c in zip(pi, components, strict=True)]
        np.testing.assert_allclose(logits[i].exp(), joint, rtol=1e-5)
        for p, c, density in zip(pi, components, joint, strict=True):
            gamma = density / sum(joint)
            kl = torch.distributions.kl_divergence(posterior, c).sum()
            slow += gamma * (kl + (gamma / p).log()) / 6
    torch.testing.assert_close(divergence, slow)


def test_clustered_kl_with_a_prior_of_each_sample():
    """Of each sample and component, with torch's distributions."""
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 6, 3, generator=generator)
    centers, log_variances = torch.randn(2, 4, 3, generator=generator)
    q, prior = torch.randn(2, 6, 4, generator=generator).softmax(2)
    slow = 0.0
    for i in range(6):
        posterior = torch.distributions.Normal(mean[i], (log_variance[i] / 2).exp())
        for c in range(4):
            component = torch.distributions.Normal(centers[c], (log_variances[c] / 2).exp())
            kl = torch.distributions.kl_divergence(posterior, component).sum()
            slow += q[i, c] * (kl + (q[i, c] / prior[i, c]).log()) / 6
    found = clustered_kl(mean, log_variance, q.log(), prior.log(), centers, log_variances)
    torch.testing.assert_close(found, slow)


def test_siamese_loss_pair_by_pair():
    z, near, other = torch.randn(3, 9, 2, generator=torch.Generator().manual_seed(0))
    slow, n_far = 0.0, 0
    for i in range(9):
        apart = sum((a - b) ** 2 for a, b in zip(z[i], other[i], strict=True)).item()
        n_far += apart > 2.0
        slow += sum((a - b) ** 2 for a, b in zip(z[i], near[i], strict=True)).item()
        slow += max(0.0, 2.0 - apart)
    assert 0 < n_far < 9
    assert siamese_loss(z, near, other, margin=2.0).item() == pytest.approx(slow / 9)


def test_sparsity_penalty_unit_by_unit():
    codes = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    slow = 0.0
    for j in range(4):
        mean = sum(codes[i, j].item() for i in range(6)) / 6
        slow += 0.2 * math.log(0.2 / mean) + 0.8 * math.log(0.8 / (1 - mean))
    assert sparsity_penalty(codes, 0.2).item() == pytest.approx(slow, rel=1e-5)
    assert sparsity_penalty(torch.full((3, 4), 0.2), 0.2).item() == pytest.approx(0, abs=1e-5)


def test_sparsity_penalty_of_units_that_are_always_on_or_off():
    codes = torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True)
    penalty = sparsity_penalty(codes)
    penalty.backward()
    assert penalty.item() > 1
    assert torch.isfinite(codes.grad).all()


def test_gaussian_mixture_kl_far_from_all_components():
    far = torch.full((1, 2), 200.0, requires_grad=True)
    centers = torch.tensor([[0.0, 0.0], [1.0, 1.0]])  # the first one's density and share are 0
    mixture = torch.tensor([0.5, 0.5]).log(), centers, torch.zeros(2, 2)
    divergence = gaussian_mixture_kl(far, torch.zeros(1, 2), far, *mixture)
    assert divergence.item() == pytest.approx(199**2 + math.log(2))
    divergence.backward()
    assert torch.isfinite(far.grad).all()


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
def test_negative_elbo_is_the_likelihood_of_distributions(kind):
    generator = torch.Generator().manual_seed(0)
    x, decoded = torch.rand(2, 4, 2, 3, generator=generator)
    if kind == "gaussian":
        likelihood = torch.distributions.Normal(decoded, 1.0).log_prob(x)
        nats, value_range = likelihood.sum((1, 2)) + 3 * math.log(2 * math.pi), None
    else:
        bernoulli = torch.distributions.Bernoulli(decoded, validate_args=False)
        nats, value_range = bernoulli.log_prob(x).sum((1, 2)), (-3.0, 7.0)
        x, decoded = x * 10 - 3, decoded * 10 - 3  # in units of their own
    expected = -2 / 6 * (nats.mean() - 0.5 * 1.7)
    loss = negative_elbo(decoded, x, torch.tensor(1.7), 0.5, value_range)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    if value_range:  # beyond it there is no probability
        beyond = negative_elbo(decoded, 20 * x, value_range=value_range)
        clamped = (20 * x).clamp(*value_range)
        assert beyond == negative_elbo(decoded, clamped, value_range=value_range)


def test_terms_of_mixtures(probabilities):
    z = probabilities.float()
    share = torch.linspace(0, 0.5, 7)[:, None]
    mixed = mixture(z, share)
    for i in range(7):
        expected = share[i] * z[i] + (1 - share[i]) * z[6 - i]
        torch.testing.assert_close(mixed[i], expected)
    x = z.flip(1)
    consistency = np.mean([(mixed[i] - x[6 - i]).square().mean().item() for i in range(7)])
    assert mixing_consistency(mixed, x).item() == pytest.approx(consistency)
    estimate = z[:, 0]
    errors = [(estimate[i] - share[i, 0]).item() ** 2 + z[i, 1].item() ** 2 for i in range(7)]
    loss = critic_loss(estimate, share[:, 0], z[:, 1])
    assert loss.item() == pytest.approx(sum(errors) / 7)
    squares = [value.item() ** 2 for value in estimate]
    assert adversarial_loss(estimate).item() == pytest.approx(sum(squares) / 7)


def test_center_distance():
    z, centers = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    slow = [sum((a - b) ** 2 for a, b in zip(z[i], centers[i], strict=True)) / 2 for i in range(5)]
    assert center_distance(z, centers).item() == pytest.approx(sum(slow).item() / 5)


def test_neighbor_distance():
    z, near = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    similarity = torch.linspace(0, 1, 5)
    slow = 0.0
    for i in range(5):
        for a, b in zip(z[i].tolist(), near[i].tolist(), strict=True):
            slow += similarity[i].item() * (a - b) ** 2
    assert neighbor_distance(z, near, similarity).item() == pytest.approx(slow / 5)


def test_group_norms():
    z = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    slow = 0.0
    for row in z.tolist():
        for group in (row[:3], row[3:5], row[5:]):
            slow += math.sqrt(len(group)) * math.sqrt(sum(v * v for v in group))
    assert group_norms(z, 3).item() == pytest.approx(slow / 4)
    zero = torch.zeros(2, 4, requires_grad=True)
    group_norms(zero, 2).backward()
    assert (zero.grad == 0).all()  # and not NaN


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_target_distribution(probabilities, power):
    """p^2 / f, and p / sqrt(f) with the half."""
    rows = probabilities.tolist()
    sizes = [sum(column) for column in zip(*rows, strict=True)]
    for row, target in zip(rows, target_distribution(probabilities, power), strict=True):
        pairs = list(zip(row, sizes, strict=True))
        weights = [p * p / f if power == 1 else p / math.sqrt(f) for p, f in pairs]
        slow = [w / sum(weights) for w in weights]
        np.testing.assert_allclose(target, slow, rtol=1e-6)
    certain = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # and a cluster of nothing
    torch.testing.assert_close(target_distribution(certain, power), certain)


def test_targets_of_many_samples_sum_to_one(monkeypatch):
    monkeypatch.setattr(losses, "EPS", 1e-2)  # 1e-7, for which it takes 30 million samples
    target = target_distribution(torch.full((300, 2), 0.5))
    torch.testing.assert_close(target.sum(1), torch.ones(300))


def test_layer_errors():
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 4), (2, 6), (2, 1, 5)]
    decoded, clean = ([torch.randn(s, generator=generator) for s in shapes] for _ in range(2))
    slow = 0.0
    for number, (a, b) in enumerate(zip(decoded, clean, strict=True)):
        errors = [(v - w) ** 2 for v, w in zip(a.flatten(), b.flatten(), strict=True)]
        slow += (1.0 if number == 2 else 0.3) * sum(errors).item() / len(errors)
    assert layer_errors(decoded, clean, 0.3).item() == pytest.approx(slow, rel=1e-5)
    assert layer_errors(decoded[2:], clean[2:], 0.3) == (decoded[2] - clean[2]).square().mean()


def test_index_names_every_function():
    from skdeepclust import losses

    functions = {
        name
        for name, value in vars(losses).items()
        if inspect.isfunction(value) and value.__module__ == losses.__name__ and name[0] != "_"
    }
    assert set(re.findall(r"`(\w+)`", losses.__doc__)) == functions


def test_triplet_loss():
    """Distances of normalised vectors, triplet by triplet; zero beyond the margin."""
    generator = torch.Generator().manual_seed(0)
    triplets = torch.randn(3, 6, 4, generator=generator)
    found = triplet_loss(*triplets, margin=0.4).item()
    losses = []
    for a, p, n in zip(*triplets.double().tolist(), strict=True):
        a, p, n = ([value / math.hypot(*v) for value in v] for v in (a, p, n))
        losses.append(max(0.0, 0.4 + math.dist(a, p) ** 2 - math.dist(a, n) ** 2))
    assert 0 < sum(loss == 0 for loss in losses) < 6
    assert found == pytest.approx(np.mean(losses), rel=1e-5)
    zeros = torch.zeros(1, 4, requires_grad=True)  # have no direction: all is finite
    loss = triplet_loss(zeros, zeros, zeros, margin=0.4)
    loss.backward()
    assert loss.item() == pytest.approx(0.4)
    assert torch.isfinite(zeros.grad).all()


def slow_softmax(row):
    powers = [math.exp(v - max(row)) for v in row]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_temi_loss(beta):
    """Head by head, pair by pair, both ways; the weight is of all heads."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 4, generator=generator).mul(2)
    student.requires_grad_()
    sizes = torch.rand(3, 4, generator=generator)
    p, q = (
        [[[slow_softmax(row) for row in head] for head in half] for half in x.double().tolist()]
        for x in (student, teacher)
    )
    found = temi_loss(student, teacher, sizes, beta)
    for head in range(3):
        total = 0.0
        for n in range(5):
            weight = sum(
                a * b for h in range(3) for a, b in zip(q[0][h][n], q[1][h][n], strict=True)
            )
            for one, other in ((0, 1), (1, 0)):
                ratio = sum(
                    (p[one][head][n][c] * q[other][head][n][c]) ** beta / sizes[head, c].item()
                    for c in range(4)
                )
                total -= weight / 3 * math.log(ratio) / 2
        assert found[head].item() == pytest.approx(total / 5, rel=1e-5)
    certain = torch.tensor([[90.0, -90.0]]).expand(2, 1, 1, 2).clone().requires_grad_()
    loss = temi_loss(certain, certain.detach(), torch.tensor([[1.0, 0.0]]), beta).sum()
    loss.backward()  # also with a cluster of nothing
    assert torch.isfinite(loss)
    assert torch.isfinite(certain.grad).all()


def test_turtle_loss():
    """Labels are the mean over the spaces; sums over classifiers, and over spaces of entropies."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(2, 5, 4, generator=generator).mul(2).softmax(-1)
    logits = torch.randn(3, 5, 4, generator=generator)
    slow = 0.0
    for classifier in logits.double().tolist():
        for n, row in enumerate(classifier):
            odds = slow_softmax(row)
            labels = [(a + b) / 2 for a, b in zip(*p[:, n].tolist(), strict=True)]
            slow -= sum(t * math.log(o) for t, o in zip(labels, odds, strict=True)) / 5
    for space in p.tolist():
        sizes = [sum(column) / 5 for column in zip(*space, strict=True)]
        slow += 7.0 * sum(size * math.log(size) for size in sizes)
    assert turtle_loss(p, logits, 7.0).item() == pytest.approx(slow, rel=1e-5)
    certain = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], requires_grad=True)  # a cluster of nothing
    turtle_loss(certain, torch.tensor([[[900.0, 0.0], [0.0, 1.0]]])).backward()
    assert torch.isfinite(certain.grad).all()
