import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import nn
from torch.nn import functional as F

from skdeepclust import augment
from skdeepclust.augment import (
    ColorJitter,
    Cutout,
    RandAugment,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    simclr_augmentation,
    strong_augmentation,
)

TOLERANCE = 2 / 255
UNIT = {"value_range": (0, 1)}  # as Pillow has
ALONE = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "p": 1.0, **UNIT}
ALL = {
    "flip": RandomHorizontalFlip(),
    "crop": RandomResizedCrop(rotation=10),
    "jitter": ColorJitter(**UNIT),
    "grey": RandomGrayscale(),
    "cutout": Cutout(6),
    "randaugment": RandAugment(**UNIT),
    "simclr": simclr_augmentation((3, 24, 20)),
    "simclr of grey": simclr_augmentation((1, 24, 20)),
    "strong": strong_augmentation((3, 24, 20)),
    "strong of grey": strong_augmentation((1, 24, 20)),
}
each = pytest.mark.parametrize("augmentation", ALL.values(), ids=ALL.keys())


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def smooth(n, channels, height=24, width=20):
    """Return random images without hard edges, on the 256 levels that Pillow has."""
    coarse = torch.rand(n, channels, 5, 5)
    x = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return (x.clamp(0, 1) * 200 + 20).round() / 255  # not all of the range


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def x(request):
    return smooth(8, request.param)


@pytest.fixture
def colour():
    return smooth(8, 3)


def to_pillow(image):
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def from_pillow(image):
    pixels = torch.from_numpy(np.array(image)).float() / 255
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def assert_as_pillow(out, x, operation, tolerance=TOLERANCE):
    expected = torch.stack([from_pillow(operation(to_pillow(image))) for image in x])
    torch.testing.assert_close(out, expected, atol=tolerance + 1e-6, rtol=0)


def draw_the_largest(monkeypatch):
    monkeypatch.setattr(
        augment, "_uniform", lambda n, low, high, like: torch.full((n,), float(high))
    )


# The operations, against Pillow


@pytest.mark.parametrize(
    ("name", "enhance"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast)],
)
@pytest.mark.parametrize("value_range", [(0, 1), (-1.5, 2.5)])
def test_jitter_of_one_kind_agrees_with_pillow(monkeypatch, x, name, enhance, value_range):
    draw_the_largest(monkeypatch)
    low, high = value_range
    standardised = x * (high - low) + low
    jitter = ColorJitter(**{**ALONE, name: 0.4, "value_range": value_range})
    out = (jitter(standardised) - low) / (high - low)
    assert_as_pillow(out, x, lambda image: enhance(image).enhance(1.4))
    assert abs(out - x).max() > 0.1


def test_saturation_agrees_with_pillow(monkeypatch, colour):
    draw_the_largest(monkeypatch)
    out = ColorJitter(**{**ALONE, "saturation": 0.7})(colour)
    assert_as_pillow(out, colour, lambda image: ImageEnhance.Color(image).enhance(1.7))
    assert abs(out - colour).max() > 0.1


@pytest.mark.parametrize("shift", [0.1, 0.5])
def test_hue_agrees_with_colorsys(monkeypatch, colour, shift):
    # colorsys instead of Pillow, whose hues are rounded to 256 levels
    colour[0, :, 0, 0] = 0.3  # no colour
    colour[0, :, 0, 1] = torch.tensor([0.7, 0.7, 0.2])  # two largest
    draw_the_largest(monkeypatch)
    out = ColorJitter(**{**ALONE, "hue": shift})(colour)

    def shifted(r, g, b):
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        return colorsys.hsv_to_rgb((h + shift) % 1, s, v)

    pixels = [shifted(*rgb) for rgb in colour.permute(0, 2, 3, 1).reshape(-1, 3).tolist()]
    expected = torch.tensor(pixels).view(8, 24, 20, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "augmentation", [ColorJitter(p=0.0), RandAugment(n_operations=0)], ids=["jitter", "randaugment"]
)
def test_black_and_white_are_those_of_the_batch_by_default(augmentation, x):
    """Estimators pass on what is standardised, in any range."""
    for low, high in [(-0.8, 1.83), (3.0, 3.5)]:
        standardised = low + (high - low) * x
        torch.testing.assert_close(augmentation(standardised), standardised)
    flat = torch.full_like(x, -2e8)
    assert torch.equal(augmentation(flat), flat)
    assert len(augmentation(x[:0])) == 0


def test_hue_is_shifted_in_both_directions():
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1).expand(200, 3, 8, 8)
    out = ColorJitter(**{**ALONE, "hue": 0.1})(red)[:, :, 0, 0]
    towards_green, towards_blue = out[:, 1] > 0.2001, out[:, 2] > 0.2001
    assert not (towards_green & towards_blue).any()
    assert min(towards_green.sum(), towards_blue.sum()) > 60
    assert 0.5 < out[:, 1:].max() <= 0.2 + 0.6 * 0.6 + 1e-5  # a tenth of the circle


def test_grey_agrees_with_pillow(colour):
    out = RandomGrayscale(p=1.0)(colour)
    assert_as_pillow(out, colour, lambda image: image.convert("L").convert("RGB"))


@pytest.mark.parametrize("operation", ["autocontrast", "equalize"])
@pytest.mark.parametrize("side", [8, 16, 28, 48])
def test_operation_without_magnitude_agrees_with_pillow(operation, side):
    x = smooth(6, 3, side, side)
    x[0, 1] = 77 / 255  # flat
    x[1, 2, :, 1:] = 10 / 255  # two values, the brighter one rare
    out = getattr(augment, f"_{operation}")(x)
    exact = operation == "equalize"
    assert_as_pillow(out, x, getattr(ImageOps, operation), 0 if exact else TOLERANCE)


@pytest.mark.parametrize("bits", [4, 5, 6, 7])
def test_posterize_agrees_with_pillow(x, bits):
    out = augment._posterize(x, torch.full((8,), float(bits)))
    assert_as_pillow(out, x, lambda image: ImageOps.posterize(image, bits), 0)


@pytest.mark.parametrize("threshold", [0, 100, 256])
def test_solarize_agrees_with_pillow(x, threshold):
    out = augment._solarize(x, torch.full((8,), threshold / 255 - 1e-6))
    assert_as_pillow(out, x, lambda image: ImageOps.solarize(image, threshold), 0)


@pytest.mark.parametrize("factor", [0.05, 0.5, 1.8])
def test_sharpness_agrees_with_pillow(factor):
    x = (torch.rand(8, 3, 24, 20) * 255).round() / 255  # noise, to have something to smooth
    out = augment._sharpness(x, torch.full((8,), factor))
    assert_as_pillow(out, x, lambda image: ImageEnhance.Sharpness(image).enhance(factor))
    assert abs(out - x).max() > 0.1


@pytest.mark.parametrize("amount", [-0.83, 0.61])
@pytest.mark.parametrize("kind", range(5))
def test_distortion_agrees_with_pillow(x, kind, amount):
    def pillow(image):
        v, (width, height) = 0.1 * amount, image.size
        return [
            lambda: image.rotate(30 * amount),
            lambda: image.transform(image.size, Image.Transform.AFFINE, (1, v, 0, 0, 1, 0)),
            lambda: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0, v, 1, 0)),
            lambda: image.transform(image.size, Image.Transform.AFFINE, (1, 0, v * width, 0, 1, 0)),
            lambda: image.transform(
                image.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, v * height)
            ),
        ][kind]()

    out = augment._distort(x, torch.full((8,), kind), torch.full((8,), amount))
    expected = torch.stack([from_pillow(pillow(to_pillow(image))) for image in x])
    # the nearest pixel may be the other one of two
    assert (abs(out - expected) > 1e-6).float().mean() < 0.01
    assert (abs(out - x) > 1e-6).float().mean() > 0.3
    assert (out == 0).any()  # black from beyond the edge


# RandomResizedCrop


def test_crop_of_everything_changes_nothing(x):
    crop = RandomResizedCrop(scale=(1, 1), ratio=(20 / 24, 20 / 24), horizontal_flip=False)
    torch.testing.assert_close(crop(x), x, atol=1e-5, rtol=0)


def test_crop_agrees_with_interpolate(monkeypatch):
    x = torch.rand(4, 2, 32, 32)
    # a quarter of the area, in the middle between the left edge and the centre
    draws = iter(
        [torch.full((4,), 0.25), torch.zeros(4), torch.tensor([-0.5, 0.5]), torch.zeros(4)]
    )
    monkeypatch.setattr(
        augment,
        "_uniform",
        lambda n, low, high, like: next(draws).repeat_interleave(1 if n == 4 else 4),
    )
    out = RandomResizedCrop(horizontal_flip=False)(x)
    part = x[:, :, 12:28, 4:20]
    expected = F.interpolate(part, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(out[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5, rtol=0)


def crops_of_plane(augmentation, n=2000, side=16):
    """Return left, right, top and bottom of each crop, as shares of the sides."""
    ramp = (torch.arange(side) + 0.5) / side
    plane = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])
    out = augmentation(plane.expand(n, 2, side, side))
    inner = slice(side // 4, -(side // 4))  # the edge doesn't continue the ramp
    middle, part = side // 2, out[:, :, inner, inner]
    width = (part[:, 0, :, -1] - part[:, 0, :, 0]).mean(1) * side / (part.shape[3] - 1)
    height = (part[:, 1, -1] - part[:, 1, 0]).mean(1) * side / (part.shape[2] - 1)
    centre = out[:, :, middle - 1 : middle + 1, middle - 1 : middle + 1].mean((2, 3))
    return width, height, centre


def test_crops_have_the_areas_and_ratios_asked_for():
    crop = RandomResizedCrop(scale=(0.2, 0.6), ratio=(0.8, 1.25), horizontal_flip=False)
    width, height, centre = crops_of_plane(crop)
    area, ratio = width * height, (width / height).log()
    assert 0.2 - 1e-3 < area.min() < 0.21
    assert 0.59 < area.max() < 0.6 + 1e-3
    assert area.mean() == pytest.approx(0.4, abs=0.01)
    assert abs(ratio).max() == pytest.approx(np.log(1.25), abs=0.01)
    assert ratio.mean().item() == pytest.approx(0, abs=0.01)
    for c, length in zip(centre.unbind(1), (width, height), strict=True):
        place = (c - length / 2) / (1 - length)  # 0: at the left, 1: at the right
        assert place.min() > -0.01
        assert place.max() < 1.01
        assert place.mean() == pytest.approx(0.5, abs=0.03)
        assert place.std() == pytest.approx(12**-0.5, abs=0.02)


def test_crop_too_wide_for_the_image_is_cut():
    width, height, _ = crops_of_plane(
        RandomResizedCrop(scale=(0.9, 0.9), ratio=(2, 2), horizontal_flip=False)
    )
    torch.testing.assert_close(width, torch.ones_like(width), atol=1e-3, rtol=0)
    torch.testing.assert_close(height, torch.full_like(height, 0.45**0.5), atol=1e-3, rtol=0)


def test_half_of_the_crops_are_mirrored():
    width, height, _ = crops_of_plane(RandomResizedCrop())
    assert 0.45 < (width < 0).float().mean() < 0.55
    assert (height > 0).all()


def test_crops_are_turned_in_both_directions():
    crop = RandomResizedCrop(scale=(0.25, 0.25), ratio=(1, 1), horizontal_flip=False, rotation=20)
    ramp = torch.arange(32.0).expand(500, 1, 32, 32)
    out = crop(ramp)[:, 0, 12:20, 12:20]
    slope_x = (out[:, :, -1] - out[:, :, 0]).mean(1)
    slope_y = (out[:, -1] - out[:, 0]).mean(1)
    angle = torch.rad2deg(torch.atan2(slope_y, slope_x))
    assert 19 < angle.max() < 20.1
    assert -20.1 < angle.min() < -19


# Draws


def test_flip_honours_p(x):
    many = x.repeat(100, 1, 1, 1)
    out = RandomHorizontalFlip(p=0.3)(many)
    flipped = (out == many.flip(-1)).flatten(1).all(1)
    assert ((out == many).flatten(1).all(1) ^ flipped).all()
    assert 0.22 < flipped.float().mean() < 0.38


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", [ColorJitter, RandomGrayscale])
def test_p_is_the_share_of_changed_images(colour, kind, p):
    many = colour.repeat(100, 1, 1, 1)
    changed = (abs(kind(p=p)(many) - many) > 1e-4).flatten(1).any(1).float().mean()
    assert changed == pytest.approx(p, abs=0.06 if 0 < p < 1 else 0)


def test_order_of_jitter_differs_between_images(monkeypatch, colour):
    draw_the_largest(monkeypatch)  # the same factors for all images
    x = colour[:1].repeat(300, 1, 1, 1)
    out = ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0, **UNIT)(x)
    results = out.mul(1e4).round().flatten(1).unique(dim=0)
    assert 12 < len(results) <= 24  # orders; some give the same result
    only_two = ColorJitter(0.4, 0.4, 0, 0, p=1.0, **UNIT)(x)
    brightness, contrast = augment._brightness, augment._contrast
    factor = torch.full((300,), 1.4)
    first = contrast(brightness(x, factor), factor)
    second = brightness(contrast(x, factor), factor)
    as_first = abs(only_two - first).flatten(1).amax(1) < 1e-5
    as_second = abs(only_two - second).flatten(1).amax(1) < 1e-5
    assert (as_first ^ as_second).all()
    assert 0.4 < as_first.float().mean() < 0.6


def test_grey_images_keep_out_of_colour_operations():
    x = smooth(4, 1)
    assert RandomGrayscale(p=1.0)(x) is x
    jitter = ColorJitter(0, 0, 0.4, 0.1, p=1.0, **UNIT)
    torch.testing.assert_close(jitter(x), x, atol=1e-6, rtol=0)


def test_other_numbers_of_channels():
    x = smooth(6, 2)
    for augmentation in (
        simclr_augmentation((2, 24, 20)),
        strong_augmentation((2, 24, 20)),
        RandAugment(**UNIT),
        RandomGrayscale(),
    ):
        assert augmentation(x).shape == x.shape


@pytest.mark.parametrize("size", [6, 0.25])
def test_area_of_cutout(size):
    out = Cutout(size)(torch.ones(5000, 2, 24, 32))
    cut = out == 0
    torch.testing.assert_close(cut[:, 0], cut[:, 1])
    height, width = cut[:, 0].any(2).sum(1), cut[:, 0].any(1).sum(1)
    torch.testing.assert_close(cut[:, 0].sum((1, 2)), height * width)  # a rectangle
    assert max(height.max(), width.max()) == 6
    inside = (cut[:, 0, 0] | cut[:, 0, -1]).any(1) | cut[:, 0, :, [0, -1]].flatten(1).any(1)
    torch.testing.assert_close(height[~inside], width[~inside])
    shares = height[~inside].bincount(minlength=7)[1:] / (~inside).sum()
    assert shares.min() > 0.1  # all sides from 1 to 6
    centre = cut[:, 0].float().mean(0)
    assert centre[0, 0] > 0.001  # reaches the corners
    bands = F.avg_pool2d(centre[None, 4:20, 4:28], (8, 8))
    assert bands.max() < 1.2 * bands.min()


@pytest.mark.parametrize(
    ("input_shape", "largest"),
    [
        ((3, 32, 32), 16),
        ((3, 63, 63), 32),
        ((3, 96, 96), 32),
        ((3, 128, 64), 21),
        ((1, 96, 96), 38),
    ],
)
def test_largest_cut_of_the_strong_augmentation(input_shape, largest):
    """As in SCAN's code at 32x32 (CIFAR) and 96x96 (STL-10)."""
    cutout = strong_augmentation(input_shape)[-1]
    cut = cutout(torch.ones(1000, *input_shape)) == 0
    assert cut[:, 0].any(2).sum(1).max() == cut[:, 0].any(1).sum(1).max() == largest


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_uses_all_operations_alike(monkeypatch, channels):
    pixels = ["autocontrast", "equalize", "solarize", "contrast", "brightness", "sharpness"]
    pixels += ["posterize", "saturation"]
    counts, bits = dict.fromkeys(pixels, 0), []

    def spied(name, operation):
        def spy(part, *parameters):
            counts[name] += len(part)
            if name == "posterize":
                bits.extend(parameters[0].tolist())
            elif parameters:
                assert parameters[0].unique().numel() == len(part)
            return operation(part, *parameters)

        return spy

    def distort(part, kind, amount, operation=augment._distort):
        for k, a in zip(kind.tolist(), amount.tolist(), strict=True):
            counts[k] = counts.get(k, 0) + 1
            assert -1 <= a <= 1
        return operation(part, kind, amount)

    for name in pixels:
        monkeypatch.setattr(augment, f"_{name}", spied(name, getattr(augment, f"_{name}")))
    monkeypatch.setattr(augment, "_distort", distort)
    x = smooth(1000, channels, 8, 8)
    RandAugment(n_operations=3, **UNIT)(x)
    if channels == 1:
        assert counts.pop("saturation") == 0
    expected = 3000 / (14 if channels == 3 else 13)
    assert len(counts) == (13 if channels == 3 else 12)
    assert min(counts.values()) > 0.7 * expected
    assert max(counts.values()) < 1.3 * expected
    assert 0.7 * expected < 3000 - sum(counts.values()) < 1.3 * expected  # the identity
    assert set(bits) == {4, 5, 6, 7}


def test_randaugment_without_operations_changes_nothing(x):
    torch.testing.assert_close(RandAugment(n_operations=0)(x), x, atol=1e-6, rtol=0)


# All of them


@each
def test_every_image_has_a_draw_of_its_own(augmentation):
    channels = 1 if augmentation in (ALL["simclr of grey"], ALL["strong of grey"]) else 3
    x = smooth(1, channels).repeat(64, 1, 1, 1)
    before = x.clone()
    out = augmentation(x)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    torch.testing.assert_close(x, before, atol=0, rtol=0)  # the input stays as it was
    least = 2 if augmentation in (ALL["flip"], ALL["grey"]) else 40
    assert len(out.flatten(1).unique(dim=0)) >= least


@each
def test_same_seed_same_result(augmentation, x):
    torch.manual_seed(3)
    first = augmentation(x)
    torch.manual_seed(3)
    second = augmentation(x)
    third = torch.stack([augmentation(x) for _ in range(8)])
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    if augmentation is not ALL["grey"] or x.shape[1] == 3:
        assert (third != first).any()


@each
def test_batch_of_one_and_channels_last(augmentation, x):
    assert augmentation(x[:1]).shape == x[:1].shape
    torch.manual_seed(3)
    expected = augmentation(x)
    torch.manual_seed(3)
    out = augmentation(x.contiguous(memory_format=torch.channels_last))
    # not bit by bit: the order of sums differs, and posterize and equalize round
    assert (abs(out - expected) < 1e-4).float().mean() > 0.99


@pytest.mark.parametrize(
    "factory",
    [
        lambda value_range: ColorJitter(value_range=value_range),
        lambda value_range: RandAugment(value_range=value_range),
        lambda value_range: simclr_augmentation((3, 24, 20), value_range),
        lambda value_range: simclr_augmentation((1, 24, 20), value_range),
        lambda value_range: strong_augmentation((3, 24, 20), value_range)[:2],
        lambda value_range: strong_augmentation((1, 24, 20), value_range)[:2],  # Cutout has 0
    ],
)
def test_value_range_maps_the_result(x, factory):
    torch.manual_seed(3)
    expected = factory((0.0, 1.0))(x)
    torch.manual_seed(3)
    out = (factory((-1.25, 2.75))(x * 4 - 1.25) + 1.25) / 4
    # a level may be rounded to its neighbour
    assert (abs(out - expected) < 1e-4).float().mean() > 0.99


def test_values_outside_the_range_are_clipped(x):
    out = RandAugment(n_operations=0, value_range=(0.2, 0.6))(x)
    torch.testing.assert_close(out, x.clamp(0.2, 0.6), atol=1e-6, rtol=0)
    out = ColorJitter(value_range=(0.2, 0.6))(x)
    assert out.min() >= 0.2 - 1e-6
    assert out.max() <= 0.6 + 1e-6


@pytest.mark.parametrize("side", [8, 96])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factory", [simclr_augmentation, strong_augmentation])
def test_factories_take_small_and_large_images(factory, channels, side):
    augmentation = factory((channels, side, side), value_range=(-2.0, 2.0))
    assert isinstance(augmentation, nn.Sequential)
    x = torch.rand(4, channels, side, side) * 4 - 2
    out = augmentation(x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert out.min() >= -2 - 1e-5
    assert out.max() <= 2 + 1e-5


@pytest.mark.parametrize("factory", [simclr_augmentation, strong_augmentation])
def test_grey_images_are_not_mirrored(factory):
    augmentation = factory((1, 16, 16))
    ramp = (torch.arange(16) / 16).expand(300, 1, 16, 16)
    out = augmentation[0](ramp)
    assert (out[..., 12] > out[..., 4]).all()


@pytest.mark.parametrize("factory", [simclr_augmentation, strong_augmentation])
def test_factories_want_an_image_shape(factory):
    with pytest.raises(ValueError, match=r"\(channels, height, width\); got \(28, 28\)"):
        factory((28, 28))


def test_settings_are_shown():
    assert "hue=0.1" in repr(ColorJitter())


@each
def test_devices_are_those_of_the_input(augmentation):
    # "meta" has shapes and no values: whatever waits for a value raises there
    channels = 1 if augmentation in (ALL["simclr of grey"], ALL["strong of grey"]) else 3
    out = augmentation(torch.empty(16, channels, 24, 20, device="meta"))
    assert out.device.type == "meta"
    assert out.shape == (16, channels, 24, 20)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@each
def test_nothing_waits_for_the_gpu(augmentation):
    channels = 1 if augmentation in (ALL["simclr of grey"], ALL["strong of grey"]) else 3
    x = smooth(64, channels).cuda()
    augmentation(x)  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = augmentation(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert out.device == x.device
