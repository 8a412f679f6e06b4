"""Choose nodes and SSDs for the replicas of a volume (architecture, section 8).

The functions are pure: they use plain values only.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from volumes.placement.explanation import explain
from volumes.placement.filters import (
    FILTERS,
    ONE_PER_NODE,
    ONE_PER_RACK,
    Refusal,
    filters_of,
    layout_on,
    refusal,
)
from volumes.placement.layout import PlannedSubVolume
from volumes.placement.request import Candidate, PlacementRequest
from volumes.placement.weighers import weight

FILTER_NAMES = (*(one.name for one in FILTERS), ONE_PER_NODE, ONE_PER_RACK)


@dataclass(frozen=True, slots=True)
class PlannedReplica:
    """A chosen node, and the layout of the replica on its SSDs."""

    node: Candidate
    sub_volumes: tuple[PlannedSubVolume, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The chosen nodes, and the refusal of each node that was excluded.

    A node that passed every filter but was not needed is not part of the plan. ``host_known``: a
    node has the requested hostId, or none was requested.
    """

    request: PlacementRequest
    chosen: tuple[PlannedReplica, ...]
    refused: Mapping[str, Refusal]
    pool: tuple[Candidate, ...]
    host_known: bool

    @property
    def complete(self) -> bool:
        """Whether each replica has a node."""
        return len(self.chosen) == self.request.replicas

    def explain(self) -> str:
        """Describe for operators the request, and which filters excluded nodes."""
        return explain(self.request, self.pool, self.refused, len(self.chosen))


def plan(request: PlacementRequest, candidates: Iterable[Candidate]) -> Plan:
    """Filter and rank the nodes, and choose the best ones. Nodes that do not answer are ranked
    last.

    The same input always gives the same plan.
    """
    nodes = list(candidates)
    filters = filters_of(request)
    refused = {n.persistent_id: why for n in nodes if (why := refusal(n, request, filters))}
    passed = sorted(
        (n for n in nodes if n.persistent_id not in refused),
        key=lambda n: (not n.answers, -weight(n, request), _tie(request.seed, n.persistent_id)),
    )
    chosen: list[PlannedReplica] = []
    racks = set(request.taken_racks)
    for node in passed:
        if node.persistent_id in request.taken_nodes:
            refused[node.persistent_id] = Refusal(ONE_PER_NODE, "the node already has a replica")
        elif not request.same_rack_allowed and node.rack_key in racks:
            taken = f"{node.rack_key} already has a replica"
            refused[node.persistent_id] = Refusal(ONE_PER_RACK, taken)
        elif len(chosen) < request.replicas and (sub_volumes := layout_on(node, request)):
            chosen.append(PlannedReplica(node, sub_volumes))
            racks.add(node.rack_key)
    host_known = not request.host_id or any(n.host_id == request.host_id for n in nodes)
    return Plan(request, tuple(chosen), refused, tuple(nodes), host_known)


def _tie(seed: str, persistent_id: str) -> bytes:
    return hashlib.blake2b(f"{seed} {persistent_id}".encode(), digest_size=8).digest()
