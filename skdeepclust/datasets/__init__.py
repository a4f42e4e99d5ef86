"""Loaders of the image sets that deep clustering is measured on, and folders of image files."""

from __future__ import annotations

from ._base import get_data_home
from ._cifar import load_cifar10, load_cifar100
from ._export import export_folder
from ._image_folder import ImageFolder
from ._mnist import load_fashion_mnist, load_mnist
from ._stl10 import load_stl10
from ._svhn import load_svhn

__all__ = [
    "ImageFolder",
    "export_folder",
    "get_data_home",
    "load_cifar10",
    "load_cifar100",
    "load_fashion_mnist",
    "load_mnist",
    "load_stl10",
    "load_svhn",
]
