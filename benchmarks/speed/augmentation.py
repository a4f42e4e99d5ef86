"""simclr_augmentation against kornia's equivalent and beside a training step, in one run.

    python -m benchmarks.speed.augmentation [--device cuda] [--rounds 20] [--threads 2] [--resnet]

All take turns, and medians count. A step is the loss of SimCLR of two views and its gradients,
without the augmentation, which a step needs twice. With --resnet also for a ResNet-18. kornia (no
dependency of anything else here: pip install kornia) is left out if it isn't there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.records import RESULTS, default_device, described, environment, save, table
from benchmarks.speed import wait
from skdeepclust.augment import simclr_augmentation

SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32)}


def with_kornia(input_shape: tuple[int, int, int]) -> tuple[str, nn.Module] | None:
    """Return kornia's version and the same augmentation from its parts, if it is there."""
    try:
        import kornia
        from kornia import augmentation as K
    except ImportError:
        return None
    channels, *size = input_shape
    # "resample" takes the whole batch at once, the default "slice" one image after the other
    crop = {"size": tuple(size), "cropping_mode": "resample"}
    if channels == 3:
        parts = [
            K.RandomResizedCrop(**crop, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8, same_on_batch=False),
            K.RandomGrayscale(p=0.2, same_on_batch=False),
        ]
    else:
        parts = [
            K.RandomResizedCrop(**crop, scale=(0.4, 1.0), ratio=(3 / 4, 4 / 3)),
            K.RandomRotation(10.0, p=1.0),
            K.ColorJitter(0.4, 0.4, 0.0, 0.0, p=0.8, same_on_batch=False),
        ]
    return kornia.__version__, nn.Sequential(*parts)


def small_encoder(input_shape: tuple[int, int, int]) -> nn.Module:
    def block(n_inputs: int, n_outputs: int, stride: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(n_inputs, n_outputs, 3, stride, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(n_outputs), nn.ReLU()]

    return nn.Sequential(
        *block(input_shape[0], 32, 2),
        *block(32, 64),
        nn.MaxPool2d(2),
        *block(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def resnet(input_shape: tuple[int, int, int]) -> nn.Module:
    from skdeepclust.networks import ResNet18

    return ResNet18(input_shape)


def training_step(encoder: nn.Module, n_features: int, x: Tensor) -> Callable[[], None]:
    """Return SimCLR's forward and backward pass of two views with a projection head."""
    head = nn.Sequential(nn.Linear(n_features, n_features), nn.ReLU(), nn.Linear(n_features, 128))
    network = nn.Sequential(encoder, head).to(x.device)
    n = len(x)
    target = torch.arange(2 * n, device=x.device).roll(n)
    itself = torch.eye(2 * n, dtype=torch.bool, device=x.device)

    def step() -> None:
        network.zero_grad()
        z = F.normalize(network(torch.cat([x, x])))
        F.cross_entropy((z @ z.T / 0.5).masked_fill(itself, -torch.inf), target).backward()

    return step


def median_milliseconds(
    work: dict[str, Callable[[], None]], rounds: int, device: str
) -> dict[str, float]:
    seconds = {name: [] for name in work}
    for round_ in range(rounds + 2):  # the first two to warm up
        for name, run in work.items():
            start = time.perf_counter()
            run()
            wait(device)
            if round_ > 1:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(s)) for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--resnet", action="store_true", help="steps of a ResNet-18 as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoders = {"small": (small_encoder, 128)}
    if args.resnet:
        encoders["ResNet-18"] = (resnet, 512)
    load = os.getloadavg()  # before this run adds to it
    medians, rows, version = {}, [], None
    for images, input_shape in SHAPES.items():
        torch.manual_seed(0)
        x = torch.rand(args.batch_size, *input_shape, device=args.device)
        ours = simclr_augmentation(input_shape)
        work = {"skdeepclust": lambda ours=ours, x=x: ours(x)}
        if kornia := with_kornia(input_shape):
            version, theirs = kornia
            work["kornia"] = lambda theirs=theirs, x=x: theirs(x)
        for name, (make, n_features) in encoders.items():
            work[f"step, {name}"] = training_step(make(input_shape), n_features, x)
        medians[images] = found = median_milliseconds(work, args.rounds, args.device)
        print(images, {name: round(m, 2) for name, m in found.items()}, flush=True)
        for encoder in encoders:
            step = found[f"step, {encoder}"]
            row = [f"{images}, {'x'.join(map(str, input_shape))}", encoder, f"{step:.1f}"]
            for name in ("skdeepclust", "kornia"):
                if name not in found:
                    row += ["—", "—"]
                    continue
                share = 2 * found[name] / (2 * found[name] + step)
                row += [f"{found[name]:.1f}", f"{100 * share:.0f} %"]
            rows.append(row)
    result = {
        "arguments": vars(args),
        "milliseconds": medians,
        "kornia": version,
        "load": load,
        "environment": environment(args.device),
    }
    save(RESULTS / f"augmentation-{args.device}.json", result)
    header = ["images", "encoder", "step alone, ms", "`simclr_augmentation`, ms"]
    header += ["share of the whole step", "kornia, ms", "share of the whole step"]
    text = table(header, rows)
    text += (
        f"\n\nBatches of {args.batch_size}, medians of {args.rounds} rounds; one augmentation, of "
        "which a whole step has two. Both have the same operations with the same ranges, but "
        "kornia's ColorJitter has one order of its operations for all images of a batch. "
        f"kornia {version or 'was not installed'}; {described(result)}; load before the run "
        f"{load[0]:.1f}.\n"
    )
    (RESULTS / f"augmentation-{args.device}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
