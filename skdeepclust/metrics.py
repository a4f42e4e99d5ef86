"""Clustering accuracy, the metric of the deep clustering papers, and its scorer."""

from __future__ import annotations

from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import make_scorer
from sklearn.metrics.cluster import contingency_matrix

from skdeepclust._sklearn import check_clusterings, register_scorer

__all__ = ["clustering_accuracy_score", "clustering_accuracy_scorer"]


def clustering_accuracy_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of samples that the best matching of clusters to classes gets right.

    Each cluster is matched to at most one class and each class to at most one cluster, so that
    as many samples as possible lie in a matched pair (the Hungarian method). With more clusters
    than classes, the samples of the clusters left over count as wrong, and so do the samples of
    the classes left over with fewer.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Class of each sample; any discrete labels.
    y_pred : array-like of shape (n_samples,)
        Cluster of each sample; any discrete labels. They need not be of the same kind as those of
        `y_true`, and a noise label such as -1 is a cluster like any other.

    Returns
    -------
    float
        Accuracy in the range (0, 1]; 1.0 means that the two labelings are the same up to names.

    Raises
    ------
    ValueError
        If the labels are empty, not one-dimensional, or not of the same length.

    See Also
    --------
    sklearn.metrics.adjusted_rand_score : Agreement on pairs of samples, adjusted for chance.
    sklearn.metrics.normalized_mutual_info_score : Shared information of the two labelings.

    Notes
    -----
    The score is not adjusted for chance, and it is symmetric in its arguments.
    The scorer ``clustering_accuracy_scorer`` serves where scikit-learn takes ``scoring``. Once
    skdeepclust is imported, the name ``"clustering_accuracy"`` means the same in the search and
    validation tools of :mod:`sklearn.model_selection`.

    Examples
    --------
    >>> from skdeepclust.metrics import clustering_accuracy_score
    >>> clustering_accuracy_score([0, 0, 1, 1], ["b", "b", "a", "a"])
    1.0
    >>> clustering_accuracy_score([0, 0, 1, 1], [0, 0, 1, 2])
    0.75
    """
    classes, clusters = check_clusterings(y_true, y_pred)
    if len(classes) == 0:
        raise ValueError("y_true and y_pred are empty; expected at least one sample.")
    counts = contingency_matrix(classes, clusters)
    matched = linear_sum_assignment(counts, maximize=True)
    return float(counts[matched].sum() / len(classes))


clustering_accuracy_scorer = make_scorer(clustering_accuracy_score)


register_scorer("clustering_accuracy", clustering_accuracy_scorer)
