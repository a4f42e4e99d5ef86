"""Table 3 and figures 4 to 6 of the ST-DAC paper, with the paper's settings.

    python benchmarks/st_dac.py --data mnist --row "ST-DAC + 2" --random-states 0 1 2
    python benchmarks/st_dac.py --data mnist fashion-mnist            # all rows
    python benchmarks/st_dac.py --data mnist --n-samples 10000 --max-epochs 8   # a CPU's share
    python benchmarks/st_dac.py --render                              # only write the table

Where the settings come from:

- Text: Adam with 1e-4, 10 epochs, table 1 of the network, thresholds from 0.99; of DAC its own
  paper's, without the auxiliary term.
- Released code: the augmentation, batches of 32 in chunks of 1,000, the auxiliary term's weight of
  10, where the threshold ends (0.8 for MNIST, 0.9 for Fashion-MNIST; the text has the reverse,
  --lower), dropout 0.5, DAC*'s network, RMSprop with 1e-3. --published-code takes its network: no
  pooling after block 3 and, for ST-DAC + 0 on MNIST, no dropout. --label-batch-size 32 computes
  label features in groups as large as there.
- Ours: the threshold reaches its end in the last epoch (there the last of ten has 0.819 on MNIST
  and 0.909 on Fashion-MNIST), images are divided by their deviation, label features are computed
  in groups of 167, the sampler and the initial weights of the spatial transformers are torch's,
  and the augmentation interpolates.

ST-DAC + 3 on MNIST is another run with two layers in the released code, which defines the third
localisation network and never uses it. DAC's row is quoted from DAC's paper, whose released script
for MNIST trains otherwise: on all pairs, with squared errors, one threshold from 0.9 to 0.5, 20
epochs with 5 passes over each chunk.

Each run is one fit without restarts, as in the paper, and writes a JSON file to
benchmarks/results/st_dac/ as soon as it is done; what is there is not run again. Labels are
used for the figures alone.
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
from skorch.callbacks import Callback

from skdeepclust import DACClustering, STDACClustering
from skdeepclust.augment import RandomAffine
from skdeepclust.datasets import load_fashion_mnist, load_mnist
from skdeepclust.inference import reestimate_batch_norm
from skdeepclust.networks import VGGEncoder

N_SHOWN = 8  # images in figure 4
LOADERS = {"mnist": load_mnist, "fashion-mnist": load_fashion_mnist}
AUGMENTATION = {
    "mnist": RandomAffine(),
    "fashion-mnist": RandomAffine(
        rotation=20, shift=0.18, zoom=0.15, value_shift=0.28, rescale=0.95, horizontal_flip=True
    ),
}
# Where the threshold ends. The text has 0.9 for MNIST and 0.8 for Fashion-MNIST, the authors'
# scripts the reverse: --lower measures the other.
LOWER = {"mnist": 0.8, "fashion-mnist": 0.9}
ROWS = {
    "DAC": None,
    "DAC*": None,
    "ST-DAC + 0": 0,
    "ST-DAC + 1": 1,
    "ST-DAC + 2": 2,
    "ST-DAC + 3": 3,
}
PAPER = {  # ACC, NMI, ARI: means of 10 runs on 70,000 images, table 3
    ("mnist", "DAC*"): (0.974, 0.944, 0.946),
    ("mnist", "ST-DAC + 0"): (0.957, 0.932, 0.923),
    ("mnist", "ST-DAC + 1"): (0.978, 0.950, 0.953),
    ("mnist", "ST-DAC + 2"): (0.980, 0.953, 0.956),
    ("mnist", "ST-DAC + 3"): (0.961, 0.936, 0.927),
    ("mnist", "DAC"): (0.977, 0.935, 0.948),
    ("fashion-mnist", "DAC*"): (0.628, 0.589, 0.483),
    ("fashion-mnist", "ST-DAC + 0"): (0.612, 0.591, 0.460),
    ("fashion-mnist", "ST-DAC + 1"): (0.649, 0.650, 0.520),
    ("fashion-mnist", "ST-DAC + 2"): (0.656, 0.658, 0.533),
    ("fashion-mnist", "ST-DAC + 3"): (0.664, 0.668, 0.541),
}


class Evaluate(Callback):
    """ACC, NMI and ARI of all images after each epoch, for figure 6; not counted as training."""

    seconds = 0.0

    def __init__(self, estimator: Any, X: torch.Tensor, y: np.ndarray) -> None:
        self.shared = (estimator, X, y)
        self.after_first_epoch = None  # the first images behind the first spatial transformer

    def __deepcopy__(self, memo: dict) -> Evaluate:
        return self  # one fit, one engine: no copy of the data

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        start = time.perf_counter()
        estimator, X, y = self.shared
        reestimate_batch_norm(net.module_, X)
        labels = estimator._probabilities(net.module_, X).argmax(1)
        for name, value in metrics(y, labels).items():
            net.history.record(name, value)
        if len(net.history) == 1 and getattr(estimator, "n_st_layers", 0):
            images = estimator._forward(net.module_.encoder[0], X[:N_SHOWN])
            self.after_first_epoch = images * estimator.input_scale_ + estimator.input_mean_
        Evaluate.seconds += time.perf_counter() - start


def make(row: str, data: str, args: argparse.Namespace, random_state: int) -> Any:
    """Return the estimator of a row, with the paper's settings."""
    common = {
        "n_clusters": 10,
        "augmentation": AUGMENTATION[data],
        "n_init": 1,
        "init": "random",
        "device": args.device,
        "precision": args.precision,
        "label_batch_size": args.label_batch_size,
        "random_state": random_state,
        "verbose": 1,
    }
    lower = LOWER[data] if args.lower is None else args.lower
    epochs = {} if args.max_epochs is None else {"max_epochs": args.max_epochs}
    # as in Keras, which the authors used
    common_dac = {"optimizer": partial(torch.optim.RMSprop, alpha=0.9, eps=1e-7), "lr": 1e-3}
    if row == "DAC":
        # without the auxiliary term, which is DAC*'s
        return DACClustering(
            **{"max_epochs": 46, "aux_weight": 0, **common, **common_dac, **epochs}
        )
    common |= {"upper": 0.99, "lower": lower, "max_epochs": 10, **epochs}
    if row == "DAC*":
        return DACClustering(pair_selection="all", batch_size=32, **common, **common_dac)
    n_st_layers = ROWS[row]

    def published_code(input_shape: tuple[int, ...]) -> VGGEncoder:
        dropout = 0.0 if (row, data) == ("ST-DAC + 0", "mnist") else 0.5
        return VGGEncoder(input_shape, n_st_layers, dropout=dropout, pool_last=False)

    network = published_code if args.published_code else None
    return STDACClustering(
        n_st_layers=n_st_layers, network=network, lr=1e-4, batch_size=32, **common
    )


def load(data: str, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels: all 70,000, or as many as asked for, drawn with a fixed seed."""
    X, y = LOADERS[data](data_home=args.data_home, return_X_y=True)
    if args.n_samples is not None:
        chosen = np.random.RandomState(0).permutation(len(X))[: args.n_samples]
        X, y = X[chosen], y[chosen]
    return X, y


def run(job: tuple[str, str, int, argparse.Namespace]) -> dict[str, Any]:
    row, data, random_state, args = job
    X, y = load(data, args)
    estimator = make(row, data, args, random_state)
    standardised = torch.from_numpy(X).to(args.device).float().div(255)[:, None]
    standardised = (standardised - standardised.mean()) / standardised.std()
    evaluate = Evaluate(estimator, standardised, y)
    estimator.set_params(callbacks=[evaluate])
    Evaluate.seconds = 0.0
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = estimator.fit_predict(X)
    seconds = time.perf_counter() - start - Evaluate.seconds
    if args.figures:
        stem = args.figures / f"{data}-{row.replace(' ', '')}"
        draw(estimator, X, evaluate.after_first_epoch, stem)
    history = estimator.history_
    parameters = {k: v for k, v in estimator.get_params().items() if k != "callbacks"}
    return {
        "row": row,
        "data": data,
        "random_state": random_state,
        "n_samples": len(X),
        "parameters": {
            k: v if isinstance(v, int | float) else str(v) for k, v in parameters.items()
        },
        "seconds": seconds,
        "images a second": len(X) * estimator.max_epochs / seconds,
        **metrics(y, labels),
        "score": estimator.restarts_[0]["score"],
        "n_empty_clusters": estimator.restarts_[0]["n_empty_clusters"],
        "history": {k: history[:, k] for k in ("train_loss", "acc", "nmi", "ari")},
        "warnings": sorted({str(w.message) for w in caught}),
        "environment": environment(args.device),
    }


def draw(estimator: Any, X: np.ndarray, after_first_epoch: np.ndarray | None, stem: Path) -> None:
    """Figures 4 and 5."""
    from skdeepclust.plotting import ClusterStatisticsDisplay, SpatialTransformerDisplay

    if after_first_epoch is None:
        return
    stem.parent.mkdir(parents=True, exist_ok=True)
    displays = {
        "figure4": SpatialTransformerDisplay.from_estimator(
            estimator, X[:N_SHOWN], n_images=N_SHOWN, stages={"after 1 epoch": after_first_epoch}
        ),
        "figure5": ClusterStatisticsDisplay.from_estimator(estimator, X[:10_000]),
    }
    for name, display in displays.items():
        display.figure_.savefig(f"{stem}-{name}.png", dpi=120, bbox_inches="tight")


def setting(args: argparse.Namespace) -> str:
    """Return what is not the paper's, for the file name."""
    parts = [
        f"n{args.n_samples}" if args.n_samples else "",
        f"epochs{args.max_epochs}" if args.max_epochs else "",
        f"lower{args.lower}" if args.lower is not None else "",
        args.precision if args.precision != "float32" else "",
        "published" if args.published_code else "",
        f"labels{args.label_batch_size}" if args.label_batch_size else "",
    ]
    return "".join(f"-{part}" for part in parts if part)


def render() -> str:
    """Write the table of all results there are, and figure 6."""
    groups: dict[tuple, list[dict]] = {}
    for path in sorted((RESULTS / "st_dac").glob("*.json")):
        result = json.loads(path.read_text())
        p = result["parameters"]
        e = result["environment"]
        key = (
            result["data"], result["n_samples"], result["row"], p["max_epochs"], p["lower"],
            p["precision"], "yes" if "published_code" in str(p["network"]) else "",
            # results from before the option don't have it; `run` writes None as text
            "" if p.get("label_batch_size") in (None, "None") else p["label_batch_size"],
            e["machine"],
        )  # fmt: skip
        groups.setdefault(key, []).append(result)
    rows = []
    for key, results in sorted(groups.items(), key=str):
        data, n_samples, row, epochs, lower, precision, published, label_batch, machine = key
        paper = PAPER.get((data, row))
        cells = [mean_std(r[m] for r in results) for m in ("acc", "nmi", "ari")]
        rows.append(
            [
                data,
                f"{n_samples:,}",
                row,
                epochs,
                lower,
                precision,
                published,
                label_batch,
                len(results),
                *cells,
                " / ".join(f"{v:.3f}" for v in paper) if paper else "",
                f"{np.mean([r['seconds'] for r in results]):.0f}",
                f"{np.mean([r['images a second'] for r in results]):,.0f}",
                sum(bool(r["n_empty_clusters"]) for r in results),
                machine,
            ]
        )
    header = [
        "data", "images", "row", "epochs", "lower", "precision", "published code's network",
        "label batch", "runs", "ACC", "NMI", "ARI", "paper: ACC / NMI / ARI", "seconds a run",
        "images a second", "runs with empty clusters", "machine",
    ]  # fmt: skip
    text = table(header, rows)
    text += (
        "\n\nThe paper's figures are means of 10 runs of 10 epochs on all 70,000 images; DAC's are "
        "those of DAC's own paper. ST-DAC + 3 on MNIST (0.961) is another run with two layers in "
        "the released code, which defines the third localisation network and never uses it: what "
        "the paper takes for the harm of a third layer is the spread between runs. ST-DAC + 0 on "
        "MNIST has no dropout there, the others 0.5."
        "\n\nFrom the text: Adam with 1e-4, 10 epochs, table 1. From the released code: "
        "augmentation, batches, chunks, the auxiliary term of DAC* and ST-DAC (DAC has none), "
        "where the threshold ends, dropout, DAC*'s network and optimiser. Ours: the threshold "
        "reaches its end in the last epoch (there the last of ten has 0.819 on MNIST and 0.909 on "
        "Fashion-MNIST), images are divided by their deviation, torch's sampler and initial "
        "weights in the spatial transformers, interpolation in the augmentation, and label "
        'features in groups of 167 unless "label batch" says otherwise (32 there). Published '
        "code's network: no pooling after block 3 and, for ST-DAC + 0 on MNIST, no dropout.\n\n"
    )
    if groups:
        text += f"Versions of the last: {described(results[-1])}.\n"
        figure_6(groups)
    (RESULTS / "st_dac.md").write_text(text)
    return text


def figure_6(groups: dict[tuple, list[dict]]) -> None:
    """Draw ACC by epoch, the mean over the runs of each row of the table."""
    from skdeepclust.plotting import TrainingCurvesDisplay

    histories = {}
    for (data, n_samples, row, *_), results in sorted(groups.items(), key=str):
        curves = zip(*(r["history"]["acc"] for r in results), strict=False)
        histories[f"{row}, {data}, {n_samples:,} images"] = [
            {"phase": "dac", "epoch": epoch, "ACC": float(np.mean(values))}
            for epoch, values in enumerate(curves, start=1)
        ]
    display = TrainingCurvesDisplay.from_histories(histories, "ACC")
    display.figure_.savefig(RESULTS / "st_dac-figure6.png", dpi=120, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["mnist"], choices=list(LOADERS))
    parser.add_argument("--row", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--random-states", type=int, nargs="+", default=list(range(3)))
    parser.add_argument("--n-samples", type=int)
    parser.add_argument("--max-epochs", type=int)
    parser.add_argument("--lower", type=float, help="where the threshold ends")
    parser.add_argument(
        "--published-code", action="store_true", help="its network: no pooling after block 3, ..."
    )
    parser.add_argument(
        "--label-batch-size", type=int, help="samples whose label features share statistics"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--figures", type=Path, help="a folder for figures 4 and 5 of each run")
    parser.add_argument("--render", action="store_true", help="run nothing")
    args = parser.parse_args()
    if not args.render:
        for data in args.data:
            for row in args.row:
                jobs = []
                for state in args.random_states:
                    name = f"{data}-{row.replace(' ', '')}{setting(args)}-{state}.json"
                    jobs.append((RESULTS / "st_dac" / name, (row, data, state, args)))
                run_missing(jobs, run)
    print(render())


if __name__ == "__main__":
    main()
