"""On a CUDA device; run with  pytest -m gpu."""

import copy
import pickle

import numpy as np
import pytest
import test_distributed
import torch
from sklearn.metrics import normalized_mutual_info_score
from skorch.callbacks import Callback

import skdeepclust
from skdeepclust import IDECClustering, MCDCClustering, SCANClustering, SimCLR, STDACClustering
from skdeepclust._training import _checkpoint

pytestmark = pytest.mark.gpu
PARAMETERS = {"n_clusters": 4, "n_init": 2, "max_epochs": 3, "random_state": 0}
ESTIMATORS = [
    getattr(skdeepclust, name) for name in skdeepclust.__all__ if name.endswith("Clustering")
]


@pytest.mark.filterwarnings("ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_fit_and_predict(Estimator, precision, images):
    fitted = Estimator(**PARAMETERS, precision=precision).fit(images)
    assert next(fitted.network_.parameters()).is_cuda
    np.testing.assert_array_equal(fitted.predict(images), fitted.labels_)
    again = fitted.predict_proba(torch.from_numpy(images).cuda())
    np.testing.assert_array_equal(again, fitted.predict_proba(images))


def test_unpickled_model_is_on_the_cpu_and_agrees(images):
    fitted = STDACClustering(**PARAMETERS).fit(images)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert not next(loaded.network_.parameters()).is_cuda
    for model in (fitted, copy.deepcopy(fitted), copy.copy(fitted)):
        assert next(model.network_.parameters()).is_cuda
    np.testing.assert_allclose(
        loaded.predict_proba(images), fitted.predict_proba(images), atol=1e-2
    )


def test_decoding_and_a_given_autoencoder(images):
    mcdc = MCDCClustering(**PARAMETERS).fit(images)
    decoded = mcdc.inverse_transform(mcdc.transform(images))
    assert decoded.shape == images.shape
    idec = IDECClustering(**{**PARAMETERS, "tol": 0}, autoencoder=pickle.loads(pickle.dumps(mcdc)))
    idec.fit(images)
    assert next(idec.network_.parameters()).is_cuda
    cpu = pickle.loads(pickle.dumps(mcdc))
    np.testing.assert_allclose(cpu.inverse_transform(mcdc.transform(images)), decoded, atol=0.05)


def test_resumed_fit_ends_as_an_uninterrupted_one(images, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "CHECKPOINT_SECONDS", 0.0)
    parameters = {
        "n_clusters": 4,
        "representation": SimCLR(max_epochs=3),
        "max_epochs": 3,
        "self_label_epochs": 2,
        "random_state": 0,
    }

    class Kill(Callback):
        def on_epoch_end(self, net, **kwargs):
            if net.phase.name == "scan" and len(net.history) == 2:
                raise RuntimeError("killed")

    whole = SCANClustering(**parameters).fit(images)
    path = tmp_path / "fit.pt"
    with pytest.raises(RuntimeError, match="killed"):
        SCANClustering(**parameters, checkpoint=path, callbacks=[Kill()]).fit(images)
    part = SCANClustering(**parameters, checkpoint=path).fit(images)
    assert len(part.history_) == len(whole.history_)
    np.testing.assert_allclose(
        part.history_[:, "train_loss"], whole.history_[:, "train_loss"], rtol=1e-2
    )


def test_global_random_states_are_left_alone(images):
    torch.cuda.manual_seed(3)
    before = torch.cuda.get_rng_state()
    STDACClustering(**PARAMETERS).fit(images)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two processes need two cards")
def test_two_cards_train_one_model(tmp_path):
    first, second = test_distributed.run(tmp_path, "cuda")
    for name, alone in test_distributed.cases(2 * test_distributed.BATCH_SIZE).items():
        test_distributed.assert_same_fit(first[name], second[name], test_distributed.data_of(name))
        losses = test_distributed.fitted(name, alone).history_[:, "train_loss"]
        np.testing.assert_allclose(first[name].history_[:1, "train_loss"], losses[:1], rtol=0.01)


def test_learns_as_on_the_cpu(digits):
    images, y = digits
    parameters = {"n_clusters": 10, "n_init": 1, "max_epochs": 8, "random_state": 0}
    nmi = {
        device: normalized_mutual_info_score(
            y, STDACClustering(**parameters, device=device).fit_predict(images)
        )
        for device in ("cpu", "cuda")
    }
    assert abs(nmi["cpu"] - nmi["cuda"]) < 0.15
    assert nmi["cuda"] > 0.5
