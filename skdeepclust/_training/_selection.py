"""Telling a good clustering from a bad one without labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skdeepclust.neighbors import nearest_neighbors

N_NEIGHBORS = 5
MAX_SAMPLES = 10_000  # for neighbours: more cost time (quadratic) and add little


class NeighborCriterion:
    """Mutual information between the clusters of samples and of their nearest neighbours.

    A cluster that cuts through a dense region, or joins regions far apart, lowers it, and so
    do unused clusters. It needs no labels and compares settings as well as runs.

    Parameters
    ----------
    X : Tensor of shape (n, *input_shape)
        Standardised samples; at most 10,000 of them, evenly spaced, are used.
    """

    def __init__(self, X: Tensor) -> None:
        step = -(-len(X) // MAX_SAMPLES)
        self.samples = slice(0, None, step)
        X = X[self.samples].flatten(1)
        n_neighbors = min(N_NEIGHBORS, len(X) - 1)
        self.neighbors = nearest_neighbors(X, n_neighbors).cpu() if n_neighbors else None

    def __call__(self, probabilities: np.ndarray) -> float:
        """Return the criterion in nats, in [0, log n_clusters], for a soft clustering.

        Parameters
        ----------
        probabilities : ndarray of shape (n, n_clusters)
        """
        if self.neighbors is None:  # a single sample
            return 0.0
        n_clusters = probabilities.shape[1]
        labels = torch.from_numpy(probabilities[self.samples]).argmax(1)
        pairs = labels[:, None] * n_clusters + labels[self.neighbors]
        joint = torch.bincount(pairs.flatten(), minlength=n_clusters**2).double()
        joint = (joint / joint.sum()).view(n_clusters, n_clusters)
        joint = (joint + joint.T) / 2
        marginal = joint.sum(0)
        entropies = torch.special.entr(marginal).sum() * 2 - torch.special.entr(joint).sum()
        return max(0.0, entropies.item())
