import mmap
from pathlib import Path

import numpy as np
import pytest

from skdeepclust._memmap import release_pages

N_BYTES = 2**25


def resident(path):
    """Bytes of the file's maps that are resident in this process."""
    total, inside = 0, False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            if "-" in line.split()[0]:  # a new map
                inside = line.rstrip().endswith(str(path))
            elif inside and line.startswith("Rss:"):
                total += 1024 * int(line.split()[1])
    return total


@pytest.fixture
def path(tmp_path):
    np.full(N_BYTES, 7, np.uint8).tofile(tmp_path / "X")
    return tmp_path / "X"


linux = pytest.mark.skipif(
    not hasattr(mmap, "MADV_DONTNEED") or not Path("/proc/self/smaps").exists(),
    reason="needs Linux's /proc",
)


@linux
@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("offset", [0, 100, 5000])
def test_pages_are_given_back(path, mode, offset):
    X = np.memmap(path, np.uint8, mode, offset=offset)[: N_BYTES - 8192].reshape(-1, 64)
    assert X.sum() == 7 * X.size
    whole = resident(path)
    assert whole > N_BYTES * 0.9
    release_pages(np.asarray(X[: len(X) // 2]))  # a view of a view
    assert resident(path) == pytest.approx(whole / 2, abs=2**22)  # pages come and go many at once
    release_pages(X[::-2, ::-1])
    assert resident(path) < N_BYTES / 50
    assert X.sum() == 7 * X.size


@pytest.mark.parametrize("mode", ["r+", "w+", "c"])
def test_changes_are_kept(path, mode):
    X = np.memmap(path, np.uint8, mode, shape=(1000, 100))
    X[10:20] = 3
    release_pages(X)
    assert (X[10:20] == 3).all()
    X.flush()
    assert (np.fromfile(path, np.uint8)[1000:2000] == 3).all() == (mode != "c")


def test_what_is_no_memory_map_is_left_alone():
    for array in (np.ones(3), np.ones((0, 2)), np.frombuffer(bytes(10), np.uint8)):
        release_pages(array)
    anonymous = mmap.mmap(-1, 10000)
    array = np.frombuffer(anonymous, np.uint8)
    array[:] = 5
    release_pages(array)  # its pages have no file to come from again
    assert (array == 5).all()
