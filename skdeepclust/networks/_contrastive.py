"""Networks of contrastive representation learning and of clustering upon it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.networks._heads import MultiHead
from skdeepclust.samples import Samples


class RepresentationNetwork(nn.Module):
    """An encoder g and a projector p, trained by contrast (SimCLR).

    Parameters
    ----------
    encoder : nn.Module
        From (n, *input_shape) to features, of which all but the first axis are flattened.
    n_features : int
        Number of these features.
    projection_size : int, default=128
        Size of the projections.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import RepresentationNetwork, SmallConvEncoder
    >>> network = RepresentationNetwork(SmallConvEncoder((1, 8, 8)), n_features=128)
    >>> network(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 128])
    """

    def __init__(self, encoder: nn.Module, n_features: int, projection_size: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = nn.Sequential(
            nn.Linear(n_features, n_features), nn.ReLU(), nn.Linear(n_features, projection_size)
        )

    def embed(self, x: Tensor) -> Tensor:
        """Return the features g(x), of shape (n, n_features)."""
        return self.encoder(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections p(g(x)) divided by their norm, (n, projection_size)."""
        return F.normalize(self.projector(self.embed(x)).float(), dim=1)


class PrecomputedRepresentation(nn.Module):
    """Samples that are features already."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x


class SCANNetwork(ClusterNetwork):
    """A representation and the clustering upon it: f(x) = h(g'(x)).

    Parameters
    ----------
    representation : nn.Module
        g with its projector; what neighbours are mined with.
    n_features : int
        Size of its features.
    n_clusters, n_heads : int
    separate_embedding : bool
        Whether the encoder g' is a copy of g, or g itself.

    Attributes
    ----------
    representation : nn.Module
    encoder : nn.Module
        g'.
    head : MultiHead
        h.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import RepresentationNetwork, SCANNetwork, SmallConvEncoder
    >>> representation = RepresentationNetwork(SmallConvEncoder((1, 8, 8)), n_features=128)
    >>> network = SCANNetwork(representation, n_features=128, n_clusters=3, n_heads=2)
    >>> network(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 3])
    """

    head: MultiHead

    def __init__(
        self,
        representation: RepresentationNetwork | PrecomputedRepresentation,
        n_features: int,
        n_clusters: int,
        n_heads: int,
        *,
        separate_embedding: bool = False,
    ) -> None:
        encoder = representation.encoder
        super().__init__(
            copy.deepcopy(encoder) if separate_embedding else encoder,
            MultiHead(n_features, n_clusters, n_heads),
        )
        self.representation = representation

    def start_clustering(self) -> None:
        """Take g' from g; the heads go on, so that the clusters stay what they were."""
        if self.encoder is not self.representation.encoder:
            self.encoder.load_state_dict(self.representation.encoder.state_dict())


class EnsembleNetwork(nn.Module):
    """Several clustering networks, of which one is kept for predictions.

    Parameters
    ----------
    models : list of SCANNetwork

    Attributes
    ----------
    kept : Tensor, a scalar
        Index of the model that predicts.
    labels, confidence : Tensor of shape (n_models, n_samples)
        Cluster of each training sample by each model after the last round, and its probability.
    round_labels : Tensor of shape (n_rounds, n_samples)
        Clusters by the model kept after each round, -1 for rounds to come.
    """

    kept: Tensor
    labels: Tensor
    confidence: Tensor
    round_labels: Tensor

    def __init__(self, models: list[SCANNetwork]) -> None:
        super().__init__()
        self.models: Sequence[SCANNetwork] = cast(Any, nn.ModuleList(models))
        self.register_buffer("kept", torch.tensor(0))

    def start(self, n_rounds: int, X: Samples) -> None:
        """Make room for what the rounds find."""
        shape = (len(self.models), len(X))
        self.register_buffer("labels", torch.zeros(shape, dtype=torch.int64, device=X.device))
        self.register_buffer("confidence", torch.zeros(shape, device=X.device))
        self.register_buffer("round_labels", torch.full((n_rounds, len(X)), -1, device=X.device))

    @property
    def model(self) -> SCANNetwork:
        """The model that predicts."""
        return self.models[int(self.kept)]

    def keep_best(self) -> None:
        """Keep the model with the lowest loss."""
        self.kept = torch.stack([model.head.loss for model in self.models]).argmin()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the model that predicts, of shape (n, n_clusters)."""
        return self.model(x)
