"""The tables of README.md, which `python -m benchmarks --render` writes anew from the records."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import papers, records, report
from benchmarks.tables import TABLES, time_to_accuracy

README = records.RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
ROWS = ["KMeans", "UMAP + KMeans", "UMAP + mixture", "ClustPy", "DeepClustering"]
DATA = [
    ("MNIST, all 70,000 images", "mnist", 70_000),
    ("Fashion-MNIST, all 70,000", "fashion-mnist", 70_000),
    ("MNIST, 10,000", "mnist", 10_000),
    ("USPS, all 9,298", "usps", 9_298),
    ("Fashion-MNIST, 10,000", "fashion-mnist", 10_000),
    ("silhouettes of animals, 10,000", "animals", 10_000),
]


def accuracy(found: list[dict[str, Any]]) -> float:
    return float(np.mean([r["scores"]["acc"] for r in found])) if found else 0.0


def runs(found: list[dict[str, Any]], row: str) -> list[dict[str, Any]]:
    """Return those of a row, or of ClustPy's method with the highest mean ACC.

    Of states that no default was chosen on, where there are any.
    """
    names = {r["row"] for r in found if r["row"] == row or r["row"].startswith(f"{row} ")}
    groups = [[r for r in found if r["row"] == name] for name in sorted(names)]
    best = max(groups, key=accuracy, default=[])
    return [r for r in best if time_to_accuracy.states(r) == "10 to 14"] or best


def cell(found: list[dict[str, Any]]) -> str:
    """Return ACC and seconds, and which of ClustPy's methods it is."""
    if not found:
        return ""
    acc = records.mean_std(r["scores"]["acc"] for r in found)
    _, _, method = found[0]["row"].partition("ClustPy ")
    which = f" ({method})" if method else ""
    return f"{acc}, {np.mean([r['seconds'] for r in found]):,.0f} s{which}"


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
        groups = [runs(of_data, row) for row in ROWS]
        best = max(groups, key=accuracy)
        rows.append([title, *(f"**{cell(g)}**" if g is best else cell(g) for g in groups)])
    titles = [f"`{row}`" if row != "ClustPy" else "ClustPy's best" for row in ROWS]
    return records.table(["ACC, seconds a fit", *titles], rows)


def updated(text: str) -> str:
    """Return the README with the tables as they are now."""
    for name, table in [("records", comparison()), ("papers", papers.reproduced(TABLES))]:
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"README.md has no {begin} and {end}")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def write() -> None:
    """Write the tables into the README.md that belongs to the records, if there is one."""
    path = records.RESULTS.parent.parent / "README.md"
    if path.exists():
        path.write_text(updated(path.read_text()))
