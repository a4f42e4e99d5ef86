"""Memory of arrays that are mapped from files."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np


def allocate(path: Path) -> None:
    """Give all of a file its place on the disk; raise an OSError where there is none.

    A file that is mapped gets it page by page, and a full disk kills the process then (SIGBUS).

    Parameters
    ----------
    path : Path
        Of a file that has its final size.
    """
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    elif shutil.disk_usage(path.parent).free < path.stat().st_size:  # on macOS, roughly
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def release_pages(array: np.ndarray) -> None:
    """Take the file's pages that `array` lies in out of the process's resident memory.

    What has been read of a memory map stays resident, so that a pass over a large file looks as if
    all of it were held. The system keeps the pages in its file cache; read again, they are mapped
    again. No values change, and other threads may be reading the same pages.

    Nothing is done for an array that isn't (a view of) an ``np.memmap``, for one of mode "c", whose
    changes are in these pages alone, and where the system has no such advice.

    Parameters
    ----------
    array : ndarray
        The whole array or, at less cost, the part of it that has been read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skdeepclust._memmap import release_pages
    >>> with tempfile.TemporaryFile() as file:
    ...     X = np.memmap(file, np.uint8, "w+", shape=(1000, 100))
    ...     X[500:] = 3
    ...     release_pages(X[:900])
    ...     int(X.sum())
    150000
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    mapped = root.base
    if not (isinstance(root, np.memmap) and isinstance(mapped, mmap.mmap)):
        return
    if root.mode == "c" or not hasattr(mmap, "MADV_DONTNEED") or array.size == 0:
        return
    reach = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    origin = np.frombuffer(mapped, np.uint8).ctypes.data
    first = array.ctypes.data - origin
    last = first + sum(max(step, 0) for step in reach) + array.itemsize
    first += sum(min(step, 0) for step in reach)
    first -= first % mmap.PAGESIZE
    with suppress(OSError):  # memory that is locked, for one
        mapped.madvise(mmap.MADV_DONTNEED, first, last - first)
