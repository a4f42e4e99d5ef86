"""Deep clustering by a Gaussian mixture VAE with graph embedding (DGG)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from skdeepclust._parameters import AT_LEAST_1, POSITIVE, estimator, param
from skdeepclust.cluster._base_neighbors import NeighborsMixin
from skdeepclust.cluster._vade import VaDEClustering, VaDEObjective
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluated, reestimate_batch_norm
from skdeepclust.losses import clustered_kl, negative_elbo, siamese_loss
from skdeepclust.neighbors import draw_neighbors
from skdeepclust.networks import AutoencoderNetwork, GaussianMixtureHead
from skdeepclust.objective import Objective
from skdeepclust.samples import Samples

N_NEAREST = 2  # that count as similar in the siamese phase


class ClassifiedMixture(GaussianMixtureHead):
    """A mixture of Gaussians, and a layer that gives q(c | x) of the latents' means.

    Its weights are not trained: they are the clusters' shares of the samples.

    Parameters
    ----------
    n_features, n_clusters : int
    """

    def __init__(self, n_features: int, n_clusters: int) -> None:
        super().__init__(n_features, n_clusters)
        self.weight_logits.requires_grad_(False)
        self.classifier = nn.Linear(n_features, n_clusters)

    @torch.no_grad()
    def set_mixture(self, weights: Tensor, centers: Tensor, variances: Tensor) -> None:
        """Put a mixture in place, and let q(c | x) be its posterior, but with one variance."""
        super().set_mixture(weights, centers, variances)
        variance = weights @ variances.mean(1)
        self.classifier.weight.copy_(centers / variance)
        self.classifier.bias.copy_(weights.log() - centers.square().sum(1) / variance / 2)

    def forward(self, z: Tensor) -> Tensor:
        """Return logits of shape (n, n_clusters) for latents of shape (n, n_features)."""
        return self.classifier(z).float()


class SiameseObjective(Objective):
    """Neighbours in input space lie near each other, samples drawn at random far apart.

    Parameters
    ----------
    X : Samples
    neighbors : Tensor of shape (n_samples, n_neighbors), int64
    """

    neighbors: Tensor

    def __init__(self, X: Samples, neighbors: Tensor) -> None:
        super().__init__()
        self.X = X
        self.register_buffer("neighbors", neighbors)

    def loss(self, network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        near = self.X[draw_neighbors(self.neighbors, index)]
        other = self.X[torch.randint(len(self.X), (len(x),), device=x.device)]
        z = network(torch.cat([x, near, other])).flatten(1)
        return siamese_loss(*z.chunk(3))


class DGGObjective(VaDEObjective):
    """The ELBO of samples that are decoded from themselves and from their neighbours.

    Parameters
    ----------
    X : Samples
    neighbors : Tensor of shape (n_samples, n_neighbors), int64
    **kwargs
        Of VaDEObjective.
    """

    neighbors: Tensor

    def __init__(self, X: Samples, neighbors: Tensor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.X = X
        self.register_buffer("neighbors", neighbors)

    def loss(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> Tensor:
        n, n_neighbors = len(x), self.neighbors.shape[1]
        near = self.X[self.neighbors[index].flatten()]
        posterior, target = self.encode(network, torch.cat([x, near]))
        mean, log_variance = posterior
        assert log_variance is not None
        log_q = network.head(mean).log_softmax(1)
        decoded = network.decode(posterior.sample())
        # The authors' code has another pass in evaluation mode for that.
        own, of_near = log_q.detach().exp().split([n, n * n_neighbors])
        prior = (own + of_near.unflatten(0, (n, n_neighbors)).mean(1)) / 2
        _, centers, log_variances = network.head.mixture()
        # half the weight is the sample's own, each neighbour has an equal part of the rest
        halves = []
        for rows, times in (slice(n), 1), (slice(n, None), n_neighbors):
            log_prior = prior.clamp_min(1e-30).log().repeat_interleave(times, 0)
            divergence = clustered_kl(
                mean[rows], log_variance[rows], log_q[rows], log_prior, centers, log_variances
            )
            wanted = target[:n].repeat_interleave(times, 0)
            of_prior = divergence, self.kl_weight
            halves.append(negative_elbo(decoded[rows], wanted, *of_prior, network.value_range))
        return (halves[0] + halves[1]) / 2


@estimator
class DGGClustering(NeighborsMixin, VaDEClustering):
    """Gaussian mixture variational auto-encoder with graph embedding (DGG).

    VaDE on a graph: a siamese network finds each sample's neighbours, and the sample is decoded
    from them as well as from itself, while their clusters are drawn to the mean of all [1]_. A
    layer of its own gives the clusters' probabilities. A cluster can be drawn from, by
    :meth:`sample`.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each sample, drawn from its `n_candidates` nearest; a step costs one more than
        so many passes a sample. 20 in the paper.
    n_candidates : int
        Nearest samples in the siamese network's space; with fewer samples, all of them. 100 in the
        paper.
    siamese_epochs : int
        Passes over the samples in which the siamese network, a copy of the pretrained encoder,
        learns to keep the two nearest neighbours in input space near and random samples far. 300 in
        the authors' code.
    siamese_lr : float
        Learning rate of the siamese network. 1e-3 in the authors' code, with batches of 1,000.
    mixture_lr : float
        Learning rate of the mixture and of the layer that gives the clusters. None: `lr`, as in the
        paper.
    max_epochs : int
        Passes over the samples in the clustering phase. 300 in the authors' code on MNIST.
    screening : float in (0, 1]
        Share of the epochs after which only the best restart goes on; with the defaults, the end of
        the pretraining.

    See Also
    --------
    VaDEClustering : The same without neighbours.

    Notes
    -----
    The loss is that of the authors' code, where the paper has a divergence between the clusters'
    posteriors of neighbours. There the layer that gives the clusters first learns the labels of
    k-means; here it begins as the posterior of the mixture that EM finds, with one variance for all
    components. An epoch of the siamese network there has 4n pairs, two neighbours and two strangers
    of each sample, the strangers drawn once, in batches of 1,000, and a tenth of the learning rate
    after every 70 epochs; here one neighbour and one new stranger of each, in batches of
    `batch_size`, at a constant rate. In the clustering phase the rate ends at a tenth, there at
    0.047 after 300 epochs. The mixture has no weights of its own: :meth:`sample` takes the
    clusters' shares of the training samples. Other departures are those of :class:`VaDEClustering`.

    Neighbours are exact, at a cost that is quadratic in the number of samples. All samples are held
    as float32 for those in input space, whatever `memory_limit`, and neighbours are read one by one
    from data on disk.

    {{autoencoders}}
    Of single restarts in bf16 with random states 0 and 1, ACC is .84 and .82 with the defaults, and
    .83 and .83 with 2 neighbours; with 75 epochs and random state 0 .84.

    References
    ----------
    .. [1] Yang, Cheung, Li and Fang (2019). Deep Clustering by Gaussian Mixture Variational
       Autoencoders with Graph Embedding. ICCV.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DGGClustering
    >>> images = load_digits(n_class=3).images
    >>> dgg = DGGClustering(n_clusters=3, n_init=1, siamese_epochs=2, max_epochs=2, random_state=0)
    >>> dgg.fit(images).sample(4, cluster=2, random_state=0).shape
    (4, 8, 8)
    """

    n_neighbors: int = param(5, AT_LEAST_1)
    n_candidates: int = param(100, AT_LEAST_1)
    siamese_epochs: int = param(25, AT_LEAST_1)
    siamese_lr: float = param(1e-3, POSITIVE)
    max_epochs: int = 25
    screening: float = 0.33

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.n_neighbors > self.n_candidates:
            raise ValueError(
                f"n_neighbors must be at most n_candidates={self.n_candidates}, of which they are "
                f"drawn; got {self.n_neighbors}."
            )

    def _head(self, n_features: int) -> ClassifiedMixture:
        return ClassifiedMixture(n_features, self.n_clusters)

    def _pretraining(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        yield from super()._pretraining(network, X)
        neighbors = self._nearest(X[:].flatten(1), N_NEAREST)
        network.siamese = copy.deepcopy(network.encoder)
        objective = SiameseObjective(X, neighbors)
        settings = {"lr": self.siamese_lr, "lr_factor": None, "network": network.siamese}
        yield self._phase(objective, self.siamese_epochs, "siamese", **settings)

    def _clustering_objective(self, network: Any, X: Samples) -> Objective:
        self._make_variational(network)
        neighbors = self._neighbors(network.siamese, X)
        del network.siamese  # what it has learnt is in the neighbours
        return DGGObjective(X, neighbors, **self._of_objective())

    def _neighbors(self, siamese: nn.Module, X: Samples) -> Tensor:
        """Return the neighbours that are drawn for each sample."""
        reestimate_batch_norm(siamese, X)
        points = evaluated(siamese, X, lambda x: siamese(x).flatten(1))
        nearest = self._nearest(points, self.n_candidates)
        drawn = torch.rand(nearest.shape, device=nearest.device).argsort(1)
        return nearest.gather(1, drawn[:, : self.n_neighbors])

    def _finalize(self, network: AutoencoderNetwork, X: Samples) -> None:
        super()._finalize(network, X)
        shares = evaluated(network, X, lambda x: network(x).softmax(1)).mean(0)
        with torch.no_grad():
            network.head.weight_logits.copy_(shares.clamp_min(1e-30).log())

    def _planned_epochs(self, n_samples: int) -> int:
        return super()._planned_epochs(n_samples) + self.siamese_epochs
