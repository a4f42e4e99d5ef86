"""The input contract: from anything array-like to one standardised tensor on the device."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from torch import Tensor

from skdeepclust._sklearn import check_feature_names, check_n_features
from skdeepclust.samples import Samples

MIN_SIDE = 8
SLICE = 2**22  # values that are converted at once, to bound the memory
# What is kept as it is. Everything else becomes the first: float32 would round 64-bit integers.
DTYPES = [np.float64, np.float32, np.uint8, np.int8, np.uint16, np.int16, np.bool_]
# Where values of a prediction are taken for scaled in another way: so many ranges of the fit beyond
# it, or images with so many times smaller a range.
FAR, NARROW = 3, 50


def check_image_shape(image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return `image_shape` as (channels, height, width)."""
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(isinstance(s, int | np.integer) for s in shape):
        raise ValueError(
            "image_shape must be (height, width) or (channels, height, width) in integers; "
            f"got {image_shape!r}."
        )
    channels, height, width = (1, *shape) if len(shape) == 2 else shape
    if channels < 1 or min(height, width) < MIN_SIDE:
        hint = ""
        if height >= MIN_SIDE and channels >= MIN_SIDE and 1 <= width < MIN_SIDE:
            hint = " Channels come first: X.transpose(0, 3, 1, 2) puts them there."
        raise ValueError(
            f"image_shape: images must be at least {MIN_SIDE}x{MIN_SIDE} with one channel or "
            f"more; got channels={channels}, height={height}, width={width}.{hint}"
        )
    return int(channels), int(height), int(width)


def _warn_of_channels_last(shape: tuple[int, int, int]) -> None:
    """Warn if what was read as (channels, height, width) looks like (height, width, channels)."""
    first, second, last = shape
    if MIN_SIDE <= last < min(first, second):
        warnings.warn(
            f"X was read as images of {second}x{last} with {first} channels, since channels come "
            f"first. If they are images of {first}x{second} with {last} channels, pass "
            f"X.transpose(0, 3, 1, 2); if not, image_shape={shape} says so.",
            UserWarning,
            stacklevel=2,
        )


def as_array(X: Any) -> Any:
    """Return `X` as something with a shape: arrays and tables as they are, the rest as an array."""
    if isinstance(X, Tensor):
        if X.layout != torch.strided:
            raise ValueError(f"X must be a dense tensor; got layout {X.layout}.")
        X = X.detach().cpu()
        return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    if isinstance(X, str | bytes | PathLike):
        raise ValueError(f"X must hold the samples themselves; got {X!r}.")
    if isinstance(X, Sequence):
        X = [_as_sample(sample, number) for number, sample in enumerate(X)]
    elif hasattr(X, "shape"):
        if isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 1 and len(X):
            return as_array(list(X))  # an array of arrays
        return X
    try:
        return np.asarray(X)
    except ValueError as error:
        shapes = sorted({np.shape(sample) for sample in X if hasattr(sample, "shape")})
        found = f", of shapes {', '.join(map(str, shapes[:5]))}" if shapes else ""
        raise ValueError(
            f"X must hold samples of one shape; got samples that differ{found} ({error})."
        ) from error


def _as_sample(sample: Any, number: int) -> Any:
    if isinstance(sample, Tensor):
        return as_array(sample)
    if getattr(sample, "mode", None) in ("P", "PA"):  # of Pillow
        raise ValueError(
            f"X[{number}] is an image with a palette, whose values are no colours. Convert it: "
            'image.convert("RGB") or image.convert("L").'
        )
    return sample


def check_X(
    estimator: Any, X: Any, *, reset: bool, scaled_as: Any = None, device: Any = "cpu"
) -> Samples:
    """Validate `X` and return samples that are standardised, of shape (n, *input_shape_).

    With ``reset=True`` it also sets ``n_features_in_``, ``feature_names_in_``,
    ``input_shape_``, ``input_mean_`` and ``input_scale_`` (those of `X`, or of the fitted
    estimator `scaled_as`) and what is private to this module; otherwise it compares with them.
    """
    X = as_array(X)
    ndim = len(X.shape)
    if ndim <= 2 and estimator.image_shape is None and (reset or len(estimator.input_shape_) == 1):
        image_shape = None
    elif ndim <= 2:
        image_shape = check_image_shape(estimator.image_shape) if reset else estimator.input_shape_
    elif ndim <= 4:
        image_shape = check_image_shape(X.shape[1:])
        if reset and ndim == 4 and estimator.image_shape is None:
            _warn_of_channels_last(image_shape)
    else:
        raise ValueError(
            "X must have 2 dimensions (n_samples, n_features), 3 (n_samples, height, width) or 4 "
            f"(n_samples, channels, height, width); got {ndim}, of shape {X.shape}."
        )
    options = {
        "dtype": DTYPES,
        "allow_nd": True,
        "ensure_min_samples": 2 if reset else 1,  # batch normalisation trains on two or more
    }
    if ndim <= 2:
        if reset and scaled_as is not None:
            check_feature_names(scaled_as, X, reset=False)
        X = validate_data(estimator, X, reset=reset, **options)
    else:
        X = check_array(X, estimator=estimator, input_name="X", **options)
    n_features = X.shape[1] if image_shape is None else math.prod(image_shape)
    input_shape = (n_features,) if image_shape is None else image_shape
    if X.ndim == 2 and X.shape[1] != n_features:
        raise ValueError(
            f"X has {X.shape[1]} features a sample, but image_shape={estimator.image_shape!r} "
            f"asks for {n_features} = {' x '.join(map(str, input_shape))}."
        )
    if estimator.image_shape is not None and reset:
        expected = check_image_shape(estimator.image_shape)
        if input_shape != expected:
            raise ValueError(
                f"X holds images of shape {input_shape} (channels, height, width), but "
                f"image_shape={estimator.image_shape!r} asks for {expected}."
            )
    if not reset and input_shape != estimator.input_shape_:
        raise ValueError(
            f"X holds samples of shape {input_shape}, but {type(estimator).__name__} was "
            f"fitted on samples of shape {estimator.input_shape_}."
        )
    if not X.flags.writeable or not X.flags.c_contiguous:
        X = np.array(X, order="C")  # torch takes neither read-only arrays nor negative strides
    if reset:
        if ndim > 2:  # as if the images had been given flat
            check_n_features(estimator, np.empty((1, n_features), dtype=bool), reset=True)
            if hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_
        estimator.input_shape_ = input_shape
        estimator._sample_shape = X.shape[1:]
        if scaled_as is None:
            estimator.input_mean_, estimator.input_scale_ = _mean_and_scale(X)
            estimator._input_range = float(X.min()), float(X.max())
        else:
            estimator.input_mean_ = scaled_as.input_mean_
            estimator.input_scale_ = scaled_as.input_scale_
            estimator._input_range = scaled_as._input_range
        # what decoded samples are given in: rounding is to be far below the deviation
        largest = max(map(abs, estimator._input_range))
        is_fine = (
            largest < 1e38 and np.spacing(np.float32(largest)) <= estimator.input_scale_ / 1000
        )
        estimator._sample_dtype = np.float32 if is_fine else np.float64
    if not reset or scaled_as is not None:
        _warn_of_another_range(scaled_as or estimator, float(X.min()), float(X.max()))
    # ST-DAC's code only centres; ACAI, MCDC and IDEC have weights beside errors in other units
    mean, scale = estimator.input_mean_, estimator.input_scale_
    if X.dtype in (np.uint8, np.bool_):  # as they are: a quarter of the memory
        levels = ((torch.arange(256, device="cpu").double() - mean) / scale).float()
        values = torch.from_numpy(X.view(np.uint8)).view(-1, *input_shape)
        return Samples(values.to(device), levels.to(device))
    values = torch.empty(len(X), *input_shape, dtype=torch.float32, device="cpu")
    for result, part in zip(values.split(_slice_size(X)), _slices(X), strict=True):
        result.copy_(((part - mean) / scale).view_as(result))
    return Samples(values.to(device))


def _warn_of_another_range(fitted: Any, low: float, high: float) -> None:
    """Warn if values from `low` to `high` are far from those that `fitted` was fitted on."""
    first, last = fitted._input_range
    span = last - first or fitted.input_scale_
    is_outside = low < first - FAR * span or high > last + FAR * span
    # of images only: one sample of a table can well be much smaller than the largest of all
    is_narrow = len(fitted.input_shape_) == 3 and 0 < high - low < span / NARROW
    if is_outside or is_narrow:
        warnings.warn(
            f"X has values from {low:.4g} to {high:.4g}, but {type(fitted).__name__} was fitted on "
            f"values from {first:.4g} to {last:.4g}. Are they scaled alike?",
            UserWarning,
            stacklevel=2,
        )


def _slices(X: np.ndarray) -> Iterator[Tensor]:
    """Yield `X` in slices of float64: the same values give the same result in any dtype."""
    size = _slice_size(X)
    for start in range(0, len(X), size):
        yield torch.from_numpy(X[start : start + size]).double()


def _slice_size(X: np.ndarray) -> int:
    return max(1, SLICE * len(X) // X.size)


def _mean_and_scale(X: np.ndarray) -> tuple[float, float]:
    """Return the global mean and standard deviation, 1 in place of a deviation of 0."""
    mean = sum(part.sum().item() for part in _slices(X)) / X.size
    variance = sum((part - mean).square().sum().item() for part in _slices(X)) / X.size
    if not math.isfinite(variance):
        raise ValueError(
            f"X has values too large to be scaled: their variance is {variance}. Scale X first."
        )
    deviation = math.sqrt(variance)
    return mean, deviation if deviation > 8 * np.spacing(abs(mean)) else 1.0  # but for rounding
