"""Deep embedded clustering (DEC) and its variant that keeps the decoder (IDEC)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from skdeepclust._docs import shared_docs
from skdeepclust.cluster._autoencoder import BasePretrainThenCluster, ClusteringTerm
from skdeepclust.inference import evaluation_mode, forward_in_slices
from skdeepclust.losses import assignment_hardening, target_distribution
from skdeepclust.networks import AutoencoderNetwork, Posterior
from skdeepclust.samples import Samples


class HardeningTerm(ClusteringTerm):
    """KL(P || Q) of the soft assignments Q and a target P that is renewed now and then.

    Parameters
    ----------
    X : Samples
    n_clusters : int
    weight : float
    update_interval : int
        Steps between two renewals.
    tol : float
    """

    target: Tensor  # P
    labels: Tensor  # at the last renewal

    def __init__(
        self, X: Samples, n_clusters: int, weight: float, update_interval: int, tol: float
    ) -> None:
        super().__init__()
        self.X = X
        self.weight = weight
        self.update_interval = update_interval
        self.tol = tol
        self.converged = False if tol > 0 else None
        self.register_buffer("target", torch.zeros(len(X), n_clusters))
        self.register_buffer("labels", torch.zeros(len(X), dtype=torch.long))

    def get_extra_state(self) -> bool | None:
        """Return what is no buffer, for state dicts."""
        return self.converged

    def set_extra_state(self, state: bool | None) -> None:
        """Put back what `get_extra_state` returned."""
        self.converged = state

    def before_step(self, network: AutoencoderNetwork, n_steps: int) -> None:
        """Now and then, set P from Q of all samples, and compare the labels with the last ones."""
        if n_steps % self.update_interval:
            return
        with evaluation_mode(network):
            q = forward_in_slices(lambda x: network(x).softmax(1), self.X)
        labels = q.argmax(1)
        changed = (labels != self.labels).float().mean()
        self.target.copy_(target_distribution(q))
        self.labels.copy_(labels)
        # one synchronisation a renewal
        if n_steps and self.tol > 0 and changed.item() < self.tol:
            self.converged = True

    def forward(self, network: AutoencoderNetwork, posterior: Posterior, index: Tensor) -> Tensor:
        # IDEC's 0.1 is beside errors of pixels / 50, not of standardised ones
        return self.weight * assignment_hardening(network.head(posterior.mean), self.target[index])


class _BaseDEC(BasePretrainThenCluster):
    """What DEC and IDEC share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BasePretrainThenCluster._parameter_constraints,
        "update_interval": [None, Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="both")],
    }

    _weight = 1.0

    def _term(self, network: AutoencoderNetwork, X: Samples) -> ClusteringTerm:
        return hardening_term(self, X, self._weight)


def hardening_term(estimator: Any, X: Samples, weight: float) -> HardeningTerm:
    """Return the term with the estimator's `update_interval` and `tol`."""
    interval = estimator.update_interval
    if interval is None:
        interval = -(-len(X) // estimator.batch_size)
    return HardeningTerm(X, estimator.n_clusters, weight, interval, estimator.tol)


@shared_docs
class DECClustering(_BaseDEC):
    """Deep embedded clustering (DEC).

    An auto-encoder is pretrained and k-means on its latents gives the centres; then encoder and
    centres are trained together, to bring Student-t soft assignments Q nearer to a sharper
    target P, which is made of Q itself [1]_. The decoder plays no part in that.

    Parameters
    ----------
    {{n_clusters}}
    {{hardening}}
    {{autoencoder}}
    {{network}}
    augmentation : callable, "auto" or None, default=None
        From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device, to one
        of the same shape. None: none, as in the paper; without a decoder to hold them, augmented
        samples let clusters drift into each other. "auto":
        :class:`~skdeepclust.augment.RandomAffine` for images and
        :class:`~skdeepclust.augment.RandomNoise` for tabular data.
    {{pretraining}}
    {{kmeans}}
    {{pretrained_restarts}}
    max_epochs : int, default=75
        Passes over the samples in the clustering phase, at most.
    batch_size : int, default=64
        Samples a step. 256 in the paper.
    lr : float, default=1e-4
        Learning rate of the clustering phase. 0.01 with SGD in the paper.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    IDECClustering : Keeps the reconstruction, so that the latents keep their structure.

    Notes
    -----
    The paper pretrains layer by layer with dropout; here the auto-encoder is trained as a whole.
    ``inverse_transform`` uses the decoder of the pretraining.

    {{chosen}}

    References
    ----------
    .. [1] Xie, Girshick and Farhadi (2016). Unsupervised Deep Embedding for Clustering Analysis.
       ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DECClustering
    >>> images = load_digits().images[:200]
    >>> dec = DECClustering(n_clusters=3, n_init=1, pretrain_epochs=40, max_epochs=5, tol=0)
    >>> dec.set_params(random_state=0).fit_predict(images).shape
    (200,)
    """

    _reconstruction_weight = 0.0

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        update_interval: int | None = None,
        tol: float = 1e-3,
        autoencoder: Any = None,
        network: Callable[..., Any] | None = None,
        decoder: Callable[..., Any] | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = None,
        pretrain_epochs: int = 25,
        pretrain_lr: float = 2e-3,
        kmeans_n_init: int = 100,
        n_init: int | str = "auto",
        screening: float = 0.25,
        max_epochs: int = 75,
        batch_size: int = 64,
        lr: float = 1e-4,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.update_interval = update_interval
        self.tol = tol
        self.autoencoder = autoencoder
        self.network = network
        self.decoder = decoder
        self.hidden_sizes = hidden_sizes
        self.latent_size = latent_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_lr = pretrain_lr
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
class IDECClustering(_BaseDEC):
    """Improved deep embedded clustering (IDEC).

    DEC with the reconstruction kept in the clustering phase [1]_.

    Parameters
    ----------
    {{n_clusters}}
    clustering_weight : float, default=0.1
        Weight of KL(P || Q) beside the reconstruction's mean squared error in units of the samples'
        variance. The authors' code has the paper's 0.1 beside errors of pixels divided by 50, which
        is 0.04 in these units on MNIST.
    {{hardening}}
    {{autoencoder}}
    {{network}}
    {{augmentation}}
    {{pretraining}}
    {{kmeans}}
    {{pretrained_restarts}}
    max_epochs : int, default=75
        Passes over the samples in the clustering phase, at most.
    batch_size : int, default=64
        Samples a step. 256 in the paper.
    lr : float, default=1e-4
        Learning rate of the clustering phase. 1e-3 in the paper.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    DECClustering : Without the reconstruction.
    MCDCClustering : With ``base="idec"``, mixing consistent training of it.

    Notes
    -----
    {{chosen}}

    References
    ----------
    .. [1] Guo, Gao, Liu and Yin (2017). Improved Deep Embedded Clustering with Local Structure
       Preservation. IJCAI.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import IDECClustering
    >>> images = load_digits().images[:200]
    >>> idec = IDECClustering(n_clusters=3, n_init=1, pretrain_epochs=40, max_epochs=5, tol=0)
    >>> idec.set_params(random_state=0).fit_predict(images).shape
    (200,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseDEC._parameter_constraints,
        "clustering_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        clustering_weight: float = 0.1,
        update_interval: int | None = None,
        tol: float = 1e-3,
        autoencoder: Any = None,
        network: Callable[..., Any] | None = None,
        decoder: Callable[..., Any] | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        pretrain_epochs: int = 25,
        pretrain_lr: float = 2e-3,
        kmeans_n_init: int = 100,
        n_init: int | str = "auto",
        screening: float = 0.25,
        max_epochs: int = 75,
        batch_size: int = 64,
        lr: float = 1e-4,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.clustering_weight = clustering_weight
        self.update_interval = update_interval
        self.tol = tol
        self.autoencoder = autoencoder
        self.network = network
        self.decoder = decoder
        self.hidden_sizes = hidden_sizes
        self.latent_size = latent_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_lr = pretrain_lr
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

    @property
    def _weight(self) -> float:
        return self.clustering_weight
