"""One run of a row of a table: data, fit under the row's settings, scores, and the record.

A table is a module of `benchmarks.tables` with

- `DATA`: by name, what takes `data_home` and returns X, y and, where there is a test part, that;
- `SIZES`: how many images `DATA` has to train on, for estimates;
- `ROWS`: by name, what makes the estimator of a `Job`; `STAGES`: the same of what rows begin with;
- `WANTED`: what the queue runs; `STATES`: the random states by default;
- optional: `options(row, data, given)`, the row's options with the paper's values; `base(job)`, the
  row whose fitted estimator it begins with; `prepare(job, X)`; `training_part(job)`; `WATCH`;
  `evaluate(job, fit)`, further scores; `KEPT`, the rows whose models are kept; `BY_DEVICE`, where a
  run on a GPU has a record beside that on a CPU; `DEFAULT_DATA`, `DEFAULT_ROWS`; and what
  `benchmarks.report` asks for.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback, LRScheduler

from benchmarks import records
from skdeepclust._files import written
from skdeepclust._training._checkpoint import NOT_COMPARED, described

CACHE = Path(__file__).parent / "cache"  # checkpoints and models; not committed
NOT_RECORDED = ("callbacks", "checkpoint", "verbose")
NOT_KEPT = ("batches", "dur", "epoch", "train_batch_count", "train_loss_best")  # of a history


def plain(text: str) -> str:
    """Return `text` for a file name."""
    return re.sub(r"[^\w.+-]", "", text.replace("*", "star"))


def subset(X: np.ndarray, y: np.ndarray, n_samples: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return all samples, or as many as asked for, drawn with a fixed seed."""
    if n_samples is None or n_samples >= len(X):
        return X, y
    chosen = np.random.RandomState(0).permutation(len(X))[:n_samples]
    return X[chosen], y[chosen]


@dataclass(frozen=True)
class Wanted:
    """Runs that the queue makes: every row on every data with every random state.

    `seconds` are rough, on a CPU thread and on a GPU, until records tell; None: not there.
    """

    rows: Iterable[str]
    data: Iterable[str]
    random_states: Iterable[int]
    value: float
    seconds: tuple[float | None, float | None]
    n_samples: int | None = None
    given: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"


@dataclass
class Fit:
    """A fitted estimator and what is worth keeping of its training."""

    estimator: Any
    n_samples: int
    seconds: float
    history: dict[str, dict]
    warnings: list[str]
    parameters: dict[str, Any]
    went_on: bool = False
    found: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] | None = None  # of models kept before 28 November 2026

    @property
    def last(self) -> Any:
        """The estimator, or the last of a pipeline."""
        return self.estimator[-1] if isinstance(self.estimator, Pipeline) else self.estimator


@dataclass
class Job:
    """A run: a row of a table on some data, with a random state and what isn't the paper's."""

    table: ModuleType
    row: str
    data: str
    random_state: int = 0
    n_samples: int | None = None
    given: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    device: str = "cpu"
    data_home: Path | None = None
    verbose: int = 1
    until: float = math.inf  # of time.monotonic(): stops there, if it can go on

    @property
    def of_paper(self) -> dict[str, Any]:
        """The row's options, with the paper's values."""
        options = getattr(self.table, "options", None)
        return options(self.row, self.data, self.given) if options else {}

    @property
    def options(self) -> dict[str, Any]:
        """The row's options."""
        return {name: self.given.get(name, value) for name, value in self.of_paper.items()}

    @property
    def parameters(self) -> dict[str, Any]:
        """What is set of the estimator itself."""
        known = {n for row in self.table.ROWS for n in replace(self, row=row).of_paper}
        return {name: value for name, value in self.given.items() if name not in known}

    @property
    def set(self) -> dict[str, Any]:
        """What is not the paper's."""
        of_paper = self.of_paper
        options = {k: v for k, v in self.options.items() if v != of_paper[k]}
        return dict(sorted({**options, **self.parameters}.items()))

    def named(self, *around: Any) -> str:
        """Return a file name: after the first of `around`, what is not the paper's."""
        device = torch.device(self.device).type
        changed = [
            name if v is True else f"{name}{v}".replace(", ", "x") for name, v in self.set.items()
        ]
        is_share = self.n_samples and self.n_samples < self.table.SIZES[self.data]
        parts = [
            *([f"n{self.n_samples}"] if is_share else []),
            *changed,
            *([self.precision] if self.precision != "float32" else []),
            *([device] if getattr(self.table, "BY_DEVICE", False) and device != "cpu" else []),
        ]
        first, *last = around
        return "-".join(plain(str(p)) for p in (self.data, first, *parts, *last))

    @property
    def name(self) -> str:
        """The record's name."""
        return self.named(self.row, self.random_state)

    @property
    def table_name(self) -> str:
        """The table's name."""
        return self.table.__name__.rpartition(".")[2]

    @property
    def path(self) -> Path:
        """Where the record is."""
        return records.RESULTS / self.table_name / f"{self.name}.json"

    def cached(self, suffix: str) -> Path:
        """Return where checkpoints (.pt) and models (.joblib) are."""
        return CACHE / self.table_name / f"{self.name}{suffix}"

    @cached_property
    def parts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The training part and, where there is one, the test part, each X and y."""
        found = self.table.DATA[self.data](data_home=self.data_home)
        parts = [subset(*found[i : i + 2], self.n_samples) for i in range(0, len(found), 2)]
        prepare = getattr(self.table, "prepare", lambda job, X: X)
        return [(prepare(self, X), y) for X, y in parts]

    @cached_property
    def X(self) -> np.ndarray:
        """The samples that are trained on."""
        return self.parts[0][0]

    @property
    def y(self) -> np.ndarray:
        """Their labels, for the figures alone."""
        return self.parts[0][1]

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """X and y of what is evaluated."""
        return self.parts[-1]

    @property
    def base(self) -> Job | None:
        """The run that this one goes on from."""
        base = getattr(self.table, "base", None)
        row = base(self) if base else None
        if row is None:
            return None
        given = {k: v for k, v in self.given.items() if k not in self.parameters}
        return replace(self, row=row, given=given)

    @cached_property
    def before(self) -> Any:
        """What this run goes on from, fitted."""
        return None if self.base is None else fitted(self.base)

    def estimator(self) -> Any:
        """Return the row's estimator with all its settings."""
        rows = {**getattr(self.table, "STAGES", {}), **self.table.ROWS}
        estimator = rows[self.row](self)
        steps = [s for _, s in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
        ours = {"device": self.device, "precision": self.precision, "verbose": self.verbose}
        for step in steps:
            known = step.get_params(deep=False)
            common = {"random_state": self.random_state} | (ours if "device" in known else {})
            step.set_params(**{k: v for k, v in common.items() if k in known})
        return estimator.set_params(**self.parameters)

    def can_go_on(self) -> bool:
        """Return whether the run goes on after a stop; nothing is loaded or fitted for that."""
        job = replace(self)
        job.parts = [(np.arange(128.0).reshape(2, 8, 8), np.arange(2))]
        job.before = Fit(None, 2, 0.0, {}, [], {})
        base = self.base
        is_there = base is None or base.cached(".joblib").exists() or base.can_go_on()
        return is_there and takes_checkpoint(job.estimator())


class Stopped(SystemExit):
    """A fit is over for now, and goes on another time."""


class Deadline(Callback):
    """Stops a fit between two epochs, right after its checkpoint may have been written."""

    def __init__(self, until: float) -> None:
        self.until = until

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Stop; KeyboardInterrupt would end the phase alone."""
        if time.monotonic() >= self.until:
            raise Stopped("the time is used; the fit goes on from its checkpoint")


class Watch(Callback):
    """Looks on at a fit. Its seconds don't count, and what it found outlives the process."""

    def __init__(self, job: Job, estimator: Any) -> None:
        self.job, self.estimator, self.seconds = job, estimator, 0.0
        self.started = time.perf_counter()
        self.path = job.cached(".json")
        self.found = json.loads(self.path.read_text()) if self.path.exists() else {}

    def __deepcopy__(self, memo: dict) -> Watch:
        return self  # one fit: no copy of the data

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Measure the block's time, and pass Ctrl-C on, which would end the phase alone."""
        start = time.perf_counter()
        try:
            yield
        except KeyboardInterrupt:
            raise Stopped("interrupted") from None
        finally:
            self.seconds += time.perf_counter() - start

    @property
    def elapsed(self) -> float:
        """The seconds of the fit so far."""
        return time.perf_counter() - self.started - self.seconds

    def keep(self, name: str, value: Any) -> None:
        """Keep a finding in a file, since callbacks begin anew when a fit goes on."""
        self.found[name] = value
        records.save(self.path, self.found)


def takes_checkpoint(estimator: Any) -> bool:
    """Return whether a fit can go on: callbacks begin anew, but for schedules."""
    parameters = estimator.get_params(deep=False)
    return "checkpoint" in parameters and all(
        isinstance(callback, LRScheduler) for callback in parameters["callbacks"] or ()
    )


def parameters_of(estimator: Any, job: Job) -> dict[str, Any]:
    """Return what is set of a run's estimator, for the record."""
    before = job.before.estimator if job.before else None
    return {
        name: f"of the row {job.base.row}" if value is before is not None else value
        for name, value in estimator.get_params(deep=False).items()
        if name not in NOT_RECORDED
    }


def compared(parameters: dict[str, Any]) -> dict[str, str]:
    """Return what has to be the same for a model to be that of a run."""
    return {k: described(v) for k, v in parameters.items() if k not in NOT_COMPARED}


def fitted(job: Job) -> Fit:
    """Return the fitted estimator of a run: fit it, go on with a fit, or take the model kept."""
    model = job.cached(".joblib")
    model.parent.mkdir(parents=True, exist_ok=True)
    estimator = job.estimator()
    if model.exists():
        fit = joblib.load(model)
        if compared(fit.parameters) == compared(parameters_of(estimator, job)):
            fit.last.set_params(device=job.device).network_.to(job.device)
            return fit
        print(f"{model} is of other settings, and is fitted anew", file=sys.stderr, flush=True)
    print(f"fitting {job.table_name} {job.name}", flush=True)
    environment = records.environment(job.device)
    goes_on = job.cached(".pt").exists()
    own, callbacks = {}, []  # what is given back afterwards, and what looks on
    if "callbacks" in estimator.get_params(deep=False):
        own["callbacks"] = estimator.callbacks
        callbacks = list(estimator.callbacks or [])
    watch = None
    if own and hasattr(job.table, "WATCH"):
        watch = job.table.WATCH(job, estimator)
        callbacks.append(watch)
    if takes_checkpoint(estimator):
        own["checkpoint"] = None
        estimator.set_params(checkpoint=job.cached(".pt"))
        callbacks.append(Deadline(job.until))
    if callbacks:
        estimator.set_params(callbacks=callbacks)
    X = job.table.training_part(job) if hasattr(job.table, "training_part") else job.X
    start = time.perf_counter()
    if watch:
        watch.started = start
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    seconds = time.perf_counter() - start - (watch.seconds if watch else 0.0)
    messages = sorted({str(w.message) for w in caught})
    if any("the fit was interrupted" in message for message in messages):
        raise Stopped("interrupted")  # no record of half a training
    estimator.set_params(**own)
    history = history_of(estimator)
    training = sum(phase["seconds"] for phase in history.values())
    fit = Fit(
        estimator,
        len(X),
        # Of a fit that goes on, the clock has seen the last part alone, but the history has all
        # epochs of the restart that was kept.
        max(seconds, training * share_of_all(estimator)) if goes_on else seconds,
        history,
        messages,
        parameters_of(estimator, job),
        goes_on,
        watch.found if watch else {},
        environment,
    )
    if job.row in getattr(job.table, "KEPT", ()):
        own = estimator.get_params(deep=False)  # not the model before as well
        before = job.before.estimator if job.before else None
        estimator.set_params(**{k: None for k, v in own.items() if v is before is not None})
        with written(model) as partial:
            joblib.dump(fit, partial)
        clean(job)
    return fit


def share_of_all(estimator: Any) -> float:
    """Return how many epochs all restarts took for each of the one that was kept."""
    restarts = getattr(estimator, "restarts_", [])
    kept = sum(r["n_epochs"] for r in restarts if r["selected"])
    return sum(r["n_epochs"] for r in restarts) / kept if kept else 1.0


def history_of(estimator: Any) -> dict[str, dict]:
    """Return by phase its seconds and, epoch by epoch, all that was recorded, to five digits."""
    phases: dict[str, dict] = {}
    for row in getattr(estimator, "history_", []):
        phase = phases.setdefault(row["phase"], {"seconds": 0.0})
        phase["seconds"] = round(phase["seconds"] + row["dur"], 3)
        for name, value in row.items():
            if isinstance(value, int | float) and name not in NOT_KEPT:
                phase.setdefault(name, []).append(float(f"{value:.5g}"))
    return phases


def clean(job: Job) -> None:
    """Delete a run's checkpoints: one a restart."""
    for path in job.cached("").parent.glob(f"{job.name}.*"):
        if path.name[len(job.name) :].startswith((".pt", ".json", ".joblib.partial")):
            path.unlink()


def run(job: Job) -> dict[str, Any]:
    """Fit, evaluate, and return the record."""
    fit = fitted(job)
    labels, X_test, y_test = fit.last.labels_, *job.test
    n_test = 0 if X_test is job.X else len(X_test)
    scores = records.metrics(y_test, fit.estimator.predict(X_test) if n_test else labels)
    if n_test:
        scores["training part"] = records.metrics(job.y, labels)
    if hasattr(job.table, "evaluate"):
        scores |= job.table.evaluate(job, fit)
    restarts = getattr(fit.last, "restarts_", None)
    training = sum(phase["seconds"] for phase in fit.history.values())
    n_epochs = sum(len(phase["train_loss"]) for phase in fit.history.values())
    record = {
        "table": job.table_name,
        "row": job.row,
        "data": job.data,
        "random_state": job.random_state,
        "n_samples": len(job.X),
        "n_test": n_test,
        "precision": job.precision,
        "set": job.set,
        "options": job.options,
        "parameters": fit.parameters,
        "scores": scores,
        "seconds": fit.seconds,
        "seconds of all": fit.seconds,
        "seconds of training": training,
        "went on": fit.went_on,
        "history": fit.history,
        "warnings": fit.warnings,
        "environment": fit.environment or records.environment(job.device),
    }
    if training:
        record["images a second"] = fit.n_samples * n_epochs / training
    if restarts:
        selected = next(r for r in restarts if r["selected"])
        record |= {name: selected[name] for name in ("score", "n_empty_clusters")}
        record["restarts"] = restarts
    if job.base is not None:
        before = job.before
        record["base"] = {
            "row": job.base.row,
            **{k: v for k, v in vars(before).items() if k not in ("estimator", "found")},
        }
        record["seconds of all"] += before.seconds
    return record


def run_if_missing(job: Job) -> bool:
    """Run a job that has no record yet; return whether there was something to run."""
    if job.path.exists():
        print(f"there already: {job.path} (remove it to run it again)", flush=True)
        return False
    print(f"running {job.table_name} {job.name}", flush=True)
    records.save(job.path, run(job))
    clean(job)
    return True


def standardised(estimator: Any, X: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return samples as a fitted estimator sees them."""
    mean, scale = estimator.input_mean_, estimator.input_scale_
    parts = [
        ((torch.from_numpy(X[i : i + 4096]).double() - mean) / scale).float()
        for i in range(0, len(X), 4096)
    ]
    return torch.cat(parts).view(-1, *estimator.input_shape_).to(device)
