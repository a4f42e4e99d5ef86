"""Auto-encoders: convolutional for images, fully connected for tabular input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust.losses import gaussian_kl
from skdeepclust.networks._base import ClusterNetwork, draw_weights, halved_sides

SLOPE = 0.2  # of the leaky ReLU
N_POOLINGS = 3  # at least
DENSE_LATENT_SIZE = 10
GAIN = math.sqrt(2)


class Posterior(NamedTuple):
    """Distribution of the latents of some samples: Gaussian, or certain.

    Attributes
    ----------
    mean : Tensor of shape (n, n_features)
    log_variance : Tensor of shape (n, n_features) or None
        None: the latents are the mean.
    """

    mean: Tensor
    log_variance: Tensor | None = None

    def sample(self) -> Tensor:
        """Return a draw for each sample."""
        if self.log_variance is None:
            return self.mean
        return self.mean + (self.log_variance / 2).exp() * torch.randn_like(self.mean)

    def divergence(self) -> Tensor | float:
        """Return the divergence from the prior N(0, I), in nats; 0 of certain latents."""
        return 0.0 if self.log_variance is None else gaussian_kl(self.mean, self.log_variance)


class AutoencoderNetwork(ClusterNetwork):
    """An encoder, a decoder, and a head that makes cluster logits of the latents.

    Parameters
    ----------
    encoder : nn.Module
        From (n, *input_shape) to features, of which all but the first axis are flattened.
    decoder : nn.Module
        From (n, n_features) to (n, *input_shape).
    head : nn.Module
        From (n, n_features) to (n, n_clusters), a :class:`StudentTHead` or one with
        ``n_features``.
    posterior : nn.Module, default=None
        Makes the auto-encoder variational: from the encoder's features, (n, n_features), to
        means and logarithms of variances, (n, 2 * n_features).
    critic : nn.Module, default=None
        From samples, (n, *input_shape), to values, of which the mean is the estimated share of a
        mixture (ACAI, MCDC).
    """

    head: Any

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        head: nn.Module,
        posterior: nn.Module | None = None,
        critic: nn.Module | None = None,
    ) -> None:
        super().__init__(encoder, head)
        self.decoder = decoder
        self.posterior = posterior
        self.critic = critic
        # of the loss that it is trained on, which whoever takes it over goes on with
        self.kl_weight = 1.0
        self.value_range: tuple[float, float] | None = None  # of a Bernoulli likelihood
        self.decodes_augmented = False

    def features(self, x: Tensor) -> Tensor:
        """Return what the latents are, or their posterior is made of, of shape (n, n_features)."""
        return super().embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Return the latents, of shape (n, n_features); of a variational one the means."""
        features = self.features(x)
        return features if self.posterior is None else self.posterior(features).chunk(2, 1)[0]

    def encode(self, x: Tensor) -> Posterior:
        """Return what is known of the latents: of a plain auto-encoder the latents themselves."""
        features = self.features(x)
        if self.posterior is None:
            return Posterior(features)
        return Posterior(*self.posterior(features).float().chunk(2, 1))

    def decode(self, z: Tensor) -> Tensor:
        """Return the samples, of shape (n, *input_shape), that latents stand for."""
        decoded = self.decoder(z)
        if self.value_range is None or self._is_of_0_2():
            return decoded
        return squash(decoded, *self.value_range)

    def _is_of_0_2(self) -> bool:
        """Return whether the decoder does the squashing, as in what that version has kept."""
        decoder = self.decoder
        if not isinstance(decoder, nn.Sequential) or not len(decoder):
            return False
        return isinstance(decoder[-1], UnitRange)

    def estimate(self, x: Tensor) -> Tensor:
        """Return the critic's estimate of the share in each mixture, of shape (n,)."""
        if self.critic is None:
            raise ValueError("estimate needs a network with a critic.")
        return self.critic(x.clone()).float().flatten(1).mean(1)  # it may work in place


class SigmoidNetwork(AutoencoderNetwork):
    """An auto-encoder whose encoder ends in a sigmoid: activations in [0, 1], as codes."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x).float().sigmoid()


def squash(x: Tensor, low: float, high: float) -> Tensor:
    """Return values of a range for any numbers, by the logistic function."""
    return low + (high - low) * x.float().sigmoid()


class UnitRange(nn.Module):
    """Squashes what a generator gives to a range of values.

    Parameters
    ----------
    low, high : float
        The values that the probabilities 0 and 1 stand for.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the range."""
        return squash(x, self.low, self.high)


def check_sizes(sizes: Sequence[int]) -> Sequence[int]:
    """Return widths of layers, of which there must be two at least."""
    if len(sizes) < 2:
        raise ValueError(
            "sizes must be two widths at least, from the input to the output, as [64, 500, 10]; "
            f"got {sizes!r}. As network= of an estimator, which gets the shape of a sample, "
            "DenseEncoder has its widths in hidden_sizes."
        )
    return sizes


class DenseNetwork(nn.Sequential):
    """Fully connected layers with ReLU between them and none at the end.

    Parameters
    ----------
    sizes : sequence of int
        Widths from the input to the output; those of DEC's encoder are d, 500, 500, 2000, 10.

    Raises
    ------
    ValueError
        If there are fewer than two sizes.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import DenseNetwork
    >>> DenseNetwork([64, 500, 10])(torch.rand(2, 64)).shape
    torch.Size([2, 10])
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in pairwise(check_sizes(sizes)):
            layers += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
        super().__init__(*layers[:-1])


def latent_shape(
    input_shape: tuple[int, int, int], latent_channels: int
) -> tuple[tuple[int, int, int], int]:
    """Return the shape of the latent maps and the number of poolings that lead to it.

    At 32x32 these are the 4x4 maps and the three poolings of the paper. Larger images are pooled
    more often, so that the maps have at most 4x4 values.
    """
    *sides, last = halved_sides(input_shape, at_least=N_POOLINGS)
    return (latent_channels, *last), len(sides)


def leaky(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(n_inputs, n_outputs, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]


def initialize(network: nn.Module, gain: float) -> None:
    """Draw the weights from N(0, gain^2 / (fan_in (1 + 0.2^2)))."""

    def draw(weight: Tensor) -> None:
        nn.init.normal_(weight, std=gain * (weight[0].numel() * (1 + SLOPE**2)) ** -0.5)

    draw_weights(network.modules(), draw)


class ConvEncoder(nn.Sequential):
    """The convolutional encoder of ACAI [1]_ and MCDC [2]_.

    A 1x1 convolution; blocks of two 3x3 convolutions and a 2x2 average pooling, of which each
    has twice the channels of the one before; two more convolutions, the last one linear. Images
    whose sides are no multiple of 8 (16 from 33 pixels on, 32 from 65, ...) are padded with their
    edges, so 28x28 images get two pixels on each side.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image, at least 8x8. At 32x32 the output has 16 maps of 4x4.
    latent_size : int, default=None
        Number of output features, through a dense layer at the end. None: the maps.
    channels : int, default=16
        Channels of the first block.
    latent_channels : int, default=16
        Maps of the output.
    gain : float, default=sqrt(2)
        Initial weights have the standard deviation gain / sqrt(fan_in (1 + 0.2^2)). With 1, which
        is equation 10 of MCDC, the signal fades from layer to layer and the training takes three
        times as long to set in; with sqrt(2) it keeps its size. Its authors' code has that without
        the 1 + 0.2^2, and torch's biases in place of zeros.

    References
    ----------
    .. [1] Berthelot et al. (2019). Understanding and Improving Interpolation in Autoencoders via
       an Adversarial Regularizer. ICLR.
    .. [2] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import ConvEncoder
    >>> ConvEncoder((3, 32, 32))(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 16, 4, 4])
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        latent_size: int | None = None,
        channels: int = 16,
        latent_channels: int = 16,
        gain: float = GAIN,
    ) -> None:
        shape, n_poolings = latent_shape(input_shape, latent_channels)
        layers: list[nn.Module] = []
        if margins := _margins(input_shape, shape, n_poolings):
            layers.append(nn.ReplicationPad2d(margins))  # type: ignore[arg-type]  # takes lists
        # The blocks are those of ACAI's published code, which MCDC's network builds on. MCDC's
        # text has the channels double within a block, which doesn't give 4x4x16 latents.
        layers.append(nn.Conv2d(input_shape[0], channels, 1))
        n_inputs = channels
        for n_outputs in [channels << i for i in range(n_poolings)]:
            layers += [*leaky(n_inputs, n_outputs), *leaky(n_outputs, n_outputs)]
            layers.append(nn.AvgPool2d(2))
            n_inputs = n_outputs
        layers += leaky(n_inputs, channels << n_poolings)
        layers.append(nn.Conv2d(channels << n_poolings, latent_channels, 3, padding=1))
        if latent_size is not None:
            layers += [nn.Flatten(), nn.Linear(math.prod(shape), latent_size)]
        super().__init__(*layers)
        initialize(self, gain)


class ConvDecoder(nn.Module):
    """The decoder that mirrors :class:`ConvEncoder`, with nearest-neighbour upsampling.

    Parameters
    ----------
    n_features : int
        Size of the latents. If it isn't that of the latent maps, a dense layer comes first.
    input_shape : tuple of (channels, height, width)
        Shape of the images to decode to.
    channels, latent_channels, gain
        As in the encoder.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import ConvDecoder
    >>> ConvDecoder(256, (3, 32, 32))(torch.rand(2, 256)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        n_features: int,
        input_shape: tuple[int, int, int],
        channels: int = 16,
        latent_channels: int = 16,
        gain: float = GAIN,
    ) -> None:
        super().__init__()
        shape, n_poolings = latent_shape(input_shape, latent_channels)
        layers: list[nn.Module] = []
        if n_features != math.prod(shape):
            layers.append(nn.Linear(n_features, math.prod(shape)))
        layers.append(nn.Unflatten(1, shape))
        n_inputs = latent_channels
        for n_outputs in [channels << i for i in reversed(range(n_poolings))]:
            layers += [*leaky(n_inputs, n_outputs), *leaky(n_outputs, n_outputs)]
            layers.append(nn.Upsample(scale_factor=2))
            n_inputs = n_outputs
        layers += leaky(n_inputs, channels)
        layers.append(nn.Conv2d(channels, input_shape[0], 3, padding=1))
        self.layers = nn.Sequential(*layers)
        self.margins = _margins(input_shape, shape, n_poolings)
        initialize(self, gain)

    def forward(self, z: Tensor) -> Tensor:
        """Return images of shape (n, *input_shape) for latents of shape (n, n_features)."""
        images = self.layers(z)
        return F.pad(images, [-m for m in self.margins]) if self.margins else images


def _margins(
    input_shape: tuple[int, int, int], shape: tuple[int, int, int], n_poolings: int
) -> list[int]:
    """Return the pixels to add at the left, right, top and bottom; [] if there are none."""
    margins = []
    for axis in (2, 1):
        missing = (shape[axis] << n_poolings) - input_shape[axis]
        margins += [missing // 2, missing - missing // 2]
    return margins if any(margins) else []
