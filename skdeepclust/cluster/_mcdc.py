"""Adversarially constrained interpolation (ACAI) and mixing consistent clustering (MCDC)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor, nn

from skdeepclust._docs import shared_docs
from skdeepclust.cluster._autoencoder import (
    AutoencoderObjective,
    _BaseLatentKMeans,
)
from skdeepclust.cluster._dec import hardening_term
from skdeepclust.engine import Phase
from skdeepclust.losses import adversarial_loss, critic_loss, mixing_consistency, mixture
from skdeepclust.networks import AutoencoderNetwork
from skdeepclust.objective import Objective, Step
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

    def players(self, network: nn.Module) -> Mapping[str, Sequence[nn.Parameter]]:
        return {**super().players(network), "critic": list(network.critic.parameters())}

    def steps(self, network: nn.Module, x: Tensor, index: Tensor) -> Iterator[Step]:
        n = len(x)
        posterior = self.encode(network, x)
        code = posterior.sample()
        share = torch.rand(n, 1, device=x.device) / 2
        # of a variational one the means; the authors' code mixes the draws
        mixed = mixture(posterior.mean, share)
        decoded = network.decode(torch.cat([code, mixed]))  # one pass for both
        reconstruction, decoded_mixture = decoded[:n], decoded[n:]

        # equation 6
        loss = self.reconstruction(reconstruction, x, posterior)
        loss = loss + self.clustering_loss(network, posterior, index)
        if self.consistency_weight:
            consistency = mixing_consistency(decoded_mixture, x)
            loss = loss + self.consistency_weight * consistency
        # the papers' 0.5 is beside errors of pixels: their variance divides it here
        network.critic.requires_grad_(False)  # of its gradients only those of its input
        estimate = network.estimate(decoded_mixture)
        loss = loss + self.adversarial_weight * adversarial_loss(estimate)
        network.critic.requires_grad_(True)
        yield "main", loss

        # equation 4, with the samples decoded before the step
        unmixed = self.gamma * x + (1 - self.gamma) * reconstruction.detach()
        estimates = network.estimate(torch.cat([decoded_mixture.detach(), unmixed]))
        yield "critic", critic_loss(estimates[:n], share.flatten(), estimates[n:])


class _BaseMixing(_BaseLatentKMeans):
    """What ACAI and MCDC share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseLatentKMeans._parameter_constraints,
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, 1, closed="both")],
    }

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


@shared_docs
class ACAIClustering(_BaseMixing):
    """Adversarially constrained auto-encoder interpolation (ACAI), then k-means on its latents.

    A critic learns to tell the share of each of two samples from what their mixed latents decode
    to; the auto-encoder is trained to make it see no mixture [1]_.

    Parameters
    ----------
    {{n_clusters}}
    adversarial_weight : float, default=5.0
        Weight lambda of the critic's squared estimate in the auto-encoder's loss, beside squared
        errors in units of the samples' variance. Both papers have 0.5. In [1]_ it is beside errors
        of pixels in [-1, 1], which is 1.3 in these units on MNIST; in [2]_, which trained ACAI anew
        for its table, of pixels in [0, 1], which is 5 (MNIST) to 13 (SVHN).
    gamma : float in [0, 1], default=0.2
        Share of the sample itself in the mixture with its reconstruction that the critic
        learns to call unmixed.
    {{network}}
    {{augmentation}}
    whiten : bool, default=False
        Whether the latents are whitened by PCA before k-means, as in [2]_.
    {{kmeans}}
    {{four_restarts}}
    max_epochs : int, default=30
        Passes over the samples. 400 in the paper that it is compared in [2]_.
    batch_size : int, default=64
        Samples a step.
    lr : float, default=2e-3
        Learning rate. 1e-4 in the papers.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    MCDCClustering : With a consistency term for the mixtures.

    Notes
    -----
    {{chosen}}

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

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        adversarial_weight: float = 5.0,
        gamma: float = 0.2,
        network: Callable[..., Any] | None = None,
        decoder: Callable[..., Any] | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        whiten: bool = False,
        kmeans_n_init: int = 100,
        n_init: int | str = "auto",
        screening: float = 1.0,
        max_epochs: int = 30,
        batch_size: int = 64,
        lr: float = 2e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.adversarial_weight = adversarial_weight
        self.gamma = gamma
        self.network = network
        self.decoder = decoder
        self.hidden_sizes = hidden_sizes
        self.latent_size = latent_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.whiten = whiten
        self.kmeans_n_init = kmeans_n_init
        self.n_init = n_init
        self.screening = screening
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state


@shared_docs
class MCDCClustering(_BaseMixing):
    """Mixing consistent deep clustering (MCDC).

    An auto-encoder is trained so that mixed latents of two samples decode to the sample that
    has the larger share, and so that a critic sees no mixture; this pushes clusters apart.
    k-means on the latents gives the clusters, or IDEC's fine-tuning [1]_.

    Parameters
    ----------
    {{n_clusters}}
    base : {"ae", "vae", "idec"}, default="ae"
        What is trained: a plain auto-encoder (MCDC), a variational one, whose means are mixed
        (MCDC + VAE; the authors' code mixes draws from the posteriors, and maps what is decoded by
        2 sigmoid - 1), or a plain one and, after it, IDEC's clustering phase with the terms of MCDC
        kept (MCDC + IDEC).
    adversarial_weight : float, default=5.0
        Weight lambda of the critic's squared estimate in the auto-encoder's loss (equation 6),
        beside squared errors in units of the samples' variance. The paper's 0.5 is beside errors
        of pixels in [0, 1], which is 5 (MNIST) to 13 (SVHN) in these units; in the clustering phase
        the authors' code has 1.0, twice as much.
    consistency_weight : float, default=1.0
        Weight of the mixing consistency (equation 7). 1 in the paper; 0 gives ACAI.
    gamma : float in [0, 1], default=0.2
        Share of the sample itself in the mixture with its reconstruction that the critic
        learns to call unmixed (equation 4).
    kl_weight : float, default=0.02
        Weight of the divergence from the prior, only with ``base="vae"``.
    clustering_weight : float, default=0.1
        Weight of KL(P || Q), only with ``base="idec"``, like the next five. 0.1 in the authors'
        code too, but of a mean over samples and clusters beside errors of pixels in [0, 1], which
        is 0.1 (MNIST) to 0.25 (SVHN) here.
    finetune_epochs : int, default=40
        Passes over the samples in the clustering phase, at most. The authors' code has 300 epochs
        before it and 400 in all, without an early end.
    finetune_lr : float, default=1e-4
        Learning rate of the clustering phase. 1e-3 with AMSGrad in the authors' code, 1e-4 for the
        critic.
    {{hardening}}
    {{autoencoder}}
    {{network}}
    {{augmentation}}
    whiten : bool, default=True
        Whether the latents are whitened by PCA before k-means. With ``base="idec"`` they are
        not, since the centres are trained with the latents.
    {{kmeans}}
    {{restarts}}
    max_epochs : int, default=50
        Passes over the samples, before the clustering phase. 400 in the paper.
    batch_size : int, default=64
        Samples a step. 64 in the paper; 1,024 on SVHN and 512 on CIFAR-10 in the authors' code.
    lr : float, default=2e-3
        Learning rate. 1e-4 in the paper.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    ACAIClustering : Without the consistency term.

    Notes
    -----
    The critic goes on from the training to the clustering phase, as in the authors' code, but its
    optimiser begins anew; there its state goes on too. That code has a weight decay of 1e-5 in each
    Adam but that of the auto-encoder in the clustering phase, and 64 channels in the first block on
    SVHN and CIFAR-10 (16 on MNIST). It trains on the training part and reports the accuracy of the
    test part, with k-means fitted to the training part's latents.

    {{chosen}}

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseMixing._parameter_constraints,
        "base": [StrOptions({"ae", "vae", "idec"})],
        "consistency_weight": [Interval(Real, 0, None, closed="left")],
        "kl_weight": [Interval(Real, 0, None, closed="left")],
        "clustering_weight": [Interval(Real, 0, None, closed="left")],
        "finetune_epochs": [Interval(Integral, 1, None, closed="left")],
        "finetune_lr": [Interval(Real, 0, None, closed="neither")],
        "update_interval": [None, Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="both")],
        "autoencoder": [None, HasMethods(["fit", "inverse_transform"])],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        base: str = "ae",
        adversarial_weight: float = 5.0,
        consistency_weight: float = 1.0,
        gamma: float = 0.2,
        kl_weight: float = 0.02,
        clustering_weight: float = 0.1,
        finetune_epochs: int = 40,
        finetune_lr: float = 1e-4,
        update_interval: int | None = None,
        tol: float = 1e-3,
        autoencoder: Any = None,
        network: Callable[..., Any] | None = None,
        decoder: Callable[..., Any] | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        whiten: bool = True,
        kmeans_n_init: int = 100,
        n_init: int | str = "auto",
        screening: float = 1.0,
        max_epochs: int = 50,
        batch_size: int = 64,
        lr: float = 2e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.base = base
        self.adversarial_weight = adversarial_weight
        self.consistency_weight = consistency_weight
        self.gamma = gamma
        self.kl_weight = kl_weight
        self.clustering_weight = clustering_weight
        self.finetune_epochs = finetune_epochs
        self.finetune_lr = finetune_lr
        self.update_interval = update_interval
        self.tol = tol
        self.autoencoder = autoencoder
        self.network = network
        self.decoder = decoder
        self.hidden_sizes = hidden_sizes
        self.latent_size = latent_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.whiten = whiten
        self.kmeans_n_init = kmeans_n_init
        self.n_init = n_init
        self.screening = screening
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _is_variational(self) -> bool:
        return self.base == "vae"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.autoencoder is not None and self.base != "idec":
            raise ValueError(
                f"autoencoder takes the place of the training before base='idec'; got "
                f"autoencoder={self.autoencoder!r} with base={self.base!r}."
            )

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        yield from super()._phases(network, X)
        if self.base == "idec":
            self._fit_head(network, X)
            network.head.is_learning = True
            term = hardening_term(self, X, self.clustering_weight)
            objective = self._objective(term=term)
            yield self._phase(objective, self.finetune_epochs, "clustering", self.finetune_lr)

    def _objective(self, **kwargs: Any) -> Objective:
        return super()._objective(kl_weight=self.kl_weight, **kwargs)

    def _resolved_n_init(self) -> int:
        return 1 if self.n_init == "auto" else self.n_init

    def _whitens(self) -> bool:
        return self.whiten and self.base != "idec"

    def _planned_epochs(self, n_samples: int) -> int:
        return super()._planned_epochs(n_samples) + self.finetune_epochs * (self.base == "idec")
