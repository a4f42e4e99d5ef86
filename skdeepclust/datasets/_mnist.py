"""MNIST and Fashion-MNIST, from their official files in the idx format."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from ._base import (
    check_labels,
    check_lengths,
    find_or_fetch,
    get_data_home,
    make_result,
    parts_of,
    read_content,
)

# Third byte of an idx file; numbers are stored with the high byte first.
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class _Checksums(NamedTuple):
    gz_md5: str  # of the .gz as its publishers give it, checked by a download
    sha256: str  # of the content, whether it was found as .gz or not


class _ImageSet(NamedTuple):
    folder: str
    url: str
    checksums: dict[str, _Checksums]
    target_names: tuple[str, ...]
    descr: str


_MNIST = _ImageSet(
    folder="mnist",
    # A mirror: the authors' page, yann.lecun.com/exdb/mnist, no longer serves the files.
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    checksums={
        "train-images-idx3-ubyte": _Checksums(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte": _Checksums(
            "d53e105ee54ea40749a09fcbcd1e9432",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "t10k-images-idx3-ubyte": _Checksums(
            "9fb629c4189551a2d022fa330f9573f3",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte": _Checksums(
            "ec29112dd5afa0611ce80d1b7f02629c",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
    target_names=tuple("0123456789"),
    descr=(
        "MNIST: 70,000 handwritten digits as grey images of 28 x 28 pixels, 0 (ground) to 255\n"
        "(ink), in 10 classes; 60,000 for training and 10,000 for testing.\n\n"
        "Y. LeCun, L. Bottou, Y. Bengio and P. Haffner. Gradient-based learning applied to\n"
        "document recognition. Proceedings of the IEEE, 86(11):2278-2324, 1998.\n"
    ),
)

_FASHION_MNIST = _ImageSet(
    folder="fashion-mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    checksums={
        "train-images-idx3-ubyte": _Checksums(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        "train-labels-idx1-ubyte": _Checksums(
            "25c81989df183df01b3e8a0aad5dffbe",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "t10k-images-idx3-ubyte": _Checksums(
            "bef4ecab320f06d8554ea6380940ec79",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        "t10k-labels-idx1-ubyte": _Checksums(
            "bb300cfdad3c16e7a12a480ee83cd310",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
    target_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    descr=(
        "Fashion-MNIST: 70,000 articles of clothing as grey images of 28 x 28 pixels, 0 (ground)\n"
        "to 255, in 10 classes; 60,000 for training and 10,000 for testing.\n\n"
        "H. Xiao, K. Rasul and R. Vollgraf. Fashion-MNIST: a novel image dataset for benchmarking\n"
        "machine learning algorithms. arXiv:1708.07747, 2017.\n"
    ),
)


def _parse_idx(content: bytes, path: Path) -> np.ndarray:
    """Return the array in the bytes of an idx file; ``path`` is for the errors."""
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES:
        types = ", ".join(f"{code:02x}" for code in _IDX_DTYPES)
        raise ValueError(
            f"{path} is not an idx file: its magic number is {magic.hex() or 'missing'}, expected "
            f"0000, a type byte (one of {types}) and the number of dimensions."
        )
    dtype, ndim = np.dtype(_IDX_DTYPES[magic[2]]), magic[3]
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(
            f"{path} is truncated: {len(content)} bytes, expected {start} for the header alone."
        )
    shape = tuple(np.frombuffer(content, ">u4", count=ndim, offset=4).tolist())
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        problem = "is truncated" if len(content) < expected else "has trailing bytes"
        raise ValueError(
            f"{path} {problem}: {len(content)} bytes, expected {expected} for the "
            f"{dtype.name} array of shape {shape} that its header announces."
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_uint8(path: Path, sample_shape: tuple[int, ...], known_hash: str | None) -> np.ndarray:
    array = _parse_idx(read_content(path, known_hash=known_hash), path)
    if array.dtype != np.uint8 or array.ndim == 0 or array.shape[1:] != sample_shape:
        wanted = ", ".join(map(str, ("n", *sample_shape)))
        raise ValueError(
            f"{path} holds a {array.dtype} array of shape {array.shape}, expected uint8 of shape "
            f"({wanted})."
        )
    return array


def _load(
    source: _ImageSet,
    subset: str,
    data_home: str | os.PathLike[str] | None,
    return_X_y: bool,
    download_if_missing: bool,
    verify: bool,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    folder = get_data_home(data_home) / source.folder
    images, labels, paths = [], [], []
    for part in parts_of(subset):
        arrays = []
        for name, sample_shape in zip(_FILES[part], ((28, 28), ()), strict=True):
            gz_md5, sha256 = source.checksums[name]
            path = find_or_fetch(
                folder,
                # Some mirrors, and programs that unpack the .gz, write a dot before "idx".
                (name, name.replace("-idx", ".idx")),
                url=f"{source.url}{name}.gz",
                known_hash=f"md5:{gz_md5}",
                download_if_missing=download_if_missing,
            )
            arrays.append(_read_uint8(path, sample_shape, f"sha256:{sha256}" if verify else None))
            paths.append(path)
        check_lengths(arrays[0], arrays[1], paths[-2], path)
        check_labels(arrays[1], range(len(source.target_names)), path)
        images.append(arrays[0])
        labels.append(arrays[1])
    return make_result(
        images,
        labels,
        target_names=source.target_names,
        descr=source.descr,
        paths=paths,
        return_X_y=return_X_y,
    )


def load_mnist(
    *,
    subset: str = "all",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    verify: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load MNIST, 70,000 handwritten digits in 10 classes.

    The four official files are looked for in the folder ``mnist`` of `data_home`, as they are or as
    .gz: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
    ``t10k-labels-idx1-ubyte`` (or ``train-images.idx3-ubyte`` and so on). Those that are missing
    are downloaded, which needs the extra ``skdeepclust[data]``.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="all"
        The 60,000 training images, the 10,000 test images, or the training images followed by the
        test images, which is what the clustering papers use.
    data_home : str or path-like, default=None
        Folder of all data sets; see :func:`get_data_home` for what None means.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    download_if_missing : bool, default=True
        Whether to download the files that are missing, rather than to raise an error.
    verify : bool, default=True
        Whether to compare the content of the files with the checksums of the official ones. Pass
        False to read changed files of the same format, a part of the images for example.

    Returns
    -------
    sklearn.utils.Bunch or tuple of (data, target)
        A Bunch with these entries, or the first two of them:

        data : uint8 ndarray of shape (n_samples, 28, 28)
            The images, in the range 0 to 255.
        target : int64 ndarray of shape (n_samples,)
            The class of each image, in the range 0 to 9.
        target_names : str ndarray of shape (10,)
            The names of the classes.
        DESCR : str
            A description of the data set.
        filenames : list of str
            The files read.

    Raises
    ------
    OSError
        If a file is missing and `download_if_missing` is False, or the download fails.
    ValueError
        If `subset` is unknown, or a file is damaged or, with `verify`, not the official one.
    ImportError
        If a file is missing and pooch, which downloads it, is not installed.

    Examples
    --------
    Three black images, written in the format of the official files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdeepclust.datasets import load_mnist
    >>> home = tempfile.TemporaryDirectory()
    >>> folder = Path(home.name, "mnist")
    >>> folder.mkdir()
    >>> header = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28])
    >>> n_bytes = (folder / "t10k-images-idx3-ubyte").write_bytes(header + bytes(3 * 28 * 28))
    >>> header = bytes([0, 0, 8, 1, 0, 0, 0, 3])
    >>> n_bytes = (folder / "t10k-labels-idx1-ubyte").write_bytes(header + bytes([7, 2, 1]))
    >>> X, y = load_mnist(subset="test", data_home=home.name, return_X_y=True, verify=False)
    >>> X.shape, X.dtype
    ((3, 28, 28), dtype('uint8'))
    >>> y.tolist()
    [7, 2, 1]
    >>> home.cleanup()
    """
    return _load(_MNIST, subset, data_home, return_X_y, download_if_missing, verify)


def load_fashion_mnist(
    *,
    subset: str = "all",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    verify: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load Fashion-MNIST, 70,000 images of clothing in 10 classes.

    The four official files are looked for in the folder ``fashion-mnist`` of `data_home`. They have
    the names and the format of those of MNIST; see :func:`load_mnist`. Those that are missing are
    downloaded, which needs the extra ``skdeepclust[data]``.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="all"
        The 60,000 training images, the 10,000 test images, or the training images followed by the
        test images, which is what the clustering papers use.
    data_home : str or path-like, default=None
        Folder of all data sets; see :func:`get_data_home` for what None means.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    download_if_missing : bool, default=True
        Whether to download the files that are missing, rather than to raise an error.
    verify : bool, default=True
        Whether to compare the content of the files with the checksums of the official ones. Pass
        False to read changed files of the same format, a part of the images for example.

    Returns
    -------
    sklearn.utils.Bunch or tuple of (data, target)
        A Bunch with these entries, or the first two of them:

        data : uint8 ndarray of shape (n_samples, 28, 28)
            The images, in the range 0 to 255.
        target : int64 ndarray of shape (n_samples,)
            The class of each image, in the range 0 to 9.
        target_names : str ndarray of shape (10,)
            The names of the classes.
        DESCR : str
            A description of the data set.
        filenames : list of str
            The files read.

    Raises
    ------
    OSError
        If a file is missing and `download_if_missing` is False, or the download fails.
    ValueError
        If `subset` is unknown, or a file is damaged or, with `verify`, not the official one.
    ImportError
        If a file is missing and pooch, which downloads it, is not installed.

    Examples
    --------
    One black image of a bag, written in the format of the official files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdeepclust.datasets import load_fashion_mnist
    >>> home = tempfile.TemporaryDirectory()
    >>> folder = Path(home.name, "fashion-mnist")
    >>> folder.mkdir()
    >>> header = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28])
    >>> n_bytes = (folder / "t10k-images-idx3-ubyte").write_bytes(header + bytes(28 * 28))
    >>> header = bytes([0, 0, 8, 1, 0, 0, 0, 1])
    >>> n_bytes = (folder / "t10k-labels-idx1-ubyte").write_bytes(header + bytes([8]))
    >>> bunch = load_fashion_mnist(subset="test", data_home=home.name, verify=False)
    >>> print(bunch.target_names[bunch.target[0]])
    Bag
    >>> home.cleanup()
    """
    return _load(_FASHION_MNIST, subset, data_home, return_X_y, download_if_missing, verify)
