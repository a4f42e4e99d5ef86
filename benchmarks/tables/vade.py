"""VaDE and DGG on all of MNIST, with the papers' network and settings.

    python -m benchmarks vade                                            # for a GPU
    python -m benchmarks vade --row VaDE --set max_epochs=100 --precision bf16
    python -m benchmarks vade --row DGG --set siamese_epochs=20 max_epochs=10 --precision bf16
    PEER_PYTHON=peers/bin/python python -m benchmarks vade --row "ClustPy VaDE"

From the paper and its authors' code: an auto-encoder 784-500-500-2000-10, pretrained; a Bernoulli
likelihood of pixels in [0, 1]; batches of 100; Adam with a learning rate of 2e-3, times 0.9 every
10 epochs, and an epsilon of 1e-4 beside a loss that is summed over the pixels (divided by 392 here,
as the loss is); 3,000 epochs. Ours: the pretraining is of the auto-encoder as a whole, for 50
epochs of the same batches, with that epsilon, which the code has in the clustering phase alone. In
that code the mixture's weights begin equal and are not normalised, 1e-10 is added to each
component's density, the variances are trained in place of their logarithms, and samples are
assigned by one draw in place of the mean.

DGG, from its authors' code: the same, but a weight decay of 1e-4 beside that sum, 300 epochs, each
with 20 neighbours of a sample, and 300 epochs of the siamese network before. Ours: that one has a
constant learning rate of 1e-3 and batches of 100 samples, each with one of its neighbours and one
stranger that is drawn anew (there 1,000 pairs of 4n an epoch, two of each kind a sample, the
strangers drawn once, and a tenth of the rate after every 70 epochs), and its weight decay is as
small as the others' is here. The learning rate of the last phase ends at a tenth (there at 0.047).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from benchmarks import records
from benchmarks.peers.estimator import Peer
from benchmarks.report import mean_of, option
from benchmarks.run import Fit, Job, Wanted
from benchmarks.tables.time_to_accuracy import evaluate as evaluate_peer
from benchmarks.tables.time_to_accuracy import lines as lines
from skdeepclust import AutoencoderClustering, DGGClustering, VaDEClustering
from skdeepclust.datasets import load_mnist

DATA = {"mnist": partial(load_mnist, return_X_y=True)}
SIZES = {"mnist": 70_000}
STATES = range(3)
KEPT = ("AE",)
DEFAULT_ROWS = ["AE", "VaDE"]
PAPER = {("mnist", "VaDE"): (0.9446,)}  # the best of its runs
PAPER_HAS = "ACC"
COLUMNS = {
    "pretraining epochs": option("pretraining_epochs"),
    "siamese epochs": option("siamese_epochs"),
    "epochs": option("max_epochs"),
}
VALUES = {"ACC of EM on the latents": mean_of("mixture")}
REMARKS = (
    "The paper's figure is that of its best run. AE: the pretraining, with k-means on the latents; "
    "beside it a Gaussian mixture with diagonal covariances, for which the paper has 0.822. The "
    "seconds of VaDE and DGG come on top of it. ClustPy's has its defaults: the same network, 100 "
    "and 150 epochs of batches of 256."
)
WANTED = [
    Wanted(
        ["AE", "VaDE"], ["mnist"], STATES, value=9, seconds=(3000, None),
        given={"max_epochs": 100}, precision="bf16",
    ),
    Wanted(["AE", "VaDE"], ["mnist"], STATES, value=8, seconds=(None, 6000)),
    Wanted(
        ["AE", "DGG"], ["mnist"], STATES, value=7, seconds=(9000, None),
        given={"siamese_epochs": 20, "max_epochs": 10}, precision="bf16",
    ),
    Wanted(["AE", "DGG"], ["mnist"], STATES, value=7, seconds=(None, 8000)),
]  # fmt: skip


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return epochs of the pretraining and of what follows."""
    if row == "ClustPy VaDE":
        return {}
    further = {"VaDE": {"max_epochs": 3000}, "DGG": {"siamese_epochs": 300, "max_epochs": 300}}
    return {"pretraining_epochs": 50} | further.get(row, {})


def base(job: Job) -> str | None:
    """VaDE and DGG go on from the auto-encoder."""
    return "AE" if job.row in ("VaDE", "DGG") else None


def prepare(job: Job, X: np.ndarray) -> np.ndarray:
    """Return flat images."""
    return X.reshape(len(X), -1)


def common(job: Job, weight_decay: float = 0.0) -> dict[str, Any]:
    """Return what ours share."""
    scale = 2 / job.X[0].size  # of the loss, beside the sum over the pixels
    adam = partial(torch.optim.Adam, eps=1e-4 * scale, weight_decay=weight_decay * scale)
    return {
        "n_clusters": 10,
        "augmentation": None,
        "n_init": 1,
        "kmeans_n_init": 20,
        "batch_size": 100,
        "optimizer": adam,
    }


ROWS = {
    "AE": lambda job: AutoencoderClustering(
        likelihood="bernoulli",
        max_epochs=job.options["pretraining_epochs"],
        lr=1e-3,
        **common(job),
    ),
    "VaDE": lambda job: VaDEClustering(
        autoencoder=job.before.estimator,
        kl_weight=1.0,
        lr=2e-3,
        max_epochs=job.options["max_epochs"],
        **common(job),
    ),
    "DGG": lambda job: DGGClustering(
        autoencoder=job.before.estimator,
        kl_weight=1.0,
        n_neighbors=20,
        siamese_epochs=job.options["siamese_epochs"],
        lr=2e-3,
        max_epochs=job.options["max_epochs"],
        **common(job, weight_decay=1e-4),
    ),
    "ClustPy VaDE": lambda job: Peer("VaDE"),
}


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return the accuracy of a mixture on the auto-encoder's latents, or what a peer found."""
    if job.row != "AE":
        return evaluate_peer(job, fit)
    latents = fit.estimator.transform(job.X).astype(np.float64)
    mixture = GaussianMixture(10, covariance_type="diag", random_state=job.random_state)
    return {"mixture": records.metrics(job.y, mixture.fit_predict(latents))["acc"]}
