"""Deep clustering network (DCN): latents that suit k-means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor
from torch.nn import functional as F

from skdeepclust._docs import shared_docs
from skdeepclust.cluster._autoencoder import BasePretrainThenCluster, ClusteringTerm
from skdeepclust.inference import evaluation_mode, forward_in_slices
from skdeepclust.losses import center_distance
from skdeepclust.networks import AutoencoderNetwork, Posterior
from skdeepclust.samples import Samples

INITIAL_COUNT = 100  # samples that a centre of k-means stands for, as in the authors' code


class RunningKMeansTerm(ClusteringTerm):
    """Squared distances to centres that are the running means of the samples they got.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,)
        The first assignment.
    n_clusters : int
    weight : float
    """

    labels: Tensor
    counts: Tensor

    def __init__(self, labels: Tensor, n_clusters: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("labels", labels)
        self.register_buffer("counts", torch.full((n_clusters,), float(INITIAL_COUNT)))

    def forward(self, network: AutoencoderNetwork, posterior: Posterior, index: Tensor) -> Tensor:
        # the assignment and the centres stay as they are in this step
        z, centers = network.head.project(posterior.mean.float()), network.head.centers
        # lambda, as in the paper; the authors' code has 1 here and lambda at the reconstruction
        return self.weight * center_distance(z, centers[self.labels[index]])

    @torch.no_grad()
    def after_step(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> None:
        z = network.embed(x).float()
        labels = network.head(z).argmax(1)
        self.labels[index] = labels
        # The paper's update is c_k += 1 and m_k += (z - m_k) / c_k for one sample after the other:
        # after a batch, the mean of all that the centre got.
        centers = network.head.centers
        members = F.one_hot(labels, len(centers)).to(z.dtype)
        added = members.sum(0)
        total = members.T @ network.head.project(z)
        self.counts += added
        centers += (total - added[:, None] * centers) / self.counts[:, None]


@shared_docs
class DCNClustering(BasePretrainThenCluster):
    """Deep clustering network (DCN).

    An auto-encoder is pretrained and k-means on its latents gives centres and assignments; then
    the auto-encoder is trained with the squared distance of each sample's latents to its
    centre, and after each step the assignments of the samples at hand and their centres, as
    running means, are renewed [1]_.

    Parameters
    ----------
    {{n_clusters}}
    clustering_weight : float, default=0.05
        Weight of half the squared distances beside the reconstruction's mean squared error in
        units of the samples' variance. The authors' lambda of 0.05 on MNIST, beside squared errors
        summed over the pixels, has two readings: in the paper it multiplies half the distances,
        which is 0.0007 here; in their code it multiplies the reconstruction, and 1 the distances,
        which is 0.54.
    {{autoencoder}}
    {{network}}
    {{augmentation}}
    {{pretraining}}
    {{kmeans}}
    {{pretrained_restarts}}
    max_epochs : int, default=75
        Passes over the samples in the clustering phase. 50 in the authors' code.
    batch_size : int, default=64
        Samples a step. 128 in the authors' code.
    lr : float, default=1e-4
        Learning rate of the clustering phase. 0.05 with SGD in the authors' code.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    IDECClustering : Soft assignments in place of hard ones.

    Notes
    -----
    The authors' code has layers of 2000, 1000, 500, 500, 250 and 50 on MNIST, whose weights the
    decoder shares, pretrains them one by one for 50 epochs, and uses Nesterov's momentum of 0.9.

    {{chosen}}

    References
    ----------
    .. [1] Yang, Fu, Sidiropoulos and Hong (2017). Towards K-means-friendly Spaces: Simultaneous
       Deep Learning and Clustering. ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DCNClustering
    >>> images = load_digits().images[:200]
    >>> dcn = DCNClustering(n_clusters=3, n_init=1, pretrain_epochs=40, max_epochs=5)
    >>> dcn.set_params(random_state=0).fit_predict(images).shape
    (200,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BasePretrainThenCluster._parameter_constraints,
        "clustering_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        clustering_weight: float = 0.05,
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

    def _term(self, network: AutoencoderNetwork, X: Samples) -> ClusteringTerm:
        network.head.centers.requires_grad_(False)  # they follow the samples, not a gradient
        with evaluation_mode(network):
            labels = forward_in_slices(network, X).argmax(1).clone()
        return RunningKMeansTerm(labels, self.n_clusters, self.clustering_weight)
