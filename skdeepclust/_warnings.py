"""Warnings that name the line of the user's that led to them."""

from __future__ import annotations

import sys
import warnings

# whose lines stand between: a fit goes through scikit-learn's wrappers, callbacks through skorch's
WITHIN = {"skdeepclust", "sklearn", "skorch", "torch", "joblib", "contextlib"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the first line outside of the package and what it goes through."""
    frame, level = sys._getframe(1).f_back, 3
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in WITHIN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
