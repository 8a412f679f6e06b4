"""Plain values that placement works on."""

from dataclasses import dataclass
from typing import NamedTuple


class Drive(NamedTuple):
    """The properties of an SSD that placement uses.

    ``holds_class``: it holds a volume of the requested storage class. ``block_size``: the only
    block size of its volumes, in bytes; None: any.
    """

    id: int
    ssd_id: str
    free_bytes: int
    holds_class: bool = False
    block_size: int | None = None


class Candidate(NamedTuple):
    """The properties of a backend that placement uses. Bandwidth is in bytes per second. (A named
    tuple like Drive: each create makes one for each backend and SSD of the pool.)

    ``answers``: it answered the last call. A node that did not answer is chosen only if no other
    node fits. ``enforces_limits``: it can limit IOPS and bandwidth of a volume.
    """

    persistent_id: str
    name: str
    in_use: bool
    available: bool
    host_id: str | None
    region: str | None
    zone: str | None
    rack: str | None
    total_bytes: int
    total_iops: int
    used_iops: int
    total_bw: int
    used_bw: int
    drives: tuple[Drive, ...]
    answers: bool = True
    enforces_limits: bool = True

    @property
    def rack_key(self) -> str:
        """Identifies the rack. A node without a rack counts as a rack of its own."""
        return f"rack {self.rack}" if self.rack else f"node {self.persistent_id}"


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """The requirements for each of ``replicas`` replicas.

    ``claimed_bytes``: the space that one replica claims on SSDs: its capacity, or its reserved
    space. ``avoid``: nodes that just failed to create it. ``removing``: nodes that still hold a
    deleted volume of the same uuid, whose data must not come back. ``taken_nodes``,
    ``taken_racks``: nodes and racks that already have a replica. ``destination``: the only node
    allowed. ``sub_volumes``: (capacity, claimed) in bytes of each sub-volume, if the replica must
    have the same sub-volumes as its source. ``is_limited``: the volume has a limit of IOPS or
    bandwidth. ``seed`` breaks ties between equal nodes.
    """

    seed: str
    replicas: int
    capacity_bytes: int
    claimed_bytes: int
    block_size: int = 4096
    racks: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    host_id: str = ""
    destination: str = ""
    sub_volumes: tuple[tuple[int, int], ...] = ()
    local: bool = False
    allow_span: bool = False
    share_ssd: bool = True
    desired_iops: int = 0
    desired_bw: int = 0
    is_limited: bool = False
    same_rack_allowed: bool = False
    avoid: frozenset[str] = frozenset()
    removing: frozenset[str] = frozenset()
    taken_nodes: frozenset[str] = frozenset()
    taken_racks: frozenset[str] = frozenset()
