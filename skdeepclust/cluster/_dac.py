"""Deep adaptive clustering (DAC, DAC*)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skdeepclust._distributed import gather, n_processes
from skdeepclust._parameters import AT_LEAST_2, NOT_NEGATIVE, SHARE, estimator, param
from skdeepclust._sklearn import StrOptions
from skdeepclust._torch_state import without_autocast
from skdeepclust.base import AugmentationMixin, BaseDeepClusterer, EncoderMixin
from skdeepclust.cluster._consensus import ConsensusMixin
from skdeepclust.cluster._warm_start import WarmStartMixin
from skdeepclust.engine import Phase
from skdeepclust.inference import batch_norm_parts, batch_statistics, forward_in_parts
from skdeepclust.losses import (
    binary_cross_entropy,
    label_features,
    mutual_information,
    pairwise_loss,
)
from skdeepclust.networks import AllConvEncoder, DenseEncoder
from skdeepclust.networks._heads import identity_head
from skdeepclust.objective import Objective
from skdeepclust.samples import Samples


class PairObjective(Objective):
    """Pairs labelled by the network itself, under thresholds that come closer each epoch.

    Parameters
    ----------
    n_samples, n_clusters : int
    thresholds : callable
        From the epoch, counted from 0, to (upper, lower).
    aux_weight, mi_weight : float
    augmentation : callable
    label_batch_size : int or None
        Samples whose label features are computed together. None: as many as fit a cache.
    pair_loss : {"log_loss", "squared_error"}
    shuffle : bool
    chunk_size : int
        That of the phase, for chunks without `shuffle`.
    """

    target: Tensor  # label features of all samples, renewed chunk by chunk
    epoch: Tensor

    def __init__(
        self,
        n_samples: int,
        n_clusters: int,
        thresholds: Callable[[Tensor], tuple[Tensor, Tensor]],
        aux_weight: float,
        mi_weight: float,
        augmentation: Callable[[Tensor], Tensor],
        label_batch_size: int | None = None,
        pair_loss: str = "log_loss",
        shuffle: bool = True,
        chunk_size: int = 1000,
    ) -> None:
        super().__init__()
        self.shuffle = shuffle
        self.chunk_size = chunk_size
        self.label_batch_size = label_batch_size
        self.thresholds = thresholds
        self.pair_loss = pair_loss
        self.aux_weight = aux_weight
        self.mi_weight = mi_weight
        self.augmentation = augmentation
        self.register_buffer("target", torch.zeros(n_samples, n_clusters))
        self.register_buffer("epoch", torch.tensor(-1.0))

    def order(self, shuffled: Tensor) -> Tensor:
        if self.shuffle:
            return shuffled
        return shuffled[(shuffled // self.chunk_size).argsort(stable=True)]  # within each chunk

    def on_epoch_begin(self, network: nn.Module, X: Samples) -> None:
        self.epoch += 1

    def on_chunk_begin(self, network: nn.Module, x: Tensor, index: Tensor) -> None:
        # of the images as they are, with the batch norm statistics of the group at hand
        parts = batch_norm_parts(x, self.label_batch_size)
        if len(parts) > 1:  # a batch that were a group would agree with itself in any case
            order = torch.randperm(len(x), device=x.device) if self.shuffle else index.argsort()
            x, index = x[order], index[order]
        with batch_statistics(network):
            logits = forward_in_parts(lambda x: network(x.clone()), x, parts)
        self.target[index] = label_features(logits.float().softmax(1))

    def loss(self, network: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        target = self.target[gather(index)]
        probabilities = gather(network(self.augmentation(x)).float().softmax(1))
        with without_autocast(x.device.type):
            similarity = target @ target.T
        pairs = pairwise_loss(
            label_features(probabilities),
            similarity,
            *self.thresholds(self.epoch),
            loss=self.pair_loss,
        )
        # of ST-DAC, and of DAC's scripts but that for MNIST; not in DAC's paper
        aux = binary_cross_entropy(probabilities, target).mean()
        loss = pairs + self.aux_weight * aux
        if self.mi_weight:
            loss = loss - self.mi_weight * mutual_information(probabilities)
        return loss


@estimator
class BaseDAC(WarmStartMixin, ConsensusMixin, EncoderMixin, AugmentationMixin, BaseDeepClusterer):
    """What DAC and ST-DAC share: all but the network, the defaults and the thresholds.

    Parameters
    ----------
    upper : float in [0, 1]
        Threshold of the first epoch: pairs with a cosine of at least the threshold are taken
        for pairs of one cluster, all others for pairs of two.
    lower : float in [0, 1]
        Threshold of the last epoch; it falls linearly. The paper's text has 0.9 for MNIST and
        0.8 for Fashion-MNIST, the authors' scripts the reverse. There it falls by
        (`upper` - `lower`) / `max_epochs` after each epoch, so that the last of ten has 0.819 with
        0.8 and 0.909 with 0.9.
    pair_loss : {"log_loss", "squared_error"}
        Loss of a pair's cosine and its label: the cross-entropy of the paper, or the squared error
        of the authors' script of DAC for MNIST.
    aux_weight : float
        Weight of the cross-entropy between an augmented sample's probabilities and the label
        feature of the sample as it is, as in the authors' code. 0 leaves the term out.
    mi_weight : float
        Weight of the mutual information of samples and clusters, which is then maximised
        besides; not in the paper. It favours confident clusters of like size.
    shuffle : bool
        Whether the chunks of each epoch are drawn anew. False: chunks are as the samples come, and
        so are the groups whose label features are computed together, as in the authors' script of
        DAC for MNIST; batches are drawn from the chunk. It harms where `X` is sorted by cluster.
    chunk_size : int
        Samples whose label features are computed at once, before the batches among them; at least
        a batch. The authors' code leaves out what is less than a batch at the end of a chunk.
    label_batch_size : int
        Samples of these, drawn at random, whose label features are computed together, with the
        batch normalisation statistics of that group. None: as many as fit a cache (167 images of
        28x28 on average). 32 in the authors' code (Keras' ``predict``). That they are drawn, and
        not those of a batch, matters more: a batch that were a group would agree with itself,
        whatever the statistics of others are. With groups of 32 in the batches' order, ACC on all
        of MNIST was 0.907 in place of 0.986 (no spatial transformers, one random state).
    n_init : int or "auto"
        Restarts, of which the best is kept without labels: first one with no empty clusters,
        then the one with the highest :meth:`score`. "auto": 8, or 1 where k-means gives the
        start. The paper has one.
    """

    upper: float | None = param(0.99, SHARE)
    lower: float | None = param(0.8, SHARE)
    pair_loss: str = param("log_loss", StrOptions({"log_loss", "squared_error"}))
    aux_weight: float = param(10.0, NOT_NEGATIVE)
    mi_weight: float = param(0.0, NOT_NEGATIVE)
    shuffle: bool = param(True, "boolean")
    chunk_size: int = param(1000, AT_LEAST_2)
    label_batch_size: int | None = param(None, None, AT_LEAST_2)
    screening: float = 0.25
    max_epochs: int = 24
    lr: float = 3e-4

    def _limits(self) -> tuple[float, float]:
        """Return what `upper` and `lower` stand for."""
        assert self.upper is not None and self.lower is not None
        return self.upper, self.lower

    def _check_parameters(self) -> None:
        super()._check_parameters()
        upper, lower = self._limits()
        if lower > upper:
            raise ValueError(f"lower must be at most upper={upper}; got {lower}.")

    def _thresholds(self, epoch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the upper and the lower threshold of an epoch, counted from 0.

        They are one, so that every pair is selected (DAC*).
        """
        # `lower` in the last epoch; the authors' code takes steps of (upper - lower) / epochs, one
        # too few
        upper, lower = self._limits()
        threshold = upper + (lower - upper) * (epoch / max(1, self.max_epochs - 1))
        return threshold, threshold

    def _auto_n_init(self, n_samples: int) -> int:
        return 1 if self._starts_from_kmeans() else 8

    def _phases(self, network: nn.Module, X: Samples) -> Iterator[Phase]:
        augmentation = self._augmentation()
        if self._starts_from_kmeans():
            yield self._warm_start(X, augmentation)
        # the authors' code of ST-DAC leaves out the rest of each chunk
        chunk_size = max(self.chunk_size, self.batch_size * n_processes())
        objective = PairObjective(
            n_samples=len(X),
            n_clusters=self.n_clusters,
            thresholds=self._thresholds,
            aux_weight=self.aux_weight,
            mi_weight=self.mi_weight,
            augmentation=augmentation,
            label_batch_size=self.label_batch_size,
            pair_loss=self.pair_loss,
            shuffle=self.shuffle,
            chunk_size=chunk_size,
        )
        yield self._phase(objective, self.max_epochs, "dac", chunk_size=chunk_size)


@estimator
class DACClustering(BaseDAC):
    """Deep adaptive clustering (DAC), and its simpler form DAC*.

    A network assigns each sample to clusters; pairs of samples whose assignments are alike
    are taken for pairs of one cluster, pairs whose assignments differ for pairs of two, and
    the network is trained to tell them so under augmentation [1]_. Pairs that are neither
    are left out at first; the thresholds close until all take part.

    Parameters
    ----------
    pair_selection : {"adaptive", "all"}
        "adaptive": DAC. Pairs with a cosine of at least u = `upper` - lambda are similar and
        those below l = `lower` + 0.1 lambda dissimilar (equation 1 of [2]_), where lambda
        rises linearly with the epochs until u = l in the last one. "all": DAC*. One
        threshold falls linearly from `upper` to `lower`, and every pair takes part.
    max_epochs : int
        Passes over the samples. In the paper lambda rises by 0.0099 an epoch, to u = l after
        0.45 / 0.0099 = 45.5 epochs; 46, with 0.01, come nearest.
    batch_size : int
        Samples a step. 128 in the authors' code.
    lr : float
        Learning rate. 1e-3 in the authors' code, with which small data settle on the clusters
        of the first epochs.
    upper : float in [0, 1]
        Where the upper threshold starts. None: 0.95, or 0.99 where all pairs are selected.
    lower : float in [0, 1]
        Where the lower threshold starts or, where all pairs are selected, the threshold of the
        last epoch, which the authors' code of [2]_ doesn't reach: see :class:`STDACClustering`.
        None: 0.455, or 0.8 where all pairs are selected.
    pair_loss : {"log_loss", "squared_error"}
        Loss of a pair's cosine and its label. "squared_error" is that of the authors' script for
        MNIST, "log_loss" the cross-entropy of the papers; see the notes.
    aux_weight : float
        Weight of the cross-entropy between an augmented sample's probabilities and the label
        feature of the sample as it is. DAC's paper and its authors' script for MNIST have no such
        term, which is 0; their other scripts and [2]_ have it, beside the cross-entropy of the
        pairs, with 10, and 1 where pairs are selected.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network; ``network_.embed(x)`` gives features, ``network_(x)`` logits.

    See Also
    --------
    STDACClustering : The same with spatial transformers and a smaller network.

    Notes
    -----
    `transform` gives the head's `n_clusters` label features where the network, as the default one,
    ends in them, not features of a layer before.

    The paper's settings are ``pair_loss="log_loss", max_epochs=46, lr=1e-3, n_init=1``. The
    authors' script for MNIST trains otherwise: on all pairs, with squared errors in place of the
    cross-entropy and one threshold that falls from 0.9 to 0.52, for 20 epochs with 5 passes over
    each chunk; of their scripts only one for CIFAR-10 selects pairs.

    Most pairs are labelled dissimilar at first, many of them wrongly, and the cross-entropy of two
    samples that are alike and labelled so has no bound. On scikit-learn's 1,797 digits ACC was
    0.963 and 0.930 with the defaults (random states 0 and 1), 0.839 and 0.807 with
    ``pair_loss="log_loss", aux_weight=10``, 0.480 and 0.718 with squared errors and that
    `aux_weight`, 0.900 and 0.915 on all pairs with one threshold from 0.9 to 0.52: the defaults
    were chosen with these labels in sight.

    References
    ----------
    .. [1] Chang et al. (2017). Deep Adaptive Image Clustering. ICCV.
    .. [2] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import DACClustering
    >>> images = load_digits().images[:200]
    >>> dac = DACClustering(n_clusters=10, n_init=1, max_epochs=2, random_state=0)
    >>> dac.fit_predict(images).shape
    (200,)
    """

    pair_selection: str = param("adaptive", StrOptions({"adaptive", "all"}))
    pair_loss: str = "squared_error"
    aux_weight: float = 0.0
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.RMSprop
    upper: float | None = param(None, None, SHARE)
    lower: float | None = param(None, None, SHARE)

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 1:
            return DenseEncoder(self.input_shape_)
        return AllConvEncoder(self.input_shape_, self.n_clusters)

    def _limits(self) -> tuple[float, float]:
        upper, lower = (0.95, 0.455) if self.pair_selection == "adaptive" else (0.99, 0.8)
        return (
            upper if self.upper is None else self.upper,
            lower if self.lower is None else self.lower,
        )

    def _head(self, n_features: int) -> nn.Module:
        return identity_head(n_features, self.n_clusters)

    def _thresholds(self, epoch: Tensor) -> tuple[Tensor, Tensor]:
        if self.pair_selection == "all":
            return super()._thresholds(epoch)
        upper, lower = self._limits()
        # up to u = l in the last epoch, whatever their number; the paper's step is 0.0099
        lambda_ = (upper - lower) / 1.1 * (epoch / max(1, self.max_epochs - 1))
        return upper - lambda_, lower + 0.1 * lambda_
