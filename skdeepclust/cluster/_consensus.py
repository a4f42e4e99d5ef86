"""What several restarts agree on, for methods whose network can learn it."""

from __future__ import annotations

import numpy as np
import torch

from skdeepclust._parameters import estimator, param
from skdeepclust.base import AugmentationMixin, BaseDeepClusterer
from skdeepclust.engine import Phase
from skdeepclust.objective import PseudoLabels

CONSENSUS_EPOCHS = 4


@estimator
class ConsensusMixin(AugmentationMixin, BaseDeepClusterer):
    """For estimators whose best restart first learns what the restarts agree on.

    Parameters
    ----------
    consensus : bool
        Whether the restart that goes on first learns, for 4 epochs, the average of the better
        half of the restarts, their clusters matched one-to-one; with ``screening=1``, that is the
        end of its training. Not in the paper; it corrects many of the mistakes that a single
        restart would make final.
    """

    consensus: bool = param(True, "boolean")

    def _wants_consensus(self) -> bool:
        return self.consensus

    def _consensus_phase(self, average: np.ndarray) -> Phase:
        objective = PseudoLabels(torch.from_numpy(average).float(), self._augmentation())
        return self._phase(objective, CONSENSUS_EPOCHS, "consensus")
