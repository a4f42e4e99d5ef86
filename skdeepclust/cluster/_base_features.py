"""Base of the methods that train features, of which k-means makes the clusters at the end."""

from __future__ import annotations

from torch import Tensor, nn

from skdeepclust import _distributed
from skdeepclust._parameters import AT_LEAST_1, estimator, param
from skdeepclust.cluster._base_augmented import BaseAugmentedClusterer
from skdeepclust.cluster._latents import k_means_of, pca_whitening
from skdeepclust.inference import evaluated, reestimate_batch_norm
from skdeepclust.networks import StudentTHead
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.samples import Samples


class FeatureNetwork(ClusterNetwork):
    """An encoder, and a head with the centres of k-means on its features, of norm one.

    Parameters
    ----------
    encoder : nn.Module
    n_features, n_clusters : int
    n_components : int, default=None
        Principal components to which the features are whitened before. None: they are not.
    """

    head: StudentTHead

    def __init__(
        self,
        encoder: nn.Module,
        n_features: int,
        n_clusters: int,
        n_components: int | None = None,
    ) -> None:
        super().__init__(encoder, StudentTHead(n_features, n_clusters, normalize=True))
        self.n_components = n_components

    def fit_projection(self, X: Samples) -> Tensor:
        """Return the features of all samples, as the head compares them with its centres.

        Batch normalisation's statistics, and where they are whitened that, are fitted to them.
        """
        reestimate_batch_norm(self, X, self.embed)
        # of a loss that isn't finite the engine tells
        features = evaluated(self, X, self.embed).nan_to_num()
        if self.n_components is not None:
            whitening = pca_whitening(features, self.n_components)
            self.head.set_centers(self.head.centers.detach(), features.mean(0), whitening)
            if (processes := _distributed.current()) is not None:  # where rounding turns an axis
                processes.agree(self.head)
        return self.head.project(features)


@estimator
class BaseFeatureClusterer(BaseAugmentedClusterer):
    """What these methods share: k-means at the end.

    Parameters
    ----------
    kmeans_n_init : int
        Starts of k-means on the features at the end, of which the best is kept.
    """

    kmeans_n_init: int = param(100, AT_LEAST_1)

    def _build_network(self) -> FeatureNetwork:
        return FeatureNetwork(*self._build_encoder(), self.n_clusters)

    def _finalize(self, network: FeatureNetwork, X: Samples) -> None:
        points, head = network.fit_projection(X), network.head
        centers = k_means_of(points, self.n_clusters, n_init=self.kmeans_n_init).centers
        head.set_centers(centers, head.offset, head.whitening)
