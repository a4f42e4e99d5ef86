"""Files that are there as a whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # of some network file systems


def put_in_place(partial: Path, path: Path) -> None:
    """Give a file that is written its name, once the disk has all of it.

    A name that the disk has before the content would, after a power cut, be that of an empty file.
    """
    with open(partial, "rb" if os.name == "posix" else "rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_FSYNC:
                raise
    for seconds in (0.05, 0.2, 1.0) if os.name == "nt" else ():  # others look into new files there
        try:
            partial.replace(path)
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    partial.replace(path)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield the path of a file that takes its place once the block has written it."""
    path = path.resolve()  # a link stays one
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; of names of files, the bytes that are no text are escaped."""
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows(rows)
