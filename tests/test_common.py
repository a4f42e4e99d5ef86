"""What holds for every public estimator."""

import copy
import inspect
import math
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from numbers import Integral

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, KernelPCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback

import skdeepclust
from skdeepclust import inference
from skdeepclust._inputs import check_X
from skdeepclust.base import BaseDeepEstimator
from skdeepclust.cluster._base_autoencoder import BaseAutoencoderClusterer
from skdeepclust.cluster._base_pretrain import BasePretrainThenCluster
from skdeepclust.hierarchy import merge_tree
from skdeepclust.metrics import clustering_accuracy_score, clustering_accuracy_scorer
from skdeepclust.networks import DenseEncoder
from skdeepclust.streaming import StreamedSamples

PUBLIC = [
    estimator
    for name in skdeepclust.__all__
    if inspect.isclass(estimator := getattr(skdeepclust, name))
    and issubclass(estimator, BaseEstimator)
]
META = {  # what holds other estimators has no network: scikit-learn's checks are what it shares
    skdeepclust.ConsensusClustering: [
        ("k-means", KMeans(3, n_init=3, random_state=0)),
        ("mixture", GaussianMixture(3, random_state=0)),
    ],
}
ESTIMATORS = [
    estimator
    for estimator in PUBLIC
    if estimator not in META and estimator is not skdeepclust.FeatureExtractor  # learns nothing
]
# Some checks fit eight clusters to a few points of noise, and a single epoch does not fill all
# clusters either: the warnings are right then.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
    "ignore:autoencoder, a fitted .* was trained without a critic",
)
CLUSTERERS = [Estimator for Estimator in ESTIMATORS if issubclass(Estimator, ClusterMixin)]
every_clusterer = pytest.mark.parametrize("Estimator", CLUSTERERS, ids=lambda e: e.__name__)
every_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS, ids=lambda e: e.__name__)
# What the engine does for all alike is tested with these, one of each kind of training; with the
# others the same test is slow.
KINDS = {
    skdeepclust.AutoencoderClustering,
    skdeepclust.CatGANClustering,
    skdeepclust.DECClustering,
    skdeepclust.DeepClusterClustering,
    skdeepclust.DeepClustering,
    skdeepclust.IMSATClustering,
    skdeepclust.MCDCClustering,
    skdeepclust.ProFeatClustering,
    skdeepclust.STDACClustering,
    skdeepclust.SimCLR,
    skdeepclust.TEMIClustering,
}


def of_each_kind(estimators):
    return [
        pytest.param(
            Estimator,
            id=Estimator.__name__,
            marks=() if Estimator in KINDS else pytest.mark.slow,
        )
        for Estimator in estimators
    ]


every_kind = pytest.mark.parametrize("Estimator", of_each_kind(ESTIMATORS))
every_kind_of_clusterer = pytest.mark.parametrize("Estimator", of_each_kind(CLUSTERERS))
FAST = {"n_clusters": 3, "n_init": 1, "max_epochs": 1, "batch_size": 50, "random_state": 0}
WITHOUT_EXTRAS = {"manifold": PCA(2)}  # defaults of which need a package that isn't required
SHORTER = {
    **WITHOUT_EXTRAS,
    "refinement_epochs": 1,
    "self_label_epochs": 1,
    "n_rounds": 2,
    "confident_only": False,
    "finetune_epochs": 1,
    "label_epochs": 1,
    "siamese_epochs": 1,
    "kmeans_n_init": 3,
    "tol": 0.0,
    "hidden_sizes": (32, 16),
}


class SmallEncoder(torch.nn.Sequential):
    """For samples of any shape."""

    def __init__(self, input_shape):
        super().__init__(torch.nn.Flatten(), DenseEncoder((math.prod(input_shape),), (32, 16)))


# Two layers of 1,200, in RIM for 100 steps from k-means' clusters, are long.
LIGHTER = {name: {"network": SmallEncoder} for name in ("RIMClustering", "IMSATClustering")}


def known_of(Estimator, parameters):
    known = inspect.signature(Estimator).parameters
    return {name: value for name, value in parameters.items() if name in known}


def brief(estimator):
    """A copy that trains for a moment, of an estimator of any parameters."""
    shorter = {**SHORTER, "max_epochs": 2, "n_init": 1}
    del shorter["confident_only"], shorter["manifold"]
    known = estimator.get_params()
    return clone(estimator).set_params(
        **{name: shorter[last] for name in known if (last := name.split("__")[-1]) in shorter}
    )


def with_part(Estimator, parameters, of_part):
    """An estimator whose part, a representation say, takes `of_part` and what is not its own."""
    own = known_of(Estimator, parameters)
    if "strong_augmentation" in inspect.signature(Estimator).parameters:
        name, Part = "representation", skdeepclust.SimCLR
    elif "autoencoder" in known_of(Estimator, {"autoencoder": 0}) and not hasattr(
        Estimator, "decoder"
    ):
        name, Part = "autoencoder", skdeepclust.AutoencoderClustering
    else:
        return Estimator(**own)
    rest = {key: value for key, value in parameters.items() if key not in own}
    if name == "autoencoder" and "augmentation" in own:
        rest["augmentation"] = own["augmentation"]
    return Estimator(**{name: Part(**known_of(Part, {**of_part, **rest})), **own})


def of_part(estimator, name):
    """The name of a parameter that may be the part's."""
    part = "autoencoder" if hasattr(estimator, "autoencoder") else "representation"
    return name if name in estimator.get_params() else f"{part}__{name}"


def fast(Estimator, **parameters):
    """An estimator that trains in a moment."""
    return with_part(
        Estimator,
        {
            **FAST,
            **known_of(Estimator, SHORTER),
            **LIGHTER.get(Estimator.__name__, {}),
            **parameters,
        },
        {**SHORTER, "max_epochs": 1, "n_init": 1},
    )


@cache
def fast_fit(Estimator):
    """Return a fit that the tests share: of `fast`, to what the fixture `images` holds.

    They must not change it.
    """
    return fast(Estimator).fit(load_digits().images[:200].astype("uint8"))


def cheap(Estimator):
    """An estimator that trains enough for scikit-learn's checks of what it learns."""
    if issubclass(Estimator, BaseAutoencoderClusterer):
        cheaper = {"max_epochs": 60, "n_init": 1, "kmeans_n_init": 5, "finetune_epochs": 5}
        of_part = {"hidden_sizes": (32, 32), "max_epochs": 15}
        cheaper |= {"siamese_epochs": 5, "hidden_sizes": (32, 32), **WITHOUT_EXTRAS}
        cheaper = known_of(Estimator, cheaper)
    elif "DAC" in Estimator.__name__:
        cheaper, of_part = {}, {}
    elif Estimator in (skdeepclust.DeepClusterClustering, skdeepclust.TripletClustering):
        cheaper, of_part = {"max_epochs": 20, "kmeans_n_init": 5}, {}
    elif Estimator is skdeepclust.TURTLEClustering:
        cheaper, of_part = {"max_epochs": 60, "n_inner_steps": 5, "n_init": 1}, {}
    else:
        cheaper = {"n_rounds": 2, "self_label_epochs": 5, "refinement_epochs": 5, "max_epochs": 20}
        cheaper["n_init"] = 1
        of_part = {"max_epochs": 20}
    cheaper |= LIGHTER.get(Estimator.__name__, {})
    return with_part(Estimator, cheaper, of_part)


AUGMENTED = [E for E in ESTIMATORS if of_part(E(), "augmentation") in fast(E).get_params()]
every_augmented = pytest.mark.parametrize("Estimator", AUGMENTED, ids=lambda e: e.__name__)


@parametrize_with_checks(
    [
        *(cheap(Estimator) for Estimator in ESTIMATORS),
        *(Estimator(estimators) for Estimator, estimators in META.items()),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator if check.func.__name__ == "check_clustering" else brief(estimator))


@pytest.mark.slow
@parametrize_with_checks(
    [
        Estimator(**known_of(Estimator, WITHOUT_EXTRAS))
        for Estimator in ESTIMATORS
        if cheap(Estimator).get_params() != Estimator().get_params()
    ]
)
def test_scikit_learn_checks_with_defaults(estimator, check):
    check(estimator)


@every_estimator
def test_several_threads(Estimator, images):
    images = images[:60]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)  # the other tests have one
    try:
        assert np.isfinite(fast(Estimator).fit(images).transform(images)).all()
    finally:
        torch.set_num_threads(n_threads)


def test_all_estimators_are_found():
    assert {e.__name__ for e in ESTIMATORS} >= {"DACClustering", "STDACClustering"}
    assert all(issubclass(e, BaseDeepEstimator) for e in ESTIMATORS)


@every_estimator
def test_init_only_assigns_and_documents_all_parameters(Estimator):
    signature = inspect.signature(Estimator)
    documented = Estimator.__doc__
    for name, parameter in signature.parameters.items():
        assert getattr(Estimator(), name) is parameter.default
        assert documented.count(f"\n    {name} : ") == 1
        line = documented.partition(f"\n    {name} : ")[2].partition("\n")[0]
        shown = line.rpartition("default=")[2].strip('"')
        default = parameter.default
        assert shown in (str(default), f"torch.optim.{getattr(default, '__name__', '')}")
        assert parameter.kind.name == (
            "POSITIONAL_OR_KEYWORD" if name == "n_clusters" else "KEYWORD_ONLY"
        )
    assert set(Estimator._parameter_constraints) == set(signature.parameters)
    assert "{{" not in documented
    assert documented.index("Parameters\n") < documented.index("Attributes\n")
    for attribute in ("history_", "input_shape_", "network_", "n_features_in_"):
        assert documented.count(f"\n    {attribute} : ") == 1


@pytest.fixture(scope="module", params=CLUSTERERS, ids=lambda e: e.__name__)
def fitted(request, images):
    if request.param.__name__ in LIGHTER:
        return fast(request.param, network=None).fit(images)
    return fast_fit(request.param)


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
        np.testing.assert_array_equal(merge_tree(probabilities), fitted.merge_tree_)
        embedding = fitted.transform(images)
        assert embedding.shape == (n, len(fitted.get_feature_names_out()))
        assert 0 <= fitted.score(images) <= np.log(3)
        assert fitted.n_features_in_ == 64
        assert fitted.input_shape_ == (1, 8, 8)

    def test_prediction_does_not_depend_on_the_other_samples(self, fitted, images):
        together = fitted.predict_proba(images)
        alone = np.concatenate([fitted.predict_proba(images[i : i + 1]) for i in range(5)])
        # rounding alone may differ, with the place in the batch
        np.testing.assert_allclose(alone, together[:5], atol=1e-5)
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

    def test_model_file(self, fitted, images, tmp_path):
        skdeepclust.save(fitted, tmp_path / "model.skdc")
        again = skdeepclust.load(tmp_path / "model.skdc")
        np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))
        np.testing.assert_array_equal(again.transform(images), fitted.transform(images))
        np.testing.assert_array_equal(again.labels_, fitted.labels_)
        np.testing.assert_array_equal(again.merge_tree_, fitted.merge_tree_)
        assert again.history_ == fitted.history_ and again.restarts_ == fitted.restarts_
        assert set(vars(again)) == set(vars(fitted))
        assert str(again.get_params(deep=False)) == str(fitted.get_params(deep=False))

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


def fit_predict(estimator, images):
    torch.set_num_threads(1)
    return estimator.fit_predict(images)


@pytest.fixture(scope="module")
def another_process():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@every_kind_of_clusterer
def test_same_random_state_same_labels_in_another_process(Estimator, images, another_process):
    elsewhere = another_process.submit(fit_predict, fast(Estimator), images)
    first, other = fast_fit(Estimator), fast(Estimator, random_state=1).fit(images)
    assert (other.predict_proba(images) != first.predict_proba(images)).any()
    np.testing.assert_array_equal(elsewhere.result(), first.labels_)


@every_estimator
def test_global_random_states_do_not_matter_and_are_left_alone(Estimator, images):
    torch.manual_seed(1)
    expected = fast_fit(Estimator)
    torch.manual_seed(5)
    before_torch = torch.get_rng_state()
    before_numpy = np.random.get_state()[1].copy()  # noqa: NPY002
    fitted = fast(Estimator).fit(images)
    assert torch.equal(torch.get_rng_state(), before_torch)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
    np.testing.assert_array_equal(fitted.transform(images), expected.transform(images))
    if Estimator in CLUSTERERS:
        np.testing.assert_array_equal(fitted.predict_proba(images), expected.predict_proba(images))


@every_kind
def test_data_larger_than_the_memory_limit(Estimator, images, tmp_path):
    np.save(tmp_path / "X.npy", images)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    estimator = fast(Estimator, memory_limit=6000).fit(X)
    assert isinstance(check_X(estimator, X, reset=False), StreamedSamples)
    transformed = estimator.transform(images)
    np.testing.assert_array_equal(estimator.transform(X), transformed)
    again = fast(Estimator, memory_limit=6000).fit(X)
    np.testing.assert_array_equal(again.transform(images), transformed)
    if hasattr(estimator, "labels_"):
        np.testing.assert_array_equal(estimator.predict(X), estimator.labels_)


@every_kind_of_clusterer
def test_pipeline_and_grid_search(Estimator, digits):
    images, y = digits
    X, y = images[:120].reshape(120, 64), y[:120]
    pipeline = make_pipeline(StandardScaler(), fast(Estimator, image_shape=(8, 8)))
    labels = pipeline.fit_predict(X)
    np.testing.assert_array_equal(pipeline.predict(X), labels)
    name = pipeline.steps[-1][0]
    grid = {f"{name}__lr": [1e-4, 1e-3]}
    scorers = {
        "scorer": clustering_accuracy_scorer,
        "name": "clustering_accuracy",
        "adjusted Rand": "adjusted_rand_score",
    }
    train, test = np.split(np.arange(120), 2)
    folds = [(train, test)]
    search = GridSearchCV(pipeline, grid, cv=folds, error_score="raise").fit(X, y)
    found = {"label-free": search.cv_results_["split0_test_score"]}
    search = GridSearchCV(
        pipeline, grid, cv=folds, scoring=scorers, refit=False, error_score="raise"
    ).fit(X, y)
    found |= {key: search.cv_results_[f"split0_test_{key}"] for key in scorers}
    for number, lr in enumerate(grid[f"{name}__lr"]):
        alone = clone(pipeline).set_params(**{f"{name}__lr": lr}).fit(X[train])
        predicted = alone.predict(X[test])
        accuracy = clustering_accuracy_score(y[test], predicted)
        assert found["label-free"][number] == pytest.approx(alone.score(X[test]))
        assert found["scorer"][number] == found["name"][number] == pytest.approx(accuracy)
        rand = adjusted_rand_score(y[test], predicted)
        assert found["adjusted Rand"][number] == pytest.approx(rand)


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
        ({"n_init": 0}, "'n_init' parameter .* Got 0"),
        ({"n_jobs": 0}, "'n_jobs' parameter .* Got 0"),
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


@every_estimator
def test_bf16_is_for_the_training_alone(Estimator, images):
    class Watched(torch.nn.Sequential):
        seen = set()

        def __init__(self, input_shape):
            super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 8))

        def forward(self, x):
            result = super().forward(x)
            self.seen.add((torch.is_grad_enabled(), result.dtype))
            return result

    fitted = fast(Estimator, precision="bf16", network=Watched).fit(images)
    assert {dtype for is_trained, dtype in Watched.seen if is_trained} == {torch.bfloat16}
    assert {p.dtype for p in fitted.network_.parameters()} == {torch.float32}
    Watched.seen.clear()
    assert fitted.transform(images).dtype == np.float32
    assert Watched.seen == {(False, torch.float32)}


@every_clusterer
def test_nan_loss_names_phase_and_epoch_and_leaves_no_fit(Estimator, images):
    class Spoiled(torch.nn.Sequential):
        def __init__(self, input_shape):
            super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 8))

        def forward(self, x):
            return super().forward(x) * torch.nan

    estimator = copy.deepcopy(fast_fit(Estimator))
    estimator.set_params(**{of_part(estimator, "network"): Spoiled})
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
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            # as Ctrl-C does: not out of a callback, which only ends a phase
            if len(net.history) == 2:
                net.criterion_.steps = interrupted

    def interrupted(*args):
        raise KeyboardInterrupt

    estimator = fast(Estimator, max_epochs=50, callbacks=[Interrupt()])
    with pytest.warns(ConvergenceWarning, match="interrupted after [1-3] epochs"):
        estimator.fit(images)
    assert estimator.interrupted_
    np.testing.assert_array_equal(estimator.predict(images), estimator.labels_)


# ---------------------------------------------------------------------- the wires of parameters


class LinearEncoder(torch.nn.Sequential):
    def __init__(self, input_shape):
        n_values = int(np.prod(input_shape))
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(n_values, 16))


class LinearDecoder(torch.nn.Sequential):
    def __init__(self, n_features, input_shape):
        layers = torch.nn.Linear(n_features, int(np.prod(input_shape)))
        super().__init__(layers, torch.nn.Unflatten(1, input_shape))


# A fit in an instant, in which as much as possible matters: several batches an epoch, the last one
# smaller; some samples confident and some not.
SMALLEST = {
    **WITHOUT_EXTRAS,
    "network": LinearEncoder,
    "decoder": LinearDecoder,
    "n_clusters": 3,
    "n_init": 1,
    "max_epochs": 2,
    "batch_size": 16,
    "chunk_size": 32,
    "hidden_sizes": (16, 8),
    "kmeans_n_init": 3,
    "tol": 0.0,
    "finetune_epochs": 1,
    "label_epochs": 1,
    "siamese_epochs": 1,
    "refinement_epochs": 1,
    "self_label_epochs": 1,
    "self_label_batch_size": 16,
    "n_rounds": 2,
    "confidence": 0.34,
    "threshold": 0.34,
    "init": "random",
    "random_state": 0,
}


OF_PART = {**SMALLEST, "max_epochs": 1}


def smallest(Estimator, parameters):
    return with_part(Estimator, parameters, OF_PART)


class ShapedEncoder(torch.nn.Sequential):
    """Looks at the shape of its input, where a method's own encoder flattens images."""

    def __init__(self, input_shape):
        n_values = int(np.prod(input_shape))
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(n_values, 8 * len(input_shape)))


class EndAtOnce(Callback):
    """Ends each phase after one epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def small_autoencoder(X):
    Estimator = skdeepclust.AutoencoderClustering
    return Estimator(**known_of(Estimator, SMALLEST)).fit(X)


def small_simclr(X):
    return skdeepclust.SimCLR(**known_of(skdeepclust.SimCLR, SMALLEST)).fit(X)


# Parameters that don't change what is learnt.
NO_WIRE = {
    "verbose",  # shows progress
    "device",  # the tests have one
    "checkpoint",  # the fit is the same with it: test_training.py
    "memory_limit",  # of data on disk: test_data_larger_than_the_memory_limit
    "num_workers",  # processes that read: test_streaming.py
    "n_jobs",  # the fit is the same with it: test_n_jobs.py
}


# Other values where they can't be made of the constraints: functions of the samples.
def next_ones(X, n_neighbors):
    """Return neighbours that are the next ones in the order of the samples."""
    return (np.arange(len(X))[:, None] + np.arange(1, n_neighbors + 1)) % len(X)


OTHERS = {
    "hidden_sizes": lambda X: (16, 12),
    "image_shape": lambda X: (8, 8),
    "network": lambda X: LinearEncoder,
    "decoder": lambda X: LinearDecoder,
    "generator": lambda X: LinearDecoder,
    "optimizer": lambda X: torch.optim.SGD,
    "precision": lambda X: "bf16",  # "auto" is one of the two
    "callbacks": lambda X: [EndAtOnce()],
    "random_state": lambda X: 1,
    "autoencoder": small_autoencoder,
    "representation": small_simclr,
    "init": lambda X: "kmeans",  # "auto" is "random" for images
    "tol": lambda X: 1.0,
    "kmeans_n_init": lambda X: 30,
    "mixture_n_init": lambda X: 30,
    "manifold": lambda X: KernelPCA(2, kernel="rbf"),
    "feature_spaces": lambda X: (30, 34),
    "min_agreement": lambda X: 1,
    "min_connections": lambda X: 10,
    "neighbors": lambda X: next_ones,
}
# Where a parameter matters, if not with SMALLEST. "Estimator.parameter" goes before "parameter".
WHERE = {
    "screening": {"n_init": 2, "screening": 1.0},
    "consensus": {"n_init": 2},
    "upper": {"lower": 0.1},  # half of the upper default is below the lower one
    "tol": {"update_interval": 1},
    "kmeans_n_init": {"n_clusters": 12, "kmeans_n_init": 1},
    "mixture_n_init": {"n_clusters": 12, "mixture_n_init": 1},
    "min_agreement": {"n_models": 2, "min_connections": 1},
    "min_connections": {"n_models": 2},
    "MCDCClustering.kl_weight": {"base": "vae"},
    "MCDCClustering.tol": {"base": "idec", "update_interval": 1, "finetune_epochs": 2},
    "DEPICTClustering.tol": {"finetune_epochs": 3},
    "confident_only": {"threshold": 0.9},
    "SparseAutoencoderClustering.kmeans_n_init": {"n_clusters": 14, "kmeans_n_init": 1},
    "DGGClustering.n_candidates": {"n_candidates": 8},
    "IMSATClustering.image_shape": {"network": ShapedEncoder},
    "SCANClustering.scaling": {"representation": "precomputed"},
    "TEMIClustering.n_neighbors": {"n_neighbors": 5},
    "TEMIClustering.image_shape": {"network": ShapedEncoder},
    "TURTLEClustering.image_shape": {"network": ShapedEncoder},
    "RIMClustering.image_shape": {"network": ShapedEncoder, "init": "random"},
}
OWN = {"network": None, "decoder": None}  # the method's own, where they are what a parameter is of
WHERE |= {
    name: OWN
    for name in (
        *OWN, "hidden_sizes", "latent_size", "image_shape", "scaling", "n_st_layers",
        "DEPICTClustering.layer_weight", "DEPICTClustering.dropout", "SWWAEClustering.layer_weight",
    )
}  # fmt: skip
IDEC = ["clustering_weight", "finetune_epochs", "finetune_lr", "update_interval", "autoencoder"]
WHERE |= {f"MCDCClustering.{name}": {"base": "idec"} for name in IDEC}
FLAT = {"hidden_sizes", "image_shape", "scaling"}  # matter with samples that are flat


def setting(Estimator, name):
    where = WHERE.get(f"{Estimator.__name__}.{name}", WHERE.get(name, {}))
    return known_of(Estimator, {**SMALLEST, **where})


def another_number(interval, value):
    """Return a number of the interval that is not the value."""
    if isinstance(value, int | float):
        candidates = [value + 1, value - 1] if interval.type is Integral else [2 * value, value / 2]
    else:
        candidates = []
    candidates += [2, 1] if interval.type is Integral else [0.5, 1.0]
    return next(c for c in candidates if interval.is_satisfied_by(c) and c != value)


def other_values(Estimator, name, value, X):
    """Return other valid values of a parameter: one, or all options."""
    if name in OTHERS:
        return [OTHERS[name](X)]
    constraints = Estimator._parameter_constraints[name]
    if "boolean" in constraints:
        return [not value]
    intervals = [c for c in constraints if isinstance(c, Interval)]
    if intervals:
        return [another_number(intervals[0], value)]
    values = {o for c in constraints if isinstance(c, StrOptions) for o in c.options}
    values |= {None} & set(constraints)
    return sorted(values - {value}, key=str)


def learnt(estimator, X):
    """Return a hash of all that a fit leaves behind, but times."""
    fitted = estimator.fit(X)
    rows = [(row["phase"], row["train_loss"]) for row in fitted.history_]
    runs = [(run["n_epochs"], run["selected"]) for run in getattr(fitted, "restarts_", [])]
    state = [(name, value.numpy()) for name, value in fitted.network_.state_dict().items()]
    # what comes of it: of what is no tensor, such as a mixture, nothing else is seen
    found = [getattr(fitted, name, None) for name in ("labels_", "merge_tree_", "outlier_scores_")]
    return joblib.hash([rows, runs, state, found])


@pytest.fixture
def short_slices(monkeypatch):
    """Few samples are not filled up to 128 in each pass."""
    monkeypatch.setattr(inference, "CPU_SLICE", 40)


@pytest.fixture(scope="module")
def baseline(images):
    """What fits learn, each trained once."""
    known = {}

    def get(Estimator, parameters, X):
        key = (Estimator, str(parameters), X.ndim)
        if key not in known:
            known[key] = learnt(smallest(Estimator, parameters), X)
        return known[key]

    return get


@pytest.mark.usefixtures("short_slices")
@every_estimator
def test_same_parameters_same_fit(Estimator, images, baseline):
    """Without that, the next test would say nothing."""
    parameters = setting(Estimator, None)
    again = learnt(smallest(Estimator, parameters), images[:40])
    assert again == baseline(Estimator, parameters, images[:40])


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize(
    ("Estimator", "name"),
    [
        pytest.param(Estimator, name, id=f"{Estimator.__name__}-{name}")
        for Estimator in ESTIMATORS
        for name in inspect.signature(Estimator).parameters
        if name not in NO_WIRE
    ],
)
def test_every_parameter_changes_the_fit(Estimator, name, images, baseline):
    X = images[:40].reshape(40, 64) if name in FLAT else images[:40]
    parameters = setting(Estimator, name)
    before = baseline(Estimator, parameters, X)
    values = other_values(Estimator, name, getattr(smallest(Estimator, parameters), name), X)
    assert values, f"name another value of {name} in OTHERS"
    for value in values:
        other = smallest(Estimator, parameters).set_params(**{name: value})
        assert learnt(other, X) != before, f"{name}={value}"


# Settings that change the phases; an estimator takes those of whose first parameter it has.
def outputs(model, X):
    """Return a hash of all that a fitted estimator says of samples."""
    names = ("predict", "predict_proba", "transform", "score_samples", "score", "inverse_transform")
    arguments = {"inverse_transform": model.transform(X)}
    return joblib.hash([getattr(model, n)(arguments.get(n, X)) for n in names if hasattr(model, n)])


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("is_flat", [False, True])
@every_estimator
def test_parameters_that_are_set_later_are_of_the_next_fit(Estimator, is_flat, images):
    X = images[:40].reshape(40, -1) if is_flat else images[:40]
    model = fast(Estimator, **known_of(Estimator, SMALLEST)).fit(X)
    before = outputs(model, X)
    for name, value in model.get_params(deep=False).items():
        others = [] if name == "checkpoint" else other_values(Estimator, name, value, X)
        for other in others:
            assert outputs(model.set_params(**{name: other}), X) == before, (name, other)
        model.set_params(**{name: value})


PLANS = [
    {},
    {"max_epochs": 3},
    {"base": "vae"},
    {"base": "idec"},
    {"autoencoder": small_autoencoder, "base": "idec"},
    {"representation": small_simclr},
    {"self_label_epochs": 0},
    {"n_rounds": 1},
    {"n_rounds": 3, "self_label_epochs": 0},
    {"n_models": 2},
    {"n_models": 2, "representation": small_simclr},
    {"init": "kmeans"},
    {"alternation": 1},
    {"siamese_epochs": 2},
    {"n_init": 2, "screening": 0.5},
    {"consensus": False, "n_init": 2, "init": "kmeans"},
]


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize(
    ("Estimator", "plan"),
    [
        pytest.param(Estimator, plan, id=f"{Estimator.__name__}-{'-'.join(plan)}")
        for Estimator in ESTIMATORS
        for plan in PLANS
        if not plan or next(iter(plan)) in inspect.signature(Estimator).parameters
    ],
)
def test_as_many_epochs_as_planned(Estimator, plan, images):
    X = images[:40]
    plan = {k: v(X) if callable(v) else v for k, v in known_of(Estimator, plan).items()}
    fitted = smallest(Estimator, {**setting(Estimator, None), **plan}).fit(X)
    # the consensus comes on top
    phases = [row["phase"] for row in fitted.history_ if row["phase"] != "consensus"]
    assert len(phases) == fitted._planned_epochs(40)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize(
    ("Estimator", "plan"),
    [
        pytest.param(Estimator, plan, id=f"{Estimator.__name__}-{'-'.join(plan)}")
        for Estimator in ESTIMATORS
        for plan in ({}, {"base": "idec"}, {"consensus": True, "n_init": 2})
        if not plan or next(iter(plan)) in inspect.signature(Estimator).parameters
    ],
)
def test_phases_are_trained_with_what_is_given(Estimator, plan, images):
    """One wire of a parameter is enough for the tests above: here is each phase's."""

    class Watch(Callback):
        seen = []

        def on_train_begin(self, net, **kwargs):
            self.seen.append((net.phase.name, net.lr, net.batch_size, type(net.optimizer_)))

    given = {"lr": {}, "batch_size": {}, "optimizer": {}}
    for name in inspect.signature(Estimator).parameters:
        kind = next((kind for kind in given if name.endswith(kind)), None)
        if kind is not None:
            number = len(given[kind]) + 1
            value = {"lr": 1.3e-4 * number, "batch_size": 10 + number}.get(kind)
            given[kind][name] = value or type(f"Optimizer{number}", (torch.optim.SGD,), {})
    values = {name: value for kind in given.values() for name, value in kind.items()}
    parameters = {**setting(Estimator, None), **plan, **values, "callbacks": [Watch()]}
    part = {"lr": 7.7e-4, "batch_size": 13, "optimizer": type("OfPart", (torch.optim.SGD,), {})}
    for kind, value in part.items():
        given[kind]["of the part"] = value
    with_part(Estimator, parameters, {**OF_PART, **part}).fit(images[:40])
    assert Watch.seen
    if issubclass(Estimator, BasePretrainThenCluster | skdeepclust.SCANClustering):
        assert Watch.seen[0][1:] == tuple(part.values())
    for name, *used in Watch.seen:
        for (kind, allowed), value in zip(given.items(), used, strict=True):
            assert value in allowed.values(), f"{kind} of phase {name!r}"
