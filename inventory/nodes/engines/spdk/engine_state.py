"""State that the engine needs and SPDK cannot keep."""

from collections.abc import Collection
from pathlib import Path

from inventory.nodes.engines.records import EngineRecords, SnapshotEntry
from inventory.nodes.engines.spdk.names import SHARED

SCHEMA = """
CREATE TABLE IF NOT EXISTS spdk_shared (
    lvstore TEXT, lvol TEXT, PRIMARY KEY (lvstore, lvol)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spdk_clearing (
    lvstore TEXT, lvol TEXT, PRIMARY KEY (lvstore, lvol)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spdk_overwritten (
    lvstore TEXT PRIMARY KEY
) WITHOUT ROWID;
"""


class EngineState(EngineRecords):
    """The records of the engine, and the lvols whose deletion was not confirmed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, engine="spdk", store="lvstore")
        self._database.create(SCHEMA)
        self.shared: set[tuple[str, str]] = set(
            self._database.execute("SELECT lvstore, lvol FROM spdk_shared")
        )

    def release_snapshot(self, entry: SnapshotEntry, lvstores: Collection[str]) -> None:
        """Delete the snapshot's entry. Its lvols in ``lvstores`` become shared."""
        with self._database.transaction():
            for lvstore in lvstores:
                self._database.execute(
                    "INSERT OR REPLACE INTO spdk_shared VALUES (?, ?)", lvstore, entry.name
                )
            self._database.execute("DELETE FROM spdk_snapshot WHERE uuid = ?", entry.uuid)
        self.shared |= {(lvstore, entry.name) for lvstore in lvstores}
        self.snapshots.pop(entry.uuid, None)

    def drop_shared(self, lvstore: str, lvol: str) -> None:
        """Forget a shared lvol that was deleted."""
        self._database.execute(
            "DELETE FROM spdk_shared WHERE lvstore = ? AND lvol = ?", lvstore, lvol
        )
        self.shared.discard((lvstore, lvol))

    def is_shared(self, lvstore: str, lvol: str) -> bool:
        """Whether the lvol is a snapshot that belongs to no entry and exists only for the lvols
        above it.
        """
        return lvol.startswith(SHARED) or (lvstore, lvol) in self.shared

    def note_overwritten(self, lvstore: str, *, is_so: bool) -> None:
        """Record whether everything freed in the lvstore was overwritten with zeros, not only
        unmapped.
        """
        sql = "INSERT OR REPLACE INTO spdk_overwritten VALUES (?)"
        if not is_so:
            sql = "DELETE FROM spdk_overwritten WHERE lvstore = ?"
        self._database.execute(sql, lvstore)

    def is_overwritten(self, lvstore: str) -> bool:
        sql = "SELECT lvstore FROM spdk_overwritten WHERE lvstore = ?"
        return bool(self._database.execute(sql, lvstore))

    def begin_clearing(self, lvstore: str, lvol: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO spdk_clearing VALUES (?, ?)", lvstore, lvol)

    def end_clearing(self, lvstore: str, lvol: str) -> None:
        self._database.execute(
            "DELETE FROM spdk_clearing WHERE lvstore = ? AND lvol = ?", lvstore, lvol
        )

    def clearing(self, lvstore: str) -> set[str]:
        """The names of the lvols whose clusters may not be fully cleared."""
        rows = self._database.execute("SELECT lvol FROM spdk_clearing WHERE lvstore = ?", lvstore)
        return {row[0] for row in rows}
