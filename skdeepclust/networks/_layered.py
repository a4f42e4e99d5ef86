"""Auto-encoders whose layers can be looked at one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from skdeepclust.networks._autoencoder import check_sizes
from skdeepclust.networks._base import draw_weights

SLOPE = 0.01  # of the leaky ReLU
# of DEPICT's two convolutions on MNIST and USPS
KERNELS, STRIDE, PADDINGS = (4, 5), 2, (0, 2)


class LayeredNetwork(nn.Sequential):
    """Layers one after another, of which all outputs can be had.

    Each is a module of its own, with its noise and its activation. Of an auto-encoder of two such
    networks, :class:`~skdeepclust.DEPICTClustering` compares the outputs layer by layer.

    Parameters
    ----------
    *layers : nn.Module

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import LayeredNetwork
    >>> network = LayeredNetwork(torch.nn.Linear(5, 3), torch.nn.Linear(3, 2))
    >>> [tuple(output.shape) for output in network.outputs(torch.rand(4, 5))]
    [(4, 3), (4, 2)]
    """

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the output of each layer, the network's own last."""
        results = []
        for layer in self:
            x = layer(x)
            results.append(x)
        return results


def _noise(dropout: float) -> list[nn.Module]:
    return [nn.Dropout(dropout)] if dropout else []


class LayeredDenseNetwork(LayeredNetwork):
    """Fully connected layers with leaky ReLU, of which all outputs can be had.

    Parameters
    ----------
    sizes : sequence of int
        Widths from the input to the output.
    dropout : float in [0, 1), default=0.0
        Share of the values that each layer but the last loses at its input while it trains.
    is_bounded : bool, default=False
        Whether the last layer ends in tanh, as that of an encoder; else it is linear.

    Raises
    ------
    ValueError
        If there are fewer than two sizes.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import LayeredDenseNetwork
    >>> LayeredDenseNetwork([64, 500, 10], dropout=0.1, is_bounded=True)(torch.rand(2, 64)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, sizes: Sequence[int], dropout: float = 0.0, is_bounded: bool = False
    ) -> None:
        *hidden, last = pairwise(check_sizes(sizes))
        layers = [
            nn.Sequential(*_noise(dropout), nn.Linear(*pair), nn.LeakyReLU(SLOPE))
            for pair in hidden
        ]
        end = [nn.Tanh()] if is_bounded else []
        super().__init__(*layers, nn.Sequential(nn.Linear(*last), *end))
        draw_weights(self.modules(), nn.init.xavier_uniform_)


def _sides(input_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return the heights and widths of the image and of the maps of both convolutions."""
    sides = [input_shape[1:]]
    for kernel, padding in zip(KERNELS, PADDINGS, strict=True):
        height, width = ((side + 2 * padding - kernel) // STRIDE + 1 for side in sides[-1])
        sides.append((height, width))
    return sides


class LayeredConvEncoder(LayeredNetwork):
    """The convolutional encoder of DEPICT [1]_ for MNIST and USPS.

    Convolutions of 4x4 and 5x5 with a stride of 2, each with leaky ReLU, and a dense layer with
    tanh.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image, at least 4x4.
    latent_size : int, default=10
        Number of output features, in (-1, 1).
    channels : int, default=50
        Maps of both convolutions.
    dropout : float in [0, 1), default=0.1
        Share of the values that both convolutions lose at their input while they train.

    References
    ----------
    .. [1] Ghasedi Dizaji, Herandi, Deng, Cai and Huang (2017). Deep Clustering via Joint
       Convolutional Autoencoder Embedding and Relative Entropy Minimization. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import LayeredConvEncoder
    >>> LayeredConvEncoder((1, 28, 28))(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        latent_size: int = 10,
        channels: int = 50,
        dropout: float = 0.1,
    ) -> None:
        layers: list[nn.Module] = []
        n_inputs = input_shape[0]
        for kernel, padding in zip(KERNELS, PADDINGS, strict=True):
            convolution = nn.Conv2d(n_inputs, channels, kernel, STRIDE, padding)
            layers.append(nn.Sequential(*_noise(dropout), convolution, nn.LeakyReLU(SLOPE)))
            n_inputs = channels
        n_values = channels * math.prod(_sides(input_shape)[-1])
        layers.append(nn.Sequential(nn.Flatten(), nn.Linear(n_values, latent_size), nn.Tanh()))
        super().__init__(*layers)
        draw_weights(self.modules(), nn.init.xavier_uniform_)


class LayeredConvDecoder(LayeredNetwork):
    """The decoder that mirrors :class:`LayeredConvEncoder`, with transposed convolutions.

    Parameters
    ----------
    n_features : int
        Size of the latents.
    input_shape : tuple of (channels, height, width)
        Shape of the images to decode to.
    channels : int, default=50
        As in the encoder.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import LayeredConvDecoder
    >>> LayeredConvDecoder(10, (1, 28, 28))(torch.rand(2, 10)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self, n_features: int, input_shape: tuple[int, int, int], channels: int = 50
    ) -> None:
        image, middle, last = _sides(input_shape)
        dense = nn.Linear(n_features, channels * math.prod(last))
        layers = [
            nn.Sequential(dense, nn.LeakyReLU(SLOPE), nn.Unflatten(1, (channels, *last))),
            nn.Sequential(_upwards(channels, channels, last, middle, 1), nn.LeakyReLU(SLOPE)),
            # linear, where the authors' code has tanh for pixels in [-1, 1]
            _upwards(channels, input_shape[0], middle, image, 0),
        ]
        super().__init__(*layers)
        draw_weights(self.modules(), nn.init.xavier_uniform_)


def _upwards(
    n_inputs: int, n_outputs: int, small: tuple[int, int], large: tuple[int, int], number: int
) -> nn.ConvTranspose2d:
    """Return the transposed convolution that undoes that one, from small maps to large ones."""
    kernel, padding = KERNELS[number], PADDINGS[number]
    height, width = (
        to - ((side - 1) * STRIDE - 2 * padding + kernel)
        for side, to in zip(small, large, strict=True)
    )
    return nn.ConvTranspose2d(
        n_inputs, n_outputs, kernel, STRIDE, padding, output_padding=(height, width)
    )
