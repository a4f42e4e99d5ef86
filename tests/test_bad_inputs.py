"""Odd inputs and parameters: a clear error, or a result as good as any other."""

import contextlib
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_common import fast
from tqdm import tqdm

from benchmarks.drills import bad_inputs as drill
from skdeepclust import (
    AutoencoderClustering,
    CatGANClustering,
    FeatureExtractor,
    IMSATClustering,
    SimCLR,
    TEMIClustering,
    TURTLEClustering,
    VAEClustering,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
    "ignore:X has values from:UserWarning",
)


@pytest.mark.parametrize("kind", drill.KINDS)
def test_odd_inputs(kind, tmp_path, monkeypatch):
    """A few examples of the drill in benchmarks/results/bad_inputs.md."""
    monkeypatch.chdir(tmp_path)

    @settings(
        max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def check(data):
        def choose(values):
            return data.draw(st.sampled_from(list(values)))

        what, run = drill.example(kind, choose)
        result, message = drill.outcome(run)
        for path in tmp_path.iterdir():  # checkpoints
            path.unlink()
        assert result in drill.FINE, f"{what}: {result}: {message}"

    check()


# ---------------------------------------------------------------------- samples


def masked(X):
    return np.ma.MaskedArray(X, X == 0)


X = np.random.default_rng(0).normal(size=(20, 5)).round(1)
DATES = np.arange(100).reshape(20, 5).astype("datetime64[D]")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (masked(X.round()), "X has values that are masked"),
        ([masked(x.round()) for x in X], "X has values that are masked"),
        (drill.Listed([masked(x.round()) for x in X]), "X has values that are masked"),
        (DATES, "X must hold numbers; got datetime64"),
        (DATES - DATES[0], "X must hold numbers; got timedelta64"),
        (pd.DataFrame(DATES), "X must hold numbers; got datetime64"),
        (drill.Listed(DATES), "X must hold numbers; got datetime64"),
        (torch.ones(20, 5, device="meta"), "X must be a dense tensor; got .* on meta"),
        (drill.Listed(torch.ones(20, 5, device="meta")), "X must be a dense tensor"),
        (pd.DataFrame(X).iloc[:, :0], r"X has 0 feature\(s\)"),
        (np.ones((20, 8, 8, 7)), "X: images must be at least 8x8"),
        (
            drill.Listed([X[0].astype(int)] * 19 + [X[1]]),
            "X must hold samples of one type; got int",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_samples_that_are_refused(samples, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fast(TEMIClustering).fit(samples)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantised_tensors_are_refused():
    X = torch.quantize_per_tensor(torch.ones(20, 5), 0.1, 0, torch.qint8)
    with pytest.raises(ValueError, match=r"X must be a dense tensor; got .* torch.qint8"):
        fast(TEMIClustering).fit(X)


@pytest.mark.parametrize(
    "samples",
    [
        memoryview(X),
        drill.Listed(X.astype(">f8")),
        drill.Listed(X.astype(np.longdouble)),
        drill.Listed(X.astype(object)),
        drill.Listed(X.astype(str)),
        np.ma.MaskedArray(X, X > 100),
    ],
    ids=["memoryview", "bytes", "longdouble", "object", "str", "mask"],
)
def test_samples_that_are_taken_as_the_numbers_that_they_are(samples):
    expected = fast(TEMIClustering).fit(X).predict_proba(X)
    np.testing.assert_array_equal(fast(TEMIClustering).fit(samples).predict_proba(X), expected)


def test_tables_of_another_order_of_bytes():
    X = np.arange(40.0).reshape(20, 2).astype(">f2")
    model = fast(TEMIClustering).fit(X.astype(float))
    np.testing.assert_array_equal(model.predict(pd.DataFrame(X)), model.labels_)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "transform", "score", "score_samples"]
)
def test_samples_too_far_away_to_predict(method, images):
    model = fast(AutoencoderClustering).fit(images)
    with pytest.raises(ValueError, match="X has values so far from those of the fit, which were"):
        getattr(model, method)(images * 1e300)


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("Estimator", "parameters", "message"),
    [
        (TEMIClustering, {"n_clusters": True}, "'n_clusters' parameter"),
        (TEMIClustering, {"n_heads": True}, "'n_heads' parameter"),
        (TEMIClustering, {"device": "meta"}, "device must be 'auto' or a device"),
        (TEMIClustering, {"image_shape": np.array(8)}, "image_shape must be"),
        (TURTLEClustering, {"feature_spaces": np.array(5)}, "feature_spaces must be"),
        (AutoencoderClustering, {"hidden_sizes": np.array(5)}, "hidden_sizes must hold"),
        (TEMIClustering, {"optimizer": len}, "optimizer=.* can't train parameters"),
        (TEMIClustering, {"optimizer": lambda p, lr: None}, "optimizer must make an optimiser"),
        (
            SimCLR,
            {"optimizer": partial(torch.optim.Adam, kittens=3)},
            "optimizer=.* can't train.*kittens",
        ),
        (SimCLR, {"network": len}, "network=.*it must be a torch.nn.Module or make one; got 1"),
        (SimCLR, {"network": torch.nn.Linear}, "network=.* does not take samples of shape"),
        (AutoencoderClustering, {"decoder": torch.nn.Flatten}, "decoder=.* does not make samples"),
        (AutoencoderClustering, {"decoder": print}, "decoder=.* does not make samples"),
        (CatGANClustering, {"generator": print}, "generator=.* does not make samples"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_parameters_that_are_refused(Estimator, parameters, message, capsys):
    with pytest.raises(ValueError, match=message):
        fast(Estimator, **parameters).fit(X)


def test_sizes_of_images_that_are_refused(images):
    with pytest.raises(ValueError, match="image_size must be a side"):
        FeatureExtractor(torch.nn.Flatten(), image_size=np.array(8)).fit(images)


def test_weights_beyond_torchs_integers(images):
    with contextlib.suppress(FloatingPointError):
        fast(VAEClustering, kl_weight=2**63).fit(images)


@pytest.mark.parametrize("Estimator", [SimCLR, IMSATClustering])
def test_last_steps_that_are_too_large(Estimator, images):
    """The loss was finite before, so that only the weights tell."""
    model = fast(Estimator, lr=1e300, batch_size=len(images), optimizer=torch.optim.SGD)
    with pytest.raises(FloatingPointError, match=r"no longer finite after .*lr=1e\+300"):
        model.fit(images)


# ---------------------------------------------------------------------- other processes


def test_bars_share_no_lock_with_other_processes(images, monkeypatch):
    """A process that is killed while it has the lock would stop all others."""

    class Held:
        def __enter__(self):
            raise RuntimeError("it would wait forever")

    monkeypatch.setattr(tqdm, "_lock", Held(), raising=False)
    fast(TEMIClustering).fit(images)
    FeatureExtractor(torch.nn.Conv2d(1, 2, 3), mean=0, std=1).transform(images)
