"""The benchmarks: every table on few samples, the committed records, the queue; no download."""

import importlib
import json
import runpy
import sys
import time
import types
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("benchmarks", reason="run from the root of the repository")

from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

import skdeepclust
from benchmarks import __main__ as command
from benchmarks import queue, records, report
from benchmarks import run as running
from benchmarks.peers import clustpy
from benchmarks.peers.estimator import Peer
from benchmarks.run import Job, Wanted
from benchmarks.speed import wait
from benchmarks.tables import TABLES
from skdeepclust import AutoencoderClustering, SCANClustering, SimCLR

COMMITTED = records.RESULTS
TINY = 40


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Results and cache that are empty at first."""
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(running, "CACHE", tmp_path / "cache")
    (tmp_path / "results" / "figures").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def data(folders, digits, monkeypatch):
    """Every table on a few digits."""
    images, y = digits[0][:200].astype("uint8"), digits[1][:200]

    def load(data_home=None):
        return images, y

    def load_parts(data_home=None):
        return images, y, images[:100], y[:100]

    def load_without_zeros(data_home=None):
        return images[y > 0], y[y > 0], images, y

    loaders = {"profeat": load_parts, "features": load_parts, "outliers": load_without_zeros}
    for name, table in TABLES.items():
        parts = loaders.get(name, load)
        monkeypatch.setattr(table, "DATA", dict.fromkeys(table.DATA, parts))
    return folders


SMOKE = {  # rows and what is set, so that each takes about a second
    "digits": (
        ["KMeans", "DACClustering", "DECClustering", 'MCDCClustering(base="idec")'],
        {"max_epochs": 1, "n_init": 1},
    ),
    "st_dac": (["DAC", "DAC*", "ST-DAC + 0", "ST-DAC + 2"], {"max_epochs": 1}),
    "mcdc": (
        ["AE", "ACAI", "VAE", "MCDC", "MCDC + VAE", "IDEC", "MCDC + IDEC"],
        {
            "side": 8, "channels": 4, "max_epochs": 1, "finetune_epochs": 1, "kmeans_n_init": 2,
            "tol": 0.0,
        },
    ),
    "den": (["AE", "DEN"], {"max_epochs": 1}),
    "depict": (
        ["DEPICT", "DEPICT, code's target"],
        {"max_epochs": 1, "label_epochs": 1, "finetune_epochs": 1},
    ),
    "autoencoders": (["AE", "DAE", "SAE", "SWWAE", "VAE"], {"max_epochs": 1}),
    "vade": (
        ["AE", "VaDE", "DGG"],
        {"pretraining_epochs": 1, "siamese_epochs": 1, "max_epochs": 1},
    ),
    "information": (["IMSAT (VAT)", "IMSAT (RPT)", "RIM", "IIC"], {"max_epochs": 1}),
    "adversarial": (
        ["CatGAN", "CatGAN, fully connected", "InfoGAN", "DCGAN + k-means"],
        {"max_epochs": 1},
    ),
    "dec": (
        ["AE", "DEC", "IDEC", "FcDEC-DA", "FcIDEC-DA", "ConvDEC-DA", "ConvIDEC-DA"],
        {"updates": 1, "pretrain_epochs": 1, "max_epochs": 1},
    ),
    "n2d": (["AE", "N2D"], {"pretrain_epochs": 1}),
    "profeat": (
        ["k-means", "SimCLR + k-means", "SCAN", "(a)", "ProFeat_s", "ProFeat_e"],
        {
            "small": True, "simclr_epochs": 1, "scan_epochs": 1, "self_label_epochs": 1,
            "refinement_epochs": 1, "rounds": 2, "n_models": 2, "n_heads": 2,
        },
    ),
    "baselines": (["k-means", "DeepCluster", "Triplets", "ADC"], {"small": True, "max_epochs": 1}),
    "selection": (["k-means", "default", "lr=1e-3"], {"max_epochs": 1}),
    "criteria": (["KMeans", "Deep, n_heads=1", "AE"], {}),
    "n_clusters": (["silhouette"], {}),
    "outliers": (["TEMIClustering"], {}),
    "features": (["KMeans", "SCAN", "TEMI", "TURTLE"], {"max_epochs": 1}),
    "tabular": (["KMeans", "DeepClustering"], {"max_epochs": 1}),
    "time_to_accuracy": (["KMeans", "DeepClustering", "SCANClustering"], {"max_epochs": 1}),
}  # fmt: skip


def jobs_of(name, n_samples=TINY, states=(0,)):
    table = TABLES[name]
    rows, given = SMOKE[name]
    for state in states:
        for row in rows:
            own = {} if row in ("KMeans", "k-means") else dict(given)
            if "tol" in own and "IDEC" not in row:
                del own["tol"]
            data = next(iter(table.DATA))
            yield Job(table, row, data, state, n_samples, own, device="cpu", verbose=0)


@pytest.fixture
def stand_in_umap(tmp_path, monkeypatch):
    """A package of UMAP's name that does PCA, here and where the peers are started."""
    folder = tmp_path / "peers"
    (folder / "umap").mkdir(parents=True)
    (folder / "umap" / "__init__.py").write_text(
        "from sklearn.decomposition import PCA\n"
        "def UMAP(n_neighbors, n_components, min_dist, **other):\n"
        "    return PCA(n_components, random_state=0)\n"
    )
    for name in ("umap_learn", "numba"):
        (folder / f"{name}-1.0.dist-info").mkdir()
        (folder / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PEER_PYTHON", sys.executable)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, "umap", importlib.import_module("umap"))  # gone afterwards


@pytest.mark.parametrize("name", TABLES)
def test_every_table_runs_is_kept_and_rendered(name, data, stand_in_umap):
    jobs = list(jobs_of(name))
    for job in jobs:
        assert running.run_if_missing(job)
        assert not list(running.CACHE.rglob("*.pt*")), "checkpoints go with the record"
    for job in jobs:
        record = json.loads(job.path.read_text())
        expected = {"table": name, "row": job.row, "data": job.data, "random_state": 0}
        assert expected.items() <= record.items()
        assert record["n_samples"] == TINY
        assert record["seconds"] > 0
        assert {"acc", "nmi", "ari"} <= set(record["scores"])
        assert {"machine", "torch", "n_threads", "date"} <= set(record["environment"])
        assert set(record["set"]) <= set(job.given)
        if "means" not in job.row.lower():
            assert all(phase["train_loss"] for phase in record["history"].values())
        assert job.base is None or record["base"]["seconds"] > 0
    text = report.render(TABLES[name])
    for job in jobs:
        assert job.row in text or name == "selection"  # whose table is of all samples
    assert not any(running.run_if_missing(job) for job in jobs)  # nothing to do


@pytest.mark.parametrize("name", ["tabular", "time_to_accuracy"])
def test_a_peer_runs_elsewhere_and_has_a_line_for_each_result(name, data, stand_in_umap):
    table = TABLES[name]
    job = Job(table, "UMAP", next(iter(table.DATA)), 0, TINY, device="cpu", verbose=0)
    assert running.run_if_missing(job)
    scores = records.read(job.path)["scores"]
    assert scores["versions"]["umap-learn"] == "1.0"
    points = job.X.reshape(TINY, -1)
    points = PCA(10, random_state=0).fit_transform((points - points.mean()) / points.std())
    n_clusters = job.estimator().n_clusters
    labels = KMeans(n_clusters, n_init=10, random_state=0).fit_predict(points)
    assert scores["results"]["KMeans"] == records.metrics(job.y, labels)
    text = report.render(table)
    assert "| UMAP + KMeans |" in text
    assert "| UMAP + mixture |" in text


def test_rows_of_features_that_are_no_single_head(data, stand_in_umap):
    table = TABLES["features"]
    for row in ("UMAP + KMeans", "l2 + KMeans", "Consensus"):
        job = Job(table, row, next(iter(table.DATA)), 0, 120, device="cpu", verbose=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = running.run(job)["scores"]
        assert 0.5 < found["acc"] <= 1  # by chance about 0.2
        assert 0.5 < found["training part"]["acc"] <= 1


def test_features_are_read_with_the_labels_of_their_images(tmp_path):
    table = TABLES["features"]
    (tmp_path / "features").mkdir()
    parts = {"train": np.eye(3, dtype=np.float16), "test": np.ones((2, 3), dtype=np.float16)}
    for subset, X in parts.items():
        np.save(tmp_path / "features" / f"name-{subset}.npy", X)

    def labels(data_home, subset, return_X_y):
        return None, np.arange(len(parts[subset]))

    X, y, X_test, y_test = table.load("name", labels, tmp_path)
    np.testing.assert_array_equal(X, parts["train"])
    np.testing.assert_array_equal(X_test, parts["test"])
    assert (len(y), len(y_test)) == (3, 2)


@pytest.mark.parametrize("n_heads", [1, 2])
def test_the_chosen_head_is_none_of_those_that_agree_with_it(n_heads, data):
    """Another head that has one cluster agrees with the chosen one on its largest cluster."""
    job = Job(TABLES["criteria"], "Deep, 1 epoch", "mnist", n_samples=TINY, verbose=0)
    estimator = job.estimator().set_params(n_heads=n_heads, overclustering=1).fit(job.X)
    head = estimator.network_.head
    with torch.no_grad():
        biases = head.plain.linear.bias.view(n_heads, -1)
        biases[torch.arange(n_heads) != head.number, 0] = 1e6
    expected = None if n_heads == 1 else np.bincount(estimator.labels_).max() / TINY
    assert TABLES["criteria"].agreement(job, estimator) == expected


def test_a_peer_that_fails_says_why(stand_in_umap):
    with pytest.raises(RuntimeError, match=r"(?s)none failed:.*in clustpy"):
        Peer("none", 2).fit(np.zeros((4, 2)) + np.arange(4)[:, None])


def test_seconds_to_an_accuracy_are_those_of_the_first_epoch_there():
    def record(acc, seconds=9.0):
        history = {"a": {"acc": acc, "elapsed": [1.0, 2.0, 3.0]}}
        return {"data": "usps", "history": history, "seconds": seconds, "scores": {"acc": acc[-1]}}

    seconds_to = TABLES["time_to_accuracy"].seconds_to
    runs = [record([0.2, 0.96, 0.7]), record([0.1, 0.2, 0.96]), record([0.1, 0.2, 0.3])]
    assert seconds_to(0.95, runs[:2]) == "2"  # of 2 and 3, to even
    assert seconds_to(0.95, runs) == "2 (2 of 3)"
    assert seconds_to(0.95, runs[2:]) == "never"
    assert seconds_to(0.9, runs) == ""  # not asked of these data
    gone_on = record([0.1, 0.2, 0.96], seconds=9.0)
    gone_on["history"]["a"]["elapsed"] = [4.0, 1.0, 2.0]  # by the clocks of two processes
    assert seconds_to(0.95, [gone_on]) == "6"


def test_views_of_iic_are_crops_of_its_sizes_within_the_image():
    """On ramps, which interpolation leaves as they are."""
    information = TABLES["information"]
    views = information.Views((0.0, 1.0))
    views.jitter = torch.nn.Identity()
    ramp = (torch.arange(28.0) + 0.5).expand(300, 1, 28, 28)
    torch.manual_seed(0)
    found = information.Centre()(views(torch.cat([ramp, ramp.mT], 1)))
    assert found.shape == (300, 2, 24, 24)
    steps = torch.stack([found[:, 0].diff(dim=2), found[:, 1].diff(dim=2)], 1)[:, :, 12, 12]
    sizes = 24 * steps.norm(dim=1)  # pixels of the image that 24 are made of
    torch.testing.assert_close(sizes, (sizes / 4).round() * 4, atol=1e-3, rtol=0)
    assert set(sizes.round().int().tolist()) == {16, 20, 24}
    angles = torch.atan2(steps[:, 1], steps[:, 0]).rad2deg()
    is_turned = angles.abs() > 1e-3
    assert 0.4 < is_turned.float().mean() < 0.6
    assert 20 < angles.abs().max() < 25
    straight = found[~is_turned]
    assert straight.min() > 0
    assert straight.max() < 28


def test_figures_from_models(data):
    for name in ("st_dac", "mcdc"):
        jobs = [job for job in jobs_of(name, n_samples=None) if job.row in ("ST-DAC + 2", "AE")]
        for job in jobs:
            running.run_if_missing(job)
        TABLES[name].draw(jobs, records.RESULTS / "figures")
    drawn = {path.name for path in (records.RESULTS / "figures").glob("*.png")}
    names = {"mnist-ST-DAC+2-max_epochs1-figure4.png"}
    names |= {"mnist-mcdc-channels4-kmeans_n_init2-max_epochs1-side8-figure5.png"}
    assert names <= drawn


def test_figure_6_tells_runs_of_other_epochs_and_precision_apart(tmp_path, monkeypatch):
    from skdeepclust.plotting import TrainingCurvesDisplay

    table, known = TABLES["st_dac"], []
    found = [
        {
            **{"row": "DAC", "data": "mnist", "n_samples": 9, "precision": precision},
            **{"set": {"max_epochs": n}, "history": {"dac": {"acc": [0.5] * n}}},
        }
        for n, precision in [(2, "float32"), (3, "float32"), (3, "bf16")]
    ]
    draw = TrainingCurvesDisplay.from_histories

    def noted(histories, *args, **kwargs):
        known.extend(histories)
        return draw(histories, *args, **kwargs)

    monkeypatch.setattr(TrainingCurvesDisplay, "from_histories", noted)
    table.figures(found, tmp_path)
    assert [name.partition(" (")[0] for name in known] == [
        "DAC, max_epochs=2",
        "DAC, max_epochs=3",
        "DAC, max_epochs=3, bf16",
    ]


@pytest.mark.parametrize("name", [name for name in TABLES if (COMMITTED / f"{name}.md").exists()])
def test_committed_records_give_the_committed_tables(name):
    assert report.text(TABLES[name]) == (COMMITTED / f"{name}.md").read_text()


@pytest.mark.parametrize("name", TABLES)
def test_committed_records_have_the_names_that_jobs_have(name):
    for record in report.read_all(TABLES[name]):
        changed = record["name"].removeprefix(running.plain(f"{record['data']}-{record['row']}"))
        assert changed.endswith(f"-{record['random_state']}"), record["name"]


@pytest.mark.parametrize("name", TABLES)
def test_committed_records_have_the_batches_of_their_rows(name):
    for record in report.read_all(TABLES[name]):
        parameters = record.get("parameters") or {}
        job = Job(TABLES[name], record["row"], record["data"])
        known = {*parameters, *job.of_paper}
        job.given = {k: v for k, v in record["set"].items() if k in known}
        job.parts = [(np.arange(128.0).reshape(2, 8, 8), np.arange(2))]
        job.before = running.Fit(None, 2, 0.0, {}, [], {})
        own = job.estimator().get_params()
        if "batch_size" in own.keys() & parameters.keys():
            assert own["batch_size"] == parameters["batch_size"], record["name"]


def test_a_run_with_the_former_settings_is_not_run_again(monkeypatch, tmp_path):
    for name in ("mcdc", "profeat"):  # the first are what was run on a CPU
        wanted = TABLES[name].WANTED[0]
        for job in some(TABLES[name], wanted):
            assert job.path.exists(), job.path.name
    wanted = [job.name for _, job in queue.wanted(TABLES.values(), "cpu")]
    assert not any(name.startswith("digits-KMeans") for name in wanted)
    monkeypatch.setattr(records, "RESULTS", tmp_path)  # no record there
    everything = [job.name for _, job in queue.wanted(TABLES.values(), "cpu")]
    assert "digits-DACClustering-4" in everything
    assert "digits-KMeans-0" in everything


def some(table, w):
    return [
        Job(table, row, data, state, w.n_samples, w.given, w.precision)
        for data in w.data for row in w.rows for state in w.random_states
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-3", ("lr", 1e-3)),
        ("augmentation=None", ("augmentation", None)),
        ("autoencoder__lr=0.1", ("autoencoder__lr", 0.1)),
        ("hidden_sizes=(5, 5)", ("hidden_sizes", (5, 5))),
        ("init=kmeans", ("init", "kmeans")),
        ("small=True", ("small", True)),
    ],
)
def test_setting(text, expected):
    assert command.setting(text) == expected


@pytest.mark.parametrize("text", ["lr", "=3", "lr="])
def test_what_is_no_setting_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        command.parse(["digits", "--set", text])
    assert "is not key=value" in capsys.readouterr().err


def test_time_on_a_gpu_stands_beside_that_on_a_cpu():
    timed = Job(TABLES["time_to_accuracy"], "DeepClustering", "mnist", device="cuda:0")
    assert timed.name == "mnist-DeepClustering-cuda-0"
    assert replace(timed, device="cpu").name == "mnist-DeepClustering-0"
    elsewhere = Job(TABLES["st_dac"], "DAC", "mnist", device="cuda")
    assert elsewhere.name == replace(elsewhere, device="cpu").name


def test_versions_say_which_code_ran():
    text = records.described({"environment": records.environment() | {"commit": "abc1234"}})
    assert f"skdeepclust {skdeepclust.__version__}, commit abc1234, torch" in text
    assert "commit" not in records.described(
        {"environment": records.environment() | {"commit": None}}
    )


def test_settings_of_baselines_are_named_by_row():
    column = report.keys_of(TABLES["baselines"])["settings"]
    rows = {
        row: column({"row": row, "options": {"small": False}}) for row in TABLES["baselines"].ROWS
    }
    assert rows == {
        "k-means": "",
        "DeepCluster": "paper's",
        "Triplets": "ours",
        "ADC": "its code's",
    }
    assert column({"row": "ADC", "options": {"small": True}}) == "package's"


def test_a_sparse_code_has_the_weight_of_the_lecture_notes():
    """Half the sum of squared errors of pixels in [0, 1], and 3 times the divergence."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    pixels[0, 0, 0, 0] = 255
    job = types.SimpleNamespace(X=pixels, options={"max_epochs": 1})
    weight = TABLES["autoencoders"].ROWS["SAE"](job).sparsity_weight
    errors = np.random.default_rng(1).normal(size=192)  # of pixels in [0, 1]
    standardised = errors / (pixels / 255).std()
    ratio = weight / (standardised**2).sum()
    assert ratio == pytest.approx(3 / (errors**2).sum())


def test_peers_without_a_weight_get_none():
    job = {"losses": "same", "clustering_weight": 0.1}
    assert clustpy.weight(job) == {"clustering_loss_weight": 0.1}
    assert clustpy.weight(job | {"losses": "own"}) == {}
    assert clustpy.weight(job | {"clustering_weight": None}) == {}  # of VaDE


def test_runs_that_share_a_device_say_so(monkeypatch):
    alone = records.machine({"environment": records.environment()})
    monkeypatch.setenv("BENCHMARKS_SHARED", "1")
    assert records.machine({"environment": records.environment()}) == f"{alone}, shared"


@pytest.mark.parametrize("name", ["digits", "time_to_accuracy"])
def test_runs_that_share_a_device_are_not_timed(name):
    """Where time is what a table is about, they have a line of their own."""
    path = next((records.RESULTS / "time_to_accuracy").glob("usps-KMeans-*.json"))
    found = []
    for shared, seconds in [(False, 10.0), (True, 30.0)]:
        record = json.loads(path.read_text())
        record |= {"seconds": seconds, "data": next(iter(TABLES[name].DATA)), "row": "KMeans"}
        record["environment"] |= {"shared": shared}
        found.append(record)
    lines = report.grid(TABLES[name], found, columns=["runs", "seconds a run"]).splitlines()[2:]
    assert lines == (["| 2 | 10 |"] if name == "digits" else ["| 1 | 10 |", "| 1 | 30 |"])
    lines = report.grid(TABLES[name], found[1:], columns=["seconds a run", "machine"]).splitlines()
    assert "| 30 | " in lines[2] and lines[2].endswith(", shared |")


def test_settings_that_are_not_the_papers_are_in_the_name():
    mcdc = TABLES["mcdc"]
    given = {"lr": 1e-3, "max_epochs": 400, "augmented": True, "finetune_epochs": 5}
    job = Job(mcdc, "AE", "mnist", 2, 100, {**given, "image_shape": None}, "bf16")
    assert job.name == "mnist-AE-n100-augmented-image_shapeNone-lr0.001-bf16-2"
    idec = Job(mcdc, "IDEC", "mnist", 0, given=given)
    assert idec.name == "mnist-IDEC-augmented-finetune_epochs5-lr0.001-0"
    assert idec.base.name == "mnist-AE-augmented-lr0.001-0"
    assert Job(mcdc, "AE", "mnist", n_samples=70_000).name == "mnist-AE-0"
    sizes = [(50, 5), (505,)]
    names = [Job(mcdc, "AE", "mnist", given={"hidden_sizes": given}).name for given in sizes]
    assert names == ["mnist-AE-hidden_sizes50x5-0", "mnist-AE-hidden_sizes505-0"]
    names = [Job(TABLES["st_dac"], row, "mnist").name for row in TABLES["st_dac"].ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_can_be_made_for_all_data(name):
    """And asked whether it goes on after a stop, which takes no data and no fit."""
    table = TABLES[name]
    resumable = {
        row: {Job(table, row, data).can_go_on() for data in table.DATA} for row in table.ROWS
    }
    for row, found in resumable.items():
        # not k-means and what ends with it
        is_kmeans = row.lower().replace("-", "").endswith("kmeans") and "=" not in row
        is_peer = row.startswith(("UMAP", "ClustPy"))
        is_meta = row == "Consensus"
        is_number = name == "n_clusters" and row.split(",")[0] != "DeepClustering"  # k-means
        assert found == {not (is_kmeans or is_peer or is_meta or is_number)}, row


def test_settings_reach_the_estimator():
    job = Job(
        TABLES["st_dac"], "ST-DAC + 2", "mnist", 3, given={"max_epochs": 2, "batch_size": 7},
        precision="bf16",
    )  # fmt: skip
    estimator = job.estimator()
    expected = {"max_epochs": 2, "batch_size": 7, "random_state": 3, "precision": "bf16"}
    assert expected.items() <= estimator.get_params().items()


def test_the_command_line_goes_on_where_it_was(data, capsys):
    line = ["selection", "--row", "k-means", "--n-samples", "60", "--random-states", "0", "1"]
    assert not command.main([*line, "--device", "cpu"])
    assert capsys.readouterr().out.count("running") == 2
    assert not command.main([*line, "--device", "cpu"])
    assert "running" not in capsys.readouterr().out


def test_the_command_line_lists_tables(folders, capsys):
    command.main(["--list", "--device", "cpu"])
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in TABLES)
    assert "options: side" in out
    assert "mnist-ST-DAC+2-n10000-max_epochs8-0" in out


@pytest.mark.parametrize(
    "line",
    [
        ["nothing"],
        ["queue"],
        [],
        ["digits", "--row", "no"],
        ["digits", "--data", "no"],
        ["--render", "--figures"],
        ["digits", "--figures"],
        ["--render", "--settings"],
        ["queue", "--budget-minutes", "1", "--settings"],
    ],
)
def test_the_command_line_refuses(line, capsys):
    with pytest.raises(SystemExit):
        command.parse(line)
    capsys.readouterr()


def test_figures_and_pages_are_written_into_a_new_folder(data, monkeypatch, capsys):
    """By the queue, too, which has nothing to do here."""
    monkeypatch.setattr(queue, "work", lambda *args: [])
    monkeypatch.setattr(command.os, "nice", lambda increment: 0)
    for line in ["st_dac", "--render", "--figures"], ["queue", "--budget-minutes", "1"]:
        results = data / line[0]
        assert not command.main([*line, "--device", "cpu", "--results", str(results)])
        assert (results / "papers.md").exists()
    assert (data / "st_dac" / "figures").exists()
    capsys.readouterr()


# The queue, on tables of its own


def make_table(name, rows, wanted, images):
    table = types.ModuleType(f"benchmarks.tables.{name}")
    table.__doc__ = "A table."
    table.DATA = {"few": lambda data_home: (images, np.arange(len(images)) % 10)}
    table.SIZES, table.STATES, table.REMARKS = {"few": len(images)}, (0,), "Few."
    table.ROWS, table.WANTED = rows, wanted
    return table


def k_means(job):
    return records.k_means(10)


def test_the_queue_takes_the_most_valuable_that_fits(folders, images, capsys):
    rows = dict.fromkeys(["low", "high", "long", "gpu"], k_means)
    wanted = [
        Wanted(["low"], ["few"], [0], value=1, seconds=(1, None)),
        Wanted(["long"], ["few"], [0], value=9, seconds=(10_000, None)),
        Wanted(["high"], ["few"], [1, 0], value=5, seconds=(2, None)),
        Wanted(["gpu"], ["few"], [0], value=9, seconds=(None, 1)),
    ]
    table = make_table("fake", rows, wanted, images)
    assert queue.work([table], seconds=30, device="cpu") == []
    out = capsys.readouterr().out
    ran = [line.split()[-1] for line in out.splitlines() if line.startswith("running")]
    assert ran == ["few-high-0", "few-high-1", "few-low-0"]
    assert "missing on cpu: 1 runs" in out
    assert "few-long-0" in out
    assert (records.RESULTS / "fake.md").exists()


def test_the_queue_stops_when_the_budget_is_used(folders, images, capsys):
    table = make_table(
        "fake", {"a": k_means}, [Wanted(["a"], ["few"], range(5), 1, seconds=(4, None))], images
    )
    now = iter(range(0, 1000, 3))
    queue.work([table], seconds=10, device="cpu", clock=lambda: next(now))
    assert 1 <= len(list((records.RESULTS / "fake").glob("*.json"))) < 5
    capsys.readouterr()


def test_a_failure_doesn_t_stop_the_queue(folders, images, capsys):
    def fails(job):
        raise RuntimeError("out of memory")

    wanted = [Wanted(["bad", "good"], ["few"], [0], 1, seconds=(1, None))]
    table = make_table("fake", {"bad": fails, "good": k_means}, wanted, images)
    table.base = None
    (failed,) = queue.work([table], seconds=30, device="cpu")
    assert "few-bad-0: out of memory" in failed
    assert (records.RESULTS / "fake" / "few-good-0.json").exists()
    capsys.readouterr()


PAUSE = {"seconds": 0.1}  # no attribute, which would make it another augmentation


class Slow:
    """An augmentation that takes its time, until it is told not to."""

    def __call__(self, x):
        time.sleep(PAUSE["seconds"])
        return x + 0

    def __repr__(self):
        return "Slow()"


def test_the_queue_goes_on_with_what_was_half_done(folders, images, capsys, monkeypatch):
    """Stopped by the clock in the middle, it goes on from the checkpoint the next time."""
    monkeypatch.setattr("skdeepclust._training._checkpoint.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(queue, "LEAST", 0.0)
    epochs = 40

    def scan(job):
        simclr = SimCLR(max_epochs=epochs, batch_size=64, augmentation=Slow())
        return SCANClustering(
            10, representation=simclr, max_epochs=1, self_label_epochs=0, n_heads=1, n_init=1,
        )  # fmt: skip

    wanted = [Wanted(["scan"], ["few"], [0], 1, seconds=(10_000, None))]
    table = make_table("fake", {"scan": scan}, wanted, images)
    job = Job(table, "scan", "few")
    assert job.can_go_on()
    queue.work([table], seconds=6, device="cpu")
    assert not job.path.exists()
    assert job.cached(".pt").exists()
    assert "(begun)" in capsys.readouterr().out
    begun = json.loads(torch.load(job.cached(".pt"), weights_only=True)["run"]["history"])
    assert 1 <= len(begun) < epochs
    monkeypatch.setitem(PAUSE, "seconds", 0.0)
    queue.work([table], seconds=600, device="cpu")
    record = records.read(job.path)
    assert record["went on"]
    assert len(records.curve(record, "train_loss")) == epochs + 1
    assert not list(running.CACHE.rglob("*.pt*"))
    capsys.readouterr()


def test_a_kept_model_is_taken_with_its_settings_alone(folders, images, monkeypatch, capsys):
    """And a record that is made of it says where it was fitted."""

    def make(n):
        return lambda job: AutoencoderClustering(10, n_init=1, max_epochs=1, kmeans_n_init=n)

    table = make_table("fake", {"row": make(1)}, [], images)
    table.KEPT = ("row",)
    job = Job(table, "row", "few", verbose=0)
    running.fitted(job)
    there = records.environment()
    monkeypatch.setattr(records, "environment", lambda device: {**there, "machine": "another"})
    monkeypatch.setattr(table, "ROWS", {"row": make(1)})
    assert running.run(job)["environment"] == there
    monkeypatch.setattr(table, "ROWS", {"row": make(2)})
    record = running.run(job)
    assert "is of other settings" in capsys.readouterr().err
    assert record["environment"]["machine"] == "another"
    assert record["parameters"]["kmeans_n_init"] == 2


def test_estimates_are_of_records_where_there_are_some(folders, images):
    def row(job):
        return AutoencoderClustering(10, n_init=1, max_epochs=2)

    w = Wanted(["row"], ["few"], [0, 1], 1, seconds=(1000, None), given={"max_epochs": 1})
    table = make_table("fake", {"row": row}, [w], images)
    assert [seconds for seconds, _ in queue.ranked([table], "cpu")] == [1000, 1000]
    job = Job(table, "row", "few", 0, given={"max_epochs": 1}, verbose=0)
    running.run_if_missing(job)
    seconds = json.loads(job.path.read_text())["seconds"]
    ((estimate, missing),) = queue.ranked([table], "cpu")
    assert missing.random_state == 1
    assert estimate == pytest.approx(seconds)
    record = records.read(job.path)
    elsewhere = {**record["environment"], "n_threads": record["environment"]["n_threads"] + 1}
    slower = {**record, "seconds of all": 9e9, "environment": elsewhere}
    assert queue.estimate(w, missing, [record, slower]) == pytest.approx(seconds)
    assert queue.estimate(w, missing, [slower]) == pytest.approx(9e9)


def test_estimates_leave_out_a_base_that_is_there(folders):
    w = Wanted(["N2D"], ["usps"], [0], 1, seconds=(1, 1))
    job = Job(TABLES["n2d"], "N2D", "usps")
    record = {
        **{"row": "N2D", "data": "usps", "precision": "float32", "n_samples": 9298, "set": {}},
        **{"options": {"pretrain_epochs": 1000}, "seconds": 2.0, "seconds of all": 9.0},
        "environment": {"device": "cpu", "n_threads": 1},
    }
    assert queue.estimate(w, job, [record]) == pytest.approx(9.0)
    model = job.base.cached(".joblib")
    model.parent.mkdir(parents=True)
    model.touch()
    assert queue.estimate(w, job, [record]) == pytest.approx(2.0)


def test_extraction(tmp_path, digits, monkeypatch, capsys):
    from benchmarks import extraction

    few = {"all": (digits[0][:60].astype("uint8"), digits[1][:60])}
    monkeypatch.setitem(extraction.DATA, "animals", lambda data_home: few)
    monkeypatch.setattr(extraction, "STATES", range(2))
    argv = ["animals", "--data-home", str(tmp_path), "--image-size", "32", "--threads", "1"]
    extraction.main(argv, tmp_path / "results")
    rows = np.load(tmp_path / "features" / "animals-efficientnet-lite0-32-all.npy")
    assert (rows.shape, rows.dtype) == ((60, 1280), np.float16)
    path = tmp_path / "results" / "extraction" / "animals-efficientnet-lite0-32.json"
    before = json.loads(path.read_text())
    assert before["parts"]["all"]["extraction"]["images"] == 60
    assert len(before["parts"]["all"]["k-means"]) == 2
    extraction.main(argv, tmp_path / "results")
    assert json.loads(path.read_text())["parts"] == before["parts"]
    text = (tmp_path / "results" / "extraction.md").read_text()
    assert "| animals | all | 60 | efficientnet:lite0 | 32 |" in text
    assert "trained with the labels of ImageNet" in text
    path.unlink()  # what remains doesn't say how long the features took
    extraction.main(argv, tmp_path / "results")
    precision = json.loads(path.read_text())["precision"]  # bf16 where the processor multiplies it
    assert f"| {precision} |  |  |" in (tmp_path / "results" / "extraction.md").read_text()
    extraction.main([*argv, "--precision", "float32"], tmp_path / "results")
    assert (tmp_path / "features" / "animals-efficientnet-lite0-32-float32-all.npy").exists()
    capsys.readouterr()


# The examples


EXAMPLES = {  # with what makes them short
    "plot_big_data": ["--n-images", "600"],
    "plot_digits": [],
    "plot_embeddings": [],
    "plot_features": [],
    "plot_interpolation": [],
    "plot_samples": [],
    "plot_search": [],
    "plot_spatial_transformers": ["--epochs", "2"],
}


def test_examples_are_all_run_by_a_test():
    folder = Path(__file__).parents[1] / "examples"
    assert {path.stem for path in folder.glob("*.py")} == {*EXAMPLES, "plot_folder"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # they are short
@pytest.mark.filterwarnings("ignore::ImportWarning")  # of umap, where it is installed
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch, capsys, digits):
    """With a twelfth of the data and single short runs."""
    import matplotlib.pyplot as plt
    import sklearn.datasets

    import skdeepclust
    import skdeepclust.datasets

    few = types.SimpleNamespace(images=digits[0][:150], target=digits[1][:150])
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: few)
    large = np.kron(few.images, np.ones((3, 3)))
    monkeypatch.setattr(skdeepclust.datasets, "load_mnist", lambda **_: (large, few.target))
    epochs = {"DeepClustering": 1, "MCDCClustering": 1, "VaDEClustering": 1}
    epochs |= {"TEMIClustering": 5, "TURTLEClustering": 20}
    for cls, max_epochs in epochs.items():
        whole = getattr(skdeepclust, cls)
        once = {"n_init": 1} if "n_init" in whole().get_params() else {}

        def short(*args, whole=whole, max_epochs=max_epochs, once=once, **kwargs):
            return whole(*args, **{**kwargs, **once, "max_epochs": max_epochs, "verbose": 0})

        monkeypatch.setattr(skdeepclust, cls, short)
    path = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [name, "--output", str(path), *EXAMPLES[name]])
    example = Path(__file__).parents[1] / "examples" / f"{name}.py"
    runpy.run_path(str(example))
    assert path.stat().st_size > 0
    assert "KMeans" in capsys.readouterr().out
    assert plt.get_fignums()  # which the gallery shows
    plt.close("all")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda", 1), "cpu"])
def test_a_gpu_of_any_number_is_waited_for(device, monkeypatch):
    waited_for = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    wait(device)
    assert waited_for == ([] if device == "cpu" else [device])


@pytest.mark.parametrize("name", ["speed", "peers", "drills"])
def test_what_has_commands_of_its_own_can_be_imported(name):
    folder = Path(running.__file__).parent / name
    for path in sorted(folder.glob("*.py")):
        importlib.import_module(f"benchmarks.{name}.{path.stem}")


def test_records_elsewhere_leave_the_readme_alone(folders, images, tmp_path, monkeypatch, capsys):
    table = make_table("fake", {"a": k_means}, [], images)
    monkeypatch.setitem(TABLES, "fake", table)
    monkeypatch.setattr(command.readme, "write", lambda: pytest.fail("the repository's README"))
    words = ["fake", "--random-states", "0", "--results", str(tmp_path / "mine")]
    assert not command.main(words)
    assert (tmp_path / "mine" / "fake" / "few-a-0.json").exists()
    record = records.read(tmp_path / "mine" / "fake" / "few-a-0.json")
    assert record["environment"]["commit"] is None or record["environment"]["commit"].strip()
    capsys.readouterr()


def test_settings_are_the_papers(data, capsys):
    """What they print makes the estimator that the run has."""
    line = ["dec", "--row", "IDEC", "--data", "mnist", "--settings", "--random-states", "3"]
    assert command.main([*line, "--device", "cpu"]) == 0
    first, second = capsys.readouterr().out.split("# dec: mnist, ")[1:]
    assert first.startswith("AE\nAutoencoderClustering(") and "lr=0.001" in first
    assert second.startswith("IDEC\nIDECClustering(") and "=AutoencoderClustering(" in second
    assert "update_interval=140" in second and "random_state=3" in second
    assert not list(data.rglob("*.json"))


@pytest.mark.parametrize("name", TABLES)
def test_settings_of_every_row(name, data, capsys):
    rows = list(TABLES[name].ROWS)
    line = [name, "--row", *rows, "--settings", "--random-states", "0", "--device", "cpu"]
    assert command.main(line) == 0
    printed = capsys.readouterr().out
    assert all(f", {row}\n" in printed for row in rows)
