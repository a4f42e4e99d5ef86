"""Auto-encoders, plain and variational, with k-means on their latents."""

from __future__ import annotations

from typing import Any

from torch import nn

from skdeepclust._parameters import NOT_NEGATIVE, estimator, param
from skdeepclust._sklearn import HasMethods, StrOptions
from skdeepclust.cluster._base_autoencoder import BaseLatentKMeans
from skdeepclust.networks._autoencoder import AutoencoderNetwork, UnitRange


@estimator
class BaseLikelihood(BaseLatentKMeans):
    """Base of the auto-encoders whose samples may be probabilities, as of black and white.

    Parameters
    ----------
    likelihood : {"gaussian", "bernoulli"}
        Of the samples, given latents. "gaussian": the loss is the squared error. "bernoulli": it is
        the cross-entropy; the lowest and the highest value of `X` stand for the probabilities 0 and
        1, and what is decoded lies between them.
    """

    likelihood: str = param("gaussian", StrOptions({"gaussian", "bernoulli"}))

    def _build_network(self) -> AutoencoderNetwork:
        network = super()._build_network()
        if self.likelihood == "bernoulli" and self._given_autoencoder() is None:
            low, high = ((v - self.input_mean_) / self.input_scale_ for v in self._input_range)
            network.value_range = low, max(high, low + 1e-6)
            network.decoder = nn.Sequential(network.decoder, UnitRange(*network.value_range))
        return network


@estimator
class AutoencoderClustering(BaseLikelihood):
    """Auto-encoder, then k-means on its latents.

    The baseline of the deep clustering methods with an auto-encoder [1]_.

    Parameters
    ----------
    autoencoder : fitted estimator
        An estimator of this package with an auto-encoder, fitted on samples of the same shape. A
        copy of its network takes the place of the training, and its `input_mean_` and
        `input_scale_` are taken over; the parameters of network and training are ignored, and
        there is one restart by default. Where estimators are cloned, as in a grid search, wrap it
        in :class:`sklearn.frozen.FrozenEstimator`.
    reconstruction : {"sample", "augmented"}
        What an augmented sample is to be decoded to: the sample as it was before, so that what the
        augmentation does leaves the latents, or the augmented one, as in the auto-encoder of DEC
        with data augmentation [2]_. DEC, IDEC and DCN keep to it as they go on.
    max_epochs : int
        Passes over the samples. 400 in the paper.
    lr : float
        Learning rate. 1e-4 in the paper.

    See Also
    --------
    MCDCClustering : Latents trained so that mixtures of two decode to one of the two.
    IDECClustering : Latents trained with the clusters.

    Notes
    -----
    {{autoencoders}}

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.
    .. [2] Guo, Zhu, Liu and Yin (2018). Deep Embedded Clustering with Data Augmentation. ACML.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import AutoencoderClustering
    >>> images = load_digits().images[:200]
    >>> model = AutoencoderClustering(n_clusters=10, max_epochs=2, random_state=0).fit(images)
    >>> model.labels_.shape
    (200,)
    >>> model.inverse_transform(model.transform(images)).shape
    (200, 8, 8)
    """

    autoencoder: Any = param(None, None, HasMethods(["fit", "inverse_transform"]))
    reconstruction: str = param("sample", StrOptions({"sample", "augmented"}))


@estimator
class VAEClustering(BaseLikelihood):
    """Variational auto-encoder [1]_, then k-means on the means of the posteriors.

    Parameters
    ----------
    kl_weight : float
        Weight of the divergence of the posteriors from the prior. The loss is then the evidence
        lower bound with a Gaussian likelihood of this variance on standardised samples; with 1
        the latents carry little.
    max_epochs : int
        Passes over the samples. 400 in the paper that it is compared in [2]_.
    lr : float
        Learning rate. 1e-4 in [2]_.

    See Also
    --------
    MCDCClustering : With ``base="vae"``, mixing consistent training of it.

    Notes
    -----
    {{autoencoders}}

    References
    ----------
    .. [1] Kingma and Welling (2014). Auto-Encoding Variational Bayes. ICLR.
    .. [2] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import VAEClustering
    >>> images = load_digits().images[:200]
    >>> model = VAEClustering(n_clusters=10, max_epochs=2, random_state=0).fit(images)
    >>> model.sample(3, random_state=0).shape
    (3, 8, 8)
    """

    kl_weight: float = param(0.02, NOT_NEGATIVE)

    def _is_variational(self) -> bool:
        return True
