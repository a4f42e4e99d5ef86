"""Sphinx settings: python -m sphinx -W docs docs/_build/html."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
# benchmarks, which are not installed, and the extension that shows their records
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import tqdm  # noqa: E402

import skdeepclust  # noqa: E402

project = "skdeepclust"
author = "The skdeepclust developers"
project_copyright = "the skdeepclust developers"
version = release = skdeepclust.__version__

extensions = [
    "benchmark_records",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
smartquotes = False  # names of rows have quotes that are code
default_role = "literal"  # what a docstring has in single backquotes

html_theme = "pydata_sphinx_theme"
html_title = f"skdeepclust {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "start", "choose", "contributing", "changelog")}
html_theme_options = {
    "github_url": "https://github.com/skdeepclust/skdeepclust",
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}


def without_bar(self: tqdm.tqdm, *args: object, **keywords: object) -> None:
    """Begin a progress bar that shows nothing: each step would be a line of an example's output."""
    begin(self, *args, **{**keywords, "disable": True})


begin, tqdm.tqdm.__init__ = tqdm.tqdm.__init__, without_bar

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": "ExampleTitleSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib",),
    "plot_gallery": os.environ.get("PLOT_GALLERY", "True"),
}


def escape(app, what, name, obj, options, lines):
    """Escape what docstrings mean as it stands, as in (n, *input_shape) and labels_."""
    for i, line in enumerate(lines):
        if ">>>" not in line and "..." not in line:
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            parts[::2] = [
                re.sub(r"(?<!\*)\*(?=\w)|(?<=\w)_(?=\W|$)", r"\\\g<0>", p) for p in parts[::2]
            ]
            lines[i] = "".join(parts)


def setup(app):
    """Register it, to run before numpydoc reads the docstring."""
    app.connect("autodoc-process-docstring", escape, priority=100)
