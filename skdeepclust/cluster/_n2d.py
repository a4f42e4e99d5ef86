"""Not too deep clustering (N2D): an auto-encoder, a manifold learner, a Gaussian mixture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from skdeepclust._distributed import agreed
from skdeepclust._parameters import AT_LEAST_1, estimator, param
from skdeepclust._sklearn import HasMethods, StrOptions, unset_random_states
from skdeepclust._torch_state import neutral_settings, same_n_threads
from skdeepclust.cluster._base_autoencoder import BaseAutoencoderTrainer, GivenAutoencoderMixin
from skdeepclust.inference import forward_in_slices
from skdeepclust.networks import AutoencoderNetwork
from skdeepclust.samples import Samples


def import_umap() -> Any:
    """Return the class ``UMAP``, which only ``manifold="umap"`` needs."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            'N2DClustering(manifold="umap") needs umap-learn. Install it with: '
            'pip install "skdeepclust[umap]", or pass a manifold learner of scikit-learn, such as '
            "manifold=Isomap()."
        ) from error
    return UMAP


def as_array(z: Tensor) -> np.ndarray:
    """Return latents in float64, in which a sample's rounding doesn't depend on the others."""
    return z.detach().cpu().double().numpy()


class MixtureHead(nn.Module):
    """Logits of a Gaussian mixture on the manifold of the latents.

    It holds what scikit-learn fits: nothing is trained by gradients, and all is on the CPU.

    Parameters
    ----------
    n_features : int
        Size of the latents.

    Attributes
    ----------
    manifold : estimator with ``fit_transform`` and ``transform``
    mixture : GaussianMixture
    """

    is_learning = False

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def fit(self, z: Tensor, manifold: Any, mixture: GaussianMixture) -> None:
        """Fit both, one after the other, to all latents."""
        # what they learn is no tensor, so that processes agree on what it is learnt from
        latents = agreed(as_array(z))
        with same_n_threads():
            points = manifold.fit_transform(latents)
        self.manifold, self.mixture = manifold, mixture.fit(np.asarray(points, dtype=np.float64))

    def forward(self, z: Tensor) -> Tensor:
        """Return log-probabilities, (n, n_clusters), for latents of shape (n, n_features)."""
        with same_n_threads():
            points = self.manifold.transform(as_array(z))
        p = self.mixture.predict_proba(np.asarray(points, dtype=np.float64))
        return torch.from_numpy(p).float().clamp_min(1e-30).log().to(z.device)


@estimator
class N2DClustering(GivenAutoencoderMixin, BaseAutoencoderTrainer):
    """Not too deep clustering (N2D): a Gaussian mixture on the manifold of latents.

    An auto-encoder is trained; a manifold learner, UMAP, maps its latents to a space in which
    near neighbours stay together and clusters lie apart; a Gaussian mixture finds them there
    [1]_. No loss shapes the clusters.

    Parameters
    ----------
    manifold : "umap" or transformer
        What maps the latents. "umap": UMAP with 20 neighbours, `min_dist=0` and `n_clusters`
        components, as in the paper; needs ``pip install "skdeepclust[umap]"``. Any transformer with
        ``fit_transform`` and ``transform`` of scikit-learn's form may take its place, such as
        :class:`sklearn.manifold.Isomap`, or a ``umap.UMAP`` with other settings: a copy is fitted,
        of which a `random_state` of None follows this estimator's.
    mixture_n_init : int
        Starts of the Gaussian mixture, of which the likeliest is kept. 1 in the authors' code.
    max_epochs : int
        Passes over the samples. 1,000 in the paper.
    batch_size : int
        Samples a step. 256 in the paper.
    lr : float
        Learning rate. 1e-3 in the paper.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network: ``network_.embed(x)`` gives latents, ``network_.decode(z)`` samples,
        ``network_(x)`` logits. ``network_.head.manifold`` and ``network_.head.mixture`` are the
        fitted manifold learner and mixture; that one's clusters are numbered as `labels_` are.

    See Also
    --------
    AutoencoderClustering : k-means on the latents themselves.
    DeepClustering : Clusters that neighbours share, too, without UMAP.

    Notes
    -----
    The mixture clusters the training samples where the manifold learner has put them, as in the
    paper. UMAP maps other samples by a short optimisation against these: the cluster of one that
    lies between two may depend on those that are mapped with it. It is seeded, and so runs in one
    thread.
    In the paper there are as many latents as clusters; here their number does not follow
    `n_clusters`: see `latent_size`.
    :meth:`transform` gives the auto-encoder's latents. All latents are held in memory, also where
    `X` isn't, and each restart maps anew.

    {{autoencoders}}

    References
    ----------
    .. [1] McConville, Santos-Rodriguez, Piechocki and Craddock (2020). N2D: (Not Too) Deep
       Clustering via Clustering the Local Manifold of an Autoencoded Embedding. ICPR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.manifold import Isomap
    >>> from skdeepclust import N2DClustering
    >>> images = load_digits().images[:200]
    >>> n2d = N2DClustering(n_clusters=10, manifold=Isomap(n_components=5), max_epochs=2, n_init=1)
    >>> n2d.set_params(random_state=0).fit_predict(images).shape
    (200,)
    """

    manifold: Any = param(
        "umap", StrOptions({"umap"}), HasMethods(["fit_transform", "transform", "get_params"])
    )
    mixture_n_init: int = param(5, AT_LEAST_1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if isinstance(self.manifold, type):
            raise ValueError(
                f"manifold must be 'umap' or a transformer, not its class; got {self.manifold!r}."
            )
        if isinstance(self.manifold, str):
            import_umap()

    def _head(self, n_features: int) -> MixtureHead:
        return MixtureHead(n_features)

    def _manifold(self, n_samples: int, seed: int) -> Any:
        """Return a new manifold learner."""
        if isinstance(self.manifold, str):
            return import_umap()(
                n_neighbors=min(20, n_samples - 1),
                n_components=self.n_clusters,
                min_dist=0.0,
                random_state=seed,
                n_jobs=1,  # it would warn that a random state takes the others
            )
        manifold = clone(self.manifold)
        return manifold.set_params(**dict.fromkeys(unset_random_states(manifold), seed))

    def _fit_head(self, network: AutoencoderNetwork, X: Samples) -> None:
        latents = self._latents(network, X)
        seed = int(torch.randint(2**31 - 1, ()))
        mixture = GaussianMixture(self.n_clusters, n_init=self.mixture_n_init, random_state=seed)
        network.head.fit(latents, self._manifold(len(latents), seed), mixture)

    def _of_logits(
        self, function: Callable[[Tensor], Tensor], network: Any, X: Samples, out: Any = None
    ) -> Any:
        with neutral_settings():  # UMAP takes a second a call, so that it gets all latents at once
            logits = network.head(forward_in_slices(network.embed, X))
        return self._forward(function, logits, out)
