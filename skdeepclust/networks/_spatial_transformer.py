"""Spatial transformer layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skdeepclust.augment import _affine_grid, _sample_at
from skdeepclust.networks._base import draw_weights


class SpatialTransformer(nn.Module):
    """Spatial transformer [1]_ with the localisation network of ST-DAC's table 2 [2]_.

    The layer resamples its input at the places that an affine transformation of the output
    grid points to; the localisation network computes the six numbers of that transformation
    from the input. It starts as a zoom into the middle, by tanh(1) = 0.76.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one input, at least 2x2.

    Notes
    -----
    As in ST-DAC's released code, the layers of the localisation network start from Glorot's
    distribution, but for the last. The sampler there has the image from -1 to 1 at the
    pixels 0 to W, for an output grid whose outer pixels lie at -1 and 1: half a pixel to the side,
    W / (W - 1) times as large, and 0 beyond the edge. Here -1 and 1 are the image's sides, for both
    grids, and beyond them it is the edge's value.

    References
    ----------
    .. [1] Jaderberg et al. (2015). Spatial Transformer Networks. NeurIPS.
    .. [2] Souza and Zanchettin (2019). Improving Deep Image Clustering With Spatial
       Transformer Layers. ICANN.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import SpatialTransformer
    >>> layer = SpatialTransformer((1, 28, 28))
    >>> layer(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 1, 28, 28])
    """

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        layers: list[nn.Module] = []
        # Padded convolutions: the table's input is 28x28, but the inner layers' maps are too
        # small for two unpadded ones.
        for _ in range(2):
            if min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            layers += [nn.Conv2d(channels, 20, 5, padding=2), nn.Tanh()]
            channels = 20
        last = nn.Linear(50, 6)
        layers += [nn.Flatten(), nn.Linear(20 * height * width, 50), nn.Tanh(), last, nn.Tanh()]
        self.localization = nn.Sequential(*layers)
        # torch's own weights are half as large: with a last layer of zeros it learnt much later
        draw_weights(self.localization.modules(), nn.init.xavier_uniform_)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, x: Tensor) -> Tensor:
        """Resample maps of shape (n, channels, height, width)."""
        theta = self.localization(x).float().view(-1, 2, 3)
        # the authors' sampler is half a pixel off, and 0 beyond the edge
        grid = _affine_grid(theta, x)
        # grid_sample's backward pass on the CPU crashes the process where the grid is NaN, as it
        # is when training diverges. So the NaN goes around it, into the output.
        out = _sample_at(x.float(), grid.nan_to_num()).to(x.dtype)
        return out + (theta.sum((1, 2)) * 0).to(x.dtype).view(-1, 1, 1, 1)
