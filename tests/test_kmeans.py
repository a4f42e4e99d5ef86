import subprocess
import sys
from contextlib import ExitStack

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from skdeepclust import kmeans
from skdeepclust.kmeans import KMeansResult, k_means


def blobs(n=600, d=8, k=5, scale=1.5, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(k, d)) * scale
    return (centers[rng.integers(0, k, n)] + rng.normal(size=(n, d))).astype("float32")


def reference(X, starts, **params):
    """Scikit-learn's result from each of the starts."""
    n_clusters = starts.shape[1]
    return [
        KMeans(n_clusters, init=start, n_init=1, algorithm="lloyd", **params).fit(X)
        for start in starts
    ]


def random_starts(X, k, n_init, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([X[rng.choice(len(X), k, replace=False)] for _ in range(n_init)])


DATA = {
    "overlapping": (blobs(), 5),
    "separate": (blobs(scale=20), 5),
    "offset": (blobs() + np.float32(1000), 5),
    "duplicates": (np.repeat(blobs(40), 10, axis=0), 7),
    "one cluster": (blobs(), 1),
    "two clusters, one feature": (blobs(d=1), 2),
    "many clusters": (blobs(900), 300),
    "as many clusters as samples": (blobs(20), 20),
    "more than a slice": (blobs(5000), 10),
}


@pytest.mark.parametrize("name", DATA)
def test_same_as_scikit_learn(name):
    X, k = DATA[name]
    starts = random_starts(X, k, 4)
    expected = reference(X, starts)
    for start, fitted in zip(starts, expected, strict=True):
        result = k_means(torch.from_numpy(X), k, init=start)
        assert result.inertia == pytest.approx(fitted.inertia_, rel=1e-4, abs=1e-4)
        assert result.centers.dtype == torch.float32 and result.labels.dtype == torch.int64
        np.testing.assert_allclose(result.centers, fitted.cluster_centers_, rtol=1e-4, atol=1e-2)
        assert (result.labels.numpy() == fitted.labels_).mean() > 0.99
        assert abs(result.n_iter - fitted.n_iter_) <= 1
    best = k_means(torch.from_numpy(X), k, init=torch.from_numpy(starts))
    lowest = min(fitted.inertia_ for fitted in expected)
    assert best.inertia == pytest.approx(lowest, rel=1e-4, abs=1e-4)


def test_more_starts_than_advance_together(monkeypatch):
    monkeypatch.setattr(kmeans, "CPU_COLUMNS", 12)  # three at a time
    X = blobs(seed=1)
    starts = random_starts(X, 4, 11)
    fits = reference(X, starts)
    best = min(fits, key=lambda fitted: fitted.inertia_)
    result = k_means(torch.from_numpy(X), 4, init=starts)
    assert result.inertia == pytest.approx(best.inertia_, rel=1e-4)
    same = [f.n_iter_ for f in fits if np.isclose(f.inertia_, best.inertia_, rtol=1e-4)]
    assert any(abs(result.n_iter - n_iter) <= 1 for n_iter in same)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads(n_threads):
    """Several threads find what one finds, and PyTorch's setting is as it was."""
    X = torch.from_numpy(blobs(9000))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        results = [k_means(X, 6, n_init=5, random_state=3) for _ in range(2)]
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0].centers, results[1].centers)  # bit for bit
    expected = k_means(X, 6, n_init=5, random_state=3)
    assert results[0].inertia == pytest.approx(expected.inertia, rel=1e-5)
    assert results[0].inertia == results[1].inertia


def test_within_inference_mode():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            result = k_means(torch.randn(50, 3), 4, n_init=3)
        assert not result.centers.is_inference()
    finally:
        torch.set_num_threads(n_threads)


def test_result_is_consistent():
    X = torch.from_numpy(blobs() + np.float32(3))
    result = k_means(X, 5, n_init=3, random_state=0)
    assert isinstance(result, KMeansResult)
    distance = torch.cdist(X.double(), result.centers.double()).square()
    assert torch.equal(distance.argmin(1), result.labels)
    assert result.inertia == pytest.approx(distance.amin(1).sum().item(), rel=1e-5)


def empty_cluster_starts(X, k, n_far):
    """Starts of which the last `n_far` are too far from all samples to win one."""
    starts = random_starts(X, k, 3)
    starts[:, -n_far:] = 1e3 + np.arange(n_far)[:, None]
    return starts


@pytest.mark.parametrize("n_far", [1, 3])
@pytest.mark.parametrize("offset", [0, 1000])
def test_empty_clusters(n_far, offset):
    X = blobs(k=6, seed=2) + np.float32(offset)
    starts = empty_cluster_starts(X, 6, n_far) + np.float32(offset) * (
        np.arange(6)[:, None] >= 6 - n_far
    )
    for start, fitted in zip(starts, reference(X, starts), strict=True):
        result = k_means(torch.from_numpy(X), 6, init=start)
        assert result.inertia == pytest.approx(fitted.inertia_, rel=1e-4)
        assert len(result.labels.unique()) == 6
    lowest = min(fitted.inertia_ for fitted in reference(X, starts))
    assert k_means(torch.from_numpy(X), 6, init=starts).inertia == pytest.approx(lowest, rel=1e-4)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fewer_distinct_samples_than_clusters(init):
    X = torch.tensor([[1.0, 2.0], [5.0, 6.0]]).repeat(10, 1)
    with pytest.warns(ConvergenceWarning, match=r"clusters \(2\) found .* n_clusters \(5\)"):
        result = k_means(X, 5, init=init, n_init=4, random_state=0)
    assert result.inertia == pytest.approx(0, abs=1e-6)
    assert result.centers.isfinite().all()


def test_constant_samples():
    with pytest.warns(ConvergenceWarning, match="Number of distinct clusters"):
        result = k_means(torch.full((10, 3), 7.0), 2, n_init=2)
    assert result.inertia == 0
    assert torch.equal(result.centers, torch.full((2, 3), 7.0))


@pytest.mark.parametrize("max_iter", [1, 2, 5])
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_max_iter_and_tol(max_iter):
    X = blobs(d=20)
    start = random_starts(X, 5, 1)
    for tol in (0, 0.05):
        fitted = reference(X, start, max_iter=max_iter, tol=tol)[0]
        result = k_means(torch.from_numpy(X), 5, init=start, max_iter=max_iter, tol=tol)
        assert result.inertia == pytest.approx(fitted.inertia_, rel=1e-4)
        assert result.n_iter == fitted.n_iter_


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # of one iteration
def test_plus_plus_spreads_its_starts():
    """Of clusters far apart each gets a start, which random samples rarely manage."""
    X = torch.from_numpy(blobs(2000, k=12, scale=40))
    generator = torch.Generator().manual_seed(0)
    best = k_means(X, 12, n_init=20, random_state=generator).inertia
    params = {"n_init": 1, "max_iter": 1, "random_state": generator}
    found = [k_means(X, 12, **params).inertia < 1.5 * best for _ in range(20)]
    assert np.mean(found) > 0.8
    found = [k_means(X, 12, init="random", **params).inertia < 1.5 * best for _ in range(20)]
    assert np.mean(found) < 0.3


def test_plus_plus_draws_by_squared_distance():
    """With one candidate to choose from, the second start follows the D² distribution."""
    X = torch.tensor([[0.0], [1.0], [3.0]])
    problem = kmeans._Problem(X, 2)
    first = problem.plus_plus(4000, torch.Generator().manual_seed(0))[:, 0, 0] + problem.mean
    shares = torch.stack([(first - x).abs().lt(1e-4).double().mean() for x in X[:, 0]])
    assert (shares - 1 / 3).abs().max() < 0.03
    uniform = torch.rand(4000, 2, 1, generator=torch.Generator().manual_seed(1)).double()
    starts = problem._plus_plus(uniform)[..., 0] + problem.mean
    second = starts[starts[:, 0].abs() < 1e-4][:, 1]  # after the sample at 0
    assert (second - 3).abs().lt(1e-4).double().mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("kind", [int, np.random.RandomState, torch.Generator().manual_seed])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_random_state_decides(init, kind):
    X = torch.from_numpy(blobs())
    params = {"init": init, "n_init": 2, "max_iter": 1}
    state = torch.get_rng_state()
    results = [k_means(X, 5, random_state=kind(seed), **params) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(results[0].centers, results[1].centers)
    assert not torch.equal(results[0].centers, results[2].centers)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = k_means(X, 5, **params)
        second = k_means(X, 5, **params)
        torch.manual_seed(5)
        third = k_means(X, 5, **params)
    assert torch.equal(first.centers, third.centers)
    assert not torch.equal(first.centers, second.centers)


def test_inputs_are_left_alone():
    X = torch.from_numpy(blobs())
    starts = X[:5].clone()
    copies = X.clone(), starts.clone()
    k_means(X, 5, init=starts)
    assert torch.equal(X, copies[0]) and torch.equal(starts, copies[1])


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        ({1.0, 2.0}, {}, "X should be a float32 Tensor or .*got set"),
        (torch.eye(4).to_sparse().double(), {}, "X must be a dense tensor"),
        (torch.zeros(4, 2).cfloat(), {}, "X should be a float32 Tensor .*got ndarray of complex"),
        (np.zeros((4, 2), complex), {}, "X should be a float32 Tensor or .*got ndarray of complex"),
        (np.zeros((4, 2), str), {}, "X should be a float32 Tensor or .*got ndarray of <U1"),
        (csr_array(np.eye(3)), {}, "X should give its rows as dense arrays, got csr_array"),
        (np.zeros(4), {}, r"X should be of shape .*got shape \(4,\)"),
        (np.zeros((0, 3)), {}, r"X should be of shape .*got shape \(0, 3\)"),
        (np.array([[1e300], [0.0], [1.0]]), {}, "X should be finite in float32"),
        (np.array([[1e30], [0.0], [1.0]]), {}, "X should be small enough"),
        (np.zeros((4, 2), "uint8"), {"n_clusters": 5}, "n_clusters should be at most n_samples"),
        (torch.zeros(4), {}, r"X should be of shape .*got shape \(4,\)"),
        (torch.zeros(4, 0), {}, "X should be of shape .*got shape"),
        (torch.tensor([[1.0], [np.nan], [2.0]]), {}, "X should be finite"),
        (torch.tensor([[1.0], [np.inf], [-np.inf]]), {}, "X should be finite"),
        (torch.tensor([[1e30], [0.0], [1.0]]), {}, "X should be small enough"),
        (torch.zeros(4, 2), {"n_clusters": 5}, "n_clusters should be at most n_samples, got"),
        (torch.zeros(4, 2), {"n_clusters": 0}, "n_clusters should be an integer .*got 0"),
        (torch.zeros(4, 2), {"n_clusters": 2.0}, "n_clusters should be an integer .*got 2.0"),
        (torch.zeros(4, 2), {"n_init": 0}, "n_init should be an integer .*got 0"),
        (torch.zeros(4, 2), {"max_iter": 0}, "max_iter should be an integer .*got 0"),
        (torch.zeros(4, 2), {"tol": -1.0}, "tol should be a finite number .*got -1.0"),
        (torch.zeros(4, 2), {"tol": float("nan")}, "tol should be a finite number .*got nan"),
        (torch.zeros(4, 2), {"init": "first"}, "init should be .*got 'first'"),
        (torch.zeros(4, 2), {"init": 3}, "init should be .*got int"),
        (torch.zeros(4, 2), {"init": np.zeros((2, 3))}, r"init should be of shape.*\(2, 3\)"),
        (torch.zeros(4, 2), {"init": np.zeros((0, 2, 2))}, "init should be of shape"),
        (torch.zeros(4, 2), {"init": np.full((2, 2), np.nan)}, "init should be finite"),
        (torch.zeros(4, 2), {"random_state": "0"}, "cannot be used to seed"),
    ],
)
def test_errors(X, params, message):
    with pytest.raises(ValueError, match=message):
        k_means(X, **{"n_clusters": 2} | params)


class Rows:
    """No more than k_means may ask of an array: shape, dtype and slices of rows."""

    def __init__(self, X):
        self._X, self.shape, self.dtype = X, X.shape, X.dtype
        self.sizes = []
        self.is_reading = False

    def __getitem__(self, rows):
        assert isinstance(rows, slice) and rows.step is None
        assert not self.is_reading  # in another thread
        self.is_reading = True
        values = np.array(self._X[rows])
        self.sizes.append(len(values))
        self.is_reading = False
        return values


@pytest.fixture
def stored(tmp_path):
    """Write an array to a file and return it as what reads from there."""
    with ExitStack() as files:

        def write(X, kind):
            if kind == "rows":
                return Rows(X)
            if kind == "h5py":
                file = files.enter_context(h5py.File(tmp_path / "X.h5", "w"))
                return file.create_dataset("X", data=X, chunks=(100, X.shape[1]))
            X.tofile(tmp_path / "X")
            return np.memmap(tmp_path / "X", X.dtype, kind, shape=X.shape)

        yield write


def same(result, expected):
    """Whether results are the same bit for bit."""
    return (
        torch.equal(result.centers, expected.centers)
        and torch.equal(result.labels, expected.labels)
        and result[2:] == expected[2:]
    )


KINDS = ["r", "r+", "c", "h5py", "rows"]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("kind", KINDS)
def test_on_disk_as_a_tensor(stored, kind, dtype, n_threads):
    """The same numbers have the same result, bit for bit, wherever they are."""
    X = (blobs(9000, k=6, scale=3) * 8 + 128).clip(0, 255).astype(dtype)
    on_disk, tensor = stored(X, kind), torch.from_numpy(X).float()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        for params in (
            {"n_init": 5},
            {"n_init": 3, "init": "random"},
            {"init": empty_cluster_starts(X.astype("float32"), 6, 2)},
        ):
            results = [k_means(x, 6, random_state=1, **params) for x in (on_disk, tensor)]
            assert same(*results)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(on_disk[:], X)


@pytest.mark.parametrize("dtype", ["bool", "int16", "int64", "uint16", "float16", "float64", ">f4"])
def test_dtypes(dtype):
    X = (blobs(700, d=20) * 20).round()
    X = (X > 0 if dtype == "bool" else np.abs(X)).astype(dtype)
    results = [
        k_means(x, 5, n_init=3, random_state=1)
        for x in (X, Rows(X), torch.from_numpy(X.astype("float32")))
    ]
    assert same(*results[:2]) and same(*results[1:])


@pytest.mark.parametrize(
    "make",
    [
        torch.from_numpy,
        lambda X: torch.from_numpy(X).half(),
        lambda X: torch.from_numpy(X).bfloat16(),
        lambda X: torch.from_numpy(X).double().requires_grad_(),
        lambda X: X.tolist(),
        pd.DataFrame,
        pl.DataFrame,
    ],
)
def test_anything_that_holds_numbers(make):
    X = (blobs(300) * 4).round()
    expected = k_means(torch.from_numpy(X), 5, random_state=1)
    assert same(k_means(make(X), 5, random_state=1), expected)


@pytest.mark.parametrize("dtype", ["float64", "int64", "int32"])
@pytest.mark.parametrize("kind", ["r", "rows", "h5py"])
def test_far_from_the_origin(stored, dtype, kind):
    """Seconds since 1970, which float32 rounds to 128."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 2000)
    X = np.stack([1_600_000_000 + 20 * y, y], 1) + rng.integers(-3, 4, (6000, 2))
    origin = np.array([1_600_000_000, 0])
    near = k_means(X - origin, 3, random_state=0)
    there = stored(X.astype(dtype), kind)
    far = k_means(there, 3, random_state=0)
    assert torch.equal(far.labels, near.labels)
    by_kind = far.labels.reshape(3, -1)
    assert (by_kind == by_kind[:, :1]).all()
    assert far.centers.dtype == torch.float64 and near.centers.dtype == torch.float32
    np.testing.assert_allclose(far.centers.numpy() - origin, near.centers, atol=1e-4)
    again = k_means(there, 3, init=far.centers)
    assert torch.equal(again.labels, far.labels)
    assert far.inertia == pytest.approx(near.inertia, rel=1e-6)


@pytest.mark.parametrize("name", DATA)
def test_all_data_by_rows(name):
    X, k = DATA[name]
    results = [k_means(x, k, n_init=4, random_state=2) for x in (Rows(X), torch.from_numpy(X))]
    assert same(*results)


def test_one_pass_an_iteration():
    """Whatever the number of starts, each sample is read once an iteration."""
    X = blobs(6000, d=20, scale=0)
    n_read = []
    for n_init, max_iter in ((1, 2), (1, 6), (9, 2), (9, 6)):  # none converges as soon
        rows = Rows(X)
        starts = random_starts(X, 5, n_init)
        assert k_means(rows, 5, init=starts, max_iter=max_iter, tol=0).n_iter == max_iter
        n_read.append(sum(rows.sizes))
    # Two for mean and variance, one an iteration, one that ends the last, one for the labels
    assert n_read == [6000 * n_passes + 1 for n_passes in (6, 10, 6, 10)]


def test_many_features(monkeypatch):
    """Fewer samples are read at once, so that memory doesn't grow with the features either."""
    X = blobs(3000, d=50)
    expected = k_means(torch.from_numpy(X), 5, n_init=3, random_state=0)
    monkeypatch.setattr(kmeans, "READ_VALUES", 128 * 50)
    rows = Rows(X)
    result = k_means(rows, 5, n_init=3, random_state=0)
    assert max(rows.sizes) == 128
    assert result.inertia == pytest.approx(expected.inertia, rel=1e-4)


def test_many_samples(monkeypatch):
    """Fewer starts advance together, so that memory doesn't grow with both."""
    counts = []
    advance = kmeans._Problem.advance

    def spy(self, weights, sums, labels):
        counts.append(labels.numel() / self.n)
        return advance(self, weights, sums, labels)

    monkeypatch.setattr(kmeans._Problem, "advance", spy)
    X = blobs()
    starts = random_starts(X, 5, 40)
    expected = k_means(torch.from_numpy(X), 5, init=starts)
    assert max(counts) == 40
    monkeypatch.setattr(kmeans, "START_BYTES", 0)
    for some in (torch.from_numpy(X), Rows(X)):
        counts.clear()
        assert k_means(some, 5, init=starts).inertia == pytest.approx(expected.inertia, rel=1e-5)
        assert max(counts) == 16
        assert kmeans._Problem(some, 5).plus_plus(9, None).shape == (9, 5, 8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_at_the_end(stored, kind, value):
    X = blobs(5000)
    X[-1, -1] = value
    with pytest.raises(ValueError, match="X should be finite"):
        k_means(stored(X, kind), 3)


def test_copy_on_write_keeps_changes(stored):
    """What is changed in memory alone counts, and stays."""
    X = blobs(5000)
    mapped = stored(X, "c")
    mapped[::2] += 3
    changed = np.array(mapped)
    results = [k_means(x, 4, n_init=2, random_state=0) for x in (mapped, torch.from_numpy(changed))]
    assert same(*results)
    np.testing.assert_array_equal(mapped, changed)
    np.testing.assert_array_equal(np.fromfile(mapped.filename, "float32"), X.ravel())


MEMORY = """
import sys
import numpy as np
import torch
from skdeepclust.kmeans import k_means

def peak():  # of this program alone, in MB; that of getrusage begins with the caller's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3

X = np.memmap(sys.argv[1], np.float32, "r").reshape(-1, 800)
far = X[:2] + np.array([[0], [100]], np.float32)  # too far to win a sample
k_means(X[:300], 2, init=far, max_iter=2)  # what is loaded but once
before = peak()
k_means(X, 2, n_init=3, max_iter=1)
k_means(X, 2, init=far, max_iter=1)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_memory(tmp_path):
    """Of 400 MB of samples, a fraction is in memory at once."""
    X = blobs(5000, d=800)
    with open(tmp_path / "X", "wb") as file:
        while file.tell() < 4e8:
            X.tofile(file)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "X")]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(result.stdout) < 250  # 110 to 190; 560 and more when pages stay
    (tmp_path / "X").unlink()  # pytest would keep it


@pytest.mark.gpu
@pytest.mark.parametrize("name", DATA)
def test_cuda(name):
    X, k = DATA[name]
    starts = random_starts(X, k, 4)
    on_cpu = k_means(torch.from_numpy(X), k, init=starts)
    on_cuda = k_means(torch.from_numpy(X).cuda(), k, init=starts)
    assert on_cuda.centers.is_cuda and on_cuda.labels.is_cuda
    assert on_cuda.inertia == pytest.approx(on_cpu.inertia, rel=1e-4, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_cuda_generators(init, device):
    X = torch.from_numpy(blobs()).cuda()
    results = [
        k_means(X, 5, init=init, random_state=torch.Generator(device).manual_seed(0))
        for _ in range(2)
    ]
    assert results[0].inertia == pytest.approx(results[1].inertia, rel=1e-5)
    starts = empty_cluster_starts(X.cpu().numpy(), 5, 2)
    expected = k_means(X.cpu(), 5, init=starts)
    assert k_means(X, 5, init=starts).inertia == pytest.approx(expected.inertia, rel=1e-4)


def test_masked_values_are_no_values():
    X = np.random.default_rng(0).random((50, 2))
    with pytest.raises(ValueError, match="mask"):
        k_means(np.ma.MaskedArray(X, X > 0.9), 5)
