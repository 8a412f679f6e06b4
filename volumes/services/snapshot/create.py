"""Create a snapshot (reference, "Create Snapshot")."""

import uuid as uuids
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q

from events.kinds import Kind
from events.recording import record
from inventory.services.node.call_time import call_deadline
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import InvalidInput, ProvisionerError, ResultCode
from tasks.services import tasks_abort
from volumes.models import Replica, Snapshot, Volume
from volumes.selectors import LIVE, snapshots_with_nodes, volumes_visible
from volumes.services.claims import ClaimLost
from volumes.services.colocation import require_node, sub_volumes_claim
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import NodesFailed, NoFreeSpace, VolumeNotExists
from volumes.services.node.missing import check_after_not_found
from volumes.services.node_calls import failures_text, lack_space, snapshots_ensure
from volumes.services.volume.delete import delete_snapshots_on_nodes
from volumes.sizing import reserved_bytes


class SnapshotExists(ProvisionerError):
    """The uuid or the alias of the new snapshot is taken."""

    code = ResultCode.AlreadyExists


class Replicated(ProvisionerError):
    """The volume has several replicas, so no single node can take its snapshot or clone it."""

    code = ResultCode.Replicated


@dataclass(frozen=True)
class SnapshotRequest:
    """The request. The percentage is that of the volume's capacity; 0 means the default."""

    volume_uuid: str
    alias: str
    uuid: str | None = None
    reserved_space_percentage: int = 0


def snapshot_create(
    *, tenant_id: str | None, request: SnapshotRequest, idempotency_digest: str = ""
) -> Snapshot:
    """Take a snapshot on the volume's node and SSDs. It belongs to the volume's tenant.

    A retry with the same ``idempotency_digest`` continues or returns the snapshot of the first
    attempt.

    :raises VolumeNotExists: there is no such volume, or the tenant may not see it.
    :raises Replicated: the volume has more than one replica.
    :raises InvalidInput: the volume is a read-only snapshot volume.
    :raises SnapshotExists: a snapshot has the uuid, or the alias in the same tenant.
    :raises NoFreeSpace: an SSD has no room for the reserved space.
    :raises TenantCapacityExceeded: the budget has no room for it.
    :raises NodeDown: the node is not Available.
    :raises NodesFailed: the node did not take the snapshot. The request has no effect.
    """
    until = call_deadline()
    if request.uuid is not None:
        former = Snapshot.objects.filter(uuid=request.uuid, state=LifeState.DELETING)
        delete_snapshots_on_nodes(former, until=until)
    try:
        with transaction.atomic(durable=True):
            snapshot = _claim(tenant_id, request, idempotency_digest)
    except ClaimLost as error:
        raise NoFreeSpace(
            f"an SSD of volume {request.volume_uuid!r} has no room for the reserved space"
        ) from error
    except IntegrityError as error:
        raise SnapshotExists(
            f"a snapshot with uuid {request.uuid!r} or alias {request.alias!r} already exists"
        ) from error
    _make(snapshot, until)
    return snapshot


def _claim(tenant_id: str | None, request: SnapshotRequest, idempotency_digest: str) -> Snapshot:
    rows = volumes_visible(tenant_id).select_for_update().filter(uuid=request.volume_uuid)
    volume = rows.first()
    if volume is None:
        raise VolumeNotExists.of(request.volume_uuid)
    snapshot = _draft(volume, request, idempotency_digest)
    if (begun := _snapshot_of_request(snapshot)) is not None:
        return begun
    replica = snapshot.replica = only_replica(volume)
    if not volume.writable:
        raise InvalidInput.of(
            "volumeID", volume.uuid, "a read-only snapshot volume cannot have snapshots"
        )
    require_node(replica)
    tasks_abort(volume_id=volume.uuid, reason="a snapshot binds the volume to its node")
    snapshot.save(force_insert=True)
    sub_volumes_claim(
        replica.sub_volumes.all(),
        snapshot,
        capacity_bytes=volume.capacity_bytes,
        tenant_id=volume.tenant_id,
    )
    record(
        Kind.SNAPSHOT_CREATED,
        tenant=snapshot.tenant_id,
        snapshot=snapshot.uuid,
        volume=volume.uuid,
        backend=replica.backend_id,
        alias=snapshot.alias,
    )
    return snapshot


def _draft(volume: Volume, request: SnapshotRequest, idempotency_digest: str) -> Snapshot:
    percent = request.reserved_space_percentage
    return Snapshot(
        uuid=request.uuid or str(uuids.uuid4()),
        tenant_id=volume.tenant_id,
        alias=request.alias,
        volume=volume,
        capacity_bytes=volume.capacity_bytes,
        reserved_space_percentage=percent,
        claimed_bytes=reserved_bytes(volume.capacity_bytes, percent),
        idempotency_digest=idempotency_digest,
        deadline_at=unfinished_deadline(),
    )


def only_replica(volume: Volume) -> Replica:
    """Return the replica, with its backend, of a locked volume of one replica.

    :raises Replicated: the volume was created with more replicas.
    :raises NodesFailed: the volume is being expanded.
    """
    if volume.num_replicas > 1:
        raise Replicated(f"volume {volume.uuid!r} was created with {volume.num_replicas} replicas")
    if volume.expanding_to_bytes is not None:
        raise NodesFailed(f"volume {volume.uuid!r} is being expanded: try again")
    replicas = volume.replicas.select_related("backend")
    return replicas.get(state=LifeState.READY, rebuilding=False)


def _snapshot_of_request(draft: Snapshot) -> Snapshot | None:
    """Return the live snapshot that an earlier attempt of the same request took or is taking.

    :raises SnapshotExists: another snapshot has the uuid, or the alias in the same tenant.
    """
    taken = Snapshot.objects.filter(
        LIVE, Q(uuid=draft.uuid) | Q(tenant_id=draft.tenant_id, alias=draft.alias)
    ).first()
    if taken is None:
        return None
    if not taken.matches_request(draft.idempotency_digest) or taken.volume_id != draft.volume_id:
        what = f"uuid {draft.uuid!r}" if taken.uuid == draft.uuid else f"alias {draft.alias!r}"
        raise SnapshotExists(f"a snapshot with the {what} already exists")
    creating = Snapshot.objects.filter(pk=taken.pk, state=LifeState.CREATING)
    creating.update(deadline_at=unfinished_deadline())
    return taken


def _make(snapshot: Snapshot, until: float) -> None:
    rows = Snapshot.objects.filter(pk=snapshot.pk, state=LifeState.CREATING)
    snapshots = {s.pk: s for s in snapshots_with_nodes(rows)}
    outcomes = snapshots_ensure(snapshots.values(), until=until)
    replicas = {key: s.replica for key, s in snapshots.items()}
    check_after_not_found(replicas, outcomes, until=until)
    failures = failures_text(replicas, outcomes)
    if failures and snapshot_abort(snapshot, failures):
        raise (NoFreeSpace if lack_space(outcomes) else NodesFailed)(failures)
    made = not failures and rows.update(state=LifeState.READY, deadline_at=None)
    if not made and not Snapshot.objects.filter(pk=snapshot.pk, state=LifeState.READY).exists():
        raise NodesFailed("the snapshot was deleted while it was being created")


def snapshot_abort(
    snapshot: Snapshot, reason: str = "the process that was creating it died"
) -> bool:
    """Abort a snapshot that is being created, and let the collector remove it from its node.

    Returns False, without a change, if the snapshot is no longer CREATING.
    """
    rows = Snapshot.objects.filter(pk=snapshot.pk, state=LifeState.CREATING)
    with transaction.atomic(durable=True):
        given_up = rows.update(state=LifeState.DELETING, deadline_at=clock.now())
        if given_up:
            record(
                Kind.SNAPSHOT_ABORTED,
                tenant=snapshot.tenant_id,
                snapshot=snapshot.uuid,
                alias=snapshot.alias,
                reason=reason,
            )
    enqueue_on_commit("volumes.jobs.collect")
    return bool(given_up)
