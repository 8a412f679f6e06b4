"""A node dies, and the pool replaces its replicas while clients create volumes and hosts poll."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from tests.benchmarks import data, load
from tests.benchmarks.load import Load, Outcome
from tests.benchmarks.measuring import Meter
from tests.benchmarks.system import RACKS as USUAL
from tests.benchmarks.system import System
from tests.waiting import eventually

CROWDED = "many"
RACKS = (*USUAL, *[CROWDED] * 83)
"""The racks of the 99 nodes that stay."""
DYING = "02:00:03"
CLIENTS = 8
SETTINGS = {"PROBE_INTERVAL_SECONDS": "10", "POLL_INTERVAL_SECONDS": "5"}
"""The node is Unavailable 30 s after its end, and its replicas are replaced 60 s later."""
DOWN_MINUTES = 1
CREATES_PER_SECOND = 20.0
POLLS_PER_SECOND = 200.0
AWAY_SECONDS = 300.0
STARTED = "SELECT count(*) FROM tasks_task WHERE type = 'ReplicaSync'"
RUNNING = "SELECT count(*) FROM tasks_task WHERE type = 'ReplicaSync' AND ended_at IS NULL"
DUE = (
    "SELECT extract(epoch FROM now() - available_until) FROM inventory_backend"
    " WHERE persistent_id = %s"
)


class Rebuild(NamedTuple):
    """Seconds from the moment when the replicas were due: to the first replacement and to the end
    of the last. ``creates`` and ``polls``: their p95 before and during it, in milliseconds.
    """

    replicas: int
    first: float
    last: float
    most_at_once: int
    creates: tuple[float, float]
    polls: tuple[float, float]


def rebuild(system: System, meter: Meter, volumes: int) -> Rebuild:
    """Let a node with a replica of each of so many volumes die, and wait until all are replaced.

    At first only that node and those of the rack CROWDED may have replicas, so each volume has one
    on it. New replicas are made on the other nodes, which are in racks of their own.
    """
    usual = [_id(one) for one in system.call("GET", "/backends") if one["rack"] != CROWDED]
    system.add_node("dying node", DYING, rack="dying")
    for node in usual:
        system.call("PUT", f"/backends/{node}", {"inUse": False})
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda n: _create(system, n), range(volumes)))
    for node in usual:
        system.call("PUT", f"/backends/{node}", {"inUse": True})
    [dying] = [node for node in map(_id, system.call("GET", "/backends")) if node.startswith(DYING)]
    system.call("PUT", f"/backends/{dying}", {"inUse": False})
    before = _loads(meter)
    system.services["dying node"].kill()
    with system.connect() as database:

        def value(query: str, *parameters: object) -> float:
            row = database.execute(query, parameters).fetchone()
            assert row
            return float(row[0])

        here = "SELECT count(*) FROM volumes_replica WHERE backend_id = %s AND state = 'READY'"
        assert value(here, dying) == volumes
        eventually(lambda: value(STARTED) > 0, seconds=AWAY_SECONDS, what="no replacement starts")
        first = value(DUE, dying) - 60 * DOWN_MINUTES
        at_once, during = [], []
        while value(here, dying):
            during.append(_loads(meter))
            at_once.append(value(RUNNING))
        last = value(DUE, dying) - 60 * DOWN_MINUTES
    middle = [median(one[kind].percentile(95) for one in during) for kind in (0, 1)]
    creates, polls = ((b.percentile(95), m) for b, m in zip(before, middle, strict=True))
    return Rebuild(volumes, first, last, int(max(at_once)), creates, polls)


def _id(node: dict[str, str]) -> str:
    return node["persistentID"]


def _create(system: System, number: int) -> None:
    storage = {"numReplicas": 2, "maxReplicaDownTime": DOWN_MINUTES}
    body = {"alias": f"lost-{number}", "capacity": 1, "storageClass": storage}
    system.call("POST", "/volumes", body)


def _loads(meter: Meter) -> tuple[Outcome, Outcome]:
    """Create and poll at fixed rates for some seconds."""
    seconds = 5 * meter.seconds / 2
    creates = meter.load(
        "POST",
        "/volumes",
        f'{{"alias":"r{time.time_ns()}-<n>","capacity":1}}',
        expect='"Success"',
        rate=CREATES_PER_SECOND,
        seconds=seconds,
    )
    polls = replace(
        meter.load("GET", "/tasks?hostId=host-<n>", expect="[", numbers=data.HOSTS),
        rate=POLLS_PER_SECOND,
        seconds=seconds,
    )
    running: list[Load] = [creates, polls]
    processes = [load.begin(one) for one in running]
    first, second = (load.end(p, one) for p, one in zip(processes, running, strict=True))
    return first, second
