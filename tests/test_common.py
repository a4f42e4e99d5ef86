"""What holds for every public estimator."""

import inspect
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import skdeepclust
from skdeepclust.metrics import clustering_accuracy_scorer

ESTIMATORS = [
    estimator
    for name in skdeepclust.__all__
    if inspect.isclass(estimator := getattr(skdeepclust, name))
    and issubclass(estimator, BaseEstimator)
]
# Some checks fit eight clusters to a few points of noise, and a single epoch does not fill all
# clusters either: the warnings are right then.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
)
CLUSTERERS = [Estimator for Estimator in ESTIMATORS if issubclass(Estimator, ClusterMixin)]
every_clusterer = pytest.mark.parametrize("Estimator", CLUSTERERS, ids=lambda e: e.__name__)
every_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS, ids=lambda e: e.__name__)
FAST = {"n_clusters": 3, "n_init": 1, "max_epochs": 1, "batch_size": 50, "random_state": 0}
SHORTER = {
    "pretrain_epochs": 1,
    "representation_epochs": 1,
    "refine_epochs": 1,
    "self_label_epochs": 1,
    "n_rounds": 2,
    "confident_only": False,
    "finetune_epochs": 1,
    "kmeans_n_init": 3,
    "tol": 0.0,
    "hidden_sizes": (32, 16),
}


def fast(Estimator, **parameters):
    """An estimator that trains in a moment."""
    known = inspect.signature(Estimator).parameters
    shorter = {name: value for name, value in SHORTER.items() if name in known}
    fastest = {name: value for name, value in FAST.items() if name in known}
    return Estimator(**{**fastest, **shorter, **parameters})


def cheap(Estimator):
    """An estimator that trains enough for scikit-learn's checks of what it learns."""
    known = inspect.signature(Estimator).parameters
    if "hidden_sizes" in known:
        cheaper = {"hidden_sizes": (32, 32), "pretrain_epochs": 15, "max_epochs": 60, "n_init": 1}
        cheaper |= {"kmeans_n_init": 5, "finetune_epochs": 5}
    elif "temperature" in known:
        cheaper = {"representation_epochs": 20, "n_rounds": 2, "self_label_epochs": 5}
        cheaper |= {"refine_epochs": 5, "max_epochs": 20}
    else:
        cheaper = {}
    return Estimator(**{name: value for name, value in cheaper.items() if name in known})


@parametrize_with_checks([cheap(Estimator) for Estimator in ESTIMATORS])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        Estimator()
        for Estimator in ESTIMATORS
        if cheap(Estimator).get_params() != Estimator().get_params()
    ]
)
def test_scikit_learn_checks_with_defaults(estimator, check):
    check(estimator)


@every_estimator
def test_several_threads(Estimator, images):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)  # the other tests have one
    try:
        assert len(fast(Estimator).fit(images).transform(images)) == 200
    finally:
        torch.set_num_threads(n_threads)


def test_all_estimators_are_found():
    assert {e.__name__ for e in ESTIMATORS} >= {"DACClustering", "STDACClustering"}


@every_estimator
def test_init_only_assigns_and_documents_all_parameters(Estimator):
    signature = inspect.signature(Estimator)
    documented = Estimator.__doc__
    for name, parameter in signature.parameters.items():
        assert getattr(Estimator(), name) is parameter.default
        assert f"    {name} : " in documented
    assert set(Estimator._parameter_constraints) == set(signature.parameters)


@pytest.fixture(scope="module", params=CLUSTERERS, ids=lambda e: e.__name__)
def fitted(request, images):
    return fast(request.param).fit(images)


class TestFitted:
    """Everything that follows a short fit on images."""

    def test_outputs(self, fitted, images):
        n = len(images)
        assert fitted.labels_.shape == (n,)
        probabilities = fitted.predict_proba(images)
        assert probabilities.shape == (n, 3)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        np.testing.assert_array_equal(fitted.predict(images), fitted.labels_)
        np.testing.assert_array_equal(probabilities.argmax(1), fitted.labels_)
        embedding = fitted.transform(images)
        assert embedding.shape == (n, len(fitted.get_feature_names_out()))
        assert 0 <= fitted.score(images) <= np.log(3)
        assert fitted.n_features_in_ == 64
        assert fitted.input_shape_ == (1, 8, 8)

    def test_prediction_does_not_depend_on_the_other_samples(self, fitted, images):
        together = fitted.predict_proba(images)
        alone = np.concatenate([fitted.predict_proba(images[i : i + 1]) for i in range(20)])
        # rounding alone may differ, with the place in the batch
        np.testing.assert_allclose(alone, together[:20], atol=1e-5)
        np.testing.assert_allclose(
            fitted.transform(images[::-1])[::-1], fitted.transform(images), rtol=1e-4, atol=1e-5
        )

    def test_history(self, fitted):
        assert len(fitted.history_) == fitted.restarts_[0]["n_epochs"]
        assert np.isfinite(fitted.history_[:, "train_loss"]).all()
        assert fitted.restarts_[0]["selected"]

    @pytest.mark.parametrize("library", [pickle, joblib])
    def test_persistence(self, fitted, images, library, tmp_path):
        if library is pickle:
            again = pickle.loads(pickle.dumps(fitted))
        else:
            joblib.dump(fitted, tmp_path / "model.joblib")
            again = joblib.load(tmp_path / "model.joblib")
        np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))
        assert again.history_ == fitted.history_

    def test_clone_is_unfitted(self, fitted, images):
        with pytest.raises(NotFittedError):
            clone(fitted).predict(images)

    def test_set_output(self, fitted, images):
        estimator = pickle.loads(pickle.dumps(fitted)).set_output(transform="pandas")
        frame = estimator.transform(images)
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.columns) == list(fitted.get_feature_names_out())
        assert frame.columns[0] == type(fitted).__name__.lower() + "0"

    def test_new_images_in_any_layout(self, fitted, images):
        expected = fitted.predict_proba(images)
        for X in (images.reshape(200, 64), images[:, None], torch.from_numpy(images)):
            np.testing.assert_array_equal(fitted.predict_proba(X), expected)


@every_clusterer
def test_same_random_state_same_labels_in_another_process(Estimator, images):
    estimator = fast(Estimator, n_init=2, max_epochs=2)
    parameters = {k: v for k, v in estimator.get_params().items() if not callable(v)}
    first = clone(estimator).fit(images)
    code = f"""
import torch; torch.set_num_threads(1)
from sklearn.datasets import load_digits
from skdeepclust import {Estimator.__name__}
images = load_digits().images[:200].astype("uint8")
print(*{Estimator.__name__}(**{parameters!r}).fit_predict(images))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_array_equal([int(label) for label in out.stdout.split()], first.labels_)
    other = clone(estimator).set_params(random_state=1).fit(images)
    assert (other.predict_proba(images) != first.predict_proba(images)).any()


@every_estimator
def test_global_random_states_are_left_alone(Estimator, images):
    torch.manual_seed(5)
    before_torch = torch.get_rng_state()
    before_numpy = np.random.get_state()[1].copy()  # noqa: NPY002
    fast(Estimator).fit(images)
    assert torch.equal(torch.get_rng_state(), before_torch)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


@every_clusterer
def test_caller_random_state_does_not_matter(Estimator, images):
    torch.manual_seed(1)
    first = fast(Estimator).fit(images).predict_proba(images)
    torch.manual_seed(2)
    np.testing.assert_array_equal(fast(Estimator).fit(images).predict_proba(images), first)


@every_clusterer
def test_pipeline_and_grid_search(Estimator, digits):
    images, y = digits
    X, y = images[:120].reshape(120, 64), y[:120]
    pipeline = make_pipeline(StandardScaler(), fast(Estimator, image_shape=(8, 8)))
    labels = pipeline.fit_predict(X)
    np.testing.assert_array_equal(pipeline.predict(X), labels)
    name = pipeline.steps[-1][0]
    grid = {f"{name}__lr": [1e-4, 1e-3]}
    without = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X)
    assert without.best_score_ == max(without.cv_results_["mean_test_score"])
    for scoring in (clustering_accuracy_scorer, "clustering_accuracy", "adjusted_rand_score"):
        search = GridSearchCV(pipeline, grid, cv=2, scoring=scoring, error_score="raise")
        search.fit(X, y)
        assert 0 <= search.best_score_ <= 1 or scoring == "adjusted_rand_score"


@every_clusterer
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_clusters": 0}, "'n_clusters' parameter of .* must be an int .* Got 0"),
        ({"n_clusters": 201}, "n_samples=200 should be >= n_clusters=201"),
        ({"lr": -1.0}, "'lr' parameter .* Got -1.0"),
        ({"precision": "half"}, "'precision' parameter .* Got 'half'"),
        ({"device": "abacus"}, "device must be 'auto' or a device .* got 'abacus'"),
        ({"network": 3}, "'network' parameter .* Got 3"),
        ({"network": torch.nn.Linear(7, 3)}, r"does not take samples of shape \(1, 8, 8\)"),
        ({"augmentation": "strong"}, "'augmentation' parameter .* Got 'strong'"),
        ({"n_init": 0}, "'n_init' parameter .* Got 0"),
        ({"screening": 0.0}, "'screening' parameter .* Got 0.0"),
        ({"callbacks": "print"}, "'callbacks' parameter .* Got 'print'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_parameters(Estimator, images, parameters, message):
    estimator = fast(Estimator, **parameters)
    with pytest.raises(ValueError, match=message):
        estimator.fit(images)
    assert not hasattr(estimator, "network_")


@every_estimator
def test_user_networks(Estimator, images):
    class Encoder(torch.nn.Sequential):
        def __init__(self, input_shape):
            self.input_shape = input_shape
            super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 7), torch.nn.ReLU())

    for network in (Encoder, Encoder((1, 8, 8))):
        weights = None if network is Encoder else network[1].weight.clone()
        fitted = fast(Estimator, network=network).fit(images)
        assert fitted.transform(images).shape == (200, 7)
        assert fitted.network_.encoder.input_shape == (1, 8, 8)
        if weights is not None:  # the user's module is not trained, a copy is
            assert torch.equal(network[1].weight, weights)
            assert not torch.equal(fitted.network_.encoder[1].weight, weights)


@every_clusterer
def test_bf16(Estimator, images):
    fitted = fast(Estimator, precision="bf16").fit(images)
    assert fitted.predict_proba(images).dtype == np.float32
    assert next(fitted.network_.parameters()).dtype == torch.float32


@every_clusterer
def test_nan_loss_names_phase_and_epoch_and_leaves_no_fit(Estimator, images):
    def spoil(x):
        return x * torch.nan

    estimator = fast(Estimator).fit(images)
    estimator.set_params(augmentation=spoil)
    with pytest.raises(FloatingPointError, match=r"became nan in phase '.+', epoch 1.*lr="):
        estimator.fit(images)
    with pytest.raises(NotFittedError):
        estimator.predict(images)


@every_clusterer
def test_failing_restarts_are_left_out(Estimator, images):
    calls = []

    class Spoiled(torch.nn.Sequential):
        def __init__(self, input_shape):
            super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 8))
            calls.append(1)
            if len(calls) == 1:
                torch.nn.init.constant_(self[1].weight, torch.nan)

    estimator = fast(Estimator, n_init=2, network=Spoiled)
    with pytest.warns(ConvergenceWarning, match="One of 2 restarts failed and is left out"):
        estimator.fit(images)
    assert [r["selected"] for r in estimator.restarts_] == [False, True]


@every_clusterer
def test_interruption_leaves_a_usable_estimator(Estimator, images):
    from skorch.callbacks import Callback

    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            # as Ctrl-C does: not out of a callback, which only ends a phase
            if len(net.history) == 2:
                net.criterion_.steps = interrupted

    def interrupted(*args):
        raise KeyboardInterrupt

    estimator = fast(Estimator, max_epochs=50, callbacks=[Interrupt()])
    with pytest.warns(ConvergenceWarning, match="interrupted after [12] epochs"):
        estimator.fit(images)
    np.testing.assert_array_equal(estimator.predict(images), estimator.labels_)
