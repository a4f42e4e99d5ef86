"""Base of the methods that cluster upon a contrastive representation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn

from skdeepclust._parameters import estimator, param
from skdeepclust._sklearn import HasMethods, StrOptions
from skdeepclust.augment import RandomNoise, strong_augmentation
from skdeepclust.base import BaseDeepClusterer, own
from skdeepclust.cluster._simclr import SimCLR, value_range
from skdeepclust.networks import RepresentationNetwork
from skdeepclust.networks._contrastive import PrecomputedRepresentation
from skdeepclust.samples import Samples


@estimator
class BaseRepresentationClusterer(BaseDeepClusterer):
    """Base of the methods with a representation, trained first, given or precomputed.

    Parameters
    ----------
    representation : SimCLR, "precomputed" or None
        The representation that is trained first, by its own parameters, such as
        ``SimCLR(max_epochs=500)``; a search sets them by ``representation__lr``, say.
        Its device, precision and random state are of no effect. A fitted
        one, on samples of the same shape, is taken over instead: a copy of its network, and its
        `input_mean_` and `input_scale_`. Where estimators are cloned, as in a grid search, a
        fitted one stays fitted in a :class:`sklearn.frozen.FrozenEstimator`. "precomputed": `X`
        holds features, in which the neighbours are mined (Euclidean distances, after `scaling`) and
        on which the heads alone are trained, without augmentation; the last step of a pipeline,
        say. None: ``SimCLR()``.
    strong_augmentation : callable, "auto" or None
        The augmentation of the clustering steps. "auto":
        :func:`~skdeepclust.augment.strong_augmentation` for images and the same noise as for the
        views for tabular data. None: no augmentation.
    """

    representation: Any = param(
        None, None, StrOptions({"precomputed"}), HasMethods(["fit", "transform"])
    )
    strong_augmentation: Callable[[Tensor], Tensor] | Literal["auto"] | None = param(
        "auto", StrOptions({"auto"}), None, callable
    )

    _PARTS: ClassVar[dict[str, str]] = {
        "representation": (
            "a SimCLR, 'precomputed' or None. With another transformer use 'precomputed' on what "
            "it gives, as in make_pipeline(transformer, "
            "SCANClustering(representation='precomputed'))"
        )
    }

    def _is_precomputed(self) -> bool:
        return isinstance(self.representation, str)

    def _representation(self) -> SimCLR:
        """Return the SimCLR that is trained first, or the fitted one that is taken over."""
        return self._part("representation", SimCLR, SimCLR())

    def _scaled_as(self) -> SimCLR | None:
        return self._fitted_part("representation", SimCLR)

    def _trains_representation(self) -> bool:
        return not self._is_precomputed() and self._scaled_as() is None

    def _prepared(self, X: Any) -> Samples:
        X = super()._prepared(X)
        if self._trains_representation():
            views = self._representation().augmentation
            self._check_augmentation(views, "representation: augmentation", X)
        return X

    def _check_parameters(self) -> None:
        if not self._is_precomputed():
            self._representation()
        elif len(self.input_shape_) != 1:
            raise ValueError(
                "representation='precomputed' needs X of shape (n_samples, n_features); got "
                f"samples of shape {self.input_shape_}."
            )

    def _new_representation(
        self,
    ) -> tuple[RepresentationNetwork | PrecomputedRepresentation, int]:
        """Return g with its projector, new or given, and the number of its features."""
        if self._is_precomputed():
            return PrecomputedRepresentation(), self.input_shape_[0]
        given = self._scaled_as()
        network = self._representation()._build_network() if given is None else given.network_
        n_features = cast(nn.Linear, network.projector[0]).in_features
        return network if given is None else copy.deepcopy(network), n_features

    def _strong_views(self, X: Samples) -> Callable[[Tensor], Tensor]:
        """Return what `strong_augmentation` stands for."""
        if self.strong_augmentation is None or self._is_precomputed():
            return nn.Identity()
        if self.strong_augmentation != "auto":
            return own(self.strong_augmentation)
        if len(self.input_shape_) == 1:
            return RandomNoise(std=0.2, dropout=0.2)
        return strong_augmentation(self.input_shape_, value_range(X))

    def _representation_epochs(self) -> int:
        return self._representation().max_epochs if self._trains_representation() else 0
