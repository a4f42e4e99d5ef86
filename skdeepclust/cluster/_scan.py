"""Semantic clustering by adopting nearest neighbours (SCAN)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from torch import Tensor, nn

from skdeepclust._docs import shared_docs
from skdeepclust.augment import RandomNoise, strong_augmentation
from skdeepclust.base import BaseDeepClusterer
from skdeepclust.cluster._simclr import (
    LAST_LR_FACTOR,
    ContrastiveMixin,
    ContrastiveObjective,
    cosine_to,
)
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluation_mode, forward_in_slices, reestimate_batch_norm
from skdeepclust.losses import confident_cross_entropy, scan_loss
from skdeepclust.neighbors import nearest_neighbors
from skdeepclust.networks import RepresentationNetwork, SCANNetwork
from skdeepclust.networks._base import ClusterNetwork
from skdeepclust.objective import CountingObjective, Objective
from skdeepclust.samples import Samples


class PrecomputedRepresentation(nn.Module):
    """Samples that are features already."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x


class _ClusteringObjective(Objective):
    """Base of the objectives that train g' and the heads."""

    def players(self, network: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of g' and of the heads."""
        return {"main": [*network.encoder.parameters(), *network.head.parameters()]}


class SCANObjective(_ClusteringObjective):
    """A sample and one of its neighbours have the same cluster, and clusters are alike in size.

    Parameters
    ----------
    X : Samples
    neighbors : Tensor of shape (n_samples, n_neighbors), int64
    augmentation : callable
    entropy_weight : float
    n_heads : int
    """

    neighbors: Tensor
    head_losses: Tensor  # summed over the samples of the epoch

    def __init__(
        self,
        X: Samples,
        neighbors: Tensor,
        augmentation: Callable[[Tensor], Tensor],
        entropy_weight: float,
        n_heads: int,
    ) -> None:
        super().__init__()
        self.X = X
        self.augmentation = augmentation
        self.entropy_weight = entropy_weight
        self.register_buffer("neighbors", neighbors)
        self.register_buffer("head_losses", torch.zeros(n_heads))

    def on_epoch_begin(self, network: nn.Module, X: Samples) -> None:
        """Forget the last epoch's losses."""
        self.head_losses.zero_()

    def loss(self, network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        """Return the sum of the heads' losses."""
        drawn = torch.randint(self.neighbors.shape[1], (len(x), 1), device=x.device)
        neighbor = self.X[self.neighbors[index].gather(1, drawn).squeeze(1)]
        features = network.embed(self.augmentation(torch.cat([x, neighbor])))
        losses = scan_loss(*network.head.all(features).chunk(2, 1), self.entropy_weight)
        self.head_losses += losses.detach() * len(x)
        return losses.sum()


class SelfLabelObjective(_ClusteringObjective, CountingObjective):
    """Strongly augmented samples get the cluster that the network gives them as they are.

    Parameters
    ----------
    augmentation : callable
    confidence : float
    """

    def __init__(self, augmentation: Callable[[Tensor], Tensor], confidence: float) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.confidence = confidence

    def loss(self, network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        """Return the cross-entropy of the confident samples."""
        with torch.no_grad():
            given = network(x.clone()).float()  # it may work in place
        self.count(given.softmax(1).amax(1) > self.confidence)
        return confident_cross_entropy(network(self.augmentation(x)), given, self.confidence)

    def epoch_metrics(self) -> dict[str, Tensor | float]:
        """Return the share of confident samples."""
        return {"confident": self.share()}


class _BaseSCAN(ContrastiveMixin, BaseDeepClusterer):
    """What SCAN and ProFeat share: the representation, neighbours, heads and self-labelling."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseDeepClusterer._parameter_constraints,
        "representation": [None, StrOptions({"precomputed"}), HasMethods(["fit", "transform"])],
        "projection_size": [Interval(Integral, 1, None, closed="left")],
        "strong_augmentation": [StrOptions({"auto"}), None, callable],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "representation_epochs": [Interval(Integral, 1, None, closed="left")],
        "representation_batch_size": [Interval(Integral, 2, None, closed="left")],
        "representation_lr": [Interval(Real, 0, None, closed="neither")],
        "representation_optimizer": [callable],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "entropy_weight": [Interval(Real, 0, None, closed="left")],
        "self_label_epochs": [Interval(Integral, 0, None, closed="left")],
        "self_label_batch_size": [Interval(Integral, 2, None, closed="left")],
        "self_label_lr": [Interval(Real, 0, None, closed="neither")],
        "confidence": [Interval(Real, 0, 1, closed="left")],
        "checkpoint": [None, str, PathLike],
    }

    # ------------------------------------------------------------------ the representation

    def _is_precomputed(self) -> bool:
        return isinstance(self.representation, str)

    def _given_representation(self) -> Any:
        """Return the fitted SimCLR behind `representation`, which may be frozen."""
        if self.representation is None or self._is_precomputed():
            return None
        given = getattr(self.representation, "estimator", self.representation)
        network = getattr(given, "network_", None)
        if not isinstance(network, RepresentationNetwork):
            raise ValueError(
                f"representation must be None, 'precomputed' or a fitted SimCLR; got "
                f"{self.representation!r}. With another transformer use "
                "representation='precomputed' on what it gives, as in make_pipeline(transformer, "
                f"{type(self).__name__}(representation='precomputed')). Where it is cloned, as "
                "GridSearchCV does, wrap it: sklearn.frozen.FrozenEstimator(simclr)."
            )
        return given

    def _scaled_as(self) -> Any:
        return self._given_representation()

    def _prepared(self, X: Any) -> Tensor:
        X = super()._prepared(X)
        self._check_augmentation("strong_augmentation", X)
        return X

    def _check_parameters(self) -> None:
        given = self._given_representation()
        if given is not None and given.input_shape_ != self.input_shape_:
            raise ValueError(
                f"representation was fitted on samples of shape {given.input_shape_}, but X holds "
                f"samples of shape {self.input_shape_}."
            )
        if self._is_precomputed() and len(self.input_shape_) != 1:
            raise ValueError(
                "representation='precomputed' needs X of shape (n_samples, n_features); got "
                f"samples of shape {self.input_shape_}."
            )

    def _new_representation(self) -> tuple[nn.Module, int]:
        """Return g with its projector, new or given, and the number of its features."""
        given = self._given_representation()
        if given is not None:
            return copy.deepcopy(given.network_), given._n_features_out
        if self._is_precomputed():
            return PrecomputedRepresentation(), self.input_shape_[0]
        return self._build_representation()

    def _strong_views(self, X: Samples) -> Callable[[Tensor], Tensor]:
        """Return what `strong_augmentation` stands for."""
        if self.strong_augmentation is None or self._is_precomputed():
            return nn.Identity()
        if self.strong_augmentation != "auto":
            return self.strong_augmentation
        if len(self.input_shape_) == 1:
            return RandomNoise(std=0.2, dropout=0.2)
        return strong_augmentation(self.input_shape_, self._value_range(X))

    def _finalize(self, network: SCANNetwork, X: Samples) -> None:
        if not self._is_precomputed():
            reestimate_batch_norm(network.representation, X)
        # g' apart: it may share its batch normalisation with g, and may not
        reestimate_batch_norm(ClusterNetwork(network.encoder, network.head), X)

    # ------------------------------------------------------------------ phases

    def _contrastive_phase(
        self,
        representation: nn.Module,
        X: Samples,
        max_epochs: int,
        lr: float,
        name: str,
        pairs: nn.Module | None = None,
    ) -> Phase:
        return Phase(
            ContrastiveObjective(self._views(X), self.temperature, pairs),
            max_epochs,
            name,
            batch_size=self.representation_batch_size,
            optimizer=self.representation_optimizer,
            lr=lr,
            lr_factor=cosine_to(LAST_LR_FACTOR, max_epochs),
            network=representation,
        )

    def _clustering_phases(self, model: SCANNetwork, X: Samples, name: str = "") -> Iterator[Phase]:
        """Yield SCAN's clustering step on the representation of `model`."""
        reestimate_batch_norm(model.representation, X)
        with evaluation_mode(model.representation):
            projections = forward_in_slices(model.representation, X)
        n_neighbors = min(self.n_neighbors, len(X) - 1)
        # without the sample itself, which is one of them in the authors' code
        neighbors = nearest_neighbors(projections, n_neighbors)
        model.start_clustering()
        strong = self._strong_views(X)
        objective = SCANObjective(X, neighbors, strong, self.entropy_weight, self.n_heads)
        yield Phase(
            objective,
            self.max_epochs,
            f"{name}scan",
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            lr=self.lr,
            network=model,
        )
        # Of the last epoch, on the training samples. The authors' code keeps the epoch and the head
        # with the lowest loss on validation samples, which there are none of here.
        model.head.select(objective.head_losses)
        if self.self_label_epochs:
            objective = SelfLabelObjective(strong, self.confidence)
            yield Phase(
                objective,
                self.self_label_epochs,
                f"{name}self-labelling",
                batch_size=self.self_label_batch_size,
                optimizer=self.optimizer,
                lr=self.self_label_lr,
                network=model,
            )


@shared_docs
class SCANClustering(_BaseSCAN):
    """Semantic clustering by adopting nearest neighbours (SCAN).

    A representation is learnt by contrast (:class:`SimCLR`) and the nearest neighbours of each
    sample are mined in it; then the network is trained to put a sample and its neighbours into one
    cluster, with confidence, and to use all clusters; at last its confident predictions become
    labels for strongly augmented samples [1]_.

    Parameters
    ----------
    {{n_clusters}}
    {{representation}}
    {{contrastive_network}}
    {{views}}
    {{strong_augmentation}}
    {{representation_training}}
    {{scan}}
    {{self_labelling}}
    max_epochs : int, default=50
        Passes over the samples with SCAN's loss. 50 in the paper on CIFAR-10.
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
        The trained network: ``network_.embed(x)`` gives features, ``network_(x)`` logits,
        ``network_.representation(x)`` projections.
    {{attributes}}

    See Also
    --------
    ProFeatClustering : Refines the representation with the clusters, in rounds.
    SimCLR : The representation alone.

    Notes
    -----
    {{chosen_contrastive}}

    References
    ----------
    .. [1] Van Gansbeke et al. (2020). SCAN: Learning to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import SCANClustering
    >>> images = load_digits().images[:200]
    >>> scan = SCANClustering(10, representation_epochs=2, max_epochs=2, random_state=0)
    >>> scan.fit_predict(images).shape
    (200,)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
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

    def _build_network(self) -> SCANNetwork:
        representation, n_features = self._new_representation()
        return SCANNetwork(representation, n_features, self.n_clusters, self.n_heads)

    def _phases(self, network: SCANNetwork, X: Samples) -> Iterator[Phase]:
        if self.representation is None:
            yield self._contrastive_phase(
                network.representation,
                X,
                self.representation_epochs,
                self.representation_lr,
                "simclr",
            )
        yield from self._clustering_phases(network, X)

    def _planned_epochs(self, n_samples: int) -> int:
        representation = self.representation_epochs if self.representation is None else 0
        return representation + self.max_epochs + self.self_label_epochs
