"""Tables 1 and 2 and figure 1 of the ProFeat paper, with the paper's settings.

    python -m benchmarks profeat --precision bf16                                # table 1
    python -m benchmarks profeat --data cifar10 cifar100-20 stl10
    python -m benchmarks profeat --row "(a)" "(b)" "(c)" "(d)"                   # table 2's others
    python -m benchmarks profeat --data fashion-mnist --n-samples 10000 --set small=True \\
        simclr_epochs=20 scan_epochs=15 self_label_epochs=5 refinement_epochs=4 rounds=2  # a share

Training is on the training part, evaluation on the test part and, beside it, on the training part.
Fashion-MNIST and the digits, which are not in the paper, are trained and evaluated on the same
images. Labels are used for the figures alone.

One SimCLR for each random state is shared by all rows but the ensembles, (d) and ProFeat_e, which
train their own models. They share it as well with --set shared=True and on STL-10, where it has
seen the unlabelled part. "SCAN before self-labelling" is a line of the table that each run of SCAN
adds.

Where the settings come from:

- Text of ProFeat: optimisers, learning rates, batch sizes, epochs, rounds, network and thresholds.
- Released code of SCAN: the strong augmentation (cut-out of up to 16 pixels at 32x32 and 32 at
  96x96), the stem for 96x96.
- Ours: SCAN's step keeps its last epoch and the head with the lowest training loss in it (SCAN's
  code: the epoch and the head with the lowest loss on validation images and their 5 nearest
  neighbours, with an entropy weight of 1); neighbours are without the image itself (there with
  it); SimCLR, self-labelling and the refinement keep the rest of an epoch (there left out); the
  side of the cut-out may be odd (there even, and 0 in 6 % of the draws); models are connected
  where at least t_e agree (equation 3: more than t_e, with t_e = 5 of 5 models); heads go on from
  round to round, of which the text says nothing. On STL-10 the rows of ProFeat have no
  self-labelling, as in its text; the row SCAN has 100 epochs, as in SCAN's code.

SCAN before self-labelling has 0.816 / 0.715 / 0.665 on CIFAR-10 in SCAN's README; that is its best
single model, not a mean.

Each run is one fit without restarts. --set small=True takes the package's defaults in place of the
paper's settings.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from benchmarks import records
from benchmarks.records import metrics
from benchmarks.report import mean_of, option
from benchmarks.run import Fit, Job, Wanted, Watch, standardised, subset
from skdeepclust import ProFeatClustering, SCANClustering, SimCLR
from skdeepclust.datasets import load_cifar10, load_cifar100, load_fashion_mnist, load_stl10
from skdeepclust.inference import evaluation_mode, forward_in_slices, reestimate_batch_norm
from skdeepclust.networks import ClusterNetwork, ResNet18


def in_parts(load: Any, data_home: Path | None) -> tuple[np.ndarray, ...]:
    """Return X and y of the training part and of the test part."""
    parts = [load(subset=part, data_home=data_home, return_X_y=True) for part in ("train", "test")]
    return (*parts[0], *parts[1])


DATA = {
    "cifar10": partial(in_parts, load_cifar10),
    "cifar100-20": partial(in_parts, load_cifar100),
    "stl10": partial(in_parts, load_stl10),
    "fashion-mnist": partial(load_fashion_mnist, return_X_y=True),
    "digits": lambda data_home: records.digits(),
}
SIZES = {
    "cifar10": 50_000,
    "cifar100-20": 50_000,
    "stl10": 5000,
    "fashion-mnist": 70_000,
    "digits": 1797,
}
DEFAULT_DATA = ("cifar10",)
STATES = range(5)
BEFORE = "SCAN before self-labelling"
# What each row of ProFeat is: a round or more.
PROFEAT = {
    "(a)": {"confident_only": False, "separate_embedding": False},
    "(b)": {"separate_embedding": False},
    "(c)": {"confident_only": False},
    "ProFeat_s": {},
    "(d)": {"min_connections": 1},
    "ProFeat_e": {},
}
ENSEMBLES = ("(d)", "ProFeat_e")
PAPER = {
    ("cifar10", "k-means"): (0.229, 0.087, 0.049),
    ("cifar10", BEFORE): (0.816, 0.715, 0.665),
    ("cifar10", "SCAN"): (0.876, 0.787, 0.758),
    ("cifar10", "(a)"): (0.869,),
    ("cifar10", "(b)"): (0.877,),
    ("cifar10", "(c)"): (0.881,),
    ("cifar10", "ProFeat_s"): (0.887, 0.801, 0.776),
    ("cifar10", "(d)"): (0.893,),
    ("cifar10", "ProFeat_e"): (0.924, 0.835, 0.831),
    ("cifar100-20", "k-means"): (0.130, 0.084, 0.028),
    ("cifar100-20", BEFORE): (0.440, 0.449, 0.283),
    ("cifar100-20", "SCAN"): (0.459, 0.468, 0.301),
    ("cifar100-20", "ProFeat_s"): (0.500, 0.484, 0.325),
    ("cifar100-20", "ProFeat_e"): (0.526, 0.513, 0.355),
    ("stl10", "k-means"): (0.192, 0.125, 0.061),
    ("stl10", BEFORE): (0.792, 0.673, 0.618),
    ("stl10", "SCAN"): (0.767, 0.680, 0.616),
    ("stl10", "ProFeat_s"): (0.824, 0.728, 0.685),
    ("stl10", "ProFeat_e"): (0.848, 0.746, 0.712),
}
PAPER_HAS = "ACC / NMI / ARI"
# The paper's settings; those of CIFAR-10 for data that it doesn't have.
PLAN = {
    "simclr_epochs": 500,
    "scan_epochs": 50,
    "self_label_epochs": 200,
    "refinement_epochs": 50,
    "rounds": 10,
    "n_heads": 1,
    "n_models": 5,
}
PLANS = {
    "cifar100-20": {"scan_epochs": 100},
    "stl10": {"scan_epochs": 100, "self_label_epochs": 0, "rounds": 100},
}
BATCH_SIZE = {"cifar100-20": 512}  # of SCAN's step, else 128
THRESHOLD = {"stl10": 0.95}  # else 0.99
MIN_CONNECTIONS = {"cifar10": 20, "cifar100-20": 10, "stl10": 1}
N_NEIGHBORS = 20  # of the k-NN accuracy


SGD = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return the row's epochs of each phase, rounds, heads and models."""
    if row == "k-means":
        return {}
    plan = PLAN | PLANS.get(data, {})
    if data == "stl10" and row in ENSEMBLES:
        plan["rounds"] = 300
    if data == "stl10" and row == "SCAN":
        plan["self_label_epochs"] = 100  # of SCAN's own figures; ProFeat leaves it out there
    if given.get("small"):
        defaults = ProFeatClustering()
        plan |= {
            "simclr_epochs": SimCLR().max_epochs,
            "scan_epochs": defaults.max_epochs,
            "self_label_epochs": defaults.self_label_epochs,
            "refinement_epochs": defaults.refinement_epochs,
            "rounds": defaults.n_rounds,
            "n_heads": defaults.n_heads,
        }
    n = {"SimCLR": 1, "SimCLR + k-means": 1, "SCAN": 3}.get(row, 5)
    kept = list(plan)[:n] + ["n_heads"] * (n > 1) + ["n_models"] * (row in ENSEMBLES)
    own = {"shared": False} if row in ENSEMBLES and data != "stl10" else {}
    return {"small": False, **own, **{name: plan[name] for name in kept}}


def base(job: Job) -> str | None:
    """All rows begin with the shared SimCLR but k-means, and the ensembles by default."""
    alone = job.row in ENSEMBLES and not job.options.get("shared", True)
    return None if job.row in ("k-means", "SimCLR") or alone else "SimCLR"


def training_part(job: Job) -> np.ndarray:
    """Return the training part, for SimCLR with STL-10's unlabelled part."""
    if job.row != "SimCLR" or job.data != "stl10":
        return job.X
    found = load_stl10(subset="unlabeled", data_home=job.data_home, return_X_y=True)
    return np.concatenate([job.X, subset(*found, job.n_samples)[0]])


def network(job: Job) -> dict[str, Any]:
    """Return the paper's network."""
    return {} if job.options["small"] else {"network": ResNet18}


def simclr(job: Job) -> SimCLR:
    """Return the SimCLR that rows share."""
    paper = {} if job.options["small"] else {"batch_size": 512, "lr": 0.4, "optimizer": SGD}
    return SimCLR(max_epochs=job.options["simclr_epochs"], **paper, **network(job))


def clustering(job: Job) -> dict[str, Any]:
    """Return what SCAN and ProFeat share."""
    parameters = {
        "n_clusters": len(np.unique(job.y)),
        "representation": job.before.estimator if job.before else simclr(job),
        "max_epochs": job.options["scan_epochs"],
        "self_label_epochs": job.options["self_label_epochs"],
        "n_heads": job.options["n_heads"],
        "n_init": 1,
    }
    if not job.options["small"]:
        parameters |= {
            "n_neighbors": 20,
            "entropy_weight": 5.0,
            "batch_size": BATCH_SIZE.get(job.data, 128),
            "lr": 1e-4,
            "optimizer": partial(torch.optim.Adam, weight_decay=1e-4),
            "self_label_batch_size": 1000,
            "self_label_lr": 1e-4,
            "confidence": 0.99,
        }
    return parameters


def profeat(job: Job) -> ProFeatClustering:
    """Return a row of ProFeat."""
    parameters = clustering(job)
    parameters |= {k: job.options[k] for k in ("refinement_epochs", "n_models") if k in job.options}
    if not job.options["small"]:
        parameters |= {
            "refinement_lr": simclr(job).lr,
            "threshold": THRESHOLD.get(job.data, 0.99),
            "min_connections": MIN_CONNECTIONS.get(job.data, "auto"),
        }
    return ProFeatClustering(n_rounds=job.options["rounds"], **{**parameters, **PROFEAT[job.row]})


STAGES = {"SimCLR": simclr}
KEPT = ("SimCLR",)
ROWS = {
    "k-means": lambda job: records.k_means(len(np.unique(job.y))),
    "SimCLR + k-means": lambda job: make_pipeline(
        FrozenEstimator(job.before.estimator), KMeans(len(np.unique(job.y)), n_init=10)
    ),
    "SCAN": lambda job: SCANClustering(**clustering(job)),
    **dict.fromkeys(PROFEAT, profeat),
}
ORDER = ("k-means", "SimCLR + k-means", BEFORE, "SCAN", *PROFEAT)
DEFAULT_ROWS = ("k-means", "SimCLR + k-means", "SCAN", "ProFeat_s", "ProFeat_e")  # table 1
COLUMNS = {
    "settings": lambda r: (
        {True: "package's", False: "paper's"}.get(r["options"].get("small"), "")
        if r["row"] != "k-means"
        else ""
    ),
    "SimCLR epochs": option("simclr_epochs"),
    "shared SimCLR": lambda r: "yes" if r.get("shared SimCLR") or "base" in r else "",
    "SCAN epochs": option("scan_epochs"),
    "self-labelling epochs": option("self_label_epochs"),
    "refinement epochs a round": option("refinement_epochs"),
    "rounds": option("rounds"),
    "heads": option("n_heads"),
    "models": option("n_models"),
}
VALUES = {
    "ACC, training part": mean_of("training part"),
    "k-NN accuracy": mean_of("k-NN accuracy"),
}
SECONDS = "seconds of all"
REMARKS = """\
Images: training part (+ unlabelled, for SimCLR alone) / test part, which ACC, NMI and ARI are \
of; without a test part they are of the images trained on. The paper's figures are means of 5 \
runs with 500 epochs of SimCLR, 50 of SCAN (100 on CIFAR-100-20 and STL-10), 200 of \
self-labelling (STL-10: SCAN 100, ProFeat none) and 10 rounds (STL-10: 100, ProFeat_e 300) \
with 50 epochs of refinement; SCAN before self-labelling is the best single model of SCAN's \
README, not a mean. Settings: optimisers, learning rates, batch sizes, network \
and thresholds of the paper, or the package's defaults. Seconds are those of all stages that a \
row needs, with the SimCLR that it shares with other rows; a run that was cut off and went on \
counts the training alone. The k-NN accuracy is of SimCLR's features: 20 neighbours, cosine, \
with the labels of the training part (without a test part: cross-validated in 5 parts).

SCAN's step of the runs on Fashion-MNIST trained on the rest of each epoch, too, 16 images in \
place of 128; it is left out since, as in SCAN's released code. That leaves it out everywhere; \
SimCLR, self-labelling and the refinement keep it here.

With either settings, the strong augmentation of colour images is that of SCAN's released \
code. Ours: SCAN's step keeps its last epoch and the head with the lowest training loss in it \
(SCAN's code: the epoch and the head with the lowest loss on validation images and their 5 \
nearest neighbours, with an entropy weight of 1), neighbours are without the image itself \
(there with it), the side of the cut-out may be odd (there even, and 0 in 6 % of the draws), \
at least t_e models have to agree (equation 3: more than t_e, with t_e = 5 of 5), and heads go \
on from round to round, and batch normalisation sees samples and \
neighbours in one batch (there in two)."""
SHARE = {
    "n_samples": 10_000,
    "given": {
        "small": True, "simclr_epochs": 20, "scan_epochs": 15, "self_label_epochs": 5,
        "refinement_epochs": 4, "rounds": 2,
    },
}  # fmt: skip
WANTED = [
    Wanted(
        ["k-means", "SimCLR + k-means", "SCAN", "ProFeat_s"], ["fashion-mnist"], range(3), value=7,
        seconds=(600, None), **SHARE,
    ),
    Wanted(["(a)", "(b)", "(c)"], ["fashion-mnist"], range(3), 4, seconds=(600, None), **SHARE),
    Wanted(
        ["k-means", "SimCLR + k-means", "SCAN"], ["cifar10"], range(3), value=18,
        seconds=(None, 8000), precision="bf16",
    ),
    Wanted(["ProFeat_s"], ["cifar10"], range(3), 16, seconds=(None, 40_000), precision="bf16"),
    Wanted(
        ["SimCLR + k-means", "SCAN"], ["cifar100-20", "stl10"], range(3), value=8,
        seconds=(None, 10_000), precision="bf16",
    ),
    Wanted(["ProFeat_e"], ["cifar10"], [0], value=4, seconds=(None, 200_000), precision="bf16"),
]  # fmt: skip


def lines(record: dict) -> list[dict]:
    """Return what a run gives lines of: SCAN, also before its self-labelling."""
    if record["row"] != "SCAN":
        return [record]
    if not record["options"]["self_label_epochs"]:
        return [{**record, "row": BEFORE}]
    scores = record["scores"].get("before self-labelling")
    if not scores:
        return [record]
    before = {
        **record,
        "row": BEFORE,
        "options": record["options"] | {"self_label_epochs": 0},
        "scores": scores,
        SECONDS: record[SECONDS] - record["history"]["self-labelling"]["seconds"],
    }
    return [before, record]


class WATCH(Watch):
    """ACC, NMI and ARI of the test part after each clustering phase, for figure 1."""

    X: torch.Tensor | None = None

    def on_train_end(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        """Score the network as it is, but for the contrastive training."""
        if isinstance(net.module_, ClusterNetwork):
            with self.looking():
                self.look(net, net.module_, X)

    def look(self, net: Any, model: ClusterNetwork, X: Any) -> None:
        """Score a network with the head that is or would be selected."""
        if self.X is None:
            self.X = standardised(self.estimator, self.job.test[0], X.device)
        losses = getattr(net.criterion_, "head_losses", None)  # of SCAN's step
        head = int(model.head.selected if losses is None else losses.argmin())
        reestimate_batch_norm(ClusterNetwork(model.encoder, model.head), X)
        with evaluation_mode(model):
            logits = forward_in_slices(lambda x: model.head.all(model.embed(x))[head], self.X)
        found = metrics(self.job.test[1], logits.argmax(1).cpu().numpy())
        loss = float(model.head.loss if losses is None else losses.min())
        self.keep(net.phase.name, {**found, "loss": loss})


def of_round(found: dict[str, dict], number: int) -> dict[str, float] | None:
    """Return what the model kept after a round, counted from 1, had at its end."""
    of_models: dict[str, dict] = {}
    for phase, scores in found.items():  # self-labelling comes after SCAN's step
        model, _, _ = phase.rpartition(": ")
        if model.partition(",")[0] == f"round {number}":
            of_models[model] = scores
    return min(of_models.values(), key=lambda scores: scores["loss"], default=None)


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return the scores after each round, before self-labelling, and of SimCLR's features."""
    if job.row == "SCAN":
        found = fit.found.get("scan") if job.options["self_label_epochs"] else None
        return {"before self-labelling": found} if found else {}
    if job.row in PROFEAT:
        rounds = [
            {"training part": metrics(job.y, labels), "test part": of_round(fit.found, number)}
            for number, labels in enumerate(fit.estimator.round_labels_, start=1)
        ]
        return {"rounds": rounds}
    if job.row == "k-means":
        return {}
    features = job.before.estimator.transform(job.X)
    neighbors = KNeighborsClassifier(N_NEIGHBORS, metric="cosine")
    if len(job.parts) == 1:
        found = cross_val_score(neighbors, features, job.y, cv=5).mean()
    else:
        X_test, y_test = job.test
        found = neighbors.fit(features, job.y).score(job.before.estimator.transform(X_test), y_test)
    return {"k-NN accuracy": float(found)}


def figures(found: list[dict], folder: Path) -> None:
    """Draw figure 1: ACC after each round, and SCAN's mean as a line, for each setting."""
    settings: dict[str, list[dict]] = {}
    for r in found:
        if r["row"] == "ProFeat_s":
            settings.setdefault(r["name"].rpartition("-")[0], []).append(r)
    for name, runs in settings.items():
        like = [r for r in found if is_like(r, runs[0])]
        draw_rounds(like, folder / f"{name}-figure1.png")


def is_like(record: dict, other: dict) -> bool:
    """Return whether two runs differ by the row and the random state at most."""
    shared = [k for k in ("small", *PLAN) if k in record["options"] and k in other["options"]]
    return all(record[k] == other[k] for k in ("data", "n_samples", "precision")) and all(
        record["options"][k] == other["options"][k] for k in shared
    )


def draw_rounds(found: list[dict], path: Path) -> None:
    """Draw the rounds of one setting."""
    import matplotlib.pyplot as plt

    of_row = {row: [r for r in found if r["row"] == row] for row in ROWS}
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    n_runs = []
    for row, colour in (("ProFeat_s", "C0"), ("ProFeat_e", "C1")):
        runs = of_row[row]
        if not runs:
            continue
        n_runs.append(f"{row}: {len(runs)}")
        n_test = runs[0]["n_test"]
        parts = {"test part": "-", "training part": ":"} if n_test else {"test part": "-"}
        for part, style in parts.items():
            curves = [
                [r[part]["acc"] if r[part] else np.nan for r in run["scores"]["rounds"]]
                for run in runs
            ]
            rounds = range(1, len(curves[0]) + 1)
            label = f"{row}, {part}" if n_test else row
            mean = np.mean(curves, axis=0)
            ax.plot(rounds, mean, style, marker=".", color=colour, label=label)
            if len(runs) > 1 and part == "test part":
                ax.fill_between(
                    rounds, np.min(curves, 0), np.max(curves, 0), alpha=0.15, color=colour, lw=0
                )
    scan = [r["scores"]["acc"] for r in of_row["SCAN"]]
    if scan:
        n_runs.append(f"SCAN: {len(scan)}")
        ax.axhline(np.mean(scan), color="C2", ls="--", label="SCAN, mean")
    ax.set(xlabel="round", ylabel="ACC", title=f"{found[0]['data']} (runs: {', '.join(n_runs)})")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
