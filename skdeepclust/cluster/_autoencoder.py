"""Auto-encoders, plain and variational, with k-means on their latents; base of the family."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skdeepclust._docs import shared_docs
from skdeepclust.base import BaseDeepClusterer
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluation_mode, forward_in_slices, reestimate_batch_norm
from skdeepclust.kmeans import k_means
from skdeepclust.losses import negative_elbo
from skdeepclust.networks import (
    AutoencoderNetwork,
    ConvDecoder,
    ConvEncoder,
    DenseNetwork,
    Posterior,
    StudentTHead,
)
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.objective import Objective
from skdeepclust.samples import Samples

DENSE_LATENT_SIZE = 10


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
    kl_weight : float
        Weight of the divergence from the prior; variational auto-encoders only.
    reconstruction_weight : float
        0 leaves the decoder out.
    term : ClusteringTerm or None
    """

    def __init__(
        self,
        augmentation: Callable[[Tensor], Tensor],
        kl_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        term: ClusteringTerm | None = None,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.kl_weight = kl_weight
        self.reconstruction_weight = reconstruction_weight
        self.term = term

    @property
    def converged(self) -> bool | None:
        """Whether the clustering term has converged; None without a criterion."""
        return None if self.term is None else self.term.converged

    def players(self, network: nn.Module) -> Mapping[str, Sequence[nn.Parameter]]:
        critic = set() if network.critic is None else set(network.critic.parameters())
        return {"main": [p for p in super().players(network)["main"] if p not in critic]}

    def before_step(self, network: nn.Module, n_steps: int) -> None:
        if self.term is not None:
            self.term.before_step(network, n_steps)

    def after_step(self, network: nn.Module, x: Tensor, index: Tensor) -> None:
        if self.term is not None:
            self.term.after_step(network, x, index)

    def loss(self, network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        posterior = self.encode(network, x)
        loss = self.clustering_loss(network, posterior, index)
        if self.reconstruction_weight:
            decoded = network.decode(posterior.sample())
            reconstruction = self.reconstruction(decoded, x, posterior)
            loss = loss + self.reconstruction_weight * reconstruction
        return loss

    def encode(self, network: nn.Module, x: Tensor) -> Posterior:
        # The augmented sample is encoded and the sample as it is decoded: what the augmentation
        # does to a sample leaves the latents. Without augmentation these are the papers' losses.
        # A copy is augmented: what works in place would change the target too.
        return network.encode(self.augmentation(x.clone()))

    def reconstruction(self, decoded: Tensor, x: Tensor, posterior: Posterior) -> Tensor:
        return negative_elbo(decoded, x, posterior.divergence(), self.kl_weight)

    def clustering_loss(
        self, network: nn.Module, posterior: Posterior, index: Tensor
    ) -> Tensor | float:
        return 0.0 if self.term is None else self.term(network, posterior, index)


class BaseAutoencoderClusterer(BaseDeepClusterer):
    """Base of the methods with an auto-encoder: networks, k-means on latents, decoding."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseDeepClusterer._parameter_constraints,
        "decoder": [None, callable],
        "hidden_sizes": ["array-like"],
        "latent_size": [None, Interval(Integral, 1, None, closed="left")],
        "kmeans_n_init": [Interval(Integral, 1, None, closed="left")],
    }

    autoencoder = None  # of the subclasses that don't have it as a parameter

    def _is_variational(self) -> bool:
        return False

    def _whitens(self) -> bool:
        return False

    def _resolved_n_init(self) -> int:
        if self.n_init == "auto":
            return 4 if self._given_autoencoder() is None else 1
        return self.n_init

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

    def _head(self, n_features: int) -> nn.Module:
        return StudentTHead(n_features, self.n_clusters)

    def _build_network(self) -> AutoencoderNetwork:
        given = self._given_autoencoder()
        if given is not None:
            network = copy.deepcopy(given.network_)
            network.head = self._head(given._n_features_out)
            return network
        network = super()._build_network()
        n_features = network.head.offset.numel()
        if self.decoder is None:
            decoder = self._default_decoder(n_features)
        elif isinstance(self.decoder, nn.Module):
            decoder = copy.deepcopy(self.decoder)
        else:
            decoder = self.decoder(n_features, self.input_shape_)
        self._check_decoder(decoder, n_features)
        posterior = nn.Linear(n_features, 2 * n_features) if self._is_variational() else None
        if posterior is not None:  # starts at the encoder's features, with small variances
            with torch.no_grad():
                posterior.weight.zero_()[:n_features].fill_diagonal_(1)
                posterior.bias.zero_()[n_features:].fill_(-4)
        return AutoencoderNetwork(network.encoder, decoder, network.head, posterior)

    def _check_decoder(self, decoder: nn.Module, n_features: int) -> None:
        problem = f"decoder={self.decoder!r} does not make samples of shape {self.input_shape_} "
        problem += f"of {n_features} features"
        try:
            with torch.no_grad(), evaluation_mode(decoder):
                decoded = decoder(torch.zeros(2, n_features))
        except RuntimeError as error:
            raise ValueError(f"{problem}: {error}") from error
        if not isinstance(decoded, Tensor):
            raise ValueError(f"{problem}: it must return a tensor, but gave {decoded!r}.")
        if decoded.shape[1:] != self.input_shape_:
            raise ValueError(f"{problem}, but of shape {tuple(decoded.shape[1:])}.")

    # ------------------------------------------------------------------ a fitted auto-encoder

    def _given_autoencoder(self) -> BaseAutoencoderClusterer | None:
        """Return the fitted estimator behind `autoencoder`, which may be frozen."""
        given = getattr(self.autoencoder, "estimator", self.autoencoder)
        if given is None:
            return None
        if not isinstance(given, BaseAutoencoderClusterer):
            raise ValueError(
                "autoencoder must be a fitted estimator of this package with an auto-encoder, "
                f"such as AutoencoderClustering; got {self.autoencoder!r}."
            )
        if not hasattr(given, "network_"):
            raise ValueError(
                "autoencoder must be a fitted estimator with an auto-encoder; got "
                f"{self.autoencoder!r}, which is not fitted. Where it is cloned, as GridSearchCV "
                "does, wrap the fitted one: sklearn.frozen.FrozenEstimator(autoencoder)."
            )
        return given

    def _scaled_as(self) -> BaseAutoencoderClusterer | None:
        return self._given_autoencoder()

    def _check_parameters(self) -> None:
        for size in self.hidden_sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    f"hidden_sizes must hold positive integers; got {self.hidden_sizes!r}."
                )
        given = self._given_autoencoder()
        if given is not None and given.input_shape_ != self.input_shape_:
            raise ValueError(
                f"autoencoder was fitted on samples of shape {given.input_shape_}, but X holds "
                f"samples of shape {self.input_shape_}."
            )

    # ------------------------------------------------------------------ phases

    def _phase(self, objective: Objective, max_epochs: int, name: str, lr: float) -> Phase:
        return Phase(
            objective,
            max_epochs,
            name,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            lr=lr,
        )

    # ------------------------------------------------------------------ k-means on the latents

    def _fit_head(self, network: AutoencoderNetwork, X: Samples) -> None:
        """Put the centres of k-means on the latents into the head."""
        with evaluation_mode(network):
            latents = forward_in_slices(network.embed, X)
        offset, whitening = latents.mean(0), None
        if not latents.std(0).any():
            warnings.warn(
                f"{type(self).__name__}: the latents of all samples are the same, so that there is "
                "nothing to cluster. Check X and the network, or try a smaller lr.",
                ConvergenceWarning,
                stacklevel=2,
            )
        elif self._whitens():
            pca = PCA(whiten=True, svd_solver="full", random_state=0)
            pca.fit(latents.cpu().numpy())
            used = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]
            scaled = pca.components_[used].T / np.sqrt(pca.explained_variance_[used])
            whitening = torch.from_numpy(np.ascontiguousarray(scaled, dtype=np.float32))
        network.head.set_centers(network.head.centers.detach(), offset, whitening)
        points = network.head.project(latents)
        if points.device.type == "mps":  # which k_means doesn't take
            points = points.cpu()
        centers = k_means(points, self.n_clusters, n_init=self.kmeans_n_init).centers
        network.head.set_centers(centers, offset, whitening)

    def _finalize(self, network: ClusterNetwork, X: Samples) -> None:
        reestimate_batch_norm(network, X, lambda x: network.decode(network.embed(x)))
        if not network.head.is_learning:
            self._fit_head(network, X)

    # ------------------------------------------------------------------ decoding

    def _decoded(self, z: np.ndarray) -> np.ndarray:
        """Return what latents stand for, on the scale of the training samples."""
        device = next(self.network_.parameters()).device
        z = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)).to(device)
        decoded = self._in_units_of_X(self._forward(self.network_.decode, z))
        return decoded.reshape(-1, *self._sample_shape)

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Decode latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features_out)
            Latents, as :meth:`transform` gives them.

        Returns
        -------
        X : ndarray of shape (n_samples, ...), float32 or float64
            Samples in the layout and units that `fit` got; float64 where float32 would round them.
        """
        check_is_fitted(self, "network_")
        Z = check_array(Z, dtype=np.float32, input_name="Z")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"Z has {Z.shape[1]} features a sample, but the latents of this "
                f"{type(self).__name__} have {self._n_features_out}."
            )
        return self._decoded(Z)

    def interpolate(self, X1: Any, X2: Any, n_steps: int = 7) -> np.ndarray:
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

    @available_if(lambda self: self._is_variational())
    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
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
        check_is_fitted(self, "network_")
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a positive integer; got {n_samples!r}.")
        random_state = check_random_state(random_state)
        return self._decoded(random_state.standard_normal((n_samples, self._n_features_out)))


class _BaseLatentKMeans(BaseAutoencoderClusterer):
    """Base of the methods that train an auto-encoder and then run k-means on its latents."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoderClusterer._parameter_constraints,
        "whiten": ["boolean"],
    }

    def _whitens(self) -> bool:
        return self.whiten

    def _objective(self) -> Objective:
        """Return what the auto-encoder is trained on."""
        raise TypeError(f"{type(self).__name__} does not define `_objective`")

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        if self._given_autoencoder() is None:
            yield self._phase(self._objective(), self.max_epochs, "auto-encoder", self.lr)

    def _planned_epochs(self, n_samples: int) -> int:
        return self.max_epochs if self._given_autoencoder() is None else 0


@shared_docs
class AutoencoderClustering(_BaseLatentKMeans):
    """Auto-encoder, then k-means on its latents.

    The baseline of the deep clustering methods with an auto-encoder [1]_.

    Parameters
    ----------
    {{n_clusters}}
    {{autoencoder}}
    {{network}}
    {{augmentation}}
    whiten : bool, default=False
        Whether the latents are whitened by PCA before k-means, as in the paper.
    {{kmeans}}
    {{four_restarts}}
    max_epochs : int, default=25
        Passes over the samples. 400 in the paper.
    batch_size : int, default=64
        Samples a step.
    lr : float, default=2e-3
        Learning rate. 1e-4 in the paper.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    MCDCClustering : Latents trained so that mixtures of two decode to one of the two.
    IDECClustering : Latents trained with the clusters.

    Notes
    -----
    {{chosen}}

    References
    ----------
    .. [1] Lutscher et al. (2020). Mixing Consistent Deep Clustering. arXiv:2011.01977.

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseLatentKMeans._parameter_constraints,
        "autoencoder": [None, HasMethods(["fit", "inverse_transform"])],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        autoencoder: Any = None,
        network: Callable[..., Any] | None = None,
        decoder: Callable[..., Any] | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        whiten: bool = False,
        kmeans_n_init: int = 100,
        n_init: int | str = "auto",
        screening: float = 1.0,
        max_epochs: int = 25,
        batch_size: int = 64,
        lr: float = 2e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.autoencoder = autoencoder
        self.network = network
        self.decoder = decoder
        self.hidden_sizes = hidden_sizes
        self.latent_size = latent_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.whiten = whiten
        self.kmeans_n_init = kmeans_n_init
        self.n_init = n_init
        self.screening = screening
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _objective(self) -> Objective:
        return AutoencoderObjective(self._augmentation())


@shared_docs
class VAEClustering(_BaseLatentKMeans):
    """Variational auto-encoder [1]_, then k-means on the means of the posteriors.

    Parameters
    ----------
    {{n_clusters}}
    kl_weight : float, default=0.02
        Weight of the divergence of the posteriors from the prior. The loss is then the evidence
        lower bound with a Gaussian likelihood of this variance on standardised samples; with 1
        the latents carry little.
    {{network}}
    {{augmentation}}
    whiten : bool, default=False
        Whether the latents are whitened by PCA before k-means, as in the paper.
    {{kmeans}}
    {{four_restarts}}
    max_epochs : int, default=25
        Passes over the samples. 400 in the paper that it is compared in [2]_.
    batch_size : int, default=64
        Samples a step.
    lr : float, default=2e-3
        Learning rate. 1e-4 in [2]_.
    {{optimizer}}
    {{training}}

    Attributes
    ----------
    {{network_}}
    {{attributes}}

    See Also
    --------
    MCDCClustering : With ``base="vae"``, mixing consistent training of it.

    Notes
    -----
    {{chosen}}

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseLatentKMeans._parameter_constraints,
        "kl_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        kl_weight: float = 0.02,
        network: Callable[..., Any] | None = None,
        decoder: Callable[..., Any] | None = None,
        hidden_sizes: Sequence[int] = (500, 500, 2000),
        latent_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        whiten: bool = False,
        kmeans_n_init: int = 100,
        n_init: int | str = "auto",
        screening: float = 1.0,
        max_epochs: int = 25,
        batch_size: int = 64,
        lr: float = 2e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.kl_weight = kl_weight
        self.network = network
        self.decoder = decoder
        self.hidden_sizes = hidden_sizes
        self.latent_size = latent_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.whiten = whiten
        self.kmeans_n_init = kmeans_n_init
        self.n_init = n_init
        self.screening = screening
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _is_variational(self) -> bool:
        return True

    def _objective(self) -> Objective:
        return AutoencoderObjective(self._augmentation(), self.kl_weight)


class BasePretrainThenCluster(BaseAutoencoderClusterer):
    """Base of the methods that pretrain an auto-encoder and then train it with the clusters."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoderClusterer._parameter_constraints,
        "autoencoder": [None, HasMethods(["fit", "inverse_transform"])],
        "pretrain_epochs": [Interval(Integral, 1, None, closed="left")],
        "pretrain_lr": [Interval(Real, 0, None, closed="neither")],
    }

    _reconstruction_weight = 1.0

    def _term(self, network: AutoencoderNetwork, X: Samples) -> ClusteringTerm:
        """Return what shapes the clusters, given k-means' centres in the network's head."""
        raise TypeError(f"{type(self).__name__} does not define `_term`")

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        augmentation = self._augmentation()
        if self._given_autoencoder() is None:
            objective = AutoencoderObjective(augmentation)
            yield self._phase(objective, self.pretrain_epochs, "pretraining", self.pretrain_lr)
        self._fit_head(network, X)
        network.head.is_learning = True
        objective = AutoencoderObjective(
            augmentation,
            # a given variational auto-encoder goes on with the loss that it was trained on
            kl_weight=getattr(self._given_autoencoder(), "kl_weight", 1.0),
            reconstruction_weight=self._reconstruction_weight,
            term=self._term(network, X),
        )
        yield self._phase(objective, self.max_epochs, "clustering", self.lr)

    def _planned_epochs(self, n_samples: int) -> int:
        pretraining = self.pretrain_epochs if self._given_autoencoder() is None else 0
        return pretraining + self.max_epochs
