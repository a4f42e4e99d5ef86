"""What all loaders share: the data folder, finding, downloading and checking files."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path


def get_data_home(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder under which the loaders keep their files.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder; ``~`` stands for the user's home. If None, the environment variable
        ``SKDEEPCLUST_DATA`` says which, and if that is not set either it is
        ``~/skdeepclust_data``.

    Returns
    -------
    pathlib.Path
        The folder. It is not created: only a download writes to it.

    Examples
    --------
    >>> from skdeepclust.datasets import get_data_home
    >>> get_data_home("image_sets").name
    'image_sets'
    """
    if data_home is None:
        data_home = os.environ.get("SKDEEPCLUST_DATA") or "~/skdeepclust_data"
    return Path(data_home).expanduser()


def check_subset(subset: str, allowed: Sequence[str] = ("train", "test", "all")) -> None:
    """Raise a ValueError unless ``subset`` is one of ``allowed``."""
    if subset not in allowed:
        options = ", ".join(map(repr, allowed))
        raise ValueError(f"subset must be one of {options}; got {subset!r}.")


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of ``names`` that ``folder`` has, as it is or as .gz; None if none."""
    candidates = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def fetch(url: str, *, known_hash: str, folder: Path) -> Path:
    """Download ``url`` into ``folder``, under the last part of its address.

    ``known_hash`` is that of the file as served, written as pooch wants it ("md5:0123...").
    """
    name = url.rsplit("/", 1)[-1]
    by_hand = f"put the file from {url} into the folder {folder} yourself"
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"{name} is not in {folder}, and downloading it needs pooch: "
            f'pip install "skdeepclust[data]". Or {by_hand}.'
        ) from error
    try:
        # pooch downloads to a temporary name and renames the file only when its hash is right,
        # so that a broken download is never found as good by the next call.
        return Path(pooch.retrieve(url, known_hash=known_hash, fname=name, path=folder))
    except (OSError, ValueError) as error:  # ValueError: the hash does not match
        raise OSError(
            f"{name} could not be downloaded from {url} into {folder} ({error}). Try again later, "
            f"or {by_hand}. With download_if_missing=False the loader never tries to download."
        ) from error


def find_or_fetch(
    folder: Path, names: Sequence[str], *, url: str, known_hash: str, download_if_missing: bool
) -> Path:
    """Return the path of a file known by any of ``names``, downloading it if that is allowed."""
    path = find_file(folder, names)
    if path is not None:
        return path
    if not download_if_missing:
        raise FileNotFoundError(
            f"{names[0]} is in the folder {folder} neither as it is nor as .gz, and "
            f"download_if_missing=False. Its address is {url}."
        )
    return fetch(url, known_hash=known_hash, folder=folder)


def read_content(path: Path, *, sha256: str | None = None) -> bytes:
    """Return the bytes of a file, decompressed if it is a .gz, after checking their ``sha256``."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}.") from error
    if sha256 is not None:
        check_sha256(content, sha256, path)
    return content


def check_sha256(content: bytes, sha256: str, path: Path) -> None:
    """Raise a ValueError that names ``path`` unless ``content`` has the checksum ``sha256``."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path} is incomplete or not the official file: the sha256 of its content "
            f"({len(content)} bytes) is {found}, expected {sha256}. Remove the file to have it "
            "downloaded again, or pass verify=False to read it as it is."
        )
