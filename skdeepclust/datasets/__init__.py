"""Loaders of the image sets that deep clustering is measured on."""

from __future__ import annotations

from ._base import get_data_home
from ._mnist import load_fashion_mnist, load_mnist

__all__ = ["get_data_home", "load_fashion_mnist", "load_mnist"]
