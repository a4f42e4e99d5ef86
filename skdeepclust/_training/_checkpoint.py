"""The file in which a run's state outlives the process, and what tells one fit from another."""

from __future__ import annotations

import copyreg
import hashlib
import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import GradientNormClipping, LRScheduler, ParamMapper
from torch import Tensor, nn

from skdeepclust._distributed import is_first, n_processes
from skdeepclust._files import put_in_place
from skdeepclust._warnings import warn
from skdeepclust.samples import Samples

CHECKPOINT_SECONDS = 60.0  # at least, between two checkpoints in the middle of a fit
ALL = "all"
READ_AT_ONCE = "samples read at once"
NOT_COMPARED = (
    "callbacks",  # but for some
    "checkpoint",
    "device",
    "memory_limit",
    "n_jobs",
    "num_workers",
    "verbose",
)  # parameters that may change


CHANGE_THE_TRAINING = "callbacks that change the training"
PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), slice, range, PathLike),
    *(np.generic, np.dtype, torch.dtype, torch.device),
)  # what is as it is shown
BEFORE = {READ_AT_ONCE: ALL, CHANGE_THE_TRAINING: "()"}  # of files that don't have it
GENERATORS = np.random.RandomState | np.random.Generator | torch.Generator
OF_MODULES = {*vars(nn.Module()), "training"}  # attributes that tell none from another
WITHOUT_CODE = {"builtins", "numpy", "skdeepclust", "sklearn", "skorch", "torch"}


def described(value: Any, around: frozenset[int] = frozenset()) -> str:
    """Return what tells a parameter's value from another, in any process.

    Modules and fitted estimators are told apart by their weights and code, functions by their
    names, code, defaults and closures, data by their bytes, other objects by what they hold.
    `around` are the ids of what the value is part of.
    """
    if id(value) in around:
        return "itself"

    def of(part: Any) -> str:
        return described(part, around | {id(value)})

    if isinstance(value, PLAIN):
        return str(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().flatten()
        value = value.view(torch.uint8).numpy() if len(value) else np.empty(0)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {_digest(np.ascontiguousarray(value).data)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {of(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(of, value)) + ")"
    if isinstance(value, set | frozenset):  # in another order in each process
        return "{" + ", ".join(sorted(map(of, value))) + "}"
    if isinstance(value, nn.Module):
        modules = [
            (name, type(m), {k: v for k, v in vars(m).items() if k not in OF_MODULES})
            for name, m in value.named_modules()
        ]
        everything = of([modules, *value.state_dict().values(), *value.buffers()])
        return f"{type(value).__qualname__} {_digest(everything.encode())}"
    if isinstance(value, partial):
        return f"partial{of((value.func, value.args, value.keywords))}"
    if isinstance(value, BaseEstimator):
        own = {k: v for k, v in vars(value).items() if k[-1] != "_" and k not in NOT_COMPARED}
        network = getattr(value, "network_", None)
        return f"{type(value).__qualname__}{of(own)} with {of(network)}"
    if isinstance(value, GENERATORS):
        return f"a {type(value).__name__}"  # what it drew is in the checkpoint
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}{_class_code(value, of)}"
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    if callable(value) and name is not None:
        owner = getattr(value, "__self__", None)
        if owner is not None and not inspect.ismodule(owner):  # a bound method
            return f"{name} of {of(owner)}"
        return f"{value.__module__}.{name}{_code(getattr(value, '__func__', value), of)}"
    everything = of((type(value), _held(value)))
    return f"{type(value).__qualname__} {_digest(everything.encode())}"


def _held(value: Any) -> Any:
    """Return what a copy of an object would be made from; what is shown of it may be less."""
    registered = copyreg.dispatch_table.get(type(value))
    try:
        made_by = registered(value) if registered else value.__reduce_ex__(2)
    except Exception:  # whatever can't be copied
        return getattr(value, "__dict__", None)
    if isinstance(made_by, str):
        return made_by
    return [list(part) if isinstance(part, Iterator) else part for part in made_by]


def _class_code(cls: type, of: Callable[[Any], str]) -> str:
    """Return what tells classes of one name apart: their functions, and numbers and texts."""
    held = [
        (name, getattr(value, "fget", getattr(value, "__func__", value)))
        for base in cls.__mro__
        if base.__module__.partition(".")[0] not in WITHOUT_CODE
        for name, value in sorted(vars(base).items())
        if name not in ("__module__", "__doc__", "__qualname__", "__firstlineno__")
    ]
    held = [(k, v) for k, v in held if inspect.isfunction(v) or isinstance(v, PLAIN)]
    return f" {_digest(of(held).encode())}" if held else ""


def _code(function: Any, of: Callable[[Any], str]) -> str:
    """Return what tells functions of one name apart: their code, defaults and closures."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""

    def constant(c: Any) -> Any:
        if hasattr(c, "co_code"):
            return instructions(c)
        return of(c) if isinstance(c, frozenset) else repr(c)

    def instructions(code: Any) -> list[Any]:
        return [code.co_code.hex(), code.co_names, [constant(c) for c in code.co_consts]]

    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not yet filled
            cells.append(None)
    everything = [instructions(code), function.__defaults__, function.__kwdefaults__, cells]
    return " " + _digest(of(everything).encode())


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def fingerprint(estimator: Any, X: Samples) -> dict[str, str]:
    """Return what has to be the same for a fit of `estimator` to `X` to go on from a file."""
    parameters = estimator.get_params(deep=False).items()
    digest = hashlib.sha256()
    for x in X.slices(max(1, 2**22 // math.prod(X.shape[1:]))):  # the same numbers in any type
        digest.update(x.cpu().contiguous().numpy().data)
    return {
        "class": type(estimator).__name__,
        **{name: described(value) for name, value in parameters if name not in NOT_COMPARED},
        CHANGE_THE_TRAINING: described(_that_change_the_training(estimator.callbacks)),
        "device": X.device.type,
        "number of processes": str(n_processes()),
        "shape of X": str(X.shape),
        READ_AT_ONCE: str(X.window or ALL),
        "mean of X": str(estimator.input_mean_),
        "scale of X": str(estimator.input_scale_),
        "X": f"array {digest.hexdigest()[:16]}",
    }


def _that_change_the_training(callbacks: list[Any] | None) -> list[Any]:
    given = [
        callback[1] if isinstance(callback, tuple) else callback for callback in callbacks or []
    ]
    kinds = (LRScheduler, GradientNormClipping, ParamMapper)
    return [c for c in given if issubclass(c if isinstance(c, type) else type(c), kinds)]


class Checkpoint:
    """The file in which a run's state outlives the process.

    Parameters
    ----------
    path : path-like
    fingerprint : dict of str to str
        What has to be the same for a fit to go on.
    number : int, default=0
        Which of the restarts it is; further ones have their number appended to the path.
    """

    def __init__(
        self, path: str | PathLike[str], fingerprint: dict[str, str], number: int = 0
    ) -> None:
        path = Path(path).expanduser().resolve()  # a link stays one
        if path.is_dir() or not path.parent.is_dir():
            raise ValueError(
                f"checkpoint must be the path of a file in a folder that exists; got {str(path)!r}."
            )
        self.path = path if number == 0 else path.with_name(f"{path.name}-{number}")
        self.partial = self.path.with_name(self.path.name + ".partial")
        try:  # before hours of training, not after
            if is_first():  # which alone writes it
                self.partial.touch()
                self.partial.unlink()
        except OSError as error:
            raise ValueError(
                f"checkpoint must be a file that can be written; got {str(path)!r} ({error})."
            ) from error
        self.fingerprint = fingerprint
        self._saved_at = -math.inf  # the first epoch is worth most to those who try Ctrl-C
        self._has_failed = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._saved_at = -math.inf  # another machine's clock began at another time

    def load(self) -> dict[str, Any] | None:
        """Return the state that the file holds, None if there is no file."""
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds, with advice that isn't ours
            raise ValueError(
                f"checkpoint={str(self.path)!r} is a file that is not a checkpoint "
                f"({type(error).__name__} on reading it). Use another path."
            ) from error
        if not isinstance(saved, dict) or {"fingerprint", "run"} - set(saved):
            raise ValueError(
                f"checkpoint={str(self.path)!r} is a file that is not a checkpoint of a fit, but "
                f"holds a {type(saved).__name__}. Use another path."
            )
        for name, value in self.fingerprint.items():
            was = saved["fingerprint"].get(name, BEFORE.get(name, "not there"))
            if was != value:
                what = f"a fit with {name}={was}, but now it is {value}"
                if name in ("X", "mean of X", "scale of X"):
                    what = f"a fit to other samples, or to these in another order ({name} differs)"
                raise ValueError(
                    f"checkpoint={str(self.path)!r} holds {what}. Use the same parameters and "
                    "data, or another file."
                )
        return saved["run"]

    def is_due(self) -> bool:
        """Return whether the last time is long enough ago."""
        return time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS

    def save(self, state: dict[str, Any]) -> None:
        """Write the state, as a whole or not at all.

        If it can't be written, a full disk say, a warning says so and the training goes on.
        """
        self._saved_at = time.monotonic()
        if not is_first():
            return
        try:
            torch.save({"fingerprint": self.fingerprint, "run": state}, self.partial)
            put_in_place(self.partial, self.path)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
            if not self._has_failed:
                warn(
                    f"checkpoint={str(self.path)!r} could not be written: {error}. The training "
                    "goes on without.",
                )
            self._has_failed = True
