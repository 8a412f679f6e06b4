"""Formats the figures for docs/reference/performance.md."""

import os
import platform
from pathlib import Path

from tests.benchmarks.figures import Results
from tests.benchmarks.measuring import Figure
from tests.benchmarks.system import API_WORKERS, System

HEAD = (
    "call",
    "connections",
    "per second",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "of the bare view",
    "of pgbench",
    "CPU ms per call: API + HAProxy + PostgreSQL + nodes",
)
NONE = "no pgbench"


def text(results: Results, system: System) -> str:
    """Return Markdown: a table, notes, and a description of the machine."""
    rows = [HEAD, tuple("---" for _ in HEAD), *map(_row, results.figures)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"* {note}" for note in [*results.notes, *_ratios(results), _place(system)])
    return f"{table}\n\n{notes}\n"


def _row(figure: Figure) -> tuple[str, ...]:
    of_pgbench = NONE
    if figure.transactions and figure.of_pgbench:
        of_pgbench = f"{figure.of_pgbench:.2f} of {_number(figure.transactions)}"
    return (
        figure.name,
        str(figure.concurrency),
        _number(figure.per_second),
        *(f"{value:.1f}" for value in (figure.p50, figure.p95, figure.p99)),
        f"{figure.of_bare:.2f} of {_number(figure.bare)}",
        of_pgbench,
        " + ".join(f"{value:.1f}" for value in figure.cpu.values()),
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _ratios(results: Results) -> list[str]:
    """Return how much slower a page of many volumes is than a page of few."""
    pages = [figure for figure in results.figures if figure.name.startswith("page of")]
    if len(pages) != 2:
        return []
    few, many = pages
    return [
        f"a {many.name} takes {many.p50 / few.p50:.2f} times as long (p50) as a {few.name}; "
        f"beside the bare view of the same moments {few.of_bare / many.of_bare:.2f} times"
    ]


def _place(system: System) -> str:
    with system.connect() as database:
        version = str(database.info.server_version // 10000)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({_cpu()}) for all of it: {API_WORKERS} API workers, PostgreSQL "
        f"{version} with fsync, Redis, a Celery worker, beat, the simulated nodes and the load "
        f"itself; Python {platform.python_version()}; load average at the end {load}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
