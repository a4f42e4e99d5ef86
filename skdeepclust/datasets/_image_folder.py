"""A folder of image files as samples, decoded when they are asked for."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import numpy as np
from joblib import Parallel, delayed
from torch.utils.data import Dataset

from skdeepclust._inputs import MIN_SIDE
from skdeepclust._progress import Bar
from skdeepclust._warnings import warn

from ._base import check_option

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# of photos, too, but nothing here reads them
UNREAD_SUFFIXES = (".avif", ".dng", ".heic", ".heif", ".jp2", ".jxl", ".nef", ".cr2", ".arw")
# Pillow goes by the content, and would start other programs for some formats.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
PHOTOMETRIC = 262  # TIFF's tag that says what 0 is
N_NAMED = 10  # files that a message names


class ImageFolder(Dataset):
    """The images of a folder and its sub-folders, of one size, decoded when they are asked for.

    ``folder[i]`` reads a file and keeps nothing, so that a folder may be larger than the memory and
    torch's ``DataLoader`` may decode in several processes. Needs the extra ``skdeepclust[images]``.

    Read are JPEG, PNG, WebP, TIFF, BMP and GIF (of several frames the first), by these suffixes in
    upper or lower case. Hidden files and folders, whose names begin with a dot, and files with
    other suffixes are ignored. Links to folders are followed, but no folder is read twice.

    Each file is decoded once to begin with. Those that can't be read (truncated, no images in spite
    of the suffix, larger than ``PIL.Image.MAX_IMAGE_PIXELS`` allows, or of a format that is not
    read, such as HEIC, AVIF and cameras' raw files) are left out, and one `UserWarning` names them.

    Parameters
    ----------
    path : str or path-like
        The folder; ``~`` stands for the user's home.
    size : int or tuple of int, default=(64, 64)
        Side, or (height, width), that all images get, of 8 or more: the largest part of these
        proportions in the middle of an image, resized with antialiasing. What is wider or higher is
        cut off, nothing is distorted, and small images are enlarged.
    mode : {"RGB", "L"}, default="RGB"
        Colour, three channels, or grey, one.
    n_jobs : int or None, default=-1
        Threads that decode each file once to begin with. -1: as many as there are processors. None:
        one, unless ``joblib.parallel_config`` says otherwise, as it is throughout this package and
        scikit-learn.
    verbose : int or bool, default=0
        Whether to show a progress bar meanwhile.

    Attributes
    ----------
    paths : str ndarray of shape (n,)
        The files, as `labels_` of an estimator fitted on the folder has them:
        ``folder.paths[model.labels_ == 3]``. In each folder the files come first and then the
        sub-folders, both sorted by the code points of their names, on any machine.
    labels : int64 ndarray of shape (n,), or None
        For evaluation alone: the sub-folder of `path` that each file is in, directly or further
        down, as an index into `label_names`; -1 for files in `path` itself. None if all are.
    label_names : str ndarray, or None
        Names of the sub-folders of `path` that have images, sorted.
    left_out : list of str
        The files that can't be read, and why.
    shape : tuple of int
        (n, channels, height, width).
    dtype : dtype
        uint8.

    Raises
    ------
    ValueError
        If `path` is no folder or has no image that can be read, or `size` or `mode` is not valid.
    ImportError
        If Pillow is not installed.

    Notes
    -----
    What files hold becomes 8 bits a channel as follows. Palettes turn into their colours,
    transparent images are put on white, photos are turned as their EXIF orientation says, and
    colour profiles are ignored. 16-bit grey is divided by 257 and rounded, whatever range it uses:
    12 bits stored in 16 stay dark. So are 32-bit integers; with values beyond 16 bits they are left
    out. 16-bit colour loses its lower byte. Floats are left out, since nothing says what is black
    and what is white.

    ``folder[3]`` is an image, read then; ``folder[:100]``, or rows in an array, a folder of these,
    of which nothing is read. So searches and :func:`~skdeepclust.select_n_clusters` take folders.

    Large JPEGs are decoded at the half, the quarter or the eighth of their size, if that is at
    least twice `size`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skdeepclust.datasets import ImageFolder
    >>> home = tempfile.TemporaryDirectory()
    >>> for name, colour in [("cats", "black"), ("dogs", "red")]:
    ...     Path(home.name, name).mkdir()
    ...     Image.new("RGB", (40, 30), colour).save(Path(home.name, name, "1.png"))
    >>> folder = ImageFolder(home.name, size=(16, 16))
    >>> folder.shape
    (2, 3, 16, 16)
    >>> folder[1][:, 0, 0].tolist()
    [255, 0, 0]
    >>> folder.label_names[folder.labels].tolist()
    ['cats', 'dogs']
    >>> home.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: int | tuple[int, int] = (64, 64),
        *,
        mode: str = "RGB",
        n_jobs: int | None = -1,
        verbose: int | bool = 0,
    ) -> None:
        root = Path(path).expanduser()
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise ValueError(f"path must be a folder; got {os.fspath(path)!r}, which {found}.")
        self.size = check_size(size)
        check_option("mode", mode, ("RGB", "L"))
        self.mode = mode
        _pillow()

        problems: list[str] = []
        paths = list(_find(root, problems))
        outcomes = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_problem)(path, self.size, mode)
            for path in Bar(paths, desc="reading", unit="images", disable=not verbose)
        )
        readable = []
        for name, problem in zip(paths, outcomes, strict=True):
            if problem is None:
                readable.append(name)
            else:
                problems.append(f"{os.path.relpath(name, root)} ({problem})")
        left_out = ", ".join(problems[:N_NAMED])
        if len(problems) > N_NAMED:
            left_out += f" and {len(problems) - N_NAMED} more"
        if not readable:
            raise ValueError(
                f"path must be a folder with images ({', '.join(SUFFIXES)}); in {str(root)!r} "
                + (f"none can be read: {left_out}." if problems else "there are none.")
            )
        if problems:
            hint = " `left_out` has all." if len(problems) > N_NAMED else ""
            warn(f"Left out of {str(root)!r}, for they can't be read: {left_out}.{hint}")
        self.left_out = problems
        self.paths = np.array(readable)
        self.labels, self.label_names = _labels(root, readable)
        self.shape = (len(readable), len(mode), *self.size)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray | list | tuple) -> ImageFolder: ...
    def __getitem__(self, index: Any) -> np.ndarray | ImageFolder:
        if isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis:
            index = index[0]  # so scikit-learn's searches take rows
        if not isinstance(index, slice) and np.ndim(index) == 0:
            return _decode(self.paths[operator.index(index)], self.size, self.mode)
        part = copy.copy(self)
        part.paths = self.paths[index]
        part.labels = None if self.labels is None else self.labels[index]
        part.shape = (len(part.paths), *self.shape[1:])
        return part


def _pillow() -> Any:
    """Return ``PIL.Image`` and ``PIL.ImageOps``, which only image files need."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(
            'ImageFolder needs Pillow. Install it with: pip install "skdeepclust[images]"'
        ) from error
    return Image, ImageOps


def check_size(given: Any, name: str = "size", least: int = MIN_SIDE) -> tuple[int, int]:
    """Return (height, width) of a size, which is one side of squares or both."""
    is_one = isinstance(given, int | np.integer)
    sides = (given, given) if is_one else tuple(given) if np.ndim(given) == 1 else ()
    if len(sides) != 2 or not all(isinstance(s, int | np.integer) and s >= least for s in sides):
        raise ValueError(
            f"{name} must be a side or (height, width), integers of at least {least}; got "
            f"{given!r}."
        )
    return int(sides[0]), int(sides[1])


def _find(root: Path, problems: list[str]) -> Iterator[str]:
    """Yield the image files under `root`; what can't be read goes to `problems`."""

    def on_error(error: OSError) -> None:
        problems.append(f"{os.path.relpath(error.filename, root)} ({error.strerror})")

    seen = {os.path.realpath(root)}  # for links may lead back up
    for folder, folders, files in os.walk(root, onerror=on_error, followlinks=True):
        places = {name: os.path.realpath(os.path.join(folder, name)) for name in sorted(folders)}
        folders.clear()
        for name, place in places.items():
            if name[0] != "." and place not in seen:
                seen.add(place)
                folders.append(name)
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name[0] != "." and name.lower().endswith(SUFFIXES):
                yield path
            elif name[0] != "." and name.lower().endswith(UNREAD_SUFFIXES):
                problems.append(f"{os.path.relpath(path, root)} (convert it to JPEG or PNG)")


def _problem(path: str, size: tuple[int, int], mode: str) -> str | None:
    """Return why a file can't be read, or None if it can."""
    try:
        _decode(path, size, mode)
    except _pillow()[0].UnidentifiedImageError:
        return "no image that Pillow can read"
    except Exception as error:  # of many types, depending on where the file is damaged
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return None


def _decode(path: str, size: tuple[int, int], mode: str) -> np.ndarray:
    """Return the image in a file as uint8 of shape (channels, height, width)."""
    Image, ImageOps = _pillow()
    with Image.open(path, formats=FORMATS) as image:
        side = 2 * max(size)  # of both, since the orientation isn't known yet
        image.draft(mode, (side, side))
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):  # "I;16" and "I;16B" too
            values = np.asarray(image).astype(np.int64)
            if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:  # white; Pillow ignores it here
                values = 65535 - values
            image = Image.fromarray(_from_16_bits(values))
        elif image.mode == "F":
            raise ValueError("floats, whose black and white are not known")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = ImageOps.fit(image.convert(mode), size[::-1], Image.Resampling.BICUBIC)
    # a writable copy, as torch wants it
    return np.array(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1), order="C")


def _from_16_bits(values: np.ndarray) -> np.ndarray:
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"integers from {values.min()} to {values.max()}, beyond 16 bits")
    return ((values + 128) // 257).astype(np.uint8)


def _labels(root: Path, paths: list[str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the first sub-folder of each file, and the names of these sub-folders."""
    parts = [Path(path).relative_to(root).parts for path in paths]
    names, labels = np.unique([p[0] if len(p) > 1 else "" for p in parts], return_inverse=True)
    if names[0] == "":  # files in `root` itself
        names, labels = names[1:], labels - 1
    return (labels.astype(np.int64), names) if len(names) else (None, None)
