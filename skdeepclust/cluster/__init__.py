"""Estimators, one private file for each family of methods."""

from skdeepclust.cluster._dac import DACClustering, STDACClustering

__all__ = ["DACClustering", "STDACClustering"]
