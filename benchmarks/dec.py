"""DEC and IDEC on all of MNIST, with the papers' fully connected network and settings.

    python benchmarks/dec.py                                        # 5 random states; for a GPU
    python benchmarks/dec.py --n-samples 10000 --updates 4000       # a CPU's share
    python benchmarks/dec.py --render                               # only write the table

An auto-encoder 784-500-500-2000-10 is pretrained for 100,000 updates of 256 images, with a
learning rate that is divided by 10 every 20,000; DEC and IDEC both go on from it. Ours: it is
trained as a whole with Adam, not layer by layer as in the papers. From IDEC's released code: its
weight of 0.1 holds beside squared errors of pixels of up to 5.1 (they are divided by 50); here
errors are in units of the pixels' variance, so it is divided by the variance there, to 0.04.

Each random state writes a JSON file to benchmarks/results/dec/ as soon as it is done; what is there
is not run again. Labels are used for the figures alone.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    RESULTS,
    default_device,
    described,
    environment,
    mean_std,
    metrics,
    run_missing,
    table,
)
from skorch.callbacks import LRScheduler

from skdeepclust import AutoencoderClustering, DECClustering, IDECClustering
from skdeepclust.datasets import load_mnist

BATCH_SIZE = 256
PAPER = {"DEC": (0.843, None), "IDEC": (0.881, 0.867)}  # ACC and NMI on 70,000 images


def run(job: tuple[int, argparse.Namespace]) -> dict[str, Any]:
    random_state, args = job
    X, y = load_mnist(data_home=args.data_home, return_X_y=True)
    if args.n_samples is not None:
        chosen = np.random.RandomState(0).permutation(len(X))[: args.n_samples]
        X, y = X[chosen], y[chosen]
    X = X.reshape(len(X), -1)
    epochs = max(1, round(args.updates / -(-len(X) // BATCH_SIZE)))
    common = {
        "n_clusters": 10,
        "augmentation": None,
        "n_init": 1,
        "kmeans_n_init": 20,
        "batch_size": BATCH_SIZE,
        "device": args.device,
        "precision": args.precision,
        "random_state": random_state,
        "verbose": 1,
    }
    decay = LRScheduler("StepLR", step_size=max(1, epochs // 5), gamma=0.1)
    autoencoder = AutoencoderClustering(max_epochs=epochs, lr=1e-3, callbacks=[decay], **common)
    start = time.perf_counter()
    autoencoder.fit(X)
    pretraining = time.perf_counter() - start
    clustering = {
        "autoencoder": autoencoder,
        "update_interval": 140,
        "tol": 1e-3,
        "max_epochs": args.max_epochs,
        **common,
    }
    sgd = partial(torch.optim.SGD, momentum=0.9)
    estimators = {
        "DEC": DECClustering(optimizer=sgd, lr=0.01, **clustering),
        "IDEC": IDECClustering(
            clustering_weight=0.1 / float(np.var(X / 50)), lr=1e-3, **clustering
        ),
    }
    rows = {"AE": {**metrics(y, autoencoder.labels_), "seconds": pretraining}}
    for name, estimator in estimators.items():
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            labels = estimator.fit_predict(X)
        rows[name] = {
            **metrics(y, labels),
            "seconds": time.perf_counter() - start,
            "epochs": len(estimator.history_),
            "warnings": sorted({str(w.message) for w in caught}),
        }
    return {
        "random_state": random_state,
        "n_samples": len(X),
        "updates": args.updates,
        "precision": args.precision,
        "reconstruction": autoencoder.history_[-1, "train_loss"],
        "rows": rows,
        "environment": environment(args.device),
    }


def render() -> str:
    """Write the table of all results there are."""
    groups: dict[tuple, list[dict]] = {}
    for path in sorted((RESULTS / "dec").glob("*.json")):
        r = json.loads(path.read_text())
        key = (r["n_samples"], r["updates"], r["precision"], r["environment"]["machine"])
        groups.setdefault(key, []).append(r)
    rows = []
    for (n_samples, updates, precision, machine), results in sorted(groups.items()):
        for name in ("AE", "DEC", "IDEC"):
            found = [r["rows"][name] for r in results]
            acc, nmi = PAPER.get(name, (None, None))
            rows.append(
                [
                    f"{n_samples:,}",
                    f"{updates:,}",
                    name,
                    len(found),
                    *(mean_std(r[m] for r in found) for m in ("acc", "nmi", "ari")),
                    f"{acc} / {nmi or ''}" if acc else "",
                    f"{np.mean([r['seconds'] for r in found]):.0f}",
                    precision,
                    machine,
                ]
            )
    header = [
        "images", "pretraining updates", "method", "runs", "ACC", "NMI", "ARI", "paper: ACC / NMI",
        "seconds", "precision", "machine",
    ]  # fmt: skip
    text = table(header, rows)
    text += (
        "\n\nAE: the pretraining, with k-means on the latents. The seconds of DEC and IDEC come "
    )
    text += (
        "on top of it. From the texts: layers, batches of 256, DEC's SGD, 140 steps between two "
        "renewals of P. From IDEC's released code: 0.1 beside squared errors of pixels / 50, 0.04 "
        "in the units here. Ours: the auto-encoder is trained as a whole, with Adam.\n"
    )
    if groups:
        text += f"Versions of the last: {described(results[-1])}.\n"
    (RESULTS / "dec.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random-states", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--n-samples", type=int)
    parser.add_argument("--updates", type=int, default=100_000, help="of the pretraining")
    parser.add_argument("--max-epochs", type=int, default=80, help="of the clustering phase")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--render", action="store_true", help="run nothing")
    args = parser.parse_args()
    if not args.render:
        parts = [
            f"-n{args.n_samples}" if args.n_samples else "",
            f"-updates{args.updates}" if args.updates != 100_000 else "",
            f"-{args.precision}" if args.precision != "float32" else "",
        ]
        folder = RESULTS / "dec"
        jobs = [
            (folder / f"mnist{''.join(parts)}-{state}.json", (state, args))
            for state in args.random_states
        ]
        run_missing(jobs, run)
    print(render())


if __name__ == "__main__":
    main()
