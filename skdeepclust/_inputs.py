"""The input contract: from anything array-like to one standardised tensor on the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from torch import Tensor
from torch.nn import functional as F

from skdeepclust._sklearn import check_feature_names, check_n_features
from skdeepclust._warnings import warn
from skdeepclust.samples import Samples
from skdeepclust.streaming import (
    FOLDERS,
    Source,
    StreamedSamples,
    as_source,
    check_not_masked,
    check_numbers,
    read_in_blocks,
    stored_bytes,
    tensor_values,
)

MIN_SIDE = 8
SLICE = 2**22  # values that are converted at once, to bound the memory
# What is kept as it is. Everything else becomes the first: float32 would round 64-bit integers.
DTYPES = [np.float64, np.float32, np.float16, np.uint8, np.int8, np.uint16, np.int16, np.bool_]
SMALLEST = 1e-150  # of values whose variance is not 0
# Where values of a prediction are taken for scaled in another way: so many ranges of the fit beyond
# it, or images with so many times smaller a range.
FAR, NARROW = 3, 50
N_LOOKED_AT = 256  # samples of data on disk that are looked at for that
# Where rows of a table decide its scale alone: those that are so many times as far from the middle
# as most, if so small a share of them has so much of the squared distances.
REMOTE, FEW, MOST = 10, 0.01, 0.9
N_SHOWN = 5  # of such rows


@dataclass(frozen=True)
class Standardisation:
    """What makes samples of the values that were given, in float64.

    Parameters
    ----------
    mean, scale : float or Tensor of shape (n_features,), float64
        Of all values, or of each feature.
    spaces : tuple of int
        Widths of the spaces in which each sample is then divided by its norm, over the root of the
        width; in none if it is empty.
    """

    mean: float | Tensor
    scale: float | Tensor
    spaces: tuple[int, ...] = ()

    @property
    def is_global(self) -> bool:
        """Whether one value is made of one value, wherever it stands."""
        return not isinstance(self.mean, Tensor) and not self.spaces

    def __call__(self, values: Tensor) -> Tensor:
        """Return samples of shape (m, n_features)."""
        values = (values.flatten(1) - self.mean) / self.scale
        if not self.spaces:
            return values
        parts = values.split(self.spaces, 1)
        least = torch.finfo(values.dtype).tiny  # whatever the units
        return torch.cat(
            [F.normalize(x, dim=1, eps=least) * math.sqrt(x.shape[1]) for x in parts], 1
        )


def check_image_shape(
    image_shape: tuple[int, ...], name: str = "image_shape"
) -> tuple[int, int, int]:
    """Return `image_shape`, which is a parameter or the shape of samples, with channels first."""
    shape = tuple(image_shape) if np.ndim(image_shape) == 1 else ()
    if len(shape) not in (2, 3) or not all(isinstance(s, int | np.integer) for s in shape):
        raise ValueError(
            f"{name} must be (height, width) or (channels, height, width) in integers; "
            f"got {image_shape!r}."
        )
    channels, height, width = (1, *shape) if len(shape) == 2 else shape
    if channels < 1 or min(height, width) < MIN_SIDE:
        hint = ""
        if height >= MIN_SIDE and channels >= MIN_SIDE and 1 <= width < MIN_SIDE:
            hint = " Channels come first: X.transpose(0, 3, 1, 2) puts them there."
        raise ValueError(
            f"{name}: images must be at least {MIN_SIDE}x{MIN_SIDE} with one channel or "
            f"more; got channels={channels}, height={height}, width={width}.{hint}"
        )
    return int(channels), int(height), int(width)


def _warn_of_channels_last(shape: tuple[int, int, int]) -> None:
    """Warn if what was read as (channels, height, width) looks like (height, width, channels)."""
    first, second, last = shape
    if MIN_SIDE <= last < min(first, second):
        warn(
            f"X was read as images of {second}x{last} with {first} channels, since channels come "
            f"first. If they are images of {first}x{second} with {last} channels, pass "
            f"X.transpose(0, 3, 1, 2); if not, image_shape={shape} says so.",
        )


def as_array(X: Any) -> Any:
    """Return `X` as something with a shape: arrays and tables as they are, the rest as an array."""
    if isinstance(X, Tensor):
        return tensor_values(X).numpy()
    if isinstance(X, memoryview):  # which is a sequence, but not of its rows
        X = np.asarray(X)
    check_not_masked(X)
    if isinstance(X, str | bytes | PathLike):
        raise ValueError(f"X must hold the samples themselves; got {X!r}. {FOLDERS}")
    if isinstance(X, Mapping):  # such as files of h5py's or NumPy's that hold several arrays
        names = ", ".join(map(repr, list(X)[:5]))
        raise ValueError(
            f"X must be one of the arrays in {type(X).__name__}, X[name]; it has {names}."
        )
    if hasattr(X, "iloc") and X.ndim == 2 and X.shape[1] == 1:
        column = X.iloc[:, 0]
        holds_arrays = len(column) and np.ndim(column.iloc[0]) > 0
        X = column if holds_arrays else X
    if hasattr(X, "iloc") and X.ndim == 1:
        X = X.to_numpy()
    if hasattr(X, "get_columns") and X.shape[1] == 1:  # a table of Polars, and its columns
        X = X.to_series() if X.dtypes[0].is_nested() else X
    if hasattr(getattr(X, "dtype", None), "is_nested") and X.dtype.is_nested():
        X = _column_of_polars(X)
    if hasattr(X, "schema") and hasattr(X, "column_names"):  # a table of pyarrow, and its columns
        X = _table_of_pyarrow(X)
    if hasattr(X, "to_pylist") and not hasattr(X, "schema"):
        X = np.asarray(X)  # of lists it is an array of arrays
    if isinstance(X, Sequence):
        X = [_as_sample(sample, number) for number, sample in enumerate(X)]
    elif hasattr(X, "shape"):
        if isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 1 and len(X):
            return as_array(list(X))  # an array of arrays
        return X
    try:
        array = np.asarray(X)
    except ValueError as error:
        shapes = sorted({np.shape(sample) for sample in X if hasattr(sample, "shape")})
        found = f", of shapes {', '.join(map(str, shapes[:5]))}" if shapes else ""
        raise ValueError(
            f"X must hold samples of one shape; got samples that differ{found} ({error})."
        ) from error
    if array.ndim == 0 and array.dtype.kind == "O":
        raise ValueError(
            "X must be an array, a table, a sequence of samples or a map-style Dataset of torch; "
            f"got {type(X).__name__}."
        )
    return array


def _column_of_polars(column: Any) -> Any:
    """Return a column of arrays, or of lists of one length, as an array, of others as a list."""
    dtype = column.dtype
    if not column.null_count() and len(column):
        if hasattr(dtype, "shape"):
            return column.to_numpy()
        if hasattr(dtype, "inner") and not dtype.inner.is_nested():
            lengths = column.list.len()
            if lengths.min() == lengths.max() > 0:
                return column.explode().to_numpy().reshape(len(column), -1)
    return column.to_list()


def _table_of_pyarrow(X: Any) -> Any:
    """Return a table of numbers as it is, and the column of one that holds arrays alone."""
    nested = [field.name for field in X.schema if field.type.num_fields]
    if nested and X.num_columns > 1:
        raise ValueError(_holds_arrays(nested[0]))
    return X.column(0) if nested else X


def _holds_arrays(name: Any) -> str:
    return (
        f"X must hold numbers; column {name!r} holds arrays. X[{name!r}] alone is taken for the "
        "samples."
    )


def _as_sample(sample: Any, number: int) -> Any:
    check_not_masked(sample)
    if isinstance(sample, tuple) and sample and isinstance(sample[0], Tensor) and sample[0].ndim:
        sample = sample[0]  # of a Dataset that was made a list, as a search does
    if isinstance(sample, Tensor):
        return as_array(sample)
    if getattr(sample, "mode", None) in ("P", "PA"):  # of Pillow
        raise ValueError(
            f"X[{number}] is an image with a palette, whose values are no colours. Convert it: "
            'image.convert("RGB") or image.convert("L").'
        )
    return sample


def _is_numeric(dtype: Any) -> bool:
    """Return whether a column of pandas or Polars holds numbers or bool."""
    kind = getattr(dtype, "kind", None)
    return kind in "biuf" if kind is not None else bool(dtype.is_numeric())


def _check_kind(X: Any) -> None:
    """Raise a ValueError if an array or table has no features, or holds dates."""
    shape = tuple(X.shape)
    if len(shape) == 2 and shape[1] == 0:  # of tables scikit-learn says something else
        raise ValueError(f"X has 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    # of tables of pandas and Polars, which make numbers of a date beside numbers, or nothing
    is_table = hasattr(X, "iloc") or hasattr(X, "get_columns")
    if is_table and len(shape) == 2:
        for name, dtype in zip(X.columns, X.dtypes, strict=True):
            if not _is_numeric(dtype):  # a look at each of a thousand columns takes a second
                first = np.asarray(X[name][:1])
                if first.ndim > 1 or any(np.ndim(value) > 0 for value in first):
                    raise ValueError(_holds_arrays(name))
                check_numbers(first, f" in column {name!r}")
    is_sparse = issparse(X) or (is_table and any("Sparse" in str(dtype) for dtype in X.dtypes))
    if is_sparse:
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. Make it dense: "
            "X.toarray(), of a DataFrame X.sparse.to_dense(); in a pipeline OneHotEncoder("
            "sparse_output=False) and ColumnTransformer(..., sparse_threshold=0) do."
        )
    if shape:
        check_numbers(np.asarray(X[:1]))


def _shape_of_one(input_shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape of an image that can't be one of several images; None for tables."""
    if len(input_shape) == 1:
        return None
    return input_shape[1:] if input_shape[0] == 1 else input_shape


def check_X(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    scaled_as: Any = None,
    device: Any = "cpu",
    features: bool = True,
) -> Samples:
    """Validate `X` and return samples that are standardised, of shape (n, *input_shape_).

    With ``reset=True`` it also sets ``n_features_in_``, ``feature_names_in_``,
    ``input_shape_``, ``input_mean_`` and ``input_scale_`` (those of `X`, or of the fitted
    estimator `scaled_as`) and what is private to this module; otherwise it compares with them.
    ``features=False`` leaves out what the parameter `scaling` does.
    """
    source = as_source(X, estimator.num_workers)
    if source is None:
        X = as_array(X)
    elif stored_bytes(source.shape, source.dtype) <= estimator.memory_limit:
        X, source = _read_whole(source), None
    else:
        X = source.read(slice(0, 2))  # shows what all are like
    X, input_shape = _validated(estimator, X, reset, scaled_as)
    if reset:
        estimator.input_shape_, estimator._sample_shape = input_shape, X.shape[1:]
        low, high = _remember_scale(estimator, X, source, scaled_as)
    elif source is not None:  # no pass for this alone
        low, high = _extremes(
            source.read(np.unique(np.linspace(0, source.shape[0] - 1, N_LOOKED_AT).astype(int)))
        )
    else:
        low, high = _extremes(X)
    if not reset or scaled_as is not None:
        _warn_of_another_range(scaled_as or estimator, low, high)
    if reset:
        estimator._scaled_by = estimator._feature_scaling()
    how, widths = _scaled_by(estimator) if features else (None, ())
    if reset and hasattr(estimator, "scaling"):
        estimator.feature_mean_ = estimator.feature_scale_ = None
        if how is not None:
            parts = _slices(X) if source is None else _blocks(source, estimator)
            estimator.feature_mean_, estimator.feature_scale_ = _by_feature(parts)
    standardisation = _standardisation(estimator, how, widths or (math.prod(input_shape),))
    if source is None:
        return _standardised(X, input_shape, standardisation).to(device)
    wrap = partial(_wrapped, input_shape, standardisation, type(estimator).__name__)
    mean, scale = estimator.input_mean_, estimator.input_scale_  # of features no one asks for them
    limits = torch.tensor([low, high], dtype=torch.float64, device="cpu")
    extremes = tuple((limits - mean).div(scale).float().tolist())
    return StreamedSamples(source, wrap, input_shape, device, extremes, estimator.memory_limit)


def _scaled_by(estimator: Any) -> tuple[str | None, tuple[int, ...]]:
    """Return how a fit has scaled features; models of version 0.2.0 don't know, but have it set."""
    return getattr(estimator, "_scaled_by", None) or estimator._feature_scaling()


def _image_shape(estimator: Any, X: Any, reset: bool) -> tuple[int, int, int] | None:
    """Return (channels, height, width) of the images that `X` holds; None for tables."""
    ndim = len(X.shape)
    if ndim <= 2 and estimator.image_shape is None and (reset or len(estimator.input_shape_) == 1):
        return None
    if ndim <= 2:
        return check_image_shape(estimator.image_shape) if reset else estimator.input_shape_
    if ndim > 4:
        raise ValueError(
            "X must have 2 dimensions (n_samples, n_features), 3 (n_samples, height, width) or 4 "
            f"(n_samples, channels, height, width); got {ndim}, of shape {X.shape}."
        )
    image_shape = check_image_shape(X.shape[1:], "X")
    if reset and ndim == 4 and estimator.image_shape is None:
        _warn_of_channels_last(image_shape)
    return image_shape


def _flat_features(estimator: Any, X: Any) -> Any:
    """Return what is too small for images as vectors where features are wanted.

    So are pooled ones, of shape (n, n_features, 1, 1), and few tokens.
    """
    height = X.shape[-2] if len(X.shape) == 4 else min(X.shape[1:], default=0)
    if len(X.shape) not in (3, 4) or height >= MIN_SIDE:
        return X
    if estimator.image_shape is not None or not estimator._takes_features():
        return X
    return np.asarray(X).reshape(len(X), math.prod(X.shape[1:]))


def _validated(
    estimator: Any, X: Any, reset: bool, scaled_as: Any
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return an array that torch takes and the shape of a sample; raise where they don't suit."""
    _check_kind(X)
    X = _flat_features(estimator, X)
    if not reset and tuple(X.shape) == _shape_of_one(estimator.input_shape_):
        raise ValueError(
            f"X must hold samples; got one, of shape {tuple(X.shape)}: X[None] is an array of it."
        )
    image_shape = _image_shape(estimator, X, reset)
    options = {
        "dtype": DTYPES,
        "allow_nd": True,
        "ensure_min_samples": 2 if reset else 1,  # batch normalisation trains on two or more
        "ensure_all_finite": False,  # which doesn't say where
    }
    if len(X.shape) <= 2:
        if reset and scaled_as is not None:
            check_feature_names(scaled_as, X, reset=False)
        X = validate_data(estimator, X, reset=reset, **options)
    else:
        X = check_array(X, estimator=estimator, input_name="X", **options)
    _refuse(*_not_finite(X, range(len(X))))
    input_shape = (X.shape[1],) if image_shape is None else image_shape
    n_features = math.prod(input_shape)
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
    if reset and X.ndim > 2:  # as if the images had been given flat
        check_n_features(estimator, np.empty((1, n_features), dtype=bool), reset=True)
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    if not X.flags.writeable or not X.flags.c_contiguous or not X.dtype.isnative:
        # torch takes neither read-only arrays, negative strides nor another order of bytes
        X = np.array(X, X.dtype.newbyteorder("="), order="C")
    return X, input_shape


def _remember_scale(
    estimator: Any, X: np.ndarray, source: Source | None, scaled_as: Any
) -> tuple[float, float]:
    """Set mean, deviation and range of the training samples; return their extremes."""
    squares: list[Tensor] | None = [] if len(estimator.input_shape_) == 1 else None
    if source is not None:
        blocks = _measured(_blocks(source, estimator), squares)
        mean, scale, low, high = _streamed_statistics(blocks)
    else:
        low, high = _extremes(X)
        if scaled_as is None:
            mean, scale = _mean_and_scale(X, squares)
    if squares and scaled_as is None:
        _warn_of_remote_rows(torch.cat(squares))
    if scaled_as is not None:
        mean, scale = scaled_as.input_mean_, scaled_as.input_scale_
    elif low < high and max(abs(low), abs(high)) < SMALLEST:
        raise ValueError(
            f"X has values too small to be scaled: from {low:.3g} to {high:.3g}. Scale X first."
        )
    estimator.input_mean_, estimator.input_scale_ = mean, scale
    estimator._input_range = (low, high) if scaled_as is None else scaled_as._input_range
    # what decoded samples are given in: rounding is to be far below the deviation
    largest = max(map(abs, estimator._input_range))
    is_fine = largest < 1e38 and np.spacing(np.float32(largest)) <= scale / 1000
    estimator._sample_dtype = np.float32 if is_fine else np.float64
    return low, high


def _extremes(X: np.ndarray) -> tuple[float, float]:
    return float(X.min()), float(X.max())


def _standardisation(estimator: Any, how: str | None, spaces: tuple[int, ...]) -> Standardisation:
    """Return what makes samples of values, by what `estimator` knows of the training."""
    if how is None:
        # ST-DAC's code only centres; ACAI, MCDC and IDEC have weights beside errors in other units
        return Standardisation(estimator.input_mean_, estimator.input_scale_)
    mean, scale = (  # copies: they may be read-only
        torch.from_numpy(np.array(v)) for v in (estimator.feature_mean_, estimator.feature_scale_)
    )
    if how == "standard":
        return Standardisation(mean, scale)
    return Standardisation(mean, 1.0, spaces)


def _wrapped(
    input_shape: tuple[int, ...],
    standardisation: Standardisation,
    estimator: str,
    block: np.ndarray,
    rows: Sequence[int] | np.ndarray,
) -> Samples:
    return _standardised(_checked_block(block, rows, estimator), input_shape, standardisation)


def _read_whole(source: Source) -> np.ndarray:
    """Return all rows as an array in memory."""
    X = np.empty(source.shape, source.dtype)
    start = 0
    for block in read_in_blocks(source, SLICE):
        X[start : start + len(block)] = block
        start += len(block)
    return X


def _checked_block(
    block: np.ndarray, rows: Sequence[int] | np.ndarray, estimator: Any
) -> np.ndarray:
    block = _of_known_type(block, estimator)
    _refuse(*_not_finite(block, rows))
    return block


def _of_known_type(block: np.ndarray, estimator: Any) -> np.ndarray:
    options = {"dtype": DTYPES, "allow_nd": True, "ensure_all_finite": False}
    return check_array(block, estimator=estimator, input_name="X", **options)


def _not_finite(X: np.ndarray, rows: Sequence[int] | np.ndarray) -> tuple[list[int], set[str]]:
    """Return which of the rows hold values that are not finite, and what these are."""
    bad: list[int] = []
    kinds: set[str] = set()
    if X.dtype.kind != "f":
        return bad, kinds
    size = _slice_size(X)
    for start in range(0, len(X), size):
        part = X[start : start + size].reshape(-1, math.prod(X.shape[1:]))
        found = np.flatnonzero(~np.isfinite(part).all(1))
        kinds |= {"NaN" if nan else "infinity" for nan in np.isnan(part[found]).any(1)}
        bad += [int(rows[start + i]) for i in found.tolist()]
    return bad, kinds


def _refuse(bad: list[int], kinds: set[str]) -> None:
    """Raise a ValueError if any rows are bad."""
    if bad:
        raise ValueError(
            f"Input X contains {' and '.join(sorted(kinds))}, in {len(bad)} row(s): "
            f"{_listed(bad)}. Leave these samples out, or fill in what is missing."
        )


def _streamed_statistics(blocks: Iterable[Tensor]) -> tuple[float, float, float, float]:
    """Return mean, scale, lowest and highest value after one pass."""
    n, mean, squares = 0, 0.0, 0.0  # of the deviations from the mean
    low, high = math.inf, -math.inf
    for values in blocks:
        low, high = min(low, values.min().item()), max(high, values.max().item())
        own = values.mean().item()
        shift, total = own - mean, n + values.numel()
        squares += values.sub_(own).square_().sum().item()  # each block is ours
        squares += shift**2 * n * values.numel() / total
        mean += shift * values.numel() / total
        n = total
    return mean, _scale(mean, squares / n), low, high


def _blocks(source: Source, estimator: Any) -> Iterator[Tensor]:
    """Yield what is on disk in float64, in blocks that stay in a cache."""
    start = 0
    bad: list[int] = []
    kinds: set[str] = set()
    for block in read_in_blocks(source, SLICE // 4):
        block = _of_known_type(block, estimator)
        found, what = _not_finite(block, range(start, start := start + len(block)))
        bad, kinds = bad + found, kinds | what
        if not bad:  # else the rest is only looked through
            yield torch.from_numpy(block).double()
    _refuse(bad, kinds)


def _measured(parts: Iterable[Tensor], squares: list[Tensor] | None) -> Iterator[Tensor]:
    """Yield the parts of a table, and append to `squares` the rows' squared distances to a middle.

    It is the median of the first rows, which a few that are far away don't move.
    """
    middle = None
    for part in parts:
        if squares is not None:
            values = part.flatten(1)
            if middle is None:
                middle = values[:1000].median(0).values
            squares.append((values - middle).square_().sum(1))
        yield part


def _warn_of_remote_rows(squares: Tensor) -> None:
    """Warn if a few rows decide the scale: the others are all but equal then."""
    found, rows = squares.topk(math.ceil(FEW * len(squares)))
    share = (found.sum() / squares.sum()).item()
    remote = found > REMOTE**2 * squares.median()
    if share > MOST and remote.any():
        rows = rows[remote]
        times = (found[0] / squares.median()).sqrt().item()
        warn(
            f"X has {len(rows)} row(s) far from all others, which hold {share:.1%} of its variance "
            f"and so decide how it is scaled: {_listed(rows.sort().values.tolist())}, up to "
            f"{times:.3g} times as far from the middle as most. Are they errors? Drop or clip "
            "such rows."
        )


def _listed(rows: Sequence[int]) -> str:
    """Return the first numbers of rows as a text."""
    more = ", ..." if len(rows) > N_SHOWN else ""
    return ", ".join(map(str, rows[:N_SHOWN])) + more


def _by_feature(parts: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return each feature's mean and standard deviation, 1 in place of one of 0, after one pass."""
    n, mean, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for part in parts:
        values = part.flatten(1)
        own = values.mean(0)
        shift, total = own - mean, n + len(values)
        squares = squares + (values - own).square().sum(0) + shift**2 * n * len(values) / total
        mean = mean + shift * len(values) / total
        n = total
    scales = [_scale(*found) for found in zip(mean.tolist(), (squares / n).tolist(), strict=True)]
    return mean.numpy(), np.array(scales)


def _standardised(
    X: np.ndarray, input_shape: tuple[int, ...], standardisation: Standardisation
) -> Samples:
    if X.dtype in (np.uint8, np.bool_) and standardisation.is_global:  # a quarter of the memory
        levels = standardisation(torch.arange(256, device="cpu").double()[:, None])[:, 0].float()
        values = torch.from_numpy(X.view(np.uint8)).view(-1, *input_shape)
        return Samples(values, levels)
    values = torch.empty(len(X), *input_shape, dtype=torch.float32, device="cpu")
    for result, part in zip(values.split(_slice_size(X)), _slices(X), strict=True):
        result.copy_(standardisation(part).view_as(result))
    return Samples(values)


def _warn_of_another_range(fitted: Any, low: float, high: float) -> None:
    """Warn if values from `low` to `high` are far from those that `fitted` was fitted on."""
    first, last = fitted._input_range
    span = last - first or fitted.input_scale_
    is_outside = low < first - FAR * span or high > last + FAR * span
    # of images only: one sample of a table can well be much smaller than the largest of all
    is_narrow = len(fitted.input_shape_) == 3 and 0 < high - low < span / NARROW
    if is_outside or is_narrow:
        warn(
            f"X has values from {low:.4g} to {high:.4g}, but {type(fitted).__name__} was fitted on "
            f"values from {first:.4g} to {last:.4g}. Are they scaled alike?",
        )


def _slices(X: np.ndarray) -> Iterator[Tensor]:
    """Yield `X` in slices of float64: the same values give the same result in any dtype."""
    size = _slice_size(X)
    for start in range(0, len(X), size):
        yield torch.from_numpy(X[start : start + size]).double()


def _slice_size(X: np.ndarray) -> int:
    return max(1, SLICE * len(X) // X.size)


def _mean_and_scale(X: np.ndarray, squares: list[Tensor] | None) -> tuple[float, float]:
    """Return the global mean and standard deviation, 1 in place of a deviation of 0."""
    mean = sum(part.sum().item() for part in _measured(_slices(X), squares)) / X.size
    return mean, _scale(
        mean, sum((part - mean).square().sum().item() for part in _slices(X)) / X.size
    )


def _scale(mean: float, variance: float) -> float:
    """Return the standard deviation, 1 in place of one of 0."""
    if not math.isfinite(variance):
        raise ValueError(
            f"X has values too large to be scaled: their variance is {variance}. Scale X first."
        )
    deviation = math.sqrt(variance)
    return deviation if deviation > 8 * np.spacing(abs(mean)) else 1.0  # but for rounding
