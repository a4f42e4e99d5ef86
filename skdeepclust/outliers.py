"""How far samples are from those that were trained on, in the space of the features."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from skdeepclust.samples import some_of

N_NEIGHBORS = 5
MAX_SAMPLES, MAX_VALUES = 10_000, 2**22  # that are kept to compare others with
ITSELF = 1 - 1e-6  # cosine


def references_among(n_samples: int, n_features: int) -> slice | Tensor:
    """Return the index of the samples that are kept to compare others with."""
    return some_of(n_samples, n_features, MAX_SAMPLES, MAX_VALUES)


def distance_to_references(z: Tensor, references: Tensor) -> Tensor:
    """Return the distances of directions to their fifth nearest among others.

    One that is among the others doesn't count as its own neighbour.

    Parameters
    ----------
    z : Tensor of shape (m, n_features)
    references : Tensor of shape (n_references, n_features)
        Of norm one. With fewer, the farthest counts.

    Returns
    -------
    Tensor of shape (m,)
        In [0, 2].

    References
    ----------
    .. [1] Sun, Ming, Zhu and Li (2022). Out-of-Distribution Detection with Deep Nearest Neighbors.
       ICML. Section 3.
    """
    unit, k = F.normalize(z, dim=1), min(N_NEIGHBORS + 1, len(references))
    index = (unit @ references.T).topk(k).indices
    # once more, since products of matrices may be rounded, as in TF32 where the caller has set that
    nearest = (unit[:, None] * references[index]).sum(2).sort(descending=True).values
    last = nearest[:, -1].where(nearest[:, 0] > ITSELF, nearest[:, :N_NEIGHBORS][:, -1])
    return (2 - 2 * last).clamp(min=0).sqrt()
