"""Training several runs of a method and keeping the best without labels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skdeepclust._training._run import Run
from skdeepclust._warnings import warn
from skdeepclust.engine import Phase

if TYPE_CHECKING:
    from skdeepclust._training._parallel import Outcome

Quality = TypeVar("Quality")


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


def fitted(model: Any, X: Any) -> Any:
    """Return a model fitted to `X`, which Ctrl-C hasn't ended early: then there is no such model.

    A fit of ours that Ctrl-C ends early returns what it has learnt; what fits several is to end.
    """
    if isinstance(model, FrozenEstimator):  # which asks for both
        return model.fit(X, None)
    model.fit(X)
    if _was_interrupted(model):
        raise KeyboardInterrupt
    return model


def _was_interrupted(model: Any) -> bool:
    if isinstance(model, Pipeline):
        return any(_was_interrupted(step) for _, step in model.steps)
    return getattr(model, "interrupted_", False) and not isinstance(model, FrozenEstimator)


def by_quality(runs: list[Run]) -> list[Run]:
    """Return runs that were judged, the best first."""
    return sorted(runs, key=lambda run: run.quality, reverse=True)


def train_restarts(
    runs: list[Run],
    judge: Callable[[Run], tuple[int, float]],
    *,
    screen_at: int,
    consensus_phase: Callable[[np.ndarray], Phase] | None,
    in_workers: Callable[[list[Run], int], dict[Run, Outcome]] | None = None,
) -> Run:
    """Train all runs to `screen_at` epochs and the best of them to the end; return it.

    Parameters
    ----------
    runs : list of Run
    judge : callable
        Sets a run's ``probabilities`` and returns its quality, higher is better.
    screen_at : int
    consensus_phase : callable or None
        From the averaged probabilities of the better half to the phase in which the best run
        learns them before it goes on. None: there is no such phase.
    in_workers : callable, default=None
        Trains runs to `screen_at` epochs and judges them in other processes; returns what became
        of them, those that were interrupted last. None: they are trained here, one by one.

    Returns
    -------
    Run
        A run that was interrupted is compared as it is. If the best one fails later, the second
        best goes on in its place.
    """
    candidates, was_screened = list(runs), False
    failure: BaseException | None = None
    for until in [screen_at, None] if len(runs) > 1 else [None]:
        judged: list[Run] = []
        outcomes = {} if in_workers is None or until is None else in_workers(candidates, until)
        for run in outcomes or candidates:
            run.announce(f"restart {runs.index(run) + 1}/{len(runs)}")
            try:
                if run in outcomes:
                    outcomes[run].reveal()
                else:
                    run.advance(until)
                if until is not None and run.screened is not None:
                    # one from a checkpoint, that may have gone on since
                    run.quality, was_screened = run.screened, True
                    judged.append(run)
                    continue
                if run not in outcomes:
                    run.quality = despite_interruption(run, judge)
            except (FloatingPointError, BrokenExecutor) as error:  # the latter: of a killed process
                run.quality, failure = None, error
                if len(candidates) > 1:
                    message = f"One of {len(runs)} restarts failed and is left out: {error}"
                    warn(message, ConvergenceWarning)
                continue
            except KeyboardInterrupt as error:  # before its first epoch, or a second one
                run.quality, run.interrupted, failure = None, True, error
                break
            judged.append(run)
            if until is not None:
                run.screened = run.quality
            if consensus_phase is None:
                for beaten in by_quality(judged)[2:]:
                    beaten.release()
            if run.interrupted or until is None:  # the second best is for where the best fails
                break
        if not judged:
            assert failure is not None
            raise failure
        best, *others = by_quality(judged)
        despite_interruption(best, Run.begin)  # from a worker it comes without a network
        if any(run.interrupted for run in candidates):
            best.interrupted = True  # it would have gone on
            if best.probabilities is None:  # it came from a checkpoint
                best.quality = judge(best)
            break
        if until is not None and not was_screened and consensus_phase is not None:
            better_half = [best, *others][: max(2, -(-len(judged) // 2))]
            best.interpose(consensus_phase(consensus([run.probabilities for run in better_half])))
        for run in others[1:] if until is not None else candidates:
            if run is not best:
                run.release()
        candidates = [best, *others[:1]]
    return best
