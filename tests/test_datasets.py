"""The image loaders on tiny files in the official format; nothing leaves this machine."""

import gzip
import hashlib
import http.server
import struct
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pooch
import pytest

from skdeepclust.datasets import _base, _mnist, get_data_home, load_fashion_mnist, load_mnist

N_SAMPLES = {"train": 12, "t10k": 5}
LOADERS = {"mnist": load_mnist, "fashion-mnist": load_fashion_mnist}


def idx_bytes(array):
    """Write an array of bytes as the format's description says: magic, sizes, data."""
    magic = struct.pack(">BBBB", 0, 0, 0x08, array.ndim)
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        part: (
            rng.integers(256, size=(n, 28, 28), dtype=np.uint8),
            rng.integers(10, size=n, dtype=np.uint8),
        )
        for part, n in N_SAMPLES.items()
    }


@pytest.fixture
def contents(arrays):
    """Return the bytes of the four files by name."""
    return {
        f"{part}-{kind}-idx{array.ndim}-ubyte": idx_bytes(array)
        for part, pair in arrays.items()
        for kind, array in zip(("images", "labels"), pair, strict=True)
    }


@pytest.fixture
def home(tmp_path, contents):
    for folder in LOADERS:
        (tmp_path / folder).mkdir()
        for name, content in contents.items():
            (tmp_path / folder / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def tiny_mnist(monkeypatch, contents):
    """Make the tiny files the official ones of load_mnist, for the checksums and the address."""

    def use(url="http://127.0.0.1:9/"):
        checksums = {
            name: _mnist._Checksums(
                hashlib.md5(gzip.compress(content, mtime=0)).hexdigest(),
                hashlib.sha256(content).hexdigest(),
            )
            for name, content in contents.items()
        }
        source = _mnist._MNIST._replace(url=url, checksums=checksums)
        monkeypatch.setattr(_mnist, "_MNIST", source)

    return use


@pytest.fixture
def server(tmp_path_factory, contents, monkeypatch):
    """Serve the four files as .gz on this machine; yield the address and the folder."""
    folder = tmp_path_factory.mktemp("served")
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        httpd.shutdown()
        thread.join()


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# Data home and subset


def test_data_home_of_argument_environment_and_default(monkeypatch, tmp_path):
    monkeypatch.setenv("SKDEEPCLUST_DATA", str(tmp_path / "env"))
    assert get_data_home(tmp_path / "arg") == tmp_path / "arg"
    assert get_data_home(str(tmp_path)) == tmp_path
    assert get_data_home() == tmp_path / "env"
    assert get_data_home("~/sets") == Path.home() / "sets"
    monkeypatch.setenv("SKDEEPCLUST_DATA", "~/of_env")
    assert get_data_home() == Path.home() / "of_env"
    monkeypatch.setenv("SKDEEPCLUST_DATA", "")
    assert get_data_home() == Path.home() / "skdeepclust_data"
    monkeypatch.delenv("SKDEEPCLUST_DATA")
    assert get_data_home() == Path.home() / "skdeepclust_data"
    assert names_in(tmp_path) == []


def test_loader_uses_environment(monkeypatch, home):
    monkeypatch.setenv("SKDEEPCLUST_DATA", str(home))
    assert len(load_mnist(verify=False).data) == 17


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("subset", ["validation", "Train", "", None, 0, ["train"]])
def test_bad_subset(home, loader, subset):
    with pytest.raises(ValueError, match=r"^subset must be one of 'train', 'test', 'all'; got "):
        loader(subset=subset, data_home=home, verify=False)


def test_parts_of():
    assert _base.parts_of("all") == ("train", "test")
    assert _base.parts_of("all", "extra") == ("train", "test")
    assert _base.parts_of("extra", "extra") == ("extra",)
    with pytest.raises(ValueError, match="one of 'train', 'test', 'all', 'extra'; got 'other'"):
        _base.parts_of("other", "extra")


# Loading


@pytest.mark.parametrize("folder", LOADERS)
@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_load(home, arrays, folder, subset):
    parts = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}[subset]
    images = np.concatenate([arrays[part][0] for part in parts])
    labels = np.concatenate([arrays[part][1] for part in parts])
    bunch = LOADERS[folder](subset=subset, data_home=home, verify=False)
    np.testing.assert_array_equal(bunch.data, images, strict=True)
    np.testing.assert_array_equal(bunch.target, labels.astype(np.int64), strict=True)
    assert bunch.data.flags.writeable and bunch.data.flags.c_contiguous
    assert bunch.target.flags.writeable
    assert bunch.target_names.shape == (10,)
    assert f"{'Fashion-' * (folder != 'mnist')}MNIST: 70,000" in bunch.DESCR
    assert bunch.filenames == [
        str(home / folder / f"{part}-{kind}-ubyte")
        for part in parts
        for kind in ("images-idx3", "labels-idx1")
    ]
    X, y = LOADERS[folder](subset=subset, data_home=home, return_X_y=True, verify=False)
    np.testing.assert_array_equal(X, images, strict=True)
    np.testing.assert_array_equal(y, bunch.target, strict=True)


def test_all_is_the_default_subset(home):
    assert load_mnist(data_home=str(home), verify=False).data.shape == (17, 28, 28)


@pytest.mark.parametrize("spelling", ["{}.gz", ".{}", ".{}.gz"])
def test_other_file_names(home, spelling):
    folder = home / "mnist"
    for path in list(folder.iterdir()):
        content = path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", ".idx") if "." in spelling[:1] else path.name
        if spelling.endswith("gz"):
            name, content = name + ".gz", gzip.compress(content)
        (folder / name).write_bytes(content)
    bunch = load_mnist(data_home=home, download_if_missing=False, verify=False)
    expected = load_fashion_mnist(data_home=home, verify=False)
    np.testing.assert_array_equal(bunch.data, expected.data)
    np.testing.assert_array_equal(bunch.target, expected.target)


def test_subset_needs_its_own_files_only(home):
    for path in (home / "mnist").glob("train*"):
        path.unlink()
    bunch = load_mnist(subset="test", data_home=home, download_if_missing=False, verify=False)
    assert bunch.data.shape == (5, 28, 28)


def test_parameters_are_keyword_only(home):
    with pytest.raises(TypeError, match="positional"):
        load_mnist("all")


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 4), (2, 3, 2, 2)])
def test_parse_idx_of_every_type(code, dtype, shape):
    expected = (np.arange(np.prod(shape)).reshape(shape) - 3).astype(dtype)
    magic = bytes([0, 0, code, len(shape)])
    content = magic + struct.pack(f">{len(shape)}I", *shape) + expected.tobytes()
    array = _mnist._parse_idx(content, Path("file"))
    native = np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(array, expected.astype(native), strict=True)


# Damaged files

IMAGES_SIZE = 16 + 12 * 28 * 28


def change(make):
    """Name a way to spoil the bytes of the training images, for the parameters below."""
    return pytest.param(make, id=make.__name__)


def empty(content):
    return b""


def png(content):
    return b"\x89PNG" + content[4:]


def unknown_type(content):
    return b"\0\0\x0a\x03" + content[4:]


def half_a_header(content):
    return content[:10]


def short(content):
    return content[:-7]


def long(content):
    return content + b"\n"


def huge(content):
    return content[:4] + b"\xff" * 12 + content[16:]


def labels(content):
    return idx_bytes(np.zeros(12, dtype=np.uint8))


def floats(content):
    return b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0"


def other_size(content):
    return idx_bytes(np.zeros((12, 32, 32), dtype=np.uint8))


def a_scalar(content):
    return b"\0\0\x08\0\x07"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "magic number is missing, expected 0000, a type byte"),
        (png, "is not an idx file: its magic number is 89504e47, expected 0000, a type byte"),
        (unknown_type, r"magic number is 00000a03, .* \(one of 08, 09, 0b, 0c, 0d, 0e\)"),
        (half_a_header, "is truncated: 10 bytes, expected 16 for the header alone"),
        (short, f"is truncated: {IMAGES_SIZE - 7} bytes, expected {IMAGES_SIZE} for the uint8"),
        (long, f"has trailing bytes: {IMAGES_SIZE + 1} bytes, expected {IMAGES_SIZE} for"),
        (huge, r"is truncated: .* array of shape \(4294967295, 4294967295, 4294967295\)"),
        (labels, r"holds a uint8 array of shape \(12,\), expected uint8 of shape \(n, 28, 28\)"),
        (floats, r"holds a float32 array of shape \(1,\), expected uint8 of shape \(n, 28, 28\)"),
        (other_size, r"array of shape \(12, 32, 32\), expected uint8 of shape \(n, 28, 28\)"),
        (a_scalar, r"array of shape \(\), expected uint8 of shape \(n, 28, 28\)"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_images(home, spoil, message, suffix):
    path = home / "mnist" / "train-images-idx3-ubyte"
    content = spoil(path.read_bytes())
    path.unlink()
    path = path.with_name(path.name + suffix)
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(ValueError, match=message) as info:
        load_mnist(data_home=home, verify=False)
    assert str(path) in str(info.value)


def test_images_in_place_of_labels(home):
    folder = home / "mnist"
    content = (folder / "t10k-images-idx3-ubyte").read_bytes()
    (folder / "t10k-labels-idx1-ubyte").write_bytes(content)
    message = r"t10k-labels-idx1-ubyte holds a uint8 .* \(5, 28, 28\), expected .* shape \(n\)"
    with pytest.raises(ValueError, match=message):
        load_mnist(data_home=home, verify=False)


def test_as_many_labels_as_images(home):
    path = home / "mnist" / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.zeros(4, dtype=np.uint8)))
    message = r"t10k-images-idx3-ubyte holds 5 images but .*t10k-labels-idx1-ubyte holds 4 labels"
    with pytest.raises(ValueError, match=message):
        load_mnist(data_home=home, verify=False)


def test_label_out_of_range(home):
    path = home / "mnist" / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.array([0, 9, 10, 1, 2], dtype=np.uint8)))
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte holds the label 10, expected 0"):
        load_mnist(data_home=home, verify=False)


def cut_gzip(content):
    return gzip.compress(content)[:-20]


def no_gzip(content):
    return content


def flipped_gzip(content):
    packed = bytearray(gzip.compress(content))
    packed[-6] ^= 0xFF
    return bytes(packed)


def garbage_in_gzip(content):
    return gzip.compress(content)[:10] + b"\xff" * 200


@pytest.mark.parametrize("spoil", [cut_gzip, no_gzip, flipped_gzip, garbage_in_gzip])
def test_damaged_gzip(home, spoil):
    path = home / "mnist" / "train-images-idx3-ubyte"
    content = path.read_bytes()
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(spoil(content))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is not a complete gzip"):
        load_mnist(data_home=home, verify=False)


# Checksums


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_one_checksum_for_plain_and_gz(home, tiny_mnist, suffix):
    tiny_mnist()
    if suffix:
        for path in list((home / "mnist").iterdir()):
            path.with_name(path.name + suffix).write_bytes(gzip.compress(path.read_bytes(), 1))
            path.unlink()
    assert load_mnist(data_home=home).data.shape == (17, 28, 28)


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_files_that_are_not_the_official_ones(home, contents, loader):
    content = contents["train-images-idx3-ubyte"]
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(ValueError, match="not the official file") as info:
        loader(data_home=home)
    message = str(info.value)
    assert "train-images-idx3-ubyte is incomplete" in message
    assert f"({len(content)} bytes) is {found}, expected " in message
    assert "verify=False" in message


def test_checksums_are_complete():
    names = {name for pair in _mnist._FILES.values() for name in pair}
    for source in (_mnist._MNIST, _mnist._FASHION_MNIST):
        assert set(source.checksums) == names
        for md5, sha256 in source.checksums.values():
            assert len(bytes.fromhex(md5)) == 16
            assert len(bytes.fromhex(sha256)) == 32
    all_sums = [*_mnist._MNIST.checksums.values(), *_mnist._FASHION_MNIST.checksums.values()]
    assert len({sum_ for pair in all_sums for sum_ in pair}) == 16


# Missing files and downloads


@pytest.mark.parametrize("folder", LOADERS)
def test_missing_files_without_download(monkeypatch, tmp_path, folder):
    monkeypatch.setattr(pooch, "retrieve", None)
    with pytest.raises(FileNotFoundError) as info:
        LOADERS[folder](data_home=tmp_path, download_if_missing=False)
    message = str(info.value)
    assert "train-images-idx3-ubyte is in the folder" in message
    assert str(tmp_path / folder) in message
    assert "/train-images-idx3-ubyte.gz" in message
    assert "download_if_missing=False" in message
    assert names_in(tmp_path) == []


def test_missing_pooch(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "skdeepclust\[data\]"') as info:
        load_mnist(data_home=tmp_path)
    assert "train-images-idx3-ubyte.gz" in str(info.value)
    assert str(tmp_path / "mnist") in str(info.value)


def test_files_at_hand_need_no_pooch(monkeypatch, home):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert load_mnist(data_home=home, verify=False).data.shape == (17, 28, 28)


@pytest.mark.parametrize(
    ("folder", "url"),
    [
        ("mnist", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        ("fashion-mnist", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
    ],
)
@pytest.mark.parametrize("error", [OSError("no route to host"), ValueError("wrong hash")])
def test_failed_download(monkeypatch, tmp_path, folder, url, error):
    calls = []

    def retrieve(*args, **kwargs):
        calls.append((args, kwargs))
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(OSError, match=str(error)) as info:
        LOADERS[folder](subset="test", data_home=tmp_path)
    message = str(info.value)
    name = "t10k-images-idx3-ubyte.gz"
    for part in (name, url + name, str(tmp_path / folder), "download_if_missing=False"):
        assert part in message
    assert info.value.__cause__ is error
    source = {"mnist": _mnist._MNIST, "fashion-mnist": _mnist._FASHION_MNIST}[folder]
    md5 = source.checksums["t10k-images-idx3-ubyte"].gz_md5
    assert calls == [
        ((url + name,), {"known_hash": f"md5:{md5}", "fname": name, "path": tmp_path / folder})
    ]


def test_download(server, tiny_mnist, tmp_path, arrays, contents):
    url, _ = server
    tiny_mnist(url)
    bunch = load_mnist(data_home=tmp_path / "new" / "home")
    folder = tmp_path / "new" / "home" / "mnist"
    assert names_in(folder) == sorted(f"{name}.gz" for name in contents)
    images = np.concatenate([arrays["train"][0], arrays["t10k"][0]])
    np.testing.assert_array_equal(bunch.data, images, strict=True)
    again = load_mnist(data_home=tmp_path / "new" / "home", download_if_missing=False)
    np.testing.assert_array_equal(again.target, bunch.target)


def test_download_of_the_missing_file_only(server, tiny_mnist, home):
    url, served = server
    tiny_mnist(url)
    name = "t10k-labels-idx1-ubyte"
    (home / "mnist" / name).unlink()
    for path in served.iterdir():
        if path.name != f"{name}.gz":
            path.unlink()
    assert load_mnist(data_home=home).filenames[-1].endswith(f"{name}.gz")


@pytest.mark.parametrize("problem", ["absent", "cut", "changed"])
def test_broken_download_leaves_nothing(server, tiny_mnist, tmp_path, problem):
    url, served = server
    tiny_mnist(url)
    path = served / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    if problem == "absent":
        path.unlink()
    else:
        path.write_bytes(content[:-10] if problem == "cut" else gzip.compress(b"login page"))
    for _ in range(2):
        with pytest.raises(OSError, match=r"images-idx3-ubyte.gz could not be downloaded"):
            load_mnist(data_home=tmp_path)
        assert names_in(tmp_path / "mnist") == []
    path.write_bytes(content)
    assert load_mnist(data_home=tmp_path).data.shape == (17, 28, 28)


def test_refused_connection(tiny_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    tiny_mnist("http://127.0.0.1:9/")
    with pytest.raises(OSError, match=r"from http://127.0.0.1:9/train-images-idx3-ubyte.gz"):
        load_mnist(data_home=tmp_path)
    assert names_in(tmp_path / "mnist") == []
