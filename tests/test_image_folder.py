"""ImageFolder: real files of every kind, written with Pillow."""

import gc
import os
import pickle
import struct
import sys
import threading
import warnings
import zlib

import joblib
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.model_selection import GridSearchCV
from torch.utils.data import DataLoader

from skdeepclust import AutoencoderClustering, select_n_clusters
from skdeepclust.datasets import ImageFolder, _image_folder

SIZE = (24, 40)


@pytest.fixture(scope="module")
def upright():
    """A smooth RGB picture of 24x40 pixels that is not like itself when turned or mirrored."""
    y, x = np.mgrid[:24, :40]
    return np.stack([6 * x, 10 * y, 255 - 3 * x - 5 * y], axis=2).astype(np.uint8)


def save(values, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def single(path, size=SIZE, mode="RGB"):
    folder = ImageFolder(path.parent, size, mode=mode)
    assert folder.paths.tolist() == [str(path)]
    return folder[0]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def folder(tmp_path, upright):
    """A folder with eight images in two sub-folders."""
    for i in range(8):
        save(np.roll(upright, i, axis=1), tmp_path / "ab"[i % 2] / f"{i}.png")
    return tmp_path


# What a folder is


def test_dataset(folder, upright):
    images = ImageFolder(folder, SIZE)
    assert len(images) == 8
    assert images.shape == (8, 3, *SIZE)
    assert images.dtype == np.uint8
    expected = [np.roll(upright, i, axis=1).transpose(2, 0, 1) for i in (0, 2, 4, 6, 1, 3, 5, 7)]
    for i, image in enumerate(expected):
        np.testing.assert_array_equal(images[i], image, strict=True)
        np.testing.assert_array_equal(images[np.int64(i - 8)], image)
    np.testing.assert_array_equal(np.asarray(images), expected)
    assert images[0].flags.c_contiguous and images[0].flags.writeable
    for index in (8, -9):
        with pytest.raises(IndexError):
            images[index]
    with pytest.raises(TypeError):
        images[1.0]


def test_rows_are_a_folder(folder):
    folder = ImageFolder(folder, SIZE)
    rows = np.array([6, 1, 1])
    for part in (folder[rows], folder[rows.tolist()], folder[rows, ...]):
        assert isinstance(part, ImageFolder)
        assert part.paths.tolist() == folder.paths[rows].tolist()
        assert part.labels.tolist() == folder.labels[rows].tolist()
        assert part.shape == (3, *folder.shape[1:])
        np.testing.assert_array_equal(part[0], folder[6])
    assert len(folder[2:5]) == 3
    assert len(folder[folder.labels == 1]) == 4
    assert len(folder) == 8


def test_searches_take_folders(folder):
    folder = ImageFolder(folder, SIZE)
    model = AutoencoderClustering(2, n_init=1, max_epochs=1, hidden_sizes=(8,), random_state=0)
    search = GridSearchCV(model, {"lr": [1e-3, 1e-2]}, cv=2).fit(folder)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    np.testing.assert_array_equal(
        search.predict(folder), search.predict(np.stack([folder[i] for i in range(8)]))
    )
    found = select_n_clusters(model, folder, [2], n_splits=1, random_state=0)
    assert np.isfinite(found.strength).all()


def test_nothing_is_kept(folder, upright):
    images = ImageFolder(folder, SIZE)
    images[0][:] = 0
    save(255 - upright, folder / "a" / "0.png")
    np.testing.assert_array_equal(images[0], 255 - upright.transpose(2, 0, 1))


def test_grey(tmp_path, upright):
    save(upright, tmp_path / "1.png")
    images = ImageFolder(tmp_path, SIZE, mode="L")
    assert images.shape == (1, 1, *SIZE)
    luma = upright @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(images[0], luma[None], atol=1)
    assert images[0].flags.writeable  # torch warns otherwise


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_data_loader_in_two_processes(folder):
    images = ImageFolder(folder, SIZE)
    loader = DataLoader(images, batch_size=3, num_workers=2, multiprocessing_context="spawn")
    got = torch.cat(list(loader))
    assert got.dtype == torch.uint8
    np.testing.assert_array_equal(got, np.stack(list(images)))


def test_pickle(folder):
    images = ImageFolder(folder, SIZE, mode="L")
    again = pickle.loads(pickle.dumps(images))
    assert vars(again).keys() == vars(images).keys()
    np.testing.assert_array_equal(again.paths, images.paths)
    assert again.shape == images.shape
    np.testing.assert_array_equal(again[5], images[5])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_threads_find_the_same(folder, n_jobs):
    for i in range(0, 8, 2):
        truncate(folder / "a" / f"{i}.png")
    with pytest.warns(UserWarning, match="Left out of") as caught:
        images = ImageFolder(folder, SIZE, n_jobs=n_jobs)
    names = [text.strip().partition(" (")[0] for text in str(caught[0].message).split(",")[1:]]
    assert names[1:] == [os.path.join("a", f"{i}.png") for i in (2, 4, 6)]
    assert images.paths.tolist() == [str(folder / "b" / f"{i}.png") for i in (1, 3, 5, 7)]


def test_n_jobs_threads_at_a_time(tmp_path, upright, monkeypatch):
    for name in ("1.png", "2.png"):
        save(upright, tmp_path / name)
    decode = _image_folder._decode
    both = threading.Barrier(2)
    calls = []

    def decode_with_another(*args):
        calls.append(args)
        both.wait(10)
        return decode(*args)

    monkeypatch.setattr(_image_folder, "_decode", decode_with_another)
    assert len(ImageFolder(tmp_path, SIZE, n_jobs=2)) == 2
    with joblib.parallel_config("threading", n_jobs=2):
        assert len(ImageFolder(tmp_path, SIZE, n_jobs=None)) == 2
    assert len(calls) == 4
    both.abort()
    with pytest.raises(ValueError, match=r"BrokenBarrierError.*BrokenBarrierError"):
        ImageFolder(tmp_path, SIZE)


def test_all_threads_by_default(folder, monkeypatch):
    parallel, asked = _image_folder.Parallel, []

    def spy(n_jobs, **settings):
        asked.append(n_jobs)
        return parallel(n_jobs=n_jobs, **settings)

    monkeypatch.setattr(_image_folder, "Parallel", spy)
    assert len(ImageFolder(folder, SIZE)) == 8
    assert asked == [-1]


def test_progress_bar(folder, capsys):
    ImageFolder(folder, SIZE)
    assert capsys.readouterr().err == ""
    ImageFolder(folder, SIZE, verbose=1)
    assert "8/8" in capsys.readouterr().err


def test_no_file_stays_open(tmp_path, upright):
    frames = [Image.fromarray(upright), Image.fromarray(255 - upright)]
    for name in ("1.gif", "2.tif", "3.png", "4.webp"):  # Pillow leaves those with frames open
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "5.jpg")
    for name in ("6.gif", "7.tif", "8.png", "9.jpg"):
        frames[0].save(tmp_path / name)
        truncate(tmp_path / name)
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = ImageFolder(tmp_path, SIZE)
        for image in images:
            assert image.shape == (3, *SIZE)
        gc.collect()
    assert len(images) == 5
    assert [warning.category for warning in caught] == [UserWarning]


# Which files


def test_order_suffixes_and_hidden_files(tmp_path, upright):
    names = ["B.JPG", "a.Png", "z.tiff", "b/2.jpeg", "b/10.png", "b/c/1.webp", "C/1.bmp", "C/1.gif"]
    for name in names:
        save(upright, tmp_path / name)
    for name in (".hidden.png", ".git/1.png", "b/.thumbs/1.png", "b/._2.png"):
        save(upright, tmp_path / name)
    for name in ("notes.txt", "png", "b/1.png.part", "b/1.npy"):
        (tmp_path / name).write_text("no image")
    images = ImageFolder(tmp_path, SIZE)
    in_order = ["B.JPG", "a.Png", "z.tiff", "C/1.bmp", "C/1.gif", "b/10.png", "b/2.jpeg"]
    assert images.paths.tolist() == [str(tmp_path / name) for name in [*in_order, "b/c/1.webp"]]


def test_order_is_not_that_of_the_file_system(tmp_path, upright, monkeypatch):
    for name in ("b/1.png", "b/2.png", "a/1.png", "2.png", "1.png"):
        save(upright, tmp_path / name)
    walk = os.walk

    def reversed_walk(*args, **options):
        for folder, folders, files in walk(*args, **options):
            folders.sort(reverse=True)
            yield folder, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", reversed_walk)
    names = [os.path.relpath(path, tmp_path) for path in ImageFolder(tmp_path, SIZE).paths]
    assert [name.replace(os.sep, "/") for name in names] == [
        *("1.png", "2.png", "a/1.png", "b/1.png", "b/2.png")
    ]


def test_home_and_names_of_all_kinds(tmp_path, upright, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("köln é 日.png", "with, (all) [kinds] 'of'.jpg"):
        save(upright, tmp_path / ".photos" / name)  # the folder asked for may be hidden
    assert len(ImageFolder("~/.photos", SIZE)) == 2


def test_links(tmp_path, upright):
    save(upright, tmp_path / "elsewhere" / "1.png")
    save(upright, tmp_path / "root" / "a" / "1.png")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "c").symlink_to(tmp_path / "elsewhere")
    images = ImageFolder(tmp_path / "root", SIZE)
    assert images.paths.tolist() == [str(tmp_path / "root" / c / "1.png") for c in "ab"]


def test_labels(tmp_path, upright):
    for name in ("cat/1.png", "cat/indoors/old/1.png", "zebra/1.png", "1.png"):
        save(upright, tmp_path / name)
    (tmp_path / "bird").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="broken"):
        images = ImageFolder(tmp_path, SIZE)
    assert images.label_names.tolist() == ["cat", "zebra"]
    np.testing.assert_array_equal(images.labels, np.array([-1, 0, 0, 1]), strict=True)
    for path, label in zip(images.paths, images.labels, strict=True):
        assert label == -1 or images.label_names[label] in path
    images = ImageFolder(tmp_path / "cat" / "indoors" / "old", SIZE)
    assert images.labels is None and images.label_names is None


def test_labels_without_files_beside_the_folders(folder):
    images = ImageFolder(folder, SIZE)
    assert images.labels.dtype == np.int64
    assert images.label_names[images.labels].tolist() == ["a"] * 4 + ["b"] * 4


# What they hold


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("1.png", {}, 0),
        ("1.bmp", {}, 0),
        ("1.tif", {}, 0),
        ("1.tif", {"compression": "tiff_lzw"}, 0),
        ("1.webp", {"lossless": True}, 0),
        ("1.webp", {"quality": 95}, 12),
        ("1.jpg", {"quality": 95}, 12),
        ("1.jpg", {"quality": 95, "progressive": True}, 12),
        ("1.jfif", {"quality": 95, "format": "JPEG"}, 12),
        ("1.gif", {}, 40),  # 256 colours
        ("1.png", {"format": "JPEG", "quality": 95}, 12),  # the suffix is wrong
    ],
)
def test_formats(tmp_path, upright, name, options, tolerance):
    save(upright, tmp_path / name, **options)
    np.testing.assert_allclose(
        single(tmp_path / name), upright.transpose(2, 0, 1).astype(int), atol=tolerance
    )


@pytest.mark.parametrize("name", ["1.gif", "1.tif", "1.webp", "1.png", "1.jpg"])
def test_first_frame(tmp_path, name):
    frames = [Image.new("RGB", (40, 24), colour) for colour in ("red", "blue")]
    # many phones write MPO
    options = {"1.jpg": {"format": "MPO"}, "1.webp": {"lossless": True}}.get(name, {})
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 2
    image = single(tmp_path / name)
    np.testing.assert_allclose(image[:, 3, 3].astype(int), [255, 0, 0], atol=3)
    assert np.ptp(image, axis=(1, 2)).max() == 0


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", ["I;16", "I;16B", "I", "png"])
def test_16_bits(tmp_path, kind, mode):
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    values[0, :4] = 65535, 257, 128, 129
    if kind == "I;16B":
        image = Image.frombytes(kind, (32, 32), values.astype(">u2").tobytes())
    else:
        image = Image.fromarray(values.astype(np.int32) if kind == "I" else values)
    path = tmp_path / ("1.png" if kind == "png" else "1.tif")
    image.save(path)
    if kind != "png":
        with Image.open(path) as image:
            assert image.mode == kind
    got = single(path, (32, 32), mode)
    assert got[0, 0, :4].tolist() == [255, 1, 0, 1]
    for channel in got:
        np.testing.assert_array_equal(channel, np.rint(values / 257))


def test_16_bits_whose_white_is_zero(tmp_path, upright):
    values = upright[..., 0] * np.uint16(257)
    save(values, tmp_path / "1.tif")
    tag = struct.Struct("<HHIHH").pack  # PhotometricInterpretation, one short integer
    content = (tmp_path / "1.tif").read_bytes()
    assert content.count(tag(262, 3, 1, 1, 0)) == 1
    (tmp_path / "1.tif").write_bytes(content.replace(tag(262, 3, 1, 1, 0), tag(262, 3, 1, 0, 0)))
    np.testing.assert_array_equal(single(tmp_path / "1.tif", mode="L")[0], 255 - upright[..., 0])


def test_16_bit_colour(tmp_path):
    """PNG by hand, for Pillow does not write it."""
    values = np.random.default_rng(0).integers(0, 65536, (24, 40, 3))
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]:
        crc = zlib.crc32(kind + data)
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
    (tmp_path / "1.png").write_bytes(content)
    np.testing.assert_array_equal(single(tmp_path / "1.png"), values.transpose(2, 0, 1) // 256)


@pytest.mark.parametrize("beyond", [-1, 65536])
def test_integers_beyond_16_bits_are_left_out(tmp_path, upright, beyond):
    values = np.full((24, 40), 1000, dtype=np.int32)
    values[3, 3] = beyond
    save(values, tmp_path / "deep.tif")
    save(upright, tmp_path / "1.png")
    with pytest.warns(UserWarning, match=rf"deep.tif \(integers from .*{beyond}.*beyond 16 bits"):
        assert len(ImageFolder(tmp_path, SIZE)) == 1


def test_floats_are_left_out(tmp_path, upright):
    save(upright[..., 0] / np.float32(255), tmp_path / "float.tif")
    save(upright, tmp_path / "1.png")
    with pytest.warns(UserWarning, match=r"float.tif \(floats, whose black and white"):
        assert len(ImageFolder(tmp_path, SIZE)) == 1


def test_black_and_white_and_cmyk(tmp_path):
    values = np.zeros((24, 40), dtype=bool)
    values[:, 20:] = True
    save(values, tmp_path / "1.png")
    np.testing.assert_array_equal(single(tmp_path / "1.png"), np.stack([values * 255] * 3))
    Image.new("CMYK", (40, 24), (0, 255, 255, 0)).save(tmp_path / "1.png", "JPEG")
    assert np.abs(single(tmp_path / "1.png")[:, 5, 5] - np.array([255, 0, 0])).max() <= 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_palette(tmp_path, mode):
    index = np.repeat([[0, 1, 2, 1]], 24, axis=0).repeat(10, axis=1).astype(np.uint8)
    colours = np.array([[200, 10, 30], [0, 250, 0], [90, 90, 255]], dtype=np.uint8)
    image = Image.fromarray(index)
    image.putpalette(colours.flatten().tolist())
    assert image.mode == "P"
    image.save(tmp_path / "1.png")
    expected = colours[index].transpose(2, 0, 1)
    if mode == "L":
        expected = np.tensordot([0.299, 0.587, 0.114], expected, 1)[None]
    np.testing.assert_allclose(single(tmp_path / "1.png", mode=mode), expected, atol=mode == "L")


@pytest.mark.parametrize("name", ["1.png", "1.gif"])
def test_palette_with_transparency(tmp_path, name):
    index = np.repeat([[0, 1]], 24, axis=0).repeat(20, axis=1).astype(np.uint8)
    image = Image.fromarray(index)
    image.putpalette([200, 10, 30, 0, 250, 0])
    image.save(tmp_path / name, transparency=1)
    got = single(tmp_path / name)
    assert got[:, 5, 5].tolist() == [200, 10, 30]
    assert got[:, 5, 35].tolist() == [255, 255, 255]
    # half transparent, which PNG alone can
    image.save(tmp_path / "1.png", transparency=bytes([128, 0]))
    (tmp_path / "1.gif").unlink(missing_ok=True)
    np.testing.assert_allclose(single(tmp_path / "1.png")[:, 5, 5], [227, 132, 142], atol=1)


@pytest.mark.parametrize("name", ["1.png", "1.tif", "1.webp"])
def test_alpha_is_put_on_white(tmp_path, name):
    image = Image.new("RGBA", (40, 24), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 10, 24))
    image.paste((0, 0, 255, 102), (10, 0, 20, 24))
    image.save(tmp_path / name, **({"lossless": True} if name == "1.webp" else {}))
    got = single(tmp_path / name)
    assert got[:, 5, 5].tolist() == [255, 0, 0]
    np.testing.assert_allclose(got[:, 5, 15], [153, 153, 255], atol=1)
    assert got[:, 5, 30].tolist() == [255, 255, 255]


def test_grey_with_alpha_and_one_transparent_colour(tmp_path):
    Image.new("LA", (40, 24), (0, 51)).save(tmp_path / "1.png")
    np.testing.assert_allclose(single(tmp_path / "1.png")[:, 5, 5], [204] * 3, atol=1)
    assert single(tmp_path / "1.png", mode="L").shape == (1, *SIZE)
    image = Image.new("RGB", (40, 24), "blue")
    image.paste("black", (0, 0, 20, 24))
    image.save(tmp_path / "1.png", transparency=(0, 0, 0))
    assert single(tmp_path / "1.png")[:, 5, (5, 35)].T.tolist() == [[255] * 3, [0, 0, 255]]


def as_stored(upright, orientation):
    """Store a picture as the EXIF standard says where its first row and column are seen."""
    turned = upright.swapaxes(0, 1)
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: turned,
        6: turned[::-1],
        7: turned[::-1, ::-1],
        8: turned[:, ::-1],
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["1.png", "1.tif", "1.webp", "1.jpg"])
def test_orientation(tmp_path, upright, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"1.webp": {"lossless": True}, "1.jpg": {"quality": 95}}.get(name, {})
    stored = np.ascontiguousarray(as_stored(upright, orientation))
    save(stored, tmp_path / name, exif=exif, **options)
    expected = upright.transpose(2, 0, 1).astype(int)
    np.testing.assert_allclose(single(tmp_path / name), expected, atol=12 if name == "1.jpg" else 0)


@pytest.mark.parametrize("scale", [3, 8, 25])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_large_jpegs_are_as_in_full(tmp_path, mode, orientation, scale):
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    photo = np.asarray(Image.fromarray(noise).resize((40 * scale, 24 * scale)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(as_stored(photo, orientation))
    save(stored, tmp_path / "a" / "1.jpg", quality=98, subsampling=0, exif=exif)
    save(photo, tmp_path / "b" / "1.png")
    got, full = (single(tmp_path / n, mode=mode).astype(int) for n in ("a/1.jpg", "b/1.png"))
    assert np.abs(got - full).mean() < 3  # contrasts are of 85


def test_large_jpegs_are_not_decoded_in_full(tmp_path, monkeypatch):
    Image.new("RGB", (1000, 600)).save(tmp_path / "1.jpg")
    sizes = []
    fit = ImageOps.fit

    def spy(image, *args):
        sizes.append(image.size)
        return fit(image, *args)

    monkeypatch.setattr(ImageOps, "fit", spy)
    for size in (SIZE, (64, 200)):
        single(tmp_path / "1.jpg", size)
    assert sizes == [(250, 150)] * 2 + [(1000, 600)] * 2


# Resizing


def test_middle_is_kept_and_nothing_distorted(tmp_path):
    image = Image.new("RGB", (300, 100), "red")
    image.paste((0, 255, 0), (100, 0, 200, 100))
    image.save(tmp_path / "1.png")
    inner = np.s_[:, 1:-1, 1:-1]  # the outermost pixels are interpolated with what is cut off
    green = np.broadcast_to([[[0]], [[255]], [[0]]], (3, 30, 30))
    np.testing.assert_array_equal(single(tmp_path / "1.png", (32, 32))[inner], green)
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "1.png")
    np.testing.assert_array_equal(single(tmp_path / "1.png", (32, 32))[inner], green)
    got = single(tmp_path / "1.png", (48, 16))  # the whole
    assert got[:, 13, 8].tolist() == got[:, 34, 8].tolist() == [255, 0, 0]
    assert got[:, 18, 8].tolist() == got[:, 29, 8].tolist() == [0, 255, 0]


def test_antialiased(tmp_path):
    checkers = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    save(checkers, tmp_path / "1.png")
    np.testing.assert_allclose(single(tmp_path / "1.png", (16, 16), "L"), 127.5, atol=4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7)])
def test_small_images_are_enlarged(tmp_path, shape):
    save(np.full((*shape, 3), (9, 99, 199), dtype=np.uint8), tmp_path / "1.png")
    image = single(tmp_path / "1.png", (8, 64))
    np.testing.assert_array_equal(image, np.tile([[[9]], [[99]], [[199]]], (1, 8, 64)))


# What can't be read


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.bmp", "x.gif", "x.webp"])
def test_truncated(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    save(noise, tmp_path / name)
    save(noise, tmp_path / "whole.png")
    truncate(tmp_path / name)
    with pytest.warns(UserWarning, match=f"Left out of .*: {name} ") as caught:
        images = ImageFolder(tmp_path, (8, 8))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert images.paths.tolist() == [str(tmp_path / "whole.png")]
    assert len(images.left_out) == 1 and images.left_out[0].startswith(f"{name} (")


def test_truncated_large_jpeg_is_found_by_draft(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3)).astype(np.uint8)
    save(noise, tmp_path / "1.jpg")
    path = tmp_path / "2.jpg"
    save(noise, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.warns(UserWarning, match=r": 2.jpg \(image file is truncated"):
        assert len(ImageFolder(tmp_path, (16, 16))) == 1


def test_one_warning_names_ten(tmp_path, upright):
    for i in range(12):
        (tmp_path / f"{i:02}.png").write_text("some text")
    (tmp_path / "12.jpg").write_bytes(b"")
    save(upright, tmp_path / "13.png")
    (tmp_path / "14.png").symlink_to(tmp_path / "gone.png")
    with pytest.warns(UserWarning) as caught:
        images = ImageFolder(tmp_path, SIZE, n_jobs=2)
    assert len(images) == 1
    assert len(caught) == 1
    named = ", ".join(f"{i:02}.png (no image that Pillow can read)" for i in range(10))
    assert str(caught[0].message).endswith(f": {named} and 4 more. `left_out` has all.")
    assert len(images.left_out) == 14


def test_photos_of_formats_that_are_not_read_are_named(tmp_path, upright):
    (tmp_path / "1.HEIC").write_bytes(b"a phone's")
    named = r"read: 1\.HEIC \(convert it to JPEG or PNG\)"
    with pytest.raises(ValueError, match=f"none can be {named}"):
        ImageFolder(tmp_path, SIZE)
    save(upright, tmp_path / "2.png")
    with pytest.warns(UserWarning, match=f"they can't be {named}"):
        assert len(ImageFolder(tmp_path, SIZE)) == 1


def test_other_formats_are_not_tried(tmp_path, upright):
    """Pillow would hand PostScript to Ghostscript."""
    save(upright, tmp_path / "1.png")
    save(upright, tmp_path / "2.png", format="EPS")
    with pytest.warns(UserWarning, match=r": 2.png \(no image that Pillow can read\)\.$"):
        ImageFolder(tmp_path, SIZE)


def test_decompression_bombs_by_the_callers_limit(tmp_path, upright, monkeypatch):
    save(np.zeros((200, 200, 3), dtype=np.uint8), tmp_path / "bomb.png")
    save(upright, tmp_path / "1.png")
    assert len(ImageFolder(tmp_path, SIZE)) == 2
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(UserWarning, match=r"bomb.png \(Image size \(40000 pixels\) exceeds limit"):
        assert len(ImageFolder(tmp_path, SIZE)) == 1
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)  # Pillow warns from there, up to twice it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(ImageFolder(tmp_path, SIZE)) == 1
    categories = [warning.category for warning in caught]
    assert categories == [Image.DecompressionBombWarning, UserWarning]


def test_folder_that_cannot_be_listed(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match=r": b \(Permission denied\)\.$"):
        assert len(ImageFolder(folder, SIZE)) == 4


# Errors


def test_bad_path(tmp_path):
    with pytest.raises(ValueError, match=r"path must be a folder; got '.*none', which does not ex"):
        ImageFolder(tmp_path / "none")
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"path must be a folder; got '.*1.png', which is a file"):
        ImageFolder(str(tmp_path / "1.png"))


def test_no_image(tmp_path):
    with pytest.raises(ValueError, match=r"path must be a folder with images \(\.bmp, .*none\.$"):
        ImageFolder(tmp_path)
    (tmp_path / "1.png").write_text("some text")
    with pytest.raises(
        ValueError, match=r"none can be read: 1.png \(no image that Pillow can read\)\.$"
    ):
        ImageFolder(tmp_path)


@pytest.mark.parametrize(
    "size",
    [7, True, None, "64", (64,), (64, 64, 3), (0, 64), (64, 7), (-8, 8), (64.0, 64), ("64", 64)],
)
def test_bad_size(tmp_path, size):
    message = r"^size must be a side or \(height, width\), integers of at least 8; got"
    with pytest.raises(ValueError, match=message):
        ImageFolder(tmp_path, size)


def test_size_of_other_integers(folder):
    for size in (list(np.array([8, 16])), np.array([8, 16])):
        images = ImageFolder(folder, size)
        assert images.shape == (8, 3, 8, 16)
        assert all(type(n) is int for n in images.shape)
    assert ImageFolder(folder, 9).shape == ImageFolder(folder, np.int64(9)).shape == (8, 3, 9, 9)


@pytest.mark.parametrize("mode", ["RGBA", "rgb", "", None])
def test_bad_mode(tmp_path, mode):
    with pytest.raises(ValueError, match=r"^mode must be one of 'RGB', 'L'; got"):
        ImageFolder(tmp_path, mode=mode)


def test_without_pillow(tmp_path, monkeypatch):
    """It is said before files are looked for."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "skdeepclust\[images\]"'):
        ImageFolder(tmp_path)
