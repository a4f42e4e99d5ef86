"""Augmentation of whole batches, on the device of the data, with one draw per sample.

A setting out of its range is a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._parameters import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    param,
)
from skdeepclust._sklearn import Interval, StrOptions, validate_parameter_constraints
from skdeepclust._torch_state import without_autocast


class _Range(Interval):
    """Two numbers of an interval, low and high."""

    may_be_equal = True

    def is_satisfied_by(self, val: Any) -> bool:
        if not isinstance(val, Sequence) or len(val) != 2:
            return False
        is_in = all(map(super().is_satisfied_by, val))
        return is_in and (val[0] < val[1] or (self.may_be_equal and val[0] == val[1]))

    def __str__(self) -> str:
        order = "low <= high" if self.may_be_equal else "low < high"
        return f"two numbers, {order}, each {super().__str__()}"


class _Levels(_Range):
    """Those of black and white."""

    may_be_equal = False


VALUE_RANGE = _Levels(Real, None, None, closed="neither")


@dataclass(eq=False, repr=False)
class _Augmentation(nn.Module):
    """Checks its settings, and shows them when printed."""

    def __post_init__(self) -> None:
        super().__init__()
        allowed = {f.name: f.metadata["allowed"] for f in fields(self)}
        given = {name: getattr(self, name) for name in allowed}
        validate_parameter_constraints(allowed, given, type(self).__name__)

    def extra_repr(self) -> str:
        settings = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        settings.pop("training")
        return ", ".join(f"{name}={value}" for name, value in settings.items())


def _uniform(n: int, low: float, high: float, like: Tensor) -> Tensor:
    return torch.empty(n, device=like.device, dtype=like.dtype).uniform_(low, high)


def _resample(
    x: Tensor,
    angle: Tensor,
    zoom: tuple[Tensor, Tensor],
    shift: Tensor,
    shear: Tensor | float = 0.0,
    interpolation: str = "bilinear",
) -> Tensor:
    """Slant, zoom, turn and shift each image; what lies beyond the edge repeats it."""
    n, _, height, width = x.shape
    (zoom_x, zoom_y), (shift_x, shift_y) = zoom, shift
    cos, sin = angle.cos(), angle.sin()
    # rotate in pixels, not in coordinates, which differ if the image isn't square
    theta = torch.stack(
        [
            cos * zoom_x, (shear * cos * zoom_x - sin * zoom_y) * (height / width), shift_x,
            sin * zoom_x * (width / height), cos * zoom_y + shear * sin * zoom_x, shift_y,
        ],
        dim=1,
    )  # fmt: skip
    grid = _affine_grid(theta.view(n, 2, 3), x)
    return _sample_at(x, grid, interpolation)


def _affine_grid(theta: Tensor, x: Tensor) -> Tensor:
    """Return the places (n, h, w, 2) that affine transformations (n, 2, 3) of maps point to."""
    with without_autocast(x.device.type):  # in bf16, half a pixel off from 128 pixels on
        return F.affine_grid(theta, list(x.shape), align_corners=False)


def _sample_at(x: Tensor, grid: Tensor, interpolation: str = "bilinear") -> Tensor:
    """Return maps (n, c, h, w) at the places of a grid (n, h, w, 2), between their pixels.

    Beyond the edge the edge is repeated. torch's own way to do so isn't there on all of Apple's
    devices, where the places are moved to the outermost pixels' centres instead, which is the same.
    """
    if x.device.type != "mps":
        return F.grid_sample(x, grid, interpolation, "border", align_corners=False)
    return _sample_within(x, grid, interpolation)


def _sample_within(x: Tensor, grid: Tensor, interpolation: str = "bilinear") -> Tensor:
    height, width = x.shape[2:]
    outermost = grid.new_tensor([1 - 1 / width, 1 - 1 / height])
    grid = grid.clamp(-outermost, outermost)
    return F.grid_sample(x, grid, interpolation, "zeros", align_corners=False)


@dataclass(eq=False, repr=False)
class RandomAffine(_Augmentation):
    """Random rotation, shift, zoom, flip and brightness of each image of a batch.

    The defaults are those that the authors of ST-DAC used for MNIST [1]_. For
    Fashion-MNIST they used ``rotation=20, shift=0.18, zoom=0.15, value_shift=0.28,
    horizontal_flip=True, rescale=0.95``. The generator of Keras that they used takes the nearest
    pixel, which is ``interpolation="nearest"``, and turns the shift with the image; here it is
    along the sides.

    Parameters
    ----------
    rotation : float, default=10
        Largest angle, in degrees, in either direction.
    shift : float, default=0.1
        Largest shift along each axis, as a fraction of the image's side.
    zoom : float in [0, 1), default=0.05
        Each axis is zoomed by a factor of its own in [1 - zoom, 1 + zoom].
    value_shift : float, default=0.16
        Largest amount added to all pixels of an image, in standard deviations of the training
        set (MNIST's is 0.308 of the white level, so that 0.16 is the paper's 0.05). The
        result is clipped to the range that the image had.
    rescale : float, default=0.975
        Positive factor that all pixels are multiplied by in the end.
    horizontal_flip : bool, default=False
        Whether half of the images are mirrored left to right.
    shear : float, default=0.0
        Largest slant in either direction: the shift along a row in pixels for each row up or down.
        Not in the paper; 0.3 is about that of handwriting.
    interpolation : {"bilinear", "nearest"}, default="bilinear"
        What stands at a place between pixels: their weighted mean, or the nearest one.

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

    rotation: float = param(10, NOT_NEGATIVE)
    shift: float = param(0.1, NOT_NEGATIVE)
    zoom: float = param(0.05, BELOW_1)
    value_shift: float = param(0.16, NOT_NEGATIVE)
    rescale: float = param(0.975, POSITIVE)
    horizontal_flip: bool = param(False, "boolean")
    shear: float = param(0.0, NOT_NEGATIVE)
    interpolation: str = param("bilinear", StrOptions({"bilinear", "nearest"}))

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        n = len(x)
        angle = _uniform(n, -math.radians(self.rotation), math.radians(self.rotation), x)
        zoom_x, zoom_y = _uniform(2 * n, 1 - self.zoom, 1 + self.zoom, x).view(2, n)
        # affine_grid's coordinates run from -1 to 1, so a shift of one side is 2; Keras' generator
        # rotates it, too
        shift = _uniform(2 * n, -2 * self.shift, 2 * self.shift, x).view(2, n)
        if self.horizontal_flip:
            zoom_x = zoom_x * (torch.randint(0, 2, (n,), device=x.device) * 2 - 1)
        shear = _uniform(n, -self.shear, self.shear, x) if self.shear else 0.0
        out = _resample(x, angle, (zoom_x, zoom_y), shift, shear, self.interpolation)
        if self.value_shift:
            low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
            value = _uniform(n, -self.value_shift, self.value_shift, x).view(n, 1, 1, 1)
            out = torch.minimum(torch.maximum(out + value, low), high)
        return out * self.rescale


@dataclass(eq=False, repr=False)
class RandomNoise(_Augmentation):
    """Gaussian noise and feature dropout, for data without a spatial structure.

    Parameters
    ----------
    std : float, default=0.1
        Standard deviation of the noise, in standard deviations of the training set.
    dropout : float in [0, 1], default=0.1
        Probability with which a value is replaced by the training set's mean, 0. Samples of
        fewer than 10 values keep them all.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomNoise
    >>> RandomNoise()(torch.rand(32, 100)).shape
    torch.Size([32, 100])
    """

    std: float = param(0.1, NOT_NEGATIVE)
    dropout: float = param(0.1, SHARE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment samples of shape (n, ...)."""
        x = x + self.std * torch.randn_like(x)
        if not self.dropout or x.shape[1:].numel() < 10:
            return x
        return x * (torch.rand_like(x) >= self.dropout)


@dataclass(eq=False, repr=False)
class RandomMasking(_Augmentation):
    """Masking noise: values replaced by the training set's mean, in samples of any shape.

    Of images each value of each channel is masked alone.

    Parameters
    ----------
    share : float in [0, 1], default=0.25
        Probability with which a value is replaced by 0, the mean.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomMasking
    >>> RandomMasking(share=0.5)(torch.rand(32, 1, 28, 28)).shape
    torch.Size([32, 1, 28, 28])
    """

    share: float = param(0.25, SHARE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment samples of shape (n, ...)."""
        return x * (torch.rand_like(x) >= self.share)


@dataclass(eq=False, repr=False)
class RandomHorizontalFlip(_Augmentation):
    """Mirror images left to right.

    Parameters
    ----------
    p : float in [0, 1], default=0.5
        Probability with which an image is mirrored.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomHorizontalFlip
    >>> RandomHorizontalFlip()(torch.rand(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """

    p: float = param(0.5, SHARE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        chosen = _uniform(len(x), 0, 1, x) < self.p
        return torch.where(_column(chosen), x.flip(-1), x)


@dataclass(eq=False, repr=False)
class RandomResizedCrop(_Augmentation):
    """Cut a random part out of each image and enlarge it to the image's size.

    The parts are drawn as torchvision does, except that they needn't start or end at whole
    pixels and that a part too wide or too high for the image is cut to fit instead of drawn
    again. Crop, flip and rotation are one bilinear interpolation.

    Parameters
    ----------
    scale : tuple of two floats, default=(0.2, 1.0)
        Range of the part's share of the image's area, in (0, 1].
    ratio : tuple of two floats, default=(3 / 4, 4 / 3)
        Range of the part's width divided by its height; the logarithm is uniform.
    horizontal_flip : bool, default=True
        Whether half of the images are mirrored left to right.
    rotation : float, default=0.0
        Largest angle, in degrees, that the part is turned by in either direction.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomResizedCrop
    >>> RandomResizedCrop()(torch.rand(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """

    scale: tuple[float, float] = param((0.2, 1.0), _Range(Real, 0, 1, closed="right"))
    ratio: tuple[float, float] = param((3 / 4, 4 / 3), _Range(Real, 0, None, closed="neither"))
    horizontal_flip: bool = param(True, "boolean")
    rotation: float = param(0.0, NOT_NEGATIVE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        n, _, height, width = x.shape
        area = _uniform(n, *self.scale, x) * (height * width)
        ratio = _uniform(n, math.log(self.ratio[0]), math.log(self.ratio[1]), x).exp()
        # as shares of the sides
        share = torch.stack([(area * ratio).sqrt() / width, (area / ratio).sqrt() / height])
        share = share.clamp(max=1)
        centre = _uniform(2 * n, -1, 1, x).view(2, n) * (1 - share)
        zoom_x, zoom_y = share
        if self.horizontal_flip:
            zoom_x = zoom_x * (torch.randint(0, 2, (n,), device=x.device) * 2 - 1)
        angle = _uniform(n, -math.radians(self.rotation), math.radians(self.rotation), x)
        return _resample(x, angle, (zoom_x, zoom_y), centre)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """Return numbers that were drawn on the CPU, without waiting where that is safe.

    On MPS their memory may be given away before it is read
    (https://github.com/pytorch/pytorch/issues/139550).
    """
    return values.to(device, non_blocking=device.type == "cuda")


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _levels(x: Tensor, given: tuple[float, float] | None) -> tuple[Any, Any]:
    """Return the values of black and white, those of the batch if none are given."""
    if given is not None or not x.numel():
        return given or (0.0, 1.0)
    low, high = x.aminmax()
    return low, torch.where(high > low, high, low + low.abs().clamp(min=1))


def _to_unit(x: Tensor, levels: tuple[Any, Any]) -> Tensor:
    low, high = levels
    return x.sub(low).div_(high - low).clamp_(0, 1)


def _from_unit_(x: Tensor, levels: tuple[Any, Any]) -> Tensor:
    low, high = levels
    return x.mul_(high - low).add_(low)


def _apply_(x: Tensor, which: Tensor, operations: Sequence[tuple[Any, ...]]) -> None:
    """Apply ``operations[which[i]]`` to image i, in place; other values of `which`: nothing.

    An operation is a function of images in [0, 1] and its parameters, which have a row for each
    image of the batch. `which` is on the CPU, so that no group's size has to be waited for.
    """
    for i, (operation, *parameters) in enumerate(operations):
        rows = (which == i).nonzero().squeeze(1)
        if len(rows):
            rows = _sent(rows, x.device)
            result = operation(x.index_select(0, rows), *(values[rows] for values in parameters))
            x.index_copy_(0, rows, result)


# The operations on pixels follow Pillow, on values in [0, 1], which only _equalize and
# _posterize round to Pillow's 256 levels.


def _grey(x: Tensor) -> Tensor:
    """Return ITU-R 601 luma of three channels, the mean of any other number."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(other, x, _column(factor)).clamp_(0, 1)


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * _column(factor)).clamp_(0, 1)


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, _grey(x).mean((2, 3), keepdim=True), factor)


def _saturation(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, _grey(x), factor)


def _hue(x: Tensor, shift: Tensor) -> Tensor:
    """Shift the hue by a share of the colour circle."""
    # lerp and floor in place of torch.where and %, which take a CPU several times as long
    red, green, blue = x.unbind(1)
    high = x.amax(1)
    chroma = high - x.amin(1)
    divisor = chroma.clamp(min=1e-12)
    hue = torch.lerp((red - green) / divisor + 4, (blue - red) / divisor + 2, (high == green).to(x))
    hue = torch.lerp(hue, (green - blue) / divisor, (high == red).to(x))
    hue += 6 * shift.view(-1, 1, 1)
    out = torch.empty_like(x)
    # a channel falls from its full value as the hue leaves its third of the circle
    for channel, offset in enumerate((5, 3, 1)):
        k = hue + offset
        k -= (k / 6).floor_().mul_(6)
        out[:, channel] = high - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)
    return out


def _sharpness(x: Tensor, factor: Tensor) -> Tensor:
    smooth = x.clone()  # Pillow's filter leaves the edge as it is
    # weights of 5 in the centre and 1 around it
    inner = F.avg_pool2d(x, 3, stride=1) * (9 / 13) + x[..., 1:-1, 1:-1] * (4 / 13)
    smooth[..., 1:-1, 1:-1] = inner
    return _blend(x, smooth, factor)


def _autocontrast(x: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    span = high - low
    flat = span < 0.5 / 255  # the same level, for Pillow
    return torch.where(flat, x, ((x - low) / torch.where(flat, 1, span)).clamp_(0, 1))


def _equalize(x: Tensor) -> Tensor:
    levels = (x * 255).round().long().flatten(2)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    below = counts.cumsum(2) - counts
    # Pillow's integers, with which images of fewer than 256 pixels stay as they are
    step = below.gather(2, levels.amax(2, keepdim=True)) // 255
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    equalized = torch.where(step > 0, table.gather(2, levels), levels)
    return (equalized.to(x.dtype) / 255).view_as(x)


def _solarize(x: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(x < _column(threshold), x, 1 - x)


def _posterize(x: Tensor, bits: Tensor) -> Tensor:
    step = torch.exp2(8 - _column(bits))
    return ((x * 255).round_() / step).floor_() * step / 255


@dataclass(eq=False, repr=False)
class ColorJitter(_Augmentation):
    """Random brightness, contrast, saturation and hue, in an order of its own for each image.

    The operations are those of torchvision. Images that don't have three channels get
    brightness and contrast only.

    Parameters
    ----------
    brightness, contrast, saturation : float, default=0.4
        The factors are uniform in [max(0, 1 - value), 1 + value].
    hue : float in [0, 0.5], default=0.1
        Largest shift of the hue in either direction, as a share of the colour circle.
    p : float in [0, 1], default=0.8
        Probability with which an image is changed.
    value_range : tuple of two floats or None, default=None
        The values of `x` that stand for black and white; `x` is clipped to them. None: the least
        and the greatest value of each batch, whatever the images were standardised to.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import ColorJitter
    >>> ColorJitter(value_range=(-2, 2))(torch.randn(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """

    brightness: float = param(0.4, NOT_NEGATIVE)
    contrast: float = param(0.4, NOT_NEGATIVE)
    saturation: float = param(0.4, NOT_NEGATIVE)
    hue: float = param(0.1, Interval(Real, 0, 0.5, closed="both"))
    p: float = param(0.8, SHARE)
    value_range: tuple[float, float] | None = param(None, None, VALUE_RANGE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        n = len(x)
        factors = [(_brightness, self.brightness), (_contrast, self.contrast)]
        if x.shape[1] == 3:
            factors.append((_saturation, self.saturation))
        operations: list[tuple[Any, Tensor]] = [
            (operation, _uniform(n, max(0.0, 1 - strength), 1 + strength, x))
            for operation, strength in factors
            if strength
        ]
        if x.shape[1] == 3 and self.hue:
            operations.append((_hue, _uniform(n, -self.hue, self.hue, x)))
        # drawn on the CPU, see _apply_
        order = torch.rand(n, len(operations)).argsort(1)
        order[torch.rand(n) >= self.p] = -1
        levels = _levels(x, self.value_range)
        x = _to_unit(x, levels)
        for which in order.unbind(1):
            _apply_(x, which, operations)
        return _from_unit_(x, levels)


@dataclass(eq=False, repr=False)
class RandomGrayscale(_Augmentation):
    """Replace the colours of images by their luma (ITU-R 601).

    Images that don't have three channels stay as they are.

    Parameters
    ----------
    p : float in [0, 1], default=0.2
        Probability with which an image loses its colours.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandomGrayscale
    >>> RandomGrayscale()(torch.rand(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """

    p: float = param(0.2, SHARE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        if x.shape[1] != 3:
            return x
        chosen = _uniform(len(x), 0, 1, x) < self.p
        return torch.where(_column(chosen), _grey(x), x)


@dataclass(eq=False, repr=False)
class Cutout(_Augmentation):
    """Set a random square of each image to 0, the training set's mean.

    The side is uniform from 1 to `size`, the centre uniform in the image, and what lies beyond the
    edge is lost. SCAN's published code [1]_ rounds the side down to an even number, so that 1 in
    `size` draws, 6 % at 16, cuts nothing.

    Parameters
    ----------
    size : int or float, default=16
        Largest side, in pixels (int, at least 1) or as a share of the image's shorter
        side (float in (0, 1]).

    References
    ----------
    .. [1] Van Gansbeke, Vandenhende, Georgoulis, Proesmans and Van Gool (2020). SCAN: Learning
       to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import Cutout
    >>> Cutout(0.5)(torch.rand(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """

    size: float = param(16, AT_LEAST_1, Interval(Real, 0, 1, closed="right"))

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        n, _, height, width = x.shape
        largest = self.size
        if not isinstance(largest, Integral):
            largest = max(1, round(largest * min(height, width)))
        # SCAN's code has 2 * (side // 2), which is 0 for 1
        side = torch.randint(1, largest + 1, (n, 1), device=x.device)

        def covered(length: int) -> Tensor:
            start = torch.randint(0, length, (n, 1), device=x.device) - side // 2
            pixels = torch.arange(length, device=x.device)
            return (pixels >= start) & (pixels < start + side)

        rows, columns = covered(height), covered(width)
        return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


@dataclass(eq=False, repr=False)
class RandAugment(_Augmentation):
    """Random operations in a row, drawn for each image with their magnitudes.

    The operations and the ranges, in which magnitudes are uniform, are those of SCAN's published
    code [2]_: identity; autocontrast; equalize; solarize above a level of 0 to 256 (of 255);
    contrast, brightness, sharpness and, for three channels, colour by a factor of 0.05 to 0.95;
    posterize to 4 to 7 bits; rotate by up to 30 degrees in either direction; shear and translate
    along either axis by up to 0.1 (of the side). Pixels that come from beyond the edge are
    black.

    Parameters
    ----------
    n_operations : int, default=4
        Number of operations for each image; one may be drawn repeatedly.
    value_range : tuple of two floats or None, default=None
        The values of `x` that stand for black and white; `x` is clipped to them. None: the least
        and the greatest value of each batch, whatever the images were standardised to.

    References
    ----------
    .. [1] Cubuk, Zoph, Shlens and Le (2020). RandAugment: Practical Automated Data Augmentation
       With a Reduced Search Space. NeurIPS.
    .. [2] Van Gansbeke, Vandenhende, Georgoulis, Proesmans and Van Gool (2020). SCAN: Learning
       to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import RandAugment
    >>> RandAugment(value_range=(-2, 2))(torch.randn(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """

    n_operations: int = param(4, AT_LEAST_0)
    value_range: tuple[float, float] | None = param(None, None, VALUE_RANGE)

    def forward(self, x: Tensor) -> Tensor:
        """Augment images of shape (n, channels, height, width)."""
        levels = _levels(x, self.value_range)
        x = _to_unit(x, levels)
        for _ in range(self.n_operations):
            self._one_operation_(x)
        return _from_unit_(x, levels)

    def _one_operation_(self, x: Tensor) -> None:
        n, channels = x.shape[:2]
        share = _uniform(n, 0, 1, x)
        factor = 0.05 + 0.9 * share
        operations: list[tuple[Any, ...]] = [
            (_autocontrast,),
            (_equalize,),
            (_solarize, share * (256 / 255)),
            (_contrast, factor),
            (_brightness, factor),
            (_sharpness, factor),
            (_posterize, 4 + (4 * share).floor().clamp(max=3)),
        ]
        if channels == 3:
            operations.append((_saturation, factor))
        first = len(operations)  # of the geometric ones, which are one group
        which = torch.randint(-1, first + 5, (n,))  # on the CPU, see _apply_; -1: identity
        kind = _sent(which - first, x.device)
        operations.append((_distort, kind, 2 * share - 1))
        _apply_(x, which.clamp(max=first), operations)


def _distort(x: Tensor, kind: Tensor, amount: Tensor) -> Tensor:
    """Rotate (kind 0), shear (1, 2) or translate (3, 4) along x or y, by `amount` in [-1, 1]."""
    n, _, height, width = x.shape
    angle, shear_x, shear_y, shift_x, shift_y = (
        torch.where(kind == i, largest * amount, 0)
        for i, largest in enumerate((math.radians(30), 0.1, 0.1, 0.1, 0.1))
    )
    # in affine_grid's coordinates, -1 to 1 along each side; shears leave the top left corner
    shear_x, shear_y = shear_x * (height / width), shear_y * (width / height)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            cos, shear_x - sin * (height / width), 2 * shift_x + shear_x,
            shear_y + sin * (width / height), cos, 2 * shift_y + shear_y,
        ],
        dim=1,
    )  # fmt: skip
    grid = _affine_grid(theta.view(n, 2, 3), x)
    return F.grid_sample(x, grid, mode="nearest", align_corners=False)  # zeros around: black


def simclr_augmentation(
    input_shape: tuple[int, int, int], value_range: tuple[float, float] | None = None
) -> nn.Sequential:
    """Return an augmentation for contrastive learning as in SimCLR [1]_.

    Without the blur, as the authors do for small images. Images that don't have three channels,
    which may show digits or letters, are cropped less, turned by up to 10 degrees and never
    mirrored.

    Parameters
    ----------
    input_shape : tuple of three ints
        Channels, height and width of the images.
    value_range : tuple of two floats or None, default=None
        The values that stand for black and white. None: the least and the greatest of each batch.

    Returns
    -------
    augmentation : nn.Sequential
        Takes and returns images of shape (n, channels, height, width).

    References
    ----------
    .. [1] Chen, Kornblith, Norouzi and Hinton (2020). A Simple Framework for Contrastive
       Learning of Visual Representations. ICML.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import simclr_augmentation
    >>> augmentation = simclr_augmentation((1, 28, 28), value_range=(-0.4, 2.8))
    >>> augmentation(torch.rand(32, 1, 28, 28)).shape
    torch.Size([32, 1, 28, 28])
    """
    if _channels(input_shape) == 3:
        return nn.Sequential(
            RandomResizedCrop(), ColorJitter(value_range=value_range), RandomGrayscale()
        )
    return nn.Sequential(
        RandomResizedCrop(scale=(0.4, 1.0), horizontal_flip=False, rotation=10),
        ColorJitter(saturation=0, hue=0, value_range=value_range),
    )


def strong_augmentation(
    input_shape: tuple[int, int, int], value_range: tuple[float, float] | None = None
) -> nn.Sequential:
    """Return an augmentation as strong as that of SCAN and its self-labelling [1]_.

    For three channels it is that of the published code: a flip, `RandAugment` and `Cutout` of up
    to half the shorter side, a third of it from 64 pixels on (16 pixels at 32x32 and 32 at 96x96).
    (The random crop there is as large as the images and changes nothing.) Images that don't have
    three channels, which may show digits or letters, get a `RandomAffine` without flips,
    `ColorJitter` and a smaller `Cutout`.

    Parameters
    ----------
    input_shape : tuple of three ints
        Channels, height and width of the images.
    value_range : tuple of two floats or None, default=None
        The values that stand for black and white. None: the least and the greatest of each batch.

    Returns
    -------
    augmentation : nn.Sequential
        Takes and returns images of shape (n, channels, height, width).

    References
    ----------
    .. [1] Van Gansbeke, Vandenhende, Georgoulis, Proesmans and Van Gool (2020). SCAN: Learning
       to Classify Images without Labels. ECCV.

    Examples
    --------
    >>> import torch
    >>> from skdeepclust.augment import strong_augmentation
    >>> augmentation = strong_augmentation((3, 32, 32), value_range=(-1.9, 2.1))
    >>> augmentation(torch.rand(32, 3, 32, 32)).shape
    torch.Size([32, 3, 32, 32])
    """
    if _channels(input_shape) == 3:
        largest_cut = 1 / 3 if min(input_shape[1:]) >= 64 else 0.5
        return nn.Sequential(
            RandomHorizontalFlip(), RandAugment(value_range=value_range), Cutout(largest_cut)
        )
    return nn.Sequential(
        RandomAffine(rotation=20, shift=0.12, zoom=0.15, value_shift=0, rescale=1),
        ColorJitter(saturation=0, hue=0, value_range=value_range),
        Cutout(0.4),
    )


def _channels(input_shape: tuple[int, ...]) -> int:
    if len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, height, width); got {input_shape!r}.")
    return input_shape[0]
