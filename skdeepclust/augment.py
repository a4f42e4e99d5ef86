"""Augmentation of whole batches, on the device of the data, with one draw per sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Augmentation(nn.Module):
    """Shows its settings when printed."""

    def extra_repr(self) -> str:
        settings = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        settings.pop("training")
        return ", ".join(f"{name}={value}" for name, value in settings.items())


def _uniform(n: int, low: float, high: float, like: Tensor) -> Tensor:
    return torch.empty(n, device=like.device, dtype=like.dtype).uniform_(low, high)


class RandomAffine(_Augmentation):
    """Random rotation, shift, zoom, flip and brightness of each image of a batch.

    The defaults are those that the authors of ST-DAC used for MNIST [1]_. For
    Fashion-MNIST they used ``rotation=20, shift=0.18, zoom=0.15, value_shift=0.28,
    horizontal_flip=True, rescale=0.95``.

    Parameters
    ----------
    rotation : float, default=10
        Largest angle, in degrees, in either direction.
    shift : float, default=0.1
        Largest shift along each axis, as a fraction of the image's side.
    zoom : float, default=0.05
        Each axis is zoomed by a factor of its own in [1 - zoom, 1 + zoom].
    value_shift : float, default=0.16
        Largest amount added to all pixels of an image, in standard deviations of the training
        set (MNIST's is 0.308 of the white level, so that 0.16 is the paper's 0.05). The
        result is clipped to the range that the image had.
    rescale : float, default=0.975
        Factor that all pixels are multiplied by in the end.
    horizontal_flip : bool, default=False
        Whether half of the images are mirrored left to right.

    References
    ----------
    .. [1] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomAffine
    >>> RandomAffine(rotation=20)(torch.rand(32, 1, 28, 28)).shape
    torch.Size([32, 1, 28, 28])
    """

    def __init__(
        self,
        rotation: float = 10,
        shift: float = 0.1,
        zoom: float = 0.05,
        value_shift: float = 0.16,
        rescale: float = 0.975,
        horizontal_flip: bool = False,
    ) -> None:
        super().__init__()
        self.rotation = rotation
        self.shift = shift
        self.zoom = zoom
        self.value_shift = value_shift
        self.rescale = rescale
        self.horizontal_flip = horizontal_flip

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        n, _, height, width = x.shape
        angle = _uniform(n, -math.radians(self.rotation), math.radians(self.rotation), x)
        zoom_x, zoom_y = _uniform(2 * n, 1 - self.zoom, 1 + self.zoom, x).view(2, n)
        # affine_grid's coordinates run from -1 to 1, so a shift of one side is 2
        shift_x, shift_y = _uniform(2 * n, -2 * self.shift, 2 * self.shift, x).view(2, n)
        if self.horizontal_flip:
            zoom_x = zoom_x * (torch.randint(0, 2, (n,), device=x.device) * 2 - 1)
        cos, sin = angle.cos(), angle.sin()
        # rotate in pixels, not in coordinates, which differ if the image isn't square
        theta = torch.stack(
            [
                cos * zoom_x, -sin * zoom_y * (height / width), shift_x,
                sin * zoom_x * (width / height), cos * zoom_y, shift_y,
            ],
            dim=1,
        )  # fmt: skip
        grid = F.affine_grid(theta.view(n, 2, 3), list(x.shape), align_corners=False)
        out = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        if self.value_shift:
            low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
            value = _uniform(n, -self.value_shift, self.value_shift, x).view(n, 1, 1, 1)
            out = torch.minimum(torch.maximum(out + value, low), high)
        return out * self.rescale


class RandomNoise(_Augmentation):
    """Gaussian noise and feature dropout, for data without a spatial structure.

    Parameters
    ----------
    std : float, default=0.1
        Standard deviation of the noise, in standard deviations of the training set.
    dropout : float, default=0.1
        Probability with which a feature is replaced by the training set's mean, 0. Data with
        fewer than 10 features keep them all.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomNoise
    >>> RandomNoise()(torch.rand(32, 100)).shape
    torch.Size([32, 100])
    """

    def __init__(self, std: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__()
        self.std = std
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Augment samples of shape (n, n_features)."""
        x = x + self.std * torch.randn_like(x)
        if x.shape[1] < 10:
            return x
        return x * (torch.rand_like(x) >= self.dropout)
