"""What estimators hand to their objectives, and keep of them: wires between tested parts."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from test_common import fast
from test_scan import SHORT, scan_network
from torch import nn
from torch.nn import functional as F

import skdeepclust
from skdeepclust import (
    ADCClustering,
    AutoencoderClustering,
    CatGANClustering,
    DeepClustering,
    DEPICTClustering,
    DGGClustering,
    ProFeatClustering,
    SCANClustering,
    STDACClustering,
    TEMIClustering,
    VaDEClustering,
    VAEClustering,
    kmeans,
)
from skdeepclust._training._restarts import consensus, train_restarts
from skdeepclust._training._selection import NeighborCriterion
from skdeepclust.cluster._base_autoencoder import first_posterior
from skdeepclust.cluster._base_overclustering import MergingNetwork
from skdeepclust.cluster._dac import PairObjective
from skdeepclust.cluster._deep import NeighborObjective, RefinementObjective
from skdeepclust.cluster._vade import decayed
from skdeepclust.engine import Engine, Phase
from skdeepclust.inference import evaluation_mode
from skdeepclust.losses import association_loss, mutual_information, scan_loss
from skdeepclust.model_selection import NClustersSelection, _of_halves
from skdeepclust.neighbors import draw_neighbors, nearest_neighbors
from skdeepclust.networks import DenseEncoder, MergingHead
from skdeepclust.networks._contrastive import EnsembleNetwork
from skdeepclust.objective import ClassPrior, ManyHeadsObjective, Objective
from skdeepclust.samples import Samples

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
)


class Moved(nn.Module):
    """Each row of a batch in its own way, and always the same."""

    def forward(self, x):
        return x + torch.arange(len(x)).view(-1, 1) / 10


def small(kind=NeighborObjective, n_heads=2):
    torch.manual_seed(0)
    network, X = MergingNetwork(nn.Linear(3, 4), MergingHead(4, 2, 2, 2)), torch.randn(6, 3)
    neighbors = torch.arange(6).roll(-1)[:, None]
    objective = kind(Samples(X), neighbors, Moved(), n_heads, 1.5, ClassPrior(None, 1))
    objective.on_epoch_begin(network, Samples(X))
    return network, objective, X


def test_objective_is_of_a_copy_and_of_a_neighbour():
    network, objective, X = small()
    index = torch.tensor([4, 0, 2])
    loss = objective.loss(network, X[index], index)
    views = Moved()(torch.cat([X[index], X[index], X[[5, 1, 3]]])).chunk(3)
    losses = []
    for kind in (network.head.plain, network.head.over):
        first, copy, near = (kind.all(network.embed(x)) for x in views)
        losses.append(scan_loss(first, copy, 1.5) + scan_loss(first, near, 1.5))
    torch.testing.assert_close(loss, losses[0].sum() + losses[1].sum())
    torch.testing.assert_close(objective.head_losses, 3 * losses[0].detach())


def test_the_refinement_is_of_the_head_that_was_chosen():
    network, objective, X = small(RefinementObjective, 1)
    network.head.choose(3, torch.tensor([0, 1, 1, 0]))
    objective.loss(network, X, torch.arange(6)).backward()
    objective.after_step(network, X, torch.arange(6))
    assert int(network.head.number) == 3
    assert network.head.plain.linear.weight.grad.abs().sum() == 0
    assert network.head.over.linear.weight.grad[4:].abs().sum() > 0


def test_the_head_that_follows_the_neighbours_best_is_kept(images):
    X = Samples(torch.from_numpy(images[:100]).float().div(8).sub(1)[:, None])
    model = DeepClustering(3, n_heads=4, overclustering=1)
    model.input_shape_ = (1, 8, 8)
    neighbors, criterion = nearest_neighbors(X[:].flatten(1), 5), NeighborCriterion(X)
    for seed in range(3):
        torch.manual_seed(seed)
        network = model._build_network()
        model._choose_head(network, X, neighbors)
        with evaluation_mode(network), torch.no_grad():
            heads = network.head.each(network.embed(X[:]))
            each = [logits.softmax(1).numpy() for logits, _ in heads]
        assert int(network.head.number) == np.argmax([criterion(p) for p in each])


def test_rates_and_shares_of_the_two_phases(images):
    class Watch(Callback):
        seen = []

        def on_epoch_end(self, net, **kwargs):
            has_shares = net.criterion_.prior.now is not None
            self.seen.append((net.optimizer_.param_groups[0]["lr"], has_shares))

    epochs = {"n_init": 1, "max_epochs": 4, "refinement_epochs": 2, "batch_size": 64}
    model = DeepClustering(3, lr=0.01, class_prior=[0.5, 0.3, 0.2], callbacks=[Watch()], **epochs)
    model.set_params(random_state=0).fit(images)
    expected = [0.01 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)]
    expected += [0.005 * (1 + math.cos(math.pi * e / 2)) / 2 for e in range(2)]
    np.testing.assert_allclose([lr for lr, _ in Watch.seen], expected)
    assert [now for _, now in Watch.seen] == [False, False, True, True, True, True]


@pytest.mark.parametrize("name", ["Deep", "IIC", "SCAN", "TEMI", "TURTLE", "CatGAN", "InfoGAN"])
def test_losses_of_sizes_leave_out_the_rest_of_an_epoch(name, images):
    class Sizes(Callback):
        seen = set()

        def on_batch_begin(self, net, batch=None, **kwargs):
            if net.phase.name not in ("simclr", "self-labelling"):
                self.seen.add(len(batch[0]))

    X = images[:40].reshape(40, 64)
    fast(getattr(skdeepclust, f"{name}Clustering"), batch_size=16, callbacks=[Sizes()]).fit(X)
    assert Sizes.seen == {16}


def test_each_round_begins_with_the_refined_representation(images):
    class Watch(Callback):
        seen = []

        def on_train_begin(self, net, **kwargs):
            if net.phase.name.endswith("scan"):
                parts = net.module_.encoder, net.module_.representation.encoder
                states = zip(*(part.state_dict().values() for part in parts), strict=True)
                self.seen.append(all(torch.equal(a, b) for a, b in states))

    model = ProFeatClustering(**SHORT, n_rounds=2, refinement_epochs=1, callbacks=[Watch()])
    model.set_params(confident_only=False).fit(images)
    assert Watch.seen == [True, True]


def test_the_model_with_the_lowest_loss_is_kept():
    network = EnsembleNetwork([scan_network(True) for _ in range(3)])
    for model, loss in zip(network.models, (2.0, 1.0, 3.0), strict=True):
        model.head.loss.fill_(loss)
    network.keep_best()
    assert network.model is network.models[1]


class Strong(nn.Identity):
    pass


def test_both_phases_augment_strongly(images):
    class Watch(Callback):
        seen = []

        def on_train_begin(self, net, **kwargs):
            self.seen.append((net.phase.name, type(net.criterion_.augmentation) is Strong))

    model = SCANClustering(**SHORT, strong_augmentation=Strong(), callbacks=[Watch()])
    model.fit(images)
    assert Watch.seen == [("simclr", False), ("scan", True), ("self-labelling", True)]


def test_losses_are_those_of_the_last_epoch():
    objective = ManyHeadsObjective(2)
    for losses in ([1.0, 9.0], [2.0, 1.0]):
        objective.on_epoch_begin(None, None)
        objective.count_losses(torch.tensor(losses), 3)
    assert objective.head_losses.tolist() == [6.0, 3.0]


@pytest.mark.parametrize("draws", [(0.1, 0.99), (0.99, 0.1)])
def test_plus_plus_takes_the_candidate_that_leaves_least(draws):
    problem = kmeans._Problem(torch.tensor([[0.0], [10.0], [10.1], [9.9], [-8.0]]), 2)
    uniform = torch.tensor([[[0.0, 0.0], draws]]).double()  # candidates at 10 and -8
    starts = problem._plus_plus(uniform)[0, :, 0] + problem.mean
    torch.testing.assert_close(starts, torch.tensor([0.0, 10.0]).double())


def test_the_better_half_agrees():
    class Fake:
        interrupted, network = False, nn.Identity()
        screened = quality = probabilities = None

        def __init__(self, score):
            self.score = score
            self.own = np.random.RandomState(int(10 * score)).dirichlet([1, 1], 9)

        def advance(self, until):
            pass

        announce = advance

        def release(self):
            pass

        def interpose(self, phase):
            self.learns = phase

    def judge(run):
        run.probabilities = run.own
        return 0, run.score

    runs = [Fake(score) for score in (0.1, 0.4, 0.3, 0.2)]
    best = train_restarts(runs, judge, screen_at=1, consensus_phase=lambda average: average)
    assert best is runs[1]
    np.testing.assert_array_equal(best.learns, consensus([runs[1].own, runs[2].own]))


def test_mutual_information_is_maximised():
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    def loss(mi_weight):
        objective = PairObjective(6, 3, lambda epoch: (0.8, 0.8), 1.0, mi_weight, nn.Identity())
        objective.on_chunk_begin(nn.Identity(), logits, torch.arange(6))
        return objective.loss(nn.Identity(), logits, torch.arange(6))

    torch.testing.assert_close(loss(0.0) - loss(0.7), 0.7 * mutual_information(logits.softmax(1)))


@pytest.mark.parametrize("name", ["DEC", "IDEC", "DCN", "VaDE", "MCDC"])
def test_clusters_are_those_that_were_trained(name, images):
    class Watch(Callback):
        seen = {}

        def on_train_end(self, net, **kwargs):
            self.seen[net.phase.name] = net.module_.head.centers.detach().clone()

    more = {"base": "idec"} if name == "MCDC" else {}
    Estimator = getattr(skdeepclust, f"{name}Clustering")
    model = fast(Estimator, callbacks=[Watch()], **more).fit(images)
    assert torch.equal(model.network_.head.centers, Watch.seen["clustering"])


def test_the_rate_of_the_clustering_phase_decays():
    for Estimator in (VaDEClustering, DGGClustering):
        assert Estimator()._phase(None, 3, "clustering").lr_factor is decayed


def test_draws_are_those_of_the_prior(images, monkeypatch):
    vae, vade = (fast(E).fit(images[:60]) for E in (VAEClustering, VaDEClustering))
    for model in (vae, vade):
        monkeypatch.setattr(model, "_decoded", lambda z: z)
    z = vae.sample(5000, random_state=0)
    np.testing.assert_allclose(z.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(z.std(0), 1, atol=0.1)
    with torch.no_grad():
        vade.network_.head.log_variances.fill_(math.log(9.0))
    z = vade.sample(5000, cluster=1, random_state=0)
    np.testing.assert_allclose(z.mean(0), vade.network_.head.centers[1].detach(), atol=0.3)
    np.testing.assert_allclose(z.std(0), 3, atol=0.3)


def test_first_posteriors_have_small_shares_of_the_variance():
    z, variance = torch.randn(5, 3), torch.tensor([1.0, 4.0, 9.0])
    mean, log_variance = first_posterior(3, variance)(z).chunk(2, 1)
    torch.testing.assert_close(mean, z)
    torch.testing.assert_close(log_variance.exp(), (variance * math.exp(-4)).expand(5, 3))


def test_neighbours_are_by_cosines_whatever_the_scaling():
    class Watch(Callback):
        seen = []

        def on_train_begin(self, net, **kwargs):
            self.seen.append(net.criterion_.neighbors)

    rng = np.random.RandomState(0)
    X = rng.randn(60, 3) * 10 ** rng.uniform(-1, 1, (60, 1))
    model = TEMIClustering(2, scaling=None, n_neighbors=5, max_epochs=1, callbacks=[Watch()])
    model.set_params(random_state=0).fit(X)
    x = torch.from_numpy((X - model.input_mean_) / model.input_scale_).float()
    assert torch.equal(Watch.seen[0], nearest_neighbors(F.normalize(x, dim=1), 5))


def test_weights_of_the_phases(images):
    class Watch(Callback):
        seen = []

        def on_train_begin(self, net, **kwargs):
            terms = net.criterion_
            self.seen.append((net.phase.name, terms.copies_weight, terms.centers_weight))

    given = {"copies_weight": 0.3, "max_epochs": 1, "callbacks": [Watch()], "random_state": 0}
    ADCClustering(3, **given).fit(images)
    assert Watch.seen == [("copies", 1.0, 0.0), ("adc", 0.3, 1.0)]


def test_one_standard_error_is_granted():
    strength = np.array([[0.9, 0.9], [0.7, 0.85]])  # 0.775 and an error of 0.053
    assert NClustersSelection(np.array([2, 5]), strength, np.zeros((2, 1)), 0.8).best == 5


class KnowsItsOwn(BaseEstimator):
    """Tells the samples that it was fitted to by their parity, and no others."""

    def fit(self, X, y=None):
        self.seen_ = set(X[:, 0])
        return self

    def predict(self, X):
        return np.array([int(v % 2) * (v in self.seen_) for v in X[:, 0]])


def test_strength_is_of_the_half_that_was_not_seen():
    halves = [np.arange(10), np.arange(10, 20)]
    strength, _ = _of_halves(KnowsItsOwn(), np.arange(20)[:, None], halves, 2)
    assert strength == [1.0, 1.0]  # the other model puts all of them into one cluster


def test_neighbours_are_drawn_sample_by_sample():
    torch.manual_seed(0)
    drawn = draw_neighbors(torch.arange(4).expand(400, 4), torch.arange(400))
    assert drawn.bincount(minlength=4).min() > 60


def test_best_loss_is_that_of_all_epochs():
    class Scripted(Objective):
        def loss(self, network, x, index):
            return 0 * network.weight.sum() + losses.pop(0)

    losses = [3.0, 1.0, 2.0, 1.5]
    engine = Engine(nn.Linear(1, 1), Phase(Scripted(), 4, batch_size=4)).start()
    history = engine.fit_loop(Samples(torch.zeros(4, 1)), epochs=4).history
    assert history[:, "train_loss_best"] == [True, True, False, False]


def test_latents_are_of_the_pass_without_dropout(images):
    X = Samples(torch.from_numpy(images[:60]).float().div(8).sub(1)[:, None])
    model = DEPICTClustering(3, dropout=0.5)
    model.input_shape_ = (1, 8, 8)
    network = model._build_network().train()
    first, second = (model._latents(network, X) for _ in range(2))
    assert torch.equal(first, second) and network.training


def test_association_loss_is_of_float32_under_autocast():
    torch.manual_seed(0)
    a, b, groups = torch.randn(8, 4), torch.randn(9, 4), torch.arange(8) // 2
    expected = association_loss(a, b, groups)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(association_loss(a, b, groups), expected)


def test_similarity_is_of_float32_under_autocast():
    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    objective = PairObjective(40, 3, lambda epoch: (0.8, 0.8), 0.0, 0.0, nn.Identity())
    objective.on_chunk_begin(nn.Identity(), logits, torch.arange(40))
    expected = objective.loss(nn.Identity(), logits, torch.arange(40))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective.loss(nn.Identity(), logits, torch.arange(40)), expected)


def test_what_auto_stands_for():
    gan, dac = CatGANClustering(), STDACClustering(batch_size=32)
    assert [gan._planned_epochs(n) for n in (100, 1797, 70_000)] == [1000, 267, 7]
    assert [dac._warm_epochs(n) for n in (200, 320, 3200)] == [15, 10, 5]
    for shape, n_init in (((1, 8, 8), 8), ((64,), 1)):
        dac.input_shape_ = shape
        assert dac._auto_n_init(100) == n_init
    assert AutoencoderClustering()._auto_n_init(100) == 4


def test_consensus_and_warm_start_are_learnt_under_augmentation(images):
    class Watch(Callback):
        seen = {}

        def on_train_begin(self, net, **kwargs):
            self.seen[net.phase.name] = type(net.criterion_.augmentation)

    given = {"augmentation": Strong(), "callbacks": [Watch()], "network": DenseEncoder}
    fast(STDACClustering, n_init=2, init="kmeans", **given).fit(images)
    assert Watch.seen == {"warm start": Strong, "dac": Strong, "consensus": Strong}
