"""DeepClustering: merging by neighbours, the head that is chosen, learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from skdeepclust import DeepClustering, SCANClustering
from skdeepclust._training._selection import merge_clusters
from skdeepclust.augment import RandomAffine
from skdeepclust.metrics import clustering_accuracy_score
from skdeepclust.networks import MergingHead, StridedEncoder


def information(joint):
    """Mutual information of a joint distribution, in nats, cell by cell."""
    joint = (joint + joint.T) / (2 * joint.sum())
    sizes = joint.sum(0)
    return sum(
        joint[i, j] * np.log(joint[i, j] / (sizes[i] * sizes[j]))
        for i in range(len(joint))
        for j in range(len(joint))
        if joint[i, j] > 0
    )


def merged(joint, labels):
    """Sum a joint distribution over what belongs together."""
    onto = np.eye(labels.max() + 1)[labels]
    return onto.T @ joint @ onto


def test_merging_is_greedy_in_information():
    joint = np.random.RandomState(0).rand(7, 7) ** 3 + 2 * np.eye(7)
    labels = np.arange(7)
    for n_clusters in (6, 5, 4, 3, 2, 1):
        best, found = -1.0, labels
        for b in range(1, labels.max() + 1):
            for a in range(b):
                tried = np.where(labels == b, a, labels)
                tried = np.unique(tried, return_inverse=True)[1]
                value = information(merged(joint, tried))
                if value > best:
                    best, found = value, tried
        labels = found
        ours = merge_clusters(joint, n_clusters).numpy()
        assert sorted(np.unique(ours)) == list(range(n_clusters))
        assert information(merged(joint, ours)) == pytest.approx(best)


def test_merging_head_adds_probabilities():
    torch.manual_seed(0)
    head = MergingHead(n_features=4, n_clusters=2, n_heads=2, overclustering=2)
    x = torch.randn(6, 4, requires_grad=True)
    plain, over = head.all(x)
    torch.testing.assert_close(head(x).exp(), plain[0].softmax(1))
    head.choose(3, torch.tensor([1, 0, 1, 1]))
    p = over[1].softmax(1)
    expected = torch.stack([p[:, 1], p[:, 0] + p[:, 2] + p[:, 3]], 1)
    torch.testing.assert_close(head(x).exp(), expected)
    head(x)[:, 0].sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in head.parameters())


def test_merged_probabilities_and_gradients_are_those_of_logsumexp():
    torch.manual_seed(0)
    head = MergingHead(n_features=4, n_clusters=5, n_heads=1, overclustering=3)
    head.choose(1, torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]))  # none is 4
    x = (30 * torch.randn(50, 4)).requires_grad_()
    log_p = head.over.all(x)[0].log_softmax(1)
    parts = [log_p[:, head.groups == k].logsumexp(1) for k in range(4)]
    expected = torch.stack([*parts, torch.full((50,), -1e4)], 1)
    weights = torch.randn(50, 5)
    torch.testing.assert_close(head(x)[:, :4], expected[:, :4], rtol=1e-4, atol=1e-4)
    assert (head(x)[:, 4] < -1e3).all()
    found, wanted = (torch.autograd.grad((weights * y).sum(), x)[0] for y in (head(x), expected))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_merging_takes_no_memory_of_the_square_of_the_clusters():
    head = MergingHead(n_features=1, n_clusters=600, n_heads=1, overclustering=3)
    head.choose(1, torch.arange(1800) % 600)
    with torch.profiler.profile(profile_memory=True) as profile, torch.no_grad():
        head(torch.randn(10, 1))
    assert max(event.cpu_memory_usage for event in profile.events()) < 4 * 10 * 1800 * 600 / 10


@pytest.mark.parametrize("screening", [1.0, 0.5])
@pytest.mark.parametrize("cls", [DeepClustering, SCANClustering])
def test_restarts_are_compared_by_the_head_that_predicts(cls, screening, monkeypatch):
    judge, judged = cls._judge, []

    def seen(self, run, *args, **kwargs):
        quality = judge(self, run, *args, **kwargs)
        head = run.network.head
        number = int(head.number if cls is DeepClustering else head.selected)
        judged.append((quality, number, int(run._objective.head_losses.argmin())))
        return quality

    monkeypatch.setattr(cls, "_judge", seen)
    model = cls(4, n_init=3, max_epochs=6, screening=screening, random_state=0)
    if cls is DeepClustering:
        model.set_params(refinement_epochs=0)
    else:
        model.set_params(representation="precomputed", self_label_epochs=0)
    model.fit(np.random.RandomState(0).rand(90, 12))
    *restarts, (quality, *_) = judged
    assert len(restarts) == 3
    if screening == 1:  # by the head that is kept, which may have more outputs
        assert max(before for before, *_ in restarts) == quality
    else:
        assert all(number == best for _, number, best in restarts)
        assert len({number for _, number, _ in restarts}) > 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20), (1, 64, 64)])
def test_strided_encoder_takes_any_size(shape):
    assert StridedEncoder(shape)(torch.rand(2, *shape)).shape == (2, 256)


def test_shear_slants_a_line_and_none_changes_nothing():
    x = torch.zeros(1, 1, 21, 21)
    x[..., 10] = 1
    plain = {"rotation": 0, "shift": 0, "zoom": 0, "value_shift": 0, "rescale": 1}
    torch.testing.assert_close(RandomAffine(**plain)(x), x)
    torch.manual_seed(0)
    columns = RandomAffine(**plain, shear=0.5)(x)[0, 0].argmax(1)
    steps = columns.diff()
    assert columns[10] == 10  # about the middle
    assert columns[0] != 10
    assert (steps >= 0).all() or (steps <= 0).all()


@pytest.mark.parametrize(("n", "expected"), [(150, (164, 33)), (1797, (48, 10)), (70_000, (8, 2))])
def test_epochs_follow_from_the_number_of_samples(n, expected):
    assert DeepClustering()._epochs(n) == expected
    assert DeepClustering(max_epochs=7)._epochs(n) == (7, 2)
    assert DeepClustering(max_epochs=7, refinement_epochs=0)._epochs(n) == (7, 0)


def test_few_samples_get_five_restarts():
    X = np.random.RandomState(0).randn(1001, 2)
    X[: len(X) // 2] += 8
    for n, expected in ((1000, 5), (1001, 1)):
        model = DeepClustering(2, max_epochs=1, refinement_epochs=0, random_state=0).fit(X[:n])
        assert len(model.restarts_) == expected
        epochs = model.history_[:, "epoch"]
        assert len(epochs) == 1


def test_epochs_are_a_number_or_auto():
    for name in ("max_epochs", "refinement_epochs"):
        with pytest.raises(ValueError, match=f"'{name}' parameter .*'auto'"):
            DeepClustering(2, **{name: "all"}).fit(np.eye(4))


@pytest.mark.slow
def test_merged_heads_find_clusters_of_unlike_size():
    digits = load_digits()
    kept = np.concatenate(
        [np.flatnonzero(digits.target == c)[: 170 if c < 3 else 25] for c in range(6)]
    )
    images, y = digits.images[kept], digits.target[kept]
    settings = {"max_epochs": 40, "random_state": 0, "batch_size": 64}
    merging = DeepClustering(6, **settings).fit(images)
    plain = DeepClustering(6, overclustering=1, refinement_entropy_weight=5, **settings).fit(images)
    assert int(merging.network_.head.number) >= merging.n_heads
    accuracies = [clustering_accuracy_score(y, m.labels_) for m in (merging, plain)]
    assert accuracies[0] > accuracies[1] + 0.05
