"""State that the engine needs and SPDK cannot keep."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from inventory.nodes.engines.records import EngineRecords, SnapshotEntry, VolumeEntry
from inventory.nodes.engines.spdk.names import SHARED, volume_name
from inventory.nodes.wire import Piece

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
CREATE TABLE IF NOT EXISTS spdk_taking (
    lvstore TEXT PRIMARY KEY
) WITHOUT ROWID;
"""


class EngineState(EngineRecords):
    """The records of the engine, and the lvols whose deletion was not confirmed.

    ``promised``: by SSD id, the bytes that volumes and snapshots allocate, by the name of their
    lvol. ``repromised``: the names whose bytes have changed since the set was last emptied.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, engine="spdk", store="lvstore")
        self._database.create(SCHEMA)
        self.shared: set[tuple[str, str]] = set(
            self._database.execute("SELECT lvstore, lvol FROM spdk_shared")
        )
        self.promised: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.repromised: defaultdict[str, set[str]] = defaultdict(set)
        for volume in self.volumes.values():
            self._promise(volume_name(volume.uuid), (), volume.spec.pieces)
        for snapshot in self.snapshots.values():
            self._promise(snapshot.name, (), snapshot.spec.pieces)

    def put_volume(self, entry: VolumeEntry) -> None:
        former = self.volumes.get(entry.uuid)
        super().put_volume(entry)
        before = former.spec.pieces if former else ()
        self._promise(volume_name(entry.uuid), before, entry.spec.pieces)

    def drop_volume(self, uuid: str) -> None:
        former = self.volumes.get(uuid)
        super().drop_volume(uuid)
        self._promise(volume_name(uuid), former.spec.pieces if former else (), ())

    def put_snapshot(self, entry: SnapshotEntry) -> None:
        former = self.snapshots.get(entry.uuid)
        super().put_snapshot(entry)
        if former and former.name != entry.name:
            self._promise(former.name, former.spec.pieces, ())
        self._promise(entry.name, (), entry.spec.pieces)

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
        self._promise(entry.name, entry.spec.pieces, ())

    def drop_shared(self, lvstore: str, lvol: str) -> None:
        """Forget a shared lvol that was deleted."""
        self._database.execute(
            "DELETE FROM spdk_shared WHERE lvstore = ? AND lvol = ?", lvstore, lvol
        )
        self.shared.discard((lvstore, lvol))

    def is_shared(self, lvstore: str, lvol: str) -> bool:
        """Whether the lvol is a shared snapshot. It belongs to no entry, and exists only for the
        lvols above it.
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

    def begin_taking(self, lvstore: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO spdk_taking VALUES (?)", lvstore)

    def end_taking(self, lvstore: str) -> None:
        self._database.execute("DELETE FROM spdk_taking WHERE lvstore = ?", lvstore)

    def taking(self) -> set[str]:
        """The lvstores for which ``Zeroing.take`` was not finished, perhaps by an earlier
        process.
        """
        return {row[0] for row in self._database.execute("SELECT lvstore FROM spdk_taking")}

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

    def _promise(self, name: str, before: Iterable[Piece], pieces: Iterable[Piece]) -> None:
        for piece in before:
            self.promised[piece.ssd_id].pop(name, None)
            self.repromised[piece.ssd_id].add(name)
        for piece in pieces:
            self.promised[piece.ssd_id][name] = piece.allocated
            self.repromised[piece.ssd_id].add(name)
