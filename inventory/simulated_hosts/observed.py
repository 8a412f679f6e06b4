"""The objects that a host reads from the API, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

AVAILABLE, MISSING, SYNCHRONIZING = "Available", "Missing", "Synchronizing"
TERMINATING, UNKNOWN = "Terminating", "Unknown"
IDLE, RUNNING, FINISHED, FAILED = "IDLE", "RUNNING", "FINISHED", "FAILED"
MS_PER_MINUTE = 60_000


@dataclass(frozen=True)
class Leg:
    """A replica that the host attaches. ``is_here``: an Available node exports it. ``is_lost``: its
    node is not Available.
    """

    uuid: str
    state: str
    state_ms: int
    is_here: bool
    is_lost: bool

    @classmethod
    def of(cls, row: Mapping[str, Any], nodes: frozenset[str]) -> Self:
        """Parse the leg in an answer. ``nodes``: the persistent ids of the Available nodes."""
        is_lost = row["backend"]["persistentID"] not in nodes
        return cls(
            uuid=row["uuid"],
            state=row["replicaState"],
            state_ms=row["currentStateTime"],
            is_here=row["inUse"] and not is_lost,
            is_lost=is_lost,
        )


@dataclass(frozen=True)
class Volume:
    """A volume with several replicas that is published to the host. ``most_ms_missing``: its
    ``maxReplicaDownTime`` in milliseconds.
    """

    uuid: str
    alias: str
    capacity_bytes: int
    most_ms_missing: int
    legs: Mapping[str, Leg]

    @classmethod
    def of(cls, row: Mapping[str, Any], nodes: frozenset[str]) -> Self:
        """Parse the volume in an answer. ``nodes``: the persistent ids of the Available nodes."""
        legs = [Leg.of(place, nodes) for place in row["location"]]
        return cls(
            uuid=row["uuid"],
            alias=row["alias"],
            capacity_bytes=row["capacity"],
            most_ms_missing=row["maxReplicaDownTime"] * MS_PER_MINUTE,
            legs={leg.uuid: leg for leg in legs},
        )

    @property
    def states(self) -> dict[str, str]:
        """The state of each leg, by uuid."""
        return {uuid: leg.state for uuid, leg in self.legs.items()}

    def overdue(self) -> str | None:
        """A leg that has been Missing for too long, or None."""
        if not self.most_ms_missing:
            return None
        late = (
            leg.uuid
            for leg in self.legs.values()
            if leg.state == MISSING and leg.state_ms >= self.most_ms_missing
        )
        return next(late, None)


@dataclass(frozen=True)
class MigrationTask:
    """A RemoteMigration that has not ended. ``refusal``: the ``taskStatus`` of the task, if it has
    one.
    """

    task_id: str
    state: str
    refusal: str
    volume: str
    outgoing: str
    destination: str
    handler: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self | None:
        """Parse the task in an answer. None: it is not a migration, or it has ended."""
        if row["type"] != "RemoteMigration" or row["state"] not in {IDLE, RUNNING}:
            return None
        tags = {tag["name"]: tag["value"] for tag in row.get("taskConfiguration", ())}
        return cls(
            task_id=row["taskId"],
            state=row["state"],
            refusal=row.get("taskStatus", ""),
            volume=tags.get("volId", ""),
            outgoing=tags.get("replicaId", ""),
            destination=tags.get("destinationBackendId", ""),
            handler=tags.get("migrationHandler", "AGENT"),
        )
