import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skdeepclust import DACClustering, STDACClustering
from skdeepclust.cluster._dac import PairObjective
from skdeepclust.losses import label_features
from skdeepclust.metrics import clustering_accuracy_score


def thresholds(estimator):
    return [
        tuple(float(t) for t in estimator._thresholds(torch.tensor(float(epoch))))
        for epoch in range(estimator.max_epochs)
    ]


def test_thresholds_of_st_dac_fall_linearly_from_upper_to_lower():
    values = thresholds(STDACClustering(upper=0.99, lower=0.9, max_epochs=10))
    assert values[0] == pytest.approx((0.99, 0.99))
    assert values[-1] == pytest.approx((0.9, 0.9))
    np.testing.assert_allclose(np.diff([u for u, _ in values]), -0.01, atol=1e-6)
    assert thresholds(STDACClustering(max_epochs=1)) == [pytest.approx((0.99, 0.99))]


def test_thresholds_of_dac_close_in_the_last_epoch():
    values = thresholds(DACClustering(max_epochs=46))
    assert values[0] == pytest.approx((0.95, 0.455))
    assert values[1] == pytest.approx((0.94, 0.456))  # lambda = 0.01
    assert values[-1][0] == pytest.approx(values[-1][1])
    assert all(upper > lower for upper, lower in values[:-1])
    assert thresholds(DACClustering(pair_selection="all", max_epochs=2)) == [
        pytest.approx((0.99, 0.99)),
        pytest.approx((0.8, 0.8)),
    ]


def slow_label_features(logits):
    """Softmax over its L2 norm, in loops."""
    features = np.zeros_like(logits)
    for i, row in enumerate(logits):
        p = np.exp(row) / np.exp(row).sum()
        features[i] = p / np.sqrt((p**2).sum())
    return features


def slow_loss(label_features, probabilities, upper, lower, aux_weight, pair_loss="log_loss"):
    """Equations 1 to 3 in loops, a mean over the selected pairs, and DAC*'s auxiliary term."""

    def cross_entropy(p, target):
        return -target * np.log(p) - (1 - target) * np.log(1 - p)

    pairs, n = [], len(probabilities)
    features = [p / np.sqrt((p**2).sum()) for p in probabilities]
    for i in range(n):
        for j in range(n):
            label = label_features[i] @ label_features[j]
            if label >= upper or label < lower:
                g = min(features[i] @ features[j], 1 - 1e-7)
                r = float(label >= upper)
                pairs.append((g - r) ** 2 if pair_loss == "squared_error" else cross_entropy(g, r))
    aux = [
        cross_entropy(p, target)
        for row, targets in zip(probabilities, label_features, strict=True)
        for p, target in zip(row, targets, strict=True)
    ]
    return np.mean(pairs) + aux_weight * np.mean(aux)


@pytest.mark.parametrize(
    ("upper", "lower", "aux_weight", "pair_loss"),
    [
        (0.8, 0.8, 10.0, "log_loss"),
        (0.9, 0.5, 0.0, "log_loss"),
        (0.8, 0.8, 0.0, "squared_error"),
        (0.9, 0.5, 1.0, "squared_error"),
    ],
    ids=["DAC*", "DAC", "DAC's code", "squared, adaptive"],
)
def test_objective_is_the_papers_formula(upper, lower, aux_weight, pair_loss):
    """One batch, against the equations written out."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    network = torch.nn.Identity()
    objective = PairObjective(
        n_samples=10,
        n_clusters=3,
        thresholds=lambda epoch: (upper, lower),
        aux_weight=aux_weight,
        mi_weight=0.0,
        augmentation=lambda x: x * 2,
        pair_loss=pair_loss,
    )
    index = torch.tensor([9, 1, 4, 2, 0, 7])
    objective.on_epoch_begin(network, logits)
    objective.on_chunk_begin(network, logits, index)
    target = slow_label_features(logits.double().numpy())
    np.testing.assert_allclose(objective.target[index], target, rtol=1e-5)
    cosines = target @ target.T
    assert (cosines >= upper).sum() > 6  # not the diagonal alone
    assert (cosines < lower).any()
    assert ((cosines >= lower) & (cosines < upper)).any() == (lower < upper)
    ((player, loss),) = objective.steps(network, logits, index)
    augmented = (2 * logits.double()).softmax(1).numpy()
    expected = slow_loss(target, augmented, upper, lower, aux_weight, pair_loss)
    assert player == "main"
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("n_samples", "size", "groups"),
    [(12, 4, [4, 4, 4]), (10, 4, [4, 3, 3]), (3, 2, [3]), (5, 9, [5]), (12, None, [12])],
)
def test_label_features_take_the_statistics_of_their_group(n_samples, size, groups):
    """Of samples drawn from the chunk, so that no batch is a group."""
    rng = np.random.RandomState(0)
    X, weight = rng.normal(size=(n_samples, 2)), rng.normal(size=(3, 2))
    linear, norm = torch.nn.Linear(2, 3, bias=False), torch.nn.BatchNorm1d(3)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
    objective = PairObjective(n_samples, 3, None, 0, 0, None, label_batch_size=size)
    index = torch.arange(n_samples).flip(0)
    network, seen = torch.nn.Sequential(linear, norm), []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].numpy()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective.on_chunk_begin(network, torch.from_numpy(X).float(), index)
    members = [np.abs(group[:, None] - X).sum(2).argmin(1) for group in seen]
    assert [len(group) for group in members] == groups
    assert sorted(np.concatenate(members)) == list(range(n_samples))
    assert (len(groups) == 1) == all((np.diff(group) == 1).all() for group in members)
    for group in members:
        logits = X[group] @ weight.T
        logits = (logits - logits.mean(0)) / np.sqrt(logits.var(0) + 1e-5)
        features = objective.target[index[group]]
        np.testing.assert_allclose(features, slow_label_features(logits), rtol=1e-4)


@pytest.mark.parametrize("Estimator", [DACClustering, STDACClustering])
def test_size_of_these_groups_changes_the_fit(Estimator, images):
    parameters = {"n_clusters": 3, "n_init": 1, "max_epochs": 2, "random_state": 0}
    losses = [
        tuple(Estimator(**parameters, label_batch_size=size).fit(images).history_[:, "train_loss"])
        for size in (None, 32, 16)
    ]
    assert len(set(losses)) == 3
    with pytest.raises(ValueError, match="label_batch_size"):
        Estimator(label_batch_size=1).fit(images)


@pytest.mark.parametrize("Estimator", [DACClustering, STDACClustering])
def test_shuffle(Estimator, images, monkeypatch):
    """Without it every epoch has the same chunks, but batches are drawn from them."""
    seen = []
    monkeypatch.setattr(
        PairObjective, "on_chunk_begin", lambda self, network, x, index: seen.append(index)
    )
    parameters = {"n_clusters": 3, "n_init": 1, "max_epochs": 2, "random_state": 0}
    fast = Estimator(**parameters, batch_size=30, chunk_size=90)
    fast.set_params(shuffle=False).fit(images)
    assert [len(index) for index in seen] == [90, 90, 20] * 2
    for chunk, samples in zip(seen, torch.arange(200).split(90) * 2, strict=True):
        assert torch.equal(chunk.sort()[0], samples)
        assert not torch.equal(chunk, samples)
    assert not torch.equal(seen[0], seen[3])
    seen.clear()
    fast.set_params(shuffle=True).fit(images)
    first, second = torch.cat(seen).chunk(2)
    assert torch.equal(first.sort()[0], torch.arange(200))
    assert first[:90].max() > 100
    assert not torch.equal(first, second)


def test_label_groups_are_as_the_samples_come_where_they_are_not_shuffled():
    seen = []
    network = torch.nn.Linear(1, 3)
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    objective = PairObjective(
        9, 3, None, 0, 0, None, label_batch_size=3, shuffle=False, chunk_size=5
    )
    index = objective.order(torch.tensor([8, 1, 3, 0, 7, 5, 2, 6, 4]))
    assert index.tolist() == [1, 3, 0, 2, 4, 8, 7, 5, 6]
    X = torch.arange(9.0)[:, None]
    objective.on_chunk_begin(network, X[index[:5]], index[:5])
    objective.on_chunk_begin(network, X[index[5:]], index[5:])
    assert torch.equal(torch.cat(seen), X)
    torch.testing.assert_close(objective.target, label_features(network(X).softmax(1)))


def test_batches_larger_than_a_chunk(images, monkeypatch):
    sizes = []
    loss = PairObjective.loss
    monkeypatch.setattr(
        PairObjective, "loss", lambda *args: sizes.append(len(args[2])) or loss(*args)
    )
    dac = DACClustering(3, n_init=1, max_epochs=1, batch_size=150, chunk_size=60, random_state=0)
    dac.fit(images)
    assert sizes == [150, 50]


def test_label_features_follow_the_chunk_and_the_network():
    network = torch.nn.Linear(2, 3)
    objective = PairObjective(
        n_samples=4, n_clusters=3, thresholds=None, aux_weight=0, mi_weight=0, augmentation=None
    )
    X = torch.eye(4)[:, :2]
    objective.on_chunk_begin(network, X[2:], torch.tensor([2, 3]))
    assert (objective.target[:2] == 0).all()
    torch.testing.assert_close(objective.target[2:], label_features(network(X[2:]).softmax(1)))
    assert not objective.target.requires_grad


def test_training_keeps_what_kmeans_finds_in_tabular_data():
    X, y = make_blobs(300, n_features=20, centers=4, cluster_std=3, random_state=0)
    baseline = adjusted_rand_score(y, KMeans(4, n_init=10, random_state=0).fit_predict(X))
    for Estimator in (STDACClustering, DACClustering):
        labels = Estimator(4, random_state=0).fit_predict(X)
        assert adjusted_rand_score(y, labels) >= baseline - 0.02
        assert baseline > 0.5


def test_warm_start_is_a_phase_of_its_own(images):
    parameters = {"n_clusters": 3, "n_init": 1, "max_epochs": 2, "random_state": 0}
    warm = STDACClustering(**parameters, init="kmeans").fit(images)
    phases = warm.history_[:, "phase"]
    assert set(phases[:-2]) == {"warm start"}
    assert phases[-2:] == ["dac", "dac"]
    cold = STDACClustering(**parameters, init="random").fit(images)
    assert cold.history_[:, "phase"] == ["dac", "dac"]
    kmeans = KMeans(3, n_init=10, random_state=0).fit_predict(images.reshape(200, -1))
    agreement = [normalized_mutual_info_score(kmeans, e.labels_) for e in (warm, cold)]
    assert agreement[0] > agreement[1] + 0.1


def test_warm_start_keeps_enough_large_samples_for_k_means(images, monkeypatch):
    monkeypatch.setattr("skdeepclust.cluster._warm_start.MAX_VALUES", 64)
    model = STDACClustering(90, init="kmeans", n_init=1, max_epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # clusters that stay empty
        assert len(model.fit_predict(images)) == 200


def test_empty_clusters_warn_and_lose(images):
    class Dead(torch.nn.Module):
        """Features that are the same for all images, in the first restart."""

        made = 0

        def __init__(self, input_shape):
            super().__init__()
            self.linear = torch.nn.Linear(64, 8)
            self.is_dead = Dead.made % 2 == 0
            Dead.made += 1

        def forward(self, x):
            return self.linear(x.flatten(1)) * (0.0 if self.is_dead else 1.0)

    parameters = {"n_clusters": 3, "max_epochs": 1, "random_state": 0, "network": Dead}
    with pytest.warns(ConvergenceWarning, match=r"2 of n_clusters=3 clusters are empty.*n_init"):
        STDACClustering(**parameters, n_init=1).fit(images)
    Dead.made = 0
    both = STDACClustering(**parameters, n_init=2, screening=1.0).fit(images)
    assert [run["n_empty_clusters"] for run in both.restarts_] == [2, 0]
    assert both.restarts_[1]["selected"]


@pytest.mark.parametrize(
    ("Estimator", "limits", "upper"),
    [
        (STDACClustering, {"upper": 0.5}, 0.5),
        (DACClustering, {"lower": 0.97}, 0.95),
        (DACClustering, {"pair_selection": "all", "upper": 0.4, "lower": 0.6}, 0.4),
    ],
)
def test_thresholds_in_the_wrong_order(Estimator, limits, upper, images):
    with pytest.raises(ValueError, match=f"lower must be at most upper={upper}; got 0"):
        Estimator(3, **limits).fit(images)


def test_spatial_transform(images):
    parameters = {"n_clusters": 3, "n_init": 1, "max_epochs": 1, "random_state": 0}
    fitted = STDACClustering(**parameters).fit(images)
    out = fitted.spatial_transform(images)
    assert out.shape == images.shape == (200, 8, 8)
    rows = STDACClustering(**parameters, image_shape=(8, 8)).fit(images.reshape(200, 64))
    np.testing.assert_array_equal(
        rows.spatial_transform(images.reshape(200, 64)), out.reshape(200, 64)
    )
    assert -1e-5 <= out.min() < 1 < out.max() <= 16 + 1e-5  # in the units of the images
    flat = STDACClustering(**parameters, n_st_layers=0).fit(images)
    with pytest.raises(ValueError, match="begins with a spatial transformer; got n_st_layers=0"):
        flat.spatial_transform(images)


def test_tabular_input_has_no_spatial_transformer(images):
    parameters = {"n_clusters": 3, "max_epochs": 1, "random_state": 0}
    fitted = STDACClustering(**parameters).fit(images.reshape(200, 64))
    with pytest.raises(ValueError, match=r"samples of shape \(64,\)"):
        fitted.spatial_transform(images.reshape(200, 64))


def test_learns_five_digits(digits):
    """A short training with two restarts already beats k-means on the pixels."""
    images, y = (part[digits[1] < 5] for part in digits)
    kmeans = KMeans(5, n_init=10, random_state=0).fit_predict(images.reshape(len(images), -1))
    st_dac = STDACClustering(5, n_init=2, max_epochs=8, batch_size=64, lr=6e-4, random_state=0)
    labels = st_dac.fit_predict(images)
    # 0.84 to 0.92 with four random states, beside 0.77
    assert normalized_mutual_info_score(y, labels) > normalized_mutual_info_score(y, kmeans) + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("Estimator", [DACClustering, STDACClustering])
def test_learns_the_digits(Estimator, digits):
    """The defaults beat k-means on the pixels."""
    images, y = digits
    kmeans = KMeans(10, n_init=10, random_state=0).fit_predict(images.reshape(len(images), -1))
    labels = Estimator(10, random_state=0).fit_predict(images)
    assert normalized_mutual_info_score(y, labels) > normalized_mutual_info_score(y, kmeans)
    assert clustering_accuracy_score(y, labels) > clustering_accuracy_score(y, kmeans)
