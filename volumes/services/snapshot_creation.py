"""Create a snapshot (reference, "Create Snapshot"; contract, section 8)."""

import uuid as uuids
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from provisioner.common.models import LifeState
from provisioner.common.queue import enqueue_on_commit
from provisioner.common.results import InvalidInput, ProvisionerError, ResultCode
from tasks.services import tasks_abort
from volumes.models import Replica, Snapshot, Volume
from volumes.selectors import LIVE, snapshots_with_nodes, volumes_visible
from volumes.services.capacity import ClaimLost
from volumes.services.deadlines import unfinished_deadline
from volumes.services.node_work import call_deadline, failures_text, lack_space, snapshots_ensure
from volumes.services.pieces import node_required, pieces_claim
from volumes.services.volume_creation import NodesFailed
from volumes.services.volume_growth import NoFreeSpace
from volumes.services.volume_removal import VolumeNotExists, snapshots_drop
from volumes.sizing import reserved_bytes


class SnapshotExists(ProvisionerError):
    code = ResultCode.AlreadyExists


class Replicated(ProvisionerError):
    """More than one replica: no single node holds what is wanted."""

    code = ResultCode.Replicated


@dataclass(frozen=True)
class SnapshotRequest:
    """What a client asks for; percentage of the volume's capacity, 0 is the default."""

    volume_uuid: str
    alias: str
    uuid: str | None = None
    reserved_space_percentage: int = 0


def snapshot_create(*, tenant_id: str | None, request: SnapshotRequest) -> Snapshot:
    """Take a snapshot, on the volume's node and SSDs; it belongs to the volume's tenant.

    :raises VolumeNotExists: there is no such volume, for this tenant.
    :raises Replicated: the volume has more than one replica.
    :raises InvalidInput: the volume is a read-only snapshot volume.
    :raises SnapshotExists: the uuid, or in the tenant the alias, is taken by a snapshot.
    :raises NoFreeSpace: an SSD has no room for the reserved space.
    :raises TenantCapacityExceeded: the budget has no room for it.
    :raises NodeDown, NodesFailed: the node is not Available, or did not do it; nothing stays.
    """
    until = call_deadline()
    if request.uuid is not None:
        former = Snapshot.objects.filter(uuid=request.uuid, state=LifeState.DELETING)
        snapshots_drop(former, until=until)
    try:
        with transaction.atomic(durable=True):
            snapshot = _claim(tenant_id, request)
    except ClaimLost as error:
        raise NoFreeSpace(
            f"an SSD of volume {request.volume_uuid!r} has no room for the reserved space"
        ) from error
    except IntegrityError as error:
        raise SnapshotExists(
            f"a snapshot with uuid {request.uuid!r} or alias {request.alias!r} exists already"
        ) from error
    _make(snapshot, until)
    return snapshot


def _claim(tenant_id: str | None, request: SnapshotRequest) -> Snapshot:
    rows = volumes_visible(tenant_id).select_for_update().filter(uuid=request.volume_uuid)
    volume = rows.first()
    if volume is None:
        raise VolumeNotExists.of(request.volume_uuid)
    replica = only_replica(volume)
    if not volume.writable:
        raise InvalidInput.of(
            "volumeID", volume.uuid, "a read-only snapshot volume has no snapshots"
        )
    node_required(replica)
    tasks_abort(volume_id=volume.uuid, reason="a snapshot binds the volume to its node")
    snapshot = _draft(volume, replica, request)
    _name_free(snapshot)
    snapshot.save(force_insert=True)
    pieces_claim(
        replica.sub_volumes.all(),
        snapshot,
        capacity_bytes=volume.capacity_bytes,
        tenant_id=volume.tenant_id,
    )
    return snapshot


def _draft(volume: Volume, replica: Replica, request: SnapshotRequest) -> Snapshot:
    percent = request.reserved_space_percentage
    return Snapshot(
        uuid=request.uuid or str(uuids.uuid4()),
        tenant_id=volume.tenant_id,
        alias=request.alias,
        volume=volume,
        replica=replica,
        capacity_bytes=volume.capacity_bytes,
        reserved_space_percentage=percent,
        claimed_bytes=reserved_bytes(volume.capacity_bytes, percent),
        deadline_at=unfinished_deadline(),
    )


def only_replica(volume: Volume) -> Replica:
    """The replica of a locked one-replica volume that is at rest.

    :raises Replicated: it was created with more.
    :raises NodesFailed: it is growing.
    """
    if volume.num_replicas > 1:
        raise Replicated(f"volume {volume.uuid!r} was created with {volume.num_replicas} replicas")
    if volume.growing_to_bytes is not None:
        raise NodesFailed(f"volume {volume.uuid!r} is growing: try again")
    replicas = volume.replicas.select_related("backend")
    return replicas.get(state=LifeState.READY, filling=False)


def _name_free(snapshot: Snapshot) -> None:
    taken = Snapshot.objects.filter(
        LIVE, Q(uuid=snapshot.uuid) | Q(tenant_id=snapshot.tenant_id, alias=snapshot.alias)
    ).first()
    if taken is not None:
        same_uuid = taken.uuid == snapshot.uuid
        what = f"uuid {snapshot.uuid!r}" if same_uuid else f"alias {snapshot.alias!r}"
        raise SnapshotExists(f"a snapshot with the {what} exists already")


def _make(snapshot: Snapshot, until: float) -> None:
    rows = Snapshot.objects.filter(pk=snapshot.pk, state=LifeState.CREATING)
    snapshots = {s.pk: s for s in snapshots_with_nodes(rows)}
    outcomes = snapshots_ensure(snapshots.values(), until=until)
    replicas = {key: s.replica for key, s in snapshots.items()}
    if failures := failures_text(replicas, outcomes):
        snapshot_abandon(snapshot)
        raise (NoFreeSpace if lack_space(outcomes) else NodesFailed)(failures)
    if not rows.update(state=LifeState.READY, deadline_at=None):
        raise NodesFailed("the snapshot was deleted while it was being created")


def snapshot_abandon(snapshot: Snapshot) -> None:
    """Give up a snapshot that is being created: the collector removes what its node has of it."""
    rows = Snapshot.objects.filter(pk=snapshot.pk, state=LifeState.CREATING)
    rows.update(state=LifeState.DELETING, deadline_at=timezone.now())
    enqueue_on_commit("volumes.jobs.collect")
