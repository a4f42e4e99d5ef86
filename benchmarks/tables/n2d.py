"""N2D with the paper's settings on all of MNIST, Fashion-MNIST and USPS; needs umap-learn.

    python -m benchmarks n2d --data usps --precision bf16

An auto-encoder d-500-500-2000-10 is trained for 1,000 epochs in batches of 256 by Adam; UMAP with
20 neighbours, no least distance and 10 components maps its latents, and a Gaussian mixture with
one start clusters them. All of it is as in the authors' released code, but that pixels are
standardised and weights begin as torch's (there as Keras').
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.report import option
from benchmarks.run import Fit, Job, Wanted
from skdeepclust import AutoencoderClustering, N2DClustering
from skdeepclust.datasets import load_fashion_mnist, load_mnist

DATA = {
    "mnist": partial(load_mnist, return_X_y=True),
    "fashion-mnist": partial(load_fashion_mnist, return_X_y=True),
    "usps": records.usps,
}
SIZES = {"mnist": 70_000, "fashion-mnist": 70_000, "usps": 9298}
DEFAULT_DATA = ("usps",)
STATES = range(5)
KEPT = ("AE",)
PAPER = {
    ("mnist", "N2D"): (0.979, 0.942),
    ("fashion-mnist", "N2D"): (0.672, 0.684),
    ("usps", "N2D"): (0.960, 0.903),
}
PAPER_HAS = "ACC / NMI"
COLUMNS = {"epochs": option("pretrain_epochs")}
REMARKS = (
    "AE: the auto-encoder, with k-means on the latents. The seconds of N2D come on top of it, with "
    "those of numba's compilation."
)
WANTED = [
    Wanted(["AE", "N2D"], ["usps"], range(3), value=8, seconds=(1000, 300), precision="bf16"),
    Wanted(
        ["AE", "N2D"], ["mnist", "fashion-mnist"], range(3), value=7, seconds=(8000, 800),
        precision="bf16",
    ),
]  # fmt: skip


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return the epochs of the auto-encoder."""
    return {"pretrain_epochs": 1000}


def base(job: Job) -> str | None:
    """N2D takes over the auto-encoder."""
    return None if job.row == "AE" else "AE"


def prepare(job: Job, X: np.ndarray) -> np.ndarray:
    """Return flat images."""
    return X.reshape(len(X), -1)


ROWS = {
    "AE": lambda job: AutoencoderClustering(
        10,
        augmentation=None,
        max_epochs=job.options["pretrain_epochs"],
        batch_size=256,
        lr=1e-3,
        n_init=1,
        kmeans_n_init=20,
    ),
    "N2D": lambda job: N2DClustering(
        10, autoencoder=job.before.estimator, mixture_n_init=1, n_init=1
    ),
}


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return UMAP's version."""
    return {} if job.row == "AE" else {"umap-learn": version("umap-learn")}
