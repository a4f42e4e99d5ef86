"""DEC and IDEC on all of MNIST, with the papers' fully connected network and settings.

    python -m benchmarks dec                                             # for a GPU
    python -m benchmarks dec --n-samples 10000 --set updates=4000        # a CPU's share

An auto-encoder 784-500-500-2000-10 is pretrained for 100,000 updates of 256 images, with a
learning rate that is divided by 10 every 20,000; DEC and IDEC both go on from it. Ours: it is
trained as a whole with Adam, not layer by layer as in the papers. From IDEC's released code: its
weight of 0.1 holds beside squared errors of pixels of up to 5.1 (they are divided by 50); here
errors are in units of the pixels' variance, so it is divided by the variance there, to 0.04.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.callbacks import LRScheduler

from benchmarks.report import mean_of, option
from benchmarks.run import Fit, Job, Wanted
from skdeepclust import AutoencoderClustering, DECClustering, IDECClustering
from skdeepclust.datasets import load_mnist

DATA = {"mnist": partial(load_mnist, return_X_y=True)}
SIZES = {"mnist": 70_000}
STATES = range(5)
KEPT = ("AE",)
BATCH_SIZE = 256
PAPER = {("mnist", "DEC"): (0.843,), ("mnist", "IDEC"): (0.881, 0.867)}  # on 70,000 images
PAPER_HAS = "ACC / NMI"
COLUMNS = {"pretraining updates": option("updates"), "epochs at most": option("max_epochs")}
VALUES = {"final reconstruction error": mean_of("reconstruction")}
REMARKS = (
    "AE: the pretraining, with k-means on the latents. The seconds of DEC and IDEC come "
    "on top of it. From the texts: layers, batches of 256, DEC's SGD, 140 steps between two "
    "renewals of P. From IDEC's released code: 0.1 beside squared errors of pixels / 50, 0.04 "
    "in the units here. Ours: the auto-encoder is trained as a whole, with Adam."
)
WANTED = [
    Wanted(
        ["AE", "DEC", "IDEC"], ["mnist"], range(3), value=5, seconds=(300, None),
        n_samples=10_000, given={"updates": 4000},
    ),
    Wanted(["AE", "DEC", "IDEC"], ["mnist"], STATES, value=9, seconds=(None, 400)),
]  # fmt: skip


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return updates of the pretraining and, of the clustering, epochs."""
    return {"updates": 100_000} | ({} if row == "AE" else {"max_epochs": 80})


def base(job: Job) -> str | None:
    """DEC and IDEC go on from the auto-encoder."""
    return None if job.row == "AE" else "AE"


def prepare(job: Job, X: np.ndarray) -> np.ndarray:
    """Return flat images."""
    return X.reshape(len(X), -1)


def common() -> dict[str, Any]:
    """Return what all rows share."""
    return {
        "n_clusters": 10,
        "augmentation": None,
        "n_init": 1,
        "kmeans_n_init": 20,
        "batch_size": BATCH_SIZE,
    }


def autoencoder(job: Job) -> AutoencoderClustering:
    """Return the pretraining."""
    epochs = max(1, round(job.options["updates"] / -(-len(job.X) // BATCH_SIZE)))
    decay = LRScheduler("StepLR", step_size=max(1, epochs // 5), gamma=0.1)
    return AutoencoderClustering(max_epochs=epochs, lr=1e-3, callbacks=[decay], **common())


def clustering(job: Job) -> dict[str, Any]:
    """Return what DEC and IDEC share."""
    return {
        "autoencoder": job.before.estimator,
        "update_interval": 140,
        "tol": 1e-3,
        "max_epochs": job.options["max_epochs"],
        **common(),
    }


ROWS = {
    "AE": autoencoder,
    "DEC": lambda job: DECClustering(
        optimizer=partial(torch.optim.SGD, momentum=0.9), lr=0.01, **clustering(job)
    ),
    "IDEC": lambda job: IDECClustering(
        clustering_weight=0.1 / float(np.var(job.X / 50)), lr=1e-3, **clustering(job)
    ),
}


def evaluate(job: Job, fit: Fit) -> dict[str, float]:
    """Return the auto-encoder's last training error."""
    return {"reconstruction": fit.estimator.history_[-1, "train_loss"]} if job.row == "AE" else {}
