"""export_folder: clusters as folders of links or copies."""

import csv
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skdeepclust.datasets import ImageFolder, export_folder


def write(home, *names):
    paths = []
    for name in names:
        path = home / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        paths.append(path)
    return paths


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def rows(out):
    with open(out / "labels.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("mode", ["symlink", "copy"])
def test_files_go_to_their_labels(tmp_path, mode):
    paths = write(tmp_path, "a.png", "b.png", "sub/c, ü.png")
    out = export_folder(paths, np.array([1, 0, 1]), tmp_path / "out", mode=mode)
    assert out == tmp_path / "out"
    assert tree(out) == ["0", "0/b.png", "1", "1/a.png", "1/c, ü.png", "labels.csv"]
    for path, (given, label, place) in zip(paths, rows(out)[1:], strict=True):
        assert given == str(path)
        assert place.partition("/")[0] == label
        assert (out / place).read_bytes() == path.read_bytes()
        assert (out / place).is_symlink() == (mode == "symlink")
    assert rows(out)[0] == ["path", "label", "file"]


def test_links_hold_from_anywhere(tmp_path, monkeypatch):
    write(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    export_folder([os.path.join("photos", "a.png")], [0], "out")
    monkeypatch.chdir("/")
    assert (tmp_path / "out" / "0" / "a.png").read_bytes() == b"a.png"
    assert rows(tmp_path / "out")[1][0] == os.path.join("photos", "a.png")


def test_names_that_collide(tmp_path):
    names = ["a/1.png", "b/1.png", "c/1-2.png", "d/1.PNG", "e/1.png", "f/1.png", "g/2.tar.gz"]
    paths = write(tmp_path, *names)
    out = export_folder(paths, [0, 0, 0, 0, 0, 1, 0], tmp_path / "out")
    found = [place for _, _, place in rows(out)[1:]]
    assert found == [
        *("0/1.png", "0/1-2.png", "0/1-2-2.png", "0/1-3.PNG", "0/1-4.png"),
        *("1/1.png", "0/2.tar.gz"),
    ]
    assert len({place.casefold() for place in found}) == len(found)
    for name, place in zip(names, found, strict=True):
        assert (out / place).read_bytes() == name.encode()


def test_integers_sort_as_numbers(tmp_path):
    paths = write(tmp_path, *"abcd")
    out = export_folder(paths, [10, 9, -1, 0], tmp_path / "out")
    assert [place for _, _, place in rows(out)[1:]] == ["10/a", "09/b", "-1/c", "00/d"]
    assert [label for _, label, _ in rows(out)[1:]] == ["10", "9", "-1", "0"]


def test_names_in_a_table_of_pandas(tmp_path):
    paths = write(tmp_path, *"ab")
    out = export_folder(paths, pd.Series(["x", "y"], dtype=object), tmp_path / "out")
    assert [place for _, _, place in rows(out)[1:]] == ["x/a", "y/b"]
    with pytest.raises(ValueError, match="labels must be 2 integers or strings"):
        export_folder(paths, pd.Series(["x", None], dtype=object), tmp_path / "other")


def test_image_folder_reads_the_labels(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        Image.new("L", (8, 8), 40 * i).save(photos / f"{i}.png")
    folder = ImageFolder(photos, (8, 8))
    labels = np.array(["stripes", "dots", "dots", "stripes", "plain", "dots"])
    again = ImageFolder(export_folder(folder.paths, labels, tmp_path / "out"), (8, 8))
    assert len(again) == 6
    for i, path in enumerate(again.paths):
        before = folder.paths.tolist().index(os.path.realpath(path))
        assert again.label_names[again.labels[i]] == labels[before]


def test_nothing_is_overwritten(tmp_path):
    paths = write(tmp_path, "a.png")
    for name in ("folder", ".new.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    for name in ("folder", "file", "link", "new"):
        with pytest.raises(ValueError, match=r"out must be a new folder.*exists"):
            export_folder(paths, [0], tmp_path / name)
    assert tree(tmp_path) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    paths = write(tmp_path, "a.png", "b.png")
    copy = export_folder.__globals__["shutil"].copy2

    def fails(source, target):
        if source.endswith("b.png"):
            raise OSError("disk full")
        return copy(source, target)

    monkeypatch.setattr("shutil.copy2", fails)
    before = tree(tmp_path)
    with pytest.raises(OSError, match="disk full"):
        export_folder(paths, [0, 1], tmp_path / "out", mode="copy")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"labels": [0]}, r"labels must be 2 integers or strings.*shape \(1,\)"),
        ({"labels": [0.0, 1.0]}, "labels must be 2 integers or strings.*float64"),
        ({"labels": ["a/b", "c"]}, "labels must be names that a folder can have.*'a/b'"),
        ({"labels": ["..", "c"]}, r"names that a folder can have.*'\.\.'"),
        ({"labels": ["", "c"]}, "names that a folder can have.*got ''"),
        ({"labels": ["A", "a"]}, "differ by more than upper and lower case"),
        ({"labels": ["Labels.csv", "a"]}, "not 'labels.csv'"),
        ({"mode": "move"}, "mode must be one of 'symlink', 'copy'; got 'move'"),
        ({"out": "nowhere/out"}, "out must be a new folder.*there is no"),
        ({"paths": ["nowhere.png", "b.png"]}, "paths must be files; 2 are not, such as 'nowhere"),
    ],
)
def test_bad_input(tmp_path, changed, match):
    good = {"paths": write(tmp_path, "a.png", "b.png"), "labels": [0, 1], "mode": "copy"}
    before = tree(tmp_path)
    out = tmp_path / changed.get("out", "out")
    with pytest.raises(ValueError, match=match):
        export_folder(**{**good, **changed, "out": out})
    assert tree(tmp_path) == before
