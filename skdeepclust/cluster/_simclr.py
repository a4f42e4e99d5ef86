"""Contrastive representation learning (SimCLR)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from skdeepclust._distributed import gather
from skdeepclust._parameters import AT_LEAST_1, POSITIVE, estimator, param
from skdeepclust._warnings import warn
from skdeepclust.augment import RandomNoise, simclr_augmentation
from skdeepclust.base import AugmentationMixin, BaseDeepEstimator, EncoderMixin
from skdeepclust.engine import Phase, cosine_to
from skdeepclust.losses import contrastive_loss
from skdeepclust.networks import DenseEncoder, RepresentationNetwork, ResNet18, SmallConvEncoder
from skdeepclust.objective import CountingObjective
from skdeepclust.samples import Samples

LAST_LR_FACTOR = 1e-3  # what cosine schedules end with: 0.4 to 0.0004 in the papers


class ContrastiveObjective(CountingObjective):
    """Two views of each sample are alike, and so are those of the pairs that `pairs` gives.

    Parameters
    ----------
    augmentation : callable
    temperature : float
    pairs : nn.Module, default=None
        From the batch's indices, (n,), to the pairs that belong together, (n, n), and the
        samples that take part, (n,). None: no pairs, and all samples.
    """

    def __init__(
        self,
        augmentation: Callable[[Tensor], Tensor],
        temperature: float,
        pairs: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.temperature = temperature
        self.pairs = pairs

    def loss(self, network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        """Return the contrastive loss of two views of the batch."""
        z = network(self.augmentation(torch.cat([x, x])))
        z = gather(z.view(2, len(x), -1), 1).flatten(0, 1)
        index = gather(index)
        positives, kept = torch.eye(len(index), dtype=torch.bool, device=x.device), None
        if self.pairs is not None:
            pairs, kept = self.pairs(index)
            self.count(kept)
            positives, kept = positives | pairs, kept.repeat(2)
        return contrastive_loss(z, positives.repeat(2, 2), kept, self.temperature)

    def epoch_metrics(self) -> dict[str, Tensor | float]:
        """Return the share of the samples that take part, where not all do."""
        if self.pairs is None:
            return {}
        share = self.share()
        if share == 0:
            warn(
                "No sample is confident, so that the representation is not refined. Try a lower "
                "threshold (or min_connections), or more epochs of clustering.",
                ConvergenceWarning,
            )
        return {"confident": share}


def value_range(X: Samples) -> tuple[float, float]:
    """Return the standardised values of black and white: the extremes of the training set."""
    low, high = X.aminmax()
    return low, max(high, low + 1e-6)


@estimator
class SimCLR(EncoderMixin, AugmentationMixin, BaseDeepEstimator):
    """Contrastive representation of images: a transformer (SimCLR).

    An encoder is trained so that two augmented views of an image are alike and views of different
    images are not [1]_. Its features suit k-means and other estimators::

        make_pipeline(SimCLR(), KMeans(10))

    Parameters
    ----------
    projection_size : int
        Size of the projections that are compared, which a network with one hidden layer makes of
        the features.
    temperature : float
        Divides the cosines of the contrastive loss.
    max_epochs : int
        Passes over the samples. 500 in SCAN and ProFeat on CIFAR-10.
    batch_size : int
        Samples a step, each with two views; the others of the batch are its negatives. 512 in the
        papers.
    lr : float
        Learning rate of the first epoch; it falls to a thousandth along a cosine. The papers have
        0.4 with SGD.
    optimizer : callable
        Called with the parameters and ``lr=``. The papers' is
        ``partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)``.
    augmentation : callable, "auto" or None
        Makes the views: from a standardised batch, a float32 tensor of shape (n, *input_shape) on
        the device, to one of the same shape. "auto":
        :func:`~skdeepclust.augment.simclr_augmentation` for images and
        :class:`~skdeepclust.augment.RandomNoise`, noise and feature dropout of 0.2, for tabular
        data. None: no augmentation.
    network : torch.nn.Module or callable
        The encoder g. A module from (n, *input_shape) to features, a pretrained one say, is copied;
        a callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
        and returns a new module. None: :class:`~skdeepclust.networks.ResNet18` for images with
        three channels, :class:`~skdeepclust.networks.SmallConvEncoder` for others and
        :class:`~skdeepclust.networks.DenseEncoder` for tabular data.

    Attributes
    ----------
    network_ : RepresentationNetwork
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` projections of
        norm 1.

    See Also
    --------
    SCANClustering : Clusters that follow the neighbourhoods of these features.

    References
    ----------
    .. [1] Chen et al. (2020). A Simple Framework for Contrastive Learning of Visual
       Representations. ICML.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdeepclust import SimCLR
    >>> images = load_digits().images[:200]
    >>> model = make_pipeline(SimCLR(max_epochs=2, random_state=0), KMeans(10, random_state=0))
    >>> model.fit_predict(images).shape
    (200,)
    """

    projection_size: int = param(128, AT_LEAST_1)
    temperature: float = param(0.1, POSITIVE)
    batch_size: int = 256

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 1:
            return DenseEncoder(self.input_shape_)
        is_colour = self.input_shape_[0] == 3
        return ResNet18(self.input_shape_) if is_colour else SmallConvEncoder(self.input_shape_)

    def _build_network(self) -> RepresentationNetwork:
        encoder, n_features = self._build_encoder()
        return RepresentationNetwork(encoder, n_features, self.projection_size)

    def _views(self, X: Samples) -> Callable[[Tensor], Tensor]:
        """Return what `augmentation` stands for."""
        if self.augmentation != "auto":
            return self._augmentation()
        if len(self.input_shape_) == 1:
            return RandomNoise(std=0.2, dropout=0.2)
        return simclr_augmentation(self.input_shape_, value_range(X))

    def _contrastive(
        self,
        network: nn.Module,
        X: Samples,
        max_epochs: int,
        name: str = "simclr",
        pairs: nn.Module | None = None,
        **settings: Any,
    ) -> Phase:
        """Return a phase of contrastive training, of views alone or of pairs too."""
        objective = ContrastiveObjective(self._views(X), self.temperature, pairs)
        settings |= {"lr_factor": cosine_to(LAST_LR_FACTOR, max_epochs), "network": network}
        return self._phase(objective, max_epochs, name, **settings)

    def _phases(self, network: nn.Module, X: Samples) -> Iterator[Phase]:
        yield self._contrastive(network, X, self.max_epochs)
