"""Base of the methods that look for the nearest neighbours of all samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdeepclust._distributed import agreed
from skdeepclust._parameters import estimator, param
from skdeepclust.base import _Fitted
from skdeepclust.neighbors import nearest_neighbors


@estimator
class NeighborsMixin(_Fitted):
    """For estimators that look for the nearest neighbours of all samples.

    Parameters
    ----------
    neighbors : callable or None
        What finds the nearest neighbours, such as an approximate search: it is called with the
        features that they are sought in, a float32 array of shape (n_samples, n_features), and the
        number of neighbours, and returns their indices, integers of shape (n_samples, n_neighbors),
        nearest first, without the sample itself. None: they are exact, by all distances, at a cost
        that is quadratic in the number of samples: with 512 features 3 seconds of a core for
        10,000, by extrapolation 5 minutes for 100,000 and 8 hours for a million.
    """

    neighbors: Callable[[np.ndarray, int], Any] | None = param(None, None, callable)

    def _nearest(self, points: Tensor, n_neighbors: int, *, overwrite: bool = False) -> Tensor:
        """Return the neighbours of all points, as `nearest_neighbors` does."""
        if self.neighbors is None:
            return nearest_neighbors(points, n_neighbors, overwrite=overwrite)
        n = len(points)
        n_neighbors = min(n_neighbors, n - 1)
        try:
            found = np.asarray(self.neighbors(points.cpu().numpy(), n_neighbors))
        except Exception as error:  # whatever users' code may raise
            raise ValueError(f"neighbors={self.neighbors!r} failed: {error}") from error
        expected = f"neighbors must return integers of shape {(n, n_neighbors)}"
        if found.shape != (n, n_neighbors) or found.dtype.kind not in "iu":
            raise ValueError(f"{expected}; got {found.dtype} of shape {found.shape}.")
        if not ((found >= 0) & (found < n)).all():
            raise ValueError(f"{expected} in [0, {n}); got {found.min()} to {found.max()}.")
        itself = (found == np.arange(n)[:, None]).any(1)
        if itself.any():
            raise ValueError(
                f"{expected} without the sample itself; got it in {itself.sum()} row(s), the first "
                f"of which is {itself.argmax()}."
            )
        return torch.from_numpy(agreed(found.astype(np.int64))).to(points.device)
