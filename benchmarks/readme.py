"""The table of README.md, which `python -m benchmarks --render` writes anew from the records."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import records, report
from benchmarks.tables import time_to_accuracy

README = records.RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- records: begin -->", "<!-- records: end -->"
ROWS = ["KMeans", "UMAP + KMeans", "UMAP + mixture", "ClustPy", "DeepClustering"]
DATA = [
    ("MNIST, all 70,000 images", "mnist", 70_000),
    ("MNIST, 10,000", "mnist", 10_000),
    ("USPS, all 9,298", "usps", 9_298),
    ("Fashion-MNIST, 10,000", "fashion-mnist", 10_000),
    ("silhouettes of animals, 10,000", "animals", 10_000),
]


def accuracy(found: list[dict[str, Any]]) -> float:
    return float(np.mean([r["scores"]["acc"] for r in found]))


def cell(found: list[dict[str, Any]]) -> str:
    """Return ACC and seconds; of states that no default was chosen on, where there are any."""
    if not found:
        return ""
    found = [r for r in found if time_to_accuracy.states(r) == "10 to 14"] or found
    acc = records.mean_std(r["scores"]["acc"] for r in found)
    return f"{acc}, {np.mean([r['seconds'] for r in found]):,.0f} s"


def best_of_clustpy(found: list[dict[str, Any]]) -> str:
    """Return what the method of ClustPy with the highest mean ACC has, and its name."""
    names = sorted({r["row"] for r in found if r["row"].startswith("ClustPy")})
    groups = [[r for r in found if r["row"] == name] for name in names]
    if not groups:
        return ""
    best = max(groups, key=accuracy)
    return f"{cell(best)} ({best[0]['row'].removeprefix('ClustPy ')})"


def suits(record: dict[str, Any]) -> bool:
    """Return whether a run's seconds may be shown: ClustPy's, too, of a core beside a busy one."""
    return record["row"].startswith("ClustPy") or not record["environment"].get("shared")


def comparison() -> str:
    """Return a row a data set, of what was run on a CPU with defaults in float32."""
    found = [
        line
        for record in report.read_all(time_to_accuracy)
        if record["precision"] == "float32" and not record["set"]
        if record["environment"]["device"] == "cpu" and suits(record)
        for line in time_to_accuracy.lines(record)
    ]
    rows = []
    for title, data, n_samples in DATA:
        of_data = [r for r in found if (r["data"], r["n_samples"]) == (data, n_samples)]
        cells = [cell([r for r in of_data if r["row"] == row]) for row in ROWS]
        cells[ROWS.index("ClustPy")] = best_of_clustpy(of_data)
        rows.append([title, *cells[:-1], f"**{cells[-1]}**"])
    titles = [f"`{row}`" if row != "ClustPy" else "ClustPy's best" for row in ROWS]
    return records.table(["ACC, seconds a fit", *titles], rows)


def updated(text: str) -> str:
    """Return the README with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{comparison()}\n{END}{after}"


def write() -> None:
    """Write the table into the README.md that belongs to the records, if there is one."""
    path = records.RESULTS.parent.parent / "README.md"
    if path.exists():
        path.write_text(updated(path.read_text()))
