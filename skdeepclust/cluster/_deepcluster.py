"""DeepCluster: k-means on the features and classification of its clusters, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._parameters import AT_LEAST_1, estimator, param
from skdeepclust.cluster._base_augmented import AUTO
from skdeepclust.cluster._base_features import BaseFeatureClusterer, FeatureNetwork
from skdeepclust.cluster._latents import k_means_of
from skdeepclust.engine import Phase
from skdeepclust.objective import Objective, Step
from skdeepclust.samples import Samples

N_ITERATIONS = 20  # of k-means before each epoch
LEAST_SIZE = 10  # samples a cluster there, on average


class DeepClusterNetwork(FeatureNetwork):
    """A :class:`FeatureNetwork` with the layer that tells the pseudo-clusters apart.

    Parameters
    ----------
    encoder : nn.Module
    n_features, n_clusters, n_components, n_pseudo_clusters : int
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_features: int,
        n_clusters: int,
        n_components: int,
        n_pseudo_clusters: int,
    ) -> None:
        super().__init__(encoder, n_features, n_clusters, n_components)
        self.classifier = nn.Linear(n_features, n_pseudo_clusters)


class DeepClusterObjective(Objective):
    """Cross-entropy of augmented samples with the clusters of k-means on the features.

    What it learns, the layer and the whitening, is the network's, but for the labels.

    Parameters
    ----------
    n_samples, n_clusters : int
    augmentation : callable
    """

    labels: Tensor
    renewed = ("classifier",)

    def __init__(
        self, n_samples: int, n_clusters: int, augmentation: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.n_clusters = n_clusters
        self.augmentation = augmentation
        self.register_buffer("labels", torch.zeros(n_samples, dtype=torch.long))

    def players(self, network: DeepClusterNetwork) -> dict[str, list[nn.Parameter]]:
        encoder = [p for p in network.encoder.parameters() if p.requires_grad]
        return {"main": encoder, "classifier": list(network.classifier.parameters())}

    @torch.no_grad()
    def on_epoch_begin(self, network: DeepClusterNetwork, X: Samples) -> None:
        """Cluster the features, and draw the layer anew that is to tell the clusters apart."""
        points = network.fit_projection(X)
        k = min(network.classifier.out_features, max(self.n_clusters, len(X) // LEAST_SIZE))
        self.labels.copy_(k_means_of(points, k, n_init=1, max_iter=N_ITERATIONS).labels)
        nn.init.normal_(network.classifier.weight, std=0.01)
        nn.init.zeros_(network.classifier.bias)

    def order(self, shuffled: Tensor) -> Tensor:
        """Return as many indices, drawn alike from all clusters."""
        labels = self.labels[shuffled]
        by_cluster = shuffled[labels.argsort(stable=True)]
        sizes = labels.unique(return_counts=True)[1]
        # of each cluster as many: a part of a large one, a small one again and again
        n_each = -(-len(shuffled) // len(sizes))
        place = torch.arange(n_each, device=shuffled.device) % sizes[:, None]
        drawn = by_cluster[(place + (sizes.cumsum(0) - sizes)[:, None]).flatten()]
        return drawn[torch.randperm(len(drawn), device=drawn.device)[: len(shuffled)]]

    def steps(self, network: DeepClusterNetwork, x: Tensor, index: Tensor) -> Iterator[Step]:
        logits = network.classifier(network.embed(self.augmentation(x)))
        yield ("main", "classifier"), F.cross_entropy(logits.float(), self.labels[index])


@estimator
class DeepClusterClustering(BaseFeatureClusterer):
    """DeepCluster: the clusters of k-means on the features are what the network learns next.

    Before each epoch the features of all samples are whitened by PCA, divided by their norm and
    clustered by k-means, into many more clusters than are wanted; the last layer is drawn anew, and
    for one epoch the network learns to tell these clusters apart, on augmented samples of which
    each cluster has as many [1]_. At the end k-means on the features gives `n_clusters` clusters.

    Parameters
    ----------
    overclustering : int
        Clusters that are learnt, in multiples of `n_clusters`, but no more of these than one for
        ten samples. 10 in the paper on ImageNet (k = 10,000).
    n_components : int or "auto"
        Principal components of the features that k-means sees; at most as many as features
        or samples. 256 in the paper, of the 4,096 features of a large network. Whitened, the
        components that vary least count as much as any other, so that too many of them hide
        the clusters. "auto": `n_clusters`.
    kmeans_n_init : int
        Starts of k-means on the features at the end, of which the best is kept. The k-means before
        each epoch has one start and 20 iterations, as in the authors' code.
    max_epochs : int or "auto"
        Passes over the samples. "auto": 2,000 by the root of the number of samples (48 for 1,797
        samples, 20 for 10,000, 8 for 70,000), so that more samples get more steps.
    optimizer : callable
        Called with the parameters and ``lr=``, once for the encoder, and once for the last layer,
        where it begins anew with each epoch. The paper's is
        ``partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-5)``; its code has no momentum for
        the last layer.
    lr : float
        Learning rate of both. 0.05 with SGD in the paper.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` logits, and
        ``network_.head.project(features)`` what k-means sees.

    See Also
    --------
    DACClustering : Labels pairs of samples in place of samples.
    DeepClustering : Neighbours in input space in place of k-means.

    Notes
    -----
    The network is small, and there is no Sobel filter before it. Where it ends with a ReLU, as the
    default ones do, k-means sees the features behind it, not those before it as in the authors'
    code. k-means refills empty clusters with samples that are far from their centres. Of a cluster
    that is too small, each sample is taken about as often as any other of it.

    The defaults were chosen on scikit-learn's 1,797 digits, with their labels in sight: over three
    random states, ACC is 0.75 with 64 components and an `lr` of 0.001, 0.88 with 32, 0.91 with 16
    and 0.93 with 10; with an `lr` of 0.003 it is 0.96 with 16 and 0.94 with 10.
    One run of 20 epochs on 10,000 images of MNIST, on which nothing was chosen, ended at 0.89. The
    paper's settings are in ``benchmarks/tables/baselines.py``.

    Of all samples the features are held in memory, also where `X` isn't, and samples of small
    clusters are read again in the same epoch, in no order.

    References
    ----------
    .. [1] Caron, Bojanowski, Joulin and Douze (2018). Deep Clustering for Unsupervised Learning of
       Visual Features. ECCV.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DeepClusterClustering
    >>> images = load_digits().images[:200]
    >>> model = DeepClusterClustering(n_clusters=3, max_epochs=5, random_state=0)
    >>> model.fit_predict(images).shape
    (200,)
    """

    overclustering: int = param(10, AT_LEAST_1)
    n_components: int | Literal["auto"] = param("auto", AT_LEAST_1, AUTO)
    lr: float = 3e-3

    _EFFORT = 2000

    def _build_network(self) -> DeepClusterNetwork:
        n_components = self.n_components
        return DeepClusterNetwork(
            *self._build_encoder(),
            n_clusters=self.n_clusters,
            n_components=self.n_clusters if n_components == "auto" else n_components,
            n_pseudo_clusters=self.n_clusters * self.overclustering,
        )

    def _phases(self, network: DeepClusterNetwork, X: Samples) -> Iterator[Phase]:
        objective = DeepClusterObjective(len(X), self.n_clusters, self._augmentation())
        yield self._phase(objective, self._main_epochs(len(X)), "deepcluster")
