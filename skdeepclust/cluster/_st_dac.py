"""Deep adaptive clustering with spatial transformers (ST-DAC)."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from torch import nn

from skdeepclust._parameters import estimator, param
from skdeepclust._sklearn import Interval
from skdeepclust.cluster._dac import BaseDAC
from skdeepclust.networks import DenseEncoder, SpatialTransformer, VGGEncoder
from skdeepclust.networks._heads import dense_head


@estimator
class STDACClustering(BaseDAC):
    """Deep adaptive clustering with spatial transformers (ST-DAC).

    DAC* with a small VGG network in which spatial transformers learn to turn, shift and zoom
    the images to a common pose [1]_. Tabular data get a fully connected network without
    spatial transformers.

    Parameters
    ----------
    n_st_layers : int in [0, 3]
        Number of spatial transformers of the default network for images: at the input, after
        the second block and after the third. The paper's run with three on MNIST has two in the
        authors' code, which never uses the third. A given `network` is taken as it is; put a
        :class:`~skdeepclust.networks.SpatialTransformer` into it where you want one.
    max_epochs : int
        Passes over the samples. The paper has 10, on 70,000 images; smaller data need more.
    batch_size : int
        Samples a step. 32 in the authors' code.
    lr : float
        Learning rate. The paper's is 1e-4, for 22,000 steps; from 1e-3 on, the network settles
        on the clusters of its first epochs.
    network : torch.nn.Module or callable
        The encoder. A module from (n, *input_shape) to features is copied with its weights; a
        callable (a class, say) gets the input shape, (channels, height, width) or (n_features,),
        and returns a new module. None: table 1 of the paper,
        :class:`~skdeepclust.networks.VGGEncoder`, or :class:`~skdeepclust.networks.DenseEncoder`
        for tabular data.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network; ``network_.embed(x)`` gives features, ``network_(x)`` logits.

    See Also
    --------
    DACClustering : Deep adaptive clustering without spatial transformers.

    Notes
    -----
    With the defaults a fit goes over the images 70 times: 8 restarts for 6 epochs, 4 epochs for
    their consensus and 18 more for the best. `n_init`, `screening`, `max_epochs` and `lr` were
    chosen on scikit-learn's 1,797 digits, with their labels in sight. Tens of thousands of images
    need fewer epochs (the paper: 10), and a GPU.

    The authors' code centres the images without dividing them by their deviation, and its network
    differs in what :class:`~skdeepclust.networks.VGGEncoder` and
    :class:`~skdeepclust.networks.SpatialTransformer` name.

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdeepclust import STDACClustering
    >>> images = load_digits().images[:200]
    >>> st_dac = STDACClustering(n_clusters=10, n_init=1, max_epochs=2, random_state=0)
    >>> st_dac.fit_predict(images).shape
    (200,)
    """

    n_st_layers: int = param(2, Interval(Integral, 0, 3, closed="both"))
    batch_size: int = 32

    def _default_encoder(self) -> nn.Module:
        if len(self.input_shape_) == 1:
            return DenseEncoder(self.input_shape_)
        return VGGEncoder(self.input_shape_, self.n_st_layers)

    def _head(self, n_features: int) -> nn.Module:
        return dense_head(n_features, self.n_clusters)

    def spatial_transform(self, X: Any) -> np.ndarray:
        """Return the images as the network's first spatial transformer passes them on.

        Parameters
        ----------
        X : array-like or Tensor
            Images of the shape seen in `fit`.

        Returns
        -------
        images : ndarray of shape (n_samples, ...), float32 or float64
            In the layout and units that `fit` got.

        Raises
        ------
        ValueError
            If the network does not begin with a spatial transformer.
        """
        X = self._checked(X)
        encoder = self.network_.encoder
        first = next((m for m in encoder.modules() if not isinstance(m, nn.Sequential)), None)
        if not isinstance(first, SpatialTransformer):
            raise ValueError(
                "spatial_transform needs a network that begins with a spatial transformer; got "
                f"n_st_layers={self.n_st_layers}, network={self.network!r} and samples of shape "
                f"{self.input_shape_}."
            )
        images = self._in_units_of_X(self._forward(first, X))
        return images.reshape(-1, *self._sample_shape)
