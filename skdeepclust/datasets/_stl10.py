"""STL-10, from its official files in the binary format."""

from __future__ import annotations

import os

import numpy as np
from sklearn.utils import Bunch

from ._base import (
    Archive,
    check_labels,
    check_lengths,
    make_result,
    parts_of,
    read_files,
    split_records,
)

_ARCHIVE = Archive(
    url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    known_hash="md5:91f7769df0f17e558f3565bffb0c7dfb",
    folder="stl10_binary",
    hashes={
        "train_X.bin": "md5:918c2871b30a85fa023e0c44e0bee87f",
        "train_y.bin": "md5:5a34089d4802c674881badbb80307741",
        "test_X.bin": "md5:7f263ba9f9e0b06b93213547f721ac82",
        "test_y.bin": "md5:36f9794fa4beb8a2c72628de14fa638e",
        "unlabeled_X.bin": "md5:5242ba1fed5e4be9e1e742405eb56ca4",
    },
)

_FILES = {
    "train": ("train_X.bin", "train_y.bin"),
    "test": ("test_X.bin", "test_y.bin"),
    "unlabeled": ("unlabeled_X.bin",),
}

_TARGET_NAMES = (
    *("airplane", "bird", "car", "cat", "deer"),
    *("dog", "horse", "monkey", "ship", "truck"),
)

_DESCR = (
    "STL-10: 13,000 colour photographs of 96 x 96 pixels, in 10 classes of animals and vehicles;\n"
    "5,000 for training and 8,000 for testing, and 100,000 unlabeled ones that show other animals\n"
    "and vehicles as well.\n\n"
    "A. Coates, H. Lee and A. Y. Ng. An analysis of single-layer networks in unsupervised feature\n"
    "learning. AISTATS, PMLR 15:215-223, 2011.\n"
)


def load_stl10(
    *,
    subset: str = "all",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    verify: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load STL-10, 13,000 colour photographs in 10 classes and 100,000 without a class.

    The official files, ``train_X.bin``, ``train_y.bin``, ``test_X.bin``, ``test_y.bin`` and
    ``unlabeled_X.bin``, are looked for in the folder ``stl10_binary`` of `data_home`, and then in
    the archive ``stl10_binary.tar.gz`` in `data_home`, which is read without unpacking it; unpack
    it yourself to load faster. If it is missing too, it is downloaded, 2.5 GiB, which needs the
    extra ``skdeepclust[data]``.

    The files number the classes from 1; here they are numbered from 0. The unlabeled images take
    2.6 GiB of memory, and twice that while they are loaded.

    Parameters
    ----------
    subset : {"train", "test", "all", "unlabeled"}, default="all"
        The 5,000 training images, the 8,000 test images, the training images followed by the test
        images, which is what many clustering papers use, or the 100,000 unlabeled images, which
        "all" leaves out.
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

        data : uint8 ndarray of shape (n_samples, 3, 96, 96)
            The images, in the range 0 to 255; the channels are red, green and blue.
        target : int64 ndarray of shape (n_samples,)
            The class of each image, in the range 0 to 9; -1 for all of the unlabeled images, as
            is scikit-learn's custom.
        target_names : str ndarray of shape (10,)
            The names of the classes.
        DESCR : str
            A description of the data set.
        filenames : list of str
            The files read; those in the archive as if it was a folder.

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
    One black image of a monkey, written in the format of the official files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdeepclust.datasets import load_stl10
    >>> home = tempfile.TemporaryDirectory()
    >>> folder = Path(home.name, "stl10_binary")
    >>> folder.mkdir()
    >>> n_bytes = (folder / "test_X.bin").write_bytes(bytes(3 * 96 * 96))
    >>> n_bytes = (folder / "test_y.bin").write_bytes(bytes([8]))
    >>> bunch = load_stl10(subset="test", data_home=home.name, verify=False)
    >>> bunch.data.shape, bunch.data.dtype
    ((1, 3, 96, 96), dtype('uint8'))
    >>> print(bunch.target_names[bunch.target[0]])
    monkey
    >>> home.cleanup()
    """
    parts = parts_of(subset, "unlabeled")
    files = read_files(
        _ARCHIVE,
        [name for part in parts for name in _FILES[part]],
        data_home=data_home,
        download_if_missing=download_if_missing,
        verify=verify,
    )
    images, labels = [], []
    for part in parts:
        images_path, content = files[f"{part}_X.bin"]
        records = split_records(content, 3 * 96 * 96, images_path)
        # One channel after the other, each column by column.
        images.append(records.reshape(-1, 3, 96, 96).swapaxes(2, 3))
        if part == "unlabeled":
            labels.append(np.full(len(records), -1))
            continue
        labels_path, content = files[f"{part}_y.bin"]
        numbers = split_records(content, 1, labels_path)[:, 0]
        check_lengths(records, numbers, images_path, labels_path)
        check_labels(numbers, range(1, 11), labels_path)
        labels.append(numbers - 1)
    return make_result(
        images,
        labels,
        target_names=_TARGET_NAMES,
        descr=_DESCR,
        paths=[path for path, _ in files.values()],
        return_X_y=return_X_y,
    )
