"""Encoder and decoder of the stacked what-where auto-encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust.networks._autoencoder import DENSE_LATENT_SIZE, GAIN, initialize, leaky
from skdeepclust.networks._base import halved_sides


def _channels(
    input_shape: tuple[int, ...], channels: int, latent_channels: int, n_poolings: int
) -> list[int]:
    return [input_shape[0], *(channels << i for i in range(n_poolings - 1)), latent_channels]


class WhatWhereEncoder(nn.Module):
    """Layers that end in max pooling, which tells what there is and where (SWWAE) [1]_.

    A layer has two 3x3 convolutions and 2x2 max pooling, and twice the channels of the one before;
    the last one's second convolution is linear. Tabular data have dense layers without pooling, so
    that there is no "where".

    Parameters
    ----------
    input_shape : tuple of (channels, height, width) or (n_features,)
    latent_size : int, default=None
        Number of output features, through a dense layer at the end. None: the last maps; 10 for
        tabular data.
    channels : int, default=32
        Of the first layer.
    latent_channels : int, default=16
        Maps of the last one, 4x4 of images of 32x32 and 2x2 of 8x8.
    hidden_sizes : sequence of int, default=(500, 500, 2000)
        Widths of the layers between, tabular data only.

    References
    ----------
    .. [1] Zhao, Mathieu, Goroshin and LeCun (2016). Stacked What-Where Auto-encoders. ICLR
       workshop.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import WhatWhereEncoder
    >>> encoder = WhatWhereEncoder((3, 32, 32))
    >>> encoder(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 16, 4, 4])
    >>> what, where = encoder.levels(torch.rand(2, 3, 32, 32))
    >>> [w.shape[1:] for w in where]
    [torch.Size([32, 16, 16]), torch.Size([64, 8, 8]), torch.Size([16, 4, 4])]
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_size: int | None = None,
        channels: int = 32,
        latent_channels: int = 16,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
    ) -> None:
        super().__init__()
        layers: list[list[nn.Module]]
        self.n_pooled = 0
        if len(input_shape) == 3:
            *sizes, last = halved_sides(input_shape)
            self.n_pooled = len(sizes)
            widths = _channels(input_shape, channels, latent_channels, len(sizes))
            layers = [[*leaky(n, m), *leaky(m, m)] for n, m in pairwise(widths)]
            if latent_size is not None:
                n_values = latent_channels * math.prod(last)
                layers.append([nn.Flatten(), nn.Linear(n_values, latent_size), nn.Identity()])
        else:
            widths = [*input_shape, *hidden_sizes, latent_size or DENSE_LATENT_SIZE]
            layers = [[nn.Linear(n, m), nn.ReLU()] for n, m in pairwise(widths)]
        layers[-1].pop()  # linear at the end
        self.layers = nn.ModuleList(nn.Sequential(*layer) for layer in layers)
        initialize(self, GAIN)

    def levels(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return what each layer gives, and where the maxima of those with pooling were."""
        what, where = [], []
        for level, layer in enumerate(self.layers):
            x = layer(x)
            if level < self.n_pooled:
                x, index = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
                where.append(index)
            what.append(x)
        return what, where

    def forward(self, x: Tensor) -> Tensor:
        """Return the "what" of the last layer."""
        return self.levels(x)[0][-1]


class WhatWhereDecoder(nn.Module):
    """The decoder that mirrors :class:`WhatWhereEncoder`, and puts each value where it was.

    Parameters
    ----------
    n_features : int
        Size of the latents. If it isn't that of the encoder's last maps, a dense layer comes first.
    input_shape : tuple of (channels, height, width) or (n_features,)
        Shape of the samples to decode to.
    channels, latent_channels, hidden_sizes
        As in the encoder.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import WhatWhereDecoder, WhatWhereEncoder
    >>> encoder, decoder = WhatWhereEncoder((3, 32, 32)), WhatWhereDecoder(256, (3, 32, 32))
    >>> what, where = encoder.levels(torch.rand(2, 3, 32, 32))
    >>> decoded, *between = decoder.levels(what[-1].flatten(1), where)
    >>> decoded.shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        n_features: int,
        input_shape: tuple[int, ...],
        channels: int = 32,
        latent_channels: int = 16,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
    ) -> None:
        super().__init__()
        layers: list[list[nn.Module]]  # that of the samples comes first
        self.sizes: list[tuple[int, int]] = []  # of the maps that are unpooled
        if len(input_shape) == 3:
            *self.sizes, last = halved_sides(input_shape)
            widths = _channels(input_shape, channels, latent_channels, len(self.sizes))
            layers = [[*leaky(m, m), *leaky(m, n)] for n, m in pairwise(widths)]
            shape = (latent_channels, *last)
            n_values = math.prod(shape)
            dense = [nn.Linear(n_features, n_values)] if n_features != n_values else []
            layers.append([*dense, nn.Unflatten(1, shape)])
        else:
            widths = [*input_shape, *hidden_sizes, n_features]
            layers = [[nn.Linear(m, n), nn.ReLU()] for n, m in pairwise(widths)]
        layers[0].pop()  # linear at the end
        self.layers = nn.ModuleList(nn.Sequential(*layer) for layer in layers)
        initialize(self, GAIN)

    def levels(self, z: Tensor, where: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return the samples that latents stand for, and what stands for the layers between.

        Without `where`, each of the four places that a value may come from has a quarter of it.
        """
        found = []
        for level in reversed(range(len(self.layers))):
            if level < len(self.sizes):
                height, width = self.sizes[level]
                if where is None:
                    z = F.interpolate(z, scale_factor=2)[..., :height, :width] / 4
                else:
                    z = F.max_unpool2d(z, where[level], [2, 2], output_size=(height, width))
            z = self.layers[level](z)
            found.append(z)
        return found[::-1]

    def forward(self, z: Tensor) -> Tensor:
        """Return samples of shape (n, *input_shape) for latents of shape (n, n_features)."""
        return self.levels(z)[0]
