"""Generators and discriminators: convolutional for images, fully connected for the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust.networks._autoencoder import UnitRange
from skdeepclust.networks._base import (
    MAX_SIDE,
    ClusterNetwork,
    adaptive_pool,
    draw_weights,
    halved_sides,
)

SLOPE = 0.2  # of the leaky ReLU
KERNEL = 5


@dataclass
class Latent:
    """What a generator gets: noise, a cluster and continuous codes, uniform in [-1, 1] but for it.

    Parameters
    ----------
    noise_size : int
    n_clusters, n_continuous : int, default=0
    """

    noise_size: int
    n_clusters: int = 0
    n_continuous: int = 0

    def __len__(self) -> int:
        return self.noise_size + self.n_clusters + self.n_continuous

    def draw(
        self,
        n: int,
        device: Any = "cpu",
        cluster: int | None = None,
        random: torch.Generator | None = None,
    ) -> Tensor:
        """Return `n` draws, of shape (n, len(self)), of one cluster or any."""
        z = 2 * torch.rand(n, len(self), device=device, generator=random) - 1
        if self.n_clusters:
            chosen = torch.randint(self.n_clusters, (n,), device=device, generator=random)
            chosen = chosen if cluster is None else torch.full_like(chosen, cluster)
            z[:, : self.n_clusters] = F.one_hot(chosen, self.n_clusters)
        return z

    def codes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clusters, (n,), and the continuous codes, (n, n_continuous), of draws."""
        end = self.n_clusters + self.n_continuous
        return z[:, : self.n_clusters].argmax(1), z[:, self.n_clusters : end]


class AdversarialNetwork(ClusterNetwork):
    """A discriminator, which is an encoder and a head, and a generator.

    Parameters
    ----------
    encoder : nn.Module
        From (n, *input_shape) to features, of which all but the first axis are flattened.
    head : nn.Module
        From (n, n_features) to logits.
    generator : nn.Module
        From noise and codes, (n, latent_size), to (n, *input_shape).
    latent : Latent
        What these are: ``latent.draw(n)`` draws them.
    """

    head: Any

    def __init__(
        self, encoder: nn.Module, head: nn.Module, generator: nn.Module, latent: Latent
    ) -> None:
        super().__init__(encoder, head)
        self.generator = generator
        self.latent = latent

    def generate(self, z: Tensor) -> Tensor:
        """Return the samples, of shape (n, *input_shape), that noise and codes stand for."""
        return self.generator(z).float()


class GaussianNoise(nn.Module):
    """Adds noise while training.

    Parameters
    ----------
    std : float
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, with noise while training."""
        return x + self.std * torch.randn_like(x) if self.training else x


def _disturbed(noise: float, dropout: float) -> list[nn.Module]:
    return [GaussianNoise(noise)] * (noise > 0) + [nn.Dropout(dropout)] * (dropout > 0)


def _initialize(network: nn.Module) -> None:
    """Draw the weights from N(0, 0.02^2), as for DCGAN."""
    draw_weights(network.modules(), partial(nn.init.normal_, std=0.02))


class ConvDiscriminator(nn.Module):
    """The discriminator of DCGAN [1]_, without its last layer: strided convolutions of 5x5.

    Leaky ReLU, and batch normalisation in all layers but the first.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image.
    width : int, default=32
        Maps of the first layer, twice as many in each further one. DCGAN has 128.
    n_layers : int, default=None
        Convolutions, each of which halves the sides. None: as many as lead to 4x4 maps, as in
        DCGAN, and at least 2.
    n_features : int, default=None
        Width of a dense layer after them, as InfoGAN has it, with 1,024. None: there is none.
    noise, dropout : float, default=0.0
        Deviation of Gaussian noise, added to the input and what each layer gives, and share of
        what each layer gives that is set to 0; while training.
    join_layers : bool, default=False
        Whether the maps of all layers, max-pooled to 4x4, are the features, as for k-means on
        DCGAN; those of the last layer come last, and are `n_last` features.

    Raises
    ------
    ValueError
        If there is to be a dense layer, and the layers before it are to be joined.

    References
    ----------
    .. [1] Radford, Metz and Chintala (2016). Unsupervised Representation Learning with Deep
       Convolutional Generative Adversarial Networks. ICLR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import ConvDiscriminator
    >>> ConvDiscriminator((1, 28, 28), join_layers=True)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 3584])
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        width: int = 32,
        n_layers: int | None = None,
        n_features: int | None = None,
        noise: float = 0.0,
        dropout: float = 0.0,
        join_layers: bool = False,
    ) -> None:
        super().__init__()
        if join_layers and n_features is not None:
            raise ValueError(f"n_features must be None with join_layers=True; got {n_features}.")
        channels = input_shape[0]
        self.join_layers = join_layers
        sides = halved_sides(input_shape, n_layers)
        self.pooled = [[min(side, MAX_SIDE) for side in pair] for pair in sides]
        self.convolutions = nn.ModuleList()
        for i in range(len(sides) - 1):
            n_outputs = width * 2**i
            is_first = i == 0
            layers: list[nn.Module] = [GaussianNoise(noise)] * (is_first and noise > 0)
            layers.append(nn.Conv2d(channels, n_outputs, KERNEL, 2, KERNEL // 2, bias=is_first))
            if not is_first:
                layers.append(nn.BatchNorm2d(n_outputs))
            layers += [nn.LeakyReLU(SLOPE), *_disturbed(noise, dropout)]
            self.convolutions.append(nn.Sequential(*layers))
            channels = n_outputs
        self.n_last = channels * math.prod(self.pooled[-1] if join_layers else sides[-1])
        dense: list[nn.Module] = [nn.Flatten()]
        if n_features is not None:
            dense += [nn.Linear(self.n_last, n_features, bias=False), nn.BatchNorm1d(n_features)]
            dense += [nn.LeakyReLU(SLOPE), *_disturbed(noise, dropout)]
            self.n_last = n_features
        self.dense = nn.Sequential(*dense)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (n, n_features)."""
        features = []
        for layers, sides in zip(self.convolutions, self.pooled[1:], strict=True):
            x = layers(x)
            if self.join_layers:
                features.append(adaptive_pool(F.adaptive_max_pool2d, x, sides).flatten(1))
        return torch.cat(features, 1) if self.join_layers else self.dense(x)


class ConvGenerator(nn.Sequential):
    """The generator of DCGAN [1]_: transposed convolutions of 5x5, each of which doubles the sides.

    ReLU and batch normalisation in all layers but the last.

    Parameters
    ----------
    latent_size : int
        Length of noise and codes.
    input_shape : tuple of (channels, height, width)
        Shape of one image.
    width : int, default=32
        Maps before the last layer, twice as many in each layer before. DCGAN has 128.
    n_layers : int, default=None
        Transposed convolutions. None: as many as lead from 4x4 maps to the image, as in DCGAN, and
        at least 2.
    hidden_size : int, default=None
        Width of a dense layer before the one that makes the first maps, as InfoGAN has it, with
        1,024. None: there is none.
    value_range : tuple of two floats, default=None
        The lowest and the highest value, which a sigmoid leads to. None: any values.

    References
    ----------
    .. [1] Radford, Metz and Chintala (2016). Unsupervised Representation Learning with Deep
       Convolutional Generative Adversarial Networks. ICLR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import ConvGenerator
    >>> ConvGenerator(16, (1, 28, 28))(torch.rand(2, 16)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        latent_size: int,
        input_shape: tuple[int, int, int],
        width: int = 32,
        n_layers: int | None = None,
        hidden_size: int | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        *sides, last = halved_sides(input_shape, n_layers)
        channels = width * 2 ** (len(sides) - 1)
        layers: list[nn.Module] = []
        if hidden_size is not None:
            layers += _dense(latent_size, hidden_size)
            latent_size = hidden_size
        layers.append(nn.Linear(latent_size, channels * math.prod(last), bias=False))
        layers.append(nn.Unflatten(1, (channels, *last)))
        for i, (height, breadth) in reversed(list(enumerate(sides))):
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            n_outputs = width * 2 ** (i - 1) if i else input_shape[0]
            missing = height - 2 * last[0] + 1, breadth - 2 * last[1] + 1  # to the exact sides
            padding = KERNEL // 2
            layers.append(
                nn.ConvTranspose2d(
                    channels, n_outputs, KERNEL, 2, padding, output_padding=missing, bias=i == 0
                )
            )
            channels, last = n_outputs, (height, breadth)
        if value_range is not None:
            layers.append(UnitRange(*value_range))
        super().__init__(*layers)
        _initialize(self)


def _dense(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    layer = nn.Linear(n_inputs, n_outputs, bias=False)
    return [layer, nn.BatchNorm1d(n_outputs), nn.ReLU()]


class DenseDiscriminator(nn.Sequential):
    """Fully connected layers with leaky ReLU; batch normalisation in all but the first.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample; images are flattened.
    hidden_sizes : sequence of int, default=(256, 256)
        Width of each layer; the last is the number of features.
    noise, dropout : float, default=0.0
        Deviation of Gaussian noise, added to the input and what each layer gives, and share of
        what each layer gives that is set to 0; while training.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import DenseDiscriminator
    >>> DenseDiscriminator((64,))(torch.rand(2, 64)).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        hidden_sizes: Sequence[int] = (256, 256),
        noise: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        n_inputs = math.prod(input_shape)
        layers: list[nn.Module] = [nn.Flatten(), *_disturbed(noise, 0.0)]
        for i, size in enumerate(hidden_sizes):
            layers.append(nn.Linear(n_inputs, size, bias=i == 0))
            layers += [nn.BatchNorm1d(size)] * (i > 0)
            layers += [nn.LeakyReLU(SLOPE), *_disturbed(noise, dropout)]
            n_inputs = size
        super().__init__(*layers)


class DenseGenerator(nn.Sequential):
    """Fully connected layers with batch normalisation and ReLU, and a linear one.

    Parameters
    ----------
    latent_size : int
        Length of noise and codes.
    input_shape : tuple of int
        Shape of one sample.
    hidden_sizes : sequence of int, default=(256, 256)
        Width of each layer but the last.
    value_range : tuple of two floats, default=None
        The lowest and the highest value, which a sigmoid leads to. None: any values.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import DenseGenerator
    >>> DenseGenerator(16, (64,))(torch.rand(2, 16)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        latent_size: int,
        input_shape: tuple[int, ...],
        hidden_sizes: Sequence[int] = (256, 256),
        value_range: tuple[float, float] | None = None,
    ) -> None:
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layers += _dense(latent_size, size)
            latent_size = size
        layers += [nn.Linear(latent_size, math.prod(input_shape)), nn.Unflatten(1, input_shape)]
        layers += [] if value_range is None else [UnitRange(*value_range)]
        super().__init__(*layers)


class RealHead(nn.Linear):
    """The logit of being real, of the last of the features.

    Parameters
    ----------
    n_features : int
        How many.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits of shape (n, 1)."""
        return super().forward(features[:, -self.in_features :])


class CodeHead(nn.Module):
    """InfoGAN's two ends of the discriminator: real or not, and the codes, Q.

    Parameters
    ----------
    n_features, n_clusters, n_continuous : int
    hidden_size : int, default=128
        Width of Q's layer before the codes.
    """

    def __init__(
        self, n_features: int, n_clusters: int, n_continuous: int, hidden_size: int = 128
    ) -> None:
        super().__init__()
        self.sizes = [n_clusters, n_continuous]
        self.real = RealHead(n_features)
        self.hidden = nn.Sequential(
            nn.Linear(n_features, hidden_size, bias=False),
            nn.BatchNorm1d(hidden_size),
            nn.LeakyReLU(SLOPE),
        )
        self.codes = nn.Linear(hidden_size, sum(self.sizes))

    def all(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of being real, (n, 1), those of the clusters, and the other codes."""
        logits, continuous = self.codes(self.hidden(features)).split(self.sizes, 1)
        return self.real(features), logits, continuous

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of the clusters, of shape (n, n_clusters)."""
        return self.codes(self.hidden(features))[:, : self.sizes[0]]
