"""What nodes hold, as recovery looks at it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from inventory.nodes import wire
from volumes.models import Replica, Volume
from volumes.services.node.contents import NodeContents
from volumes.services.ownership import pool_uuid


@dataclass(frozen=True)
class Copy:
    """A volume on a node."""

    backend_id: str
    found: wire.Volume

    @property
    def is_complete(self) -> bool:
        """As far as the node was told; what was told nothing is."""
        return self.found.owner is None or self.found.owner.complete


@dataclass(frozen=True)
class Findings:
    """Contents of the nodes that answered, by id; ``report`` is for the operator. ``after`` and
    ``until``: the generations that may have been handed out since the restored state.
    ``returned``: the one node, where it alone is looked at, as it is back: what is not on it, and
    what was begun since the others were looked at, is not touched.
    """

    nodes: Mapping[str, NodeContents]
    after: int
    until: int
    returned: str = ""
    report: list[str] = field(default_factory=list)

    def copies(self) -> Iterator[Copy]:
        for backend_id, contents in self.nodes.items():
            for volume in contents.volumes:
                yield Copy(backend_id, volume)

    def copy_of(self, replica: Replica) -> Copy | None:
        """What its own node holds of it."""
        contents = self.nodes.get(str(replica.backend_id))
        for found in contents.volumes if contents else ():
            if (found.uuid, found.generation) == (replica.uuid, replica.pk):
                return Copy(str(replica.backend_id), found)
        return None

    def is_silent(self, replica: Replica) -> bool:
        """Nobody can say what there is of it: its node did not answer, or is gone."""
        return replica.backend_id is None or replica.backend_id not in self.nodes

    def orphans_of(self, volume: Volume) -> list[Copy]:
        """Complete copies of a volume that no row is, the newest first."""
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
        return self.after < generation <= self.until
