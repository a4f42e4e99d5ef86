"""Variational deep embedding (VaDE)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from torch import Tensor

from skdeepclust._parameters import NOT_NEGATIVE, POSITIVE, estimator, param
from skdeepclust.cluster._base_autoencoder import AutoencoderObjective, first_posterior
from skdeepclust.cluster._base_pretrain import BasePretrainThenCluster
from skdeepclust.engine import Phase
from skdeepclust.losses import gaussian_mixture_kl, negative_elbo
from skdeepclust.networks import AutoencoderNetwork, GaussianMixtureHead
from skdeepclust.objective import Objective, Parameters
from skdeepclust.samples import Samples

# The least variance of a component that is fitted to latents, as a share of theirs; the divergence
# of the first posteriors from a smaller one would be beyond all else.
VARIANCE_SHARE = 1e-3


def decayed(epoch: int) -> float:
    """Return the authors' factor of the learning rate: 0.9 for every 10 epochs, 0.1 at least."""
    return max(0.1, 0.9 ** (epoch // 10))


class VaDEObjective(AutoencoderObjective):
    """The ELBO with the mixture of the network's head as the prior.

    Parameters
    ----------
    mixture_lr : float
        Learning rate of the mixture.
    kl_weight : float
        Of the divergence from the mixture.
    **kwargs
        Of AutoencoderObjective.
    """

    def __init__(self, mixture_lr: float, kl_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mixture_lr = mixture_lr
        self.kl_weight = kl_weight

    def players(self, network: AutoencoderNetwork) -> Mapping[str, Parameters]:
        mixture = list(network.head.parameters())
        own = {id(p) for p in mixture}
        rest = [p for p in super().players(network)["main"] if id(p) not in own]
        groups: list[dict[str, Any]] = [{"params": rest}]
        return {"main": [*groups, {"params": mixture, "lr": self.mixture_lr}]}

    def loss(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> Tensor:
        posterior, x = self.encode(network, x)
        mean, log_variance = posterior
        assert log_variance is not None
        z = posterior.sample()  # one draw, for the decoder and for p(c | z)
        divergence = gaussian_mixture_kl(mean, log_variance, z, *network.head.mixture())
        decoded = network.decode(z)
        return negative_elbo(decoded, x, divergence, self.kl_weight, network.value_range)


@estimator
class VaDEClustering(BasePretrainThenCluster):
    """Variational deep embedding (VaDE).

    A variational auto-encoder whose prior is a mixture of Gaussians, one a cluster. An
    auto-encoder is pretrained and the mixture is fitted to its latents; then both are trained
    together on the evidence lower bound [1]_. A cluster can be drawn from, by :meth:`sample`.

    Parameters
    ----------
    kl_weight : float
        Weight of the divergence of the posteriors from the mixture beside the reconstruction. The
        loss is then the evidence lower bound with a Gaussian likelihood of this variance on
        standardised samples; with a large one clusters fall together. 1 in the paper, with
        ``likelihood="bernoulli"`` of `autoencoder`.
    mixture_lr : float
        Learning rate of the mixture. None: `lr`, as in the paper.
    max_epochs : int
        Passes over the samples in the clustering phase. 3,000 in the authors' code on MNIST.
    batch_size : int
        Samples a step. 100 in the paper.
    lr : float
        Learning rate of the clustering phase at its begin; every 10 epochs it is multiplied by
        0.9, down to a tenth. 2e-3 in the paper.

    See Also
    --------
    VAEClustering : N(0, I) as the prior, then k-means.

    Notes
    -----
    ``autoencoder=AutoencoderClustering(likelihood="bernoulli", augmentation=None)`` gives the
    likelihood that the paper has for MNIST, and its pretraining without augmentation. The paper
    pretrains layer by layer; here the auto-encoder is trained as a whole. Means and logarithms of
    the variances of the posteriors are linear functions of its latents, which the means are at
    first, with variances of 0.018 of the clusters' on average; in the paper they are functions of
    the layer before. EM starts at the clusters of k-means. In the released code the mixture's
    weights begin equal and are not normalised, so that they stay nearly equal; 1e-10 is added to
    each component's density; and the variances are trained in place of their logarithms. Samples
    are assigned by the means, p(c | mean), where the paper has the expectation over q(z | x) and
    the code one draw: on scikit-learn's digits 4 % of the labels differ between mean and draw.

    {{autoencoders}}
    For that, 50 epochs of one restart with random state 0: ACC .812, .825, .832, .838 and .678 with
    a `kl_weight` of .005, .02, .1, .3 and 1; of .02 and a `lr` of 2e-3 .819, or no augmentation
    .819; .827 with a Bernoulli likelihood and .2. With all defaults and random states 0 to 4, .826
    with .1 and .817 with .3, where a cluster was empty at the end of two of five.

    References
    ----------
    .. [1] Jiang, Zheng, Tan, Tang and Zhou (2017). Variational Deep Embedding: An Unsupervised and
       Generative Approach to Clustering. IJCAI.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import VaDEClustering
    >>> images = load_digits(n_class=3).images
    >>> vade = VaDEClustering(n_clusters=3, n_init=1, max_epochs=5, random_state=0).fit(images)
    >>> vade.sample(4, cluster=2, random_state=0).shape
    (4, 8, 8)
    """

    kl_weight: float = param(0.1, NOT_NEGATIVE)
    mixture_lr: float | None = param(None, None, POSITIVE)
    lr: float = 1e-3

    def _is_variational(self) -> bool:
        return True

    def _head(self, n_features: int) -> GaussianMixtureHead:
        return GaussianMixtureHead(n_features, self.n_clusters)

    def _fit_head(self, network: AutoencoderNetwork, X: Samples) -> None:
        """Fit the mixture to the latents by EM, from the clusters of k-means."""
        latents = self._latents(network, X)
        labels = self._k_means(latents).labels.cpu().numpy()
        members = np.eye(self.n_clusters)[labels]
        points = latents.cpu().double().numpy()
        floor = max(VARIANCE_SHARE * points.var(0).mean(), 1e-6)
        counts = members.sum(0).clip(1)
        means = members.T @ points / counts[:, None]
        variances = members.T @ (points - means[labels]) ** 2 / counts[:, None] + floor
        mixture = GaussianMixture(
            self.n_clusters,
            covariance_type="diag",
            reg_covar=floor,
            weights_init=counts / counts.sum(),
            means_init=means,
            precisions_init=1 / variances,
        )
        with warnings.catch_warnings():  # it is a start
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(points)
        found = mixture.weights_, mixture.means_, mixture.covariances_
        network.head.set_mixture(*(torch.from_numpy(a).float() for a in found))

    def _clustering_objective(self, network: AutoencoderNetwork, X: Samples) -> Objective:
        self._make_variational(network)
        return VaDEObjective(**self._of_objective())

    @torch.no_grad()
    def _make_variational(self, network: AutoencoderNetwork) -> None:
        """Give the network posteriors whose means are the latents, if it has none."""
        if network.posterior is None:
            log_weights, _, log_variances = network.head.mixture()
            variance = log_weights.exp() @ log_variances.exp()  # of the clusters, on average
            posterior = first_posterior(network.head.n_features, variance.cpu())
            network.posterior = posterior.to(log_weights.device)
        network.kl_weight = 0.0  # whoever takes it over has another prior

    def _of_objective(self) -> dict[str, Any]:
        """Return the parameters of VaDE's objective."""
        return {
            "mixture_lr": self.lr if self.mixture_lr is None else self.mixture_lr,
            "augmentation": self._augmentation(),
            "kl_weight": self.kl_weight,
        }

    def _phase(self, *args: Any, **settings: Any) -> Phase:
        return super()._phase(*args, **{"lr_factor": decayed, **settings})

    def sample(
        self, n_samples: int = 1, *, cluster: int | None = None, random_state: Any = None
    ) -> np.ndarray:
        """Draw samples from the generative model: decoded draws from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
        cluster : int, default=None
            The cluster that all are drawn from, in [0, n_clusters). None: from each with its
            weight.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, ...), float32 or float64
            Samples in the layout and units that `fit` got; float64 where float32 would round them.
        """
        random_state = check_random_state(random_state)
        noise = self._noise(n_samples, random_state)
        mixture = (part.detach().cpu().double().numpy() for part in self.network_.head.mixture())
        log_weights, centers, log_variances = mixture
        self._check_cluster(cluster)
        chosen: Any = cluster
        if cluster is None:
            weights = np.exp(log_weights)
            chosen = random_state.choice(len(centers), n_samples, p=weights / weights.sum())
        return self._decoded(centers[chosen] + np.exp(log_variances[chosen] / 2) * noise)
