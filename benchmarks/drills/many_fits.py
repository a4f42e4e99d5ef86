"""500 short fits in one process, after which it must hold no more than before.

    python -m benchmarks.drills.many_fits [--n-fits 500]

Fits of all estimators take turns: from memory, from a memory map that is read ahead, from a Dataset
with a worker, with a checkpoint, with a model file written and read; some fail, some are
interrupted. After each, the memory (RSS), threads, open files, files left in the folder for
temporary ones and child processes are counted. Over the last half, none may grow: of the memory
that means less than 20 KiB a fit. Writes benchmarks/results/many_fits.json and .md.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

import skdeepclust
from benchmarks.drills.bad_inputs import CLASSES, Listed, short
from benchmarks.records import RESULTS, described, environment, save, table

MOST_KIB = 20  # a fit
COUNTS = ("threads", "open files", "temporary files", "child processes", "tensors")


def resident() -> int:
    """Return the bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def counts(temporary: Path) -> list[int]:
    """Return how many there are of what a fit might leave behind."""
    tasks = list(Path("/proc/self/task").iterdir())
    children = sum(len((task / "children").read_text().split()) for task in tasks)
    files = len(list(Path("/proc/self/fd").iterdir()))
    gc.collect()
    n_tensors = sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())
    return [len(tasks), files, len(list(temporary.iterdir())), children, n_tensors]


class Break(Callback):
    """Ends a fit by an error."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        raise RuntimeError("broken")


class Interrupt(Callback):
    """Ends a fit as Ctrl-C does."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        net.criterion_.steps = interrupted


def interrupted(*args: Any) -> Any:
    raise KeyboardInterrupt


def in_memory(model: Any, images: np.ndarray, folder: Path) -> None:
    model.fit(images).transform(images)


def streamed(model: Any, images: np.ndarray, folder: Path) -> None:
    np.save(folder / "X.npy", images)
    X = np.load(folder / "X.npy", mmap_mode="r")
    model.set_params(memory_limit=3000).fit(X).transform(X)


def from_dataset(model: Any, images: np.ndarray, folder: Path) -> None:
    model.set_params(num_workers=1).fit(Listed(images))


def with_checkpoint(model: Any, images: np.ndarray, folder: Path) -> None:
    model.set_params(checkpoint=folder / "fit.pt").fit(images)
    model.fit(images)  # which reads it


def with_model_file(model: Any, images: np.ndarray, folder: Path) -> None:
    skdeepclust.save(model.fit(images), folder / "model.skdc")
    skdeepclust.load(folder / "model.skdc").transform(images)


def failing(model: Any, images: np.ndarray, folder: Path) -> None:
    try:
        model.set_params(callbacks=[Break()]).fit(images)
    except RuntimeError as error:
        if str(error) != "broken":
            raise


def interrupted_by_user(model: Any, images: np.ndarray, folder: Path) -> None:
    model.set_params(callbacks=[Interrupt()]).fit(images)


WAYS: list[Callable[[Any, np.ndarray, Path], None]] = [
    in_memory, streamed, with_checkpoint, failing, in_memory, from_dataset, interrupted_by_user,
    with_model_file,
]  # fmt: skip


def slope(values: list[float]) -> float:
    """Return how much values grow from one to the next, by least squares."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def drill(n_fits: int, images: np.ndarray) -> dict[str, Any]:
    """Fit so often; return what there was after each fit."""
    rows = []
    names = list(CLASSES)
    with tempfile.TemporaryDirectory() as name:
        temporary, folder = Path(name, "temporary"), Path(name, "files")
        temporary.mkdir()
        tempfile.tempdir = str(temporary)
        try:
            for number in range(n_fits):
                folder.mkdir()
                model = short(CLASSES[names[number % len(names)]])
                WAYS[number // 2 % len(WAYS)](model, images, folder)
                del model
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
                rows.append([resident(), *counts(temporary)])
                if number % 50 == 49:
                    print(number + 1, rows[-1], flush=True)
        finally:
            tempfile.tempdir = None
    return {"rows": rows}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-fits", type=int, default=500)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    images = load_digits().images[:40].astype(np.uint8)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = drill(arguments.n_fits, images)["rows"]
    half = len(rows) // 2
    columns = list(zip(*rows, strict=True))
    result = {
        "n_fits": arguments.n_fits,
        "kib_a_fit": slope(list(columns[0][half:])) / 2**10,
        "first": [values[0] for values in columns],
        "half": [max(values[:half]) for values in columns],
        "last": [values[-1] for values in columns],
        "most": [max(values[half:]) for values in columns],
        "seconds": time.process_time() - start,
        "environment": environment(),
    }
    has_grown = [
        after > before for after, before in zip(result["most"], result["half"], strict=True)
    ]
    report(result)
    sys.exit(result["kib_a_fit"] > MOST_KIB or any(has_grown[1:]))


def report(result: dict[str, Any]) -> None:
    """Write down what was held after the first fit, up to the middle, and to the end."""
    save(RESULTS / "many_fits.json", result)
    times = ("first", "half", "most", "last")
    rows = [["memory (RSS), MiB", *(f"{result[time][0] / 2**20:.1f}" for time in times)]]
    rows += [[name, *(result[time][i + 1] for time in times)] for i, name in enumerate(COUNTS)]
    header = ["held", "after one fit", "most in the first half", "most in the second", "at the end"]
    text = table(header, rows) + (
        f"\n\n{result['n_fits']} fits of {len(CLASSES)} estimators in {result['seconds']:.0f} s. "
        f"Over the last half, the memory grows by {result['kib_a_fit']:.1f} KiB a fit, by least "
        "squares. "
        f"`python -m benchmarks.drills.many_fits --n-fits {result['n_fits']}`. "
        f"{described(result)}\n"
    )
    (RESULTS / "many_fits.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
