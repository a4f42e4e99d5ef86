"""Self-distillation of heads by the information of neighbours (TEMI)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._distributed import gather
from skdeepclust._parameters import AT_LEAST_1, BELOW_1, POSITIVE, estimator, param
from skdeepclust.base import BaseDeepClusterer, EncoderMixin, OpenNClustersMixin, ScalingMixin
from skdeepclust.cluster._base_neighbors import NeighborsMixin
from skdeepclust.engine import Phase
from skdeepclust.losses import temi_loss
from skdeepclust.neighbors import draw_neighbors
from skdeepclust.networks import CosineHeads
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.objective import ManyHeadsObjective
from skdeepclust.samples import Samples

SIZES_MOMENTUM = 0.9  # of the average of the clusters' sizes, as in the authors' code


class TEMINetwork(ClusterNetwork):
    """An encoder with the teacher's heads, one of which predicts, and those of the student.

    Parameters
    ----------
    encoder : nn.Module
    n_features, n_clusters, n_heads : int
    temperature : float
    """

    head: CosineHeads  # the teacher's

    def __init__(
        self, encoder: nn.Module, n_features: int, n_clusters: int, n_heads: int, temperature: float
    ) -> None:
        student = CosineHeads(n_features, n_clusters, n_heads, temperature)
        super().__init__(encoder, copy.deepcopy(student).requires_grad_(False))
        self.student = student

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher towards the student."""
        self.head.linear.weight.lerp_(self.student.linear.weight, 1 - momentum)


class TEMIObjective(ManyHeadsObjective):
    """The student says of a sample what the teacher says of a neighbour, by `temi_loss`.

    Parameters
    ----------
    X : Samples
    neighbors : Tensor of shape (n_samples, n_neighbors), int64
    n_heads, n_clusters : int
    beta, teacher_momentum : float
    """

    neighbors: Tensor
    sizes: Tensor  # of each teacher's clusters, as a moving average

    def __init__(
        self,
        X: Samples,
        neighbors: Tensor,
        n_heads: int,
        n_clusters: int,
        beta: float,
        teacher_momentum: float,
    ) -> None:
        super().__init__(n_heads)
        self.X = X
        self.beta = beta
        self.teacher_momentum = teacher_momentum
        self.register_buffer("neighbors", neighbors)
        self.register_buffer("sizes", torch.full((n_heads, n_clusters), 1 / n_clusters))

    def loss(self, network: TEMINetwork, x: Tensor, index: Tensor) -> Tensor:
        """Return the mean of the heads' losses."""
        neighbor = self.X[draw_neighbors(self.neighbors, index)]
        features = network.embed(torch.cat([x, neighbor]))

        def pairs(heads: CosineHeads) -> Tensor:
            return torch.stack([gather(half, 1) for half in heads.all(features).chunk(2, 1)])

        with torch.no_grad():
            of_teacher = pairs(network.head)
            found = of_teacher.float().softmax(-1).mean((0, 2))
            self.sizes.lerp_(found, 1 - SIZES_MOMENTUM)
        losses = temi_loss(pairs(network.student), of_teacher, self.sizes, self.beta)
        self.count_losses(losses, of_teacher.shape[2])
        return losses.mean()

    def after_step(self, network: TEMINetwork, x: Tensor, index: Tensor) -> None:
        """Let the teacher follow, and its head with the lowest loss predict."""
        network.follow(self.teacher_momentum)
        super().after_step(network, x, index)


@estimator
class TEMIClustering(
    OpenNClustersMixin, ScalingMixin, NeighborsMixin, EncoderMixin, BaseDeepClusterer
):
    r"""Self-distillation of clustering heads on features (TEMI).

    `X` holds features, those of a network that was trained on other images, say. Heads are trained
    to give a sample the cluster that a teacher, their own moving average, gives to one of its
    nearest neighbours; pairs that the teacher finds unlike have little weight [1]_. The head with
    the lowest loss predicts.

    Parameters
    ----------
    n_neighbors : int
        Nearest neighbours of each sample, by the cosine of the scaled features, one of which is
        drawn at each step. With fewer samples, all of them. It should be well below the size of
        the clusters.
    n_heads : int
        Heads that are trained side by side; the one with the lowest loss in the last epoch is kept.
    beta : float
        Exponent within the mutual information. Below 1 all clusters are used, of like size the
        more, the smaller it is.
    temperature : float
        What the cosines of features and clusters are divided by.
    teacher_momentum : float in [0, 1)
        Share of the teacher that stays at each step. 0.996 in the paper, for far more steps: on
        scikit-learn's digits, with as few as there are by default, the clusters came out worse the
        higher it was.
    network : torch.nn.Module or callable
        What is trained between the scaled features and the heads, student's and teacher's alike. A
        module from (n, *input_shape) to features is copied, with its weights; a callable (a class,
        say) gets the input shape, (n_features,) or (channels, height, width), and returns a new
        module. None: nothing, the heads are linear.
    max_epochs : int
        Passes over the samples.
    batch_size : int
        Samples a step, each with a neighbour. An epoch's rest, fewer than that, is left out.
    lr : float
        Learning rate. In the paper 1e-4 for 256 samples a step, after a warm-up, for other heads.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` the logits of the
        teacher's selected head.

    See Also
    --------
    TURTLEClustering : Labels that linear classifiers learn easily.
    SCANClustering : With ``representation="precomputed"`` another loss of neighbours' clusters.

    Notes
    -----
    The loss of head h for a sample x and a neighbour x', symmetrised in the two, is

    .. math::

        -\Big(\frac{1}{H} \sum_{h'} \sum_c q_{h'}(c | x) \, q_{h'}(c | x')\Big) \,
        \log \sum_c \frac{(p_h(c | x) \, q_h(c | x'))^\beta}{q_h(c)}

    of the student's p and the teacher's q, where q(c) is the average of the teacher's predictions
    over the steps up to this one. As in the paper there are 50 neighbours, 16 heads and 100 epochs
    of AdamW with a beta of 0.6. Departures from it: a head there is a network of its own, of two
    layers, before the cosines, and here it is the cosines alone, at a fraction of the cost
    (`network` adds layers, which the heads share), where there they are multiplied by a length that
    is learnt for each cluster; the learning rate, which is constant here, and 4e-4 for batches of
    1,024 there, after a warm-up of 20 epochs; the last layer, which is frozen there in the first
    epoch; the teacher's momentum; the features, which there are neither centred nor
    divided by their norm; the weight decay, which is AdamW's own 1e-2, 1e-4 there.

    `lr`, `teacher_momentum` and `scaling` were chosen on scikit-learn's digits and on the features
    that EfficientNet makes of 3,000 images of CIFAR-10, with their labels in sight. The search for
    neighbours is exact unless `neighbors` is given, at a cost that is quadratic in the number of
    samples, which are all held as float32 for it, twice, whatever `memory_limit`.

    References
    ----------
    .. [1] Adaloglou, Michels, Kalisch and Kollmann (2023). Exploring the Limits of Deep Image
       Clustering using Pretrained Models. BMVC.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import TEMIClustering
    >>> X = load_digits().data[:200]
    >>> TEMIClustering(n_clusters=3, max_epochs=5, random_state=0).fit_predict(X).shape
    (200,)
    """

    n_neighbors: int = param(50, AT_LEAST_1)
    n_heads: int = param(16, AT_LEAST_1)
    beta: float = param(0.6, POSITIVE)
    temperature: float = param(0.1, POSITIVE)
    teacher_momentum: float = param(0.9, BELOW_1)
    max_epochs: int = 100
    batch_size: int = 256
    lr: float = 5e-3
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW

    def _default_encoder(self) -> nn.Module:
        return nn.Flatten()

    def _build_network(self) -> TEMINetwork:
        encoder, n_features = self._build_encoder()
        return TEMINetwork(encoder, n_features, self.n_clusters, self.n_heads, self.temperature)

    def _phases(self, network: TEMINetwork, X: Samples) -> Iterator[Phase]:
        directions = F.normalize(X[:].flatten(1), dim=1)
        objective = TEMIObjective(
            X,
            self._nearest(directions, self.n_neighbors, overwrite=True),
            self.n_heads,
            self.n_clusters,
            self.beta,
            self.teacher_momentum,
        )
        del directions  # as large as all samples
        yield self._phase(objective, self.max_epochs, "temi", drop_last=True)
