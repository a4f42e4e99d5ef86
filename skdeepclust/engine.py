"""The only training loop of the package, as a skorch net over tensors on the device."""

from __future__ import annotations

import copy
import dis
import inspect
import json
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, LRScheduler
from skorch.history import History
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from skdeepclust import _distributed
from skdeepclust._torch_state import (
    autocast_caches_gradients,
    flushed_denormals,
    has_float64,
    start_threads,
    without_autocast,
)
from skdeepclust.objective import Objective, Step
from skdeepclust.samples import Chunks


@dataclass
class Phase:
    """One training phase, as an algorithm's ``_phases`` yields it.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    max_epochs : int
        How many passes over the data set.
    name : str
        How the phase is called in the history and in messages.
    batch_size : int, default=32
        Samples a step, of each process where there are several.
    chunk_size : int, default=None
        Samples for which ``objective.on_chunk_begin`` is called at once. None: as many as
        fit in 2 MiB, which is for objectives that don't use the hook.
    optimizer : callable, default=torch.optim.Adam
        Called with the parameters and ``lr=``; anything that ``torch.optim`` has.
    lr : float, default=1e-4
        Learning rate.
    optimizer_params : dict, default={}
        More keywords of the optimiser.
    lr_factor : callable, default=None
        From the epoch, counted from 0, to the factor of all learning rates in it. None: always 1.
    drop_last : bool, default=False
        Whether the rest of an epoch's samples, fewer than a batch, is left out, where there is a
        whole batch: for losses that a few samples would mislead, of the sizes of clusters above
        all.
    network : nn.Module, default=None
        The part of the run's network that is trained and given to the objective. None: all.

    See Also
    --------
    Engine : Trains a network through a phase; has an example.
    """

    objective: Objective
    max_epochs: int
    name: str = "training"
    batch_size: int = 32
    chunk_size: int | None = None
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr: float = 1e-4
    optimizer_params: dict[str, Any] = field(default_factory=dict)
    lr_factor: Callable[[int], float] | None = None
    drop_last: bool = False
    network: nn.Module | None = None


def cosine_to(last: float, max_epochs: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by epoch: from 1 to nearly `last` along a cosine."""
    return lambda epoch: last + (1 - last) * (1 + math.cos(math.pi * epoch / max_epochs)) / 2


def resolved_device(device: str | torch.device) -> torch.device:
    """Return the device that a parameter stands for, after a look at whether it is there.

    Parameters
    ----------
    device : str or torch.device
        "auto": CUDA if there is one, else MPS, else the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If torch has no such device here.

    Examples
    --------
    >>> from skdeepclust.engine import resolved_device
    >>> resolved_device("cpu")
    device(type='cpu')
    """
    given = _distributed.own_device(device)
    if str(given) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(given)
        torch.zeros(1, device=found).cpu()  # there is none on "meta"
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be 'auto' or a device that torch has here, such as 'cpu'; got "
            f"{device!r} ({error})."
        ) from error
    return found


def multiplies_bf16(device: str | torch.device) -> bool:
    """Return whether a device has instructions that multiply bf16, as far as torch can tell.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    bool
        True for NVIDIA cards of compute capability 8.0 (Ampere) or more, and for processors with
        AMX or AVX-512 for bf16 where torch tells their capabilities.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has: Mapping[str, Any] = {}
    if device.type == "cpu":
        has = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))


def is_raised_by_code(error: BaseException) -> bool:
    """Return whether a `raise` has raised an error, and not a signal (Ctrl-C) at some other place.

    Parameters
    ----------
    error : BaseException
        As it was caught.

    Returns
    -------
    bool
    """
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)  # it may raise itself
    traceback, instruction = error.__traceback__, ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code is handler:
            return False
        instruction = dis.opname[code.co_code[traceback.tb_lasti]]
        traceback = traceback.tb_next
    return instruction == "RAISE_VARARGS"


def plain(value: Any) -> Any:
    """Return what JSON takes in place of a number or an array that a callback has recorded."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


ARRAY = "an array of NumPy's"  # the key under which its tensor stands


def without_numpy(state: Any) -> Any:
    """Return an optimiser's or a schedule's state without NumPy's numbers and arrays.

    torch's safe loader refuses these.
    """
    if isinstance(state, dict):
        return {key: without_numpy(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(without_numpy, state))
    if isinstance(state, np.ndarray):
        return {ARRAY: torch.from_numpy(state.copy())}
    return state.item() if isinstance(state, np.generic) else state


def with_arrays(state: Any) -> Any:
    """Return a schedule's state with its arrays, which it computes with, as they were."""
    if isinstance(state, dict):
        found = {key: with_arrays(value) for key, value in state.items()}
        return found[ARRAY].numpy() if ARRAY in found else found
    if isinstance(state, list | tuple):
        return type(state)(map(with_arrays, state))
    return state


class Engine(NeuralNet):
    """Trains a network on an objective, with all of skorch's callbacks.

    It differs from :class:`skorch.NeuralNet` in what costs time or hides trouble: batches
    are slices of a tensor on the device, losses are read once an epoch, an objective may
    have several optimisers, a loss that is not finite raises, and an interruption is passed
    on instead of swallowed.

    Parameters
    ----------
    network : nn.Module
    phase : Phase
    callbacks : list of skorch callbacks, default=None
        There is no validation set: monitor ``train_loss`` (``train_loss_best``).
    device : str or torch.device, default="cpu"
    precision : {"float32", "bf16", "auto"}, default="float32"
        "bf16": forward passes run under autocast. "auto": so where :func:`multiplies_bf16`.
    on_samples : callable, default=None
        Called with the number of samples that a chunk has just trained on.

    Attributes
    ----------
    stopped_ : bool
        Whether the phase has ended early: a callback ended it, as skorch's EarlyStopping does,
        or the objective has converged.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.engine import Engine, Phase
    >>> from skdeepclust.objective import Objective
    >>> from skdeepclust.samples import Samples
    >>> class Reconstruction(Objective):
    ...     def loss(self, network, x, index):
    ...         return (network(x) - x).square().mean()
    >>> X = Samples(torch.linspace(-1, 1, 64).view(16, 4))
    >>> phase = Phase(Reconstruction(), max_epochs=5, batch_size=8, lr=0.01)
    >>> engine = Engine(torch.nn.Linear(4, 4), phase).start()
    >>> history = engine.fit_loop(X, epochs=5).history
    >>> len(history[:, "train_loss"])
    5
    """

    def __init__(
        self,
        network: nn.Module,
        phase: Phase,
        *,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        on_samples: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(
            module=network,
            criterion=phase.objective,
            optimizer=phase.optimizer,
            lr=phase.lr,
            max_epochs=phase.max_epochs,
            batch_size=phase.batch_size * _distributed.n_processes(),
            iterator_train=Chunks,
            iterator_train__chunk_size=phase.chunk_size,
            train_split=None,
            callbacks=callbacks,
            device=device,
            use_caching=False,  # of predictions, which an objective's steps don't return
            verbose=0,
        )
        self.phase = phase
        if precision == "auto":
            precision = "bf16" if multiplies_bf16(device) else "float32"
        self.precision = precision
        self.on_samples = on_samples

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def initialize_optimizer(self, triggered_directly: Any = None) -> Engine:
        """Make one optimiser for each player; the first player's is ``optimizer_``."""
        options = {"lr": self.lr, **self.phase.optimizer_params}
        accepted = inspect.signature(self.optimizer).parameters
        decided = {*options, *getattr(self.optimizer, "keywords", {})}  # of a partial
        is_open = not decided & {"fused", "foreach", "capturable", "differentiable"}
        on_device = torch.device(self.device).type in ("cpu", "cuda")
        are_real = all(map(torch.is_floating_point, self.module_.parameters()))
        can_fuse = "fused" in accepted and is_open and on_device and are_real
        fused = {"fused": True} if can_fuse else {}
        self.players_: dict[str, torch.optim.Optimizer] = {}
        for player, parameters in self.criterion_.players(self.module_).items():
            name = f"{player}_optimizer_" if self.players_ else "optimizer_"
            parameters = list(parameters)
            try:
                optimizer = self.optimizer(parameters, **options, **fused)
            except RuntimeError:  # Adagrad takes it, and until torch 2.7 refuses it on CUDA
                optimizer = self.optimizer(parameters, **options)
            setattr(self, name, optimizer)
            self.players_[player] = optimizer
        self.first_states_ = {player: self._states(player) for player in self.criterion_.renewed}
        groups = [group for o in self.players_.values() for group in o.param_groups]
        self.rates_ = [(group, group["lr"], group["lr"]) for group in groups]
        return self

    def _states(self, player: str) -> dict[Tensor, Any]:
        """Return a copy of a player's optimiser's states: none at first, but for Adagrad's."""
        return {p: copy.deepcopy(state) for p, state in self.players_[player].state.items()}

    def start(self) -> Engine:
        """Build optimisers and callbacks; :meth:`fit_loop` then trains by the epoch."""
        self.initialize()
        start_threads()
        listeners = [callback for _, callback in self.callbacks_]

        def listens(hook: str) -> bool:
            return any(getattr(type(c), hook) is not getattr(Callback, hook) for c in listeners)

        self.on_batches_ = listens("on_batch_begin") or listens("on_batch_end")
        self.on_gradients_ = listens("on_grad_computed")
        self.stopped_ = False
        self.best_loss_ = math.inf
        self.n_steps_ = 0  # batches that are done
        self.processes_ = _distributed.current()
        if self.processes_ is not None:
            self.processes_.agree(self.module_, self.criterion_)
        return self

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks. One that raises KeyboardInterrupt ends this phase alone."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as error:  # how skorch's EarlyStopping stops
            if not is_raised_by_code(error):
                raise
            self.stopped_ = True

    def _autocast(self) -> AbstractContextManager[None]:
        device = torch.device(self.device).type
        if self.precision != "bf16":
            return without_autocast(device)
        return torch.autocast(device, torch.bfloat16, cache_enabled=autocast_caches_gradients())

    def _under_autocast(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Run the forward passes of `steps`, and nothing else, under autocast."""
        while True:
            with self._autocast():
                step = next(steps, None)
            if step is None:
                return
            yield step

    def train_step(self, batch: tuple[Tensor, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Take each step that the objective yields for the batch."""
        objective, network = self.criterion_, self.module_
        objective.before_step(network, self.n_steps_)
        self.n_steps_ += 1
        if self.processes_ is None:
            return self._take_steps(batch)
        with self.own_random_state_(), _distributed.SynchronizedBatchNorm():
            return self._take_steps(batch)

    def _take_steps(self, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
        objective, network, processes = self.criterion_, self.module_, self.processes_
        steps = objective.steps(network, *batch)
        if self.precision == "bf16":  # entering the context for nothing costs time
            steps = self._under_autocast(steps)
        total = None
        for players, loss in steps:
            players = (players,) if isinstance(players, str) else players
            optimizers = [self.players_[player] for player in players]
            for optimizer in optimizers:
                optimizer.zero_grad()
            if processes is None:
                loss.backward()
            else:  # the gradients of the processes add up to that of the whole batch
                (loss * processes.weight()).backward()
                processes.sum_gradients(optimizers)
            if self.on_gradients_:
                parameters = TeeGenerator(self.get_all_learnable_params())
                self.notify("on_grad_computed", named_parameters=parameters, batch=batch)
            for optimizer in optimizers:
                optimizer.step()
            total = loss.detach() if total is None else total + loss.detach()
        objective.after_step(network, *batch)
        return {"loss": total, "y_pred": None}

    def run_single_epoch(
        self, iterator: Chunks | None, training: bool, prefix: str, step_fn: Any, **_: Any
    ) -> None:
        """Train on each batch once and record the mean loss, reading it only at the end."""
        if iterator is None:
            return
        objective, network = self.criterion_, self.module_
        self._set_training(True)
        if self.phase.lr_factor is not None:
            factor = self.phase.lr_factor(len(self.history) - 1)
            for number, (group, base, last) in enumerate(self.rates_):
                if group["lr"] != last and last:  # a scheduler of skorch's, say, has changed it
                    base *= group["lr"] / last
                group["lr"] = base * factor
                self.rates_[number] = group, base, group["lr"]
        for player, states in self.first_states_.items():
            self.players_[player].state.clear()
            self.players_[player].state.update((p, copy.deepcopy(s)) for p, s in states.items())
        with self._autocast():
            objective.on_epoch_begin(network, iterator.X)
        processes = self.processes_
        if processes is not None:
            processes.agree(objective)
            self.own_random_state_ = processes.random_state(self.n_steps_, iterator.X.device)
        n_samples = n_batches = 0
        # of the losses, times the samples; a tensor kept of each would break the heap up
        total = torch.zeros((), device=iterator.X.device)
        if has_float64(total.device):
            total = total.double()
        order = objective.order(iterator.X.order(iterator.chunk_size))
        if self.phase.drop_last and len(order) > iterator.batch_size:
            order = order[: len(order) // iterator.batch_size * iterator.batch_size]
        for x, index in iterator(order):
            with self._autocast():
                objective.on_chunk_begin(network, x, index)
            with flushed_denormals():
                for batch in iterator.batches(x, index):
                    if processes is not None:
                        batch = processes.take_share(batch)
                    if self.on_batches_:
                        self.notify("on_batch_begin", batch=batch, training=True)
                    step = step_fn(batch)
                    size = len(batch[0])
                    total += step["loss"] * size
                    n_samples += size
                    n_batches += 1
                    if self.on_batches_:
                        self.history.record_batch("train_loss", step["loss"].item())
                        self.history.record_batch("train_batch_size", size)
                        self.notify("on_batch_end", batch=batch, training=True, **step)
            if self.on_samples is not None:
                self.on_samples(len(x))
        if self.on_samples is not None:
            self.on_samples(len(iterator.X) - len(order))  # that are left out
        loss = total.item() / n_samples
        if processes is not None:
            loss, n_samples = processes.mean(loss, n_samples, iterator.X.device)
        epoch = len(self.history)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss became {loss} in phase {self.phase.name!r}, epoch {epoch}. Likely a "
                f"too large learning rate (lr={self.lr}); also check the network and, if given, "
                "the augmentation for values that are not finite."
            )
        if not self.on_batches_:  # some callbacks look at the last batch: the mean of all
            self.history.new_batch()
            self.history.record_batch("train_loss", loss)
            self.history.record_batch("train_batch_size", n_samples)
        self.history.record("phase", self.phase.name)
        self.history.record("train_loss", loss)
        self.history.record("train_loss_best", loss < self.best_loss_)
        self.history.record("train_batch_count", n_batches)
        for name, value in objective.epoch_metrics().items():
            self.history.record(name, float(value))
        self.best_loss_ = min(self.best_loss_, loss)
        if objective.converged:
            self.stopped_ = True

    def checkpoint(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs to go on exactly, as tensors and plain values.

        Of callbacks, only what schedulers of the learning rate know is part of it.
        """
        return {
            "schedules": [without_numpy(s.lr_scheduler_.state_dict()) for s in self._schedules()],
            "optimizers": {
                name: without_numpy(o.state_dict()) for name, o in self.players_.items()
            },
            "history": json.dumps(self.history, default=plain),
            "rates": [(float(base), float(last)) for _, base, last in self.rates_],
            "best_loss": self.best_loss_,
            "n_steps": self.n_steps_,
            "stopped": self.stopped_,
        }

    def _schedules(self) -> list[LRScheduler]:
        return [callback for _, callback in self.callbacks_ if isinstance(callback, LRScheduler)]

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`checkpoint` returned; network and objective are not part of it."""
        for name, optimizer in self.players_.items():
            optimizer.load_state_dict(state["optimizers"][name])
        groups = [group for o in self.players_.values() for group in o.param_groups]  # new ones
        before = [
            (base, group["lr"]) for group, (_, base, _) in zip(groups, self.rates_, strict=True)
        ]
        rates = state.get("rates", before)  # 0.2 kept none
        self.rates_ = [(g, base, last) for g, (base, last) in zip(groups, rates, strict=True)]
        for schedule, known in zip(self._schedules(), state.get("schedules", []), strict=False):
            schedule.lr_scheduler_.load_state_dict(with_arrays(known))
            schedule.batch_idx_ = state["n_steps"]
        self.n_steps_ = state["n_steps"]
        self.history_ = History(json.loads(state["history"]))
        self.best_loss_ = state["best_loss"]
        self.stopped_ = state["stopped"]
