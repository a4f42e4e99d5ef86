"""What ranks runs of different methods without labels: `score` beside three others.

    PEER_PYTHON=peers/bin/python python -m benchmarks criteria --n-samples 10000 --threads 1

Short runs of many methods and settings on 10,000 images of MNIST and Fashion-MNIST and on USPS, two
random states each. Of each: `score`, the neighbours' mutual information in pixels; the silhouette
in one UMAP space of the data (of UMAP as in time_to_accuracy.py, whose environment it needs); the
stability, the adjusted Rand index with the other run of the setting; and, where a network has
several heads, the mean agreement of the others with the one that was chosen. Spearman's rank
correlation of each with ACC and NMI.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from benchmarks import records
from benchmarks.peers.estimator import Peer
from benchmarks.run import CACHE, Fit, Job, Wanted, standardised
from benchmarks.tables import time_to_accuracy
from benchmarks.tables.selection import rho
from skdeepclust import (
    AutoencoderClustering,
    DECClustering,
    DeepClustering,
    IDECClustering,
    IMSATClustering,
    VAEClustering,
)
from skdeepclust._training._selection import NeighborCriterion
from skdeepclust.inference import evaluation_mode, forward_in_slices

DATA = {name: time_to_accuracy.DATA[name] for name in ("mnist", "fashion-mnist", "usps")}
SIZES = {name: time_to_accuracy.SIZES[name] for name in DATA}
STATES = range(2)
N_SAMPLES = 10_000
NAMES = {
    "score": "`score`",
    "silhouette": "silhouette in UMAP space",
    "stability": "stability",
    "agreement": "agreement of heads",
}


SHORT = {"n_init": 1, "max_epochs": 4}
ROWS = {
    "KMeans": lambda job: records.flat(KMeans(10, n_init=1)),
    "MiniBatchKMeans": lambda job: records.flat(MiniBatchKMeans(10, n_init=1)),
    "UMAP + KMeans": lambda job: Peer("umap"),
    "AE": lambda job: AutoencoderClustering(10, **SHORT),
    "AE, 1 epoch": lambda job: AutoencoderClustering(10, n_init=1, max_epochs=1),
    "AE, no augmentation": lambda job: AutoencoderClustering(10, augmentation=None, **SHORT),
    "VAE": lambda job: VAEClustering(10, **SHORT),
    "DEC": lambda job: DECClustering(10, autoencoder=AutoencoderClustering(max_epochs=4), **SHORT),
    "IDEC": lambda job: IDECClustering(
        10, autoencoder=AutoencoderClustering(max_epochs=4), **SHORT
    ),
    "IMSAT": lambda job: IMSATClustering(10, **SHORT),
    "IMSAT, 12 epochs": lambda job: IMSATClustering(10, n_init=1, max_epochs=12),
    "Deep, 1 epoch": lambda job: DeepClustering(10, max_epochs=1),
    "Deep, 2 epochs": lambda job: DeepClustering(10, max_epochs=2),
    "Deep": lambda job: DeepClustering(10, max_epochs=4),
    "Deep, no refinement": lambda job: DeepClustering(10, max_epochs=4, refinement_epochs=0),
    "Deep, no augmentation": lambda job: DeepClustering(10, max_epochs=4, augmentation=None),
    "Deep, lr=1e-4": lambda job: DeepClustering(10, max_epochs=2, lr=1e-4),
    "Deep, overclustering=1": lambda job: DeepClustering(10, max_epochs=2, overclustering=1),
    "Deep, entropy_weight=2": lambda job: DeepClustering(10, max_epochs=2, entropy_weight=2.0),
    "Deep, n_neighbors=20": lambda job: DeepClustering(10, max_epochs=2, n_neighbors=20),
    "Deep, n_heads=1": lambda job: DeepClustering(10, max_epochs=2, n_heads=1),
}
REMARKS = (
    "Spearman's rank correlation with ACC / NMI. Each method is trained for a few epochs, four "
    "where nothing is said, so that good runs and bad ones are among them. The agreement of heads "
    "is that of DeepClustering's runs alone in all lines; in runs until 28 November 2026 the "
    "chosen head counted, too, and was taken out afterwards, as if it agreed with itself "
    "throughout, which a larger head that is merged may not quite do."
)
WANTED = [Wanted(ROWS, DATA, STATES, value=12, seconds=(40, 20), n_samples=N_SAMPLES)]


def umap_space(job: Job) -> np.ndarray:
    """Return UMAP's embedding of the data, made once."""
    path = CACHE / "criteria" / f"umap-{job.data}-{len(job.X)}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, Peer("umap").fit(job.X).embedding_)
    return np.load(path)


def agreement(job: Job, estimator: DeepClustering) -> float | None:
    """Return the mean share of samples that another head assigns alike, matched one to one.

    None without another head.
    """
    network = estimator.network_
    X = standardised(estimator, job.X, torch.device(job.device))
    with evaluation_mode(network), torch.no_grad():
        features = forward_in_slices(network.embed, X)
        own = network.head(features).argmax(1).cpu().numpy()
        heads = [
            p.argmax(1).cpu().numpy()
            for number, (p, _) in enumerate(network.head.each(features))
            if number != int(network.head.number)
        ]
    shares = []
    for labels in heads:
        counts = np.zeros((own.max() + 1, labels.max() + 1))
        np.add.at(counts, (own, labels), 1)
        if counts.shape[1] > estimator.n_clusters:  # a larger head: by majority
            shares.append(counts.max(0).sum() / len(own))
        else:
            shares.append(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(own))
    return float(np.mean(shares)) if shares else None


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return the criteria of a run, and its labels."""
    labels = np.asarray(fit.last.labels_)
    X = torch.from_numpy(np.asarray(job.X, dtype=np.float32))
    found: dict[str, Any] = {
        "score": NeighborCriterion((X - X.mean()) / X.std())(np.eye(10)[labels]),
        "silhouette": float(
            silhouette_score(umap_space(job), labels, sample_size=5000, random_state=0)
        ),
        "labels": "".join(map(str, labels)),
    }
    if isinstance(fit.last, DeepClustering) and (share := agreement(job, fit.last)) is not None:
        found["agreement"] = share
    return found


def with_stability(found: list[dict]) -> list[dict]:
    """Return records with the adjusted Rand index of the two runs of a setting."""
    found = [{**r, "scores": dict(r["scores"])} for r in found if not r["set"]]
    for a, b in combinations(found, 2):
        if (a["row"], a["data"], a["n_samples"]) == (b["row"], b["data"], b["n_samples"]):
            index = adjusted_rand_score(list(a["scores"]["labels"]), list(b["scores"]["labels"]))
            a["scores"]["stability"] = b["scores"]["stability"] = float(index)
    return found


def chosen(found: list[dict], name: str) -> str:
    """Return the ACC of the run with the highest criterion."""
    known = [r["scores"] for r in found if name in r["scores"]]
    return f"{max(known, key=lambda s: s[name])['acc']:.3f}" if known else ""


def report(found: list[dict]) -> str:
    """Return the correlations, what each criterion would choose, and the runs."""
    found = with_stability(found)
    by_data = {data: [r for r in found if r["data"] == data] for data in DATA}
    of_heads = {
        f"{data}, DeepClustering's": [r for r in runs if "agreement" in r["scores"]]
        for data, runs in by_data.items()
    }
    groups = {name: runs for name, runs in {**by_data, **of_heads}.items() if len(runs) >= 5}
    correlations = records.table(
        ["among the runs of", "runs", *NAMES.values()],
        [
            [name, len(runs), *(rho(runs, criterion) for criterion in NAMES)]
            for name, runs in groups.items()
        ],
    )
    choices = records.table(
        ["ACC of what is chosen of", "best run", *NAMES.values()],
        [
            [
                name,
                f"{max(r['scores']['acc'] for r in runs):.3f}",
                *(chosen(runs, criterion) for criterion in NAMES),
            ]
            for name, runs in groups.items()
        ],
    )
    rows = [[row, *(cell(by_data[data], row) for data in DATA)] for row in ROWS]
    return "\n\n".join(
        [correlations, REMARKS, choices, records.table(["ACC (score)", *DATA], rows)]
    )


def cell(found: list[dict], row: str) -> str:
    """Return the mean ACC, and in brackets the mean score, of the runs of a row."""
    scores = [r["scores"] for r in found if r["row"] == row]
    if not scores:
        return ""
    acc, score = (np.mean([s[name] for s in scores]) for name in ("acc", "score"))
    return f"{acc:.3f} ({score:.2f})"
