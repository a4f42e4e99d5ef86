"""CONTRIBUTING.md: its example is a method, and what it names is there."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import test_common
import test_training
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from skdeepclust._parameters import AT_LEAST_0, estimator, param
from skdeepclust.base import BaseDeepClusterer, BaseDeepEstimator
from skdeepclust.objective import Objective

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*clusters are empty:sklearn.exceptions.ConvergenceWarning",
)
TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
GUIDE = TEXT.partition("## Adding an algorithm")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def Example(tmp_path_factory):
    (code,) = re.findall(r"<!-- test: example -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    path = tmp_path_factory.mktemp("contributing") / "contributed.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module.NeighborClustering
    finally:
        del sys.modules[path.stem]


def test_example_keeps_what_is_asked_of_estimators(Example, images, tmp_path, monkeypatch):
    test_common.test_init_only_assigns_and_documents_all_parameters(Example)
    test_common.test_user_networks(Example, images)
    test_common.test_bf16_is_for_the_training_alone(Example, images)
    model = Example(3, max_epochs=7, random_state=0)
    test_training.test_resumed_fit_ends_as_an_uninterrupted_one(
        model, images, tmp_path, monkeypatch
    )


@pytest.mark.parametrize("name", ["n_neighbors", "entropy_weight"])
def test_parameters_of_the_example_change_its_fit(Example, name, images):
    X = images[:40]
    plain = test_common.smallest(Example, test_common.SMALLEST)
    other = test_common.smallest(Example, test_common.SMALLEST).set_params(**{name: 3})
    assert test_common.learnt(plain, X) != test_common.learnt(other, X)


def test_example_learns(Example, digits):
    images, y = digits
    X = images.reshape(len(images), -1)
    kmeans = KMeans(10, n_init=10, random_state=0).fit_predict(X)
    for data in (images, X):
        labels = Example(10, random_state=0).fit_predict(data)
        scores = [normalized_mutual_info_score(y, found) for found in (labels, kmeans)]
        assert scores[0] > scores[1] + 0.05, np.round(scores, 3)


def test_bases_that_differ_in_a_default_are_refused():
    """RIM had batches of 128, and a class attribute of 250."""

    @estimator
    class Base:
        x: int = param(1, AT_LEAST_0)

    @estimator
    class Changed(Base):
        x: int = 2

    @estimator
    class Mixin(Base):
        y: int = param(0, AT_LEAST_0)

    with pytest.raises(TypeError, match="Both and one of its bases differ in x"):

        @estimator
        class Both(Mixin, Changed):
            z: int = param(0, AT_LEAST_0)


def test_guide_names_all_hooks():
    hooks = {name for name in vars(Objective) if not name.startswith("_")} - {"training"}
    rows = set(re.findall(r"^   \| `(\w+)(?:\(.*?\))?` \|", GUIDE, re.MULTILINE))
    assert hooks <= rows
    for name in hooks - {"converged", "renewed"}:  # which are no methods
        arguments = list(inspect.signature(getattr(Objective, name)).parameters)[1:]
        assert f"`{name}({', '.join(arguments)})`" in GUIDE
    for name in rows - hooks:
        has_it = (hasattr(owner, name) for owner in (BaseDeepEstimator, BaseDeepClusterer))
        assert any(has_it) or hasattr(test_common, name) or name == "_default_encoder"


def test_files_and_tables_that_the_guide_names_are_there():
    root = Path(__file__).parents[1]
    for name in re.findall(r"`([\w/.]+\.(?:py|md))`", GUIDE):
        found = [root / name, root / "tests" / name, root / "skdeepclust" / name]
        found.append(root / "skdeepclust" / "cluster" / name)
        assert any(path.exists() for path in found), name
    for name in ("SHORTER", "SMALLEST", "cheap", "OTHERS", "WHERE", "FLAT", "PLANS", "with_part"):
        assert f"`{name}`" in GUIDE
        assert hasattr(test_common, name)
    assert hasattr(test_training, "LONG")
