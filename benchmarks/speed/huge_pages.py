"""THP_MEM_ALLOC_ENABLE=1, by which torch asks Linux for huge pages: images a second.

    python -m benchmarks.speed.huge_pages --data-home DATA [--rounds 3] [--threads 1]

Epochs of the methods of `benchmarks.speed.precision`, in a process of its own for each measurement,
since torch reads the variable once, and in turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.records import RESULTS, described, environment, save, table
from benchmarks.speed.precision import METHODS, rate
from skdeepclust.datasets import load_mnist

VARIABLE = "THP_MEM_ALLOC_ENABLE"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def measured(name: str, value: str, args: argparse.Namespace) -> float:
    """Return images a second of one method, of a process with `value` in the variable."""
    command = [sys.executable, "-m", "benchmarks.speed.huge_pages", "--one", name]
    for option in ("samples", "threads", "data_home"):
        if getattr(args, option) is not None:
            command += [f"--{option.replace('_', '-')}", str(getattr(args, option))]
    done = subprocess.run(
        command, env={**os.environ, VARIABLE: value}, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2560)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--one", choices=METHODS, help="measure one method and print its rate")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        X = load_mnist(data_home=args.data_home)["data"][: args.samples]
        print(rate(args.one, X, device="cpu", precision="auto"))
        return
    rates: dict[str, dict[str, list[float]]] = {}
    for name in METHODS:
        found = rates.setdefault(name, {"0": [], "1": []})
        for _ in range(args.rounds):
            for value, some in found.items():
                some.append(measured(name, value, args))
        print(name, found, flush=True)
    kernel = KERNEL.read_text().strip() if KERNEL.exists() else "not there"
    result = {
        "rates": rates, "kernel": kernel, "load": os.getloadavg(), "environment": environment("cpu")
    }  # fmt: skip
    save(RESULTS / "huge_pages-cpu.json", result)
    lines = []
    for name, found in rates.items():
        without, with_ = (np.array(some) for some in found.values())
        by_round = " / ".join(f"{ratio:.2f}" for ratio in with_ / without)
        lines.append(
            [name, f"{without.mean():,.0f}", f"{with_.mean():,.0f}",
             f"{with_.mean() / without.mean():.2f}", by_round]
        )  # fmt: skip
    text = table(["method", "images a second", f"{VARIABLE}=1", "ratio", "by round"], lines)
    text += (
        f'\n\n{args.samples:,} images of MNIST, default networks, `precision="auto"`; flat: '
        f"784-500-500-2000-10. The kernel's setting: {kernel}. {described(result)}; load "
        f"{os.getloadavg()[0]:.1f}.\n"
    )
    (RESULTS / "huge_pages-cpu.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
