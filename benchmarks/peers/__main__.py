"""Methods that ClustPy has, too, side by side on 10,000 images of MNIST: ACC, NMI, ARI, seconds.

    python -m benchmarks.peers --data-home DIRECTORY --peer-python clustpy/bin/python
    python -m benchmarks.peers --losses same ...        # the same losses, too
    python -m benchmarks.peers --render                 # only write the table

ClustPy gets an environment of its own, of Python 3.11 or later, since it asks for newer versions
than this package does:

    python -m venv clustpy
    clustpy/bin/pip install clustpy==0.0.3 umap-learn

That installs torch and torchvision too; builds for the CPU will do, and are smaller: install them
first, in the version of torch that skdeepclust runs with, so that the two compare. Where
there is no torchvision for the CPU, `pip install --no-deps torchvision` in the version that goes
with torch is enough: ClustPy imports it, but these methods do not use it.

What is alike: the images and their standardisation (all values by one mean and one standard
deviation, which skdeepclust does itself and ClustPy is given), the network (784-500-500-2000-10
and back, ReLU), Adam and its learning rates, the batch size, the numbers of epochs, the starts of
the k-means that begins the clustering, no augmentation, and the number of threads. All else is
each package's default: how weights are drawn, the losses, and when targets are renewed (DEC and
IDEC: here from all samples, once an epoch; in ClustPy from the batch at hand, at each step).
ClustPy's reconstruction error is a sum over the 784 values of an image, here it is their mean, so
its IDEC and DCN weigh the clustering hundreds of times less; `--losses same` gives ClustPy the mean
and both packages the same weights. VaDE is given pixels in [0, 1] there, and in both has their
cross-entropy, summed over an image's values, with the whole divergence beside it. N2D has UMAP with
20 neighbours, `min_dist=0` and `n_clusters` components in both, and the extra "umap" has to be
there. DEN has five neighbours in both, of which one is drawn here and all are encoded there, in a
heat kernel of their mean squared distance here and of 1 there. Neither trains clusters.

Every fit is a fresh process on the CPU; the packages take turns, and which of them goes first
alternates with the random state, so that what else the machine does meets them alike.

Seconds an epoch are means over the epochs of a fit: from skdeepclust's `history_`, and for
ClustPy from one pass over its data loader to the next; k-means and prediction are in neither, but
in the seconds a fit. ClustPy ends with k-means on the latents, whose labels are its `labels_`;
the labels of the method itself, its `dec_labels_` or `dcn_labels_`, are what compares with
skdeepclust's, and both are in the table. So of VaDE, with a mixture in place of k-means.

What bounds the speed, the matrix products of an epoch of pretraining alone, is timed before each
fit of skdeepclust. `--methods IDEC --pretrain-epochs 4 --max-epochs 4 --threads 1` is enough for
that.

Each fit writes a JSON file to benchmarks/results/peers/ as soon as it is done; what is there is
not run again. Labels are used for the figures alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.records import (
    RESULTS,
    environment,
    mean_std,
    metrics,
    processor,
    save,
    table,
)
from benchmarks.run import subset
from skdeepclust.datasets import load_mnist

ROOT = Path(__file__).parents[2]
METHODS = ["DEC", "IDEC", "DCN", "VaDE", "N2D", "DEN"]
OF_ONE_PHASE = ("N2D", "DEN")  # trained as auto-encoders are pretrained, and clustered after it
PACKAGES = {"skdeepclust": "benchmarks.peers", "clustpy": "benchmarks.peers.clustpy"}
NAMES = {"skdeepclust": "skdeepclust", "clustpy": "ClustPy"}
SETTING = {  # of a fit, by the flags
    "n_samples": 10_000,
    "pretrain_epochs": 50,
    "max_epochs": 50,
    "pretrain_lr": 1e-3,
    "lr": 1e-4,
    "batch_size": 256,
    "kmeans_n_init": 20,
    "threads": 2,
    "losses": "own",
}
CLUSTERING_WEIGHTS = {"DEC": 1.0, "IDEC": 0.1, "DCN": 0.05}  # with --losses same
NETWORK = {"hidden_sizes": [500, 500, 2000], "latent_size": 10}


def fit(job: dict[str, Any]) -> dict[str, Any]:
    """Fit skdeepclust's estimator; what clustpy.py does for ClustPy."""
    import skdeepclust

    torch.set_num_threads(job["threads"])
    X = np.load(job["data"])["images"]
    method = job["method"]
    shared = {"batch_size": job["batch_size"], "augmentation": None}
    training = {
        "hidden_sizes": tuple(job["hidden_sizes"]),
        "latent_size": job["latent_size"],
        "max_epochs": job["pretrain_epochs"],
        "lr": job["pretrain_lr"],
        **shared,
    }
    if method == "N2D":
        options: dict[str, Any] = {"mixture_n_init": 1, **training}
    elif method == "DEN":
        options = {"kmeans_n_init": 1, **training}
    else:
        likelihood = "bernoulli" if method == "VaDE" else "gaussian"
        options = {
            "autoencoder": skdeepclust.AutoencoderClustering(likelihood=likelihood, **training),
            "max_epochs": job["max_epochs"],
            "lr": job["lr"],
            "kmeans_n_init": job["kmeans_n_init"],
            **shared,
        }
    if method in ("DEC", "IDEC"):
        options["tol"] = 0.0
    if method == "VaDE":
        options["kl_weight"] = 1.0
    if job["losses"] == "same" and method in ("IDEC", "DCN"):
        options["clustering_weight"] = CLUSTERING_WEIGHTS[method]
    estimator = getattr(skdeepclust, f"{method}Clustering")(
        n_clusters=job["n_clusters"],
        n_init=1,
        device="cpu",
        random_state=job["random_state"],
        **options,
    )
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # the first one imports a lot: seconds
    bound = products(len(X), X.shape[1], job)
    begin = time.perf_counter()
    estimator.fit(X)
    seconds = time.perf_counter() - begin
    durations: dict[bool, list[float]] = {True: [], False: []}
    for row in estimator.history_:
        durations[row["phase"] == "pretraining" or method in OF_ONE_PHASE].append(row["dur"])
    return {
        "labels": {"own": estimator.labels_.tolist()},
        "pretraining": durations[True],
        "clustering": durations[False],
        "products": bound,
        "seconds": seconds,
        "parameters": {
            name: value if isinstance(value, int | float | None) else str(value)
            for name, value in estimator.get_params().items()
        },
        "network": str(getattr(estimator, "network_", "")),
        "environment": environment("cpu"),
    }


def products(n_samples: int, n_features: int, job: dict[str, Any]) -> float:
    """Return the seconds of the matrix products alone in an epoch of pretraining.

    They are what no implementation of this network can leave out: of each layer its output, the
    gradient of its weights and, but for the first, that of its input.
    """
    encoder = [n_features, *job["hidden_sizes"], job["latent_size"]]
    sizes = [*encoder, *encoder[-2::-1]]
    n = job["batch_size"]
    operands = []
    for number, (n_inputs, n_outputs) in enumerate(pairwise(sizes)):
        x, weight = torch.randn(n, n_inputs), torch.randn(n_outputs, n_inputs)
        gradient = torch.randn(n, n_outputs)
        operands += [(x, weight.T), (gradient.T, x)]
        if number:
            operands.append((gradient, weight))
    results = [a @ b for a, b in operands]
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(-(-n_samples // n)):
            for (a, b), out in zip(operands, results, strict=True):
                torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Fit in a process of its own and score the labels it comes back with."""
    job = dict(job)
    args, package = job.pop("args"), job["package"]
    X, y = subset(*load_mnist(data_home=args.data_home, return_X_y=True), args.n_samples)
    X = X.reshape(len(X), -1)
    scaled = X / 255.0
    python = sys.executable if package == "skdeepclust" else Path(args.peer_python).absolute()
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        data, todo, done = (Path(folder) / name for name in ("data.npz", "job.json", "done.json"))
        standardised = ((scaled - scaled.mean()) / scaled.std()).astype(np.float32)
        np.savez(data, images=X, standardised=standardised)
        details = {
            "n_clusters": len(np.unique(y)),
            "clustering_weight": CLUSTERING_WEIGHTS.get(job["method"]),
            "data": str(data),
        }
        todo.write_text(json.dumps({**job, **details}))
        load_before = os.getloadavg()[0]
        process = subprocess.run(
            [str(python), "-m", PACKAGES[package], str(todo), str(done)],
            cwd=ROOT,
            env={**os.environ, **threads},
            stdout=subprocess.DEVNULL,  # progress
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.returncode:
            raise SystemExit(f"{package} failed:\n{process.stderr[-4000:]}")
        result = json.loads(done.read_text())
    labels = {name: np.asarray(values) for name, values in result.pop("labels").items()}
    own = labels.pop("own")
    machine = {
        "machine": processor(),
        "load average before": load_before,
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    return {
        "job": job,
        **metrics(y, own),
        "n_found": len(np.unique(own)),
        **{name: metrics(y, values) for name, values in labels.items()},
        "seconds a pretraining epoch": float(np.mean(result["pretraining"])),
        "seconds a clustering epoch": float(np.mean(result["clustering"]))
        if result["clustering"]
        else None,
        "n_epochs": [len(result["pretraining"]), len(result["clustering"])],
        **result,
        "environment": {**result["environment"], **machine},
    }


def jobs(args: argparse.Namespace) -> list[tuple[Path, dict[str, Any]]]:
    """Return the fits in the order in which they take turns, with the files of their results."""
    setting = {name: getattr(args, name) for name in SETTING}
    changed = "".join(f"-{n}{v}" for n, v in setting.items() if v != SETTING[n])
    result = []
    for turn, random_state in enumerate(args.random_states):
        for method in args.methods:
            for package in list(PACKAGES)[:: 1 if turn % 2 == 0 else -1]:
                job = {"package": package, "method": method, "random_state": random_state}
                path = RESULTS / "peers" / f"{method}-{package}{changed}-{random_state}.json"
                result.append((path, {**job, **setting, **NETWORK, "args": args}))
    return result


def render() -> str:
    """Write the tables of all results there are."""
    settings: dict[str, list[dict]] = {}
    for path in sorted((RESULTS / "peers").glob("*.json")):
        result = json.loads(path.read_text())
        key = json.dumps({name: result["job"][name] for name in SETTING})
        settings.setdefault(key, []).append(result)
    text = "\n".join(part for key in sorted(settings) for part in tables(settings[key]))
    (RESULTS / "peers.md").write_text(text)
    return text


def tables(results: list[dict]) -> list[str]:
    """Return what there is to say of one setting: its accuracy and its speed."""
    accuracy, speed = [], []
    for method in METHODS:
        runs = {
            package: {
                r["job"]["random_state"]: r
                for r in results
                if (r["job"]["method"], r["job"]["package"]) == (method, package)
            }
            for package in PACKAGES
        }
        for package, by_state in runs.items():
            rows = {NAMES[package]: list(by_state.values())}
            if package == "clustpy":
                for final in ("final k-means", "final mixture"):
                    rows[f"ClustPy, its {final}"] = [
                        r[final] for r in by_state.values() if final in r
                    ]
            for name, found in rows.items():
                if found:
                    cells = [mean_std(r[m] for r in found) for m in ("acc", "nmi", "ari")]
                    accuracy.append([method, name, len(found), *cells])
        both = sorted(set.intersection(*(set(by_state) for by_state in runs.values())))
        for what in ("seconds a pretraining epoch", "seconds a clustering epoch", "seconds"):
            if both and not (what == "seconds a clustering epoch" and method in OF_ONE_PHASE):
                ours, theirs = ([runs[p][s][what] for s in both] for p in PACKAGES)
                ratios = np.divide(theirs, ours)
                name = "seconds a fit" if what == "seconds" else what
                cells = [mean_std(values) for values in (ours, theirs, ratios)]
                speed.append([method, name, len(both), *cells])
        found = [r["products"] for r in runs["skdeepclust"].values() if "products" in r]
        if found:
            name = "matrix products alone of a pretraining epoch"
            speed.append([method, name, len(found), mean_std(found), "", ""])
    job = results[0]["job"]
    states = sorted({r["job"]["random_state"] for r in results})
    lines = [
        f"{job['n_samples']:,} images of MNIST, 784-500-500-2000-10, batches of "
        f"{job['batch_size']}; {job['pretrain_epochs']} epochs of pretraining at a learning rate "
        f"of {job['pretrain_lr']:g}, {job['max_epochs']} of clustering at {job['lr']:g}; "
        f"{job['losses']} losses; {job['threads']} threads. Mean ± standard deviation over the "
        f"random states {', '.join(map(str, states))}.\n",
        table(["method", "package", "runs", "ACC", "NMI", "ARI"], accuracy) + "\n",
        table(["method", "time", "runs", "skdeepclust", "ClustPy", "ClustPy / skdeepclust"], speed)
        + "\n",
        "The ratio is that of the fits with the same random state, which ran one after the other. "
        "What is alike and what is each package's own is in `benchmarks/peers/__main__.py`.\n",
    ]
    epochs = {
        m: [job["pretrain_epochs"], job["max_epochs"] * (m not in OF_ONE_PHASE)] for m in METHODS
    }
    short = [r for r in results if r["n_epochs"] != epochs[r["job"]["method"]]]
    if short:
        stopped = ", ".join(
            f"{r['job']['package']} {r['job']['method']} {r['job']['random_state']} "
            f"({' + '.join(map(str, r['n_epochs']))})"
            for r in short
        )
        lines.append(f"Not the epochs asked for: {stopped}; seconds a fit don't compare.\n")
    for package in PACKAGES:
        found = [r["environment"] for r in results if r["job"]["package"] == package]
        if found:
            e = found[-1]
            names = (package, "torch", "scikit-learn", "numpy")
            versions = ", ".join(f"{name} {e[name]}" for name in names)
            loads = [e["load average before"] for e in found]
            lines.append(
                f"- {NAMES[package]}: {e['machine']}, {e['n_cpus']} cores, Python {e['python']}, "
                f"{versions}; {e['date']}; the machine's load before a fit was "
                f"{min(loads):.1f} to {max(loads):.1f}."
            )
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="a Python that has ClustPy")
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--random-states", type=int, nargs="+", default=[0, 1, 2])
    for name, default in SETTING.items():
        choices = ["own", "same"] if name == "losses" else None
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(default), default=default, choices=choices)
    parser.add_argument("--render", action="store_true", help="run nothing")
    args = parser.parse_args()
    if not args.render:
        if args.peer_python is None:
            parser.error("--peer-python: a Python that has ClustPy; see the top of this file")
        for path, job in jobs(args):
            if not path.exists():
                print(f"running {path.stem}", flush=True)
                save(path, run(job))
    print(render())


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].endswith(".json"):  # it runs itself: one fit
        Path(sys.argv[2]).write_text(json.dumps(fit(json.loads(Path(sys.argv[1]).read_text()))))
    else:
        main()
