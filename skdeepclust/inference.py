"""Passes over data without training: evaluation modes, slices, batch normalisation's statistics."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from skdeepclust._distributed import joined_parts, own_parts
from skdeepclust.samples import Samples

CPU_SLICE, GPU_SLICE = 128, 4096  # samples that pass at once, if they aren't large


def _tried(module: nn.Module, shape: tuple[int, ...], training: bool) -> Any:
    """Return what `module` makes of two samples of zeros; it stays as it is."""
    device = next(chain(module.parameters(), module.buffers()), torch.empty(0)).device
    if training:
        module = copy.deepcopy(module)  # batch normalisation would learn
    with torch.no_grad(), _training_modes(module), torch.random.fork_rng([], enabled=training):
        module.train(training)
        return module(torch.zeros(2, *shape, device=device))


def n_output_features(
    encoder: nn.Module, input_shape: tuple[int, ...], training: bool = False
) -> int:
    """Return how many features `encoder` makes of a sample, in evaluation or training mode."""
    features = _tried(encoder, input_shape, training)
    mode = "training" if training else "evaluation"
    if not isinstance(features, Tensor) or features.ndim < 2 or len(features) != 2:
        got = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else repr(features)
        raise ValueError(
            f"it must return one tensor of shape (n, ...) for n samples; for 2 it gave {got} in "
            f"{mode} mode"
        )
    if features.dtype != torch.float32:
        raise ValueError(f"it must return torch.float32; it gave {features.dtype} in {mode} mode")
    return features.flatten(1).shape[1]


def given_decoder(
    given: Any, name: str, n_features: int, input_shape: tuple[int, ...], network: Any
) -> nn.Module:
    """Return a copy of the module that the parameter `name` holds, or what its callable makes.

    Raise a ValueError unless that makes samples of `input_shape` of `n_features` features, and
    shares no weights with what `network` holds.
    """
    modules = [m for m in (given, network) if isinstance(m, nn.Module)]
    if len(modules) == 2 and set.intersection(*(set(m.parameters()) for m in modules)):
        raise ValueError(
            f"{name} must share no weights with network: each is copied alone, by sklearn.clone, "
            f"too, and they would part; got {given!r}."
        )
    problem = f"{name}={given!r} does not make samples of shape {input_shape} "
    problem += f"of {n_features} features"
    try:
        is_module = isinstance(given, nn.Module)
        decoder = copy.deepcopy(given) if is_module else given(n_features, input_shape)
        made = [_tried(decoder, (n_features,), training) for training in (False, True)]
    except Exception as error:  # whatever users' code may raise
        raise ValueError(f"{problem}: {error}") from error
    for decoded, mode in zip(made, ("evaluation", "training"), strict=True):
        if not isinstance(decoded, Tensor):
            raise ValueError(
                f"{problem}: it must return a tensor, but gave {decoded!r} in {mode} mode."
            )
        if decoded.shape[1:] != input_shape:
            raise ValueError(f"{problem}, but of shape {tuple(decoded.shape[1:])} in {mode} mode.")
    return decoder


def as_samples(X: Samples | Tensor) -> Samples:
    """Return standardised samples, of a tensor if they aren't `Samples`."""
    return X if isinstance(X, Samples) else Samples(X)


def slice_size(X: Samples | Tensor) -> int:
    """Return how many samples pass at once."""
    largest = CPU_SLICE if X.device.type == "cpu" else GPU_SLICE
    return max(1, min(largest, largest * 2**13 // math.prod(X.shape[1:])))


def _in_whole_slices(
    function: Callable[[Tensor], Tensor], X: Samples | Tensor, size: int | None = None
) -> tuple[Callable[[Tensor], Tensor], Samples, list[slice]]:
    """Return what to call with a slice, the samples, and where the slices are."""
    X = as_samples(X)
    size = slice_size(X) if size is None else size

    def of_slice(x: Tensor) -> Tensor:
        # Always a whole slice: the batch size can change a sample's last digit. And a copy: a
        # network that works in place would change X. Not of zeros, of which it may make no number.
        missing = x[-1:].expand(size - len(x), *x.shape[1:])
        return function(torch.cat([x, missing]))[: len(x)]

    return of_slice, X, [slice(i, min(i + size, len(X))) for i in range(0, len(X), size)]


def in_slices(
    function: Callable[[Tensor], Tensor], X: Samples | Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Yield ``function(X)`` slice by slice, and where each belongs; without gradients."""
    yield from _in_parts(*_in_whole_slices(function, X))


def _in_parts(
    function: Callable[[Tensor], Tensor], X: Samples, parts: list[slice]
) -> Iterator[tuple[slice, Tensor]]:
    for part, x in zip(parts, X.parts(parts), strict=True):
        with torch.no_grad():  # a network may keep tensors for its training
            result = function(x)
        yield part, result.float() if result.is_floating_point() else result


def forward_in_slices(
    function: Callable[[Tensor], Tensor], X: Samples | Tensor, size: int | None = None
) -> Tensor:
    """Return ``function(X)``, computed in slices and without gradients.

    Where several processes fit together, each computes some of the slices. They have the size of
    :func:`slice_size`, or that which is given: the last digits depend on it.
    """
    return forward_in_parts(*_in_whole_slices(function, X, size))


def forward_in_parts(
    function: Callable[[Tensor], Tensor], X: Samples | Tensor, parts: list[slice]
) -> Tensor:
    """Return ``function(X)``, computed part by part and without gradients.

    Where several processes fit together, each computes some of the parts.
    """
    whole = None
    for part, result in _in_parts(function, as_samples(X), parts[own_parts(len(parts))]):
        if whole is None:
            whole = result.new_zeros(len(X), *result.shape[1:])
        whole[part] = result
    return torch.empty(0) if whole is None else joined_parts(whole, len(parts))


def evaluated(
    network: nn.Module, X: Samples | Tensor, function: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return what a network, or a function of it, makes of all samples in evaluation mode."""
    with evaluation_mode(network):
        return forward_in_slices(function or network, X)


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the order of images and convolutions' weights that is the fastest on a device.

    On MPS gradients of channels last are wrong, or refused, in batch normalisation and pooling
    (https://github.com/pytorch/pytorch/issues/175189, 175190).
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def to_fastest_order(network: nn.Module, device: torch.device) -> None:
    """Bring the weights of convolutions of images into the order that is the fastest."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:  # Module.to does it with five, too, for which it is no order
            tensor.data = tensor.data.contiguous(memory_format=memory_format(device))


@contextmanager
def _training_modes(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block: no dropout, stored batch norm statistics."""
    with _training_modes(network):
        network.eval()
        yield


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, but batch normalisation takes the statistics of the batch at hand.

    The stored statistics stay as they are.
    """
    norms = [m for m in network.modules() if isinstance(m, BatchNorm)]
    tracked = [m.track_running_stats for m in norms]
    buffers = [(m.running_mean, m.running_var) for m in norms]
    with _training_modes(network):
        network.eval()
        try:
            for m in norms:
                m.track_running_stats, m.running_mean, m.running_var = False, None, None
            yield
        finally:
            for m, track, (mean, var) in zip(norms, tracked, buffers, strict=True):
                m.track_running_stats, m.running_mean, m.running_var = track, mean, var


def batch_norm_parts(X: Samples | Tensor, size: int | None = None) -> list[slice]:
    """Return parts of `X` for batch statistics, of like size: at most `size`, but at least 2.

    None: a size that is large enough for the statistics and fits a cache.
    """
    if size is None:
        size = max(64, min(1000, 2**17 // math.prod(X.shape[1:])))
    n = len(X)
    n_parts = max(1, min(-(-n // size), n // 2))
    stops = [(n // n_parts) * part + min(part, n % n_parts) for part in range(n_parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(stops)]


def reestimate_batch_norm(
    network: nn.Module, X: Samples | Tensor, function: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Set batch normalisation's stored statistics to those of `X`, without augmentation.

    While training, they are of augmented images and lag behind the weights.

    Parameters
    ----------
    network : nn.Module
    X : Samples or Tensor of shape (n, *input_shape), n >= 2
        The statistics are averaged over passes of equal size.
    function : callable, default=None
        The pass, if it isn't ``network(x)``. Parts that it doesn't reach keep their statistics.
    """
    norms = [m for m in network.modules() if isinstance(m, BatchNorm)]
    if not norms:
        return
    momenta = {m: m.momentum for m in norms}
    reached = set()

    def start(norm: BatchNorm, args: Any) -> None:
        if norm not in reached:
            reached.add(norm)
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.training = True

    hooks = [m.register_forward_pre_hook(start) for m in norms]
    try:
        with torch.no_grad(), _training_modes(network):
            network.eval()
            for x in as_samples(X).parts(batch_norm_parts(X)):
                (function or network)(x.clone())  # a network that works in place would change X
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in momenta.items():
            norm.momentum = momentum
