"""The benchmarks' command line.

    python -m benchmarks TABLE [--row ...] [--data ...] [--random-states ...] [--set key=value ...]
    python -m benchmarks [TABLE] --render              # run nothing
    python -m benchmarks queue --budget-minutes 540    # the most valuable of what is missing
    python -m benchmarks --list                        # tables, rows, data, and what is missing
    python -m benchmarks TABLE [--row ...] --settings  # the estimators of the rows, run nothing

A table is run as its paper has it, where nothing else is said. Each run writes a JSON file to
benchmarks/results/TABLE/ as soon as it is done; what is there is not run again. Checkpoints and
models are kept in benchmarks/cache/. Labels are used for the figures alone.

BENCHMARKS_SHARED=1 notes in the records that other runs share the device, so that
their seconds are not those of a run alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from ast import literal_eval
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks import papers, queue, readme, records, report
from benchmarks.run import Fit, Job, run_if_missing
from benchmarks.tables import TABLES


def setting(text: str) -> tuple[str, Any]:
    """Return the name and the value of key=value; what is no literal is a string."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not key=value")
    try:
        return name, literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="?", choices=[*TABLES, "queue"])
    parser.add_argument("--row", nargs="+")
    parser.add_argument("--data", nargs="+")
    parser.add_argument("--random-states", type=int, nargs="+")
    parser.add_argument(
        "--set", type=setting, nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="an option of the table (--list) or a parameter of the estimator",
    )  # fmt: skip
    parser.add_argument("--n-samples", type=int, help="of each part at most")
    parser.add_argument("--threads", type=int, help="of the queue on the CPU: 1")
    parser.add_argument("--device", default=records.default_device())
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--data-home", type=Path, help="folder of folders, such as mnist")
    parser.add_argument("--budget-minutes", type=float, help="of the queue")
    parser.add_argument("--render", action="store_true", help="run nothing, write the tables")
    parser.add_argument("--figures", action="store_true", help="draw those that need models, too")
    parser.add_argument("--list", action="store_true")
    parser.add_argument(
        "--settings", action="store_true", help="print the rows' estimators, and run nothing"
    )
    parser.add_argument(
        "--results", type=Path,
        help="folder of the records, in place of those of the repository, which stay as they are",
    )  # fmt: skip
    args = parser.parse_args(argv)
    if args.table == "queue" and args.budget_minutes is None:
        parser.error("queue: --budget-minutes is missing")
    if args.table is None and not (args.list or args.render):
        parser.error("a table, queue, --render or --list is missing")
    if args.settings and args.table not in TABLES:
        parser.error("--settings: of which table?")
    if args.figures and not hasattr(TABLES.get(args.table), "draw"):
        drawn = "; ".join(name for name, table in TABLES.items() if hasattr(table, "draw"))
        parser.error(f"--figures: a table of {drawn}; the others' need no models: --render")
    if args.table in TABLES:
        table = TABLES[args.table]
        args.data = args.data or list(getattr(table, "DEFAULT_DATA", table.DATA))
        args.row = args.row or list(getattr(table, "DEFAULT_ROWS", table.ROWS))
        args.random_states = args.random_states or list(table.STATES)
        for name, known in (("data", table.DATA), ("row", table.ROWS)):
            for given in getattr(args, name):
                if given not in known:
                    parser.error(f"--{name}: {given!r} is none of {'; '.join(known)}")
    return args


def jobs(args: argparse.Namespace) -> list[Job]:
    """Return the runs of a command line, random state by random state."""
    table = TABLES[args.table]
    return [
        Job(
            table, row, data, state, args.n_samples, dict(args.set), args.precision, args.device,
            args.data_home,
        )
        for data in args.data
        for state in args.random_states
        for row in table.ROWS
        if row in args.row
    ]  # fmt: skip


def described(job: Job) -> list[str]:
    """Return what a run fits, and before it what it goes on from: all that isn't the default."""
    lines = [] if job.base is None else described(job.base)
    if job.base is not None:
        job.before = Fit(job.base.estimator(), 0, 0.0, {}, [], {})
    own = job.estimator().__repr__(N_CHAR_MAX=10**6)
    return [*lines, f"# {job.table_name}: {job.data}, {job.row}", own, ""]


def write(args: argparse.Namespace) -> None:
    """Write what all tables have a part in."""
    papers.write(TABLES)
    if args.results is None:
        readme.write()


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.results is not None:
        records.RESULTS = args.results
    threads = args.threads
    if threads is None and args.table == "queue" and args.device == "cpu":
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    if args.list:
        print(queue.listing(TABLES, args.device))
        return 0
    if args.table == "queue":
        with suppress(AttributeError, OSError):  # where there is none
            os.nice(10)
        failed = queue.work(TABLES.values(), 60 * args.budget_minutes, args.device, args.data_home)
        print(*failed, sep="\n", file=sys.stderr)
        write(args)
        return bool(failed)
    if args.settings:
        for job in jobs(args):
            print(*described(job), sep="\n")
        return 0
    failed = False
    for job in [] if args.render else jobs(args):
        try:
            if run_if_missing(job):
                report.render(job.table)
        except FloatingPointError as error:  # the other rows may do better
            failed = True
            print(f"{job.name} failed: {error}", file=sys.stderr, flush=True)
    if args.figures:
        folder = records.RESULTS / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        TABLES[args.table].draw(jobs(args), folder)
    for name in [args.table] if args.table else TABLES:
        print(report.render(TABLES[name]))
    write(args)
    return failed


if __name__ == "__main__":
    sys.exit(main())
