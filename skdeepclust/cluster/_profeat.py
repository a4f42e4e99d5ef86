"""Progressive feature refinement (ProFeat)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor, nn

from skdeepclust._distributed import n_processes
from skdeepclust._parameters import AT_LEAST_1, BELOW_1, POSITIVE, estimator, param
from skdeepclust._sklearn import HasMethods, StrOptions
from skdeepclust._training._run import Run
from skdeepclust.cluster._scan import BaseSCAN
from skdeepclust.engine import Phase
from skdeepclust.inference import evaluated
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


@estimator
class ProFeatClustering(BaseSCAN):
    """Progressive feature refinement in rounds of representation learning and clustering (ProFeat).

    The first round is :class:`SCANClustering`, on a copy g' of the representation g. Each further
    round refines g by contrast, where samples of one cluster are alike as the views of one sample
    are, with the confident samples only; then it clusters anew [1]_. With one model
    (ProFeat_s) the confident samples are those with a high probability, with several (ProFeat_e)
    those on which the models agree.

    Parameters
    ----------
    n_rounds : int
        Rounds. 10 in the paper on CIFAR-10, 100 (ProFeat_s) and 300 (ProFeat_e) on STL-10; 1 is
        SCAN.
    n_models : int
        Models that are trained side by side; one is kept at the end, the one with the lowest loss.
        1: ProFeat_s. More: ProFeat_e, which has 5 in the paper; with a given `representation` they
        differ by their clustering alone at first.
    refinement_epochs : int
        Passes over the samples that refine the representation in each round but the first. 50 in
        the paper.
    refinement_lr : float
        Their learning rate, with the optimiser and the schedule of the first round. The paper has
        that of the first round too.
    confident_only : bool
        Whether only confident samples refine the representation (table 2 of the paper).
    separate_embedding : bool
        Whether the clustering trains a copy g' of g, so that wrong clusters don't get into the
        representation, or g itself (table 2 of the paper).
    threshold : float in [0, 1)
        With one model: samples with a probability above are confident; t_s in the paper, which
        has 0.95 on STL-10.
    min_agreement : int
        With several models: how many have to agree on a pair, at least; t_e in the paper, which
        asks for more than t_e = 5 of 5 models and can only mean as many. None: all.
    min_connections : int or "auto"
        With several models: samples with fewer connections in a batch are left out; t_c in the
        paper. 1: every sample with a connection takes part. "auto": 0.4 times the
        batch size of the representation per cluster, which are the paper's 20 on CIFAR-10 and 10 on
        CIFAR-100-20.
    max_epochs : int
        Passes over the samples with SCAN's loss, in each round.
    batch_size : int
        Samples a step of the clustering, each with a neighbour.
    lr : float
        Learning rate of the clustering. 1e-4 in the paper, for many more steps.
    optimizer : callable
        Called with the parameters and ``lr=``. The paper's has ``weight_decay=1e-4``.
    representation : SimCLR or None
        The representation that is trained first, by its own parameters, such as
        ``SimCLR(max_epochs=500)``; its batches, optimiser, temperature and views also serve the
        refinement. A search sets them by ``representation__lr``, say. Its device, precision and
        random state are of no effect. A fitted one, on samples of the same shape, is taken over
        instead: a copy of its network, and its `input_mean_` and `input_scale_`. Where estimators
        are cloned, as in a grid search, a fitted one stays fitted in a
        :class:`sklearn.frozen.FrozenEstimator`. None: ``SimCLR()``.

    Attributes
    ----------
    network_ : SCANNetwork
        The model that is kept: ``network_.embed(x)`` gives the features g'(x), ``network_(x)``
        logits, ``network_.representation.embed(x)`` the refined features g(x).
    round_labels_ : ndarray of shape (n_rounds, n_samples)
        Cluster of each training sample after each round; -1 for rounds that an interruption left
        out.

    See Also
    --------
    SCANClustering : One round.

    Notes
    -----
    The paper doesn't say what the heads start from in later rounds. Here they go on from the round
    before: new ones drew other clusters each time, which hid what the rounds gained.

    {{contrastive}}

    References
    ----------
    .. [1] Kim, Im and Cho (2021). ProFeat: Unsupervised Image Clustering via Progressive Feature
       Refinement.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import ProFeatClustering, SimCLR
    >>> images = load_digits(n_class=3).images[:200]
    >>> profeat = ProFeatClustering(
    ...     3, representation=SimCLR(max_epochs=2), n_rounds=2, refinement_epochs=2, max_epochs=2,
    ...     self_label_epochs=0, confident_only=False, random_state=0,
    ... )
    >>> profeat.fit(images).round_labels_.shape
    (2, 200)
    """

    representation: Any = param(None, None, HasMethods(["fit", "transform"]))  # it is refined
    n_rounds: int = param(3, AT_LEAST_1)
    n_models: int = param(1, AT_LEAST_1)
    refinement_epochs: int = param(20, AT_LEAST_1)
    refinement_lr: float = param(1e-4, POSITIVE)
    confident_only: bool = param(True, "boolean")
    separate_embedding: bool = param(True, "boolean")
    threshold: float = param(0.99, BELOW_1)
    min_agreement: int | None = param(None, None, AT_LEAST_1)
    min_connections: int | Literal["auto"] = param("auto", StrOptions({"auto"}), AT_LEAST_1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
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
        simclr = self._representation()
        for round_ in range(self.n_rounds):
            for number, model in enumerate(network.models):
                name = f"round {round_ + 1}: "
                if self.n_models > 1:
                    name = f"round {round_ + 1}, model {number + 1}: "
                if round_ > 0:
                    yield simclr._contrastive(
                        model.representation,
                        X,
                        self.refinement_epochs,
                        f"{name}refinement",
                        self._pairs(network),
                        lr=self.refinement_lr,
                    )
                elif self._trains_representation():
                    yield simclr._contrastive(
                        model.representation, X, simclr.max_epochs, f"{name}simclr"
                    )
                yield from self._clustering_phases(model, X, name)
            self._end_round(network, X, round_)

    def _pairs(self, network: EnsembleNetwork) -> nn.Module:
        """Return what gives the pairs of one cluster, from the clusters of the last round."""
        if self.n_models == 1:
            kept = network.confidence[0] > (self.threshold if self.confident_only else -1)
            return ConfidentPairs(network.labels[0], kept)
        if self.min_connections == "auto":
            batch_size = self._representation().batch_size * n_processes()
            per_cluster = min(batch_size, network.labels.shape[1]) / self.n_clusters
            min_connections = max(1, round(0.4 * per_cluster))
        else:
            min_connections = self.min_connections
        return AgreeingPairs(
            network.labels,
            self.n_models if self.min_agreement is None else self.min_agreement,
            min_connections if self.confident_only else 0,
        )

    def _end_round(self, network: EnsembleNetwork, X: Samples, round_: int) -> None:
        """Note the clusters of each model, and choose the one that predicts."""
        self._finalize(network, X)
        for number, model in enumerate(network.models):
            probabilities = evaluated(model, X, lambda x: model(x).softmax(1))  # noqa: B023
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
        clustering = self.max_epochs + self.self_label_epochs
        refinement = (self.n_rounds - 1) * self.refinement_epochs
        return self.n_models * (
            self._representation_epochs() + refinement + self.n_rounds * clustering
        )
