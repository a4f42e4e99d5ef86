"""What every network of the package is made of."""

from __future__ import annotations

from torch import Tensor, nn


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


def he_normal(network: nn.Module, skip: type[nn.Module] | None = None) -> None:
    """Draw the weights as He et al. (2015) do, from a normal distribution."""
    for module in network.children():
        if skip is not None and isinstance(module, skip):
            continue
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def glorot_uniform(network: nn.Module) -> None:
    """Draw the weights as Glorot and Bengio (2010) do, from a uniform distribution."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
