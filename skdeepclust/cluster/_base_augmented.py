"""Base of the methods that compare augmented copies of a sample, with a small network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from skdeepclust._parameters import AT_LEAST_1, estimator, param
from skdeepclust._sklearn import StrOptions
from skdeepclust.augment import RandomAffine
from skdeepclust.base import AugmentationMixin, BaseDeepClusterer, EncoderMixin
from skdeepclust.networks import DenseEncoder, StridedEncoder

AUTO = StrOptions({"auto"})


@estimator
class BaseAugmentedClusterer(AugmentationMixin, EncoderMixin, BaseDeepClusterer):
    """What these methods share: encoder, augmentation, length of the training.

    Parameters
    ----------
    augmentation : callable, "auto" or None
        From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device,
        to one of the same shape. "auto": ``RandomAffine(rotation=20, shift=0.1, zoom=0.2,
        shear=0.3, value_shift=0, rescale=1)`` of :mod:`skdeepclust.augment` for images and its
        ``RandomNoise()`` for tabular data. None: no augmentation. What is drawn here must not
        change a cluster: with letters or digits no mirroring, say.
    network : torch.nn.Module or callable
        The encoder. A module from (n, *input_shape) to features is copied, with its weights; a
        callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
        and returns a new module. None: :class:`~skdeepclust.networks.StridedEncoder`, or
        :class:`~skdeepclust.networks.DenseEncoder` for tabular data.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` logits.
    """

    max_epochs: int | Literal["auto"] = param("auto", AT_LEAST_1, AUTO)  # type: ignore[assignment]

    _EFFORT: ClassVar[int]  # "auto" epochs, times the root of the number of samples

    def _main_epochs(self, n_samples: int) -> int:
        """Return the epochs of the main phase."""
        given = self.max_epochs
        return math.ceil(self._EFFORT / math.sqrt(n_samples)) if given == "auto" else given

    def _planned_epochs(self, n_samples: int) -> int:
        return self._main_epochs(n_samples)

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        if self.augmentation == "auto" and len(self.input_shape_) == 3:
            return RandomAffine(20, 0.1, 0.2, value_shift=0, rescale=1, shear=0.3)
        return super()._augmentation()

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 3:
            return StridedEncoder(self.input_shape_)
        return DenseEncoder(self.input_shape_)
