"""Docstrings that several estimators share."""

from __future__ import annotations

import re
from typing import TypeVar

Class = TypeVar("Class", bound=type)

PARAMETERS = {
    "n_clusters": """
n_clusters : int, default=8
    Number of clusters.""",
    "network": """
network : torch.nn.Module or callable, default=None
    The encoder. A module from (n, *input_shape) to features is copied, and each restart
    begins with its weights; a callable (a class, say) gets the input shape,
    (channels, height, width) or (n_features,), and returns a new module. None:
    :class:`~skdeepclust.networks.ConvEncoder` for images, and
    :class:`~skdeepclust.networks.DenseNetwork` for tabular data.
decoder : torch.nn.Module or callable, default=None
    From latents, (n, n_features), to (n, *input_shape). A module is copied; a callable gets
    n_features and the input shape. None: :class:`~skdeepclust.networks.ConvDecoder` for
    images, and the default encoder's mirror image for tabular data.
hidden_sizes : sequence of int, default=(500, 500, 2000)
    Widths of the layers between input and latents, tabular data only.
latent_size : int, default=None
    Size of the latents. None: 10 for tabular data; for images a quarter of the values of a
    grey image (256 at 32x32, 16 at 8x8), as the encoder's last maps have them.
image_shape : tuple of int, default=None
    (height, width) or (channels, height, width) of the images if `X` is 2-D. Without it,
    2-D input is tabular.""",
    "augmentation": """
augmentation : callable, "auto" or None, default="auto"
    From a standardised batch, a float32 tensor of shape (n, *input_shape) on the device,
    to one of the same shape. Its result is encoded, and the decoder is trained to give the
    sample as it was before, so that what the augmentation does leaves the latents; a departure
    from the paper. "auto": :class:`~skdeepclust.augment.RandomAffine` for images and
    :class:`~skdeepclust.augment.RandomNoise` for tabular data. None: as in the paper.""",
    "autoencoder": """
autoencoder : fitted estimator, default=None
    An estimator of this package with an auto-encoder, fitted on samples of the same shape. A
    copy of its network takes the place of pretraining, and its `input_mean_` and
    `input_scale_` are taken over; `network`, `decoder`, `hidden_sizes`, `latent_size` and the
    parameters of pretraining are ignored, and there is one restart by default. Where estimators
    are cloned, as in a grid search, wrap it in :class:`sklearn.frozen.FrozenEstimator`.""",
    "pretraining": """
pretrain_epochs : int, default=25
    Passes over the samples with the reconstruction alone.
pretrain_lr : float, default=2e-3
    Learning rate of these passes.""",
    "hardening": """
update_interval : int, default=None
    Steps between two renewals of the target distribution over all samples. None: an epoch.
    140 in the paper on MNIST, half an epoch.
tol : float in [0, 1], default=1e-3
    The clustering phase ends once the share of labels that changed between two renewals is
    smaller. 0: it doesn't end early.""",
    "kmeans": """
kmeans_n_init : int, default=100
    Starts of k-means on the latents, of which the best is kept. The MCDC paper has 1,000.""",
    "whiten": """
whiten : bool, default=True
    Whether the latents are whitened by PCA before k-means.""",
    "restarts": """
n_init : int or "auto", default="auto"
    Restarts, of which the best is kept without labels: first one with no empty clusters, then
    the one with the highest :meth:`score`. "auto": 1.
screening : float in (0, 1], default=1.0
    Share of the epochs after which only the best restart goes on.""",
    "pretrained_restarts": """
n_init : int or "auto", default="auto"
    Restarts, of which the best is kept without labels: first one with no empty clusters, then
    the one with the highest :meth:`score`. "auto": 4, or 1 if `autoencoder` is given. The paper
    has one.
screening : float in (0, 1], default=0.25
    Share of the epochs after which only the best restart goes on; with the defaults, the end of
    the pretraining.""",
    "four_restarts": """
n_init : int or "auto", default="auto"
    Restarts, of which the best is kept without labels: first one with no empty clusters, then
    the one with the highest :meth:`score`. "auto": 4, each of which costs a full training. The
    paper has one.
screening : float in (0, 1], default=1.0
    Share of the epochs after which only the best restart goes on.""",
    "optimizer": """
optimizer : callable, default=torch.optim.Adam
    Called with the parameters and ``lr=``.""",
    "training": """
callbacks : list, default=None
    Callbacks of skorch, such as ``EarlyStopping(monitor="train_loss")``; each phase of each
    restart gets copies. There is no validation set: monitor "train_loss".
device : str or torch.device, default="auto"
    "auto": CUDA if there is one, else MPS, else the CPU.
precision : {"float32", "bf16"}, default="float32"
    "bf16": train under autocast. Predictions are always computed in float32.
verbose : int or bool, default=0
    Whether to show a progress bar.
random_state : int, RandomState instance or None, default=None
    With an int, the same data give the same labels on the same machine. torch's global
    random state is left as it was.""",
    "chosen": """
The defaults of the numbers of epochs, the learning rates, `n_init`, `whiten` and `kl_weight` were
chosen on scikit-learn's 1,797 digits, with their labels in sight.""",
    "contrastive_network": """
network : torch.nn.Module or callable, default=None
    The encoder g. A module from (n, *input_shape) to features, a pretrained one say, is copied;
    a callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
    and returns a new module. None: :class:`~skdeepclust.networks.ResNet18` for images with
    three channels, :class:`~skdeepclust.networks.SmallConvEncoder` for others and
    :class:`~skdeepclust.networks.DenseEncoder` for tabular data.
projection_size : int, default=128
    Size of the projections that are compared, which a network with one hidden layer makes of
    the features.
image_shape : tuple of int, default=None
    (height, width) or (channels, height, width) of the images if `X` is 2-D. Without it,
    2-D input is tabular.""",
    "views": """
augmentation : callable, "auto" or None, default="auto"
    Makes the views: from a standardised batch, a float32 tensor of shape (n, *input_shape) on
    the device, to one of the same shape. "auto":
    :func:`~skdeepclust.augment.simclr_augmentation` for images and
    :class:`~skdeepclust.augment.RandomNoise`, noise and feature dropout of 0.2, for tabular
    data. None: no augmentation.
temperature : float > 0, default=0.1
    Divides the cosines of the contrastive loss.""",
    "strong_augmentation": """
strong_augmentation : callable, "auto" or None, default="auto"
    The augmentation of the clustering steps. "auto":
    :func:`~skdeepclust.augment.strong_augmentation` for images and the same noise as for the
    views for tabular data. None: no augmentation.""",
    "representation": """
representation : fitted SimCLR, "precomputed" or None, default=None
    A copy of a fitted :class:`SimCLR` takes the place of the contrastive training: `network`,
    `projection_size`, `representation_epochs` and `representation_lr` are ignored, and its
    `input_mean_` and `input_scale_` are taken over. Where estimators are cloned, as in a grid
    search, wrap it in :class:`sklearn.frozen.FrozenEstimator`. "precomputed": `X` holds features,
    in which the neighbours are mined (Euclidean distances) and on which the heads alone are
    trained, without augmentation; the last step of a pipeline, say. None: it is trained first.""",
    "representation_training": """
representation_epochs : int, default=50
    Passes over the samples with the contrastive loss. 500 in the papers on CIFAR-10.
representation_batch_size : int, default=256
    Samples a step of the contrastive training. 512 in the papers.
representation_lr : float, default=1e-3
    Its learning rate in the first epoch; it falls to a thousandth along a cosine. The papers have
    0.4 with SGD.
representation_optimizer : callable, default=torch.optim.Adam
    Called with the parameters and ``lr=``. The papers' is
    ``partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)``.""",
    "scan": """
n_neighbors : int, default=20
    Nearest neighbours of each sample, in the space of the projections, that it shares a cluster
    with. With fewer samples, all of them. In SCAN's code the sample itself is one more.
n_heads : int, default=5
    Linear heads that are trained side by side on the same features; the one with the lowest
    training loss in the last epoch is kept. SCAN's code keeps the epoch and the head with the
    lowest loss on validation samples and their 5 nearest neighbours, with an entropy weight of 1.
entropy_weight : float, default=5.0
    Weight of the entropy of the mean probabilities, which favours clusters of like size.""",
    "self_labelling": """
self_label_epochs : int, default=20
    Passes over the samples with the clusters of confident samples as labels, each cluster weighted
    alike. At most 200 in the papers, 100 on STL-10 in SCAN's code, none there in ProFeat's paper.
    0: no such step.
self_label_batch_size : int, default=256
    Samples a step of it. 1,000 in the papers.
self_label_lr : float, default=1e-4
    Its learning rate.
confidence : float in [0, 1), default=0.99
    Probability above which a sample gets a label.""",
    "checkpoint": """
checkpoint : path-like, default=None
    A file that the state of the training is written to: at most once a minute between epochs, and
    at the end. A fit that finds it there, with the same parameters and data, goes on from it as
    if it had not been interrupted; after the end it returns the same result at once. Further
    restarts have their number appended. Callbacks begin anew.""",
    "chosen_contrastive": """
The defaults of the learning rates and the numbers of epochs were chosen on scikit-learn's 1,797
digits, with their labels in sight.""",
    "network_": """
network_ : torch.nn.Module
    The trained network: ``network_.embed(x)`` gives latents, ``network_.decode(z)`` samples,
    ``network_(x)`` logits.""",
    "attributes": """
labels_ : ndarray of shape (n_samples,)
    Cluster of each training sample, as :meth:`predict` gives it.
restarts_ : list of dict
    For each restart its "seed", "n_epochs", "n_empty_clusters", "score" (the criterion
    when it was last compared) and whether it was "selected".
{{common_attributes}}""",
    "common_attributes": """
history_ : skorch.history.History
    One row an epoch, of the kept restart: "phase", "train_loss", "dur" (seconds), and what
    callbacks record; ``history_[:, "train_loss"]`` gives a column.
input_shape_ : tuple of int
    (channels, height, width), or (n_features,).
input_mean_, input_scale_ : float
    Global mean and standard deviation of the training samples.
n_features_in_ : int
    Number of values a sample.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, if `X` had string names.""",
}


def shared_docs(cls: Class) -> Class:
    """Replace lines such as ``{{restarts}}`` in the docstring of `cls` by what they stand for."""

    def text(match: re.Match[str]) -> str:
        indent, name = match.groups()
        lines = filled(PARAMETERS[name].strip("\n")).split("\n")
        return "\n".join(indent + line if line else line for line in lines)

    def filled(doc: str) -> str:
        return re.sub(r"^( *)\{\{(\w+)\}\}$", text, doc, flags=re.MULTILINE)

    if cls.__doc__:  # python -OO has none
        cls.__doc__ = filled(cls.__doc__)
    return cls
