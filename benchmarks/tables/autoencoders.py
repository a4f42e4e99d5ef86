"""The auto-encoders of ProFeat's table 1, with k-means on their codes.

    python -m benchmarks autoencoders
    python -m benchmarks autoencoders --n-samples 10000 --set max_epochs=10 --precision bf16

Those rows are from the experiments of DAC's paper, whose networks and settings are not published:
expect their order of magnitude. Here the networks are the package's, all 60,000 images are trained
and evaluated on, without augmentation and restarts; DAE masks a quarter of the values, and VAE has
a Bernoulli likelihood. SAE has Ng's rho of 0.05, and his beta of 3 beside half the squared errors
of pixels in [0, 1]: errors are in units of the pixels' variance here, so it is divided by that. His
decay of the weights is left out. All else is ours.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.report import option
from benchmarks.run import Job, Wanted
from skdeepclust import (
    AutoencoderClustering,
    SparseAutoencoderClustering,
    SWWAEClustering,
    VAEClustering,
)
from skdeepclust.datasets import load_cifar10

DATA = {"cifar10": partial(load_cifar10, return_X_y=True)}
SIZES = {"cifar10": 60_000}
STATES = range(3)
PAPER = {
    ("cifar10", "AE"): (0.314, 0.234, 0.169),
    ("cifar10", "DAE"): (0.297, 0.251, 0.163),
    ("cifar10", "SAE"): (0.297, 0.247, 0.156),
    ("cifar10", "SWWAE"): (0.284, 0.233, 0.164),
    ("cifar10", "VAE"): (0.291, 0.245, 0.168),
}
PAPER_HAS = "ACC / NMI / ARI"
COLUMNS = {"epochs": option("max_epochs")}
REMARKS = (
    "The paper's figures are those of ProFeat's table 1, copied there from DAC's experiments, of "
    "networks that are not published; so ours are not a reproduction. k-means on pixels has there "
    "0.229 / 0.087 / 0.049. 10 epochs on 10,000 images are what a CPU can do."
)


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return the epochs, which are not published."""
    return {"max_epochs": 100}


def common(job: Job) -> dict[str, Any]:
    """Return what all rows share."""
    return {
        "n_clusters": 10,
        "augmentation": None,
        "n_init": 1,
        "kmeans_n_init": 20,
        "batch_size": 128,
        "lr": 1e-3,
        "max_epochs": job.options["max_epochs"],
    }


ROWS = {
    "AE": lambda job: AutoencoderClustering(**common(job)),
    "DAE": lambda job: AutoencoderClustering(corruption="masking", **common(job)),
    "SAE": lambda job: SparseAutoencoderClustering(
        sparsity=0.05, sparsity_weight=3 / float(np.var(job.X / job.X.max())), **common(job)
    ),
    "SWWAE": lambda job: SWWAEClustering(**common(job)),
    "VAE": lambda job: VAEClustering(likelihood="bernoulli", kl_weight=1.0, **common(job)),
}
WANTED = [
    Wanted(
        ROWS, ["cifar10"], STATES, value=6, seconds=(400, None), n_samples=10_000,
        given={"max_epochs": 10}, precision="bf16",
    ),
    Wanted(ROWS, ["cifar10"], STATES, value=6, seconds=(None, 600)),
]  # fmt: skip
