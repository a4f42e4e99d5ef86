"""Deep clustering with scikit-learn's API."""

from skdeepclust import augment, cluster, datasets, metrics, model_selection, networks, plotting
from skdeepclust.cluster import *  # noqa: F403
from skdeepclust.features import FeatureExtractor
from skdeepclust.hierarchy import count_clusters, cut_tree, merge_tree
from skdeepclust.kmeans import k_means
from skdeepclust.model_file import load, save
from skdeepclust.model_selection import select_n_clusters
from skdeepclust.report import cluster_report

__version__ = "0.3.0.dev0"

__all__ = [
    "FeatureExtractor",
    "augment",
    "cluster_report",
    "count_clusters",
    "cut_tree",
    "datasets",
    "k_means",
    "load",
    "merge_tree",
    "metrics",
    "model_selection",
    "networks",
    "plotting",
    "save",
    "select_n_clusters",
]
__all__ += cluster.__all__
