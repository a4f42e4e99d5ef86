"""SVHN (street view house numbers), from its official files of cropped digits."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import scipy.io
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

_URL = "http://ufldl.stanford.edu/housenumbers/"

# Of the files as served, which are not compressed: good for a download and for their content.
_HASHES = {
    "train": "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test": "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    "extra": "sha256:a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
}

_DESCR = (
    "SVHN, cropped digits: 99,289 colour photographs of house numbers, 32 x 32 pixels around one\n"
    "digit, in 10 classes; 73,257 for training and 26,032 for testing, and 531,131 extra ones\n"
    "that are less difficult. Neighbours of a digit may be seen at the sides.\n\n"
    "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng. Reading digits in natural\n"
    "images with unsupervised feature learning. NIPS Workshop on Deep Learning and Unsupervised\n"
    "Feature Learning, 2011.\n"
)


def _parse_mat(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images, channels first, and labels, 1 to 10; ``path`` is for the errors."""
    try:
        arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=("X", "y"))
    except Exception as error:  # of many types, depending on where the file is damaged
        raise ValueError(f"{path} is not a complete MATLAB file: {error}.") from error
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} holds no variable {missing[0]}, expected the images X and the labels y."
        )
    X, y = arrays["X"], arrays["y"]
    if X.dtype != np.uint8 or X.ndim != 4 or X.shape[:3] != (32, 32, 3):
        raise ValueError(
            f"{path} holds a {X.dtype} array X of shape {X.shape}, expected uint8 of shape "
            "(32, 32, 3, n)."
        )
    if y.dtype.kind not in "iu" or y.shape[1:] != (1,):
        raise ValueError(
            f"{path} holds a {y.dtype} array y of shape {y.shape}, expected integers of shape "
            "(n, 1)."
        )
    images, labels = X.transpose(3, 2, 0, 1), y[:, 0]
    check_lengths(images, labels, path, path)
    check_labels(labels, range(1, 11), path)
    return images, labels


def load_svhn(
    *,
    subset: str = "all",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    verify: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load the cropped digits of SVHN, 99,289 colour photographs in 10 classes.

    The official files, ``train_32x32.mat``, ``test_32x32.mat`` and ``extra_32x32.mat``, are looked
    for in the folder ``svhn`` of `data_home`, as they are or as .gz. Those that are missing are
    downloaded, 174, 61 and 1268 MiB, which needs the extra ``skdeepclust[data]``.

    The files call the digit 0 class 10; here it is class 0.

    Parameters
    ----------
    subset : {"train", "test", "all", "extra"}, default="all"
        The 73,257 training images, the 26,032 test images, the training images followed by the
        test images, or the 531,131 extra images, which "all" leaves out.
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

        data : uint8 ndarray of shape (n_samples, 3, 32, 32)
            The images, in the range 0 to 255; the channels are red, green and blue.
        target : int64 ndarray of shape (n_samples,)
            The digit in the middle of each image, in the range 0 to 9.
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
    Two red images, of a 0 and of a 3, written in the format of the official files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import scipy.io
    >>> from skdeepclust.datasets import load_svhn
    >>> home = tempfile.TemporaryDirectory()
    >>> folder = Path(home.name, "svhn")
    >>> folder.mkdir()
    >>> images = np.zeros((32, 32, 3, 2), dtype=np.uint8)
    >>> images[:, :, 0] = 255
    >>> labels = np.array([[10], [3]], dtype=np.uint8)
    >>> scipy.io.savemat(folder / "test_32x32.mat", {"X": images, "y": labels})
    >>> X, y = load_svhn(subset="test", data_home=home.name, return_X_y=True, verify=False)
    >>> X.shape, X[0, :, 0, 0].tolist()
    ((2, 3, 32, 32), [255, 0, 0])
    >>> y.tolist()
    [0, 3]
    >>> home.cleanup()
    """
    folder = get_data_home(data_home) / "svhn"
    images, labels, paths = [], [], []
    for part in parts_of(subset, "extra"):
        name, known_hash = f"{part}_32x32.mat", _HASHES[part]
        path = find_or_fetch(
            folder,
            [name],
            url=_URL + name,
            known_hash=known_hash,
            download_if_missing=download_if_missing,
        )
        content = read_content(path, known_hash=known_hash if verify else None)
        of_part = _parse_mat(content, path)
        images.append(of_part[0])
        labels.append(of_part[1] % 10)
        paths.append(path)
    return make_result(
        images,
        labels,
        target_names=tuple("0123456789"),
        descr=_DESCR,
        paths=paths,
        return_X_y=return_X_y,
    )
