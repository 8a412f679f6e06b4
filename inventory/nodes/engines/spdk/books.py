"""What the engine must know and SPDK cannot keep."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from inventory.nodes.agent.database import Database
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
    uuid TEXT PRIMARY KEY, spec TEXT NOT NULL, made INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class VolumeEntry:
    """``made``: so many of its pieces are there and may hold data; the others may be half made.
    ``is_whole``: all are, of the size that they are to have.
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
    uuid: str
    spec: SnapshotSpec
    is_made: bool = False


class Books:
    """The volumes, snapshots and lvstores that the engine has made or is about to make.

    An entry is written before the first lvol is made and dropped after the last is gone, so that
    the space that it promises is counted all the while.
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
        rows = self._database.execute("SELECT uuid, spec, made FROM spdk_snapshot")
        self.snapshots = {
            uuid: SnapshotEntry(uuid, SnapshotSpec.model_validate_json(spec), bool(made))
            for uuid, spec, made in rows
        }
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
        """All its pieces are made."""
        entry = self.volumes[uuid]
        entry = replace(entry, made=len(entry.spec.pieces), is_whole=True)
        self.put_volume(entry)
        return entry

    def limit_volume(self, uuid: str, qos: Qos) -> VolumeEntry | None:
        """None: there is no such volume."""
        entry = self.volumes.get(uuid)
        if entry is not None and entry.qos != qos:
            entry = replace(entry, qos=qos)
            self.put_volume(entry)
        return entry

    def put_snapshot(self, entry: SnapshotEntry) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO spdk_snapshot VALUES (?, ?, ?)",
            *(entry.uuid, entry.spec.model_dump_json(), entry.is_made),
        )
        self.snapshots[entry.uuid] = entry

    def drop_snapshot(self, uuid: str) -> None:
        self._database.execute("DELETE FROM spdk_snapshot WHERE uuid = ?", uuid)
        self.snapshots.pop(uuid, None)

    def put_store(self, ssd_id: str, lvstore: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO spdk_store VALUES (?, ?)", ssd_id, lvstore)
        self.stores[ssd_id] = lvstore

    def close(self) -> None:
        self._database.close()
