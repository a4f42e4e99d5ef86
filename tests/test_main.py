"""The command line."""

import collections
import csv
import errno
import io
import os
import runpy
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import skdeepclust
from skdeepclust.__main__ import main
from skdeepclust._training import _checkpoint
from skdeepclust._training._run import Run
from skdeepclust.datasets import ImageFolder, _image_folder
from skdeepclust.networks._pretrained import Pretrained


@pytest.fixture(scope="module")
def photos(images, digits, tmp_path_factory):
    """150 images, in a sub-folder a digit."""
    home = tmp_path_factory.mktemp("photos")
    for number, (image, digit) in enumerate(zip(images[:150], digits[1], strict=False)):
        (home / str(digit)).mkdir(exist_ok=True)
        Image.fromarray(15 * image).save(home / str(digit) / f"{number:03}.png")
    return home


def run(folder, out, *more, n_clusters=3, max_epochs=3):
    words = [folder, "--n-clusters", n_clusters, "--size", 8, "--grey", "--quiet", "--out", out]
    return main([*map(str, words), "--set", f"max_epochs={max_epochs}", "n_init=1", *more])


def rows(out):
    with open(out / "labels.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_labels_report_and_model(photos, tmp_path, capsys):
    (photos / "3" / "broken.png").write_bytes(b"no image")
    try:
        assert run(photos, tmp_path / "out") == 0
    finally:
        (photos / "3" / "broken.png").unlink()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "warning: Left out of" in captured.err and "broken.png" in captured.err
    folder = ImageFolder(photos, (8, 8), mode="L")
    model = skdeepclust.load(tmp_path / "out" / "model.skdc")
    assert type(model) is skdeepclust.DeepClustering and model.random_state == 0
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == list(folder.paths)
    assert [int(row["label"]) for row in found] == model.predict(folder).tolist()
    probabilities = [float(row["probability"]) for row in found]
    np.testing.assert_allclose(probabilities, model.predict_proba(folder).max(1), atol=1e-4)
    scores = [float(row["outlier_score"]) for row in found]
    np.testing.assert_allclose(scores, model.outlier_scores_, atol=1e-4)
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "3 clusters</h1>" in page and "Classes and clusters" in page
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "labels.csv", "model.skdc", "report",
    }  # fmt: skip


def test_number_that_is_found_and_folders_of_clusters(photos, tmp_path, capsys):
    assert run(photos, tmp_path, "--export", "copy", n_clusters="auto") == 0
    model = skdeepclust.load(tmp_path / "model.skdc")
    assert model.n_clusters == "auto"
    found = rows(tmp_path)
    assert {int(row["label"]) for row in found} <= set(range(model.n_clusters_))
    copies = sorted(path.name for path in (tmp_path / "clusters").rglob("*.png"))
    assert copies == sorted(Path(row["path"]).name for row in found)
    assert not list(tmp_path.glob("checkpoint.pt*"))
    assert run(photos, tmp_path, "--export", "symlink") == 2
    assert "images of a former run, and is not overwritten" in capsys.readouterr().err
    assert run(photos, tmp_path) == 2  # they would stand beside other labels
    assert "images of a former run, and is not overwritten" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "clusters")
    assert run(photos, tmp_path, "--method", "dac", n_clusters="auto") == 2
    assert "'n_clusters' parameter" in capsys.readouterr().err


def test_other_methods_and_progress(photos, tmp_path, capsys):
    words = [photos, "--n-clusters", 3, "--size", 8, "--method", "triplet", "--out", tmp_path]
    assert main([*map(str, words), "--set", "max_epochs=1", "kmeans_n_init=2"]) == 0
    assert type(skdeepclust.load(tmp_path / "model.skdc")) is skdeepclust.TripletClustering
    captured = capsys.readouterr()
    assert "150 images in" in captured.out and str(tmp_path / "labels.csv") in captured.out
    assert "epoch 1/1" in captured.err


def test_a_name_that_the_terminal_does_not_show(photos, tmp_path, monkeypatch):
    folder = tmp_path / "фото"
    shutil.copytree(photos, folder)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="cp1252"))
    words = [folder, "--n-clusters", 3, "--size", 8, "--out", tmp_path / "out"]
    assert main([*map(str, words), "--set", "max_epochs=1", "n_init=1"]) == 0
    sys.stdout.flush()
    assert rb"\u0444\u043e\u0442\u043e" in shown.getvalue()
    assert len(rows(tmp_path / "out")) == 150


def test_arguments_and_folders_that_are_no_good(photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_text("no image")
    for arguments, message in [
        ((tmp_path / "none", tmp_path / "out"), "path must be a folder; got"),
        ((tmp_path / "empty", tmp_path / "out"), "there are none"),
        ((tmp_path / "text", tmp_path / "out"), "none can be read: a.png (no image that Pillow"),
        ((photos, tmp_path / "out", "lr=-1"), "The 'lr' parameter of DeepClustering must be"),
        ((photos, tmp_path / "out", "kittens=3"), "DeepClustering has no such parameter\n"),
        ((photos, tmp_path / "out", "max_epoch=3"), "no such parameter; it has max_epochs"),
        ((photos, tmp_path / "out", "lr__foo=3"), "DeepClustering has no such parameter"),
        ((photos, tmp_path / "out", "n_clusters=5"), "must be given as --n-clusters"),
    ]:
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err
    assert run(photos, tmp_path / "out", n_clusters=151) == 2
    assert "n_samples=150 should be >= n_clusters=151" in capsys.readouterr().err
    no_number = ["x", "--n-clusters", "foo"]
    for words in (["x"], no_number, [*no_number[:2], "3", "--method", "y"], ["--set", "lr"]):
        with pytest.raises(SystemExit) as info:
            main(words)
        assert info.value.code == 2
    assert "must be an integer or auto; got 'foo'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as info:
        main(["--version"])
    assert info.value.code == 0
    assert capsys.readouterr().out.strip() == skdeepclust.__version__


def test_what_can_not_be_had_is_said_before_images_are_read(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr("skdeepclust.__main__.ImageFolder")
    for option, value in (("--device", "foo"), ("--features", "nosuch")):
        assert run(photos, tmp_path / "out", option, value) == 2
        assert value in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert run(photos, tmp_path / "out") == 2
    assert 'pip install "skdeepclust[model]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bad_dropout_is_no_file_to_remove(photos, tmp_path, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("dropout=2 must be in [0, 1)")

    monkeypatch.setattr(skdeepclust.DeepClustering, "fit", refuse)
    assert run(photos, tmp_path / "out") == 2
    assert capsys.readouterr().err == "error: dropout=2 must be in [0, 1)\n"


def test_a_changed_setting_says_what_to_remove(photos, tmp_path, capsys, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(skdeepclust.DeepClustering, "predict_proba", stop)
        assert run(photos, tmp_path / "out", max_epochs=1) == 130
    capsys.readouterr()
    assert run(photos, tmp_path / "out", max_epochs=2) == 2
    assert f"Remove it from {tmp_path / 'out'}, or give another --out" in capsys.readouterr().err


def test_what_can_not_be_written(photos, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    assert run(photos, tmp_path / "file") == 3
    assert f"error: {tmp_path / 'file'}: File exists" in capsys.readouterr().err

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "model.skdc"))

    monkeypatch.setattr(skdeepclust, "save", full)
    assert run(photos, tmp_path / "out") == 3
    assert "model.skdc: No space left on device" in capsys.readouterr().err
    assert list((tmp_path / "out").glob("checkpoint.pt*"))  # so that nothing is trained again


def test_a_result_is_not_replaced(photos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert run(photos, out, max_epochs=1) == 0
    before = (out / "model.skdc").read_bytes()
    assert run(photos, out, max_epochs=2) == 2
    assert "holds the result of a former run" in capsys.readouterr().err
    assert (out / "model.skdc").read_bytes() == before

    def fails(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "model.skdc")

    monkeypatch.setattr(skdeepclust, "save", fails)
    assert run(photos, out, "--overwrite", max_epochs=2) == 3
    assert not (out / "model.skdc").exists()  # beside labels that are not its own
    monkeypatch.undo()
    assert run(photos, out, "--overwrite", max_epochs=2) == 0
    assert len(skdeepclust.load(out / "model.skdc").history_) == 3


def test_each_image_is_decoded_twice(photos, tmp_path, monkeypatch):
    """To see which can be read, and for the fit and all that follows it; and the thumbnails."""
    decode, seen = _image_folder._decode, collections.Counter()

    def counted(path, *args):
        seen[path] += 1
        return decode(path, *args)

    monkeypatch.setattr(_image_folder, "_decode", counted)
    assert run(photos, tmp_path / "held", max_epochs=1) == 0
    assert set(seen.values()) == {2, 3}
    seen.clear()
    assert run(photos, tmp_path / "streamed", "memory_limit=100", max_epochs=1) == 0
    assert min(seen.values()) > 3
    assert rows(tmp_path / "held") == rows(tmp_path / "streamed")


def test_too_little_memory(photos, tmp_path, capsys, monkeypatch):
    def fails(*args):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(skdeepclust.DeepClustering, "fit", fails)
    assert run(photos, tmp_path) == 3
    assert (
        "too little memory: Unable to allocate 9 GiB. A smaller --size" in capsys.readouterr().err
    )


@pytest.mark.parametrize("kind", [torch.cuda.OutOfMemoryError, RuntimeError])
def test_too_little_memory_for_features(kind, photos, tmp_path, capsys, monkeypatch):
    message = "CUDA out of memory"

    def fails(*args):
        raise kind(message)

    network = Pretrained(torch.nn.Flatten(), (8, 8))
    monkeypatch.setattr("skdeepclust.features.load_pretrained", lambda name: network)
    monkeypatch.setattr("skdeepclust.features.Extraction.__call__", fails)
    words = [photos, "--n-clusters", 3, "--features", "timm:a", "--out", tmp_path, "--quiet"]
    assert main([*map(str, words)]) == 3
    assert "CUDA out of memory. A smaller --batch-size" in capsys.readouterr().err
    if kind is RuntimeError:
        message = "of another kind"
        with pytest.raises(RuntimeError, match="of another kind"):
            main([*map(str, words)])
    assert main([*map(str, words), "--batch-size", "0"]) == 2
    assert "'batch_size' parameter of FeatureExtractor must be" in capsys.readouterr().err
    assert run(photos, tmp_path, "--batch-size", "5") == 2
    assert "--batch-size is of the network of --features" in capsys.readouterr().err


def test_all_images_are_predicted_once(photos, tmp_path, monkeypatch):
    predict, seen = skdeepclust.DeepClustering.predict_proba, []

    def counted(self, X):
        seen.append(len(X))
        return predict(self, X)

    monkeypatch.setattr(skdeepclust.DeepClustering, "predict_proba", counted)
    assert run(photos, tmp_path, max_epochs=1) == 0
    assert seen == [150]
    settings = (tmp_path / "report" / "index.html").read_text().partition("Settings")[2]
    assert "<code>(8, 8)</code>" in settings and "<code>&#x27;L&#x27;</code>" in settings


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_no_text(photos, tmp_path, capsys):
    folder = shutil.copytree(photos / "3", tmp_path / "photos")
    shutil.copy(next(folder.iterdir()), os.path.join(os.fsencode(folder), b"bad\xff.png"))
    assert run(folder, tmp_path / "out", max_epochs=1) == 0
    assert "The names of 1 files are no UTF-8" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "out" / "labels.csv")
    paths = [
        path.replace("\udcff", "\\udcff") for path in ImageFolder(folder, (8, 8), mode="L").paths
    ]
    assert table["path"].tolist() == paths


def test_the_first_epoch_is_saved(photos, tmp_path, capsys, monkeypatch):
    """Though it has taken no minute."""
    train, n_epochs, stops = Run._train_one_epoch, [], []

    def then_stop(self, engine):
        if len(n_epochs) in stops:
            raise KeyboardInterrupt
        train(self, engine)
        n_epochs.append(1)

    monkeypatch.setattr(Run, "_train_one_epoch", then_stop)
    for stop, message in [(0, "\nStopped.\n"), (2, "goes on from the last epoch")]:
        stops[:] = [stop]
        assert run(photos, tmp_path / "out", max_epochs=4) == 130
        assert message in capsys.readouterr().err
    stops.clear()
    assert run(photos, tmp_path / "out", max_epochs=4) == 0
    assert len(n_epochs) == 2 + 4  # of 4 and one of refinement all but the first


def test_goes_on_after_an_interruption(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    save, saved = _checkpoint.Checkpoint.save, []

    def then_stop(self, state):
        save(self, state)
        saved.append(len(state["history"]))
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(_checkpoint.Checkpoint, "save", then_stop)
    assert run(photos, tmp_path / "out", max_epochs=4) == 130
    assert "The same command goes on from the last epoch" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.pt"]
    assert run(photos, tmp_path / "out", max_epochs=4) == 0
    n_saved = len(saved)
    assert run(photos, tmp_path / "undisturbed", max_epochs=4) == 0
    assert n_saved - 2 == len(saved) - n_saved - 2  # two epochs fewer the second time
    assert rows(tmp_path / "out") == rows(tmp_path / "undisturbed")
    model = skdeepclust.load(tmp_path / "out" / "model.skdc")
    assert len(model.history_) == 5


def test_only_own_files_are_removed(photos, tmp_path):
    others = [tmp_path / name for name in ("checkpoint.pth", "checkpoint.pt.bak")]
    for path in others:
        path.write_text("a user's")
    assert run(photos, tmp_path, "--method", "dac", max_epochs=1) == 0
    assert all(path.exists() for path in others)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_copies_of_a_former_run_are_not_clustered(tmp_path, photos, capsys):
    folder = shutil.copytree(photos, tmp_path / "photos")
    assert run(folder, folder / "out", "--export", "copy", max_epochs=1) == 2
    assert "where the next run would take them for others" in capsys.readouterr().err
    assert run(folder, tmp_path / "out", "--export", "copy", max_epochs=1) == 0
    assert run(folder, tmp_path / "out", "--overwrite", max_epochs=1) == 2
    assert "images of a former run" in capsys.readouterr().err


def test_features_of_a_pretrained_network(photos, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("skdeepclust.__main__.cpu_count", lambda: 4)

    class Extractor:
        def __init__(self, network, **parameters):
            self.asked = network, parameters

        def _validate_params(self):
            asked.clear()  # before the images are read

        def _pretrained(self):
            return Pretrained(None, (10, 12))

        def transform(self, folder):
            asked.append((*self.asked, folder[0].shape))
            values = np.stack([folder[i].ravel() for i in range(len(folder))])
            return values[:, :64:2].astype("float32")

    monkeypatch.setattr(skdeepclust, "FeatureExtractor", Extractor, raising=False)
    assert run(photos, tmp_path, "--features", "timm:resnet18") == 0
    ((network, parameters, shape),) = asked
    assert shape == (1, 8, 8)
    assert network == "timm:resnet18" and parameters["out"] == tmp_path / "features.npy"
    assert parameters["num_workers"] == 3 and "batch_size" not in parameters
    model = skdeepclust.load(tmp_path / "model.skdc")
    assert model.input_shape_ == (32,)
    assert isinstance(model, skdeepclust.SCANClustering)
    assert set(model.history_[:, "phase"]) == {
        "scan",
        "self-labelling",
    }  # of the features as they are
    page = (tmp_path / "report" / "index.html").read_text()
    assert "data:image/png" in page  # the images, not their features
    assert "3 clusters by timm:resnet18</h1>" in page and "<code>(8, 8)</code>" in page
    words = [photos, "--model", tmp_path / "model.skdc", "--out", tmp_path / "new", "--quiet"]
    assert main([*map(str, words), "--features", "timm:resnet18", "--size", "8", "--grey"]) == 0
    assert [row["label"] for row in rows(tmp_path / "new")] == [r["label"] for r in rows(tmp_path)]
    assert main([*map(str, words)]) == 2
    assert "whose network --features must name" in capsys.readouterr().err
    words = [str(photos), "--n-clusters", "3", "--features", "timm:resnet18", "--quiet"]
    more = ["--batch-size", "5", "--out", str(tmp_path / "size")]
    assert main([*words, *more, "--set", "max_epochs=1", "n_init=1"]) == 0
    assert asked[-1][1]["batch_size"] == 5 and asked[-1][2] == (3, 10, 12)  # as the network has it
    words[words.index("3")] = "auto"
    assert main([*words, "--out", str(tmp_path / "auto"), "--set", "max_epochs=1"]) == 0
    found = skdeepclust.load(tmp_path / "auto" / "model.skdc")
    assert isinstance(found, skdeepclust.TEMIClustering)


def test_example(digits, tmp_path, monkeypatch, capsys):
    import matplotlib.pyplot as plt
    import sklearn.datasets

    few = types.SimpleNamespace(images=digits[0][:100], target=digits[1][:100])
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: few)
    words = ["plot_folder", "--output", str(tmp_path / "all"), "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "plot_folder.py"))
    assert "three more images are in clusters" in capsys.readouterr().out
    assert (tmp_path / "all" / "montage.png").stat().st_size > 0
    plt.close("all")
    assert len(rows(tmp_path / "all" / "result")) == 100


def test_other_images_by_the_model(photos, tmp_path, capsys):
    assert run(photos, tmp_path / "out") == 0
    model = tmp_path / "out" / "model.skdc"
    some = tmp_path / "some"
    shutil.copytree(photos / "3", some)
    words = [some, "--model", model, "--out", tmp_path / "new", "--export", "copy", "--quiet"]
    assert main([*map(str, words)]) == 0
    fitted = skdeepclust.load(model)
    folder = ImageFolder(some, (8, 8), mode="L")
    found = rows(tmp_path / "new")
    assert [int(row["label"]) for row in found] == fitted.predict(folder).tolist()
    scores = [float(row["outlier_score"]) for row in found]
    np.testing.assert_allclose(scores, -fitted.score_samples(folder), atol=1e-4)
    assert sorted(path.name for path in (tmp_path / "new" / "clusters").rglob("*.png")) == sorted(
        path.name for path in some.iterdir()
    )
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "clusters", "labels.csv", "report",
    }  # fmt: skip
    for more, message in [
        (["--out", tmp_path / "out"], "has the labels of the fit"),
        (["--size", 16], "--size is the model's"),
        (["--features", "timm:resnet18"], "was fitted to images"),
    ]:
        assert main([*map(str, [some, "--model", model, *more])]) == 2
        assert message in capsys.readouterr().err
    skdeepclust.save(skdeepclust.TEMIClustering(3), tmp_path / "unfitted.skdc")
    assert main([str(some), "--model", str(tmp_path / "unfitted.skdc")]) == 2
    assert "is no fitted clusterer" in capsys.readouterr().err
