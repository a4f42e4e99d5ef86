"""What the methods with an auto-encoder share: its objective, k-means on latents, decoding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, cast

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skdeepclust._inputs import as_array
from skdeepclust._parameters import AT_LEAST_1, estimator, param
from skdeepclust._sklearn import HasMethods
from skdeepclust._warnings import warn
from skdeepclust.base import AugmentationMixin, BaseDeepClusterer, EncoderMixin, _Fitted
from skdeepclust.cluster._latents import k_means_of, pca_whitening
from skdeepclust.engine import Phase
from skdeepclust.inference import (
    evaluated,
    given_decoder,
    reestimate_batch_norm,
)
from skdeepclust.kmeans import KMeansResult
from skdeepclust.losses import negative_elbo
from skdeepclust.networks import (
    AutoencoderNetwork,
    ConvDecoder,
    ConvEncoder,
    DenseNetwork,
    Posterior,
    StudentTHead,
)
from skdeepclust.networks._autoencoder import DENSE_LATENT_SIZE
from skdeepclust.objective import Objective, Parameters
from skdeepclust.samples import Samples


@torch.no_grad()
def first_posterior(n_features: int, variance: Tensor | float = 1.0) -> nn.Linear:
    """Return what starts at the encoder's features as means, with small shares of `variance`."""
    posterior = nn.Linear(n_features, 2 * n_features)
    posterior.weight.zero_()[:n_features].fill_diagonal_(1)
    posterior.bias.zero_()[n_features:] = torch.as_tensor(variance).log() - 4
    return posterior


class ClusteringTerm(nn.Module):
    """What a method adds to the auto-encoder's loss to shape clusters."""

    converged: bool | None = None

    def before_step(self, network: AutoencoderNetwork, n_steps: int) -> None:
        """Prepare what needs the whole data set, before each step."""

    def forward(self, network: AutoencoderNetwork, posterior: Posterior, index: Tensor) -> Tensor:
        """Return the loss of a batch with these latents."""
        raise TypeError(f"{type(self).__name__} does not define `forward`")

    def after_step(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> None:
        """Update what follows the network."""


class AutoencoderObjective(Objective):
    """Reconstruction, of a variational auto-encoder the ELBO, and perhaps a clustering term.

    Parameters
    ----------
    augmentation : callable
    reconstruction_weight : float
        0 leaves the decoder out.
    term : ClusteringTerm or None
    corruption : callable or None
        What is done to a sample after its augmentation, before it is encoded.
    """

    def __init__(
        self,
        augmentation: Callable[[Tensor], Tensor],
        reconstruction_weight: float = 1.0,
        term: ClusteringTerm | None = None,
        corruption: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.reconstruction_weight = reconstruction_weight
        self.term = term
        self.corruption = nn.Identity() if corruption is None else corruption

    @property
    def converged(self) -> bool | None:  # type: ignore[override]  # the term alone sets it
        """Whether the clustering term has converged; None without a criterion."""
        return None if self.term is None else self.term.converged

    def players(self, network: AutoencoderNetwork) -> Mapping[str, Parameters]:
        critic = set() if network.critic is None else set(network.critic.parameters())
        return {"main": [p for p in network.parameters() if p.requires_grad and p not in critic]}

    def before_step(self, network: AutoencoderNetwork, n_steps: int) -> None:
        if self.term is not None:
            self.term.before_step(network, n_steps)

    def after_step(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> None:
        if self.term is not None:
            self.term.after_step(network, x, index)

    def loss(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> Tensor:
        posterior, x = self.encode(network, x)
        loss = self.clustering_loss(network, posterior, index)
        if self.reconstruction_weight:
            decoded = network.decode(posterior.sample())
            reconstruction = self.reconstruction(network, decoded, x, posterior)
            loss = loss + self.reconstruction_weight * reconstruction
        return cast(Tensor, loss)

    def encode(self, network: AutoencoderNetwork, x: Tensor) -> tuple[Posterior, Tensor]:
        """Return the posterior, and what is to be decoded."""
        given, target = self.given_and_target(network, x)
        return network.encode(given), target

    def given_and_target(self, network: AutoencoderNetwork, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is to be encoded, and what is to be decoded."""
        # The augmented sample is encoded and the sample as it is decoded: what the augmentation
        # does to a sample leaves the latents. Without augmentation these are the papers' losses.
        # Copies: what works in place would change the target too.
        augmented = self.augmentation(x.clone())
        if network.decodes_augmented:
            return self.corruption(augmented.clone()), augmented
        return self.corruption(augmented), x

    def reconstruction(
        self, network: AutoencoderNetwork, decoded: Tensor, x: Tensor, posterior: Posterior
    ) -> Tensor:
        divergence = posterior.divergence()
        return negative_elbo(decoded, x, divergence, network.kl_weight, network.value_range)

    def clustering_loss(
        self, network: AutoencoderNetwork, posterior: Posterior, index: Tensor
    ) -> Tensor | float:
        return 0.0 if self.term is None else self.term(network, posterior, index)


@estimator
class BaseAutoencoderClusterer(BaseDeepClusterer):
    """Base of the methods with an auto-encoder: latents, their clusters, decoding.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network: ``network_.embed(x)`` gives latents, ``network_.decode(z)`` samples,
        ``network_(x)`` logits.
    """

    batch_size: int = 64

    _PARTS: ClassVar[dict[str, str]] = {
        "autoencoder": "an estimator of this package with an auto-encoder, or None"
    }

    def _is_variational(self) -> bool:
        return False

    def _trains_clusters(self) -> bool:
        return False

    def _given_autoencoder(self) -> BaseAutoencoderClusterer | None:
        """Return the fitted estimator behind `autoencoder`, if there is one."""
        return self._fitted_part("autoencoder", BaseAutoencoderClusterer)

    def _scaled_as(self) -> BaseAutoencoderClusterer | None:
        return self._given_autoencoder()

    def _auto_n_init(self, n_samples: int) -> int:
        return 4 if self._given_autoencoder() is None else 1

    def _fit_head(self, network: AutoencoderNetwork, X: Samples) -> None:
        """Make clusters of the latents, in the network's head."""
        raise TypeError(f"{type(self).__name__} does not define `_fit_head`")

    def _taken_over(self, network: AutoencoderNetwork) -> AutoencoderNetwork:
        """Return a copy of a trained network, with a head for this estimator's clusters."""
        network = copy.deepcopy(network)
        network.head = self._head(network.head.n_features)
        return network

    # ------------------------------------------------------------------ latents

    def _latents(self, network: AutoencoderNetwork, X: Samples) -> Tensor:
        """Return the latents of all samples; warn if they are all the same."""
        self._reestimate(network, X)
        latents = evaluated(network, X, network.embed)
        if not latents.std(0).any():
            warn(
                f"{type(self).__name__}: the latents of all samples are the same, so that there is "
                "nothing to cluster. Check X and the network, or try a smaller lr.",
                ConvergenceWarning,
            )
        return latents

    def _finalize(self, network: AutoencoderNetwork, X: Samples) -> None:
        if network.head.is_learning:
            self._reestimate(network, X)
        else:
            self._fit_head(network, X)

    def _reestimate(self, network: AutoencoderNetwork, X: Samples) -> None:
        reestimate_batch_norm(network, X, lambda x: network.decode(network.embed(x)))

    # ------------------------------------------------------------------ decoding

    def _decoded(self, z: np.ndarray) -> np.ndarray:
        """Return what latents stand for, on the scale of the training samples."""
        return self._made_of(z, self.network_.decode)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode latents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            Latents, as :meth:`transform` gives them.

        Returns
        -------
        samples : ndarray of shape (n_samples, ...), float32 or float64
            In the layout and units that `fit` got; float64 where float32 would round them.
        """
        check_is_fitted(self, "network_")
        z = check_array(as_array(X), dtype=np.float32, input_name="X")
        if z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {z.shape[1]} features a sample, but the latents of this "
                f"{type(self).__name__} have {self._n_features_out}."
            )
        return self._decoded(z)

    def interpolate(self, X1: Any, X2: Any, *, n_steps: int = 7) -> np.ndarray:
        """Decode points on the lines between the latents of pairs of samples.

        Parameters
        ----------
        X1, X2 : array-like or Tensor
            As many samples each, of the shape seen in `fit`.
        n_steps : int, default=7
            Points a pair, at least 2; the first and last are the reconstructions of the pair.

        Returns
        -------
        X : ndarray of shape (n_pairs, n_steps, ...), float32 or float64
            Samples in the layout and units that `fit` got; float64 where float32 would round them.
        """
        if not isinstance(n_steps, Integral) or n_steps < 2:
            raise ValueError(f"n_steps must be an integer of at least 2; got {n_steps!r}.")
        first, last = self.transform(X1), self.transform(X2)
        first, last = np.asarray(first), np.asarray(last)
        if len(first) != len(last):
            raise ValueError(
                f"X1 and X2 must hold as many samples each; got {len(first)} and {len(last)}."
            )
        share = np.linspace(0, 1, n_steps, dtype=np.float32)[:, None]
        z = first[:, None] * (1 - share) + last[:, None] * share
        decoded = self._decoded(z.reshape(-1, z.shape[-1]))
        return decoded.reshape(len(first), n_steps, *self._sample_shape)

    def _noise(self, n_samples: int, random_state: np.random.RandomState) -> np.ndarray:
        """Return draws from N(0, I), as many and as long as asked for and the latents are."""
        self._check_draws(n_samples)
        return random_state.standard_normal((n_samples, self._n_features_out))


class LatentPriorMixin:
    """For estimators that are variational, always or with some parameters: they draw samples."""

    @available_if(lambda self: self._is_variational())
    def sample(self: Any, n_samples: int = 1, *, random_state: Any = None) -> np.ndarray:
        """Draw samples from the generative model: decoded draws from the prior N(0, I).

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, ...), float32 or float64
            Samples in the layout and units that `fit` got; float64 where float32 would round them.
        """
        return self._decoded(self._noise(n_samples, check_random_state(random_state)))


@estimator
class BaseKMeansClusterer(BaseAutoencoderClusterer):
    """Base of the methods whose clusters are, or begin as, those of k-means on the latents.

    Parameters
    ----------
    kmeans_n_init : int
        Starts of k-means on the latents, of which the best is kept. The MCDC paper has 1,000.
    """

    kmeans_n_init: int = param(100, AT_LEAST_1)

    def _whitens(self) -> bool:
        return False

    def _head(self, n_features: int) -> nn.Module:
        return StudentTHead(n_features, self.n_clusters)

    def _fit_head(self, network: AutoencoderNetwork, X: Samples) -> None:
        """Put the centres of k-means on the latents into the head."""
        latents = self._latents(network, X)
        offset, whitening = latents.mean(0), None
        if self._whitens():
            whitening = pca_whitening(latents)
        network.head.set_centers(network.head.centers.detach(), offset, whitening)
        centers = self._k_means(network.head.project(latents)).centers
        network.head.set_centers(centers, offset, whitening)

    def _k_means(self, points: Tensor) -> KMeansResult:
        return k_means_of(points, self.n_clusters, n_init=self.kmeans_n_init)


@estimator
class DecodedAugmentationMixin(AugmentationMixin):
    """For estimators whose decoder undoes the augmentation.

    Parameters
    ----------
    augmentation : callable, "auto" or None
        From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device,
        to one of the same shape. Its result is encoded, and the decoder is trained to give the
        sample as it was before, so that what the augmentation does leaves the latents; a departure
        from the paper. "auto": :class:`~skdeepclust.augment.RandomAffine` for images and
        :class:`~skdeepclust.augment.RandomNoise` for tabular data. None: as in the paper.
    """


@estimator
class GivenAutoencoderMixin(_Fitted):
    """For estimators that may go on from a fitted auto-encoder.

    Parameters
    ----------
    autoencoder : fitted estimator
        An estimator of this package with an auto-encoder, fitted on samples of the same shape. A
        copy of its network takes the place of the training, and its `input_mean_` and
        `input_scale_` are taken over; the parameters of network and training are ignored, and
        there is one restart by default. Where estimators are cloned, as in a grid search, wrap it
        in :class:`sklearn.frozen.FrozenEstimator`.
    """

    autoencoder: Any = param(None, None, HasMethods(["fit", "inverse_transform"]))


@estimator
class BaseAutoencoderTrainer(EncoderMixin, DecodedAugmentationMixin, BaseAutoencoderClusterer):
    """Base of the methods that train an auto-encoder and then make clusters of its latents.

    Parameters
    ----------
    decoder : torch.nn.Module or callable
        From latents, (n, n_features), to (n, *input_shape). A module is copied; a callable gets
        n_features and the input shape. None: :class:`~skdeepclust.networks.ConvDecoder` for
        images, and the default encoder's mirror image for tabular data.
    hidden_sizes : sequence of int
        Widths of the layers between input and latents, of the default networks for tabular data.
    latent_size : int
        Size of the latents of the default encoder. None: 10 for tabular data; for images 16 maps of
        at most 4x4, the encoder's last (256 values at 28x28, 32x32 and 64x64, 16 at 8x8). A given
        `network` has its own, beside which there can be none here.
    network : torch.nn.Module or callable
        The encoder. A module from (n, *input_shape) to features is copied with its weights; a
        callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
        and returns a new module. None: :class:`~skdeepclust.networks.ConvEncoder` for images, and
        :class:`~skdeepclust.networks.DenseNetwork` for tabular data.
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters, then
        the one with the highest :meth:`score`. "auto": 4, each of which costs a full training. The
        paper has one.
    """

    decoder: Callable[..., Any] | None = param(None, None, callable)
    hidden_sizes: Sequence[int] = param((500, 500, 2000), "array-like")
    latent_size: int | None = param(None, None, AT_LEAST_1)
    max_epochs: int = 25
    lr: float = 2e-3

    _network_class: ClassVar[type[AutoencoderNetwork]] = AutoencoderNetwork

    # ------------------------------------------------------------------ networks

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 3:
            return ConvEncoder(self.input_shape_, self.latent_size)
        latent_size = self.latent_size or DENSE_LATENT_SIZE
        return DenseNetwork([*self.input_shape_, *self._hidden_sizes(), latent_size])

    def _hidden_sizes(self) -> list[int]:
        return [int(size) for size in self.hidden_sizes]  # NumPy's integers too

    def _default_decoder(self, n_features: int) -> nn.Module:
        if len(self.input_shape_) == 3:
            return ConvDecoder(n_features, self.input_shape_)
        return DenseNetwork([n_features, *self._hidden_sizes()[::-1], *self.input_shape_])

    def _build_network(self) -> AutoencoderNetwork:
        given = self._given_autoencoder()
        if given is not None:
            return self._taken_over(given.network_)
        encoder, n_features = self._build_encoder()
        head = self._head(n_features)
        if self.decoder is None:
            decoder = self._default_decoder(n_features)
        else:
            decoder = given_decoder(
                self.decoder, "decoder", n_features, self.input_shape_, self.network
            )
        posterior = first_posterior(n_features) if self._is_variational() else None
        network = self._network_class(encoder, decoder, head, posterior)
        network.kl_weight = getattr(self, "kl_weight", 1.0)
        network.decodes_augmented = getattr(self, "reconstruction", "sample") == "augmented"
        return network

    def _check_parameters(self) -> None:
        sizes = self.hidden_sizes
        is_list = np.ndim(sizes) == 1  # an array of no dimension is array-like, too
        if not is_list or not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(f"hidden_sizes must hold positive integers; got {sizes!r}.")
        given = getattr(self, "autoencoder", None)
        if given is None and self.latent_size is not None and self.network is not None:
            raise ValueError(
                "latent_size must be None where network is given, which has a size of its own; got "
                f"latent_size={self.latent_size}."
            )
        if given is None:
            return
        if self._given_autoencoder() is None:
            raise ValueError(
                f"autoencoder must be a fitted estimator with an auto-encoder; got {given!r}, "
                f"which is not fitted. {type(self).__name__} doesn't train one that is given: fit "
                "it before, or leave it out. Where it is cloned, as GridSearchCV does, wrap the "
                "fitted one: sklearn.frozen.FrozenEstimator(autoencoder)."
            )
        self._part("autoencoder", BaseAutoencoderClusterer, None)  # of samples like these

    # ------------------------------------------------------------------ phases

    def _objective(self, **kwargs: Any) -> Objective:
        """Return what the auto-encoder is trained on."""
        return AutoencoderObjective(self._augmentation(), **kwargs)

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        if self._given_autoencoder() is None:
            yield self._phase(self._objective(), self.max_epochs, "auto-encoder")

    def _planned_epochs(self, n_samples: int) -> int:
        return self.max_epochs if self._given_autoencoder() is None else 0


@estimator
class BaseLatentKMeans(BaseAutoencoderTrainer, BaseKMeansClusterer):
    """Base of the methods that train an auto-encoder and then run k-means on its latents.

    Parameters
    ----------
    whiten : bool
        Whether the latents are whitened by PCA before k-means, as in the paper.
    """

    whiten: bool = param(False, "boolean")

    def _whitens(self) -> bool:
        return self.whiten
