"""The plain values that placement works on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drive:
    """An SSD as placement sees it. ``holds_class``: a volume of the wanted storage class lies on
    it. ``block_size``: the only one that volumes on it can have; None: any.
    """

    id: int
    ssd_id: str
    free_bytes: int
    holds_class: bool = False
    block_size: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend as placement sees it. ``answers``: False if it left the last call unanswered; it
    is chosen only where no other will do.
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

    @property
    def rack_key(self) -> str:
        """A node with no rack is its own rack."""
        return f"rack {self.rack}" if self.rack else f"node {self.persistent_id}"


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """What is wanted of the nodes for each of ``replicas`` copies.

    ``claimed_bytes`` is what one copy takes from the SSDs: its capacity, or its reserved space.
    ``avoid``: nodes that just failed to make it. ``removing``: nodes that still hold a deleted
    volume of the same name, whose data must not come back. ``taken_nodes`` and ``taken_racks``:
    where copies are.
    ``destination``: the one node that will do. ``seed`` breaks ties between equal nodes.
    ``pieces``: capacity and claim of each, where a copy must be cut as what is copied.
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
    pieces: tuple[tuple[int, int], ...] = ()
    local: bool = False
    allow_span: bool = False
    share_ssd: bool = True
    desired_iops: int = 0
    desired_bw: int = 0
    same_rack_allowed: bool = False
    avoid: frozenset[str] = frozenset()
    removing: frozenset[str] = frozenset()
    taken_nodes: frozenset[str] = frozenset()
    taken_racks: frozenset[str] = frozenset()
