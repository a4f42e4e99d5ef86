"""Pictures of a clustering, as displays in the style of scikit-learn's.

They need matplotlib: ``pip install "skdeepclust[plot]"``.
"""

from __future__ import annotations

from skdeepclust.plotting._curves import TrainingCurvesDisplay
from skdeepclust.plotting._embedding import EmbeddingDisplay
from skdeepclust.plotting._interpolation import InterpolationDisplay
from skdeepclust.plotting._merge_tree import MergeTreeDisplay
from skdeepclust.plotting._montage import ClusterMontageDisplay
from skdeepclust.plotting._n_clusters import NClustersDisplay
from skdeepclust.plotting._samples import ClusterSamplesDisplay
from skdeepclust.plotting._spatial_transformer import SpatialTransformerDisplay
from skdeepclust.plotting._statistics import ClusterStatisticsDisplay

__all__ = [
    "ClusterMontageDisplay",
    "ClusterSamplesDisplay",
    "ClusterStatisticsDisplay",
    "EmbeddingDisplay",
    "InterpolationDisplay",
    "MergeTreeDisplay",
    "NClustersDisplay",
    "SpatialTransformerDisplay",
    "TrainingCurvesDisplay",
]
