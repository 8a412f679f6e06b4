"""State that the engine needs and SPDK cannot keep."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from inventory.nodes.agent.database import Database
from inventory.nodes.engines.spdk.names import SHARED
from inventory.nodes.wire import Piece, Qos, SnapshotSpec, VolumeSpec

SCHEMA = """
CREATE TABLE IF NOT EXISTS spdk_store (
    ssd TEXT PRIMARY KEY, lvstore TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spdk_volume (
    uuid TEXT PRIMARY KEY, spec TEXT NOT NULL, made INTEGER NOT NULL, whole INTEGER NOT NULL,
    qos TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spdk_snapshot (
    uuid TEXT PRIMARY KEY, spec TEXT NOT NULL, name TEXT NOT NULL, made INTEGER NOT NULL
) WITHOUT ROWID;
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


@dataclass(frozen=True)
class VolumeEntry:
    """A volume. ``made``: number of pieces that exist and may hold data; the others may be half
    made. ``is_whole``: all pieces exist with their final size.
    """

    uuid: str
    spec: VolumeSpec
    made: int = 0
    is_whole: bool = False
    qos: Qos = field(default_factory=Qos)

    @property
    def made_pieces(self) -> tuple[Piece, ...]:
        return self.spec.pieces[: self.made]


@dataclass(frozen=True)
class SnapshotEntry:
    """A snapshot. ``name``: the name of its lvols."""

    uuid: str
    spec: SnapshotSpec
    name: str
    is_made: bool = False


class EngineState:
    """The volumes, snapshots and lvstores that the engine created or is about to create, and the
    lvols whose deletion was not confirmed.

    An entry is written before the first lvol is created and deleted after the last lvol is gone, so
    its reserved space is counted all the time.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._database.create(SCHEMA)
        rows = self._database.execute("SELECT uuid, spec, made, whole, qos FROM spdk_volume")
        self.volumes = {
            uuid: VolumeEntry(
                uuid,
                VolumeSpec.model_validate_json(spec),
                made,
                bool(whole),
                Qos.model_validate_json(qos),
            )
            for uuid, spec, made, whole, qos in rows
        }
        rows = self._database.execute("SELECT uuid, spec, name, made FROM spdk_snapshot")
        self.snapshots = {
            uuid: SnapshotEntry(uuid, SnapshotSpec.model_validate_json(spec), name, bool(made))
            for uuid, spec, name, made in rows
        }
        self.shared: set[tuple[str, str]] = set(
            self._database.execute("SELECT lvstore, lvol FROM spdk_shared")
        )
        self.stores: dict[str, str] = dict(
            self._database.execute("SELECT ssd, lvstore FROM spdk_store")
        )

    def put_volume(self, entry: VolumeEntry) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO spdk_volume VALUES (?, ?, ?, ?, ?)",
            *(entry.uuid, entry.spec.model_dump_json(), entry.made, entry.is_whole),
            entry.qos.model_dump_json(),
        )
        self.volumes[entry.uuid] = entry

    def drop_volume(self, uuid: str) -> None:
        self._database.execute("DELETE FROM spdk_volume WHERE uuid = ?", uuid)
        self.volumes.pop(uuid, None)

    def finish_volume(self, uuid: str) -> VolumeEntry:
        """Record that all pieces exist with their final size."""
        entry = self.volumes[uuid]
        entry = replace(entry, made=len(entry.spec.pieces), is_whole=True)
        self.put_volume(entry)
        return entry

    def limit_volume(self, uuid: str, qos: Qos) -> VolumeEntry | None:
        """Record the limits; None: there is no such volume."""
        entry = self.volumes.get(uuid)
        if entry is not None and entry.qos != qos:
            entry = replace(entry, qos=qos)
            self.put_volume(entry)
        return entry

    def put_snapshot(self, entry: SnapshotEntry) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO spdk_snapshot VALUES (?, ?, ?, ?)",
            *(entry.uuid, entry.spec.model_dump_json(), entry.name, entry.is_made),
        )
        self.snapshots[entry.uuid] = entry

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

    def put_store(self, ssd_id: str, lvstore: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO spdk_store VALUES (?, ?)", ssd_id, lvstore)
        self.stores[ssd_id] = lvstore

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

    def close(self) -> None:
        self._database.close()
