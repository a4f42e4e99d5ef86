"""Features of the discriminator of a deep convolutional generative adversarial network (DCGAN)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from skdeepclust._parameters import estimator
from skdeepclust.cluster._base_adversarial import AdversarialObjective, BaseAdversarial
from skdeepclust.losses import discriminator_loss, generator_loss
from skdeepclust.networks import AdversarialNetwork, ConvDiscriminator
from skdeepclust.networks._adversarial import RealHead


class DCGANObjective(AdversarialObjective):
    """Real samples are told from generated ones, which are to be taken for real."""

    def discriminator_loss(
        self, network: AdversarialNetwork, x: Tensor, fake: Tensor, z: Tensor
    ) -> Tensor:
        return discriminator_loss(network(x), network(fake))

    def generator_loss(self, network: AdversarialNetwork, fake: Tensor, z: Tensor) -> Tensor:
        return generator_loss(network(fake))


@estimator
class DCGANFeatures(BaseAdversarial):
    """Features of a discriminator: a transformer (DCGAN).

    A generator learns to make samples that a discriminator can't tell from real ones. The features
    are what all convolutions of the discriminator give, max-pooled to maps of 4x4 [1]_. They suit
    k-means and other estimators::

        make_pipeline(DCGANFeatures(), KMeans(10))

    Parameters
    ----------
    network : torch.nn.Module or callable
        The discriminator but for its last layer. A module from (n, *input_shape) to features is
        copied, with its weights; a callable (a class, say) gets the input shape, (channels,
        height, width) or (n_features,), and returns a new module. Its features are those of the
        transformer. None: :class:`~skdeepclust.networks.ConvDiscriminator` with joined layers for
        images, and :class:`~skdeepclust.networks.DenseDiscriminator` for tabular data, of which the
        last layer gives the features.

    Attributes
    ----------
    network_ : AdversarialNetwork
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` the logit of
        being real, ``network_.generate(z)`` samples.

    See Also
    --------
    SimCLR : Contrastive features.
    InfoGANClustering : A generator with a code for the cluster.

    Notes
    -----
    With the defaults and k-means, random states 0 to 2, on scikit-learn's 1,797 digits: ACC 0.89,
    0.90 and 0.81, beside 0.79 of k-means on pixels. Nothing was chosen on them but Adam's betas and
    the length of the training, on InfoGAN. Maps of less than 4x4, of images below 32x32, stay as
    they are. DCGAN's own width is 128 and its learning rate 2e-4 for both, as in
    ``benchmarks/tables/adversarial.py``; the augmentation is ours.

    References
    ----------
    .. [1] Radford, Metz and Chintala (2016). Unsupervised Representation Learning with Deep
       Convolutional Generative Adversarial Networks. ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DCGANFeatures
    >>> images = load_digits().images[:200]
    >>> dcgan = DCGANFeatures(max_epochs=2, random_state=0).fit(images)
    >>> dcgan.transform(images).shape
    (200, 768)
    >>> dcgan.sample(3, random_state=0).shape
    (3, 8, 8)
    """

    noise_size: int = 100

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 3:
            return ConvDiscriminator(self.input_shape_, join_layers=True)
        return super()._default_encoder()

    def _build_network(self) -> AdversarialNetwork:
        network = super()._build_network()
        # what is joined is for the features alone: the last layer decides, as in DCGAN
        n_last = getattr(network.encoder, "n_last", network.head.in_features)
        network.head = RealHead(n_last)
        return network

    def _head(self, n_features: int) -> nn.Module:
        return RealHead(n_features)

    def _objective(self) -> DCGANObjective:
        return DCGANObjective(self._augmentation(), self.generator_lr)

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> np.ndarray:
        """Generate samples.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, ...), float32 or float64
            Samples in the layout and units that `fit` got; float64 where float32 would round them.
        """
        self._check_draws(n_samples)
        return self._generated(
            self.network_.latent.draw(n_samples, random=self._random(random_state))
        )
