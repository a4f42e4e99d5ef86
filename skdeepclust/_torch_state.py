"""torch's global state: what a fit needs of it, whatever the caller has set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache, partial
from threading import RLock
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# A process has one random state and one default dtype of torch. Initialisers, dropout and users'
# modules take no generator of their own, so fits in several threads take turns.
_LOCK = RLock()
_changed = False  # whether a fit has changed the default dtype, for now


def _new_lock() -> None:
    global _LOCK
    _LOCK = RLock()


if hasattr(os, "register_at_fork"):  # a thread that holds it isn't there in a forked process
    os.register_at_fork(after_in_child=_new_lock)


def _set_dtype(dtype: torch.dtype, *, changed: bool) -> None:
    global _changed
    torch.set_default_dtype(dtype)
    _changed = changed


@contextmanager
def neutral_settings(*, exclusive: bool = False) -> Iterator[None]:
    """float32, gradients, no autocast and no default device within the block.

    Parameters
    ----------
    exclusive : bool, default=False
        Whether other threads that ask for it have to wait, as fits do.
    """
    with ExitStack() as stack:
        dtype = torch.get_default_dtype()
        if exclusive or _changed or dtype != torch.float32:
            stack.enter_context(_LOCK)
            dtype = torch.get_default_dtype()  # another thread's, until now
        if dtype != torch.float32:
            stack.callback(_set_dtype, dtype, changed=False)  # first, for Ctrl-C in between
            _set_dtype(torch.float32, changed=True)
        # torch 2.4: get_default_device() raises once the default was set to None; a mode costs time
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda", "mps", "xpu"):
            stack.enter_context(without_autocast(device))
        yield


@cache
def has_float64(device: torch.device) -> bool:
    """Return whether a device computes in float64: MPS and some of Intel's don't."""
    if device.type == "xpu":
        return getattr(torch.xpu.get_device_properties(device), "has_fp64", True)
    return device.type != "mps"


def without_autocast(device: str) -> AbstractContextManager[None]:
    """Return a context without autocast on a type of device; with torch 2.4 MPS has none."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


@cache
def autocast_caches_gradients() -> bool:
    """Return whether autocast's cache serves a pass with gradients after one without.

    In torch 2.4 it doesn't: weights that were first used without gradients get none for as long as
    the cache lasts, silently.
    """
    # not a layer, whose weights would be drawn from the fit's random state
    weight = torch.zeros(1, 1, device="cpu", requires_grad=True)
    x = torch.zeros(1, 1, device="cpu")
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            F.linear(x, weight)
        return F.linear(x, weight).requires_grad


def start_threads() -> None:
    """Start those that torch computes with on the CPU for this one, if they aren't yet.

    They begin with what this thread has set: born within :func:`flushed_denormals`, they would
    flush forever, and a first fit would round otherwise than a second.
    """
    torch.zeros(2**16 * torch.get_num_threads(), device="cpu").add_(1)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 for zero in this thread, where the processor can.

    A network that is sure of each sample has gradients of that size, and a processor needs many
    times as long for them. torch's other threads are left alone; see :func:`start_threads`.
    """
    before = float(torch.tensor(1e-40) * 1) == 0  # there is no getter
    try:
        torch.set_flush_denormal(True)
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def same_n_threads() -> Iterator[None]:
    """Undo what the block does to the number of threads: numba sets OpenMP's to its own."""
    n_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def others_first() -> Iterator[None]:
    """Let fits in other threads run within the block, while the one at hand waits for them."""
    _LOCK.release()
    try:
        yield
    finally:
        _LOCK.acquire()


def _seed_one(device: torch.device, seed: int) -> None:
    backend = getattr(torch, device.type)
    with backend.device(device):
        backend.manual_seed(seed)


class LocalRandomState:
    """A torch random state that is in force within ``with`` and nowhere else.

    It goes on where it stopped when it is entered again.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed: int | None = seed
        backend = getattr(torch, device.type)
        self.sources = [(torch.get_rng_state, torch.set_rng_state)]
        # not torch.manual_seed, which seeds all devices there are
        self.seeders: list[Callable[[int], Any]] = [torch.default_generator.manual_seed]
        if device.type in ("cuda", "xpu"):  # that one of several
            own = {"device": device}
            get, put = backend.get_rng_state, backend.set_rng_state
            self.sources.append((partial(get, **own), partial(put, **own)))
            self.seeders.append(partial(_seed_one, device))
        elif device.type != "cpu":
            self.sources.append((backend.get_rng_state, backend.set_rng_state))
            self.seeders.append(backend.manual_seed)
        self.states: list[Tensor] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Use this random state within the block."""
        outside = [get() for get, _ in self.sources]
        try:  # Ctrl-C may come while it is put in force, too
            if self.seed is not None:
                for seed in self.seeders:
                    seed(self.seed)
                self.seed = None
            else:
                self.put(self.states)
            try:
                yield
            finally:
                self.states = self.current()
        finally:
            self.put(outside)

    def current(self) -> list[Tensor]:
        """Return the random states in force."""
        return [get() for get, _ in self.sources]

    def put(self, states: list[Tensor]) -> None:
        """Set the random states in force."""
        for (_, put), state in zip(self.sources, states, strict=True):
            put(state.cpu())
