"""Encoders of contrastive methods: ResNet-18 and a small one for small images on a CPU."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from skdeepclust.networks._base import draw_weights, he_normal

RESNET_WIDTHS = (64, 128, 256, 512)


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(n_inputs, n_outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_inputs != n_outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_inputs, n_outputs, 1, stride, bias=False), nn.BatchNorm2d(n_outputs)
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.main(x) + self.shortcut(x))


class ResNet18(nn.Sequential):
    """ResNet-18 [1]_ without its last layer: 512 features.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image, at least 8x8.
    stem : {"auto", "cifar", "stl", "imagenet"}, default="auto"
        The first layers. "cifar": one 3x3 convolution with stride 1, as SimCLR [2]_ and SCAN
        [3]_ have it at 32x32. "stl": the same and a pooling, as SCAN's code has it at 96x96.
        "imagenet": the 7x7 convolution with stride 2 and the pooling of [1]_. "auto": "cifar"
        below 64x64, "stl" up to 128x128, else "imagenet".

    References
    ----------
    .. [1] He et al. (2016). Deep Residual Learning for Image Recognition. CVPR.
    .. [2] Chen et al. (2020). A Simple Framework for Contrastive Learning of Visual
       Representations. ICML.
    .. [3] Van Gansbeke et al. (2020). SCAN: Learning to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import ResNet18
    >>> ResNet18((3, 32, 32))(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 512])
    """

    def __init__(self, input_shape: tuple[int, int, int], stem: str = "auto") -> None:
        channels, height, width = input_shape
        if stem == "auto":
            side = max(height, width)
            stem = "cifar" if side < 64 else "stl" if side <= 128 else "imagenet"
        poolings = {  # in SCAN's code the one at 96x96 pads too, so that 49x49 maps follow
            "cifar": [],
            "stl": [nn.MaxPool2d(2, 2, padding=1)],
            "imagenet": [nn.MaxPool2d(3, 2, padding=1)],
        }
        if stem not in poolings:
            raise ValueError(f'stem must be "auto", "cifar", "stl" or "imagenet"; got {stem!r}.')
        kernel_size, stride = (7, 2) if stem == "imagenet" else (3, 1)
        width = RESNET_WIDTHS[0]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            *poolings[stem],
        ]
        for n_outputs in RESNET_WIDTHS:
            stride = 1 if n_outputs == RESNET_WIDTHS[0] else 2
            layers += [_BasicBlock(width, n_outputs, stride), _BasicBlock(n_outputs, n_outputs, 1)]
            width = n_outputs
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers)
        draw = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
        draw_weights(self.modules(), draw)


class SmallConvEncoder(nn.Sequential):
    """Four convolutions for small, grey or simple images on a CPU.

    Each has 3x3 kernels, batch normalisation and ReLU; each but the first is followed by a
    pooling of the sides of the maps that are longer than 4, and the maps are averaged at the end.
    Images of more than 16x16 are halved by the first convolution already.

    Parameters
    ----------
    input_shape : tuple of (channels, height, width)
        Shape of one image, at least 8x8.
    widths : sequence of four int, default=(16, 32, 64, 128)
        Maps of each convolution; the last is the size of the embedding.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.networks import SmallConvEncoder
    >>> SmallConvEncoder((1, 28, 28))(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        widths: tuple[int, int, int, int] = (16, 32, 64, 128),
    ) -> None:
        channels, height, width = input_shape
        layers: list[nn.Module] = []
        for number, n_outputs in enumerate(widths):
            stride = 2 if number == 0 and max(height, width) > 16 else 1
            layers.append(nn.Conv2d(channels, n_outputs, 3, stride, padding=1))
            layers.append(nn.BatchNorm2d(n_outputs))
            channels, height, width = n_outputs, -(-height // stride), -(-width // stride)
            if number > 0 and max(height, width) > 4:
                # before the ReLU: the same, at a quarter of the cost
                pooling = 2 if height > 4 else 1, 2 if width > 4 else 1
                layers.append(nn.MaxPool2d(pooling))
                height, width = height // pooling[0], width // pooling[1]
            layers.append(nn.ReLU())
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers)
        he_normal(self)
