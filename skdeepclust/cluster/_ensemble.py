"""What several clusterings agree on."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
from sklearn.base import ClusterMixin, MetaEstimatorMixin, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch, check_random_state, gen_batches, get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdeepclust._parameters import AT_LEAST_1, N_JOBS
from skdeepclust._sklearn import BaseComposition, fit_context, seeds_of_unset
from skdeepclust._training._restarts import fitted
from skdeepclust.hierarchy import merge_tree

BLOCK = 2**12  # samples


def _odds(members: list[np.ndarray], counts: list[int], rows: slice) -> list[np.ndarray]:
    """Return some samples' probabilities of each member's clusters; noise is in none."""
    return [
        p[rows].astype(float) if p.ndim == 2 else (p[rows, None] == np.arange(k)).astype(float)
        for p, k in zip(members, counts, strict=True)
    ]


class ConsensusClustering(ClusterMixin, MetaEstimatorMixin, BaseComposition):
    """What several clusterings agree on, be it of methods, of settings or of restarts.

    Each sample is described by its cluster in each of the clusterings, or by the probabilities of
    these clusters where there are any, all of them side by side; k-means on that is the consensus
    [1]_: two samples are the nearer, the more clusterings put them together. No clusters have to be
    matched, and the clusterings may have more clusters than the consensus, or fewer. A new sample
    gets the average of what its clusters say: the shares of each that are in the consensus'
    clusters. How many agree on a sample tells how sure its cluster is.

    Parameters
    ----------
    estimators : list of (str, estimator) tuples
        Clusterers with `fit` and `predict`, of scikit-learn's form: copies of them are fitted. Of
        one that has `predict_proba`, that is what is averaged; of others, their labels. One that
        is fitted already stays so in a :class:`sklearn.frozen.FrozenEstimator`. "drop", which
        ``set_params(name="drop")`` sets, leaves one out.
    n_clusters : int or None, default=None
        Number of clusters. None: as many as most of the estimators find, the most on a tie.
    weights : array-like of shape (n_estimators,), default=None
        Weight of each estimator, not negative, those that are dropped included. None: 1.
    n_jobs : int or None, default=None
        Estimators that are fitted at once, by joblib. None: 1, unless in a
        ``joblib.parallel_config``; -1: as many as there are processors.
    random_state : int, RandomState instance or None, default=None
        Of k-means. Unless it is None, it seeds the estimators whose own is None, too, each in
        another way.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each training sample, as :meth:`predict` gives it.
    merge_tree_ : ndarray of shape (n_clusters_ - 1, 4)
        How clusters merge, those first that are confused most: see
        :func:`~skdeepclust.merge_tree`.
    agreement_ : ndarray of shape (n_samples,)
        Share of the estimators, by weight, whose cluster of a training sample says the same: in
        [0, 1].
    n_clusters_ : int
        Number of clusters.
    estimators_ : list of estimators
        The fitted ones, without those that are dropped.
    named_estimators_ : :class:`~sklearn.utils.Bunch`
        The fitted ones by name.
    shares_ : list of ndarray of shape (n_clusters_of_estimator, n_clusters_)
        For each fitted estimator the shares of each of its clusters that are in the clusters of the
        consensus, as if these were of one size.
    n_features_in_ : int
        Number of features of the samples, as the first estimator says.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if `X` had string names.

    See Also
    --------
    sklearn.ensemble.VotingClassifier : The same of classifiers.

    Notes
    -----
    Samples that an estimator calls noise, by a negative label, have no vote of it. Fifteen runs of
    k-means from one random start each have a mean ACC of 0.69 to 0.73 on scikit-learn's digits,
    their consensus 0.79 to 0.80 (six times fifteen runs); the average after matching the clusters
    one-to-one, which was tried first, had 0.72 to 0.80.

    References
    ----------
    .. [1] Topchy, Jain and Punch (2005). Clustering Ensembles: Models of Consensus and Weak
       Partitions. IEEE Transactions on Pattern Analysis and Machine Intelligence.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from skdeepclust import ConsensusClustering
    >>> X = load_iris().data
    >>> consensus = ConsensusClustering(
    ...     [(f"k-means {i}", KMeans(3, random_state=i)) for i in range(2)]
    ...     + [("mixture", GaussianMixture(3, random_state=0))],
    ...     random_state=0,
    ... ).fit(X)
    >>> consensus.predict_proba(X).shape
    (150, 3)
    >>> bool(consensus.agreement_.mean() > 0.9)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimators": [list],
        "n_clusters": [None, AT_LEAST_1],
        "weights": [None, "array-like"],
        "n_jobs": list(N_JOBS),
        "random_state": ["random_state"],
    }

    feature_names_in_: np.ndarray

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        *,
        n_clusters: int | None = None,
        weights: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimators = estimators
        self.n_clusters = n_clusters
        self.weights = weights
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def named_estimators(self) -> Bunch:
        """The given estimators by name."""
        return Bunch(**dict(self.estimators))

    @property
    def n_features_in_(self) -> int:
        """Number of features of the samples."""
        try:
            check_is_fitted(self, "estimators_")
        except NotFittedError as error:  # so that hasattr says no
            raise AttributeError("n_features_in_") from error
        return self.estimators_[0].n_features_in_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether the estimators by name and their parameters, as ``name__parameter``, are among
            them.

        Returns
        -------
        params : dict
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> ConsensusClustering:
        """Set parameters, also those of an estimator by ``name__parameter``.

        Parameters
        ----------
        **params : dict
            ``name=estimator`` replaces one, ``name="drop"`` leaves it out.

        Returns
        -------
        self : object
        """
        self._set_params("estimators", **params)
        return self

    def _checked(self) -> tuple[list[tuple[str, Any]], np.ndarray]:
        """Return the estimators that take part, by name, and their weights, which sum to 1."""
        given = self.estimators
        is_pair = [
            isinstance(p, tuple | list) and len(p) == 2 and isinstance(p[0], str) for p in given
        ]
        if not given or not all(is_pair):
            raise ValueError(
                "estimators must be a list of pairs (name, estimator), one at least; got "
                f"{given!r}."
            )
        self._validate_names([name for name, _ in given])
        weights = np.ones(len(given)) if self.weights is None else np.asarray(self.weights, float)
        if weights.shape != (len(given),) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                f"weights must be {len(given)} finite numbers that are not negative, one for each "
                f"of the estimators; got {self.weights!r}."
            )
        kept = [not isinstance(estimator, str) for _, estimator in given]
        for (name, estimator), is_kept in zip(given, kept, strict=True):
            is_one = hasattr(estimator, "fit") and hasattr(estimator, "predict")
            if (is_kept and (not is_one or isinstance(estimator, type))) or (
                not is_kept and estimator != "drop"
            ):
                raise ValueError(
                    "estimators must have fit and predict, for new samples to be assigned, or be "
                    f"'drop'; got {estimator!r} as {name!r}."
                )
        weights = weights[kept]
        if not weights.sum() > 0:
            raise ValueError(
                "estimators: one at least must take part, with a weight above 0; got "
                f"estimators={given!r} and weights={self.weights!r}."
            )
        members = [pair for pair, is_kept in zip(given, kept, strict=True) if is_kept]
        return members, weights / weights.sum()

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> ConsensusClustering:
        """Fit copies of all estimators to `X`, then the consensus.

        Parameters
        ----------
        X : array-like
            Training samples, of whatever form the estimators take.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or `X` is not valid.
        KeyboardInterrupt
            On Ctrl-C, which ends the fit of all estimators. The consensus is as it was before.
        """
        new = copy.copy(self)
        new._fit(X)
        vars(self).clear()  # as a whole, or not at all
        vars(self).update(vars(new))
        return self

    def _fit(self, X: Any) -> None:
        members, weights = self._checked()
        n_samples = len(X) if hasattr(X, "__len__") and not isinstance(X, str) else None
        if self.n_clusters and n_samples is not None and self.n_clusters > n_samples:
            raise ValueError(f"n_samples={n_samples} should be >= n_clusters={self.n_clusters}.")
        copies = [clone(estimator) for _, estimator in members]
        if self.random_state is not None:
            random = check_random_state(self.random_state)
            for one in copies:
                one.set_params(**seeds_of_unset(one, random))
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(delayed(fitted)(one, X) for one in copies)
        self.named_estimators_ = Bunch(**dict(self.estimators))
        for (name, _), estimator in zip(members, self.estimators_, strict=True):
            self.named_estimators_[name] = estimator
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        for estimator in self.estimators_:
            if hasattr(estimator, "feature_names_in_"):
                self.feature_names_in_ = estimator.feature_names_in_
        self._weights = weights
        self._labels: list[np.ndarray | None] = [None] * len(members)  # of those without odds
        for number, estimator in enumerate(self.estimators_):
            if not hasattr(estimator, "predict_proba"):
                labels = np.unique(estimator.predict(X))
                self._labels[number] = labels[labels >= 0]
        found = self._memberships(X)
        counts = self._counts(found)
        n_samples = len(found[0])
        self.n_clusters_ = self.n_clusters or max(
            counts, key=lambda count: (Counter(counts)[count], count)
        )
        if not self.n_clusters_:
            raise ValueError(
                "estimators must find clusters: all of them took all samples for noise; got "
                f"{self.estimators!r}."
            )
        blocks = list(gen_batches(n_samples, BLOCK))
        together = np.empty((n_samples, sum(counts)), np.float32)
        for rows in blocks:
            odds = _odds(found, counts, rows)
            weighted = [np.sqrt(w) * p for w, p in zip(weights, odds, strict=True)]
            np.concatenate(weighted, 1, out=together[rows], casting="same_kind")
        k_means = KMeans(self.n_clusters_, n_init=10, random_state=self.random_state, copy_x=False)
        consensus = k_means.fit_predict(together)
        del together  # the largest of all
        sizes = np.bincount(consensus, minlength=self.n_clusters_)
        common = [np.zeros((count, self.n_clusters_)) for count in counts]
        for rows in blocks:
            of_consensus = np.eye(self.n_clusters_)[consensus[rows]]
            for total, p in zip(common, _odds(found, counts, rows), strict=True):
                total += p.T @ of_consensus
        # of a cluster that is several of the consensus, the largest of these must not take all
        common = [c / sizes.clip(1) for c in common]
        self.shares_ = [c / c.sum(1, keepdims=True).clip(np.finfo(float).tiny) for c in common]
        probabilities = np.empty((n_samples, self.n_clusters_))
        self.agreement_ = np.empty(n_samples)
        for rows in blocks:
            votes = self._votes(_odds(found, counts, rows))
            probabilities[rows] = self._average(votes)
            agree = (votes.argmax(2) == probabilities[rows].argmax(1)) & votes.any(2)
            self.agreement_[rows] = np.tensordot(weights, agree, 1).clip(0, 1)  # but for rounding
        self.labels_ = probabilities.argmax(1)
        self.merge_tree_ = merge_tree(probabilities)

    def _memberships(self, X: Any) -> list[np.ndarray]:
        """Return what each estimator says: probabilities of its clusters, or numbers of them.

        The number of noise is -1.
        """
        found = []
        for estimator, labels in zip(self.estimators_, self._labels, strict=True):
            if labels is None:
                found.append(np.asarray(estimator.predict_proba(X)))
            else:
                predicted = np.asarray(estimator.predict(X))
                numbers = np.searchsorted(labels, predicted)
                found.append(np.where(np.isin(predicted, labels), numbers, -1))
        return found

    def _counts(self, found: list[np.ndarray]) -> list[int]:
        """Return how many clusters each estimator has."""
        return [
            p.shape[1] if labels is None else len(labels)
            for p, labels in zip(found, self._labels, strict=True)
        ]

    def _votes(self, found: list[np.ndarray]) -> np.ndarray:
        """Return what each estimator's clusters say of the consensus: rows of odds, or of zeros."""
        return np.stack([p @ shares for p, shares in zip(found, self.shares_, strict=True)])

    def _average(self, votes: np.ndarray) -> np.ndarray:
        """Return the mean of the votes of those that have one."""
        total = np.tensordot(self._weights, votes, 1)
        sums = total.sum(1, keepdims=True)
        uniform = np.full_like(total, 1 / self.n_clusters_)
        return np.divide(total, sums, out=uniform, where=sums > 0)

    def predict(self, X: Any) -> np.ndarray:
        """Return the cluster of each sample.

        Parameters
        ----------
        X : array-like
            Samples of the form seen in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            In [0, n_clusters_).
        """
        return self.predict_proba(X).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the average over the estimators of each cluster's probability.

        Parameters
        ----------
        X : array-like
            Samples of the form seen in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_clusters_)
            Rows sum to one.
        """
        check_is_fitted(self, "estimators_")
        found = self._memberships(X)
        counts = self._counts(found)
        probabilities = np.empty((len(found[0]), self.n_clusters_))
        for rows in gen_batches(len(probabilities), BLOCK):
            probabilities[rows] = self._average(self._votes(_odds(found, counts, rows)))
        return probabilities

    def __sklearn_tags__(self) -> Any:
        """Declare that it takes what all of the estimators take."""
        tags = super().__sklearn_tags__()
        inner = [
            get_tags(estimator).input_tags
            for _, estimator in self.estimators
            if not isinstance(estimator, str)
        ]
        for name in ("allow_nan", "sparse", "three_d_array"):
            setattr(tags.input_tags, name, all(getattr(found, name) for found in inner))
        return tags
