"""Seconds to an accuracy: defaults here beside k-means, UMAP and ClustPy, images of four kinds.

    python -m benchmarks time_to_accuracy --threads 2                     # MNIST, 70,000 images
    python -m benchmarks time_to_accuracy --data mnist --n-samples 10000 --row KMeans UMAP ...

The peers get an environment of their own, of Python 3.11 or later, named by PEER_PYTHON:

    python -m venv peers && peers/bin/pip install umap-learn==0.5.12 clustpy==0.0.3
    PEER_PYTHON=peers/bin/python python -m benchmarks time_to_accuracy

USPS (usps/usps.h5, which needs h5py) and the animals' silhouettes (animals/*.gz) are read from the
data home; the others are downloaded. No label is seen before a fit ends but by the figures: after
each epoch 10,000 images are assigned, and the clock stands still. The defaults of DeepClustering
were chosen on scikit-learn's digits and on 10,000 images of MNIST with random states 0 to 4; on
Fashion-MNIST, USPS and the animals they were only measured, and so were the states 10 to 19.
"""

from __future__ import annotations

import gzip
import pickle
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from benchmarks import records
from benchmarks.peers.estimator import Peer
from benchmarks.run import Fit, Job, Wanted, Watch
from skdeepclust import (
    DECClustering,
    DeepClustering,
    IICClustering,
    IMSATClustering,
    SCANClustering,
    STDACClustering,
)
from skdeepclust.datasets import load_fashion_mnist, load_mnist
from skdeepclust.inference import evaluation_mode, forward_in_slices, reestimate_batch_norm
from skdeepclust.metrics import clustering_accuracy_score

THRESHOLDS = {"mnist": (0.90, 0.95, 0.97, 0.975), "fashion-mnist": (0.65,), "usps": (0.95,)}
N_SCORED = 10_000  # images after each epoch


def animals(data_home: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return 10,000 silhouettes of ten animals, of 28 x 28."""

    def read(what: str) -> np.ndarray:
        path = Path(data_home or ".") / "animals" / f"animal_{what}_version_3.gz"
        if not path.exists():
            raise FileNotFoundError(
                f"{path} isn't there. It is in the Python package animal-mnist 0.4; --data-home "
                "names the folder above animals."
            )
        with gzip.open(path) as file:
            return np.asarray(pickle.load(file))

    return read("data"), read("label")


DATA = {
    "mnist": partial(load_mnist, return_X_y=True),
    "fashion-mnist": partial(load_fashion_mnist, return_X_y=True),
    "usps": records.usps,
    "animals": animals,
}
SIZES = {"mnist": 70_000, "fashion-mnist": 70_000, "usps": 9298, "animals": 10_000}
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
STATES = range(5)
BY_DEVICE = True
DEFAULT_DATA = ["mnist"]
DEFAULT_ROWS = ["KMeans", "UMAP", "DeepClustering"]
ROWS = {
    "KMeans": lambda job: records.k_means(10),
    "UMAP": lambda job: Peer("umap"),
    "ClustPy N2D": lambda job: Peer("N2D"),
    "ClustPy DEC": lambda job: Peer("DEC"),
    "ClustPy IDEC": lambda job: Peer("IDEC"),
    "ClustPy DCN": lambda job: Peer("DCN"),
    "DECClustering": lambda job: DECClustering(10),
    "IMSATClustering": lambda job: IMSATClustering(10),
    "IICClustering": lambda job: IICClustering(10),
    "SCANClustering": lambda job: SCANClustering(10),
    "STDACClustering": lambda job: STDACClustering(10),
    "DeepClustering": lambda job: DeepClustering(10),
}
ORDER = ["KMeans", "UMAP + KMeans", "UMAP + mixture", *list(ROWS)[2:]]
REMARKS = (
    "Defaults throughout; UMAP: 10 components, 20 neighbours, min_dist=0; ClustPy's N2D "
    "with that UMAP. Seconds to an accuracy: of the network as it was after an epoch, mean over "
    "the runs that came there; of what has no epochs, of the whole fit. Those of UMAP have numba's "
    "compilation in them. The defaults were chosen on digits and 10,000 images of MNIST with "
    "states 0 to 4, and on versions of both with classes of unequal size (of IICClustering on the "
    "digits); Fashion-MNIST, USPS and the animals were only measured."
)
WANTED = [
    Wanted(["DeepClustering"], ["mnist", "fashion-mnist"], STATES, value=20, seconds=(700, 60)),
    Wanted(
        ["SCANClustering", "IMSATClustering", "DECClustering", "STDACClustering"],
        ["mnist", "fashion-mnist"], range(3), value=6, seconds=(5000, 400),
    ),
    Wanted(["IICClustering"], ["mnist", "fashion-mnist"], range(3), value=8, seconds=(1200, 100)),
]  # fmt: skip


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return all results of a peer."""
    if not isinstance(fit.last, Peer):
        return {}
    scores = {name: records.metrics(job.y, labels) for name, labels in fit.last.results_.items()}
    return {"results": scores, "seconds": fit.last.seconds_, "versions": fit.last.versions_}


def lines(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return UMAP's record as one of each clustering, and a peer's seconds as it says."""
    scores = record["scores"]
    if "results" not in scores:
        return [record]
    return [
        {
            **record,
            "row": f"UMAP + {name}" if record["row"] == "UMAP" else record["row"],
            "scores": found,
            "seconds": scores["seconds"][name],
        }
        for name, found in scores["results"].items()
    ]


class WATCH(Watch):
    """ACC and NMI after each epoch, and the seconds until then."""

    def on_epoch_end(self, net: Any, dataset_train: Any, **kwargs: Any) -> None:
        """Score the network as it is."""
        elapsed = self.elapsed
        with self.looking():
            step = -(-len(dataset_train) // N_SCORED)
            X, y = dataset_train[::step], self.job.y[::step]
            reestimate_batch_norm(net.module_, X)
            with evaluation_mode(net.module_):
                labels = forward_in_slices(net.module_, X).argmax(1).cpu().numpy()
            net.history.record("elapsed", elapsed)
            net.history.record("acc", clustering_accuracy_score(y, labels))
            net.history.record("nmi", float(normalized_mutual_info_score(y, labels)))


def track(record: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return seconds and ACC, epoch by epoch and at the end."""
    seconds, acc = records.curve(record, "elapsed"), records.curve(record, "acc")
    before = 0.0  # in the processes that a fit went on from, each of which has a clock of its own
    for i, (last, now) in enumerate(pairwise([0.0, *seconds])):
        before += last if now < last else 0.0
        seconds[i] = before + now
    return [*seconds, record["seconds"]], [*acc, record["scores"]["acc"]]


def seconds_to(threshold: float, group: list[dict]) -> str:
    """Return the mean seconds to a threshold, and of how many runs."""
    if threshold not in THRESHOLDS.get(group[0]["data"], ()):
        return ""
    first = [
        next((s for s, acc in zip(*track(r), strict=True) if acc >= threshold), None) for r in group
    ]
    there = [s for s in first if s is not None]
    if not there:
        return "never"
    return f"{np.mean(there):,.0f}" + (
        f" ({len(there)} of {len(group)})" if len(there) < len(group) else ""
    )


def states(record: dict[str, Any]) -> str:
    """Return the random state's five: on the first, 0 to 4, defaults were chosen."""
    first = record["random_state"] // 5 * 5
    return f"{first} to {first + 4}"


def worst(group: list[dict]) -> str:
    """Return the lowest ACC of the runs."""
    return f"{min(r['scores']['acc'] for r in group):.3f}"


COLUMNS = {"states": states}
VALUES = {
    "worst ACC": worst,
    **{
        "s to " + f"{t:.3f}".lstrip("0").removesuffix("0"): partial(seconds_to, t)
        for t in sorted({t for found in THRESHOLDS.values() for t in found})
    },
}


def on_gpu(record: dict[str, Any]) -> str:
    """Return the row, and the card of a run on one."""
    is_on_gpu = record["environment"]["device"] != "cpu"
    return record["row"] + (f" ({records.machine(record)})" if is_on_gpu else "")


def figures(found: list[dict], folder: Path) -> None:
    """Draw accuracy against seconds on all images of MNIST and of Fashion-MNIST."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    found = [r for r in found if not r["set"] and r["n_samples"] == SIZES[r["data"]]]
    every = [{**line, "row": on_gpu(line)} for r in found for line in lines(r)]
    names = dict.fromkeys(r["row"] for r in every)
    rows = [row for row in ORDER if row in names] + [row for row in names if row not in ORDER]
    shown = [name for name in TITLES if any(r["data"] == name for r in every)]
    if not shown:
        return
    figure, axes = plt.subplots(
        1, len(shown), figsize=(5.5 * len(shown), 3.6), layout="constrained", squeeze=False
    )
    for ax, data in zip(axes[0], shown, strict=True):
        for number, row in enumerate(rows):
            runs = [track(r) for r in every if (r["row"], r["data"]) == (row, data)]
            if not runs:
                continue
            # there are ten colours; after them lines and marks change
            color, line, mark = f"C{number}", ("-", "--", ":")[number // 10], "os^"[number // 10]
            last = [(s[-1], acc[-1]) for s, acc in runs]
            for seconds, acc in runs:
                ax.plot(seconds, acc, line, color=color, alpha=0.5, linewidth=1)
            ax.plot(*np.transpose(last), mark, color=color, markersize=4, label=row)
        for threshold in THRESHOLDS[data]:
            ax.axhline(threshold, color="0.8", linewidth=0.8, zorder=0)
        ax.set(xscale="log", xlabel="seconds", ylabel="ACC", title=f"{TITLES[data]}, 70,000 images")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.xaxis.set_minor_formatter("")
        ax.spines[["top", "right"]].set_visible(False)
    labels = {k: v for ax in axes[0] for v, k in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(
        labels.values(), labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8
    )
    figure.savefig(folder / "time_to_accuracy.png", dpi=120)
    plt.close(figure)
