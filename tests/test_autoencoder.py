"""Auto-encoders: networks, the variational one, k-means on latents, decoding."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skdeepclust import (
    AutoencoderClustering,
    DECClustering,
    IDECClustering,
    MCDCClustering,
    SparseAutoencoderClustering,
    STDACClustering,
    VAEClustering,
)
from skdeepclust.augment import RandomMasking
from skdeepclust.cluster._autoencoder import SparsityTerm
from skdeepclust.cluster._base_autoencoder import AutoencoderObjective
from skdeepclust.networks import (
    AutoencoderNetwork,
    ConvDecoder,
    ConvEncoder,
    DenseNetwork,
    Posterior,
    StudentTHead,
)
from skdeepclust.networks._autoencoder import SigmoidNetwork, UnitRange

FAST = {"n_clusters": 3, "max_epochs": 2, "n_init": 1, "kmeans_n_init": 3, "random_state": 0}
SMALL = {"hidden_sizes": (64, 64), "random_state": 0}


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 11, 37), (1, 70, 70)])
def test_convolutional_networks_fit_images_of_any_size(shape):
    x = torch.rand(2, *shape)
    z = ConvEncoder(shape)(x)
    assert max(z.shape[2:]) <= 4
    assert ConvDecoder(z[0].numel(), shape)(z.flatten(1)).shape == x.shape
    assert ConvEncoder(shape, latent_size=5)(x).shape == (2, 5)
    assert ConvDecoder(5, shape)(torch.rand(2, 5)).shape == x.shape


def test_convolutional_encoder_is_that_of_the_paper_at_32x32():
    encoder = ConvEncoder((1, 32, 32), gain=1)
    assert encoder(torch.rand(1, 1, 32, 32)).shape == (1, 16, 4, 4)
    convolutions = [m for m in encoder if isinstance(m, torch.nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(1, 1)] + [(3, 3)] * 8
    assert isinstance(encoder[-1], torch.nn.Conv2d)  # linear at the end
    weights = convolutions[6].weight  # 64 to 64 channels; equation 10
    assert weights.std().item() == pytest.approx((64 * 9 * (1 + 0.2**2)) ** -0.5, rel=0.05)


def test_padding_repeats_the_edges_and_is_cut_off_again():
    shape = (1, 28, 28)
    encoder = ConvEncoder(shape)
    padded = encoder[0](torch.arange(784.0).view(1, *shape))
    assert padded.shape == (1, 1, 32, 32)
    assert (padded[0, 0, :3, :3] == 0).all()
    decoder = ConvDecoder(256, shape)
    z = torch.rand(1, 256)
    torch.testing.assert_close(decoder(z), decoder.layers(z)[:, :, 2:30, 2:30])


def test_dense_layers_are_linear_at_the_end():
    layers = DenseNetwork([64, 500, 500, 2000, 10])
    assert [tuple(m.weight.shape) for m in layers if isinstance(m, torch.nn.Linear)] == [
        (500, 64),
        (500, 500),
        (2000, 500),
        (10, 2000),
    ]
    assert isinstance(layers[-1], torch.nn.Linear)


def dense_network(n_features=3, variational=False):
    posterior = torch.nn.Linear(n_features, 2 * n_features) if variational else None
    head = StudentTHead(n_features, 2)
    encoder = DenseNetwork([5, 8, n_features])
    return AutoencoderNetwork(encoder, DenseNetwork([n_features, 8, 5]), head, posterior)


def test_elbo_is_the_evidence_lower_bound():
    """Up to its constant, and scaled by 2 over the number of values."""
    torch.manual_seed(0)
    network, x = dense_network(variational=True), torch.randn(4, 5)
    network.kl_weight = 0.7
    objective = AutoencoderObjective(torch.nn.Identity())
    torch.manual_seed(1)
    ((player, loss),) = objective.steps(network, x, torch.arange(4))
    assert player == "main"

    mean, log_variance = network.posterior(network.encoder(x)).chunk(2, 1)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    torch.manual_seed(1)
    decoded = network.decoder(posterior.rsample())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    likelihood = torch.distributions.Normal(decoded, 1.0).log_prob(x)
    constant = -5 / 2 * np.log(2 * np.pi)
    bound = (likelihood.sum(1) - constant - 0.7 * kl.sum(1)).mean()
    assert loss.item() == pytest.approx(-2 / 5 * bound.item(), rel=1e-5)


def test_variational_latents_are_the_means():
    network, x = dense_network(variational=True), torch.randn(4, 5)
    posterior = network.encode(x)
    torch.testing.assert_close(network.embed(x), posterior.mean)
    draws = torch.stack([posterior.sample() for _ in range(4000)])
    deviation = (posterior.log_variance / 2).exp()
    torch.testing.assert_close(draws.mean(0), posterior.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(draws.std(0), deviation, atol=0.1, rtol=0)
    certain = dense_network().encode(x)
    assert certain.sample() is certain.mean
    assert certain.divergence() == 0


def test_augmented_samples_are_decoded_to_what_they_were():
    network, x = dense_network(), torch.randn(4, 5)
    ((_, loss),) = AutoencoderObjective(lambda x: 2 * x).steps(network, x, torch.arange(4))
    expected = (network.decoder(network.encoder(2 * x)) - x).square().mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("decodes_augmented", [False, True])
def test_corrupted_samples_are_decoded_to_what_they_were(decodes_augmented):
    """After the augmentation, which the target may have; in place, too."""
    network, x = dense_network(), torch.randn(4, 5)
    network.decodes_augmented = decodes_augmented
    objective = AutoencoderObjective(lambda x: x.mul_(2), corruption=lambda x: x.add_(1))
    before = x.clone()
    loss = objective.loss(network, x, torch.arange(4))
    assert torch.equal(x, before)
    target = 2 * x if decodes_augmented else x
    expected = (network.decoder(network.encoder(2 * x + 1)) - target).square().mean()
    torch.testing.assert_close(loss, expected)


def test_only_variational_ones_draw_samples():
    assert hasattr(VAEClustering(), "sample")
    assert hasattr(MCDCClustering(base="vae"), "sample")
    assert not hasattr(MCDCClustering(), "sample")
    assert not hasattr(AutoencoderClustering, "sample")


def test_corruptions_by_name(images):
    half = {"augmentation": None, **FAST}
    masked = AutoencoderClustering(**half, corruption="masking").fit(images)
    by_hand = AutoencoderClustering(**half, corruption=RandomMasking(0.25)).fit(images)
    # without augmentation, or with samples as the target, it is an augmentation
    as_augmentation = AutoencoderClustering(**{**half, "augmentation": RandomMasking(0.25)})
    as_augmentation.fit(images)
    for other in (by_hand, as_augmentation):
        np.testing.assert_array_equal(other.transform(images), masked.transform(images))


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
def test_corruption_is_of_the_pretraining_alone(images):
    seen = []

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            seen.append((net.phase.name, type(net.criterion_.corruption)))

    part = AutoencoderClustering(max_epochs=1, corruption="masking")
    DECClustering(3, autoencoder=part, max_epochs=1, n_init=1, tol=0, callbacks=[Watch()]).fit(
        images
    )
    assert seen == [("pretraining", RandomMasking), ("clustering", torch.nn.Identity)]


def test_corruptions_that_do_not_suit(images):
    with pytest.raises(ValueError, match=r"'corruption' parameter of .* Got 'salt'"):
        AutoencoderClustering(**FAST, corruption="salt").fit(images)
    with pytest.raises(ValueError, match=r"^corruption must return a tensor of the shape"):
        AutoencoderClustering(**FAST, corruption=lambda x: x[:1]).fit(images)
    part = AutoencoderClustering(corruption=lambda x: x[:1])
    with pytest.raises(ValueError, match=r"autoencoder: corruption must return a tensor"):
        DECClustering(3, autoencoder=part).fit(images)


def test_sparse_objective_is_the_papers_formula():
    """J = 1/2 mean |x - g(a)|^2 + beta sum_j KL(rho || mean a_j), times 2 over the values."""
    torch.manual_seed(0)
    layers = DenseNetwork([5, 8, 3]), DenseNetwork([3, 8, 5])
    network, x = SigmoidNetwork(*layers, StudentTHead(3, 2)), torch.randn(4, 5)
    model = SparseAutoencoderClustering(sparsity=0.1, sparsity_weight=0.7, augmentation=None)
    model.input_shape_ = (5,)
    loss = model._objective().loss(network, x, torch.arange(4)).item()

    codes = 1 / (1 + np.exp(-layers[0](x).detach().double().numpy()))
    decoded = layers[1](torch.from_numpy(codes).float()).detach().double().numpy()
    expected = sum(np.square(x[i].numpy() - decoded[i]).sum() for i in range(4)) / 2 / 4
    for j in range(3):
        mean = codes[:, j].mean()
        expected += 0.7 * (0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean)))
    assert loss == pytest.approx(2 * expected / 5, rel=1e-5)
    torch.testing.assert_close(network.embed(x), network.encode(x).mean)


def test_sparse_codes_have_the_mean_that_is_asked_for(images):
    parameters = {**FAST, "max_epochs": 20, "augmentation": None, "latent_size": 8}
    for sparsity in (0.05, 0.3):
        model = SparseAutoencoderClustering(
            **parameters, sparsity=sparsity, sparsity_weight=100.0
        ).fit(images)
        assert model.transform(images).mean(0) == pytest.approx(sparsity, abs=0.03)


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
def test_whoever_takes_over_sparse_codes_keeps_their_sigmoid(images):
    sae = SparseAutoencoderClustering(**FAST).fit(images)
    idec = IDECClustering(3, autoencoder=sae, max_epochs=1, tol=0, random_state=0).fit(images)
    codes = idec.transform(images)
    assert 0 <= codes.min() < codes.max() <= 1


def test_sparsity_is_that_of_the_whole_batch(monkeypatch):
    """Where several processes share it."""
    rest = torch.rand(6, 3)
    codes = torch.rand(4, 3)
    network, index = dense_network(), torch.arange(4)
    term = SparsityTerm(0.1, 1.0)
    monkeypatch.setattr(
        "skdeepclust.cluster._autoencoder.gather", lambda rows: torch.cat([rows, rest])
    )
    together = term(network, Posterior(codes), index)
    monkeypatch.undo()
    expected = term(network, Posterior(torch.cat([codes, rest])), index)
    torch.testing.assert_close(together, expected)


def test_labels_are_those_of_kmeans_on_the_latents(images):
    parameters = {**FAST, "max_epochs": 8, "lr": 3e-3, "kmeans_n_init": 50}
    for whiten in (True, False):
        model = AutoencoderClustering(**parameters, whiten=whiten).fit(images)
        latents = model.transform(images).astype("float64")
        if whiten:
            n_components = model.network_.head.whitening.shape[1]
            latents = PCA(n_components, whiten=True).fit_transform(latents)
        best = KMeans(3, n_init=50, random_state=0).fit(latents).inertia_
        means = np.array([latents[model.labels_ == k].mean(0) for k in range(3)])
        inertia = np.square(latents - means[model.labels_]).sum()
        assert inertia == pytest.approx(best, rel=0.01)


def test_reconstructions_are_better_than_the_mean_image(images):
    X = images.astype("float64") / 16
    parameters = {"max_epochs": 60, "lr": 5e-3, "augmentation": None, "n_init": 1}
    model = AutoencoderClustering(3, **parameters, random_state=0).fit(X)
    decoded = model.inverse_transform(model.transform(X))
    error = np.square(decoded - X).mean()
    assert error < 0.6 * X.var(axis=0).mean()


@pytest.mark.parametrize("layout", [(64,), (8, 8), (1, 8, 8)])
def test_decoded_samples_have_the_layout_and_scale_of_the_input(images, layout):
    X = 5 + 100 * images.reshape(-1, *layout).astype("float64")
    parameters = {**FAST, "image_shape": (8, 8)} if len(layout) == 1 else FAST
    model = VAEClustering(**parameters).fit(X)
    Z = model.transform(X[:7])
    decoded = model.inverse_transform(Z)
    assert decoded.shape == (7, *layout)
    assert decoded.dtype == np.float32
    assert abs(decoded.mean() - X.mean()) < 0.1 * X.std()
    between = model.interpolate(X[:3], X[3:6], n_steps=4)
    assert between.shape == (3, 4, *layout)
    np.testing.assert_allclose(between[:, 0], decoded[:3], rtol=1e-3, atol=1)
    np.testing.assert_allclose(between[:, -1], decoded[3:6], rtol=1e-3, atol=1)
    drawn = model.sample(5, random_state=0)
    assert drawn.shape == (5, *layout)
    np.testing.assert_array_equal(drawn, model.sample(5, random_state=0))


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
def test_bernoulli_likelihood_decodes_to_the_range_of_the_samples(images):
    X = (images > 8) * 9.0 + 3  # 3 and 12
    trained = {"n_init": 1, "max_epochs": 60, "lr": 5e-3, "augmentation": None, "random_state": 0}
    vae = VAEClustering(3, likelihood="bernoulli", **trained).fit(X)
    decoded = vae.inverse_transform(vae.transform(X))
    assert 3 <= decoded.min() < decoded.max() <= 12
    error = np.square(decoded - X).mean()
    assert error < 0.8 * X.var(axis=0).mean()
    assert vae.history_[-1, "train_loss"] < 0.8 * vae.history_[0, "train_loss"]
    idec = IDECClustering(3, autoencoder=vae, max_epochs=1, tol=0, random_state=0).fit(X)
    assert idec.inverse_transform(idec.transform(X)).min() >= 3
    part = VAEClustering(likelihood="bernoulli", **{**trained, "max_epochs": 5})
    idec = IDECClustering(2, autoencoder=part, max_epochs=1, tol=0, n_init=1, random_state=0)
    assert idec.fit(X).inverse_transform(idec.transform(X)).max() <= 12


def test_what_0_2_has_kept_is_not_squashed_twice(images):
    vae = VAEClustering(3, likelihood="bernoulli", max_epochs=1, n_init=1, random_state=0)
    vae.fit(images > 8)
    expected = vae.sample(3, random_state=0)
    network = vae.network_
    network.decoder = torch.nn.Sequential(network.decoder, UnitRange(*network.value_range))
    np.testing.assert_allclose(vae.sample(3, random_state=0), expected, rtol=1e-6)


def test_only_generative_models_can_sample():
    assert hasattr(VAEClustering(), "sample")
    assert hasattr(MCDCClustering(base="vae"), "sample")
    assert not hasattr(MCDCClustering(), "sample")
    assert not hasattr(AutoencoderClustering(), "sample")


def test_decoding_errors(images):
    model = AutoencoderClustering(**FAST).fit(images)
    with pytest.raises(ValueError, match=r"X has 3 features a sample, but .* have 16"):
        model.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 2; got 1"):
        model.interpolate(images[:2], images[:2], n_steps=1)
    with pytest.raises(ValueError, match="as many samples each; got 2 and 3"):
        model.interpolate(images[:2], images[:3])
    with pytest.raises(ValueError, match="n_samples must be a positive integer; got 0"):
        VAEClustering(**FAST).fit(images).sample(0)


def test_user_decoders(images):
    class Decoder(torch.nn.Sequential):
        def __init__(self, n_features, input_shape):
            n_values = int(np.prod(input_shape))
            super().__init__(
                torch.nn.Linear(n_features, n_values), torch.nn.Unflatten(1, input_shape)
            )

    for decoder in (Decoder, Decoder(16, (1, 8, 8))):
        model = AutoencoderClustering(**FAST, decoder=decoder).fit(images)
        assert type(model.network_.decoder) is Decoder
        assert model.network_.decoder is not decoder
    with pytest.raises(ValueError, match=r"decoder=.* does not make samples of shape \(1, 8, 8\)"):
        AutoencoderClustering(**FAST, decoder=torch.nn.Linear(3, 3)).fit(images)
    with pytest.raises(ValueError, match=r"of 16 features, but of shape \(9,\)"):
        AutoencoderClustering(**FAST, decoder=torch.nn.Linear(16, 9)).fit(images)
    with pytest.raises(ValueError, match=r"hidden_sizes must hold positive integers; got .*0"):
        AutoencoderClustering(**FAST, hidden_sizes=(5, 0)).fit(images)


def test_tabular_networks():
    X, _ = make_blobs(60, n_features=7, centers=3, random_state=0)
    model = AutoencoderClustering(**FAST, hidden_sizes=(20, 30), latent_size=4).fit(X)
    assert [m.out_features for m in model.network_.encoder if hasattr(m, "out_features")] == [
        20,
        30,
        4,
    ]
    decoder = [m.out_features for m in model.network_.decoder if hasattr(m, "out_features")]
    assert decoder == [30, 20, 7]
    assert model.inverse_transform(model.transform(X)).shape == X.shape


@pytest.fixture(scope="module")
def autoencoder(images):
    return AutoencoderClustering(**FAST).fit(images)


class TestGivenAutoencoder:
    """`autoencoder=` takes the place of pretraining."""

    parameters = {"n_clusters": 3, "max_epochs": 1, "kmeans_n_init": 3, "tol": 0, "random_state": 0}

    def test_is_not_trained_again_nor_changed(self, autoencoder, images):
        before = autoencoder.transform(images)
        model = DECClustering(**self.parameters, autoencoder=autoencoder).fit(images[:100])
        assert set(model.history_[:, "phase"]) == {"clustering"}
        assert (model.input_mean_, model.input_scale_) == (
            autoencoder.input_mean_,
            autoencoder.input_scale_,
        )
        np.testing.assert_array_equal(autoencoder.transform(images), before)
        assert not np.array_equal(model.transform(images), before)

    def test_kmeans_alone_keeps_the_latents(self, autoencoder, images):
        model = AutoencoderClustering(**{**FAST, "n_clusters": 5}, autoencoder=autoencoder)
        model.fit(images)
        assert len(model.history_) == 0
        assert len(np.unique(model.labels_)) == 5
        np.testing.assert_array_equal(model.transform(images), autoencoder.transform(images))

    def test_in_a_grid_search(self, autoencoder, images):
        model = IDECClustering(**self.parameters, autoencoder=FrozenEstimator(autoencoder))
        grid = {"clustering_weight": [0.1, 1.0], "n_clusters": [2, 3]}
        search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(images)
        assert set(search.best_estimator_.history_[:, "phase"]) == {"clustering"}

    def test_mixing_consistent_fine_tuning(self, autoencoder, images):
        parameters = {**FAST, "finetune_epochs": 1, "tol": 0, "base": "idec"}
        with pytest.warns(
            UserWarning, match="autoencoder, a fitted .* was trained without a critic"
        ):
            model = MCDCClustering(**parameters, autoencoder=autoencoder).fit(images)
        assert model.history_[:, "phase"] == ["clustering"]
        with pytest.raises(ValueError, match=r"(?s)before base='idec'; got .* with base='ae'"):
            MCDCClustering(autoencoder=autoencoder).fit(images)

    def test_errors(self, autoencoder, images):
        for Estimator, parameters in (
            (AutoencoderClustering, {}),
            (MCDCClustering, {"base": "idec"}),
        ):
            with pytest.raises(ValueError, match=r"must be a fitted .* not fitted.*Frozen"):
                Estimator(autoencoder=AutoencoderClustering(), **parameters).fit(images)
        with pytest.raises(ValueError, match=r"'lr' parameter of VAEClustering .* Got -1"):
            DECClustering(autoencoder=VAEClustering(lr=-1.0)).fit(images)
        with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), but X holds .* \(64,\)"):
            DECClustering(autoencoder=autoencoder).fit(images.reshape(-1, 64))
        with pytest.raises(ValueError, match="'autoencoder' parameter"):
            DECClustering(autoencoder=3).fit(images)
        dac = STDACClustering(3, n_init=1, max_epochs=1).fit(images)
        with pytest.raises(ValueError, match="'autoencoder' parameter"):
            DECClustering(autoencoder=dac).fit(images)


@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
def test_autoencoder_is_trained_first_by_its_own_parameters(images):
    weights = []

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            weights.append((net.phase.name, net.lr, net.module_.kl_weight))

    vae = VAEClustering(max_epochs=3, lr=5e-3, kl_weight=0.3, batch_size=50, latent_size=5)
    idec = IDECClustering(3, autoencoder=vae, max_epochs=1, tol=0, n_init=1, random_state=0)
    idec.set_params(callbacks=[Watch()]).fit(images)
    assert weights == [("pretraining", 5e-3, 0.3), ("clustering", 1e-4, 0.3)]
    assert idec.history_[:, "phase"] == ["pretraining"] * 3 + ["clustering"]
    assert idec.transform(images).shape == (200, 5)
    assert idec.network_.posterior is not None
    assert not hasattr(vae, "network_")  # a copy was trained
    assert len(idec.restarts_) == 1
    grid = {"autoencoder__latent_size": [2, 4]}
    search = GridSearchCV(idec.set_params(callbacks=None), grid, cv=2, error_score="raise")
    sizes = search.fit(images).best_estimator_.transform(images).shape[1]
    assert sizes == search.best_params_["autoencoder__latent_size"]


def test_mixing_without_clusters_is_trained_first(images):
    idec = IDECClustering(
        3, autoencoder=MCDCClustering(max_epochs=1), max_epochs=1, tol=0, n_init=1, random_state=0
    )
    assert idec.fit(images).history_[:, "phase"] == ["pretraining", "clustering"]
    with pytest.raises(ValueError, match="autoencoder must be one that is trained without clust"):
        idec.set_params(autoencoder__base="idec").fit(images)


def test_size_of_latents_beside_a_network(images):
    model = AutoencoderClustering(3, network=ConvEncoder, latent_size=4)
    with pytest.raises(ValueError, match="latent_size must be None where network is given"):
        model.fit(images)
    given = AutoencoderClustering(3, max_epochs=1, n_init=1, random_state=0).fit(images)
    assert model.set_params(autoencoder=given).fit(images).transform(images).shape == (200, 16)


def test_default_autoencoder_has_this_estimators_settings(images):
    """But the optimiser, whose learning rate is another."""
    shared = {"augmentation": None, "batch_size": 40}
    own = DECClustering(3, n_init=1, max_epochs=1, tol=0, random_state=0, **shared)
    own.set_params(optimizer=torch.optim.SGD)
    other = clone(own)
    other.set_params(autoencoder=AutoencoderClustering(**shared))
    np.testing.assert_array_equal(
        own.fit(images).transform(images), other.fit(images).transform(images)
    )


def test_given_variational_autoencoder_keeps_its_loss(images):
    weights = []

    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            weights.append((net.phase.name, net.module_.kl_weight))

    vae = VAEClustering(3, n_init=1, max_epochs=1, kl_weight=0.3, random_state=0).fit(images)
    idec = IDECClustering(3, autoencoder=vae, max_epochs=1, tol=0, callbacks=[Watch()])
    idec.set_params(random_state=0).fit(images)
    assert weights == [("clustering", 0.3)]


def test_interrupted_pretraining_leaves_usable_clusters(images):
    class Interrupt(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.criterion_.steps = interrupted

    def interrupted(*args):
        raise KeyboardInterrupt

    model = DECClustering(3, random_state=0, callbacks=[Interrupt()])
    with pytest.warns(UserWarning, match="interrupted after 1 epochs"):
        model.fit(images)
    assert model.history_[:, "phase"] == ["pretraining"]
    assert len(np.unique(model.labels_)) == 3
    np.testing.assert_array_equal(model.predict(images), model.labels_)


def kmeans_nmi(images, y):
    X = images.reshape(len(images), -1)
    return normalized_mutual_info_score(y, KMeans(10, n_init=10, random_state=0).fit_predict(X))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(AutoencoderClustering(10, corruption="masking"), id="denoising"),
        pytest.param(SparseAutoencoderClustering(10), id="sparse"),
    ],
)
@pytest.mark.slow
def test_learns_digits(model, digits):
    images, y = digits
    labels = model.set_params(n_init=1, random_state=0).fit_predict(images)
    # 0.77 to 0.81, and 0.76 to 0.82 (sparse), with three random states, beside 0.74
    assert normalized_mutual_info_score(y, labels) > kmeans_nmi(images, y)


def test_latents_may_be_tensors_of_any_kind(images):
    model = AutoencoderClustering(n_clusters=3, max_epochs=1, random_state=0).fit(images)
    z = torch.from_numpy(model.transform(images[:5]))
    expected = model.inverse_transform(z.numpy())
    np.testing.assert_array_equal(model.inverse_transform(z.clone().requires_grad_()), expected)
    z = z.bfloat16()
    expected = model.inverse_transform(z.float().numpy())
    np.testing.assert_array_equal(model.inverse_transform(z), expected)
