"""Adversarially constrained interpolation (ACAI) and mixing consistent clustering (MCDC)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from skdeepclust._distributed import gather, own_share
from skdeepclust._parameters import AT_LEAST_1, NOT_NEGATIVE, POSITIVE, SHARE, estimator, param
from skdeepclust._sklearn import StrOptions
from skdeepclust._warnings import warn
from skdeepclust.cluster._base_autoencoder import (
    AutoencoderObjective,
    BaseLatentKMeans,
    GivenAutoencoderMixin,
    LatentPriorMixin,
)
from skdeepclust.cluster._dec import HardeningMixin
from skdeepclust.engine import Phase
from skdeepclust.losses import adversarial_loss, critic_loss, mixing_consistency, mixture
from skdeepclust.networks import AutoencoderNetwork
from skdeepclust.objective import Objective, Parameters, Step, frozen
from skdeepclust.samples import Samples


class MixingObjective(AutoencoderObjective):
    """An auto-encoder whose mixed latents decode to what a critic takes for unmixed.

    The network's critic estimates the share of a mixture.

    Parameters
    ----------
    adversarial_weight, consistency_weight, gamma : float
    **kwargs
        Of AutoencoderObjective.
    """

    def __init__(
        self,
        adversarial_weight: float,
        consistency_weight: float,
        gamma: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.adversarial_weight = adversarial_weight
        self.consistency_weight = consistency_weight
        self.gamma = gamma

    def players(self, network: AutoencoderNetwork) -> Mapping[str, Parameters]:
        assert network.critic is not None
        return {**super().players(network), "critic": list(network.critic.parameters())}

    def steps(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> Iterator[Step]:
        n = len(x)
        posterior, x = self.encode(network, x)
        code = posterior.sample()
        share = torch.rand(n, 1, device=x.device) / 2
        # of a variational one the means; the authors' code mixes the draws
        mixed = own_share(mixture(gather(posterior.mean), gather(share)))
        decoded = network.decode(torch.cat([code, mixed]))  # one pass for both
        decoded, decoded_mixture = decoded[:n], decoded[n:]

        # equation 6
        loss = self.reconstruction(network, decoded, x, posterior)
        loss = loss + self.clustering_loss(network, posterior, index)
        if self.consistency_weight:
            consistency = mixing_consistency(gather(decoded_mixture), gather(x))
            loss = loss + self.consistency_weight * consistency
        # the papers' 0.5 is beside errors of pixels: their variance divides it here
        assert network.critic is not None
        with frozen(network.critic.parameters()):  # of its gradients only those of its input
            estimate = network.estimate(decoded_mixture)
        loss = loss + self.adversarial_weight * adversarial_loss(estimate)
        yield "main", loss

        # equation 4, with the samples decoded before the step
        unmixed = self.gamma * x + (1 - self.gamma) * decoded.detach()
        estimates = network.estimate(torch.cat([decoded_mixture.detach(), unmixed]))
        yield "critic", critic_loss(estimates[:n], share.flatten(), estimates[n:])


@estimator
class BaseMixing(BaseLatentKMeans):
    """What ACAI and MCDC share.

    Parameters
    ----------
    adversarial_weight : float
        Weight lambda of the critic's squared estimate in the auto-encoder's loss (equation 6),
        beside squared errors in units of the samples' variance. The paper's 0.5 is beside errors
        of pixels in [0, 1], which is 5 (MNIST) to 13 (SVHN) in these units; in the clustering phase
        the authors' code has 1.0, twice as much.
    gamma : float in [0, 1]
        Share of the sample itself in the mixture with its reconstruction that the critic
        learns to call unmixed (equation 4).
    """

    adversarial_weight: float = param(5.0, NOT_NEGATIVE)
    gamma: float = param(0.2, SHARE)

    consistency_weight = 0.0  # that of ACAI

    def _build_network(self) -> AutoencoderNetwork:
        network = super()._build_network()
        if network.critic is None:  # that of a given auto-encoder goes on
            network.critic = self._new_encoder()  # the same layers as the encoder's
        return network

    def _objective(self, **kwargs: Any) -> Objective:
        return MixingObjective(
            self.adversarial_weight,
            self.consistency_weight,
            self.gamma,
            augmentation=self._augmentation(),
            **kwargs,
        )


@estimator
class ACAIClustering(BaseMixing):
    """Adversarially constrained auto-encoder interpolation (ACAI), then k-means on its latents.

    A critic learns to tell the share of each of two samples from what their mixed latents decode
    to; the auto-encoder is trained to make it see no mixture [1]_.

    Parameters
    ----------
    max_epochs : int
        Passes over the samples. 400 in the paper that it is compared in [2]_.
    lr : float
        Learning rate. 1e-4 in the papers.
    whiten : bool
        Whether the latents are whitened by PCA before k-means, as in [2]_.
    adversarial_weight : float
        Weight lambda of the critic's squared estimate in the auto-encoder's loss, beside squared
        errors in units of the samples' variance. Both papers have 0.5. In [1]_ it is beside errors
        of pixels in [-1, 1], which is 1.3 in these units on MNIST; in [2]_, which trained ACAI anew
        for its table, of pixels in [0, 1], which is 5 (MNIST) to 13 (SVHN).
    gamma : float in [0, 1]
        Share of the sample itself in the mixture with its reconstruction that the critic
        learns to call unmixed.

    See Also
    --------
    MCDCClustering : With a consistency term for the mixtures.

    Notes
    -----
    {{autoencoders}}

    References
    ----------
    .. [1] Berthelot et al. (2019). Understanding and Improving Interpolation in Autoencoders via
       an Adversarial Regularizer. ICLR.
    .. [2] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import ACAIClustering
    >>> images = load_digits().images[:200]
    >>> model = ACAIClustering(n_clusters=10, max_epochs=2, random_state=0).fit(images)
    >>> model.interpolate(images[:3], images[3:6], n_steps=5).shape
    (3, 5, 8, 8)
    """

    max_epochs: int = 30


@estimator
class MCDCClustering(HardeningMixin, GivenAutoencoderMixin, LatentPriorMixin, BaseMixing):
    """Mixing consistent deep clustering (MCDC).

    An auto-encoder is trained so that mixed latents of two samples decode to the sample that
    has the larger share, and so that a critic sees no mixture; this pushes clusters apart.
    k-means on the latents gives the clusters, or IDEC's fine-tuning [1]_.

    Parameters
    ----------
    base : {"ae", "vae", "idec"}
        What is trained: a plain auto-encoder (MCDC), a variational one, whose means are mixed
        (MCDC + VAE; the authors' code mixes draws from the posteriors, and maps what is decoded by
        2 sigmoid - 1), or a plain one and, after it, IDEC's clustering phase with the terms of MCDC
        kept (MCDC + IDEC).
    consistency_weight : float
        Weight of the mixing consistency (equation 7). 1 in the paper; 0 gives ACAI.
    kl_weight : float
        Weight of the divergence from the prior, only with ``base="vae"``.
    clustering_weight : float
        Weight of KL(P || Q), only with ``base="idec"``, like `finetune_epochs`,
        `finetune_lr`, `update_interval`, `tol` and `autoencoder`. 0.1 in the authors'
        code too, but of a mean over samples and clusters beside errors of pixels in [0, 1], which
        is 0.1 (MNIST) to 0.25 (SVHN) here.
    finetune_epochs : int
        Passes over the samples in the clustering phase, at most. The authors' code has 300 epochs
        before it and 400 in all, without an early end.
    finetune_lr : float
        Learning rate of the clustering phase. 1e-3 with AMSGrad in the authors' code, 1e-4 for the
        critic.
    max_epochs : int
        Passes over the samples, before the clustering phase. 400 in the paper.
    batch_size : int
        Samples a step. 64 in the paper; 1,024 on SVHN and 512 on CIFAR-10 in the authors' code.
    lr : float
        Learning rate. 1e-4 in the paper.
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters, then
        the one with the highest :meth:`score`. "auto": 1.
    whiten : bool
        Whether the latents are whitened by PCA before k-means. With ``base="idec"`` they are
        not, since the centres are trained with the latents.

    See Also
    --------
    ACAIClustering : Without the consistency term.

    Notes
    -----
    The critic goes on from the training to the clustering phase, as in the authors' code; that of a
    given `autoencoder`, too (where it has none, a warning says so, and a new one begins). But its
    optimiser begins anew; there its state goes on too. That code has a weight decay of 1e-5 in each
    Adam but that of the auto-encoder in the clustering phase, and 64 channels in the first block on
    SVHN and CIFAR-10 (16 on MNIST). It trains on the training part and reports the accuracy of the
    test part, with k-means fitted to the training part's latents.

    {{autoencoders}}

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import MCDCClustering
    >>> images = load_digits().images[:200]
    >>> model = MCDCClustering(n_clusters=10, max_epochs=2, random_state=0).fit(images)
    >>> model.interpolate(images[:3], images[3:6], n_steps=5).shape
    (3, 5, 8, 8)
    """

    base: str = param("ae", StrOptions({"ae", "vae", "idec"}))
    consistency_weight: float = param(1.0, NOT_NEGATIVE)
    kl_weight: float = param(0.02, NOT_NEGATIVE)
    clustering_weight: float = param(0.1, NOT_NEGATIVE)
    finetune_epochs: int = param(40, AT_LEAST_1)
    finetune_lr: float = param(1e-4, POSITIVE)
    max_epochs: int = 50
    whiten: bool = True

    def _is_variational(self) -> bool:
        return self.base == "vae"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.autoencoder is not None and self.base != "idec":
            raise ValueError(
                f"autoencoder takes the place of the training before base='idec'; got "
                f"autoencoder={self.autoencoder!r} with base={self.base!r}."
            )
        given = self._given_autoencoder()
        if given is not None and given.network_.critic is None:
            warn(
                f"autoencoder, a fitted {type(given).__name__}, was trained without a critic, so "
                "that the clustering phase begins with one that has learnt nothing; MCDCClustering "
                "and ACAIClustering have one."
            )

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        yield from super()._phases(network, X)
        if self.base == "idec":
            self._fit_head(network, X)
            network.head.is_learning = True
            term = self._hardening(X, self.clustering_weight)
            objective = self._objective(term=term)
            epochs, lr = self.finetune_epochs, self.finetune_lr
            yield self._phase(objective, epochs, "clustering", lr=lr)

    def _auto_n_init(self, n_samples: int) -> int:
        return 1

    def _trains_clusters(self) -> bool:
        return self.base == "idec"

    def _whitens(self) -> bool:
        return self.whiten and self.base != "idec"

    def _planned_epochs(self, n_samples: int) -> int:
        return super()._planned_epochs(n_samples) + self.finetune_epochs * (self.base == "idec")
