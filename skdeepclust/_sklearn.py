"""What the package takes from scikit-learn's private modules, so that one file alone can break."""

from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.base import _fit_context as fit_context
from sklearn.metrics import check_scoring
from sklearn.metrics.cluster._supervised import check_clusterings
from sklearn.model_selection import (
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.utils._param_validation import (
    HasMethods,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._param_validation import Interval as IntervalOfNumbers
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
from sklearn.utils.validation import _check_feature_names as check_feature_names
from sklearn.utils.validation import _check_n_features as check_n_features

__all__ = [
    "BaseComposition",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "check_clusterings",
    "check_feature_names",
    "check_n_features",
    "fit_context",
    "register_scorer",
    "seeds_of_unset",
    "unset_random_states",
    "validate_parameter_constraints",
]


class Interval(IntervalOfNumbers):
    """An interval without True and False, which Python counts among the integers."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is a number in the interval."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def unset_random_states(estimator: Any) -> list[str]:
    """Return the names of the random states, of an estimator and what is in it, that are None."""
    return [
        name
        for name, value in sorted(estimator.get_params().items())
        if name.split("__")[-1] == "random_state" and value is None
    ]


def seeds_of_unset(estimator: Any, random: np.random.RandomState) -> dict[str, int]:
    """Return a seed for each random state that is None, for `set_params`."""
    largest = np.iinfo(np.int32).max
    return {name: int(random.randint(largest)) for name in unset_random_states(estimator)}


def register_scorer(name: str, scorer: object) -> None:
    """Let scikit-learn know a scorer by its name."""
    # scikit-learn has no public way to name a scorer: the name goes into its private registry, and
    # into the sets of valid names that its parameter checks copied from it when they were imported.
    # Should these move in a later release, the name goes and the scorer object still works.
    with suppress(ImportError, AttributeError, KeyError):
        from sklearn.metrics._scorer import _SCORERS
        from sklearn.model_selection._search import BaseSearchCV

        _SCORERS.setdefault(name, scorer)
        functions = (
            check_scoring,
            cross_val_score,
            cross_validate,
            learning_curve,
            permutation_test_score,
            validation_curve,
        )
        checks = [function._skl_parameter_constraints for function in functions]
        # The subclasses because the halving searches, once enabled, have a set of their own.
        searches: tuple[Any, ...] = (BaseSearchCV, *BaseSearchCV.__subclasses__())
        checks += [search._parameter_constraints for search in searches]
        for check in checks:
            for constraint in check["scoring"]:
                if isinstance(constraint, StrOptions):
                    constraint.options.add(name)
