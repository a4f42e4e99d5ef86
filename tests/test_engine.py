import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    ProgressBar,
)
from torch import nn

from skdeepclust import DeepClustering, STDACClustering
from skdeepclust.engine import Engine, Phase, multiplies_bf16
from skdeepclust.objective import Objective
from skdeepclust.samples import Chunks, Samples

FAST = {"n_clusters": 3, "n_init": 1, "max_epochs": 3, "batch_size": 50, "random_state": 0}


class Regression(Objective):
    """Least squares towards a target kept for the whole data set."""

    def __init__(self, y):
        super().__init__()
        self.register_buffer("y", y)
        self.events = []

    def on_epoch_begin(self, network, X):
        self.events.append(("epoch", len(X)))

    def on_chunk_begin(self, network, x, index):
        self.events.append(("chunk", len(x)))

    def steps(self, network, x, index):
        self.events.append(("step", len(x)))
        yield "main", (network(x)[:, 0] - self.y[index]).square().mean()

    def after_step(self, network, x, index):
        self.events.append(("after", len(x)))


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(64, 3, generator=generator)
    return X, X @ torch.tensor([1.0, -2.0, 0.5])


def train(engine, X, epochs):
    engine.start()
    return engine.fit_loop(Samples(X), epochs=epochs)


def test_engine_solves_least_squares(problem):
    X, y = problem
    network = nn.Linear(3, 1)
    phase = Phase(Regression(y), 50, batch_size=16, lr=0.1)
    engine = train(Engine(network, phase), X, 50)
    torch.testing.assert_close(network.weight[0], torch.tensor([1.0, -2.0, 0.5]), atol=1e-2, rtol=0)
    losses = engine.history[:, "train_loss"]
    assert losses[-1] < 1e-3 * losses[0]


def test_a_step_equals_the_plain_loop(problem):
    X, y = problem
    networks = [nn.Linear(3, 1), nn.Linear(3, 1)]
    networks[1].load_state_dict(networks[0].state_dict())
    train(Engine(networks[0], Phase(Regression(y), 3, batch_size=64, lr=0.1)), X, 3)
    optimizer = torch.optim.Adam(networks[1].parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (networks[1](X)[:, 0] - y).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(networks[0].weight, networks[1].weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("callbacks", [None, [GradientNormClipping(1.0), ProgressBar()]])
def test_loss_of_an_epoch_is_that_of_the_samples(problem, callbacks, capsys):
    """Batches of 24, 24 and 16 samples count by their size."""
    X, y = problem
    X, y = X * torch.linspace(0.1, 10, 64)[:, None], y * 0
    network = nn.Linear(3, 1)
    expected = network(X).square().mean().item()
    phase = Phase(Regression(y), 1, batch_size=24, optimizer=torch.optim.SGD, lr=0.0)
    for _ in range(3):  # in several orders
        engine = train(Engine(network, phase, callbacks=callbacks), X, 1)
        assert engine.history[-1, "train_loss"] == pytest.approx(expected, rel=1e-5)


class Watched(nn.Linear):
    """Notes the type of what it computes, by whether it is trained."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.seen = set()

    def forward(self, x):
        result = super().forward(x)
        self.seen.add((torch.is_grad_enabled(), result.dtype))
        return result


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"amx_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "float32"),
        (None, "float32"),  # an older torch
    ],
)
def test_precision_of_the_processor(problem, monkeypatch, has, expected):
    if has is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    _, y = problem
    engine = Engine(nn.Linear(3, 1), Phase(Regression(y), 1), precision="auto")
    assert engine.precision == expected
    assert not multiplies_bf16("meta")


def test_bf16_trains_what_was_used_without_gradients(problem):
    """Not so by default in torch 2.4: autocast keeps the weights' copies, without gradients."""

    class Target(Regression):
        def steps(self, network, x, index):
            with torch.no_grad():
                network(x)
            yield from super().steps(network, x, index)

    X, y = problem
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    before = [p.clone() for p in network.parameters()]
    train(Engine(network, Phase(Target(y), 1, batch_size=16), precision="bf16"), X, 1)
    for first, last in zip(before, network.parameters(), strict=True):
        assert not torch.equal(first, last)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_that_of_the_forward_passes(problem, precision, dtype):
    class Target(Regression):
        def on_epoch_begin(self, network, X):
            with torch.no_grad():
                assert network(X[:]).dtype == dtype

        def on_chunk_begin(self, network, x, index):
            self.on_epoch_begin(network, x)

        def steps(self, network, x, index):
            for player, loss in super().steps(network, x, index):
                assert torch.is_autocast_enabled("cpu") == (precision == "bf16")
                yield player, loss
                # the optimiser's step was outside, what follows it is a forward pass again
                assert torch.is_autocast_enabled("cpu") == (precision == "bf16")

        def after_step(self, network, x, index):
            assert not torch.is_autocast_enabled("cpu")

    class Outside(Callback):
        def on_grad_computed(self, net, **kwargs):
            assert not torch.is_autocast_enabled("cpu")

    X, y = problem
    network = Watched(3, 1)
    phase = Phase(Target(y), 2, batch_size=16, lr=0.1)
    train(Engine(network, phase, precision=precision, callbacks=[Outside()]), X, 2)
    assert network.seen == {(True, dtype), (False, dtype)}
    assert network.weight.dtype == torch.float32
    assert network(X).dtype == torch.float32


def test_hooks_are_called_in_order(problem):
    X, y = problem
    objective = Regression(y)
    train(Engine(nn.Linear(3, 1), Phase(objective, 1, batch_size=16, chunk_size=32)), X, 1)
    batch = [("step", 16), ("after", 16)]
    chunk = [("chunk", 32), *batch, *batch]
    assert objective.events == [("epoch", 64), *chunk, *chunk]


def test_chunks_hold_each_sample_once_in_a_new_order():
    X = torch.arange(101.0)[:, None]
    chunks = Chunks(Samples(X), batch_size=10, chunk_size=50)
    epochs = []
    for _ in range(2):
        batches = [b for x, index in chunks(chunks.X.order(50)) for b in chunks.batches(x, index)]
        # 50 + 51: no batch of one sample
        assert [len(x) for x, _ in batches] == [10] * 9 + [11]
        for x, index in batches:
            assert torch.equal(x, X[index])
        epochs.append(torch.cat([index for _, index in batches]))
        assert sorted(epochs[-1].tolist()) == list(range(101))
    assert not torch.equal(*epochs)


class Duel(Objective):
    """Two players: `ahead` runs to where `behind` is plus one, `behind` to where `ahead` is."""

    def players(self, network):
        return {"ahead": [network.ahead], "behind": [network.behind]}

    def steps(self, network, x, index):
        before = network.ahead.detach().clone()
        yield "ahead", (network.ahead - network.behind.detach() - 1).square().sum()
        assert not torch.equal(network.ahead.detach(), before)  # its step has been taken
        yield "behind", (network.behind - network.ahead.detach()).square().sum()


def test_several_optimisers(problem):
    network = nn.ParameterDict({"ahead": torch.zeros(1), "behind": torch.zeros(1)})
    phase = Phase(Duel(), 1, batch_size=64, optimizer=torch.optim.SGD, lr=0.5)
    engine = train(Engine(network, phase), problem[0], 1)
    assert network["ahead"].item() == pytest.approx(1)
    assert network["behind"].item() == pytest.approx(1)
    assert engine.optimizer_.param_groups[0]["params"][0] is network["ahead"]
    assert engine.behind_optimizer_.param_groups[0]["params"][0] is network["behind"]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD])
def test_any_optimiser(images, optimizer):
    class Watch(Callback):
        seen = []

        weights = []

        def on_epoch_end(self, net, **kwargs):
            self.seen.append(type(net.optimizer_))
            self.weights.append(next(net.module_.parameters()).sum().item())

    STDACClustering(**FAST, optimizer=optimizer, callbacks=[Watch()]).fit(images)
    assert Watch.seen == [optimizer] * 3
    assert len(set(Watch.weights)) == 3


class Recorder(Callback):
    records = []

    def on_epoch_end(self, net, **kwargs):
        self.records.append(net.optimizer_.param_groups[0]["lr"])


def test_early_stopping(images):
    callback = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0, sink=lambda _: None)
    fitted = STDACClustering(**{**FAST, "max_epochs": 20}, callbacks=[callback]).fit(images)
    assert len(fitted.history_) < 20
    assert callback.misses_ == 0  # the caller's callback is copied


def test_learning_rate_scheduler_goes_on_across_the_screening(images):
    Recorder.records.clear()
    scheduler = LRScheduler("ExponentialLR", gamma=0.5)
    parameters = {**FAST, "n_init": 2, "max_epochs": 4, "screening": 0.5, "lr": 0.01}
    parameters["consensus"] = False
    STDACClustering(**parameters, callbacks=[scheduler, Recorder()]).fit(images)
    rates = np.array([0.5, 0.25, 0.5, 0.25, 0.125, 0.0625]) * 0.01  # after each epoch
    np.testing.assert_allclose(Recorder.records, rates)


def test_checkpoint(images, tmp_path):
    callback = Checkpoint(
        monitor="train_loss_best", dirname=str(tmp_path), f_history=None, f_criterion=None
    )
    fitted = STDACClustering(**FAST, callbacks=[callback]).fit(images)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    assert set(saved) == set(fitted.network_.state_dict())


def test_gradient_norm_clipping(images):
    class Norms(Callback):
        largest = []

        def on_grad_computed(self, net, named_parameters, **kwargs):
            total = sum(p.grad.square().sum() for _, p in named_parameters if p.grad is not None)
            self.largest.append(total.sqrt().item())

    clipping = GradientNormClipping(gradient_clip_value=1e-3)
    STDACClustering(**FAST, callbacks=[clipping, Norms()]).fit(images)
    assert len(Norms.largest) == 3 * 4
    assert max(Norms.largest) <= 1e-3 * 1.001


class Falling(Objective):
    """Moves one weight by its learning rate a step."""

    def loss(self, network, x, index):
        return network.weight.sum()


def test_scheduler_beside_the_rates_of_a_phase():
    """What a callback makes of the learning rate isn't undone by the phase's own schedule."""
    X = Samples(torch.zeros(4, 1))

    def moved(callbacks):
        network = nn.Linear(1, 1)
        before = network.weight.item()
        phase = Phase(
            Falling(), 4, batch_size=4, lr=0.5, optimizer=torch.optim.SGD,
            lr_factor=lambda epoch: 1 / (1 + epoch),
        )  # fmt: skip
        engine = Engine(network, phase, callbacks=callbacks).start()
        engine.notify("on_train_begin", X=X)
        engine.fit_loop(X, epochs=4)
        return before - network.weight.item()

    assert moved([]) == pytest.approx(0.5 * (1 + 1 / 2 + 1 / 3 + 1 / 4))
    halved = LRScheduler("ExponentialLR", gamma=0.5)
    assert moved([halved]) == pytest.approx(0.5 * (1 + 1 / 4 + 1 / 12 + 1 / 32))
    stopped = LRScheduler("StepLR", step_size=1, gamma=0.0)
    assert moved([stopped]) == pytest.approx(0.5)


def test_callback_that_records_an_array(images, tmp_path):
    class Sizes(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("sizes", np.arange(3))
            net.history.record("what", torch.tensor([0.5, 1.0]))

    parameters = {**FAST, "callbacks": [Sizes()], "checkpoint": tmp_path / "fit.pt"}
    STDACClustering(**parameters).fit(images)
    again = STDACClustering(**parameters).fit(images)  # from the checkpoint
    assert again.history_[-1, "sizes"] == [0, 1, 2]
    assert again.history_[-1, "what"] == [0.5, 1.0]


def test_network_with_weights_of_five_dimensions(images):
    class Volumes(nn.Module):
        def __init__(self, input_shape):
            super().__init__()
            self.convolution = nn.Conv3d(1, 4, (1, 3, 3))

        def forward(self, x):
            return self.convolution(x[:, None]).mean((2, 3, 4))

    fitted = STDACClustering(**{**FAST, "max_epochs": 1}, network=Volumes).fit(images)
    assert fitted.transform(images).shape == (200, 4)


def test_progress_bars(images, capsys):
    bar = ProgressBar(detect_notebook=False)  # which shows losses after a tenth of a second
    STDACClustering(**{**FAST, "batch_size": 4, "max_epochs": 1}, callbacks=[bar]).fit(images)
    assert "train_loss" in capsys.readouterr().err
    STDACClustering(**{**FAST, "n_init": 2}, verbose=1).fit(images)
    shown = capsys.readouterr().err
    assert "restart 2/2" in shown
    assert "dac, epoch 3/3, loss" in shown
    assert "100%" in shown
    STDACClustering(**FAST).fit(images)
    assert capsys.readouterr().err == ""
    settings = {"n_init": 1, "max_epochs": 2, "refinement_epochs": 1}
    DeepClustering(3, batch_size=128, **settings, verbose=1).fit(images)
    assert "600/600" in capsys.readouterr().err  # though 72 of 200 are left out in each epoch


def test_scoring_callback_that_users_write(images):
    def n_parameters(net, X, y):
        return sum(p.numel() for p in net.module_.parameters())

    callback = EpochScoring(n_parameters, name="size", on_train=True, use_caching=False)
    fitted = STDACClustering(**FAST, callbacks=[callback]).fit(images)
    assert len(fitted.history_[:, "size"]) == 3


def test_history_has_what_matters(images):
    row = STDACClustering(**FAST).fit(images).history_[-1]
    assert row["phase"] == "dac"
    assert row["epoch"] == 3
    assert row["train_batch_count"] == 4
    assert row["dur"] > 0
    assert row["batches"] == [{"train_loss": row["train_loss"], "train_batch_size": 200}]


class Sampled(Regression):
    """Looks at one sample alone."""

    def order(self, shuffled):
        return torch.full((6,), len(shuffled) - 1)

    def steps(self, network, x, index):
        self.events.append(index.tolist())
        yield from super().steps(network, x, index)


def test_an_objective_can_choose_the_samples_of_an_epoch(problem):
    X, y = problem
    objective = Sampled(y)
    train(Engine(nn.Linear(3, 1), Phase(objective, 1, batch_size=3)), X, 1)
    assert [event for event in objective.events if isinstance(event, list)] == [[63] * 3] * 2


@pytest.mark.parametrize(
    ("n_samples", "drop_last", "sizes"),
    [(10, False, [4, 4, 2]), (10, True, [4, 4]), (8, True, [4, 4]), (3, True, [3])],
)
def test_the_rest_of_an_epoch_can_be_left_out(problem, n_samples, drop_last, sizes):
    """The sizes of clusters say nothing in a batch of two."""
    X, y = problem

    class Watched(Regression):
        def steps(self, network, x, index):
            batches.append(index.tolist())
            yield from super().steps(network, x, index)

    batches = []
    phase = Phase(Watched(y), 2, batch_size=4, drop_last=drop_last)
    train(Engine(nn.Linear(3, 1), phase), X[:n_samples], 2)
    assert [len(batch) for batch in batches] == 2 * sizes
    assert all(len(set(batch)) == len(batch) for batch in batches)


class Groups(Objective):
    """Two players with rates of their own, who follow one loss together."""

    def players(self, network):
        return {
            "first": [{"params": [network.first], "lr": 0.1}, {"params": [network.other]}],
            "second": [{"params": [network.second], "lr": 0.3}],
        }

    def steps(self, network, x, index):
        yield ("first", "second"), network.first.sum() + network.second.sum() + network.other.sum()


def test_players_have_rates_of_their_own_and_can_step_together(problem):
    names = ("first", "second", "other")
    network = nn.ParameterDict({name: torch.zeros(1) for name in names})
    phase = Phase(
        Groups(),
        2,
        batch_size=64,
        optimizer=torch.optim.SGD,
        lr=1.0,
        lr_factor=lambda epoch: [1.0, 0.5][epoch],
    )
    engine = train(Engine(network, phase), problem[0], 2)
    for name, lr in (("first", 0.1), ("second", 0.3), ("other", 1.0)):
        assert network[name].item() == pytest.approx(-1.5 * lr)
    state = engine.checkpoint()
    again = Engine(network, phase).start()
    again.restore(state)
    again.phase.lr_factor = lambda epoch: 2.0
    again.fit_loop(Samples(problem[0]), epochs=1)
    assert network["second"].item() == pytest.approx(-3.5 * 0.3)  # of its first rate


def test_before_step_counts_the_batches_of_the_phase(problem):
    X, y = problem

    class Counting(Regression):
        def before_step(self, network, n_steps):
            self.events.append(n_steps)

    objective = Counting(y)
    engine = train(Engine(nn.Linear(3, 1), Phase(objective, 3, batch_size=32)), X, 2)
    state = engine.checkpoint()
    again = Engine(nn.Linear(3, 1), Phase(objective, 3, batch_size=32)).start()
    again.restore(state)
    again.fit_loop(Samples(X), epochs=1)
    assert [e for e in objective.events if isinstance(e, int)] == [0, 1, 2, 3, 4, 5]


def test_an_objective_without_a_loss_says_so(problem):
    with pytest.raises(TypeError, match="Objective defines neither `loss` nor `steps`"):
        train(Engine(nn.Linear(3, 1), Phase(Objective(), 1)), problem[0], 1)


def test_small_numbers_are_flushed_while_training_and_only_then():
    def is_flushed():
        return float(torch.tensor(1e-40) * 1) == 0

    seen = []

    class Look(Objective):
        def loss(self, network, x, index):
            seen.append(is_flushed())
            return network(x).square().mean()

    for before in (False, True):
        torch.set_flush_denormal(before)
        try:
            engine = Engine(torch.nn.Linear(2, 1), Phase(Look(), 1, batch_size=4)).start()
            engine.fit_loop(Samples(torch.ones(8, 2)), epochs=1)
            assert is_flushed() == before
        finally:
            torch.set_flush_denormal(False)
    assert seen == [True] * 4
