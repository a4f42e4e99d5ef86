"""What a training phase minimises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._distributed import gather as gather
from skdeepclust.samples import Samples

Parameters = Sequence[nn.Parameter] | Sequence[dict[str, Any]]
Step = tuple[str | tuple[str, ...], Tensor]


@contextmanager
def frozen(parameters: Iterable[Any]) -> Iterator[None]:
    """Within the block, a forward pass leaves the parameters out of its graph.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        Those of another player, say. What needs no gradient is left as it is.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.objective import frozen
    >>> critic, x = torch.nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    >>> with frozen(critic.parameters()):
    ...     estimate = critic(x)
    >>> estimate.sum().backward()
    >>> x.grad is None, critic.weight.grad is None
    (False, True)
    """
    parameters = [p for p in parameters if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


class Objective(nn.Module):
    """Base of the objectives: what one phase minimises, as hooks that the engine calls.

    Only :meth:`loss` has to be written, or :meth:`steps` where several players move. What is
    trained lives in the network; what an objective learns from the data lives in its buffers, so
    that two state dicts hold all of it.

    Attributes
    ----------
    converged : bool or None
        None for an objective without a criterion of convergence. One that has it sets this to
        True once it is met, and the phase ends with that epoch.
    renewed : tuple of str
        Players whose optimiser begins anew with each epoch, as that of a layer does which
        :meth:`on_epoch_begin` draws anew.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.objective import Objective
    >>> from skdeepclust.samples import Samples
    >>> class TowardsTheMean(Objective):
    ...     def on_epoch_begin(self, network, X):
    ...         with torch.no_grad():
    ...             self.mean = network(X[:]).mean(0)
    ...
    ...     def loss(self, network, x, index):
    ...         return (network(x) - self.mean).square().mean()
    >>> objective = TowardsTheMean()
    >>> network, X = torch.nn.Linear(3, 2), Samples(torch.eye(3))
    >>> objective.on_epoch_begin(network, X)
    >>> objective.loss(network, X[:], torch.arange(3)).shape
    torch.Size([])
    """

    converged: bool | None = None
    renewed: tuple[str, ...] = ()

    # `network` is Any in the hooks, for each objective to name the class that it trains.

    def players(self, network: Any) -> Mapping[str, Parameters]:
        """Return the parameters by player, each with an optimiser of its own.

        The first player's optimiser is the engine's ``optimizer_``, the one that skorch's
        learning rate schedulers act on. In place of a list of parameters there can be one of
        torch's parameter groups, dicts with ``params`` and settings of their own, such as ``lr``.
        """
        return {"main": [p for p in network.parameters() if p.requires_grad]}

    def loss(self, network: Any, x: Tensor, index: Tensor) -> Tensor:
        """Return the loss of the batch, which the player "main" minimises.

        To keep the device busy, nothing in here may depend on a tensor's value.

        Parameters
        ----------
        network : nn.Module
        x : Tensor of shape (n, *input_shape)
            The batch, on the device.
        index : Tensor of shape (n,)
            Where the batch's samples stand in the data set.
        """
        raise TypeError(f"{type(self).__name__} defines neither `loss` nor `steps`")

    def steps(self, network: Any, x: Tensor, index: Tensor) -> Iterator[Step]:
        """Yield a (player, loss) for each step to take on the batch.

        In place of a player there can be a tuple of players, who all follow the loss. What
        stands after a ``yield`` runs once their optimisers have stepped. By default "main"
        minimises :meth:`loss`.
        """
        yield "main", self.loss(network, x, index)

    def order(self, shuffled: Tensor) -> Tensor:
        """Return the indices of an epoch's samples, in order, given those of all, shuffled."""
        return shuffled

    def before_step(self, network: Any, n_steps: int) -> None:
        """Prepare a batch's first step, when `n_steps` batches of the phase are done.

        Unlike :meth:`loss`, it may read tensors' values, now and then.
        """

    def on_epoch_begin(self, network: Any, X: Samples) -> None:
        """Prepare what needs the whole data set, before each epoch."""

    def on_chunk_begin(self, network: Any, x: Tensor, index: Tensor) -> None:
        """Prepare what needs a chunk of several batches, before its first batch."""

    def after_step(self, network: Any, x: Tensor, index: Tensor) -> None:
        """Update what follows the network, after each batch's last step."""

    def epoch_metrics(self) -> Mapping[str, Tensor | float]:
        """Return what an epoch's row of the history shows besides the loss, at its end."""
        return {}


class ClassPrior(nn.Module):
    """The shares of the samples that clusters are drawn to: like ones in the first epochs.

    Clusters that are drawn to unequal sizes before they are found settle in the wrong places.

    Parameters
    ----------
    shares : Tensor of shape (n_clusters,) or None
        None: like ones all along.
    max_epochs : int
        Of the phase.
    start : float, default=0.5
        Part of the epochs after which `shares` come in.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.objective import ClassPrior
    >>> prior = ClassPrior(torch.tensor([0.75, 0.25]), max_epochs=2)
    >>> for epoch in range(2):
    ...     prior.next_epoch()
    ...     print(prior.now)
    None
    tensor([0.7500, 0.2500])
    """

    shares: Tensor | None
    n_epochs: Tensor | None

    def __init__(self, shares: Tensor | None, max_epochs: int, start: float = 0.5) -> None:
        super().__init__()
        self.n_even = int(start * max_epochs)
        self.now: Tensor | None = None  # what a loss takes
        self.register_buffer("shares", shares)
        self.register_buffer("n_epochs", None if shares is None else torch.tensor(0))

    def next_epoch(self) -> None:
        """Decide which shares the next epoch has."""
        if self.n_epochs is not None:
            self.n_epochs += 1
            self.now = self.shares if self.n_epochs > self.n_even else None


class ManyHeadsObjective(Objective):
    """Base of the objectives of several heads, whose losses tell which one predicts.

    Parameters
    ----------
    n_heads : int
    """

    head_losses: Tensor  # summed over the samples of the epoch

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("head_losses", torch.zeros(n_heads))

    def on_epoch_begin(self, network: Any, X: Samples) -> None:
        """Forget the last epoch's losses."""
        self.head_losses.zero_()

    def count_losses(self, losses: Tensor, n_samples: int) -> None:
        """Add a batch's mean losses, of shape (n_heads,)."""
        self.head_losses += losses.detach() * n_samples

    def after_step(self, network: Any, x: Tensor, index: Tensor) -> None:
        """Let the head with the lowest loss predict, also where training is interrupted."""
        network.head.select(self.head_losses)


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
    >>> objective.loss(torch.nn.Identity(), torch.eye(2), torch.arange(2))
    tensor(0.3133)
    """

    labels: Tensor

    def __init__(self, labels: Tensor, augmentation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.register_buffer("labels", labels)

    def loss(self, network: Any, x: Tensor, index: Tensor) -> Tensor:
        """Return the batch's cross-entropy."""
        return F.cross_entropy(network(self.augmentation(x)).float(), self.labels[index])


class CountingObjective(Objective):
    """Base of the objectives that a part of the samples takes part in."""

    n_counted: Tensor  # samples that took part in the epoch
    n_seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n_counted", torch.tensor(0))
        self.register_buffer("n_seen", torch.tensor(0))

    def on_epoch_begin(self, network: Any, X: Samples) -> None:
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
