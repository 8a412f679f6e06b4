"""What the volumes of the simulated nodes hold: a mark stands for all of it.

Hosts read and write over a network of their own, which no fault strikes.
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
        """None: the node does not hold it."""
        with closing(self._connect()) as nodes:
            sql = "SELECT mark FROM simulated_mark WHERE kind = 'volume' AND node = ? AND uuid = ?"
            row = nodes.execute(sql, _key(place)).fetchone()
            return str(row[0]) if row else None

    def write(self, places: Sequence[Place], mark: str) -> None:
        """The same into all of them that their nodes hold."""
        with closing(self._connect()) as nodes, nodes:
            sql = (
                "UPDATE simulated_mark SET mark = ? WHERE kind = 'volume' AND node = ? AND uuid = ?"
            )
            nodes.executemany(sql, [(mark, *_key(place)) for place in places])

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._store, timeout=30)


def _key(place: Place) -> tuple[str, str]:
    return place["backend"]["persistentID"], place["uuid"]
