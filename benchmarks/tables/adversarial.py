"""CatGAN and InfoGAN on all of MNIST, and k-means on DCGAN's features of CIFAR-10.

    python -m benchmarks adversarial --precision bf16                    # for a GPU
    python -m benchmarks adversarial --row InfoGAN --n-samples 10000 --precision bf16

InfoGAN: two strided convolutions of 64 and 128 maps and a dense layer of 1,024, backwards in the
generator; 62 values of noise, one code of 10 clusters and two continuous ones; Adam with 2e-4 for
the discriminator and 1e-3 for the generator; 50 times 100 batches of 128, which are 9 epochs.
CatGAN: 20 clusters, Adam with 2e-4, a fully connected discriminator 1000-500-250-250-250 with noise
on each layer, or a convolutional one with dropout. DCGAN: three strided convolutions of 128, 256
and 512 maps, backwards in the generator; 100 values of noise, Adam with 2e-4, batches of 128.

Ours: kernels are 5x5 and leaky ReLUs have a slope of 0.2 (InfoGAN's released code has 4x4 and
0.01), one draw of noise is for both players' steps, and all 70,000 images are trained on (in that
code the 55,000 of ``mnist.train``); the maps of CatGAN's convolutions, its
generators, the deviation of its noise and its share of dropout; batches of 250 for CatGAN; the
epochs of CatGAN and DCGAN.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics.cluster import contingency_matrix
from sklearn.pipeline import make_pipeline

from benchmarks.report import mean_of, option
from benchmarks.run import Fit, Job, Wanted
from skdeepclust import CatGANClustering, DCGANFeatures, InfoGANClustering
from skdeepclust.datasets import load_cifar10, load_mnist
from skdeepclust.networks import (
    ConvDiscriminator,
    ConvGenerator,
    DenseDiscriminator,
    DenseGenerator,
)

DATA = {
    "mnist": partial(load_mnist, return_X_y=True),
    "cifar10": partial(load_cifar10, return_X_y=True),
}
SIZES = {"mnist": 70_000, "cifar10": 60_000}
DEFAULT_DATA = ("mnist",)
DEFAULT_ROWS = ("CatGAN", "CatGAN, fully connected", "InfoGAN")
STATES = range(3)
PAPER = {
    ("mnist", "CatGAN"): (0.957,),
    ("mnist", "CatGAN, fully connected"): (0.903,),
    ("mnist", "InfoGAN"): (0.95,),
    ("cifar10", "DCGAN + k-means"): (0.315, 0.265, 0.176),
}
PAPER_HAS = "ACC / NMI / ARI; CatGAN: mapped accuracy"
MEASURES = dict.fromkeys(["CatGAN", "CatGAN, fully connected"], "mapped accuracy")
COLUMNS = {"epochs": option("max_epochs")}
VALUES = {"mapped accuracy": mean_of("mapped accuracy")}
REMARKS = (
    "Mapped accuracy: each cluster counts as the class that most of its samples are of, so that 20 "
    "clusters can be right of 10 classes; CatGAN's figures are such. ACC matches each class to one "
    "cluster at most. InfoGAN's paper has an error of 5 %, of the categorical code matched to the "
    "digits. The row with DCGAN is the row GAN of ProFeat's table 1, which is taken from that of "
    "DAC's paper. InfoGAN's runs trained on the rest of each epoch, too, 112 images of 128; it is "
    "left out since."
)
WANTED = [
    Wanted(
        ["InfoGAN", "CatGAN"], ["mnist"], [0], value=5, seconds=(6000, None), n_samples=10_000,
        given={"max_epochs": 30}, precision="bf16",
    ),
    Wanted(["InfoGAN"], ["mnist"], STATES, value=8, seconds=(4000, 200), precision="bf16"),
    Wanted(
        ["CatGAN", "CatGAN, fully connected"], ["mnist"], STATES, value=7, seconds=(None, 1500),
        precision="bf16",
    ),
    Wanted(
        ["DCGAN + k-means"], ["cifar10"], STATES, value=6, seconds=(None, 2500), precision="bf16"
    ),
]  # fmt: skip


def options(row: str, data: str, given: dict) -> dict[str, Any]:
    """Return the epochs."""
    return {"max_epochs": {"InfoGAN": 9, "DCGAN + k-means": 25}.get(row, 100)}


def common(job: Job) -> dict[str, Any]:
    """Return what all rows share."""
    return {"augmentation": None, "lr": 2e-4, "max_epochs": job.options["max_epochs"]}


def value_range(job: Job) -> tuple[float, float]:
    """Return black and white in units of the samples' deviation."""
    mean, deviation = job.X.mean(), job.X.std()
    return float((job.X.min() - mean) / deviation), float((job.X.max() - mean) / deviation)


def catgan(job: Job, **networks: Any) -> CatGANClustering:
    """Return CatGAN with 20 clusters."""
    return CatGANClustering(
        20, n_init=1, noise_size=128, generator_lr=2e-4, batch_size=250, **networks, **common(job)
    )


def conv_catgan(job: Job) -> CatGANClustering:
    """Return CatGAN with convolutions."""
    return catgan(
        job,
        network=partial(ConvDiscriminator, width=64, dropout=0.5),
        generator=partial(ConvGenerator, width=64, value_range=value_range(job)),
    )


def dense_catgan(job: Job) -> CatGANClustering:
    """Return CatGAN with fully connected layers."""
    sizes = (1000, 500, 250, 250, 250)
    return catgan(
        job,
        network=partial(DenseDiscriminator, hidden_sizes=sizes, noise=0.3),
        generator=partial(
            DenseGenerator, hidden_sizes=(500, 500, 1000), value_range=value_range(job)
        ),
    )


def infogan(job: Job) -> InfoGANClustering:
    """Return InfoGAN."""
    layers = {"width": 64, "n_layers": 2}
    return InfoGANClustering(
        10,
        n_init=1,
        noise_size=62,
        n_continuous=2,
        mi_weight=1.0,
        generator_lr=1e-3,
        batch_size=128,
        network=partial(ConvDiscriminator, n_features=1024, **layers),
        generator=partial(ConvGenerator, hidden_size=1024, value_range=value_range(job), **layers),
        **common(job),
    )


def dcgan(job: Job) -> DCGANFeatures:
    """Return DCGAN."""
    return DCGANFeatures(
        noise_size=100,
        generator_lr=2e-4,
        batch_size=128,
        network=partial(ConvDiscriminator, width=128, join_layers=True),
        generator=partial(ConvGenerator, width=128, value_range=value_range(job)),
        **common(job),
    )


ROWS = {
    "CatGAN": conv_catgan,
    "CatGAN, fully connected": dense_catgan,
    "InfoGAN": infogan,
    "DCGAN + k-means": lambda job: make_pipeline(dcgan(job), KMeans(10, n_init=3)),
}


def evaluate(job: Job, fit: Fit) -> dict[str, Any]:
    """Return the accuracy where each cluster counts as its most frequent class."""
    labels = fit.last.labels_
    counts = contingency_matrix(job.y, np.asarray(labels))
    return {"mapped accuracy": float(counts.max(0).sum() / counts.sum())}
