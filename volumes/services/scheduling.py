"""Plan and claim replicas for a volume: choose nodes, reserve space, insert the rows."""

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError

from events.kinds import Kind
from events.recording import record
from inventory.models import Ssd
from provisioner.common.compiled import prefetched
from provisioner.common.inserts import insert
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

CLAIM_ATTEMPTS = 20
"""Each lost attempt means that another request succeeded. With five, one of twelve concurrent
creates was sometimes refused although a drive was free."""


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
    is_new: bool = False,
) -> PlacementRequest:
    """Return the requirements of the volume for ``replicas`` more replicas.

    ``beside``: the present replicas of the volume, with their backends. Their nodes and racks are
    taken. ``avoid``: ids of nodes to skip. ``is_new``: the uuid of the volume was never used, so no
    node can hold data of it.
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
        removing=frozenset() if is_new else _nodes_removing(volume.uuid),
        taken_nodes=frozenset(n.persistent_id for n in nodes),
        taken_racks=frozenset(n.rack_key for n in nodes),
    )


def _nodes_removing(uuid: str) -> frozenset[str]:
    """The ids of the nodes that may still hold a DELETING replica of this uuid."""
    rows = Replica.objects.filter(uuid=uuid, state=LifeState.DELETING, backend__isnull=False)
    return frozenset(map(str, rows.values_list("backend_id", flat=True)))


def volume_place(volume: Volume, request: PlacementRequest) -> Plan:
    """Plan the placement on the current pool. Nothing is claimed."""
    exclusive = "" if volume.share_ssd else volume.storage_class_name
    return plan(request, candidates_read(exclusive))


def require_plan(outcome: Plan) -> Plan:
    """Return the plan if it has a node for each replica.

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
    """Why and from what new replicas are created.

    ``created_by_task``: the id of the task that creates them, or "". ``copied_from``: the replica
    to copy them from; None: they stay empty. ``kind``: the kind of the event that reports their
    placement.
    """

    created_by_task: str = ""
    copied_from: Replica | None = None
    kind: Kind = Kind.REPLICAS_PLACED


class ClaimAttempt:
    """A context for the transaction of one attempt to plan and claim.

    ``is_lost``: another transaction took the planned space or a name first, so this one was rolled
    back.
    """

    def __init__(self, *, is_last: bool) -> None:
        self._is_last = is_last
        self.is_lost = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.is_lost = isinstance(error, ClaimLost | IntegrityError)
        if self.is_lost and self._is_last:
            raise NoCandidate(
                f"other requests took the space first, {CLAIM_ATTEMPTS} times: try again",
                internal=repr(error),
            ) from error
        return self.is_lost


def claim_attempts() -> Iterator[ClaimAttempt]:
    """Yield attempts to claim a plan, until one succeeds, at most ``CLAIM_ATTEMPTS``::

        for attempt in claim_attempts():
            plan = require_plan(volume_place(volume, request))
            with attempt, transaction.atomic(durable=True):
                replicas = replicas_claim(volume, plan, ReplicaOrigin())

    :raises NoCandidate: in each attempt, another transaction took the space first.
    """
    for number in range(1, CLAIM_ATTEMPTS + 1):
        attempt = ClaimAttempt(is_last=number == CLAIM_ATTEMPTS)
        yield attempt
        if not attempt.is_lost:
            return


def replicas_claim(volume: Volume, plan: Plan, origin: ReplicaOrigin) -> list[Replica]:
    """Insert the planned replicas with their sub-volumes, and claim their space, inside the
    caller's transaction. Returns the replicas.

    :raises ClaimLost: another transaction took the space first.
    :raises TenantCapacityExceeded: the tenant's budget would be exceeded.
    """
    _record_placement(volume, plan, origin)
    return _insert_replicas(volume, plan.chosen, plan.request, origin)


def _insert_replicas(
    volume: Volume,
    chosen: tuple[PlannedReplica, ...],
    request: PlacementRequest,
    origin: ReplicaOrigin,
) -> list[Replica]:
    claims = Claims(volume.tenant_id)
    source = origin.copied_from
    replicas = [
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
    ]
    insert(*replicas)
    if source is not None:
        for replica in replicas:
            record_desired_copy(replica, source)
    sub_volumes: list[SubVolume] = []
    for replica, planned in zip(replicas, chosen, strict=True):
        own = [_sub_volume(volume, replica, p) for p in planned.sub_volumes]
        prefetched(replica, "sub_volumes", own)
        sub_volumes += own
        claims.add_replica(
            planned.node.persistent_id,
            {p.drive.id: p.claimed_bytes for p in planned.sub_volumes},
            request.desired_iops,
            request.desired_bw,
        )
    insert(*sub_volumes)
    claims_take(claims)
    return replicas


def _record_placement(volume: Volume, outcome: Plan, origin: ReplicaOrigin) -> None:
    """Record the chosen nodes, and the numbers that decided the choice."""
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
        ssd=Ssd(id=sub_volume.drive.id, ssd_id=sub_volume.drive.ssd_id),
        capacity_bytes=sub_volume.capacity_bytes,
        claimed_bytes=sub_volume.claimed_bytes,
        storage_class_name=volume.storage_class_name,
        exclusive_class=None if volume.share_ssd else volume.storage_class_name,
    )
