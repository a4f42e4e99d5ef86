"""Associative deep clustering (ADC)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._parameters import AT_LEAST_1, NOT_NEGATIVE, estimator, param
from skdeepclust.cluster._base_augmented import BaseAugmentedClusterer
from skdeepclust.cluster._latents import k_means_of
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluated, reestimate_batch_norm
from skdeepclust.losses import association_loss
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.objective import Objective, gather
from skdeepclust.samples import Samples

NORM = 3.0  # that embeddings and centres are drawn to
SPREAD = 1e-4  # of the centres of a cluster around that of k-means


class AssociationHead(nn.Module):
    """A linear classifier of embeddings, and centres of clusters among them that it learns from.

    Parameters
    ----------
    n_features, n_components, n_clusters, n_centers : int
    """

    groups: Tensor

    def __init__(self, n_features: int, n_components: int, n_clusters: int, n_centers: int) -> None:
        super().__init__()
        self.n_centers = n_centers
        self.embedding = nn.Linear(n_features, n_components)
        self.classifier = nn.Linear(n_components, n_clusters)
        self.centers = nn.Parameter(torch.zeros(n_clusters * n_centers, n_components))
        self.register_buffer("groups", torch.arange(n_clusters).repeat_interleave(n_centers))

    @torch.no_grad()
    def set_centers(self, centers: Tensor) -> None:
        """Put the centres of a cluster near the one given."""
        near = centers.cpu().repeat_interleave(self.n_centers, 0)
        same = torch.Generator().manual_seed(0)  # in all processes, however many there are
        self.centers.copy_(near + SPREAD * (2 * torch.rand(near.shape, generator=same) - 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits of shape (n, n_clusters)."""
        return self.classifier(self.embedding(features))


class ADCNetwork(ClusterNetwork):
    """An encoder with an :class:`AssociationHead`."""

    head: AssociationHead

    def embedding(self, x: Tensor) -> Tensor:
        """Return where the walkers walk, of shape (n, n_components)."""
        return self.head.embedding(self.embed(x))


class AssociationObjective(Objective):
    """Walks from augmented copies to the samples and back, and from centres to samples and back.

    Parameters
    ----------
    augmentation : callable
    n_copies : int
        Of each sample.
    copies_weight, centers_weight : float
        Of the two walks. Where `centers_weight` is 0 there are no centres yet.
    visit_weight, logit_weight, norm_weight : float
    """

    def __init__(
        self,
        augmentation: Callable[[Tensor], Tensor],
        n_copies: int,
        copies_weight: float,
        centers_weight: float,
        visit_weight: float,
        logit_weight: float,
        norm_weight: float,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.n_copies = n_copies
        self.copies_weight, self.centers_weight = copies_weight, centers_weight
        self.visit_weight, self.logit_weight = visit_weight, logit_weight
        self.norm_weight = norm_weight

    def loss(self, network: ADCNetwork, x: Tensor, index: Tensor) -> Tensor:
        copies = self.augmentation(x.repeat(self.n_copies, *[1] * (x.ndim - 1)))
        embeddings = network.embedding(torch.cat([x, copies])).unflatten(0, (self.n_copies + 1, -1))
        z, *of_copies = gather(embeddings.float(), 1)
        own = torch.arange(len(z), device=z.device).repeat(self.n_copies)
        z_copies = torch.cat(of_copies)
        total = self.copies_weight * association_loss(z_copies, z, own)
        total = total + self.norm_weight * norm_penalty(torch.cat([z, z_copies]))
        if self.centers_weight:
            head = network.head
            walk = association_loss(head.centers, z, head.groups, self.visit_weight)
            total = total + self.centers_weight * walk
            total = total + self.logit_weight * F.cross_entropy(
                head.classifier(head.centers), head.groups
            )
            total = total + self.norm_weight / 2 * norm_penalty(head.centers)
        return total


def norm_penalty(z: Tensor) -> Tensor:
    """Return the mean squared distance of the norms from theirs."""
    return (z.float().norm(dim=1) - NORM).square().mean()


@estimator
class ADCClustering(BaseAugmentedClusterer):
    """Associative deep clustering (ADC).

    A walker steps from an augmented copy of a sample to one of the samples of a batch, likely to
    one with a similar embedding, and back to a copy: it should arrive at one of the same sample.
    Centres of the clusters live among the embeddings, a few for each cluster; a walker from a
    centre to a sample and back should arrive at a centre of the same cluster, and visit all samples
    alike. A linear classifier learns the clusters from the centres alone, and predicts [1]_.

    The copies walk alone at first; then k-means on the embeddings places the centres.

    Parameters
    ----------
    n_centers : int
        Centres of each cluster.
    n_copies : int
        Augmented copies of each sample in a batch.
    n_components : int
        Size of the embedding, which is linear in the features of the encoder.
    visit_weight : float
        Weight of the visits of samples, all with the same probability, beside the walks from the
        centres and back. The walks of the copies have 1.
    copies_weight : float
        Weight of the walks of the copies once there are centres; before, it is 1.
    logit_weight : float
        Weight of the classifier's cross-entropy on the centres.
    norm_weight : float
        Weight of the mean squared distance of the embeddings' norms from 3, and half of it for the
        centres. It keeps the walks from becoming certain too soon.
    warmup_epochs : int
        Passes over the samples before there are centres.
    max_epochs : int or "auto"
        Passes over the samples after that. "auto": 2,000 by the root of the number of samples (48
        for 1,797 samples, 20 for 10,000, 8 for 70,000), so that more samples get more steps.
    batch_size : int
        Samples a step, each with its copies. Of ten clusters or more a batch should hold several
        samples each: all samples of a batch should be visited alike.
    lr : float
        Learning rate.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network: ``network_.embed(x)`` gives features, ``network_.embedding(x)`` where
        the walkers walk, ``network_(x)`` logits, and ``network_.head.centers`` are the centres.

    See Also
    --------
    IICClustering : The clusters of copies in place of walks among them.
    TripletClustering : Copies nearer than others, by a margin.

    Notes
    -----
    Facts are from the authors' code, which has two ways to begin; the centres of k-means are that
    of its example for MNIST. It draws the learning rate up over the first 2,000 steps and divides
    it by three every 5,000; here it is constant. Its decay of all weights
    and its dropout are left out, as is the ELU after the embedding; in the warm-up it trains the
    classifier and shrinks the centres, too, before they are those of k-means. Its k-means is on the
    embeddings of the test images, and its input is (x - 128) / 128. Its penalties of the norms are
    sums, with weights of 0.0002 and, of the centres, 0.001: the means here have the same weight
    with batches of 100, 3 copies and 40 centres alone.

    The defaults were chosen on scikit-learn's 1,797 digits, with their labels in sight: in one
    run each, ACC is 0.66 with 30 epochs of warm-up, 0.84 with 10, 0.89 with 3 and 0.93 with 1; with
    10 and a `copies_weight` of 1 it is 0.83. Nothing else was tried. Over five random states it is
    0.96. The authors' settings are in ``benchmarks/tables/baselines.py``.

    References
    ----------
    .. [1] Haeusser, Plapp, Golkov, Aljalbout and Cremers (2018). Associative Deep Clustering:
       Training a Classification Network with no Labels. GCPR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import ADCClustering
    >>> images = load_digits().images[:200]
    >>> model = ADCClustering(n_clusters=3, max_epochs=5, random_state=0)
    >>> model.fit_predict(images).shape
    (200,)
    """

    n_centers: int = param(4, AT_LEAST_1)
    n_copies: int = param(3, AT_LEAST_1)
    n_components: int = param(128, AT_LEAST_1)
    visit_weight: float = param(1.0, NOT_NEGATIVE)
    logit_weight: float = param(0.5, NOT_NEGATIVE)
    norm_weight: float = param(0.08, NOT_NEGATIVE)
    copies_weight: float = param(0.2, NOT_NEGATIVE)
    warmup_epochs: int = param(1, AT_LEAST_1)
    batch_size: int = 100
    lr: float = 1e-3

    _EFFORT = 2000

    def _build_network(self) -> ADCNetwork:
        encoder, n_features = self._build_encoder()
        head = AssociationHead(n_features, self.n_components, self.n_clusters, self.n_centers)
        return ADCNetwork(encoder, head)

    def _planned_epochs(self, n_samples: int) -> int:
        return self.warmup_epochs + self._main_epochs(n_samples)

    def _objective(self, copies_weight: float, centers_weight: float) -> AssociationObjective:
        return AssociationObjective(
            self._augmentation(), self.n_copies, copies_weight, centers_weight,
            self.visit_weight, self.logit_weight, self.norm_weight,
        )  # fmt: skip

    def _phases(self, network: ADCNetwork, X: Samples) -> Iterator[Phase]:
        yield self._phase(self._objective(1.0, 0.0), self.warmup_epochs, "copies")
        reestimate_batch_norm(network, X, network.embed)
        z = evaluated(network, X, network.embedding)
        network.head.set_centers(k_means_of(z, self.n_clusters, n_init=10).centers)
        objective = self._objective(self.copies_weight, 1.0)
        yield self._phase(objective, self._main_epochs(len(X)), "adc")
