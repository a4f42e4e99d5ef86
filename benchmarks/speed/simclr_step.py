"""Where the time of a SimCLR step goes: ResNet-18, random colour images of 32x32.

    python -m benchmarks.speed.simclr_step [--batch-size 512] [--rounds 10] [--compile]
    python -m benchmarks.speed.simclr_step --batch-size 32 --steps 1 --rounds 2 --threads 1

Loops: an epoch of the package's engine, as SimCLR trains, the same without augmentation, and a bare
loop over plain tensors with the same network and loss, without augmentation. They take turns, and
medians over the rounds count. The parts of a step are timed one by one, each waited for, and set
beside the engine's step; what is left is "elsewhere" (negative where the engine's steps overlap
what the parts, one by one, have to wait for).

Floating-point operations are those of the network's convolutions and linear layers, forward and
backward, of both views; on CUDA they are compared with the card's dense bf16 peak (--peak).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.records import RESULTS, default_device, described, environment, save, table
from benchmarks.speed import wait
from skdeepclust.augment import simclr_augmentation
from skdeepclust.cluster._simclr import ContrastiveObjective
from skdeepclust.engine import Engine, Phase
from skdeepclust.losses import contrastive_loss
from skdeepclust.networks import RepresentationNetwork, ResNet18
from skdeepclust.samples import Samples

SHAPE = (3, 32, 32)
TEMPERATURE = 0.1
# Precision and memory format. The estimators always take channels-last.
SETTINGS = {
    "float32": ("float32", torch.contiguous_format),
    "float32, channels-last": ("float32", torch.channels_last),
    "bf16, channels-last": ("bf16", torch.channels_last),
}
# As in the papers, but so slow that random images don't make the loss infinite.
OPTIMIZER = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)
LR = 1e-3


def make_network(setting: str, args: argparse.Namespace, *, compiled: bool) -> nn.Module:
    torch.manual_seed(0)
    network = RepresentationNetwork(ResNet18(SHAPE), 512)
    network = network.to(args.device, memory_format=SETTINGS[setting][1])
    if compiled:
        network.encoder.compile(mode=args.compile)
    return network


def autocast(setting: str, args: argparse.Namespace) -> torch.autocast:
    device = torch.device(args.device).type
    return torch.autocast(device, torch.bfloat16, enabled=SETTINGS[setting][0] == "bf16")


def positives(n: int, device: str) -> Tensor:
    return torch.eye(n, dtype=torch.bool, device=device).repeat(2, 2)


def engine_loop(
    setting: str, args: argparse.Namespace, X: Tensor, *, augmented: bool, compiled: bool = False
) -> Callable[[], Any]:
    """Return an epoch of the engine."""
    augmentation = simclr_augmentation(SHAPE) if augmented else nn.Identity()
    phase = Phase(
        ContrastiveObjective(augmentation, TEMPERATURE),
        max_epochs=10**6,
        batch_size=args.batch_size,
        optimizer=OPTIMIZER,
        lr=LR,
    )
    engine = Engine(
        make_network(setting, args, compiled=compiled),
        phase,
        device=args.device,
        precision=SETTINGS[setting][0],
    ).start()
    dataset = Samples(X)
    return lambda: engine.fit_loop(dataset, epochs=1)


def bare_loop(
    setting: str, args: argparse.Namespace, X: Tensor, *, compiled: bool = False
) -> Callable[[], Any]:
    """Return a plain loop over batches with the same network, loss and optimiser."""
    network = make_network(setting, args, compiled=compiled).train()
    optimizer = OPTIMIZER(network.parameters(), lr=LR, fused=True)
    pairs = positives(args.batch_size, args.device)

    def epoch() -> None:
        for index in torch.randperm(len(X), device=X.device).split(args.batch_size):
            x = X[index]
            with autocast(setting, args):
                loss = contrastive_loss(network(torch.cat([x, x])), pairs, temperature=TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def parts_of_step(
    setting: str, args: argparse.Namespace, X: Tensor
) -> dict[str, Callable[[], Any]]:
    """Return the parts of a step, each to be run by itself."""
    network = make_network(setting, args, compiled=False).train()
    optimizer = OPTIMIZER(network.parameters(), lr=LR, fused=True)
    augmentation = simclr_augmentation(SHAPE)
    x = X[: args.batch_size]
    views = torch.cat([x, x])
    with autocast(setting, args):
        z = network(views).detach()
    gradient = torch.randn_like(z) / len(z)
    z.requires_grad_()

    def augment() -> None:
        with autocast(setting, args):
            augmentation(torch.cat([x, x]))

    def forward_and_backward() -> None:
        with autocast(setting, args):
            projections = network(views)
        projections.backward(gradient)

    def loss() -> None:
        z.grad = None
        with autocast(setting, args):
            pairs = torch.eye(len(x), dtype=torch.bool, device=x.device)
            value = contrastive_loss(z, pairs.repeat(2, 2), None, TEMPERATURE)
        value.backward()

    def update() -> None:
        optimizer.step()

    return {
        "augmentation": augment,
        "network, forward and backward": forward_and_backward,
        "loss, forward and backward": loss,
        "optimiser": update,  # after the network, which leaves gradients
    }


def seconds_of(
    work: dict[str, Callable[[], Any]], args: argparse.Namespace, warm_up: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of each round of each, which take turns, and those of the first call."""
    first: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(args.rounds + warm_up):
        for name, run in work.items():
            wait(args.device)
            start = time.perf_counter()
            run()
            wait(args.device)
            passed = time.perf_counter() - start
            first.setdefault(name, passed)
            if round_ >= warm_up:
                seconds[name].append(passed)
    return seconds, first


def flops_of_an_image(args: argparse.Namespace) -> float:
    """Return the operations of one view's way forward and back."""
    network = make_network("float32", args, compiled=False).train()
    views = torch.rand(4, *SHAPE, device=args.device)
    with FlopCounterMode(display=False) as counter:
        network(views).sum().backward()
    return counter.get_total_flops() / len(views)


def measure(setting: str, args: argparse.Namespace, X: Tensor, flops: float) -> dict[str, Any]:
    is_cuda = torch.device(args.device).type == "cuda"
    work = {
        "bare loop, no augmentation": bare_loop(setting, args, X),
        "engine, no augmentation": engine_loop(setting, args, X, augmented=False),
        "engine": engine_loop(setting, args, X, augmented=True),
    }
    failure = None
    if args.compile:
        compiled = {
            "bare loop, no augmentation, compiled": bare_loop(setting, args, X, compiled=True),
            "engine, compiled": engine_loop(setting, args, X, augmented=True, compiled=True),
        }
        try:
            for run in compiled.values():
                run()
            work |= compiled
        except Exception as error:  # a compiler that is missing, say: the rest counts as well
            failure = f"{type(error).__name__}: {error}"[:500]
            print(f"torch.compile failed: {failure}", flush=True)
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds, _ = seconds_of(work, args, args.warm_up)
    memory = torch.cuda.max_memory_allocated() / 2**30 if is_cuda else None
    bare = np.array(seconds["bare loop, no augmentation"])
    loops = {}
    for name, values in seconds.items():
        step = float(np.median(values)) / args.steps
        per_second = 2 * args.batch_size * flops / step
        loops[name] = {
            "milliseconds a step": 1e3 * step,
            "images a second": args.batch_size / step,
            "ratio to the bare loop": float(np.median(np.array(values) / bare)),
            "TFLOP/s": per_second / 1e12,
            "share of the bf16 peak": per_second / (1e12 * args.peak) if is_cuda else None,
        }
        print(f"{setting}: {name}: {1e3 * step:.2f} ms a step", flush=True)
    work.clear()  # their networks' memory
    repeated, _ = seconds_of(parts_of_step(setting, args, X), args, args.warm_up)
    parts = {name: 1e3 * float(np.median(values)) for name, values in repeated.items()}
    whole = loops["engine"]["milliseconds a step"]
    parts["elsewhere"] = whole - sum(parts.values())
    print(setting, {name: round(value, 2) for name, value in parts.items()}, flush=True)
    return {
        "setting": setting,
        "loops": loops,
        "milliseconds of the parts": parts,
        "gibibytes": memory,
        "compilation failed": failure,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=512, help="images, each with two views")
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2, help="rounds that don't count")
    parser.add_argument(
        "--setting", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="SETTING"
    )
    parser.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"],
        help="also with torch.compile on the encoder, in this mode",
    )
    parser.add_argument(
        "--peak", type=float, default=989.0, help="dense bf16 TFLOP/s of the card: 989 of an H100"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default=default_device())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load = os.getloadavg()[0]  # before this run adds to it
    torch.manual_seed(0)
    X = torch.rand(args.steps * args.batch_size, *SHAPE, device=args.device)
    flops = flops_of_an_image(args)
    measured = [measure(setting, args, X, flops) for setting in args.setting]
    result = {
        "arguments": vars(args),
        "flops of a view": flops,
        "measured": measured,
        "load": load,
        "environment": environment(args.device),
    }
    name = f"simclr_step-{torch.device(args.device).type}"
    save(RESULTS / f"{name}.json", result)

    rows = []
    for m in measured:
        for loop, values in m["loops"].items():
            share = values["share of the bf16 peak"]
            rows.append(
                [
                    m["setting"],
                    loop,
                    f"{values['milliseconds a step']:,.1f}",
                    f"{values['images a second']:,.1f}",
                    f"{values['ratio to the bare loop']:.3f}",
                    f"{values['TFLOP/s']:.3g}",
                    "" if share is None or "bf16" not in m["setting"] else f"{100 * share:.1f} %",
                ]
            )
    header = ["setting", "loop", "ms a step", "images a second", "ratio to the bare loop"]
    text = table([*header, "TFLOP/s", "share of the bf16 peak"], rows)
    names = list(measured[0]["milliseconds of the parts"])
    rows = []
    for m in measured:
        whole = m["loops"]["engine"]["milliseconds a step"]
        parts = [m["milliseconds of the parts"][name] for name in names]
        cells = [f"{part:,.2f} ({100 * part / whole:.0f} %)" for part in parts]
        memory = "" if m["gibibytes"] is None else f"{m['gibibytes']:.1f}"
        rows.append([m["setting"], f"{whole:,.1f}", *cells, memory])
    header = ["setting", "engine's step, ms", *(f"{name}, ms" for name in names)]
    text += "\n\n" + table([*header, "GiB, all loops together"], rows)
    text += (
        f"\n\nResNet-18 with the projector, {args.batch_size} images of 32x32 a step with two "
        f"views each, {args.steps} steps a round, medians of {args.rounds} rounds. A view has "
        f"{flops / 1e9:.2f} GFLOP forward and backward"
    )
    if torch.device(args.device).type == "cuda":
        text += f"; the peak is {args.peak:g} TFLOP/s"
    text += f". {described(result)}; load before the run {load:.1f}.\n"
    failures = [f"{m['setting']}: {m['compilation failed']}" for m in measured]
    if any(m["compilation failed"] for m in measured):
        text += f"torch.compile failed ({'; '.join(failures)}).\n"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
