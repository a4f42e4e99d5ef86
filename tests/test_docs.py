"""The documentation says what is there: names, parameters and figures."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
import types
from pathlib import Path

import pytest

import skdeepclust
from benchmarks import papers, readme, records, report
from benchmarks.tables import TABLES

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if not {"_build", "generated", "records", "examples"} & set(path.relative_to(ROOT).parts)
)


def blocks(path: Path) -> list[ast.Module]:
    found = re.findall(r"^( *)```python\n(.*?)^\1```", path.read_text(), re.DOTALL | re.MULTILINE)
    return [ast.parse(textwrap.dedent(code)) for _, code in found]


def named(node: ast.AST) -> dict[str, object]:
    """Return what a block imports from the package."""
    return {
        alias.asname or alias.name: getattr(importlib.import_module(part.module), alias.name)
        for part in ast.walk(node)
        if isinstance(part, ast.ImportFrom) and part.module.startswith("skdeepclust")
        for alias in part.names
    }


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_code_of_a_page_names_what_exists(page):
    known = {}  # a later block may use what an earlier one imports
    for block in blocks(page):
        known |= named(block)
        for call in ast.walk(block):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                function = known.get(call.func.id)
                if function is not None:
                    parameters = inspect.signature(function).parameters
                    given = {keyword.arg for keyword in call.keywords} - {None}
                    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
                    assert open_ended or given <= set(parameters), ast.unparse(call)


def test_a_wrong_parameter_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nfrom skdeepclust import DeepClustering\nDeepClustering(8, epochs=2)\n```\n"
    )
    with pytest.raises(AssertionError, match="epochs=2"):
        test_code_of_a_page_names_what_exists(page)


def test_api_lists_all_that_is_public():
    listed = set(re.findall(r"^   (\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    public = {name for name in skdeepclust.__all__ if callable(getattr(skdeepclust, name))}
    for module in ("augment", "datasets", "losses", "metrics", "networks", "objective", "plotting"):
        found = importlib.import_module(f"skdeepclust.{module}")
        public |= {
            name
            for name, member in vars(found).items()
            if not name.startswith("_")
            and (inspect.isclass(member) or inspect.isfunction(member))
            and (
                name in found.__all__
                if hasattr(found, "__all__")
                else member.__module__ == found.__name__
            )
        }
    assert public <= listed


def test_the_page_of_papers_is_that_of_the_records():
    text = papers.text(TABLES)
    assert text == (records.RESULTS / "papers.md").read_text()
    n_figures = sum(len(getattr(table, "PAPER", {})) for table in TABLES.values())
    assert text.startswith(f"Of {n_figures} rows")
    assert text.count("| none |") + int(text.split(", ")[1].split()[0]) == n_figures


def test_papers_figures_stand_beside_the_same_measures_of_a_tables_lines(monkeypatch):
    def split(record):
        return [{**record, "row": row, "scores": record["scores"][row]} for row in ("a", "b")]

    scores = {"a": {"acc": 0.1, "nmi": 0.2}, "b": {"acc": 0.3, "nmi": 0.4, "mapped": 0.5}}
    record = {"row": "both", "data": "few", "precision": "float32", "set": {}, "options": {}}
    runs = [{**record, "scores": scores, "n_samples": n, "n_test": 9} for n in (9, 10)]
    table = types.ModuleType("fake")
    table.lines, table.SIZES, table.MEASURES = split, {"few": 10}, {"b": "mapped"}
    table.PAPER = {("few", "a"): (0.9,), ("few", "b"): (0.8, 0.7), ("few", "c"): (0.6,)}
    monkeypatch.setattr(report, "read_all", lambda table: runs)
    assert [line[2:7] for line in papers.lines("fake", table)] == [
        ["a", "0.900", 1, "0.100", "0.200"],
        ["b", "0.800 / 0.700 (mapped)", 1, "0.500 (mapped)", "0.400"],
        ["c", "0.600", papers.NONE, "", ""],
    ]


def test_readme_has_the_records_figures():
    text = readme.README.read_text()
    assert readme.updated(text) == text
    with pytest.raises(ValueError, match="records: begin"):
        readme.updated("no table")


def test_a_page_is_read_again_when_a_record_of_its_tables_changes(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    directive = importlib.import_module("benchmark_records").Benchmark
    noted = []
    page = types.SimpleNamespace(
        arguments=["baselines"],
        options={},
        env=types.SimpleNamespace(note_dependency=noted.append),
        state=types.SimpleNamespace(nested_parse=lambda *args: None),
    )
    directive.run(page)
    assert set(map(str, (records.RESULTS / "baselines").glob("*.json"))) < set(noted)
    assert TABLES["baselines"].__file__ in noted


DIRECTIVE = re.compile(r"```\{benchmark\} (\w+)\n((?::.*\n)*)```")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_tables_that_pages_show_have_their_rows_and_columns(page):
    """As the extension reads them, which needs Sphinx."""

    def listed(text):
        return [part.strip() for part in text.split(";")]

    text = page.read_text(encoding="utf-8")
    found = DIRECTIVE.findall(text)
    assert len(found) == text.count("```{benchmark}")
    for name, lines in found:
        table = importlib.import_module(f"benchmarks.tables.{name}")
        options = dict(re.findall(r":([\w-]+): (.*)", lines))
        assert set(options) <= {"row", "data", "columns", "n-samples", "device"}
        for option, known in ("row", getattr(table, "ORDER", table.ROWS)), ("data", table.DATA):
            assert set(listed(options.get(option, ""))) <= {*known, ""}
        columns = listed(options["columns"]) if "columns" in options else None
        report.grid(table, report.read_all(table), lambda line: True, columns)
