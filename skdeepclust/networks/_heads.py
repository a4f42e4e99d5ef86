"""Heads: from features to one logit per cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._torch_state import has_float64
from skdeepclust.losses import gaussian_mixture_logits, student_t_logits
from skdeepclust.networks._base import draw_weights, he_normal

LEAST_VARIANCE = 1e-6  # of a mixture's component


class StudentTHead(nn.Module):
    """Logits of Student's t kernel around cluster centres, with one degree of freedom.

    Their softmax is the soft assignment of DEC [1]_ (equation 1), their maximum is the nearest
    centre. The latents can be whitened before, and then divided by their norm.

    Parameters
    ----------
    n_features : int
    n_clusters : int
    normalize : bool, default=False
        Whether they are divided by their norm.

    Attributes
    ----------
    centers : nn.Parameter of shape (n_clusters, n_components)
        Relative to `offset`, whitened.
    offset : Tensor of shape (n_features,)
        Subtracted from the latents.
    whitening : Tensor of shape (n_features, n_components) or None
    is_learning : bool
        Whether a phase trains the centres; until then they are those of k-means.

    References
    ----------
    .. [1] Xie, Girshick and Farhadi (2016). Unsupervised Deep Embedding for Clustering Analysis.
       ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import StudentTHead
    >>> head = StudentTHead(n_features=1, n_clusters=2)
    >>> head.set_centers(torch.tensor([[0.0], [2.0]]))
    >>> head(torch.tensor([[0.0]])).softmax(1)
    tensor([[0.8333, 0.1667]], grad_fn=<SoftmaxBackward0>)
    """

    offset: Tensor
    whitening: Tensor | None

    def __init__(self, n_features: int, n_clusters: int, normalize: bool = False) -> None:
        super().__init__()
        self.n_features = n_features
        self.normalize = normalize
        self.centers = nn.Parameter(torch.zeros(n_clusters, n_features))
        self.register_buffer("offset", torch.zeros(n_features))
        self.register_buffer("whitening", None)
        self.is_learning = False

    def set_centers(
        self, centers: Tensor, offset: Tensor | None = None, whitening: Tensor | None = None
    ) -> None:
        """Put the centres, given in the space of the (whitened) latents, in place."""
        device = self.offset.device
        self.offset = torch.zeros_like(self.offset) if offset is None else offset.to(device)
        self.whitening = None if whitening is None else whitening.to(device)
        self.centers = nn.Parameter(centers.to(device))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take over centres and whitening of any number of components."""
        centers, whitening = (state_dict.get(prefix + name) for name in ("centers", "whitening"))
        if centers is not None and centers.shape != self.centers.shape:
            self.centers = nn.Parameter(torch.empty_like(centers, device=self.offset.device))
        if whitening is not None:
            whitening = torch.empty_like(whitening, device=self.offset.device)
        self.whitening = whitening
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def project(self, z: Tensor) -> Tensor:
        """Return the latents as they are compared with the centres."""
        z = z - self.offset
        if self.whitening is not None:
            # in float64: a sample's last digit would depend on its place in the batch
            dtype = torch.float64 if has_float64(z.device) else torch.float32
            z = (z.to(dtype) @ self.whitening.to(dtype)).to(z.dtype)
        return F.normalize(z, dim=1) if self.normalize else z

    def forward(self, z: Tensor) -> Tensor:
        """Return logits of shape (n, n_clusters) for latents of shape (n, n_features)."""
        return student_t_logits(self.project(z.float()), self.centers)


class GaussianMixtureHead(nn.Module):
    """Logits of a mixture of Gaussians with diagonal covariances, the prior of VaDE [1]_.

    Their softmax is the posterior p(c | z) of the components.

    Parameters
    ----------
    n_features : int
    n_clusters : int

    Attributes
    ----------
    weight_logits : nn.Parameter of shape (n_clusters,)
        Their softmax are the weights pi.
    centers, log_variances : nn.Parameter of shape (n_clusters, n_features)
        Variances below 1e-6 count as that.
    is_learning : bool
        Whether a phase trains the mixture; until then it is fitted to the latents.

    References
    ----------
    .. [1] Jiang, Zheng, Tan, Tang and Zhou (2017). Variational Deep Embedding: An Unsupervised and
       Generative Approach to Clustering. IJCAI.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import GaussianMixtureHead
    >>> head = GaussianMixtureHead(n_features=1, n_clusters=2)
    >>> head.set_mixture(torch.tensor([0.25, 0.75]), torch.zeros(2, 1), torch.ones(2, 1))
    >>> head(torch.tensor([[9.0]])).softmax(1)
    tensor([[0.2500, 0.7500]], grad_fn=<SoftmaxBackward0>)
    """

    def __init__(self, n_features: int, n_clusters: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.weight_logits = nn.Parameter(torch.zeros(n_clusters))
        self.centers = nn.Parameter(torch.zeros(n_clusters, n_features))
        self.log_variances = nn.Parameter(torch.zeros(n_clusters, n_features))
        self.is_learning = False

    @torch.no_grad()
    def set_mixture(self, weights: Tensor, centers: Tensor, variances: Tensor) -> None:
        """Put a mixture in place."""
        self.weight_logits.copy_(weights.log())
        self.centers.copy_(centers)
        self.log_variances.copy_(variances.clamp_min(LEAST_VARIANCE).log())

    def mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logarithms of the weights, the centres, and those of the variances."""
        missing = (math.log(LEAST_VARIANCE) - self.log_variances).clamp_min(0)
        log_variances = self.log_variances + missing.detach()  # or those could not grow again
        return self.weight_logits.log_softmax(0), self.centers, log_variances

    def forward(self, z: Tensor) -> Tensor:
        """Return logits of shape (n, n_clusters) for latents of shape (n, n_features)."""
        return gaussian_mixture_logits(z, *self.mixture())


class MultiHead(nn.Module):
    """Several linear heads, of which one is selected.

    Parameters
    ----------
    n_features, n_clusters, n_heads : int
    bias : bool, default=True

    Attributes
    ----------
    selected : Tensor, a scalar
        Index of the head that :meth:`forward` applies.
    loss : Tensor, a scalar
        Its loss, summed over the samples of the last epoch.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import MultiHead
    >>> head = MultiHead(n_features=8, n_clusters=3, n_heads=4)
    >>> head.all(torch.rand(5, 8)).shape
    torch.Size([4, 5, 3])
    >>> head.select(torch.tensor([2.0, 1.0, 3.0, 4.0]))  # by the heads' losses
    >>> head.selected
    tensor(1)
    """

    selected: Tensor
    loss: Tensor

    def __init__(
        self, n_features: int, n_clusters: int, n_heads: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.linear = nn.Linear(n_features, n_heads * n_clusters, bias=bias)
        self.register_buffer("selected", torch.tensor(0))
        self.register_buffer("loss", torch.tensor(torch.inf))

    def all(self, features: Tensor) -> Tensor:
        """Return the logits of all heads, of shape (n_heads, n, n_clusters)."""
        logits = self._logits(features, self.linear.weight, self.linear.bias)
        return logits.unflatten(1, (self.n_heads, -1)).transpose(0, 1)

    def one(self, features: Tensor, number: Tensor) -> Tensor:
        """Return the logits of a head, whose `number` stays on the device, (n, n_clusters)."""
        weight, bias = (
            None
            if p is None
            else p.unflatten(0, (self.n_heads, -1)).index_select(0, number.view(1)).squeeze(0)
            for p in (self.linear.weight, self.linear.bias)
        )
        return self._logits(features, weight, bias)

    def _logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(features, weight, bias)

    def select(self, losses: Tensor) -> None:
        """Select the head with the lowest of `losses`, of shape (n_heads,)."""
        loss, selected = losses.min(0)
        self.loss.copy_(loss)
        self.selected.copy_(selected)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of the selected head, of shape (n, n_clusters)."""
        return self.one(features, self.selected)


class CosineHeads(MultiHead):
    """Several heads, of which one is selected: logits are cosines, over a temperature.

    Parameters
    ----------
    n_features, n_clusters, n_heads : int
    temperature : float, default=0.1

    Attributes
    ----------
    selected, loss : Tensor
        As of :class:`MultiHead`.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import CosineHeads
    >>> heads = CosineHeads(n_features=8, n_clusters=3, n_heads=4)
    >>> heads.all(torch.rand(5, 8)).shape
    torch.Size([4, 5, 3])
    >>> bool(heads.all(torch.rand(5, 8)).abs().max() <= 10)
    True
    """

    def __init__(
        self, n_features: int, n_clusters: int, n_heads: int, temperature: float = 0.1
    ) -> None:
        super().__init__(n_features, n_clusters, n_heads, bias=False)
        nn.init.normal_(self.linear.weight, std=0.1)  # Adam turns them alike for any n_features
        self.temperature = temperature

    def _logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        directions = F.normalize(weight, dim=1)
        return F.linear(F.normalize(features, dim=1), directions) / self.temperature


class NormedLinear(nn.Linear):
    """A linear layer with weight normalisation: directions and lengths are learnt apart [1]_.

    Parameters
    ----------
    n_features, n_outputs : int

    References
    ----------
    .. [1] Salimans and Kingma (2016). Weight Normalization: A Simple Reparameterization to
       Accelerate Training of Deep Neural Networks. NIPS.
    """

    # Not torch's parametrisation, with which a network could not be pickled.
    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__(n_features, n_outputs)
        self.length = nn.Parameter(self.weight.detach().norm(dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (n, n_outputs)."""
        return F.linear(x, self.length * F.normalize(self.weight, dim=1), self.bias)


class TaskHead(nn.Module):
    """A labelling: the mean over feature spaces of the softmax of a linear layer.

    Parameters
    ----------
    widths : sequence of int
        Features of each space; they stand side by side.
    n_clusters : int

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import TaskHead
    >>> head = TaskHead(widths=(8, 4), n_clusters=3)
    >>> head.all(torch.rand(5, 12)).shape
    torch.Size([2, 5, 3])
    >>> torch.allclose(head(torch.rand(5, 12)).exp().sum(1), torch.ones(5))
    True
    """

    def __init__(self, widths: Sequence[int], n_clusters: int) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.spaces = nn.ModuleList(NormedLinear(width, n_clusters) for width in widths)

    def all(self, features: Tensor) -> Tensor:
        """Return each space's log-probabilities, of shape (n_spaces, n, n_clusters)."""
        parts = features.split(self.widths, 1)
        logits = [space(x) for space, x in zip(self.spaces, parts, strict=True)]
        return torch.stack(logits).float().log_softmax(-1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logarithms of the labels, of shape (n, n_clusters)."""
        return self.all(features).logsumexp(0) - math.log(len(self.spaces))


class MergingHead(nn.Module):
    """Linear heads of `n_clusters` outputs and of more, of which one is chosen and merged.

    Parameters
    ----------
    n_features, n_clusters : int
    n_heads : int
        Of each kind.
    overclustering : int
        Outputs of the larger heads, in multiples of `n_clusters`; 1: there are none.

    Attributes
    ----------
    number : Tensor, a scalar
        The head that :meth:`forward` applies; the larger ones come last.
    groups : Tensor of shape (n_clusters x overclustering,), int64
        The cluster that each output of a larger head is a part of.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import MergingHead
    >>> head = MergingHead(n_features=8, n_clusters=2, n_heads=3, overclustering=2)
    >>> head.choose(5, groups=torch.tensor([0, 1, 1, 1]))
    >>> head(torch.rand(5, 8)).shape
    torch.Size([5, 2])
    """

    number: Tensor
    groups: Tensor

    def __init__(self, n_features: int, n_clusters: int, n_heads: int, overclustering: int) -> None:
        super().__init__()
        self.n_heads, self.n_clusters = n_heads, n_clusters
        n_outputs = n_clusters * overclustering
        self.plain = MultiHead(n_features, n_clusters, n_heads)
        self.over = MultiHead(n_features, n_outputs, n_heads) if overclustering > 1 else None
        # heads that differ more at first, and decide sooner
        draw_weights(self.modules(), partial(nn.init.normal_, std=n_features**-0.5))
        self.register_buffer("number", torch.tensor(0))
        self.register_buffer("groups", torch.arange(n_outputs) % n_clusters)

    def all(self, features: Tensor) -> list[Tensor]:
        """Return the logits of all heads, by kind, of shape (n_heads, n, n_outputs)."""
        return [kind.all(features) for kind in (self.plain, self.over) if kind is not None]

    def each(self, features: Tensor) -> Iterator[tuple[Tensor, bool]]:
        """Yield the logits of each head, and whether it is a larger one."""
        for kind, logits in enumerate(self.all(features)):
            for one in logits:
                yield one, kind > 0

    def choose(self, number: int, groups: Tensor) -> None:
        """Apply the head of that number from now on, its outputs merged by `groups`."""
        self.number.fill_(number)
        if number >= self.n_heads:
            self.groups.copy_(groups)

    def select(self, losses: Tensor) -> None:
        """Apply the head of `n_clusters` outputs with the lowest of `losses`, (n_heads,)."""
        self.number.copy_(losses.argmin())

    def forward(self, features: Tensor) -> Tensor:
        """Return the log-probabilities of the chosen head, of shape (n, n_clusters)."""
        head = self.number % self.n_heads
        plain = self.plain.one(features, head).float()
        if self.over is None:
            return plain.log_softmax(1)
        over = self.over.one(features, head).float()
        merged = self._merged(over.log_softmax(1))
        return torch.where(self.number < self.n_heads, plain.log_softmax(1), merged)

    def _merged(self, log_p: Tensor) -> Tensor:
        """Return the logarithms of the sums over the outputs that belong together."""
        groups = self.groups.expand_as(log_p)
        # finite also of no outputs: the gradient of -inf is not a number
        top = log_p.new_full((len(log_p), self.n_clusters), -1e4)
        top = top.scatter_reduce(1, groups, log_p.detach(), "amax")
        parts = (log_p - top.gather(1, groups)).exp()
        return top + torch.zeros_like(top).scatter_add(1, groups, parts).clamp_min(1e-30).log()


def identity_head(n_features: int, n_clusters: int) -> nn.Sequential:
    """DAC's head: two dense layers that start as the identity, each with BN and ReLU."""
    layers: list[nn.Module] = []
    for n_inputs in (n_features, n_clusters):
        dense = nn.Linear(n_inputs, n_clusters)
        nn.init.eye_(dense.weight)
        nn.init.zeros_(dense.bias)
        layers += [dense, nn.BatchNorm1d(n_clusters), nn.ReLU()]
    return nn.Sequential(*layers)


def dense_head(n_features: int, n_clusters: int) -> nn.Sequential:
    """ST-DAC's head: a dense layer with BN and ReLU."""
    head = nn.Sequential(nn.Linear(n_features, n_clusters), nn.BatchNorm1d(n_clusters), nn.ReLU())
    he_normal(head)
    return head
