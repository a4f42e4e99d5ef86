"""Shows what benchmarks measured, from their records, so that no figure is typed twice.

- The pages of ``docs/benchmarks/records/`` are written anew with each build, one a table.
- The directive ``benchmark`` shows a part of a table::

      ```{benchmark} information
      :row: IMSAT (VAT); RIM
      :data: mnist
      :columns: data; images; row; epochs; runs; ACC; NMI; paper
      ```
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchmarks import report
from benchmarks.records import RESULTS

ROOT = RESULTS.parent.parent
PAGES = Path(__file__).parent.parent / "benchmarks" / "records"


def listed(text: str) -> list[str]:
    """Return what is between semicolons."""
    return [part.strip() for part in text.split(";")]


class Benchmark(SphinxDirective):
    """Rows of a table of records."""

    required_arguments = 1
    option_spec: ClassVar = {
        "row": listed, "data": listed, "columns": listed, "n-samples": int, "device": str,
    }  # fmt: skip

    def run(self) -> list[nodes.Node]:
        """Parse the table as if it stood in the page."""
        table = import_module(f"benchmarks.tables.{self.arguments[0]}")
        options: dict[str, Any] = self.options
        for name, known in ("row", getattr(table, "ORDER", table.ROWS)), ("data", table.DATA):
            if unknown := set(options.get(name, known)) - set(known):
                raise self.error(f"{self.arguments[0]} has no {name} {sorted(unknown)}")

        def keep(line: dict[str, Any]) -> bool:
            return (
                line["row"] in options.get("row", [line["row"]])
                and line["data"] in options.get("data", [line["data"]])
                and line["n_samples"] == options.get("n-samples", line["n_samples"])
                and options.get("device") in (None, line["environment"]["device"])
            )

        name = self.arguments[0]
        for path in (Path(table.__file__), *(RESULTS / name).glob("*.json")):
            self.env.note_dependency(str(path))
        grid = report.grid(table, report.read_all(table), keep, options.get("columns"))
        if not grid:
            return [nodes.paragraph("", "Not run yet.")]
        grid += f"\n\n{{doc}}`How this was measured </benchmarks/records/{name}>`"
        parent = nodes.container(classes=["benchmark"])
        self.state.nested_parse(StringList(grid.splitlines(), source=table.__file__), 0, parent)
        return [parent]


def first_line(name: str) -> str:
    """Return the first line of the docstring of the module that measured this."""
    stem = name.removesuffix("-cpu").removesuffix("-cuda")
    for folder in ("tables", "speed", "drills", "."):
        for path in (ROOT / "benchmarks" / folder).glob(f"{stem}.py"):
            return (ast.get_docstring(ast.parse(path.read_text())) or stem).splitlines()[0]
    return "The same network, batches and epochs beside ClustPy."  # peers is a folder


def write_pages(app: Sphinx) -> None:
    """Write a page for each table of records."""
    PAGES.mkdir(exist_ok=True)
    pages = {}
    for path in sorted(RESULTS.glob("*.md")):
        lines = path.read_text().splitlines()
        body = "\n".join(lines[1:] if lines[0].startswith("# ") else lines)
        title = first_line(path.stem).rstrip(".:")
        pages[path.name] = f"# `{path.stem}`\n\n{title}.\n\n{body}\n"
    for old in PAGES.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        page = PAGES / name
        if not page.exists() or page.read_text() != text:  # or else Sphinx reads it again
            page.write_text(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    directives.register_directive("benchmark", Benchmark)
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "version": "1"}
