"""A module a table."""

from importlib import import_module

NAMES = [
    "time_to_accuracy",
    "tabular",
    "digits",
    "st_dac",
    "autoencoders",
    "mcdc",
    "dec",
    "den",
    "depict",
    "vade",
    "information",
    "adversarial",
    "n2d",
    "profeat",
    "baselines",
    "features",
    "selection",
    "criteria",
    "n_clusters",
    "outliers",
]
TABLES = {name: import_module(f"benchmarks.tables.{name}") for name in NAMES}
