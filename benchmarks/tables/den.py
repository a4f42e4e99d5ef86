"""DEN beside ClustPy's, with the same network, batches and epochs, on digits and USPS.

    python -m benchmarks den --threads 1
    PEER_PYTHON=peers/bin/python python -m benchmarks den --row "ClustPy DEN" --threads 1

The paper has no figure on these data. As in ClustPy's defaults: an auto-encoder of 500, 500, 2000
and 20 latents in 10 groups, 100 epochs of batches of 256 by Adam with 1e-3; 4 neighbours beside the
sample itself; weights of 0.5 for the sum over the neighbours and 1 for the groups' norms, beside
squared errors that are summed over the values of an image. Ours: one neighbour is drawn at each
step, and the heat kernel is as wide as neighbours are far; ClustPy's has a t of 1, with which it
is near zero on standardised images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.peers.estimator import Peer
from benchmarks.report import option
from benchmarks.run import Job, Wanted
from benchmarks.tables.time_to_accuracy import evaluate as evaluate
from benchmarks.tables.time_to_accuracy import lines as lines
from skdeepclust import DENClustering

DATA = {"digits": lambda data_home: records.digits(), "usps": records.usps}
SIZES = {"digits": 1797, "usps": 9298}
STATES = range(3)
DEFAULT_ROWS = ["AE", "DEN"]
PAPER: dict[tuple[str, str], tuple] = {}
COLUMNS = {"epochs": option("max_epochs")}
REMARKS = "AE: DEN without its two terms. All with k-means on the latents."
WANTED = [
    Wanted(["AE", "DEN"], ["digits"], STATES, value=9, seconds=(30, 20)),
    Wanted(["AE", "DEN"], ["usps"], STATES, value=8, seconds=(200, 60)),
]


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return the epochs."""
    return {} if row == "ClustPy DEN" else {"max_epochs": 100}


def prepare(job: Job, X: np.ndarray) -> np.ndarray:
    """Return flat images."""
    return X.reshape(len(X), -1)


def den(job: Job, **weights: float) -> DENClustering:
    """Return DEN, its weights beside mean squared errors."""
    n_values = job.X.shape[1]
    return DENClustering(
        10,
        n_neighbors=4,
        hidden_sizes=(500, 500, 2000),
        latent_size=20,
        augmentation=None,
        max_epochs=job.options["max_epochs"],
        batch_size=256,
        lr=1e-3,
        n_init=1,
        **{"locality_weight": 4 * 0.5 / n_values, "sparsity_weight": 1 / n_values, **weights},
    )


ROWS = {
    "AE": lambda job: den(job, locality_weight=0.0, sparsity_weight=0.0),
    "DEN": den,
    "ClustPy DEN": lambda job: Peer("DEN"),
}
