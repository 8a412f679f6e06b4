"""Expand a volume (reference, "Expand Volume").

The new size is claimed for all replicas or for none. A claimed expansion is always completed, never
rolled back.
"""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F, Q, QuerySet

from events.kinds import Kind
from events.recording import record
from inventory.models import Backend
from inventory.services.node.call_time import call_deadline
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX
from provisioner.common.results import InvalidInput, ProvisionerError, ResultCode
from volumes.models import Replica, ReplicaState, SubVolume, Volume
from volumes.selectors import (
    LIVE,
    replicas_expanded_offline,
    replicas_with_nodes,
    volumes_visible,
)
from volumes.services.claims import ClaimLost, Claims, claims_take
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import InvalidSize, NoFreeSpace, VolumeNotExists
from volumes.services.node.missing import check_after_not_found, replicas_verify
from volumes.services.node_calls import failures_text, replicas_change
from volumes.sizing import GIB, claimed_bytes


class NodeNotAvailable(ProvisionerError):
    """The state of a replica does not allow an expansion."""

    code = ResultCode.NotAvailable


class ExpansionUnfinished(ProvisionerError):
    """The expansion is claimed. The collector completes it when the nodes answer."""

    code = ResultCode.NotAvailable


def volume_expand(
    *, volume_uuid: str, tenant_id: str | None, new_gib: int, idempotency_digest: str = ""
) -> None:
    """Expand all replicas of a volume to ``new_gib`` GiB.

    A request for an expansion in progress continues it. A retry of a completed request changes
    nothing.

    :raises VolumeNotExists: there is no such volume, or the tenant may not see it.
    :raises InvalidSize: the size is not larger than the present one, or the volume is a read-only
        snapshot volume.
    :raises NoFreeSpace: an SSD has no room, or a node has no free IOPS or bandwidth. Nothing
        changed.
    :raises TenantCapacityExceeded: the budget has no room for it. Nothing changed.
    :raises NodeNotAvailable: a node is down, a node cannot expand the volume while a host uses it,
        or a replica is Missing or being rebuilt. Nothing changed. The same error is raised if all
        replicas turn out to be lost after the claim.
    :raises ExpansionUnfinished: a node did not answer. The collector will complete the expansion.
    """
    until = call_deadline()
    _verify_replicas(volume_uuid, tenant_id, until)
    try:
        with transaction.atomic(durable=True):
            volume = _claim(volume_uuid, tenant_id, new_gib, idempotency_digest)
    except ClaimLost as error:
        raise NoFreeSpace(
            f"an SSD or node that holds volume {volume_uuid!r} "
            f"has no room to expand it to {new_gib} GiB"
        ) from error
    if volume.expanding_to_bytes is None:
        return
    if failures := expansions_finish([volume], until=until):
        raise ExpansionUnfinished(
            f"the expansion to {new_gib} GiB is recorded, and is completed when all nodes answer: "
            f"{failures[volume.pk]}"
        )
    replicas = volume.replicas.filter(state=LifeState.READY)
    if not replicas.exclude(replica_state=ReplicaState.MISSING).exists():
        _none_missing(replicas)


def _verify_replicas(volume_uuid: str, tenant_id: str | None, until: float) -> None:
    """Ask Available nodes for the volume's replicas, and mark lost ones Missing."""
    volumes = volumes_visible(tenant_id).filter(uuid=volume_uuid)
    rows = Replica.objects.filter(
        volume__in=volumes, state=LifeState.READY, backend__in=Backend.objects.available()
    )
    replicas_verify(replicas_with_nodes(rows), until=until)


def _claim(
    volume_uuid: str, tenant_id: str | None, new_gib: int, idempotency_digest: str
) -> Volume:
    """Claim the expansion, and return the volume.

    ``expanding_to_bytes`` is None if an earlier attempt of the request completed the expansion.
    """
    rows = volumes_visible(tenant_id).select_for_update().filter(uuid=volume_uuid)
    volume = rows.first()
    if volume is None:
        raise VolumeNotExists.of(volume_uuid)
    size = volume.expanding_to_bytes or volume.capacity_bytes
    if size == new_gib * GIB and (
        volume.expanding_to_bytes or volume.matches_request(idempotency_digest)
    ):
        if idempotency_digest:
            Volume.objects.filter(pk=volume.pk).update(idempotency_digest=idempotency_digest)
        return volume
    _check(volume, new_gib)
    _refuse_exported_spans(volume)
    _require_whole(volume)
    replicas = list(volume.replicas.filter(state=LifeState.READY).select_related("backend"))
    _claim_replicas(volume, replicas, new_gib * GIB - size)
    volume.claimed_bytes = claimed_bytes(
        volume.provisioning_type, new_gib * GIB, volume.reserved_space_percentage
    )
    volume.expanding_to_bytes, volume.deadline_at = new_gib * GIB, unfinished_deadline()
    volume.idempotency_digest = idempotency_digest
    volume.save(
        update_fields=["expanding_to_bytes", "claimed_bytes", "deadline_at", "idempotency_digest"]
    )
    record(
        Kind.VOLUME_EXPANDED,
        tenant=volume.tenant_id,
        volume=volume.uuid,
        alias=volume.alias,
        capacityGiB=new_gib,
        formerGiB=size // GIB,
    )
    return volume


def _require_whole(volume: Volume) -> None:
    """Check that all replicas exist and hold current data.

    :raises NodeNotAvailable: a replica is being created or rebuilt, or is Missing.
    """
    live = volume.replicas.filter(LIVE)
    for replica in live.filter(Q(rebuilding=True) | Q(state=LifeState.CREATING)):
        raise NodeNotAvailable(
            f"replica {replica.uuid!r} of volume {volume.uuid!r} is being rebuilt on node "
            f"{replica.backend_id}: nothing was changed; try again when the rebuild has ended"
        )
    _none_missing(live)


def _none_missing(replicas: QuerySet[Replica]) -> None:
    """Check that none of the replicas is Missing.

    :raises NodeNotAvailable: a replica is Missing.
    """
    for replica in replicas.filter(replica_state=ReplicaState.MISSING):
        raise NodeNotAvailable(
            f"replica {replica.uuid!r} on node {replica.backend_id} is Missing: a volume can be "
            "expanded only if no replica is Missing; wait for a new replica, or remove this one"
        )


def _refuse_exported_spans(volume: Volume) -> None:
    """Refuse an exported volume if one of its nodes can expand it only while no host uses it.

    :raises NodeNotAvailable: such a node exports the volume.
    """
    exported = replicas_expanded_offline(volume).filter(exports__for_copy=False)
    if replica := exported.first():
        number = replica.sub_volumes.count()
        raise NodeNotAvailable(
            f"replica {replica.uuid!r} spans {number} SSDs of node {replica.backend_id}, which "
            "expands such a volume only while it is unpublished: unpublish it first. Nothing was "
            "changed"
        )


def _check(volume: Volume, new_gib: int) -> None:
    if not volume.writable:
        raise InvalidSize(
            f"volume {volume.uuid!r} is a read-only snapshot volume and cannot be expanded"
        )
    current = volume.expanding_to_bytes or volume.capacity_bytes
    if new_gib * GIB <= current:
        raise InvalidSize(
            f"newCapacity = {new_gib}: must be more than the volume's {current // GIB} GiB"
        )
    rates = (volume.max_iops_per_gb, volume.desired_iops_per_gb, volume.max_bw_per_gb)
    if max(*rates, volume.desired_bw_per_gb) * new_gib > INT64_MAX:
        raise InvalidInput.of(
            "newCapacity", new_gib, "times the volume's rates per GB is too large"
        )


def _claim_replicas(volume: Volume, replicas: list[Replica], extra_bytes: int) -> None:
    """Claim ``extra_bytes`` more for each replica, on the SSD of its last sub-volume."""
    size = claimed_bytes(
        volume.provisioning_type,
        (volume.expanding_to_bytes or volume.capacity_bytes) + extra_bytes,
        volume.reserved_space_percentage,
    )
    extra_claim = size - volume.claimed_bytes
    extra_iops = volume.desired_iops_per_gb * (extra_bytes // GIB)
    extra_bw = volume.desired_bw_per_gb * (extra_bytes // GIB)
    claims = Claims(volume.tenant_id)
    for replica in replicas:
        if replica.backend is None or not replica.backend.is_available:
            raise NodeNotAvailable(
                f"replica {replica.uuid!r} is on a node that is not Available: nothing was changed"
            )
        piece = replica.sub_volumes.latest("id")
        SubVolume.objects.filter(pk=piece.pk).update(
            capacity_bytes=F("capacity_bytes") + extra_bytes,
            claimed_bytes=F("claimed_bytes") + extra_claim,
        )
        Replica.objects.filter(pk=replica.pk).update(
            claimed_bytes=F("claimed_bytes") + extra_claim,
            desired_iops=F("desired_iops") + extra_iops,
            desired_bw=F("desired_bw") + extra_bw,
        )
        claims.add_replica(
            replica.backend.persistent_id, {piece.ssd_id: extra_claim}, extra_iops, extra_bw
        )
    claims_take(claims)


def expansions_finish(volumes: Iterable[Volume], *, until: float) -> dict[int, str]:
    """Expand volumes whose expansion is claimed, on all nodes in parallel.

    Returns, by the key of each unfinished volume, which nodes failed and how.

    Replicas that are Missing, or that a node turns out to have lost, are skipped. If such a replica
    comes back, the node check expands it. Replicas of a node that was removed by force are expanded
    when they are readopted.
    """
    expanding = {v.pk: v for v in volumes}
    rows = Replica.objects.filter(
        volume__in=expanding, state=LifeState.READY, backend__isnull=False
    )
    replicas = {r.pk: r for r in replicas_with_nodes(rows)}
    for replica in replicas.values():
        replica.volume = expanding[replica.volume_id]
    outcomes = replicas_change(replicas.values(), until=until)
    check_after_not_found(replicas, outcomes, until=until)
    missing = set(rows.filter(replica_state=ReplicaState.MISSING).values_list("pk", flat=True))
    awaited = {key: outcome for key, outcome in outcomes.items() if key not in missing}
    failures = {}
    for key, volume in expanding.items():
        own = {k: outcome for k, outcome in awaited.items() if replicas[k].volume_id == key}
        if text := failures_text(replicas, own):
            failures[key] = text
            continue
        Volume.objects.filter(
            pk=key, state=LifeState.READY, expanding_to_bytes=volume.expanding_to_bytes
        ).update(
            capacity_bytes=volume.expanding_to_bytes, expanding_to_bytes=None, deadline_at=None
        )
    return failures
