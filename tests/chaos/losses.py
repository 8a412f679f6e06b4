"""Decides which data a node may lose: only data that two other nodes have, so that nothing is lost
for good.
"""

import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import Any

import psycopg
import urllib3

from tests.chaos.sampler import Marks
from tests.chaos.system import NODES, System

OTHERS = 2
"""Good replicas elsewhere: one may be going at this very moment."""
GOOD = """
SELECT v.uuid, r.backend_id, r.uuid
FROM volumes_replica r JOIN volumes_volume v ON v.id = r.volume_id
WHERE v.state = 'READY' AND v.num_replicas > 1
AND r.state = 'READY' AND r.replica_state = 'Available' AND NOT r.rebuilding
"""
HELD = """
SELECT v.node, v.uuid, m.mark FROM simulated_volume v
JOIN simulated_mark m ON m.node = v.node AND m.uuid = v.uuid AND m.kind = 'volume'
"""


class Losses:
    """Makes nodes lose data. What is lost is decided at the time of the fault. The methods return
    whether something was lost.
    """

    def __init__(self, system: System) -> None:
        self._system = system

    def lose_volume(self, first: int) -> bool:
        """Lose one volume that was written to. The node is the first one from ``first`` on that has
        such a volume.
        """
        held = self._held()
        spare = self._spare(held)
        for number in self._from(first):
            node = self._name(number)
            for uuid in sorted(spare[node]):
                if held[node, uuid]:
                    return self._tell(number, f"/sim/volumes/{uuid}/vanish")
        return False

    def come_back_empty(self, first: int) -> bool:
        """Lose everything on a node. The node is the first one from ``first`` on whose data may all
        be lost, and which has a volume that was written to. The node refuses this if it has other
        data by then.
        """
        held = self._held()
        spare = self._spare(held)
        for number in self._from(first):
            node = self._name(number)
            there = {uuid: mark for (where, uuid), mark in held.items() if where == node}
            if any(there.values()) and there.keys() <= spare[node]:
                return self._tell(number, "/sim/empty", {"volumes": sorted(there)})
        return False

    def _spare(self, held: Marks) -> dict[str, set[str]]:
        """Return, by node, the volumes on it that have OTHERS good replicas on other nodes."""
        with self._system.connect() as database:
            rows = database.execute(GOOD).fetchall()
        places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for volume, node, uuid in rows:
            if (node, uuid) in held:
                places[volume].append((node, uuid))
        spare: dict[str, set[str]] = defaultdict(set)
        for good in places.values():
            for node, uuid in good if len(good) > OTHERS else ():
                spare[node].add(uuid)
        return spare

    def _held(self) -> Marks:
        with closing(sqlite3.connect(self._system.store, timeout=30)) as nodes:
            return {(node, uuid): mark for node, uuid, mark in nodes.execute(HELD)}

    def _from(self, first: int) -> list[int]:
        return [(first + more) % NODES for more in range(NODES)]

    def _name(self, number: int) -> str:
        return str(self._system.nodes[number][0])

    def _tell(self, number: int, path: str, body: dict[str, Any] | None = None) -> bool:
        answer = self._system.node(number, "POST", path, body)
        return answer is None


UNREACHABLE = (psycopg.OperationalError, urllib3.exceptions.HTTPError)
"""The database or the node is struck by another fault: nothing is lost then."""
