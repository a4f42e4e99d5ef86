"""What several processes with a thread each gain over one with as many threads.

    python -m benchmarks.speed.processes [--processes 2] [--rounds 3]

Each contender fits the same estimator to the same images in processes of its own, and they take
turns, so that what else the machine does meets them alike. A batch has 32 images a process, and so
many times as many in the one process. Reported is the median over all epochs but the first of each
round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.records import RESULTS, described, environment, save, table
from skdeepclust import AutoencoderClustering, STDACClustering

BATCH_SIZE = 32
WORK = {
    "ST-DAC, 8x8": (STDACClustering, {}, 8),
    "ST-DAC, 28x28": (STDACClustering, {}, 28),
    "auto-encoder, 8x8": (AutoencoderClustering, {"kmeans_n_init": 1}, 8),
    "auto-encoder, 28x28": (AutoencoderClustering, {"kmeans_n_init": 1}, 28),
}
N_RANDOM = 512  # images of 28x28


def worker(work: str, batch_size: int, n_threads: int, n_epochs: int, path: Path) -> None:
    """Fit, and write down the seconds of each epoch but the first."""
    torch.set_num_threads(n_threads)
    Estimator, parameters, side = WORK[work]
    images = load_digits().images
    if side != 8:
        images = np.random.default_rng(0).random((N_RANDOM, side, side))
    model = Estimator(
        10,
        n_init=1,
        max_epochs=n_epochs + 1,
        batch_size=batch_size,
        device="cpu",
        random_state=0,
        **parameters,
    )
    model.fit(images)
    if os.environ.get("RANK", "0") == "0":
        seconds = model.history_[1:, "dur"]
        path.write_text(json.dumps([len(images) / second for second in seconds]))


def images_a_second(
    work: str, n_processes: int, n_threads: int, batch_size: int, n_epochs: int
) -> list[float]:
    """Return the rate of each epoch of a fit in new processes."""
    launcher = []
    if n_processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc-per-node={n_processes}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.json"
        own = ["-m", "benchmarks.speed.processes", "--worker", work, str(batch_size)]
        command = [sys.executable, *launcher, *own, str(n_threads), str(n_epochs), str(path)]
        threads = {"OMP_NUM_THREADS": str(n_threads)}
        subprocess.run(command, check=True, env={**os.environ, **threads})
        return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="that count, of each round")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        work, batch_size, n_threads, n_epochs, path = args.worker
        worker(work, int(batch_size), int(n_threads), int(n_epochs), Path(path))
        return
    n = args.processes
    contenders = {  # processes, threads of each, batch of each
        "one process, 1 thread": (1, 1, n * BATCH_SIZE),
        f"one process, {n} threads": (1, n, n * BATCH_SIZE),
        f"{n} processes, 1 thread each": (n, 1, BATCH_SIZE),
    }
    load = os.getloadavg()[0]  # before this run adds to it
    rates = {work: {name: [] for name in contenders} for work in WORK}
    for _ in range(args.rounds):
        for work, by_contender in rates.items():
            for name, setting in contenders.items():
                by_contender[name] += images_a_second(work, *setting, args.epochs)
    result = {
        "images a second": rates,
        "rounds": args.rounds,
        "load": load,
        "environment": {**environment(), "n_threads": n},
    }
    save(RESULTS / "processes-cpu.json", result)
    rows = []
    for work, by_contender in rates.items():
        medians = {name: float(np.median(values)) for name, values in by_contender.items()}
        first = next(iter(medians.values()))
        for name, median in medians.items():
            rows.append([work, name, f"{median:,.0f}", f"{median / first:.2f}"])
    text = table(["work", "processes", "images a second", "ratio to one thread"], rows)
    text += (
        f"\n\nBatches of {n * BATCH_SIZE} images in all. Medians of {args.rounds} rounds of "
        f"{args.epochs} epochs. {described(result)}; load before the run {load:.1f}.\n"
    )
    (RESULTS / "processes-cpu.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
