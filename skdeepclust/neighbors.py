"""Exact nearest neighbours, on the device of the samples, and draws of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 1024  # samples


def nearest_neighbors(X: Tensor, n_neighbors: int, *, overwrite: bool = False) -> Tensor:
    """Return the indices of the nearest neighbours of each sample, itself left out.

    Of Euclidean distances, all of which are computed, block by block on the device of `X`. They are
    exact to rounding: squared distances that differ by less than about 1e-7 of a sample's squared
    distance from the mean of all can't be told apart, as in clusters of a thousandth of the
    distance between them.

    Parameters
    ----------
    X : Tensor of shape (n, n_features)
    n_neighbors : int
        With fewer other samples, all of them.
    overwrite : bool, default=False
        Whether `X` may be centred where it is, which saves a copy of it.

    Returns
    -------
    Tensor of shape (n, min(n_neighbors, n - 1))
    """
    n_neighbors = min(n_neighbors, len(X) - 1)
    mean = X.mean(0)  # far from the origin, float32 would round the differences away
    X = X.sub_(mean) if overwrite else X - mean
    squares = torch.cat([part.square().sum(1) for part in X.split(BLOCK)])
    nearest = X.new_full((len(X), n_neighbors), math.inf)  # distances so far
    result = torch.zeros(len(X), n_neighbors, dtype=torch.int64, device=X.device)

    def update(rows: slice, distance: Tensor, start: int) -> None:
        near, index = distance.topk(min(n_neighbors, distance.shape[1]), largest=False)
        near, index = (
            torch.cat([nearest[rows], near], 1),
            torch.cat([result[rows], index + start], 1),
        )
        nearest[rows], kept = near.topk(n_neighbors, largest=False, sorted=True)
        result[rows] = index.gather(1, kept)

    blocks = [slice(i, min(i + BLOCK, len(X))) for i in range(0, len(X), BLOCK)]
    for number, first in enumerate(blocks):
        for second in blocks[number:]:
            product = X[first] @ X[second].T  # serves the samples of both
            # |a - b|^2 without |a|^2, which doesn't change the order
            distance = torch.add(squares[second], product, alpha=-2)
            if second is first:
                distance.fill_diagonal_(math.inf)
            update(first, distance, second.start)
            if second is not first:
                distance = torch.add(squares[first], product.T.contiguous(), alpha=-2)
                update(second, distance, first.start)
    return result


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
