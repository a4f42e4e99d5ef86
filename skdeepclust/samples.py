"""Samples on the device, as the methods and the engine see them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from skdeepclust._distributed import n_processes

CHUNK_BYTES = 2 * 2**20  # gathered at once, which is faster than batch by batch


class Samples(Dataset):
    """Samples in the type in which they are stored, standardised when they are asked for.

    ``X[index]`` gives standardised samples, float32 of shape (m, *input_shape), for a slice or a
    tensor of indices; nothing else is known of how they are stored.

    Parameters
    ----------
    values : Tensor of shape (n, *input_shape)
        float32 as they are to be given, or uint8.
    levels : Tensor of shape (256,), float32, default=None
        What uint8 stands for, in rising order: a quarter of the memory, and the same numbers.

    Attributes
    ----------
    shape : tuple of int
        (n, *input_shape).
    device : torch.device
    window : int or None
        How many samples are at hand at once, within which an order is drawn. None: all.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.samples import Samples
    >>> X = Samples(torch.tensor([[0], [255]], dtype=torch.uint8), torch.linspace(-1, 1, 256))
    >>> X[:]
    tensor([[-1.],
            [ 1.]])
    """

    window: int | None = None

    def __init__(self, values: Tensor, levels: Tensor | None = None) -> None:
        self.values = values
        self.levels = levels
        self.shape = tuple(values.shape)
        self.device = values.device

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        values = self.values[index]
        if self.levels is None:
            return values
        return self.levels.index_select(0, values.flatten().int()).view(values.shape)

    def to(self, device: str | torch.device) -> Samples:
        """Return the samples on a device."""
        return Samples(
            self.values.to(device), None if self.levels is None else self.levels.to(device)
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle arrays, which joblib shares between processes."""
        levels = None if self.levels is None else self.levels.cpu().numpy()
        return {"values": self.values.cpu().numpy(), "levels": levels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be on the CPU again."""
        levels = state["levels"]
        Samples.__init__(
            self,
            torch.from_numpy(state["values"]),
            None if levels is None else torch.from_numpy(levels),
        )

    def slices(self, size: int) -> Iterator[Tensor]:
        """Yield all samples in order, `size` at once."""
        n = len(self)
        return self.parts(slice(i, min(i + size, n)) for i in range(0, n, size))

    def parts(self, indices: Iterable[slice] | Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the samples of each index."""
        return (self[index] for index in indices)

    def order(self, chunk_size: int) -> Tensor:
        """Return all indices in a random order, for chunks of that size."""
        return torch.randperm(len(self), device=self.device)

    def aminmax(self) -> tuple[float, float]:
        """Return the lowest and the highest standardised value."""
        low, high = self.values.aminmax()
        if self.levels is not None:
            low, high = self.levels[low.int()], self.levels[high.int()]
        return low.item(), high.item()


def some_of(
    n_samples: int, n_values: int, max_samples: int, max_values: int, at_least: int = 1
) -> slice | Tensor:
    """Return the index of the samples that are kept where no more are wanted.

    They are drawn, always the same ones: samples that take turns would be lost to a constant step.

    Parameters
    ----------
    n_samples, n_values : int
        Samples, and values of each.
    max_samples, max_values : int
        Of what is kept, all in all.
    at_least : int, default=1
        Samples that are kept, if there are so many, whatever their size.

    Returns
    -------
    slice or Tensor of shape (n_kept,), int64
        A slice of all, or indices in rising order.

    Examples
    --------
    >>> from skdeepclust.samples import some_of
    >>> len(some_of(70_000, 784, max_samples=10_000, max_values=2**25))
    10000
    """
    n_kept = max(at_least, min(max_samples, max_values // n_values))
    if n_kept >= n_samples:
        return slice(None)
    drawn = torch.randperm(n_samples, generator=torch.Generator().manual_seed(0), device="cpu")
    return drawn[:n_kept].sort().values


def smallest_batch() -> int:
    """Return how many samples a batch needs: batch normalisation two, each process one."""
    return max(2, n_processes())


def n_batches(n_samples: int, batch_size: int) -> int:
    """Return the batches of an epoch: a last one that is too small joins the one before."""
    full, rest = divmod(n_samples, batch_size)
    return max(1, full + (rest >= smallest_batch()))


class Chunks:
    """Chunks of samples, each gathered at once and cut into batches.

    Parameters
    ----------
    X : Samples
    batch_size : int
        Samples a batch. A last batch of one joins the one before, because batch
        normalisation needs two, and one with fewer samples than processes.
    chunk_size : int, default=None
        Samples a chunk. None: as many as fit in 2 MiB.
    """

    def __init__(self, X: Samples, batch_size: int, chunk_size: int | None = None) -> None:
        self.X = X
        self.batch_size = batch_size
        if chunk_size is None:
            bytes_each = max(1, 4 * math.prod(X.shape[1:]))
            chunk_size = max(1, CHUNK_BYTES // bytes_each // batch_size) * batch_size
        self.chunk_size = chunk_size

    def _sizes(self, n: int, size: int) -> list[int]:
        sizes = [size] * (n // size) + [n % size] * (n % size > 0)
        if len(sizes) > 1 and sizes[-1] < smallest_batch():
            sizes[-2:] = [sum(sizes[-2:])]
        return sizes

    def __call__(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x, index) for each chunk of an order."""
        indices = order.split(self._sizes(len(order), self.chunk_size))
        return zip(self.X.parts(indices), indices, strict=True)

    def batches(self, x: Tensor, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of a chunk, as views of it."""
        sizes = self._sizes(len(x), self.batch_size)
        return zip(x.split(sizes), index.split(sizes), strict=True)
