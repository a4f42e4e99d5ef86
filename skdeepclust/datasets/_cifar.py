"""CIFAR-10 and CIFAR-100, from their official files in the binary version."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from ._base import (
    Archive,
    check_labels,
    check_option,
    make_result,
    parts_of,
    read_files,
    split_records,
)


class _ImageSet(NamedTuple):
    archive: Archive
    files: dict[str, tuple[str, ...]]  # by part
    target_names: dict[str, tuple[str, ...]]  # for each label byte, in the order of the bytes
    descr: str


_CIFAR10 = _ImageSet(
    archive=Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        known_hash="md5:c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
        hashes={
            "data_batch_1.bin": "sha256:"
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "sha256:"
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "sha256:"
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "sha256:"
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "sha256:"
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "sha256:"
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
    ),
    files={
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    target_names={
        "class": (
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        )
    },
    descr=(
        "CIFAR-10: 60,000 colour photographs of 32 x 32 pixels, in 10 classes of animals and\n"
        "vehicles; 50,000 for training and 10,000 for testing.\n\n"
        "A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report,\n"
        "University of Toronto, 2009.\n"
    ),
)

_CIFAR100 = _ImageSet(
    archive=Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        known_hash="md5:03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        hashes={
            "train.bin": "sha256:f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
            "test.bin": "sha256:d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        },
    ),
    files={"train": ("train.bin",), "test": ("test.bin",)},
    # The names and their order are those of coarse_label_names.txt and fine_label_names.txt.
    target_names={
        "coarse": (
            *("aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables"),
            *("household_electrical_devices", "household_furniture", "insects"),
            *("large_carnivores", "large_man-made_outdoor_things", "large_natural_outdoor_scenes"),
            *("large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates"),
            *("people", "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2"),
        ),
        "fine": (
            *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle"),
            *("bicycle", "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can"),
            *("castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud"),
            *("cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin"),
            *("elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo"),
            *("keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man"),
            *("maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange"),
            *("orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain"),
            *("plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road"),
            *("rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail"),
            *("snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table"),
            *("tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip"),
            *("turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"),
        ),
    },
    descr=(
        "CIFAR-100: 60,000 colour photographs of 32 x 32 pixels, in 100 classes that form 20\n"
        "superclasses of 5 classes each; 50,000 for training and 10,000 for testing.\n\n"
        "A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report,\n"
        "University of Toronto, 2009.\n"
    ),
)


def _load(
    source: _ImageSet,
    kind: str,
    subset: str,
    data_home: str | os.PathLike[str] | None,
    return_X_y: bool,
    download_if_missing: bool,
    verify: bool,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    files = read_files(
        source.archive,
        [name for part in parts_of(subset) for name in source.files[part]],
        data_home=data_home,
        download_if_missing=download_if_missing,
        verify=verify,
    )
    n_labels = len(source.target_names)
    images, labels = [], []
    for path, content in files.values():
        # An image is its label bytes, then its red, its green and its blue pixels, row by row.
        records = split_records(content, n_labels + 3 * 32 * 32, path)
        of_kind = dict(zip(source.target_names, records.T, strict=False))
        for name, names in source.target_names.items():
            check_labels(of_kind[name], range(len(names)), path)
        images.append(records[:, n_labels:].reshape(-1, 3, 32, 32))
        labels.append(of_kind[kind])
    return make_result(
        images,
        labels,
        target_names=source.target_names[kind],
        descr=source.descr,
        paths=[path for path, _ in files.values()],
        return_X_y=return_X_y,
    )


def load_cifar10(
    *,
    subset: str = "all",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    verify: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load CIFAR-10, 60,000 colour photographs in 10 classes.

    The official files of the binary version, ``data_batch_1.bin`` to ``data_batch_5.bin`` and
    ``test_batch.bin``, are looked for in the folder ``cifar-10-batches-bin`` of `data_home`, and
    then in the archive ``cifar-10-binary.tar.gz`` in `data_home`, which is read without unpacking
    it. If it is missing too, it is downloaded, 162 MiB, which needs the extra
    ``skdeepclust[data]``.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="all"
        The 50,000 training images, the 10,000 test images, or the training images followed by the
        test images, which is what many clustering papers use.
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
            The class of each image, in the range 0 to 9.
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
    One green image of a frog, written in the format of the official files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdeepclust.datasets import load_cifar10
    >>> home = tempfile.TemporaryDirectory()
    >>> folder = Path(home.name, "cifar-10-batches-bin")
    >>> folder.mkdir()
    >>> record = bytes([6]) + bytes(1024) + bytes([255] * 1024) + bytes(1024)
    >>> n_bytes = (folder / "test_batch.bin").write_bytes(record)
    >>> bunch = load_cifar10(subset="test", data_home=home.name, verify=False)
    >>> bunch.data.shape, bunch.data[0, :, 0, 0].tolist()
    ((1, 3, 32, 32), [0, 255, 0])
    >>> print(bunch.target_names[bunch.target[0]])
    frog
    >>> home.cleanup()
    """
    return _load(_CIFAR10, "class", subset, data_home, return_X_y, download_if_missing, verify)


def load_cifar100(
    *,
    labels: str = "coarse",
    subset: str = "all",
    data_home: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
    download_if_missing: bool = True,
    verify: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load CIFAR-100, 60,000 colour photographs in 20 superclasses or 100 classes.

    The official files of the binary version, ``train.bin`` and ``test.bin``, are looked for in the
    folder ``cifar-100-binary`` of `data_home`, and then in the archive ``cifar-100-binary.tar.gz``
    in `data_home`, which is read without unpacking it. If it is missing too, it is downloaded,
    161 MiB, which needs the extra ``skdeepclust[data]``.

    Parameters
    ----------
    labels : {"coarse", "fine"}, default="coarse"
        Whether `target` holds the 20 superclasses, which the deep clustering papers use under the
        names CIFAR-100 and CIFAR-100-20, or the 100 classes.
    subset : {"train", "test", "all"}, default="all"
        The 50,000 training images, the 10,000 test images, or the training images followed by the
        test images, which is what many clustering papers use.
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
            The class of each image, in the range 0 to 19, or 0 to 99 for fine labels.
        target_names : str ndarray of shape (20,) or (100,)
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
        If `labels` or `subset` is unknown, or a file is damaged or, with `verify`, not the official
        one.
    ImportError
        If a file is missing and pooch, which downloads it, is not installed.

    Examples
    --------
    One blue image of a whale, an aquatic mammal, written in the format of the official files:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from skdeepclust.datasets import load_cifar100
    >>> home = tempfile.TemporaryDirectory()
    >>> folder = Path(home.name, "cifar-100-binary")
    >>> folder.mkdir()
    >>> record = bytes([0, 95]) + bytes(2048) + bytes([255] * 1024)
    >>> n_bytes = (folder / "test.bin").write_bytes(record)
    >>> for labels in ("coarse", "fine"):
    ...     bunch = load_cifar100(
    ...         labels=labels, subset="test", data_home=home.name, verify=False
    ...     )
    ...     print(bunch.target, bunch.target_names[bunch.target[0]])
    [0] aquatic_mammals
    [95] whale
    >>> bunch.data.shape, bunch.data[0, :, 0, 0].tolist()
    ((1, 3, 32, 32), [0, 0, 255])
    >>> home.cleanup()
    """
    check_option("labels", labels, tuple(_CIFAR100.target_names))
    return _load(_CIFAR100, labels, subset, data_home, return_X_y, download_if_missing, verify)
