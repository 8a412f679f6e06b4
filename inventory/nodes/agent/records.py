"""The records of a node, which survive restarts."""

import time
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from inventory.nodes.agent.database import Database
from inventory.nodes.wire import NamespaceSpec, SnapshotSpec, VolumeSpec

W = TypeVar("W", bound=BaseModel)


class NamespaceRecord(NamedTuple):
    """A volume's namespace in a target."""

    nqn: str
    uuid: str
    spec: NamespaceSpec


class Records:
    """The rows of one node. Each write is committed at once, or together with others in
    ``Database.transaction``.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node

    def setting(self, name: str, kind: type[W]) -> W | None:
        rows = self._all("SELECT value FROM setting WHERE node = ? AND name = ?", name)
        return kind.model_validate_json(rows[0][0]) if rows else None

    def put_setting(self, name: str, value: BaseModel) -> None:
        self._all("INSERT OR REPLACE INTO setting VALUES (?, ?, ?)", name, value.model_dump_json())

    def drop_setting(self, name: str) -> None:
        self._all("DELETE FROM setting WHERE node = ? AND name = ?", name)

    def volume(self, uuid: str) -> VolumeSpec | None:
        rows = self._all("SELECT spec FROM volume WHERE node = ? AND uuid = ?", uuid)
        return VolumeSpec.model_validate_json(rows[0][0]) if rows else None

    def volumes(self) -> dict[str, VolumeSpec]:
        rows = self._all("SELECT uuid, spec FROM volume WHERE node = ? ORDER BY uuid")
        return {uuid: VolumeSpec.model_validate_json(spec) for uuid, spec in rows}

    def put_volume(self, uuid: str, spec: VolumeSpec) -> None:
        source = spec.source
        snapshot = source.uuid if source and source.kind.is_snapshot_volume else None
        self._all(
            "INSERT OR REPLACE INTO volume VALUES (?, ?, ?, ?)",
            *(uuid, snapshot, spec.model_dump_json()),
        )

    def drop_volume(self, uuid: str) -> None:
        self._all("DELETE FROM volume WHERE node = ? AND uuid = ?", uuid)

    def snapshot_volume_of(self, snapshot: str) -> str | None:
        """The uuid of the snapshot's snapshot volume, or None."""
        rows = self._all("SELECT uuid FROM volume WHERE node = ? AND snapshot = ?", snapshot)
        return rows[0][0] if rows else None

    def snapshot(self, uuid: str) -> SnapshotSpec | None:
        rows = self._all("SELECT spec FROM snapshot WHERE node = ? AND uuid = ?", uuid)
        return SnapshotSpec.model_validate_json(rows[0][0]) if rows else None

    def snapshots(self) -> dict[str, SnapshotSpec]:
        rows = self._all("SELECT uuid, spec FROM snapshot WHERE node = ? ORDER BY uuid")
        return {uuid: SnapshotSpec.model_validate_json(spec) for uuid, spec in rows}

    def snapshots_of(self, uuid: str) -> list[str]:
        """The uuids of a volume's snapshots."""
        rows = self._all("SELECT uuid FROM snapshot WHERE node = ? AND volume = ?", uuid)
        return [row[0] for row in rows]

    def put_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        self._all(
            "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?)",
            *(uuid, spec.volume_uuid, spec.model_dump_json()),
        )

    def drop_snapshot(self, uuid: str) -> None:
        self._all("DELETE FROM snapshot WHERE node = ? AND uuid = ?", uuid)

    def exported(self) -> set[str]:
        """The uuids of all volumes in targets."""
        return {row[0] for row in self._all("SELECT uuid FROM namespace WHERE node = ?")}

    def targets_of(self, uuid: str) -> list[str]:
        """The NQNs of the targets that hold the volume."""
        rows = self._all("SELECT nqn FROM namespace WHERE node = ? AND uuid = ?", uuid)
        return [row[0] for row in rows]

    def hosts(self) -> dict[str, str]:
        """The host NQN of each target, by target NQN."""
        rows = self._all("SELECT nqn, host_nqn FROM target WHERE node = ? ORDER BY nqn")
        return {row[0]: row[1] for row in rows}

    def host(self, nqn: str) -> str | None:
        rows = self._all("SELECT host_nqn FROM target WHERE node = ? AND nqn = ?", nqn)
        return rows[0][0] if rows else None

    def put_host(self, nqn: str, host_nqn: str) -> None:
        self._all("INSERT OR REPLACE INTO target VALUES (?, ?, ?)", nqn, host_nqn)

    def namespaces(self, nqn: str | None = None) -> list[NamespaceRecord]:
        """The namespaces of one target or of all, ordered by NQN and namespace id."""
        of_one, values = (" AND nqn = ?", (nqn,)) if nqn is not None else ("", ())
        rows = self._all(
            f"SELECT nqn, uuid, spec FROM namespace WHERE node = ?{of_one}"  # noqa: S608
            " ORDER BY nqn, nsid",
            *values,
        )
        return [
            NamespaceRecord(row[0], row[1], NamespaceSpec.model_validate_json(row[2]))
            for row in rows
        ]

    def namespace(self, nqn: str, uuid: str) -> NamespaceSpec | None:
        rows = self._all(
            "SELECT spec FROM namespace WHERE node = ? AND nqn = ? AND uuid = ?", nqn, uuid
        )
        return NamespaceSpec.model_validate_json(rows[0][0]) if rows else None

    def put_namespace(self, nqn: str, uuid: str, spec: NamespaceSpec) -> None:
        self._all(
            "INSERT OR REPLACE INTO namespace VALUES (?, ?, ?, ?, ?)",
            *(nqn, uuid, spec.nsid, spec.model_dump_json()),
        )

    def former(self, nqn: str, nsid: int, *, since: float) -> str | None:
        """Return the volume that last had the namespace id, if it released the id at ``since`` or
        later.
        """
        rows = self._all(
            "SELECT uuid FROM former_namespace WHERE node = ? AND nqn = ? AND nsid = ? AND at >= ?",
            *(nqn, nsid, since),
        )
        return rows[0][0] if rows else None

    def forget_former(self, *, until: float) -> None:
        """Delete the ids that volumes stopped using before ``until``."""
        self._all("DELETE FROM former_namespace WHERE node = ? AND at < ?", until)

    def drop_namespace(self, nqn: str, uuid: str) -> None:
        """Delete the namespace and, if it was the last one, the target. Remember which volume had
        the id.
        """
        self._all(
            "INSERT OR REPLACE INTO former_namespace"
            " SELECT node, nqn, nsid, uuid, ?4 FROM namespace"
            " WHERE node = ?1 AND nqn = ?2 AND uuid = ?3",
            *(nqn, uuid, time.time()),
        )
        self._all("DELETE FROM namespace WHERE node = ? AND nqn = ? AND uuid = ?", nqn, uuid)
        self._all(
            "DELETE FROM target WHERE node = ? AND nqn = ? AND NOT EXISTS"
            " (SELECT 1 FROM namespace n WHERE n.node = target.node AND n.nqn = target.nqn)",
            nqn,
        )

    def forget_contents(self) -> None:
        """Delete everything except the settings, including all generations seen."""
        with self._database.transaction():
            for table in ("volume", "snapshot", "target", "namespace", "fence"):
                self._all(f"DELETE FROM {table} WHERE node = ?")  # noqa: S608

    def _all(self, sql: str, *values: object) -> list[tuple[str, ...]]:
        return self._database.execute(sql, self._node, *values)
