"""Progressive feature refinement (ProFeat)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from skdeepclust._docs import shared_docs
from skdeepclust._training._run import Run
from skdeepclust.cluster._scan import _BaseSCAN
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluation_mode, forward_in_slices
from skdeepclust.losses import pair_agreement
from skdeepclust.networks import SCANNetwork
from skdeepclust.networks._contrastive import EnsembleNetwork
from skdeepclust.samples import Samples


class ConfidentPairs(nn.Module):
    """Pairs of confident samples of one cluster (ProFeat_s).

    Parameters
    ----------
    labels : Tensor of shape (n_samples,), int64
    kept : Tensor of shape (n_samples,), bool
        Samples that are confident.
    """

    labels: Tensor
    kept: Tensor

    def __init__(self, labels: Tensor, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("labels", labels)
        self.register_buffer("kept", kept)

    def forward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's pairs and the samples that take part."""
        labels = self.labels[index]
        return labels[:, None] == labels, self.kept[index]


class AgreeingPairs(nn.Module):
    """Pairs that enough models put together, of samples with enough of them (ProFeat_e).

    Parameters
    ----------
    labels : Tensor of shape (n_models, n_samples), int64
    min_agreement : int
        Models that have to agree on a pair.
    min_connections : int
        Pairs in the batch that a sample has to have; 0 keeps every sample.
    """

    labels: Tensor

    def __init__(self, labels: Tensor, min_agreement: int, min_connections: int) -> None:
        super().__init__()
        self.min_agreement = min_agreement
        self.min_connections = min_connections
        self.register_buffer("labels", labels)

    def forward(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's pairs and the samples that take part."""
        # equation 3 has "more than" t_e, which nothing is with the paper's 5 of 5 models
        connected = pair_agreement(self.labels[:, index]) >= self.min_agreement
        n_connections = connected.sum(1) - 1  # not with itself
        return connected, n_connections >= self.min_connections


@shared_docs
class ProFeatClustering(_BaseSCAN):
    """Progressive feature refinement in rounds of representation learning and clustering (ProFeat).

    The first round is :class:`SCANClustering`, on a copy g' of the representation g. Each further
    round refines g by contrast, where samples of one cluster are alike as the views of one sample
    are, with the confident samples only; then it clusters anew [1]_. With one model
    (ProFeat_s) the confident samples are those with a high probability, with several (ProFeat_e)
    those on which the models agree.

    Parameters
    ----------
    {{n_clusters}}
    n_rounds : int, default=3
        Rounds. 10 in the paper on CIFAR-10, 100 (ProFeat_s) and 300 (ProFeat_e) on STL-10; 1 is
        SCAN.
    n_models : int, default=1
        Models that are trained side by side; one is kept at the end, the one with the lowest loss.
        1: ProFeat_s. More: ProFeat_e, which has 5 in the paper; with a given `representation` they
        differ by their clustering alone at first.
    refine_epochs : int, default=20
        Passes over the samples that refine the representation in each round but the first. 50 in
        the paper.
    refine_lr : float, default=1e-4
        Their learning rate, with the optimiser and the schedule of the first round. The paper has
        that of the first round too.
    confident_only : bool, default=True
        Whether only confident samples refine the representation (table 2 of the paper).
    separate_embedding : bool, default=True
        Whether the clustering trains a copy g' of g, so that wrong clusters don't get into the
        representation, or g itself (table 2 of the paper).
    threshold : float in [0, 1), default=0.99
        With one model: samples with a probability above are confident; t_s in the paper, which
        has 0.95 on STL-10.
    min_agreement : int, default=None
        With several models: how many have to agree on a pair, at least; t_e in the paper, which
        asks for more than t_e = 5 of 5 models and can only mean as many. None: all.
    min_connections : int or "auto", default="auto"
        With several models: samples with fewer connections in a batch are left out; t_c in the
        paper. 1: every sample with a connection takes part. "auto": 0.4 times the
        `representation_batch_size` per cluster, which are the paper's 20 on CIFAR-10 and 10 on
        CIFAR-100-20.
    representation : fitted SimCLR or None, default=None
        A copy of a fitted :class:`SimCLR` takes the place of the first round's contrastive
        training: `network`, `projection_size`, `representation_epochs` and `representation_lr` are
        ignored, and its `input_mean_` and `input_scale_` are taken over. Where estimators are
        cloned, as in a grid search, wrap it in :class:`sklearn.frozen.FrozenEstimator`. None: it is
        trained first.
    {{contrastive_network}}
    {{views}}
    {{strong_augmentation}}
    {{representation_training}}
    {{scan}}
    {{self_labelling}}
    max_epochs : int, default=50
        Passes over the samples with SCAN's loss, in each round.
    batch_size : int, default=128
        Samples a step of the clustering, each with a neighbour.
    lr : float, default=1e-3
        Learning rate of the clustering. 1e-4 in the paper, for many more steps.
    optimizer : callable, default=torch.optim.Adam
        Called with the parameters and ``lr=``. The paper's has ``weight_decay=1e-4``.
    {{restarts}}
    {{checkpoint}}
    {{training}}

    Attributes
    ----------
    network_ : SCANNetwork
        The model that is kept: ``network_.embed(x)`` gives the features g'(x), ``network_(x)``
        logits, ``network_.representation.embed(x)`` the refined features g(x).
    round_labels_ : ndarray of shape (n_rounds, n_samples)
        Cluster of each training sample after each round; -1 for rounds that an interruption left
        out.
    {{attributes}}

    See Also
    --------
    SCANClustering : One round.

    Notes
    -----
    The paper doesn't say what the heads start from in later rounds. Here they go on from the round
    before: new ones drew other clusters each time, which hid what the rounds gained.

    {{chosen_contrastive}}

    References
    ----------
    .. [1] Kim, Im and Cho (2021). ProFeat: Unsupervised Image Clustering via Progressive Feature
       Refinement.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import ProFeatClustering
    >>> images = load_digits().images[:200]
    >>> profeat = ProFeatClustering(
    ...     10, n_rounds=2, representation_epochs=2, refine_epochs=2, max_epochs=2,
    ...     self_label_epochs=0, confident_only=False, random_state=0,
    ... )
    >>> profeat.fit(images).round_labels_.shape
    (2, 200)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_BaseSCAN._parameter_constraints,
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "n_models": [Interval(Integral, 1, None, closed="left")],
        "refine_epochs": [Interval(Integral, 1, None, closed="left")],
        "refine_lr": [Interval(Real, 0, None, closed="neither")],
        "confident_only": ["boolean"],
        "separate_embedding": ["boolean"],
        "threshold": [Interval(Real, 0, 1, closed="left")],
        "min_agreement": [None, Interval(Integral, 1, None, closed="left")],
        "min_connections": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_rounds: int = 3,
        n_models: int = 1,
        refine_epochs: int = 20,
        refine_lr: float = 1e-4,
        confident_only: bool = True,
        separate_embedding: bool = True,
        threshold: float = 0.99,
        min_agreement: int | None = None,
        min_connections: int | str = "auto",
        representation: Any = None,
        network: Callable[..., Any] | None = None,
        projection_size: int = 128,
        image_shape: tuple[int, ...] | None = None,
        augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        strong_augmentation: Callable[[Tensor], Tensor] | str | None = "auto",
        temperature: float = 0.1,
        representation_epochs: int = 50,
        representation_batch_size: int = 256,
        representation_lr: float = 1e-3,
        representation_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        n_neighbors: int = 20,
        n_heads: int = 5,
        entropy_weight: float = 5.0,
        self_label_epochs: int = 20,
        self_label_batch_size: int = 256,
        self_label_lr: float = 1e-4,
        confidence: float = 0.99,
        max_epochs: int = 50,
        batch_size: int = 128,
        lr: float = 1e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        n_init: int | str = "auto",
        screening: float = 1.0,
        checkpoint: str | PathLike[str] | None = None,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        verbose: int | bool = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_rounds = n_rounds
        self.n_models = n_models
        self.refine_epochs = refine_epochs
        self.refine_lr = refine_lr
        self.confident_only = confident_only
        self.separate_embedding = separate_embedding
        self.threshold = threshold
        self.min_agreement = min_agreement
        self.min_connections = min_connections
        self.representation = representation
        self.network = network
        self.projection_size = projection_size
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.strong_augmentation = strong_augmentation
        self.temperature = temperature
        self.representation_epochs = representation_epochs
        self.representation_batch_size = representation_batch_size
        self.representation_lr = representation_lr
        self.representation_optimizer = representation_optimizer
        self.n_neighbors = n_neighbors
        self.n_heads = n_heads
        self.entropy_weight = entropy_weight
        self.self_label_epochs = self_label_epochs
        self.self_label_batch_size = self_label_batch_size
        self.self_label_lr = self_label_lr
        self.confidence = confidence
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.n_init = n_init
        self.screening = screening
        self.checkpoint = checkpoint
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self._is_precomputed():
            raise ValueError(
                "representation must be None or a fitted SimCLR, because it is refined; got "
                "'precomputed'. SCANClustering takes features."
            )
        if self.min_agreement is not None and self.min_agreement > self.n_models:
            raise ValueError(
                f"min_agreement must be None or at most n_models={self.n_models}; got "
                f"{self.min_agreement}."
            )

    def _build_network(self) -> EnsembleNetwork:
        models = []
        for _ in range(self.n_models):
            representation, n_features = self._new_representation()
            models.append(
                SCANNetwork(
                    representation,
                    n_features,
                    self.n_clusters,
                    self.n_heads,
                    separate_embedding=self.separate_embedding,
                )
            )
        return EnsembleNetwork(models)

    def _phases(self, network: EnsembleNetwork, X: Samples) -> Iterator[Phase]:
        network.start(self.n_rounds, X)
        for round_ in range(self.n_rounds):
            for number, model in enumerate(network.models):
                name = f"round {round_ + 1}: "
                if self.n_models > 1:
                    name = f"round {round_ + 1}, model {number + 1}: "
                if round_ > 0:
                    pairs = self._pairs(network)
                    yield self._contrastive_phase(
                        model.representation,
                        X,
                        self.refine_epochs,
                        self.refine_lr,
                        f"{name}refinement",
                        pairs,
                    )
                elif self.representation is None:
                    yield self._contrastive_phase(
                        model.representation,
                        X,
                        self.representation_epochs,
                        self.representation_lr,
                        f"{name}simclr",
                    )
                yield from self._clustering_phases(model, X, name)
            self._end_round(network, X, round_)

    def _pairs(self, network: EnsembleNetwork) -> nn.Module:
        """Return what gives the pairs of one cluster, from the clusters of the last round."""
        if self.n_models == 1:
            kept = network.confidence[0] > (self.threshold if self.confident_only else -1)
            return ConfidentPairs(network.labels[0], kept)
        min_connections = self.min_connections
        if min_connections == "auto":
            per_cluster = self.representation_batch_size / self.n_clusters
            min_connections = max(1, round(0.4 * per_cluster))
        return AgreeingPairs(
            network.labels,
            self.n_models if self.min_agreement is None else self.min_agreement,
            min_connections if self.confident_only else 0,
        )

    def _end_round(self, network: EnsembleNetwork, X: Samples, round_: int) -> None:
        """Note the clusters of each model, and choose the one that predicts."""
        self._finalize(network, X)
        for number, model in enumerate(network.models):
            with evaluation_mode(model):
                probabilities = forward_in_slices(lambda x: model(x).softmax(1), X)  # noqa: B023
            network.confidence[number], network.labels[number] = probabilities.max(1)
        network.round_labels[round_] = network.labels[network.kept]

    def _finalize(self, network: EnsembleNetwork, X: Samples) -> None:
        for model in network.models:
            super()._finalize(model, X)
        network.keep_best()

    def _keep(self, run: Run) -> None:
        self.round_labels_ = run.network.round_labels.cpu().numpy()
        run.network = run.network.model
        super()._keep(run)

    def _planned_epochs(self, n_samples: int) -> int:
        representation = self.representation_epochs if self.representation is None else 0
        clustering = self.max_epochs + self.self_label_epochs
        refinement = (self.n_rounds - 1) * self.refine_epochs
        return self.n_models * (representation + refinement + self.n_rounds * clustering)
