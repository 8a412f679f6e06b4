"""The contents of nodes, for recovery."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from inventory.nodes import wire
from volumes.models import Replica, Volume
from volumes.services.node.contents import NodeContents
from volumes.services.ownership import pool_uuid


@dataclass(frozen=True)
class Copy:
    """A replica on a node."""

    backend_id: str
    found: wire.Volume

    @property
    def is_complete(self) -> bool:
        """Whether the node's owner record says that the data is complete. Without a record it is
        taken as complete.
        """
        return self.found.owner is None or self.found.owner.complete


@dataclass(frozen=True)
class Findings:
    """The contents of the nodes that answered, by backend id.

    ``after``, ``until``: generations greater than ``after``, up to ``until``, may have been handed
    out since the restored state. ``returned``: the id of a node that came back later and is
    compared alone. Objects on other nodes, and changes since those nodes were compared, are not
    touched. ``report``: lines for the operator.
    """

    nodes: Mapping[str, NodeContents]
    after: int
    until: int
    returned: str = ""
    report: list[str] = field(default_factory=list)

    def copies(self) -> Iterator[Copy]:
        """Yield the replicas on all nodes."""
        for backend_id, contents in self.nodes.items():
            for volume in contents.volumes:
                yield Copy(backend_id, volume)

    def copy_of(self, replica: Replica) -> Copy | None:
        """Return the replica on its own node, or None."""
        contents = self.nodes.get(str(replica.backend_id))
        for found in contents.volumes if contents else ():
            if (found.uuid, found.generation) == (replica.uuid, replica.pk):
                return Copy(str(replica.backend_id), found)
        return None

    def is_silent(self, replica: Replica) -> bool:
        """Whether the replica may exist although no node has shown it, because its node did not
        answer or was removed.
        """
        return replica.backend_id is None or replica.backend_id not in self.nodes

    def orphans_of(self, volume: Volume) -> list[Copy]:
        """Return complete copies of the volume that have no row, the newest first."""
        keys = set(volume.replicas.values_list("pk", flat=True))
        copies = [
            copy
            for copy in self.copies()
            if (owner := copy.found.owner)
            and (owner.pool, owner.tenant, owner.volume)
            == (pool_uuid(), volume.tenant_id, volume.uuid)
            and copy.is_complete
            and copy.found.generation not in keys
        ]
        return sorted(copies, key=lambda copy: -copy.found.generation)

    def is_late(self, generation: int) -> bool:
        """Whether the generation may have been handed out since the restored state."""
        return self.after < generation <= self.until
