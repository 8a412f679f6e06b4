"""Rank the nodes that passed the filters. Each weigher returns 0 to 1; more is better."""

from collections.abc import Callable

from volumes.placement.request import Candidate, PlacementRequest

Weigher = Callable[[Candidate, PlacementRequest], float]


def free_space(node: Candidate, request: PlacementRequest) -> float:
    """Share of the node's space that stays free after placement."""
    free = sum(drive.free_bytes for drive in node.drives) - request.claimed_bytes
    return free / node.total_bytes if node.total_bytes else 0.0


def free_performance(node: Candidate, request: PlacementRequest) -> float:
    """Share of IOPS or bandwidth, whichever is scarcer, that stays free after placement."""
    iops = (node.total_iops - node.used_iops - request.desired_iops) / max(node.total_iops, 1)
    bandwidth = (node.total_bw - node.used_bw - request.desired_bw) / max(node.total_bw, 1)
    return min(iops, bandwidth)


WEIGHTS: tuple[tuple[str, Weigher, float], ...] = (
    ("free space", free_space, 1.0),
    ("free performance", free_performance, 1.0),
)


def weight(node: Candidate, request: PlacementRequest) -> float:
    """Return the sum of the weighers, rounded to a thousandth. So nodes that hardly differ count as
    equal, and volumes are spread over them.
    """
    return round(sum(factor * weigher(node, request) for _, weigher, factor in WEIGHTS), 3)
