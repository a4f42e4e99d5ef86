"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def put_in_place(partial: Path, path: Path) -> None:
    """Give a file that is written its name, once the disk has all of it.

    A name that the disk has before the content would, after a power cut, be that of an empty file.
    """
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)
