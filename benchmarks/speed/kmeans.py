"""k_means against scikit-learn's KMeans, side by side in one run.

    python -m benchmarks.speed.kmeans [--device cuda] [--starts 100] [--reference-starts 4]

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
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks.records import (
    RESULTS,
    default_device,
    described,
    environment,
    processor,
    save,
    table,
)
from benchmarks.speed import wait
from skdeepclust.kmeans import _Problem, _workers, k_means


def latents(n_samples: int, n_features: int, n_clusters: int, scale: float) -> np.ndarray:
    """Return whitened samples of Gaussians whose means have coordinates of spread `scale`."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(n_clusters, n_features)) * scale
    X = means[rng.integers(0, n_clusters, n_samples)] + rng.normal(size=(n_samples, n_features))
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32)


def timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    wait(device)
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
                tensor, k, init=init, n_init=n_starts, random_state=generator
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


def iteration(args: argparse.Namespace, X: np.ndarray) -> dict[str, float]:
    """Return the milliseconds of one iteration of one start, and of its matrix product alone.

    The same starts for both; differences of runs of few iterations, so that what comes before
    and after them, and the first iteration, cancel out.
    """
    k, n_starts = args.clusters, max(args.starts)
    rng = np.random.default_rng(1)
    starts = np.stack([X[rng.choice(len(X), k, replace=False)] for _ in range(n_starts)])
    tensor = torch.from_numpy(X).to(args.device)
    found = {"scikit-learn": [], "k_means": [], "matrix product": []}
    for _ in range(args.rounds):
        reference = [
            timed(lambda n=n: KMeans(k, init=starts[0], n_init=1, max_iter=n, tol=0).fit(X), "cpu")
            for n in (2, 12)
        ]
        found["scikit-learn"].append((reference[1][0] - reference[0][0]) / 10)
        ours = [
            timed(lambda n=n: k_means(tensor, k, init=starts, max_iter=n, tol=0), args.device)
            for n in (2, 6)
        ]
        found["k_means"].append((ours[1][0] - ours[0][0]) / 4 / n_starts)
        with _workers(tensor.device) as each:
            problem = _Problem(tensor, k, each)
            n_columns = (k - 1) * min(n_starts, problem.width)
            weights = torch.randn(n_columns, X.shape[1] + 1, device=args.device)

            def product(block: slice, problem=problem, weights=weights) -> None:
                buffer = problem.buffer(len(weights))
                rows = problem.rows[block]
                for part in problem.slices(len(weights), len(rows)):
                    problem.scores(weights, rows[part], buffer)

            elapsed, _ = timed(
                lambda each=each, problem=problem, product=product: list(
                    each(product, problem.blocks())
                ),
                args.device,
            )
        found["matrix product"].append(elapsed / min(n_starts, problem.width))
    return {name: 1e3 * float(np.median(seconds)) for name, seconds in found.items()}


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
        milliseconds = iteration(args, X)
    result = {
        "arguments": vars(args),
        "comparisons": comparisons,
        "milliseconds an iteration": milliseconds,
        "load": os.getloadavg(),
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
        "\n\nOne iteration of one start, in milliseconds: scikit-learn "
        f"{milliseconds['scikit-learn']:.3g}, `k_means` {milliseconds['k_means']:.3g}, of which "
        f"its matrix product alone is {milliseconds['matrix product']:.3g}. The product bounds "
        "what can be gained without skipping samples."
        f"\n\n{args.samples:,} x {args.features} samples, {args.clusters} clusters. Iterations "
        "differ from start to start, so that ratios vary with the seeds of the rounds. "
        f"Scikit-learn on {processor()}, {args.threads} threads. {described(result)}; "
        f"load {os.getloadavg()[0]:.1f} (other work ran on the machine if above the threads).\n"
    )
    (RESULTS / f"kmeans-{args.device}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
