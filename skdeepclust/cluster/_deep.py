"""The default of the package: neighbours in input space, augmentation, and many small heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from skdeepclust._distributed import gather
from skdeepclust._parameters import AT_LEAST_0, AT_LEAST_1, NOT_NEGATIVE, estimator, param
from skdeepclust._training._selection import NeighborCriterion, merge_clusters
from skdeepclust.base import OpenNClustersMixin
from skdeepclust.cluster._base_augmented import AUTO
from skdeepclust.cluster._base_neighbors import NeighborsMixin
from skdeepclust.cluster._base_overclustering import BaseOverclusterer, MergingNetwork
from skdeepclust.engine import Phase, cosine_to
from skdeepclust.inference import evaluated, reestimate_batch_norm
from skdeepclust.losses import scan_loss
from skdeepclust.neighbors import draw_neighbors
from skdeepclust.networks import MergingHead
from skdeepclust.objective import ClassPrior, ManyHeadsObjective
from skdeepclust.samples import Samples

SMALL, SMALL_N_INIT = 1000, 5  # so few differ from start to start
REFINEMENT_LR = 0.5  # of the learning rate: what was found is kept


class NeighborObjective(ManyHeadsObjective):
    """Two copies of a sample and one of a neighbour have one cluster; clusters are alike in size.

    Until a head is chosen, that of `n_clusters` outputs with the lowest loss predicts.

    Parameters
    ----------
    X : Samples
    neighbors : Tensor of shape (n_samples, n_neighbors), int64
    augmentation : callable
    n_heads : int
        Of each kind.
    entropy_weight : float
    prior : ClassPrior
        Of heads of `n_clusters` outputs.
    """

    neighbors: Tensor

    def __init__(
        self,
        X: Samples,
        neighbors: Tensor,
        augmentation: Callable[[Tensor], Tensor],
        n_heads: int,
        entropy_weight: float,
        prior: ClassPrior,
    ) -> None:
        super().__init__(n_heads)
        self.X = X
        self.augmentation = augmentation
        self.entropy_weight = entropy_weight
        self.register_buffer("neighbors", neighbors)
        self.prior = prior

    def on_epoch_begin(self, network: MergingNetwork, X: Samples) -> None:
        """Forget the last epoch's losses; see to the prior."""
        super().on_epoch_begin(network, X)
        self.prior.next_epoch()

    def logits(self, head: MergingHead, features: Tensor) -> list[Tensor]:
        """Return the logits that are trained, by kind, of shape (n_heads, n, n_outputs)."""
        return head.all(features)

    def loss(self, network: MergingNetwork, x: Tensor, index: Tensor) -> Tensor:
        """Return the sum of the heads' losses."""
        neighbor = self.X[draw_neighbors(self.neighbors, index)]
        features = network.embed(self.augmentation(torch.cat([x, x, neighbor])))
        total = torch.zeros((), device=x.device)
        for number, logits in enumerate(self.logits(network.head, features)):
            prior = self.prior.now if number == 0 else None  # the larger heads come second
            first, copy, near = (gather(part, -2) for part in logits.chunk(3, -2))
            losses = [scan_loss(first, x, self.entropy_weight, prior) for x in (copy, near)]
            total = total + losses[0].sum() + losses[1].sum()
            if number == 0:
                self.count_losses(losses[0] + losses[1], first.shape[-2])
        return total


class RefinementObjective(NeighborObjective):
    """The same of the head that was chosen alone."""

    def logits(self, head: MergingHead, features: Tensor) -> list[Tensor]:
        """Return the logits of that head."""
        return [head(features)[None]]

    def after_step(self, network: MergingNetwork, x: Tensor, index: Tensor) -> None:
        """Let it be the one that it is."""


@estimator
class DeepClustering(OpenNClustersMixin, NeighborsMixin, BaseOverclusterer):
    """Deep clustering by neighbours in input space: the one to begin with.

    A small network is trained to give two augmented copies of a sample, and a copy of one of its
    nearest neighbours, the same cluster, with SCAN's loss [1]_ but without a representation that
    is learnt first. It has several heads of `n_clusters` outputs, which favour clusters of like
    size, and several with more outputs than that, whose clusters are merged afterwards: the two
    that lose least of the mutual information between a sample's cluster and its neighbours' are
    joined, again and again [2]_; these find clusters of unequal size. The head with the most
    neighbour information, as in :meth:`score`, is kept and refined with little weight on the sizes.

    Parameters
    ----------
    n_neighbors : int
        Nearest neighbours of each sample in input space, one of which is drawn at each step. With
        fewer samples, all of them.
    overclustering : int
        Outputs of the heads whose clusters are merged, in multiples of `n_clusters`. 1: only heads
        of `n_clusters` outputs.
    entropy_weight : float
        Weight of the entropy of the mean probabilities, which favours clusters of like size.
    refinement_epochs : int or "auto"
        Passes over the samples with the head that was kept, at half the learning rate. "auto": a
        fifth of those before.
    refinement_entropy_weight : float
        Weight of the entropy in these: small, since the clusters are found by then.
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters, then
        the one with the highest :meth:`score`. "auto": 5 for up to 1,000 samples, else 1.
    max_epochs : int or "auto"
        Passes over the samples with all heads. "auto": 2,000 by the root of the number of samples
        (48 for 1,797 samples, 20 for 10,000, 8 for 70,000), so that more samples get more steps.
    batch_size : int
        Samples a step, each with a second copy and a neighbour. It should be several times the
        number of outputs of the largest head, `n_clusters` x `overclustering`.
    lr : float
        Learning rate at first. It falls to 0 along half a cosine, and from half its value in the
        refinement.

    See Also
    --------
    SCANClustering : Neighbours in a representation that is learnt by contrast.

    Notes
    -----
    The combination is our own. All defaults were chosen on scikit-learn's digits and 10,000 images
    of MNIST, with their labels in sight, and on versions of both with classes of unequal size;
    `n_init` on mixtures of normal distributions. Data that were only measured are USPS,
    Fashion-MNIST and silhouettes of animals (the README's table). Where
    classes are of very unequal size, a small and scattered one may be merged into another.
    Neighbours of pixels say little on photographs: give features there, or use
    :class:`SCANClustering`. The neighbours are exact unless `neighbors` is given, at a cost that is
    quadratic in the number of samples: under a minute for 70,000 images of 28x28 on two cores; and
    all samples are held as float32 for them, whatever `memory_limit`. Merging is cubic in the
    number of outputs: a second a head for 100 clusters, minutes from 500 on; ``overclustering=1``
    has none.

    References
    ----------
    .. [1] Van Gansbeke et al. (2020). SCAN: Learning to Classify Images without Labels. ECCV.
    .. [2] Slonim and Tishby (1999). Agglomerative Information Bottleneck. NIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DeepClustering
    >>> images = load_digits().images[:200]
    >>> DeepClustering(n_clusters=3, max_epochs=5, random_state=0).fit_predict(images).shape
    (200,)
    """

    n_neighbors: int = param(5, AT_LEAST_1)
    entropy_weight: float = param(5.0, NOT_NEGATIVE)
    refinement_epochs: int | Literal["auto"] = param("auto", AT_LEAST_0, AUTO)
    refinement_entropy_weight: float = param(1.0, NOT_NEGATIVE)

    _EFFORT = 2000

    def _auto_n_init(self, n_samples: int) -> int:
        return SMALL_N_INIT if n_samples <= SMALL else 1

    def _epochs(self, n_samples: int) -> tuple[int, int]:
        """Return the epochs with all heads and with the one that was kept."""
        first = self._main_epochs(n_samples)
        refinement = self.refinement_epochs
        return first, math.ceil(first / 5) if refinement == "auto" else refinement

    def _planned_epochs(self, n_samples: int) -> int:
        return sum(self._epochs(n_samples))

    def _phases(self, network: MergingNetwork, X: Samples) -> Iterator[Phase]:
        neighbors = self._nearest(X[:].flatten(1), self.n_neighbors)
        max_epochs, refinement_epochs = self._epochs(len(X))

        def phase(
            name: str,
            objective: type[NeighborObjective],
            n_heads: int,
            max_epochs: int,
            entropy_weight: float,
            scale: float = 1.0,
            start: float = 0.5,
        ) -> Phase:
            decay = cosine_to(0.0, max_epochs)
            return self._phase(
                objective(
                    X,
                    neighbors,
                    self._augmentation(),
                    n_heads,
                    entropy_weight,
                    self._prior(max_epochs, start),
                ),
                max_epochs,
                name,
                lr_factor=lambda epoch: scale * decay(epoch),
                drop_last=True,
            )

        yield phase("neighbours", NeighborObjective, self.n_heads, max_epochs, self.entropy_weight)
        self._choose_head(network, X, neighbors)
        if refinement_epochs:
            yield phase(
                "refinement",
                RefinementObjective,
                1,
                refinement_epochs,
                self.refinement_entropy_weight,
                REFINEMENT_LR,
                start=0.0,  # clusters are found by then
            )

    def _choose_head(self, network: MergingNetwork, X: Samples, neighbors: Tensor) -> None:
        """Keep the head that follows the neighbours best, merged where it has too many clusters."""
        reestimate_batch_norm(network, X)
        features = evaluated(network, X, network.embed)
        head, criterion = network.head, NeighborCriterion(X)
        best = -1.0
        with torch.no_grad():
            for number, (logits, is_over) in enumerate(head.each(features)):
                p = logits.softmax(1)
                groups = torch.arange(self.n_clusters)
                if is_over:
                    own = p.cpu().double()  # MPS has none
                    joint = np.sum([(own.T @ own[near]).numpy() for near in neighbors.cpu().T], 0)
                    groups = merge_clusters(joint, self.n_clusters)
                merged = p.new_zeros(len(p), self.n_clusters)
                merged.index_add_(1, groups.to(p.device), p)
                if (score := criterion(merged.cpu().numpy())) > best:
                    best = score
                    head.choose(number, groups)
