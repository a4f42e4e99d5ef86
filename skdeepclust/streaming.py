"""Samples that stay where they are stored: on disk, or behind a torch Dataset."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Real
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from skdeepclust._memmap import release_pages
from skdeepclust.samples import Samples

BLOCK_BYTES = 2**20  # read in one go while shuffling
SLICE_BYTES = 2**25  # read ahead while passing through the samples in order
SCATTERED = 256  # rows of a memory map; each maps pages around it, too
DECODED = 64  # samples that a worker of a Dataset makes at once


class Source(Protocol):
    """Where samples come from: what is read of it is an array of `dtype`."""

    shape: tuple[int, ...]  # (n, ...)
    dtype: np.dtype

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return rows, given as a slice without a step or as rising indices."""
        ...


class ArraySource:
    """An array on disk: anything with a shape, a dtype and slices of rows.

    Parameters
    ----------
    array : array-like
        A memory map, a dataset of h5py or zarr, or the like.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = tuple(array.shape)
        self._lock = Lock()  # samples are read ahead in one thread, neighbours in another
        # not the array's, which may be that of what is stored, before offset and scale
        self.dtype = self.read(slice(0, 1)).dtype

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the array."""
        return ArraySource, (self.array,)

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return rows as an array in memory."""
        if isinstance(rows, slice):
            result = self._rows(rows, copy=True)
        elif isinstance(self.array, np.ndarray) and _n_runs(rows) > len(rows) // 4:
            result = np.empty((len(rows), *self.shape[1:]), self.dtype)
            for start in range(0, len(rows), SCATTERED):
                some = rows[start : start + SCATTERED]
                result[start : start + SCATTERED] = self._rows(some)
                self._release(some)
        else:  # what h5py and zarr take, and faster where rows stand side by side
            ends = np.flatnonzero(np.diff(rows) != 1) + 1
            result = np.empty((len(rows), *self.shape[1:]), self.dtype)
            for first, last in zip([0, *ends], [*ends, len(rows)], strict=True):
                result[first:last] = self._rows(slice(int(rows[first]), int(rows[last - 1]) + 1))
        self._release(rows)
        return result

    def _rows(self, rows: slice | np.ndarray, copy: bool = False) -> np.ndarray:
        if isinstance(self.array, np.ndarray):
            part = self.array[rows]
        else:
            with self._lock:
                part = self.array[rows]
        check_not_masked(part)
        return np.array(part, order="C") if copy else part

    def _release(self, rows: slice | np.ndarray) -> None:
        """Take the pages that have been read out of the process's memory."""
        if isinstance(self.array, np.ndarray):
            reach = rows if isinstance(rows, slice) else slice(rows[0], rows[-1] + 1)
            release_pages(self.array[reach])


def _n_runs(rows: np.ndarray) -> int:
    return 1 + int(np.count_nonzero(np.diff(rows) != 1))


def as_source(X: Any, num_workers: int) -> Source | None:
    """Return `X` as something to read from if it is on disk or a Dataset, else None."""
    if isinstance(X, Dataset):
        return DatasetSource(X, num_workers)
    if isinstance(X, Tensor):
        return None
    is_like_one = (
        len(getattr(X, "shape", ())) > 1
        and hasattr(X, "dtype")
        and hasattr(X, "__getitem__")
        and not hasattr(X, "__array_interface__")
        and not hasattr(X, "__array_namespace__")
        and not hasattr(X, "iloc")  # a table, of which a column may be named dtype
        and not isinstance(X, Tensor)
        and not issparse(X)
    )
    return ArraySource(X) if is_like_one or _is_on_disk(X) else None


def _is_on_disk(X: Any) -> bool:
    """Return whether an array is a memory map; what joblib makes of one in memory is as that is."""
    if not isinstance(X, np.memmap):
        return False
    return not Path(X.filename or "").parent.name.startswith("joblib_memmapping_folder")


def read_in_blocks(source: Source, n_values: int) -> Iterator[np.ndarray]:
    """Yield all rows in order, in blocks of about `n_values` values."""
    size = max(1, n_values // max(1, math.prod(source.shape[1:])))
    for start in range(0, source.shape[0], size):
        yield source.read(slice(start, start + size))


def check_not_masked(X: Any) -> None:
    """Raise a ValueError if an array has masked values, which NumPy's functions would take."""
    # of records, which are refused anyhow, is_masked makes nothing
    if isinstance(X, np.ma.MaskedArray) and X.dtype.names is None and np.ma.is_masked(X):
        raise ValueError("X has values that are masked. Fill them, or leave these samples out.")


IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".JPG", ".PNG"}  # what a path may end in
FOLDERS = "Files of images are read by skdeepclust.datasets.ImageFolder."


def check_numbers(X: np.ndarray, where: str = "") -> np.ndarray:
    """Return an array; raise a ValueError if it holds names or dates, which says where.

    NumPy makes numbers of dates. Strings that are numbers, as ``"1.5"``, pass.
    """
    if X.dtype.kind in "mMV":
        raise ValueError(
            f"X must hold numbers; got {X.dtype}{where}. X.astype(float) makes numbers of dates "
            "and times, but of missing ones, too."
        )
    if X.dtype.kind in "OSU":
        for value in X.flat:
            if isinstance(value, str | bytes | PathLike) and not _is_number(value):
                is_file = isinstance(value, PathLike) or os.path.splitext(value)[1] in IMAGES
                hint = FOLDERS if is_file else "sklearn.preprocessing encodes categories."
                raise ValueError(f"X must hold numbers; got {value!r}{where}. {hint}")
    return X


NUMPYS = (torch.float16, torch.float32, torch.float64)  # but not bfloat16 and float8


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def tensor_values(X: Tensor) -> Tensor:
    """Return a tensor as one that NumPy takes; raise a ValueError if it has no such values."""
    if X.layout != torch.strided or X.is_quantized or X.is_meta or X.is_nested:
        raise ValueError(
            f"X must be a dense tensor; got {'a nested one, ' if X.is_nested else ''}layout "
            f"{X.layout} and type {X.dtype} on {X.device}."
        )
    X = X.detach().cpu().resolve_conj().resolve_neg()
    has_none = X.is_floating_point() and X.dtype not in NUMPYS
    return X.float() if has_none else X


class _Sampled(Dataset):
    """A dataset's samples as tensors, without what comes with them."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, row: int) -> Tensor:
        sample = self.dataset[row]
        is_values = isinstance(sample, list) and isinstance((*sample, 0)[0], Real | list)
        if isinstance(sample, tuple | list) and not is_values:
            sample = sample[0]
        if isinstance(sample, Mapping):
            raise ValueError(
                f"X[{row}] is a {type(sample).__name__}: let the Dataset return the sample, or a "
                "tuple of which it is the first part."
            )
        if isinstance(getattr(sample, "mode", None), str):  # of Pillow
            raise ValueError(
                f"X[{row}] is an image of Pillow: let the Dataset return arrays or tensors, of "
                "shape (channels, height, width)."
            )
        check_not_masked(sample)
        if not isinstance(sample, Tensor):
            array = check_numbers(np.asarray(sample))
            is_known = array.dtype.kind not in "OSU" and array.dtype != np.longdouble  # to torch
            dtype = array.dtype.newbyteorder("=") if is_known else np.dtype(np.float64)
            sample = torch.as_tensor(array.astype(dtype, copy=False))
        return tensor_values(sample)


class DatasetSource:
    """A map-style Dataset, read by a DataLoader.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Of samples, or of tuples whose first part is the sample.
    num_workers : int
        Processes that read; 0: this one.
    """

    def __init__(self, dataset: Dataset, num_workers: int) -> None:
        n = len(dataset) if hasattr(dataset, "__len__") else None
        if not n or isinstance(dataset, IterableDataset):
            raise ValueError(
                "X must be a map-style Dataset with a length of at least 1; got "
                f"{type(dataset).__name__} of length {n}."
            )
        first = _Sampled(dataset)[0].numpy()
        self.shape, self.dtype = (n, *first.shape), first.dtype
        self._batches: list[list[int]] = []
        self._lock = Lock()  # samples are read ahead in one thread, neighbours in another
        self._given = dataset, num_workers
        self._loader = DataLoader(
            _Sampled(dataset),
            batch_sampler=self._batches,  # filled for each read: the workers live on
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            collate_fn=_stacked,
            generator=torch.Generator(),  # its draws leave the global random state alone
        )
        if num_workers:  # begin here: forked in a pool's thread, they would fail at their end
            self.read(slice(1))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the dataset; processes that read are not for other processes."""
        return DatasetSource, self._given

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return rows as an array."""
        every = range(*rows.indices(self.shape[0])) if isinstance(rows, slice) else rows.tolist()
        with self._lock:
            return self._read(every)

    def _read(self, every: Sequence[int]) -> np.ndarray:
        self._batches[:] = [list(every[i : i + DECODED]) for i in range(0, len(every), DECODED)]
        result = np.empty((len(every), *self.shape[1:]), self.dtype)
        for start, batch in zip(range(0, len(every), DECODED), self._loader, strict=True):
            if batch.shape[1:] != self.shape[1:]:
                raise ValueError(
                    f"X must hold samples of one shape; got {self.shape[1:]} in X[0] and "
                    f"{tuple(batch.shape[1:])} among X[{every[start]}] and those behind it."
                )
            values = batch.numpy()
            if not np.can_cast(values.dtype, self.dtype):
                raise ValueError(
                    f"X must hold samples of one type; got {self.dtype} in X[0] and {values.dtype} "
                    f"among X[{every[start]}] and those behind it."
                )
            result[start : start + DECODED] = values
        return result


def _stacked(samples: list[Tensor]) -> Tensor:
    shapes = {tuple(sample.shape) for sample in samples}
    if len(shapes) > 1:
        raise ValueError(f"X must hold samples of one shape; got {', '.join(map(str, shapes))}.")
    return torch.stack(samples)


class StreamedSamples(Samples):
    """Samples that are read when they are asked for, ahead where the order is known.

    Parameters
    ----------
    source : Source
    wrap : callable
        From an array that was read, and its rows' numbers, to standardised Samples. It can be
        pickled.
    input_shape : tuple of int
    device : torch.device
    extremes : tuple of two floats
        The lowest and the highest standardised value.
    memory_limit : int
        Bytes that what is read may take at most, all in all.
    """

    window: int

    def __init__(
        self,
        source: Source,
        wrap: Callable[[np.ndarray, Sequence[int] | np.ndarray], Samples],
        input_shape: tuple[int, ...],
        device: str | torch.device,
        extremes: tuple[float, ...],
        memory_limit: int,
    ) -> None:
        self.source = source
        self.shape = (source.shape[0], *input_shape)
        self.device = torch.empty(0, device=device).device  # with its number: a thread begins at 0
        self._wrap = wrap
        self._extremes = extremes
        self._bytes_each = stored_bytes((1, *input_shape), source.dtype)
        # two windows, and a third in the making
        self.window = max(2, memory_limit // 3 // self._bytes_each)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        samples, position = self._read(index)
        return samples[position]

    def to(self, device: str | torch.device) -> StreamedSamples:
        """Return the samples such that they are given on a device."""
        moved = copy.copy(self)
        moved.device = torch.empty(0, device=device).device
        return moved

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what they are read from."""
        return dict(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Read from there again."""
        vars(self).update(state)

    @property
    def is_mapped(self) -> bool:
        """Whether they are read from a memory map, which joblib shares by its name."""
        return isinstance(getattr(self.source, "array", None), np.ndarray)

    def aminmax(self) -> tuple[float, float]:
        """Return the lowest and the highest standardised value."""
        low, high = self._extremes
        return low, high

    def order(self, chunk_size: int) -> Tensor:
        """Return all indices: blocks at random, and samples at random within several blocks."""
        n, window = len(self), self._window_of(chunk_size)
        size = max(1, min(BLOCK_BYTES // self._bytes_each, window // 16))
        blocks = [
            torch.arange(i * size, min((i + 1) * size, n))
            for i in torch.randperm(-(-n // size)).tolist()
        ]
        parts = torch.cat(blocks).split(window)
        return torch.cat([part[torch.randperm(len(part))] for part in parts]).to(self.device)

    def parts(self, indices: Iterable[slice] | Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the samples of each index, reading ahead in a thread."""
        if self.device.type == "mps":  # which two threads must not use at once
            there: Any = (i if isinstance(i, slice) else i.cpu() for i in indices)
            yield from (x.to(self.device) for x in self.to("cpu").parts(there))
            return
        with ThreadPoolExecutor(1) as reader:
            ahead: Future | None = None
            for group in self._windows(indices):
                coming = reader.submit(self._read_all, group)
                if ahead is not None:
                    yield from ahead.result()
                ahead = coming
            if ahead is not None:
                yield from ahead.result()

    def _window_of(self, chunk_size: int) -> int:
        """Return how many samples of whole chunks are read at once."""
        return max(1, self.window // chunk_size) * chunk_size

    def _windows(self, indices: Iterable[slice] | Iterable[Tensor]) -> Iterator[list[Any]]:
        """Yield indices in groups, which are read at once."""
        group: list[Any] = []
        n = limit = 0
        for index in indices:
            size = index.stop - index.start if isinstance(index, slice) else len(index)
            if not group:
                limit = self._window_of(size)
                if isinstance(index, slice):
                    limit = min(limit, max(size, SLICE_BYTES // self._bytes_each))
            elif n + size > limit:
                yield group
                group, n = [], 0
            group.append(index)
            n += size
        if group:
            yield group

    def _read_all(self, indices: list[Any]) -> Iterator[Tensor]:
        """Read samples and return an iterator over those of each index."""
        first = indices[0]
        if isinstance(first, slice):
            base, _ = self._read(slice(first.start, indices[-1].stop))
            return (base[i.start - first.start : i.stop - first.start] for i in indices)
        samples, position = self._read(torch.cat(indices))
        return (samples[p] for p in position.split([len(i) for i in indices]))

    def _read(self, index: slice | Tensor) -> tuple[Samples, Any]:
        """Return samples in memory, and where those of the index stand among them."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            rows = range(start, stop, step)
            wanted = slice(start, stop) if step == 1 else np.array(rows)
            return self._wrap(self.source.read(wanted), rows).to(self.device), slice(None)
        unique, inverse = np.unique(index.cpu().numpy(), return_inverse=True)
        position = torch.from_numpy(inverse.reshape(-1)).to(self.device)
        return self._wrap(self.source.read(unique), unique).to(self.device), position


def stored_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the bytes that samples take in memory while they are read and standardised."""
    is_kept = dtype in (np.uint8, np.bool_)
    return max(1, math.prod(shape) * (dtype.itemsize + (0 if is_kept else 4)))
