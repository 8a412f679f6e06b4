"""The questions a node must pass, in the contract's order; each is asked by name."""

from collections.abc import Callable, Sequence

from volumes.placement.layout import PlannedPiece, lay_out
from volumes.placement.request import Candidate, Drive, PlacementRequest

Question = Callable[[Candidate, PlacementRequest], bool]


def _fits(node: Candidate, request: PlacementRequest, drives: Sequence[Drive]) -> bool:
    return _layout(request, drives) is not None


def _layout(request: PlacementRequest, drives: Sequence[Drive]) -> tuple[PlannedPiece, ...] | None:
    return lay_out(
        drives,
        capacity_bytes=request.capacity_bytes,
        claimed_bytes=request.claimed_bytes,
        allow_span=request.allow_span,
    )


def usable_drives(node: Candidate, request: PlacementRequest) -> tuple[Drive, ...]:
    """All SSDs, or those without a volume of the same class where the volume must not share."""
    return node.drives if request.share_ssd else tuple(d for d in node.drives if not d.holds_class)


def layout_on(node: Candidate, request: PlacementRequest) -> tuple[PlannedPiece, ...] | None:
    return _layout(request, usable_drives(node, request))


FILTERS: tuple[tuple[str, Question], ...] = (
    ("in use", lambda n, r: n.in_use),
    ("Available", lambda n, r: n.available),
    ("answering", lambda n, r: n.persistent_id not in r.avoid),
    ("former volume removed", lambda n, r: n.persistent_id not in r.removing),
    ("hostId", lambda n, r: not r.host_id or n.host_id == r.host_id),
    ("region", lambda n, r: not r.regions or n.region in r.regions),
    ("zone", lambda n, r: not r.zones or n.zone in r.zones),
    ("rack", lambda n, r: not r.racks or n.rack in r.racks),
    ("protocol", lambda n, r: not r.local or n.host_id is not None),
    ("space", lambda n, r: _fits(n, r, n.drives)),
    ("shareSSDBetweenVolumes", lambda n, r: r.share_ssd or layout_on(n, r) is not None),
    ("desired IOPS", lambda n, r: n.total_iops - n.used_iops >= r.desired_iops),
    ("desired bandwidth", lambda n, r: n.total_bw - n.used_bw >= r.desired_bw),
)

ONE_PER_NODE = "one replica per node"
ONE_PER_RACK = "one replica per rack"


def refusing_filter(node: Candidate, request: PlacementRequest) -> str | None:
    """The first filter that takes the node away, or None."""
    return next((name for name, passes in FILTERS if not passes(node, request)), None)
