"""Cluster a folder of images, from the command line.

    python -m skdeepclust FOLDER --n-clusters 10 --out result/

writes to result/: labels.csv (path, label, probability and outlier score of each image),
report/index.html (what is in the clusters, to look at) and model.skdc (for skdeepclust.load).
Stopped by Ctrl-C or killed, the same command goes on from the last epoch that was saved.

    python -m skdeepclust NEW_FOLDER --model result/model.skdc --out new/

writes labels.csv and the report of other images, by the model that is there.

What a former run has left in OUT is replaced with --overwrite alone.

Exit status: 0 done; 2 the folder or an argument is no good, or an extra is missing; 3 a file can't
be read or written, for want of space say, or there is too little memory; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
import warnings
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed

import skdeepclust
from skdeepclust._files import write_csv, written
from skdeepclust._progress import Bar
from skdeepclust._warnings import warn
from skdeepclust.base import BaseDeepClusterer
from skdeepclust.datasets import ImageFolder, export_folder
from skdeepclust.engine import resolved_device
from skdeepclust.model_file import import_safetensors

DONE, NO_GOOD, FILE_PROBLEM, INTERRUPTED = 0, 2, 3, 130
MOST_WORKERS = 32 if os.name == "posix" else 4  # elsewhere each of them imports torch anew
OPTIONS = {
    "n_clusters": "--n-clusters", "random_state": "--random-state", "device": "--device",
    "verbose": "--quiet", "checkpoint": "--out",
}  # fmt: skip
CHECKPOINTS = r"checkpoint\.pt(\.many\d*)?(-\d+)?"  # of a run, and of its restarts


def _methods() -> dict[str, Any]:
    """Return the package's clusterers by the names that ``--method`` takes."""
    found = {}
    for name in skdeepclust.__all__:
        cls = getattr(skdeepclust, name)
        if isinstance(cls, type) and issubclass(cls, BaseDeepClusterer):
            found[name.removesuffix("Clustering").lower()] = cls
    return found


def _setting(text: str) -> tuple[str, Any]:
    """Return the name and the value of NAME=VALUE; what is no literal of Python's is a string."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE; the folder comes first")
    try:
        return name, literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _number(text: str) -> int | str:
    """Return a number of clusters, or that it is to be found."""
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer or auto; got {text!r}")
    return text if text == "auto" else int(text)


def _path(text: str) -> Path:
    """Return a path; a shell leaves the ~ of --out=~/x as it is."""
    return Path(text).expanduser()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "skdeepclust",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="images, also in sub-folders")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--n-clusters", type=_number, metavar="N",
        help="or auto, for the methods that find a number: deep, imsat, temi",
    )  # fmt: skip
    what.add_argument(
        "--model", type=_path, metavar="FILE",
        help="a model that there is, in place of a fit; with the --features that it was fitted to",
    )  # fmt: skip
    parser.add_argument("--out", type=_path, default=Path("result"), help="default: result")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace labels, report and model in OUT"
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=_methods(), metavar="NAME",
        help=f"{', '.join(_methods())}; default: deep; with --features scan, or temi if the number "
        "of clusters is auto",
    )  # fmt: skip
    parser.add_argument(
        "--features", metavar="NAME",
        help="of a pretrained network, such as timm:resnet50, which are clustered in place of the "
        "images themselves: for photographs. See skdeepclust.FeatureExtractor",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=int,
        help="side that images are resized to; default: 64, or with --features what the network "
        "takes",
    )  # fmt: skip
    parser.add_argument("--grey", action="store_true", help="without colours")
    parser.add_argument(
        "--batch-size", type=int, metavar="N",
        help="images that go through the network of --features at once; default: 32. The method's "
        "is --set batch_size=N",
    )  # fmt: skip
    parser.add_argument(
        "--set", type=_setting, nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="parameters of the method, such as max_epochs=20",
    )  # fmt: skip
    parser.add_argument(
        "--export", choices=["symlink", "copy"],
        help="make a folder of each cluster, too, in OUT/clusters: of links to the images, or of "
        "copies",
    )  # fmt: skip
    parser.add_argument("--random-state", type=int, help="default: 0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--version", action="version", version=skdeepclust.__version__)
    return parser


@contextmanager
def _shown() -> Iterator[None]:
    """Print warnings as they come, in a line each."""

    def show(message: Any, *args: Any) -> None:
        if "was interrupted" not in str(message):  # of that the exit status tells
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _estimator(arguments: argparse.Namespace) -> Any:
    """Return the estimator that is asked for; raise a ValueError if there is none such."""
    method, settings = arguments.method or "deep", dict(arguments.set)
    if arguments.features is not None:
        default = "temi" if arguments.n_clusters == "auto" else "scan"
        method = arguments.method or default
        if method == "scan":
            settings.setdefault("representation", "precomputed")
    cls = _methods()[method]
    for name in settings:
        if name in OPTIONS:
            raise ValueError(f"--set {name}=... must be given as {OPTIONS[name]}")
        names = list(cls().get_params())
        if name not in names:
            near = get_close_matches(name, names)
            hint = f"; it has {', '.join(near)}" if near else ""
            raise ValueError(f"--set {name}=...: {cls.__name__} has no such parameter{hint}")
    estimator = cls(
        n_clusters=arguments.n_clusters,
        random_state=arguments.random_state or 0,
        device=arguments.device,
        checkpoint=arguments.out / "checkpoint.pt",
        verbose=int(not arguments.quiet),
    ).set_params(**settings)
    estimator._validate_params()  # before the images are read
    resolved_device(arguments.device)
    return estimator


def _fitted(arguments: argparse.Namespace) -> Any:
    """Return the model that is there; raise a ValueError where it doesn't suit the rest."""
    of_images = ("size", "grey") if arguments.features is None else ()
    for name in ("method", "set", "random_state", *of_images):
        if getattr(arguments, name) != _parser().get_default(name):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is the model's, and can't be given with --model")
    if (arguments.out / "model.skdc").exists() or _checkpoints(arguments.out):
        raise ValueError(f"--out {arguments.out} has the labels of the fit: give another one")
    estimator = skdeepclust.load(arguments.model)
    if not (isinstance(estimator, BaseDeepClusterer) and hasattr(estimator, "labels_")):
        raise ValueError(f"{str(arguments.model)!r} is no fitted clusterer, but {estimator!r}")
    if (len(estimator.input_shape_) == 1) == (arguments.features is None):
        what = "images" if arguments.features else "features, whose network --features must name"
        raise ValueError(f"{str(arguments.model)!r} was fitted to {what}")
    estimator.network_.to(resolved_device(arguments.device))
    return estimator


def _extractor(arguments: argparse.Namespace) -> skdeepclust.FeatureExtractor:
    """Return what makes features, which are kept beside the result."""
    given = {} if arguments.batch_size is None else {"batch_size": arguments.batch_size}
    extractor = skdeepclust.FeatureExtractor(
        arguments.features,
        device=arguments.device,
        out=arguments.out / "features.npy",
        num_workers=min(cpu_count() - 1, MOST_WORKERS),  # beside this process, which computes
        verbose=int(not arguments.quiet),
        **given,
    )
    extractor._validate_params()  # before the images are read
    return extractor


def _checkpoints(out: Path) -> list[Path]:
    """Return what fits that have not ended have left."""
    files = out.iterdir() if out.is_dir() else ()
    return [path for path in files if re.fullmatch(CHECKPOINTS, path.name)]


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_out(arguments: argparse.Namespace) -> None:
    """Raise a ValueError where a former result would be lost, or images be clustered twice."""
    clusters = arguments.out / "clusters"
    if clusters.exists():  # beside other labels it would mislead, within the folder be clustered
        raise ValueError(
            f"{str(clusters)!r} holds images of a former run, and is not overwritten: remove it, "
            "or have --out elsewhere"
        )
    if arguments.export and clusters.resolve().is_relative_to(Path(arguments.folder).resolve()):
        raise ValueError(
            f"--export would put images into {str(arguments.folder)!r}, where the next run would "
            "take them for others: have --out elsewhere"
        )
    last = "labels.csv" if arguments.model else "model.skdc"  # that is written
    if (arguments.out / last).exists() and not arguments.overwrite:
        raise ValueError(
            f"{str(arguments.out)!r} holds the result of a former run: have --out elsewhere, or "
            "give --overwrite"
        )


def _held(folder: ImageFolder, arguments: argparse.Namespace, limit: int) -> Any:
    """Return the images as an array where they fit: what follows reads them six times."""
    if math.prod(folder.shape) > limit:
        return folder
    numbers = Bar(range(len(folder)), desc="decoding", unit="images", disable=arguments.quiet)
    return np.stack(
        Parallel(n_jobs=-1, prefer="threads")(delayed(folder.__getitem__)(i) for i in numbers)
    )


def _write_labels(path: Path, folder: ImageFolder, probabilities: Any, scores: Any) -> None:
    """Write a row for each image, as a whole or not at all."""
    if odd := sum(not _is_utf8(name) for name in folder.paths):
        warn(f"The names of {odd} files are no UTF-8: in {path} their bytes have become \\udc...")
    columns = folder.paths, probabilities.argmax(1), probabilities.max(1), scores
    rows = (
        (name, label, f"{sure:.4f}", f"{score:.4f}")
        for name, label, sure, score in zip(*columns, strict=True)
    )
    with written(path) as partial:
        write_csv(partial, [("path", "label", "probability", "outlier_score"), *rows])


def _run(arguments: argparse.Namespace) -> int:
    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, flush=True)

    import_safetensors()  # what is missing is missed before the fit, not after it
    if arguments.features is None and arguments.batch_size is not None:
        raise ValueError(
            "--batch-size is of the network of --features; the method's is --set batch_size=..."
        )
    estimator, out = (_fitted if arguments.model else _estimator)(arguments), arguments.out
    _check_out(arguments)
    size: Any = (64, 64)
    mode = "L" if arguments.grey else "RGB"
    if arguments.features is not None:
        extractor = _extractor(arguments)
        size = extractor._pretrained().image_size
    elif arguments.model:
        n_channels, *size = estimator.input_shape_
        mode = "L" if n_channels == 1 else "RGB"
    if arguments.size is not None:
        size = arguments.size, arguments.size
    folder = ImageFolder(arguments.folder, size, mode=mode, verbose=not arguments.quiet)
    say(f"{len(folder):,} images in {arguments.folder}")
    out.mkdir(parents=True, exist_ok=True)
    X: Any
    if arguments.features is None:
        X = _held(folder, arguments, estimator.memory_limit)
    else:
        X = extractor.transform(folder)
    if not arguments.model:
        estimator.fit(X)
        if estimator.interrupted_:
            raise KeyboardInterrupt
        estimator.set_params(verbose=0, checkpoint=None)  # which are not the result's
    probabilities = estimator.predict_proba(X)
    scores = -estimator.score_samples(X) if arguments.model else estimator.outlier_scores_
    if not arguments.model:  # never the model of one run beside the labels of another
        (out / "model.skdc").unlink(missing_ok=True)
    _write_labels(out / "labels.csv", folder, probabilities, scores)
    title = f"{Path(arguments.folder).resolve().name}: {estimator.n_clusters_} clusters"
    page = skdeepclust.cluster_report(
        estimator,
        X,
        probabilities=probabilities,
        images=folder,
        title=title if arguments.features is None else f"{title} by {arguments.features}",
        out=out / "report",
    )
    written = [out / "labels.csv", page]
    if not arguments.model:
        skdeepclust.save(estimator, out / "model.skdc")
        written.append(out / "model.skdc")
    if arguments.export:
        labels = probabilities.argmax(1)
        export_folder(list(folder.paths), labels, out / "clusters", mode=arguments.export)
    for path in _checkpoints(out):
        path.unlink()
    say("\n".join(map(str, written)))
    return DONE


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a folder's name that it can't show is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    try:
        with _shown():
            return _run(arguments)
    except KeyboardInterrupt:
        goes_on = not arguments.model and _checkpoints(arguments.out)
        again = " The same command goes on from the last epoch that was saved." if goes_on else ""
        print(f"\nStopped.{again}", file=sys.stderr)
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        # of CUDA a class of its own, of MPS and XPU by what it says
        is_known = re.search("out of memory|can't allocate memory", str(error))
        if not isinstance(error, MemoryError) and not is_known:
            raise
        hint = "A smaller --size takes less, or --set batch_size=... on a GPU."
        if arguments.features is not None:
            hint = "A smaller --batch-size takes less, or --set batch_size=... while it is fitted."
        print(f"error: too little memory: {error}. {hint}", file=sys.stderr)
        return FILE_PROBLEM
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return FILE_PROBLEM
    except (ImportError, TypeError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        if re.match("(checkpoint|out)=", str(error)):  # of another folder or setting
            print(f"Remove it from {arguments.out}, or give another --out.", file=sys.stderr)
        return NO_GOOD


if __name__ == "__main__":
    sys.exit(main())
