"""DeepCluster, triplets and ADC, rows of other papers' tables, on CIFAR-10, MNIST and digits.

    python -m benchmarks baselines --precision bf16                       # for a GPU
    python -m benchmarks baselines --data mnist --n-samples 10000 --set small=True max_epochs=20

DeepCluster: SGD with a learning rate of 0.05, momentum 0.9 and weight decay 1e-5, batches of 256,
200 epochs, k ten times the number of classes, features reduced to 256 dimensions, crops and mirror
images of photographs, all as on ImageNet in its paper. Ours are the momentum of the last layer,
where its code has none, and the network, ResNet-18 without a
Sobel filter, and what augments grey images: the package's default. Of the triplets in the tables
no settings are printed: network and augmentation as here, the rest is the package's default, in
200 epochs. ADC has what its authors' code has in its example for MNIST ("99% on MNIST in 10000
steps"): its convolutions, steps with 100 images, Adam with 1e-3 and betas of 0.8 and 0.9. Ours are
10,500 steps of which the first 1,400, two whole epochs, are the copies' alone (there 10,000 and
1,000, with the classifier's and the centres' terms on random centres), a linear embedding (there
with an ELU), no dropout and no decay of weights (there 1e-3, the classifier 1e-4), a constant
learning rate, the augmentation, standardised pixels (there (x - 128) / 128), and k-means on the
embeddings of what is trained on (there of the test images). The weights of the norms are the
code's: 0.0002 of a sum over the 4 x 100 rows of a batch, five times that over the 40 centres.

--set small=True takes the package's networks and defaults in place of these settings.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import records
from benchmarks.report import option
from benchmarks.run import Job, Wanted
from skdeepclust import ADCClustering, DeepClusterClustering, TripletClustering
from skdeepclust.augment import RandomResizedCrop
from skdeepclust.datasets import load_cifar10, load_mnist
from skdeepclust.networks import ResNet18

DATA = {
    "cifar10": partial(load_cifar10, return_X_y=True),
    "mnist": partial(load_mnist, return_X_y=True),
    "digits": lambda data_home: records.digits(),
}
SIZES = {"cifar10": 60_000, "mnist": 70_000, "digits": 1797}
DEFAULT_DATA = ("cifar10",)
STATES = range(3)
PAPER = {
    ("cifar10", "k-means"): (0.229, 0.087, 0.049),
    ("cifar10", "DeepCluster"): (0.374,),
    ("cifar10", "Triplets"): (0.205,),
    ("cifar10", "ADC"): (0.325,),
}
PAPER_HAS = "ACC / NMI / ARI"
WHOSE = {"DeepCluster": "paper's", "Triplets": "ours", "ADC": "its code's"}  # settings
COLUMNS = {
    "settings": lambda r: "package's" if r["options"].get("small") else WHOSE.get(r["row"], ""),
    "epochs": option("max_epochs"),
}
REMARKS = (
    "The paper's figures are those of ProFeat's table 1, copied from IIC's: with what network and "
    "settings they were found it doesn't say, and they may be best runs. All images of the "
    "training and the test part, or as many as said. DeepCluster has its paper's settings for "
    "ImageNet with a ResNet-18; the triplets, of which no settings are printed, have that network "
    "and the package's defaults; ADC has the network and most settings of its authors' example for "
    "MNIST. The package's settings have its small network, and crops and mirror images on CIFAR-10."
)
SHARE = {"n_samples": 10_000, "given": {"small": True, "max_epochs": 20}, "precision": "bf16"}
WANTED = [
    Wanted(["k-means"], ["cifar10", "mnist"], STATES, value=7, seconds=(60, 60), n_samples=10_000),
    Wanted(["DeepCluster", "Triplets", "ADC"], ["cifar10", "mnist"], STATES, 7, (400, 60), **SHARE),
    Wanted(["ADC"], ["mnist"], STATES, 9, (1500, 200), precision="bf16"),
    Wanted(["k-means"], ["cifar10"], STATES, value=8, seconds=(None, 60)),
    Wanted(
        ["DeepCluster", "Triplets"], ["cifar10"], STATES, 8, seconds=(None, 8000),
        precision="bf16",
    ),
]  # fmt: skip


CROP_SCALE = (0.08, 1.0)  # of DeepCluster's code
ADC_EPOCHS = 13  # of 700 steps, after the warm-up, on MNIST


def association_network(input_shape: tuple[int, ...]) -> nn.Sequential:
    """Return the network of learning by association on MNIST."""
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for n_maps in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, n_maps, 3, padding=1), nn.ELU()]
            channels = n_maps
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten())


def adc(job: Job) -> ADCClustering:
    """Return ADC."""
    if job.options["small"]:
        return ADCClustering(**common(job))
    return ADCClustering(
        **{**common(job), "network": association_network},
        warmup_epochs=2,
        lr=1e-3,
        optimizer=partial(torch.optim.Adam, betas=(0.8, 0.9)),
    )


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return whose settings there are, and the epochs."""
    if row == "k-means":
        return {}
    return {"small": False, "max_epochs": ADC_EPOCHS if row == "ADC" else 200}


def common(job: Job) -> dict[str, Any]:
    """Return what all have: one start, photographs' crops and mirror images, network, epochs."""
    is_colour = job.X.ndim == 4
    return {
        "n_clusters": len(np.unique(job.y)),
        "n_init": 1,
        "max_epochs": job.options["max_epochs"],
        "augmentation": RandomResizedCrop(scale=CROP_SCALE) if is_colour else "auto",
        "network": None if job.options["small"] else ResNet18,
    }


def deep_cluster(job: Job) -> DeepClusterClustering:
    """Return DeepCluster."""
    paper = {
        "n_components": 256,
        "overclustering": 10,
        "batch_size": 256,
        "lr": 0.05,
        "optimizer": partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-5),
    }
    return DeepClusterClustering(**common(job), **({} if job.options["small"] else paper))


ROWS = {
    "k-means": lambda job: records.k_means(len(np.unique(job.y))),
    "DeepCluster": deep_cluster,
    "Triplets": lambda job: TripletClustering(**common(job)),
    "ADC": adc,
}
