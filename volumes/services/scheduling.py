"""Plan and claim replicas for a volume: choose nodes, reserve space, insert the rows."""

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from events.kinds import Kind
from events.recording import record
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Protocol, Replica, ReplicaState, SubVolume, Volume
from volumes.placement.layout import PlannedSubVolume
from volumes.placement.request import PlacementRequest
from volumes.placement.scheduler import Plan, PlannedReplica, plan
from volumes.placement.weighers import weight
from volumes.selectors import candidates_read
from volumes.services.claims import ClaimLost, Claims, claims_take
from volumes.services.copies import record_desired_copy
from volumes.services.deadlines import unfinished_deadline
from volumes.sizing import GIB

CLAIM_ATTEMPTS = 5
alone = partial(transaction.atomic, durable=True)


class NoCandidate(ProvisionerError):
    """No node fits any of the replicas."""

    code: ResultCode = ResultCode.NoMatchingBackend


class NotEnoughCandidates(NoCandidate):
    """Nodes fit some of the replicas, but not all."""

    code = ResultCode.NotEnoughMatchingBackends


class HostIdUnknown(NoCandidate):
    """No backend has the requested host id."""

    code = ResultCode.NoBackendWithHostIdExists


def placement_request(
    volume: Volume,
    *,
    replicas: int,
    avoid: frozenset[str] = frozenset(),
    beside: tuple[Replica, ...] = (),
) -> PlacementRequest:
    """Return what the volume asks of the nodes for ``replicas`` more replicas.

    ``beside``: replicas that the volume has, with their backends; their nodes and racks are taken.
    ``avoid``: ids of nodes to skip.
    """
    gib = volume.capacity_bytes // GIB
    nodes = [r.backend for r in beside if r.backend is not None]
    return PlacementRequest(
        seed=volume.uuid,
        replicas=replicas,
        capacity_bytes=volume.capacity_bytes,
        claimed_bytes=volume.claimed_bytes,
        block_size=volume.block_size,
        racks=tuple(volume.racks),
        zones=tuple(volume.zones),
        regions=tuple(volume.regions),
        host_id=volume.host_id,
        local=volume.protocol == Protocol.LOCAL,
        allow_span=volume.allow_span,
        share_ssd=volume.share_ssd,
        desired_iops=volume.desired_iops_per_gb * gib,
        desired_bw=volume.desired_bw_per_gb * gib,
        is_limited=bool(volume.max_iops_per_gb or volume.max_bw_per_gb),
        same_rack_allowed=volume.same_rack_allowed,
        avoid=avoid,
        removing=frozenset(
            Replica.objects.filter(uuid=volume.uuid, state=LifeState.DELETING).values_list(
                "backend_id", flat=True
            )
        ),
        taken_nodes=frozenset(n.persistent_id for n in nodes),
        taken_racks=frozenset(n.rack_key for n in nodes),
    )


def volume_place(volume: Volume, request: PlacementRequest) -> Plan:
    """Plan on the pool as it is now. Nothing is claimed."""
    exclusive = "" if volume.share_ssd else volume.storage_class_name
    return plan(request, candidates_read(exclusive))


def require_plan(outcome: Plan) -> Plan:
    """Return the plan if it holds all replicas.

    :raises NoCandidate: no replica, or not all, could be placed, or the hostId is unknown; the text
        says why.
    """
    if outcome.complete:
        return outcome
    if not outcome.host_known:
        raise HostIdUnknown(f"no backend has the hostId {outcome.request.host_id!r}")
    some = outcome.chosen or outcome.request.taken_nodes
    error = NotEnoughCandidates if some else NoCandidate
    raise error(outcome.explain())


@dataclass(frozen=True)
class ReplicaOrigin:
    """Where new replicas come from.

    ``created_by_task``: the id of the task that creates them, or "". ``copied_from``: the replica
    to copy them from; None leaves them empty. ``kind``: the event that tells their placement.
    """

    created_by_task: str = ""
    copied_from: Replica | None = None
    kind: Kind = Kind.REPLICAS_PLACED


def replicas_claim(
    volume: Volume,
    request: PlacementRequest,
    write: Callable[[], ReplicaOrigin],
    *,
    required: Callable[[Plan], Plan] = require_plan,
    within: Callable[[], AbstractContextManager[None]] = alone,
) -> None:
    """Plan replicas, then insert and claim them in one transaction, together with the caller's
    rows.

    ``write`` runs in that transaction and inserts the caller's rows. ``within`` opens the
    transaction. ``required`` returns the plan, or raises if it will not do. If another transaction
    takes the planned space first, the function plans again, up to ``CLAIM_ATTEMPTS`` times.

    :raises NoCandidate: no plan holds all replicas.
    :raises TenantCapacityExceeded: the tenant's budget would be exceeded.
    """
    for attempt in range(1, CLAIM_ATTEMPTS + 1):
        outcome = required(volume_place(volume, request))
        try:
            with within():
                origin = write()
                _record_placement(volume, outcome, origin)
                _insert_replicas(volume, outcome.chosen, request, origin)
            return
        except (ClaimLost, IntegrityError) as error:
            if attempt == CLAIM_ATTEMPTS:
                raise NoCandidate(
                    f"others took the space first, {CLAIM_ATTEMPTS} times: try again",
                    internal=repr(error),
                ) from error


def _insert_replicas(
    volume: Volume,
    chosen: tuple[PlannedReplica, ...],
    request: PlacementRequest,
    origin: ReplicaOrigin,
) -> None:
    claims = Claims(volume.tenant_id)
    source = origin.copied_from
    replicas = Replica.objects.bulk_create(
        Replica(
            uuid=volume.uuid if volume.num_replicas == 1 else str(uuid.uuid4()),
            volume=volume,
            backend_id=planned.node.persistent_id,
            claimed_bytes=request.claimed_bytes,
            desired_iops=request.desired_iops,
            desired_bw=request.desired_bw,
            replica_state=ReplicaState.SYNCHRONIZING if source else ReplicaState.UNKNOWN,
            rebuilding=source is not None,
            created_by_task=origin.created_by_task,
            deadline_at=unfinished_deadline(),
        )
        for planned in chosen
    )
    if source is not None:
        for replica in replicas:
            record_desired_copy(replica, source)
    sub_volumes = []
    for replica, planned in zip(replicas, chosen, strict=True):
        sub_volumes += [_sub_volume(volume, replica, p) for p in planned.sub_volumes]
        claims.add_replica(
            planned.node.persistent_id,
            {p.drive.id: p.claimed_bytes for p in planned.sub_volumes},
            request.desired_iops,
            request.desired_bw,
        )
    SubVolume.objects.bulk_create(sub_volumes)
    claims_take(claims)


def _record_placement(volume: Volume, outcome: Plan, origin: ReplicaOrigin) -> None:
    """Record which nodes were chosen, and the numbers that decided."""
    refused = Counter(refusal.filter for refusal in outcome.refused.values())
    record(
        origin.kind,
        tenant=volume.tenant_id,
        volume=volume.uuid,
        backend=[planned.node.persistent_id for planned in outcome.chosen],
        task=origin.created_by_task or None,
        alias=volume.alias,
        capacityGiB=volume.capacity_bytes // GIB,
        count=len(outcome.chosen),
        nodes=len(outcome.pool),
        placement=[_decided(planned, outcome.request) for planned in outcome.chosen],
        refused=dict(refused),
    )


def _decided(planned: PlannedReplica, request: PlacementRequest) -> dict[str, Any]:
    node = planned.node
    return {
        "backend": node.persistent_id,
        "weight": weight(node, request),
        "freeBytes": sum(drive.free_bytes for drive in node.drives),
        "totalBytes": node.total_bytes,
        "ssds": [each.drive.ssd_id for each in planned.sub_volumes],
    }


def _sub_volume(volume: Volume, replica: Replica, sub_volume: PlannedSubVolume) -> SubVolume:
    return SubVolume(
        replica=replica,
        ssd_id=sub_volume.drive.id,
        capacity_bytes=sub_volume.capacity_bytes,
        claimed_bytes=sub_volume.claimed_bytes,
        storage_class_name=volume.storage_class_name,
        exclusive_class=None if volume.share_ssd else volume.storage_class_name,
    )
