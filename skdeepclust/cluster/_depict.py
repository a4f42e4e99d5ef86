"""Deep embedded regularised clustering (DEPICT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._distributed import n_processes
from skdeepclust._parameters import AT_LEAST_1, BELOW_1, NOT_NEGATIVE, POSITIVE, estimator, param
from skdeepclust._torch_state import has_float64
from skdeepclust.cluster._base_autoencoder import (
    AutoencoderObjective,
    BaseAutoencoderTrainer,
    BaseKMeansClusterer,
    ClusteringTerm,
    GivenAutoencoderMixin,
)
from skdeepclust.cluster._dec import RenewedTargetTerm
from skdeepclust.engine import Phase
from skdeepclust.inference import batch_statistics, evaluated, evaluation_mode
from skdeepclust.losses import layer_errors, target_distribution
from skdeepclust.networks import (
    AutoencoderNetwork,
    LayeredConvDecoder,
    LayeredConvEncoder,
    LayeredDenseNetwork,
    LayeredNetwork,
    Posterior,
)
from skdeepclust.samples import Samples, n_batches


def layers(network: AutoencoderNetwork, z: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return what the decoder's layers make of latents, and what they are to make of samples.

    That is what the encoder's layers give without noise. The samples themselves are last, and alone
    where the layers are not to be had.
    """
    encoder, decoder = network.encoder, network.decoder
    if not (isinstance(encoder, LayeredNetwork) and isinstance(decoder, LayeredNetwork)):
        return [network.decode(z)], [x]
    with batch_statistics(network):  # no dropout
        *inner, _ = encoder.outputs(x.clone())
    return decoder.outputs(z), [*reversed(inner), x]


class DEPICTObjective(AutoencoderObjective):
    """Layer by layer, the decoder undoes the encoder of noisy samples; and a clustering term.

    Parameters
    ----------
    layer_weight : float
        Of the inner layers.
    **kwargs
        Of AutoencoderObjective.
    """

    def __init__(self, layer_weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer_weight = layer_weight

    def loss(self, network: AutoencoderNetwork, x: Tensor, index: Tensor) -> Tensor:
        posterior, x = self.encode(network, x)  # the noisy pass: dropout and augmentation
        # no gradient is held back from the clean pass, as in the authors' code
        decoded, clean = layers(network, posterior.mean, x)
        errors = layer_errors(decoded, clean, self.layer_weight)
        return errors + self.clustering_loss(network, posterior, index)


class LabelTerm(ClusteringTerm):
    """Cross-entropy with the labels of k-means.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,), int64
    weight : float
    """

    labels: Tensor

    def __init__(self, labels: Tensor, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("labels", labels)

    def forward(self, network: AutoencoderNetwork, posterior: Posterior, index: Tensor) -> Tensor:
        logits = network.head(posterior.mean).float()
        return self.weight * F.cross_entropy(logits, self.labels[index])


class BalancedTargetTerm(RenewedTargetTerm):
    """Cross-entropy with a target made of the clean predictions; what changes is the target.

    Less the target's entropy, which has no gradient.

    Parameters
    ----------
    target_power : float
    **kwargs
        Of RenewedTargetTerm.
    """

    def __init__(self, target_power: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_power = target_power

    def renew(self, q: Tensor) -> Tensor:
        """Return the mean squared change."""
        target = target_distribution(q, self.target_power)
        changed = (target - self.target).square().mean()
        self.target.copy_(target)
        return changed


class SoftmaxHead(nn.Linear):
    """Logits that are linear in the latents.

    Attributes
    ----------
    n_features : int
    is_learning : bool
        Whether a phase trains it; until then it gives the nearest centre of k-means.
    """

    def __init__(self, n_features: int, n_clusters: int) -> None:
        super().__init__(n_features, n_clusters)
        self.n_features = n_features
        self.is_learning = False

    def forward(self, z: Tensor) -> Tensor:
        """Return logits of shape (n, n_clusters) for latents of shape (n, n_features)."""
        # in float64: a sample's last digit would depend on its place in the batch
        dtype = torch.float64 if has_float64(z.device) else torch.float32
        return F.linear(z.to(dtype), self.weight.to(dtype), self.bias.to(dtype)).float()

    @torch.no_grad()
    def set_centers(self, centers: Tensor) -> None:
        """Have the nearest centre as the maximum: 2 c z - |c|^2 = |z|^2 - |z - c|^2."""
        self.weight.copy_(2 * centers)
        self.bias.copy_(-centers.square().sum(1))

    @torch.no_grad()
    def normalize(self) -> None:
        """Start to learn at the centres divided by their norms, without a bias."""
        self.weight.copy_(F.normalize(self.weight))
        self.bias.zero_()
        self.is_learning = True


@estimator
class DEPICTClustering(GivenAutoencoderMixin, BaseAutoencoderTrainer, BaseKMeansClusterer):
    """Deep embedded regularised clustering (DEPICT).

    An auto-encoder learns to undo noise layer by layer: what its decoder's layers make of a noisy
    sample is to be what its encoder's layers make of the clean one. k-means on the latents gives
    labels, which a softmax layer upon them learns; then it is trained on its own clean predictions,
    made balanced, for noisy samples. The reconstruction stays in the loss throughout [1]_.

    Parameters
    ----------
    clustering_weight : float
        Weight of the cross-entropy beside the reconstruction's mean squared error in units of the
        samples' variance. 1 in the paper, beside errors of pixels in [-1, 1], which is 2.6 in these
        units on MNIST.
    layer_weight : float
        Weight of the mean squared errors of the inner layers beside that of the samples. 0.1 in the
        authors' code.
    target_power : float
        The target is q ~ (p^2 / f)^target_power, of a sample's clean prediction p and the sum f of
        all samples' for the cluster. 0.5: p / sqrt(f), as in the paper, which favours small
        clusters. 1: p^2 / f, as in DEC and in the authors' code, which strengthens confident
        predictions, too.
    dropout : float in [0, 1)
        Share of the input's and the inner layers' values, but for the last of these, that are lost
        in the noisy pass. It is the default encoder's.
    label_epochs : int
        Passes over the samples with the labels of k-means. In the authors' code, until the
        agreement with them on held-out samples has not risen for 5 epochs.
    finetune_epochs : int
        Passes over the samples with the targets, at most, which are renewed with each.
    tol : float
        The training ends once the mean squared change of the targets from one epoch to the next is
        smaller. 1e-7 in the authors' code, beside its learning rate. 0: it doesn't end early.
    autoencoder : fitted estimator
        An estimator of this package with an auto-encoder, fitted on samples of the same shape. A
        copy of its network takes the place of the training before k-means, and its `input_mean_`
        and `input_scale_` are taken over; the parameters of the network and `max_epochs` are
        ignored, and there is one restart by default. Where estimators are cloned, as in a grid
        search, wrap it in :class:`sklearn.frozen.FrozenEstimator`.
    max_epochs : int
        Passes over the samples before k-means. Up to 4,000 in the authors' code, until the error of
        held-out samples has not fallen for 100.
    batch_size : int
        Samples a step. 100 in the paper.
    lr : float
        Learning rate, also with labels and targets. 1e-4 in the paper.
    latent_size : int
        Size of the latents. None: `n_clusters` as in the paper, but at least 10, since fewer hardly
        tell samples apart.
    decoder : torch.nn.Module or callable
        From latents, (n, n_features), to (n, *input_shape). A module is copied; a callable gets
        n_features and the input shape. Its layers are compared with the encoder's if both are a
        :class:`~skdeepclust.networks.LayeredNetwork`; else the samples alone are. None: the mirror
        image of the default encoder.
    network : torch.nn.Module or callable
        The encoder. A module from (n, *input_shape) to features is copied with its weights; a
        callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
        and returns a new module, best a :class:`~skdeepclust.networks.LayeredNetwork`; see
        `decoder`. None: :class:`~skdeepclust.networks.LayeredConvEncoder` for images, and
        :class:`~skdeepclust.networks.LayeredDenseNetwork` for tabular data.
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters, then
        the one with the highest :meth:`score`. "auto": 4, or 1 if a fitted `autoencoder` is given.
        The paper has one.
    screening : float in (0, 1]
        Share of the epochs after which only the best restart goes on; with the defaults, soon after
        the labels are learnt.
    augmentation : callable, "auto" or None
        From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device,
        to one of the same shape: more noise, in the noisy pass alone; a departure from the paper.
        "auto": :class:`~skdeepclust.augment.RandomAffine` for images and
        :class:`~skdeepclust.augment.RandomNoise` for tabular data. None: as in the paper.

    See Also
    --------
    DECClustering : Targets of the same kind for soft assignments by distance.
    IDECClustering : The same with the reconstruction of the samples kept.

    Notes
    -----
    For USPS the authors' code has agglomerative clustering (AC-PIC) in place of k-means. There,
    targets are made of predictions gathered on the way, here of those for all samples before each
    epoch. What is decoded isn't bounded by a tanh, since samples are standardised.

    {{autoencoders}}
    So were `clustering_weight` and `target_power`, with one restart and 40 epochs with targets, for
    random states 0 and 1: ACC .927 and .856 with the defaults; .907 and .822 with a
    `clustering_weight` of 0.1; .856 and .860 with ``target_power=1.0``, whose NMI is higher, .859
    and .895 beside .881 and .820; .866 and .814 with a weight of 1 and a learning rate of 1e-3
    after k-means, .827 and .810 with 1e-4.

    References
    ----------
    .. [1] Ghasedi Dizaji, Herandi, Deng, Cai and Huang (2017). Deep Clustering via Joint
       Convolutional Autoencoder Embedding and Relative Entropy Minimization. ICCV.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DEPICTClustering
    >>> images = load_digits(n_class=3).images[:200]
    >>> depict = DEPICTClustering(n_clusters=3, n_init=1, max_epochs=5, finetune_epochs=5)
    >>> depict.set_params(random_state=0).fit_predict(images).shape
    (200,)
    """

    clustering_weight: float = param(0.3, NOT_NEGATIVE)
    layer_weight: float = param(0.1, NOT_NEGATIVE)
    target_power: float = param(0.5, POSITIVE)
    dropout: float = param(0.1, BELOW_1)
    label_epochs: int = param(5, AT_LEAST_1)
    finetune_epochs: int = param(50, AT_LEAST_1)
    tol: float = param(0.0, NOT_NEGATIVE)
    screening: float = 0.4

    # ------------------------------------------------------------------ networks

    def _default_encoder(self) -> nn.Module:
        latent_size = self.latent_size or max(10, self.n_clusters)
        if len(self.input_shape_) == 3:
            return LayeredConvEncoder(self.input_shape_, latent_size, dropout=self.dropout)
        sizes = [*self.input_shape_, *self._hidden_sizes(), latent_size]
        return LayeredDenseNetwork(sizes, self.dropout, is_bounded=True)

    def _default_decoder(self, n_features: int) -> nn.Module:
        if len(self.input_shape_) == 3:
            return LayeredConvDecoder(n_features, self.input_shape_)
        return LayeredDenseNetwork([n_features, *self._hidden_sizes()[::-1], *self.input_shape_])

    def _trains_clusters(self) -> bool:
        return True

    def _head(self, n_features: int) -> SoftmaxHead:
        return SoftmaxHead(n_features, self.n_clusters)

    def _build_network(self) -> AutoencoderNetwork:
        network = super()._build_network()
        with torch.no_grad(), evaluation_mode(network):
            device = next(network.parameters()).device  # that of a fitted one may be any
            x = torch.zeros(2, *self.input_shape_, device=device)
            made, wanted = (
                [tuple(output.shape[1:]) for output in outputs]
                for outputs in layers(network, network.embed(x), x)
            )
        if made != wanted:
            raise ValueError(
                f"decoder={self.decoder!r}: its layers give shapes {made}, but must mirror the "
                f"encoder's, {wanted}."
            )
        return network

    # ------------------------------------------------------------------ phases

    def _fit_head(self, network: AutoencoderNetwork, X: Samples) -> None:
        latents = self._latents(network, X)
        network.head.set_centers(self._k_means(latents).centers)

    def _objective(self, **kwargs: Any) -> DEPICTObjective:
        return DEPICTObjective(
            self.layer_weight,
            augmentation=self._augmentation(),
            **kwargs,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        given = self._given_autoencoder()
        if given is not None and given.network_.value_range is not None:
            raise ValueError(
                'autoencoder must have likelihood="gaussian", since errors of the layers are '
                f"squared; got {self.autoencoder!r}."
            )

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        yield from super()._phases(network, X)
        self._fit_head(network, X)
        labels = evaluated(network, X).argmax(1)
        network.head.normalize()
        objective = self._objective(term=LabelTerm(labels, self.clustering_weight))
        yield self._phase(objective, self.label_epochs, "labels")
        term = BalancedTargetTerm(
            self.target_power,
            X=X,
            n_clusters=self.n_clusters,
            weight=self.clustering_weight,
            update_interval=n_batches(len(X), self.batch_size * n_processes()),
            tol=self.tol,
        )
        objective = self._objective(term=term)
        yield self._phase(objective, self.finetune_epochs, "clustering")

    def _planned_epochs(self, n_samples: int) -> int:
        pretraining = super()._planned_epochs(n_samples)
        return pretraining + self.label_epochs + self.finetune_epochs
