"""What the engine costs: against a bare loop and default skorch, same work, in one run.

    python -m benchmarks.speed.engine_overhead [--rounds 7]

The contenders take turns, so that what else the machine does meets them alike. Reported are
medians over the rounds of the time a step and of its ratio to the bare loop of the same round.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional as F

from benchmarks.records import RESULTS, default_device, described, environment, save, table
from benchmarks.speed import wait
from skdeepclust.augment import RandomAffine
from skdeepclust.cluster._dac import PairObjective
from skdeepclust.cluster._mcdc import MixingObjective
from skdeepclust.engine import Engine, Phase
from skdeepclust.inference import batch_norm_parts, batch_statistics
from skdeepclust.losses import binary_cross_entropy, label_features, pairwise_loss
from skdeepclust.networks import (
    AutoencoderNetwork,
    ClusterNetwork,
    ConvDecoder,
    ConvEncoder,
    StudentTHead,
    VGGEncoder,
)
from skdeepclust.networks._heads import dense_head
from skdeepclust.objective import Objective
from skdeepclust.samples import Samples


class CrossEntropy(Objective):
    def __init__(self, y):
        super().__init__()
        self.register_buffer("y", y)

    def loss(self, network, x, index):
        return F.cross_entropy(network(x), self.y[index])


class Classification:
    """MLP 784-32-10, batch 256."""

    name = "MLP 784-32-10, batch 256"
    batch_size = 256

    def __init__(self, device: str) -> None:
        self.device = device
        self.X = torch.rand(51_200, 784, device=device)
        self.y = torch.randint(10, (51_200,), device=device)

    def network(self) -> nn.Module:
        layers = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
        return layers.to(self.device)

    def objective(self) -> Objective:
        return CrossEntropy(self.y).to(self.device)

    def bare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for index in torch.randperm(len(self.X), device=self.device).split(self.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(self.X[index]), self.y[index]).backward()
            optimizer.step()

    def skorch(self, network: nn.Module) -> NeuralNet:
        net = NeuralNet(network, nn.CrossEntropyLoss, **self.skorch_options())
        self.skorch_data = (self.X.cpu(), self.y.cpu())
        return net.initialize()

    def skorch_options(self) -> dict:
        return {
            "optimizer": torch.optim.Adam,
            "optimizer__fused": True,
            "lr": 1e-4,
            "batch_size": self.batch_size,
            "iterator_train__shuffle": True,
            "train_split": None,
            "device": self.device,
            "verbose": 0,
        }


class MCDC(Classification):
    """The MCDC networks and both players' losses on images of 32x32, batch 64."""

    name = "MCDC networks (auto-encoder and critic) at 32x32, batch 64"
    batch_size = 64

    def __init__(self, device: str) -> None:
        self.device = device
        self.X = torch.rand(320, 1, 32, 32, device=device)
        self.critic_optimizers = {}

    def network(self) -> nn.Module:
        shape = (1, 32, 32)
        head, critic = StudentTHead(256, 10), ConvEncoder(shape)
        network = AutoencoderNetwork(
            ConvEncoder(shape), ConvDecoder(256, shape), head, critic=critic
        )
        return network.to(self.device, memory_format=torch.channels_last)

    def objective(self) -> Objective:
        return MixingObjective(0.5, 1.0, 0.2, augmentation=nn.Identity())

    def bare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        if network not in self.critic_optimizers:
            fused = optimizer.param_groups[0]["fused"]
            made = torch.optim.Adam(network.critic.parameters(), lr=1e-4, fused=fused)
            self.critic_optimizers[network] = made
        critic_optimizer = self.critic_optimizers[network]
        for index in torch.randperm(len(self.X), device=self.device).split(self.batch_size):
            x = self.X[index]
            z = network.encoder(x).flatten(1)
            share = torch.rand(len(x), 1, device=self.device) / 2
            mixed = share * z + (1 - share) * z.flip(0)
            decoded, mixture = network.decoder(torch.cat([z, mixed])).chunk(2)
            loss = F.mse_loss(decoded, x) + F.mse_loss(mixture, x.flip(0))
            network.critic.requires_grad_(False)
            loss = loss + 0.5 * network.critic(mixture).flatten(1).mean(1).square().mean()
            network.critic.requires_grad_(True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            unmixed = 0.2 * x + 0.8 * decoded.detach()
            fooled = network.critic(mixture.detach()).flatten(1).mean(1) - share.flatten()
            loss = fooled.square().mean()
            loss = loss + network.critic(unmixed).flatten(1).mean(1).square().mean()
            critic_optimizer.zero_grad()
            loss.backward()
            critic_optimizer.step()

    skorch = None  # default skorch trains one player


class STDAC(Classification):
    """The ST-DAC network and objective on images of 28x28, batch 32."""

    name = "ST-DAC network (table 1, 2 ST layers), batch 32"
    batch_size = 32
    chunk_size = 1000

    def __init__(self, device: str) -> None:
        self.device = device
        self.X = torch.rand(1000, 1, 28, 28, device=device)
        self.augmentation = RandomAffine()

    def network(self) -> nn.Module:
        network = ClusterNetwork(VGGEncoder((1, 28, 28)), dense_head(3096, 10))
        return network.to(self.device, memory_format=torch.channels_last)

    def objective(self) -> Objective:
        return PairObjective(
            n_samples=len(self.X),
            n_clusters=10,
            thresholds=lambda epoch: (0.99 - 0.19 * epoch / 9,) * 2,
            aux_weight=10.0,
            mi_weight=0.0,
            augmentation=self.augmentation,
        ).to(self.device)

    def loss(self, network: nn.Module, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p = network(self.augmentation(x)).softmax(1)
        pairs = pairwise_loss(label_features(p), target @ target.T, 0.99, 0.99)
        return pairs + 10 * binary_cross_entropy(p, target).mean()

    def targets(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), batch_statistics(network):
            logits = torch.cat([network(x[part]) for part in batch_norm_parts(x)])
        return label_features(logits.softmax(1))

    def bare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        for index in torch.randperm(len(self.X), device=self.device).split(self.chunk_size):
            x = self.X[index]
            target = self.targets(network, x)
            for part, part_target in zip(x.split(32), target.split(32), strict=True):
                optimizer.zero_grad()
                self.loss(network, part, part_target).backward()
                optimizer.step()

    def skorch(self, network: nn.Module) -> NeuralNet:
        benchmark = self
        targets = torch.zeros(len(self.X), 10, device=self.device)

        class Targets(Callback):
            def on_epoch_begin(self, net, **kwargs):
                targets[:] = benchmark.targets(network, benchmark.X)

        class Net(NeuralNet):
            def get_loss(self, y_pred, y_true, X=None, training=False):
                p = y_pred.softmax(1)
                target = targets[y_true]
                pairs = pairwise_loss(label_features(p), target @ target.T, 0.99, 0.99)
                return pairs + 10 * binary_cross_entropy(p, target).mean()

            def infer(self, x, **fit_params):
                return super().infer(benchmark.augmentation(x), **fit_params)

        net = Net(network, nn.Identity, callbacks=[Targets()], **self.skorch_options())
        self.skorch_data = (self.X.cpu(), torch.arange(len(self.X)))
        return net.initialize()


def compare(benchmark: Classification, rounds: int) -> dict:
    device = benchmark.device
    networks = {name: benchmark.network() for name in ("bare loop", "engine", "default skorch")}
    optimizer = torch.optim.Adam(networks["bare loop"].parameters(), lr=1e-4, fused=True)
    # what one writes first: the same loop with neither of the two
    simple = benchmark.network().to(memory_format=torch.contiguous_format)
    simple_optimizer = torch.optim.Adam(simple.parameters(), lr=1e-4)
    phase = Phase(
        benchmark.objective(),
        max_epochs=10**6,
        batch_size=benchmark.batch_size,
        chunk_size=getattr(benchmark, "chunk_size", None),
    )
    engine = Engine(networks["engine"], phase, device=device).start()
    dataset = Samples(benchmark.X)
    contenders = {
        "bare loop": lambda: benchmark.bare(networks["bare loop"], optimizer),
        "engine": lambda: engine.fit_loop(dataset, epochs=1),
        "bare loop, not fused, not channels-last": lambda: benchmark.bare(simple, simple_optimizer),
    }
    if benchmark.skorch is not None:
        net = benchmark.skorch(networks["default skorch"])
        contenders["default skorch"] = lambda: net.fit_loop(*benchmark.skorch_data, epochs=1)
    n_steps = -(-len(benchmark.X) // benchmark.batch_size)
    seconds = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        names = list(contenders)
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            wait(device)
            start = time.perf_counter()
            contenders[name]()
            wait(device)
            if round_:  # the first is to warm up
                seconds[name].append((time.perf_counter() - start) / n_steps)
    bare = np.array(seconds["bare loop"])
    return {
        "benchmark": benchmark.name,
        "rounds": rounds,
        "microseconds a step": {k: float(np.median(v) * 1e6) for k, v in seconds.items()},
        "images a second": {
            k: float(benchmark.batch_size / np.median(v)) for k, v in seconds.items()
        },
        "ratio to the bare loop": {
            k: float(np.median(np.array(v) / bare)) for k, v in seconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default=default_device())
    args = parser.parse_args()
    torch.manual_seed(0)
    comparisons = [
        compare(Classification(args.device), 4 * args.rounds),  # its rounds are short
        compare(STDAC(args.device), args.rounds),
        compare(MCDC(args.device), args.rounds),
    ]
    result = {"comparisons": comparisons, "environment": environment(args.device)}
    save(RESULTS / f"engine_overhead-{args.device}.json", result)
    rows = [
        [
            c["benchmark"],
            name,
            f"{c['microseconds a step'][name]:,.0f}",
            f"{c['images a second'][name]:,.0f}",
            f"{ratio:.3f}",
        ]
        for c in comparisons
        for name, ratio in c["ratio to the bare loop"].items()
    ]
    text = table(["work", "loop", "us a step", "samples a second", "ratio to the bare loop"], rows)
    text += f"\n\nMedians of the rounds. {described(result)}.\n"
    (RESULTS / f"engine_overhead-{args.device}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
