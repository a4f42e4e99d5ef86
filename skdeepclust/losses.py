"""Losses: pure functions, tensors in, scalar out. All are computed in float32."""

from __future__ import annotations

import math

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
        return torch.special.entr(p.clamp_min(1e-30)).sum(-1)  # at 0 its gradient is infinite

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


def contrastive_loss(
    z: Tensor, positives: Tensor, kept: Tensor | None = None, temperature: float = 0.1
) -> Tensor:
    """Contrastive loss with sets of positive pairs, equation 1 of [1]_.

    With the two views of each sample as the only positives it is the NT-Xent loss of SimCLR [2]_.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
        Projections of all views; they are divided by their norm.
    positives : Tensor of shape (n, n), bool
        The set P of pairs that belong together. The diagonal is ignored.
    kept : Tensor of shape (n,), bool, default=None
        Views that take part; pairs with others belong neither to P nor to N. None: all.
    temperature : float > 0, default=0.1
        Divides the cosines.

    Returns
    -------
    Tensor, a scalar
        The mean over the pairs of P, where the paper has their sum; 0 if there is none.

    References
    ----------
    .. [1] Kim, Im and Cho (2021). ProFeat: Unsupervised Image Clustering via Progressive Feature
       Refinement.
    .. [2] Chen et al. (2020). A Simple Framework for Contrastive Learning of Visual
       Representations. ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import contrastive_loss
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> groups = torch.tensor([0, 0, 1, 1])
    >>> contrastive_loss(z, groups[:, None] == groups, temperature=1.0)
    tensor(0.5514)
    """
    left_out = torch.eye(len(z), dtype=torch.bool, device=z.device)
    if kept is not None:
        left_out = left_out | ~(kept[:, None] & kept)
    with torch.autocast(z.device.type, enabled=False):  # cosines over 0.1 need float32
        z = F.normalize(z.float(), dim=1)
        # a finite stand-in for -inf, whose gradient would be NaN where a row has nothing else
        similarity = (z @ z.T / temperature).masked_fill(left_out, -1e9)
        log_share = similarity.log_softmax(1)
        positives = positives & ~left_out
        return -log_share.masked_fill(~positives, 0).sum() / positives.sum().clamp_min(1)


def scan_loss(logits: Tensor, neighbor_logits: Tensor, entropy_weight: float = 5.0) -> Tensor:
    """Semantic clustering loss of SCAN [1]_, equation 2 of ProFeat.

    A sample and one of its neighbours are to have the same, confident cluster, and the clusters
    are to be of like size.

    Parameters
    ----------
    logits, neighbor_logits : Tensor of shape (..., n, n_clusters)
        Of samples and of a neighbour of each; leading axes are those of several heads.
    entropy_weight : float, default=5.0
        Weight of the entropy of the samples' mean probabilities, which is maximised.

    Returns
    -------
    Tensor of shape (...)
        In nats; at least -`entropy_weight` log n_clusters.

    References
    ----------
    .. [1] Van Gansbeke et al. (2020). SCAN: Learning to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import scan_loss
    >>> scan_loss(torch.zeros(4, 2), torch.zeros(4, 2), entropy_weight=1.0)
    tensor(0.)
    """
    log_p, log_q = logits.float().log_softmax(-1), neighbor_logits.float().log_softmax(-1)
    consistency = -(log_p + log_q).logsumexp(-1).mean(-1)
    log_mean = log_p.logsumexp(-2) - math.log(log_p.shape[-2])  # finite for an empty cluster too
    entropy = -(log_mean.exp() * log_mean).sum(-1)
    return consistency - entropy_weight * entropy


def confident_cross_entropy(logits: Tensor, given: Tensor, threshold: float = 0.99) -> Tensor:
    """Cross-entropy with the clusters of confident samples, each cluster weighted alike [1]_.

    Parameters
    ----------
    logits : Tensor of shape (n, n_clusters)
        Of strongly augmented samples.
    given : Tensor of shape (n, n_clusters)
        Logits of the same samples as they are, without gradient.
    threshold : float in [0, 1), default=0.99
        A sample takes part if its largest given probability is above.

    Returns
    -------
    Tensor, a scalar
        In nats; 0 if no sample is confident.

    References
    ----------
    .. [1] Van Gansbeke et al. (2020). SCAN: Learning to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import confident_cross_entropy
    >>> given = torch.tensor([[9.0, 0.0], [0.0, 0.1]])  # the second is not confident
    >>> confident_cross_entropy(torch.zeros(2, 2), given)
    tensor(0.6931)
    """
    confidence, target = given.float().softmax(1).max(1)
    members = F.one_hot(target, given.shape[1]) * (confidence > threshold)[:, None]
    weight = (members / members.sum(0).clamp_min(1)).sum(1)  # a cluster's weights sum to 1
    loss = F.cross_entropy(logits.float(), target, reduction="none")
    return (weight * loss).sum() / weight.sum().clamp_min(1)


def pair_agreement(labels: Tensor) -> Tensor:
    """Count the models that put two samples into one cluster, equation 3 of ProFeat.

    Parameters
    ----------
    labels : Tensor of shape (n_models, n), int64
        Cluster of each sample by each model; the clusters' order may differ between models.

    Returns
    -------
    Tensor of shape (n, n), int64
        In [0, n_models].

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import pair_agreement
    >>> pair_agreement(torch.tensor([[0, 0, 1], [1, 1, 1]]))
    tensor([[2, 2, 1],
            [2, 2, 1],
            [1, 1, 2]])
    """
    return (labels[:, :, None] == labels[:, None, :]).sum(0)
