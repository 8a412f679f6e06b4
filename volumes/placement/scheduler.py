"""Chooses nodes and SSDs for the copies of a volume: pure, from plain values (contract,
"Placement").
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
    layout_on,
    refusal,
)
from volumes.placement.layout import PlannedPiece
from volumes.placement.request import Candidate, PlacementRequest
from volumes.placement.weighers import weight

FILTER_NAMES = (*(one.name for one in FILTERS), ONE_PER_NODE, ONE_PER_RACK)


@dataclass(frozen=True, slots=True)
class PlannedReplica:
    node: Candidate
    pieces: tuple[PlannedPiece, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was chosen, and for each node that was not, what took it away.

    A node that passed every filter and was not needed is in neither. ``host_known``: some node has
    the hostId that was asked for, or none was.
    """

    request: PlacementRequest
    chosen: tuple[PlannedReplica, ...]
    refused: Mapping[str, Refusal]
    pool: tuple[Candidate, ...]
    host_known: bool

    @property
    def complete(self) -> bool:
        return len(self.chosen) == self.request.replicas

    def explain(self) -> str:
        """For the operator: what was wanted, and what took nodes away."""
        return explain(self.request, self.pool, self.refused, len(self.chosen))


def plan(request: PlacementRequest, candidates: Iterable[Candidate]) -> Plan:
    """Filter, weigh, then take the best node again and again, those that do not answer last; the
    same input gives the same plan.
    """
    nodes = list(candidates)
    refused = {n.persistent_id: why for n in nodes if (why := refusal(n, request))}
    passed = sorted(
        (n for n in nodes if n.persistent_id not in refused),
        key=lambda n: (not n.answers, -weight(n, request), _tie(request.seed, n.persistent_id)),
    )
    chosen: list[PlannedReplica] = []
    racks = set(request.taken_racks)
    for node in passed:
        if node.persistent_id in request.taken_nodes:
            refused[node.persistent_id] = Refusal(ONE_PER_NODE, "the node has a replica already")
        elif not request.same_rack_allowed and node.rack_key in racks:
            taken = f"{node.rack_key} has a replica already"
            refused[node.persistent_id] = Refusal(ONE_PER_RACK, taken)
        elif len(chosen) < request.replicas and (pieces := layout_on(node, request)):
            chosen.append(PlannedReplica(node, pieces))
            racks.add(node.rack_key)
    host_known = not request.host_id or any(n.host_id == request.host_id for n in nodes)
    return Plan(request, tuple(chosen), refused, tuple(nodes), host_known)


def _tie(seed: str, persistent_id: str) -> bytes:
    return hashlib.blake2b(f"{seed} {persistent_id}".encode(), digest_size=8).digest()
