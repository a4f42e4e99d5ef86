"""How many clusters there are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, check_scalar
from sklearn.utils.validation import _num_samples

from skdeepclust._progress import Bar
from skdeepclust._sklearn import seeds_of_unset
from skdeepclust._training._parallel import returned_as
from skdeepclust._training._restarts import fitted


@dataclass(repr=False)
class NClustersSelection:
    """What :func:`select_n_clusters` found.

    Parameters
    ----------
    n_clusters : ndarray of shape (n_candidates,)
        The numbers that were tried, rising.
    strength : ndarray of shape (n_candidates, 2 n_splits)
        Prediction strength of each half of each split, in [0, 1].
    stability : ndarray of shape (n_candidates, n_splits)
        Adjusted Rand index of what the two halves say of all samples; at most 1.
    threshold : float
        Of the prediction strength.

    Attributes
    ----------
    best : int
        The number to take.
    """

    n_clusters: np.ndarray
    strength: np.ndarray
    stability: np.ndarray
    threshold: float

    def __repr__(self) -> str:
        mean = dict(zip(self.n_clusters.tolist(), self.strength.mean(1).round(2), strict=True))
        strengths = ", ".join(f"{k}: {strength}" for k, strength in mean.items())
        return f"{type(self).__name__}(best={self.best}, strength={{{strengths}}})"

    @property
    def best(self) -> int:
        """The largest number whose strength reaches the threshold, else the most stable one."""
        mean, error = self.strength.mean(1), self.strength.std(1) / self.strength.shape[1] ** 0.5
        reached = self.n_clusters[mean + error >= self.threshold]
        if len(reached):
            return int(reached[-1])
        return int(self.n_clusters[self.stability.mean(1).argmax()])


def prediction_strength(labels: ArrayLike, predicted: ArrayLike, n_clusters: int) -> float:
    """Share of the pairs of a cluster that another clustering puts together, in the worst cluster.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        Clusters, in [0, n_clusters).
    predicted : array-like of shape (n_samples,)
        Those of the same samples that were predicted by a model fitted on others, as integers of
        at least 0.
    n_clusters : int
        A cluster with fewer than two samples counts as 0.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If `labels` or `predicted` are out of range, as the label -1 of noise is.

    References
    ----------
    .. [1] Tibshirani and Walther (2005). Cluster Validation by Prediction Strength. Journal of
       Computational and Graphical Statistics 14(3). Section 2.

    Examples
    --------
    >>> from skdeepclust.model_selection import prediction_strength
    >>> prediction_strength([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 1], n_clusters=2)
    0.333...
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    for name, given, most in [("labels", labels, n_clusters), ("predicted", predicted, math.inf)]:
        if given.ndim != 1 or not ((given >= 0) & (given < most)).all():
            raise ValueError(f"{name} must be clusters from 0 on, below {most}; got {given!r}.")
    joint = np.zeros((n_clusters, predicted.max() + 1))
    np.add.at(joint, (labels, predicted), 1)
    sizes = joint.sum(1)
    together = (joint * (joint - 1)).sum(1)
    pairs = sizes * (sizes - 1)
    return float(np.min(np.divide(together, pairs, out=np.zeros(n_clusters), where=pairs > 0)))


def _of_halves(
    estimator: Any, X: Any, halves: list[np.ndarray], n_clusters: int
) -> tuple[list[float], float]:
    """Return the prediction strength of both halves, and the agreement of their models."""
    models = [fitted(clone(estimator), _safe_indexing(X, half)) for half in halves]
    of_all = [np.asarray(model.predict(X)) for model in models]
    strength = [
        prediction_strength(of_all[own][half], of_all[1 - own][half], n_clusters)
        for own, half in enumerate(halves)
    ]
    return strength, adjusted_rand_score(*of_all)


def select_n_clusters(
    estimator: Any,
    X: Any,
    n_clusters: Iterable[int],
    *,
    n_splits: int = 3,
    threshold: float = 0.8,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> NClustersSelection:
    """Find a number of clusters that one half of the samples tells of the other.

    For each number, models are fitted on two random halves of the samples. If there are so many
    clusters, each half's model predicts those of the other: its prediction strength is the share of
    the pairs in a cluster that are together there as well, in the cluster where it is lowest [1]_.
    With too many, at least one cluster is cut at random. The largest number whose strength, with
    one standard error, reaches a threshold is taken; where none does, that whose two models agree
    best (adjusted Rand index).

    Parameters
    ----------
    estimator : estimator instance
        A clusterer with ``predict`` and a parameter `n_clusters`, or a Pipeline that ends with one.
        It is not changed.
    X : array-like of shape (n_samples, ...)
        Samples, of which parts are taken by index.
    n_clusters : iterable of int >= 2
        Numbers to try.
    n_splits : int, default=3
        Random halvings, the same for each number.
    threshold : float in (0, 1], default=0.8
        0.8 to 0.9 in the paper.
    random_state : int, RandomState instance or None, default=None
        Of the halves; and of the models, where the estimator's own is None.
    n_jobs : int, default=None
        Pairs of models that are fitted at once; see joblib.
    verbose : int, default=0
        Above 0 there is a progress bar.

    Returns
    -------
    NClustersSelection
        ``best`` is the number; :class:`~skdeepclust.plotting.NClustersDisplay` shows all.

    Raises
    ------
    ValueError
        If an argument is not valid.
    KeyboardInterrupt
        On Ctrl-C, which ends all fits.

    See Also
    --------
    skdeepclust.plotting.NClustersDisplay : Shows strength and stability of each number.

    Notes
    -----
    There are ``2 * n_splits`` fits for each number. With a deep method, it is much quicker to fit
    one representation and to try numbers on its features, as in the example: features that were
    learned for ten clusters favour ten, but not as much as labels do. Only numbers above 1 are
    tried: that there are no clusters at all is not among the answers.

    References
    ----------
    .. [1] Tibshirani and Walther (2005). Cluster Validation by Prediction Strength. Journal of
       Computational and Graphical Statistics 14(3).

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import make_blobs
    >>> from skdeepclust import select_n_clusters
    >>> X, _ = make_blobs(300, centers=4, random_state=1)
    >>> select_n_clusters(KMeans(n_init=5), X, range(2, 7), random_state=0).best
    4
    """
    if not isinstance(n_clusters, Iterable):
        raise ValueError(f"n_clusters must hold integers of at least 2; got {n_clusters!r}.")
    candidates = np.unique(np.fromiter(n_clusters, dtype=object))
    if not len(candidates) or not all(isinstance(k, Integral) and int(k) >= 2 for k in candidates):
        raise ValueError(f"n_clusters must hold integers of at least 2; got {list(candidates)!r}.")
    name, last = "n_clusters", estimator
    while isinstance(last, Pipeline):  # steps before may have a parameter of that name, too
        name = f"{name.removesuffix('n_clusters')}{last.steps[-1][0]}__n_clusters"
        last = last.steps[-1][1]
    if name not in estimator.get_params() or not hasattr(estimator, "predict"):
        raise ValueError(
            "estimator must have `predict` and a parameter `n_clusters`, or end with one that "
            f"does; got {estimator!r}."
        )
    check_scalar(n_splits, "n_splits", Integral, min_val=1)
    check_scalar(threshold, "threshold", Real, min_val=0, max_val=1, include_boundaries="right")
    n_samples = _num_samples(X)
    if n_samples < 4 * candidates[-1]:
        raise ValueError(
            f"n_clusters must be at most half the samples of a half, {n_samples // 4} of "
            f"{n_samples}; got {candidates[-1]}."
        )
    random = check_random_state(random_state)
    cuts = [np.array_split(random.permutation(n_samples), 2) for _ in range(n_splits)]
    halves = [[np.sort(half) for half in cut] for cut in cuts]
    seeds = seeds_of_unset(estimator, random)
    tasks = [(int(k), cut) for k in candidates for cut in halves]
    jobs = (
        delayed(_of_halves)(clone(estimator).set_params(**{name: k}, **seeds), X, cut, k)
        for k, cut in tasks
    )
    found = list(
        Bar(
            Parallel(n_jobs=n_jobs, return_as=returned_as("generator"))(jobs),
            total=len(tasks),
            desc="pairs of models",
            disable=not verbose,
        )
    )
    shape = len(candidates), n_splits
    return NClustersSelection(
        candidates.astype(int),
        np.array([strength for strength, _ in found]).reshape(shape[0], 2 * n_splits),
        np.array([agreement for _, agreement in found]).reshape(shape),
        threshold,
    )
