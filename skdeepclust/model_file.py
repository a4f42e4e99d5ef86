"""Model files: estimators as plain data, which a stranger may send.

A model file is a safetensors file: arrays and weights by their place, and in its header a JSON
document that says what they are parts of. A value with more to it than JSON has is an object of one
entry, such as ``{"tuple": [1, 8, 8]}``; `_Writer` makes these and `_Reader` reads them.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
import json
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from numbers import Real
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.decomposition import PCA, FastICA, KernelPCA, TruncatedSVD
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    KernelCenterer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import Bunch
from skorch.history import History
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from skdeepclust._files import written
from skdeepclust._sklearn import InvalidParameterError, validate_parameter_constraints
from skdeepclust._torch_state import LocalRandomState, neutral_settings
from skdeepclust.base import BaseDeepEstimator
from skdeepclust.cluster._ensemble import ConsensusClustering
from skdeepclust.cluster._n2d import MixtureHead
from skdeepclust.inference import evaluation_mode
from skdeepclust.networks._adversarial import Latent
from skdeepclust.objective import Objective

FORMAT = "skdeepclust 1"
LARGEST_TRIAL = 2**26  # values that a network may make of two samples to be tried with them
LARGEST_DOCUMENT = 2**24  # characters; what JSON becomes takes up to 20 times as much memory
# scikit-learn's own that hold arrays and numbers alone. Trees of neighbours, as Isomap has them,
# are C structures that believe what they are given.
SCIKIT_LEARN = (
    FastICA,
    FrozenEstimator,
    GaussianMixture,
    KernelCenterer,
    KernelPCA,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PCA,
    Pipeline,
    RobustScaler,
    StandardScaler,
    TruncatedSVD,
)
# Parameters that hold what was fitted: a file without them would be worth nothing
FITTED_PARTS = {(Pipeline, "steps"), (FrozenEstimator, "estimator")}
NUMBERS = {kind.__name__: kind for kind in (np.float32, np.float64)}
OF_MODULE = frozenset(vars(nn.Module())) - {"training"}  # what every module has
HOOKS = frozenset(name for name in OF_MODULE if name.endswith(("_hooks", "_pre_hooks")))
# Parts of networks that may be of a class that isn't ours, and the parameter that they come from
GIVEN = {
    "encoder": "network",
    "critic": "network",
    "decoder": "decoder",
    "generator": "generator",
    "manifold": "manifold",
}
CACHES = ("_named",)  # the network of a name, which loading would ask for
# A stranger's model shall write no file of their choice, and unpickle none
NOT_KEPT = ("checkpoint", "memory", "out")


def import_safetensors() -> Any:
    """Return safetensors' module for torch, which only model files need."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            'Model files need safetensors. Install it with: pip install "skdeepclust[model]"'
        ) from error
    return safetensors


def _subclasses(cls: type) -> Iterator[type]:
    sub: type
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _listed() -> dict[str, Any]:
    """Return the classes that a model file may name: the package's, torch's, few of scikit-learn.

    They are looked up, never imported: what isn't among them is not in a model file.
    """
    found = dict(_of_libraries())
    for base in (nn.Module, BaseEstimator):
        for cls in _subclasses(base):
            if cls.__module__.startswith("skdeepclust.") and not issubclass(cls, Objective):
                found[f"skdeepclust.{cls.__name__}"] = cls
    return found


@cache
def _of_libraries() -> dict[str, Any]:
    found: dict[str, Any] = {"skdeepclust.Latent": Latent}
    for library, base in ((torch.nn, nn.Module), (torch.optim, torch.optim.Optimizer)):
        for name, value in vars(library).items():
            is_one = isinstance(value, type) and issubclass(value, base)
            if is_one and not name.startswith(("Lazy", "DataParallel")):  # which have hooks
                found[f"{library.__name__}.{name}"] = value
    return found | {f"sklearn.{cls.__name__}": cls for cls in SCIKIT_LEARN}


def _described(value: Any) -> str:
    """Return the name of a class or function, or that of a value's class."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _all_parameters(estimator: BaseEstimator, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parameters of an estimator and, by longer names, of those among them."""
    parameters = estimator.get_params(deep=False)
    for name, value in parameters.items():
        yield prefix + name, value
    for name, value in parameters.items():
        for part in value if isinstance(value, list) else [value]:
            inner = f"{prefix}{name}__"
            if _is_named(part):
                inner, part = _renamed(inner, part[0]), part[1]
            if isinstance(part, BaseEstimator) and not isinstance(part, type):
                yield from _all_parameters(part, inner)


def _is_name_of_network(parameter: str, value: Any) -> bool:
    """Return whether a parameter names a network to download: whose, the user is to say."""
    return parameter.rpartition("__")[2] == "network" and isinstance(value, str)


def _is_named(value: Any) -> bool:
    """Return whether a value is an estimator with a name, as pipelines have them."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
    return is_pair and isinstance(value[1], BaseEstimator)


def _renamed(prefix: str, name: str) -> str:
    """Return what names parameters: of a step of a pipeline "step__" in the place of "steps__"."""
    outer = prefix.removesuffix("__").rpartition("__")[0]
    return f"{outer}__{name}__" if outer else f"{name}__"


class _UnlistedError(ValueError):
    """A value of a class that model files don't know."""

    def __init__(self, value: Any, path: str) -> None:
        super().__init__(
            f"{path} is a {_described(value)}, which a model file can't hold: it holds estimators "
            "and networks of this package, layers of torch, arrays and plain values. joblib.dump "
            "takes more; of a search, save the best_estimator_."
        )
        self.value = value


class _GivenError(ValueError):
    """What the user gives is not what the file asks for."""


class _Writer:
    """Takes an estimator apart: into JSON, and tensors by their place.

    Parameters
    ----------
    estimator : estimator

    Attributes
    ----------
    tensors : dict of str to Tensor
    document : dict
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.names = {cls: name for name, cls in _listed().items()}
        self.tensors: dict[str, Tensor] = {}
        self.places: dict[int, str] = {}  # of tensors, by id
        self.numbers: dict[int, int] = {}  # of modules and estimators, by id
        self.alive: list[Any] = []  # so that no other object gets an id that was seen
        self.root: Any = estimator  # that is taken apart
        self.owner: Any = estimator  # that the attributes at hand are of
        self.document = self.value(estimator, "")

    def value(self, value: Any, path: str, prefix: str = "") -> Any:
        """Return a value as JSON; `prefix` is what parameters of an estimator's are named by."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is list:
            return self.values(value, path, prefix)
        if kind is tuple:
            if _is_named(value):
                prefix = _renamed(prefix, value[0])
            return {"tuple": self.values(value, path, prefix)}
        if kind is torch.Size:
            return {"size": list(value)}
        if kind in (dict, Bunch):
            return {
                kind.__name__.lower(): [
                    [self.value(k, path), self.value(v, f"{path}.{k}", prefix)]
                    for k, v in value.items()
                ]
            }
        if kind is History:
            return {"history": self.values(list(value), path)}
        if kind in (np.ndarray, np.memmap):  # as joblib maps those of large models
            return self.array(np.asarray(value), path)
        if isinstance(value, np.bool_ | np.number) and isinstance(value.item(), int | float):
            return {"number": [value.dtype.name, value.item()]}
        if kind is Tensor:
            return {"tensor": self.tensor(value, path)}
        if kind is nn.Parameter:
            return {"parameter": [value.requires_grad, *self.tensor(value, path)]}
        if kind is torch.device:
            return {"device": str(value)}
        if isinstance(value, PurePath):
            return {"path": str(value)}
        if kind is np.random.RandomState:
            return {"random_state": self.values(value.get_state(), path)}
        if kind is partial:
            parts = [value.func, list(value.args), value.keywords]
            return {"partial": self.values(parts, path)}
        if isinstance(value, type):
            if value in NUMBERS.values():
                return {"type": value.__name__}
            return {"class": self.listed(value, value, path)}
        if isinstance(value, nn.Module):
            return self.module(value, path)
        if isinstance(value, BaseEstimator):
            return self.estimator(value, path, prefix)
        if dataclasses.is_dataclass(value):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return {"record": [self.listed(kind, value, path), self.value(fields, path)]}
        raise _UnlistedError(value, path)

    def values(self, values: Any, path: str, prefix: str = "") -> list[Any]:
        """Return several values as JSON."""
        return [
            self.value(value, f"{path}.{number}" if path else str(number), prefix)
            for number, value in enumerate(values)
        ]

    def listed(self, cls: Any, value: Any, path: str) -> str:
        """Return the name of a class that model files know."""
        if cls not in self.names:
            raise _UnlistedError(value, path)
        return self.names[cls]

    def array(self, value: np.ndarray, path: str) -> Any:
        """Return an array of numbers, or of strings."""
        if value.dtype.kind in "OU":
            strings = value.tolist()
            if value.ndim == 1 and all(isinstance(s, str) for s in strings):
                return {"strings": [value.dtype.str, strings]}
        elif value.dtype.kind in "biuf":
            native = np.asarray(value, value.dtype.newbyteorder("="))
            with suppress(TypeError):  # of a type that torch doesn't have
                return {"array": self.tensor(torch.from_numpy(native.copy("K")), path)}
        raise _UnlistedError(value, f"{path}, an array of {value.dtype},")

    def tensor(self, value: Tensor, path: str) -> list[Any]:
        """Return the place of a tensor, under which it is kept, and its strides.

        On the order in memory, "channels last" say, the last digits of products depend.
        """
        if id(value) not in self.places:
            while path in self.tensors:  # keys 1 and "1" of a dict, say
                path += "'"
            self.places[id(value)] = path
            # a copy, for safetensors takes no two tensors of the same memory
            self.tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            self.alive.append(value)
        place, strides = self.places[id(value)], value.stride()
        is_plain = strides == self.tensors[place].stride() or not _is_dense(value.shape, strides)
        return [place] if is_plain else [place, list(strides)]

    # ------------------------------------------------------------------ estimators

    def estimator(self, estimator: BaseEstimator, path: str, prefix: str) -> Any:
        """Return an estimator: its parameters, and what a fit has left."""
        if id(estimator) in self.numbers:
            return {"again": self.numbers[id(estimator)]}
        name = self.listed(type(estimator), estimator, path or "The estimator")
        self.numbers[id(estimator)] = len(self.numbers)
        outer, self.owner = self.owner, estimator
        parameters = estimator.get_params(deep=False)
        state = {k: v for k, v in vars(estimator).items() if k not in (*parameters, *CACHES)}
        at = f"{path}." if path else ""

        def kept(key: str, value: Any) -> Any:
            if (type(estimator), key) in FITTED_PARTS:
                return self.value(value, at + key, f"{prefix}{key}__")
            return self.parameter(None if key in NOT_KEPT else value, at + key, prefix + key)

        def learnt(key: str, value: Any) -> Any:
            if key != "estimators_" or not isinstance(estimator, ConsensusClustering):
                return self.value(value, at + key)
            names = [name for name, member in estimator.estimators if member != "drop"]
            return [  # what a member asks for has its name, as in the parameters
                self.value(member, f"{at}{key}.{number}", f"{prefix}{names[number]}__")
                for number, member in enumerate(value)
            ]

        found = {
            "parameters": {key: kept(key, value) for key, value in parameters.items()},
            "state": {key: learnt(key, value) for key, value in state.items()},
        }
        self.owner = outer
        return {"estimator": [name, found]}

    def parameter(self, value: Any, path: str, name: str) -> Any:
        """Return a parameter; of a value that isn't listed, what it is."""
        if _is_name_of_network(name, value):
            return {"given": [name, repr(value)]}
        before = dict(self.tensors), dict(self.places), dict(self.numbers)
        try:
            return self.value(value, path, f"{name}__")
        except _UnlistedError as error:
            self.tensors, self.places, self.numbers = before
            return {"given": [name, _described(error.value)]}

    # ------------------------------------------------------------------ networks

    def module(self, module: nn.Module, path: str) -> Any:
        """Return a module: its class, what it knows, its tensors and its parts."""
        if id(module) in self.numbers:
            return {"again": self.numbers[id(module)]}
        name = self.listed(type(module), module, path)
        if any(getattr(module, hooks) for hooks in HOOKS):
            raise _UnlistedError(module, f"{path}, which has hooks,")
        self.numbers[id(module)] = len(self.numbers)
        own = {key: value for key, value in vars(module).items() if key not in OF_MODULE}
        return {
            "module": [
                name,
                {
                    "knows": {k: self.part(module, k, v, path) for k, v in own.items()},
                    "parameters": {
                        k: self.value(p, f"{path}.{k}") for k, p in module._parameters.items()
                    },
                    "buffers": {
                        k: self.value(b, f"{path}.{k}") for k, b in module._buffers.items()
                    },
                    "not persistent": sorted(module._non_persistent_buffers_set),
                    "modules": {
                        k: self.part(module, k, v, path) for k, v in module._modules.items()
                    },
                },
            ]
        }

    def part(self, module: nn.Module, key: str, value: Any, path: str) -> Any:
        """Return a part of a module; of a user's encoder, say, the weights alone."""
        path = f"{path}.{key}"
        before = dict(self.tensors), dict(self.places), dict(self.numbers)
        try:
            return self.value(value, path)
        except _UnlistedError as error:
            if key not in GIVEN:
                raise
            self.tensors, self.places, self.numbers = before
            if isinstance(value, nn.Module):
                return self.given_module(module, key, value, path)
            return {"given": [GIVEN[key], _described(error.value)]}

    def given_module(self, network: nn.Module, key: str, module: nn.Module, path: str) -> Any:
        """Return a user's module: the parameter that makes it, with what, and its weights."""
        if id(module) in self.numbers:
            return {"again": self.numbers[id(module)]}
        self.numbers[id(module)] = len(self.numbers)
        role = GIVEN[key]
        named = {
            name: value
            for name, value in _all_parameters(self.root)
            if name.rpartition("__")[2] == role and value is not None
        }
        of_class = [n for n, value in named.items() if type(module) in (value, type(value))]
        name = next(iter(of_class or named), role)
        arguments: list[Any] = [{"tuple": list(self.owner.input_shape_)}]
        if key == "decoder":
            arguments.insert(0, self.owner._n_features_out)
        elif key == "generator":
            arguments.insert(0, len(network.latent))  # type: ignore[arg-type]
        state = module.state_dict()
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise _UnlistedError(module, path)
        weights = {k: self.tensor(v, f"{path}.{k}") for k, v in state.items()}
        return {"given module": [name, _described(module), arguments, weights, module.training]}


def _is_dense(shape: Any, strides: Any) -> bool:
    """Return whether what has these strides takes no more memory than its values."""
    last = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    return last + 1 == math.prod(shape) and all(type(s) is int and s >= 0 for s in strides)


def _check_name(cls: type, name: Any) -> None:
    """Raise a ValueError unless an object of the class may have an attribute of that name."""
    taken = inspect.getattr_static(cls, name, None) if isinstance(name, str) else None
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("__"):
        raise ValueError(f"{name!r} is no name of an attribute")
    if callable(taken) or isinstance(taken, property | classmethod | staticmethod):
        raise ValueError(f"{cls.__name__}.{name} is not for a file to set")


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(n) is int and n > 0 for n in value)


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))


def _is_scaling(value: Any) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and _is_shape(value[1])
    return is_pair and value[0] in ("standard", "l2", None)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _is_float32(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


FACTS: dict[str, Callable[[Any], bool]] = {  # what a fit leaves, and what makes it valid
    "input_shape_": lambda value: _is_shape(value) and len(value) in (1, 3),
    "input_mean_": _is_number,
    "input_scale_": lambda value: _is_number(value) and value > 0,
    "_input_range": _is_range,
    "_n_features_out": lambda value: type(value) is int and value > 0,
    "_sample_dtype": lambda value: value in NUMBERS.values(),
    "_sample_shape": _is_shape,
    "_scaled_by": _is_scaling,
    "n_features_in_": lambda value: type(value) is int and value > 0,
    "history_": lambda value: isinstance(value, History) and _are_rows(value),
    "restarts_": _are_rows,
    "labels_": lambda value: isinstance(value, np.ndarray) and value.dtype == np.int64,
    "n_clusters_": lambda value: type(value) is int and value > 0,
    "merge_tree_": lambda value: isinstance(value, np.ndarray) and value.shape[1:] == (4,),
    "outlier_scores_": _is_float32,
    "_references": _is_float32,
    "network_": lambda value: isinstance(value, nn.Module),
}


class _Counting(TorchDispatchMode):
    """Counts the values of the tensors that are made within it."""

    def __enter__(self) -> _Counting:
        self.n_values = 0
        return super().__enter__()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        parts = made if isinstance(made, list | tuple) else [made]
        self.n_values += sum(part.numel() for part in parts if isinstance(part, Tensor))
        return made


class _Reader:
    """Makes an estimator of what a `_Writer` has made of one.

    It calls no constructor but those of estimators, which assign their parameters, and what the
    user gives. What it makes is no larger than the file.

    Parameters
    ----------
    tensors : dict of str to Tensor
        On the device "meta" to see whether all fits together: they have no values then, and take
        no memory, whatever a network would make of them.
    given : dict of str to object
        What the user gives.
    is_small : bool, default=False
        Whether networks may be tried with tensors that do.
    """

    def __init__(
        self, tensors: dict[str, Tensor], given: dict[str, Any], is_small: bool = False
    ) -> None:
        self.classes = _listed()
        self.tensors = tensors
        self.given = given
        self.is_meta = any(t.is_meta for t in tensors.values())
        self.is_small = is_small
        self.missing: dict[str, str] = {}  # what is to be given, and what it was
        self.asked: set[str] = set()
        self.objects: list[Any] = []  # modules and estimators, in the order in which they begin
        self.n_open = 0  # modules that are being read
        self.parameters: dict[str, nn.Parameter] = {}
        self.readers: dict[str, Callable[..., Any]] = {
            "tuple": lambda *items: tuple(self.values(items)),
            "size": lambda *items: torch.Size(items),
            "dict": lambda *items: dict(map(self.values, items)),
            "bunch": lambda *items: Bunch(**dict(map(self.values, items))),
            "history": lambda *rows: History(self.values(rows)),
            "array": self.array,
            "strings": self.strings,
            "number": lambda dtype, value: self.dtype(dtype).type(value),
            "device": torch.device,
            "path": Path,
            "type": NUMBERS.__getitem__,
            "class": self.listed,
            "tensor": self.tensor,
            "parameter": self.parameter,
            "random_state": self.random_state,
            "partial": self.partial,
            "record": self.record,
            "estimator": self.estimator,
            "again": self.again,
            "module": self.module,
            "given": self.user_value,
            "given module": self.user_module,
        }

    def value(self, spec: Any) -> Any:
        """Return the value that JSON stands for."""
        if isinstance(spec, list):
            return self.values(spec)
        if not isinstance(spec, dict):
            return spec
        ((kind, content),) = spec.items()
        return self.readers[kind](*content if isinstance(content, list) else [content])

    def values(self, specs: Any) -> list[Any]:
        """Return the values that a list stands for."""
        return [self.value(spec) for spec in specs]

    def dtype(self, name: Any) -> np.dtype:
        """Return a type of numbers."""
        dtype = np.dtype(str(name))
        if dtype.kind not in "biuf":
            raise ValueError(f"{name!r} is no type of numbers")
        return dtype

    def tensor(self, place: str, strides: Any = None) -> Tensor:
        """Return a tensor, the same one each time."""
        if strides is not None and self.tensors[place].stride() != tuple(strides):
            plain = self.tensors[place]
            if not _is_dense(plain.shape, strides):
                raise ValueError(f"{place} can't have the strides {strides}")
            laid_out = torch.empty_strided(
                plain.shape, strides, dtype=plain.dtype, device=plain.device
            )
            self.tensors[place] = laid_out.copy_(plain)
        return self.tensors[place]

    def array(self, place: str, strides: Any = None) -> np.ndarray:
        """Return an array."""
        tensor = self.tensor(place, strides)
        if not self.is_meta:
            return tensor.numpy()
        dtype = str(tensor.dtype).removeprefix("torch.")
        return np.broadcast_to(np.zeros((), dtype), tensor.shape)  # for its shape; has no values

    def strings(self, dtype: str, values: list[str]) -> np.ndarray:
        """Return an array of strings."""
        if not all(isinstance(value, str) for value in values) or dtype[:2] not in ("|O", "<U"):
            raise ValueError("an array of strings holds something else")
        return np.array(values, dtype=object if dtype[:2] == "|O" else str)

    def random_state(self, *state: Any) -> np.random.RandomState:
        """Return a random state of NumPy's."""
        made = np.random.RandomState(0)
        if not self.is_meta:
            made.set_state(tuple(self.values(state)))
        return made

    def listed(self, name: str) -> type:
        """Return a class that is a parameter; a network that has one might call it."""
        if self.n_open:
            raise ValueError("a module holds a class")
        return self.classes[name]

    def partial(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """Return a class with some of its arguments."""
        made = self.value(function)
        if not isinstance(made, type):
            raise ValueError("a partial is not of a class")
        return partial(made, *self.value(arguments), **self.value(keywords))

    def record(self, name: str, fields: Any) -> Any:
        """Return an object of a dataclass."""
        cls = self.classes[name]
        made = cls(**self.value(fields))
        if not dataclasses.is_dataclass(cls) or not all(
            type(value) is int and value >= 0 for value in dataclasses.asdict(made).values()
        ):
            raise ValueError(f"{name} is not valid")
        return made

    # ------------------------------------------------------------------ what users give

    def asks(self, name: str, what: str) -> bool:
        """Note that something has to be given; return whether it is."""
        self.asked.add(name)
        if name not in self.given:
            self.missing[name] = what
        return name in self.given

    def user_value(self, name: str, what: str) -> Any:
        """Return what is given for a parameter."""
        return self.given[name] if self.asks(name, what) else None

    def user_module(
        self, name: str, what: str, arguments: Any, weights: dict[str, Any], training: bool
    ) -> nn.Module:
        """Return a module that is given, or made by what is given, with the weights of the file."""
        module: Any = nn.Identity()
        self.objects.append(module)
        number = len(self.objects) - 1
        if not self.asks(name, what) or self.is_meta:
            return module
        given = self.given[name]
        if not callable(given):
            raise _GivenError(
                f"{name} must be what it was when the model was saved, {what}, a module or what "
                f"makes it; got {given!r}."
            )
        with LocalRandomState(0, torch.device("cpu"))():
            is_module = isinstance(given, nn.Module)
            module = copy.deepcopy(given) if is_module else given(*self.values(arguments))
        try:
            state = {key: self.tensor(*at) for key, at in weights.items()}
            module.load_state_dict(state, assign=True)  # as they lie in memory
        except (AttributeError, RuntimeError) as error:
            raise _GivenError(
                f"{name}={given!r} does not take the weights in the model file, where it was "
                f"{what}: {error}"
            ) from error
        self.objects[number] = module.train(bool(training))
        return module

    # ------------------------------------------------------------------ networks

    def again(self, number: int) -> Any:
        """Return a module or an estimator that has come before."""
        if self.objects[number] is None:
            raise ValueError("an estimator is a part of itself")
        return self.objects[number]

    def module(self, name: str, spec: dict[str, Any]) -> nn.Module:
        """Return a module of a class that is listed."""
        cls = self.classes[name]
        if not issubclass(cls, nn.Module):
            raise ValueError(f"{name} is no module")
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        self.objects.append(made)
        self.n_open += 1
        parts = {
            kind: {key: self.value(value) for key, value in spec[kind].items()}
            for kind in ("knows", "parameters", "buffers", "modules")
        }
        self.n_open -= 1
        for kind, of_kind in parts.items():
            expected = {"parameters": nn.Parameter, "buffers": Tensor, "modules": nn.Module}
            for key, value in of_kind.items():
                if kind != "modules":  # which may have numbers for names
                    _check_name(cls, key)
                is_taken = key in OF_MODULE or key in vars(nn.Module)
                if is_taken or not isinstance(value, expected.get(kind, object) | None):
                    raise ValueError(f"{name}.{key} is not valid")
        made._parameters.update(parts["parameters"])
        made._buffers.update(parts["buffers"])
        made._modules.update(parts["modules"])
        made._non_persistent_buffers_set = set(spec["not persistent"])
        made.__setstate__(parts["knows"])
        return made

    def parameter(self, requires_grad: bool, place: str, strides: Any = None) -> nn.Parameter:
        """Return a parameter, the same one where modules share it."""
        if place not in self.parameters:
            tensor = self.tensor(place, strides)
            self.parameters[place] = nn.Parameter(tensor, requires_grad=bool(requires_grad))
        return self.parameters[place]

    # ------------------------------------------------------------------ estimators

    def estimator(self, name: str, spec: dict[str, Any]) -> BaseEstimator:
        """Return an estimator of a class that is listed."""
        cls = self.classes[name]
        if not issubclass(cls, BaseEstimator):
            raise ValueError(f"{name} is no estimator")
        self.objects.append(None)
        number = len(self.objects) - 1
        unknown = set(spec["parameters"]) - set(inspect.signature(cls).parameters)
        if unknown:
            raise ValueError(f"{name} has no parameter {', '.join(sorted(unknown))} here")
        set_here = {k for k in NOT_KEPT if spec["parameters"].get(k) is not None}
        set_here |= {k for k, v in spec["parameters"].items() if _is_name_of_network(k, v)}
        # in the state they would be taken as they are
        set_here |= set(spec["state"]) & {*inspect.signature(cls).parameters, *CACHES}
        if set_here:
            raise ValueError(f"{name}.{min(set_here)} is not for a file to set")
        made = cls(**{key: self.value(value) for key, value in spec["parameters"].items()})
        self.objects[number] = made
        if not self.missing and hasattr(cls, "_parameter_constraints"):
            self.validate(made, spec["parameters"])
        state = {key: self.value(value) for key, value in spec["state"].items()}
        for key, value in state.items():
            _check_name(cls, key)
            if key in FACTS and issubclass(cls, BaseDeepEstimator) and not FACTS[key](value):
                raise ValueError(f"{name}.{key} is not valid")
        vars(made).update(state)
        if isinstance(made, BaseDeepEstimator) and "network_" in state:
            self.check(made)
        return made

    def validate(self, estimator: Any, parameters: dict[str, Any]) -> None:
        """Raise an error unless the parameters are valid, but for those that are given as None."""
        asked = {
            key: value["given"][0]
            for key, value in parameters.items()
            if isinstance(value, dict) and "given" in value
        }
        left_out = {key for key, name in asked.items() if self.given[name] is None}
        constraints = {
            key: value
            for key, value in estimator._parameter_constraints.items()
            if key not in left_out
        }
        try:
            validate_parameter_constraints(
                constraints, estimator.get_params(deep=False), type(estimator).__name__
            )
        except InvalidParameterError as error:
            if any(f"'{key}'" in str(error) for key in asked):
                raise _GivenError(str(error)) from error
            raise

    def check(self, estimator: Any) -> None:
        """Raise an error unless what a fit has left belongs together; see `is_meta`."""
        shape = estimator.input_shape_
        n_values = math.prod(shape)
        if n_values != estimator.n_features_in_ or n_values != math.prod(estimator._sample_shape):
            raise ValueError("input_shape_ and n_features_in_ don't suit each other")
        references = getattr(estimator, "_references", None)
        if references is not None and references.shape[1:] != (estimator._n_features_out,):
            raise ValueError("the features to compare others with don't suit the network")
        if self.asked:  # what users give is theirs to judge
            return
        if self.is_meta:
            with _Counting() as made:
                self.check_passes(estimator, "meta")
            self.is_small = made.n_values < LARGEST_TRIAL
        elif self.is_small:
            self.check_passes(estimator, "cpu")

    def check_passes(self, estimator: Any, device: str) -> None:
        """Raise an error unless the network makes of samples what it should."""
        network, shape = estimator.network_, estimator.input_shape_
        n_clusters = getattr(estimator, "n_clusters_", None)
        x = torch.zeros(2, *shape, device=device)
        with torch.no_grad(), evaluation_mode(network):
            z = network.embed(x)
            made = {"embed": (z, (2, estimator._n_features_out))}
            # scikit-learn's manifold learners take no tensors on "meta"
            if isinstance(getattr(network, "head", None), MixtureHead) and device == "meta":
                made["latents"] = z, (2, network.head.n_features)
            elif isinstance(estimator, ClusterMixin):
                made["forward"] = network(x), (2, n_clusters)
            if hasattr(network, "decode"):
                made["decode"] = network.decode(z), (2, *shape)
            if hasattr(network, "generate"):
                noise = x.new_zeros(2, len(network.latent))
                made["generate"] = network.generate(noise), (2, *shape)
        for what, (result, expected) in made.items():
            if tuple(result.shape) != expected or result.dtype != torch.float32:
                raise ValueError(f"the network's {what} is not of shape {expected}")


def _digest(document: str, tensors: dict[str, Tensor]) -> str:
    """Return the checksum of all that a model file holds."""
    digest = hashlib.sha256(document.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save(estimator: BaseEstimator, path: str | PathLike[str]) -> None:
    """Write an estimator to a model file, which holds data and no code.

    All of it is kept: parameters, networks, labels, history, and what a given `autoencoder` or
    `representation` holds; but for `checkpoint`, and for what isn't this package's, torch's or a
    plain value: networks and functions of your own are named in the file, and
    :func:`load` has to be given them. Training samples are not part of it, but the features of up
    to 10,000 of them, by which it knows outliers.

    Parameters
    ----------
    estimator : estimator
        Of this package, fitted or not, or a pipeline of scikit-learn's with one.
    path : path-like
        The file, which by custom ends in ``.skdc``. It is replaced as a whole or not at all.

    Raises
    ------
    ValueError
        If the estimator holds something else than that.
    OSError
        If the file can't be written.
    ImportError
        If safetensors is not installed.

    See Also
    --------
    load : The way back.

    Notes
    -----
    A model file is a safetensors file, which other programs can read the weights from. Its header
    has the parameters as JSON, the versions that wrote it, and a checksum. The checksum finds
    damage; it doesn't tell who made the file. Paths that an estimator writes to (`checkpoint`,
    `out`, the `memory` of a pipeline) are not kept, and refused where somebody has put them in.

    The manifold learner of :class:`~skdeepclust.N2DClustering` is kept if it is PCA, KernelPCA,
    FastICA or TruncatedSVD of scikit-learn's. Any other, UMAP too, is to be given to :func:`load`
    as `manifold`, fitted: ``n2d.network_.head.manifold``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_digits
    >>> import skdeepclust
    >>> images = load_digits().images[:200]
    >>> model = skdeepclust.DeepClustering(n_clusters=3, max_epochs=2, n_init=1, random_state=0)
    >>> labels = model.fit_predict(images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "digits.skdc")
    ...     skdeepclust.save(model, path)
    ...     again = skdeepclust.load(path)
    >>> bool((again.predict(images) == labels).all())
    True
    """
    safetensors = import_safetensors()
    path = Path(path).expanduser()
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
        raise ValueError(f"estimator must be an estimator of skdeepclust; got {estimator!r}.")
    writer = _Writer(estimator)
    document = json.dumps({"model": writer.document, "versions": _versions()})
    if len(document) > LARGEST_DOCUMENT:
        raise ValueError(
            f"{type(estimator).__name__} has {len(document)} characters of parameters and history, "
            f"more than the {LARGEST_DOCUMENT} that a model file may have."
        )
    checksum = _digest(document, writer.tensors)
    metadata = {"format": FORMAT, "document": document, "sha256": checksum}
    with written(path) as partial:
        partial.write_bytes(safetensors.torch.save(writer.tensors, metadata))


def _versions() -> dict[str, str]:
    from skdeepclust import __version__

    return {
        "skdeepclust": __version__,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def load(path: str | PathLike[str], **given: Any) -> Any:
    """Return the estimator that a model file holds.

    Nothing that the file holds is run or imported: it names classes of a closed list, the package's
    own estimators, networks and augmentations, torch's layers and optimisers, and a few
    transformers of scikit-learn's. So a file of unknown origin may be loaded. What it costs to
    predict with it, or to fit it anew, is another matter, as with any parameters. Names of networks
    that would be downloaded have to be given.

    Parameters
    ----------
    path : path-like
        A file that :func:`save` has written.
    **given : object
        What is not in the file, by the name of the parameter: ``network=MyEncoder`` or
        ``representation__network=MyEncoder()``, as the estimator got it. The error without it says
        what is asked for. Parameters that only a fit needs may be None.

    Returns
    -------
    estimator : estimator
        As it was, its network on the CPU: on the machine that it was saved on, predictions are the
        same bit for bit.

    Raises
    ------
    ValueError
        If it is no model file, is damaged, or is of a later version; if something has to be given,
        or doesn't suit.
    OSError
        If the file can't be read.
    ImportError
        If safetensors is not installed.

    See Also
    --------
    save : The way here, and an example.
    """
    safetensors = import_safetensors()
    path = Path(path).expanduser()
    with open(path, "rb"):
        pass  # whose errors say what is wrong with the path
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            document = metadata.get("document", "")
            if metadata.get("format") != FORMAT or len(document) > LARGEST_DOCUMENT:
                raise ValueError(
                    f"it is of the format {metadata.get('format')!r}, where {FORMAT!r} is read"
                )
            # copies, for the file may change
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not a model file: {error}.") from error
    if metadata.get("sha256") != _digest(document, tensors):
        raise ValueError(f"{str(path)!r} is damaged: it is not what its checksum says.")
    versions = None
    with neutral_settings():
        try:
            parsed = json.loads(document)
            versions = parsed["versions"]
            return _read(parsed["model"], tensors, given)
        except _GivenError as error:
            raise ValueError(f"{str(path)!r}: {error}") from error
        except Exception as error:  # of any kind, where somebody has made the file up
            raise ValueError(
                f"{str(path)!r} is not a valid model file ({type(error).__name__}: {error}). It "
                f"says that it is of {versions}, and this is {_versions()}."
            ) from error


def _read(document: Any, tensors: dict[str, Tensor], given: dict[str, Any]) -> BaseEstimator:
    """Return the estimator that JSON and its tensors stand for."""
    trial = _Reader({name: tensor.to("meta") for name, tensor in tensors.items()}, given)
    trial.value(document)
    if trial.missing:
        names = ", ".join(trial.missing)
        was = ", ".join(f"{name} was {what}" for name, what in trial.missing.items())
        call = ", ".join(f"{name}=..." for name in trial.missing)
        raise _GivenError(
            f"{names} must be given, for {was}, which a model file can't hold: load(path, {call})."
        )
    if unknown := set(given) - trial.asked:
        raise _GivenError(
            f"{', '.join(sorted(unknown))} can't be given: the file "
            + (f"asks for {', '.join(sorted(trial.asked))}." if trial.asked else "has all.")
        )
    estimator = _Reader(tensors, given, trial.is_small).value(document)
    if not isinstance(estimator, BaseEstimator):
        raise ValueError("it holds no estimator")
    return estimator
