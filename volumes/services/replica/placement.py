"""Constraints for a replica that is added to a volume."""

from dataclasses import dataclass, replace

from provisioner.common.results import ResultCode
from volumes.models import Replica, ReplicaState, Volume
from volumes.placement.filters import ONE_PER_RACK
from volumes.placement.request import PlacementRequest
from volumes.placement.scheduler import FILTER_NAMES, Plan
from volumes.services.scheduling import NoCandidate, placement_request


class TopologyConstraints(NoCandidate):
    """Filters for region, zone or rack excluded the nodes."""

    code = ResultCode.TopologyConstraints


class SameRackNotAllowed(NoCandidate):
    """The racks of all nodes that fit already hold a replica."""

    code = ResultCode.SameRackNotAllowed


class NodesNotInUse(NoCandidate):
    """The nodes that would fit are cordoned."""

    code = ResultCode.NotInUse


class NodesNotAvailable(NoCandidate):
    """The nodes that would fit are not Available."""

    code = ResultCode.NotAvailable


class NoSpaceForReplica(NoCandidate):
    """The nodes that would fit have no room for the replica."""

    code = ResultCode.NoFreeSpace


class NoOtherNode(NoCandidate):
    """Every node already holds a replica of the volume."""

    code = ResultCode.NotEnoughMatchingBackends


REASONS: dict[str, type[NoCandidate]] = {
    "in use": NodesNotInUse,
    "Available": NodesNotAvailable,
    "answering": NodesNotAvailable,
    "region": TopologyConstraints,
    "zone": TopologyConstraints,
    "rack": TopologyConstraints,
    "space": NoSpaceForReplica,
    "shareSSDBetweenVolumes": NoSpaceForReplica,
    ONE_PER_RACK: SameRackNotAllowed,
}


FREES_RACK = frozenset({ReplicaState.MISSING, ReplicaState.TERMINATING})
"""Replicas in these states leave their rack free, so that a pool of two racks can heal."""


@dataclass(frozen=True)
class PlacementConstraints:
    """A client's constraints for the new replica, in addition to the constraints of the volume.

    ``same_rack_allowed`` can only relax the volume's rule. A list that is not empty replaces the
    volume's list.
    """

    same_rack_allowed: bool = False
    racks: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


def replica_request(
    volume: Volume,
    present: list[Replica],
    *,
    outgoing: Replica | None = None,
    destination: str = "",
    constraints: PlacementConstraints | None = None,
    avoid: frozenset[str] = frozenset(),
) -> PlacementRequest:
    """Return the placement request for one more replica. ``present``: the existing replicas, with
    their backends.

    The ``outgoing`` replica, and replicas that are Missing or Terminating, leave their racks free,
    but not their nodes. ``destination``: the id of the only node allowed, or "".
    """
    constraints = constraints or PlacementConstraints()
    request = placement_request(volume, replicas=1, avoid=avoid, beside=tuple(present))
    staying = [r for r in present if r != outgoing and r.replica_state not in FREES_RACK]
    return replace(
        request,
        taken_racks=frozenset(r.backend.rack_key for r in staying if r.backend),
        destination=destination,
        same_rack_allowed=request.same_rack_allowed or constraints.same_rack_allowed,
        racks=constraints.racks or request.racks,
        zones=constraints.zones or request.zones,
        regions=constraints.regions or request.regions,
    )


def require_replica_plan(plan: Plan) -> Plan:
    """Return the plan if it has a node for the replica.

    :raises NoCandidate: no node fits. The code names the latest filter that any node reached.
    """
    if plan.complete:
        return plan
    others = [r.filter for n, r in plan.refused.items() if n not in plan.request.taken_nodes]
    if not others:
        raise NoOtherNode(plan.explain())
    raise REASONS.get(max(others, key=FILTER_NAMES.index), NoCandidate)(plan.explain())
