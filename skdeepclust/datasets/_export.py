"""Clusters as folders of files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skdeepclust._files import write_csv

from ._base import check_option

TABLE = "labels.csv"
N_NAMED = 5  # files that a message names


def export_folder(
    paths: Sequence[str | os.PathLike[str]],
    labels: Any,
    out: str | os.PathLike[str],
    *,
    mode: str = "symlink",
) -> Path:
    """Put files into a new folder, with a sub-folder for each label, to look at clusters.

    ``labels.csv`` in it has a row a file, in their order: "path" as it was given, "label" and
    "file", the path within `out`. Nothing is overwritten, and the folder is made as a whole or not
    at all.

    Parameters
    ----------
    paths : sequence of str or path-like, of shape (n,)
        Files, such as the `paths` of an :class:`~skdeepclust.datasets.ImageFolder`.
    labels : array-like of shape (n,)
        Their labels: integers, which are filled with zeros to be of one length, or names that a
        folder can have.
    out : str or path-like
        The folder, which must not exist, in one that does.
    mode : {"symlink", "copy"}, default="symlink"
        Links to the files, or copies.

    Returns
    -------
    pathlib.Path
        `out`. In it, a file keeps its name, unless another of its label has it (upper and lower
        case are no difference): then "-2", "-3" and so on are added before its suffix.

    Raises
    ------
    ValueError
        If a parameter is not valid, `out` exists or files are missing.
    OSError
        If the files can't be written: a full disk, or a system that allows no links.

    See Also
    --------
    ImageFolder : Reads such a folder; its `labels` are then these.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdeepclust.datasets import export_folder
    >>> home = tempfile.TemporaryDirectory()
    >>> photos = [Path(home.name, name) for name in ("a.png", "b.png", "c.png")]
    >>> for photo in photos:
    ...     photo.write_bytes(b"...")
    3
    3
    3
    >>> out = export_folder(photos, [1, 0, 1], Path(home.name, "clusters"), mode="copy")
    >>> sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    ['0/b.png', '1/a.png', '1/c.png', 'labels.csv']
    >>> home.cleanup()
    """
    check_option("mode", mode, ("symlink", "copy"))
    files = [os.fspath(path) for path in paths]
    folders = _folders(labels, len(files))
    target = Path(out).expanduser()
    partial = target.with_name(f".{target.name}.partial")
    there = [str(path) for path in (target, partial) if os.path.lexists(path)]
    if there or not target.parent.is_dir():
        problem = f"{there[0]!r} exists" if there else f"there is no {str(target.parent)!r}"
        raise ValueError(
            f"out must be a new folder, since nothing is overwritten; got {str(target)!r}, but "
            f"{problem}."
        )
    missing = [path for path in files if not os.path.isfile(path)]
    if missing:
        raise ValueError(
            f"paths must be files; {len(missing)} are not, such as "
            f"{', '.join(map(repr, missing[:N_NAMED]))}."
        )
    places = _places(files, folders)
    partial.mkdir()
    try:
        for folder in set(folders):
            (partial / folder).mkdir()
        for path, place in zip(files, places, strict=True):
            if mode == "copy":
                shutil.copy2(path, partial / place)
            else:
                (partial / place).symlink_to(os.path.abspath(path))
        rows = zip(files, np.asarray(labels).tolist(), places, strict=True)
        write_csv(partial / TABLE, [("path", "label", "file"), *rows])
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def _folders(labels: Any, n: int) -> list[str]:
    """Return the folder of each of n labels."""
    values = np.asarray(labels)
    if values.dtype.kind in "OT" and all(isinstance(value, str) for value in values.flat):
        values = values.astype(str)
    if values.shape != (n,) or values.dtype.kind not in "iuU":
        raise ValueError(
            f"labels must be {n} integers or strings, one for each of paths; got shape "
            f"{values.shape} and type {values.dtype}."
        )
    if values.dtype.kind != "U":
        width = len(str(values.max(initial=0)))
        return [f"{label:0{width}d}" for label in values.tolist()]
    names = values.tolist()
    seen = {TABLE: TABLE}
    for name in set(names):
        is_name = name not in ("", ".", "..") and not set(name) & set("/\\:\0")
        if not is_name or seen.setdefault(name.casefold(), name) != name or name == TABLE:
            raise ValueError(
                f"labels must be names that a folder can have, not {TABLE!r}, and differ by more "
                f"than upper and lower case; got {name!r}."
            )
    return names


def _places(files: list[str], folders: list[str]) -> list[str]:
    """Return where each file goes: its folder and a name that no other has there."""
    taken: set[tuple[str, str]] = set()
    counts: dict[tuple[str, str], int] = {}
    places = []
    for path, folder in zip(files, folders, strict=True):
        given = name = os.path.basename(path)
        stem, suffix = os.path.splitext(given)
        while (folder, name.casefold()) in taken:
            number = counts[folder, given] = counts.get((folder, given), 1) + 1
            name = f"{stem}-{number}{suffix}"
        taken.add((folder, name.casefold()))
        places.append(f"{folder}/{name}")
    return places
