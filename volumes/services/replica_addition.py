"""Add a replica to a replicated volume (reference, "Add Replica"; contract, section 6)."""

import time
from dataclasses import dataclass, replace

from django.db import transaction
from django.utils import timezone

from provisioner.common.models import LifeState
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import ProvisionerError, ResultCode
from tasks.selectors import migration_active
from volumes.models import Export, Replica, ReplicaState, Volume
from volumes.placement.filters import ONE_PER_RACK
from volumes.placement.request import PlacementRequest
from volumes.placement.scheduler import FILTER_NAMES, Plan
from volumes.selectors import LIVE, volumes_visible
from volumes.services.export_work import exports_make, exports_want
from volumes.services.node_work import call_deadline
from volumes.services.placing import NoCandidate, placement_request, replicas_claim
from volumes.services.replica_making import replicas_make
from volumes.services.replica_rules import NotReplicated, ReplicaTerminating
from volumes.services.volume_creation import InvalidReplicas, NodesFailed
from volumes.services.volume_removal import VolumeNotExists

MOST_REPLICAS = 4


class NoSourceReplica(ProvisionerError):
    """No replica is known to be good: there is nothing to synchronize a new one from."""

    code = ResultCode.NotAvailable


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


def replica_add(*, volume_uuid: str, tenant_id: str | None, wish: ReplicaWish) -> None:
    """Make one more replica; of a published volume it is exported at once, and its host brings it
    up to date. A node that fails is replaced by another while time remains.

    :raises VolumeNotExists, NotReplicated, InvalidReplicas, ReplicaTerminating: as they say.
    :raises NoSourceReplica: no replica is Available, and not all are Unknown.
    :raises NoCandidate: no node will do; the code says what hindered the best one.
    :raises TenantCapacityExceeded: the budget has no room for it.
    :raises NodesFailed: the nodes did not answer in time.
    """
    until = call_deadline()
    volume = volumes_visible(tenant_id).filter(uuid=volume_uuid).first()
    if volume is None:
        raise VolumeNotExists.of(volume_uuid)
    avoid: frozenset[str] = frozenset()
    while True:
        present = _addable_required(volume)
        request = _request(volume, present, wish, avoid)
        replicas_claim(
            volume,
            request,
            lambda: _lock_and_check(volume),
            required=_plan_required,
            replica_state=_first_state(volume, present),
        )
        failed = replicas_make(volume, until=until)
        if failed is None:
            break
        avoid |= {str(r.backend_id) for r in failed.replicas}
        _drop(failed.replicas)
        if time.monotonic() > until:
            raise NodesFailed(f"the nodes did not answer in time; {failed.text}")
    _export(volume, until)


def _addable_required(volume: Volume) -> list[Replica]:
    """The replicas there are, if one more may join them."""
    present = list(volume.replicas.filter(LIVE).select_related("backend"))
    states = {r.replica_state for r in present}
    if volume.num_replicas == 1:
        raise NotReplicated.of(volume.uuid)
    if ReplicaState.TERMINATING in states:
        raise ReplicaTerminating(f"a replica of volume {volume.uuid!r} is being removed")
    if len(present) >= MOST_REPLICAS:
        raise InvalidReplicas(
            f"volume {volume.uuid!r} has {len(present)} replicas: {MOST_REPLICAS} are the most"
        )
    if ReplicaState.AVAILABLE not in states and states != {ReplicaState.UNKNOWN}:
        raise NoSourceReplica(f"no replica of volume {volume.uuid!r} is Available")
    if volume.growing_to_bytes is not None:
        raise NodesFailed(f"volume {volume.uuid!r} is growing: try again")
    return present


def _lock_and_check(volume: Volume) -> None:
    locked = Volume.objects.select_for_update().filter(pk=volume.pk, state=LifeState.READY).first()
    if locked is None:
        raise VolumeNotExists.of(volume.uuid)
    _addable_required(locked)


def _request(
    volume: Volume, present: list[Replica], wish: ReplicaWish, avoid: frozenset[str]
) -> PlacementRequest:
    """Beside all replicas; the one that a migration takes away leaves its rack free."""
    request = placement_request(volume, replicas=1, avoid=avoid, beside=tuple(present))
    migration = migration_active(volume_id=volume.uuid)
    leaving = migration.get("replicaId", "")
    racks = {r.backend.rack_key for r in present if r.backend and r.uuid != leaving}
    return replace(
        request,
        taken_racks=frozenset(racks),
        destination=migration.get("destinationBackendId", ""),
        same_rack_allowed=wish.same_rack_allowed,
        racks=request.racks if wish.racks is None else wish.racks,
        zones=request.zones if wish.zones is None else wish.zones,
        regions=request.regions if wish.regions is None else wish.regions,
    )


def _plan_required(plan: Plan) -> Plan:
    """:raises NoCandidate: by the code of the filter that took away the node which came
    furthest.
    """
    if plan.complete:
        return plan
    others = [r.filter for n, r in plan.refused.items() if n not in plan.request.taken_nodes]
    if not others:
        raise NoOtherNode(plan.explain())
    raise REASONS.get(max(others, key=FILTER_NAMES.index), NoCandidate)(plan.explain())


def _first_state(volume: Volume, present: list[Replica]) -> ReplicaState:
    """A host will say what it finds; until one does, a copy of an offline volume's data is
    awaited.
    """
    attached = any(r.replica_state != ReplicaState.UNKNOWN for r in present)
    if attached and not volume.publications.exists():
        return ReplicaState.SYNCHRONIZING
    return ReplicaState.UNKNOWN


def _drop(replicas: tuple[Replica, ...]) -> None:
    Replica.objects.filter(pk__in=[r.pk for r in replicas], state=LifeState.CREATING).update(
        state=LifeState.DELETING, deadline_at=timezone.now()
    )
    enqueue_on_commit("volumes.jobs.collect")


def _export(volume: Volume, until: float) -> None:
    with transaction.atomic(durable=True):
        if not Volume.objects.select_for_update().filter(pk=volume.pk, state=LifeState.READY):
            return
        publications = list(volume.publications.select_related("host"))
        for publication in publications:
            exports_want(publication)
    wanted = Export.objects.filter(publication__in=publications, state=LifeState.CREATING)
    exports_make(wanted, until=until)
