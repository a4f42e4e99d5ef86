"""The command from a folder of images to clusters, beside k-means on what it clusters.

    python -m benchmarks.drills.folder --data-home DATA [--only animals textiles]

animals: 10,000 silhouettes of 28 x 28, written as PNG files, a folder a class; the default method
on the images. textiles: 2,000 photos in three folders; SCAN on EfficientNet's features, which has
learnt with the labels of ImageNet. The folders' names serve to compare, after the fact. Writes
benchmarks/results/folder.json and .md.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.records import RESULTS, described, environment, k_means, metrics, save, table
from benchmarks.tables.time_to_accuracy import animals
from skdeepclust.__main__ import main as command
from skdeepclust.datasets import ImageFolder

PATH = RESULTS / "folder.json"


def write_animals(data_home: Path, home: Path) -> Path:
    """Write the silhouettes to a folder a class; return the folder of these."""
    images, y = animals(data_home)
    for number, (image, label) in enumerate(zip(images, y, strict=True)):
        place = home / "animals" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image, np.uint8)).save(place / f"{number:05}.png")
    return home / "animals"


def run(name: str, data_home: Path, home: Path, out: Path) -> dict[str, Any]:
    """Run the command, and k-means on the same samples."""
    if name == "animals":
        folder, words = write_animals(data_home, home), ["--size", "28", "--grey"]
        n_clusters, X = 10, np.stack(list(ImageFolder(folder, (28, 28), mode="L")))
    else:
        folder, n_clusters = data_home / "textiles", 3
        words = ["--features", "efficientnet:lite0", "--size", "250"]
    start = time.perf_counter()
    status = command(
        [str(folder), "--n-clusters", str(n_clusters), "--out", str(out), "--quiet", *words]
    )
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(status)
    with open(out / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = [Path(row["path"]).parent.name for row in rows]
    y = np.unique(classes, return_inverse=True)[1]
    if name == "textiles":
        X = np.load(out / "features.npy")
    beside = k_means(n_clusters).set_params(kmeans__random_state=0).fit_predict(X)
    return {
        "arguments": f"--n-clusters {n_clusters} {' '.join(words)}",
        "images": len(rows),
        "seconds": seconds,
        "the command": metrics(y, np.array([int(row["label"]) for row in rows])),
        "k-means": metrics(y, beside),
        "report, MB": (out / "report" / "index.html").stat().st_size / 1e6,
        "environment": environment(),
    }


def render(found: dict[str, Any]) -> str:
    """Return the table."""
    names = "acc", "nmi", "ari"
    lines = [
        [folder, f"{r['images']:,}", f"`{r['arguments']}`", who,
         *(f"{r[who][name]:.3f}" for name in names),
         *([f"{r['seconds']:.0f}", f"{r['report, MB']:.1f}"] if who == "the command" else ["", ""])]
        for folder, r in found.items()
        for who in ("the command", "k-means")
    ]  # fmt: skip
    header = ["folder", "images", "arguments", "", "ACC", "NMI", "ARI", "seconds", "report, MB"]
    machines = "\n".join(f"- {folder}: {described(r)}" for folder, r in found.items())
    return (
        "# From a folder to clusters\n\n"
        "`python -m skdeepclust FOLDER`: one run each, random state 0; k-means on the same pixels "
        "or features. The features are of a network that has learnt with the labels of ImageNet.\n"
        f"\n{table(header, lines)}\n\n{machines}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=["animals", "textiles"])
    parser.add_argument("--out", type=Path, help="where the results are kept, to look at")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in arguments.only or ("animals", "textiles"):
        with tempfile.TemporaryDirectory() as home:
            out = (arguments.out or Path(home)) / f"{name}-clusters"
            found[name] = run(name, arguments.data_home, Path(home), out)
        save(PATH, found)
    PATH.with_suffix(".md").write_text(render(found))
    print(render(found))


if __name__ == "__main__":
    main()
