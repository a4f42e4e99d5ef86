"""Tables of records: grouped, mean ± standard deviation over all random states, as Markdown.

The paper's figures have a column of their own. A table's module gives

- `COLUMNS`: further columns that tell runs apart, by name, of a record (or another "set");
- `VALUES`: further columns that are measured, by name, of a group's records;
- `PAPER`: the paper's figures by (data, row), and `PAPER_HAS`, what they are; `MEASURES`: by row,
  what the first of them is, if it isn't ACC;
- `REMARKS`: what stands below; `remarks(records)`: what depends on the records there;
- optional: `ORDER` of the rows, `SECONDS`, `lines(record)`, `figures(records, folder)`, and
  `report(records)` in place of all of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.records import described, machine, mean_std, place

METRICS = {"ACC": "acc", "NMI": "nmi", "ARI": "ari"}


def option(name: str, default: Any = "") -> Callable[[dict], Any]:
    """Return the column of an option: empty where a row doesn't have it, "yes" where it is on."""

    def column(record: dict) -> Any:
        value = record["options"].get(name, default)
        if isinstance(value, bool):
            return "yes" if value else ""
        return default if value in (None, "None") else value

    return column


def images(record: dict) -> str:
    """Return how many: training part (+ those for what comes first alone) / test part."""
    n = record["n_samples"]
    of_base = record.get("base", {}).get("n_samples", record.get("n_samples of SimCLR", 0))
    more = f" + {of_base - n:,}" if of_base > n else ""
    return f"{n:,}{more}" + (f" / {record['n_test']:,}" if record["n_test"] else "")


def further(record: dict) -> str:
    """Return what was set besides the options, which have columns of their own."""
    changed = {k: v for k, v in record["set"].items() if k not in record["options"]}
    return ", ".join(f"{name}={value}" for name, value in changed.items())


def read_all(table: ModuleType) -> list[dict[str, Any]]:
    """Return the records of a table."""
    folder = records.RESULTS / table.__name__.rpartition(".")[2]
    return [records.read(path) for path in sorted(folder.glob("*.json"))]


def mean_of(name: str) -> Callable[[list[dict]], str]:
    """Return the column of a measured value, where records have it."""

    def column(group: list[dict]) -> str:
        found = [r["scores"][name] for r in group if r["scores"].get(name) is not None]
        found = [value["acc"] if isinstance(value, dict) else value for value in found]
        return mean_std(found) if found else ""

    return column


def speed(group: list[dict]) -> str:
    """Return the images a second."""
    found = [r["images a second"] for r in group if "images a second" in r]
    return f"{np.mean(found):,.0f}" if found else ""


def keys_of(table: ModuleType) -> dict[str, Callable[[dict], Any]]:
    """Return what tells runs of a table apart, by the names of the columns."""
    columns = getattr(table, "COLUMNS", {})
    return {
        "data": lambda r: r["data"],
        "images": images,
        "row": lambda r: r["row"],
        **columns,
        "precision": lambda r: r["precision"],
        "set": columns.get("set", further),
    }


def grid(
    table: ModuleType,
    found: list[dict[str, Any]],
    keep: Callable[[dict], bool] = bool,
    columns: Sequence[str] | None = None,
) -> str:
    """Return the table itself, of the lines to keep; "" where there are none.

    Columns that are empty throughout are left out. `columns` names those to show, in their order,
    "paper" for the paper's figures. Runs that shared the device count with the others, but for the
    seconds where others are there; a table of times has them in lines of their own.
    """
    order = list(getattr(table, "ORDER", table.ROWS))
    keys = keys_of(table)
    lines = getattr(table, "lines", lambda record: [record])
    where = machine if getattr(table, "BY_DEVICE", False) else place
    groups: dict[tuple, list[dict]] = {}
    for record in [line for r in found for line in lines(r) if keep(line)]:
        key = (*(column(record) for column in keys.values()), where(record))
        groups.setdefault(key, []).append(record)

    if not groups:
        return ""

    def rank(item: tuple[tuple, list[dict]]) -> tuple:
        key, (first, *_) = item
        row = order.index(first["row"]) if first["row"] in order else len(order)
        data = list(table.DATA).index(first["data"])
        return (data, -first["n_samples"], first["n_test"], row, str(key))

    paper = getattr(table, "PAPER", {})
    seconds = getattr(table, "SECONDS", "seconds")
    rows = []
    for key, group in sorted(groups.items(), key=rank):
        figures = paper.get((group[0]["data"], group[0]["row"]), ())
        # None: of a process that was suspended
        timed = [r for r in group if r[seconds] is not None]
        timed = [r for r in timed if machine(r) == place(r)] or timed
        times = [r[seconds] for r in timed]
        rows.append(
            [
                *key[:-1],
                len(group),
                *(mean_std(r["scores"][m] for r in group) for m in METRICS.values()),
                *(value(group) for value in getattr(table, "VALUES", {}).values()),
                " / ".join("" if v is None else f"{v:.3f}" for v in figures),
                f"{np.mean(times):,.0f}" if times else "",
                machine(timed[0]) if timed else key[-1],
            ]
        )
    header = [
        *keys, "runs", *METRICS, *getattr(table, "VALUES", {}),
        f"paper: {getattr(table, 'PAPER_HAS', '')}", "seconds a run", "machine",
    ]  # fmt: skip
    names = [name.partition(":")[0] for name in header]
    if unknown := set(columns or ()) - set(names):
        raise ValueError(f"columns should be of {names}; got {sorted(unknown)}")
    wanted = range(len(header)) if columns is None else map(names.index, columns)
    shown = [i for i in wanted if any(str(row[i]) for row in rows)]
    return records.table([header[i] for i in shown], [[row[i] for i in shown] for row in rows])


def text(table: ModuleType) -> str:
    """Return a table with its remarks."""
    found = read_all(table)
    if not found:
        return f"No records yet.\n\n{getattr(table, 'REMARKS', '')}\n"
    if hasattr(table, "report"):
        body = table.report(found)
    else:
        remarks = table.remarks(found) if hasattr(table, "remarks") else ""
        body = "\n\n".join(filter(None, [grid(table, found), table.REMARKS, remarks]))
    latest = max(found, key=lambda r: r["environment"]["date"])
    return f"{body}\n\nVersions of the last: {described(latest)}.\n"


def render(table: ModuleType) -> str:
    """Write a table, where it has records, and its figures; return the table."""
    result = text(table)
    found = read_all(table)
    if found:
        name = table.__name__.rpartition(".")[2]
        (records.RESULTS / f"{name}.md").write_text(result)
        if hasattr(table, "figures"):
            folder = records.RESULTS / "figures"
            folder.mkdir(exist_ok=True)
            table.figures(found, folder)
    return result
