"""Runs through the phases, checkpoints and random states."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from test_common import CLUSTERERS, ESTIMATORS, fast, known_of, of_part
from torch.optim.lr_scheduler import LambdaLR

from skdeepclust import (
    DACClustering,
    IICClustering,
    IMSATClustering,
    MCDCClustering,
    ProFeatClustering,
    SCANClustering,
    SimCLR,
    STDACClustering,
)
from skdeepclust._training import _checkpoint, _run
from skdeepclust._training._checkpoint import described

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
)
SHORT = {
    "n_clusters": 3,
    "representation": SimCLR(max_epochs=2),
    "max_epochs": 2,
    "self_label_epochs": 1,
    "random_state": 0,
}


# ---------------------------------------------------------------------- checkpoints


class Stop(Callback):
    """Ends the process's part after so many epochs, as a kill would."""

    def __init__(self, n_epochs):
        self.n_left = n_epochs

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.n_left -= 1
        if self.n_left < 0:
            raise RuntimeError("killed")


class Encoder(torch.nn.Sequential):
    def __init__(self, input_shape, n_features=8):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, n_features), torch.nn.ReLU())


def short(Estimator, **parameters):
    longer = {
        "max_epochs": 4,
        "finetune_epochs": 2,
        "n_rounds": 2,
        "refinement_epochs": 2,
        "tol": 1e-3,
    }
    longer |= {"siamese_epochs": 2}
    return fast(Estimator, **known_of(Estimator, {**longer, **parameters}))


def small(Estimator, **parameters):
    """With little to compute: what tells them apart is not the network."""
    return short(Estimator, **parameters).set_params(**{of_part(Estimator(), "network"): Encoder})


LONG = [
    *(short(Estimator) for Estimator in ESTIMATORS),  # with the networks that they have by default
    *(
        small(Estimator, n_init=3, screening=0.5, whiten=True)
        for Estimator in CLUSTERERS
        if Estimator is not ProFeatClustering
    ),
    small(ProFeatClustering, n_models=2),
    small(MCDCClustering, base="idec", n_init=2, screening=0.6),
    small(MCDCClustering, base="vae"),
    small(IICClustering, alternation=1),
    small(STDACClustering, init="kmeans", n_init=2, screening=0.3),
    small(IMSATClustering, class_prior="estimate", n_init=2, screening=0.3),
    small(IICClustering, class_prior=[0.5, 0.2, 0.3]),
    small(DACClustering, n_init=3, screening=0.25, consensus=False),
]


@pytest.mark.parametrize("estimator", LONG, ids=lambda e: type(e).__name__)
def test_resumed_fit_ends_as_an_uninterrupted_one(estimator, images, tmp_path, monkeypatch):
    """Killed again and again, in the middle of phases and between them; bit for bit."""
    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    X = images[:100]
    whole = clone(estimator).fit(X)
    for _ in range(40):
        part = clone(estimator).set_params(checkpoint=tmp_path / "fit.pt", callbacks=[Stop(3)])
        try:
            part.fit(X)
        except RuntimeError as error:
            assert str(error) == "killed"
        else:
            break
    else:
        pytest.fail("the fit did not go on")
    assert part.history_[:, "phase"] == whole.history_[:, "phase"]
    assert part.history_[:, "train_loss"] == whole.history_[:, "train_loss"]
    state, expected = part.network_.state_dict(), whole.network_.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    np.testing.assert_array_equal(part.transform(X), whole.transform(X))
    for attribute in ("labels_", "round_labels_"):
        if hasattr(whole, attribute):
            np.testing.assert_array_equal(getattr(part, attribute), getattr(whole, attribute))
    assert getattr(part, "restarts_", None) == getattr(whole, "restarts_", None)


def test_finished_fit_is_not_trained_again(images, tmp_path):
    model = SimCLR(max_epochs=2, checkpoint=tmp_path / "fit.pt", random_state=0).fit(images)
    again = SimCLR(
        max_epochs=2, checkpoint=tmp_path / "fit.pt", random_state=0, callbacks=[Stop(0)]
    ).fit(images)
    assert again.history_ == model.history_
    np.testing.assert_array_equal(again.transform(images), model.transform(images))


def test_checkpoint_of_another_fit(images, tmp_path):
    path = tmp_path / "fit.pt"
    SimCLR(max_epochs=2, checkpoint=path, random_state=0).fit(images)
    with pytest.raises(ValueError, match="holds a fit with max_epochs=2, but now it is 3"):
        SimCLR(max_epochs=3, checkpoint=path, random_state=0).fit(images)
    with pytest.raises(ValueError, match="holds a fit with shape of X="):
        SimCLR(max_epochs=2, checkpoint=path, random_state=0).fit(images[:100])
    with pytest.raises(ValueError, match=r"holds a fit with .*=.*, but now it is"):
        SCANClustering(**SHORT, checkpoint=path).fit(images)


def test_resumed_fit_remembers_which_restart_was_chosen(images, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    parameters = {**SHORT, "max_epochs": 8, "n_init": 2, "screening": 0.3}
    whole = SCANClustering(**parameters).fit(images)
    path = tmp_path / "fit.pt"
    with pytest.raises(RuntimeError, match="killed"):
        SCANClustering(**parameters, checkpoint=path, callbacks=[Stop(9)]).fit(images)
    part = SCANClustering(**parameters, checkpoint=path).fit(images)
    assert part.restarts_ == whole.restarts_
    np.testing.assert_array_equal(part.predict_proba(images), whole.predict_proba(images))


SIZES = {"features": 5}


def test_checkpoint_of_another_network(images, tmp_path, monkeypatch):
    def sized(input_shape):  # of the same code, so that its weights have to tell
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, SIZES["features"]))

    model = SimCLR(max_epochs=1, checkpoint=tmp_path / "fit.pt", network=sized, random_state=0)
    model.fit(images)
    monkeypatch.setitem(SIZES, "features", 6)
    with pytest.raises(ValueError, match="a fit of another network"):
        model.fit(images)


def test_checkpoint_paths(images, tmp_path):
    (tmp_path / "text").write_text("not a checkpoint")
    for path, message in (
        (tmp_path, "checkpoint must be the path of a file"),
        (tmp_path / "missing" / "fit.pt", "checkpoint must be the path of a file"),
        (tmp_path / "text", "is a file that is not a checkpoint"),
    ):
        with pytest.raises(ValueError, match=message):
            SimCLR(max_epochs=1, checkpoint=path).fit(images)


def test_restarts_have_checkpoints_of_their_own(images, tmp_path):
    parameters = {**SHORT, "n_init": 2, "checkpoint": tmp_path / "fit.pt"}
    model = SCANClustering(**parameters).fit(images)
    assert (tmp_path / "fit.pt-1").exists()
    again = SCANClustering(**parameters, callbacks=[Stop(0)]).fit(images)
    np.testing.assert_array_equal(again.labels_, model.labels_)
    assert again.restarts_ == model.restarts_


class Scaled(torch.nn.Module):
    """An augmentation whose setting is in no weight and in no repr."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def stronger(x):
    return x * 1.1


def weaker(x):
    return x * 0.9


def scaling(factor):
    def scaled(x):
        return x * factor

    return scaled


def trained(images, random_state):
    return SimCLR(max_epochs=1, random_state=random_state).fit(images)


def module(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Encoder((1, 8, 8))


DIFFERENCES = {
    "representation": lambda X: (trained(X, 0), trained(X, 1)),
    "frozen representation": lambda X: (
        FrozenEstimator(trained(X, 0)),
        FrozenEstimator(trained(X, 1)),
    ),
    "representation__network": lambda X: (Encoder, partial(Encoder, n_features=9)),
    "weights of representation__network": lambda X: (module(0), module(1)),
    "representation__augmentation": lambda X: (stronger, weaker),
    "lambda representation__augmentation": lambda X: (lambda x: x * 1.1, lambda x: x * 0.9),
    "setting of representation__augmentation": lambda X: (Scaled(1.1), Scaled(0.9)),
    "closure strong_augmentation": lambda X: (scaling(1.1), scaling(0.9)),
    "default strong_augmentation": lambda X: (lambda x, f=1.1: x * f, lambda x, f=0.9: x * f),
    "method strong_augmentation": lambda X: (Scaled(1.1).forward, Scaled(0.9).forward),
    "strong_augmentation": lambda X: (None, stronger),
    "optimizer": lambda X: (torch.optim.Adam, torch.optim.SGD),
    "setting of optimizer": lambda X: (
        partial(torch.optim.Adam, weight_decay=1e-4),
        partial(torch.optim.Adam, weight_decay=1e-3),
    ),
    "n_neighbors": lambda X: (np.int64(5), 6),
}


def test_checkpoint_with_numpys_numbers_in_the_optimiser(images, tmp_path, monkeypatch):
    """Schedules set them, and torch's safe loader refuses them."""
    monkeypatch.setattr("skdeepclust._training._checkpoint.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    schedule = LRScheduler(policy=LambdaLR, lr_lambda=lambda epoch: np.cos(0.1 * epoch))
    optimizer = partial(torch.optim.SGD, momentum=np.float64(0.9))
    model = SimCLR(max_epochs=3, random_state=0, optimizer=optimizer, checkpoint="~/fit.pt")
    with pytest.raises(RuntimeError, match="killed"):
        model.set_params(callbacks=[schedule, Stop(2)]).fit(images)
    assert (tmp_path / "fit.pt").exists()
    model.set_params(callbacks=[schedule]).fit(images)
    whole = SimCLR(max_epochs=3, random_state=0, optimizer=optimizer, callbacks=[schedule])
    losses = whole.fit(images).history_[:, "train_loss"]
    assert model.history_[:, "train_loss"] == losses


@pytest.mark.parametrize("Estimator", [SimCLR, DACClustering])  # one has its own schedule
@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("CosineAnnealingLR", {"T_max": 5}),
        ("StepLR", {"step_size": 2}),
        ("ExponentialLR", {"gamma": 0.5}),
        # skorch's default, which knows arrays
        ("WarmRestartLR", {"min_lr": 1e-5, "max_lr": 1e-3, "base_period": 2}),
    ],
)
def test_resumed_fit_goes_on_with_a_schedule(
    Estimator, policy, settings, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    schedule = LRScheduler(policy, **settings, event_name="lr")
    own = {"max_epochs": 5} | ({"n_init": 1} if Estimator is DACClustering else {})
    model = small(Estimator, **own, checkpoint=tmp_path / "fit.pt")
    for n_epochs in (2, 2):
        with pytest.raises(RuntimeError, match="killed"):
            model.set_params(callbacks=[schedule, Stop(n_epochs)]).fit(images)
    model.set_params(callbacks=[schedule]).fit(images)
    whole = small(Estimator, **own, callbacks=[schedule]).fit(images)
    assert len({round(lr, 9) for lr in whole.history_[:, "lr"]}) > 2
    for name in ("lr", "train_loss"):
        assert model.history_[:, name] == whole.history_[:, name]


class Private(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self._factor = factor


@dataclass
class Table:
    """Its repr shortens long arrays."""

    gains: np.ndarray


class Hidden:
    def __init__(self, factor):
        self.factor = factor

    def __repr__(self):
        return "Hidden()"


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor


def of_class(function):
    return type("Own", (torch.nn.Module,), {"forward": function})()


def gains(middle):
    return np.concatenate([np.zeros(2000), [middle], np.zeros(2000)])


@pytest.mark.parametrize(
    "make",
    [
        Private,
        Hidden,
        Slotted,
        lambda value: Table(gains(value)),
        lambda value: torch.nn.ModuleList([Private(value)]),
        lambda value: of_class(stronger if value == 1 else weaker),
        lambda value: type(of_class(stronger if value == 1 else weaker)),
        lambda value: LRScheduler("StepLR", step_size=1, gamma=value),
        lambda value: re.compile("a" * value),
    ],
)
def test_what_tells_values_of_one_look_apart(make):
    assert described(make(1)) == described(make(1))
    assert described(make(1)) != described(make(2))


def test_checkpoint_with_another_schedule_is_not_taken(images, tmp_path):
    def fit(gamma):
        schedule = LRScheduler("StepLR", step_size=1, gamma=gamma)
        return small(SimCLR, callbacks=[schedule], checkpoint=tmp_path / "fit.pt").fit(images)

    fit(0.1)
    fit(0.1)
    with pytest.raises(ValueError, match="holds a fit with callbacks that change the training="):
        fit(1.0)


def test_checkpoint_of_another_estimator_says_so(images, tmp_path):
    small(SimCLR, checkpoint=tmp_path / "fit.pt").fit(images)
    with pytest.raises(ValueError, match="with class=SimCLR, but now it is STDACClustering"):
        small(STDACClustering, checkpoint=tmp_path / "fit.pt").fit(images)


class Logging(Callback):
    """Holds what can't be copied."""

    def __init__(self):
        self.lock = Lock()


class Shared(Logging):
    n_epochs = 0

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


def test_callbacks_that_can_not_be_copied(images):
    with pytest.raises(ValueError, match=r"callbacks: .*Logging.* can't be copied .*__deepcopy__"):
        small(SimCLR, callbacks=[Logging()]).fit(images)
    shared = Shared()
    model = small(SCANClustering, n_init=2, callbacks=[("shared", shared)]).fit(images)
    assert shared.n_epochs == sum(restart["n_epochs"] for restart in model.restarts_)


def test_callbacks_that_would_score_a_validation_set(images):
    with pytest.raises(ValueError, match=r"callbacks: .*EpochScoring.* scores predictions"):
        small(SimCLR, callbacks=[EpochScoring("adjusted_rand_score")]).fit(images)


@pytest.mark.parametrize("what", DIFFERENCES)
def test_checkpoint_of_another_fit_is_not_taken(what, images, tmp_path):
    name = what.split()[-1]
    one, other = DIFFERENCES[what](images)
    model = SCANClustering(**SHORT, checkpoint=tmp_path / "fit.pt")
    first = model.set_params(**{name: one}).fit(images).labels_
    again = model.set_params(callbacks=[Stop(0)]).fit(images)  # the same goes on, from its end
    np.testing.assert_array_equal(again.labels_, first)
    name_of_own = name.partition("__")[0]
    message = f"holds a fit with {name_of_own}=.*, but now it is .*another f"
    with pytest.raises(ValueError, match=message):
        model.set_params(callbacks=None, **{name: other}).fit(images)


def test_checkpoint_of_other_samples_is_not_taken(images, tmp_path):
    model = SimCLR(max_epochs=1, checkpoint=tmp_path / "fit.pt", random_state=0).fit(images)
    for other in (images[::-1], np.roll(images, 1, axis=2)):  # of the same mean and deviation
        with pytest.raises(
            ValueError, match="a fit to other samples, or to these in another order"
        ):
            model.fit(other)
    model.set_params(callbacks=[Stop(0)]).fit(images.astype("float64"))  # the same numbers


def test_fingerprint_is_the_same_in_another_process():
    code = """
from functools import partial
import torch
from skorch.callbacks import EpochTimer
from skdeepclust import SimCLR
from skdeepclust._training._checkpoint import described
from skdeepclust.augment import RandomAffine

def either(x, mode="flip"):
    return x if mode in {"flip", "crop", "none"} else -x

class Flips(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.kinds, self.steps = {"flip", "crop", "none"}, [self.flip]  # of which it is a part
    def flip(self, x):
        return x.flip(-1)

class Shown:
    def __init__(self, function):
        self.function = function
    def __repr__(self):
        return f"Shown({self.function})"

def outer():
    def again(n):
        return again(n - 1) if n else 0
    return again

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
simclr = SimCLR(callbacks=[EpochTimer()])
values = [network, partial(torch.optim.SGD, lr=0.1), lambda x: x + 1, RandomAffine(), object(),
          torch.relu, simclr, (1, None, "auto"), EpochTimer(), either, Flips(), Shown(either),
          outer(), {"b", "a"}]
print([described(value) for value in values])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},  # in which order sets are
        ).stdout
        for seed in "12"
    }
    assert len(outputs) == 1
    assert b" at 0x" not in outputs.pop()


@pytest.mark.parametrize(
    "content",
    [{"weight": torch.ones(2)}, torch.ones(3), [1, 2], {"fingerprint": {}}],
    ids=["state dict", "tensor", "list", "half"],
)
def test_foreign_files_are_no_checkpoints(content, images, tmp_path):
    torch.save(content, tmp_path / "fit.pt")
    with pytest.raises(ValueError, match=r"checkpoint='.*fit.pt' is a file that is not a check"):
        SimCLR(max_epochs=1, checkpoint=tmp_path / "fit.pt").fit(images)
    assert (tmp_path / "fit.pt").exists()


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"hello world", b"tfoo", b"", b"PK\x03\x04"])
def test_files_of_any_kind_are_no_checkpoints(content, images, tmp_path):
    (tmp_path / "fit.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"is a file that is not a checkpoint \(\w+ on reading"):
        SimCLR(max_epochs=1, checkpoint=tmp_path / "fit.pt").fit(images)


def test_interruptions_of_a_resumed_fit(images, tmp_path, monkeypatch):
    """While the file is restored, or while a finished fit is judged again."""
    model = short(STDACClustering, n_init=3, screening=0.5, checkpoint=tmp_path / "fit.pt")
    labels = model.fit(images).labels_
    best = next(i for i, run in enumerate(model.restarts_) if run["selected"])
    restore = _run.Run._restore

    def interrupted(self, state):
        raise KeyboardInterrupt

    monkeypatch.setattr(_run.Run, "_restore", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clone(model).fit(images)
    monkeypatch.setattr(_run.Run, "_restore", restore)
    finalize, calls = STDACClustering._finalize, []

    def last(self, *args):
        calls.append(1)
        if len(calls) == (2 if best == 2 else 1):
            raise KeyboardInterrupt
        return finalize(self, *args)

    monkeypatch.setattr(STDACClustering, "_finalize", last)
    again = clone(model)
    with pytest.warns(ConvergenceWarning, match="was interrupted"):
        again.fit(images)
    np.testing.assert_array_equal(again.predict(images), again.labels_)
    monkeypatch.setattr(STDACClustering, "_finalize", finalize)
    np.testing.assert_array_equal(clone(model).fit(images).labels_, labels)


def test_checkpoint_that_cannot_be_written_is_found_before_training(images, tmp_path):
    (tmp_path / "fit.pt.partial").mkdir()  # in the way of the file
    model = SimCLR(max_epochs=1, checkpoint=tmp_path / "fit.pt", callbacks=[Stop(0)])
    with pytest.raises(ValueError, match="checkpoint must be a file that can be written; got"):
        model.fit(images)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("writer")])
def test_full_disk_costs_the_checkpoint_alone(error, images, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    expected = SimCLR(max_epochs=3, random_state=0).fit(images)

    def full(*args):
        raise error

    monkeypatch.setattr(torch, "save", full)
    model = SimCLR(max_epochs=3, checkpoint=tmp_path / "fit.pt", random_state=0)
    with pytest.warns(UserWarning, match=r"checkpoint='.*fit.pt' could not be written") as caught:
        model.fit(images)
    assert len(caught) == 1  # not after each epoch
    np.testing.assert_array_equal(model.transform(images), expected.transform(images))
