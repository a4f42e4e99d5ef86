import pytest
import torch
from torch import nn

from skdeepclust import TripletClustering
from skdeepclust.inference import batch_statistics, n_output_features, reestimate_batch_norm
from skdeepclust.networks import (
    AllConvEncoder,
    ClusterNetwork,
    DenseEncoder,
    DenseNetwork,
    LayeredDenseNetwork,
    SpatialTransformer,
    VGGEncoder,
)
from skdeepclust.networks._base import halved_sides
from skdeepclust.networks._heads import dense_head, identity_head


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_vgg_is_table_1_of_the_paper():
    encoder = VGGEncoder((1, 28, 28), n_st_layers=0)
    convolutions = [m for m in encoder if isinstance(m, nn.Conv2d)]
    assert [tuple(c.weight.shape) for c in convolutions] == [
        (64, 1, 3, 3),
        (128, 64, 3, 3),
        (256, 128, 3, 3),
    ]
    (dense,) = (m for m in encoder if isinstance(m, nn.Linear))
    assert (dense.in_features, dense.out_features) == (3 * 3 * 256, 3096)
    assert sum(isinstance(m, nn.MaxPool2d) for m in encoder) == 3
    (dense,) = (m for m in VGGEncoder((1, 28, 28), pool_last=False) if isinstance(m, nn.Linear))
    assert dense.in_features == 7 * 7 * 256


def test_spatial_transformers_stand_where_the_paper_has_them():
    layers = list(VGGEncoder((1, 28, 28), n_st_layers=3))
    places = [i for i, m in enumerate(layers) if isinstance(m, SpatialTransformer)]
    assert places[0] == 0
    shapes = []
    x = torch.rand(2, 1, 28, 28)
    for layer in layers:
        if isinstance(layer, SpatialTransformer):
            shapes.append(tuple(x.shape[1:]))
        x = layer(x)
    assert shapes == [(1, 28, 28), (128, 14, 14), (256, 7, 7)]
    for n in range(4):
        encoder = VGGEncoder((1, 28, 28), n_st_layers=n)
        assert sum(isinstance(m, SpatialTransformer) for m in encoder) == n


def test_spatial_transformer_starts_as_a_zoom_into_the_middle():
    layer = SpatialTransformer((1, 28, 28))
    theta = layer.localization(torch.rand(3, 1, 28, 28)).view(3, 2, 3)
    zoom = torch.tanh(torch.tensor(1.0))
    torch.testing.assert_close(theta, zoom * torch.eye(2, 3).expand(3, 2, 3))
    ramp = torch.linspace(-1, 1, 28).expand(1, 1, 28, 28)
    torch.testing.assert_close(layer(ramp)[..., 5:-5], zoom * ramp[..., 5:-5])


def test_spatial_transformer_samples_bf16_maps_at_float32_places():
    layer, x = SpatialTransformer((1, 64, 64)), torch.rand(1, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(x.bfloat16().float()), atol=0.02, rtol=0)


def test_localisation_network_starts_from_glorots_distribution():
    for m in SpatialTransformer((8, 28, 28)).localization[:-2]:
        if isinstance(m, nn.Conv2d | nn.Linear):
            fan_out, fan_in = m.weight.shape[0], m.weight[0].numel()
            fan_out *= m.weight[0, 0].numel()
            expected = (2 / (fan_in + fan_out)) ** 0.5
            assert m.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert not m.bias.any()


def test_spatial_transformer_identity_leaves_images_as_they_are():
    layer = SpatialTransformer((2, 9, 12))
    layer.localization[-1] = nn.Identity()  # no tanh: the bias is the identity
    x = torch.rand(3, 2, 9, 12)
    torch.testing.assert_close(layer(x), x, atol=1e-5, rtol=0)


def test_spatial_transformer_survives_and_passes_on_nan():
    layer = SpatialTransformer((1, 8, 8))
    x = torch.rand(3, 1, 8, 8)
    x[1] = torch.nan
    x.requires_grad_()
    out = layer(x)
    out.square().sum().backward()
    assert out[1].isnan().all()
    assert out[[0, 2]].isfinite().all()


def test_all_conv_at_the_papers_size():
    encoder = AllConvEncoder((1, 28, 28), 10)
    shapes = []
    x = torch.rand(2, 1, 28, 28)
    for layer in encoder:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (64, 26, 26), (64, 24, 24), (64, 22, 22), (128, 9, 9), (128, 7, 7), (128, 5, 5), (10, 2, 2)
    ]  # fmt: skip
    dense = [m for m in identity_head(10, 10) if isinstance(m, nn.Linear)]
    assert all(torch.equal(m.weight, torch.eye(10)) for m in dense)


@pytest.fixture
def network():
    return ClusterNetwork(VGGEncoder((1, 8, 8), hidden_size=16), dense_head(16, 4))


def test_batch_statistics_neither_store_nor_drop(network):
    x = torch.rand(20, 1, 8, 8)
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with batch_statistics(network):
        first, second = network(x), network(x)
        shifted = network(x[:10])
    assert torch.equal(first, second)  # no dropout
    assert not torch.allclose(first[:10], shifted)  # another batch, other statistics
    assert all(m.training for m in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_reestimated_batch_norm_predicts_as_the_batch_statistics_do(network):
    x = torch.rand(50, 1, 8, 8)
    network.train()
    for _ in range(3):
        network(x + 1)  # leaves other statistics behind
    reestimate_batch_norm(network, x)
    assert all(m.training for m in network.modules())
    with batch_statistics(network):
        expected = network(x)
    network.eval()
    # the stored variance is the unbiased one
    torch.testing.assert_close(network(x), expected, atol=0.05, rtol=0.05)


def test_n_output_features_leaves_the_network_as_it_was(network):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert n_output_features(network.encoder, (1, 8, 8)) == 16
    assert all(m.training for m in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_statistics_of_synchronised_batch_normalisation_are_seen_to():
    x = 5 + 3 * torch.randn(200, 4)
    for norm in (nn.BatchNorm1d(4), nn.SyncBatchNorm(4)):
        reestimate_batch_norm(norm, x)
        torch.testing.assert_close(norm.running_mean, x.mean(0))
        with batch_statistics(norm):
            torch.testing.assert_close(norm(x).mean(0), torch.zeros(4), atol=1e-5, rtol=0)


def test_dense_encoder_flattens_and_draws_as_for_tables():
    torch.manual_seed(0)
    of_tables = DenseEncoder((24,), (5, 3))
    torch.manual_seed(0)
    of_images = DenseEncoder((1, 4, 6), (5, 3))
    x = torch.rand(7, 1, 4, 6)
    assert torch.equal(of_images(x), of_tables(x.flatten(1)))
    names = list(of_images.state_dict())
    assert names == list(of_tables.state_dict())
    assert {name.partition(".")[0] for name in names} == {"0", "1", "3", "4"}  # as in saved files


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
def test_dense_encoder_is_a_network_for_images():
    images = torch.rand(30, 8, 8).numpy()
    model = TripletClustering(2, network=DenseEncoder, max_epochs=1, random_state=0).fit(images)
    assert model.transform(images).shape == (30, 256)


def test_sides_are_halved_to_maps_of_4x4():
    assert halved_sides((1, 28, 28)) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert halved_sides((3, 9, 33)) == [(9, 33), (5, 17), (3, 9), (2, 5), (1, 3)]
    assert halved_sides((1, 4, 4)) == [(4, 4), (2, 2), (1, 1)]  # at least 2 layers
    assert halved_sides((1, 4, 4), at_least=3)[-1] == (1, 1)
    assert halved_sides((1, 28, 28), 1) == [(28, 28), (14, 14)]


@pytest.mark.parametrize("network", [DenseNetwork, LayeredDenseNetwork])
def test_dense_networks_need_two_sizes(network):
    """As `network=` they would get a shape, (64,), and be empty."""
    with pytest.raises(ValueError, match=r"sizes must be two widths at least.*got \(64,\)"):
        TripletClustering(3, network=network).fit(torch.rand(30, 64))
