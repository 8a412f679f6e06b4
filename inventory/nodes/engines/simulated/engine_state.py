"""The content of a simulated node, in database rows that survive the process."""

from typing import Literal

from inventory.nodes.agent.database import Database
from inventory.nodes.wire import SnapshotSpec, Source, VolumeSpec

SCHEMA = """
CREATE TABLE IF NOT EXISTS simulated_volume (
    node TEXT, uuid TEXT, spec TEXT NOT NULL,
    PRIMARY KEY (node, uuid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS simulated_snapshot (
    node TEXT, uuid TEXT, spec TEXT NOT NULL,
    PRIMARY KEY (node, uuid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS simulated_mark (
    node TEXT, kind TEXT, uuid TEXT, mark TEXT NOT NULL,
    PRIMARY KEY (node, kind, uuid)
) WITHOUT ROWID;
"""

Kind = Literal["volume", "snapshot"]


class EngineState:
    """The volumes and snapshots of one node, whether its agent has them on record or not.

    A mark represents the whole content of a volume. "" means zeros. A mark is written before its
    volume, and deleted before it.
    """

    def __init__(self, node: str, database: Database) -> None:
        database.create(SCHEMA)
        self._node = node
        self._database = database

    def volume(self, uuid: str) -> VolumeSpec | None:
        rows = self._database.execute(
            "SELECT spec FROM simulated_volume WHERE node = ? AND uuid = ?", self._node, uuid
        )
        return VolumeSpec.model_validate_json(rows[0][0]) if rows else None

    def names(self, kind: Kind) -> frozenset[str]:
        """The uuids of all volumes or all snapshots."""
        rows = self._database.execute(
            f"SELECT uuid FROM simulated_{kind} WHERE node = ?",  # noqa: S608
            self._node,
        )
        return frozenset(row[0] for row in rows)

    def volumes(self) -> dict[str, VolumeSpec]:
        rows = self._database.execute(
            "SELECT uuid, spec FROM simulated_volume WHERE node = ?", self._node
        )
        return {row[0]: VolumeSpec.model_validate_json(row[1]) for row in rows}

    def put_volume(self, uuid: str, spec: VolumeSpec) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO simulated_volume VALUES (?, ?, ?)",
            *(self._node, uuid, spec.model_dump_json()),
        )

    def make_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """Add a volume with the content of its source, which exists, or with zeros."""
        self.put_mark(uuid, self._mark_of(spec.source))
        self.put_volume(uuid, spec)

    def drop_volume(self, uuid: str) -> None:
        self._drop_mark("volume", uuid)
        self._database.execute(
            "DELETE FROM simulated_volume WHERE node = ? AND uuid = ?", self._node, uuid
        )

    def snapshots(self) -> dict[str, SnapshotSpec]:
        rows = self._database.execute(
            "SELECT uuid, spec FROM simulated_snapshot WHERE node = ?", self._node
        )
        return {row[0]: SnapshotSpec.model_validate_json(row[1]) for row in rows}

    def take_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        self.put_mark(uuid, self.mark(spec.volume_uuid), "snapshot")
        self._database.execute(
            "INSERT INTO simulated_snapshot VALUES (?, ?, ?)",
            *(self._node, uuid, spec.model_dump_json()),
        )

    def drop_snapshot(self, uuid: str) -> None:
        self._drop_mark("snapshot", uuid)
        self._database.execute(
            "DELETE FROM simulated_snapshot WHERE node = ? AND uuid = ?", self._node, uuid
        )

    def mark(self, uuid: str, kind: Kind = "volume") -> str:
        rows = self._database.execute(
            "SELECT mark FROM simulated_mark WHERE node = ? AND kind = ? AND uuid = ?",
            *(self._node, kind, uuid),
        )
        return str(rows[0][0]) if rows else ""

    def put_mark(self, uuid: str, mark: str, kind: Kind = "volume") -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO simulated_mark VALUES (?, ?, ?, ?)",
            *(self._node, kind, uuid, mark),
        )

    def _mark_of(self, source: Source | None) -> str:
        if source is None:
            return ""
        return self.mark(source.uuid, "snapshot" if source.kind.is_of_snapshot else "volume")

    def _drop_mark(self, kind: Kind, uuid: str) -> None:
        self._database.execute(
            "DELETE FROM simulated_mark WHERE node = ? AND kind = ? AND uuid = ?",
            *(self._node, kind, uuid),
        )
