"""A start from the clusters of k-means, for methods whose network starts at random."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from skdeepclust._distributed import n_processes
from skdeepclust._parameters import estimator, param
from skdeepclust._sklearn import StrOptions
from skdeepclust.base import BaseDeepClusterer
from skdeepclust.engine import Phase
from skdeepclust.objective import PseudoLabels
from skdeepclust.samples import Samples, some_of

# That k-means sees at once, drawn at random: so many are enough for its centres.
MAX_SAMPLES, MAX_VALUES = 100_000, 2**26


@estimator
class WarmStartMixin(BaseDeepClusterer):
    """For estimators whose network can first learn the clusters of k-means on the input.

    Parameters
    ----------
    init : {"auto", "random", "kmeans"}
        "random": as in the paper. "kmeans": the network first learns the labels of k-means on
        the input, which spreads less and keeps close to k-means; a departure from the paper.
        "auto": "kmeans" for tabular data and "random" for images.
    """

    init: str = param("auto", StrOptions({"auto", "random", "kmeans"}))

    def _starts_from_kmeans(self) -> bool:
        is_tabular = len(self.input_shape_) == 1
        return self.init == "kmeans" or (self.init == "auto" and is_tabular)

    def _warm_epochs(self, n_samples: int) -> int:
        """Return the epochs of the warm start: at least 100 batches."""
        n_steps = -(-n_samples // (self.batch_size * n_processes()))
        return max(5, -(-100 // n_steps))

    def _planned_epochs(self, n_samples: int) -> int:
        warm = self._warm_epochs(n_samples) if self._starts_from_kmeans() else 0
        return warm + self.max_epochs

    def _warm_start(self, X: Samples, augmentation: Callable[[Tensor], Tensor]) -> Phase:
        """Return the phase that learns k-means' clusters; with settings of its own, no paper's."""
        seed = int(torch.randint(2**31 - 1, ()))
        kmeans = KMeans(self.n_clusters, n_init=3, random_state=seed)
        n_values = math.prod(X.shape[1:])
        some = X[some_of(len(X), n_values, MAX_SAMPLES, MAX_VALUES, at_least=self.n_clusters)]
        kmeans.fit(some.flatten(1).cpu().numpy())
        slices = X.slices(len(some))
        labels = [kmeans.predict(x.flatten(1).cpu().numpy()) for x in slices]
        objective = PseudoLabels(torch.from_numpy(np.concatenate(labels)).long(), augmentation)
        return Phase(objective, self._warm_epochs(len(X)), "warm start", self.batch_size, lr=1e-3)
