"""Defaults on tabular data beside k-means and UMAP: four sets and three mixtures.

    python -m benchmarks tabular --threads 1

UMAP runs in the peers' environment, see benchmarks/tables/time_to_accuracy.py. All get standardised
features. Nothing of DeepClustering was chosen on these but for the digits: the number of restarts
of small data was chosen on mixtures from the same generator with other seeds.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from benchmarks import records
from benchmarks.peers.estimator import Peer
from benchmarks.run import Job, Wanted
from benchmarks.tables.time_to_accuracy import evaluate as evaluate
from benchmarks.tables.time_to_accuracy import lines as lines
from benchmarks.tables.time_to_accuracy import worst
from skdeepclust import DeepClustering


def load(loader: Any, data_home: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return features and classes of a set of scikit-learn's."""
    return loader(return_X_y=True)


def mixture(
    n_clusters: int, n_features: int, seed: int, data_home: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return 1,000 samples of normal distributions, each with correlated features of its own."""
    rng = np.random.RandomState(seed)
    y = rng.randint(n_clusters, size=1000)
    means = 1.5 * rng.randn(n_clusters, n_features)
    scales = np.geomspace(3, 0.3, n_features)
    X = np.empty((len(y), n_features))
    for c in range(n_clusters):
        axes, _ = np.linalg.qr(rng.randn(n_features, n_features))
        X[y == c] = means[c] + (rng.randn(np.count_nonzero(y == c), n_features) * scales) @ axes
    return X, y


SETS = {
    "iris": (partial(load, load_iris), 3, 150),
    "wine": (partial(load, load_wine), 3, 178),
    "breast cancer": (partial(load, load_breast_cancer), 2, 569),
    "digits, as features": (partial(load, load_digits), 10, 1797),
    "mixture of 3 in 4": (partial(mixture, 3, 4, 0), 3, 1000),
    "mixture of 5 in 8": (partial(mixture, 5, 8, 1), 5, 1000),
    "mixture of 8 in 16": (partial(mixture, 8, 16, 2), 8, 1000),
}
DATA = {name: loader for name, (loader, *_) in SETS.items()}
SIZES = {name: size for name, (*_, size) in SETS.items()}
STATES = range(5)
ROWS = {
    "KMeans": lambda job: KMeans(SETS[job.data][1], n_init=10),
    "UMAP": lambda job: Peer("umap", SETS[job.data][1]),
    "DeepClustering": lambda job: DeepClustering(SETS[job.data][1]),
}
ORDER = ["KMeans", "UMAP + KMeans", "UMAP + mixture", "DeepClustering"]
VALUES = {"worst ACC": worst}
REMARKS = (
    "Standardised features, defaults (KMeans: n_init=10; UMAP: 10 components, 20 neighbours, "
    "min_dist=0, numba's compilation in the seconds)."
)
WANTED = [Wanted(["DeepClustering"], DATA, STATES, value=30, seconds=(20, 20))]


def prepare(job: Job, X: np.ndarray) -> np.ndarray:
    """Return standardised features."""
    return StandardScaler().fit_transform(X.reshape(len(X), -1)).astype(np.float32)


def remarks(found: list[dict]) -> str:
    """Return the means over the sets."""
    every = [line for r in found if not r["set"] for line in lines(r)]
    means = []
    for row in ORDER:
        by_set = [
            [
                (r["scores"]["acc"], r["scores"]["nmi"])
                for r in every
                if (r["row"], r["data"]) == key
            ]
            for key in ((row, data) for data in DATA)
        ]
        if all(by_set):
            acc, nmi = np.mean([np.mean(values, 0) for values in by_set], 0)
            means.append([row, f"{acc:.3f}", f"{nmi:.3f}"])
    return records.table(["mean over the sets", "ACC", "NMI"], means) if means else ""
