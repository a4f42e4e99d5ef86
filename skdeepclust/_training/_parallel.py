"""Restarts that are trained by worker processes, through joblib."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs, wrap_non_picklable_objects
from joblib.parallel import get_active_backend
from sklearn.exceptions import ConvergenceWarning

from skdeepclust._distributed import n_processes
from skdeepclust._progress import Bar
from skdeepclust._torch_state import neutral_settings, others_first
from skdeepclust._training._checkpoint import Checkpoint
from skdeepclust._training._restarts import despite_interruption
from skdeepclust._training._run import Run
from skdeepclust._training._selection import NeighborCriterion
from skdeepclust._warnings import warn
from skdeepclust.engine import resolved_device
from skdeepclust.samples import Samples
from skdeepclust.streaming import StreamedSamples

# What the fit before has left
NOT_SENT = (
    "_n_features_out",
    "_references",
    "history_",
    "interrupted_",
    "labels_",
    "merge_tree_",
    "n_clusters_",
    "network_",
    "outlier_scores_",
    "restarts_",
    "round_labels_",
)


def count_workers(n_jobs: int | None, n_runs: int) -> int:
    """Return how many processes train at once; 1: this one alone, or all those of torchrun.

    Threads count as one: torch has one random state a process, so they would take turns.
    """
    backend, _ = get_active_backend()
    if n_runs == 1 or n_processes() > 1 or getattr(backend, "uses_threads", False):
        return 1
    return min(effective_n_jobs(n_jobs), n_runs)


def device_of(device: torch.device, number: int, n_devices: int) -> torch.device:
    """Return where a restart is trained: on a GPU of its own, if `device` doesn't say which."""
    if device.type == "cuda" and device.index is None and n_devices > 1:
        return torch.device("cuda", number % n_devices)
    return device


@dataclass
class Outcome:
    """What a worker sends back of a restart: where it is, or the error that ended it."""

    state: bytes = b""  # of `Run.packed`
    quality: tuple[int, float] | None = None
    probabilities: np.ndarray | None = None
    interrupted: bool = False
    error: BaseException | None = None
    warnings: list[tuple[Any, ...]] = field(default_factory=list)

    def reveal(self) -> None:
        """Warn of what the worker warned of, and raise what it raised."""
        for warning in self.warnings:
            warnings.warn_explicit(*warning)
        if self.error is not None:
            raise self.error


def train_in_workers(
    runs: list[Run],
    until: int,
    *,
    method: Any,
    X: Samples,
    criterion: NeighborCriterion,
    n_workers: int,
) -> dict[Run, Outcome]:
    """Train runs that have not begun to `until` epochs and judge them, each in a process.

    A restart whose process is killed is trained once more, and fails if it is killed again.

    Parameters
    ----------
    runs : list of Run
    until : int
    method : BaseDeepClusterer
    X : Samples
    criterion : NeighborCriterion
    n_workers : int

    Returns
    -------
    dict of Run to Outcome
        In the order of `runs`, but those that Ctrl-C has ended come last.

    Raises
    ------
    ValueError
        If the estimator or what `X` is read from can't be pickled.
    """
    # joblib shares arrays that go with the tasks, by their identity, and memory maps
    shared: StreamedSamples | dict[str, Any] | None = None
    if not isinstance(X, StreamedSamples):
        shared = X.__getstate__()
    elif X.is_mapped:
        shared = X
    other = X if shared is None else None
    method = copy.copy(method)
    for name in NOT_SENT:
        vars(method).pop(name, None)
    sent = _pickled((method, criterion, other), n_workers)
    n_threads = max(1, torch.get_num_threads() // n_workers)
    tasks = [
        delayed(_train)(sent, shared, number, run.seed, run.checkpoint, until, n_threads)
        for number, run in enumerate(runs)
    ]
    outcomes: dict[int, Outcome] = {}

    def train(some: Iterable[int]) -> None:
        for number, outcome in _results([tasks[i] for i in some], n_workers):
            outcomes[number], run = outcome, runs[number]
            if outcome.error is None:
                run.take_over(outcome.state)
                run.quality, run.probabilities = outcome.quality, outcome.probabilities
                run.interrupted = outcome.interrupted
            run.announce(f"{len(outcomes)} of {len(runs)} restarts")

    def missing() -> list[int]:
        return [number for number in range(len(runs)) if number not in outcomes]

    try:
        with others_first():
            try:
                train(missing())
            except BrokenExecutor as error:  # which doesn't tell whose process it was
                numbers = ", ".join(str(number + 1) for number in missing())
                warn(
                    f"A process was killed. Of {len(runs)} restarts, these are trained once more, "
                    f"one at a time: {numbers}. {error}",
                    ConvergenceWarning,
                )
                for number in missing():
                    try:
                        train([number])
                    except BrokenExecutor as again:
                        outcomes[number] = Outcome(error=again)
    except KeyboardInterrupt as error:
        for number in missing():
            outcomes[number] = Outcome(error=error, interrupted=True)
    order = sorted(outcomes, key=lambda number: (outcomes[number].interrupted, number))
    return {runs[number]: outcomes[number] for number in order}


def returned_as(kind: str) -> str:
    """Return that kind of generator, or "list" where joblib's backend knows none."""
    backend, _ = get_active_backend()
    return kind if getattr(backend, "supports_return_generator", False) else "list"


def _results(tasks: list[Any], n_workers: int) -> Iterable[tuple[int, Outcome]]:
    """Return what the tasks return, each as soon as it is there if joblib's backend can do so."""
    return Parallel(
        n_workers,
        batch_size=1,
        mmap_mode="c",  # large arrays are shared; torch warns of those that are read-only
        return_as=returned_as("generator_unordered"),
    )(tasks)


def _pickled(content: Any, n_workers: int) -> np.ndarray:
    """Return `content` as an array of bytes, which all workers share."""
    try:
        pickled = pickle.dumps(wrap_non_picklable_objects(content, keep_wrapper=False))
    except Exception as error:  # whatever users' objects may raise
        raise ValueError(
            f"n_jobs: the estimator can't be sent to {n_workers} processes, because one of its "
            f"parameters (callbacks, augmentation, network, optimizer, ...) or what X is read from "
            f"can't be pickled: {error}. Use n_jobs=1, or another value of that parameter; of data "
            "on disk, memory maps and most Datasets can be pickled."
        ) from error
    return np.frombuffer(pickled, np.uint8)


def _train(
    sent: np.ndarray,
    shared: StreamedSamples | dict[str, Any] | None,
    number: int,
    seed: int,
    checkpoint: Checkpoint | None,
    until: int,
    n_threads: int,
) -> tuple[int, Outcome]:
    """Train and judge a restart, in a worker."""
    method, criterion, other = pickle.loads(sent.data)
    device = device_of(resolved_device(method.device), number, torch.cuda.device_count())
    with (
        neutral_settings(exclusive=True),
        _at_most(n_threads),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("default")
        if isinstance(shared, dict):
            X = Samples.__new__(Samples)
            X.__setstate__(shared)
        else:
            X = other if shared is None else shared
        X = X.to(device)
        run = Run(method, X, seed, Bar(total=0, disable=True), checkpoint)
        outcome = Outcome()
        try:
            run.advance(until)
            if run.screened is None:  # else it came from a checkpoint, and has been judged
                judge = partial(method._judge, X=X, criterion=criterion)
                outcome.quality = despite_interruption(run, judge)
        except FloatingPointError as error:
            outcome.error = error
        else:
            outcome.state = run.packed()
            outcome.probabilities, outcome.interrupted = run.probabilities, run.interrupted
    outcome.warnings = [(w.message, w.category, w.filename, w.lineno) for w in caught]
    return number, outcome


@contextmanager
def _at_most(n_threads: int) -> Iterator[None]:
    """Let torch have so many threads within the block, or those that it has if they are fewer."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(min(before, n_threads))
        yield
    finally:
        torch.set_num_threads(before)
