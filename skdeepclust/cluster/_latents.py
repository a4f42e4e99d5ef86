"""k-means on what a network makes of all samples, and the whitening before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from skdeepclust._torch_state import has_float64
from skdeepclust.kmeans import KMeansResult, best_of_starts


def pca_whitening(z: Tensor, n_components: int | None = None) -> Tensor | None:
    """Return what whitens latents once their mean is subtracted.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
    n_components : int, default=None
        Principal components at most. None: all that vary.

    Returns
    -------
    Tensor of shape (n_features, n_components) or None
        None if all latents are the same.
    """
    if not z.std(0).any():
        return None
    solver: dict[str, Any] = {"svd_solver": "full"}
    if n_components is not None:  # much faster, and its rounding is far from the components kept
        n_components = min(n_components, *z.shape)
        solver = {"svd_solver": "covariance_eigh", "n_components": n_components}
    pca = PCA(whiten=True, random_state=0, **solver).fit(z.cpu().numpy())
    used = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]
    scaled = pca.components_[used].T / np.sqrt(pca.explained_variance_[used])
    return torch.from_numpy(np.ascontiguousarray(scaled, dtype=np.float32))


def k_means_of(z: Tensor, n_clusters: int, **options: Any) -> KMeansResult:
    """Return k-means of latents, on any device; estimators warn of empty clusters themselves."""
    return best_of_starts(z if has_float64(z.device) else z.cpu(), n_clusters, **options)
