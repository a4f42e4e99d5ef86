"""Deep clustering network (DCN): latents that suit k-means."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from skdeepclust._distributed import gather
from skdeepclust._parameters import NOT_NEGATIVE, estimator, param
from skdeepclust.cluster._base_autoencoder import ClusteringTerm
from skdeepclust.cluster._base_pretrain import BasePretrainThenCluster
from skdeepclust.inference import evaluated
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
        z = gather(network.embed(x).float())
        labels = network.head(z).argmax(1)
        self.labels[gather(index)] = labels
        # The paper's update is c_k += 1 and m_k += (z - m_k) / c_k for one sample after the other:
        # after a batch, the mean of all that the centre got.
        centers: Tensor = network.head.centers
        members = F.one_hot(labels, len(centers)).to(z.dtype)
        added = members.sum(0)
        total = members.T @ network.head.project(z)
        self.counts += added
        centers += (total - added[:, None] * centers) / self.counts[:, None]


@estimator
class DCNClustering(BasePretrainThenCluster):
    """Deep clustering network (DCN).

    An auto-encoder is pretrained and k-means on its latents gives centres and assignments; then
    the auto-encoder is trained with the squared distance of each sample's latents to its
    centre, and after each step the assignments of the samples at hand and their centres, as
    running means, are renewed [1]_.

    Parameters
    ----------
    clustering_weight : float
        Weight of half the squared distances beside the reconstruction's mean squared error in
        units of the samples' variance. The authors' lambda of 0.05 on MNIST, beside squared errors
        summed over the pixels, has two readings: in the paper it multiplies half the distances,
        which is 0.0007 here; in their first code it multiplies the reconstruction, and 1 the
        distances, which is 0.54. The code that they published later to reproduce the paper has 1
        for both, and pixels of up to 5.1, which is 0.001.
    max_epochs : int
        Passes over the samples in the clustering phase. 50 in the authors' code.
    batch_size : int
        Samples a step. 128 in the authors' code.
    lr : float
        Learning rate of the clustering phase. 0.05 with SGD in the authors' code.

    See Also
    --------
    IDECClustering : Soft assignments in place of hard ones.

    Notes
    -----
    The authors' code has layers of 2000, 1000, 500, 500, 250 and 50 on MNIST, whose weights the
    decoder shares, pretrains them one by one for 50 epochs, and uses Nesterov's momentum of 0.9.

    {{autoencoders}}

    References
    ----------
    .. [1] Yang, Fu, Sidiropoulos and Hong (2017). Towards K-means-friendly Spaces: Simultaneous
       Deep Learning and Clustering. ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DCNClustering
    >>> images = load_digits().images[:200]
    >>> dcn = DCNClustering(n_clusters=3, n_init=1, max_epochs=5)
    >>> dcn.set_params(random_state=0).fit_predict(images).shape
    (200,)
    """

    clustering_weight: float = param(0.05, NOT_NEGATIVE)

    def _term(self, network: AutoencoderNetwork, X: Samples) -> ClusteringTerm:
        network.head.centers.requires_grad_(False)  # they follow the samples, not a gradient
        labels = evaluated(network, X).argmax(1)
        return RunningKMeansTerm(labels, self.n_clusters, self.clustering_weight)
