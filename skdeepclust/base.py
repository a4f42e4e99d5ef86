"""The base of all estimators: what scikit-learn expects, around phases that a method yields."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    clone,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import BatchScoring, Callback, EpochScoring, PassthroughScoring
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust import _distributed
from skdeepclust._inputs import check_X
from skdeepclust._parameters import (
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    N_JOBS,
    POSITIVE,
    estimator,
    param,
)
from skdeepclust._progress import Bar
from skdeepclust._sklearn import Interval, StrOptions, fit_context
from skdeepclust._torch_state import LocalRandomState, neutral_settings
from skdeepclust._training._checkpoint import Checkpoint, fingerprint
from skdeepclust._training._parallel import count_workers, train_in_workers
from skdeepclust._training._restarts import despite_interruption, train_restarts
from skdeepclust._training._run import Run
from skdeepclust._training._selection import NeighborCriterion, looked_at
from skdeepclust._warnings import warn
from skdeepclust.augment import RandomAffine, RandomNoise
from skdeepclust.engine import Phase, resolved_device
from skdeepclust.hierarchy import count_clusters, merge_tree
from skdeepclust.inference import (
    forward_in_slices,
    in_slices,
    n_output_features,
    reestimate_batch_norm,
    slice_size,
)
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.objective import Objective
from skdeepclust.outliers import distance_to_references, references_among
from skdeepclust.samples import Samples

# Where the number of clusters is to be found: those to begin with, those to end with, and samples
# of each at least
MANY_CLUSTERS, MOST_CLUSTERS, LEAST_SIZE = 30, 480, 10

# What a fit leaves besides the attributes that end in an underscore
PRIVATE_STATE = (
    "_input_range",
    "_n_features_out",
    "_references",
    "_sample_dtype",
    "_sample_shape",
    "_scaled_by",
)


def is_fitted(attribute: str) -> bool:
    """Return whether an attribute is what a fit leaves."""
    return attribute in PRIVATE_STATE or (attribute[-1] == "_" and attribute[0] != "_")


def check_out(out: Any, shape: tuple[int, ...], part: np.ndarray) -> None:
    """Raise a ValueError if `out` isn't made to hold values like those of `part`, in a shape."""
    is_integer = part.dtype.kind == "i"
    found: Any = getattr(out, "shape", None)
    dtype: Any = getattr(out, "dtype", None)
    suits = found == shape and isinstance(dtype, np.dtype) and hasattr(out, "__setitem__")
    if suits and is_integer:
        held = np.iinfo(dtype) if dtype.kind in "iu" else None
        suits = held is not None and held.min <= part.min() and part.max() <= held.max
    elif suits:
        suits = dtype.kind == "f"
    if not suits:
        expected = "floating-point numbers"
        if is_integer:
            expected = f"integers from {part.min()} to {part.max()}"
        raise ValueError(
            f"out must be an array of shape {shape} and of a type that holds "
            f"{expected}, such as np.lib.format.open_memmap(path, 'w+', dtype, shape) for one on "
            f"disk; got {type(out).__name__} of shape {found} and type {dtype}."
        )


def own(function: Any, device: Any = None) -> Any:
    """Return a copy of a function of users': the training changes what it holds, a generator say.

    A module is put into training mode. What is no module, and can't be copied, is returned as it
    is.
    """
    is_module = isinstance(function, nn.Module)
    try:
        function = copy.deepcopy(function)
    except Exception as error:  # whatever users' code may raise
        if is_module:
            raise ValueError(f"{function!r} is a module that can't be copied: {error}") from error
    if not is_module:
        return function
    return function.train() if device is None else function.train().to(device)


class _Fitted:
    """What estimators and mixins know of the training samples."""

    input_shape_: tuple[int] | tuple[int, int, int]
    input_mean_: float
    _input_range: tuple[float, float]
    input_scale_: float
    interrupted_: bool
    _sample_shape: tuple[int, ...]
    _sample_dtype: Any  # np.float32 or np.float64
    _scaled_by: tuple[str | None, tuple[int, ...]]  # what `_feature_scaling` was in the fit


@estimator
class BaseDeepEstimator(_Fitted, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of all estimators: input, networks, device, training runs, the embedding.

    A method defines :meth:`_phases`, a generator of :class:`~skdeepclust.engine.Phase`, and
    the network that it trains by default.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) or (channels, height, width) of the images if `X` is 2-D. Without it,
        2-D input is tabular.
    max_epochs : int
        Passes over the samples.
    batch_size : int
        Samples a step, of each process where torchrun has started several.
    lr : float
        Learning rate.
    optimizer : callable
        Called with the parameters and ``lr=``.
    checkpoint : path-like
        A file that the state of the training is written to: after the first epoch, then at most
        once a minute between epochs, and at the end. A fit that finds it there, with the same
        parameters and data, goes on from it as if it had not been interrupted; after the end it
        returns the same result at once. Where there are several restarts, their number is appended.
        Callbacks begin anew, but for
        skorch's ``LRScheduler``. It is of one fit: a search or several members of a consensus
        can't share it.
    callbacks : list
        Callbacks of skorch, such as ``EarlyStopping("train_loss", threshold_mode="abs")``; each
        phase gets copies. There is no validation set: monitor "train_loss", which may be negative.
    device : str or torch.device
        "auto": CUDA if there is one, else MPS, else the CPU.
    precision : {"float32", "bf16", "auto"}
        "bf16": train under autocast, on one core 1.4 (ST-DAC, SCAN) to 2.8 times as fast (an
        auto-encoder of 784-500-500-2000-10) where the processor multiplies bf16, by AMX or AVX-512,
        and slower where it doesn't. "auto": so where it does, and on such cards; labels may then
        differ between machines. Predictions are always computed in float32.
    memory_limit : int
        Bytes up to which data on disk (a memory map, an array of h5py or zarr, a Dataset) are read
        into memory as a whole, 1 GiB by default. Of larger data, parts are read ahead while others
        are trained on, which together take no more than this; they are shuffled in blocks, and the
        samples within a window of several blocks. Arrays in memory aren't limited: those of uint8
        are trained on as they are, others are held once more, as float32.
    num_workers : int
        Processes that read a Dataset, where decoding takes time. 0: none but this one.
    verbose : int or bool
        Whether to show a progress bar.
    random_state : int, RandomState instance or None
        With an int, the same data give the same labels on the same machine. torch's global
        random state is left as it was.

    Attributes
    ----------
    history_ : skorch.history.History
        One row an epoch (of the kept restart): "phase", "train_loss", "dur" (seconds), and what
        callbacks record; ``history_[:, "train_loss"]`` gives a column.
    input_shape_ : tuple of int
        (channels, height, width), or (n_features,).
    input_mean_, input_scale_ : float
        Global mean and standard deviation of the training samples, or of those of a fitted
        estimator that was given.
    interrupted_ : bool
        Whether Ctrl-C ended the fit before its end.
    n_features_in_ : int
        Number of values a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if `X` had string names.
    """

    image_shape: tuple[int, ...] | None = param(None, None, "array-like")
    max_epochs: int = param(50, AT_LEAST_1)
    batch_size: int = param(128, AT_LEAST_2)
    lr: float = param(1e-3, POSITIVE)
    optimizer: Callable[..., torch.optim.Optimizer] = param(torch.optim.Adam, callable)
    checkpoint: str | PathLike[str] | None = param(None, None, str, PathLike)
    callbacks: list[Any] | None = param(None, None, list)
    device: str | torch.device = param("auto", str, torch.device)
    precision: str = param("float32", StrOptions({"float32", "bf16", "auto"}))
    memory_limit: int = param(2**30, AT_LEAST_1)
    num_workers: int = param(0, AT_LEAST_0)
    verbose: int | bool = param(0, "verbose")
    random_state: Any = param(None, "random_state")

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    _PARTS: ClassVar[dict[str, str]] = {}  # what estimators among the parameters should be

    # `network` is Any here, for each method to name the class that its `_build_network` makes.
    def _phases(self, network: Any, X: Samples) -> Iterator[Phase]:
        """Yield the training phases; what stands after a ``yield`` runs once it has trained."""
        raise TypeError(f"{type(self).__name__} does not define `_phases`")

    def _phase(self, objective: Objective, max_epochs: int, name: str, **settings: Any) -> Phase:
        """Return a phase with the estimator's batch size, optimiser and learning rate.

        `settings` are what it has besides, or in place of these.
        """
        own = {"batch_size": self.batch_size, "optimizer": self.optimizer, "lr": self.lr}
        return Phase(objective, max_epochs, name, **{**own, **settings})

    def _planned_epochs(self, n_samples: int) -> int:
        """Return the epochs of all phases together, for screening and the progress bar."""
        return self.max_epochs

    def _check_parameters(self) -> None:
        """Raise a ValueError if parameters don't suit each other or ``self.input_shape_``."""

    def _scaled_as(self) -> Any:
        """Return the fitted estimator to standardise `X` as, or None to do so by `X` itself."""
        return None

    def _feature_scaling(self) -> tuple[str | None, tuple[int, ...]]:
        """Return how features are scaled, None if not, and the widths of spaces, if several."""
        return None, ()

    def _takes_features(self) -> bool:
        """Return whether features are meant, so that what is no image is taken as a vector."""
        return False

    def _finalize(self, network: Any, X: Samples) -> None:
        """Make `network` ready to predict, wherever its training stands."""
        reestimate_batch_norm(network, X)

    def _wants_consensus(self) -> bool:
        """Return whether the best restart learns the restarts' average."""
        return False

    def _consensus_phase(self, average: np.ndarray) -> Phase:
        """Return the phase in which it does."""
        raise TypeError(f"{type(self).__name__} does not define `_consensus_phase`")

    def _prepared(self, X: Any) -> Samples:
        """Validate parameters and `X` before a fit; return `X` standardised, on the device."""
        device = resolved_device(self.device)
        if self.precision == "bf16" and not torch.amp.is_autocast_available(device.type):
            raise ValueError(
                f"precision must be 'float32' or 'auto' on {device.type}, where this version of "
                "torch has no autocast; got 'bf16'."
            )
        self._check_callbacks()
        self._check_optimizer(device)
        X = check_X(self, X, reset=True, scaled_as=self._scaled_as(), device=device)
        self._check_parameters()
        for name in ("augmentation", "strong_augmentation", "corruption"):
            self._check_augmentation(getattr(self, name, None), name, X)
        return X

    def _check_callbacks(self) -> None:
        for given in self.callbacks or []:
            named = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str)
            callback = given[1] if named else given
            if isinstance(callback, type) and issubclass(callback, Callback):
                callback = callback()
            if not isinstance(callback, Callback):
                raise ValueError(
                    "callbacks must be a list of skorch callbacks or of pairs (name, callback), "
                    f"got {given!r} in it."
                )
            scores = isinstance(callback, EpochScoring | BatchScoring | PassthroughScoring)
            if scores and not (callback.on_train and callable(getattr(callback, "scoring", len))):
                raise ValueError(
                    f"callbacks: {callback!r} scores predictions of a validation set, or beside "
                    "labels, and there are none. With on_train=True, a function of the net as its "
                    "scoring does without; a callback of your own can record what it likes."
                )
            try:
                copy.deepcopy(callback)
            except Exception as error:  # whatever users' code may raise
                raise ValueError(
                    f"callbacks: each phase has a copy of {callback!r}, and it can't be copied "
                    f"({error}). With a __deepcopy__ that returns it, all have the same."
                ) from error
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, str) and monitor.startswith("valid"):
                raise ValueError(
                    f"callbacks: there is no validation set, so monitor='train_loss' (or "
                    f"'train_loss_best') must take the place of {monitor!r}; got {callback!r}."
                )

    def _check_optimizer(self, device: torch.device) -> None:
        """Raise a ValueError unless `optimizer` makes an optimiser that trains parameters."""
        shapes = (2,), (2, 2), (2, 2, 3, 3)  # of biases, dense layers and convolutions
        parameters = [nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        try:
            made = self.optimizer(parameters, lr=self.lr)
            if isinstance(made, torch.optim.Optimizer):
                for group in made.param_groups:
                    group["lr"] = 0.0  # whether it makes a step, not whether that is too large
                getattr(made, "train", bool)()  # some have a mode, which a callback sets
                made.step()
        except Exception as error:  # whatever users' code may raise
            raise ValueError(
                f"optimizer={self.optimizer!r} can't train parameters with lr={self.lr}: {error}"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise ValueError(
                f"optimizer must make an optimiser of torch's of parameters and lr=; "
                f"{self.optimizer!r} made {made!r}."
            )

    def _check_augmentation(self, augmentation: Any, name: str, X: Samples) -> None:
        """Raise a ValueError if a given augmentation makes something else than such samples."""
        if augmentation is None or isinstance(augmentation, str):
            return
        augmentation = own(augmentation, X.device)
        with LocalRandomState(0, X.device)():
            try:
                out = augmentation(X[:2].clone())
            except Exception as error:  # whatever users' code may raise
                raise ValueError(
                    f"{name}={augmentation!r} does not take samples of shape {self.input_shape_}: "
                    f"{error}"
                ) from error
        made = type(out).__name__
        if isinstance(out, Tensor):
            made = f"{out.dtype} of shape {tuple(out.shape)}"
        expected = f"{torch.float32} of shape {(2, *self.input_shape_)}"
        if made != expected:
            raise ValueError(
                f"{name} must return a tensor of the shape that it gets, and of its type: "
                f"{expected}; {augmentation!r} made {made}."
            )

    @contextmanager
    def _plain_numbers(self) -> Iterator[None]:
        """Within the block, NumPy's numbers among the parameters are Python's.

        torch's constructors and JSON take these alone. After it, all are as they were given.
        """
        as_given = self.get_params(deep=False)
        try:
            vars(self).update(self._python_numbers())
            yield
        finally:
            vars(self).update(as_given)

    def _python_numbers(self) -> dict[str, Any]:
        numbers = {}
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, np.generic):
                numbers[name] = value.item()
            elif isinstance(value, int) and abs(value) >= 2**63 and self._is_real(name):
                numbers[name] = float(value)  # torch's integers end there
        return numbers

    def _is_real(self, name: str) -> bool:
        """Return whether a parameter may be any number, not an integer alone."""
        allowed = self._parameter_constraints[name]
        return any(isinstance(c, Interval) and c.type is Real for c in allowed)

    def _fitted_part(self, name: str, kind: type) -> Any:
        """Return the estimator that the parameter `name` holds, if it is fitted, else None."""
        given = getattr(self, name, None)
        part = given.estimator if isinstance(given, FrozenEstimator) else given
        if part is None or isinstance(part, str):
            return None
        if not isinstance(part, kind):
            raise ValueError(f"{name} must be {self._PARTS[name]}; got {given!r}.")
        return part if hasattr(part, "network_") else None

    def _part(self, name: str, kind: type, default: Any) -> Any:
        """Return the estimator that `name` holds: as it is if fitted, else a copy to be trained.

        The device, precision, callbacks and random state are this estimator's in that case.
        """
        fitted = self._fitted_part(name, kind)
        if fitted is not None:
            if fitted.input_shape_ != self.input_shape_:
                raise ValueError(
                    f"{name} was fitted on samples of shape {fitted.input_shape_}, but X holds "
                    f"samples of shape {self.input_shape_}."
                )
            fitted = copy.copy(fitted)
            vars(fitted).update(fitted._python_numbers())
            return fitted
        given = getattr(self, name)
        given = given.estimator if isinstance(given, FrozenEstimator) else given
        part = clone(default if given is None else given)
        part._validate_params()
        if part.checkpoint is not None or part.callbacks:
            raise ValueError(
                f"{name} must have neither checkpoint nor callbacks, which are those of "
                f"{type(self).__name__}; got {given!r}."
            )
        vars(part).update(part._python_numbers())
        for fact in ("input_shape_", "input_mean_", "input_scale_", "_input_range"):
            setattr(part, fact, getattr(self, fact))  # of the samples
        part._check_parameters()
        return part

    @contextmanager
    def _whole_or_not_at_all(self) -> Iterator[Callable[[], None]]:
        """Undo what the block has set if it raises.

        The fit before, if any, stays until the block calls what this yields, when the training
        begins; after that, only a ValueError leaves it.
        """
        before = dict(vars(self))
        keeps: tuple[type[BaseException], ...] = (BaseException,)

        def begin() -> None:
            nonlocal keeps
            keeps = (ValueError,)

        try:
            yield begin
        except BaseException as error:
            vars(self).clear()
            for name, value in before.items():
                if isinstance(error, keeps) or not is_fitted(name):
                    setattr(self, name, value)
            raise

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> BaseDeepEstimator:
        """Fit to `X`.

        Parameters
        ----------
        X : array-like, Tensor or Dataset of shape (n_samples, n_features), \
                (n_samples, height, width) or (n_samples, channels, height, width)
            Training samples. Values mean what they are, whatever their type: all are centred and
            scaled by their global mean and standard deviation. A memory map, any array on disk
            that has a shape, a dtype and slices (h5py, zarr), and a map-style Dataset of torch (of
            samples, or of tuples whose first part is the sample) may be larger than the memory:
            see `memory_limit`.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator. After an interruption (Ctrl-C) it holds the best state
            reached and a `ConvergenceWarning` says so.

        Raises
        ------
        ValueError
            If a parameter or `X` is not valid. The estimator is as it was before then.
        TypeError
            If `X` is of a kind that can't be clustered, such as a sparse matrix. The estimator is
            as it was before.
        FloatingPointError
            If the loss is no longer finite, of all restarts where there are several. The
            estimator is not fitted then, as after any other error while it trains.

        Notes
        -----
        Fits in several threads of one process take turns, because torch has one random state a
        process. Processes (joblib's default) run side by side.
        """
        with (
            neutral_settings(exclusive=True),
            _distributed.joined(),
            self._plain_numbers(),
            self._whole_or_not_at_all() as begin,
        ):
            X = self._prepared(X)
            begin()
            if (processes := _distributed.current()) is not None:
                processes.check_input(fingerprint(self, X), len(X))
            best = self._train(X)
            self.interrupted_ = best.interrupted
        for message in self._failures(best):
            warn(f"{type(self).__name__}: {message}", ConvergenceWarning)
        return self

    def _train(self, X: Samples) -> Run:
        """Train on prepared samples, keep what was learnt, and return the run that learnt it."""
        (seed,) = self._seeds(1)
        with self._bar(self._planned_epochs(len(X)) * len(X)) as bar:
            (run,) = self._runs(X, [seed], bar)
            run.advance()
            despite_interruption(run, Run.finalize)
        self._keep(run)
        return run

    def _seeds(self, n_runs: int) -> list[int]:
        random_state = check_random_state(self.random_state)
        seeds = random_state.randint(np.iinfo(np.int32).max, size=n_runs).tolist()
        return _distributed.agreed(seeds)

    def _runs(self, X: Samples, seeds: list[int], bar: Bar) -> list[Run]:
        if self.checkpoint is None:
            return [Run(self, X, seed, bar) for seed in seeds]
        same = fingerprint(self, X)
        return [
            Run(self, X, seed, bar, Checkpoint(self.checkpoint, same, number))
            for number, seed in enumerate(seeds)
        ]

    def _bar(self, total: int) -> Bar:
        disable = not (self.verbose and _distributed.is_first())
        return Bar(total=total, unit="samples", unit_scale=True, disable=disable)

    def _keep(self, run: Run) -> None:
        """Take over what a run has learnt."""
        self.network_ = run.network.eval()
        self.history_ = run.history
        self._n_features_out = n_output_features(self.network_.encoder, self.input_shape_)

    def _failures(self, run: Run) -> Iterator[str]:
        """Yield what a fit has to warn of."""
        if run.interrupted:
            yield (
                f"the fit was interrupted after {len(run.history)} epochs of the best restart. The "
                "estimator is usable, with the state reached then."
            )
        for name in run.unconverged:
            yield (
                f"phase {name!r} did not converge: it reached its last epoch before its criterion. "
                "Try more epochs or a larger tol."
            )

    def _build_network(self) -> nn.Module:
        """Return a new network; called under the restart's random state."""
        raise TypeError(f"{type(self).__name__} does not define `_build_network`")

    def _forward(
        self, function: Callable[[Tensor], Tensor], X: Samples | Tensor, out: Any = None
    ) -> Any:
        """Return ``function(X)`` as an array, computed in slices, in `out` if it is given."""
        with neutral_settings():
            if out is None:
                return forward_in_slices(function, X).cpu().numpy()
            for part, result in in_slices(function, X):
                values = result.cpu().numpy()
                check_out(out, (len(X), *values.shape[1:]), values)
                out[part] = values
        return out

    def _checked(self, X: Any) -> Samples:
        check_is_fitted(self, "network_")
        self.network_.eval()  # whatever a user has done with it
        return check_X(self, X, reset=False, device=next(self.network_.parameters()).device)

    def _finite(self, values: Tensor) -> Tensor:
        """Return what the network made of samples; raise a ValueError where that is no number."""
        if not values.isfinite().all():
            low, high = self._input_range
            raise ValueError(
                f"X has values so far from those of the fit, which were from {low:.4g} to "
                f"{high:.4g}, that what {type(self).__name__} makes of them is not finite."
            )
        return values

    def _standardised_range(self) -> tuple[float, float]:
        """Return what the lowest and the highest value of the training samples became."""
        low, high = ((v - self.input_mean_) / self.input_scale_ for v in self._input_range)
        return low, high

    def _in_units_of_X(self, standardised: np.ndarray) -> np.ndarray:
        """Return standardised values as they were before, in float64 where `X` needed that."""
        dtype = self._sample_dtype
        return standardised.astype(dtype) * dtype(self.input_scale_) + dtype(self.input_mean_)

    def _made_of(self, z: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Return what `function` makes of latents, in the layout and units that `fit` got."""
        device = next(self.network_.parameters()).device
        self.network_.eval()  # whatever a user has done with it
        latents = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)).to(device)
        made = self._in_units_of_X(self._forward(function, latents))
        if not np.isfinite(made).all():
            raise ValueError(
                f"Latents are so far from those of the fit that what {type(self).__name__} makes "
                "of them is not finite."
            )
        return made.reshape(-1, *self._sample_shape)

    def _check_draws(self, n_samples: Any) -> None:
        """Raise an error unless that many samples can be drawn."""
        check_is_fitted(self, "network_")
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a positive integer; got {n_samples!r}.")

    def transform(self, X: Any, *, out: Any = None) -> Any:
        """Return the embedding of each sample: the encoder's features.

        Parameters
        ----------
        X : array-like, Tensor or Dataset
            Samples of the shape seen in `fit`.
        out : ndarray or array-like on disk, default=None
            What the embedding is written to, of its shape and of a floating type: a memory map,
            say, for what is larger than the memory.

        Returns
        -------
        embedding : ndarray of shape (n_samples, n_features_out), float32
            `out`, if it is given. After ``set_output``, a data frame, also of `out`.
        """
        X = self._checked(X)
        return self._forward(lambda x: self._finite(self.network_.embed(x)), X, out)

    def __copy__(self) -> BaseDeepEstimator:
        """Copy on the device, and no part of the network."""
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> BaseDeepEstimator:
        """Copy all, on the device."""
        memo[id(self)] = made = type(self).__new__(type(self))
        vars(made).update(copy.deepcopy(vars(self), memo))
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the network on the CPU, so that a machine without a GPU can load it."""
        state = dict(super().__getstate__())
        if "network_" in state and next(state["network_"].parameters()).device.type != "cpu":
            state["network_"] = copy.deepcopy(state["network_"]).cpu()
        return state

    def __sklearn_tags__(self) -> Any:
        """Declare what the estimator takes and gives."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.non_deterministic = False
        return tags


@estimator
class EncoderMixin(_Fitted):
    """For estimators that make an encoder of their own.

    Parameters
    ----------
    network : torch.nn.Module or callable
        The encoder. A module from (n, *input_shape) to features is copied, with its weights; a
        callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
        and returns a new module. None: what the method has by default.
    """

    network: Callable[..., Any] | None = param(None, None, callable)

    def _default_encoder(self) -> nn.Module:
        """Return the encoder for ``self.input_shape_`` where `network` is None."""
        raise TypeError(f"{type(self).__name__} does not define `_default_encoder`")

    def _new_encoder(self) -> nn.Module:
        """Return a new encoder: a copy of `network`, what it makes, or the default."""
        if self.network is None:
            return self._default_encoder()
        if isinstance(self.network, nn.Module):
            return copy.deepcopy(self.network)
        return self.network(self.input_shape_)

    def _build_encoder(self) -> tuple[nn.Module, int]:
        """Return a new encoder and its number of features; raise where it doesn't suit `X`."""
        try:
            encoder = self._new_encoder()
            if not isinstance(encoder, nn.Module):
                raise ValueError(f"it must be a torch.nn.Module or make one; got {encoder!r}")
            n_features = n_output_features(encoder, self.input_shape_)
            if self.network is not None:
                n_output_features(encoder, self.input_shape_, training=True)
            return encoder, n_features
        except Exception as error:  # whatever users' code may raise
            raise ValueError(
                f"network={self.network!r} does not take samples of shape {self.input_shape_}: "
                f"{error}"
            ) from error


@estimator
class ScalingMixin(_Fitted):
    """For estimators of features, by which those of other networks are meant.

    Parameters
    ----------
    scaling : {"standard", "l2"} or None
        What is made of `X` before all else. "standard": each feature is centred and divided by its
        standard deviation over the training samples. "l2": each feature is centred, then each
        sample divided by its norm (over the root of its length), so that the nearest are those by
        cosines. None: all values are centred and scaled alike, by `input_mean_` and `input_scale_`,
        as other estimators do. Neighbours, also those of :meth:`score`, are sought in what comes of
        it. `X` of more dimensions is taken as if it were flat, as pixels are: pooled features of
        shape (n, n_features, 1, 1), say; of tokens the mean, ``X.mean(1)``, may say more.

    Attributes
    ----------
    feature_mean_, feature_scale_ : ndarray of shape (n_features_in_,)
        Mean and standard deviation of each training feature; None without such a scaling.
    """

    scaling: str | None = param("l2", StrOptions({"standard", "l2"}), None)

    def _feature_scaling(self) -> tuple[str | None, tuple[int, ...]]:
        return self.scaling if self._takes_features() else None, ()

    def _takes_features(self) -> bool:
        return True


@estimator
class OpenNClustersMixin(_Fitted):
    """For estimators whose confusion of many clusters tells how many there are.

    Parameters
    ----------
    n_clusters : int or "auto"
        Number of clusters. "auto": it is found by a fit with 30 clusters (of ten samples at least)
        before, of which two merge as long as they are confused more than by chance
        (:func:`~skdeepclust.count_clusters` of the `merge_tree_`); where none merge, by fits with
        60, 120, 240 and 480, and a warning says so if none do even then. `n_clusters_` has it. The
        checkpoint of that fit has ".many" appended to its name, with its number from 60 on. Stopped
        by Ctrl-C, it raises KeyboardInterrupt, and the estimator is not fitted.
    """

    n_clusters: Any = field(  # int or "auto"; within a fit an int
        default=8, metadata={"allowed": [AT_LEAST_1, StrOptions({"auto"})]}, kw_only=False
    )


@estimator
class AugmentationMixin(_Fitted):
    """For estimators that augment the samples they train on.

    Parameters
    ----------
    augmentation : callable, "auto" or None
        From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device,
        to one of the same shape. "auto":
        :class:`~skdeepclust.augment.RandomAffine` for images and
        :class:`~skdeepclust.augment.RandomNoise` for tabular data. None: no augmentation. What can
        be copied, as modules and other objects can, is copied for each phase. `random_state` is
        that of torch's global generator; draws from others are no part of it.
    """

    augmentation: Callable[[Tensor], Tensor] | Literal["auto"] | None = param(
        "auto", StrOptions({"auto"}), None, callable
    )

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        """Return what `augmentation` stands for."""
        if self.augmentation == "auto":
            return RandomAffine() if len(self.input_shape_) == 3 else RandomNoise()
        return nn.Identity() if self.augmentation is None else own(self.augmentation)


@estimator
class BaseDeepClusterer(ClusterMixin, BaseDeepEstimator):
    """Base of the deep clustering estimators: restarts, the choice of one, prediction.

    A method defines :meth:`_phases`, and the encoder and head that it trains by default.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters, then
        the one with the highest :meth:`score`. "auto": 1.
    screening : float in (0, 1]
        Share of the epochs after which only the best restart goes on.
    n_jobs : int or None
        Restarts that are trained at once, in processes of joblib's: on this machine, or where
        ``joblib.parallel_config(backend="dask")`` has them, say. None: 1, unless in a
        ``joblib.parallel_config``; -1: one a processor. A process has its share of torch's threads,
        and a GPU of its own where `device` is "auto" or "cuda" and there are several. The result is
        the same but for rounding, which depends on the number of threads. Callbacks run in the
        processes, so all must be picklable (with cloudpickle), and so must functions and networks;
        Ctrl-C keeps the restarts that have ended. Where joblib has threads in place of processes,
        also within a search that runs in parallel itself, restarts are trained one by one.

    Attributes
    ----------
    n_clusters_ : int
        Number of clusters.
    labels_ : ndarray of shape (n_samples,)
        Cluster of each training sample, as :meth:`predict` gives it.
    merge_tree_ : ndarray of shape (n_clusters_ - 1, 4)
        How clusters merge, those first that are confused most: what
        :func:`~skdeepclust.merge_tree` makes of the training samples' probabilities, for
        :func:`~skdeepclust.cut_tree` and scipy's functions of dendrograms.
    outlier_scores_ : ndarray of shape (n_samples,), float32
        How far each training sample is from others, as :meth:`score_samples` gives it, but
        positive: the higher, the less it is like them.
    restarts_ : list of dict
        For each restart its "seed", "n_epochs", "n_empty_clusters", "score" (the criterion
        when it was last compared) and whether it was "selected".
    """

    n_clusters: int = field(default=8, metadata={"allowed": [AT_LEAST_1]}, kw_only=False)
    n_init: int | Literal["auto"] = param("auto", StrOptions({"auto"}), AT_LEAST_1)
    screening: float = param(1.0, Interval(Real, 0, 1, closed="right"))
    n_jobs: int | None = param(None, *N_JOBS)

    def _build_encoder(self) -> tuple[nn.Module, int]:
        """Return a new encoder and its number of features."""
        raise TypeError(f"{type(self).__name__} does not define `_build_encoder`")

    def _head(self, n_features: int) -> nn.Module:
        """Return the head that makes ``self.n_clusters`` logits of the encoder's features."""
        raise TypeError(f"{type(self).__name__} does not define `_head`")

    def _build_network(self) -> nn.Module:
        encoder, n_features = self._build_encoder()
        return ClusterNetwork(encoder, self._head(n_features))

    def _auto_n_init(self, n_samples: int) -> int:
        """Return the number of restarts that "auto" stands for."""
        return 1

    def _prepared(self, X: Any) -> Samples:
        is_open = self.n_clusters == "auto"
        if is_open:
            self.n_clusters = MANY_CLUSTERS
        X = super()._prepared(X)
        if is_open:
            self.n_clusters = self._at_most(MANY_CLUSTERS, len(X))
        if len(X) < self.n_clusters:
            raise ValueError(
                f"n_samples={len(X)} should be >= n_clusters={self.n_clusters}: X has too few "
                "samples."
            )
        if is_open:
            self.n_clusters = "auto"  # type: ignore[assignment]  # until the training begins
        return X

    def _at_most(self, n_clusters: int, n_samples: int) -> int:
        """Return how many clusters there are to begin with where their number is to be found."""
        return max(2, min(n_clusters, n_samples // LEAST_SIZE))

    def _set_n_clusters(self, n_clusters: int, X: Samples) -> None:
        """Take a number of clusters that was not given."""
        self.n_clusters = n_clusters

    def _found(self, X: Samples) -> int:
        """Return the number of clusters, of twice as many again and again while none merge."""
        many, most = (self._at_most(n, len(X)) for n in (MANY_CLUSTERS, MOST_CLUSTERS))
        while True:
            self._set_n_clusters(many, X)
            found = self._counted(X)
            if found < many or many == most:
                break
            many = min(2 * many, most)
        if found == most > 2:
            warn(
                f"n_clusters='auto': none of {most} clusters were confused, so that there may be "
                f"more than n_clusters_={most}. With more samples, or a number that is given, more "
                "can be found."
            )
        return found

    def _counted(self, X: Samples) -> int:
        """Return how many of ``self.n_clusters`` clusters are left, where confused ones merge."""
        checkpoint = self.checkpoint
        if checkpoint is not None:
            number = self.n_clusters if self.n_clusters > MANY_CLUSTERS else ""
            self.checkpoint = f"{os.fspath(checkpoint)}.many{number}"
        best, _ = self._trained(X)
        self.checkpoint = checkpoint
        if best.interrupted:
            raise KeyboardInterrupt  # what it has learnt is not what was asked for
        return max(2, count_clusters(merge_tree(best.probabilities)))

    def _trained(self, X: Samples) -> tuple[Run, list[Run]]:
        """Train on prepared samples; return the best run and all of them."""
        n_init = self._auto_n_init(len(X)) if self.n_init == "auto" else self.n_init
        seeds = self._seeds(n_init)
        criterion = NeighborCriterion(X)
        in_workers = None
        if (n_workers := count_workers(self.n_jobs, n_init)) > 1:
            in_workers = partial(
                train_in_workers, method=self, X=X, criterion=criterion, n_workers=n_workers
            )
        planned = self._planned_epochs(len(X))
        screen_at = max(1, round(self.screening * planned))
        epochs = len(seeds) * screen_at + planned - screen_at
        with self._bar(epochs * len(X)) as bar:
            runs = self._runs(X, seeds, bar)
            best = train_restarts(
                runs,
                partial(self._judge, X=X, criterion=criterion),
                screen_at=screen_at,
                consensus_phase=self._consensus_phase if self._wants_consensus() else None,
                in_workers=in_workers,
            )
        return best, runs

    def _train(self, X: Samples) -> Run:
        if self.n_clusters == "auto":
            self._set_n_clusters(self._found(X), X)
        best, runs = self._trained(X)
        self._keep(best)
        self.restarts_ = [run.summary(selected=run is best) for run in runs]
        self.n_clusters_ = self.n_clusters
        self.labels_ = best.probabilities.argmax(1)
        self.merge_tree_ = merge_tree(best.probabilities)
        despite_interruption(best, lambda _: self._measure_outliers(X))
        return best

    def _measure_outliers(self, X: Samples) -> None:
        """Keep features to compare others with, and see which samples are far from them."""
        size, embed = slice_size(X), self.network_.embed
        kept = references_among(len(X), self._n_features_out)
        are_all = isinstance(kept, slice)
        features = forward_in_slices(embed, X if are_all else X[kept])
        unit = forward_in_slices(lambda z: F.normalize(z, dim=1), features, size)
        self._references = _distributed.agreed(unit.cpu().numpy())
        if are_all:  # the features of all samples are at hand
            scores = forward_in_slices(self._distances(nn.Identity()), features, size)
        else:
            scores = forward_in_slices(self._distances(embed), X)
        self.outlier_scores_ = _distributed.agreed(scores.cpu().numpy())

    def _distances(self, embed: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the function from samples to distances from those that were trained on."""
        device = next(self.network_.parameters()).device
        references = torch.tensor(self._references, device=device)  # a copy: it may be read-only
        return lambda x: distance_to_references(embed(x), references)

    def _judge(self, run: Run, X: Samples, criterion: NeighborCriterion) -> tuple[int, float]:
        """Let a run predict; return its clusters less those that are wanted, and its score."""
        run.finalize()
        run.probabilities = _distributed.agreed(self._probabilities(run.network, X))
        if not np.isfinite(run.probabilities).all():
            raise FloatingPointError(
                "probabilities are no longer finite after the training. Likely a too large "
                f"learning rate (lr={self.lr})."
            )
        used = len(np.unique(run.probabilities.argmax(1)))
        return used - self.n_clusters, _distributed.agreed(criterion(run.probabilities))

    def _failures(self, run: Run) -> Iterator[str]:
        yield from super()._failures(run)
        n_empty = -run.quality[0]
        if n_empty:
            yield (
                f"{n_empty} of n_clusters={self.n_clusters_} clusters are empty in the best "
                "restart. Try a larger n_init or max_epochs, fewer clusters, or another lr."
            )

    def _of_logits(
        self, function: Callable[[Tensor], Tensor], network: Any, X: Samples, out: Any = None
    ) -> Any:
        """Return what `function` makes of each sample's logits, in `out` if it is given."""
        return self._forward(lambda x: function(network(x)), X, out)

    def _probabilities(self, network: nn.Module, X: Samples) -> np.ndarray:
        network.eval()
        return self._of_logits(lambda logits: logits.softmax(1), network, X)

    def _finite_probabilities(self, X: Samples, out: Any = None) -> Any:
        return self._of_logits(lambda z: self._finite(z.softmax(1)), self.network_, X, out)

    def _check_cluster(self, cluster: Any) -> None:
        """Raise a ValueError unless `cluster`, of which samples are to be drawn, is one or None."""
        is_one = isinstance(cluster, int | np.integer) and 0 <= cluster < self.n_clusters_
        if cluster is not None and not is_one:
            raise ValueError(
                f"cluster must be None or an integer in [0, {self.n_clusters_}); got {cluster!r}."
            )

    def predict(self, X: Any, *, out: Any = None, reject: float | None = None) -> Any:
        """Return the cluster of each sample.

        Parameters
        ----------
        X : array-like, Tensor or Dataset
            Samples of the shape seen in `fit`, in any layout that `fit` takes.
        out : ndarray or array-like on disk, default=None
            What the labels are written to, of shape (n_samples,) and of an integer type: a memory
            map, say.
        reject : float in (0, 1), default=None
            Share of the training samples that count as outliers, those with the highest
            `outlier_scores_`. Samples that are as far from the training samples as these get the
            label -1; of new samples of the same kind it may be twice as many, for the network has
            not been trained on them.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            In [0, n_clusters_), or -1. A sample's cluster doesn't depend on the other samples.
            `out`, if it is given.

        Notes
        -----
        Give all samples at once: the network gets 128 or more at a time, so that one alone costs as
        much as 128, and the last digits are the same beside any others.
        """
        X = self._checked(X)
        is_far = None if reject is None else self._is_far(X, reject)
        if out is not None:
            lowest = 0 if is_far is None else -1
            check_out(out, (len(X),), np.array([lowest, self.n_clusters_ - 1]))
        network = self.network_
        labels = self._of_logits(lambda z: self._finite(z.softmax(1)).argmax(1), network, X, out)
        if is_far is not None:
            for part in (slice(i, i + 2**16) for i in range(0, len(X), 2**16)):
                labels[part] = np.where(is_far[part], -1, labels[part])
        return labels

    def _is_far(self, X: Samples, reject: float) -> np.ndarray:
        """Return which samples are farther from the others than most of the training samples."""
        if not isinstance(reject, Real) or not 0 < reject < 1:
            raise ValueError(f"reject must be a number in (0, 1) or None; got {reject!r}.")
        farthest = float(np.quantile(self.outlier_scores_, 1 - reject))
        distances = self._distances(self.network_.embed)
        return self._forward(lambda x: ~(distances(x) <= farthest), X)

    def score_samples(self, X: Any, *, out: Any = None) -> Any:
        """Return how near each sample is to those that were trained on, to find outliers by.

        It is minus the distance to the fifth nearest training sample [1]_, between features as
        :meth:`transform` gives them, divided by their norms. At most 10,000 training samples (and
        four million values) are kept for this, drawn at random. One that is kept is not its own
        neighbour.

        Parameters
        ----------
        X : array-like, Tensor or Dataset
            Samples of the shape seen in `fit`.
        out : ndarray or array-like on disk, default=None
            What the scores are written to, of shape (n_samples,) and of a floating type.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float32
            In [-2, 0], the lower, the less a sample is like the training samples. `out`, if it is
            given.

        Notes
        -----
        With one class of scikit-learn's digits after the other left out of the training, and told
        from new samples of the others, the area under the ROC curve is 0.983 with `DeepClustering`
        (0.959 by the largest probability) and 0.967 with `TEMIClustering` (0.895); with
        ``reject=0.05``, 95 % and 82 % of the class are rejected, and 9 % and 6 % of the others
        (``python -m benchmarks outliers``). The number of neighbours, and cosines in place of
        Mahalanobis distances to the clusters' means and of the largest probability, were chosen on
        two of the ten classes.

        References
        ----------
        .. [1] Sun, Ming, Zhu and Li (2022). Out-of-Distribution Detection with Deep Nearest
           Neighbors. ICML.
        """
        X, distances = self._checked(X), self._distances(self.network_.embed)
        return self._forward(lambda x: self._finite(-distances(x)), X, out)

    def predict_proba(self, X: Any, *, out: Any = None) -> Any:
        """Return the probability of each cluster for each sample.

        Parameters
        ----------
        X : array-like, Tensor or Dataset
            Samples of the shape seen in `fit`.
        out : ndarray or array-like on disk, default=None
            What the probabilities are written to, of their shape and of a floating type.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_clusters_), float32
            Rows sum to one. `out`, if it is given.
        """
        X = self._checked(X)
        return self._finite_probabilities(X, out)

    def score(self, X: Any, y: Any = None) -> float:
        """Return how well the clusters follow the neighbourhoods in `X`; needs no labels.

        It is the mutual information, in nats, between the cluster of a sample and those of
        its five nearest neighbours in input space.

        Parameters
        ----------
        X : array-like, Tensor or Dataset
            Samples of the shape seen in `fit`; of more than 10,000, as many drawn at
            random are used, the same each time.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        score : float
            In [0, log n_clusters], higher is better. Compare it between settings with the
            same `n_clusters` and the same `X`.

        Notes
        -----
        Spearman's rank correlation on scikit-learn's digits, over 24 single runs in 12 settings:
        0.97 with the NMI, 0.69 with the accuracy; over 6 runs of one setting: 0.83 and 0.89
        (``python -m benchmarks selection``). Over 42 short runs of 21 methods and settings, with
        the accuracy: 0.86 on 10,000 images of MNIST, 0.65 on Fashion-MNIST and 0.84 on USPS, more
        than the silhouette in a UMAP space and the stability from run to run, though not among
        the runs of one method on each (``python -m benchmarks criteria``). It looks at neighbours
        in pixels, so it favours clusterings that follow them, that of UMAP and k-means before
        all, and its worth on complex colour images is not known.
        """
        X = self._checked(X)
        with neutral_settings():
            X = Samples(X[looked_at(X)])
            return NeighborCriterion(X)(self._finite_probabilities(X))
