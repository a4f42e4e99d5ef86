"""What a user would run instead, in an environment of its own, which `Peer` starts.

    python -m benchmarks.peers.recipes job.npz job.json result.json

It imports nothing of skdeepclust. `umap`: UMAP of 10 components, 20 neighbours and no least
distance, then k-means and a Gaussian mixture on it; without a random state, for UMAP uses several
threads only then. The others are ClustPy's, with its defaults; `N2D` gets UMAP as its manifold, as
in the paper, and `VaDE` values in [0, 1]; `XMeans`, `GMeans` and `DipMeans` find the number of
clusters themselves. The seconds leave imports out, but not what numba
compiles.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

UMAP_SETTINGS = {"n_neighbors": 20, "n_components": 10, "min_dist": 0.0}


def umap(X: np.ndarray, n_clusters: int, random_state: int) -> tuple[dict, dict, np.ndarray]:
    """Return labels and seconds of k-means and of a mixture on one embedding, and that."""
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture
    from umap import UMAP

    start = time.perf_counter()
    Z = UMAP(**UMAP_SETTINGS).fit_transform(X)
    embedding = time.perf_counter() - start
    labels, seconds = {}, {}
    for name, estimator in {
        "KMeans": KMeans(n_clusters, n_init=10, random_state=random_state),
        "mixture": GaussianMixture(n_clusters, n_init=5, random_state=random_state),
    }.items():
        start = time.perf_counter()
        labels[name] = estimator.fit_predict(Z)
        seconds[name] = embedding + time.perf_counter() - start
    return labels, seconds, Z


def clustpy(method: str, X: np.ndarray, n_clusters: int, random_state: int) -> tuple[dict, dict]:
    """Return labels and seconds of one of ClustPy's methods."""
    from benchmarks.peers.clustpy import import_torchvision

    import_torchvision()
    from clustpy import centroid, deep

    if hasattr(centroid, method):
        start = time.perf_counter()
        labels = getattr(centroid, method)(random_state=random_state).fit_predict(X)
        return {method: labels}, {method: time.perf_counter() - start}
    given: dict[str, Any] = {}
    if method == "N2D":
        from umap import UMAP

        given = {"manifold_class": UMAP, "manifold_params": UMAP_SETTINGS}
    if method == "VaDE":  # its likelihood is Bernoulli
        X = (X - X.min()) / (X.max() - X.min())
    start = time.perf_counter()
    fitted = getattr(deep, method)(
        n_clusters=n_clusters, device="cpu", random_state=random_state, **given
    ).fit(X)
    return {method: fitted.labels_}, {method: time.perf_counter() - start}


def main(data: str, job: str, result: str) -> None:
    X, given = np.load(data)["X"], json.loads(Path(job).read_text())
    recipe, n_clusters, random_state = given["recipe"], given["n_clusters"], given["random_state"]
    if recipe == "umap":
        labels, seconds, Z = umap(X, n_clusters, random_state)
        np.save(Path(result).with_suffix(".npy"), Z)
        packages = ["umap-learn", "numba", "scikit-learn", "numpy"]
    else:
        labels, seconds = clustpy(recipe, X, n_clusters, random_state)
        packages = ["clustpy", "torch", "scikit-learn", "numpy"]
    found = {
        "labels": {name: np.asarray(values).tolist() for name, values in labels.items()},
        "seconds": seconds,
        "versions": {name: version(name) for name in packages},
    }
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
