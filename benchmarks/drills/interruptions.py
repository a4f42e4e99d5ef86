"""Full disks, folders that can't be written, signals, threads and processes around a fit.

    python -m benchmarks.drills.interruptions [--n-signals 150] [--n-disks 30] [--random-state 0]

A disk is full (the size of files is limited) after a random share of a checkpoint, a model file or
features; a folder is below a file, read-only (/proc) or removed during the fit. SIGINT and SIGTERM
come at random moments of a fit with a checkpoint. Fits run in five threads, and in processes that
are forked and spawned. What has to hold is in the docstrings of the functions below. Writes
benchmarks/results/interruptions.json and .md.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

import skdeepclust
from benchmarks.drills.resume import FORK, Encoder, cpu_seconds, cpu_seconds_of_children, learnt
from benchmarks.records import RESULTS, described, environment, save, table
from skdeepclust._training import _checkpoint

N_SAMPLES = 120
SHORT = {"n_clusters": 3, "max_epochs": 3, "batch_size": 50, "random_state": 0}
ESTIMATORS = {
    "STDAC": skdeepclust.STDACClustering(**SHORT, n_init=3, screening=0.5, network=Encoder),
    "Autoencoder": skdeepclust.AutoencoderClustering(**SHORT, n_init=2, kmeans_n_init=3),
    "SCAN": skdeepclust.SCANClustering(
        **SHORT, self_label_epochs=1, representation=skdeepclust.SimCLR(max_epochs=1)
    ),
    "IMSAT": skdeepclust.IMSATClustering(**SHORT, n_init=1),
    "CatGAN": skdeepclust.CatGANClustering(**SHORT),
}
Outcomes = Iterator[tuple[str, str]]  # what was done, and how it went: FINE, or what was wrong
FINE = "as it should"


def images() -> np.ndarray:
    return load_digits().images[:N_SAMPLES].astype(np.uint8)


def in_a_child(
    function: Callable[..., Any], *given: Any, before: Callable[[Any], None] | None = None
) -> str:
    """Return what a function returns in a forked process, or how that ended."""
    receiving, sending = FORK.Pipe(duplex=False)

    def work() -> None:
        _checkpoint.CHECKPOINT_SECONDS = 0.0  # after each epoch
        try:
            found = str(function(*given))
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        sending.send(found)

    process = FORK.Process(target=work)
    process.start()
    sending.close()
    if before is not None:
        before(process)
    try:
        found = receiving.recv()
    except EOFError:
        found = None
    process.join()
    return found if found is not None else f"ended by {process.exitcode}"


def learns(expected: dict[str, str], model: Any, X: np.ndarray, path: Path | None) -> str:
    """A fit learns what is expected."""
    return same_as(expected, learnt(model, X, path))


def same_as(expected: dict[str, str], found: dict[str, str]) -> str:
    differing = [name for name, value in expected.items() if found.get(name) != value]
    return f"{', '.join(differing)} differ" if differing else FINE


def raises(error: type, message: str, function: Callable[..., Any], *given: Any) -> str:
    try:
        function(*given)
    except error as found:
        return FINE if message in str(found) else f"another message: {found}"
    except Exception as found:
        return repr(found)
    return "no error"


# ---------------------------------------------------------------------- disks


class Limit(Callback):
    """Lets files have no more than so many bytes once there is a checkpoint."""

    def __init__(self, path: Path, most: int) -> None:
        self.path, self.most = path, most

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if self.path.exists():
            limit_files(self.most)


class Remove(Callback):
    """Removes the folder of the checkpoint during the fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def limit_files(most: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))


def to_full(most: int, function: Callable[..., Any], *given: Any) -> str:
    """An OSError says that the file can't be written."""
    limit_files(most)
    return raises(OSError, "", function, *given)


def warned_and_learnt(model: Any, X: np.ndarray, path: Path, expected: dict[str, str]) -> str:
    """The fit warns that the checkpoint can't be written, and ends as it does without one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = learnt(model, X, path)
    if not any("could not be written" in str(w.message) for w in caught):
        return "no warning"
    return same_as(expected, found)


def full_disks(X: np.ndarray, n: int, draw: random.Random, folder: Path) -> Outcomes:
    """An earlier file stays as it was, no other is left, and a later fit goes on from it."""
    for name, model in ESTIMATORS.items():
        expected, path = learnt(model, X, None), folder / "fit.pt"
        in_a_child(learnt, model, X, path)
        size = path.stat().st_size
        for _ in range(-(-n // (3 * len(ESTIMATORS)))):
            path.unlink()
            limited = clone(model).set_params(callbacks=[Limit(path, draw.randrange(size // 2))])
            found = in_a_child(warned_and_learnt, limited, X, path, expected)
            if found == FINE:  # what is there was written before, and is gone on from
                found = in_a_child(learns, expected, model, X, path)
            yield f"disk full at a checkpoint: {name}", found
        for rest in folder.iterdir():
            rest.unlink()
        path = folder / "model.skdc"
        fitted = clone(model).fit(X)
        skdeepclust.save(fitted, path)
        data = path.read_bytes()

        for _ in range(-(-n // (3 * len(ESTIMATORS)))):
            found = in_a_child(to_full, draw.randrange(len(data)), skdeepclust.save, fitted, path)
            if path.read_bytes() != data or list(folder.iterdir()) != [path]:
                found = "the model file before is not as it was"
            yield "disk full at a model file", found
        path.unlink()
    extractor = skdeepclust.FeatureExtractor(torch.nn.Conv2d(1, 8, 3), mean=8, std=8)
    expected = learnt(extractor, X, None)
    size = 8 * 36 * 4 * len(X)

    for _ in range(-(-n // 3)):
        found = in_a_child(to_full, draw.randrange(size), learnt, extractor, X, folder / "Z.npy")
        if found == FINE:
            found = same_as(expected, learnt(extractor, X, folder / "Z.npy"))
        yield "disk full at features", found
        for rest in folder.iterdir():
            rest.unlink()


def bad_folders(X: np.ndarray, folder: Path) -> Outcomes:
    """Before the training, an error says which path can't be written; later, a warning does."""
    (folder / "file").write_text("")
    fitted = clone(ESTIMATORS["IMSAT"]).fit(X)
    extractor = skdeepclust.FeatureExtractor(torch.nn.Flatten(), mean=8, std=8)
    places = {
        "below a file": folder / "file" / "x",
        "missing": folder / "missing" / "x",
        "read-only": Path("/proc/x"),
    }
    for what, path in places.items():
        for name, model in ESTIMATORS.items():
            model = clone(model).set_params(checkpoint=path)
            found = raises(ValueError, "checkpoint must be", model.fit, X)
            yield f"folder {what}: checkpoint of {name}", found
        yield (
            f"folder {what}: model",
            raises(OSError, "", skdeepclust.save, fitted, path),
        )
        error = OSError if what == "read-only" else ValueError
        found = raises(error, "", learnt, extractor, X, path)
        yield f"folder {what}: features", found
    for name, model in ESTIMATORS.items():
        (folder / "gone").mkdir()
        path, removing = folder / "gone" / "fit.pt", [Remove(folder / "gone")]
        expected, model = learnt(model, X, None), clone(model).set_params(callbacks=removing)
        found = in_a_child(warned_and_learnt, model, X, path, expected)
        shutil.rmtree(folder / "gone", ignore_errors=True)
        yield f"folder removed during the fit: {name}", found


# ---------------------------------------------------------------------- signals


def fit_until_interrupted(model: Any, X: np.ndarray, path: Path, expected: dict[str, str]) -> str:
    """After SIGINT, the estimator is usable and a warning says so, or it isn't fitted."""
    model = clone(model).set_params(checkpoint=path)
    state = torch.get_rng_state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                model.predict(X)
            except NotFittedError:
                return FINE if torch.equal(torch.get_rng_state(), state) else "another random state"
            return "fitted after a KeyboardInterrupt"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not torch.equal(torch.get_rng_state(), state):
        return "another random state"
    if (model.predict(X) != model.labels_).any():
        return "labels_ are not what is predicted"
    if any("was interrupted" in str(w.message) for w in caught):
        return FINE
    return same_as(expected, learnt(model, X, path))  # it came too late


def signals(X: np.ndarray, n: int, draw: random.Random, folder: Path) -> Outcomes:
    """SIGINT leaves what the docstring of `fit` says, SIGTERM ends the process; the checkpoint is
    gone on from, to the same end."""
    for name, model in ESTIMATORS.items():
        expected, path = learnt(model, X, None), folder / "fit.pt"
        start = cpu_seconds_of_children()
        in_a_child(learnt, model, X, path)
        seconds = cpu_seconds_of_children() - start
        for number in range(-(-n // len(ESTIMATORS))):
            for rest in folder.iterdir():
                rest.unlink()
            sent = signal.SIGTERM if number % 3 == 2 else signal.SIGINT
            moment = draw.uniform(0.05, 1) * seconds

            def send(process: Any, sent: int = sent, moment: float = moment) -> None:
                while process.is_alive() and cpu_seconds(process) < moment:
                    time.sleep(0.002)
                if process.is_alive():
                    os.kill(process.pid, sent)

            found = in_a_child(fit_until_interrupted, model, X, path, expected, before=send)
            if found.startswith("KeyboardInterrupt") or found == f"ended by {-sent}":
                found = FINE  # before or after the fit; and what SIGTERM does
            if found == FINE:
                found = in_a_child(learns, expected, model, X, path)
            yield f"{sent.name}: {name}", found


# ---------------------------------------------------------------------- threads and processes


def of_process(name: str) -> dict[str, str]:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return learnt(ESTIMATORS[name], images(), None)


def in_parallel(X: np.ndarray) -> Outcomes:
    """Fits learn what they learn alone, and leave the caller's random states alone."""
    expected = {name: learnt(model, X, None) for name, model in ESTIMATORS.items()}
    found: dict[str, dict[str, str]] = {}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = [
        threading.Thread(target=lambda n=name, m=m: found.update({n: learnt(m, X, None)}))
        for name, m in ESTIMATORS.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ESTIMATORS:
        yield f"{len(threads)} threads: {name}", same_as(expected[name], found.get(name, {}))
    now = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    is_same = torch.equal(now[0], states[0]) and (now[1] == states[1]).all()
    yield f"{len(threads)} threads: random states", FINE if is_same else "others"
    for method in ("fork", "spawn"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            for name, result in zip(ESTIMATORS, pool.map(of_process, ESTIMATORS), strict=True):
                yield f"2 processes, {method}: {name}", same_as(expected[name], result)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-signals", type=int, default=150)
    parser.add_argument("--n-disks", type=int, default=30)
    parser.add_argument("--random-state", type=int, default=0)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    X, draw = images(), random.Random(arguments.random_state)
    start, counts = time.perf_counter(), Counter()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")
        folders = [Path(name, part) for part in ("disks", "folders", "signals")]
        for folder in folders:
            folder.mkdir()
        parts = [
            full_disks(X, arguments.n_disks, draw, folders[0]),
            bad_folders(X, folders[1]),
            in_parallel(X),
            signals(X, arguments.n_signals, draw, folders[2]),
        ]
        for part in parts:
            for what, outcome in part:
                counts[what.partition(": ")[0], outcome] += 1
                if outcome != FINE:
                    print(f"{what}: {outcome}", flush=True)
            print(f"{math.ceil(time.perf_counter() - start)} s", flush=True)
    report(
        {
            "outcomes": [[*key, n] for key, n in counts.items()],
            "n_signals": arguments.n_signals,
            "n_disks": arguments.n_disks,
            "random_state": arguments.random_state,
            "seconds": time.perf_counter() - start,
            "environment": environment(),
        }
    )
    sys.exit(any(outcome != FINE for _, outcome in counts))


def report(result: dict[str, Any]) -> None:
    """Write down how often each situation ended as it should."""
    save(RESULTS / "interruptions.json", result)
    situations = list(dict.fromkeys(what for what, _, _ in result["outcomes"]))
    rows = []
    for situation in situations:
        found = {outcome: n for what, outcome, n in result["outcomes"] if what == situation}
        rows.append([situation, sum(found.values()), found.get(FINE, 0)])
    text = table(["situation", "times", FINE], rows) + (
        f"\n\n{len(ESTIMATORS)} estimators on {N_SAMPLES} digits, in {result['seconds']:.0f} s. "
        "What should be: an error or a warning that names the path; files that were there stay, "
        "and none is left half; after SIGINT an estimator that is usable and warns, or one that "
        "isn't fitted; a fit that goes on ends as an undisturbed one, bit for bit; and fits side "
        "by side learn what they learn alone. `python -m benchmarks.drills.interruptions "
        f"--n-signals {result['n_signals']} --n-disks {result['n_disks']} --random-state "
        f"{result['random_state']}`. {described(result)}\n"
    )
    (RESULTS / "interruptions.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
