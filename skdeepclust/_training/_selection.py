"""Telling a good clustering from a bad one without labels."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import xlogy
from sklearn.metrics import mutual_info_score
from torch import Tensor

from skdeepclust.neighbors import nearest_neighbors
from skdeepclust.samples import Samples, some_of

N_NEIGHBORS = 5
# For neighbours: more cost time (quadratic), or memory if they are large, and add little.
MAX_SAMPLES, MAX_VALUES = 10_000, 2**25


def looked_at(X: Samples | Tensor, at_least: int = 2) -> slice | Tensor:
    """Return the index of the samples whose neighbours are sought."""
    return some_of(len(X), math.prod(X.shape[1:]), MAX_SAMPLES, MAX_VALUES, at_least)


class NeighborCriterion:
    """Mutual information between the clusters of samples and of their nearest neighbours.

    A cluster that cuts through a dense region, or joins regions far apart, lowers it, and so
    do unused clusters. It needs no labels and compares settings as well as runs.

    Parameters
    ----------
    X : Samples or Tensor of shape (n, *input_shape)
        Standardised samples; at most 10,000 of them, drawn at random, are used, and fewer of more
        than 3,355 values: those that 128 MiB hold.
    """

    def __init__(self, X: Samples | Tensor) -> None:
        self.samples = looked_at(X)
        points = X[self.samples].flatten(1)
        n_neighbors = min(N_NEIGHBORS, len(points) - 1)
        self.neighbors = nearest_neighbors(points, n_neighbors).cpu() if n_neighbors else None

    def __call__(self, probabilities: np.ndarray) -> float:
        """Return the criterion in nats, in [0, log n_clusters], for a soft clustering.

        Parameters
        ----------
        probabilities : ndarray of shape (n, n_clusters)
        """
        if self.neighbors is None:  # a single sample
            return 0.0
        n_clusters = probabilities.shape[1]
        labels = torch.from_numpy(probabilities)[self.samples].argmax(1)
        pairs = labels[:, None] * n_clusters + labels[self.neighbors]
        joint = torch.bincount(pairs.flatten(), minlength=n_clusters**2).view(n_clusters, -1)
        return float(mutual_info_score(None, None, contingency=(joint + joint.T).numpy()))


def merge_clusters(joint: np.ndarray, n_clusters: int) -> Tensor:
    """Merge pairs of clusters, each time the one that loses least mutual information.

    Parameters
    ----------
    joint : ndarray of shape (n, n), float64
        How often a sample of one cluster has a neighbour of another, in any unit.
    n_clusters : int
        How many are left; at most n.

    Returns
    -------
    Tensor of shape (n,), int64
        What each cluster becomes a part of, in [0, n_clusters).
    """
    joint = (joint + joint.T) / (2 * joint.sum())
    groups = [[i] for i in range(len(joint))]

    def f(x: np.ndarray) -> np.ndarray:
        return xlogy(x, x)

    # Information is sum f(joint) - 2 sum f(marginal). Of each pair, f of its summed rows, summed:
    rows = np.stack([f(joint + row).sum(1) for row in joint])
    while len(groups) > n_clusters:
        own, sizes, each = np.diag(joint), joint.sum(0), f(joint)
        of_rows = np.add.outer(each.sum(1), each.sum(1))
        before = 2 * (of_rows - each) - np.add.outer(f(own), f(own))
        beside = f(own[:, None] + joint)
        after = 2 * (rows - beside - beside.T) + f(np.add.outer(own, own) + 2 * joint)
        of_sizes = np.add.outer(f(sizes), f(sizes)) - f(np.add.outer(sizes, sizes))
        loss = before - after - 2 * of_sizes
        np.fill_diagonal(loss, np.inf)
        a, b = sorted(np.unravel_index(loss.argmin(), loss.shape))
        pairs = [np.add.outer(joint[:, c], joint[:, c]) for c in (a, b)]
        rows += f(pairs[0] + pairs[1]) - f(pairs[0]) - f(pairs[1])
        joint[a] += joint[b]
        joint[:, a] += joint[:, b]
        joint, rows = (np.delete(np.delete(m, b, 0), b, 1) for m in (joint, rows))
        rows[a] = rows[:, a] = f(joint + joint[a]).sum(1)
        groups[a] += groups.pop(b)
    merged = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for number, group in enumerate(groups):
        merged[group] = number
    return merged
