"""Invariant information clustering (IIC)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from skdeepclust._distributed import gather
from skdeepclust._parameters import AT_LEAST_1, NOT_NEGATIVE, estimator, param
from skdeepclust.cluster._base_overclustering import BaseOverclusterer, MergingNetwork
from skdeepclust.engine import Phase
from skdeepclust.losses import invariant_information
from skdeepclust.objective import ClassPrior, ManyHeadsObjective
from skdeepclust.samples import Samples


class IICObjective(ManyHeadsObjective):
    """-I(z, z'), of the clusters z of samples and z' of augmented copies, mean over the heads.

    Parameters
    ----------
    augmentation : callable
    n_copies : int
        Of each sample.
    entropy_weight : float
        lambda.
    n_heads : int
    alternation : int or None
        Epochs of the heads that predict before each one of the over-clustering heads; None: both
        at each step.
    prior : ClassPrior
        Of the heads that predict.
    """

    n_epochs: Tensor

    def __init__(
        self,
        augmentation: Callable[[Tensor], Tensor],
        n_copies: int,
        entropy_weight: float,
        n_heads: int,
        alternation: int | None,
        prior: ClassPrior,
    ) -> None:
        super().__init__(n_heads)
        self.augmentation = augmentation
        self.n_copies = n_copies
        self.entropy_weight = entropy_weight
        self.alternation = alternation
        self.in_turn = [True, True]  # heads that predict, heads that over-cluster
        self.register_buffer("n_epochs", torch.tensor(0))
        self.prior = prior

    def on_epoch_begin(self, network: MergingNetwork, X: Samples) -> None:
        """Decide whose turn it is, and forget the losses of the heads that predict if it's them."""
        if self.alternation is not None:
            is_over = int(self.n_epochs) % (self.alternation + 1) == self.alternation
            self.in_turn = [not is_over, is_over]
        if self.in_turn[0]:
            super().on_epoch_begin(network, X)
        self.n_epochs += 1
        self.prior.next_epoch()

    def loss(self, network: MergingNetwork, x: Tensor, index: Tensor) -> Tensor:
        copies = self.augmentation(x.repeat(self.n_copies, *[1] * (x.ndim - 1)))
        features = network.embed(torch.cat([x, copies]))
        total = torch.zeros((), device=x.device)
        for number, logits in enumerate(network.head.all(features)):
            if not self.in_turn[number]:
                continue
            p, *of_copies = logits.float().softmax(-1).chunk(self.n_copies + 1, -2)
            p, mean = gather(p, -2), gather(torch.stack(of_copies).mean(0), -2)
            prior = self.prior.now if number == 0 else None
            losses = -invariant_information(p, mean, self.entropy_weight, prior)
            total = total + losses.mean()
            if number == 0:
                self.count_losses(losses, p.shape[-2])
        return total


@estimator
class IICClustering(BaseOverclusterer):
    """Invariant information clustering (IIC).

    A network is trained to maximise the mutual information of the clusters of a sample and of its
    augmented copies: both in one cluster, with confidence, and all clusters in use [1]_. It has
    several heads of `n_clusters` outputs, of which the one with the lowest loss predicts, and
    several with more, which learn finer clusters beside them and make better features.

    Parameters
    ----------
    overclustering : int
        Outputs of the over-clustering heads, in multiples of `n_clusters`; 5 in the paper on MNIST.
        1: there are no such heads.
    alternation : int or None
        The heads take turns by epochs: so many of the heads that predict, then one of the
        over-clustering heads. 2 in the authors' code on MNIST. None: both at each step, which is
        not in the paper and takes half the time.
    n_copies : int
        Augmented copies of each sample in a batch; 5 in the paper on MNIST.
    entropy_weight : float
        Weight of the entropies of the clusters' sizes beside the joint entropy: lambda, 1 in all of
        the paper's commands. With 1 and so few steps as here, some clusters stay empty.
    max_epochs : int or "auto"
        Passes over the samples. "auto": 4,000 by the root of the number of samples (95 for 1,797
        samples, 16 for 70,000), so that more samples get more steps.
    batch_size : int
        Samples a step, each with its copies. It should be far above the square of `n_clusters`:
        in small batches the information is overestimated, and few clusters are used. An epoch's
        rest, fewer than that, is left out.
    lr : float
        Learning rate; 1e-4 in the paper, for many more steps.

    See Also
    --------
    DeepClustering : Neighbours beside copies, and heads that are chosen by them.
    IMSATClustering : Small perturbations in place of augmentation; for tabular data, say.

    Notes
    -----
    The sample itself is compared with its copies. In the paper's figures the head is chosen by
    accuracy; here by its loss in its last epoch. The defaults of `n_copies`, `entropy_weight`, `lr`
    and `max_epochs` were chosen on scikit-learn's 1,797 digits, with their labels in sight. One to
    three runs each of 60 epochs there: ACC 0.75 with an `entropy_weight` of 1 (two empty clusters),
    0.90 with 1.5 and with 2, all with an `lr` of 1e-3 and three copies, and 0.93 with 2, 3e-3 and
    two copies. One run on 10,000 images of MNIST, on which nothing was chosen, ended at 0.88. The
    paper's settings are in ``benchmarks/tables/information.py``.

    References
    ----------
    .. [1] Ji, Henriques and Vedaldi (2019). Invariant Information Clustering for Unsupervised Image
       Classification and Segmentation. ICCV.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import IICClustering
    >>> images = load_digits().images[:200]
    >>> IICClustering(n_clusters=3, max_epochs=10, random_state=0).fit_predict(images).shape
    (200,)
    """

    alternation: int | None = param(None, None, AT_LEAST_1)
    n_copies: int = param(2, AT_LEAST_1)
    entropy_weight: float = param(2.0, NOT_NEGATIVE)
    batch_size: int = 500
    lr: float = 3e-3

    _EFFORT = 4000

    def _check_parameters(self) -> None:
        if self.alternation is not None and self.overclustering == 1:
            raise ValueError(
                "alternation needs over-clustering heads to take turns with: overclustering must "
                f"be above 1; got alternation={self.alternation} and overclustering=1."
            )

    def _phases(self, network: MergingNetwork, X: Samples) -> Iterator[Phase]:
        objective = IICObjective(
            augmentation=self._augmentation(),
            n_copies=self.n_copies,
            entropy_weight=self.entropy_weight,
            n_heads=self.n_heads,
            alternation=self.alternation,
            prior=self._prior(self._main_epochs(len(X))),
        )
        yield self._phase(objective, self._main_epochs(len(X)), "iic", drop_last=True)
