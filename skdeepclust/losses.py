"""Losses: pure functions, tensors in, scalar out. All are computed in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-7


def label_features(probabilities: Tensor) -> Tensor:
    """Probabilities divided by their L2 norm, so that the dot product of two is a cosine.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_clusters)
        Non-negative rows that sum to one.

    Returns
    -------
    Tensor of shape (n, n_clusters)
        Rows of unit length; the cosine of two rows lies in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import label_features
    >>> label_features(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    """
    return F.normalize(probabilities, dim=1)


def binary_cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """Elementwise binary cross-entropy, equation 3 of [1]_, finite at 0 and 1.

    ``torch.nn.functional.binary_cross_entropy`` refuses to run under autocast and
    synchronises to check its input's range; this one does neither.

    Parameters
    ----------
    probability, target : Tensor of the same shape
        Values in [0, 1]; `probability` is clipped to [1e-7, 1 - 1e-7].

    Returns
    -------
    Tensor of the same shape

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import binary_cross_entropy
    >>> binary_cross_entropy(torch.tensor([0.5, 0.9]), torch.tensor([1.0, 1.0]))
    tensor([0.6931, 0.1054])
    """
    probability = probability.float().clamp(EPS, 1 - EPS)
    return -(target * probability.log() + (1 - target) * torch.log1p(-probability))


def pairwise_loss(
    features: Tensor,
    similarity: Tensor,
    upper: Tensor | float,
    lower: Tensor | float,
) -> Tensor:
    """Mean binary cross-entropy over the selected pairs, equations 1 to 3 of [1]_.

    Parameters
    ----------
    features : Tensor of shape (n, n_clusters)
        Label features of the batch, with gradient.
    similarity : Tensor of shape (n, n)
        Cosines from which pairs are labelled: similar where at least `upper`, dissimilar
        where below `lower`, left out between the two.
    upper, lower : float or scalar Tensor
        Thresholds in [0, 1]. If they are equal, every pair is selected.

    Returns
    -------
    Tensor, a scalar
        Zero if no pair is selected.

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import label_features, pairwise_loss
    >>> features = label_features(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]))
    >>> pairwise_loss(features, features @ features.T, upper=0.8, lower=0.5)
    tensor(0.1522)
    """
    similar = similarity >= upper
    selected = (similar | (similarity < lower)).float()
    pairs = binary_cross_entropy(features @ features.T, similar.float())
    return (selected * pairs).sum() / selected.sum().clamp_min(1)


def mutual_information(probabilities: Tensor) -> Tensor:
    """Mutual information of samples and clusters, H(mean p) - mean H(p), in nats.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_clusters)
        Non-negative rows that sum to one.

    Returns
    -------
    Tensor, a scalar
        In [0, log n_clusters]: high if each sample is assigned with confidence and the
        clusters are all used.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import mutual_information
    >>> mutual_information(torch.eye(2))
    tensor(0.6931)
    """

    def entropy(p: Tensor) -> Tensor:
        return torch.special.entr(p).sum(-1)

    return entropy(probabilities.mean(0)) - entropy(probabilities).mean()


def target_distribution(probabilities: Tensor) -> Tensor:
    """DEC's target P of soft assignments Q, equation 3 of [1]_.

    It strengthens confident assignments and divides by the clusters' sizes, so that large ones
    don't distort the latents.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_clusters)
        Soft assignments of the whole data set, positive rows that sum to one.

    Returns
    -------
    Tensor of shape (n, n_clusters)
        Rows that sum to one.

    References
    ----------
    .. [1] Xie, Girshick and Farhadi (2016). Unsupervised Deep Embedding for Clustering Analysis.
       ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import target_distribution
    >>> target_distribution(torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    tensor([[0.9143, 0.0857],
            [0.2286, 0.7714]])
    """
    weights = probabilities.square() / probabilities.sum(0).clamp_min(EPS)
    return weights / weights.sum(1, keepdim=True).clamp_min(EPS)


def assignment_hardening(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(P || Q) of the batch, equation 2 of [1]_.

    Parameters
    ----------
    logits : Tensor of shape (n, n_clusters)
        Their softmax is Q; :class:`~skdeepclust.networks.StudentTHead` gives them.
    target : Tensor of shape (n, n_clusters)
        P, without gradient.

    Returns
    -------
    Tensor, a scalar
        In nats, the mean over the samples.

    References
    ----------
    .. [1] Xie, Girshick and Farhadi (2016). Unsupervised Deep Embedding for Clustering Analysis.
       ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import assignment_hardening
    >>> assignment_hardening(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    return F.kl_div(logits.float().log_softmax(1), target, reduction="batchmean")
