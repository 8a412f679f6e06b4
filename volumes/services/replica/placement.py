"""Where a replica beside others may lie."""

from dataclasses import dataclass, replace

from provisioner.common.results import ResultCode
from volumes.models import Replica, ReplicaState, Volume
from volumes.placement.filters import ONE_PER_RACK
from volumes.placement.request import PlacementRequest
from volumes.placement.scheduler import FILTER_NAMES, Plan
from volumes.services.scheduling import NoCandidate, placement_request


class TopologyConstraints(NoCandidate):
    code = ResultCode.TopologyConstraints


class SameRackNotAllowed(NoCandidate):
    code = ResultCode.SameRackNotAllowed


class NodesNotInUse(NoCandidate):
    code = ResultCode.NotInUse


class NodesNotAvailable(NoCandidate):
    code = ResultCode.NotAvailable


class NoSpaceForReplica(NoCandidate):
    code = ResultCode.NoFreeSpace


class NoOtherNode(NoCandidate):
    """Every node has a replica of the volume already."""

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
"""States of replicas whose rack may take the one in their place: a pool of two racks must heal."""


@dataclass(frozen=True)
class PlacementConstraints:
    """Where the new replica may lie beside what the volume says: it can allow a rack twice, and
    what it lists replaces the volume's list. Nothing listed is no wish.
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
    """For one replica beside those ``present``, with their backends. The one that is ``outgoing``,
    and those that are lost or on their way out, leave their racks free, but not their nodes.
    ``destination``: the one node that will do.
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
    """:raises NoCandidate: by the code of the filter that took away the node which came
    furthest.
    """
    if plan.complete:
        return plan
    others = [r.filter for n, r in plan.refused.items() if n not in plan.request.taken_nodes]
    if not others:
        raise NoOtherNode(plan.explain())
    raise REASONS.get(max(others, key=FILTER_NAMES.index), NoCandidate)(plan.explain())
