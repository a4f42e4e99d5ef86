"""The papers' figures beside the runs of all of their data, of every table: `results/papers.md`.

`python -m benchmarks --render` writes it. Nothing is chosen: runs with other settings than the
paper's have lines of their own, and a figure without a run says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from benchmarks import records, report

NONE = "none"
HEADER = ["table", "data", "row", "paper", "runs", "ACC", "NMI", "with"]


def is_full(table: ModuleType, record: dict[str, Any]) -> bool:
    """Return whether a run had all images to train on."""
    n_samples: int = record["n_samples"]
    return n_samples >= table.SIZES[record["data"]]


def settings(table: ModuleType, record: dict[str, Any]) -> str:
    """Return what tells a run from others of its row."""
    found = []
    for name, column in report.keys_of(table).items():
        value = column(record)
        if name not in (*HEADER, "images") and value and (name, value) != ("precision", "float32"):
            found.append(f"{name} {value}".removeprefix("set "))
    return ", ".join(found)


def lines(name: str, table: ModuleType) -> list[list[Any]]:
    """Return a line for each of a table's figures and settings, those without a run included."""
    lines_of = getattr(table, "lines", lambda record: [record])
    full = [r for r in report.read_all(table) if is_full(table, r)]
    found = [line for r in full for line in lines_of(r)]
    rows: list[list[Any]] = []
    for (data, row), figures in table.PAPER.items():
        paper = " / ".join("" if value is None else f"{value:.3f}" for value in figures)
        measure = getattr(table, "MEASURES", {}).get(row, "acc")
        note = "" if measure == "acc" else f" ({measure})"
        groups: dict[str, list[dict]] = {}
        for record in found:
            if (record["data"], record["row"]) == (data, row):
                groups.setdefault(settings(table, record), []).append(record)
        if not groups:
            rows.append([name, data, row, paper + note, NONE, "", "", ""])
        for text, group in sorted(groups.items()):
            acc, nmi = (records.mean_std(r["scores"][m] for r in group) for m in (measure, "nmi"))
            rows.append([name, data, row, paper + note, len(group), acc + note, nmi, text])
    return rows


def reproduced(tables: Mapping[str, ModuleType]) -> str:
    """Return the rows that were run on all of their data with the settings of the table's row.

    Of runs in float32 and in bf16, those of which there are more.
    """
    rows = []
    for table in tables.values():
        found = [r for r in report.read_all(table) if is_full(table, r) and not r["set"]]
        for (data, row), (paper, *_) in getattr(table, "PAPER", {}).items():
            runs = [r for r in found if (r["data"], r["row"]) == (data, row)]
            groups = [[r for r in runs if r["precision"] == p] for p in ("float32", "bf16")]
            if group := max(groups, key=len):
                measure = getattr(table, "MEASURES", {}).get(row, "acc")
                acc = records.mean_std(r["scores"][measure] for r in group)
                rows.append([row, data, f"{paper:.3f}", acc, len(group)])
    return records.table(["method", "data", "paper", "here", "runs"], rows)


def text(tables: Mapping[str, ModuleType]) -> str:
    """Return the page."""
    of_papers = {name: table for name, table in tables.items() if getattr(table, "PAPER", None)}
    rows = [line for name, table in of_papers.items() for line in lines(name, table)]
    figures = {tuple(line[:3]) for line in rows}
    run = {tuple(line[:3]) for line in rows if line[4] != NONE}
    return (
        f"Of {len(figures)} rows that the papers have figures of, {len(run)} were run on all of "
        "their data (DEPICT's USPS is another set than the paper's; k-means on CIFAR-10 and DAC "
        "are in two rows each); runs on fewer images stand in the tables alone, which also say "
        "what the papers' figures are (means or best runs; ACC / NMI / ARI). NMI is divided by the "
        "arithmetic mean of the entropies here, in scikit-learn before 0.22 by the geometric one, "
        "which gives more where clusters are of unequal size.\n\n"
        f"{records.table(HEADER, rows)}\n"
    )


def write(tables: Mapping[str, ModuleType]) -> None:
    """Write the page."""
    records.RESULTS.mkdir(parents=True, exist_ok=True)
    (records.RESULTS / "papers.md").write_text(text(tables))
