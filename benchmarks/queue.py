"""The most valuable missing runs of all tables, until a budget of time is used.

Safe to kill at any moment: finished runs are there, and half-done ones go on from their checkpoint.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from benchmarks import report
from benchmarks.run import Job, Stopped, Wanted, run_if_missing

LEAST = 60.0  # seconds left, for a run that will have to go on another time


def wanted(
    tables: Iterable[ModuleType], device: str, data_home: Path | None = None
) -> Iterator[tuple[Wanted, Job]]:
    """Yield the missing runs that suit the device, each once."""
    seen = set()
    every = [(w, table) for table in tables for w in table.WANTED]
    for w, table in sorted(every, key=lambda pair: -pair[0].value):
        if w.seconds[device.startswith("cuda")] is None:
            continue
        for data in w.data:
            for row in w.rows:
                for state in w.random_states:
                    job = Job(
                        table, row, data, state, w.n_samples, w.given, w.precision, device,
                        data_home,
                    )  # fmt: skip
                    if job.path not in seen and not job.path.exists():
                        seen.add(job.path)
                        yield w, job


def is_effort(name: str) -> bool:
    """Return whether an option multiplies the time alone."""
    return name.endswith(("epochs", "updates", "rounds", "n_models"))


def effort(values: dict[str, Any], n_samples: int | None) -> float:
    """Return samples x epochs x rounds x models."""
    once = [v for k, v in values.items() if k.endswith(("epochs", "updates")) and v]
    factors = [v for k, v in values.items() if k.endswith(("rounds", "n_models")) and v]
    return (n_samples or 1) * (sum(once) or 1) * float(np.prod(factors))


def estimate(w: Wanted, job: Job, found: list[dict[str, Any]]) -> float:
    """Return the seconds of a run: from records of its row, scaled, else a rough guess.

    Of records with as many threads, where there are any.
    """
    names = {**job.options, **job.parameters}
    size = job.n_samples or job.table.SIZES.get(job.data)
    is_begun = job.base is not None and job.base.cached(".joblib").exists()
    clock = "seconds" if is_begun else "seconds of all"

    def of_record(r: dict[str, Any]) -> dict[str, Any]:
        values = r["options"] | r["set"]
        return {name: values.get(name) for name in names}

    like = [
        r
        for r in found
        if (r["row"], r["data"], r["precision"]) == (job.row, job.data, job.precision)
        and r["environment"]["device"] == torch.device(job.device).type
        and r["seconds"] is not None
        and all(
            (v or None) == (names[k] or None) for k, v in of_record(r).items() if not is_effort(k)
        )
    ]
    n_threads = torch.get_num_threads()
    like = [r for r in like if r["environment"].get("n_threads") == n_threads] or like
    seconds = [
        r.get(clock, r["seconds"]) * effort(names, size) / effort(of_record(r), r["n_samples"])
        for r in like
    ]
    return float(np.mean(seconds)) if seconds else w.seconds[job.device.startswith("cuda")]


def ranked(
    tables: Iterable[ModuleType], device: str, data_home: Path | None = None
) -> list[tuple[float, Job]]:
    """Return the missing runs with their estimates, the next one first.

    By value, then state by state, so that each row has something to show early; short ones first.
    """
    found = {table: report.read_all(table) for table in tables}
    jobs = [
        (-w.value, job.random_state, estimate(w, job, found[job.table]), job)
        for w, job in wanted(tables, device, data_home)
    ]
    return [(seconds, job) for *_, seconds, job in sorted(jobs, key=lambda item: item[:3])]


def work(
    tables: Iterable[ModuleType],
    seconds: float,
    device: str,
    data_home: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Run what fits into `seconds`, the most valuable first; return the names of what failed."""
    tables = list(tables)
    end = clock() + seconds
    failed: dict[Path, str] = {}
    try:
        while True:
            left = end - clock()
            job = None
            for needed, candidate in ranked(tables, device, data_home):
                if candidate.path in failed:
                    continue
                if needed <= left or (left >= LEAST and candidate.can_go_on()):
                    job = candidate
                    break
            if job is None:
                break
            try:
                if job.can_go_on():
                    job.until = time.monotonic() + left
                run_if_missing(job)
            except Exception as error:  # the other rows may do better
                failed[job.path] = f"{job.table_name} {job.name}: {error}"
                traceback.print_exc()
            else:
                report.render(job.table)
    except (KeyboardInterrupt, Stopped):  # by hand or by the clock
        print("stopped; what was half done goes on next time", flush=True)
    for table in tables:
        report.render(table)
    print(missing(tables, device))
    return list(failed.values())


def missing(tables: Iterable[ModuleType], device: str) -> str:
    """Return what is missing, with an estimate of the time."""
    jobs = ranked(list(tables), device)
    lines = [
        f"  {seconds / 60:7.0f} min  {job.table_name} {job.name}"
        + ("  (begun)" if job.cached(".pt").exists() else "")
        for seconds, job in jobs
    ]
    hours = sum(seconds for seconds, _ in jobs) / 3600
    return "\n".join([f"missing on {device}: {len(jobs)} runs, about {hours:.1f} h", *lines])


def listing(tables: dict[str, ModuleType], device: str) -> str:
    """Return the tables, their rows, data and options, and what is missing."""
    text = []
    for name, table in tables.items():
        every = (Job(table, row, data) for row in table.ROWS for data in table.DATA)
        options = list(dict.fromkeys(option for job in every for option in job.of_paper))
        text += [
            f"{name}: {(table.__doc__ or '').splitlines()[0]}",
            f"  rows: {'; '.join(table.ROWS)}",
            f"  data: {', '.join(table.DATA)}",
            *([f"  options: {', '.join(options)}"] if options else []),
            f"  records: {len(report.read_all(table))}",
        ]
    return "\n".join([*text, missing(tables.values(), device)])
