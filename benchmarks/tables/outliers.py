"""Outliers: a class that is left out of the training, told from new samples of the others.

    python -m benchmarks outliers --threads 1

"digits without 3": nine classes of scikit-learn's digits to train on, 70 % of their samples; the
rest of these, and all samples of the tenth, are told apart by the area under the ROC curve.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks import records
from benchmarks.run import Fit, Job, Wanted
from skdeepclust import (
    AutoencoderClustering,
    DeepClustering,
    IMSATClustering,
    STDACClustering,
    TEMIClustering,
)


def without(k: int, data_home: Any = None) -> tuple[np.ndarray, ...]:
    """Return training and test part of the digits, the former without a class."""
    X, y = records.digits()
    new = (np.random.RandomState(0).rand(len(X)) < 0.3) | (y == k)
    return X[~new], y[~new], X[new], y[new]


DATA = {f"digits without {k}": partial(without, k) for k in range(10)}
SIZES = dict.fromkeys(DATA, 1130)
STATES = [0]
ROWS = {
    "DeepClustering": lambda job: DeepClustering(9),
    "STDACClustering": lambda job: STDACClustering(9),
    "IMSATClustering": lambda job: IMSATClustering(9),
    "AutoencoderClustering": lambda job: AutoencoderClustering(9),
    "TEMIClustering": lambda job: TEMIClustering(9),
}
PAPER: dict[tuple[str, str], tuple] = {}
WANTED = [Wanted(ROWS, DATA, STATES, value=9, seconds=(60, 30))]
REJECT = 0.05


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return how well the class is told from the others, and what is rejected of each."""
    X, y = job.test
    is_out = ~np.isin(y, job.y)
    model = fit.last
    rejected = model.predict(X, reject=REJECT) < 0
    return {
        "AUROC": roc_auc_score(is_out, -model.score_samples(X)),
        "AUROC by probability": roc_auc_score(is_out, -model.predict_proba(X).max(1)),
        "rejected outliers": rejected[is_out].mean(),
        "rejected others": rejected[~is_out].mean(),
    }


def report(found: list[dict]) -> str:
    """Return the means over the classes."""
    found = [r for r in found if not r["set"]]
    lines = []
    for row in ROWS:
        scores = [r["scores"] for r in found if r["row"] == row]
        if scores:
            cells = [
                records.mean_std([s[name] for s in scores])
                for name in (
                    "AUROC",
                    "AUROC by probability",
                    "rejected outliers",
                    "rejected others",
                )
            ]
            lines.append([row, len(scores), *cells])
    header = [
        "digits", "classes left out", "AUROC by `score_samples`", "AUROC by `predict_proba`",
        f"rejected of the class, reject={REJECT}", "rejected of the others",
    ]  # fmt: skip
    return records.table(header, lines)
