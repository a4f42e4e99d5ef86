"""Training restarts of an estimator and keeping the best without labels."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from skorch.history import History
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from tqdm import tqdm

from skdeepclust._torch_state import LocalRandomState
from skdeepclust.engine import Engine, Phase

Quality = TypeVar("Quality")

if TYPE_CHECKING:
    from skdeepclust.base import BaseDeepEstimator

CHECKPOINT_SECONDS = 60.0  # at least, between two checkpoints in the middle of a fit

NOT_COMPARED = ("callbacks", "checkpoint", "device", "verbose")  # parameters that may change


def described(value: Any) -> str:
    """Return what tells a parameter's value from another, in any process.

    Modules and fitted estimators are told apart by their weights, functions by their names (those
    without one by their code), data by their bytes.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().flatten()
        value = value.view(torch.uint8).numpy() if len(value) else np.empty(0)
    if isinstance(value, np.ndarray):
        return f"array {_digest(np.ascontiguousarray(value).data)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {described(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(described, value)) + ")"
    if isinstance(value, nn.Module):
        modules = [
            (name, type(m).__qualname__, {k: v for k, v in vars(m).items() if k[0] != "_"})
            for name, m in value.named_modules()
        ]
        everything = described([modules, list(value.state_dict().values())])
        return f"{type(value).__qualname__} {_digest(everything.encode())}"
    if isinstance(value, partial):
        return f"partial{described((value.func, value.args, value.keywords))}"
    if isinstance(value, BaseEstimator):
        own = {k: v for k, v in vars(value).items() if k[-1] != "_" and k not in NOT_COMPARED}
        network = getattr(value, "network_", None)
        return f"{type(value).__qualname__}{described(own)} with {described(network)}"
    if isinstance(value, np.random.RandomState):
        return "a RandomState"  # what it drew is in the checkpoint
    code = getattr(value, "__code__", None)
    if code is not None and code.co_name == "<lambda>":
        constants = [c for c in code.co_consts if not hasattr(c, "co_code")]
        return f"lambda {_digest(code.co_code)} {code.co_names} {constants}"
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    if callable(value) and name is not None:
        return f"{value.__module__}.{name}"
    if type(value).__repr__ is object.__repr__:  # which shows an address
        return f"{type(value).__qualname__}{described(getattr(value, '__dict__', {}))}"
    return str(value)


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


class Checkpoint:
    """The file in which a run's state outlives the process.

    Parameters
    ----------
    estimator : BaseDeepEstimator
        Its `checkpoint` is the path; further restarts have their number appended.
    X : Tensor of shape (n, *input_shape)
    number : int
    """

    def __init__(self, estimator: BaseDeepEstimator, X: Tensor, number: int) -> None:
        path = Path(estimator.checkpoint)
        if path.is_dir() or not path.parent.is_dir():
            raise ValueError(
                f"checkpoint must be the path of a file in a folder that exists; got {str(path)!r}."
            )
        self.path = path if number == 0 else path.with_name(f"{path.name}-{number}")
        self.partial = self.path.with_name(self.path.name + ".partial")
        try:  # before hours of training, not after
            self.partial.touch()
            self.partial.unlink()
        except OSError as error:
            raise ValueError(
                f"checkpoint must be a file that can be written; got {str(path)!r} ({error})."
            ) from error
        # What has to be the same for a fit to go on
        self.fingerprint = {
            name: described(value)
            for name, value in estimator.get_params(deep=False).items()
            if name not in NOT_COMPARED
        }
        self.fingerprint |= {
            "class": type(estimator).__name__,
            "device": X.device.type,
            "shape of X": str(tuple(X.shape)),
            "mean of X": str(estimator.input_mean_),
            "scale of X": str(estimator.input_scale_),
            "X": described(X),
        }
        self._saved_at = time.monotonic()
        self._has_failed = False

    def load(self) -> dict[str, Any] | None:
        """Return the state that the file holds, None if there is no file."""
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is a file that is not a checkpoint: {error}"
            ) from error
        if not isinstance(saved, dict) or {"fingerprint", "run"} - set(saved):
            raise ValueError(
                f"checkpoint={str(self.path)!r} is a file that is not a checkpoint of a fit, but "
                f"holds a {type(saved).__name__}. Use another path."
            )
        for name, value in self.fingerprint.items():
            was = saved["fingerprint"].get(name)
            if was != value:
                raise ValueError(
                    f"checkpoint={str(self.path)!r} holds a fit with {name}={was}, but now it is "
                    f"{value}. Use the same parameters and data, or another file."
                )
        return saved["run"]

    def save(self, run: Run, *, at_once: bool = False) -> None:
        """Write the state, as a whole or not at all, unless the last time is too recent.

        If it can't be written, a full disk say, a warning says so and the training goes on.
        """
        if not at_once and time.monotonic() - self._saved_at < CHECKPOINT_SECONDS:
            return
        self._saved_at = time.monotonic()
        try:
            torch.save({"fingerprint": self.fingerprint, "run": run.state()}, self.partial)
            self.partial.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
            if not self._has_failed:
                warnings.warn(
                    f"checkpoint={str(self.path)!r} could not be written: {error}. The training "
                    "goes on without.",
                    UserWarning,
                    stacklevel=2,
                )
            self._has_failed = True


class Run:
    """One restart: a network, the phases it goes through, and a random state of its own.

    Parameters
    ----------
    estimator : BaseDeepEstimator
    X : Tensor of shape (n, *input_shape)
    seed : int
    progress : tqdm
        The bar that is moved on by the samples trained on.
    number : int, default=0
        Which of the restarts it is.
    """

    def __init__(
        self,
        estimator: BaseDeepEstimator,
        X: Tensor,
        seed: int,
        progress: tqdm,
        number: int = 0,
    ) -> None:
        self.seed = seed
        self.interrupted = False
        self.network: Any = None  # these three until they are trained and judged
        self.probabilities: Any = None
        self.quality: Any = None
        self.screened: tuple[int, float] | None = None  # the quality when runs were screened
        self.history = History()  # the epochs of all phases
        self.unconverged: list[str] = []  # phases that ended before their criterion was met
        self._estimator = estimator
        self._X = X
        self._progress = progress
        self._random_state = LocalRandomState(seed, X.device)
        self._engines: list[Engine] = []  # the last one is trained
        self._n_phases = 0  # that have begun
        self._objective: Any = None  # of the phase that began last
        self._checkpoint: Checkpoint | None = None
        if estimator.checkpoint is not None:
            self._checkpoint = Checkpoint(estimator, X, number)

    def announce(self, text: str) -> None:
        """Show what is going on before the progress bar."""
        self._progress.set_description(text)

    def summary(self, *, selected: bool) -> dict[str, Any]:
        """Return what is worth keeping of a run."""
        n_empty, score = (None, None) if self.quality is None else self.quality
        return {
            "seed": self.seed,
            "n_epochs": len(self.history),
            "n_empty_clusters": n_empty and -n_empty,
            "score": score,
            "selected": selected,
        }

    def release(self) -> None:
        """Give back the memory of a run that doesn't go on."""
        self._engines, self.network, self.probabilities = [], None, None

    def advance(self, until: int | None = None) -> None:
        """Train to the end, or until `until` epochs are done in all."""
        with self._random_state():
            try:
                if self.network is None:
                    self._begin()
                while until is None or len(self.history) < until:
                    if not self._engines:
                        phase = self._next_phase()
                        if phase is None:
                            break
                        self._start(phase)
                    self._train_one_epoch(self._engines[-1])
                    if self._checkpoint is not None:
                        self._checkpoint.save(self)
                if self._checkpoint is not None:
                    self._checkpoint.save(self, at_once=True)
            except KeyboardInterrupt:
                if self.network is None:
                    raise
                self.interrupted = True

    def _begin(self) -> None:
        network = self._estimator._build_network().to(self._X.device)
        if self._X.ndim == 4:
            network.to(memory_format=torch.channels_last)
        self._phases = self._estimator._phases(network, self._X)
        self.network = network
        if self._checkpoint is not None:
            state = self._checkpoint.load()
            if state is not None:
                self._restore(state)

    def _next_phase(self) -> Phase | None:
        phase = next(self._phases, None)
        if phase is not None:
            self._n_phases += 1
            self._objective = phase.objective
        return phase

    def state(self) -> dict[str, Any]:
        """Return what :meth:`_restore` needs, between two epochs."""
        return {
            "seed": self.seed,
            "n_phases": self._n_phases,
            "network": self.network.state_dict(),
            "objective": self._objective.state_dict(),
            "engines": [engine.checkpoint() for engine in self._engines],
            "history": json.dumps(self.history, default=float),
            "unconverged": self.unconverged,
            "screened": self.screened,
            "random_states": self._random_state.current(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: the phases are gone through again without training.

        What stands between them computes something else then, so that whatever outlives a phase
        has to be in the network or in the objective of the next phase, whose states come last.
        """
        phase = None
        for _ in range(state["n_phases"]):
            phase = self._next_phase()
        if state["engines"]:  # in the middle of a phase
            self._start(phase)
            self._engines[-1].restore(state["engines"][-1])
        try:
            self.network.load_state_dict(state["network"])
            self._objective.to(self._X.device).load_state_dict(state["objective"])
        except RuntimeError as error:
            raise ValueError(f"checkpoint holds a fit of another network: {error}") from error
        self.seed = state["seed"]
        self.history.extend(json.loads(state["history"]))
        self.unconverged = state["unconverged"]
        self.screened = state["screened"]
        self._random_state.put(state["random_states"])
        self._progress.update(len(self.history) * len(self._X))

    def finalize(self) -> None:
        """Make the network ready to predict."""
        with self._random_state():
            self._estimator._finalize(self.network, self._X)

    def interpose(self, phase: Phase) -> None:
        """Let `phase` come first when the run goes on, even in the middle of another."""
        self._progress.total += phase.max_epochs * len(self._X)
        with self._random_state():
            self._start(phase)

    def _start(self, phase: Phase) -> None:
        engine = self._estimator._make_engine(self.network, phase, self._progress.update).start()
        engine.notify("on_train_begin", X=self._X, y=None)
        self._engines.append(engine)

    def _train_one_epoch(self, engine: Engine) -> None:
        engine.fit_loop(TensorDataset(self._X), epochs=1)
        row = engine.history[-1]
        self.history.append(row)
        self._progress.set_postfix_str(
            f"{row['phase']}, epoch {row['epoch']}/{engine.max_epochs}, "
            f"loss {row['train_loss']:.4g}"
        )
        if engine.stopped_ or len(engine.history) == engine.max_epochs:
            engine.notify("on_train_end", X=self._X, y=None)
            self._engines.remove(engine)
            if engine.phase.objective.converged is False and not engine.stopped_:
                self.unconverged.append(engine.phase.name)


def consensus(probabilities: list[np.ndarray]) -> np.ndarray:
    """Average soft clusterings, their clusters matched one-to-one with those of the first.

    Parameters
    ----------
    probabilities : list of ndarray of shape (n, n_clusters)

    Returns
    -------
    ndarray of shape (n, n_clusters)
    """
    total = probabilities[0].astype(np.float64)
    for other in probabilities[1:]:
        _, columns = linear_sum_assignment(total.T @ other, maximize=True)
        total += other[:, columns]
    return total / len(probabilities)


def despite_interruption(run: Run, judge: Callable[[Run], Quality]) -> Quality:
    """Return ``judge(run)``, without which nothing could be kept: Ctrl-C lets it begin anew."""
    try:
        return judge(run)
    except KeyboardInterrupt:
        run.interrupted = True
        return judge(run)


def train_restarts(
    runs: list[Run],
    judge: Callable[[Run], tuple[int, float]],
    *,
    screen_at: int,
    consensus_phase: Callable[[np.ndarray], Phase | None],
) -> Run:
    """Train all runs to `screen_at` epochs and the best of them to the end; return it.

    Parameters
    ----------
    runs : list of Run
    judge : callable
        Sets a run's ``probabilities`` and returns its quality, higher is better.
    screen_at : int
    consensus_phase : callable
        From the averaged probabilities of the better half to the phase in which the best run
        learns them before it goes on, or to None.

    Returns
    -------
    Run
        A run that was interrupted is compared as it is.
    """
    candidates, failure = list(runs), None
    for until in [screen_at, None] if len(runs) > 1 else [None]:
        for run in candidates:
            run.announce(f"restart {runs.index(run) + 1}/{len(runs)}")
            try:
                run.advance(until)
                run.quality = despite_interruption(run, judge)
            except FloatingPointError as error:
                run.quality, failure = None, error
                if len(runs) > 1:
                    message = f"One of {len(runs)} restarts failed and is left out: {error}"
                    warnings.warn(message, ConvergenceWarning, stacklevel=5)
                continue
            except KeyboardInterrupt as error:  # before its first epoch, or a second one
                run.quality, run.interrupted, failure = None, True, error
                break
            if until is not None:  # one from a checkpoint may have gone on since it was screened
                run.quality = run.screened = run.screened or run.quality
            if run.interrupted:
                break
        ranking = sorted(
            (run for run in candidates if run.quality is not None),
            key=lambda run: run.quality,
            reverse=True,
        )
        if not ranking:
            raise failure
        best, *others = ranking
        if any(run.interrupted for run in candidates):
            best.interrupted = True  # it would have gone on
            break
        if until is not None:
            better_half = ranking[: max(2, -(-len(ranking) // 2))]
            phase = consensus_phase(consensus([run.probabilities for run in better_half]))
            if phase is not None:
                best.interpose(phase)
        for run in others:
            run.release()
        candidates = [best]
    return best
