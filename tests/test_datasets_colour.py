"""The loaders of colour images on tiny files in the official formats; nothing is downloaded."""

import gzip
import hashlib
import io
import re
import tarfile

import numpy as np
import pooch
import pytest
import scipy.io

from skdeepclust.datasets import (
    _base,
    _cifar,
    _stl10,
    _svhn,
    load_cifar10,
    load_cifar100,
    load_stl10,
    load_svhn,
)

LOADERS = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "svhn": load_svhn,
    "stl10": load_stl10,
}
ARCHIVES = {
    "cifar10": _cifar._CIFAR10.archive,
    "cifar100": _cifar._CIFAR100.archive,
    "stl10": _stl10._ARCHIVE,
}
FOLDERS = {"svhn": "svhn", **{name: archive.folder for name, archive in ARCHIVES.items()}}
SIDES = {"cifar10": 32, "cifar100": 32, "svhn": 32, "stl10": 96}
N_SAMPLES = {"train": 6, "test": 3, "extra": 4, "unlabeled": 4}
BATCHES = [f"data_batch_{number}.bin" for number in range(1, 6)]


# The official formats, written pixel by pixel from their descriptions


def planes(image, by_column=False):
    """Return the bytes of an image of shape (3, rows, columns), one channel after the other."""
    order = (2, 1) if by_column else (1, 2)
    outer, inner = (range(image.shape[axis]) for axis in order)
    return bytes(
        channel[j, i] if by_column else channel[i, j]
        for channel in image
        for i in outer
        for j in inner
    )


def mat_bytes(images, labels):
    X = np.zeros((32, 32, 3, len(images)), dtype=np.uint8)
    for number, image in enumerate(images):
        for channel in range(3):
            X[:, :, channel, number] = image[channel]
    y = np.array([[10 if label == 0 else label] for label in labels], dtype=np.uint8)
    return saved({"X": X, "y": y})


def saved(variables):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=True)
    return file.getvalue()


def cifar10_files(arrays):
    (images, labels), (test_images, test_labels) = arrays["train"], arrays["test"]
    records = [bytes([y]) + planes(x) for x, y in zip(images, labels, strict=True)]
    files = dict(zip(BATCHES, records, strict=False))
    files["data_batch_5.bin"] += records[5]  # two images in the last
    files["test_batch.bin"] = b"".join(
        bytes([y]) + planes(x) for x, y in zip(test_images, test_labels, strict=True)
    )
    return files


def cifar100_files(arrays):
    """Write the coarse label that was drawn and 3 times it plus 40 as the fine label."""
    return {
        f"{part}.bin": b"".join(
            bytes([y, 3 * y + 40]) + planes(x) for x, y in zip(*arrays[part], strict=True)
        )
        for part in ("train", "test")
    }


def svhn_files(arrays):
    return {f"{part}_32x32.mat": mat_bytes(*arrays[part]) for part in ("train", "test", "extra")}


def stl10_files(arrays):
    files = {}
    for part in ("train", "test", "unlabeled"):
        images, labels = arrays[part]
        files[f"{part}_X.bin"] = b"".join(planes(image, by_column=True) for image in images)
        if part != "unlabeled":
            files[f"{part}_y.bin"] = bytes(int(label) + 1 for label in labels)
    return files


WRITERS = {
    "cifar10": cifar10_files,
    "cifar100": cifar100_files,
    "svhn": svhn_files,
    "stl10": stl10_files,
}


@pytest.fixture(scope="module")
def arrays():
    """Return random images and labels, by set and part."""
    rng = np.random.default_rng(0)
    return {
        name: {
            part: (
                rng.integers(256, size=(n, 3, side, side), dtype=np.uint8),
                rng.permutation(10)[:n],
            )
            for part, n in N_SAMPLES.items()
        }
        for name, side in SIDES.items()
    }


@pytest.fixture(scope="module")
def contents(arrays):
    """Return the bytes of the official files, by set and file name."""
    return {name: write(arrays[name]) for name, write in WRITERS.items()}


@pytest.fixture
def home(tmp_path, contents):
    for name, files in contents.items():
        folder = tmp_path / FOLDERS[name]
        folder.mkdir()
        for file_name, content in files.items():
            (folder / file_name).write_bytes(content)
    return tmp_path


def write_archive(path, folder, files, prefix="", mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        directory = tarfile.TarInfo(f"{prefix}{folder}")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for name, content in {"readme.html": b"<html>", **files}.items():
            info = tarfile.TarInfo(f"{prefix}{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def archive_home(tmp_path, contents):
    """Return a data folder with the archives alone."""
    for name, archive in ARCHIVES.items():
        write_archive(tmp_path / archive.url.rsplit("/")[-1], archive.folder, contents[name])
    return tmp_path


def joined(arrays, subset):
    parts = ["train", "test"] if subset == "all" else [subset]
    return [np.concatenate([arrays[part][i] for part in parts]) for i in (0, 1)]


# Loading


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_load(home, arrays, name, subset):
    images, labels = joined(arrays[name], subset)
    bunch = LOADERS[name](subset=subset, data_home=home, verify=False)
    np.testing.assert_array_equal(bunch.data, images, strict=True)
    np.testing.assert_array_equal(bunch.target, labels.astype(np.int64), strict=True)
    assert bunch.data.flags.writeable and bunch.data.flags.c_contiguous
    assert bunch.target.flags.writeable and bunch.target.flags.c_contiguous
    assert bunch.target_names.shape == (20 if name == "cifar100" else 10,)
    assert bunch.target_names.dtype.kind == "U"
    assert bunch.DESCR.startswith({"svhn": "SVHN", "stl10": "STL-10"}.get(name, "CIFAR-10"))
    X, y = LOADERS[name](subset=subset, data_home=str(home), return_X_y=True, verify=False)
    np.testing.assert_array_equal(X, images, strict=True)
    np.testing.assert_array_equal(y, bunch.target, strict=True)


@pytest.mark.parametrize("name", LOADERS)
def test_all_is_the_default_subset(home, name):
    assert len(LOADERS[name](data_home=home, verify=False).data) == 9


@pytest.mark.parametrize(
    ("name", "subset", "files"),
    [
        ("cifar10", "all", [*BATCHES, "test_batch.bin"]),
        ("cifar100", "all", ["train.bin", "test.bin"]),
        ("svhn", "all", ["train_32x32.mat", "test_32x32.mat"]),
        ("svhn", "extra", ["extra_32x32.mat"]),
        ("stl10", "all", ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"]),
        ("stl10", "unlabeled", ["unlabeled_X.bin"]),
    ],
)
def test_filenames_and_files_needed(home, name, subset, files):
    folder = home / FOLDERS[name]
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    settings = {"data_home": home, "download_if_missing": False, "verify": False}
    bunch = LOADERS[name](subset=subset, **settings)
    assert bunch.filenames == [str(folder / file) for file in files]


def test_svhn_extra(home, arrays):
    bunch = load_svhn(subset="extra", data_home=home, verify=False)
    np.testing.assert_array_equal(bunch.data, arrays["svhn"]["extra"][0], strict=True)
    np.testing.assert_array_equal(bunch.target, arrays["svhn"]["extra"][1])


def test_stl10_unlabeled(home, arrays):
    bunch = load_stl10(subset="unlabeled", data_home=home, verify=False)
    np.testing.assert_array_equal(bunch.data, arrays["stl10"]["unlabeled"][0], strict=True)
    np.testing.assert_array_equal(bunch.target, np.full(4, -1), strict=True)
    assert bunch.data.flags.writeable and bunch.data.flags.c_contiguous


def test_cifar100_fine_labels(home, arrays):
    _, coarse = joined(arrays["cifar100"], "all")
    bunch = load_cifar100(labels="fine", data_home=home, verify=False)
    np.testing.assert_array_equal(bunch.target, 3 * coarse + 40)
    assert bunch.target_names.shape == (100,)
    assert list(bunch.target_names) == sorted(set(bunch.target_names))
    assert len(set(load_cifar100(data_home=home, verify=False).target_names)) == 20


@pytest.mark.parametrize("labels", ["superclass", "", None, 0, ["fine"]])
def test_cifar100_bad_labels(home, labels):
    with pytest.raises(ValueError, match=r"^labels must be one of 'coarse', 'fine'; got "):
        load_cifar100(labels=labels, data_home=home, verify=False)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("subset", ["validation", "Train", "", None, 0, ["train"]])
def test_bad_subset(home, name, subset):
    with pytest.raises(ValueError, match=r"^subset must be one of 'train', 'test', 'all'.*; got "):
        LOADERS[name](subset=subset, data_home=home, verify=False)


@pytest.mark.parametrize(
    ("name", "subset"), [("cifar10", "extra"), ("svhn", "unlabeled"), ("stl10", "extra")]
)
def test_subset_of_another_set(home, name, subset):
    with pytest.raises(ValueError, match=f"got '{subset}'"):
        LOADERS[name](subset=subset, data_home=home, verify=False)


@pytest.mark.parametrize("name", LOADERS)
def test_one_pixel(tmp_path, name):
    """A single blue pixel in row 2, column 5, at the byte that the format's description says."""
    folder = tmp_path / FOLDERS[name]
    folder.mkdir()
    if name == "svhn":
        X = np.zeros((32, 32, 3, 2), dtype=np.uint8)
        X[2, 5, 2, 0] = 200
        y = np.array([[10], [1]], dtype=np.uint8)
        (folder / "test_32x32.mat").write_bytes(saved({"X": X, "y": y}))
    elif name == "stl10":
        content = bytearray(3 * 96 * 96)
        content[2 * 96 * 96 + 5 * 96 + 2] = 200  # column by column
        (folder / "test_X.bin").write_bytes(content)
        (folder / "test_y.bin").write_bytes(b"\1")
    else:
        n_labels = {"cifar10": 1, "cifar100": 2}[name]
        content = bytearray(n_labels + 3 * 32 * 32)
        content[n_labels + 2 * 32 * 32 + 2 * 32 + 5] = 200  # row by row
        file = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}[name]
        (folder / file).write_bytes(content)
    X, y = LOADERS[name](subset="test", data_home=tmp_path, return_X_y=True, verify=False)
    assert np.argwhere(X).tolist() == [[0, 2, 2, 5]]
    assert X[0, 2, 2, 5] == 200
    assert y[0] == 0


# Archives


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_archive(archive_home, arrays, monkeypatch, name, subset):
    monkeypatch.setattr(pooch, "retrieve", None)
    images, labels = joined(arrays[name], subset)
    bunch = LOADERS[name](subset=subset, data_home=archive_home, verify=False)
    np.testing.assert_array_equal(bunch.data, images, strict=True)
    np.testing.assert_array_equal(bunch.target, labels)
    archive = archive_home / ARCHIVES[name].url.rsplit("/")[-1]
    for file in bunch.filenames:
        assert file.startswith(str(archive / FOLDERS[name]))
    assert all(path.is_file() for path in archive_home.iterdir())  # nothing was unpacked


@pytest.mark.parametrize(("prefix", "mode"), [("./", "w:gz"), ("", "w")])
def test_other_archives(tmp_path, contents, arrays, prefix, mode):
    path = tmp_path / ("cifar-100-binary.tar" + ".gz" * (mode == "w:gz"))
    write_archive(path, "cifar-100-binary", contents["cifar100"], prefix, mode)
    settings = {"download_if_missing": False, "verify": False}
    bunch = load_cifar100(data_home=tmp_path, **settings)
    np.testing.assert_array_equal(bunch.data, joined(arrays["cifar100"], "all")[0])


def test_unpacked_files_come_first(archive_home, contents, arrays):
    """What is unpacked is read there, and only what is not is read from the archive."""
    folder = archive_home / FOLDERS["cifar10"]
    folder.mkdir()
    other = bytearray(contents["cifar10"]["data_batch_2.bin"])
    other[0] = (other[0] + 1) % 10
    (folder / "data_batch_2.bin").write_bytes(other)
    bunch = load_cifar10(data_home=archive_home, verify=False)
    expected = joined(arrays["cifar10"], "all")[1]
    assert np.flatnonzero(bunch.target != expected).tolist() == [1]
    assert bunch.filenames[1] == str(folder / "data_batch_2.bin")
    assert "cifar-10-binary.tar.gz" in bunch.filenames[2]


def test_archive_without_a_file(tmp_path, contents):
    files = {k: v for k, v in contents["cifar10"].items() if k != "data_batch_4.bin"}
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, FOLDERS["cifar10"], files)
    assert len(load_cifar10(subset="test", data_home=tmp_path, verify=False).data) == 3
    message = f"{re.escape(str(path))} is incomplete or .* cifar-10-batches-bin/data_batch_4.bin in"
    with pytest.raises(ValueError, match=message):
        load_cifar10(data_home=tmp_path, verify=False)


def test_archive_with_a_link_in_place_of_a_file(tmp_path):
    path = tmp_path / "cifar-100-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("cifar-100-binary/train.bin")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(info)
    with pytest.raises(ValueError, match=r"expected cifar-100-binary/train.bin in it"):
        load_cifar100(subset="train", data_home=tmp_path, verify=False)


def cut(content):
    return content[: len(content) // 2]


def no_archive(content):
    return b"<html>" * 200


def empty(content):
    return b""


def flipped(content):
    return content[:1000] + b"\xff" * 1000 + content[2000:]


@pytest.mark.parametrize("spoil", [cut, no_archive, empty, flipped])
def test_damaged_archive(archive_home, spoil):
    path = archive_home / "cifar-10-binary.tar.gz"
    path.write_bytes(spoil(path.read_bytes()))
    message = f"{re.escape(str(path))} is (not a complete tar archive|incomplete)"
    with pytest.raises(ValueError, match=message):
        load_cifar10(data_home=archive_home, verify=False)


# Checksums


@pytest.mark.parametrize("name", LOADERS)
def test_files_that_are_not_the_official_ones(home, name):
    file = {"cifar10": "data_batch_1.bin", "cifar100": "train.bin", "svhn": "train_32x32.mat"}
    path = home / FOLDERS[name] / file.get(name, "train_X.bin")
    with pytest.raises(ValueError, match="not the official file") as info:
        LOADERS[name](data_home=home)
    message = str(info.value)
    size = len(path.read_bytes())
    algorithm = "md5" if name == "stl10" else "sha256"
    assert message.startswith(f"{path} is incomplete")
    assert f"the {algorithm} of its content ({size} bytes) is " in message
    assert "verify=False" in message


def test_files_in_an_archive_are_verified(archive_home):
    message = r"cifar-10-binary.tar.gz/cifar-10-batches-bin/data_batch_1.bin is incomplete or not"
    with pytest.raises(ValueError, match=message.replace("/", r"[/\\]")):
        load_cifar10(data_home=archive_home)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
@pytest.mark.parametrize("packed", [False, True])
def test_verified(home, contents, monkeypatch, algorithm, packed):
    files = contents["stl10"]
    hashes = {
        file: f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
        for file, content in files.items()
    }
    monkeypatch.setattr(_stl10, "_ARCHIVE", _stl10._ARCHIVE._replace(hashes=hashes))
    if packed:
        write_archive(home / "stl10_binary.tar.gz", "stl10_binary", files)
        for path in (home / "stl10_binary").iterdir():
            path.unlink()
    assert load_stl10(data_home=home).data.shape == (9, 3, 96, 96)
    assert load_stl10(subset="unlabeled", data_home=home).data.shape == (4, 3, 96, 96)


def test_verified_svhn(home, contents, monkeypatch):
    hashes = {
        part: "sha256:" + hashlib.sha256(contents["svhn"][f"{part}_32x32.mat"]).hexdigest()
        for part in ("train", "test", "extra")
    }
    monkeypatch.setattr(_svhn, "_HASHES", hashes)
    assert load_svhn(data_home=home).data.shape == (9, 3, 32, 32)


def test_hashes_are_complete(contents):
    known = [*_svhn._HASHES.values()]
    for name, archive in ARCHIVES.items():
        assert set(archive.hashes) == set(contents[name])
        known += [archive.known_hash, *archive.hashes.values()]
    assert len(set(known)) == len(known) == 19
    for known_hash in known:
        algorithm, digest = known_hash.split(":")
        assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]


# Damaged files


@pytest.mark.parametrize(
    ("name", "file", "size"),
    [
        ("cifar10", "data_batch_3.bin", 3073),
        ("cifar100", "test.bin", 3074),
        ("stl10", "test_X.bin", 27648),
        ("stl10", "train_y.bin", 1),
    ],
)
@pytest.mark.parametrize("spoil", ["empty", "short", "long"])
def test_sizes(home, name, file, size, spoil):
    path = home / FOLDERS[name] / file
    content = path.read_bytes()
    content = {"empty": b"", "short": content[:-1], "long": content + b"\n"}[spoil]
    path.write_bytes(content)
    message = f"{path} is truncated or of another format: {len(content)} bytes, expected a "
    message += f"multiple of {size}, the bytes of one sample"
    if size == 1 and spoil != "empty":
        n_bytes = len(content)
        message = f"train_X.bin holds 6 images but {path} holds {n_bytes} labels; expected as many"
    with pytest.raises(ValueError, match=re.escape(message)):
        LOADERS[name](data_home=home, verify=False)


@pytest.mark.parametrize(
    ("name", "file", "position", "label", "expected"),
    [
        ("cifar10", "test_batch.bin", 3073, 10, "0 to 9"),
        ("cifar10", "data_batch_5.bin", 3073, 255, "0 to 9"),
        ("cifar100", "train.bin", 3074, 20, "0 to 19"),
        ("cifar100", "train.bin", 3075, 100, "0 to 99"),
        ("stl10", "test_y.bin", 1, 0, "1 to 10"),
        ("stl10", "test_y.bin", 2, 11, "1 to 10"),
    ],
)
def test_label_out_of_range(home, name, file, position, label, expected):
    path = home / FOLDERS[name] / file
    content = bytearray(path.read_bytes())
    content[position] = label
    path.write_bytes(content)
    message = re.escape(f"{path} holds the label {label}, expected {expected}.")
    with pytest.raises(ValueError, match=message):
        LOADERS[name](data_home=home, verify=False)


IMAGES, LABELS = np.zeros((32, 32, 3, 2), dtype=np.uint8), np.ones((2, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": IMAGES}, "holds no variable y, expected the images X and the labels y"),
        ({"x": IMAGES, "y": LABELS}, "holds no variable X, expected"),
        ({"X": IMAGES / 255, "y": LABELS}, "holds a float64 array X .*, expected uint8 of shape"),
        (
            {"X": IMAGES.T, "y": LABELS},
            r"array X of shape \(2, 3, 32, 32\), expected uint8 of shape \(32, 32, 3, n\)",
        ),
        ({"X": "text", "y": LABELS}, r"array X of shape \(1,\), expected uint8"),
        (
            {"X": IMAGES, "y": LABELS.T},
            r"uint8 array y of shape \(1, 2\), expected integers of shape \(n, 1\)",
        ),
        ({"X": IMAGES, "y": LABELS / 2}, "a float64 array y .*, expected integers"),
        ({"X": IMAGES, "y": LABELS[:1]}, "holds 2 images but .* holds 1 labels; expected as many"),
        ({"X": IMAGES, "y": 0 * LABELS}, "holds the label 0, expected 1 to 10"),
        ({"X": IMAGES, "y": 11 * LABELS}, "holds the label 11, expected 1 to 10"),
    ],
)
def test_svhn_of_other_content(home, variables, message):
    path = home / "svhn" / "test_32x32.mat"
    path.write_bytes(saved(variables))
    with pytest.raises(ValueError, match=message) as info:
        load_svhn(data_home=home, verify=False)
    assert str(info.value).startswith(str(path))


@pytest.mark.parametrize("spoil", [cut, no_archive, empty])
def test_svhn_damaged(home, spoil):
    path = home / "svhn" / "train_32x32.mat"
    path.write_bytes(spoil(path.read_bytes()))
    message = f"{re.escape(str(path))} is not a complete MATLAB file: "
    with pytest.raises(ValueError, match=message):
        load_svhn(data_home=home, verify=False)


def test_svhn_as_gz(home):
    path = home / "svhn" / "test_32x32.mat"
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(load_svhn(subset="test", data_home=home, verify=False).data) == 3


# Missing files and downloads


@pytest.mark.parametrize("name", LOADERS)
def test_missing_files_without_download(monkeypatch, tmp_path, name):
    monkeypatch.setattr(pooch, "retrieve", None)
    with pytest.raises(FileNotFoundError) as info:
        LOADERS[name](subset="test", data_home=tmp_path, download_if_missing=False)
    message = str(info.value)
    parts = [str(tmp_path), "neither as it is nor as .gz", "download_if_missing=False"]
    if name == "svhn":
        parts += [f"test_32x32.mat is in the folder {tmp_path / 'svhn'}", _svhn._URL]
    else:
        parts += [ARCHIVES[name].url, f"is not in the folder {tmp_path / FOLDERS[name]}, and "]
    for part in parts:
        assert part in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LOADERS)
def test_download(monkeypatch, tmp_path, contents, name):
    """The call of pooch, and what is made of the file that it returns."""
    calls = []

    def retrieve(url, *, known_hash, fname, path):
        calls.append((url, known_hash, fname, path))
        path.mkdir(parents=True, exist_ok=True)
        if name == "svhn":
            (path / fname).write_bytes(contents["svhn"][fname])
        else:
            write_archive(path / fname, FOLDERS[name], contents[name])
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    home = tmp_path / "new" / "home"
    for _ in range(2):
        bunch = LOADERS[name](subset="test", data_home=home, verify=False)
        assert len(bunch.data) == 3
    if name == "svhn":
        url, known_hash, folder = _svhn._URL + "test_32x32.mat", _svhn._HASHES["test"], home / name
    else:
        url, known_hash, folder = ARCHIVES[name].url, ARCHIVES[name].known_hash, home
    assert calls == [(url, known_hash, url.rsplit("/")[-1], folder)]


@pytest.mark.parametrize("name", LOADERS)
def test_failed_download(monkeypatch, tmp_path, name):
    def retrieve(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(OSError, match=r"could not be downloaded from http.*no route to host"):
        LOADERS[name](data_home=tmp_path)


def test_read_tar_stops_early(tmp_path, contents):
    """A file behind those wanted is not read, so that its damage goes unnoticed."""
    path = tmp_path / "set.tar"
    write_archive(path, "set", {"a": b"A" * 600, "b": b"B" * 60_000}, mode="w")
    path.write_bytes(path.read_bytes()[:4000])
    assert _base.read_tar(path, ["set/a"]) == {"set/a": b"A" * 600}
    with pytest.raises(ValueError, match="is not a complete tar archive"):
        _base.read_tar(path, ["set/b"])
