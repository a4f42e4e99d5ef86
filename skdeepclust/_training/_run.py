"""One run of a method through its phases."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
from skorch.history import History
from torch import nn

from skdeepclust import _distributed
from skdeepclust._progress import Bar
from skdeepclust._torch_state import LocalRandomState
from skdeepclust._training._checkpoint import Checkpoint
from skdeepclust.engine import Engine, Phase, plain
from skdeepclust.inference import to_fastest_order
from skdeepclust.samples import Samples


class Method(Protocol):
    """What a run needs of an estimator."""

    callbacks: list[Any] | None
    precision: str

    def _build_network(self) -> nn.Module: ...
    def _phases(self, network: Any, X: Samples) -> Iterator[Phase]: ...
    def _finalize(self, network: Any, X: Samples) -> None: ...
    def _consensus_phase(self, average: Any) -> Phase: ...


class Run:
    """One restart: a network, the phases it goes through, and a random state of its own.

    Parameters
    ----------
    method : Method
    X : Samples
    seed : int
    progress : Bar
        The bar that is moved on by the samples trained on.
    checkpoint : Checkpoint, default=None
    """

    def __init__(
        self,
        method: Method,
        X: Samples,
        seed: int,
        progress: Bar,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.seed = seed
        self.interrupted = False
        self.network: Any = None  # these three until they are trained and judged
        self.probabilities: Any = None
        self.quality: Any = None
        self.screened: tuple[int, float] | None = None  # the quality when runs were screened
        self.history = History()  # the epochs of all phases
        self.unconverged: list[str] = []  # phases that ended before their criterion was met
        self._method = method
        self._X = X
        self._progress = progress
        self._random_state = LocalRandomState(seed, X.device)
        self._engines: list[Engine] = []  # the last one is trained
        self._n_phases = 0  # that have begun
        self._objective: Any = None  # of the phase that began last
        self._interposed: Any = None  # the objective of the phase that came in between
        self.checkpoint = checkpoint
        self._taken_over: dict[str, Any] | None = None  # what the network goes on from

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
        if self.network is not None:
            del self._phases  # which holds the network and the samples
        self._engines, self.network, self.probabilities = [], None, None
        self._objective = self._interposed = self._taken_over = None

    def advance(self, until: int | None = None) -> None:
        """Train to the end, or until `until` epochs are done in all."""
        try:
            self.begin()
            with self._random_state():
                while True:
                    if not self._engines:  # what follows a phase is done before a run is judged
                        phase = self._next_phase()
                        if phase is None:
                            break
                        self._start(phase)
                    if until is not None and len(self.history) >= until:
                        break
                    self._train_one_epoch(self._engines[-1])
                    if self.checkpoint is not None and self.checkpoint.is_due():
                        self.checkpoint.save(self.state())
                if self.checkpoint is not None:
                    self.checkpoint.save(self.state())
        except KeyboardInterrupt:
            if self.network is None or _distributed.n_processes() > 1:
                raise  # the others don't wait at the same epoch
            self.interrupted = True

    def begin(self) -> None:
        """Have a network: as a worker or a checkpoint left it, or a new one."""
        if self.network is None:
            with self._random_state():
                self._begin()

    def packed(self) -> bytes:
        """Return the state, between two epochs, for :meth:`take_over` in another process."""
        file = io.BytesIO()
        with self._random_state():
            torch.save(self.state(), file)
        return file.getvalue()

    def take_over(self, packed: bytes) -> None:
        """Be where the run of another process is; the network follows when it is needed."""
        file = io.BytesIO(packed)
        self._taken_over = torch.load(file, map_location="cpu", weights_only=True)
        self._recall(self._taken_over)

    def _begin(self) -> None:
        network = self._method._build_network().to(self._X.device)
        if len(self._X.shape) == 4:
            to_fastest_order(network, self._X.device)
        self._phases = self._method._phases(network, self._X)
        self.network = network
        state = self._taken_over
        if state is None and self.checkpoint is not None:
            state = self.checkpoint.load()
        if state is not None:
            try:
                self._restore(state)
            except BaseException:
                self.network = None  # Ctrl-C in the middle leaves nothing that was trained
                raise
            if self._taken_over is None:
                self._recall(state)
            self._taken_over = None

    def _next_phase(self) -> Phase | None:
        phase = next(self._phases, None)
        if phase is not None:
            self._n_phases += 1
            self._objective = phase.objective
        return phase

    def state(self) -> dict[str, Any]:
        """Return what :meth:`_restore` needs, between two epochs."""
        is_interposed = self._engines and self._engines[-1].phase.objective is self._interposed
        return {
            "seed": self.seed,
            "n_phases": self._n_phases,
            "network": self.network.state_dict(),
            "objective": self._objective.state_dict() if self._n_phases else {},
            "interposed": self._interposed.state_dict() if is_interposed else None,
            "has_interposed": self._interposed is not None,
            "engines": [engine.checkpoint() for engine in self._engines],
            "history": json.dumps(self.history, default=plain),
            "unconverged": self.unconverged,
            "screened": self.screened,
            "random_states": self._random_state.current(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: the phases are gone through again without training.

        What stands between them computes something else then, so that whatever outlives a phase
        has to be in the network or in the objective of the next phase, whose states come last.
        """
        phases = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what stands between, on untrained networks
            for _ in range(state["n_phases"]):
                phases.append(cast(Phase, self._next_phase()))
                phases[-1].objective.to(self._X.device)
        self._interposed = state["has_interposed"] or None
        started = phases[-1:]
        if state["interposed"] is not None:
            average = state["interposed"]["labels"].numpy()
            interposed = self._method._consensus_phase(average)
            self._interposed = interposed.objective
            started.append(interposed)
            self._progress.total += interposed.max_epochs * len(self._X)
        for phase, engine in zip(started[-len(state["engines"]) :], state["engines"], strict=False):
            self._start(phase)
            self._engines[-1].restore(engine)
        try:
            self.network.load_state_dict(state["network"])
            if phases:
                self._objective.to(self._X.device).load_state_dict(state["objective"])
            if state["interposed"] is not None:
                self._interposed.to(self._X.device).load_state_dict(state["interposed"])
        except RuntimeError as error:
            raise ValueError(f"checkpoint holds a fit of another network: {error}") from error
        self._random_state.put(state["random_states"])

    def _recall(self, state: dict[str, Any]) -> None:
        """Take over what is known of a run without its network."""
        history = History(json.loads(state["history"]))
        self._progress.update((len(history) - len(self.history)) * len(self._X))
        self.seed, self.history = state["seed"], history
        self.unconverged = state["unconverged"]
        self.screened = state["screened"]

    def finalize(self) -> None:
        """Make the network ready to predict, in the same way as often as it is asked to."""
        # k-means and the like start from a state of its own: what won is what is kept
        with LocalRandomState(self.seed + len(self.history), self._X.device)():
            self._method._finalize(self.network, self._X)
        if (processes := _distributed.current()) is not None:
            processes.agree(self.network)

    def interpose(self, phase: Phase) -> None:
        """Let `phase` come first when the run goes on, even in the middle of another."""
        self._progress.total += phase.max_epochs * len(self._X)
        self._interposed = phase.objective
        with self._random_state():
            self._start(phase)

    def _start(self, phase: Phase) -> None:
        engine = Engine(
            self.network if phase.network is None else phase.network,
            phase,
            callbacks=copy.deepcopy(self._method.callbacks),  # they keep state; each engine its own
            device=self._X.device,
            precision=self._method.precision,
            on_samples=self._progress.update,
        ).start()
        engine.notify("on_train_begin", X=self._X, y=None)
        self._engines.append(engine)

    def _train_one_epoch(self, engine: Engine) -> None:
        engine.fit_loop(self._X, epochs=1)
        row = engine.history[-1]
        self.history.append(row)
        self._progress.set_postfix_str(
            f"{row['phase']}, epoch {row['epoch']}/{engine.max_epochs}, "
            f"loss {row['train_loss']:.4g}"
        )
        if engine.stopped_ or len(engine.history) == engine.max_epochs:
            if not all(p.isfinite().all() for p in self.network.parameters()):  # by the last step
                raise FloatingPointError(
                    f"weights are no longer finite after phase {row['phase']!r}. Likely a too "
                    f"large learning rate (lr={engine.lr})."
                )
            engine.notify("on_train_end", X=self._X, y=None)
            self._engines.remove(engine)
            if (processes := _distributed.current()) is not None:
                processes.check_network(self.network)
            if engine.phase.objective.converged is False and not engine.stopped_:
                self.unconverged.append(engine.phase.name)
