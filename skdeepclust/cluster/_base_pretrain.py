"""Base of the methods that train an auto-encoder first and then clusters with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from skdeepclust._parameters import estimator, param
from skdeepclust._sklearn import HasMethods
from skdeepclust.cluster._autoencoder import AutoencoderClustering
from skdeepclust.cluster._base_autoencoder import (
    AutoencoderObjective,
    BaseAutoencoderClusterer,
    BaseKMeansClusterer,
    ClusteringTerm,
    DecodedAugmentationMixin,
)
from skdeepclust.engine import Phase
from skdeepclust.networks import (
    AutoencoderNetwork,
)
from skdeepclust.objective import Objective
from skdeepclust.samples import Samples


@estimator
class BasePretrainThenCluster(DecodedAugmentationMixin, BaseKMeansClusterer):
    """Base of the methods that pretrain an auto-encoder and then train it with the clusters.

    Parameters
    ----------
    autoencoder : estimator with an auto-encoder
        What is trained first, by its own parameters, such as ``VAEClustering(max_epochs=50)``; a
        search sets them by ``autoencoder__lr``, say. What concerns its own clusters and restarts,
        its device, precision and random state is of no effect, but that a `DENClustering` without
        `n_groups` has as many groups as clusters of its own. A fitted one, on samples of the
        same shape, is taken over instead: a copy of its network, and its `input_mean_` and
        `input_scale_`; there is one restart by default then. Where estimators are cloned, as in a
        grid search, a fitted one stays fitted in a :class:`sklearn.frozen.FrozenEstimator`. None:
        :class:`AutoencoderClustering`, with the `augmentation` and `batch_size` of this estimator;
        its optimiser is Adam, whatever `optimizer` is.
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters, then
        the one with the highest :meth:`score`. "auto": 4, or 1 if a fitted `autoencoder` is
        given. The paper
        has one.
    screening : float in (0, 1]
        Share of the epochs after which only the best restart goes on; with the defaults, the end of
        the pretraining.
    """

    autoencoder: Any = param(None, None, HasMethods(["fit", "inverse_transform"]))
    screening: float = 0.25
    max_epochs: int = 75
    lr: float = 1e-4

    _reconstruction_weight = 1.0

    def _trains_clusters(self) -> bool:
        return True

    def _term(self, network: AutoencoderNetwork, X: Samples) -> ClusteringTerm:
        """Return what shapes the clusters, given k-means' centres in the network's head."""
        raise TypeError(f"{type(self).__name__} does not define `_term`")

    def _clustering_objective(self, network: AutoencoderNetwork, X: Samples) -> Objective:
        """Return what the clustering phase minimises."""
        return AutoencoderObjective(
            self._augmentation(),
            reconstruction_weight=self._reconstruction_weight,
            term=self._term(network, X),
        )

    def _autoencoder(self) -> Any:
        """Return the estimator that is trained first, or the fitted one that is taken over."""
        default = AutoencoderClustering(augmentation=self.augmentation, batch_size=self.batch_size)
        return self._part("autoencoder", BaseAutoencoderClusterer, default)

    def _scaled_as(self) -> BaseAutoencoderClusterer | None:
        given = super()._scaled_as()
        if given is None and self.autoencoder is not None:  # which may have been given one itself
            return getattr(self.autoencoder, "estimator", self.autoencoder)._scaled_as()
        return given

    def _prepared(self, X: Any) -> Samples:
        X = super()._prepared(X)
        if self._given_autoencoder() is None:
            part = self._autoencoder()
            for name in ("augmentation", "corruption"):
                self._check_augmentation(getattr(part, name, None), f"autoencoder: {name}", X)
        return X

    def _check_parameters(self) -> None:
        part = self._autoencoder()
        if self._given_autoencoder() is None and part._trains_clusters():
            raise ValueError(
                "autoencoder must be one that is trained without clusters, such as "
                f"AutoencoderClustering or VAEClustering, or a fitted one; got {part!r}."
            )

    def _build_network(self) -> AutoencoderNetwork:
        given = self._given_autoencoder()
        network = self._autoencoder()._build_network() if given is None else given.network_
        return self._taken_over(network)

    def _pretraining(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        """Yield the phases before there are clusters."""
        if self._given_autoencoder() is None:
            for phase in self._autoencoder()._phases(network, X):
                yield dataclasses.replace(phase, name="pretraining")

    def _phases(self, network: AutoencoderNetwork, X: Samples) -> Iterator[Phase]:
        yield from self._pretraining(network, X)
        self._fit_head(network, X)
        network.head.is_learning = True
        objective = self._clustering_objective(network, X)
        yield self._phase(objective, self.max_epochs, "clustering")

    def _planned_epochs(self, n_samples: int) -> int:
        given = self._given_autoencoder()
        pretraining = 0 if given is not None else self._autoencoder()._planned_epochs(n_samples)
        return pretraining + self.max_epochs
