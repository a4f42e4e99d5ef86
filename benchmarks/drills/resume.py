"""Fits that are killed again and again, which have to end as undisturbed ones do, bit for bit.

    python -m benchmarks.drills.resume [--n-kills 20] [--random-state 0] [--only IMSAT SimCLR]

Estimators of all families are fitted to a few digits with `checkpoint=`, which is written after
every epoch here. A process that fits is killed (SIGKILL) at a random moment, or while it writes the
checkpoint, of which a random share is on disk then; another one goes on from the file and is
killed in turn, until one comes to its end. Labels, weights and the history are then compared with
those of a fit without a checkpoint, and no file may be left but the checkpoints of an undisturbed
fit. `FeatureExtractor` is killed while it writes its features. The processes are forked from one
that has all in memory. Writes benchmarks/results/resume.json and .md.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

import skdeepclust
from benchmarks.records import RESULTS, described, environment, save, table
from skdeepclust import features
from skdeepclust._training import _checkpoint

N_SAMPLES = 120
MOST_SECONDS = 300  # of a fit, before it counts as one that hangs
FORK = multiprocessing.get_context("fork")
Kill = tuple[str, Any]  # when: ("moment", seconds) or ("write", (which one, share of the bytes))


class Encoder(torch.nn.Sequential):
    """A small network in place of a large one."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        n_values = int(np.prod(input_shape))
        layers = torch.nn.Linear(n_values, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU()
        super().__init__(torch.nn.Flatten(), *layers)


def families() -> dict[str, Any]:
    """Return estimators with as many phases and restarts as possible, and short fits."""
    short = {"random_state": 0, "max_epochs": 3, "batch_size": 50}
    small = {**short, "n_clusters": 3, "n_init": 1}
    restarts = {**small, "n_init": 3, "screening": 0.5}
    little = {**restarts, "network": Encoder}
    dense = {"kmeans_n_init": 3, "hidden_sizes": (32, 16)}
    autoencoder = skdeepclust.AutoencoderClustering(max_epochs=2, n_init=1, **dense)
    finetuned = {**small, "autoencoder": autoencoder, "kmeans_n_init": 3, "tol": 1e-3}
    simclr = skdeepclust.SimCLR(max_epochs=2)
    of_simclr = {"representation": simclr, "self_label_epochs": 1}
    return {
        "STDAC": skdeepclust.STDACClustering(**little),
        "DAC, init='kmeans'": skdeepclust.DACClustering(**little, init="kmeans"),
        "Deep": skdeepclust.DeepClustering(**restarts),
        "Deep, n_clusters='auto'": skdeepclust.DeepClustering(
            **{**small, "n_clusters": "auto", "max_epochs": 2}
        ),
        "Autoencoder": skdeepclust.AutoencoderClustering(**restarts, **dense, whiten=True),
        "DEC": skdeepclust.DECClustering(**finetuned),
        "VaDE": skdeepclust.VaDEClustering(**{k: v for k, v in finetuned.items() if k != "tol"}),
        "MCDC, base='idec'": skdeepclust.MCDCClustering(
            **small, **dense, base="idec", finetune_epochs=2
        ),
        "DEPICT": skdeepclust.DEPICTClustering(**small, label_epochs=1, kmeans_n_init=3),
        "SimCLR": skdeepclust.SimCLR(**short),
        "SCAN": skdeepclust.SCANClustering(**{**restarts, "n_init": 2}, **of_simclr),
        "ProFeat": skdeepclust.ProFeatClustering(
            **small, **of_simclr, n_models=2, n_rounds=2, refinement_epochs=1, confident_only=False
        ),
        "IMSAT, class_prior='estimate'": skdeepclust.IMSATClustering(
            **restarts, class_prior="estimate"
        ),
        "IIC": skdeepclust.IICClustering(**small, alternation=1),
        "CatGAN": skdeepclust.CatGANClustering(**small),
        "TEMI": skdeepclust.TEMIClustering(**small),
        "TURTLE": skdeepclust.TURTLEClustering(**small),
        "DeepCluster": skdeepclust.DeepClusterClustering(**small, kmeans_n_init=3),
        "FeatureExtractor": skdeepclust.FeatureExtractor(
            torch.nn.Conv2d(1, 8, 3), mean=8, std=8, batch_size=2
        ),
    }


def learnt(estimator: Any, X: np.ndarray, path: Path | None) -> dict[str, str]:
    """Fit a copy of an estimator; return hashes of what it has learnt."""
    estimator = clone(estimator)
    if isinstance(estimator, skdeepclust.FeatureExtractor):
        return {"features": joblib.hash(np.array(estimator.transform(X, out=path)))}
    estimator.set_params(checkpoint=path).fit(X)
    found = {
        "history": [(row["phase"], row["train_loss"]) for row in estimator.history_],
        "weights": [(k, v.numpy()) for k, v in estimator.network_.state_dict().items()],
        "embedding": estimator.transform(X),
    }
    if hasattr(estimator, "labels_"):
        found["labels"] = estimator.labels_
        found["probabilities"] = estimator.predict_proba(X)
        found["restarts"] = estimator.restarts_
    return {name: joblib.hash(value) for name, value in found.items()}


def die_while_writing(which: int, share: float) -> None:
    """Let the process end in the middle of a checkpoint, so many after now."""
    whole, n_left = torch.save, which

    def save(content: Any, path: Path) -> None:
        nonlocal n_left
        buffer = io.BytesIO()
        whole(content, buffer)
        data = buffer.getvalue()
        n_left -= 1
        path.write_bytes(data if n_left else data[: round(share * len(data))])
        if n_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save


def work(estimator: Any, X: np.ndarray, path: Path, kill: Kill, result: Path) -> None:
    """Fit in a process of its own, and leave what was learnt, or the error, in a file."""
    _checkpoint.CHECKPOINT_SECONDS = features.SAVE_SECONDS = 0.0  # after every epoch
    if kill[0] == "write":
        die_while_writing(*kill[1])
    try:
        found = learnt(estimator, X, path)
    except BaseException:
        found = {"error": traceback.format_exc()}
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.replace(result)


def cpu_seconds(process: Any) -> float:
    """Return how long a process has run: the clock's time depends on what else is running."""
    with suppress(OSError):  # it has just ended
        return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
    return 0.0


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one_fit(
    estimator: Any, X: np.ndarray, folder: Path, kills: Any
) -> tuple[Counter[str], dict[str, str]]:
    """Return how many kills of each kind a fit took, and what it learnt in the end."""
    for path in folder.iterdir():
        path.unlink()
    result = folder.with_suffix(".json")
    result.unlink(missing_ok=True)
    taken: Counter[str] = Counter()
    while not result.exists():
        kill = next(kills)
        process = FORK.Process(target=work, args=(estimator, X, folder / "fit.pt", kill, result))
        process.start()
        started = time.monotonic()
        while process.is_alive() and (kill[0] == "write" or cpu_seconds(process) < kill[1]):
            process.join(0.002)
            if time.monotonic() - started > MOST_SECONDS:
                process.kill()
                return taken, {"error": "it hangs"}
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL and not result.exists():
            taken[kill[0]] += 1
        elif process.exitcode not in (0, -signal.SIGKILL):
            return taken, {"error": f"the process ended with {process.exitcode}"}
    found = json.loads(result.read_text())
    found.setdefault("files", " ".join(sorted(path.name for path in folder.iterdir())))
    return taken, found


def endless(draw: random.Random, seconds: float, n_writes: int) -> Any:
    """Yield when to kill: at random moments, and every third time in the middle of a write."""
    while True:
        for kind in ("moment", "moment", "write") if n_writes else ("moment",):
            if kind == "moment":
                yield kind, draw.uniform(0, seconds)
            else:
                yield kind, (draw.randint(1, n_writes), draw.choice([0, 1, draw.random()]))


def drill(
    estimator: Any, X: np.ndarray, n_kills: int, draw: random.Random, folder: Path
) -> dict[str, Any]:
    """Kill fits of an estimator so many times; return what came of it."""
    expected = learnt(estimator, X, None)
    start = cpu_seconds_of_children()
    _, undisturbed = one_fit(estimator, X, folder, iter([("moment", math.inf)]))
    seconds = cpu_seconds_of_children() - start
    n_writes = 0 if "features" in expected else undisturbed["files"].count("fit.pt") * 3
    wrong = [] if {**undisturbed, **expected} == undisturbed else ["undisturbed"]
    kills = endless(draw, seconds, n_writes)
    taken: Counter[str] = Counter()
    n_fits = 0
    while taken.total() < n_kills:
        more, found = one_fit(estimator, X, folder, kills)
        taken += more
        n_fits += 1
        differing = [key for key, value in found.items() if undisturbed.get(key) != value]
        if differing:
            wrong.append(f"{', '.join(differing)} after {dict(more)}")
            print(f"{estimator}: {wrong[-1]}: {found}", flush=True)
    return {
        "moments": taken["moment"],
        "writes": taken["write"],
        "n_fits": n_fits,
        "n_same": n_fits - len(wrong),
        "wrong": wrong,
        "seconds_a_fit": seconds,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-kills", type=int, default=20, help="of each family")
    parser.add_argument("--random-state", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[], metavar="FAMILY")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    X = load_digits().images[:N_SAMPLES].astype(np.uint8)
    start = time.perf_counter()
    found = {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")
        folder = Path(name, "fit")
        folder.mkdir()
        for family, estimator in families().items():
            if arguments.only and family not in arguments.only:
                continue
            draw = random.Random(f"{family} {arguments.random_state}")
            found[family] = drill(estimator, X, arguments.n_kills, draw, folder)
            print(family, found[family], flush=True)
    result = {
        "families": found,
        "n_kills": arguments.n_kills,
        "random_state": arguments.random_state,
        "seconds": time.perf_counter() - start,
        "environment": environment(),
    }
    if not arguments.only:
        report(result)
    sys.exit(any(family["wrong"] for family in found.values()))


def report(result: dict[str, Any]) -> None:
    """Write down how often each family was killed, and how many fits ended as they should."""
    save(RESULTS / "resume.json", result)
    columns = ("moments", "writes", "n_fits", "n_same")
    rows = [[name, *(f[column] for column in columns)] for name, f in result["families"].items()]
    rows.append(["all", *(sum(row[i + 1] for row in rows) for i in range(len(columns)))])
    header = ["family", "kills at random moments", "while a checkpoint is written", "fits", "same"]
    text = table(header, rows) + (
        f"\n\nFits to {N_SAMPLES} digits, in {result['seconds']:.0f} s. A fit is killed and gone "
        "on with until it ends; it is the same if labels, probabilities, weights, embedding, "
        "history and restarts are those of a fit that had no checkpoint, bit for bit, and if no "
        "other files are left than those of an undisturbed one. "
        f"`python -m benchmarks.drills.resume --n-kills {result['n_kills']} "
        f"--random-state {result['random_state']}`. {described(result)}\n"
    )
    (RESULTS / "resume.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
