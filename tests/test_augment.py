import numpy as np
import pytest
import torch
from scipy import ndimage

from skdeepclust import augment
from skdeepclust.augment import (
    RandomAffine,
    RandomMasking,
    RandomNoise,
    _sample_at,
    _sample_within,
)

STILL = {"rotation": 0, "shift": 0, "zoom": 0, "value_shift": 0, "rescale": 1}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def x():
    return torch.rand(40, 2, 12, 16)


def test_nothing_to_do_changes_nothing(x):
    torch.testing.assert_close(RandomAffine(**STILL)(x), x, atol=1e-5, rtol=0)


def test_rotation_is_in_pixels_and_agrees_with_scipy():
    image = torch.zeros(1, 1, 16, 32)
    image[..., 6:10, 8:24] = 1
    augment = RandomAffine(**{**STILL, "rotation": 30})
    torch.manual_seed(3)
    turned = augment(image)[0, 0].numpy()
    torch.manual_seed(3)
    angle = torch.rad2deg(torch.empty(1).uniform_(-1, 1) * torch.deg2rad(torch.tensor(30.0)))
    expected = [
        ndimage.rotate(image[0, 0].numpy(), sign * angle.item(), reshape=False, order=1)
        for sign in (1, -1)
    ]
    assert min(abs(turned - e).max() for e in expected) < 0.15
    assert abs(turned - image[0, 0].numpy()).max() > 0.5


def test_shift_is_within_its_range_and_repeats_the_edge():
    ramp = torch.arange(20.0).expand(200, 1, 20, 20)
    moved = RandomAffine(**{**STILL, "shift": 0.1})(ramp) - ramp
    inner = moved[..., 4:-4]
    assert inner.abs().max() <= 2 + 1e-4  # 10 % of 20 pixels
    assert inner.max() > 1.5
    assert inner.min() < -1.5
    assert (moved + ramp).max() <= 19  # nothing but the image's own values


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_edges_without_torchs_border_padding(interpolation):
    """As on Apple's devices."""
    torch.manual_seed(0)
    x, grid = torch.rand(3, 2, 5, 9), 3 * torch.randn(3, 4, 6, 2)
    expected = _sample_at(x, grid, interpolation)
    torch.testing.assert_close(_sample_within(x, grid, interpolation), expected, rtol=0, atol=1e-5)


def test_nearest_pixels_are_those_of_the_image(x):
    moved = {**STILL, "rotation": 30, "zoom": 0.2}
    assert torch.isin(RandomAffine(**moved, interpolation="nearest")(x), x).all()
    assert not torch.isin(RandomAffine(**moved)(x), x).all()


def test_zoom_has_a_factor_for_each_axis():
    plane = torch.stack(
        torch.meshgrid(torch.linspace(-1, 1, 21), torch.linspace(-1, 1, 21), indexing="ij")
    )
    out = RandomAffine(**{**STILL, "zoom": 0.2})(plane.expand(100, 2, 21, 21))
    factors = out[:, :, 15, 15] / plane[:, 15, 15]
    assert factors.min() >= 0.8 - 1e-4
    assert factors.max() <= 1.2 + 1e-4
    assert (factors[:, 0] - factors[:, 1]).abs().max() > 0.1


def test_flip(x):
    flipped = RandomAffine(**STILL, horizontal_flip=True)(x)
    is_mirrored = torch.isclose(flipped, x.flip(3), atol=1e-5).all(3).all(2).all(1)
    is_same = torch.isclose(flipped, x, atol=1e-5).all(3).all(2).all(1)
    assert (is_mirrored ^ is_same).all()
    assert 5 < is_mirrored.sum() < 35


def test_value_shift_and_rescale(x):
    shifted = RandomAffine(**{**STILL, "value_shift": 0.1})(x)
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    assert (shifted >= low - 1e-6).all()
    assert (shifted <= high + 1e-6).all()
    assert 0.05 < (shifted - x).abs().max() <= 0.1 + 1e-5
    torch.testing.assert_close(
        RandomAffine(**{**STILL, "rescale": 0.5})(x), x / 2, atol=1e-5, rtol=0
    )


def test_each_image_gets_its_own_draw():
    same = torch.rand(1, 1, 12, 12).expand(6, 1, 12, 12)
    out = RandomAffine()(same)
    assert all(not torch.allclose(out[0], other) for other in out[1:])


def test_noise():
    x = torch.ones(2000, 20)
    out = RandomNoise(std=0.1, dropout=0.25)(x)
    dropped = out == 0
    assert 0.22 < dropped.float().mean() < 0.28
    assert 0.09 < out[~dropped].std() < 0.11
    assert (RandomNoise(dropout=0.9)(torch.ones(100, 5)) != 0).all()  # few features: keeps all


@pytest.mark.parametrize("shape", [(400, 20), (400, 1, 4, 5), (400, 3, 4, 5)])
def test_noise_drops_values_of_images_too(shape):
    x = torch.ones(shape)
    assert 0.22 < (RandomNoise(std=0, dropout=0.25)(x) == 0).float().mean() < 0.28
    small = x.flatten(1)[:, :9].view(-1, 1, 3, 3)
    torch.testing.assert_close(RandomNoise(std=0, dropout=0.25)(small), small, atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(4, 20), (4, 1, 5, 5)])
def test_noise_without_dropout_takes_one_draw(shape):
    """So that images with noise alone keep the fits that they had."""
    torch.manual_seed(3)
    RandomNoise(dropout=0)(torch.ones(shape))
    after = torch.rand(1)
    torch.manual_seed(3)
    torch.randn(shape)
    assert torch.equal(after, torch.rand(1))


def test_settings_are_shown():
    assert repr(RandomNoise(std=0.2)) == "RandomNoise(std=0.2, dropout=0.1)"
    assert "rotation=20" in repr(RandomAffine(rotation=20))


@pytest.mark.parametrize("shape", [(500, 3), (200, 2, 12, 16)])
def test_masking_replaces_a_share_of_the_values_by_the_mean(shape):
    x = torch.rand(shape) + 1
    masked = RandomMasking(share=0.4)(x)
    is_masked = masked == 0
    assert is_masked.float().mean() == pytest.approx(0.4, abs=0.03)
    assert torch.equal(masked[~is_masked], x[~is_masked])
    assert len(is_masked.flatten(1).unique(dim=0)) > 4  # a draw for each sample


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("RandomAffine", "rotation", [-1, "10", None]),
        ("RandomAffine", "shift", [-0.1, float("nan")]),
        ("RandomAffine", "zoom", [-0.1, 1, 5]),
        ("RandomAffine", "value_shift", [-0.1]),
        ("RandomAffine", "rescale", [0, -1, float("inf")]),
        ("RandomAffine", "horizontal_flip", ["no", 0.5]),
        ("RandomAffine", "shear", [-0.1]),
        ("RandomAffine", "interpolation", ["x"]),
        ("RandomNoise", "std", [-1]),
        ("RandomNoise", "dropout", [-0.1, 10]),
        ("RandomMasking", "share", [-0.1, 25, True]),
        ("RandomHorizontalFlip", "p", [-0.1, 50]),
        ("RandomGrayscale", "p", [-0.1, 7]),
        ("RandomResizedCrop", "scale", [(1, 0.2), (0, 1), (0.5, 1.1), 0.5, (0.5,), "01"]),
        ("RandomResizedCrop", "ratio", [(2, 1), (0, 1), (-1, 1), (1, 2, 3)]),
        ("RandomResizedCrop", "horizontal_flip", [0.5]),
        ("RandomResizedCrop", "rotation", [-1]),
        ("ColorJitter", "brightness", [-0.1]),
        ("ColorJitter", "contrast", [-0.1]),
        ("ColorJitter", "saturation", [-0.1]),
        ("ColorJitter", "hue", [-0.1, 0.6]),
        ("ColorJitter", "p", [80]),
        ("ColorJitter", "value_range", [(1, 0), (1, 1), (0, float("inf")), 255]),
        ("Cutout", "size", [0, -3, 0.0, 1.5]),
        ("RandAugment", "n_operations", [-1, 1.5]),
        ("RandAugment", "value_range", [(1, 0), (0.5, 0.5)]),
    ],
)
def test_settings_out_of_range_are_refused(kind, name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"The '{name}' parameter of {kind} must be") as error:
            getattr(augment, kind)(**{name: value})
        assert f"Got {value!r} instead" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("RandomMasking", {"share": 0}),
        ("RandomMasking", {"share": 1.0}),
        ("RandomResizedCrop", {"scale": [1, 1], "ratio": (2, 2)}),
        ("ColorJitter", {"hue": 0.5, "value_range": (np.float32(-1), 2)}),
        ("Cutout", {"size": 1}),
        ("Cutout", {"size": 1.0}),
        ("Cutout", {"size": np.float32(0.5)}),
        ("RandAugment", {"n_operations": 0}),
    ],
)
def test_settings_at_the_ends_of_their_ranges(kind, settings):
    augmentation = getattr(augment, kind)(**settings)
    assert augmentation(torch.rand(4, 3, 12, 16)).isfinite().all()
    for name, value in settings.items():
        assert getattr(augmentation, name) is value


def test_range_is_told():
    with pytest.raises(ValueError, match=r"two numbers, low <= high, each .*\(0\.0, 1\.0\]\. Got"):
        augment.RandomResizedCrop(scale=(1, 0.2))
    with pytest.raises(ValueError, match="two numbers, low < high, each a float"):
        augment.strong_augmentation((3, 8, 8), value_range=(1, 0))


@pytest.mark.parametrize(
    "augmentation",
    [
        RandomAffine(30, 0.1, 0.2, shear=0.3),
        augment.simclr_augmentation((3, 64, 64)),
        augment.strong_augmentation((3, 64, 64)),
    ],
    ids=["affine", "simclr", "strong"],
)
def test_augmented_images_are_the_same_in_bf16(augmentation):
    """Places in bf16 would be a quarter of a pixel off, at 64 pixels a side."""
    x = torch.rand(8, 3, 64, 64)
    results = []
    for is_bf16 in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            results.append(augmentation(x.clone()).float())
    torch.testing.assert_close(*results, atol=0.01, rtol=0)
