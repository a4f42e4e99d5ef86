"""Runs through the phases, checkpoints and random states."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skdeepclust import ProFeatClustering, SCANClustering, SimCLR, _restarts

SHORT = {
    "n_clusters": 3,
    "representation_epochs": 2,
    "max_epochs": 2,
    "self_label_epochs": 1,
    "random_state": 0,
}


# ---------------------------------------------------------------------- checkpoints


class Stop(Callback):
    """Ends the process's part after so many epochs, as a kill would."""

    def __init__(self, n_epochs):
        self.n_left = n_epochs

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.n_left -= 1
        if self.n_left < 0:
            raise RuntimeError("killed")


LONG = [
    SimCLR(max_epochs=4, random_state=0),
    SCANClustering(**SHORT),
    ProFeatClustering(**SHORT, n_rounds=2, refine_epochs=2, n_models=2, confident_only=False),
]


@pytest.mark.parametrize("estimator", LONG, ids=lambda e: type(e).__name__)
def test_resumed_fit_ends_as_an_uninterrupted_one(estimator, images, tmp_path, monkeypatch):
    monkeypatch.setattr(_restarts, "CHECKPOINT_SECONDS", 0.0)
    whole = type(estimator)(**estimator.get_params()).fit(images)
    n_epochs = len(whole.history_)
    path = tmp_path / "fit.pt"
    for _ in range(20):  # killed again and again, in the middle of phases and between them
        part = type(estimator)(**estimator.get_params())
        part.set_params(checkpoint=path, callbacks=[Stop(3)])
        try:
            part.fit(images)
        except RuntimeError as error:
            assert str(error) == "killed"
        else:
            break
    else:
        pytest.fail("the fit did not go on")
    assert len(part.history_) == n_epochs
    assert part.history_[:, "train_loss"] == whole.history_[:, "train_loss"]
    state, expected = part.network_.state_dict(), whole.network_.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    np.testing.assert_array_equal(part.transform(images), whole.transform(images))
    if hasattr(whole, "round_labels_"):
        np.testing.assert_array_equal(part.round_labels_, whole.round_labels_)


def test_finished_fit_is_not_trained_again(images, tmp_path):
    model = SimCLR(max_epochs=2, checkpoint=tmp_path / "fit.pt", random_state=0).fit(images)
    again = SimCLR(
        max_epochs=2, checkpoint=tmp_path / "fit.pt", random_state=0, callbacks=[Stop(0)]
    ).fit(images)
    assert again.history_ == model.history_
    np.testing.assert_array_equal(again.transform(images), model.transform(images))


def test_checkpoint_of_another_fit(images, tmp_path):
    path = tmp_path / "fit.pt"
    SimCLR(max_epochs=2, checkpoint=path, random_state=0).fit(images)
    with pytest.raises(ValueError, match="holds a fit with max_epochs=2, but now it is 3"):
        SimCLR(max_epochs=3, checkpoint=path, random_state=0).fit(images)
    with pytest.raises(ValueError, match="holds a fit with shape of X="):
        SimCLR(max_epochs=2, checkpoint=path, random_state=0).fit(images[:100])
    with pytest.raises(ValueError, match=r"holds a fit with .*=.*, but now it is"):
        SCANClustering(**SHORT, checkpoint=path).fit(images)


def test_resumed_fit_remembers_which_restart_was_chosen(images, tmp_path, monkeypatch):
    monkeypatch.setattr(_restarts, "CHECKPOINT_SECONDS", 0.0)
    parameters = {**SHORT, "max_epochs": 8, "n_init": 2, "screening": 0.3}
    whole = SCANClustering(**parameters).fit(images)
    path = tmp_path / "fit.pt"
    with pytest.raises(RuntimeError, match="killed"):
        SCANClustering(**parameters, checkpoint=path, callbacks=[Stop(9)]).fit(images)
    part = SCANClustering(**parameters, checkpoint=path).fit(images)
    assert part.restarts_ == whole.restarts_
    np.testing.assert_array_equal(part.predict_proba(images), whole.predict_proba(images))


def test_checkpoint_of_another_network(images, tmp_path):
    path = tmp_path / "fit.pt"
    SimCLR(max_epochs=1, checkpoint=path, random_state=0).fit(images)
    other = SimCLR(max_epochs=1, checkpoint=path, random_state=0, network=torch.nn.Flatten())
    with pytest.raises(ValueError, match="a fit of another network"):
        other.fit(images)


def test_checkpoint_paths(images, tmp_path):
    (tmp_path / "text").write_text("not a checkpoint")
    for path, message in (
        (tmp_path, "checkpoint must be the path of a file"),
        (tmp_path / "missing" / "fit.pt", "checkpoint must be the path of a file"),
        (tmp_path / "text", "is a file that is not a checkpoint"),
    ):
        with pytest.raises(ValueError, match=message):
            SimCLR(max_epochs=1, checkpoint=path).fit(images)


def test_restarts_have_checkpoints_of_their_own(images, tmp_path):
    parameters = {**SHORT, "n_init": 2, "checkpoint": tmp_path / "fit.pt"}
    model = SCANClustering(**parameters).fit(images)
    assert (tmp_path / "fit.pt-1").exists()
    again = SCANClustering(**parameters, callbacks=[Stop(0)]).fit(images)
    np.testing.assert_array_equal(again.labels_, model.labels_)
    assert again.restarts_ == model.restarts_
