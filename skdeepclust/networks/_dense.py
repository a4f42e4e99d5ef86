"""Fully connected encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn


class DenseEncoder(nn.Sequential):
    """Fully connected layers, each with batch normalisation and ReLU.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample; images are flattened.
    hidden_sizes : sequence of int, default=(256, 256)
        Width of each layer; the last is the size of the embedding.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import DenseEncoder
    >>> DenseEncoder((64,))(torch.rand(2, 64)).shape
    torch.Size([2, 256])
    """

    def __init__(
        self, input_shape: tuple[int, ...], hidden_sizes: Sequence[int] = (256, 256)
    ) -> None:
        layers: list[nn.Module] = []
        n_inputs = math.prod(input_shape)
        for size in hidden_sizes:
            layers += [nn.Linear(n_inputs, size), nn.BatchNorm1d(size), nn.ReLU()]
            n_inputs = size
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (n, hidden_sizes[-1])."""
        return super().forward(x.flatten(1))  # a layer would renumber those in saved files
