"""How well `score`, which needs no labels, ranks runs and settings by their accuracy.

    python -m benchmarks selection
    python -m benchmarks selection --row default --data digits digits-unequal --random-states 0 1 2 3 4 5

Short single runs (10 epochs) on digits, on digits with unequal classes, and with other settings:
Spearman's rank correlation of `score` with ACC and NMI among runs of one setting and across
settings.
"""  # noqa: E501

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks import records
from benchmarks.records import mean_std
from benchmarks.run import Fit, Job, Wanted
from benchmarks.tables.digits import DATA as DATA
from benchmarks.tables.digits import SIZES as SIZES
from skdeepclust import STDACClustering
from skdeepclust._training._selection import NeighborCriterion

STATES = range(2)
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "lr=1e-3": {"lr": 1e-3},
    "lr=3e-5": {"lr": 3e-5},
    "no augmentation": {"augmentation": None},
    "n_st_layers=0": {"n_st_layers": 0},
    "n_st_layers=3": {"n_st_layers": 3},
    "aux_weight=1": {"aux_weight": 1.0},
    "batch_size=128": {"batch_size": 128},
    "max_epochs=4": {"max_epochs": 4},
    "lower=0.95": {"lower": 0.95},
    "init=kmeans": {"init": "kmeans"},
    "mi_weight=1": {"mi_weight": 1.0},
}


def st_dac(job: Job, **setting: Any) -> STDACClustering:
    """Return a short single run."""
    return STDACClustering(10, **{"n_init": 1, "max_epochs": 10, **setting})


ROWS = {
    "k-means": lambda job: records.k_means(10),
    **{name: partial(st_dac, **setting) for name, setting in SETTINGS.items()},
}
DEFAULT_DATA = ("digits",)
TITLES = {"digits": "digits", "digits-unequal": "digits, unequal classes"}
REMARKS = "Spearman's rank correlation with ACC / NMI."
WANTED = [
    Wanted(["k-means"], DATA, [0], value=6, seconds=(1, 1)),
    Wanted(["default"], DATA, range(6), value=6, seconds=(40, 15)),
    Wanted(SETTINGS, ["digits"], STATES, value=6, seconds=(40, 15)),
]


def evaluate(job: Job, fit: Fit) -> dict[str, float]:
    """Return `score`, and the mutual information of samples and clusters."""
    if job.row == "k-means":
        X = torch.from_numpy((job.X - job.X.mean()) / job.X.std()).float()
        return {"score": NeighborCriterion(X)(np.eye(10)[fit.last.labels_])}
    p = np.clip(fit.estimator.predict_proba(job.X).astype(float), 1e-12, 1)
    mean = p.mean(0)
    mutual = float((p * np.log(p)).sum(1).mean() - (mean * np.log(mean)).sum())
    return {"score": fit.estimator.score(job.X), "mutual information": mutual}


def rho(found: list[dict], name: str) -> str:
    """Return the rank correlations with ACC and NMI, of the runs that have the criterion."""
    scores = [r["scores"] for r in found if name in r["scores"]]
    if len(scores) < 3:
        return ""
    both = (spearmanr([s[name] for s in scores], [s[m] for s in scores])[0] for m in ("acc", "nmi"))
    return " / ".join(f"{value:.2f}" for value in both)


def report(found: list[dict]) -> str:
    """Return both tables."""
    found = [r for r in found if not r["set"] and r["n_samples"] == SIZES[r["data"]]]
    among = {
        f"runs of the default setting, {title}": [
            r for r in found if (r["row"], r["data"]) == ("default", data)
        ]
        for data, title in TITLES.items()
    }
    settings = {
        row: [
            r
            for r in found
            if (r["row"], r["data"]) == (row, "digits") and r["random_state"] in STATES
        ]
        for row in SETTINGS
    }
    everything = [r for group in settings.values() for r in group]
    among[f"runs of {len(SETTINGS)} settings, digits"] = everything
    correlations = records.table(
        ["among", "runs", "`score`", "H(mean p) - mean H(p)"],
        [
            [name, len(group), rho(group, "score"), rho(group, "mutual information")]
            for name, group in among.items()
        ],
    )
    means = records.table(
        ["setting", "ACC", "NMI", "score"],
        [
            [row, *(mean_std(r["scores"][m] for r in group) for m in ("acc", "nmi", "score"))]
            for row, group in settings.items()
            if group
        ],
    )
    k_means = [
        f"k-means on {TITLES[r['data']]}: ACC {r['scores']['acc']:.3f}, "
        f"score {r['scores']['score']:.3f}."
        for r in found
        if (r["row"], r["random_state"]) == ("k-means", 0)
    ]
    return "\n\n".join([correlations, REMARKS, means, *k_means])
