"""Training restarts of an estimator and keeping the best without labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.history import History
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from tqdm import tqdm

from skdeepclust.engine import Engine

if TYPE_CHECKING:
    from skdeepclust.base import BaseDeepClusterer


class LocalRandomState:
    """A torch random state that is in force within ``with`` and nowhere else.

    It goes on where it stopped when it is entered again.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed: int | None = seed
        backend = getattr(torch, device.type)
        self.sources = [(torch.get_rng_state, torch.set_rng_state)]
        if device.type != "cpu":
            self.sources.append((backend.get_rng_state, backend.set_rng_state))
        self.states: list[Tensor] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Use this random state within the block."""
        outside = [get() for get, _ in self.sources]
        if self.seed is not None:
            torch.manual_seed(self.seed)
            self.seed = None
        else:
            for (_, put), state in zip(self.sources, self.states, strict=True):
                put(state)
        try:
            yield
        finally:
            self.states = [get() for get, _ in self.sources]
            for (_, put), state in zip(self.sources, outside, strict=True):
                put(state)


class Run:
    """One restart: a network, the phases it goes through, and a random state of its own.

    Parameters
    ----------
    estimator : BaseDeepClusterer
    X : Tensor of shape (n, *input_shape)
    seed : int
    progress : tqdm
        The bar that is moved on by the samples trained on.
    """

    def __init__(
        self,
        estimator: BaseDeepClusterer,
        X: Tensor,
        seed: int,
        progress: tqdm,
    ) -> None:
        self.seed = seed
        self.n_epochs = 0
        self.finished = False
        self.interrupted = False
        self.network: nn.Module | None = None
        self.probabilities: np.ndarray | None = None
        self.quality: tuple[int, float] | None = None
        self._estimator = estimator
        self._X = X
        self._progress = progress
        self._random_state = LocalRandomState(seed, X.device)
        self._engine: Engine | None = None
        self._past: list[dict[str, Any]] = []

    @property
    def history(self) -> History:
        """The epochs of all phases so far."""
        rows = [] if self._engine is None else self._engine.history
        return History(self._past + list(rows))

    def announce(self, text: str) -> None:
        """Show what is going on before the progress bar."""
        self._progress.set_description(text)

    def release(self) -> None:
        """Give back the memory of a run that doesn't go on."""
        self._engine = self.network = self.probabilities = None

    def summary(self, *, selected: bool) -> dict[str, Any]:
        """Return what is worth keeping of a run."""
        n_empty, score = (None, None) if self.quality is None else self.quality
        return {
            "seed": self.seed,
            "n_epochs": self.n_epochs,
            "n_empty_clusters": n_empty and -n_empty,
            "score": score,
            "selected": selected,
        }

    def advance(self, until: int | None = None) -> Run:
        """Train to the end, or until `until` epochs are done in all."""
        with self._random_state():
            try:
                if self.network is None:
                    self.network = self._estimator._build_network().to(self._X.device)
                    if self._X.ndim == 4:
                        self.network.to(memory_format=torch.channels_last)
                    self._phases = self._estimator._phases(self.network, self._X)
                while not self.finished and (until is None or self.n_epochs < until):
                    self._train_one_epoch()
            except KeyboardInterrupt:
                if self.network is None:
                    raise
                self.finished = self.interrupted = True
        return self

    def _train_one_epoch(self) -> None:
        if self._engine is None:
            phase = next(self._phases, None)
            if phase is None:
                self.finished = True
                return
            self._engine = self._estimator._make_engine(self.network, phase, self._progress.update)
            self._engine.start()
            self._engine.notify("on_train_begin", X=self._X, y=None)
        engine = self._engine
        if engine.max_epochs > 0:
            engine.fit_loop(TensorDataset(self._X), epochs=1)
            self.n_epochs += 1
            last = engine.history[-1]
            self._progress.set_postfix_str(
                f"{last['phase']}, epoch {last['epoch']}/{engine.max_epochs}, "
                f"loss {last['train_loss']:.4g}"
            )
        if engine.stopped_ or len(engine.history) >= engine.max_epochs:
            engine.notify("on_train_end", X=self._X, y=None)
            self._past, self._engine = list(self.history), None


def train_restarts(
    runs: list[Run],
    judge: Callable[[Run], tuple[int, float]],
    *,
    screen_at: int,
    n_kept: int,
) -> Run:
    """Train all runs to `screen_at` epochs, the best `n_kept` to the end; return the best.

    Parameters
    ----------
    runs : list of Run
    judge : callable
        Gives a run's quality, higher is better.
    screen_at, n_kept : int

    Returns
    -------
    Run
        A run that was interrupted is compared as it is.
    """
    candidates = list(runs)
    for until in [screen_at, None] if len(runs) > n_kept else [None]:
        for run in candidates:
            run.announce(f"restart {runs.index(run) + 1}/{len(runs)}")
            try:
                run.advance(until)
            except FloatingPointError as error:
                run.quality, failure = None, error
                if len(runs) > 1:
                    message = f"One of {len(runs)} restarts failed and is left out: {error}"
                    warnings.warn(message, ConvergenceWarning, stacklevel=4)
                continue
            run.quality = judge(run)
            if run.interrupted:
                break
        ranking = sorted(
            (run for run in candidates if run.quality is not None),
            key=lambda run: run.quality,
            reverse=True,
        )
        if not ranking:
            raise failure
        candidates = ranking[:n_kept]
        for run in ranking[n_kept:]:
            run.release()
        if any(run.interrupted for run in ranking):
            break
    return candidates[0]
