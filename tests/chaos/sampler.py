"""Checks, while faults are caused, that no budget is exceeded and no replica has wrong data.

Capacity is claimed before a node is called, and released after it has confirmed the removal. So the
nodes never hold more than the database says is used. The nodes are read before and after the
database: objects that exist both times also existed in between.

All Available replicas of a volume hold the same data, because a host writes to all of them at one
moment.
"""

import json
import sqlite3
import threading
from collections import Counter
from typing import Any

import psycopg

from tests.chaos.system import System

PAUSE_SECONDS = 0.2
SHOWN = 20

Held = dict[tuple[str, str, str, int], dict[str, int]]
"""Bytes by SSD, of each kind, node, uuid and generation."""

ROWS = """
SELECT 'volume', r.id, v.tenant_id, r.backend_id
FROM volumes_replica r JOIN volumes_volume v ON v.id = r.volume_id
UNION ALL
SELECT 'snapshot', s.id, s.tenant_id, r.backend_id
FROM volumes_snapshot s JOIN volumes_replica r ON r.id = s.replica_id
"""
SSDS = "SELECT ssd_id, used_bytes, capacity_bytes FROM inventory_ssd"
TENANTS = "SELECT tenant_id, used_bytes, capacity_bytes FROM volumes_tenant"
SHARED = """
SELECT v.uuid, r.backend_id FROM volumes_replica r JOIN volumes_volume v ON v.id = r.volume_id
WHERE r.state <> 'DELETING' AND v.state <> 'DELETING'
GROUP BY v.uuid, r.backend_id HAVING count(*) > 1
"""
AVAILABLE = """
SELECT v.uuid, r.backend_id, r.uuid
FROM volumes_replica r JOIN volumes_volume v ON v.id = r.volume_id
WHERE v.num_replicas > 1 AND r.state = 'READY' AND r.replica_state = 'Available' AND NOT
r.rebuilding
"""
Marks = dict[tuple[str, str], str]
"""What volumes hold, by node and uuid."""


class Sampler(threading.Thread):
    """Takes samples until ``stop``. ``findings`` are complete then. ``samples``: the number of
    samples.
    """

    def __init__(self, system: System) -> None:
        super().__init__(name="sampler", daemon=True)
        self._system = system
        self._over = threading.Event()
        self.samples = 0
        self.findings: dict[str, None] = {}

    def stop(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        nodes = sqlite3.connect(f"file:{self._system.store}?mode=ro", uri=True, timeout=10)
        before, marks = _held(nodes), _marks(nodes)
        while not self._over.wait(PAUSE_SECONDS):
            try:
                with self._system.connect() as database:
                    self._compare(nodes, before, database)
                with self._system.connect() as database:
                    self._compare_marks(nodes, marks, database)
            except psycopg.OperationalError:
                pass  # the database is down, which is one of the faults
            before, marks = _held(nodes), _marks(nodes)
        nodes.close()

    def _compare_marks(
        self, nodes: sqlite3.Connection, before: Marks, database: psycopg.Connection[Any]
    ) -> None:
        good = database.execute(AVAILABLE).fetchall()
        after = _marks(nodes)
        found: dict[str, dict[tuple[str, str], str]] = {}
        for volume, node, uuid in good:
            mark = before.get((node, uuid))
            if mark is not None and mark == after.get((node, uuid)):
                found.setdefault(volume, {})[node, uuid] = mark
        for volume, marks in found.items():
            if len(set(marks.values())) > 1:
                self._find(f"volume {volume}: its Available replicas hold {marks}")

    def _compare(
        self, nodes: sqlite3.Connection, before: Held, database: psycopg.Connection[Any]
    ) -> None:
        with database.transaction():
            database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            owners = {(r[0], r[1]): (r[2], r[3]) for r in database.execute(ROWS)}
            ssds = database.execute(SSDS).fetchall()
            tenants = database.execute(TENANTS).fetchall()
            shared = database.execute(SHARED).fetchall()
        after = _held(nodes)
        self.samples += 1
        on_ssd: Counter[str] = Counter()
        of_tenant: Counter[str] = Counter()
        for key in before.keys() & after.keys():
            kind, node, uuid, generation = key
            pieces = {s: min(n, after[key].get(s, 0)) for s, n in before[key].items()}
            on_ssd.update(pieces)
            tenant, backend = owners.get((kind, generation), (None, None))
            if tenant is None or backend != node:
                self._find(f"node {node} holds {kind} {uuid} ({generation}), which has no row")
            else:
                of_tenant[tenant] += sum(pieces.values())
        self._budgets("SSD", ssds, on_ssd)
        self._budgets("tenant", tenants, of_tenant)
        for uuid, node in shared:
            self._find(f"volume {uuid} has two replicas on node {node}")

    def _budgets(self, what: str, rows: list[Any], held: Counter[str]) -> None:
        for name, used, capacity in rows:
            if used < 0 or (capacity and used > capacity):
                self._find(f"{what} {name}: {used} of {capacity} bytes are used")
            if held[name] > used:
                self._find(f"{what} {name}: nodes hold more than the bytes that are claimed")

    def _find(self, text: str) -> None:
        if len(self.findings) < SHOWN:
            self.findings[text] = None


def _marks(nodes: sqlite3.Connection) -> Marks:
    rows = nodes.execute("SELECT node, uuid, mark FROM simulated_mark WHERE kind = 'volume'")
    return {(node, uuid): mark for node, uuid, mark in rows}


def _held(nodes: sqlite3.Connection) -> Held:
    """Return all objects on all nodes at one moment."""
    rows = nodes.execute(
        "SELECT 'volume', node, uuid, spec FROM simulated_volume "
        "UNION ALL SELECT 'snapshot', node, uuid, spec FROM simulated_snapshot"
    )
    held: Held = {}
    for kind, node, uuid, text in rows:
        spec = json.loads(text)
        pieces: Counter[str] = Counter()
        for piece in spec["pieces"]:
            pieces[piece.get("ssd_id") or piece["ssdId"]] += piece["allocated"]
        held[kind, node, uuid, spec["generation"]] = dict(pieces)
    return held
