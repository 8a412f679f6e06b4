"""Describe a plan for operators: the request, and how many nodes each filter excluded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from volumes.placement.filters import FILTERS, ONE_PER_NODE, ONE_PER_RACK, Refusal, size
from volumes.placement.request import Candidate, PlacementRequest

Words = Callable[[PlacementRequest], str]

REQUESTED: Mapping[str, Words] = {
    "hostId": lambda r: f"hostId {r.host_id}",
    "destinationBackendId": lambda r: f"destinationBackendId {r.destination}",
    "region": lambda r: f"region {' or '.join(r.regions)}",
    "zone": lambda r: f"zone {' or '.join(r.zones)}",
    "rack": lambda r: f"rack {' or '.join(r.racks)}",
}
"""Filters for values that the client requested. The text counts the nodes that have the value."""

EXCLUDED: Mapping[str, Words] = {
    "in use": lambda r: "cordoned",
    "Available": lambda r: "unavailable",
    "answering": lambda r: "that just failed to create the volume",
    "former volume removed": lambda r: "that still hold a deleted volume of this uuid",
    "protocol": lambda r: "without a hostId, which a Local volume needs",
    "limits": lambda r: "that cannot limit a volume's IOPS or bandwidth",
    "block size": lambda r: f"with no SSD for blocks of {r.block_size} bytes",
    "space": lambda r: f"with less than {size(r.claimed_bytes)} free{_where(r)}",
    "shareSSDBetweenVolumes": lambda r: (
        "where every SSD with room has a volume of the storage class"
    ),
    "desired IOPS": lambda r: f"with less than {r.desired_iops} unreserved IOPS",
    "desired bandwidth": lambda r: f"with less than {r.desired_bw} B/s unreserved",
    ONE_PER_NODE: lambda r: "that already have a replica",
    ONE_PER_RACK: lambda r: "in a rack that already has a replica",
}
"""The other filters. The text counts the nodes that they excluded."""


def explain(
    request: PlacementRequest,
    pool: Sequence[Candidate],
    refused: Mapping[str, Refusal],
    chosen: int,
) -> str:
    """Return how many replicas can be placed and, if nodes were excluded, by which filters."""
    excluded = Counter(refusal.filter for refusal in refused.values())
    if chosen < request.replicas:
        excluded[ONE_PER_NODE] += chosen
    found = {name: _count_matching(name, request, pool) for name in REQUESTED}
    parts = [
        f"{wanted(request)}: {found[name]} of {_nodes(len(pool))}"
        for name, wanted in REQUESTED.items()
        if found[name] < len(pool)
    ]
    parts += [
        f"{_nodes(excluded[name])} {words(request)}"
        for name, words in EXCLUDED.items()
        if excluded[name]
    ]
    start = f"{chosen} of {request.replicas} replicas can be placed on {_nodes(len(pool))}"
    return f"{start}: {'; '.join(parts)}" if parts else start


def _count_matching(name: str, request: PlacementRequest, pool: Sequence[Candidate]) -> int:
    """Return the number of nodes that pass the filter."""
    passes = next(one.passes for one in FILTERS if one.name == name)
    return sum(passes(node, request) for node in pool)


def _nodes(number: int) -> str:
    return "1 node" if number == 1 else f"{number} nodes"


def _where(request: PlacementRequest) -> str:
    if request.sub_volumes:
        return f" on {len(request.sub_volumes)} SSDs, like the source replica"
    return " on all SSDs together" if request.allow_span else " on one SSD"
