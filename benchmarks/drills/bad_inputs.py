"""Thousands of odd inputs and parameters: a clear error, or a result as good as any other.

    python -m benchmarks.drills.bad_inputs [--n-examples 3000] [--random-state 0]

Every estimator gets samples of any shape, type, layout and values to `fit`, and fitted ones to
`predict`, `predict_proba`, `transform`, `score` and `score_samples`; and its parameters get values
of any kind. An outcome is fine if it is a ValueError or TypeError that names the parameter or the
input, and leaves the estimator as it was; or labels in their range and finite probabilities, which
are the same as those of the same numbers in a plain array. What can't be meant, such as values that
are masked, has to be refused. `tests/test_bad_inputs.py` runs a few examples. Writes
benchmarks/results/bad_inputs.json and .md.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import os
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from sklearn.base import ClusterMixin, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import skdeepclust
from benchmarks.records import RESULTS, described, environment, save, table
from skdeepclust._sklearn import Interval
from skdeepclust.base import BaseDeepEstimator

FINE = ("error that names it", "valid result", "FloatingPointError")
Choose = Callable[[Sequence[Any]], Any]  # one of several, as random.choice does
N = 24  # samples

# ---------------------------------------------------------------------- estimators

SHORT = {
    "n_clusters": 3, "n_init": 1, "max_epochs": 1, "batch_size": 16, "random_state": 0,
    "hidden_sizes": (8, 4), "kmeans_n_init": 2, "finetune_epochs": 1, "label_epochs": 1,
    "siamese_epochs": 1, "refinement_epochs": 1, "self_label_epochs": 1, "n_rounds": 1, "tol": 0.0,
    "manifold": PCA(2), "mixture_n_init": 1, "confident_only": False,
}  # fmt: skip
SMALL_PARTS = {
    "autoencoder": skdeepclust.AutoencoderClustering(
        hidden_sizes=(8, 4), max_epochs=1, n_init=1, kmeans_n_init=2
    ),
    "representation": skdeepclust.SimCLR(max_epochs=1, batch_size=16),
}


def short(cls: type, **parameters: Any) -> Any:
    """Return an estimator that trains for a moment."""
    known = inspect.signature(cls).parameters
    parts = {} if hasattr(cls, "decoder") else SMALL_PARTS  # MCDC has both
    given = {**SHORT, **parts, **parameters}
    return cls(**{name: value for name, value in given.items() if name in known})


CLASSES = {
    name: cls
    for name in skdeepclust.__all__
    if isinstance(cls := getattr(skdeepclust, name), type) and issubclass(cls, BaseDeepEstimator)
}

# ---------------------------------------------------------------------- samples


def digits() -> np.ndarray:
    return load_digits().images[:N]


VALUES: dict[str, Callable[[], np.ndarray]] = {
    "digits": digits,
    "normal": lambda: np.random.default_rng(0).normal(size=(N, 8, 8)),
    "zeros": lambda: np.zeros((N, 8, 8)),
    "constant": lambda: np.full((N, 8, 8), 7.3),
    "constant samples": lambda: np.arange(N)[:, None, None] + np.zeros((N, 8, 8)),
    "constant columns": lambda: np.arange(64.0).reshape(8, 8) + np.zeros((N, 8, 8)),
    "two samples": lambda: digits()[[0, 1] * (N // 2)],
    "huge": lambda: digits() * 1e300,
    "beyond float32": lambda: digits() * 1e38,
    "tiny": lambda: digits() * 1e-300,
    "below float32": lambda: digits() * 1e-42,
    "far from zero": lambda: digits() + 1e9,
    "one far away": lambda: np.where(np.arange(N)[:, None, None] == 5, 1e12, digits()),
    "large integers": lambda: digits() + 2**53,
    "negative": lambda: -digits(),
    "nan": lambda: np.where(digits() == 16, np.nan, digits()),
    "inf": lambda: np.where(digits() == 16, np.inf, digits()),
    "-inf": lambda: np.where(digits() == 16, -np.inf, digits()),
}
PLAIN = "float64 float32 float16 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool longdouble"
DTYPES = [
    *PLAIN.split(), ">f8", ">f4", ">f2", ">i2", ">u8", "complex64", "object", "object with None",
    "object with text", "str", "words", "bytes", "datetime64[ms]", "NaT", "timedelta64[s]",
    "record",
]  # fmt: skip
LAYOUTS = [
    "C", "Fortran", "backwards", "backwards columns", "every other", "read-only", "not aligned",
    "masked", "mask without effect", "list", "list of arrays", "tuple", "object of arrays",
    "tensor", "tensor with gradient", "bfloat16 tensor", "sparse tensor", "quantised tensor",
    "meta tensor", "list of tensors", "DataFrame", "DataFrame with NA", "matrix", "csr", "bool NA",
    "memoryview", "generator", "set", "dict", "None", "text", "number", "ragged", "Dataset",
    "Dataset of different ones", "endless Dataset",
]  # fmt: skip
SHAPES: dict[str, tuple[int, ...]] = {
    "images": (N, 8, 8), "channel": (N, 1, 8, 8), "flat": (N, 64), "few features": (N, 3),
    "one feature": (N, 1), "channels last": (N, 8, 8, 1), "long": (N, 8, 16), "1-D": (N,),
    "5-D": (N, 1, 1, 8, 8), "0-D": (), "no sample": (0, 8, 8), "no flat sample": (0, 64),
    "no feature": (N, 0), "no pixel": (N, 8, 0), "no channel": (N, 0, 8, 8), "one": (1, 8, 8),
    "two": (2, 8, 8), "three": (3, 8, 8), "one flat": (1, 64), "small images": (N, 7, 8),
}  # fmt: skip
FEW = ("one", "two", "one flat")  # good ones to predict of
GOOD_SHAPES = ("images", "channel", "flat", "few features", "one feature", "long", "three")


class Listed(torch.utils.data.Dataset):
    """A Dataset of given samples."""

    def __init__(self, samples: Any, length: Any = None) -> None:
        self.samples, self.length = samples, length

    def __len__(self) -> int:
        return len(self.samples) if self.length is None else self.length

    def __getitem__(self, i: int) -> Any:
        return self.samples[i % len(self.samples)]


def shaped(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the first of the values, again and again, in a shape."""
    return np.resize(values, shape)


def typed(values: np.ndarray, dtype: str) -> tuple[Any, bool]:
    """Return values in a type, and whether that can be meant."""
    last = (..., slice(-1, None)) if values.ndim else ()
    if dtype == "object with None":
        values = values.astype(object)
        values[last] = None
        return values, values.size == 0
    if dtype == "object with text":
        values = values.astype(object)
        values[last] = "text"
        return values, values.size == 0
    if dtype == "words":
        return np.full(values.shape, "word"), False
    if dtype == "bytes":
        return values.astype("S8"), True
    if dtype == "record":
        return np.zeros(values.shape, [("a", float), ("b", int)]), False
    if dtype == "NaT":
        values = np.full(values.shape, np.datetime64("2026-01-01"), "datetime64[ms]")
        values[last] = np.datetime64("NaT")
        return values, False
    if dtype in ("datetime64[ms]", "timedelta64[s]"):
        return np.nan_to_num(values).astype(np.int64).astype(dtype), False
    return values.astype(dtype), dtype != "complex64"


def laid_out(X: np.ndarray, layout: str, can: bool) -> tuple[Any, bool]:
    """Return an array in a layout or container, and whether it can be meant."""
    if layout in ("None", "text", "number", "set", "dict", "generator"):
        made = {"None": None, "text": "X.npy", "number": 3.5, "set": {1, 2}, "dict": {"a": X}}
        return made.get(layout, (x for x in X.flatten())), False
    if layout == "Dataset":
        return Listed(X) if X.ndim else None, can and X.ndim > 1
    if layout == "Dataset of different ones":
        return Listed([X[:1, ..., :i] for i in range(1, 9)] if X.ndim > 1 else [1, [2]]), False
    if layout == "endless Dataset":
        return Listed(X, 0) if X.ndim else None, False
    if X.ndim == 0:
        return X, False
    if layout == "Fortran":
        return np.asfortranarray(X), can
    if layout == "backwards":
        return np.ascontiguousarray(X[::-1])[::-1], can
    if layout == "backwards columns":
        return np.ascontiguousarray(X[..., ::-1])[..., ::-1], can
    if layout == "every other":
        return np.repeat(X, 2, axis=0)[::2], can
    if layout == "read-only":
        X = X.copy()
        X.flags.writeable = False
        return X, can
    if layout == "not aligned":
        made = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype) if X.dtype.kind != "O" else None
        if made is None or not X.size:
            return X, can
        made = made.reshape(X.shape)
        made[...] = X
        return made, can
    if layout == "masked":
        mask = np.zeros(X.shape, bool)
        mask[..., -1:] = True
        return np.ma.MaskedArray(X, mask), can and not mask.any()
    if layout == "mask without effect":
        return np.ma.MaskedArray(X, np.zeros(X.shape, bool)), can
    if layout == "list":
        return X.tolist(), can
    if layout == "list of arrays":
        return list(X), can
    if layout == "tuple":
        return tuple(X.tolist()), can
    if layout == "object of arrays":
        made = np.empty(len(X), object)
        made[:] = list(X)
        return made, can
    if layout == "ragged":
        is_wide = X.ndim > 1 and X.shape[-1] > 1
        return [x[..., : 1 + i % 2] for i, x in enumerate(X)] if is_wide else [1, [2]], False
    if layout in ("matrix", "csr", "DataFrame", "DataFrame with NA", "bool NA"):
        if X.ndim != 2 or X.dtype.names or X.dtype.kind == "S":  # pandas has no frame of these
            return None, False
        if layout == "matrix":
            return np.asmatrix(X), False
        if layout == "csr":
            return scipy.sparse.csr_matrix(np.ones(X.shape)), False
        frame = pd.DataFrame(X)
        if layout == "DataFrame":
            return frame, can
        kind = "boolean" if layout == "bool NA" else "Float64"
        if not X.size:
            return None, False
        values = np.ones(X.shape, dtype=object)
        values[-1, -1] = pd.NA
        return pd.DataFrame(values).astype(kind), False
    if layout == "memoryview":
        is_one = X.dtype.kind in "fiub" and X.dtype != np.float16
        return (memoryview(np.ascontiguousarray(X)), can) if is_one else (None, False)
    if "tensor" in layout and layout != "list of tensors":
        try:
            made = torch.from_numpy(np.ascontiguousarray(X))
            if X.dtype.kind == "c":
                return made, False
            if X.dtype.kind == "u" and X.dtype.itemsize > 1:  # torch does little with them
                made = made.double()
        except (TypeError, ValueError):  # of a type that torch doesn't have
            return X, can
        kinds: dict[str, Callable[[], Any]] = {
            "tensor": lambda: made,
            "tensor with gradient": lambda: made.double().requires_grad_(),
            "bfloat16 tensor": lambda: made.bfloat16(),
            "sparse tensor": lambda: made.to_sparse(),
            "quantised tensor": lambda: torch.quantize_per_tensor(
                made.float().nan_to_num(), 0.1, 0, torch.qint8
            ),
            "meta tensor": lambda: made.to("meta"),
        }
        return kinds[layout](), can and layout.partition(" ")[0] not in (
            "sparse", "quantised", "meta"
        )  # fmt: skip
    if layout == "list of tensors":
        try:
            return [torch.from_numpy(np.ascontiguousarray(x)) for x in X], can
        except (TypeError, ValueError):
            return X, can
    return X, can


def same_numbers(X: Any) -> np.ndarray | None:
    """Return the numbers of samples that can be meant, as a plain array of float64."""
    if isinstance(X, Listed):
        X = np.stack([np.asarray(x) for x in X.samples])
    if isinstance(X, torch.Tensor):
        X = X.detach().double().numpy()
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        X = list(X)
    if isinstance(X, list | tuple) and isinstance(X[0], torch.Tensor):
        X = [x.numpy() for x in X]
    return np.array(X, dtype=np.float64)


def samples(choose: Choose) -> tuple[str, Any, np.ndarray | None]:
    """Return what samples are like, the samples, and their numbers if they can be meant."""
    values, shape = choose(list(VALUES)), choose([*GOOD_SHAPES, *SHAPES])
    dtype, layout = choose([*PLAIN.split(), *DTYPES]), choose(["C", *LAYOUTS])
    what = f"{values}, {shape}, {dtype}, {layout}"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        made, can = typed(shaped(VALUES[values](), SHAPES[shape]), dtype)
        X, can = laid_out(made, layout, can)
        numbers = same_numbers(X) if can and shape in GOOD_SHAPES + FEW else None
    if numbers is not None and not np.isfinite(numbers).all():
        numbers = None
    return what, X, numbers


# ---------------------------------------------------------------------- parameters

JUNK: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 7, 1000, 0.0, -0.5, 0.5, 1.0, 1.5, 1e-300, 1e300,
    float("nan"), float("inf"), -float("inf"), 10**30, 2**63, 3 + 0j, "", "auto", "text", b"auto",
    (), (8,), (8, 8), (1, 8, 8), (8, 0), (8, -1), (8, 1.5), ("a", "b"), [None], [[8], [8]],
    {}, {"a": 1}, {8, 4}, object(), object, len, print, int, np.int64(2), np.float32(0.5),
    np.float64("nan"), np.bool_(True), np.array([8, 4]), np.array(3), np.array([]), np.array("a"),
    [0.2, 0.3, 0.5], [0.5, 0.5], [0.5, 0.6, -0.1], [float("nan")] * 3, torch.tensor(2),
    torch.tensor([0.2, 0.3, 0.5]), torch.device("meta"), "cpu", "cuda:99", "meta", "cpu:7",
    torch.optim.SGD, torch.nn.Linear, torch.nn.Linear(3, 3), torch.nn.Identity(),
    partial(torch.optim.Adam, betas=(2, 2)), partial(torch.optim.Adam, kittens=3),
    np.random.default_rng(0), np.random.RandomState(0), PCA(2), PCA, range(3), lambda: None,
    lambda x: x, lambda x: x * float("nan"), lambda x: x[:1], lambda x: None, lambda *a: 3,
]  # fmt: skip
# Where a large number is a long fit or a large network, and not an odd one.
COSTLY = re.compile(
    r"epochs|n_init|size|n_heads|n_models|n_rounds|n_jobs|workers|steps|n_copies|overclustering"
)


def is_costly(name: str, value: Any) -> bool:
    is_number = isinstance(value, int | float)
    is_worker = name in ("n_jobs", "num_workers") and is_number and value != 1
    is_large = is_number and 7 < value < float("inf")
    cheap = name in ("batch_size", "chunk_size", "self_label_batch_size")
    return is_worker or (is_large and bool(COSTLY.search(name)) and not cheap)


# ---------------------------------------------------------------------- outcomes

# What scikit-learn says of samples, and what this package does
OF_X = re.compile(
    r"\bX\b|X\[|Input X|Found array with|Expected 2D array|Complex data not supported|could not "
    r"convert|must be real|dtype='numeric'|sample|can't convert|can only convert an array|"
    r"float\(\) argument|np.matrix is not supported|setting an array element|Cannot cast|"
    r"Cannot convert"
)


def named(error: BaseException, name: str) -> bool:
    """Return whether an error is of the right kind and names a parameter, or samples."""
    if not isinstance(error, ValueError | TypeError):
        return False
    return bool(OF_X.search(str(error)) if name == "X" else re.search(name, str(error)))


def invalid(fitted: Any, X: Any, n: int, method: str | None = None) -> str:
    """Return what is wrong with what a fitted estimator makes of samples, or nothing."""
    if method is None and isinstance(fitted, ClusterMixin):
        k = fitted.n_clusters_
        for name in ("predict_proba", "predict", "transform", "score", "score_samples"):
            if problem := invalid(fitted, X, n, name):
                return problem
        if fitted.labels_.shape != (n,) or not np.isfinite(fitted.outlier_scores_).all():
            return "labels_ or outlier_scores_"
        if not (fitted.labels_ >= 0).all() or not (fitted.labels_ < k).all():
            return "labels_ out of range"
        if (fitted.predict(X) != fitted.labels_).any():
            return "labels_ are not what is predicted"
        return "" if np.isfinite(fitted.merge_tree_).all() else "merge_tree_"
    found = getattr(fitted, method or "transform")(X)
    if not np.isfinite(found).all():
        return f"{method} is not finite"
    if method == "score":
        return "" if 0 <= found <= np.log(fitted.n_clusters_) + 1e-9 else "score out of range"
    if len(found) != n:
        return f"{method} has another length"
    if method == "predict":
        is_label = found.dtype.kind == "i" and 0 <= found.min() <= found.max() < fitted.n_clusters_
        return "" if is_label else "labels are out of range"
    if method == "predict_proba" and not np.allclose(found.sum(1), 1, atol=1e-4):
        return "probabilities don't sum to 1"
    return ""


def of_error(error: BaseException, name: str) -> tuple[str, str]:
    if isinstance(error, FloatingPointError) and re.search("lr=", str(error)):
        return "FloatingPointError", str(error)
    if named(error, name):
        return "error that names it", str(error)
    return f"ANOTHER ERROR: {type(error).__name__}", str(error)


def changed(before: dict[str, Any], estimator: Any) -> bool:
    after = vars(estimator)
    return before.keys() != after.keys() or any(after[key] is not before[key] for key in before)


@cache
def fitted(name: str, shape: str) -> Any:
    """Return an estimator that was fitted to good samples."""
    return short(CLASSES[name]).fit(shaped(digits(), SHAPES[shape]))


_plain: dict[Any, Any] = {}


def of_plain(name: str, shape: str | None, method: str | None, numbers: np.ndarray) -> Any:
    """Return what comes of the same numbers in a plain array: an array, or None for an error."""
    key = name, shape, method, numbers.shape, numbers.tobytes()
    if key not in _plain:
        try:
            if shape is None:
                _plain[key] = short(CLASSES[name]).fit(numbers).transform(numbers)
            else:
                _plain[key] = getattr(fitted(name, shape), method)(numbers)
        except (ValueError, FloatingPointError):
            _plain[key] = None
    return _plain[key]


def check_fit(name: str, X: Any, numbers: np.ndarray | None) -> tuple[str, str]:
    """Fit to samples; return the outcome and what there is to say."""
    estimator = short(CLASSES[name])
    before = dict(vars(estimator))
    try:
        estimator.fit(X)
    except Exception as error:
        if changed(before, estimator):
            return "CHANGED BY AN ERROR", str(error)
        if numbers is not None and of_plain(name, None, None, numbers) is not None:
            return "REFUSED, BUT NOT AS A PLAIN ARRAY", str(error)
        return of_error(error, "X")
    if numbers is None:
        return "NOT REFUSED", ""
    if problem := invalid(estimator, X, len(numbers)):
        return "INVALID RESULT", problem
    expected = of_plain(name, None, None, numbers)
    if expected is None or not np.array_equal(estimator.transform(X), expected):
        return "NOT AS A PLAIN ARRAY", ""
    return "valid result", ""


def check_method(
    name: str, shape: str, method: str, X: Any, numbers: np.ndarray | None
) -> tuple[str, str]:
    """Let a fitted estimator predict; return the outcome and what there is to say."""
    model = fitted(name, shape)
    before = dict(vars(model))
    try:
        found = getattr(model, method)(X)
    except Exception as error:
        if numbers is not None and of_plain(name, shape, method, numbers) is not None:
            return "REFUSED, BUT NOT AS A PLAIN ARRAY", str(error)
        return of_error(error, "X")
    if changed(before, model):
        return "CHANGED", ""
    if numbers is None:
        return "NOT REFUSED", ""
    if problem := invalid(model, X, len(numbers), method):
        return "INVALID RESULT", problem
    if not np.array_equal(found, of_plain(name, shape, method, numbers)):
        return "NOT AS A PLAIN ARRAY", ""
    return "valid result", ""


def check_parameter(name: str, parameter: str, value: Any) -> tuple[str, str]:
    """Fit with a value of a parameter; return the outcome and what there is to say."""
    X = shaped(digits(), SHAPES["flat" if parameter in FLAT else "images"])
    try:
        estimator = short(CLASSES[name], **{parameter: value})
        before = dict(vars(estimator))
        clone(estimator)
        estimator.fit(X)
    except Exception as error:
        if isinstance(error, ValueError) and changed(before, estimator):
            return "CHANGED BY AN ERROR", str(error)
        return of_error(error, parameter)
    problem = invalid(estimator, X, N)
    return ("INVALID RESULT", problem) if problem else ("valid result", "")


KINDS = ("fit", "predict", "parameter")
FLAT = ("hidden_sizes", "image_shape", "scaling", "feature_spaces")
METHODS = ("predict", "predict_proba", "transform", "score", "score_samples")


def example(kind: str, choose: Choose) -> tuple[str, Callable[[], tuple[str, str]]]:
    """Return an example of a kind, and a function that returns its outcome."""
    name = choose(list(CLASSES))
    if kind == "parameter":
        parameter = choose(list(inspect.signature(CLASSES[name]).parameters))
        values = [value for value in JUNK if not is_costly(parameter, value)]
        constraints = CLASSES[name]._parameter_constraints[parameter]
        values += [value for c in constraints for value in edges(c)]
        value = choose(values)
        what = f"{name}({parameter}={value!r})"
        return what, partial(check_parameter, name, parameter, value)
    what, X, numbers = samples(choose)
    if kind == "fit":
        least = 3 if issubclass(CLASSES[name], ClusterMixin) else 2
        if numbers is not None and len(numbers) < least:
            numbers = None
        return f"{name}.fit: {what}", partial(check_fit, name, X, numbers)
    shape = choose(["images", "flat"])
    is_clusterer = issubclass(CLASSES[name], ClusterMixin)
    method = choose(METHODS if is_clusterer else ["transform"])
    if numbers is not None and (
        numbers.size != 64 * len(numbers) or (shape == "flat" and numbers.ndim > 2)
    ):
        numbers = None
    what = f"{name} of {shape}.{method}: {what}"
    return what, partial(check_method, name, shape, method, X, numbers)


def edges(constraint: Any) -> list[Any]:
    """Return numbers beside the ends of an interval."""
    if not isinstance(constraint, Interval):
        return []
    ends = [end for end in (constraint.left, constraint.right) if end is not None]
    return [value for end in ends for value in (end, end - 1, end - 1e-9, str(end))]


def outcome(check: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")
        return check()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-examples", type=int, default=3000)
    parser.add_argument("--random-state", type=int, default=0)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    draw = random.Random(arguments.random_state)
    start, found, wrong = time.process_time(), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where names of checkpoints are files
        for number in range(arguments.n_examples):
            kind = KINDS[number % len(KINDS)]
            what, check = example(kind, draw.choice)
            result, message = outcome(check)
            found[kind, result] += 1
            if result not in FINE:
                wrong.append(f"{what}: {result}")
                print(f"{what}: {result}: {message[:300]}", flush=True)
            for path in Path().iterdir():
                path.unlink()
    report(
        {
            "examples": [[*key, n] for key, n in sorted(found.items())],
            "wrong": wrong,
            "n_estimators": len(CLASSES),
            "n_examples": arguments.n_examples,
            "random_state": arguments.random_state,
            "seconds": time.process_time() - start,
            "environment": environment(),
        }
    )
    sys.exit(bool(wrong))


def report(result: dict[str, Any]) -> None:
    """Write down how many examples of each kind had each outcome."""
    save(RESULTS / "bad_inputs.json", result)
    counts = {(kind, outcome): n for kind, outcome, n in result["examples"]}
    outcomes = [*FINE, *sorted({key[1] for key in counts} - set(FINE))]
    rows = [[kind, *(counts.get((kind, outcome), 0) for outcome in outcomes)] for kind in KINDS]
    rows.append(["all", *(sum(row[i + 1] for row in rows) for i in range(len(outcomes)))])
    text = table(["what was odd", *outcomes], rows) + (
        f"\n\nOf {result['n_estimators']} estimators, in {result['seconds']:.0f} s. Any other "
        "error, one that doesn't name the parameter or the input, an invalid result, one that "
        "differs from that of the same numbers in a plain array, and an estimator that an error "
        "has changed would be outcomes of their own. A FloatingPointError is what a fit raises "
        "whose loss or weights are no longer finite. `python -m benchmarks.drills.bad_inputs "
        f"--n-examples {result['n_examples']} "
        f"--random-state {result['random_state']}`. {described(result)}\n"
    )
    (RESULTS / "bad_inputs.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
