"""The filters that a node must pass, in a fixed order. Each filter has a name and checks one
condition.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from volumes.placement.layout import PlannedSubVolume, lay_out
from volumes.placement.request import Candidate, Drive, PlacementRequest

GIB = 2**30


class Filter(NamedTuple):
    """A condition for nodes. ``passes`` checks it, and ``why`` describes a refusal, without numbers
    of the node, which ``measured`` describes. If the request does not ask for it (``asks``), every
    node passes.
    """

    name: str
    passes: Callable[[Candidate, PlacementRequest], bool]
    why: Callable[[Candidate, PlacementRequest], str]
    asks: Callable[[PlacementRequest], object] = lambda request: True
    measured: Callable[[Candidate, PlacementRequest], str] = lambda node, request: ""


class Refusal(NamedTuple):
    """The filter that excluded a node, and the reason. ``measured``: what the node has instead."""

    filter: str
    why: str
    measured: str = ""

    @property
    def text(self) -> str:
        """The whole reason, for callers that see the numbers of nodes."""
        return f"{self.measured}, {self.why}" if self.measured else self.why


def _layout(
    request: PlacementRequest, drives: Sequence[Drive]
) -> tuple[PlannedSubVolume, ...] | None:
    return lay_out(
        drives,
        capacity_bytes=request.capacity_bytes,
        claimed_bytes=request.claimed_bytes,
        allow_span=request.allow_span,
        sub_volumes=request.sub_volumes,
    )


def usable_drives(node: Candidate, request: PlacementRequest) -> tuple[Drive, ...]:
    """Return the SSDs of the node that support the block size of the volume.

    If the volume may not share an SSD, SSDs with a volume of its storage class are omitted.
    """
    drives = _of_block_size(node, request)
    return drives if request.share_ssd else tuple(d for d in drives if not d.holds_class)


def _of_block_size(node: Candidate, request: PlacementRequest) -> tuple[Drive, ...]:
    sizes = (None, request.block_size)
    return tuple([d for d in node.drives if d.block_size in sizes])


def _free(node: Candidate, request: PlacementRequest) -> int:
    """Free bytes on the SSD with the most free space, or on all SSDs together if the volume may
    span SSDs.
    """
    sizes = [drive.free_bytes for drive in _of_block_size(node, request)]
    return sum(sizes) if request.allow_span else max(sizes, default=0)


def size(number: int) -> str:
    """The size as text: in GiB if it is a whole number of GiB, else in bytes."""
    return f"{number} bytes" if number % GIB else f"{number // GIB} GiB"


def _on(request: PlacementRequest) -> str:
    like = "SSDs, like the source replica"
    return f", on {len(request.sub_volumes)} {like}" if request.sub_volumes else ""


def _has(name: str, value: str | None) -> str:
    return f"the node's {name} is {value}" if value else f"the node has no {name}"


def layout_on(node: Candidate, request: PlacementRequest) -> tuple[PlannedSubVolume, ...] | None:
    """Return the layout of one replica on the node's usable SSDs, or None if it does not fit."""
    return _layout(request, usable_drives(node, request))


FILTERS: tuple[Filter, ...] = (
    Filter("in use", lambda n, r: n.in_use, lambda n, r: "the node is cordoned: inUse is false"),
    Filter("Available", lambda n, r: n.available, lambda n, r: "the node is Unavailable"),
    Filter(
        "answering",
        lambda n, r: n.persistent_id not in r.avoid,
        lambda n, r: "the node just failed to create the volume",
        lambda r: r.avoid,
    ),
    Filter(
        "former volume removed",
        lambda n, r: n.persistent_id not in r.removing,
        lambda n, r: "the node still holds a deleted volume of this uuid",
        lambda r: r.removing,
    ),
    Filter(
        "hostId",
        lambda n, r: not r.host_id or n.host_id == r.host_id,
        lambda n, r: f"{_has('hostId', n.host_id)}, not {r.host_id}",
        lambda r: r.host_id,
    ),
    Filter(
        "destinationBackendId",
        lambda n, r: r.destination in {"", n.persistent_id},
        lambda n, r: f"the node is not {r.destination}",
        lambda r: r.destination,
    ),
    Filter(
        "region",
        lambda n, r: not r.regions or n.region in r.regions,
        lambda n, r: f"{_has('region', n.region)}, not {' or '.join(r.regions)}",
        lambda r: r.regions,
    ),
    Filter(
        "zone",
        lambda n, r: not r.zones or n.zone in r.zones,
        lambda n, r: f"{_has('zone', n.zone)}, not {' or '.join(r.zones)}",
        lambda r: r.zones,
    ),
    Filter(
        "rack",
        lambda n, r: not r.racks or n.rack in r.racks,
        lambda n, r: f"{_has('rack', n.rack)}, not {' or '.join(r.racks)}",
        lambda r: r.racks,
    ),
    Filter(
        "protocol",
        lambda n, r: not r.local or n.host_id is not None,
        lambda n, r: "the node does not run inside a host, which a Local volume needs",
        lambda r: r.local,
    ),
    Filter(
        "limits",
        lambda n, r: n.enforces_limits or not r.is_limited,
        lambda n, r: "the node cannot limit a volume's IOPS or bandwidth",
        lambda r: r.is_limited,
    ),
    Filter(
        "block size",
        lambda n, r: not n.drives or bool(_of_block_size(n, r)),
        lambda n, r: f"no SSD of the node can hold volumes with blocks of {r.block_size} bytes",
    ),
    Filter(
        "space",
        lambda n, r: _layout(r, _of_block_size(n, r)) is not None,
        lambda n, r: f"{size(r.claimed_bytes)} are required{_on(r)}",
        measured=lambda n, r: f"{size(_free(n, r))} are free",
    ),
    Filter(
        "shareSSDBetweenVolumes",
        lambda n, r: r.share_ssd or layout_on(n, r) is not None,
        lambda n, r: "each SSD with room has a volume of the storage class",
        lambda r: not r.share_ssd,
    ),
    Filter(
        "desired IOPS",
        lambda n, r: n.total_iops - n.used_iops >= r.desired_iops,
        lambda n, r: f"{r.desired_iops} IOPS are requested",
        measured=lambda n, r: f"{n.total_iops - n.used_iops} IOPS are unreserved",
    ),
    Filter(
        "desired bandwidth",
        lambda n, r: n.total_bw - n.used_bw >= r.desired_bw,
        lambda n, r: f"{r.desired_bw} B/s are requested",
        measured=lambda n, r: f"{n.total_bw - n.used_bw} B/s are unreserved",
    ),
)

ONE_PER_NODE = "one replica per node"
ONE_PER_RACK = "one replica per rack"


def filters_of(request: PlacementRequest) -> list[Filter]:
    """Return the filters that can exclude a node from this request."""
    return [one for one in FILTERS if one.asks(request)]


def refusal(
    node: Candidate, request: PlacementRequest, filters: Iterable[Filter]
) -> Refusal | None:
    """Return the refusal of the first filter that excludes the node. None: no filter excludes
    it.
    """
    for one in filters:
        if not one.passes(node, request):
            return Refusal(one.name, one.why(node, request), one.measured(node, request))
    return None
