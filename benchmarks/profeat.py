"""Tables 1 and 2 and figure 1 of the ProFeat paper, with the paper's settings.

    python benchmarks/profeat.py --data cifar10 --precision bf16                # table 1
    python benchmarks/profeat.py --data cifar10 cifar100-20 stl10 --random-states 0 1 2 3 4
    python benchmarks/profeat.py --data cifar10 --row "(a)" "(b)" "(c)" "(d)"   # table 2's others
    python benchmarks/profeat.py --data stl10 --row SCAN ProFeat_s --figures figures   # figure 1
    python benchmarks/profeat.py --data fashion-mnist --small --n-samples 10000 \
        --simclr-epochs 30 --scan-epochs 20 --refine-epochs 10 --rounds 3       # a CPU's share
    python benchmarks/profeat.py --render                                 # only write the table

Training is on the training part, evaluation on the test part and, beside it, on the training part.
Fashion-MNIST and the digits, which are not in the paper, are trained and evaluated on the same
images. Labels are used for the figures alone.

One SimCLR for each random state is shared by all rows but the ensembles, (d) and ProFeat_e, which
train their own models. They share it as well with --shared and on STL-10, where it has seen the
unlabelled part. "SCAN before self-labelling" is a line of the table that each run of SCAN adds.

Where the settings come from:

- Text of ProFeat: optimisers, learning rates, batch sizes, epochs, rounds, network and thresholds.
- Released code of SCAN: the strong augmentation (cut-out of up to 16 pixels at 32x32 and 32 at
  96x96), the stem for 96x96.
- Ours: SCAN's step keeps its last epoch and the head with the lowest training loss in it (SCAN's
  code: the epoch and the head with the lowest loss on validation images and their 5 nearest
  neighbours, with an entropy weight of 1); neighbours are without the image itself (there with
  it); the side of the cut-out may be odd (there even, and 0 in 6 % of the draws); models are
  connected where at least t_e agree (equation 3: more than t_e, with t_e = 5 of 5 models); heads
  go on from round to round, of which the text says nothing. On STL-10 there is no self-labelling,
  as in ProFeat's text (SCAN's code: 100 epochs).

SCAN before self-labelling has 0.816 / 0.715 / 0.665 on CIFAR-10 in SCAN's README; that is its best
single model, not a mean.

Each run is one fit without restarts. It writes a JSON file to benchmarks/results/profeat/ as soon
as it is done; what is there is not run again. Training states are kept in benchmarks/cache/profeat/
(--cache), so that a run that was killed goes on, from a minute before, with the same command line.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import warnings
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from _common import (
    RESULTS,
    default_device,
    described,
    digits,
    environment,
    mean_std,
    metrics,
    run_missing,
    save,
    table,
)
from sklearn.cluster import KMeans
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from skorch.callbacks import Callback

from skdeepclust import ProFeatClustering, SCANClustering, SimCLR
from skdeepclust._inputs import check_X
from skdeepclust.datasets import load_cifar10, load_cifar100, load_fashion_mnist, load_stl10
from skdeepclust.inference import forward_in_slices, reestimate_batch_norm
from skdeepclust.networks import ResNet18
from skdeepclust.networks._base import ClusterNetwork

LOADERS = {"cifar10": load_cifar10, "cifar100-20": load_cifar100, "stl10": load_stl10}
DATA = (*LOADERS, "fashion-mnist", "digits")
BEFORE = "SCAN before self-labelling"
# What each row of ProFeat is. All but the first three are rounds.
ROWS = {
    "k-means": {},
    "SimCLR + k-means": {},
    "SCAN": {},
    "(a)": {"confident_only": False, "separate_embedding": False},
    "(b)": {"separate_embedding": False},
    "(c)": {"confident_only": False},
    "ProFeat_s": {},
    "(d)": {"min_connections": 1},
    "ProFeat_e": {},
}
ENSEMBLES = ("(d)", "ProFeat_e")
# ACC, NMI, ARI: means of 5 runs, tables 1 and 2; without self-labelling: SCAN's best single model
PAPER = {
    ("cifar10", "k-means"): (0.229, 0.087, 0.049),
    ("cifar10", BEFORE): (0.816, 0.715, 0.665),
    ("cifar10", "SCAN"): (0.876, 0.787, 0.758),
    ("cifar10", "(a)"): (0.869,),
    ("cifar10", "(b)"): (0.877,),
    ("cifar10", "(c)"): (0.881,),
    ("cifar10", "ProFeat_s"): (0.887, 0.801, 0.776),
    ("cifar10", "(d)"): (0.893,),
    ("cifar10", "ProFeat_e"): (0.924, 0.835, 0.831),
    ("cifar100-20", "k-means"): (0.130, 0.084, 0.028),
    ("cifar100-20", "SCAN"): (0.459, 0.468, 0.301),
    ("cifar100-20", "ProFeat_s"): (0.500, 0.484, 0.325),
    ("cifar100-20", "ProFeat_e"): (0.526, 0.513, 0.355),
    ("stl10", "k-means"): (0.192, 0.125, 0.061),
    ("stl10", "SCAN"): (0.767, 0.680, 0.616),
    ("stl10", "ProFeat_s"): (0.824, 0.728, 0.685),
    ("stl10", "ProFeat_e"): (0.848, 0.746, 0.712),
}
# The paper's settings; those of CIFAR-10 for data that it doesn't have.
PLAN = {
    "simclr_epochs": 500,
    "scan_epochs": 50,
    "self_label_epochs": 200,
    "refine_epochs": 50,
    "rounds": 10,
    "n_heads": 1,
    "n_models": 5,
}
PLANS = {
    "cifar100-20": {"scan_epochs": 100},
    "stl10": {"scan_epochs": 100, "self_label_epochs": 0, "rounds": 100},
}
BATCH_SIZE = {"cifar100-20": 512}  # of SCAN's step, else 128
THRESHOLD = {"stl10": 0.95}  # else 0.99
MIN_CONNECTIONS = {"cifar10": 20, "cifar100-20": 10, "stl10": 1}
N_NEIGHBORS = 20  # of the k-NN accuracy


def is_shared(row: str, data: str, args: argparse.Namespace) -> bool:
    """Return whether a row begins with the shared SimCLR."""
    return row not in ENSEMBLES or args.shared or data == "stl10"


def planned(
    row: str, data: str, args: argparse.Namespace, *, as_in_paper: bool = False
) -> dict[str, int]:
    """Return the row's epochs of each phase, rounds, heads and models."""
    plan = PLAN | PLANS.get(data, {})
    if data == "stl10" and row in ENSEMBLES:
        plan["rounds"] = 300
    if not as_in_paper:
        if args.small:
            defaults = ProFeatClustering()
            plan |= {
                "simclr_epochs": SimCLR().max_epochs,
                "scan_epochs": defaults.max_epochs,
                "self_label_epochs": defaults.self_label_epochs,
                "refine_epochs": defaults.refine_epochs,
                "rounds": defaults.n_rounds,
                "n_heads": defaults.n_heads,
            }
        given = {name: getattr(args, name) for name in plan}
        plan |= {name: value for name, value in given.items() if value is not None}
    names = {"k-means": 0, "SimCLR + k-means": 1, "SCAN": 3}.get(row, 5)
    kept = list(plan)[:names] + ["n_heads"] * (names > 1) + ["n_models"] * (row in ENSEMBLES)
    return {name: plan[name] for name in kept}


def name_of(row: str, data: str, args: argparse.Namespace, random_state: int) -> str:
    """Return the file name of a run: what is not the paper's is part of it."""
    paper = planned(row, data, args, as_in_paper=True)
    plan = planned(row, data, args)
    parts = [
        "" if args.n_samples is None else f"n{args.n_samples}",
        "small" if args.small and row != "k-means" else "",
        *(
            f"{name.removesuffix('_epochs').removeprefix('n_').replace('_', '')}{value}"
            for name, value in plan.items()
            if value != paper[name]
        ),
        "shared" if args.shared and row in ENSEMBLES and data != "stl10" else "",
        args.precision if args.precision != "float32" and row != "k-means" else "",
    ]
    plain = row.translate(str.maketrans("", "", " ()"))
    return "-".join([data, plain, *(part for part in parts if part), str(random_state)])


@lru_cache(maxsize=1)
def load_parts(
    data: str, n_samples: int | None, data_home: Path | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the training part and the test part, if there is one, each X and y."""

    def some(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if n_samples is None or n_samples >= len(X):
            return X, y
        chosen = np.random.RandomState(0).permutation(len(X))[:n_samples]
        return X[chosen], y[chosen]

    if data == "digits":
        return *some(*digits()), None, None
    options = {"data_home": data_home, "return_X_y": True}
    if data == "fashion-mnist":
        return *some(*load_fashion_mnist(**options)), None, None
    parts = [some(*LOADERS[data](subset=part, **options)) for part in ("train", "test")]
    return *parts[0], *parts[1]


def load(
    data: str, args: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return all images and labels, or as many of each part as asked for."""
    return load_parts(data, args.n_samples, args.data_home)


def load_for_simclr(data: str, args: argparse.Namespace) -> np.ndarray:
    """Return the training part, with STL-10's unlabelled part."""
    X = load(data, args)[0]
    if data != "stl10":
        return X
    unlabelled = load_stl10(subset="unlabeled", data_home=args.data_home, return_X_y=True)[0]
    if args.n_samples is not None:
        unlabelled = unlabelled[np.random.RandomState(0).permutation(len(unlabelled))]
        unlabelled = unlabelled[: args.n_samples]
    return np.concatenate([X, unlabelled])


class Evaluate(Callback):
    """ACC, NMI and ARI of the test part after each clustering phase, for figure 1.

    They are kept in a file beside the checkpoint, because callbacks begin anew when a fit goes on.
    The time that it takes is not counted as training.
    """

    def __init__(self, path: Path, X: np.ndarray, y: np.ndarray) -> None:
        self.path, self.X, self.y = path, X, y
        self.estimator: Any = None
        self.standardised: torch.Tensor | None = None
        self.seconds = 0.0
        self.found = json.loads(path.read_text()) if path.exists() else {}

    def __deepcopy__(self, memo: dict) -> Evaluate:
        return self  # one fit: no copy of the data

    def on_train_end(self, net: Any, X: torch.Tensor | None = None, **kwargs: Any) -> None:
        model = net.module_
        if not isinstance(model, ClusterNetwork):
            return  # the contrastive training
        start = time.perf_counter()
        if self.standardised is None:
            self.standardised = check_X(self.estimator, self.X, reset=False, device=X.device)
        losses = getattr(net.criterion_, "head_losses", None)  # of SCAN's step
        head = int(model.head.selected if losses is None else losses.argmin())
        reestimate_batch_norm(ClusterNetwork(model.encoder, model.head), X)
        model.eval()
        logits = forward_in_slices(
            lambda x: model.head.all(model.embed(x))[head], self.standardised
        )
        self.found[net.phase.name] = {
            **metrics(self.y, logits.argmax(1).cpu().numpy()),
            "loss": float(model.head.loss if losses is None else losses.min()),
        }
        save(self.path, self.found)
        self.seconds += time.perf_counter() - start

    def of_round(self, number: int) -> dict[str, float] | None:
        """Return what the model kept after a round, counted from 1, had at its end."""
        of_models: dict[str, dict] = {}
        for phase, found in self.found.items():  # self-labelling comes after SCAN's step
            model, _, _ = phase.rpartition(": ")
            if model.partition(",")[0] == f"round {number}":
                of_models[model] = found
        return min(of_models.values(), key=lambda found: found["loss"], default=None)


def fit(
    estimator: Any, X: np.ndarray, path: Path, evaluate: Evaluate | None = None
) -> dict[str, Any]:
    """Fit, or go on with a fit that was cut off; return what is worth keeping of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    estimator.set_params(checkpoint=path)
    if evaluate is not None:
        evaluate.estimator = estimator
        estimator.set_params(callbacks=[evaluate])
    goes_on = path.exists()
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    seconds = time.perf_counter() - start - (evaluate.seconds if evaluate else 0.0)
    messages = sorted({str(w.message) for w in caught})
    if any("the fit was interrupted" in message for message in messages):
        raise KeyboardInterrupt  # no result of half a training
    phases: dict[str, dict] = {}
    for row in estimator.history_:
        phase = phases.setdefault(row["phase"], {"train_loss": [], "seconds": 0.0})
        phase["train_loss"].append(float(f"{row['train_loss']:.5g}"))
        phase["seconds"] = round(phase["seconds"] + row["dur"], 3)
        if "confident" in row:
            phase.setdefault("confident", []).append(round(row["confident"], 5))
    training = sum(phase["seconds"] for phase in phases.values())
    parameters = estimator.get_params(deep=False)
    for name in ("callbacks", "checkpoint", "verbose"):
        del parameters[name]
    if parameters.get("representation") is not None:
        parameters["representation"] = "the shared SimCLR"
    return {
        # Of a fit that goes on, the clock has seen the last part alone, but the history has all.
        "seconds": max(seconds, training),
        "seconds of training": training,
        "went on": goes_on,
        "history": phases,
        "warnings": messages,
        "parameters": {
            k: v if isinstance(v, int | float | str | None) else str(v)
            for k, v in parameters.items()
        },
    }


def common(args: argparse.Namespace, random_state: int) -> dict[str, Any]:
    network = {} if args.small else {"network": ResNet18}
    return {
        "device": args.device,
        "precision": args.precision,
        "random_state": random_state,
        "verbose": 1,
        **network,
    }


def shared_simclr(data: str, args: argparse.Namespace, random_state: int) -> dict[str, Any]:
    """Return the fitted SimCLR of a random state, under "estimator", and what `fit` says of it."""
    name = name_of("SimCLR + k-means", data, args, random_state).replace("+k-means", "")
    path = args.cache / f"{name}.joblib"
    if not path.exists():
        print(f"fitting {name}", flush=True)
        paper = {
            "batch_size": 512,
            "lr": 0.4,
            "optimizer": partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4),
        }
        estimator = SimCLR(
            max_epochs=planned("SimCLR + k-means", data, args)["simclr_epochs"],
            **({} if args.small else paper),
            **common(args, random_state),
        )
        X = load_for_simclr(data, args)
        kept = fit(estimator, X, args.cache / f"{name}.pt")
        kept |= {"estimator": estimator, "n_samples": len(X)}
        partial_path = path.with_suffix(".partial")
        joblib.dump(kept, partial_path)
        partial_path.replace(path)
    kept = joblib.load(path)
    kept["estimator"].set_params(device=args.device).network_.to(args.device)
    return kept


def make(
    row: str, data: str, args: argparse.Namespace, random_state: int, n_clusters: int, before: Any
) -> Any:
    """Return the estimator of a row, with the paper's settings."""
    plan = planned(row, data, args)
    parameters = {
        "n_clusters": n_clusters,
        "representation": before,
        "representation_epochs": plan["simclr_epochs"],
        "max_epochs": plan["scan_epochs"],
        "self_label_epochs": plan["self_label_epochs"],
        "n_heads": plan["n_heads"],
        "n_init": 1,
        **common(args, random_state),
    }
    if not args.small:
        parameters |= {
            "temperature": 0.1,
            "representation_batch_size": 512,
            "representation_lr": 0.4,
            "representation_optimizer": partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4),
            "n_neighbors": 20,
            "entropy_weight": 5.0,
            "batch_size": BATCH_SIZE.get(data, 128),
            "lr": 1e-4,
            "optimizer": partial(torch.optim.Adam, weight_decay=1e-4),
            "self_label_batch_size": 1000,
            "self_label_lr": 1e-4,
            "confidence": 0.99,
        }
    if row == "SCAN":
        return SCANClustering(**parameters)
    parameters |= {"n_rounds": plan["rounds"], "refine_epochs": plan["refine_epochs"]}
    if row in ENSEMBLES:
        parameters["n_models"] = plan["n_models"]
    if not args.small:
        parameters["refine_lr"] = parameters["representation_lr"]
        parameters["threshold"] = THRESHOLD.get(data, 0.99)
        parameters["min_connections"] = MIN_CONNECTIONS.get(data, "auto")
    return ProFeatClustering(**{**parameters, **ROWS[row]})


def run(job: tuple[str, str, int, argparse.Namespace]) -> dict[str, Any]:
    row, data, random_state, args = job
    X, y, X_test, y_test = load(data, args)
    n_clusters = len(np.unique(y))
    if X_test is None:
        X_test, y_test = X, y
    result = {
        "row": row,
        "data": data,
        "random_state": random_state,
        "n_samples": len(X),
        "n_test": 0 if X_test is X else len(X_test),
        "small": args.small and row != "k-means",
        "precision": args.precision if row != "k-means" else "float32",
        "shared SimCLR": row != "k-means" and is_shared(row, data, args),
        "plan": planned(row, data, args),
    }
    before = None
    if result["shared SimCLR"]:
        before = shared_simclr(data, args, random_state)
        result["n_samples of SimCLR"] = before["n_samples"]
        result["seconds of SimCLR"] = before["seconds"]
    if "k-means" in row:
        start = time.perf_counter()
        if before is None:
            features, test_features = (part.reshape(len(part), -1) / 1.0 for part in (X, X_test))
        else:
            features, test_features = (before["estimator"].transform(p) for p in (X, X_test))
        k_means = KMeans(n_clusters, n_init=10, random_state=random_state).fit(features)
        labels, test_labels = k_means.labels_, k_means.predict(test_features)
        result["seconds"] = time.perf_counter() - start
        if before is not None:
            neighbors = KNeighborsClassifier(N_NEIGHBORS, metric="cosine")
            if X_test is X:
                found = cross_val_score(neighbors, features, y, cv=5).mean()
            else:
                found = neighbors.fit(features, y).score(test_features, y_test)
            result["k-NN accuracy"] = float(found)
            for name in ("history", "warnings", "parameters", "went on"):
                result[name] = before[name]
    else:
        name = name_of(row, data, args, random_state)
        representation = None if before is None else before["estimator"]
        estimator = make(row, data, args, random_state, n_clusters, representation)
        evaluate = Evaluate(args.cache / f"{name}.json", X_test, y_test)
        result |= fit(estimator, X, args.cache / f"{name}.pt", evaluate)
        labels, test_labels = estimator.labels_, estimator.predict(X_test)
        result["n_empty_clusters"] = estimator.restarts_[0]["n_empty_clusters"]
        result["score"] = estimator.restarts_[0]["score"]
        if row == "SCAN":
            if estimator.self_label_epochs:
                result["before self-labelling"] = evaluate.found.get("scan")
        else:
            result["rounds"] = [
                {"training part": metrics(y, of_round), "test part": evaluate.of_round(number)}
                for number, of_round in enumerate(estimator.round_labels_, start=1)
            ]
    result["seconds of all"] = result["seconds"] + result.get("seconds of SimCLR", 0.0)
    result |= metrics(y_test, test_labels)
    if X_test is not X:
        result["training part"] = metrics(y, labels)
    result["environment"] = environment(args.device)
    return result


def draw(data: str, args: argparse.Namespace) -> None:
    """Figure 1: ACC after each round, and SCAN's mean as a line, of the results there are."""
    import matplotlib.pyplot as plt

    def results(row: str) -> list[dict]:
        names = [name_of(row, data, args, state) for state in args.random_states]
        paths = [RESULTS / "profeat" / f"{name}.json" for name in names]
        return [json.loads(path.read_text()) for path in paths if path.exists()]

    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    n_runs = []
    for row, colour in (("ProFeat_s", "C0"), ("ProFeat_e", "C1")):
        runs = results(row)
        if not runs or (row == "ProFeat_e" and row not in args.row):
            continue
        n_runs.append(f"{row}: {len(runs)}")
        parts = (
            {"test part": "-", "training part": ":"} if runs[0]["n_test"] else {"test part": "-"}
        )
        for part, style in parts.items():
            curves = [
                [r[part]["acc"] if r[part] else np.nan for r in run["rounds"]] for run in runs
            ]
            rounds = range(1, len(curves[0]) + 1)
            label = f"{row}, {part}" if runs[0]["n_test"] else row
            mean = np.mean(curves, axis=0)
            ax.plot(rounds, mean, style, marker=".", color=colour, label=label)
            if len(runs) > 1 and part == "test part":
                ax.fill_between(
                    rounds, np.min(curves, 0), np.max(curves, 0), alpha=0.15, color=colour, lw=0
                )
    if not n_runs:
        plt.close(figure)
        print(f"no results of ProFeat_s on {data} with these settings: no figure")
        return
    scan = results("SCAN")
    if scan:
        n_runs.append(f"SCAN: {len(scan)}")
        mean = np.mean([r["acc"] for r in scan])
        ax.axhline(mean, color="C2", ls="--", label="SCAN, mean")
    ax.set(xlabel="round", ylabel="ACC", title=f"{data} (runs: {', '.join(n_runs)})")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    args.figures.mkdir(parents=True, exist_ok=True)
    name = name_of("ProFeat_s", data, args, 0).removesuffix("-0")
    figure.savefig(args.figures / f"{name}-figure1.png", dpi=120, bbox_inches="tight")
    plt.close(figure)


def render() -> str:
    """Write the table of all results there are."""
    groups: dict[tuple, list[dict]] = {}
    for path in sorted((RESULTS / "profeat").glob("*.json")):
        r = json.loads(path.read_text())
        e = r["environment"]
        machine = e["machine"]
        if e["device"] == "cpu":
            machine += f", {e['n_threads']} threads"
        where = "yes" if r["shared SimCLR"] else ""
        n_unlabelled = max(0, r.get("n_samples of SimCLR", 0) - r["n_samples"])
        setting = "package's" if r["small"] else "paper's"
        key = (DATA.index(r["data"]), -r["n_samples"], r["n_test"])
        further = (n_unlabelled, setting, r["precision"], machine)
        lines = [(r["row"], r["plan"], r)]
        if r.get("before self-labelling"):
            plan = r["plan"] | {"self_label_epochs": 0}
            seconds = r["seconds of all"] - r["history"]["self-labelling"]["seconds"]
            before = {
                **r["before self-labelling"],
                "seconds of all": seconds,
                "environment": e,
            }
            lines.insert(0, (BEFORE, plan, before))
        for row, plan, line in lines:
            order = list(ROWS).index("SCAN") - 0.5 if row == BEFORE else list(ROWS).index(row)
            epochs = tuple(plan.get(name, "") for name in PLAN)
            groups.setdefault((*key, order, row, *further, where, epochs), []).append(line)
    rows = []
    for key, results in sorted(groups.items(), key=lambda item: (*item[0][:4], str(item[0]))):
        number, n, n_test, _, row, n_unlabelled, setting, precision, machine, shared, epochs = key
        simclr, scan, self_labelling, refinement, n_rounds, n_heads, n_models = epochs
        data = DATA[number]
        without = row == "SCAN" and self_labelling == 0 and data != "stl10"
        paper = PAPER.get((data, BEFORE if without else row))
        training = [r["training part"] for r in results if "training part" in r]
        neighbors = [r["k-NN accuracy"] for r in results if "k-NN accuracy" in r]
        images = f"{-n:,}" + (f" + {n_unlabelled:,}" if n_unlabelled else "")
        rows.append(
            [
                data,
                images + (f" / {n_test:,}" if n_test else ""),
                row, "" if row == "k-means" else setting, simclr, shared, scan, self_labelling,
                refinement, n_rounds, n_heads, n_models, precision,
                len(results),
                *(mean_std(r[m] for r in results) for m in ("acc", "nmi", "ari")),
                " / ".join(f"{v:.3f}" for v in paper) if paper else "",
                mean_std(t["acc"] for t in training) if training else "",
                mean_std(neighbors) if neighbors else "",
                f"{np.mean([r['seconds of all'] for r in results]):,.0f}",
                machine,
            ]
        )  # fmt: skip
    header = [
        "data", "images", "row", "settings", "SimCLR epochs", "shared SimCLR", "SCAN epochs",
        "self-labelling epochs", "refinement epochs a round", "rounds", "heads", "models",
        "precision", "runs", "ACC", "NMI", "ARI", "paper: ACC / NMI / ARI",
        "ACC, training part", "k-NN accuracy", "seconds a run", "machine",
    ]  # fmt: skip
    text = table(header, rows)
    text += (
        "\n\nImages: training part (+ unlabelled, for SimCLR alone) / test part, which ACC, NMI "
        "and ARI are of; without a test part they are of the images trained on. The paper's "
        "figures are means of 5 runs with 500 epochs of SimCLR, 50 of SCAN (100 on CIFAR-100-20 "
        "and STL-10), 200 of self-labelling (none on STL-10) and 10 rounds (STL-10: 100, ProFeat_e "
        "300) with 50 epochs of refinement; SCAN before self-labelling (0.816 / 0.715 / 0.665 on "
        "CIFAR-10) is the best single model of SCAN's README, not a mean. Settings: optimisers, "
        "learning rates, batch sizes, network and thresholds of the paper, or the package's "
        "defaults. Seconds are those of all stages that a row needs, with the SimCLR that it "
        "shares with other rows; a run that was cut off and went on counts the training alone. "
        f"The k-NN accuracy is of SimCLR's features: {N_NEIGHBORS} neighbours, cosine, with the "
        "labels of the training part (without a test part: cross-validated in 5 parts)."
        "\n\nWith either settings, the strong augmentation of colour images is that of SCAN's "
        "released code. Ours: SCAN's step keeps its last epoch and the head with the lowest "
        "training loss in it (SCAN's code: the epoch and the head with the lowest loss on "
        "validation images and their 5 nearest neighbours, with an entropy weight of 1), "
        "neighbours are without the image itself (there with it), the side of the cut-out may be "
        "odd (there even, and 0 in 6 % of the draws), at least t_e models have to agree (equation "
        "3: more than t_e, with t_e = 5 of 5), and heads go on from round to round.\n\n"
    )
    if groups:
        latest = max(
            (r for rs in groups.values() for r in rs), key=lambda r: r["environment"]["date"]
        )
        text += f"Versions of the last: {described(latest)}.\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "profeat.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["cifar10"], choices=DATA)
    parser.add_argument(
        "--row", nargs="+", choices=list(ROWS), help="default: table 1, and k-means if not in it"
    )
    parser.add_argument("--random-states", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--n-samples", type=int, help="of each part at most")
    for name in PLAN:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument(
        "--small",
        action="store_true",
        help="the package's defaults instead of the paper's settings",
    )
    parser.add_argument(
        "--shared", action="store_true", help="(d) and ProFeat_e begin with the shared SimCLR too"
    )
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "cache" / "profeat")
    parser.add_argument("--figures", type=Path, help="a folder for figure 1")
    parser.add_argument("--render", action="store_true", help="run nothing")
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    failed = False
    for data in args.data:
        of_data = copy.copy(args)
        if args.row is None:
            of_data.row = ["SimCLR + k-means", "SCAN", "ProFeat_s", "ProFeat_e"]
            if data not in LOADERS:
                of_data.row.insert(0, "k-means")
        for state in [] if args.render else args.random_states:
            for row in ROWS:
                if row not in of_data.row:
                    continue
                path = RESULTS / "profeat" / f"{name_of(row, data, of_data, state)}.json"
                try:
                    run_missing([(path, (row, data, state, of_data))], run)
                except FloatingPointError as error:  # the other rows may do better
                    failed = True
                    print(f"{path.stem} failed: {error}", file=sys.stderr, flush=True)
            render()
        if args.figures:
            draw(data, of_data)
    print(render())
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
