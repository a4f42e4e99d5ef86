import pytest
import torch
from scipy import ndimage

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
    with pytest.raises(ValueError, match="interpolation must be 'bilinear' or 'nearest'; got 'x'"):
        RandomAffine(interpolation="x")


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
