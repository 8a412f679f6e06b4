"""The contents of volumes on the simulated nodes. A mark represents the whole content.

Hosts read and write directly. Faults of the network do not affect this.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

Place = dict[str, Any]
"""A replica, as ``location`` of a volume shows it."""


class Contents:
    def __init__(self, store: Path) -> None:
        self._store = store

    def read(self, place: Place) -> str | None:
        """Return the mark of a replica. None: the node does not have it."""
        with closing(self._connect()) as nodes:
            sql = "SELECT mark FROM simulated_mark WHERE kind = 'volume' AND node = ? AND uuid = ?"
            row = nodes.execute(sql, _key(place)).fetchone()
            return str(row[0]) if row else None

    def write(self, places: Sequence[Place], mark: str) -> None:
        """Write the same mark into all of these replicas that their nodes have."""
        with closing(self._connect()) as nodes, nodes:
            sql = (
                "UPDATE simulated_mark SET mark = ? WHERE kind = 'volume' AND node = ? AND uuid = ?"
            )
            nodes.executemany(sql, [(mark, *_key(place)) for place in places])

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._store, timeout=30)


def _key(place: Place) -> tuple[str, str]:
    return place["backend"]["persistentID"], place["uuid"]
