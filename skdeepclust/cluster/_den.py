"""Deep embedding network (DEN)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from skdeepclust._parameters import AT_LEAST_1, NOT_NEGATIVE, POSITIVE, estimator, param
from skdeepclust.cluster._base_autoencoder import AutoencoderObjective, BaseLatentKMeans
from skdeepclust.cluster._base_neighbors import NeighborsMixin
from skdeepclust.engine import Phase
from skdeepclust.losses import group_norms, neighbor_distance
from skdeepclust.neighbors import nearest_neighbors
from skdeepclust.networks import AutoencoderNetwork, Posterior
from skdeepclust.samples import Samples


class DENObjective(AutoencoderObjective):
    """Reconstruction, latents near those of neighbours, and few groups of latents in use.

    Parameters
    ----------
    X : Samples
    n_neighbors : int
    bandwidth : float
        t, in multiples of the neighbours' mean squared distance.
    locality_weight, sparsity_weight : float
        alpha and beta.
    n_groups : int
    nearest : callable
        Finds the neighbours, as :func:`~skdeepclust.neighbors.nearest_neighbors` does.
    **kwargs
        Of AutoencoderObjective.
    """

    neighbors: Tensor
    similarity: Tensor  # S

    def __init__(
        self,
        X: Samples,
        n_neighbors: int,
        bandwidth: float,
        locality_weight: float,
        sparsity_weight: float,
        n_groups: int,
        nearest: Callable[[Tensor, int], Tensor] = nearest_neighbors,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.X = X
        self.locality_weight = locality_weight
        self.sparsity_weight = sparsity_weight
        self.n_groups = n_groups
        points = X[:].flatten(1)
        neighbors = nearest(points, n_neighbors)
        squares = [(points - points[near]).square().sum(1) for near in neighbors.T]
        distance = torch.stack(squares, 1)
        scale = (bandwidth * distance.mean()).clamp_min(1e-30)  # all samples may be the same
        self.register_buffer("neighbors", neighbors)
        self.register_buffer("similarity", (-distance / scale).exp())

    def clustering_loss(
        self, network: AutoencoderNetwork, posterior: Posterior, index: Tensor
    ) -> Tensor:
        z = posterior.mean
        # the paper sums over all neighbours; one that is drawn gives their mean, in expectation
        drawn = torch.randint(self.neighbors.shape[1], (len(index),), device=index.device)
        neighbor, similarity = self.neighbors[index, drawn], self.similarity[index, drawn]
        of_neighbor = self.encode(network, self.X[neighbor])[0].mean
        near = neighbor_distance(z, of_neighbor, similarity)
        groups = group_norms(z, self.n_groups)
        return self.locality_weight * near + self.sparsity_weight * groups


@estimator
class DENClustering(NeighborsMixin, BaseLatentKMeans):
    """Deep embedding network (DEN): latents that keep neighbourhoods, and of which few are in use.

    An auto-encoder is trained with two terms: latents of a sample are drawn to those of its
    nearest neighbours in input space, and a penalty on the norms of groups of latents leaves
    each sample few groups that aren't zero. k-means on the latents gives the clusters [1]_.

    Parameters
    ----------
    n_neighbors : int
        Nearest neighbours of each sample in input space, one of which is drawn at each step, where
        the paper sums over all. With fewer samples, all of them.
    bandwidth : float
        Of the heat kernel exp(-d^2 / t) that weighs a neighbour at distance d: t, in multiples of
        the mean of d^2 over all samples and neighbours.
    locality_weight : float
        Weight of the weighted squared distance of a sample's latents to those of its neighbour,
        beside the reconstruction's mean squared error in units of the samples' variance: alpha.
    sparsity_weight : float
        Weight of the sum of the groups' norms, each times the root of its size, beside the same:
        beta.
    n_groups : int
        Groups that the latents are cut into, of like size. None: `n_clusters`, as in the paper, or
        as many as there are latents, if these are fewer.
    whiten : bool
        Whether the latents are whitened by PCA before k-means; not in the paper.

    See Also
    --------
    AutoencoderClustering : The same without the two terms.
    DeepClustering : Clusters that neighbours share, without an auto-encoder.

    Notes
    -----
    The paper pretrains layer by layer with restricted Boltzmann machines; here the auto-encoder is
    trained as a whole, from the start with both terms. The neighbours are exact, at a cost that is
    quadratic in the number of samples, which are all held as float32 for them, whatever
    `memory_limit`.

    {{autoencoders}}
    So were the weights, with one restart, for random states 0 and 1: ACC .814 and .810 with the
    defaults, .793 and .782 without both terms, .793 and .792 with a `locality_weight` of 1, .774
    and .727 with 10: the latents shrink as it grows.

    References
    ----------
    .. [1] Huang, Huang, Wang and Wang (2014). Deep Embedding Network for Clustering. ICPR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DENClustering
    >>> images = load_digits().images[:200]
    >>> den = DENClustering(n_clusters=10, max_epochs=2, n_init=1, random_state=0)
    >>> den.fit_predict(images).shape
    (200,)
    """

    n_neighbors: int = param(5, AT_LEAST_1)
    bandwidth: float = param(1.0, POSITIVE)
    locality_weight: float = param(0.3, NOT_NEGATIVE)
    sparsity_weight: float = param(1e-3, NOT_NEGATIVE)
    n_groups: int | None = param(None, None, AT_LEAST_1)

    def _build_network(self) -> AutoencoderNetwork:
        network = super()._build_network()
        n_latents = network.head.n_features
        if self.n_groups is not None and self.n_groups > n_latents:
            raise ValueError(
                f"n_groups={self.n_groups} should be <= {n_latents}, the number of latents."
            )
        return network

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        objective = DENObjective(
            X,
            n_neighbors=self.n_neighbors,
            bandwidth=self.bandwidth,
            locality_weight=self.locality_weight,
            sparsity_weight=self.sparsity_weight,
            n_groups=self.n_groups or min(self.n_clusters, network.head.n_features),
            nearest=self._nearest,
            augmentation=self._augmentation(),
        )
        yield self._phase(objective, self.max_epochs, "auto-encoder")
