"""What a user would run instead, as a scikit-learn estimator that runs it elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin

ROOT = Path(__file__).parents[2]


class Peer(ClusterMixin, BaseEstimator):
    """Run a recipe of :mod:`benchmarks.peers.recipes` in the peers' own environment.

    Its Python is named by the environment variable PEER_PYTHON; else it is this one.

    Parameters
    ----------
    recipe : {"umap", "N2D", "DEC", "IDEC", "DCN", "DEN", "VaDE", "XMeans", "GMeans", "DipMeans"}
    n_clusters : int
    random_state : int

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        The first of `results_`.
    results_ : dict of ndarray
        By how the embedding is clustered, or by method.
    embedding_ : ndarray of shape (n_samples, n_components)
        UMAP's.
    seconds_ : dict of float
    versions_ : dict of str
    """

    def __init__(self, recipe: str = "umap", n_clusters: int = 10, random_state: int = 0) -> None:
        self.recipe = recipe
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: Any = None) -> Peer:
        """Run the recipe with as many threads as torch has here."""
        X = np.asarray(X, dtype=np.float32).reshape(len(X), -1)
        X = (X - X.mean()) / X.std()  # as skdeepclust standardises images
        n_threads = str(torch.get_num_threads())
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        with tempfile.TemporaryDirectory() as folder:
            data, job, result = (Path(folder) / f for f in ("X.npz", "job.json", "result.json"))
            np.savez(data, X=X)
            job.write_text(json.dumps(self.get_params()))
            process = subprocess.run(
                [
                    os.environ.get("PEER_PYTHON", sys.executable),
                    *("-m", "benchmarks.peers.recipes"),
                    *map(str, (data, job, result)),
                ],
                cwd=ROOT,
                env={**os.environ, **dict.fromkeys(names, n_threads)},
                capture_output=True,
                text=True,
            )
            if process.returncode:
                raise RuntimeError(f"{self.recipe} failed:\n{process.stderr[-4000:]}")
            found = json.loads(result.read_text())
            if self.recipe == "umap":
                self.embedding_ = np.load(result.with_suffix(".npy"))
        self.results_ = {name: np.asarray(labels) for name, labels in found["labels"].items()}
        self.seconds_, self.versions_ = found["seconds"], found["versions"]
        self.labels_ = next(iter(self.results_.values()))
        return self
