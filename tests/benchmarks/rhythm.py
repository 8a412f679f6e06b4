"""Hosts call at the rhythm of the real agent: a poll each second; a probe, and a read of the
volumes and of the targets each 30 s.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tests.benchmarks import data, load, processes
from tests.benchmarks.load import Load
from tests.benchmarks.measuring import Meter
from tests.benchmarks.system import System

POLLS = "/tasks?hostId=host-<n>5"
"""Every tenth host of the pool has a task, and none whose number ends with 5."""
OTHERS = {
    "probes": ("POST", "/host_probe", data.PROBE),
    "volumes": ("GET", "/volumes?hostID=host-<n>", ""),
    "targets": ("GET", "/targets?hostId=host-<n>", ""),
}
OTHER_SECONDS = 30.0
SECONDS = 20.0
CONNECTIONS = 12
"""Of each kind of call, which has a caller of its own. The API limits the calls in progress of one
caller.
"""
COUNTED = ("API", "HAProxy of API", "PostgreSQL")


class Rhythm(NamedTuple):
    """Latencies of polls and of all other calls in milliseconds. ``cores``: that processes used,
    by name.
    """

    hosts: int
    poll_p50: float
    poll_p99: float
    other_p99: float
    cores: dict[str, float]


def rhythms(system: System, meter: Meter, numbers: tuple[int, ...]) -> Iterator[Rhythm]:
    """Measure each number of hosts. The pool must have ten times as many."""
    tokens = {name: system.token_of(f"rhythm-{name}", "ADMIN") for name in ("polls", *OTHERS)}
    for hosts in numbers:
        polls = _load(meter, ("GET", POLLS, ""), hosts, hosts, tokens["polls"])
        others = {
            name: _load(meter, call, hosts, hosts / OTHER_SECONDS, tokens[name])
            for name, call in OTHERS.items()
        }
        for known in (polls, others["probes"]):  # from now on, answers are in memory
            load.run(replace(known, rate=0.0, seconds=5 * meter.seconds))
        began, before = time.monotonic(), _cpu(system)
        running = [(load.begin(one), one) for one in (polls, *others.values())]
        polled, *rest = [load.end(process, one) for process, one in running]
        seconds = time.monotonic() - began
        cores = {name: (cpu - before[name]) / seconds for name, cpu in _cpu(system).items()}
        cores["the load"] = sum(one.cpu_seconds for one in (polled, *rest)) / seconds
        yield Rhythm(
            hosts,
            polled.percentile(50),
            polled.percentile(99),
            max(one.percentile(99) for one in rest),
            cores,
        )


def _load(meter: Meter, call: tuple[str, str, str], hosts: int, rate: float, token: str) -> Load:
    return meter.load(
        *call,
        token=token,
        concurrency=CONNECTIONS,
        numbers=hosts,
        seconds=meter.seconds / 2 * SECONDS,
        rate=rate,
    )


def _cpu(system: System) -> dict[str, float]:
    return {name: processes.cpu_seconds(system.services[name].running.pid) for name in COUNTED}
