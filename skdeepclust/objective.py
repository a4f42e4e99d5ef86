"""What a training phase minimises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Objective(nn.Module):
    """Base of the objectives: what one phase minimises, as hooks that the engine calls.

    Only :meth:`steps` has to be written. What an objective learns from the data lives in
    its buffers, so that a state dict holds all of it.

    Attributes
    ----------
    converged : bool or None
        None for an objective without a criterion of convergence. One that has it sets this to
        True once it is met, and the phase ends with that epoch.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.objective import Objective
    >>> class TowardsTheMean(Objective):
    ...     def on_epoch_begin(self, network, X):
    ...         with torch.no_grad():
    ...             self.mean = network(X).mean(0)
    ...
    ...     def steps(self, network, x, index):
    ...         yield "main", (network(x) - self.mean).square().mean()
    >>> objective = TowardsTheMean()
    >>> network, X = torch.nn.Linear(3, 2), torch.eye(3)
    >>> objective.on_epoch_begin(network, X)
    >>> [(player, loss.shape) for player, loss in objective.steps(network, X, torch.arange(3))]
    [('main', torch.Size([]))]
    """

    converged: bool | None = None

    def players(self, network: nn.Module) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parameters by player, each with an optimiser of its own.

        The first player's optimiser is the engine's ``optimizer_``, the one that skorch's
        learning rate schedulers act on.
        """
        return {"main": [p for p in network.parameters() if p.requires_grad]}

    def steps(self, network: nn.Module, x: Tensor, index: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield a (player, loss) for each step to take on the batch.

        What stands after a ``yield`` runs once that player's optimiser has stepped. To keep
        the device busy, nothing in here may depend on a tensor's value.

        Parameters
        ----------
        network : nn.Module
        x : Tensor of shape (n, *input_shape)
            The batch, on the device.
        index : Tensor of shape (n,)
            Where the batch's samples stand in the data set.
        """
        raise TypeError(f"{type(self).__name__} does not define `steps`")

    def on_epoch_begin(self, network: nn.Module, X: Tensor) -> None:
        """Prepare what needs the whole data set, before each epoch."""

    def on_chunk_begin(self, network: nn.Module, x: Tensor, index: Tensor) -> None:
        """Prepare what needs a chunk of several batches, before its first batch."""

    def after_step(self, network: nn.Module, x: Tensor, index: Tensor) -> None:
        """Update what follows the network, after each batch's last step."""

    def epoch_metrics(self) -> Mapping[str, Tensor | float]:
        """Return what an epoch's row of the history shows besides the loss, at its end."""
        return {}


class PseudoLabels(Objective):
    """Cross-entropy of augmented samples with given labels.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,) or (n_samples, n_clusters)
        Clusters as int64, or their probabilities.
    augmentation : callable

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.objective import PseudoLabels
    >>> objective = PseudoLabels(torch.tensor([0, 1]), augmentation=torch.nn.Identity())
    >>> steps = objective.steps(torch.nn.Identity(), torch.eye(2), torch.arange(2))
    >>> next(steps)
    ('main', tensor(0.3133))
    """

    labels: Tensor

    def __init__(self, labels: Tensor, augmentation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.register_buffer("labels", labels)

    def steps(self, network: nn.Module, x: Tensor, index: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the batch's cross-entropy."""
        yield "main", F.cross_entropy(network(self.augmentation(x)).float(), self.labels[index])


class CountingObjective(Objective):
    """Base of the objectives that a part of the samples takes part in."""

    n_counted: Tensor  # samples that took part in the epoch
    n_seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n_counted", torch.tensor(0))
        self.register_buffer("n_seen", torch.tensor(0))

    def on_epoch_begin(self, network: nn.Module, X: Tensor) -> None:
        """Forget the last epoch's counts."""
        self.n_counted.zero_()
        self.n_seen.zero_()

    def count(self, takes_part: Tensor) -> None:
        """Count the samples of a batch that take part, by a mask of shape (n,)."""
        self.n_counted += takes_part.sum()
        self.n_seen += len(takes_part)

    def share(self) -> float:
        """Return the share of the epoch's samples that took part."""
        return (self.n_counted / self.n_seen).item()
