"""Deep clustering with scikit-learn's API."""

from skdeepclust import augment, datasets, metrics, networks, plotting
from skdeepclust.cluster import DACClustering, STDACClustering

__version__ = "0.1.0.dev0"

__all__ = [
    "DACClustering",
    "STDACClustering",
    "augment",
    "datasets",
    "metrics",
    "networks",
    "plotting",
]
