"""k_means against scikit-learn's KMeans, side by side in one run.

    python benchmarks/kmeans.py [--device cuda] [--starts 100] [--reference-starts 4] [--rounds 2]

The data are latents of ten Gaussians that overlap, whitened. The two take turns, each with a seed
of its own for each round. Scikit-learn always runs on the CPU and, to keep the run short, from
fewer starts: its time is scaled to the same number, its cost before the first start (a fit of a
single start and iteration) counted once. Both have the same number of threads.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _common import RESULTS, default_device, described, environment, processor, save, table
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skdeepclust.kmeans import k_means


def latents(n_samples: int, n_features: int, n_clusters: int, scale: float) -> np.ndarray:
    """Return whitened samples of Gaussians whose means have coordinates of spread `scale`."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(n_clusters, n_features)) * scale
    X = means[rng.integers(0, n_clusters, n_samples)] + rng.normal(size=(n_samples, n_features))
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32)


def timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def compare(args: argparse.Namespace, X: np.ndarray, init: str, n_starts: int) -> dict[str, Any]:
    """Return the seconds of both for `n_starts` starts, by round."""
    k = args.clusters
    tensor = torch.from_numpy(X).to(args.device)
    k_means(tensor, k, init=init, n_init=2, max_iter=2)  # to warm up
    few = min(args.reference_starts, n_starts)
    seconds = {"k_means": [], "scikit-learn": []}
    inertia = {"k_means": [], "scikit-learn": []}
    fixed, _ = timed(lambda: KMeans(k, init=X[:k], n_init=1, max_iter=1).fit(X), "cpu")
    for round_ in range(args.rounds):
        generator = torch.Generator().manual_seed(round_)
        elapsed, result = timed(
            lambda generator=generator: k_means(
                tensor, k, init=init, n_init=n_starts, generator=generator
            ),
            args.device,
        )
        seconds["k_means"].append(elapsed)
        inertia["k_means"].append(result.inertia)
        reference = KMeans(k, init=init, n_init=few, random_state=round_, algorithm="lloyd")
        elapsed, result = timed(lambda reference=reference: reference.fit(X), "cpu")
        once = min(fixed, elapsed)
        seconds["scikit-learn"].append((elapsed - once) * n_starts / few + once)
        inertia["scikit-learn"].append(float(result.inertia_))
        print(init, n_starts, {name: round(s[-1], 2) for name, s in seconds.items()}, flush=True)
    return {
        "init": init,
        "starts": n_starts,
        "reference starts": few,
        "seconds": seconds,
        "inertia": inertia,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--samples", type=int, default=70_000)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--scale", type=float, default=0.15, help="spread of the means")
    parser.add_argument("--starts", type=int, nargs="+", default=[100])
    parser.add_argument("--reference-starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(args.threads)
    X = latents(args.samples, args.features, args.clusters, args.scale)
    with threadpool_limits(args.threads):
        comparisons = [
            compare(args, X, init, n_starts)
            for n_starts in args.starts
            for init in ("random", "k-means++")
        ]
    result = {
        "arguments": vars(args),
        "comparisons": comparisons,
        "environment": environment(args.device) | {"processor": processor()},
    }
    save(RESULTS / f"kmeans-{args.device}.json", result)
    rows = []
    for c in comparisons:
        ours, theirs = (np.array(c["seconds"][name]) for name in ("k_means", "scikit-learn"))
        rows.append(
            [
                c["init"],
                c["starts"],
                c["reference starts"],
                f"{ours.mean():.2f}",
                f"{theirs.mean():.1f}",
                f"{np.mean(theirs) / np.mean(ours):.1f}",
                " / ".join(f"{ratio:.1f}" for ratio in theirs / ours),
            ]
        )
    header = [
        "init",
        "starts",
        "of scikit-learn timed",
        "`k_means`, seconds",
        "scikit-learn, seconds for as many",
        "ratio of the means",
        "by round",
    ]
    text = table(header, rows)
    text += (
        f"\n\n{args.samples:,} x {args.features} samples, {args.clusters} clusters. Iterations "
        "differ from start to start, so that ratios vary with the seeds of the rounds. "
        f"Scikit-learn on {processor()}, {args.threads} threads. {described(result)}.\n"
    )
    (RESULTS / f"kmeans-{args.device}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
