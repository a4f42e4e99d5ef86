"""Base of the methods with a generator and a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

from skdeepclust._parameters import AT_LEAST_1, POSITIVE, estimator, param
from skdeepclust._sklearn import StrOptions
from skdeepclust.base import AugmentationMixin, BaseDeepEstimator, EncoderMixin
from skdeepclust.engine import Phase
from skdeepclust.inference import given_decoder
from skdeepclust.networks import (
    AdversarialNetwork,
    ConvDiscriminator,
    ConvGenerator,
    DenseDiscriminator,
    DenseGenerator,
)
from skdeepclust.networks._adversarial import Latent
from skdeepclust.objective import Objective, Parameters, Step, frozen
from skdeepclust.samples import Samples

N_SHOWN = 480_000  # samples that the discriminator sees; 640,000 in InfoGAN's code on MNIST
BETAS = {"betas": (0.5, 0.999)}  # of Adam: with 0.9 for the first, the two swing about


class AdversarialObjective(Objective):
    """On each batch a step of the discriminator and one of the generator.

    Real and generated samples go through the discriminator apart, for batch normalisation.

    Parameters
    ----------
    augmentation : callable
        Of real and of generated samples.
    generator_lr : float
    """

    def __init__(self, augmentation: Callable[[Tensor], Tensor], generator_lr: float) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.generator_lr = generator_lr

    def players(self, network: AdversarialNetwork) -> Mapping[str, Parameters]:
        """Return the discriminator, the main player, and the generator."""
        made = list(network.generator.parameters())
        discriminator = [*network.encoder.parameters(), *network.head.parameters()]
        return {
            "main": [p for p in discriminator if p.requires_grad],
            "generator": [
                {"params": [p for p in made if p.requires_grad], "lr": self.generator_lr}
            ],
        }

    def discriminator_loss(self, network: Any, x: Tensor, fake: Tensor, z: Tensor) -> Tensor:
        """Return what the discriminator minimises, of real samples and of those made of `z`."""
        raise TypeError(f"{type(self).__name__} does not define `discriminator_loss`")

    def generator_loss(self, network: Any, fake: Tensor, z: Tensor) -> Tensor:
        """Return what the generator minimises, of the samples made of `z`."""
        raise TypeError(f"{type(self).__name__} does not define `generator_loss`")

    def steps(self, network: AdversarialNetwork, x: Tensor, index: Tensor) -> Iterator[Step]:
        z = network.latent.draw(len(x), x.device)
        fake = network.generate(z)
        # copies: a user's network or augmentation may work in place
        real, seen = self.augmentation(x.clone()), self.augmentation(fake.detach().clone())
        yield "main", self.discriminator_loss(network, real, seen, z)
        with frozen([*network.encoder.parameters(), *network.head.parameters()]):
            loss = self.generator_loss(network, self.augmentation(fake.clone()), z)
        yield "generator", loss


@estimator
class BaseAdversarial(EncoderMixin, AugmentationMixin, BaseDeepEstimator):
    """Base of the methods with a generator and a discriminator: networks, phase, generated samples.

    Parameters
    ----------
    generator : torch.nn.Module or callable
        From noise and codes, (n, latent_size), to (n, *input_shape), in units of the samples'
        deviation. A module is copied; a callable gets latent_size and the input shape. None:
        :class:`~skdeepclust.networks.ConvGenerator` for images, with values up to the highest and
        down to the lowest of the training samples, and
        :class:`~skdeepclust.networks.DenseGenerator` for tabular data.
    noise_size : int
        Length of the noise that the generator gets, uniform in [-1, 1].
    generator_lr : float
        Learning rate of the generator; `lr` is the discriminator's.
    max_epochs : int or "auto"
        Passes over the samples. "auto": as many as 480,000 samples are, 267 for 1,797 samples and 7
        for 70,000, but not more than 1,000.
    lr : float
        Learning rate of the discriminator.
    optimizer : callable
        Called with the parameters and ``lr=``, for each of the two. For ``torch.optim.Adam`` itself
        the betas are (0.5, 0.999), as in the papers; ``partial(torch.optim.Adam)`` keeps its own.
    network : torch.nn.Module or callable
        The discriminator but for its last layer. A module from (n, *input_shape) to features is
        copied, with its weights; a callable (a class, say) gets the input shape, (channels,
        height, width) or (n_features,), and returns a new module. None:
        :class:`~skdeepclust.networks.ConvDiscriminator` for images, and
        :class:`~skdeepclust.networks.DenseDiscriminator` for tabular data.
    augmentation : callable, "auto" or None
        From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device,
        to one of the same shape, differentiable. The discriminator sees real and generated samples
        through it, so that neither the few real ones are learnt by heart nor the generator learns
        what it does; a departure from the paper. "auto": :class:`~skdeepclust.augment.RandomAffine`
        for images and :class:`~skdeepclust.augment.RandomNoise` for tabular data. None: as in the
        paper.

    Attributes
    ----------
    network_ : AdversarialNetwork
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` logits of the
        clusters, ``network_.generate(z)`` samples.
    """

    generator: Callable[..., Any] | None = param(None, None, callable)
    noise_size: int = param(62, AT_LEAST_1)
    generator_lr: float = param(1e-3, POSITIVE)
    max_epochs: int | Literal["auto"] = param(  # type: ignore[assignment]
        "auto", AT_LEAST_1, StrOptions({"auto"})
    )
    lr: float = 2e-4

    def _planned_epochs(self, n_samples: int) -> int:
        if self.max_epochs != "auto":
            return self.max_epochs
        return min(max(1, round(N_SHOWN / n_samples)), 1000)

    def _latent(self) -> Latent:
        """Return what the generator gets."""
        return Latent(self.noise_size)

    def _head(self, n_features: int) -> nn.Module:
        """Return the discriminator's last layers."""
        raise TypeError(f"{type(self).__name__} does not define `_head`")

    def _objective(self) -> AdversarialObjective:
        """Return what the two are trained on."""
        raise TypeError(f"{type(self).__name__} does not define `_objective`")

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 3:
            return ConvDiscriminator(self.input_shape_)
        return DenseDiscriminator(self.input_shape_)

    def _default_generator(self, latent_size: int) -> nn.Module:
        if len(self.input_shape_) == 3:
            value_range = self._standardised_range()
            return ConvGenerator(latent_size, self.input_shape_, value_range=value_range)
        return DenseGenerator(latent_size, self.input_shape_)

    def _new_generator(self, latent_size: int) -> nn.Module:
        """Return a new generator; raise where it doesn't suit `X`."""
        if self.generator is None:
            return self._default_generator(latent_size)
        return given_decoder(
            self.generator, "generator", latent_size, self.input_shape_, self.network
        )

    def _build_network(self) -> AdversarialNetwork:
        encoder, n_features = self._build_encoder()
        latent = self._latent()
        generator = self._new_generator(len(latent))
        return AdversarialNetwork(encoder, self._head(n_features), generator, latent)

    def _phases(self, network: AdversarialNetwork, X: Samples) -> Iterator[Phase]:
        yield self._phase(
            self._objective(),
            self._planned_epochs(len(X)),
            "adversarial",
            drop_last=True,  # a few samples say little of a normalisation that both players have
            optimizer_params=BETAS if self.optimizer is torch.optim.Adam else {},
        )

    def _random(self, random_state: Any) -> torch.Generator:
        """Return what noise is drawn with."""
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        return torch.Generator().manual_seed(seed)

    def _generated(self, z: Tensor) -> np.ndarray:
        """Return what the generator makes of draws, in the layout and units that `fit` got."""
        return self._made_of(z.numpy(), self.network_.generate)
