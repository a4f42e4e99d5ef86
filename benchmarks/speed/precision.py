"""precision="bf16" against "float32": images a second, and what is learnt.

    python -m benchmarks.speed.precision --data-home DATA [--rounds 3] [--threads 1]

Epochs of some methods on images of MNIST, the two precisions in turns. Where the processor doesn't
multiply bf16 (`precision="auto"` is float32 then), the ratios are below 1. What is learnt is in the
tables `digits` and `time_to_accuracy`, whose rows tell the precision.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.records import RESULTS, default_device, described, environment, save, table
from skdeepclust import (
    AutoencoderClustering,
    DeepClustering,
    SCANClustering,
    SimCLR,
    STDACClustering,
)
from skdeepclust.datasets import load_mnist
from skdeepclust.engine import multiplies_bf16

ONCE = {"n_init": 1, "max_epochs": 2}
METHODS: dict[str, Callable[..., Any]] = {
    "STDACClustering": lambda **p: STDACClustering(10, **ONCE, **p),
    "DeepClustering": lambda **p: DeepClustering(10, **ONCE, refinement_epochs=0, **p),
    "AutoencoderClustering": lambda **p: AutoencoderClustering(10, **ONCE, **p),
    "AutoencoderClustering, flat": lambda **p: AutoencoderClustering(
        10, **ONCE, batch_size=256, **p
    ),
    "SimCLR": lambda **p: SimCLR(max_epochs=2, **p),
    "SCANClustering": lambda **p: SCANClustering(
        10, **ONCE, representation=SimCLR(max_epochs=1), **p
    ),
}


def rate(name: str, X: np.ndarray, **parameters: Any) -> float:
    """Return images a second of the faster epoch of the last phase."""
    model = METHODS[name](random_state=0, **parameters)
    model.fit(X.reshape(len(X), -1) if "flat" in name else X)
    last = model.history_[-1]["phase"]
    return len(X) / min(row["dur"] for row in model.history_ if row["phase"] == last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--samples", type=int, default=2560)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data-home", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    X = load_mnist(data_home=args.data_home)["data"][: args.samples]
    rates: dict[str, dict[str, list[float]]] = {}
    for name in METHODS:
        found = rates.setdefault(name, {"float32": [], "bf16": []})
        for _ in range(args.rounds):
            for precision, some in found.items():
                some.append(rate(name, X, device=args.device, precision=precision))
        print(name, found, flush=True)
    result = {
        "rates": rates,
        "multiplies bf16": multiplies_bf16(args.device),
        "load": os.getloadavg(),
        "environment": environment(args.device),
    }
    device = torch.device(args.device).type
    save(RESULTS / f"precision-{device}.json", result)
    lines = []
    for name, found in rates.items():
        single, half = (np.array(some) for some in found.values())
        by_round = " / ".join(f"{ratio:.2f}" for ratio in half / single)
        lines.append(
            [name, f"{single.mean():,.0f}", f"{half.mean():,.0f}",
             f"{half.mean() / single.mean():.2f}", by_round]
        )  # fmt: skip
    text = table(["method", "float32, images a second", "bf16", "ratio", "by round"], lines)
    text += (
        f"\n\n{len(X):,} images of MNIST, default networks; flat: 784-500-500-2000-10. The device "
        f"{'multiplies' if result['multiplies bf16'] else 'does not multiply'} bf16. "
        f"{described(result)}; load {os.getloadavg()[0]:.1f}.\n"
    )
    (RESULTS / f"precision-{device}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
