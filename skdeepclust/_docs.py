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
    :class:`~skdeepclust.networks.DenseAutoencoderPart` for tabular data.
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
    "network_": """
network_ : torch.nn.Module
    The trained network: ``network_.embed(x)`` gives latents, ``network_.decode(z)`` samples,
    ``network_(x)`` logits.""",
    "attributes": """
labels_ : ndarray of shape (n_samples,)
    Cluster of each training sample, as :meth:`predict` gives it.
history_ : skorch.history.History
    One row an epoch of the kept restart: "phase", "train_loss", "dur" (seconds), and what
    callbacks record; ``history_[:, "train_loss"]`` gives a column.
restarts_ : list of dict
    For each restart its "seed", "n_epochs", "n_empty_clusters", "score" (the criterion
    when it was last compared) and whether it was "selected".
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
        lines = PARAMETERS[name].strip("\n").split("\n")
        return "\n".join(indent + line if line else line for line in lines)

    if cls.__doc__:  # python -OO has none
        cls.__doc__ = re.sub(r"^( *)\{\{(\w+)\}\}$", text, cls.__doc__, flags=re.MULTILINE)
    return cls
