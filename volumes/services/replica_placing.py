"""Where a replica beside others may lie."""

from dataclasses import dataclass, replace

from provisioner.common.results import ResultCode
from volumes.models import Replica, Volume
from volumes.placement.filters import ONE_PER_RACK
from volumes.placement.request import PlacementRequest
from volumes.placement.scheduler import FILTER_NAMES, Plan
from volumes.services.placing import NoCandidate, placement_request


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


@dataclass(frozen=True)
class ReplicaWish:
    """Where the new replica may lie; lists that are absent are the volume's own."""

    same_rack_allowed: bool = False
    racks: tuple[str, ...] | None = None
    zones: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None


def replica_request(
    volume: Volume,
    present: list[Replica],
    *,
    leaving: Replica | None = None,
    destination: str = "",
    wish: ReplicaWish | None = None,
    avoid: frozenset[str] = frozenset(),
) -> PlacementRequest:
    """For one replica beside those ``present``, with their backends; the one that is ``leaving``
    leaves its rack free. ``destination``: the one node that will do.
    """
    request = placement_request(volume, replicas=1, avoid=avoid, beside=tuple(present))
    racks = {r.backend.rack_key for r in present if r.backend and r != leaving}
    request = replace(request, taken_racks=frozenset(racks), destination=destination)
    if wish is None:
        return request
    return replace(
        request,
        same_rack_allowed=wish.same_rack_allowed,
        racks=request.racks if wish.racks is None else wish.racks,
        zones=request.zones if wish.zones is None else wish.zones,
        regions=request.regions if wish.regions is None else wish.regions,
    )


def replica_plan_required(plan: Plan) -> Plan:
    """:raises NoCandidate: by the code of the filter that took away the node which came
    furthest.
    """
    if plan.complete:
        return plan
    others = [r.filter for n, r in plan.refused.items() if n not in plan.request.taken_nodes]
    if not others:
        raise NoOtherNode(plan.explain())
    raise REASONS.get(max(others, key=FILTER_NAMES.index), NoCandidate)(plan.explain())
