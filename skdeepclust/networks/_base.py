"""What every network of the package is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

MAX_SIDE = 4  # of the maps that halving ends with


def adaptive_pool(pool: Callable[..., Tensor], x: Tensor, sides: Any) -> Tensor:
    """Pool maps to given sides, by way of the CPU on MPS where its windows are of unlike sizes.

    There the maximum is silently another (https://github.com/pytorch/pytorch/issues/190064), the
    mean is refused.
    """
    is_even = not any(n % m for n, m in zip(x.shape[2:], sides, strict=True))
    if x.device.type != "mps" or is_even:
        return pool(x, sides)
    return pool(x.cpu(), sides).to(x.device)


class AdaptiveMaxPool2d(nn.AdaptiveMaxPool2d):
    """torch's, on any device."""

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_pool(F.adaptive_max_pool2d, x, self.output_size)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """torch's, on any device."""

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_pool(F.adaptive_avg_pool2d, x, self.output_size)


class ClusterNetwork(nn.Module):
    """An encoder and a head that turns its features into one logit per cluster.

    Parameters
    ----------
    encoder : nn.Module
        From (n, *input_shape) to features, of which all but the first axis are flattened.
    head : nn.Module
        From (n, n_features) to (n, n_clusters).
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def embed(self, x: Tensor) -> Tensor:
        """Return the features, of shape (n, n_features)."""
        return self.encoder(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, of shape (n, n_clusters)."""
        return self.head(self.embed(x))


def halved_sides(
    input_shape: tuple[int, ...], n_layers: int | None = None, at_least: int = 2
) -> list[tuple[int, int]]:
    """Return height and width of the images and of the maps of each layer, which halves them.

    `n_layers` None: as many as lead to maps of at most 4x4, and no fewer than `at_least`.
    """
    height, width = input_shape[1:]
    if n_layers is None:
        n_layers = max(at_least, math.ceil(math.log2(max(height, width) / MAX_SIDE)))
    return [(-(-height >> i), -(-width >> i)) for i in range(n_layers + 1)]


def draw_weights(modules: Iterable[nn.Module], draw: Callable[[Tensor], Any]) -> None:
    """Draw the weights of the layers among some modules; biases begin at 0."""
    for module in modules:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he_normal(network: nn.Module) -> None:
    """Draw the weights of a network's layers as He et al. (2015) do, from a normal distribution."""
    draw_weights(network.children(), partial(nn.init.kaiming_normal_, nonlinearity="relu"))
