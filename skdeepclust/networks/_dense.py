"""Fully connected encoder, for tabular input."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class DenseEncoder(nn.Sequential):
    """Fully connected layers, each with batch normalisation and ReLU.

    Parameters
    ----------
    input_shape : tuple of (n_features,)
        Shape of one sample.
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
        (n_inputs,) = input_shape
        for size in hidden_sizes:
            layers += [nn.Linear(n_inputs, size), nn.BatchNorm1d(size), nn.ReLU()]
            n_inputs = size
        super().__init__(*layers)
