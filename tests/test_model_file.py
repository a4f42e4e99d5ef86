"""Model files: what comes back, what has to be given, and what damaged and forged files do.

That every estimator comes back is in test_common.py, where fitted ones are.
"""

import json
import pickle
import random
import sys
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import KernelPCA
from sklearn.frozen import FrozenEstimator
from sklearn.manifold import Isomap
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import Bunch
from skorch.callbacks import EarlyStopping
from test_common import FAST, LinearDecoder, LinearEncoder, fast

import skdeepclust
from benchmarks.drills import model_files as drill
from skdeepclust.augment import RandomAffine, RandomNoise

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:No sample is confident:sklearn.exceptions.ConvergenceWarning",
)
SHORT = {"max_epochs": 1, "random_state": 0}
DENSE = {"kmeans_n_init": 2, "hidden_sizes": (16, 8), **FAST}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skdc"


def autoencoder(**parameters):
    return skdeepclust.AutoencoderClustering(**{**DENSE, **parameters})


def kept(estimator, path, **given):
    skdeepclust.save(estimator, path)
    return skdeepclust.load(path, **given)


def check_same(again, estimator, X):
    assert type(again) is type(estimator)
    np.testing.assert_array_equal(again.transform(X), estimator.transform(X))
    if hasattr(estimator, "labels_"):
        np.testing.assert_array_equal(again.predict_proba(X), estimator.predict_proba(X))
        np.testing.assert_array_equal(again.labels_, estimator.labels_)
    assert again.history_[:, "train_loss"] == estimator.history_[:, "train_loss"]
    assert set(vars(again)) == set(vars(estimator))
    for name, value in estimator.network_.state_dict().items():
        assert torch.equal(again.network_.state_dict()[name], value)


def test_keys_that_look_alike(path):
    estimator = skdeepclust.DeepClustering(3)
    estimator.arrays_ = {1: np.arange(3), "1": np.arange(4.0), "f": np.ones((3, 2), order="F")}
    estimator.arrays_["same"] = estimator.arrays_[1]
    again = kept(estimator, path)
    for key, value in estimator.arrays_.items():
        np.testing.assert_array_equal(again.arrays_[key], value, strict=True)
        assert again.arrays_[key].strides == value.strides


@pytest.mark.parametrize("Estimator", [skdeepclust.SimCLR, skdeepclust.DCGANFeatures])
def test_transformers(Estimator, images, path):
    fitted = fast(Estimator).fit(images)
    check_same(kept(fitted, path), fitted, images)


def test_another_fit_after_loading_is_the_same(images, path):
    """So that parameters, and not the fitted attributes alone, come back."""
    fitted = skdeepclust.DeepClustering(
        **{**FAST, "random_state": np.random.RandomState(3)},
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        augmentation=RandomAffine(rotation=5),
        network=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7), torch.nn.ReLU()),
    ).fit(images)
    again = kept(fitted, path)
    assert again.optimizer.func is torch.optim.SGD
    assert again.augmentation.rotation == 5
    check_same(again, fitted, images)
    check_same(clone(again).fit(images), clone(fitted).fit(images), images)


@pytest.mark.filterwarnings("ignore:.*was trained without a critic")
def test_estimators_among_the_parameters(images, path):
    X = images.reshape(200, 64)
    given = autoencoder().fit(X)
    frozen = FrozenEstimator(given)
    fitted = skdeepclust.MCDCClustering(**DENSE, base="idec", autoencoder=frozen).fit(X)
    again = kept(fitted, path)
    check_same(again, fitted, X)
    check_same(again.autoencoder.estimator, given, X)


def test_shared_parts_stay_shared(images, path):
    """Of SCAN's network, whose encoder may be the representation's own."""
    simclr = skdeepclust.SimCLR(**SHORT).fit(images)
    fitted = fast(
        skdeepclust.ProFeatClustering, representation=simclr, n_models=2, separate_embedding=False
    ).fit(images)
    again = kept(fitted, path)
    check_same(again, fitted, images)
    assert fitted.network_.encoder is fitted.network_.representation.encoder
    assert again.network_.encoder is again.network_.representation.encoder
    check_same(again.representation, simclr, images)


def test_autoencoders_decode_and_generators_draw(images, path):
    vae = skdeepclust.VAEClustering(**DENSE).fit(images)
    again = kept(vae, path)
    np.testing.assert_array_equal(again.sample(3, random_state=0), vae.sample(3, random_state=0))
    infogan = fast(skdeepclust.InfoGANClustering).fit(images)
    one = {"cluster": 1, "random_state": 0}
    np.testing.assert_array_equal(kept(infogan, path).sample(3, **one), infogan.sample(3, **one))


def test_names_of_columns_and_set_output(images, path):
    X = pd.DataFrame(images.reshape(200, 64)).add_prefix("pixel ")
    fitted = skdeepclust.DeepClustering(**FAST).set_output(transform="pandas").fit(X)
    again = kept(fitted, path)
    assert list(again.feature_names_in_) == list(X.columns)
    pd.testing.assert_frame_equal(again.transform(X), fitted.transform(X))
    with pytest.raises(ValueError, match="feature names"):
        again.predict(X[X.columns[::-1]])


def test_pipeline(images, path):
    X = images.reshape(200, 64)
    pipeline = make_pipeline(StandardScaler(), skdeepclust.DeepClustering(**FAST)).fit(X)
    again = kept(pipeline, path)
    np.testing.assert_array_equal(again.predict(X), pipeline.predict(X))
    deep = skdeepclust.DeepClustering(**FAST, network=Reversed)
    pipeline = make_pipeline(StandardScaler(), deep).fit(X)
    again = kept(pipeline, path, deepclustering__network=Reversed)
    np.testing.assert_array_equal(again.predict(X), pipeline.predict(X))


def test_estimators_in_several_places_stay_one(images, path):
    deep = skdeepclust.DeepClustering(**FAST).fit(images)
    pipeline = make_pipeline(deep)
    pipeline.named_ = Bunch(a=deep)
    again = kept(pipeline, path)
    assert again[0] is again.named_.a
    check_same(again[0], deep, images)

    forged(pipeline, path, lambda spec, t: spec["parameters"].update(verbose={"again": 0}))
    with pytest.raises(ValueError, match="an estimator is a part of itself"):
        skdeepclust.load(path)


def test_unfitted(path):
    estimator = skdeepclust.SCANClustering(4, representation=skdeepclust.SimCLR(lr=0.5))
    again = kept(estimator, path)
    assert again.n_clusters == 4 and again.representation.lr == 0.5
    assert not hasattr(again, "network_")


def test_manifold_learners(images, path):
    known = fast(skdeepclust.N2DClustering, manifold=KernelPCA(2, kernel="rbf")).fit(images)
    check_same(kept(known, path), known, images)
    other = fast(skdeepclust.N2DClustering, manifold=Isomap(n_components=2)).fit(images)
    with pytest.raises(ValueError, match=r"manifold must be given, for manifold was .*Isomap"):
        kept(other, path)
    check_same(kept(other, path, manifold=other.network_.head.manifold), other, images)


# ---------------------------------------------------------------------- what has to be given


class Reversed(torch.nn.Module):
    """With something that is no tensor, and that no file can hold."""

    def __init__(self, input_shape):
        super().__init__()
        self.layer = torch.nn.Linear(int(np.prod(input_shape)), 8)
        self.function = lambda x: x.flip(1)

    def forward(self, x):
        return self.layer(self.function(x.flatten(1)))


def make_encoder(input_shape):
    return Reversed(input_shape)


@pytest.mark.parametrize(
    "network",
    [Reversed, Reversed((1, 8, 8)), make_encoder],
    ids=["class", "module", "function"],
)
def test_networks_of_ones_own(network, images, path):
    fitted = fast(skdeepclust.DeepClustering, network=network).fit(images)
    skdeepclust.save(fitted, path)
    with pytest.raises(ValueError, match=r"network must be given, for network was .*load\(path, n"):
        skdeepclust.load(path)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    again = skdeepclust.load(path, network=network)
    assert torch.equal(torch.rand(2), expected)  # what made the network drew elsewhere
    check_same(again, fitted, images)
    assert again.network is network
    for wrong, message in [
        (LinearEncoder, "does not take the weights in the model file"),
        (None, "network must be what it was when the model was saved"),
    ]:
        with pytest.raises(ValueError, match=message):
            skdeepclust.load(path, network=wrong)
    with pytest.raises(ValueError, match="netwrk can't be given: the file asks for network"):
        skdeepclust.load(path, network=network, netwrk=network)


def test_names_of_pretrained_networks_are_given(path):
    """For what a stranger names would be downloaded."""
    extractor = skdeepclust.FeatureExtractor("timm:resnet18", out="features.npy")
    pipeline = make_pipeline(extractor, skdeepclust.DeepClustering(3))
    skdeepclust.save(pipeline, path)
    with pytest.raises(ValueError, match="featureextractor__network was 'timm:resnet18'"):
        skdeepclust.load(path)
    again = skdeepclust.load(path, featureextractor__network="timm:resnet18")
    assert again[0].network == "timm:resnet18" and again[0].out is None
    extractor._named = ("timm:resnet18", torch.nn.Linear(1, 1))  # as after a transform
    skdeepclust.save(pipeline, path)
    assert not hasattr(skdeepclust.load(path, featureextractor__network="timm:x")[0], "_named")
    for part, name, value in [
        ("parameters", "network", "timm:x"),
        ("parameters", "out", "a victim's.npy"),
        ("state", "network", "timm:x"),
        ("state", "_named", {"tuple": ["timm:resnet18", None]}),
    ]:
        forged(extractor, path, lambda spec, t: spec[part].update({name: value}))  # noqa: B023
        with pytest.raises(ValueError, match=f"FeatureExtractor.{name} is not for a file to set"):
            skdeepclust.load(path)


def test_pipelines_keep_no_cache(images, path, tmp_path):
    """Whose files joblib would unpickle."""
    pipeline = make_pipeline(fast(skdeepclust.DeepClustering), memory=str(tmp_path / "cache"))
    skdeepclust.save(pipeline.fit(images), path)
    assert skdeepclust.load(path).memory is None
    forged(pipeline, path, lambda spec, t: spec["parameters"].update(memory="a stranger's"))
    with pytest.raises(ValueError, match=r"Pipeline.memory is not for a file to set"):
        skdeepclust.load(path)


def test_mapped_arrays_and_numbers_that_json_has_not(images, fitted_models, path, tmp_path):
    joblib.dump(fitted_models[0], tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert isinstance(mapped.labels_, np.memmap)
    skdeepclust.save(mapped, path)
    np.testing.assert_array_equal(skdeepclust.load(path).labels_, mapped.labels_)
    estimator = fast(skdeepclust.DeepClustering, lr=np.longdouble(1e-3))
    with pytest.raises(ValueError, match="lr was"):
        skdeepclust.load(skdeepclust.save(estimator, path) or path)


def test_networks_of_ones_own_in_parts(images, path):
    simclr = skdeepclust.SimCLR(**SHORT, network=Reversed)
    fitted = fast(skdeepclust.SCANClustering, representation=simclr).fit(images)
    skdeepclust.save(fitted, path)
    with pytest.raises(ValueError, match="representation__network must be given"):
        skdeepclust.load(path)
    check_same(skdeepclust.load(path, representation__network=Reversed), fitted, images)


def test_decoders_and_generators_of_ones_own(images, path):
    parts = {"network": LinearEncoder, "decoder": LinearDecoder}
    fitted = autoencoder(**parts).fit(images)
    again = kept(fitted, path, **parts)
    check_same(again, fitted, images)
    Z = fitted.transform(images)
    np.testing.assert_array_equal(again.inverse_transform(Z), fitted.inverse_transform(Z))
    critic = fast(skdeepclust.ACAIClustering, network=LinearEncoder).fit(images)
    check_same(kept(critic, path, network=LinearEncoder), critic, images)
    binary = images > 8
    vae = fast(skdeepclust.VAEClustering, likelihood="bernoulli", decoder=LinearDecoder).fit(binary)
    again = kept(vae, path, decoder=LinearDecoder)
    np.testing.assert_array_equal(again.sample(3, random_state=0), vae.sample(3, random_state=0))
    gan = fast(skdeepclust.CatGANClustering, generator=LinearDecoder).fit(images)
    again = kept(gan, path, generator=LinearDecoder)
    np.testing.assert_array_equal(again.sample(3, random_state=0), gan.sample(3, random_state=0))


def test_functions_and_callbacks_are_given(images, path):
    def augmentation(x):
        return x + 0.1

    stop = EarlyStopping(monitor="train_loss")
    fitted = skdeepclust.DeepClustering(**FAST, augmentation=augmentation, callbacks=[stop])
    fitted.fit(images)
    skdeepclust.save(fitted, path)
    with pytest.raises(ValueError, match=r"callbacks.*was skorch.callbacks.*EarlyStopping") as info:
        skdeepclust.load(path)
    assert "augmentation was test_model_file." in str(info.value)
    check_same(skdeepclust.load(path, augmentation=None, callbacks=None), fitted, images)
    with pytest.raises(ValueError, match=r"'augmentation' parameter .* Got 3"):
        skdeepclust.load(path, augmentation=3, callbacks=None)
    fitted = skdeepclust.DeepClustering(**FAST, optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr))
    fitted.fit(images)
    check_same(kept(fitted, path, optimizer=None), fitted, images)
    with pytest.raises(ValueError, match=r"skdc': The 'optimizer' parameter .* Got 3"):
        skdeepclust.load(path, optimizer=3)
    fitted = skdeepclust.DeepClustering(**FAST, augmentation=RandomNoise()).fit(images)
    with pytest.raises(ValueError, match="augmentation can't be given: the file has all"):
        kept(fitted, path, augmentation=None)


def test_members_of_a_consensus_ask_by_their_names(images, path):
    X = images.reshape(200, 64) / 1.0

    class Other(LinearEncoder):
        pass

    members = [
        ("a", fast(skdeepclust.IMSATClustering, network=LinearEncoder)),
        ("left out", "drop"),
        ("b", fast(skdeepclust.IMSATClustering, network=Other)),
    ]
    fitted = skdeepclust.ConsensusClustering(members, random_state=0).fit(X)
    skdeepclust.save(fitted, path)
    with pytest.raises(ValueError, match="a__network, b__network must be given"):
        skdeepclust.load(path)
    again = skdeepclust.load(path, a__network=LinearEncoder, b__network=Other)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert [member.network for member in again.estimators_] == [LinearEncoder, Other]
    assert again.named_estimators_["b"] is again.estimators_[1]


def test_what_can_not_be_saved(images, path):
    class Own(skdeepclust.DeepClustering):
        pass

    fitted = skdeepclust.DeepClustering(**FAST).fit(images)
    fitted.network_.head.note = object()
    noted = skdeepclust.DeepClustering(**FAST)
    noted.note_ = {"a": [1, {1, 2}]}
    hooked = skdeepclust.DeepClustering(**FAST).fit(images)
    hooked.network_.head.register_forward_hook(lambda *args: None)
    for estimator, message in [
        (Own(3), "The estimator is a .*Own, which a model file can't hold"),
        (fitted, "network_.head.note is a builtins.object"),
        (noted, r"note_\.a\.1 is a builtins.set"),
        (hooked, "network_.head, which has hooks, is a"),
        (skdeepclust.DeepClustering, "estimator must be an estimator"),
        (3, "estimator must be an estimator of skdeepclust; got 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            skdeepclust.save(estimator, path)
    assert list(path.parent.iterdir()) == []


# ---------------------------------------------------------------------- files


def test_the_users_home(images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    model = skdeepclust.VAEClustering(**DENSE).fit(images)
    skdeepclust.save(model, "~/model.skdc")
    assert (tmp_path / "model.skdc").exists()
    check_same(skdeepclust.load("~/model.skdc"), model, images)


def test_files(images, path, tmp_path):
    checkpoint = tmp_path / "run.ckpt"
    fitted = skdeepclust.DeepClustering(**FAST, checkpoint=str(checkpoint)).fit(images)
    torch.set_default_dtype(torch.float64)
    try:
        again = kept(fitted, path)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))
    assert again.checkpoint is None  # a path of a stranger's
    before = path.read_bytes()
    with pytest.raises(OSError, match="No such file"):
        skdeepclust.save(fitted, tmp_path / "no folder" / "model.skdc")
    with pytest.raises(OSError):
        skdeepclust.load(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        skdeepclust.load(tmp_path / "nothing.skdc")
    with pytest.raises(ValueError, match="is not a model file"):
        skdeepclust.load(checkpoint)
    assert path.read_bytes() == before
    # the loaded model doesn't change with the file
    expected = again.predict_proba(images)
    path.write_bytes(bytes(len(before)))
    np.testing.assert_array_equal(again.predict_proba(images), expected)


def test_safetensors_is_an_extra(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"skdeepclust\[model\]"):
        skdeepclust.save(skdeepclust.DeepClustering(3), path)


@pytest.fixture(scope="module")
def fitted_models(images):
    return [
        skdeepclust.DeepClustering(**FAST).fit(images),
        fast(skdeepclust.N2DClustering).fit(images),
    ]


def test_damaged_and_forged_files(fitted_models, images, tmp_path):
    """A part of the drill in benchmarks/results/model_files.md."""
    sys.addaudithook(drill._hook)  # is idle outside the drill
    drill.drill(fitted_models, images, 20, 1, tmp_path)  # imports what is imported late
    found = drill.drill(fitted_models, images, 60, 0, tmp_path)
    outcomes = {(kind.partition(":")[0], outcome) for kind, outcome, _ in found}
    assert outcomes >= {("damage", "ValueError"), ("forgery", "ValueError")}
    assert outcomes <= {(k, o) for k in ("damage", "forgery") for o in drill.FINE}
    assert ("damage", "a valid model") not in outcomes


def test_the_drill_sees_what_runs():
    class Attack:
        def __reduce__(self):
            return eval, ("__import__('this_is_no_module')",)

    data = pickle.dumps(Attack())
    sys.addaudithook(drill._hook)
    with drill.watching() as seen, pytest.raises(ModuleNotFoundError):
        pickle.loads(data)
    assert {"pickle.find_class", "exec", "import"} <= {event.split()[0] for event in seen}


def forged(model, path, change):
    """Write a model file with a change to its JSON, and the right checksum."""
    skdeepclust.save(model, path)
    document, tensors = drill.opened(path.read_bytes())
    change(document["model"]["estimator"][1], tensors)
    path.write_bytes(drill.closed(document, tensors))


def test_forged_parameters_and_facts(fitted_models, path):
    def set_to(part, name, value):
        return lambda spec, tensors: spec[part].update({name: value})

    for change, message in [
        (set_to("parameters", "n_clusters", "ten"), "'n_clusters' parameter .* Got 'ten'"),
        (set_to("state", "n_clusters_", 4), r"forward is not of shape \(2, 4\)"),
        (set_to("parameters", "n_kittens", 4), "no parameter n_kittens"),
        (set_to("parameters", "checkpoint", "/a/victim's"), "checkpoint is not for a file to set"),
        (set_to("state", "checkpoint", "/a/victim's"), "checkpoint is not for a file to set"),
        (set_to("state", "n_clusters", "junk"), "n_clusters is not for a file to set"),
        (set_to("parameters", "optimizer", {"class": "os.system"}), "KeyError: 'os.system'"),
        (set_to("state", "input_shape_", {"tuple": [1, 8, 9]}), "n_features_in_ don't suit"),
        (set_to("state", "input_shape_", {"tuple": [10**6, 8, 10**6]}), "don't suit"),
        (set_to("state", "input_scale_", 0.0), "input_scale_ is not valid"),
        (set_to("state", "history_", []), "history_ is not valid"),
        (set_to("state", "predict", "text"), "predict is not for a file to set"),
        (set_to("state", "__class__", "text"), "'__class__' is no name of an attribute"),
    ]:
        forged(fitted_models[0], path, change)
        with pytest.raises(ValueError, match=message):
            skdeepclust.load(path)


def test_forged_networks(fitted_models, path):
    def of_network(change):
        return lambda spec, tensors: change(spec["state"]["network_"]["module"][1], tensors)

    for change, message in [
        (lambda n, t: n["knows"].update(forward="text"), "forward is not for a file to set"),
        (lambda n, t: n["knows"].update(_forward_hooks={"dict": []}), "_forward_hooks is not val"),
        (lambda n, t: n["modules"].update(head=3), "head is not valid"),
        (lambda n, t: n["knows"].update(_compiled_call_impl=3), "_compiled_call_impl is not val"),
        (lambda n, t: n["knows"].update(activation={"class": "torch.nn.Linear"}), "holds a class"),
        (lambda n, t: n["modules"].update(head={"tuple": []}), "head is not valid"),
        (lambda n, t: t.clear(), "KeyError"),
    ]:
        forged(fitted_models[0], path, of_network(change))
        with pytest.raises(ValueError, match=message):
            skdeepclust.load(path)


def test_networks_that_make_very_much_of_little_are_not_tried(images, path):
    def wide(spec, tensors):
        for node, key in list(drill.places(spec)):
            if key == "padding" and isinstance(node[key], dict):
                node[key] = {"tuple": [10**5, 10**5]}

    network = skdeepclust.networks.SmallConvEncoder((1, 8, 8))
    forged(skdeepclust.DeepClustering(**FAST, network=network).fit(images), path, wide)
    with drill.limited_memory(2**28):
        again = skdeepclust.load(path)  # maps of 200,000 x 200,000 values
    assert again.network_.encoder[0].padding == (10**5, 10**5)


def test_all_that_a_file_holds_is_checked(fitted_models, path):
    """No byte of it may be another, but for the checksum's own fault."""
    skdeepclust.save(fitted_models[0], path)
    data, draw = path.read_bytes(), random.Random(0)
    places = [*range(0, 8), *(draw.randrange(8, len(data)) for _ in range(30)), len(data) - 1]
    for place in places:
        made = bytearray(data)
        made[place] ^= 1
        path.write_bytes(made)
        with pytest.raises(ValueError, match=r"is not a model file|is damaged"):
            skdeepclust.load(path)


def test_a_later_format(fitted_models, path, monkeypatch):
    monkeypatch.setattr("skdeepclust.model_file.FORMAT", "skdeepclust 2")
    skdeepclust.save(fitted_models[0], path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="of the format 'skdeepclust 2', where 'skdeepclust 1' is"):
        skdeepclust.load(path)


def test_other_programs_can_read_it(fitted_models, path):
    import safetensors

    skdeepclust.save(fitted_models[0], path)
    with safetensors.safe_open(path, "numpy") as file:
        document = json.loads(file.metadata()["document"])
        weights = file.get_tensor("network_.encoder.layers.0.weight")
    assert document["versions"]["torch"] == torch.__version__
    state = fitted_models[0].network_.state_dict()
    np.testing.assert_array_equal(weights, state["encoder.layers.0.weight"])


@pytest.mark.parametrize("scaler", [MinMaxScaler(), MaxAbsScaler(), RobustScaler(), Normalizer()])
def test_pipelines_with_scalers(path, digits, scaler):
    X = digits[0][:60].reshape(60, -1).astype(float)
    pipeline = make_pipeline(scaler, autoencoder(max_epochs=1)).fit(X)
    again = kept(pipeline, path)
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))


def test_what_was_fitted_is_not_left_out_without_a_word(path, digits):
    """A pipeline whose steps had to be given again would come back without its network."""
    X = digits[0][:60].reshape(60, -1).astype(float)
    pipeline = make_pipeline(FunctionTransformer(), autoencoder(max_epochs=1)).fit(X)
    with pytest.raises(ValueError, match=r"steps.*FunctionTransformer.*can't hold"):
        skdeepclust.save(pipeline, path)
    assert not path.exists()
