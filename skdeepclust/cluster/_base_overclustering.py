"""Base of the methods with heads of as many outputs as there are clusters, and with more."""

from __future__ import annotations

from skdeepclust._parameters import AT_LEAST_1, estimator, param
from skdeepclust.cluster._base_augmented import BaseAugmentedClusterer
from skdeepclust.cluster._base_prior import ClassPriorMixin
from skdeepclust.networks import MergingHead
from skdeepclust.networks._base import ClusterNetwork


class MergingNetwork(ClusterNetwork):
    """An encoder with a :class:`MergingHead`."""

    head: MergingHead


@estimator
class BaseOverclusterer(ClassPriorMixin, BaseAugmentedClusterer):
    """What the methods with heads of both kinds share: the network.

    Parameters
    ----------
    n_heads : int
        Heads of each of the two kinds, trained side by side on the same features.
    """

    n_heads: int = param(5, AT_LEAST_1)
    overclustering: int = param(3, AT_LEAST_1)

    def _build_network(self) -> MergingNetwork:
        encoder, n_features = self._build_encoder()
        head = MergingHead(n_features, self.n_clusters, self.n_heads, self.overclustering)
        return MergingNetwork(encoder, head)
