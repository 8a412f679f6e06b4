"""The records of an engine about its volumes and snapshots. They are in a separate database, beside
that of the agent.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inventory.nodes.agent.database import Database
from inventory.nodes.wire import Piece, Qos, SnapshotSpec, VolumeSpec

SCHEMA = """
CREATE TABLE IF NOT EXISTS {engine}_store (
    ssd TEXT PRIMARY KEY, {store} TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {engine}_volume (
    uuid TEXT PRIMARY KEY, spec TEXT NOT NULL, made INTEGER NOT NULL, whole INTEGER NOT NULL,
    qos TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {engine}_snapshot (
    uuid TEXT PRIMARY KEY, spec TEXT NOT NULL, name TEXT NOT NULL, made INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class VolumeEntry:
    """A volume. ``made``: the number of pieces that exist and may hold data; the others may be
    incomplete. ``is_whole``: all pieces exist with their final size.
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
    """A snapshot. ``name``: the name of its part on each SSD."""

    uuid: str
    spec: SnapshotSpec
    name: str
    is_made: bool = False


class EngineRecords:
    """The volumes, snapshots and stores that an engine has created or is about to create.

    An entry is written before the first piece is created, and deleted after the last piece was
    removed, so that its reserved space is always counted.

    ``engine``: the prefix of its tables. ``store``: the name of an SSD's store in this engine.
    """

    def __init__(self, path: Path, *, engine: str, store: str) -> None:
        self._database = Database(path)
        self._database.create(SCHEMA.format(engine=engine, store=store))
        self._engine = engine
        self.volumes = {
            uuid: VolumeEntry(
                uuid,
                VolumeSpec.model_validate_json(spec),
                made,
                bool(whole),
                Qos.model_validate_json(qos),
            )
            for uuid, spec, made, whole, qos in self._rows("volume", "uuid, spec, made, whole, qos")
        }
        self.snapshots = {
            uuid: SnapshotEntry(uuid, SnapshotSpec.model_validate_json(spec), name, bool(made))
            for uuid, spec, name, made in self._rows("snapshot", "uuid, spec, name, made")
        }
        self.stores: dict[str, str] = dict(self._rows("store", f"ssd, {store}"))

    def put_volume(self, entry: VolumeEntry) -> None:
        self._put(
            "volume",
            *(entry.uuid, entry.spec.model_dump_json(), entry.made, entry.is_whole),
            entry.qos.model_dump_json(),
        )
        self.volumes[entry.uuid] = entry

    def drop_volume(self, uuid: str) -> None:
        self._drop("volume", uuid=uuid)
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
        self._put("snapshot", entry.uuid, entry.spec.model_dump_json(), entry.name, entry.is_made)
        self.snapshots[entry.uuid] = entry

    def drop_snapshot(self, uuid: str) -> None:
        self._drop("snapshot", uuid=uuid)
        self.snapshots.pop(uuid, None)

    def put_store(self, ssd_id: str, store: str) -> None:
        self._put("store", ssd_id, store)
        self.stores[ssd_id] = store

    def promises(self, ssd_id: str, volume_name: Callable[[str], str]) -> dict[str, int]:
        """Return the bytes that volumes and snapshots allocate on the SSD, by the name of their
        part. ``volume_name`` returns this name for the uuid of a volume.
        """
        pieces = [
            *((volume_name(one.uuid), one.spec.pieces) for one in self.volumes.values()),
            *((one.name, one.spec.pieces) for one in self.snapshots.values()),
        ]
        return {
            name: piece.allocated
            for name, all_pieces in pieces
            for piece in all_pieces
            if piece.ssd_id == ssd_id
        }

    def close(self) -> None:
        self._database.close()

    def _rows(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        return self._database.execute(f"SELECT {columns} FROM {self._engine}_{table}")  # noqa: S608

    def _put(self, table: str, *values: Any) -> None:
        marks = ", ".join("?" * len(values))
        sql = f"INSERT OR REPLACE INTO {self._engine}_{table} VALUES ({marks})"  # noqa: S608
        self._database.execute(sql, *values)

    def _drop(self, table: str, **key: str) -> None:
        where = " AND ".join(f"{column} = ?" for column in key)
        sql = f"DELETE FROM {self._engine}_{table} WHERE {where}"  # noqa: S608
        self._database.execute(sql, *key.values())
