"""What users do around a fit: no silent wrong answer and no lost work, for every estimator."""

import contextlib
import copy
import gc
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import joblib
import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, PassthroughScoring
from skorch.callbacks import Checkpoint as SkorchCheckpoint
from test_common import (
    CLUSTERERS,
    every_augmented,
    every_clusterer,
    every_estimator,
    every_kind,
    fast,
    fast_fit,
    of_part,
)

from skdeepclust import (
    AutoencoderClustering,
    ConsensusClustering,
    DECClustering,
    DeepClusterClustering,
    DeepClustering,
    IDECClustering,
    IMSATClustering,
    MCDCClustering,
    N2DClustering,
    ProFeatClustering,
    SCANClustering,
    SimCLR,
    STDACClustering,
    TEMIClustering,
    VAEClustering,
    _torch_state,
    inference,
    k_means,
    select_n_clusters,
)
from skdeepclust._torch_state import LocalRandomState
from skdeepclust._training import _selection
from skdeepclust._training._parallel import NOT_SENT
from skdeepclust.base import BaseDeepEstimator
from skdeepclust.metrics import clustering_accuracy_scorer
from skdeepclust.neighbors import nearest_neighbors

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
)

# ---------------------------------------------------------------------- torch's global settings


@contextlib.contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")  # a device that computes nothing
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def grad_disabled():
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)


# each alone below, by k-means; two at once are half as many fits
PAIRS = [
    ("default dtype", "no_grad"),
    ("default device", "autocast"),
    ("set_grad_enabled(False)", "inference_mode"),
]
SETTINGS = {
    "default dtype": default_dtype,
    "default device": default_device,
    "set_grad_enabled(False)": grad_disabled,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@contextlib.contextmanager
def both(first, second):
    with first(), second():
        yield


@every_kind
def test_what_the_caller_has_set_in_torch_changes_nothing(Estimator, images):
    small = images[:60]
    plain = fast(Estimator).fit(small)
    for first, second in PAIRS:
        name, setting = f"{first}, {second}", partial(both, SETTINGS[first], SETTINGS[second])
        with setting():
            before = torch.get_default_dtype(), torch.is_grad_enabled()
            fitted = fast(Estimator).fit(small)
            embedding = fitted.transform(small)
            score = fitted.score(small) if Estimator in CLUSTERERS else None
            assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before
        np.testing.assert_array_equal(embedding, plain.transform(small), name)
        if score is not None:
            assert score == plain.score(small), name
            np.testing.assert_array_equal(fitted.labels_, plain.labels_, name)
        if hasattr(fitted, "inverse_transform"):
            with setting():
                decoded = fitted.inverse_transform(embedding)
            np.testing.assert_array_equal(decoded, plain.inverse_transform(embedding), name)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_k_means_under_what_the_caller_has_set(setting):
    X = torch.randn(300, 5, generator=torch.Generator().manual_seed(0), device="cpu")

    def run():
        return k_means(X, 4, n_init=3, random_state=0)

    expected = run()
    with setting():
        result = run()
    assert torch.equal(result.centers, expected.centers)
    assert result.inertia == expected.inertia


@pytest.mark.parametrize("Estimator", [STDACClustering, MCDCClustering, SCANClustering])
def test_fits_in_threads_give_what_they_give_alone(Estimator, images):
    images = images[:60]
    expected = [fast(Estimator, random_state=s).fit(images).predict_proba(images) for s in range(3)]
    results = [None] * 3

    def work(state):
        model = fast(Estimator, random_state=state).fit(images)
        results[state] = model.predict_proba(images)

    threads = [threading.Thread(target=work, args=(state,)) for state in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, alone in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, alone)


def test_grid_search_in_threads(digits):
    images, y = digits[0][:120], digits[1][:120]
    grid = {"lr": [1e-4, 1e-3]}
    scores = []
    for backend, n_jobs in (("sequential", 1), ("threading", 4)):
        with parallel_config(backend, n_jobs=n_jobs):
            search = GridSearchCV(
                fast(STDACClustering), grid, cv=2, scoring=clustering_accuracy_scorer
            ).fit(images, y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)


# ---------------------------------------------------------------------- parameters


def test_numpy_numbers_are_numbers_for_k_means():
    X = torch.eye(4)
    result = k_means(X, np.int64(4), n_init=np.int32(2), max_iter=np.int64(9), tol=np.float64(0))
    assert result.inertia == 0


@every_kind
def test_numpy_numbers_are_numbers(Estimator, images):
    model = fast(Estimator)
    numbers = {
        name: np.asarray(value)[()]
        for name, value in model.get_params(deep=False).items()
        if isinstance(value, bool | int | float)
    }
    if hasattr(Estimator, "hidden_sizes"):
        numbers["hidden_sizes"] = np.array([32, 16])
    assert len(numbers) > 3
    expected = fast_fit(Estimator).transform(images)
    with_numpy = fast(Estimator, **numbers).fit(images)
    np.testing.assert_array_equal(with_numpy.transform(images), expected)
    assert all(getattr(with_numpy, name) is value for name, value in numbers.items())


def test_numpy_numbers_go_into_a_checkpoint(images, tmp_path):
    parameters = {"max_epochs": np.int64(2), "lr": np.float64(1e-3), "random_state": np.int64(0)}
    model = SimCLR(**parameters, checkpoint=tmp_path / "fit.pt").fit(images)
    again = SimCLR(max_epochs=2, lr=1e-3, checkpoint=tmp_path / "fit.pt", random_state=0)
    assert again.fit(images).history_ == model.history_


@pytest.mark.parametrize(
    "callback", [EarlyStopping(), EarlyStopping, ("stop", EarlyStopping()), SkorchCheckpoint()]
)
def test_callbacks_that_monitor_a_validation_set(callback, images):
    with pytest.raises(ValueError, match=r"callbacks: .* monitor='train_loss' .*'valid_loss"):
        fast(STDACClustering, callbacks=[callback]).fit(images)


class Pair(torch.nn.Module):
    """A network that returns two things."""

    def __init__(self, input_shape, input_shape_of_images=None):
        super().__init__()
        self.flat = torch.nn.Flatten()

    def forward(self, x):
        return self.flat(x), x


@every_estimator
def test_networks_that_return_tuples(Estimator, images):
    with pytest.raises(ValueError, match=r"network=.*must return one tensor .* gave \(tensor"):
        fast(Estimator, network=Pair).fit(images)


def test_decoders_that_return_tuples(images):
    with pytest.raises(ValueError, match=r"decoder=.*must return a tensor, but gave \(tensor"):
        fast(AutoencoderClustering, decoder=Pair).fit(images)


@every_augmented
@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ("strong", "augmentation' parameter of .* Got 'strong'"),
        (lambda x: x[..., 1:], r"augmentation must return a tensor of the shape.*\(2, 1, 8, 7\)"),
        (lambda x: (x, x), "augmentation must return a tensor of the shape that it gets.*tuple"),
        (lambda x: x @ torch.ones(7, 7), r"augmentation=.* does not take samples of shape"),
    ],
)
def test_augmentations_that_do_not_suit(Estimator, augmentation, message, images):
    names = ["augmentation"]
    if "strong_augmentation" in fast(Estimator).get_params():
        names.append("strong_augmentation")
    for name in names:
        with pytest.raises(ValueError, match=message):
            fast(Estimator, **{name: augmentation}).fit(images)


def test_what_is_no_autoencoder(images):
    flat = images.reshape(len(images), -1)
    with pytest.raises(ValueError, match=r"of this package with an auto-encoder.*got PCA\(\)"):
        DECClustering(3, autoencoder=PCA().fit(flat)).fit(images)


# ---------------------------------------------------------------------- augmentations, networks


@every_kind
def test_what_works_in_place_changes_no_sample(Estimator, images):
    """Neither the targets of a reconstruction nor the samples on the device."""

    def halve(x):
        return x * 0.5

    def halve_in_place(x):
        return x.mul_(0.5)

    class Encoder(torch.nn.Sequential):
        def __init__(self, input_shape):
            super().__init__(
                torch.nn.ReLU(self.inplace), torch.nn.Flatten(), torch.nn.Linear(64, 16)
            )

    class InPlace(Encoder):
        inplace = True

    class Copying(Encoder):
        inplace = False

    for copying, in_place in (
        ({"augmentation": halve}, {"augmentation": halve_in_place}),
        ({}, {"network": InPlace}),
    ):
        expected = fast(Estimator, **{"network": Copying, **copying}).fit(images)
        same = fast(Estimator, **{"network": Copying, **in_place}).fit(images)
        assert same.history_[:, "train_loss"] == expected.history_[:, "train_loss"]
        np.testing.assert_array_equal(same.transform(images), expected.transform(images))


# ---------------------------------------------------------------------- failures


@every_clusterer
def test_a_fit_that_fails_before_training_leaves_the_one_before(Estimator, images):
    model = copy.deepcopy(fast_fit(Estimator))
    before, labels = dict(vars(model)), model.predict(images)
    for bad in (images[:2] * 100, np.zeros((20, 9, 9)), np.full((20, 8, 8), np.nan)):
        with pytest.raises(ValueError, match=r"n_samples=\d+ should be|NaN"):
            model.set_params(n_clusters=50).fit(bad)
        network = of_part(model, "network")
        model.set_params(n_clusters=3, **{network: torch.nn.Linear(7, 3)})
        with pytest.raises(ValueError, match="does not take samples of shape"):
            model.fit(images)
        model.set_params(**{network: None})
        assert vars(model).keys() == before.keys()
        np.testing.assert_array_equal(model.predict(images), labels)


@every_estimator
def test_a_fit_that_fails_while_it_trains_leaves_none(Estimator, images):
    class Break(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("broken")

    model = copy.deepcopy(fast_fit(Estimator))
    unfitted = set(vars(fast(Estimator)))
    model.set_params(callbacks=[Break()])
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(np.concatenate([images, images], 2)[:60])
    assert set(vars(model)) == unfitted
    with pytest.raises(NotFittedError):
        model.transform(images)


class Interrupting:
    """A function that is interrupted, as by Ctrl-C, in some of its calls."""

    def __init__(self, function, calls):
        self.function, self.calls, self.count = function, calls, 0

    def __call__(self, *args, **kwargs):
        self.count += 1
        if self.count in self.calls:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


@every_kind
@pytest.mark.parametrize("n_init", [1, 2])
def test_interruption_while_a_restart_is_judged(Estimator, n_init, images, monkeypatch):
    """The finished restart is there, and the one at hand too."""
    images = images[:100]
    parameters = {"n_init": n_init}  # of clusterers alone: others have no restarts
    whole = fast(Estimator, **parameters)
    counting = Interrupting(Estimator._finalize, [])
    monkeypatch.setattr(Estimator, "_finalize", lambda *args: counting(*args))
    whole.fit(images)
    last = Interrupting(counting.function, [counting.count])  # of the last restart
    monkeypatch.setattr(Estimator, "_finalize", lambda *args: last(*args))
    model = fast(Estimator, **parameters)
    with pytest.warns(ConvergenceWarning, match="was interrupted after"):
        model.fit(images)
    assert model.interrupted_ and not whole.interrupted_
    np.testing.assert_array_equal(model.transform(images), whole.transform(images))
    if Estimator in CLUSTERERS:
        assert model.restarts_ == whole.restarts_


@pytest.mark.parametrize(
    "name", ["default_generator", "set_rng_state", "set_num_threads", "set_default_dtype"]
)
def test_ctrl_c_while_torch_is_set_up_leaves_it_as_it_was(name, images, monkeypatch):
    def state():
        return torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().tolist()

    function, calls = getattr(torch, name), []
    if name == "default_generator":
        function = function.manual_seed

    def interrupted(*args):
        function(*args)
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    try:
        before = state()
        seeded = SimpleNamespace(manual_seed=interrupted)
        is_seeding = name == "default_generator"
        monkeypatch.setattr(torch, name, seeded if is_seeding else interrupted)
        with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if name == "set_rng_state":  # that of the run, when it is put in force again
                state_of_run = LocalRandomState(0, torch.device("cpu"))
                state_of_run.states, state_of_run.seed = [torch.get_rng_state() * 0 + 1], None
                with state_of_run():
                    pytest.fail("it was interrupted before")
            elif name == "set_num_threads":
                k_means(torch.ones(9, 2, dtype=torch.float32), 2)
            else:
                fast(TEMIClustering).fit(images)
        assert calls
        assert state() == before
    finally:
        monkeypatch.undo()
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(1)


def test_seeds_the_device_of_the_fit_alone(images, monkeypatch):
    """torch.manual_seed seeds all there are, of which a fit gives one back as it was."""
    for backend in (torch.cuda, torch.mps, torch.xpu):
        for name in {"manual_seed", "manual_seed_all"} & set(dir(backend)):
            monkeypatch.setattr(backend, name, lambda seed: pytest.fail("another device"))
    first, again = (fast(TEMIClustering).fit(images).labels_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


def handler_that_raises(number, frame):
    raise KeyboardInterrupt


@pytest.mark.parametrize("handler", [signal.default_int_handler, handler_that_raises])
def test_ctrl_c_while_a_callback_runs_is_no_early_stopping(images, handler):
    class Signal(Callback):
        def on_epoch_end(self, net, **kwargs):
            signal.raise_signal(signal.SIGINT)

    model = fast(STDACClustering, max_epochs=4, callbacks=[Signal()])
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.warns(ConvergenceWarning, match="was interrupted after"):
            model.fit(images)
    finally:
        signal.signal(signal.SIGINT, before)
    np.testing.assert_array_equal(model.predict(images), model.labels_)


def test_second_interruption_keeps_the_restarts_before(images, monkeypatch):
    model = fast(STDACClustering, n_init=3, max_epochs=4, screening=0.5)
    interrupting = Interrupting(STDACClustering._finalize, [2, 3])
    monkeypatch.setattr(STDACClustering, "_finalize", lambda *args: interrupting(*args))
    with pytest.warns(ConvergenceWarning, match="was interrupted after 2 epochs"):
        model.fit(images)
    assert [run["score"] is not None for run in model.restarts_] == [True, False, False]
    np.testing.assert_array_equal(model.predict(images), model.labels_)


class CtrlC(Callback):
    """Ctrl-C in the first epoch of a fit."""

    fits: ClassVar[list[int]] = []

    def on_epoch_end(self, net, **kwargs):
        self.fits.append(1)
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore:.*was interrupted:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "fit",
    [
        lambda model, X: ConsensusClustering([("a", model), ("b", model)]).fit(X),
        lambda model, X: select_n_clusters(make_pipeline(StandardScaler(), model), X, [2, 3]),
        lambda model, X: model.set_params(n_clusters="auto").fit(X),
    ],
)
def test_ctrl_c_ends_what_fits_several(images, fit):
    CtrlC.fits.clear()
    model = fast(DeepClustering, n_clusters=2, n_init=1, callbacks=[CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        fit(model, images.reshape(200, -1))
    assert len(CtrlC.fits) == 1


def test_ctrl_c_while_clusters_are_counted_leaves_no_fit(images):
    model = fast(DeepClustering, n_clusters=3, n_init=1).fit(images)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(n_clusters="auto", callbacks=[CtrlC()]).fit(images)
    assert model.n_clusters == "auto"
    with pytest.raises(NotFittedError):
        model.predict(images)


@pytest.mark.parametrize("Estimator", [SimCLR, STDACClustering])
def test_warnings_are_of_the_line_that_fits(Estimator, images):
    with pytest.warns(ConvergenceWarning, match="was interrupted after") as caught:
        fast(Estimator, callbacks=[CtrlC()]).fit(images)
    assert {w.filename for w in caught if "was interrupted" in str(w.message)} == {__file__}


def test_ctrl_c_while_outliers_are_sought_is_an_interruption(images, monkeypatch):
    interrupting = Interrupting(TEMIClustering._measure_outliers, [1])
    monkeypatch.setattr(TEMIClustering, "_measure_outliers", lambda *args: interrupting(*args))
    model = fast(TEMIClustering)
    with pytest.warns(ConvergenceWarning, match="was interrupted after"):
        model.fit(images.reshape(200, -1))
    assert model.interrupted_ and np.isfinite(model.outlier_scores_).all()


class Shift(torch.nn.Module):
    """An augmentation that counts its batches, with a state of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        assert self.training
        self.count += 1
        return x + 0.1


@pytest.mark.parametrize(
    ("Estimator", "name"),
    [(E, "augmentation") for E in (DeepClustering, STDACClustering, AutoencoderClustering, SimCLR)]
    + [(SCANClustering, "strong_augmentation"), (AutoencoderClustering, "corruption")],
)
def test_modules_that_augment_are_copied(Estimator, name, images, tmp_path):
    given = Shift().eval()
    model = fast(Estimator, **{name: given}, checkpoint=tmp_path / "state.pt").fit(images)
    assert given.count == 0 and not given.training
    given.train()  # of no effect
    np.testing.assert_array_equal(model.fit(images).transform(images), model.transform(images))


@every_clusterer
def test_what_a_fit_leaves_is_known_to_the_next(Estimator, images):
    """Which sends none of it to its processes, but for what it has found again by then."""
    before = {
        "feature_mean_", "feature_scale_", "input_mean_", "input_scale_", "input_shape_",
        "n_features_in_", "class_prior_", "_input_range", "_sample_dtype", "_sample_shape",
        "_scaled_by",
    }  # fmt: skip
    left = set(vars(fast_fit(Estimator))) - set(vars(fast(Estimator)))
    assert left <= before | set(NOT_SENT)


def test_a_module_that_can_not_be_copied(images):
    module = Shift()
    module.lock = threading.Lock()
    with pytest.raises(ValueError, match="is a module that can't be copied: cannot pickle"):
        fast(DeepClustering, augmentation=module).fit(images)


def test_what_was_interrupted_long_ago_is_a_member(images):
    X = images.reshape(200, -1)
    model = fast(AutoencoderClustering, n_clusters=2, callbacks=[CtrlC()])
    with pytest.warns(ConvergenceWarning, match="was interrupted after"):
        model.fit(X)
    members = [("frozen", FrozenEstimator(model)), ("k-means", KMeans(2, random_state=0))]
    assert ConsensusClustering(members, random_state=0).fit(X).predict(X).shape == (200,)


def test_interruption_of_another_restart_than_the_best_warns(images):
    class Interrupt(Callback):
        n_engines = 0

        def on_train_begin(self, net, **kwargs):
            Interrupt.n_engines += 1

        def on_epoch_end(self, net, **kwargs):
            if Interrupt.n_engines == 2:
                net.criterion_.steps = interrupted

    def interrupted(*args):
        raise KeyboardInterrupt

    model = fast(STDACClustering, n_init=2, max_epochs=8, screening=0.5, callbacks=[Interrupt()])
    with pytest.warns(ConvergenceWarning, match="was interrupted after"):
        model.fit(images)


@pytest.mark.parametrize("whiten", [False, True])
def test_latents_that_have_collapsed(whiten):
    X = np.ones((30, 8, 8))
    model = fast(AutoencoderClustering, whiten=whiten)
    with pytest.warns(ConvergenceWarning, match="the latents of all samples are the same"):
        model.fit(X)
    assert (model.predict(X) == model.labels_).all()


# ---------------------------------------------------------------------- batch normalisation


def test_parts_that_the_last_pass_does_not_reach_keep_their_statistics():
    from skdeepclust.inference import reestimate_batch_norm

    network = torch.nn.ModuleDict(
        {"reached": torch.nn.BatchNorm1d(3), "other": torch.nn.BatchNorm1d(3)}
    )
    X = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 2 + 5
    network["other"](X * 10)
    before = network["other"].running_var.clone(), network["other"].momentum
    reestimate_batch_norm(network, X, network["reached"])
    torch.testing.assert_close(network["reached"].running_mean, X.mean(0))
    assert torch.equal(network["other"].running_var, before[0])
    assert network["other"].momentum == before[1]
    assert network["other"].num_batches_tracked == 1


def test_batch_normalisation_in_a_decoder(digits):
    X = digits[0][:600]

    class Decoder(torch.nn.Sequential):
        def __init__(self, n_features, input_shape):
            super().__init__(
                torch.nn.Linear(n_features, 128),
                torch.nn.BatchNorm1d(128),
                torch.nn.ReLU(),
                torch.nn.Linear(128, 64),
                torch.nn.Unflatten(1, input_shape),
            )

    parameters = {"n_init": 1, "augmentation": None, "max_epochs": 30, "random_state": 0}
    model = AutoencoderClustering(10, decoder=Decoder, **parameters).fit(X)
    decoded = model.inverse_transform(model.transform(X))
    error = np.square(decoded - X).mean() / X.var()
    assert error < 1.2 * model.history_[-1, "train_loss"]  # what it was while training


# ---------------------------------------------------------------------- the critic


def test_critic_goes_on_from_phase_to_phase(images):
    """At the border of the phases its estimate stays what it was."""
    seen = {}

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            seen[net.phase.name, "begin"] = [p.clone() for p in net.module_.critic.parameters()]

        def on_train_end(self, net, **kwargs):
            seen[net.phase.name, "end"] = [p.clone() for p in net.module_.critic.parameters()]

    parameters = {"max_epochs": 2, "finetune_epochs": 1, "tol": 0, "kmeans_n_init": 2}
    model = MCDCClustering(3, base="idec", **parameters, random_state=0, callbacks=[Watch()])
    model.fit(images)
    before, after = seen["auto-encoder", "end"], seen["clustering", "begin"]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not all(
        torch.equal(a, b) for a, b in zip(after, seen["clustering", "end"], strict=True)
    )  # and goes on learning

    mcdc = MCDCClustering(3, **parameters, random_state=0).fit(images)
    model.set_params(autoencoder=mcdc).fit(images)
    given = mcdc.network_.critic.parameters()
    assert all(torch.equal(a, b) for a, b in zip(given, seen["clustering", "begin"], strict=True))


def test_a_critic_at_hand_is_not_trained_by_other_methods(images):
    mcdc = fast(MCDCClustering).fit(images)
    dec = fast(DECClustering, autoencoder=mcdc, lr=0.01).fit(images)
    pairs = zip(mcdc.network_.critic.parameters(), dec.network_.critic.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


# ---------------------------------------------------------------------- images of any size


@every_kind
@pytest.mark.parametrize(
    "shape",
    [
        (8, 39),
        pytest.param((14, 60), marks=pytest.mark.slow),
        pytest.param((120, 8), marks=pytest.mark.slow),
        (3, 9, 45),
    ],
)
def test_long_narrow_images(Estimator, shape, monkeypatch):
    monkeypatch.setattr(inference, "CPU_SLICE", 12)  # not filled up to 128 samples in each pass
    X = np.random.RandomState(0).rand(12, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = fast(Estimator, batch_size=6).fit(X)
    transformed = fitted.transform(X)
    assert np.isfinite(transformed).all()
    assert len(np.unique(transformed, axis=0)) == 12


# ---------------------------------------------------------------------- parts


def test_a_search_is_no_part(images):
    search = GridSearchCV(fast(SimCLR), {"lr": [1e-3]}, cv=2, scoring=lambda *args: 0.0).fit(images)
    with pytest.raises(ValueError, match=r"representation must be a SimCLR.*got GridSearchCV"):
        fast(SCANClustering, representation=search).fit(images)


def test_parts_that_cluster_are_refused_unless_fitted(images):
    inner = fast(IDECClustering, n_clusters=5)
    with pytest.raises(ValueError, match="autoencoder must be one that is trained without cluster"):
        fast(DECClustering, autoencoder=inner).fit(images)
    with pytest.raises(ValueError, match="autoencoder must be one that is trained without cluster"):
        fast(DECClustering, autoencoder=MCDCClustering(base="idec")).fit(images)
    fitted = fast(DECClustering, autoencoder=inner.fit(images)).fit(images)
    assert fitted.predict_proba(images).shape == (200, 3)


@pytest.mark.parametrize("wrong", [("name",), ("name", Callback(), 1), "progress", int, len])
def test_callbacks_that_are_none(wrong, images):
    with pytest.raises(ValueError, match=r"callbacks must be a list of skorch callbacks .* got "):
        fast(STDACClustering, callbacks=[wrong]).fit(images)


@pytest.mark.parametrize("setting", [{"checkpoint": "fit.pt"}, {"callbacks": [Callback()]}])
def test_parts_have_no_checkpoint_and_callbacks_of_their_own(setting, images):
    with pytest.raises(ValueError, match="representation must have neither checkpoint nor call"):
        fast(SCANClustering, representation=SimCLR(**setting)).fit(images)


def test_fitted_parts_may_have_numpy_numbers(images):
    simclr = SimCLR(max_epochs=np.int64(1), batch_size=np.int64(64), random_state=0).fit(images)
    fast(ProFeatClustering, representation=simclr).fit(images)
    assert isinstance(simclr.batch_size, np.int64)


@pytest.mark.filterwarnings("ignore:.*was trained without a critic")
def test_the_loss_of_an_autoencoder_goes_on_however_often_it_is_taken_over(images):
    vae = fast(VAEClustering, likelihood="bernoulli", kl_weight=0.3).fit(images)
    dec = fast(DECClustering, autoencoder=vae).fit(images)
    idec = fast(IDECClustering, autoencoder=dec).fit(images)
    mcdc = fast(MCDCClustering, base="idec", kl_weight=0.7, autoencoder=vae).fit(images)
    again = fast(AutoencoderClustering, autoencoder=vae).fit(images)
    for model in (dec, idec, mcdc, again):
        assert model.network_.kl_weight == 0.3
        assert model.network_.value_range == vae.network_.value_range
        assert model.inverse_transform(model.transform(images)).max() <= images.max() + 1e-3


# ---------------------------------------------------------------------- restarts


class Diverge(Callback):
    """Spoils the run that is in its second stage, once."""

    spoiled = False

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3 and not Diverge.spoiled:
            Diverge.spoiled = True
            for p in net.module_.parameters():
                p.data.fill_(torch.nan)


def test_the_second_best_restart_goes_on_where_the_best_fails(images):
    Diverge.spoiled = False
    model = fast(IDECClustering, n_init=3, max_epochs=5, screening=0.5, callbacks=[Diverge()])
    model.set_params(autoencoder__max_epochs=1)
    with pytest.warns(ConvergenceWarning, match="One of 3 restarts failed and is left out"):
        model.fit(images)
    (selected,) = (run for run in model.restarts_ if run["selected"])
    assert selected["n_epochs"] == 6
    assert sorted(run["score"] is None for run in model.restarts_) == [False, False, True]
    np.testing.assert_array_equal(model.predict(images), model.labels_)


def test_restarts_that_do_not_go_on_give_back_their_memory(images, monkeypatch):
    networks = []
    build = STDACClustering._build_network

    def remember(self):
        network = build(self)
        networks.append(weakref.ref(network))
        return network

    monkeypatch.setattr(STDACClustering, "_build_network", remember)
    alive = []

    class Count(Callback):
        def on_epoch_begin(self, net, **kwargs):
            gc.collect()
            alive.append(sum(ref() is not None for ref in networks))

    parameters = {"n_init": 4, "max_epochs": 4, "screening": 0.5, "consensus": False}
    fast(STDACClustering, **parameters, callbacks=[Count()]).fit(images[:60])
    assert max(alive) == 3  # the one that is trained, and the best two of those before
    assert alive[-1] == 2


def test_a_forked_process_can_fit_while_another_thread_does(images):
    code = """
import os, threading, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
torch.set_num_threads(1)
from skdeepclust._torch_state import neutral_settings
entered, done = threading.Event(), threading.Event()
def hold():
    with neutral_settings(exclusive=True):
        entered.set(); done.wait(60)
thread = threading.Thread(target=hold); thread.start(); entered.wait()
child = os.fork()
if child == 0:
    with neutral_settings(exclusive=True):
        os._exit(7)
_, status = os.waitpid(child, 0)
done.set(); thread.join()
print(os.waitstatus_to_exitcode(status))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "7", run.stderr


# ---------------------------------------------------------------------- numbers


def test_neighbours_far_from_the_origin():
    X = torch.randn(300, 10, generator=torch.Generator().manual_seed(0))
    X[:, 0] = 0
    far = X.clone()
    far[:, 0] = 1e4  # one column, of no consequence
    assert (nearest_neighbors(far, 5) == nearest_neighbors(X, 5)).float().mean() > 0.99


def test_constant_samples_that_rounding_makes_vary():
    model = fast(AutoencoderClustering)
    with pytest.warns(ConvergenceWarning, match="latents of all samples are the same"):
        model.fit(np.full((50, 5), 0.1))
    assert model.input_scale_ == 1


def test_values_beyond_float32_are_decoded_in_float64(images):
    X = images.reshape(200, 64) * 1e60
    model = fast(AutoencoderClustering).fit(X)
    decoded = model.inverse_transform(model.transform(X))
    assert np.isfinite(decoded).all()
    assert decoded.dtype == np.float64


def test_predictions_are_in_evaluation_mode_whatever_a_user_did(images):
    model = fast(STDACClustering).fit(images)
    expected = model.transform(images)
    model.network_.train()
    np.testing.assert_array_equal(model.transform(images), expected)


def test_optimisers_that_decide_how_they_run(images):
    for setting in ({"foreach": True}, {"fused": False}, {"capturable": False}):
        fast(STDACClustering, optimizer=partial(torch.optim.Adam, **setting)).fit(images)


def test_an_epoch_whose_last_sample_joins_the_batch_before():
    from skdeepclust.samples import Chunks, Samples, n_batches

    for n in range(2, 40):
        chunks = Chunks(Samples(torch.zeros(n, 3)), batch_size=8)
        order = torch.arange(n)
        counted = sum(1 for x, index in chunks(order) for _ in chunks.batches(x, index))
        assert n_batches(n, 8) == counted


class Directions(torch.nn.Module):
    """Not finite at 0."""

    def __init__(self, input_shape):
        super().__init__()
        self.layer = torch.nn.Linear(64, 8)

    def forward(self, x):
        x = x.flatten(1)
        return self.layer(x / x.norm(dim=1, keepdim=True))


def test_a_network_that_makes_no_number_of_zeros_predicts_any_number_of_samples(images):
    model = fast(IMSATClustering, network=Directions).fit(images)
    expected = model.predict_proba(images)
    for n in (1, 127, 129):
        np.testing.assert_array_equal(model.predict_proba(images[:n]), expected[:n])


@pytest.mark.parametrize("name", ["kmeans", "mixture"])
def test_what_was_judged_is_what_is_kept(name, images, monkeypatch):
    """With the random draws of the heads that are fitted at the end, too."""
    if name == "kmeans":
        model = fast(AutoencoderClustering, kmeans_n_init=1)
    else:
        model = fast(N2DClustering, mixture_n_init=1)
    model.set_params(n_clusters=20, n_init=3, screening=1.0)
    judged, judge = {}, type(model)._judge

    def look(self, run, X, criterion):
        quality = judge(self, run, X, criterion)
        judged.setdefault(run.seed, []).append((quality, run.probabilities.argmax(1)))
        return quality

    monkeypatch.setattr(type(model), "_judge", look)
    model.fit(images)
    (twice,) = [found for found in judged.values() if len(found) == 2]
    assert twice[0][0] == twice[1][0] == max(found[0][0] for found in judged.values())
    np.testing.assert_array_equal(twice[0][1], twice[1][1])


def test_first_fit_in_bf16_is_as_the_second(images):
    _torch_state.autocast_caches_gradients.cache_clear()
    first, second = (fast(AutoencoderClustering, precision="bf16").fit(images) for _ in range(2))
    assert first.history_[:, "train_loss"] == second.history_[:, "train_loss"]


def test_score_predicts_no_more_than_it_looks_at(images, monkeypatch):
    model = fast(DeepClustering).fit(images)
    monkeypatch.setattr(_selection, "MAX_SAMPLES", 50)
    some = images[_selection.looked_at(torch.from_numpy(images))]
    assert len(some) == 50
    expected = model.score(some)
    n_passed = []
    model.network_.register_forward_pre_hook(lambda _, args: n_passed.append(len(args[0])))
    assert model.score(images) == expected
    assert sum(n_passed) <= 128


def test_latents_far_away_have_no_silent_infinities(images):
    model = fast(AutoencoderClustering).fit(images)
    with pytest.raises(ValueError, match="Latents are so far from those of the fit"):
        model.inverse_transform(np.full((1, model.transform(images).shape[1]), 3e38))


def test_a_model_that_is_mapped_scores(images, tmp_path):
    joblib.dump(fast(DeepClustering).fit(images), tmp_path / "model.joblib")
    model = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert np.isfinite(model.score_samples(images)).all()


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x).double()


class Auxiliary(torch.nn.Linear):
    """Gives more in training, as Inception does."""

    def forward(self, x):
        features = super().forward(x)
        return (features, features) if self.training else features


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Doubled(64, 9), r"network=.*must return torch.float32; it gave torch.float64"),
        (Auxiliary(64, 9), r"network=.*must return one tensor .* in training mode"),
    ],
)
def test_networks_that_can_not_be_trained(network, message, images):
    X = images.reshape(len(images), -1)
    model = fast(DeepClustering).fit(X)
    labels = model.labels_
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.set_params(network=network).fit(X)
    assert model.labels_ is labels
    with pytest.raises(ValueError, match=r"(?s)decoder=.* in training mode"):
        fast(AutoencoderClustering, latent_size=9, decoder=Auxiliary(9, 64)).fit(X)


def test_given_networks_are_tried_without_a_trace(images):
    class Counted(torch.nn.Sequential):
        modes = []

        def forward(self, x):
            self.modes.append((self.training, len(x)))
            return super().forward(x)

    network = Counted(torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Dropout())
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    fast(DeepClustering, network=network).fit(images)
    assert (True, 2) in network.modes
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_weights_that_encoder_and_decoder_share_are_refused(images):
    encoder = torch.nn.Linear(64, 9)

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, z):
            return z @ self.encoder.weight

    with pytest.raises(ValueError, match="decoder must share no weights with network"):
        fast(AutoencoderClustering, network=encoder, decoder=Tied()).fit(
            images.reshape(len(images), -1)
        )


def test_complex_parameters(images):
    class Spectrum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(64, 9, dtype=torch.cfloat))

        def forward(self, x):
            return (x.flatten(1).to(torch.cfloat) @ self.weight).abs()

    model = fast(DeepClustering, network=Spectrum())
    before = model.network.weight.clone()
    assert not torch.equal(model.fit(images).network_.encoder.weight, before)


def test_tensors_that_a_network_keeps_between_passes(images):
    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.masks = torch.nn.Linear(64, 9), {}

        def forward(self, x):
            if len(x) not in self.masks:  # by the size of the batch, as positions are kept
                self.masks[len(x)] = torch.ones(9) * torch.ones(len(x), 1)
            return self.layer(x.flatten(1)) * self.masks[len(x)]

    network = Masked()
    images = np.concatenate([images, images])[:300]  # slices of 128, and batches
    model = DeepClusterClustering(3, network=network, max_epochs=2, batch_size=128, random_state=0)
    assert model.fit(images).labels_.shape == (len(images),)


@pytest.mark.parametrize(
    "callback",
    [EpochScoring("r2", on_train=True), EpochScoring(None, on_train=True), PassthroughScoring("a")],
)
def test_scores_beside_labels_are_refused(callback, images):
    with pytest.raises(ValueError, match=r"callbacks: .* or beside labels, and there are none"):
        fast(DeepClustering, callbacks=[callback]).fit(images)


def test_optimisers_with_a_mode(images):
    class Scheduleless(torch.optim.SGD):
        is_training = False

        def train(self):
            self.is_training = True

        def step(self, closure=None):
            assert self.is_training
            return super().step(closure)

    class Mode(Callback):
        def on_train_begin(self, net, **kwargs):
            net.optimizer_.train()

    fast(DeepClustering, optimizer=Scheduleless, callbacks=[Mode()]).fit(images)


def test_objects_that_augment_are_copied(images):
    class Jitter:
        def __init__(self):
            self.generator = np.random.default_rng(0)

        def __call__(self, x):
            return x + torch.from_numpy(self.generator.normal(size=x.shape)).float()

    model = fast(DeepClustering, augmentation=Jitter())
    first = model.fit(images).predict_proba(images)
    np.testing.assert_array_equal(model.fit(images).predict_proba(images), first)
    expected = np.random.default_rng(0).bit_generator.state
    assert model.augmentation.generator.bit_generator.state == expected


def test_copies_are_of_the_device(images, monkeypatch):
    """Only what is pickled goes to the CPU."""
    model = fast(DeepClustering).fit(images)
    monkeypatch.setattr(BaseDeepEstimator, "__getstate__", lambda self: pytest.fail("pickled"))
    assert copy.copy(model).network_ is model.network_
    deep = copy.deepcopy(model)
    assert deep.network_ is not model.network_
    np.testing.assert_array_equal(deep.predict(images), model.labels_)
