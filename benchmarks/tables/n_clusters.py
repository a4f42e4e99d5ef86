"""How many clusters: by confusion, prediction strength, silhouette, gap, X-, G- and Dip-means.

    PEER_PYTHON=peers/bin/python python -m benchmarks n_clusters --threads 1

Ten mixtures of normal distributions with correlated features, scikit-learn's digits as pixels and
in a UMAP space, and 10,000 images of MNIST and Fashion-MNIST in such a space (of 10 components,
20 neighbours and no least distance, made in the peers' environment: benchmarks/peers/recipes.py);
these images, USPS and silhouettes of animals as images.
2 to 30 clusters are tried; by k-means with 5 starts, but for X-, G- and Dip-means, which are
ClustPy's with its defaults, TEMIClustering("auto") with features scaled one by one and 50 epochs,
and DeepClustering("auto"). Nothing was chosen on these data but thresholds: the paper's, and that
of confusion by chance, after a look at the trees of the digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from benchmarks import records
from benchmarks.peers.estimator import Peer
from benchmarks.run import CACHE, Fit, Job, Wanted
from benchmarks.tables.tabular import mixture
from benchmarks.tables.time_to_accuracy import DATA as IMAGES
from skdeepclust import DeepClustering, TEMIClustering, select_n_clusters

NUMBERS = range(2, 31)
N_SAMPLES = 10_000  # of the images
# number of components, features
MIXTURES = [(2, 2), (3, 4), (4, 8), (5, 3), (6, 16), (8, 8), (9, 20), (11, 16), (12, 32), (15, 16)]


def sampled(name: str, data_home: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 10,000 images and their classes."""
    images, y = records.digits() if name == "digits" else IMAGES[name](data_home=data_home)
    chosen = np.random.RandomState(0).permutation(len(images))[:N_SAMPLES]
    return images[chosen], y[chosen]


def in_umap_space(name: str, data_home: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return UMAP's embedding of these images, made once, and their classes."""
    images, y = sampled(name, data_home)
    path = CACHE / "n_clusters" / f"umap-{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, Peer("umap").fit(images).embedding_)
    return np.load(path), y


DATA: dict[str, Callable[..., Any]] = {
    **{
        f"mixture of {k} in {d}": partial(mixture, k, d, seed)
        for seed, (k, d) in enumerate(MIXTURES)
    },
    "digits": lambda data_home: records.digits(),
    "digits, UMAP": partial(in_umap_space, "digits"),
    "MNIST, UMAP": partial(in_umap_space, "mnist"),
    "Fashion-MNIST, UMAP": partial(in_umap_space, "fashion-mnist"),
    "MNIST": partial(sampled, "mnist"),
    "USPS": partial(sampled, "usps"),
    "Fashion-MNIST": partial(sampled, "fashion-mnist"),
    "animals": partial(sampled, "animals"),
}
SIZES = dict.fromkeys(DATA, 1000) | {"digits": 1797, "digits, UMAP": 1797}
SIZES |= {"MNIST, UMAP": N_SAMPLES, "Fashion-MNIST, UMAP": N_SAMPLES}
SIZES |= {"MNIST": N_SAMPLES, "USPS": 9298, "Fashion-MNIST": N_SAMPLES, "animals": N_SAMPLES}
STATES = range(3)


def within(X: np.ndarray, n_clusters: int, seed: int) -> float:
    """Return the logarithm of k-means' squared distances within clusters."""
    return float(np.log(KMeans(n_clusters, n_init=5, random_state=seed).fit(X).inertia_))


def by_strength(X: np.ndarray, seed: int) -> int:
    """Return the number that prediction strength finds."""
    return select_n_clusters(KMeans(n_init=5), X, NUMBERS, random_state=seed).best


def by_confusion(X: np.ndarray, seed: int) -> int:
    """Return the number of TEMI's clusters that aren't confused more than by chance."""
    temi = TEMIClustering("auto", scaling="standard", random_state=seed, max_epochs=50)
    return temi.fit(X).n_clusters_


def by_silhouette(X: np.ndarray, seed: int) -> int:
    """Return the number with the highest silhouette."""
    scores = [
        silhouette_score(
            X, KMeans(k, n_init=5, random_state=seed).fit_predict(X),
            sample_size=min(len(X), 3000), random_state=seed,
        )
        for k in NUMBERS
    ]  # fmt: skip
    return NUMBERS[int(np.argmax(scores))]


def by_gap(X: np.ndarray, seed: int, n_references: int = 5) -> int:
    """Return the number by the gap statistic, with references in the box of the components."""
    rng = np.random.RandomState(seed)
    centered = X - X.mean(0)
    axes = np.linalg.svd(centered, full_matrices=False)[2]
    low, high = (f(centered @ axes.T, 0) for f in (np.min, np.max))
    references = [rng.uniform(low, high, X.shape) @ axes for _ in range(n_references)]
    gaps, errors = [], []
    for k in (1, *NUMBERS):
        expected = np.array([within(reference, k, seed) for reference in references])
        gaps.append(expected.mean() - within(X, k, seed))
        errors.append(expected.std() * np.sqrt(1 + 1 / n_references))
        if k > 1 and gaps[-2] >= gaps[-1] - errors[-1]:
            return k - 1
    return NUMBERS[-1]


class FoundNumber(ClusterMixin, BaseEstimator):
    """k-means with the number of clusters that a criterion finds."""

    def __init__(self, criterion: Callable[..., int], random_state: int = 0) -> None:
        self.criterion = criterion
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: Any = None) -> FoundNumber:
        """Find the number, and cluster."""
        X = np.asarray(X, dtype=np.float64).reshape(len(X), -1)
        number = self.criterion(X, self.random_state)
        self.labels_ = KMeans(number, n_init=5, random_state=self.random_state).fit_predict(X)
        return self


ROWS = {
    'DeepClustering, "auto"': lambda job: DeepClustering("auto"),
    'TEMI, "auto"': lambda job: FoundNumber(by_confusion),
    "prediction strength": lambda job: FoundNumber(by_strength),
    "silhouette": lambda job: FoundNumber(by_silhouette),
    "gap": lambda job: FoundNumber(by_gap),
    "X-means": lambda job: Peer("XMeans"),
    "G-means": lambda job: Peer("GMeans"),
    "Dip-means": lambda job: Peer("DipMeans"),
}
WANTED = [
    Wanted(
        ['DeepClustering, "auto"', 'TEMI, "auto"', "prediction strength", "silhouette", "gap"],
        DATA,
        STATES,
        value=8,
        seconds=(60, 60),
    )
]


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return the number that was found, and the number of classes."""
    return {
        "found": len(np.unique(fit.last.labels_)),
        "classes": len(np.unique(job.y)),
    }


def report(found: list[dict]) -> str:
    """Return the numbers, how often they are right, and how far off."""
    found = [r for r in found if not r["set"]]
    rows = [row for row in ROWS if any(r["row"] == row for r in found)]
    lines, summary = [], []
    for data in DATA:
        of_data = [r for r in found if r["data"] == data]
        if not of_data:
            continue
        by_row = [
            [r["scores"]["found"] for r in sorted(of_data, key=lambda r: r["random_state"])
             if r["row"] == row]
            for row in rows
        ]  # fmt: skip
        cells = [", ".join(map(str, numbers)) for numbers in by_row]
        lines.append([data, of_data[0]["scores"]["classes"], *cells])
    for row in rows:
        off = [abs(r["scores"]["found"] - r["scores"]["classes"]) for r in found if r["row"] == row]
        if off:
            right = f"{sum(d == 0 for d in off)} of {len(off)}"
            summary.append([row, right, f"{np.median(off):g}", f"{np.mean(off):.1f}"])
    return "\n\n".join(
        [
            records.table(["number of clusters found in", "classes", *rows], lines),
            "One number for each random state. The classes of images need not be clusters: 1,797 "
            "digits have more than ten ways to be written.",
            records.table(["", "right", "median distance", "mean distance"], summary),
        ]
    )
