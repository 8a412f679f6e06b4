"""Hosts call at the rhythm of the real agent: a poll each second; a probe, and a read of the
volumes and of the targets each 30 s. Each host has a connection of its own for its polls.

A slower rhythm shows what the number of hosts needs, such as connections and memory, on a machine
that is too small for their calls.
"""

import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tests.benchmarks import data, load, processes
from tests.benchmarks.load import Load
from tests.benchmarks.measuring import Meter
from tests.benchmarks.polls import PollingHosts
from tests.benchmarks.system import System

OTHERS = {
    "probes": ("POST", "/host_probe", data.PROBE),
    "volumes": ("GET", "/volumes?hostID=host-<n>", ""),
    "targets": ("GET", "/targets?hostId=host-<n>", ""),
}
OTHER_SECONDS = 30.0
SECONDS = 20.0
CONNECTIONS = 12
"""Of each kind of the other calls, which has a caller of its own. The API limits the calls in
progress of one caller.
"""
MORE_CONNECTIONS = 100
"""That HAProxy has besides those for polls, at most."""
COUNTED = ("API", "HAProxy of API", "PostgreSQL")
LOAD = "the load"


class Wanted(NamedTuple):
    """This number of hosts, whose calls are ``slower`` times as rare as those of real agents."""

    hosts: int
    slower: int = 1


class Rhythm(NamedTuple):
    """Latencies of polls and of all other calls in milliseconds. ``refused``: the number of polls
    that were not answered with 200. ``cores``: that processes used, by name. ``haproxy_mib``: the
    peak of the memory of HAProxy.
    """

    wanted: Wanted
    poll_p50: float
    poll_p99: float
    other_p99: float
    refused: int
    cores: dict[str, float]
    haproxy_mib: float


def rhythms(system: System, meter: Meter, wanted: tuple[Wanted, ...]) -> Iterator[Rhythm]:
    """Measure each of these. The pool must have as many hosts.

    :raises AssertionError: HAProxy may not open as many connections on this machine. Others would
        wait, and the latencies would have no meaning.
    """
    tokens = {name: system.token_of(f"rhythm-{name}", "ADMIN") for name in ("polls", *OTHERS)}
    seconds = meter.seconds / 2 * SECONDS
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    for hosts, slower in wanted:
        needed = 2 * (hosts + MORE_CONNECTIONS)
        assert needed <= most_files, f"{hosts} hosts need {needed} open files, not {most_files}"
        others = {
            name: meter.load(
                *call,
                token=tokens[name],
                concurrency=CONNECTIONS,
                numbers=hosts,
                seconds=seconds,
                rate=hosts / slower / OTHER_SECONDS,
            )
            for name, call in OTHERS.items()
        }
        # from now on, probes are known
        load.run(replace(others["probes"], rate=0.0, seconds=5 * meter.seconds))
        polling = PollingHosts(system, hosts, slower, seconds, tokens["polls"])
        time.sleep(polling.opening)
        began, before = time.monotonic(), _cpu(system, polling)
        rest = [load.end(process, one) for process, one in _begun(others)]
        measured = time.monotonic() - began
        cores = {
            name: (cpu - before[name]) / measured for name, cpu in _cpu(system, polling).items()
        }
        cores[LOAD] += sum(one.cpu_seconds for one in rest) / measured
        mib = processes.peak_mib(system.services["HAProxy of API"].running.pid)
        polls = polling.end()
        yield Rhythm(
            Wanted(hosts, slower),
            polls.percentile(50),
            polls.percentile(99),
            max(one.percentile(99) for one in rest),
            polls.refused,
            cores,
            mib,
        )


def _begun(loads: dict[str, Load]) -> list[tuple[subprocess.Popen[str], Load]]:
    return [(load.begin(one), one) for one in loads.values()]


def _cpu(system: System, polling: PollingHosts) -> dict[str, float]:
    used = {name: processes.cpu_seconds(system.services[name].running.pid) for name in COUNTED}
    return used | {LOAD: polling.cpu_seconds()}
