"""Clustering accuracy against a brute force twin, and its scorer inside scikit-learn."""

import os
import pickle
import subprocess
import sys
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdeepclust._sklearn import register_scorer
from skdeepclust.metrics import (
    clustering_accuracy_score,
    clustering_accuracy_scorer,
)

NAME = "clustering_accuracy"


def brute_force_accuracy(y_true, y_pred):
    """Try every way to give each cluster a class of its own, or none."""
    classes, clusters = sorted(set(y_true)), sorted(set(y_pred))
    names = classes + [None] * len(clusters)
    best = 0
    for chosen in permutations(names, len(clusters)):
        name_of = dict(zip(clusters, chosen, strict=True))
        hits = sum(name_of[p] == t for t, p in zip(y_true, y_pred, strict=True))
        best = max(best, hits)
    return best / len(y_true)


@pytest.fixture
def blobs():
    return make_blobs(n_samples=90, centers=[[-9, 0], [0, 9], [9, 0]], random_state=0)


def test_accuracy_of_tensors_where_arrays_are_dispatched():
    pytest.importorskip("sklearn.externals.array_api_compat")  # since scikit-learn 1.7
    code = """
import sklearn, torch
from skdeepclust.metrics import clustering_accuracy_score
with sklearn.config_context(array_api_dispatch=True):
    print(clustering_accuracy_score(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 2])))
"""
    command = [sys.executable, "-c", code]
    env = {**os.environ, "SCIPY_ARRAY_API": "1"}  # before scipy is imported
    assert subprocess.run(command, check=True, capture_output=True, env=env).stdout == b"0.75\n"


@pytest.mark.parametrize("n_classes", [1, 2, 3, 4])
@pytest.mark.parametrize("n_clusters", [1, 2, 3, 4])
def test_accuracy_equals_brute_force(n_classes, n_clusters):
    rng = np.random.default_rng(10 * n_classes + n_clusters)
    for n_samples in (1, 2, 5, 30):
        y_true = rng.integers(n_classes, size=n_samples).tolist()
        y_pred = rng.integers(n_clusters, size=n_samples).tolist()
        assert clustering_accuracy_score(y_true, y_pred) == brute_force_accuracy(y_true, y_pred)


def test_accuracy_beats_greedy_matching():
    # Giving the largest cell (0, 0) its match first would leave 4 + 0 of 10 right.
    y_true = [0] * 7 + [1] * 3
    y_pred = [0] * 4 + [1] * 3 + [0] * 3
    assert clustering_accuracy_score(y_true, y_pred) == 0.6


@pytest.mark.parametrize(
    "y_pred",
    [
        [5, 5, -1, -1, 9],
        ["b", "b", "a", "a", "z"],
        np.array(["b", "b", "a", "a", "z"], dtype=object),
        np.array([5, 5, -1, -1, 9], dtype=np.int8),
        pd.Series([5, 5, -1, -1, 9], index=list("vwxyz")),
        [1.0, 1.0, 3.0, 3.0, 2.0],
        (0, 0, 2**40, 2**40, 1),
    ],
    ids=["int", "str", "object", "int8", "series", "whole-float", "tuple"],
)
@pytest.mark.parametrize("y_true", [[0, 0, 1, 1, 2], ["c", "c", "d", "d", "e"]])
def test_only_the_partition_counts(y_true, y_pred):
    assert clustering_accuracy_score(y_true, y_pred) == 1.0
    assert clustering_accuracy_score(y_pred, y_true) == 1.0


def test_unequal_numbers_of_classes_and_clusters():
    y_true = [0, 0, 0, 1, 1, 1]
    assert clustering_accuracy_score(y_true, [0, 0, 0, 0, 0, 0]) == 0.5
    assert clustering_accuracy_score(y_true, [0, 1, 2, 3, 4, 5]) == 2 / 6
    assert clustering_accuracy_score(y_true, [0, 0, 2, 1, 1, -1]) == 4 / 6


def test_accuracy_is_symmetric_and_a_float():
    rng = np.random.default_rng(0)
    a, b = rng.integers(5, size=(2, 100))
    score = clustering_accuracy_score(a, b)
    assert type(score) is float
    assert 0 < score <= 1
    assert score == clustering_accuracy_score(b, a)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([], [], "y_true and y_pred are empty"),
        ([0, 1, 1], [0, 1], r"inconsistent numbers of samples: \[3, 2\]"),
        ([0, 1], [], r"inconsistent numbers of samples: \[2, 0\]"),
        ([[0], [1]], [0, 1], r"must be 1D: shape is \(2, 1\)"),
        ([0, 1], [[0], [1]], r"must be 1D: shape is \(2, 1\)"),
        ([0.0, np.nan], [0, 1], "NaN"),
    ],
)
def test_bad_labels(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        clustering_accuracy_score(y_true, y_pred)


def test_continuous_labels_warn_as_in_sklearn():
    with pytest.warns(UserWarning, match="discrete values"):
        clustering_accuracy_score([0.5, 1.5], [0, 1])


def test_scorer_calls_predict(blobs):
    X, y = blobs
    model = KMeans(3, n_init=3, random_state=0).fit(X)
    assert clustering_accuracy_scorer(model, X, y) == 1.0
    assert clustering_accuracy_scorer(model, X, np.roll(y, 7)) == clustering_accuracy_score(
        np.roll(y, 7), model.predict(X)
    )
    pipeline = make_pipeline(StandardScaler(), clone(model)).fit(X)
    assert clustering_accuracy_scorer(pipeline, X, y) == 1.0


def test_scorer_needs_predict(blobs):
    X, y = blobs
    with pytest.raises(AttributeError, match="predict"):
        clustering_accuracy_scorer(AgglomerativeClustering(3).fit(X), X, y)


def test_scorer_survives_pickle(blobs):
    X, y = blobs
    model = KMeans(3, n_init=3, random_state=0).fit(X)
    assert pickle.loads(pickle.dumps(clustering_accuracy_scorer))(model, X, y) == 1.0


@pytest.mark.parametrize("scoring", [NAME, clustering_accuracy_scorer], ids=["name", "object"])
def test_scoring_of_searches(blobs, scoring):
    X, y = blobs
    model = KMeans(n_init=3, random_state=0)
    settings = {"scoring": scoring, "cv": 3, "error_score": "raise"}
    grid = GridSearchCV(model, {"n_clusters": [2, 3, 5]}, **settings).fit(X, y)
    assert grid.best_params_ == {"n_clusters": 3}
    assert grid.best_score_ == 1.0
    assert grid.score(X, y) == 1.0
    space = {"n_clusters": [2, 3]}
    search = RandomizedSearchCV(model, space, n_iter=2, random_state=0, **settings).fit(X, y)
    assert search.best_params_ == {"n_clusters": 3}


@pytest.mark.parametrize("scoring", [NAME, clustering_accuracy_scorer], ids=["name", "object"])
def test_scoring_of_validation_functions(blobs, scoring):
    X, y = blobs
    model = KMeans(3, n_init=3, random_state=0)
    settings = {"scoring": scoring, "cv": 3}
    scores = cross_val_score(model, X, y, error_score="raise", **settings)
    np.testing.assert_array_equal(scores, 1.0)
    scores = cross_validate(model, X, y, error_score="raise", **settings)
    np.testing.assert_array_equal(scores["test_score"], 1.0)
    _, _, scores = learning_curve(model, X, y, train_sizes=[0.5, 1.0], **settings)
    np.testing.assert_array_equal(scores, 1.0)
    _, scores = validation_curve(
        model, X, y, param_name="n_clusters", param_range=[2, 3], **settings
    )
    assert scores[0].max() < 1
    np.testing.assert_array_equal(scores[1], 1.0)
    score, _, _ = permutation_test_score(model, X, y, n_permutations=2, **settings)
    assert score == 1.0
    assert check_scoring(model, scoring)(model.fit(X), X, y) == 1.0


def test_name_among_several(blobs):
    X, y = blobs
    grid = GridSearchCV(
        KMeans(n_init=3, random_state=0),
        {"n_clusters": [2, 3]},
        scoring=[NAME, "adjusted_rand_score"],
        refit=NAME,
        cv=3,
        error_score="raise",
    ).fit(X, y)
    assert grid.best_params_ == {"n_clusters": 3}
    assert grid.cv_results_[f"mean_test_{NAME}"].max() == 1.0


def test_name_is_registered_and_other_names_still_fail(blobs):
    X, y = blobs
    assert NAME in get_scorer_names()
    assert get_scorer(NAME)._score_func is clustering_accuracy_score
    with pytest.raises(ValueError, match="'scoring' parameter of cross_val_score"):
        cross_val_score(KMeans(3), X, y, scoring="no_such_scorer")


def test_name_of_someone_else_is_kept():
    register_scorer("accuracy", clustering_accuracy_scorer)
    assert get_scorer("accuracy")._score_func is not clustering_accuracy_score


def test_registering_is_given_up_without_the_private_registry(monkeypatch):
    with monkeypatch.context() as without:
        without.delattr(sklearn.metrics._scorer, "_SCORERS")
        register_scorer("some_name", clustering_accuracy_scorer)
    assert "some_name" not in sklearn.metrics.get_scorer_names()


@pytest.mark.parametrize("first", ["skdeepclust.metrics", "sklearn.model_selection"])
def test_name_whatever_is_imported_first(first):
    # The halving searches are the ones that are imported late, and that check names on their own.
    code = f"""
import {first}
from sklearn.experimental import enable_halving_search_cv
from sklearn.model_selection import HalvingGridSearchCV
import skdeepclust.metrics
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

X, y = make_blobs(90, centers=[[-9, 0], [0, 9], [9, 0]], random_state=0)
search = HalvingGridSearchCV(
    KMeans(n_init=3, random_state=0), {{"n_clusters": [2, 3]}},
    scoring={NAME!r}, cv=2, min_resources=30, error_score="raise",
)
print(search.fit(X, y).best_params_)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'n_clusters': 3}"
