"""Semantic clustering by adopting nearest neighbours (SCAN)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from skdeepclust._distributed import gather
from skdeepclust._parameters import (
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    BELOW_1,
    NOT_NEGATIVE,
    POSITIVE,
    estimator,
    param,
)
from skdeepclust.base import ScalingMixin
from skdeepclust.cluster._base_neighbors import NeighborsMixin
from skdeepclust.cluster._base_prior import ClassPriorMixin
from skdeepclust.cluster._base_representation import BaseRepresentationClusterer
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluated, reestimate_batch_norm
from skdeepclust.losses import confident_cross_entropy, scan_loss
from skdeepclust.neighbors import draw_neighbors
from skdeepclust.networks import SCANNetwork
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.objective import (
    ClassPrior,
    CountingObjective,
    ManyHeadsObjective,
    Objective,
)
from skdeepclust.samples import Samples


class ClusteringObjective(Objective):
    """Base of the objectives that train g' and the heads."""

    def players(self, network: SCANNetwork) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of g' and of the heads."""
        return {"main": [*network.encoder.parameters(), *network.head.parameters()]}


class SCANObjective(ManyHeadsObjective, ClusteringObjective):
    """A sample and one of its neighbours have the same cluster, and clusters are alike in size.

    Parameters
    ----------
    X : Samples
    neighbors : Tensor of shape (n_samples, n_neighbors), int64
    augmentation : callable
    entropy_weight : float
    n_heads : int
    prior : ClassPrior
    """

    neighbors: Tensor

    def __init__(
        self,
        X: Samples,
        neighbors: Tensor,
        augmentation: Callable[[Tensor], Tensor],
        entropy_weight: float,
        n_heads: int,
        prior: ClassPrior,
    ) -> None:
        super().__init__(n_heads)
        self.X = X
        self.augmentation = augmentation
        self.entropy_weight = entropy_weight
        self.register_buffer("neighbors", neighbors)
        self.prior = prior

    def on_epoch_begin(self, network: SCANNetwork, X: Samples) -> None:
        """Forget the last epoch's losses; see to the prior."""
        super().on_epoch_begin(network, X)
        self.prior.next_epoch()

    def loss(self, network: SCANNetwork, x: Tensor, index: Tensor) -> Tensor:
        """Return the sum of the heads' losses."""
        neighbor = self.X[draw_neighbors(self.neighbors, index)]
        features = network.embed(self.augmentation(torch.cat([x, neighbor])))
        halves = network.head.all(features).chunk(2, 1)
        logits, neighbor_logits = (gather(half, 1) for half in halves)
        losses = scan_loss(logits, neighbor_logits, self.entropy_weight, self.prior.now)
        self.count_losses(losses, logits.shape[1])
        return losses.sum()


class SelfLabelObjective(ClusteringObjective, CountingObjective):
    """Strongly augmented samples get the cluster that the network gives them as they are.

    Parameters
    ----------
    augmentation : callable
    confidence : float
    """

    def __init__(self, augmentation: Callable[[Tensor], Tensor], confidence: float) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.confidence = confidence

    def loss(self, network: SCANNetwork, x: Tensor, index: Tensor) -> Tensor:
        """Return the cross-entropy of the confident samples."""
        with torch.no_grad():
            given = gather(network(x.clone()).float())  # it may work in place
        self.count(given.softmax(1).amax(1) > self.confidence)
        logits = gather(network(self.augmentation(x)))
        return confident_cross_entropy(logits, given, self.confidence)

    def epoch_metrics(self) -> dict[str, Tensor | float]:
        """Return the share of confident samples."""
        return {"confident": self.share()}


@estimator
class BaseSCAN(ClassPriorMixin, NeighborsMixin, BaseRepresentationClusterer):
    """What SCAN and ProFeat share: neighbours, heads and self-labelling.

    Parameters
    ----------
    n_neighbors : int
        Nearest neighbours of each sample, in the space of the projections, that it shares a cluster
        with. With fewer samples, all of them. In SCAN's code the sample itself is one more.
    n_heads : int
        Linear heads that are trained side by side on the same features; the one with the lowest
        training loss in the last epoch is kept. SCAN's code keeps the epoch and the head with the
        lowest loss on validation samples and their 5 nearest neighbours, with an entropy weight
        of 1.
    entropy_weight : float
        Weight of the entropy of the mean probabilities, which favours clusters of like size.
    self_label_epochs : int
        Passes over the samples with the clusters of confident samples as labels, each cluster
        weighted alike. At most 200 in the papers, 100 on STL-10 in SCAN's code, none there in
        ProFeat's paper. 0: no such step.
    self_label_batch_size : int
        Samples a step of it. 1,000 in the papers.
    self_label_lr : float
        Its learning rate.
    confidence : float in [0, 1)
        Probability above which a sample gets a label.
    """

    n_neighbors: int = param(20, AT_LEAST_1)
    n_heads: int = param(5, AT_LEAST_1)
    entropy_weight: float = param(5.0, NOT_NEGATIVE)
    self_label_epochs: int = param(20, AT_LEAST_0)
    self_label_batch_size: int = param(256, AT_LEAST_2)
    self_label_lr: float = param(1e-4, POSITIVE)
    confidence: float = param(0.99, BELOW_1)

    def _finalize(self, network: Any, X: Samples) -> None:  # a SCANNetwork; in ProFeat several
        if not self._is_precomputed():
            reestimate_batch_norm(network.representation, X)
        # g' apart: it may share its batch normalisation with g, and may not
        reestimate_batch_norm(ClusterNetwork(network.encoder, network.head), X)

    def _clustering_phases(self, model: SCANNetwork, X: Samples, name: str = "") -> Iterator[Phase]:
        """Yield SCAN's clustering step on the representation of `model`."""
        reestimate_batch_norm(model.representation, X)
        projections = evaluated(model.representation, X)
        # without the sample itself, which is one of them in the authors' code
        neighbors = self._nearest(projections, self.n_neighbors)
        model.start_clustering()
        strong = self._strong_views(X)
        objective = SCANObjective(
            X,
            neighbors,
            strong,
            self.entropy_weight,
            self.n_heads,
            self._prior(self.max_epochs),
        )
        # The head is that of the last epoch, on the training samples. The authors' code keeps the
        # epoch and the head with the lowest loss on validation samples, which there are none of.
        yield self._phase(objective, self.max_epochs, f"{name}scan", drop_last=True, network=model)
        if self.self_label_epochs:
            yield self._phase(
                SelfLabelObjective(strong, self.confidence),
                self.self_label_epochs,
                f"{name}self-labelling",
                batch_size=self.self_label_batch_size,
                lr=self.self_label_lr,
                network=model,
            )


@estimator
class SCANClustering(ScalingMixin, BaseSCAN):
    """Semantic clustering by adopting nearest neighbours (SCAN).

    A representation is learnt by contrast (:class:`SimCLR`) and the nearest neighbours of each
    sample are mined in it; then the network is trained to put a sample and its neighbours into one
    cluster, with confidence, and to use all clusters; at last its confident predictions become
    labels for strongly augmented samples [1]_.

    Parameters
    ----------
    max_epochs : int
        Passes over the samples with SCAN's loss. 50 in the paper on CIFAR-10.
    batch_size : int
        Samples a step of the clustering, each with a neighbour.
    lr : float
        Learning rate of the clustering. 1e-4 in the paper, for many more steps.
    optimizer : callable
        Called with the parameters and ``lr=``. The paper's has ``weight_decay=1e-4``.
    scaling : {"standard", "l2"} or None
        What is made of features, where `representation` is "precomputed"; of no effect elsewhere.
        "standard": each feature is centred and divided by its standard deviation over the training
        samples. "l2": each feature is centred, then each sample divided by its norm, so that the
        neighbours are those by cosines. None: all values are centred and scaled alike.

    Attributes
    ----------
    network_ : SCANNetwork
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` logits,
        ``network_.representation(x)`` projections.

    See Also
    --------
    ProFeatClustering : Refines the representation with the clusters, in rounds.
    SimCLR : The representation alone.

    Notes
    -----
    {{contrastive}}

    References
    ----------
    .. [1] Van Gansbeke et al. (2020). SCAN: Learning to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import SCANClustering, SimCLR
    >>> images = load_digits(n_class=3).images[:200]
    >>> scan = SCANClustering(3, representation=SimCLR(max_epochs=2), max_epochs=2, random_state=0)
    >>> scan.fit_predict(images).shape
    (200,)
    """

    def _takes_features(self) -> bool:
        return self._is_precomputed()

    def _build_network(self) -> SCANNetwork:
        representation, n_features = self._new_representation()
        return SCANNetwork(representation, n_features, self.n_clusters, self.n_heads)

    def _phases(self, network: SCANNetwork, X: Samples) -> Iterator[Phase]:
        if self._trains_representation():
            yield from self._representation()._phases(network.representation, X)
        yield from self._clustering_phases(network, X)

    def _planned_epochs(self, n_samples: int) -> int:
        return self._representation_epochs() + self.max_epochs + self.self_label_epochs
