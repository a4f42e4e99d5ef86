"""Time and memory of the heads on 100,000 x 1,280 features in float16.

    python -m benchmarks.speed.heads --data-home DATA [--methods TEMI SCAN TURTLE] [--threads 2]

EfficientNet's features of the 60,000 images of CIFAR-10 (benchmarks/extraction.py), and 40,000 of
them again with noise, in a memory map. Each method, with its defaults, is a process of its own.
Writes benchmarks/results/heads-cpu.json and .md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.records import RESULTS, described, environment, save, table
from benchmarks.speed.scale import peak
from skdeepclust import SCANClustering, TEMIClustering, TURTLEClustering

PATH = RESULTS / "heads-cpu.json"
METHODS = {
    "TEMI": lambda: TEMIClustering(10, random_state=0),
    "SCAN": lambda: SCANClustering(10, representation="precomputed", random_state=0),
    "TURTLE": lambda: TURTLEClustering(10, random_state=0),
}
SHAPE = 100_000, 1280


def write(path: Path, data_home: Path) -> None:
    """Write the features."""
    found = [
        np.load(data_home / "features" / f"cifar-10-efficientnet-lite0-{part}.npy", mmap_mode="r")
        for part in ("train", "test")
    ]
    X = np.lib.format.open_memmap(path, "w+", np.float16, SHAPE)
    n = sum(map(len, found))
    X[:n] = np.concatenate(found)
    rng, rest = np.random.default_rng(0), SHAPE[0] - n
    scale = np.std(X[:1000].astype(np.float32))
    for rows in np.array_split(np.arange(rest), 20):
        noise = rng.normal(0, scale / 4, (len(rows), SHAPE[1]))
        X[n + rows] = X[rows] + noise


def fit(name: str, path: Path, n_threads: int) -> dict[str, Any]:
    """Fit in this process; return what it took."""
    torch.set_num_threads(n_threads)
    X = np.load(path, mmap_mode="r")
    before = peak()
    start, processor = time.perf_counter(), time.process_time()
    model = METHODS[name]().fit(X)
    return {
        "minutes": (time.perf_counter() - start) / 60,
        "minutes of the processor": (time.process_time() - processor) / 60,
        "peak MiB": peak(),
        "MiB before": before,
        "epochs": len(model.history_),
        "restarts": len(model.restarts_),
        "environment": environment(),
    }


def render(found: dict[str, Any]) -> str:
    """Return the table."""
    columns = "minutes", "minutes of the processor", "peak MiB", "MiB before"
    lines = [
        [name, r["restarts"], r["epochs"], *(f"{r[c]:,.1f}" for c in columns)]
        for name, r in found.items()
    ]
    last = list(found.values())[-1]
    return (
        "# Heads on 100,000 x 1,280 features in float16\n\n"
        f"{table(['head', 'restarts', 'epochs', *columns], lines)}\n\n"
        "Defaults, 10 clusters. The features are 244 MiB in a memory map and are read as a whole; "
        f"as float32, for the search for neighbours, they are 488 MiB. {described(last)}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(fit(arguments.one[0], Path(arguments.one[1]), arguments.threads)))
        return
    found = json.loads(PATH.read_text()) if PATH.exists() else {}
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "features.npy"
        write(path, arguments.data_home)
        for name in arguments.methods:
            words = ["--one", name, str(path), "--threads", str(arguments.threads)]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.speed.heads", *words],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            found[name] = json.loads(done.stdout.splitlines()[-1])
            save(PATH, found)
            PATH.with_suffix(".md").write_text(render(found))
    print(render(found))


if __name__ == "__main__":
    main()
