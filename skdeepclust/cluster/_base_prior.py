"""Base of the methods that favour shares of the clusters: like ones, estimated or given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skdeepclust._distributed import agreed
from skdeepclust._parameters import estimator, param
from skdeepclust._sklearn import StrOptions
from skdeepclust._training._selection import N_NEIGHBORS, looked_at, merge_clusters
from skdeepclust.base import _Fitted
from skdeepclust.cluster._latents import k_means_of
from skdeepclust.neighbors import nearest_neighbors
from skdeepclust.objective import ClassPrior
from skdeepclust.samples import Samples

N_ESTIMATES = 5  # which are averaged: the fifth largest of each, and so on
FINENESS = 10  # centres of k-means, in multiples of the clusters that they are merged to


def estimated_shares(X: Samples | Tensor, n_clusters: int) -> Tensor:
    """Return the shares of the classes as far as the neighbourhoods show them, largest first.

    Small clusters of k-means are merged by their neighbours, the two that lose least of the mutual
    information each time: what is joined is dense between, whatever its size. Where a share is
    small it is raised to half of one sample, so that none is zero.

    Parameters
    ----------
    X : Samples or Tensor of shape (n, *input_shape)
    n_clusters : int in [1, n]

    Returns
    -------
    Tensor of shape (n_clusters,), float64
        Positive, and summing to one.
    """
    if n_clusters == 1:
        return torch.ones(1, dtype=torch.float64)
    points = X[looked_at(X, at_least=n_clusters)].flatten(1)
    n = len(points)
    neighbors = nearest_neighbors(points, min(N_NEIGHBORS, n - 1)).cpu()
    n_centers = max(n_clusters, min(FINENESS * n_clusters, n // FINENESS))
    total = torch.zeros(n_clusters, dtype=torch.float64)
    for seed in range(N_ESTIMATES):
        generator = torch.Generator().manual_seed(seed)
        labels = k_means_of(points, n_centers, n_init=1, generator=generator).labels.cpu()
        pairs = labels[:, None] * n_centers + labels[neighbors]
        joint = torch.bincount(pairs.flatten(), minlength=n_centers**2).view(n_centers, -1)
        groups = merge_clusters(joint.double().numpy(), n_clusters)
        sizes = torch.bincount(groups[labels], minlength=n_clusters).double().clamp_min(0.5)
        total += sizes.sort(descending=True).values
    return total / total.sum()


@estimator
class ClassPriorMixin(_Fitted):
    """For estimators whose loss has the entropy of the clusters' sizes.

    Parameters
    ----------
    class_prior : {"uniform", "estimate"} or array-like of shape (n_clusters,)
        Shares of the samples that the clusters are drawn to, instead of the like ones that the
        entropy of the mean probabilities favours: with other shares, log n_clusters less the
        divergence of the mean from them takes its place. "estimate": shares of small clusters of
        k-means, merged by their neighbours in input space, of at most 10,000 samples and 128 MiB;
        on pixels of photographs they say little, and they lean towards like ones. An array: these,
        positive and summing to 1. They are matched with the clusters by size, so their order is of
        no effect, and count from halfway through the epochs: clusters that are drawn to unlike
        sizes from the start settle in worse places. Heads with more outputs than `n_clusters` are
        left alone. Worth trying where classes are of very unequal size: of 400 samples of normal
        distributions, with shares of 0.6 to 0.08, IMSAT, RIM and TURTLE had ARI 0.31 to 0.54 with
        "uniform", 0.48 to 0.94 with "estimate" and 0.87 to 0.99 with the true shares (one state; in
        another one IMSAT lost with both). On scikit-learn's digits, thinned out to 1 to 0.2 of a
        class, neither helped reliably: two or three states each, from "uniform" to "estimate" and
        the true shares ACC 0.85 to 0.87 and 0.86 with SCAN, 0.87 to 0.86 and 0.85 with
        `DeepClustering`, 0.79 to 0.75 and 0.76 with IMSAT.

    Attributes
    ----------
    class_prior_ : ndarray of shape (n_clusters_,)
        The shares that `class_prior` stood for, which sum to one.
    """

    class_prior: Any = param("uniform", StrOptions({"uniform", "estimate"}), "array-like")

    if TYPE_CHECKING:
        n_clusters: ClassVar[int]  # of the estimator

    def _prepared(self, X: Any) -> Samples:
        X = super()._prepared(X)  # type: ignore[misc]
        if self.n_clusters != "auto":
            self.class_prior_ = self._shares(X)
        elif not isinstance(self.class_prior, str):
            raise ValueError(
                "class_prior must be 'uniform' or 'estimate' where n_clusters is 'auto'; got "
                f"{self.class_prior!r}."
            )
        return X

    def _set_n_clusters(self, n_clusters: int, X: Samples) -> None:
        super()._set_n_clusters(n_clusters, X)  # type: ignore[misc]
        self.class_prior_ = self._shares(X)

    def _shares(self, X: Samples) -> np.ndarray:
        """Return the shares that `class_prior` stands for; raise a ValueError if it has none."""
        if isinstance(self.class_prior, str):
            if self.class_prior == "uniform":
                return np.full(self.n_clusters, 1 / self.n_clusters)
            return agreed(estimated_shares(X, self.n_clusters).numpy())
        try:
            shares = np.array(self.class_prior, dtype=float)
        except (TypeError, ValueError):
            shares = np.empty(0)
        is_valid = shares.shape == (self.n_clusters,) and (shares > 0).all()
        if not is_valid or not np.isclose(shares.sum(), 1, atol=1e-4):
            raise ValueError(
                f"class_prior must be 'uniform', 'estimate' or n_clusters={self.n_clusters} "
                f"positive shares that add up to 1; got {self.class_prior!r}."
            )
        return shares / shares.sum()

    def _prior(self, max_epochs: int, start: float = 0.5) -> ClassPrior:
        """Return the prior of a phase's objective."""
        is_uniform = isinstance(self.class_prior, str) and self.class_prior == "uniform"
        shares = None if is_uniform else torch.from_numpy(self.class_prior_).float()
        return ClassPrior(shares, max_epochs, start)
