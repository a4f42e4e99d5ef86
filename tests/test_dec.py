"""DEC, IDEC and DCN against independent, slow references."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback

from skdeepclust import (
    AutoencoderClustering,
    DCNClustering,
    DECClustering,
    DEPICTClustering,
    IDECClustering,
    MCDCClustering,
)
from skdeepclust.cluster._base_autoencoder import AutoencoderObjective
from skdeepclust.cluster._dcn import INITIAL_COUNT, RunningKMeansTerm
from skdeepclust.cluster._dec import HardeningTerm
from skdeepclust.losses import assignment_hardening, target_distribution
from skdeepclust.networks import AutoencoderNetwork, DenseNetwork, StudentTHead
from skdeepclust.samples import Samples

FAST = {
    "n_clusters": 3,
    "autoencoder": AutoencoderClustering(max_epochs=2),
    "kmeans_n_init": 5,
    "random_state": 0,
}


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = StudentTHead(4, 3)
    head.set_centers(torch.randn(3, 4))
    return head


def slow_soft_assignment(z, centers):
    """Equation 1 of DEC, with one degree of freedom, in loops."""
    q = np.zeros((len(z), len(centers)))
    for i, point in enumerate(z):
        for j, center in enumerate(centers):
            q[i, j] = 1 / (1 + sum((a - b) ** 2 for a, b in zip(point, center, strict=True)))
        q[i] /= q[i].sum()
    return q


def slow_target(q):
    """Equation 3 of DEC, in loops."""
    p = np.zeros_like(q)
    frequencies = [sum(q[i, j] for i in range(len(q))) for j in range(q.shape[1])]
    for i in range(len(q)):
        for j in range(q.shape[1]):
            p[i, j] = q[i, j] ** 2 / frequencies[j]
        p[i] /= sum(p[i])
    return p


def slow_gradients(z, centers, p, q):
    """Equations 4 and 5 of DEC, in loops, for the sum over the samples."""
    dz, dcenters = np.zeros_like(z), np.zeros_like(centers)
    for i in range(len(z)):
        for j in range(len(centers)):
            difference = z[i] - centers[j]
            factor = 2 / (1 + difference @ difference) * (p[i, j] - q[i, j])
            dz[i] += factor * difference
            dcenters[j] -= factor * difference
    return dz, dcenters


def test_soft_assignment_target_and_gradients(head):
    z = torch.randn(11, 4, requires_grad=True)
    logits = head(z)
    reference_z = z.detach().double().numpy()
    reference_centers = head.centers.detach().double().numpy()
    q = slow_soft_assignment(reference_z, reference_centers)
    np.testing.assert_allclose(logits.softmax(1).detach(), q, rtol=1e-5)
    p = slow_target(q)
    target = target_distribution(logits.detach().softmax(1))
    np.testing.assert_allclose(target, p, rtol=1e-5)
    loss = assignment_hardening(logits, target)
    assert loss.item() == pytest.approx((p * np.log(p / q)).sum() / len(z), rel=1e-4)
    loss.backward()
    dz, dcenters = slow_gradients(reference_z, reference_centers, p, q)
    np.testing.assert_allclose(z.grad * len(z), dz, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.centers.grad * len(z), dcenters, rtol=1e-4, atol=1e-6)


def test_head_whitens_and_keeps_its_precision_far_from_the_origin(head):
    z = torch.randn(11, 4)
    offset, whitening = torch.full((4,), 1000.0), torch.randn(4, 2)
    head.set_centers(torch.randn(3, 2), offset, whitening)
    expected = slow_soft_assignment(
        ((z.double()) @ whitening.double()).numpy(), head.centers.detach().double().numpy()
    )
    np.testing.assert_allclose(head(z + 1000).softmax(1).detach(), expected, rtol=2e-3)


def test_whitened_sample_does_not_depend_on_its_place_in_the_batch(head):
    head.set_centers(torch.randn(3, 3), torch.randn(4), torch.randn(4, 3))
    logits = head(torch.randn(1, 4).expand(128, 4))
    assert (logits == logits[0]).all()


def test_target_of_an_empty_cluster_is_finite():
    q = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(target_distribution(q), q)


SHORT_DEPICT = {"label_epochs": 1, "finetune_epochs": 1}


def network():
    torch.manual_seed(0)
    network = AutoencoderNetwork(
        DenseNetwork([5, 8, 4]), DenseNetwork([4, 8, 5]), StudentTHead(4, 3)
    )
    network.head.set_centers(torch.randn(3, 4))
    return network


def slow_divergence(p, q):
    """Equation 2 of DEC for one sample, in a loop."""
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))


def slow_squares(a, b):
    """|a - b|^2 in a loop."""
    return sum((u - v) ** 2 for u, v in zip(a, b, strict=True))


def in_double(tensor):
    return tensor.detach().double().numpy()


def loss_of_hardening(net, x, weight, reconstruction_weight):
    """Return the loss of a batch that is the whole data set, and P and Q."""
    term = HardeningTerm(Samples(x), 3, weight, update_interval=10, tol=0)
    objective = AutoencoderObjective(
        torch.nn.Identity(), reconstruction_weight=reconstruction_weight, term=term
    )
    objective.before_step(net, 0)
    ((player, loss),) = objective.steps(net, x, torch.arange(len(x)))
    assert player == "main"
    q = slow_soft_assignment(in_double(net.embed(x)), in_double(net.head.centers))
    return loss.item(), slow_target(q), q


def test_dec_minimises_the_papers_divergence():
    loss, p, q = loss_of_hardening(network(), torch.randn(6, 5), 1.0, 0.0)
    expected = sum(slow_divergence(p[i], q[i]) for i in range(6)) / 6
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("reconstruction_weight", [0.0, 1.0], ids=["DEC-DA", "IDEC-DA"])
def test_augmentation_is_that_of_the_paper(reconstruction_weight):
    """P of clean samples, Q of augmented ones, which are decoded to themselves."""

    def augmentation(x):
        return x.mul_(0.5).add_(1)  # a copy, as it has to be

    net, x = network(), torch.randn(6, 5)
    before = x.clone()
    term = HardeningTerm(Samples(x), 3, 0.3, update_interval=10, tol=0)
    net.decodes_augmented = True
    objective = AutoencoderObjective(
        augmentation, reconstruction_weight=reconstruction_weight, term=term
    )
    objective.before_step(net, 0)
    loss = objective.loss(net, x, torch.arange(6)).item()
    assert torch.equal(x, before)
    seen, centers = x / 2 + 1, in_double(net.head.centers)
    p = slow_target(slow_soft_assignment(in_double(net.embed(x)), centers))
    q = slow_soft_assignment(in_double(net.embed(seen)), centers)
    decoded, seen = in_double(net.decode(net.embed(seen))), in_double(seen)
    expected = 0.0
    for i in range(6):
        expected += 0.3 * slow_divergence(p[i], q[i]) / 6
        expected += reconstruction_weight * slow_squares(seen[i], decoded[i]) / 5 / 6
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("is_given", [False, True])
def test_what_is_decoded_is_that_of_the_autoencoder(is_given, images):
    seen = []

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            seen.append((net.phase.name, net.module_.decodes_augmented))

    part = AutoencoderClustering(n_init=1, max_epochs=1, reconstruction="augmented", random_state=0)
    model = IDECClustering(3, max_epochs=1, tol=0, n_init=1, callbacks=[Watch()], random_state=0)
    model.set_params(autoencoder=part.fit(images) if is_given else part).fit(images)
    assert seen == [("pretraining", True)] * (not is_given) + [("clustering", True)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of so few epochs
@pytest.mark.filterwarnings("ignore:autoencoder, a fitted .* was trained without a critic")
@pytest.mark.parametrize("kind", [MCDCClustering, DEPICTClustering])
def test_what_is_decoded_is_that_of_a_given_autoencoder(kind, images):
    seen = []

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            seen.append(net.module_.decodes_augmented)

    part = AutoencoderClustering(n_init=1, max_epochs=1, reconstruction="augmented", random_state=0)
    epochs = {"base": "idec", "finetune_epochs": 1} if kind is MCDCClustering else SHORT_DEPICT
    model = kind(3, autoencoder=part.fit(images), callbacks=[Watch()], random_state=0, **epochs)
    model.fit(images)
    assert seen and all(seen)


def test_depict_refuses_an_autoencoder_of_another_likelihood(images):
    part = AutoencoderClustering(n_init=1, max_epochs=1, likelihood="bernoulli", random_state=0)
    model = DEPICTClustering(3, autoencoder=part.fit(images), **SHORT_DEPICT)
    with pytest.raises(ValueError, match="autoencoder must have likelihood="):
        model.fit(images)
    assert not hasattr(model, "labels_")


@pytest.mark.parametrize("n_values", [5, 1], ids=["paper: sum", "code: mean"])
def test_idec_minimises_the_papers_sum(n_values):
    """0.1 beside squared errors of pixels / 50, which the paper sums and its code averages."""
    net, x = network(), torch.randn(6, 5)
    deviation, mean = 78.6 / 50, 33.3 / 50
    unit = deviation**2 * n_values
    loss, p, q = loss_of_hardening(net, x, 0.1 / unit, 1.0)
    pixels = deviation * in_double(x) + mean
    decoded = deviation * in_double(net.decode(net.embed(x))) + mean
    expected = 0.0
    for i in range(6):
        expected += slow_squares(pixels[i], decoded[i]) * n_values / 5 / 6
        expected += 0.1 * slow_divergence(p[i], q[i]) / 6
    assert unit * loss == pytest.approx(expected, rel=1e-4)


def test_target_is_renewed_every_so_many_steps():
    net, X = network(), torch.randn(6, 5)
    term = HardeningTerm(Samples(X), 3, 1.0, update_interval=3, tol=0)
    targets = []
    for n_steps in range(7):
        with torch.no_grad():
            net.encoder[0].weight.mul_(1.1)
        term.before_step(net.train(), n_steps)
        assert net.training
        targets.append(term.target.clone())
    changes = [not torch.equal(a, b) for a, b in pairwise(targets)]
    assert changes == [False, False, True, False, False, True]
    again = HardeningTerm(Samples(X), 3, 1.0, update_interval=3, tol=0)
    again.load_state_dict(term.state_dict())
    torch.testing.assert_close(again.target, term.target)


def test_phase_ends_once_labels_no_longer_change(images):
    model = DECClustering(**FAST, max_epochs=500, tol=0.5, lr=1e-5).fit(images)
    assert model.history_[:, "phase"].count("clustering") == 2  # the second renewal is compared
    never = DECClustering(**FAST, max_epochs=5, tol=0, lr=1e-5).fit(images)
    assert never.history_[:, "phase"].count("clustering") == 5
    restless = DECClustering(**FAST, max_epochs=2, tol=1e-9, lr=1e-3, augmentation=None)
    with pytest.warns(ConvergenceWarning, match=r"'clustering' did not converge.*tol"):
        restless.fit(images)


def test_dec_leaves_the_decoder_alone_and_idec_trains_it(images):
    pretrained = AutoencoderClustering(3, n_init=1, max_epochs=1, random_state=0).fit(images)
    parameters = {**FAST, "autoencoder": pretrained, "max_epochs": 1, "tol": 0}
    for Estimator, is_trained in ((DECClustering, False), (IDECClustering, True)):
        network = Estimator(**parameters).fit(images).network_
        for part, changes in (("encoder", True), ("decoder", is_trained)):
            before = dict(getattr(pretrained.network_, part).named_parameters())
            after = dict(getattr(network, part).named_parameters())
            weights = [name for name in before if name.endswith("weight")]
            assert {torch.equal(before[k], after[k]) for k in weights} == {not changes}


def test_update_interval_is_in_steps(images):
    renewals = []

    class Counting(HardeningTerm):
        def before_step(self, network, n_steps):
            before = self.target.clone()
            super().before_step(network, n_steps)
            if not torch.equal(self.target, before):
                renewals.append(n_steps)

    net, X = network(), Samples(torch.randn(40, 5))
    objective = AutoencoderObjective(
        torch.nn.Identity(), term=Counting(X, 3, 0.1, update_interval=7, tol=0)
    )

    from skdeepclust.engine import Engine, Phase

    engine = Engine(net, Phase(objective, max_epochs=2, batch_size=4)).start()
    engine.fit_loop(X, epochs=2)
    assert renewals == [0, 7, 14]


@pytest.mark.parametrize(
    ("of_errors", "of_distances"), [(1, 0.05 / 2), (0.05, 1)], ids=["paper", "code"]
)
def test_dcn_objective_is_the_papers_sum(of_errors, of_distances):
    """Errors summed over pixels in [0, 1], with both readings of lambda = 0.05."""
    net, x = network(), torch.randn(6, 5)
    deviation, mean = 0.3, 0.1
    unit = of_errors * deviation**2 * 5
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    index = torch.tensor([5, 0, 1, 2, 7, 6])
    term = RunningKMeansTerm(labels.clone(), 3, weight=2 * of_distances / unit)
    loss = AutoencoderObjective(torch.nn.Identity(), term=term).loss(net, x, index)
    z, centers = in_double(net.embed(x)), in_double(net.head.centers)
    pixels = deviation * in_double(x) + mean
    decoded = deviation * in_double(net.decode(net.embed(x))) + mean
    expected = 0.0
    for i in range(6):
        expected += of_errors * slow_squares(pixels[i], decoded[i]) / 6
        expected += of_distances * slow_squares(z[i], centers[labels[index[i]]]) / 6
    assert unit * loss.item() == pytest.approx(expected, rel=1e-4)


def test_dcn_centers_move_sample_by_sample():
    """The batch's update equals the paper's for one sample after the other."""
    net, x = network(), torch.randn(20, 5)
    net.head.centers.requires_grad_(False)
    z = net.embed(x).detach()
    labels = net.head(z).argmax(1)
    centers, counts = net.head.centers.clone().double(), np.full(3, float(INITIAL_COUNT))
    for point, k in zip(z.double(), labels, strict=True):
        counts[k] += 1
        centers[k] -= (centers[k] - point) / counts[k]
    term = RunningKMeansTerm(torch.zeros(25, dtype=torch.long), 3, weight=0.3)
    term.after_step(net, x, torch.arange(5, 25))
    np.testing.assert_allclose(net.head.centers, centers, rtol=1e-5)
    np.testing.assert_allclose(term.counts, counts)
    assert (term.labels[5:] == labels).all()
    assert (term.labels[:5] == 0).all()


def test_dcn_centers_are_not_trained_by_gradients(images):
    model = DCNClustering(**FAST, max_epochs=1, lr=1e-8, augmentation=None).fit(images)
    assert not model.network_.head.centers.requires_grad
    means = [model.transform(images)[model.labels_ == k].mean(0) for k in range(3)]
    centers = model.network_.head.centers + model.network_.head.offset
    np.testing.assert_allclose(centers, means, atol=0.05)


def test_the_scale_of_an_autoencoder_within_an_autoencoder(images):
    first = AutoencoderClustering(n_clusters=3, max_epochs=2, random_state=0).fit(images)
    second = AutoencoderClustering(n_clusters=3, autoencoder=FrozenEstimator(first))
    for given in (FrozenEstimator(first), second, FrozenEstimator(second)):
        dec = DECClustering(**{**FAST, "autoencoder": given}, max_epochs=1, tol=0)
        with pytest.warns(UserWarning, match="scaled alike"):
            dec.fit(7 + 100.0 * images)
        assert (dec.input_mean_, dec.input_scale_) == (first.input_mean_, first.input_scale_)
