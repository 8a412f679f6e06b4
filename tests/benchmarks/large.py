"""Calls to a pool of the size in docs/reference/tested-limits.md."""

import time
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from tests.benchmarks import processes
from tests.benchmarks.system import System

READS = {
    "a page of 100 volumes": "/volumes?limit=100&marker={marker}",
    "a page of 100 volumes of a health that none has": "/volumes?health=Faulted&limit=100",
    "the volumes of a host": "/volumes?hostID=host-{n}&limit=100",
    "a volume by alias": "/volumes_by_alias/v{n}",
    "a poll of a host": "/tasks?hostId=host-{n}",
    "a page of 100 hosts": "/hosts?limit=100&marker=host-{n}",
    "GET /backends": "/backends",
    "the snapshots of a tenant": "/0/snapshots?limit=100",
    "GET /tenants": "/tenants",
    "GET /metrics": "/metrics",
}
FEW = 3
"""How often calls are made that take seconds."""
SLOW = ("GET /metrics", "a page of 100 volumes of a health that none has")


class Called(NamedTuple):
    """Milliseconds of a kind of call, and MiB of all API processes together."""

    name: str
    p50: float
    p99: float
    mib: float


def calls(system: System, number: int) -> Iterator[Called]:
    """Make each kind of READS ``number`` times, and as many creates, one after the other."""
    workers = list(processes.children(system.services["API"].running.pid))
    numbers = count(1)

    def measured(name: str, method: str, path: str, body: object = None) -> Called:
        for worker in workers:
            processes.forget_peak(worker)
        took = []
        for _ in range(FEW if name in SLOW else number):
            n = next(numbers)
            content = None if body is None else {"alias": f"large-{n}", "capacity": 1}
            began = time.monotonic()
            system.call(method, path.format(n=n, marker=f"{n * 7 % 90 + 10}"), content)
            took.append(1000 * (time.monotonic() - began))
        took.sort()
        mib = sum(map(processes.peak_mib, workers))
        return Called(name, took[len(took) // 2], took[int(len(took) * 0.99)], mib)

    for name, path in READS.items():
        yield measured(name, "GET", path)
    yield measured("a create of one replica", "POST", "/volumes", body={})
