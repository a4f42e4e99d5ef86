"""The input contract: from anything array-like to one standardised tensor on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.validation import _check_n_features, validate_data
from torch import Tensor

MIN_SIDE = 8
SLICE = 4096  # samples that are converted at once, to bound the memory


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
        if height >= MIN_SIDE and channels >= MIN_SIDE and 1 <= width <= 4:
            hint = " Channels come first: X.transpose(0, 3, 1, 2) puts them there."
        raise ValueError(
            f"image_shape: images must be at least {MIN_SIDE}x{MIN_SIDE} with one channel or "
            f"more; got channels={channels}, height={height}, width={width}.{hint}"
        )
    return int(channels), int(height), int(width)


def check_X(
    estimator: Any, X: Any, *, reset: bool, scaling: tuple[float, float] | None = None
) -> Tensor:
    """Validate `X` and return it standardised, as float32 of shape (n, *input_shape_).

    With ``reset=True`` it also sets ``n_features_in_``, ``feature_names_in_``,
    ``input_shape_``, ``input_mean_`` and ``input_scale_`` (those of `X`, or `scaling`) and
    ``_sample_shape`` (as `X` has it); otherwise it compares with them.
    """
    if isinstance(X, Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    elif not hasattr(X, "ndim"):  # nested lists, say
        X = np.asarray(X)
    ndim = X.ndim
    if ndim <= 2 and estimator.image_shape is None and (reset or len(estimator.input_shape_) == 1):
        image_shape = None
    elif ndim <= 2:
        image_shape = check_image_shape(estimator.image_shape) if reset else estimator.input_shape_
    elif ndim <= 4:
        image_shape = check_image_shape(X.shape[1:])
    else:
        raise ValueError(
            "X must have 2 dimensions (n_samples, n_features), 3 (n_samples, height, width) or 4 "
            f"(n_samples, channels, height, width); got {ndim}, of shape {X.shape}."
        )
    options = {
        "dtype": [np.float32, np.float64, np.uint8],
        "allow_nd": True,
        "ensure_min_samples": 2 if reset else 1,  # batch normalisation trains on two or more
    }
    if ndim <= 2:
        X = validate_data(estimator, X, reset=reset, **options)
    else:
        X = check_array(X, estimator=estimator, input_name="X", **options)
    n_features = X.shape[1] if image_shape is None else math.prod(image_shape)
    input_shape = (n_features,) if image_shape is None else image_shape
    if X.ndim == 2 and X.shape[1] != n_features:
        raise ValueError(
            f"X has {X.shape[1]} features a sample, but image_shape={estimator.image_shape!r} "
            f"asks for {n_features} = {' x '.join(map(str, image_shape))}."
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
            _check_n_features(estimator, np.empty((1, n_features), dtype=bool), reset=True)
            if hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_
        estimator.input_shape_ = input_shape
        estimator._sample_shape = X.shape[1:]
        estimator.input_mean_, estimator.input_scale_ = scaling or _mean_and_scale(X)
    x = torch.empty(len(X), *input_shape)
    for result, part in zip(x.split(SLICE), _slices(X), strict=True):
        part = (part - estimator.input_mean_) / estimator.input_scale_
        result.copy_(part.view_as(result))
    return x


def _slices(X: np.ndarray) -> Iterator[Tensor]:
    """Yield `X` in slices of float64: the same values give the same result in any dtype."""
    for start in range(0, len(X), SLICE):
        part = torch.from_numpy(X[start : start + SLICE]).double()
        yield part / 255 if X.dtype == np.uint8 else part


def _mean_and_scale(X: np.ndarray) -> tuple[float, float]:
    """Return the global mean and standard deviation, 1 in place of a deviation of 0."""
    mean = sum(part.sum().item() for part in _slices(X)) / X.size
    variance = sum((part - mean).square().sum().item() for part in _slices(X)) / X.size
    if not math.isfinite(variance):
        raise ValueError(
            f"X has values too large to be scaled: their variance is {variance}. Scale X first."
        )
    return mean, math.sqrt(variance) or 1.0
