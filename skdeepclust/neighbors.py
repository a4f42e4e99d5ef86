"""Exact nearest neighbours, on the device of the samples, and draws of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def nearest_neighbors(X: Tensor, n_neighbors: int) -> Tensor:
    """Return the indices of the nearest neighbours of each sample, itself left out.

    Exact, with Euclidean distances, in slices on the device of `X`.

    Parameters
    ----------
    X : Tensor of shape (n, n_features)
    n_neighbors : int in [1, n - 1]

    Returns
    -------
    Tensor of shape (n, n_neighbors)
    """
    X = X - X.mean(0)  # far from the origin, float32 would round the differences away
    squares = X.square().sum(1)
    result = []
    for start in range(0, len(X), 1024):
        part = slice(start, min(start + 1024, len(X)))
        # |a - b|^2 without |a|^2, which doesn't change the order
        distance = torch.addmm(squares, X[part], X.T, alpha=-2)
        rows = torch.arange(part.stop - part.start, device=X.device)
        distance[rows, rows + start] = math.inf
        result.append(distance.topk(n_neighbors, largest=False, sorted=True).indices)
    return torch.cat(result)


def draw_neighbors(neighbors: Tensor, index: Tensor) -> Tensor:
    """Return one neighbour, drawn at random, of each sample that is asked for.

    Parameters
    ----------
    neighbors : Tensor of shape (n, n_neighbors), int64
        As :func:`nearest_neighbors` gives them.
    index : Tensor of shape (m,), int64

    Returns
    -------
    Tensor of shape (m,), int64
    """
    drawn = torch.randint(neighbors.shape[1], (len(index), 1), device=index.device)
    return neighbors[index].gather(1, drawn).squeeze(1)
