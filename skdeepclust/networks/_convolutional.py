"""Convolutional encoders of the DAC family and of DeepClustering."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust.networks._base import AdaptiveAvgPool2d, AdaptiveMaxPool2d, he_normal
from skdeepclust.networks._spatial_transformer import SpatialTransformer


class VGGEncoder(nn.Sequential):
    """The small VGG of ST-DAC, table 1 of [1]_, with up to three spatial transformers.

    Maps of more than 8x8 after the second block (images of more than 32x32) are pooled to 8x8,
    so that the dense layer does not grow with the images.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image, at least 8x8.
    n_st_layers : int in [0, 3], default=2
        Spatial transformers at the input, after the second block's convolution, and after the
        third block's, in this order. The authors' script with three for MNIST defines the third
        localisation network and doesn't use it: it has two.
    hidden_size : int, default=3096
        Width of the dense layer: the size of the embedding.
    dropout : float in [0, 1), default=0.5
        Dropout after the dense layer. 0.5 in the authors' code; their script without spatial
        transformers for MNIST has none, which is 0.
    pool_last : bool, default=True
        Whether the third block ends with a pooling layer as in table 1. The authors' code has
        none, so that the dense layer is five times as large (7x7 maps instead of 3x3).

    Notes
    -----
    All layers but the spatial transformers start from He's distribution; in the authors' code the
    dense layer is Glorot's (a deviation of 0.019 with 3x3 maps, here 0.029; with 7x7 maps 0.011 and
    0.013).

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import VGGEncoder
    >>> VGGEncoder((3, 32, 32), hidden_size=128)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        n_st_layers: int = 2,
        hidden_size: int = 3096,
        dropout: float = 0.5,
        pool_last: bool = True,
    ) -> None:
        channels, height, width = input_shape
        layers: list[nn.Module] = []

        def block(out_channels: int, *, has_st: bool, pool: bool) -> None:
            nonlocal channels, height, width
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
            layers.append(nn.BatchNorm2d(out_channels))
            channels = out_channels
            if has_st:
                layers.extend([nn.ReLU(), SpatialTransformer((channels, height, width))])
            if pool:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            if not has_st:  # after the pooling: the same, at a quarter of the cost
                layers.append(nn.ReLU())
            if pool:
                layers.append(nn.BatchNorm2d(channels))

        if n_st_layers >= 1:
            layers.append(SpatialTransformer(input_shape))
        block(64, has_st=False, pool=True)
        block(128, has_st=n_st_layers >= 2, pool=True)
        if max(height, width) > 8:
            height, width = min(height, 8), min(width, 8)
            layers.append(AdaptiveMaxPool2d((height, width)))
        block(256, has_st=n_st_layers >= 3, pool=pool_last)
        layers += [nn.Flatten(), nn.Linear(channels * height * width, hidden_size)]
        # the dropout is not in table 1, but in all scripts of the authors except "+ 0" on MNIST
        layers += [nn.BatchNorm1d(hidden_size), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers)
        he_normal(self)


class AllConvEncoder(nn.Sequential):
    """The all-convolutional network of DAC [1]_.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image, at least 8x8. Below 22x22 the convolutions are padded.
    n_features : int
        Number of output features; DAC has one per cluster.

    References
    ----------
    .. [1] Chang et al. (2017). Deep Adaptive Image Clustering. ICCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import AllConvEncoder
    >>> AllConvEncoder((1, 28, 28), 10)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, input_shape: tuple[int, int, int], n_features: int) -> None:
        channels, height, width = input_shape
        padding = 0 if min(height, width) >= 22 else 1
        layers: list[nn.Module] = []

        def convolution(out_channels: int, kernel_size: int, padding: int) -> None:
            nonlocal channels
            layers.extend(
                [
                    nn.Conv2d(channels, out_channels, kernel_size, padding=padding),
                    nn.BatchNorm2d(out_channels),
                    nn.ReLU(),
                ]
            )
            channels = out_channels

        for out_channels in (64, 128):
            for _ in range(3):
                convolution(out_channels, 3, padding)
            layers += [nn.MaxPool2d(2), nn.BatchNorm2d(channels)]
        convolution(n_features, 1, 0)
        # one value per map whatever the image's size; at 28x28 this is the paper's 2x2 pooling
        layers += [nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(n_features), nn.Flatten()]
        super().__init__(*layers)
        he_normal(self)


class StridedEncoder(nn.Module):
    """Three strided convolutions and a dense layer: fast on a CPU, and places are told apart.

    Kernels of 5x5, 3x3 and 3x3, each followed by batch normalisation and ReLU. Images of less than
    16 pixels a side are enlarged to 16, maps of more than 4x4 averaged to that.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image.
    width : int, default=32
        Maps of the first convolution; the second has twice as many, the third four times.
    n_features : int, default=256
        Width of the dense layer: the size of the embedding.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import StridedEncoder
    >>> StridedEncoder((1, 8, 8))(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 256])
    """

    def __init__(
        self, input_shape: tuple[int, int, int], width: int = 32, n_features: int = 256
    ) -> None:
        super().__init__()
        channels, *sides = input_shape
        self.size = [max(side, 16) for side in sides]
        self.is_small = self.size != sides
        layers: list[nn.Module] = []
        for n_outputs, kernel_size in ((width, 5), (2 * width, 3), (4 * width, 3)):
            convolution = nn.Conv2d(
                channels, n_outputs, kernel_size, 2, padding=kernel_size // 2, bias=False
            )
            layers += [convolution, nn.BatchNorm2d(n_outputs), nn.ReLU()]
            channels = n_outputs
        maps = [-(-side // 8) for side in self.size]
        if max(maps) > 4:
            maps = [min(side, 4) for side in maps]
            layers.append(AdaptiveAvgPool2d((maps[0], maps[1])))
        layers += [nn.Flatten(), nn.Linear(channels * maps[0] * maps[1], n_features, bias=False)]
        self.layers = nn.Sequential(*layers, nn.BatchNorm1d(n_features), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (n, n_features)."""
        if self.is_small:
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        return self.layers(x)
