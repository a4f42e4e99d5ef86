r"""Losses: pure functions of tensors.

Products, distances and logits are computed in float32, whatever they are given in; probabilities
are to be given in float32.

=================================  ========  ===================================================
paper                              equation  function
=================================  ========  ===================================================
Kingma and Welling 2014 (VAE)      10        `negative_elbo`, with `gaussian_kl`
Ng 2011 (sparse auto-encoder)                `negative_elbo` with `sparsity_penalty`
Jiang et al. 2017 (VaDE)                     `negative_elbo` and `gaussian_mixture_kl`,
\                                            with `gaussian_mixture_logits`
Huang et al. 2014 (DEN)                      `negative_elbo`, `neighbor_distance` and
\                                            `group_norms`
Yang et al. 2019 (DGG)                       `negative_elbo`, `clustered_kl`, `siamese_loss`
Xie et al. 2016 (DEC)              1         `student_t_logits`
\                                  2, 3      `assignment_hardening`, `target_distribution`
Guo et al. 2017 (IDEC)             1         `negative_elbo` and `assignment_hardening`
Yang et al. 2017 (DCN)             6         `negative_elbo` and `center_distance`
Ghasedi Dizaji et al. 2017                   `target_distribution` and `layer_errors`
(DEPICT)
Berthelot et al. 2019 (ACAI) and   2, 4      `mixture`, `critic_loss`
Lutscher et al. 2020 (MCDC)        6, 7      `adversarial_loss`, `mixing_consistency`
Chang et al. 2017 (DAC) and Souza  1 to 3    `pairwise_loss`, with `label_features` and
and Zanchettin 2019 (ST-DAC)                 `binary_cross_entropy`
Radford et al. 2016 (DCGAN)                  `discriminator_loss`, `generator_loss`
Springenberg 2016 (CatGAN)                   `mutual_information`, `mean_entropy`
Chen et al. 2016 (InfoGAN)         5         `code_information`, with `discriminator_loss` and
\                                            `generator_loss`
Krause et al. 2010 (RIM)                     `mutual_information`
Hu et al. 2017 (IMSAT)                       `prediction_change` and `mutual_information`
Ji et al. 2019 (IIC)               3         `invariant_information`
Schultz and Joachims 2003                    `triplet_loss`
Haeusser et al. 2018 (ADC)                   `association_loss`
Van Gansbeke et al. 2020 (SCAN)    2         `scan_loss`
\                                            `confident_cross_entropy`
Chen et al. 2020 (SimCLR)          1         `contrastive_loss`
Kim et al. 2021 (ProFeat)          1 to 3    `contrastive_loss`, `scan_loss`, `pair_agreement`
Adaloglou et al. 2023 (TEMI)                 `temi_loss`
Gadetsky et al. 2024 (TURTLE)      12        `turtle_loss`
=================================  ========  ===================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from skdeepclust._torch_state import without_autocast

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
    loss: str = "log_loss",
) -> Tensor:
    """Mean loss of the selected pairs, equations 1 to 3 of [1]_.

    Parameters
    ----------
    features : Tensor of shape (n, n_clusters)
        Label features of the batch, with gradient.
    similarity : Tensor of shape (n, n)
        Cosines from which pairs are labelled: similar where at least `upper`, dissimilar
        where below `lower`, left out between the two.
    upper, lower : float or scalar Tensor
        Thresholds in [0, 1]. If they are equal, every pair is selected.
    loss : {"log_loss", "squared_error"}, default="log_loss"
        Of a pair's cosine and its label: the binary cross-entropy of equation 3, or their squared
        difference.

    Returns
    -------
    Tensor, a scalar
        Zero if no pair is selected.

    Raises
    ------
    ValueError
        If `loss` is neither.

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
    with without_autocast(features.device.type):  # bf16 has not the digits near 1
        cosines = features.float() @ features.float().T
    labels = similar.float()
    if loss == "squared_error":
        pairs = (cosines - labels).square()
    elif loss == "log_loss":
        pairs = binary_cross_entropy(cosines, labels)
    else:
        raise ValueError(f"loss must be 'log_loss' or 'squared_error'; got {loss!r}.")
    return (selected * pairs).sum() / selected.sum().clamp_min(1)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p.clamp_min(1e-30)).sum(-1)  # at 0 its gradient is infinite


def _evenness(mean: Tensor, prior: Tensor | None) -> Tensor:
    """Return H(mean), or what takes its place: log n_clusters - KL(mean || prior), by size."""
    if prior is None:
        return _entropy(mean)
    by_size = prior.sort().values[mean.argsort(-1).argsort(-1)]
    return _entropy(mean) + (mean * (len(prior) * by_size).log()).sum(-1)


def mutual_information(
    probabilities: Tensor, entropy_weight: float = 1.0, prior: Tensor | None = None
) -> Tensor:
    """Mutual information of samples and clusters, mu H(mean p) - mean H(p), in nats.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_clusters)
        Non-negative rows that sum to one.
    entropy_weight : float, default=1.0
        mu of [1]_, which favours clusters of like size; with 1 it is the mutual information.
    prior : Tensor of shape (n_clusters,), default=None
        Shares of the samples that the clusters are to have, positive and summing to one; the larger
        a cluster is, the larger the share that it is drawn to. H(mean p) becomes log n_clusters -
        KL(mean p || prior), which is the same for equal shares. None: equal ones.

    Returns
    -------
    Tensor, a scalar
        In [0, log n_clusters] with mu = 1: high if each sample is assigned with confidence and the
        clusters are all used.

    References
    ----------
    .. [1] Hu et al. (2017). Learning Discrete Representations via Information Maximizing
       Self-Augmented Training. ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import mutual_information
    >>> mutual_information(torch.eye(2))
    tensor(0.6931)
    """
    evenness = _evenness(probabilities.mean(0), prior)
    return entropy_weight * evenness - _entropy(probabilities).mean()


def mean_entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of the cluster probabilities of each sample, in nats.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_clusters)
        Non-negative rows that sum to one.

    Returns
    -------
    Tensor, a scalar
        In [0, log n_clusters].

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import mean_entropy
    >>> mean_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor(0.3466)
    """
    return _entropy(probabilities).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Cross-entropy of telling real samples from generated ones.

    Parameters
    ----------
    real, fake : Tensor
        Logits of being real, of real and of generated samples.

    Returns
    -------
    Tensor, a scalar
        2 log 2 where nothing is told apart.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import discriminator_loss
    >>> discriminator_loss(torch.zeros(3), torch.zeros(3))
    tensor(1.3863)
    """
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Cross-entropy of generated samples with being real: the loss that does not saturate.

    Parameters
    ----------
    fake : Tensor
        Logits of being real, of generated samples.

    Returns
    -------
    Tensor, a scalar

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import generator_loss
    >>> generator_loss(torch.tensor([0.0, 9.0]))
    tensor(0.3466)
    """
    return F.softplus(-fake.float()).mean()


def code_information(logits: Tensor, cluster: Tensor, means: Tensor, continuous: Tensor) -> Tensor:
    """Lower bound of the information of generated samples on their codes, equation 5 of [1]_.

    It is E log Q(c | x) + H(c). Q is categorical, and normal with a variance of 1 for each of the
    continuous codes, which are uniform in [-1, 1].

    Parameters
    ----------
    logits : Tensor of shape (n, n_clusters)
        Of Q, for each sample's cluster.
    cluster : Tensor of shape (n,), int64
        The clusters that the samples were generated with.
    means : Tensor of shape (n, n_continuous)
        Of Q, for each sample's continuous codes; there may be none.
    continuous : Tensor of shape (n, n_continuous)
        The codes that the samples were generated with.

    Returns
    -------
    Tensor, a scalar
        In nats.

    References
    ----------
    .. [1] Chen et al. (2016). InfoGAN: Interpretable Representation Learning by Information
       Maximizing Generative Adversarial Nets. NIPS.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import code_information
    >>> none = torch.empty(2, 0)
    >>> code_information(torch.tensor([[99.0, 0], [0, 99.0]]), torch.tensor([0, 1]), none, none)
    tensor(0.6931)
    """
    of_cluster = math.log(logits.shape[1]) - F.cross_entropy(logits.float(), cluster)
    errors = (means.float() - continuous).square().sum(1).mean() / 2
    constant = means.shape[1] * (math.log(2) - math.log(2 * math.pi) / 2)
    return of_cluster + constant - errors


def invariant_information(
    probabilities: Tensor,
    of_copies: Tensor,
    entropy_weight: float = 1.0,
    prior: Tensor | None = None,
) -> Tensor:
    """Mutual information of the clusters of samples and of their copies, equation 3 of [1]_.

    Parameters
    ----------
    probabilities : Tensor of shape (..., n, n_clusters)
        Non-negative rows that sum to one; leading axes are those of several heads.
    of_copies : Tensor of the same shape
        Those of an augmented copy of each sample, or their mean over several copies.
    entropy_weight : float, default=1.0
        Weight of the entropies of the clusters' sizes, lambda of the paper's code, which favours
        clusters of like size; with 1 it is the mutual information.
    prior : Tensor of shape (n_clusters,), default=None
        As in :func:`mutual_information`.

    Returns
    -------
    Tensor of shape (...)
        In nats, in [0, log n_clusters] with a weight of 1: high if samples and copies have the same
        cluster, with confidence, and the clusters are all used. It is biased upwards in batches
        that aren't far larger than n_clusters squared.

    References
    ----------
    .. [1] Ji, Henriques and Vedaldi (2019). Invariant Information Clustering for Unsupervised Image
       Classification and Segmentation. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import invariant_information
    >>> invariant_information(torch.eye(2), torch.eye(2))
    tensor(0.6931)
    """
    with without_autocast(probabilities.device.type):  # bf16 has not the digits
        joint = probabilities.float().mT @ of_copies.float()
    joint = (joint + joint.mT) / (2 * probabilities.shape[-2])
    return 2 * entropy_weight * _evenness(joint.sum(-1), prior) - _entropy(joint.flatten(-2))


def prediction_change(logits: Tensor, perturbed_logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p(x) || p(T(x))) of each sample, as in R_SAT of [1]_.

    Where T(x) is a step in the worst direction it is virtual adversarial training.

    Parameters
    ----------
    logits : Tensor of shape (n, n_clusters)
        Of samples as they are; they are held fixed.
    perturbed_logits : Tensor of shape (n, n_clusters)
        Of perturbed samples, with gradient.

    Returns
    -------
    Tensor of shape (n,)
        In nats.

    References
    ----------
    .. [1] Hu et al. (2017). Learning Discrete Representations via Information Maximizing
       Self-Augmented Training. ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import prediction_change
    >>> prediction_change(torch.tensor([[9.0, -9.0]]), torch.zeros(1, 2))
    tensor([0.6931])
    """
    log_p, log_q = logits.detach().float().log_softmax(1), perturbed_logits.float().log_softmax(1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of diagonal Gaussians from N(0, I), appendix B of [1]_.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n, n_features)

    Returns
    -------
    Tensor, a scalar
        In nats, the mean over the samples.

    References
    ----------
    .. [1] Kingma and Welling (2014). Auto-Encoding Variational Bayes. ICLR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import gaussian_kl
    >>> gaussian_kl(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    tensor(0.5000)
    """
    mean, log_variance = mean.float(), log_variance.float()
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def sparsity_penalty(activations: Tensor, target: float = 0.05) -> Tensor:
    """Divergence of the units' mean activations from a small one, sum_j KL(rho || mean_j), of [1]_.

    Parameters
    ----------
    activations : Tensor of shape (n, n_units)
        In [0, 1], of the whole batch; their means are clipped to [1e-7, 1 - 1e-7].
    target : float in (0, 1), default=0.05
        The mean activation that is wanted, rho.

    Returns
    -------
    Tensor, a scalar
        In nats; 0 where each unit's mean is `target`.

    References
    ----------
    .. [1] Ng (2011). Sparse autoencoder. CS294A lecture notes, Stanford University.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import sparsity_penalty
    >>> sparsity_penalty(torch.tensor([[0.25, 0.1], [0.75, 0.0]]), target=0.5)
    tensor(0.8304)
    """
    mean = activations.float().mean(0)
    entropy = -target * math.log(target) - (1 - target) * math.log1p(-target)
    return (binary_cross_entropy(mean, torch.as_tensor(target)) - entropy).sum()


def gaussian_mixture_logits(
    z: Tensor, log_weights: Tensor, centers: Tensor, log_variances: Tensor
) -> Tensor:
    """Log-densities of each component and of latents, log pi_c + log N(z; mu_c, v_c), of [1]_.

    Their softmax are the responsibilities p(c | z), their logsumexp is the mixture's log p(z).

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
    log_weights : Tensor of shape (n_clusters,)
        Logarithms of the weights pi, which sum to one.
    centers, log_variances : Tensor of shape (n_clusters, n_features)
        Of the components, whose covariances are diagonal.

    Returns
    -------
    Tensor of shape (n, n_clusters)

    References
    ----------
    .. [1] Jiang, Zheng, Tan, Tang and Zhou (2017). Variational Deep Embedding: An Unsupervised and
       Generative Approach to Clustering. IJCAI.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import gaussian_mixture_logits
    >>> weights, centers = torch.tensor([0.25, 0.75]), torch.zeros(2, 1)
    >>> gaussian_mixture_logits(centers, weights.log(), centers, centers).softmax(1)
    tensor([[0.2500, 0.7500],
            [0.2500, 0.7500]])
    """
    # Without matrix products, whose last digits depend on a sample's place in the batch.
    squares = (z.float()[:, None] - centers).square() * (-log_variances).exp()
    return log_weights - (squares + log_variances + math.log(2 * math.pi)).sum(2) / 2


def gaussian_mixture_kl(
    mean: Tensor,
    log_variance: Tensor,
    z: Tensor,
    log_weights: Tensor,
    centers: Tensor,
    log_variances: Tensor,
) -> Tensor:
    """Kullback-Leibler divergence of posteriors q(z, c | x) from a Gaussian mixture, of [1]_.

    The posterior of the cluster is p(c | z) at a draw z of the posterior of the latents.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n, n_features)
        Of the posteriors of the latents.
    z : Tensor of shape (n, n_features)
        A draw from each.
    log_weights, centers, log_variances
        The mixture, as :func:`gaussian_mixture_logits` takes it.

    Returns
    -------
    Tensor, a scalar
        In nats, the mean over the samples. With one component N(0, I) it is
        :func:`gaussian_kl`.

    References
    ----------
    .. [1] Jiang, Zheng, Tan, Tang and Zhou (2017). Variational Deep Embedding: An Unsupervised and
       Generative Approach to Clustering. IJCAI.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import gaussian_mixture_kl
    >>> z, standard = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)
    >>> gaussian_mixture_kl(z, standard, z, torch.zeros(1), standard, standard)
    tensor(0.5000)
    """
    log_gamma = gaussian_mixture_logits(z, log_weights, centers, log_variances).log_softmax(1)
    return clustered_kl(mean, log_variance, log_gamma, log_weights, centers, log_variances)


def clustered_kl(
    mean: Tensor,
    log_variance: Tensor,
    log_q: Tensor,
    log_prior: Tensor,
    centers: Tensor,
    log_variances: Tensor,
) -> Tensor:
    """Kullback-Leibler divergence of q(z | x) q(c | x) from p(c) N(z; mu_c, v_c), of [1]_.

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n, n_features)
        Of the posteriors of the latents.
    log_q : Tensor of shape (n, n_clusters)
        Log-probabilities of the posteriors of the clusters.
    log_prior : Tensor of shape (n_clusters,) or (n, n_clusters)
        Log-probabilities of their prior, of all samples or of each.
    centers, log_variances : Tensor of shape (n_clusters, n_features)
        Of the components, whose covariances are diagonal.

    Returns
    -------
    Tensor, a scalar
        In nats, the mean over the samples.

    References
    ----------
    .. [1] Yang, Cheung, Li and Fang (2019). Deep Clustering by Gaussian Mixture Variational
       Autoencoders with Graph Embedding. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import clustered_kl
    >>> z, standard = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)
    >>> clustered_kl(z, standard, torch.zeros(1, 1), torch.zeros(1), standard, standard)
    tensor(0.5000)
    """
    mean, log_variance = mean.float()[:, None], log_variance.float()[:, None]
    ratio = ((mean - centers).square() + log_variance.exp()) * (-log_variances).exp()
    kl = (ratio - 1 - log_variance + log_variances).sum(2) / 2  # from each component
    return (log_q.exp() * (kl + log_q - log_prior)).sum(1).mean()


def siamese_loss(z: Tensor, near: Tensor, other: Tensor, margin: float = 3.0) -> Tensor:
    """Contrastive loss of pairs, d(z, near)^2 + [margin - d(z, other)^2]_+, as DGG has it [1]_.

    Parameters
    ----------
    z, near, other : Tensor of shape (n, n_features)
        Embeddings of samples, of a neighbour of each and of any other sample.
    margin : float, default=3.0
        Squared distance from which on others are far enough.

    Returns
    -------
    Tensor, a scalar
        The mean over the samples.

    References
    ----------
    .. [1] Yang, Cheung, Li and Fang (2019). Deep Clustering by Gaussian Mixture Variational
       Autoencoders with Graph Embedding. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import siamese_loss
    >>> z = torch.zeros(1, 2)
    >>> siamese_loss(z, near=torch.tensor([[1.0, 0.0]]), other=torch.tensor([[1.0, 1.0]]))
    tensor(2.)
    """
    z = z.float()
    to_near, to_other = ((z - end.float()).square().sum(1) for end in (near, other))
    return (to_near + (margin - to_other).clamp_min(0)).mean()


def negative_elbo(
    decoded: Tensor,
    x: Tensor,
    divergence: Tensor | float = 0.0,
    kl_weight: float = 1.0,
    value_range: tuple[float, float] | None = None,
) -> Tensor:
    """Negative evidence lower bound of [1]_, times 2 / (number of values), less a constant.

    The likelihood is Gaussian with unit variance, so that without a divergence it is the mean
    squared error, or Bernoulli.

    Parameters
    ----------
    decoded, x : Tensor of shape (n, ...)
        What latents decode to, and the samples.
    divergence : scalar Tensor or float, default=0.0
        Of the posteriors from the prior, as :func:`gaussian_kl` gives it.
    kl_weight : float, default=1.0
        Weight of the divergence; 1 in the paper.
    value_range : tuple of two floats, default=None
        With it the likelihood is Bernoulli: the values of `x` and `decoded` that stand for the
        probabilities 0 and 1. What is beyond them in `x`, as an augmentation may make it, counts as
        these.

    Returns
    -------
    Tensor, a scalar

    References
    ----------
    .. [1] Kingma and Welling (2014). Auto-Encoding Variational Bayes. ICLR. Equation 10.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import negative_elbo
    >>> negative_elbo(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
    tensor(5.)
    """
    if value_range is None:
        error = F.mse_loss(decoded.float(), x)
    else:
        low, high = value_range
        probability, target = (decoded - low) / (high - low), (x - low) / (high - low)
        target = target.clamp(0, 1)
        error = 2 * binary_cross_entropy(probability, target).mean()
    return error + 2 * kl_weight * divergence / x[0].numel()


def neighbor_distance(z: Tensor, of_neighbor: Tensor, similarity: Tensor) -> Tensor:
    """Squared distances of latents to those of a neighbour, weighted: the locality term of [1]_.

    Parameters
    ----------
    z, of_neighbor : Tensor of shape (n, n_features)
    similarity : Tensor of shape (n,)
        S, the weight of each pair.

    Returns
    -------
    Tensor, a scalar
        The mean over the pairs.

    References
    ----------
    .. [1] Huang, Huang, Wang and Wang (2014). Deep Embedding Network for Clustering. ICPR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import neighbor_distance
    >>> neighbor_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.tensor([0.5]))
    tensor(12.5000)
    """
    return (similarity * (z.float() - of_neighbor).square().sum(1)).mean()


def group_norms(z: Tensor, n_groups: int) -> Tensor:
    """Norms of groups of latents, each times the root of its size: the sparsity term of [1]_.

    The group lasso: it is least where few groups of a sample aren't zero.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
    n_groups : int
        Groups that the features are cut into, in order; the first ones have one more where they
        can't all be of one size.

    Returns
    -------
    Tensor, a scalar
        The sum over the groups, the mean over the samples. The gradient of a group of zeros is
        zero.

    References
    ----------
    .. [1] Huang, Huang, Wang and Wang (2014). Deep Embedding Network for Clustering. ICPR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import group_norms
    >>> group_norms(torch.tensor([[3.0, 4.0, 2.0]]), n_groups=2)
    tensor(9.0711)
    """
    groups = z.float().tensor_split(n_groups, dim=1)
    norms = [math.sqrt(group.shape[1]) * group.norm(dim=1).mean() for group in groups]
    return torch.stack(norms).sum()


def mixture(z: Tensor, share: Tensor) -> Tensor:
    """Mix the latents of each sample with those of another, equation 2 of [1]_.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
    share : Tensor of shape (n, 1)
        Share of the sample itself, in [0, 0.5]; the other is that of the batch reversed, so that of
        an odd number the one in the middle stays as it is.

    Returns
    -------
    Tensor of shape (n, n_features)

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import mixture
    >>> mixture(torch.tensor([[0.0], [8.0]]), torch.tensor([[0.25], [0.5]]))
    tensor([[6.],
            [4.]])
    """
    return share * z + (1 - share) * z.flip(0)


def critic_loss(mixed: Tensor, share: Tensor, unmixed: Tensor) -> Tensor:
    """Loss of a critic that estimates the share in mixtures, equation 4 of [1]_, 1 of [2]_.

    Parameters
    ----------
    mixed, share : Tensor of shape (n,)
        Its estimates for mixtures, and their shares.
    unmixed : Tensor of shape (n,)
        Its estimates for what is no mixture.

    Returns
    -------
    Tensor, a scalar

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.
    .. [2] Berthelot et al. (2019). Understanding and Improving Interpolation in Autoencoders via
       an Adversarial Regularizer. ICLR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import critic_loss
    >>> critic_loss(torch.tensor([0.5]), torch.tensor([0.0]), torch.tensor([0.5]))
    tensor(0.5000)
    """
    return F.mse_loss(mixed, share) + unmixed.square().mean()


def adversarial_loss(estimate: Tensor) -> Tensor:
    """What the auto-encoder pays for mixtures that a critic sees, in equation 6 of [1]_.

    Parameters
    ----------
    estimate : Tensor of shape (n,)
        The critic's estimates of the shares; 0 where it sees no mixture.

    Returns
    -------
    Tensor, a scalar

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import adversarial_loss
    >>> adversarial_loss(torch.tensor([0.5, 0.0]))
    tensor(0.1250)
    """
    return estimate.square().mean()


def mixing_consistency(decoded: Tensor, x: Tensor) -> Tensor:
    """Squared error between decoded mixtures and the samples that dominate, equation 7 of [1]_.

    Parameters
    ----------
    decoded : Tensor of shape (n, ...)
        What the mixtures of :func:`mixture` decode to.
    x : Tensor of shape (n, ...)
        The batch; its reverse dominates the mixtures.

    Returns
    -------
    Tensor, a scalar

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import mixing_consistency
    >>> mixing_consistency(torch.tensor([[6.0], [1.0]]), torch.tensor([[0.0], [8.0]]))
    tensor(2.5000)
    """
    return F.mse_loss(decoded.float(), x.flip(0))


def student_t_logits(z: Tensor, centers: Tensor) -> Tensor:
    """Logits whose softmax are the soft assignments Q of [1]_, equation 1.

    Student's t kernel around the centres, with one degree of freedom.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
    centers : Tensor of shape (n_clusters, n_features)

    Returns
    -------
    Tensor of shape (n, n_clusters)

    References
    ----------
    .. [1] Xie, Girshick and Farhadi (2016). Unsupervised Deep Embedding for Clustering Analysis.
       ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import student_t_logits
    >>> student_t_logits(torch.zeros(1, 1), torch.tensor([[0.0], [2.0]])).softmax(1)
    tensor([[0.8333, 0.1667]])
    """
    # Without matrix products, whose last digits depend on a sample's place in the batch.
    distance = torch.cdist(z, centers, compute_mode="donot_use_mm_for_euclid_dist")
    return -torch.log1p(distance.square())


def center_distance(z: Tensor, centers: Tensor) -> Tensor:
    """Half the squared distances of latents to the centres they got, equation 6 of [1]_.

    Parameters
    ----------
    z, centers : Tensor of shape (n, n_features)
        Latents, and the centre of each.

    Returns
    -------
    Tensor, a scalar
        The mean over the samples.

    References
    ----------
    .. [1] Yang, Fu, Sidiropoulos and Hong (2017). Towards K-means-friendly Spaces: Simultaneous
       Deep Learning and Clustering. ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import center_distance
    >>> center_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
    tensor(12.5000)
    """
    return (z.float() - centers).square().sum(1).mean() / 2


def target_distribution(probabilities: Tensor, power: float = 1.0) -> Tensor:
    """DEC's target P of soft assignments Q, equation 3 of [1]_, or that of DEPICT [2]_.

    It strengthens confident assignments and divides by the clusters' sizes, so that large ones
    don't distort the latents.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_clusters)
        Soft assignments of the whole data set, positive rows that sum to one.
    power : float, default=1.0
        Of the squared assignments by size, before rows are made to sum to one. 0.5 gives the target
        of [2]_, q / sqrt(size), which favours small clusters and strengthens nothing.

    Returns
    -------
    Tensor of shape (n, n_clusters)
        Rows that sum to one.

    References
    ----------
    .. [1] Xie, Girshick and Farhadi (2016). Unsupervised Deep Embedding for Clustering Analysis.
       ICML.
    .. [2] Ghasedi Dizaji, Herandi, Deng, Cai and Huang (2017). Deep Clustering via Joint
       Convolutional Autoencoder Embedding and Relative Entropy Minimization. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import target_distribution
    >>> target_distribution(torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    tensor([[0.9143, 0.0857],
            [0.2286, 0.7714]])
    """
    # by the means, not the sums: of many samples, the rows would be too small for EPS
    weights = (probabilities.square() / probabilities.mean(0).clamp_min(EPS)).pow(power)
    return weights / weights.sum(1, keepdim=True).clamp_min(EPS)


def layer_errors(decoded: Sequence[Tensor], clean: Sequence[Tensor], inner_weight: float) -> Tensor:
    """Squared errors of a decoder's layers beside the encoder's of clean samples, of [1]_.

    Parameters
    ----------
    decoded : sequence of Tensor
        Outputs of the decoder's layers for noisy samples, of any shapes; the last are samples.
    clean : sequence of Tensor
        What they are to be, of the same shapes: outputs of the encoder's layers for clean samples,
        from the deepest on, and at the end the samples.
    inner_weight : float
        Weight of all but the last.

    Returns
    -------
    Tensor, a scalar
        The weighted sum of the layers' mean squared errors.

    References
    ----------
    .. [1] Ghasedi Dizaji, Herandi, Deng, Cai and Huang (2017). Deep Clustering via Joint
       Convolutional Autoencoder Embedding and Relative Entropy Minimization. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import layer_errors
    >>> inner, samples = torch.ones(1, 3), torch.ones(1, 2)
    >>> layer_errors([inner - 1, samples - 1], [inner, samples], inner_weight=0.1)
    tensor(1.1000)
    """
    *inner, last = (F.mse_loss(a.float(), b.float()) for a, b in zip(decoded, clean, strict=True))
    return last + inner_weight * sum(inner)


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
    with without_autocast(z.device.type):  # cosines over 0.1 need float32
        z = F.normalize(z.float(), dim=1)
        # a finite stand-in for -inf, whose gradient would be NaN where a row has nothing else
        similarity = (z @ z.T / temperature).masked_fill(left_out, -1e9)
        log_share = similarity.log_softmax(1)
        positives = positives & ~left_out
        return -log_share.masked_fill(~positives, 0).sum() / positives.sum().clamp_min(1)


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean of max(0, margin + d²(a, p) - d²(a, n)) over triplets, of features of norm one.

    Parameters
    ----------
    anchor, positive, negative : Tensor of shape (n, n_features)
    margin : float

    Returns
    -------
    Tensor, a scalar
        In [0, margin + 4].

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import triplet_loss
    >>> east, north = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> triplet_loss(east, east, north, margin=1.0), triplet_loss(east, north, east, margin=1.0)
    (tensor(0.), tensor(3.))
    """
    a, p, n = (F.normalize(z.float(), dim=1) for z in (anchor, positive, negative))
    # a squared distance of two such is twice what their product lacks of one
    return (margin + 2 * (a * (n - p)).sum(1)).relu().mean()


def association_loss(a: Tensor, b: Tensor, groups: Tensor, visit_weight: float = 1.0) -> Tensor:
    """Walker and visit loss of learning by association [1]_, on which ADC [2]_ is built.

    From a row of `a` a walker steps to a row of `b`, with a probability that grows with their inner
    product, and back to one of `a`. The walker loss is the cross-entropy of where it arrives with
    the rows of the group it came from, all of the same probability; the visit loss that of where it
    is between with all rows of `b`.

    Parameters
    ----------
    a : Tensor of shape (n, n_features)
    b : Tensor of shape (m, n_features)
    groups : Tensor of shape (n,), int64
        Rows of `a` that belong together.
    visit_weight : float >= 0, default=1.0

    Returns
    -------
    Tensor, a scalar
        Walker loss plus `visit_weight` times visit loss; at least log(m) times that.

    References
    ----------
    .. [1] Haeusser, Mordvintsev and Cremers (2017). Learning by Association - A Versatile
       Semi-Supervised Training Method for Neural Networks. CVPR. Equations 1 to 8.
    .. [2] Haeusser, Plapp, Golkov, Aljalbout and Cremers (2018). Associative Deep Clustering:
       Training a Classification Network with no Labels. GCPR.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import association_loss
    >>> a, b = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.eye(2)
    >>> association_loss(a, b, torch.tensor([0, 1]), visit_weight=0)
    tensor(0.0002)
    """
    with without_autocast(a.device.type):  # probabilities over many rows
        similarity = a.float() @ b.float().T
        there, back = similarity.softmax(1), similarity.softmax(0).T
        together = (groups[:, None] == groups).float()
        arrives, visits = there @ back, there.mean(0)
        walker = -(together / together.sum(1, keepdim=True) * (arrives + 1e-8).log()).sum(1).mean()
        return walker - visit_weight * (visits + 1e-8).log().mean()


def scan_loss(
    logits: Tensor,
    neighbor_logits: Tensor,
    entropy_weight: float = 5.0,
    prior: Tensor | None = None,
) -> Tensor:
    """Semantic clustering loss of SCAN [1]_, equation 2 of ProFeat.

    A sample and one of its neighbours are to have the same, confident cluster, and the clusters
    are to be of like size.

    Parameters
    ----------
    logits, neighbor_logits : Tensor of shape (..., n, n_clusters)
        Of samples and of a neighbour of each; leading axes are those of several heads.
    entropy_weight : float, default=5.0
        Weight of the entropy of the samples' mean probabilities, which is maximised.
    prior : Tensor of shape (n_clusters,), default=None
        As in :func:`mutual_information`.

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
    if prior is not None:
        entropy = _evenness(log_mean.exp(), prior)
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


def temi_loss(logits: Tensor, teacher_logits: Tensor, sizes: Tensor, beta: float = 0.6) -> Tensor:
    r"""Weighted pointwise mutual information of the clusters of a sample and of a neighbour [1]_.

    With the student's probabilities p, the teacher's q, and the clusters' sizes q(c), each head's
    loss is, symmetrised in the two samples x and x', the mean of

    .. math:: -w(x, x') \, \log \sum_c \frac{(p(c | x) \, q(c | x'))^\beta}{q(c)}

    where w(x, x'), the mean over the heads of :math:`\sum_c q(c | x) q(c | x')`, makes less of
    neighbours that the teacher puts into different clusters.

    Parameters
    ----------
    logits, teacher_logits : Tensor of shape (2, n_heads, n, n_clusters)
        The student's, and the teacher's without gradient: of samples, then of a neighbour of each.
    sizes : Tensor of shape (n_heads, n_clusters)
        The teacher's mean probabilities.
    beta : float, default=0.6
        Below 1, so that samples are not drawn into few clusters.

    Returns
    -------
    Tensor of shape (n_heads,)
        In nats.

    References
    ----------
    .. [1] Adaloglou, Michels, Kalisch and Kollmann (2023). Exploring the Limits of Deep Image
       Clustering using Pretrained Models. BMVC.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import temi_loss
    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]]).expand(2, 1, 2, 2)
    >>> temi_loss(logits, logits, torch.full((1, 2), 0.5), beta=1.0).round(decimals=2)
    tensor([-0.6900])
    """
    log_p, log_q = logits.float().log_softmax(-1), teacher_logits.float().log_softmax(-1)
    weight = log_q.sum(0).exp().sum(-1).mean(0)  # (n,), the same for all heads
    log_sizes = sizes.clamp_min(EPS).log().unsqueeze(1)
    information = (beta * (log_p + log_q.flip(0)) - log_sizes).logsumexp(-1).mean(0)
    return -(weight * information).mean(-1)


def turtle_loss(
    probabilities: Tensor,
    logits: Tensor,
    entropy_weight: float = 10.0,
    prior: Tensor | None = None,
) -> Tensor:
    """How badly linear classifiers learn a labelling, less its entropy: equation 12 of [1]_.

    The labels tau are the mean of `probabilities` over the task encoder's spaces (equation 9). The
    loss is their cross-entropy with the classifiers' predictions, summed over the classifiers, less
    the entropies of the clusters' sizes, summed over the spaces.

    Parameters
    ----------
    probabilities : Tensor of shape (n_spaces, n, n_clusters)
        The task encoder's.
    logits : Tensor of shape (n_classifiers, n, n_clusters)
        Of the classifiers that were trained on the labels, one a feature space.
    entropy_weight : float, default=10.0
        gamma.
    prior : Tensor of shape (n_clusters,), default=None
        As in :func:`mutual_information`.

    Returns
    -------
    Tensor, a scalar
        In nats; at least -`entropy_weight` n_spaces log n_clusters.

    References
    ----------
    .. [1] Gadetsky, Jiang and Brbic (2024). Let Go of Your Labels with Unsupervised Transfer. ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.losses import turtle_loss
    >>> turtle_loss(torch.eye(2)[None], torch.zeros(1, 2, 2), entropy_weight=0.0)
    tensor(0.6931)
    """
    p = probabilities.float()
    error = -(p.mean(0) * logits.float().log_softmax(-1)).sum(-1).mean(-1).sum()
    return error - entropy_weight * _evenness(p.mean(1), prior).sum()


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
