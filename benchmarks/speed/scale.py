"""Rate and memory against the number of samples: in memory, and read from a memory map.

    python -m benchmarks.speed.scale --data-home DATA [--sizes 10000 70000 1000000 4000000]
    python -m benchmarks.speed.scale --render

MNIST's images, turned and moved at random (`RandomAffine`), are written to one memory map (3.1 GB
for 4,000,000). Each line is a process of its own: a fit of one epoch, then `predict`, which writes
to an array. The rate is that of the epoch and of the prediction, by the clock and, which other work
on the machine changes less, by the process's own time on the processor, what reads ahead included;
the memory is the process's peak, pages of the file that are mapped included. What takes long on a
machine whose speed changes is compared with what ran at the same time: from a million samples on,
another process fits 70,000 held in memory again and again, on the same core, the two in turn.
"JPEG": a folder of the first 20,000 images of CIFAR-10, read as `ImageFolder`: held in memory once
decoded, or decoded anew in each pass, by this process or by two more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from benchmarks.records import RESULTS, described, environment, save, table
from skdeepclust import AutoencoderClustering, STDACClustering
from skdeepclust.augment import RandomAffine
from skdeepclust.datasets import ImageFolder, load_cifar10, load_mnist
from skdeepclust.networks import SmallConvEncoder

METHODS: dict[str, Callable[[], Any]] = {
    "AutoencoderClustering, dense": lambda: AutoencoderClustering(10, max_epochs=1, n_init=1),
    "AutoencoderClustering": lambda: AutoencoderClustering(10, max_epochs=1, n_init=1),
    "STDACClustering, small": lambda: STDACClustering(
        10, max_epochs=1, n_init=1, network=SmallConvEncoder
    ),
    "STDACClustering": lambda: STDACClustering(10, max_epochs=1, n_init=1),
}
DEFAULT = ["AutoencoderClustering, dense", "STDACClustering, small"]
IN_MEMORY = 70_000  # up to so many are also held as an array
BLOCK = 10_000
LIMIT = 2**28  # bytes, for all that is read from the map
IN_TURN = 60, 15  # seconds, of what is measured and of what it is compared with
N_JPEG = 20_000
JPEG = {  # memory limit and processes that decode
    "JPEG, held": (2**30, 0),
    "JPEG, decoded anew": (2**24, 0),
    "JPEG, decoded anew by 2 processes": (2**24, 2),
}


def write(path: Path, n: int, data_home: Path | None) -> np.ndarray:
    """Return a memory map of `n` images, written if it isn't there."""
    if not path.exists():
        images = torch.from_numpy(load_mnist(data_home=data_home)["data"])[:, None].float()
        torch.manual_seed(0)
        partial = path.with_suffix(".partial")
        made = np.lib.format.open_memmap(partial, "w+", np.uint8, (n, 28, 28))
        augment = RandomAffine()
        for start in range(0, n, BLOCK):
            some = images[torch.randint(len(images), (min(BLOCK, n - start),))]
            made[start : start + BLOCK] = augment(some).clamp(0, 255)[:, 0].byte().numpy()
        made.flush()
        partial.replace(path)
    return np.load(path, mmap_mode="r")


def write_jpeg(folder: Path, data_home: Path | None) -> None:
    """Write images of CIFAR-10 as JPEG files."""
    if not folder.exists():
        from PIL import Image

        partial = folder.with_suffix(".partial")
        partial.mkdir(exist_ok=True)
        for number, image in enumerate(load_cifar10(data_home=data_home)["data"][:N_JPEG]):
            path = partial / f"{number:05d}.jpg"
            Image.fromarray(image.transpose(1, 2, 0)).save(path, quality=95)
        partial.replace(folder)


class CpuTime(Callback):
    """Notes how long the process has been on the processor in the epoch."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin."""
        self.start = time.process_time()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End."""
        self.seconds = time.process_time() - self.start

    def __deepcopy__(self, memo: Any) -> CpuTime:
        return self


def peak() -> float:
    """Return the process's peak memory in MiB; that of getrusage begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")) / 2**10


def measure(path: Path, method: str, n: int, kind: str) -> dict[str, Any]:
    """Fit for an epoch, predict, and return rates and the peak of the memory."""
    start = time.perf_counter()
    limit, num_workers = JPEG.get(kind, (LIMIT, 0))
    X: Any
    if kind in JPEG:
        X = ImageFolder(path.with_name("cifar-jpeg"), size=(32, 32))
    else:
        X = np.load(path, mmap_mode="r")[:n]
        X = X.reshape(n, -1) if "dense" in method else X
        X = np.array(X) if kind == "array" else X
    opened = time.perf_counter() - start
    cpu_time = CpuTime()
    model = METHODS[method]().set_params(
        random_state=0, memory_limit=limit, num_workers=num_workers, callbacks=[cpu_time]
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    model.fit(X)
    fitted, fitted_cpu = time.perf_counter(), time.process_time()
    labels = model.predict(X, out=np.empty(n, np.uint8))
    predicted, predicted_cpu = time.perf_counter(), time.process_time()
    assert (labels == model.labels_).all()
    return {
        "method": method,
        "samples": n,
        "kind": kind,
        "open seconds": opened,
        "fit seconds": fitted - start,
        "fit CPU seconds": fitted_cpu - start_cpu,
        "epoch samples a second": n / model.history_[-1, "dur"],
        "predict samples a second": n / (predicted - fitted),
        "epoch samples a CPU second": n / cpu_time.seconds,
        "predict samples a CPU second": n / (predicted_cpu - fitted_cpu),
        "CPU seconds": time.process_time(),
        "peak MiB": peak(),
    }


def references(path: Path, method: str) -> None:
    """Measure what is held in memory, until killed."""
    while True:
        print(json.dumps(measure(path, method, IN_MEMORY, "array")), flush=True)


def beside(command: list[str], other: list[str], environ: dict[str, str]) -> dict[str, Any]:
    """Return what `command` prints, with the mean of what `other` does as its reference.

    The two take turns on one core. By the clock, a process that is stopped would seem slow: only
    their own time on the processor counts, and how much of its turns the first was on it.
    """
    core = min(os.sched_getaffinity(0))
    options: dict[str, Any] = {"env": environ, "stdout": subprocess.PIPE, "text": True}
    options["preexec_fn"] = lambda: os.sched_setaffinity(0, {core})
    main, reference = (subprocess.Popen(c, **options) for c in (command, other))
    turns, status = 0.0, None
    try:
        while status is None:
            reference.send_signal(signal.SIGSTOP)
            main.send_signal(signal.SIGCONT)
            start = time.perf_counter()
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = main.wait(IN_TURN[0])
            turns += time.perf_counter() - start
            if status is None:
                main.send_signal(signal.SIGSTOP)
                reference.send_signal(signal.SIGCONT)
                time.sleep(IN_TURN[1])
    finally:
        main.kill()
        reference.kill()
    outputs = [process.communicate()[0].splitlines() for process in (main, reference)]
    if status:
        raise subprocess.CalledProcessError(status, command)
    line: dict[str, Any] = json.loads(outputs[0][-1])
    found = [json.loads(text) for text in outputs[1]]
    names = [name for name in line if name.endswith("a CPU second")]
    line["reference"] = {k: len(found) / sum(1 / r[k] for r in found) for k in names}
    line["references"] = len(found)
    line["on the processor"] = line["CPU seconds"] / turns
    for name in [name for name in line if name.endswith("a second") or name == "fit seconds"]:
        del line[name]  # it was stopped
    return line


def render(result: dict[str, Any]) -> str:
    """Write and return the table, and draw the figure."""
    lines = sorted(result["lines"], key=lambda r: (r["method"], r["samples"], r["kind"]))

    held = {
        (r["method"], r["machine"]): r
        for r in lines
        if (r["samples"], r["kind"]) == (IN_MEMORY, "array")
    }

    def ratio(line: dict[str, Any], name: str) -> str:
        compared = line.get("reference") or held.get((line["method"], line["machine"]), {})
        rate, reference = line.get(name), compared.get(name)
        if rate is None:
            return ""
        return f"{rate:,.0f}" + (f" ({rate / reference:.2f})" if reference else "")

    text = table(
        [
            "method", "samples", "from", "epoch, samples a second", "a CPU second",
            "predict, samples a second", "a CPU second", "open, s", "fit, s", "peak, MiB",
            "on the processor", "machine",
        ],
        [
            [
                r["method"], f"{r['samples']:,}", r["kind"],
                ratio(r, "epoch samples a second"), ratio(r, "epoch samples a CPU second"),
                ratio(r, "predict samples a second"), ratio(r, "predict samples a CPU second"),
                f"{r['open seconds']:,.0f}", f"{fit_seconds(r):,.0f}", f"{r['peak MiB']:,.0f}",
                f"{r['on the processor']:.3f}" if "on the processor" in r else "", r["machine"],
            ]
            for r in lines
        ],
    )  # fmt: skip
    text += (
        f"\n\nIn brackets: over the rate of {IN_MEMORY:,} samples held in memory when they were "
        "measured before. Where the two rates differ the machine had other work, as when what they "
        "are compared with was measured; those a CPU second suffer less, but a busy hyper-thread "
        "beside slows them, too. Where no rate by the clock stands: over the rate of those that "
        "another process fitted again and again, in turn with this "
        f"one on the same core ({IN_TURN[0]} s and {IN_TURN[1]} s), as such a machine's speed "
        'changes by the minute; then "fit" is its time on the processor, and "on the processor" '
        "which share of its turns that is (near to 1 where it doesn't wait for the disk). Images "
        f"of 28x28, bytes; `memory_limit` {LIMIT / 2**20:.0f} MiB; one epoch. dense: flat images, "
        "so that the network is 784-500-500-2000-10; small: `SmallConvEncoder`; else the default "
        f"networks. {described(result)}.\n"
    )
    (RESULTS / "scale-cpu.md").write_text(text)
    draw(lines)
    return text


def fit_seconds(line: dict[str, Any]) -> float:
    """Return them by the clock, or, of what was stopped now and then, on the processor."""
    seconds: float = line.get("fit seconds") or line["fit CPU seconds"]
    return seconds


def draw(lines: list[dict[str, Any]]) -> None:
    """Draw seconds and memory against the number of samples."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for number, method in enumerate(METHODS):
        for kind, style in (("memory map", "o-"), ("array", "s--")):
            some = [r for r in lines if (r["method"], r["kind"]) == (method, kind)]
            if not some:
                continue
            n = [r["samples"] for r in some]
            label = f"{method}, {kind}"
            axes[0].plot(n, [fit_seconds(r) for r in some], style, color=f"C{number}", label=label)
            axes[1].plot(n, [r["peak MiB"] for r in some], style, color=f"C{number}")
    sizes = np.array(sorted({r["samples"] for r in lines}))
    axes[1].plot(sizes, sizes * 784 / 2**20, ":", color="0.5", label="the images alone")
    axes[0].set(xscale="log", yscale="log", xlabel="samples", title="fit, one epoch, seconds")
    axes[1].set(xscale="log", xlabel="samples", ylim=(0, None), title="peak memory, MiB")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    (RESULTS / "figures").mkdir(exist_ok=True)
    figure.savefig(RESULTS / "figures" / "scale.png", dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 70_000, 10**6, 4 * 10**6])
    parser.add_argument("--methods", nargs="+", default=DEFAULT, choices=METHODS)
    parser.add_argument("--file", type=Path, default=RESULTS.parent / "cache" / "mnist-scale.npy")
    parser.add_argument("--data-home", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jpeg", action="store_true", help="the folder alone")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--references", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.references:
        references(args.file, args.references)
    if args.one:
        method, n, kind = args.one
        print(json.dumps(measure(args.file, method, int(n), kind)))
        return
    record = RESULTS / "scale-cpu.json"
    result = json.loads(record.read_text()) if record.exists() else {"lines": []}
    if not args.render:
        args.file.parent.mkdir(parents=True, exist_ok=True)
        if args.jpeg:
            write_jpeg(args.file.with_name("cifar-jpeg"), args.data_home)
            jobs = [("AutoencoderClustering", N_JPEG, kind) for kind in JPEG]
        else:
            n_written = len(write(args.file, max(args.sizes), args.data_home))
            if n_written < max(args.sizes):
                parser.error(f"--file holds {n_written:,} images: remove it for more")
            jobs = [
                (method, n, kind)
                for method in args.methods
                for n in args.sizes
                for kind in (["array"] if n <= IN_MEMORY else []) + ["memory map"]
            ]
        for method, n, kind in jobs:
            command = [sys.executable, "-m", "benchmarks.speed.scale", "--file", str(args.file)]
            command += ["--threads", str(args.threads)]
            environ = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
            one = [*command, "--one", method, str(n), kind]
            if n > IN_MEMORY:
                line = beside(one, [*command, "--references", method], environ)
            else:
                out = subprocess.run(
                    one, env=environ, check=True, stdout=subprocess.PIPE, text=True
                )
                line = json.loads(out.stdout.splitlines()[-1])
            line["machine"] = environment("cpu")["machine"]
            print(line, flush=True)
            same = [
                r
                for r in result["lines"]
                if (r["method"], r["samples"], r["kind"]) == (method, n, kind)
            ]
            result["lines"] = [r for r in result["lines"] if r not in same] + [line]
            result |= {"environment": environment("cpu"), "load": os.getloadavg()}
            save(record, result)
    print(render(result))


if __name__ == "__main__":
    main()
