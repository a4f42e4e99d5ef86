"""What all loaders share: the data folder, finding, downloading, reading and checking files."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch


class Archive(NamedTuple):
    """A data set that its publishers serve as one .tar.gz."""

    url: str
    known_hash: str  # of the .tar.gz, checked by a download
    folder: str  # that the .tar.gz unpacks to
    hashes: dict[str, str]  # of the content of each file to read, whether packed or not


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


def check_option(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise a ValueError unless ``value``, of the parameter ``name``, is one of ``allowed``."""
    if value not in allowed:
        options = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} must be one of {options}; got {value!r}.")


def parts_of(subset: str, *others: str) -> tuple[str, ...]:
    """Return the parts that ``subset`` stands for; ``others`` may only be asked for by name."""
    check_option("subset", subset, ("train", "test", "all", *others))
    return ("train", "test") if subset == "all" else (subset,)


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


def read_content(path: Path, *, known_hash: str | None = None) -> bytes:
    """Return the bytes of a file, decompressed if it is a .gz, after checking their hash."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}.") from error
    if known_hash is not None:
        check_hash(content, known_hash, path)
    return content


def read_tar(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return the bytes of the files ``names`` in a .tar or .tar.gz; nothing is unpacked to disk."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = str(PurePosixPath(member.name))  # "./name" in some archives
                if name in names and member.isreg() and (file := tar.extractfile(member)):
                    contents[name] = file.read()
                    if len(contents) == len(names):
                        break  # so that a large file further on is not decompressed for nothing
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise ValueError(f"{path} is not a complete tar archive: {error}.") from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise ValueError(
            f"{path} is incomplete or not the official archive: expected {missing[0]} in it."
        )
    return contents


def read_files(
    archive: Archive,
    names: Sequence[str],
    *,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    verify: bool,
) -> dict[str, tuple[Path, bytes]]:
    """Return path and content, by name, of the files ``names`` of an archive, unpacked or not.

    Files that are in the archive's folder are read there, the others from the archive, which is
    downloaded if that is allowed. A file in the archive gets a path as if that was a folder.
    """
    home = get_data_home(data_home)
    folder = home / archive.folder
    unpacked = {name: path for name in names if (path := find_file(folder, [name])) is not None}
    files = {name: (path, read_content(path)) for name, path in unpacked.items()}
    packed = {f"{archive.folder}/{name}": name for name in names if name not in unpacked}
    if packed:
        try:
            path = find_or_fetch(
                home,
                [archive.url.rsplit("/", 1)[-1].removesuffix(".gz")],
                url=archive.url,
                known_hash=archive.known_hash,
                download_if_missing=download_if_missing,
            )
        except FileNotFoundError as error:
            first = next(iter(packed.values()))
            raise FileNotFoundError(f"{first} is not in the folder {folder}, and {error}") from None
        for member, content in read_tar(path, packed).items():
            files[packed[member]] = (path / member, content)
    if verify:
        for name, (path, content) in files.items():
            check_hash(content, archive.hashes[name], path)
    return {name: files[name] for name in names}


def check_hash(content: bytes, known_hash: str, path: Path) -> None:
    """Raise a ValueError that names ``path`` unless ``content`` has the hash ``known_hash``.

    It is written as :func:`fetch` wants it, for example "sha256:0123...".
    """
    algorithm, expected = known_hash.split(":")
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is incomplete or not the official file: the {algorithm} of its content "
            f"({len(content)} bytes) is {found}, expected {expected}. Remove the file to have it "
            "downloaded again, or pass verify=False to read it as it is."
        )


def split_records(content: bytes, size: int, path: Path) -> np.ndarray:
    """Return a file of records of ``size`` bytes as a read-only uint8 array (n_records, size)."""
    if not content or len(content) % size:
        raise ValueError(
            f"{path} is truncated or of another format: {len(content)} bytes, expected a multiple "
            f"of {size}, the bytes of one sample."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def check_lengths(
    images: np.ndarray, labels: np.ndarray, images_path: Path, labels_path: Path
) -> None:
    """Raise a ValueError unless there are as many labels as images."""
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images but {labels_path} holds {len(labels)} "
            "labels; expected as many labels as images."
        )


def check_labels(labels: np.ndarray, allowed: range, path: Path) -> None:
    """Raise a ValueError unless all labels are in the range ``allowed``."""
    wrong = labels[(labels < allowed[0]) | (labels > allowed[-1])]
    if len(wrong):
        raise ValueError(
            f"{path} holds the label {wrong[0]}, expected {allowed[0]} to {allowed[-1]}."
        )


def make_result(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    *,
    target_names: Sequence[str],
    descr: str,
    paths: Sequence[Path],
    return_X_y: bool,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Return what a loader returns, from the images and labels of each part."""
    # New arrays even for one part: those given may be read-only, or in another order of axes.
    shape = (sum(map(len, images)), *images[0].shape[1:])
    data = np.concatenate(images, out=np.empty(shape, np.uint8))
    target = np.concatenate(labels, dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=np.array(target_names),
        DESCR=descr,
        filenames=list(map(str, paths)),
    )
