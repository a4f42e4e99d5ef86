"""Features of a pretrained network, and what k-means makes of them.

    python -m benchmarks.extraction cifar-10 --data-home DATA [--network efficientnet:lite0]
        [--image-size 224] [--precision auto] [--threads 1]

writes ``DATA/features/cifar-10-efficientnet-lite0-train.npy`` and ``-test.npy``, in float16, with
another side or precision in the name if they are given; where it was stopped, it goes on. The
network has been trained with the labels of ImageNet, so the figures are none of clustering without
supervision, and stand in no table beside such.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from benchmarks.records import (
    RESULTS,
    default_device,
    described,
    environment,
    mean_std,
    metrics,
    save,
    table,
)
from benchmarks.tables.time_to_accuracy import animals
from skdeepclust import FeatureExtractor
from skdeepclust.datasets import ImageFolder, get_data_home, load_cifar10
from skdeepclust.engine import multiplies_bf16

STATES = range(3)
SIDE = 224
SUPERVISION = {"efficientnet:lite0": "trained with the labels of ImageNet"}


def cifar10(data_home: Path) -> dict[str, tuple[Any, Any]]:
    parts = {part: load_cifar10(data_home=data_home, subset=part) for part in ("train", "test")}
    return {part: (found["data"], found["target"]) for part, found in parts.items()}


def textiles(data_home: Path) -> dict[str, tuple[Any, Any]]:
    """2,000 photos of cloth, of 250 x 250, in three folders: nominal, and two kinds of faults."""
    folder = ImageFolder(data_home / "textiles", size=(250, 250))
    return {"all": (folder, folder.labels)}


def silhouettes(data_home: Path) -> dict[str, tuple[Any, Any]]:
    images, y = animals(data_home)
    return {"all": (images, y)}


DATA: dict[str, Callable[[Path], dict[str, tuple[Any, Any]]]] = {
    "cifar-10": cifar10,
    "textiles": textiles,
    "animals": silhouettes,
}


def extract(extractor: FeatureExtractor, X: Any, path: Path) -> tuple[np.ndarray, dict[str, float]]:
    """Return features, and how many were computed this time, in what time."""
    record = path.with_name(path.name + ".json")
    before = json.loads(record.read_text())["n_done"] if record.exists() else 0
    wall, processor = time.perf_counter(), time.process_time()
    features = extractor.transform(X, out=path)
    return features, {
        "images": len(X) - before,
        "seconds": time.perf_counter() - wall,
        "seconds of the processor": time.process_time() - processor,
    }


def k_means(features: np.ndarray, y: np.ndarray) -> list[dict[str, float]]:
    """Return the scores of k-means on the features, for each random state."""
    n_clusters, X = len(np.unique(y)), features.astype(np.float32)
    runs = [KMeans(n_clusters, n_init=3, random_state=state).fit(X) for state in STATES]
    return [metrics(y, run.labels_) for run in runs]


def render(folder: Path) -> str:
    """Return the table of all records."""
    lines = []
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for record in records:
        for part, found in record["parts"].items():
            scores = [mean_std(run[name] for run in found["k-means"]) for name in ("acc", "nmi")]
            took = found["extraction"]
            speed = ["", ""]  # of features that were there already
            if took["images"]:
                rate = took["images"] / took["seconds of the processor"]
                speed = [f"{rate:.0f}", f"{found['n'] / rate / 60:.0f}"]
            lines.append(
                [record["data"], part, f"{found['n']:,}", record["network"], record["image size"],
                 record["precision"], *speed, *scores]
            )  # fmt: skip
    header = [
        *("data", "part", "images", "network", "side", "precision"),
        *("images a second of a processor", "minutes of it for all", "ACC of k-means", "NMI"),
    ]
    notes = {f"{r['network']} has been {r['supervision']}" for r in records}
    return (
        "# Features of pretrained networks\n\n"
        f"{'; '.join(sorted(notes))}: nothing here is clustering without supervision. k-means with "
        "`n_init=3`, random states 0 to 2.\n\n"
        f"{table(header, lines)}\n\n{described(records[-1])}\n"
    )


def main(argv: list[str] | None = None, results: Path = RESULTS) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--out", type=Path, help="a folder; by default DATA/features")
    parser.add_argument("--network", default="efficientnet:lite0", choices=SUPERVISION)
    parser.add_argument("--image-size", type=int, default=SIDE)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    home = get_data_home(args.data_home)
    out = args.out or home / "features"
    out.mkdir(parents=True, exist_ok=True)
    precision = args.precision
    if precision == "auto":
        precision = "bf16" if multiplies_bf16(args.device) else "float32"
    extractor = FeatureExtractor(
        args.network,
        image_size=args.image_size,
        precision=precision,
        device=args.device,
        dtype="float16",
        verbose=1,
    )
    others = (args.image_size, SIDE), (args.precision, "auto")
    given = [str(value) for value, default in others if value != default]
    name = "-".join([args.data, args.network.replace(":", "-"), *given])
    path = results / "extraction" / f"{name}.json"
    before = json.loads(path.read_text())["parts"] if path.exists() else {}
    parts = {}
    for part, (X, y) in DATA[args.data](home).items():
        features, took = extract(extractor, X, out / f"{name}-{part}.npy")
        if took["images"] == 0 and part in before:
            took = before[part]["extraction"]
        parts[part] = {"n": len(y), "extraction": took, "k-means": k_means(features, y)}
        print(part, features.shape, parts[part], flush=True)
    result = {
        "data": args.data,
        "network": args.network,
        "supervision": SUPERVISION[args.network],
        "image size": args.image_size,
        "precision": extractor.precision,
        "parts": parts,
        "environment": environment(args.device)
        | {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")},
    }
    save(path, result)
    text = render(path.parent)
    (results / "extraction.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
