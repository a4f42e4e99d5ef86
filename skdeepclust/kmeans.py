"""k-means with many starts that advance together, on the CPU or a GPU."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn import functional as F

from skdeepclust._distributed import of_lowest, own_parts
from skdeepclust._inputs import as_array
from skdeepclust._memmap import release_pages
from skdeepclust._torch_state import has_float64, neutral_settings
from skdeepclust._warnings import warn
from skdeepclust.streaming import check_not_masked, tensor_values

# Columns (starts times clusters) that advance together and elements of a slice's scores. On the
# CPU a slice of samples and its scores stay in the cache.
CPU_COLUMNS, CPU_SCORES = 1024, 2**19
CPU_ROWS, CPU_BLOCK = 2048, 4096
CUDA_COLUMNS, CUDA_SCORES = 2**14, 2**26
# Values that are read at once of arrays that aren't Tensors, and bytes of what the starts that
# advance together have for each sample.
READ_VALUES, START_BYTES = 2**24, 2**27
ROUNDING = 1e-3  # of a feature's deviation, which float32's may be


class _RowArray(Protocol):
    """Samples that are read slice by slice, such as an ``np.memmap`` or an h5py dataset."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_samples, n_features)."""

    @property
    def dtype(self) -> Any:
        """Of Booleans, integers or real floating point numbers."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return an array of the rows of a slice."""


class KMeansResult(NamedTuple):
    """The best of the starts of :func:`k_means`.

    Attributes
    ----------
    centers : Tensor of shape (n_clusters, n_features), float32
        float64 where `X` was so far from the origin that float32 would round its differences.
    labels : Tensor of shape (n_samples,), int64
        The nearest centre of each sample.
    inertia : float
        Sum of the squared distances of the samples to their nearest centre.
    n_iter : int
        Iterations that the best start took.
    """

    centers: Tensor
    labels: Tensor
    inertia: float
    n_iter: int


def _generator(random_state: Any) -> torch.Generator | None:
    if random_state is None or isinstance(random_state, torch.Generator):
        return random_state
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return torch.Generator().manual_seed(int(seed))


def k_means(
    X: Any,
    n_clusters: int,
    *,
    init: str | Tensor | np.ndarray = "k-means++",
    n_init: int = 10,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int | np.random.RandomState | torch.Generator | None = None,
) -> KMeansResult:
    """Lloyd's algorithm [1]_ from several starts, all at once; the best result is kept.

    It takes and returns Tensors, and returns four things, unlike :func:`sklearn.cluster.k_means`.
    From the same starts it finds what scikit-learn's ``KMeans(algorithm="lloyd")`` finds: the
    same stopping rule, and empty clusters are refilled with the samples farthest from their
    centres. It is faster because one matrix product serves all starts, and because only samples
    that change clusters are moved from one cluster's sum to another's.

    Parameters
    ----------
    X : Tensor or array-like of shape (n_samples, n_features)
        Finite samples. A Tensor of float32 is on the CPU or a CUDA device. Another array needs
        `shape`, `dtype` (Boolean, integer or floating point) and slices of its rows; it may be an
        ``np.memmap``, an ndarray or a dataset of h5py or Zarr, and has the result of the Tensor
        of the same numbers in float32, but that of 64-bit numbers where float32 would round their
        differences to more than a thousandth of the deviation. It is read where it is, on the CPU.
        Tensors of other types are taken as such arrays, and lists and tables become one.
    n_clusters : int in [1, n_samples]
    init : {"k-means++", "random"} or array of shape (n_init, n_clusters, n_features) \
            or (n_clusters, n_features), default="k-means++"
        "k-means++": greedy k-means++ [2]_ with 2 + log(n_clusters) candidates for each centre,
        as in scikit-learn; it costs about as much as five iterations and saves more than plain
        k-means++ would. "random": distinct samples. An array holds the starts themselves; its
        shape then says how many there are, and `n_init` is ignored.
    n_init : int >= 1, default=10
        Number of starts.
    max_iter : int >= 1, default=300
        Most iterations of a start.
    tol : float >= 0, default=1e-4
        A start has converged when no label changes, or when its centres' squared shifts sum to
        at most `tol` times the mean variance of the features.
    random_state : int, RandomState, torch.Generator or None, default=None
        Decides all random choices; a generator of PyTorch is on the CPU or on the device of `X`.
        None: PyTorch's default generator of the CPU.

    Returns
    -------
    KMeansResult
        Named tuple (centers, labels, inertia, n_iter) of the start with the lowest inertia;
        tensors on the device of `X`, for arrays the CPU.

    Raises
    ------
    ValueError
        If a parameter is not as described above.

    Warns
    -----
    ConvergenceWarning
        If clusters are empty, as where there are fewer distinct samples than clusters.

    Notes
    -----
    Beside a centred copy of a Tensor `X`, memory holds a few slices of the scores and, for the
    starts that advance together (1,024 / n_clusters on the CPU, 16,384 / n_clusters on CUDA), a
    label for each sample or, in k-means++, a score (float32). These labels or scores take at most
    128 MB, or 16 bytes a sample if that is more; fewer starts advance together where more would not
    fit, which changes results by rounding alone. On CUDA, do not allow TF32 for matrix products
    where the last digits of the inertia matter.

    Of another array there is no copy: it is read again and again, by each thread 4,096 samples at
    once (16,384 for mean and variance), or fewer that fit in 64 MB. Types of more digits than
    float32's take one pass more before. An iteration takes one pass for
    all starts that advance together, and another for each start with empty clusters; k-means++
    takes two for each centre. What memory holds for each sample is its squared length (float32)
    and, for each start, its label or score. The result is that of the Tensor, bit for bit up to
    1,024 features, and to rounding otherwise. Pages of a memory map are given back once they are
    read, except those of mode "c". Compressed arrays should have chunks of at most 4,096 rows.

    On the CPU, most of the time is spent in the matrix product. Bounds on distances, which would
    let it skip samples, are not kept: on overlapping clusters in 256 dimensions they skip next to
    nothing in the first half of the iterations, though most samples in the last third.
    Within a fit on several processes each takes some of the starts.
    While it runs on the CPU with more than one thread, ``torch.get_num_threads`` is 1: each of
    its own threads works on slices alone.

    References
    ----------
    .. [1] Lloyd (1982). Least squares quantization in PCM. IEEE Transactions on Information
       Theory 28.
    .. [2] Arthur and Vassilvitskii (2007). k-means++: The advantages of careful seeding. SODA.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.kmeans import k_means
    >>> X = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]])
    >>> result = k_means(X, 2, n_init=5, random_state=0)
    >>> result.inertia
    4.0
    >>> result.centers[result.labels]
    tensor([[0., 1.],
            [0., 1.],
            [9., 1.],
            [9., 1.]])
    """
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    if not has_float64(device):
        X, init = X.cpu(), init.cpu() if isinstance(init, Tensor) else init
    if isinstance(X, Tensor) and X.dtype != torch.float32:
        X = tensor_values(X).numpy()
    elif isinstance(X, list | tuple) or hasattr(X, "iloc") or hasattr(X, "get_columns"):
        X = np.asarray(as_array(X))
    result = best_of_starts(
        X,
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        generator=_generator(random_state),
    )
    n_found = len(result.labels.unique())
    if n_found < n_clusters:  # in scikit-learn's words
        warn(
            f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
            f"({n_clusters}). Possibly due to duplicate points in X.",
            ConvergenceWarning,
        )
    centers = result.centers if has_float64(device) else result.centers.float()
    return result._replace(centers=centers.to(device), labels=result.labels.to(device))


def best_of_starts(
    X: Tensor | _RowArray,
    n_clusters: int,
    *,
    init: str | Tensor | np.ndarray = "k-means++",
    n_init: int = 10,
    max_iter: int = 300,
    tol: float = 1e-4,
    generator: torch.Generator | None = None,
) -> KMeansResult:
    """Return the result of :func:`k_means`, of samples as they are and without its warning."""
    starts = _validate(X, n_clusters, init, n_init, max_iter, tol, generator)
    n_clusters, n_init, max_iter = int(n_clusters), int(n_init), int(max_iter)  # NumPy's too
    # Inference mode, should the caller be in it, would not reach the worker threads.
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    with neutral_settings(), torch.no_grad(), _workers(device) as each:
        problem = _Problem(X.detach() if isinstance(X, Tensor) else X, n_clusters, each)
        own = own_parts(n_init if starts is None else len(starts))  # of the starts
        if starts is not None:
            starts = starts[own].to(device) - problem.offset - problem.mean
        elif init == "random":
            starts = problem.random(n_init, generator)[own]
        else:
            starts = problem.plus_plus(n_init, generator, own)
        result = problem.solve(starts.float(), max_iter, tol)
    return KMeansResult(*of_lowest(result.inertia, result))


def _validate(
    X: Tensor | _RowArray,
    n_clusters: int,
    init: str | Tensor | np.ndarray,
    n_init: int,
    max_iter: int,
    tol: float,
    generator: torch.Generator | None,
) -> Tensor | None:
    """Raise a ValueError for what is wrong; return given starts as a float64 Tensor."""
    check_not_masked(X)
    if isinstance(X, Tensor):
        got = "" if X.dtype == torch.float32 else f"a Tensor of {X.dtype}"
    elif not all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__")):
        got = type(X).__name__
    else:
        got = "" if _is_real(X.dtype) else f"{type(X).__name__} of {X.dtype}"
    if got:
        raise ValueError(
            "X should be a float32 Tensor or a Boolean, integer or floating point array with "
            f"shape, dtype and slices of rows, such as an np.memmap or an h5py dataset, got {got}."
        )
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(
            "X should be of shape (n_samples, n_features), both at least 1, "
            f"got shape {tuple(X.shape)}."
        )
    if not isinstance(X, Tensor) and np.asarray(X[:1]).shape != (1, X.shape[1]):
        raise ValueError(
            f"X should give its rows as dense arrays, got {type(X).__name__}, of which X[:1] isn't "
            f"one of shape (1, {X.shape[1]})."
        )
    for name, value in (("n_clusters", n_clusters), ("n_init", n_init), ("max_iter", max_iter)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} should be an integer of at least 1, got {value!r}.")
    if n_clusters > X.shape[0]:
        raise ValueError(
            f"n_clusters should be at most n_samples, got n_clusters={n_clusters} for "
            f"{X.shape[0]} samples."
        )
    if not isinstance(tol, Real) or isinstance(tol, bool) or not 0 <= tol < math.inf:
        raise ValueError(f"tol should be a finite number of at least 0, got {tol!r}.")
    if generator is not None:
        device = X.device if isinstance(X, Tensor) else torch.device("cpu")
        if generator.device.type not in ("cpu", device.type):
            raise ValueError(
                "random_state should be a generator on the CPU or on the device of X "
                f"({device}), got one on {generator.device}."
            )
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ValueError(
                f'init should be "k-means++", "random" or an array of starts, got {init!r}.'
            )
        return None
    if not isinstance(init, Tensor | np.ndarray):
        raise ValueError(
            'init should be "k-means++", "random", a Tensor or an ndarray, got '
            f"{type(init).__name__}."
        )
    shape = (n_clusters, X.shape[1])
    if init.ndim not in (2, 3) or tuple(init.shape[-2:]) != shape or len(init) == 0:
        raise ValueError(
            f"init should be of shape (n_init, {shape[0]}, {shape[1]}) or {shape}, got shape "
            f"{tuple(init.shape)}."
        )
    starts = init.detach() if isinstance(init, Tensor) else torch.from_numpy(np.array(init, float))
    starts = starts.double().reshape(-1, *shape)
    if not starts.isfinite().all():
        raise ValueError("init should be finite, got NaN or infinity.")
    return starts


def _is_real(dtype: Any) -> bool:
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:  # not one of NumPy's
        return False


# Calls a function with each of several arguments and returns the results in the same order.
_Map = Callable[[Callable[[slice], Any], Iterable[slice]], Iterable[Any]]


@contextmanager
def _workers(device: torch.device) -> Iterator[_Map]:
    """Give a map that on the CPU uses as many threads as PyTorch is set to.

    Each thread does whole slices on its own. PyTorch's own threads would wait for each other
    after each of the many short operations, for long where the machine has other work too.
    """
    n_threads = torch.get_num_threads()
    if device.type != "cpu" or n_threads == 1:
        yield map
        return
    try:
        torch.set_num_threads(1)  # which new threads take over
        with ThreadPoolExecutor(n_threads) as executor:

            def each(function: Callable[[slice], Any], parts: Iterable[slice]) -> Iterator[Any]:
                # Unlike the executor's map not far ahead, so that few results wait to be taken
                coming: deque[Future] = deque()
                for part in parts:
                    coming.append(executor.submit(function, part))
                    if len(coming) > 2 * n_threads:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()

            yield each
    finally:
        torch.set_num_threads(n_threads)


class _Rows:
    """Rows [x - mean, 1] of samples that stay where they are, read when they are asked for.

    Those of a slice are there until the same thread asks for others. (New memory for each would
    cost time, and leave holes in the heap.)
    """

    def __init__(self, X: _RowArray, offset: Tensor) -> None:
        self.X = X
        self.offset = offset.numpy() if offset.any() else None  # subtracted in float64
        self.mean = torch.zeros(X.shape[1])
        self.scratch = threading.local()
        self.lock = threading.Lock()

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        if not isinstance(index, slice):
            # Few. Not all arrays take lists of indices, and h5py's have to rise.
            distinct, where = index.unique(return_inverse=True)
            return torch.cat([self[i : i + 1].clone() for i in distinct.tolist()])[where]
        with self.lock:  # not all readers let several threads in
            values = np.asarray(self.X[index])
        if len(getattr(self.scratch, "rows", ())) < len(values):
            self.scratch.rows = torch.ones(len(values), len(self.mean) + 1)
        rows = self.scratch.rows[: len(values)]
        few = max(1, CPU_SCORES // len(self.mean))  # that stay in the cache
        with np.errstate(over="ignore"):  # to infinity, which the caller looks for
            for i in range(0, len(values), few):
                centred = rows[i : i + few, :-1]
                if self.offset is None:
                    centred.numpy()[:] = values[i : i + few]
                else:
                    centred.numpy()[:] = values[i : i + few] - self.offset
                centred -= self.mean
        release_pages(values)
        return rows


class _Problem:
    """Centred samples and what the starts share.

    A sample is a row [x, 1] and a centre a row [c, -|c|²/2]: the product of the two is a score
    that is highest for the nearest centre, and |x - c|² = |x|² - 2 score. Sums of rows [x, 1]
    over a cluster hold its size in the last column. The rows of a Tensor are all there, those of
    another array are read from it, slice by slice.

    Scores, labels and centres of the starts that advance together have the shapes (n_clusters,
    n_starts, n), (n_starts, n) and (n_clusters, n_starts, n_features + 1).
    A label is n_clusters minus the index of the cluster, and 0 for none yet.
    """

    rows: Tensor | _Rows

    def __init__(self, X: Tensor | _RowArray, n_clusters: int, each: _Map = map) -> None:
        self.each = each
        self.k = n_clusters
        self.n, self.d = X.shape
        self.device = X.device if isinstance(X, Tensor) else torch.device("cpu")
        values: Tensor | _Rows
        self.max_rows = self.n
        if not isinstance(X, Tensor):
            self.max_rows = max(64, READ_VALUES // self.d // 64 * 64)
        size = min(2**14, self.max_rows)
        slices = [slice(i, min(i + size, self.n)) for i in range(0, self.n, size)]
        self.offset = torch.zeros(self.d, dtype=torch.float64, device=self.device)
        if isinstance(X, Tensor):
            values = X
        else:
            self.offset = _offset(X, slices)
            values = _Rows(X, self.offset)
        # Float64 sums of finite float32 numbers are finite, so that they tell if all are.
        total = cast(Tensor, sum(_sums(values[part]) for part in slices))[: self.d]
        if not total.isfinite().all():
            raise ValueError("X should be finite in float32, got NaN or infinity.")
        self.mean = (total / self.n).float().double()
        if isinstance(values, _Rows):
            self.rows = values
            self.rows.mean = self.mean.float()
        else:
            self.rows = torch.empty(self.n, self.d + 1, device=self.device)
            torch.sub(values, self.mean.float(), out=self.rows[:, :-1])
            self.rows[:, -1] = 1
        self.row_sum = torch.zeros(self.d + 1, dtype=torch.float64, device=self.device)
        squares = torch.empty(self.n, dtype=torch.float64, device=self.device)
        few = max(1, CPU_SCORES // self.d)
        for part in slices:
            rows = self.rows[part]
            self.row_sum += _sums(rows)
            for some, out in zip(rows.split(few), squares[part].split(few), strict=True):
                torch.sum(some[:, :-1].double().square_(), 1, out=out)
        # The mean of the centred samples is not quite zero; the variance takes that into account.
        offset = (total / self.n - self.mean).square().sum()
        self.total = squares.sum()
        self.variance = ((self.total / self.n - offset) / self.d).clamp_min(0)
        self.squares = squares.float()
        if not self.squares.isfinite().all():
            raise ValueError("X should be small enough to square in float32, got larger numbers.")
        cuda = self.device.type == "cuda"
        self.max_scores = CUDA_SCORES if cuda else CPU_SCORES
        self.label_type = torch.uint8 if n_clusters < 256 else torch.int32
        columns = CUDA_COLUMNS if cuda else CPU_COLUMNS
        self.width = self.at_once(-(-columns // n_clusters), self.label_type.itemsize)

    def at_once(self, n_starts: int, n_bytes: int) -> int:
        """Return how many starts advance together, each with so many bytes a sample."""
        return max(1, min(n_starts, max(START_BYTES, 16 * self.n) // (n_bytes * self.n)))

    def slices(self, n_columns: int, n: int | None = None) -> Iterator[slice]:
        """Slices of `n` samples, by default of all, such that their scores stay small."""
        n = self.n if n is None else n
        # Multiples of 64: matrix products of odd sizes take up to a quarter longer.
        size = max(64, self.max_scores // n_columns // 64 * 64)
        if self.device.type == "cpu":
            size = min(size, CPU_ROWS, self.max_rows)
        for first in range(0, n, size):
            yield slice(first, min(first + size, n))

    def weights(self, centers: Tensor) -> Tensor:
        """Append -|c|²/2 to float64 centres."""
        return torch.cat([centers, -centers.square().sum(-1, keepdim=True) / 2], -1).float()

    def scores(self, weights: Tensor, rows: Tensor, buffer: Tensor | None = None) -> Tensor:
        """Return the scores of rows, of shape (*weights.shape[:-1], n).

        A `buffer` that stays in the cache saves time on the CPU.
        """
        flat = weights.flatten(0, -2)
        out = None
        if buffer is not None:
            out = buffer[: len(flat) * len(rows)].view(len(flat), len(rows))
        return torch.mm(flat, rows.T, out=out).view(*weights.shape[:-1], -1)

    def buffer(self, n_columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return an empty buffer for the scores of a slice."""
        part = next(self.slices(n_columns))
        return torch.empty(part.stop * n_columns, dtype=dtype, device=self.device)

    def samples(self, index: Tensor) -> Tensor:
        """Return centred samples, of shape (*index.shape, d)."""
        return self.rows[index.to(self.device)][..., :-1]

    # ------------------------------------------------------------------------------- starts

    def random(self, n_init: int, generator: torch.Generator | None) -> Tensor:
        """Return distinct samples for each start, of shape (n_init, k, d)."""
        device = "cpu" if generator is None else generator.device
        chosen = torch.stack(
            [
                torch.randperm(self.n, generator=generator, device=device)[: self.k]
                for _ in range(n_init)
            ]
        )
        return self.samples(chosen)

    def plus_plus(
        self, n_init: int, generator: torch.Generator | None, own: slice = slice(None)
    ) -> Tensor:
        """Return some of `n_init` starts of greedy k-means++, of shape (..., k, d)."""
        device = "cpu" if generator is None else generator.device
        n_trials = 2 + int(math.log(self.k))
        # All numbers at once: they do not depend on how many starts advance together.
        shape = (n_init, self.k, n_trials)
        uniform = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)[own]
        width = self.at_once(self.width * self.k // (4 * n_trials), 4)
        return torch.cat([self._plus_plus(part) for part in uniform.to(self.device).split(width)])

    def _plus_plus(self, uniform: Tensor) -> Tensor:
        n_init, _, n_trials = uniform.shape
        starts = torch.arange(n_init, device=self.device)
        squares = self.squares
        chosen = torch.empty(n_init, self.k, dtype=torch.int64, device=self.device)
        chosen[:, 0] = (uniform[:, 0, 0] * self.n).long()
        # Each sample's score for the nearest centre so far
        best = torch.full((n_init, self.n), -math.inf, device=self.device)
        parts = list(self.slices(n_init * n_trials))
        size = parts[0].stop
        left = torch.empty(n_init, len(parts), dtype=torch.float64, device=self.device)

        def distances(best: Tensor, squares: Tensor) -> Tensor:
            return torch.add(squares, best, alpha=-2).clamp_min_(0)

        def choose(part: slice) -> None:
            nearest = best[:, part]
            torch.maximum(nearest, self.scores(weights, self.rows[part]), out=nearest)
            distance = distances(nearest, squares[part])
            left[:, part.start // size] = distance.sum(1, dtype=torch.float64)

        def gains(part: slice) -> Tensor:
            scores = self.scores(weights, self.rows[part])
            return torch.maximum(scores, best[:, None, part], out=scores).sum(2)

        for c in range(1, self.k):
            # What the last choice left, in all of each slice
            weights = self.weights(self.samples(chosen[:, c - 1]).double())
            deque(self.each(choose, parts), maxlen=0)
            # A slice and then a sample of it, with probabilities proportional to the distances
            total = left.cumsum(1)
            target = uniform[:, c] * total[:, -1:]
            slot = torch.searchsorted(total, target, right=True).clamp_max_(len(parts) - 1)
            target -= torch.where(slot > 0, total.gather(1, (slot - 1).clamp_min(0)), 0)
            index = slot[..., None] * size + torch.arange(size, device=self.device)
            inside = index < self.n
            index.clamp_max_(self.n - 1)
            within = distances(best[starts[:, None, None], index], squares[index])
            within = within.double().mul_(inside).cumsum(2)
            place = torch.searchsorted(within, target[..., None], right=True)[..., 0]
            candidates = (slot * size + place.clamp_max_(size - 1)).clamp_max_(self.n - 1)
            # The candidate that leaves least: the sum of its distances falls with that of scores
            weights = self.weights(self.samples(candidates).double())
            gain = torch.zeros(n_init, n_trials, dtype=torch.float64, device=self.device)
            for part in self.each(gains, parts):
                gain += part
            chosen[:, c] = candidates.gather(1, gain.argmax(1, keepdim=True))[:, 0]
        return self.samples(chosen)

    # ----------------------------------------------------------------------------- iterations

    def advance(self, weights: Tensor, sums: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Assign samples to the nearest centres; update `sums` and `labels` in place.

        Return the number of changed labels and the inertia of the starts.
        """
        k, n_starts, _ = weights.shape
        n_changed = torch.zeros(n_starts, dtype=torch.int64, device=self.device)
        score = torch.zeros(n_starts, dtype=torch.float64, device=self.device)
        ids = torch.arange(k, 0, -1, device=self.device, dtype=self.label_type)[:, None, None]
        small = self.device.type == "cpu" and self.label_type == torch.uint8
        # Only differences matter: with those to the last centre, its own scores are zero and
        # need not be computed.
        last = weights[-1].double()
        differences = (weights[:-1].double() - last).float()

        def assign(block: slice) -> tuple[Tensor, Tensor, list[Tensor]]:
            scores = self.buffer(k * n_starts)
            codes = self.buffer(k * n_starts, torch.uint8) if small else None
            rows = self.rows[block]
            old = labels[:, block]
            new = torch.empty_like(old)
            total = torch.zeros_like(score)
            for part in self.slices(k * n_starts, len(rows)):
                out = new[:, part]
                if k == 1:
                    out.fill_(1)
                    continue
                part_scores = self.scores(differences, rows[part], scores)
                best = self.nearest(part_scores, ids[:-1], codes, out)
                total += best.sum(1, dtype=torch.float64)
            changed = new != old
            changes = list(self.changes(k, old, new, changed, rows, ids))
            labels[:, block] = new
            return total, changed.sum(1), changes

        # In order, so that the same start gives the same result, bit for bit
        for part_score, part_changed, changes in self.each(assign, self.blocks()):
            score += part_score
            n_changed += part_changed
            for change in changes:
                sums += change.view_as(sums)
        score += last @ self.row_sum
        return n_changed, self.total - 2 * score

    def blocks(self) -> Iterator[slice]:
        """Slices of the samples after which the sums are brought up to date."""
        size = min(CPU_BLOCK, self.max_rows) if self.device.type == "cpu" else 2**17
        for start in range(0, self.n, size):
            yield slice(start, min(start + size, self.n))

    def nearest(self, scores: Tensor, ids: Tensor, codes: Tensor | None, out: Tensor) -> Tensor:
        """Write the labels of a slice to `out` and return the scores they have.

        The last centre is the one whose scores are zero and left out. Of equals the first wins.

        PyTorch's `max` with indices is not vectorised on the CPU, in contrast to without. With
        `codes`, labels therefore come from a second one: of `ids` where the score is highest.
        """
        if codes is None:
            best, labels = scores.max(0)
            labels = torch.where(best >= 0, len(ids) + 1 - labels, 1)
            out.copy_(labels)
            return best.clamp_min_(0)
        best = scores.amax(0).clamp_min_(0)
        codes = codes[: scores.numel()].view(scores.shape)
        # Several times faster than PyTorch's
        np.greater_equal(scores.numpy(), best.numpy(), out=codes.numpy().view(bool))
        codes *= ids
        out.copy_(codes.amax(0).clamp_min_(1))
        return best

    def changes(
        self, k: int, old: Tensor, new: Tensor, changed: Tensor, rows: Tensor, ids: Tensor
    ) -> Iterator[Tensor]:
        """Changes of the clusters' sums, as samples leave old clusters and join new ones."""
        n_starts, size = new.shape
        if self.device.type != "cpu":
            # To pick samples would synchronise.
            for part in self.slices(k * n_starts, size):
                change = (new[:, part] == ids).float() - (old[:, part] == ids).float()
                yield change.flatten(0, 1) @ rows[part]
            return
        where = changed.flatten().nonzero()[:, 0]
        if not len(where):
            return
        start, sample = where // size, where % size
        sources, targets = (k - lab.flatten()[where].long() for lab in (old, new))
        n_joining = len(where)
        keys = targets * n_starts + start
        # Those of no cluster yet, all in a start's first iteration, have a source of k.
        leaving = sources < k
        if leaving.any():
            keys = torch.cat([keys, (sources * n_starts + start)[leaving]])
            sample = torch.cat([sample, sample[leaving]])
        order = _stable_argsort(keys, k * n_starts)
        counts = keys.bincount(minlength=k * n_starts)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        yield F.embedding_bag(
            sample[order],
            rows,
            offsets,
            mode="sum",
            per_sample_weights=torch.where(order < n_joining, 1.0, -1.0),
            include_last_offset=True,
        )

    def refill(self, weights: Tensor, sums: Tensor, labels: Tensor) -> Tensor:
        """Return the new centres of a start with empty clusters.

        As in scikit-learn, an empty cluster takes the sample farthest from its centre from
        the sample's cluster.

        Parameters
        ----------
        weights, sums : Tensor of shape (n_clusters, n_features + 1)
            The centres the labels are from, and the sums for them.
        labels : Tensor of shape (n,)
        """
        labels = self.k - labels.long()
        sums = sums.clone()
        centers = weights[:, :-1]
        distance = torch.empty(self.n, device=self.device)

        def measure(part: slice) -> None:
            difference = self.rows[part][:, :-1] - centers[labels[part]]
            torch.sum(difference.square_(), 1, out=distance[part])

        deque(self.each(measure, self.slices(self.d)), maxlen=0)
        empty = (sums[:, -1] == 0).nonzero()[:, 0].tolist()
        if distance.max() > 0:
            farthest = distance.topk(len(empty)).indices
            rows = self.rows[farthest].double()
            for cluster, source, row in zip(empty, labels[farthest].tolist(), rows, strict=True):
                sums[source] -= row
                sums[cluster] = row
        sizes = sums[:, -1:]
        # Like scikit-learn: what is still empty goes to the biggest cluster's centre.
        sums = torch.where(sizes > 0, sums, sums[sizes.argmax()])
        return sums[:, :-1] / sums[:, -1:]

    def solve(self, starts: Tensor, max_iter: int, tol: float) -> KMeansResult:
        """Run all starts and return the best result."""
        n_init = len(starts)
        finished = torch.empty_like(starts)
        inertias = torch.empty(n_init, dtype=torch.float64, device=self.device)
        n_iters = [0] * n_init
        max_shift = tol * self.variance

        def blank(count: int) -> tuple[Tensor, Tensor]:
            sums = torch.zeros(self.k, count, self.d + 1, dtype=torch.float64, device=self.device)
            # 0 is no cluster: every sample is new to its first.
            labels = torch.zeros(count, self.n, dtype=self.label_type, device=self.device)
            return sums, labels

        active: list[int] = []  # the starts that advance, in the order of the tensors
        last: list[bool] = []  # whether only labels for the final centres are missing
        weights = starts.new_empty(self.k, 0, self.d + 1)
        sums, labels = blank(0)
        waiting = 0
        while active or waiting < n_init:
            room = min(self.width - len(active), n_init - waiting)
            # Few at a time would cost a copy of the labels for each.
            if room and (not active or room >= min(self.width // 8 + 1, n_init - waiting)):
                coming = starts[waiting : waiting + room].transpose(0, 1).double()
                weights = torch.cat([weights, self.weights(coming)], 1)
                sums, labels = (
                    torch.cat([sums, blank(room)[0]], 1),
                    torch.cat([labels, blank(room)[1]]),
                )
                active += range(waiting, waiting + room)
                last += [False] * room
                waiting += room

            n_changed, inertia = self.advance(weights, sums, labels)
            sizes = sums[..., -1:]
            centers = sums[..., :-1] / sizes.clamp_min(1)
            shift = (centers - weights[..., :-1]).square().sum((0, 2))
            empty = (sizes[..., 0] == 0).any(0)
            # The iteration's one synchronisation
            status = torch.stack([n_changed == 0, shift <= max_shift, empty]).tolist()
            keep, stay = [], []
            for i, (start, same, still, hollow) in enumerate(zip(active, *status, strict=True)):
                if not last[i]:
                    n_iters[start] += 1
                if last[i] or same:
                    continue
                if hollow:
                    centers[:, i] = self.refill(weights[:, i], sums[:, i], labels[i])
                    still = (centers[:, i] - weights[:, i, :-1]).square().sum() <= max_shift
                keep.append(i)
                stay.append(bool(still) or n_iters[start] == max_iter)
            if len(keep) < len(active):
                ended = [i for i in range(len(active)) if i not in set(keep)]
                where = torch.tensor([active[i] for i in ended], device=self.device)
                gone = torch.tensor(ended, device=self.device)
                finished[where] = weights[:, gone, :-1].transpose(0, 1)
                inertias[where] = inertia[gone]
                active = [active[i] for i in keep]
                kept = torch.tensor(keep, dtype=torch.int64, device=self.device)
                centers, sums, labels = centers[:, kept], sums[:, kept], labels[kept]
            last = stay
            weights = self.weights(centers)
        return self.best(finished, inertias, n_iters)

    def best(self, centers: Tensor, inertias: Tensor, n_iters: list[int]) -> KMeansResult:
        """Return the result with the lowest inertia.

        `inertias` are differences and so only as precise as the spread of the samples allows.
        Where that is too little to tell results apart, they are computed once more.
        """
        slack = 1e-6 * self.total
        lowest = inertias.min()
        candidates = inertias.argmin()[None]
        if slack > 1e-6 * lowest * 10:
            candidates = (inertias <= lowest + slack).nonzero()[:, 0]
        results = []
        for some in candidates.split(self.width):
            labels, found = self.assign(centers[some])
            inertia, place = min((inertia, i) for i, inertia in enumerate(found))
            results.append((inertia, int(some[place]), labels[place].clone()))
        inertia, winner, labels = min(results, key=lambda result: result[:2])
        original = centers[winner].double() + self.mean + self.offset
        if not self.offset.any():
            original = original.float()
        return KMeansResult(original, labels.long(), inertia, n_iters[winner])

    def assign(self, centers: Tensor) -> tuple[Tensor, list[float]]:
        """Return the labels and the inertias of some starts' centres."""
        weights = self.weights(centers.double())
        labels = torch.empty(len(centers), self.n, dtype=self.label_type, device=self.device)

        def nearest(part: slice) -> Tensor:
            rows = self.rows[part]
            inertias = []
            for i, its_weights in enumerate(weights):
                index = self.scores(its_weights, rows).argmax(0)
                labels[i, part] = index
                distance = (rows[:, :-1] - centers[i][index]).square()
                inertias.append(distance.sum(dtype=torch.float64))
            return torch.stack(inertias)

        inertias = sum(self.each(nearest, self.slices(max(self.k, self.d))))
        return labels, cast(Tensor, inertias).tolist()


def _offset(X: _RowArray, slices: list[slice]) -> Tensor:
    """Return the float64 means of features whose differences float32 would round, 0 of others."""
    if np.can_cast(X.dtype, np.float32):
        return torch.zeros(X.shape[1], dtype=torch.float64)
    first = np.asarray(X[:1]).astype(np.float64)[0]
    sums, squares, largest = np.zeros((3, len(first)))
    with np.errstate(all="ignore"):  # of infinities, which the caller looks for
        for part in slices:
            values = np.asarray(X[part])
            largest = np.maximum(largest, np.abs(values.astype(np.float64)).max(0))
            difference = values - first
            release_pages(values)
            sums += difference.sum(0)
            squares += np.square(difference).sum(0)
        mean = sums / X.shape[0]
        deviation = np.sqrt(squares / X.shape[0] - mean**2)
        rounding = np.spacing(largest.astype(np.float32))
        is_rounded = (deviation > 0) & (rounding > ROUNDING * deviation)
    return torch.from_numpy(np.where(is_rounded, first + mean, 0))


def _sums(rows: Tensor) -> Tensor:
    """Return float64 sums of rows, made of few columns at a time, which fit in the cache."""
    sums = rows.new_empty(rows.shape[1], dtype=torch.float64)
    for columns, out in zip(rows.split(64, 1), sums.split(64), strict=True):
        torch.sum(columns.double(), 0, out=out)
    return sums


def _stable_argsort(keys: Tensor, stop: int) -> Tensor:
    """Return what sorts keys in [0, stop) on the CPU."""
    if stop <= 2**16:  # NumPy's radix sort, several times faster than a comparison sort
        return torch.from_numpy(np.argsort(keys.numpy().astype(np.uint16), kind="stable"))
    return keys.argsort(stable=True)
