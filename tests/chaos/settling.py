"""Checks after the faults that everything that was begun has ended, and that all data agrees."""

import time
from collections import Counter
from collections.abc import Callable

import psycopg
import urllib3

from tests.chaos.caller import Caller
from tests.chaos.contents import Contents
from tests.chaos.oracle import Oracle
from tests.chaos.system import NODES, System

SETTLE_SECONDS = 90.0
UNFINISHED = """
SELECT 'volume ' || uuid || ' ' || state FROM volumes_volume
WHERE state <> 'READY' OR expanding_to_bytes IS NOT NULL
UNION ALL SELECT 'replica ' || id || ' ' || state FROM volumes_replica
WHERE state <> 'READY' OR rebuilding
UNION ALL SELECT 'snapshot ' || uuid || ' ' || state FROM volumes_snapshot WHERE state <> 'READY'
UNION ALL SELECT 'publication ' || id || ' ' || state FROM volumes_publication
WHERE state <> 'READY'
UNION ALL SELECT 'export ' || e.id || ' ' || e.state
FROM volumes_export e JOIN volumes_replica r ON r.id = e.replica_id
WHERE e.state <> 'READY' AND NOT (e.state = 'CREATING' AND r.replica_state = 'Missing')
UNION ALL SELECT 'task ' || type || ' ' || task_id || ' ' || state || ' ' || description
FROM tasks_task WHERE state IN ('IDLE', 'RUNNING')
UNION ALL SELECT 'drain ' || backend_id FROM volumes_drain
"""
ENDED = """
SELECT type || CASE
    WHEN outputs->>'drain' IS NOT NULL THEN ', to drain a node'
    WHEN type = 'ReplicaSync' AND outputs->>'leaving' IS NOT NULL THEN ', to heal'
    WHEN params @> '[{"name": "migrationHandler"}]' THEN ', by the provisioner'
    ELSE ', as a client asked' END,
  state, count(*)
FROM tasks_task WHERE type IN ('ReplicaSync', 'RemoteMigration') GROUP BY 1, 2
"""

TASKS = """
SELECT type, task_id, volume_id, state, created_at::time(1), started_at::time(1), ended_at::time(1),
  attempts, description FROM tasks_task ORDER BY created_at
"""


def unfinished(system: System) -> list[str]:
    """Return rows in a transitional state, and tasks that have not ended. The export of a lost
    replica is omitted, because it waits until its host replaces the replica.
    """
    with system.connect() as database:
        return [row[0] for row in database.execute(UNFINISHED)]


def moves(system: System) -> dict[str, Counter[str]]:
    """Count the results of tasks that give a volume a new replica, by type of task."""
    counts: dict[str, Counter[str]] = {}
    with system.connect() as database:
        for kind, state, number in database.execute(ENDED):
            counts.setdefault(kind, Counter())[state] += number
    return counts


def tasks(system: System) -> str:
    """Return all tasks as text, one line each."""
    with system.connect() as database:
        return "".join(f"{' '.join(map(str, row))}\n" for row in database.execute(TASKS))


def settle(system: System, supervise: Callable[[], None]) -> list[str]:
    """Wait until nothing is unfinished. Returns what is still unfinished after SETTLE_SECONDS."""
    began = time.monotonic()
    left = ["nothing was read"]
    while left and time.monotonic() - began < SETTLE_SECONDS:
        supervise()
        try:
            left = unfinished(system)
        except psycopg.OperationalError as error:
            left = [str(error)]
        if left:
            time.sleep(0.2)
    return left


def check(system: System, caller: Caller, oracle: Oracle) -> list[str]:
    """Return all contradictions: those found by the audit, on the nodes, and by the oracle."""
    found = []
    try:
        system.stack.manage("audit")
    except AssertionError as error:
        found.append(f"audit: {error}")
    for number in range(NODES):
        try:
            told = system.node(number, "GET", "/sim/violations")["violations"]
        except urllib3.exceptions.HTTPError as error:
            told = [f"cannot be read: {error}"]
        found += [f"node {system.nodes[number][0]}: {text}" for text in told]
    volumes = caller.read("/volumes", seconds=30)
    snapshots = caller.read("/snapshots", seconds=30)
    if volumes is None or snapshots is None:
        return [*found, "the API does not answer"]
    oracle.compare(volumes, snapshots, Contents(system.store))
    for host in sorted({thing.host for thing in oracle.things.values()}):
        shown = {v["uuid"] for v in caller.read(f"/volumes?hostID={host}", seconds=30) or []}
        for thing in oracle.things.values():
            wrong = thing.published is True and thing.there and thing.uuid not in shown
            if thing.host == host and wrong:
                oracle.find(f"{thing.path} is not published to {host}", thing)
    return [*found, *oracle.findings, *caller.errors]
