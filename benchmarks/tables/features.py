"""Heads on the features of a network that has seen other images, beside k-means and UMAP.

    python -m benchmarks features --threads 2

The features are read from ``features/<name>-train.npy`` and ``-test.npy`` of the data home, of
shape (n, d) and of any floating type; ``python -m benchmarks --list`` names them. Everything is
fitted to the training part and measured on both. UMAP needs ``pip install "skdeepclust[umap]"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from benchmarks.peers.recipes import UMAP_SETTINGS
from benchmarks.report import mean_of
from benchmarks.run import Job, Wanted, fitted
from skdeepclust import (
    ConsensusClustering,
    SCANClustering,
    TEMIClustering,
    TURTLEClustering,
)
from skdeepclust.cluster._n2d import import_umap
from skdeepclust.datasets import load_cifar10


def load(name: str, loader: Any, data_home: Path | None) -> tuple[np.ndarray, ...]:
    """Return features and classes of the training part, then of the test part."""
    found: list[np.ndarray] = []
    for subset in ("train", "test"):
        path = Path(data_home or ".") / "features" / f"{name}-{subset}.npy"
        _, y = loader(data_home=data_home, subset=subset, return_X_y=True)
        found += [np.load(path, mmap_mode="r"), y]
    return tuple(found)


class UMAPKMeans(ClusterMixin, BaseEstimator):
    """UMAP, which is imported when it is fitted, then k-means."""

    def __init__(self, n_clusters: int = 10, random_state: int | None = None) -> None:
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: Any = None) -> UMAPKMeans:
        """Fit both; UMAP without a random state, for it uses several threads only then."""
        self.umap_ = import_umap()(**UMAP_SETTINGS)
        self.k_means_ = KMeans(self.n_clusters, n_init=10, random_state=self.random_state)
        self.labels_ = self.k_means_.fit_predict(self.umap_.fit_transform(X))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the clusters of other samples, by UMAP's map of them."""
        return self.k_means_.predict(self.umap_.transform(X))


def k_means(n_clusters: int) -> KMeans:
    """Return k-means."""
    return KMeans(n_clusters, n_init=10)


class Kept(ClusterMixin, BaseEstimator):
    """A fitted estimator, which is looked for when this is fitted."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.find = find

    def fit(self, X: np.ndarray, y: Any = None) -> Kept:
        """Find it, or fit it."""
        self.estimator_ = self.find()
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the clusters that it predicts."""
        return self.estimator_.predict(X)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return its probabilities."""
        return self.estimator_.predict_proba(X)


def consensus(job: Job) -> ConsensusClustering:
    """Return the consensus of what SCAN, TEMI and TURTLE have found with the same random state."""

    def find(row: str) -> Any:
        return fitted(replace(job, row=row)).estimator

    # functions, which copies of an estimator share
    members = [(row, Kept(lambda row=row: find(row))) for row in KEPT]
    return ConsensusClustering(members)


DATA = {
    "cifar-10-efficientnet-lite0": partial(load, "cifar-10-efficientnet-lite0", load_cifar10),
}
SIZES = {"cifar-10-efficientnet-lite0": 50_000}
STATES = range(5)
KEPT = ("SCAN", "TEMI", "TURTLE")
ROWS = {
    "KMeans": lambda job: k_means(10),
    "l2 + KMeans": lambda job: make_pipeline(
        StandardScaler(with_std=False), Normalizer(), k_means(10)
    ),
    "UMAP + KMeans": lambda job: UMAPKMeans(10),
    "SCAN": lambda job: SCANClustering(10, representation="precomputed"),
    "TEMI": lambda job: TEMIClustering(10),
    "TURTLE": lambda job: TURTLEClustering(10),
    "Consensus": consensus,
}
REMARKS = (
    "ACC, NMI and ARI are those of the test part; everything is fitted to the training part, with "
    'defaults. "l2": centred features, divided by the norm of each sample, as the heads get them. '
    "Consensus: of SCAN, TEMI and TURTLE with the same random state; their seconds come on top. "
    "EfficientNet has learnt with the labels of ImageNet: these are no figures of clustering "
    "without labels."
)
WANTED = [Wanted(ROWS, DATA, range(3), value=10, seconds=(600, 100))]


def prepare(job: Job, X: np.ndarray) -> np.ndarray:
    """Return features in memory, which k-means needs."""
    return np.asarray(X, dtype=np.float32).reshape(len(X), -1)


VALUES = {"ACC of the training part": mean_of("training part")}
