"""The report of a clustering."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_common import FAST

import skdeepclust
from skdeepclust import DeepClustering, cluster_report, report
from skdeepclust.datasets import ImageFolder
from skdeepclust.samples import some_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning"
)


class Page(HTMLParser):
    """What is in a page: tags, their attributes, and the text in each."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.words.append((tag, ""))

    def handle_data(self, data):
        self.words.append((self.words[-1][0] if self.words else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def thumbnails(self):
        return [a for a in self.all("span") if a.get("role") == "img"]

    @property
    def data(self):
        return json.loads(re.search(r'id="data">(.*?)</script>', self.text, re.DOTALL)[1])

    def array(self, name, dtype):
        return np.frombuffer(base64.b64decode(self.data[name]), dtype)

    @property
    def sheets(self):
        """The images of the clusters."""
        found = re.findall(r"url\(data:image/(?:png|jpeg);base64,(.*?)\)", self.text)
        return [Image.open(io.BytesIO(base64.b64decode(sheet))) for sheet in found]

    def rows(self, heading):
        """The cells of the first table after a heading, without tags."""
        part = self.text.partition(f"<h2>{heading}</h2>")[2].partition("</table>")[0]
        cells = [re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row) for row in part.split("</tr>")[:-1]]
        return [[re.sub("<.*?>", "", cell) for cell in row] for row in cells]


@pytest.fixture(scope="module")
def model(images):
    return DeepClustering(**{**FAST, "max_epochs": 5}).fit(images)


def written(tmp_path, *args, **kwargs):
    return Page(cluster_report(*args, out=tmp_path, **kwargs).read_text("utf-8"))


def test_clusters_classes_and_settings(model, digits, images, tmp_path):
    y = digits[1][:200]
    page = written(tmp_path, model, images, y=y, title="a < b & c")
    assert "<h1>a &lt; b &amp; c</h1>" in page.text
    sizes = np.bincount(model.labels_, minlength=3)
    overview = page.rows("Clusters")[1:]
    assert [int(row[1]) for row in overview] == list(sizes)
    most = np.bincount(y[model.labels_ == 0]).argmax()
    assert overview[0][4:] == [str(most), f"{(y[model.labels_ == 0] == most).mean():.0%}"]
    confusion = page.rows("Classes and clusters")
    assert [row[0] for row in confusion[1:]] == list("0123456789")
    counts = [[int(cell or 0) for cell in row[1:4]] for row in confusion[1:]]
    expected = [[((y == c) & (model.labels_ == k)).sum() for k in range(3)] for c in range(10)]
    np.testing.assert_array_equal(counts, expected)
    accuracy = skdeepclust.metrics.clustering_accuracy_score(y, model.labels_)
    assert f"best match of clusters to classes {accuracy:.3f}" in page.text
    settings = dict(page.rows("Settings")[2:])
    assert settings == {
        "n_clusters": "3", "n_init": "1", "max_epochs": "5", "batch_size": "50",
        "random_state": "0",
    }  # fmt: skip
    assert f"score {model.score(images):.3f}" in page.text


def test_most_and_least_sure_images(model, images, tmp_path):
    page = written(tmp_path, model, images, n_images=5)
    sure = model.predict_proba(images).max(1)
    assert len(page.thumbnails) == 30
    for k in range(3):
        members = np.flatnonzero(model.labels_ == k)
        members = members[np.argsort(-sure[members], kind="stable")]
        expected = [f"{i}: {sure[i]:.2f}" for i in [*members[:5], *members[:-6:-1]]]
        own = [a for a in page.thumbnails if a["class"] == f"t s{k}"]
        assert [a["title"] for a in own] == expected
        assert own[6]["style"] == "background-position:-384px 0px"
        # the image that is there is the sample's
        tile = page.sheets[k].crop((384, 0, 448, 64)).resize((8, 8), Image.Resampling.NEAREST)
        shown = np.asarray(tile)[:, :, 0] / 255 * images.max()
        np.testing.assert_allclose(shown, images[members[-2]], atol=0.1)


def test_map(model, images, tmp_path):
    page = written(tmp_path, model, images)
    xy = page.array("xy", "<u2").reshape(-1, 2).astype(float)
    Z = model.transform(images)
    expected = np.linalg.svd(Z - Z.mean(0), full_matrices=False)[1][:2]
    found = np.linalg.svd(xy - xy.mean(0), full_matrices=False)[1]
    np.testing.assert_allclose(found / found[0], expected / expected[0], atol=1e-3)
    assert xy.min() == 0 and xy.max() == report.COORDINATES
    np.testing.assert_array_equal(page.array("cluster", "<u2"), model.labels_)
    sure = model.predict_proba(images).max(1)
    np.testing.assert_allclose(page.array("sure", "u1") / 255, sure, atol=0.003)
    assert page.data["names"] == [str(i) for i in range(200)]
    assert len([a for a in page.all("input") if a["type"] == "checkbox"]) == 3


def test_while_scikit_learn_makes_tables(model, images, tmp_path):
    with config_context(transform_output="polars"):
        page = written(tmp_path, model, images)
    assert page.array("xy", "<u2").size == 2 * len(images)


def test_nothing_is_loaded_and_names_are_escaped(tmp_path, images):
    """Of a folder in which names are made to be read as something else."""
    names = ["<img src=x onerror=alert(1)>", "a&b'\"", "</script><script>alert(1)"]
    for number, name in enumerate(names):
        home = tmp_path / "photos" / name.replace("/", "∕")
        home.mkdir(parents=True)
        for i in range(10):
            image = Image.fromarray(15 * images[10 * number + i]).resize((40, 30))
            image.save(home / f"{i}{name.replace('/', '∕')}.png")
    folder = ImageFolder(tmp_path / "photos", size=(16, 16))
    model = DeepClustering(**FAST).fit(folder)
    page = written(tmp_path / "report", model, folder)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "table",
        "tr", "th", "td", "span", "a", "canvas", "label", "input", "script", "figcaption", "code",
        "b",
    }  # fmt: skip
    assert len(page.all("script")) == 2
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on")} | {"src"} & {*attributes}
        assert attributes.get("href", "#").startswith("#"), tag
    assert "http" not in page.text.replace("http-equiv", "")
    assert set(re.findall(r"url\((.{10})", page.text)) == {"data:image"}
    assert page.data["names"] == list(folder.paths)
    titles = {a["title"].rpartition(":")[0] for a in page.thumbnails}
    assert titles <= set(folder.paths) and len(titles) == 30
    classes = {row[0] for row in page.rows("Classes and clusters")[1:]}
    assert "&lt;img src=x onerror=alert(1)&gt;" in classes


def test_features_with_images_or_files(images, tmp_path):
    X = images.reshape(200, 64)
    pipeline = make_pipeline(StandardScaler(), DeepClustering(**FAST)).fit(X)
    page = written(tmp_path, pipeline, X)
    assert not page.thumbnails and not page.sheets
    assert "0: 0." in page.text or "1: 0." in page.text  # names and probabilities alone
    assert [row[0] for row in page.rows("Settings")].count("StandardScaler") == 1
    page = written(tmp_path, pipeline, X, images=torch.from_numpy(images), n_images=2)
    assert len(page.thumbnails) == 12 and len(page.sheets) == 3
    paths = [str(tmp_path / f"{i}.png") for i in range(200)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(15 * image).resize((90, 60)).save(path)
    page = written(tmp_path, pipeline, X, paths=paths, n_images=2)
    assert {sheet.format for sheet in page.sheets} == {"JPEG"}
    assert {a["title"].rpartition(":")[0] for a in page.thumbnails} <= set(paths)


def test_series_are_taken_by_position(images, tmp_path):
    """As after a shuffle, when their index says something else."""
    X = images.reshape(200, 64)
    pipeline = make_pipeline(StandardScaler(), DeepClustering(**FAST)).fit(X)
    paths = [str(tmp_path / f"{i}.png") for i in range(200)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(15 * image).save(path)
    shuffled = pd.Index(np.random.default_rng(0).permutation(200))
    expected = written(tmp_path, pipeline, X, paths=paths).text
    assert written(tmp_path, pipeline, X, paths=pd.Series(paths, shuffled)).text == expected
    expected = written(tmp_path, pipeline, X, images=images).text
    series = pd.Series(list(images), shuffled)
    assert written(tmp_path, pipeline, X, images=series).text == expected


def test_missing_classes(model, images, tmp_path):
    y = pd.Series(["a", "b", np.nan, None, pd.NA] * 40)
    page = written(tmp_path, model, images, y=y)
    found = [row[0] for row in page.rows("Classes and clusters")]
    assert found == ["class", "(no class)", "a", "b"]
    assert "120 samples have no class" in page.text
    known = np.flatnonzero(y.isin(["a", "b"]))
    expected = skdeepclust.metrics.clustering_accuracy_score(
        (y[known] == "b").to_numpy(), model.labels_[known]
    )
    assert f"clusters to classes {expected:.3f}" in page.text
    shares = [np.mean(y[known][model.labels_[known] == k] == "a") for k in range(3)]
    overview = page.rows("Clusters")[1:]
    assert [row[5] for row in overview] == [f"{max(s, 1 - s):.0%}" for s in shares]
    for numbers in ([-1, 0], [np.nan, 0.0], [-1, 0, 1]):
        y = np.resize(numbers, 200)
        n = np.sum(~(y >= 0))
        assert f"{n} samples have no class" in written(tmp_path, model, images, y=y).text
    for numbers in ([-1, 1], [0, 1]):
        y = np.resize(numbers, 200)
        assert "no class" not in written(tmp_path, model, images, y=y).text
    page = written(tmp_path, model, images, y=np.full(200, -1))
    assert "200 samples have no class" in page.text and "Accuracy" not in page.text


def test_files_in_no_folder_have_no_class(images, tmp_path):
    for i, image in enumerate(images[:60]):
        home = tmp_path / "photos" / ["", "a", "b"][i % 3]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(15 * image).resize((16, 16)).save(home / f"{i}.png")
    folder = ImageFolder(tmp_path / "photos", size=(16, 16), mode="L")
    model = DeepClustering(**FAST).fit(folder)
    page = written(tmp_path / "report", model, folder)
    found = [row[0] for row in page.rows("Classes and clusters")]
    assert found == ["class", "(in no sub-folder)", "a", "b"]
    assert "20 samples have no class" in page.text
    known = folder.labels >= 0
    accuracy = skdeepclust.metrics.clustering_accuracy_score(
        folder.labels[known], model.labels_[known]
    )
    assert f"clusters to classes {accuracy:.3f}" in page.text


def test_files_that_cannot_be_read_are_grey(images, tmp_path):
    X = images.reshape(200, 64)
    pipeline = make_pipeline(StandardScaler(), DeepClustering(**FAST)).fit(X)
    paths = [tmp_path / f"{i}.png" for i in range(200)]
    for i, (path, image) in enumerate(zip(paths, images, strict=True)):
        if i % 3 == 0:
            path.write_text("no image")
        elif i % 3 == 1:
            Image.fromarray(15 * image).save(path)
    with pytest.warns(UserWarning, match=r"missing or no images .* first is '.*png'") as found:
        page = written(tmp_path, pipeline, X, paths=paths, n_images=200)
    assert len(page.thumbnails) == 200
    [warning] = [w for w in found if "grey" in str(w.message)]
    assert str(warning.message).startswith("133 of the files") and warning.filename == __file__
    tiles = []
    for sheet in page.sheets:
        rgb = np.asarray(sheet.convert("RGB"))
        rows, columns = rgb.shape[0] // 64, rgb.shape[1] // 64
        tiles += list(rgb.reshape(rows, 64, columns, 64, 3).swapaxes(1, 2).reshape(-1, 64, 64, 3))
    assert sum(tile.std() > 10 for tile in tiles) == 67


def test_an_embedding_that_collapsed(images, tmp_path, monkeypatch):
    class Given:
        def predict_proba(self, X):
            return np.full((200, 2), 0.5)

        def transform(self, X):
            return np.ones((len(X), 3), np.float32)

        def fit(self, X):
            return self

    monkeypatch.setattr(report, "MOST_POINTS", 50)
    page = written(tmp_path, Given(), images)
    assert len(set(page.array("xy", "<u2"))) == 1 and len(page.array("xy", "<u2")) == 100


@pytest.mark.parametrize("kind", ["array", "list", "tensor", "file", "dataset", "folder"])
def test_only_what_is_on_the_map_is_embedded(kind, images, tmp_path, monkeypatch):
    X = images.astype(np.uint8)
    if kind == "folder":
        (tmp_path / "images").mkdir()
        for number, image in enumerate(X):
            Image.fromarray(image).save(tmp_path / "images" / f"{number:03}.png")
    np.save(tmp_path / "X.npy", X)
    given = {
        "array": lambda: X,
        "list": lambda: list(X),
        "tensor": lambda: torch.as_tensor(X),
        "file": lambda: np.load(tmp_path / "X.npy", mmap_mode="r"),
        "dataset": lambda: torch.utils.data.TensorDataset(torch.as_tensor(X)[:, None]),
        "folder": lambda: ImageFolder(tmp_path / "images", (8, 8), mode="L"),
    }[kind]()
    model = DeepClustering(**FAST).fit(X)
    transform, embedded = DeepClustering.transform, []

    def counted(self, X):
        embedded.append(len(X))
        return transform(self, X)

    monkeypatch.setattr(DeepClustering, "transform", counted)
    monkeypatch.setattr(report, "MOST_POINTS", 50)
    monkeypatch.setattr(report, "SLICE_BYTES", 20 * 64)
    page = written(tmp_path, model, given)
    points = some_of(200, 1, 50, 50).numpy()
    assert len(points) == 50
    is_streamed = kind in ("file", "dataset", "folder")
    assert embedded == ([20, 20, 10] if is_streamed else [50])  # in parts of so many bytes
    np.testing.assert_array_equal(page.array("cluster", "<u2"), model.predict(given)[points])
    expected = written(tmp_path, model, X[points])
    assert page.data["xy"] == expected.data["xy"]
    assert "50 of the samples" in page.text


def test_probabilities_that_are_there(model, images, tmp_path, monkeypatch):
    expected = written(tmp_path, model, images).text
    probabilities = model.predict_proba(images)
    monkeypatch.setattr(DeepClustering, "predict_proba", pytest.fail)
    for given in (probabilities, torch.as_tensor(probabilities), probabilities.tolist()):
        assert written(tmp_path, model, images, probabilities=given).text == expected


def test_probabilities_of_an_estimator_that_has_none(images, tmp_path):
    X = images.reshape(len(images), -1)
    k_means = KMeans(3, n_init=1, random_state=0).fit(X)
    page = written(tmp_path, k_means, X, probabilities=np.eye(3)[k_means.labels_]).text
    assert page.count("<h3") == 3


def test_size_and_mode_of_a_folder(images, tmp_path):
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images[:50].astype(np.uint8)):
        Image.fromarray(image).save(tmp_path / "images" / f"{number:03}.png")
    folder = ImageFolder(tmp_path / "images", (8, 9), mode="L")
    features = np.stack([folder[i].ravel() for i in range(50)]).astype("float32")
    for X, more in ((folder, {}), (features, {"images": folder})):
        model = DeepClustering(**{**FAST, "max_epochs": 1}).fit(X)
        settings = written(tmp_path, model, X, **more).rows("Settings")
        assert settings[1:4] == [["ImageFolder", ""], ["size", "(8, 9)"], ["mode", "&#x27;L&#x27;"]]


def test_the_page_can_be_read_aloud(model, digits, images, tmp_path):
    page = written(tmp_path, model, images, y=digits[1][:200])
    [canvas] = page.all("canvas")
    assert canvas["role"] == "img" and canvas["aria-label"]
    assert {th["scope"] for th in page.all("th")} == {"col", "row"}
    assert "opacity" not in page.text


def test_names_of_clusters(model, digits, images, tmp_path):
    names = ["<b>", "bag & coat", "c"]
    page = written(tmp_path, model, images, y=digits[1][:200], cluster_names=names)
    shown = ["&lt;b&gt;", "bag &amp; coat", "c"]
    assert [row[0] for row in page.rows("Clusters")[1:]] == shown
    assert page.rows("Classes and clusters")[0] == ["class", *shown, "all"]
    assert page.data["clusters"] == names
    headings = re.findall("<h3.*?</span>(.*?): ", page.text)
    assert headings == shown and page.text.count("</span>bag &amp; coat</label>") == 1
    default = written(tmp_path, model, images)
    assert default.data["clusters"] == ["cluster 0", "cluster 1", "cluster 2"]


class Pixels(BaseEstimator, TransformerMixin):
    """A step of a pipeline that makes features of images."""

    def fit(self, X, y=None):
        self.n_ = len(X)
        return self

    def transform(self, X):
        return np.stack([np.asarray(X[i], float).ravel() for i in range(len(X))])


@pytest.mark.parametrize(
    "as_given",
    [
        lambda X: X,
        lambda X: X[:, None],
        torch.as_tensor,
        lambda X: np.stack([X, X, X], 1),
    ],
    ids=["3-D", "4-D", "tensor", "colour"],
)
def test_images_before_a_pipeline_are_shown(as_given, images, tmp_path):
    X = as_given(images)
    pipeline = make_pipeline(Pixels(), DeepClustering(**FAST)).fit(X)
    page = written(tmp_path, pipeline, X)
    assert len(page.thumbnails) > 0 and len(page.sheets) == 3
    assert page.text == written(tmp_path, pipeline, X, images=X).text
    if X.ndim == 4 and X.shape[1] == 3:  # with channels last they would be wrong ones
        assert not written(tmp_path, pipeline, np.moveaxis(X, 1, -1)).thumbnails


def test_images_in_any_container_are_shown(model, images, tmp_path):
    """As the estimator takes them."""
    expected = written(tmp_path, model, images).sheets
    tensor = torch.as_tensor(images, dtype=torch.float32)
    np.save(tmp_path / "X.npy", images)
    for X in [
        images.tolist(),
        list(tensor),
        tensor.bfloat16(),
        tensor.clone().requires_grad_(),
        torch.utils.data.TensorDataset(tensor[:, None]),
        np.load(tmp_path / "X.npy", mmap_mode="r"),
        pd.Series(list(images), range(1, 201)),
    ]:
        sheets = written(tmp_path, model, X).sheets
        for one, other in zip(sheets, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_tensors_beside_the_samples(model, digits, images, tmp_path):
    y = digits[1][:200]
    expected = written(tmp_path, model, images, y=y, images=images).text
    for image in (torch.from_numpy(images).bfloat16(), torch.from_numpy(1.0 * images)):
        image.requires_grad_()
        classes = torch.from_numpy(1.0 * y).requires_grad_()
        for given in (image, list(image)):
            assert written(tmp_path, model, images, y=classes, images=given).text == expected


def test_many_samples_and_clusters_stay_small(monkeypatch, tmp_path):
    """As with 20,000 images, but the numbers that bound the page are smaller too."""
    monkeypatch.setattr(report, "MOST_POINTS", 50)
    monkeypatch.setattr(report, "MOST_THUMBNAILS", 60)
    monkeypatch.setattr(report, "MOST_CLASSES", 4)

    class Given:
        """25 clusters of 300 images, and 100 classes."""

        def predict_proba(self, X):
            return np.eye(25)[np.arange(300) % 25] * 0.5 + 0.02

        def transform(self, X):
            return 1.0 * np.arange(len(X))[:, None]

        def fit(self, X):
            return self

    images = np.random.default_rng(0).random((300, 3, 40, 50))
    y = np.arange(300) % 100
    y[:50] = 7
    page = written(tmp_path, Given(), images, images=images, y=y)
    assert len(page.array("cluster", "<u2")) == 50
    assert len(page.thumbnails) == 50  # the most and the least sure one of each
    assert {sheet.size for sheet in page.sheets} == {(128, 64)}
    rows = page.rows("Classes and clusters")
    assert [row[0] for row in rows[1:]] == ["7", "50", "51", "52"]
    assert "The 96 smallest classes are left out" in page.text
    assert len(set(page.data["colours"])) == 25


def test_where_it_is_written(model, images, tmp_path):
    assert cluster_report(model, images, out=tmp_path / "a" / "b") == (
        tmp_path / "a" / "b" / "index.html"
    )
    assert cluster_report(model, images, out=tmp_path / "page.html").parent == tmp_path
    assert cluster_report(model, images, out=tmp_path / "other.HTML").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        cluster_report(model, images, out=tmp_path / "file")


def test_the_home_folder(model, images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cluster_report(model, images, out="~/rep") == tmp_path / "rep" / "index.html"
    assert not (tmp_path / "~").exists()


def test_a_page_is_there_as_a_whole_or_not_at_all(model, images, tmp_path, monkeypatch):
    page = cluster_report(model, images, out=tmp_path)
    before = page.read_bytes()

    def full(*paths):
        raise OSError("No space left on device")

    monkeypatch.setattr("skdeepclust._files.put_in_place", full)
    with pytest.raises(OSError, match="No space"):
        cluster_report(model, images, title="another", out=tmp_path)
    assert page.read_bytes() == before and list(tmp_path.iterdir()) == [page]


def test_bad_arguments(model, images, tmp_path):
    for parameters, message in [
        ({"y": [1, 2]}, "y must have one entry for each of the 200 samples; got 2"),
        ({"y": np.zeros((200, 2))}, "y must have one class for each sample; got shape"),
        ({"probabilities": np.eye(3)}, "probabilities must have one row for each of the 200"),
        ({"probabilities": np.ones(200)}, r"column for each cluster; got shape \(200,\)"),
        ({"paths": ["a"]}, "paths must have one entry for each of the 200 samples; got 1"),
        ({"images": images[:3]}, "images must have one entry for each"),
        (
            {"images": np.zeros((200, 8, 9, 3))},
            r"images must hold .* got shape \(8, 9, 3\)",
        ),
        ({"n_images": 0}, "n_images == 0, must be >= 1"),
        ({"cluster_names": ["a"]}, "cluster_names must have one name for each of the 3 clusters"),
    ]:
        with pytest.raises(ValueError, match=message):
            cluster_report(model, images, out=tmp_path, **parameters)
    with pytest.raises(ValueError, match="have `predict_proba`, as deep clusterers have"):
        cluster_report(skdeepclust.SimCLR(), images)
    assert not list(tmp_path.iterdir())


def test_the_first_steps_of_a_pipeline_run_once(images, tmp_path, monkeypatch):
    X = images.reshape(200, -1).astype(float)
    pipeline = make_pipeline(StandardScaler(), DeepClustering(**FAST)).fit(X)
    transform, n_calls = StandardScaler.transform, []

    def counted(self, X):
        n_calls.append(1)
        return transform(self, X)

    monkeypatch.setattr(StandardScaler, "transform", counted)
    written(tmp_path, pipeline, X)
    assert len(n_calls) == 1
