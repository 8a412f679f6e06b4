"""Delete a volume (reference, "Delete Volume"): mark it, remove it from nodes, free its space."""

from collections.abc import Iterable

from django.db import transaction

from events.kinds import Kind
from events.recording import record
from inventory.services.node.call_time import call_deadline
from provisioner.common.models import LifeState
from tasks.services import tasks_abort
from volumes.models import Export, Replica, Snapshot, Volume
from volumes.selectors import LIVE, replicas_with_nodes, snapshots_with_nodes
from volumes.services.claims import replica_release, snapshot_release
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import VolumeIsInUse, VolumeNotExists
from volumes.services.node_calls import replicas_remove, snapshots_remove
from volumes.services.publication.exports import delete_exports_on_nodes


def volume_delete(*, volume_uuid: str, tenant_id: str | None) -> None:
    """Delete a volume.

    If a node does not answer, the collector removes the replica when the node is back. Its space
    stays claimed until then.

    :raises VolumeNotExists: there is no such volume, or the tenant may not see it.
    :raises VolumeIsInUse: it is published to a host, or has snapshots.
    """
    volume = _mark(volume_uuid, tenant_id)
    delete_replicas_on_nodes(volume.replicas.all(), until=call_deadline())
    volume_finish_removal(volume)


def _mark(volume_uuid: str, tenant_id: str | None) -> Volume:
    with transaction.atomic(durable=True):
        rows = Volume.objects.select_for_update().filter(LIVE, uuid=volume_uuid)
        if tenant_id is not None:
            rows = rows.filter(tenant_id=tenant_id)
        volume = rows.first()
        if volume is None:
            raise VolumeNotExists.of(volume_uuid)
        _require_unused(volume)
        tasks_abort(volume_id=volume.uuid, reason="the volume was deleted")
        deadline = unfinished_deadline()
        volume.replicas.update(state=LifeState.DELETING, deadline_at=deadline)
        Volume.objects.filter(pk=volume.pk).update(
            state=LifeState.DELETING, expanding_to_bytes=None, deadline_at=deadline
        )
        record(Kind.VOLUME_DELETED, tenant=volume.tenant_id, volume=volume.uuid, alias=volume.alias)
        return volume


def _require_unused(volume: Volume) -> None:
    """Refuse a volume that is published or has snapshots.

    The caller holds the volume's lock, so no snapshot can be inserted meanwhile.
    """
    host = volume.publications.values_list("host_id", flat=True).first()
    if host is not None:
        raise VolumeIsInUse(
            f"volume {volume.uuid!r} is published to host {host!r}: unpublish it first"
        )
    snapshot = volume.snapshots.filter(LIVE).first()
    if snapshot is not None:
        raise VolumeIsInUse(
            f"volume {volume.uuid!r} has the snapshot {snapshot.uuid!r}: delete it first"
        )


def delete_replicas_on_nodes(replicas: Iterable[Replica], *, until: float) -> None:
    """Remove DELETING replicas from their nodes, after their exports and snapshots.

    When the node of a replica confirms the removal, the capacity is released and the row is
    deleted.
    """
    keys = [r.pk for r in replicas]
    if not keys:
        return
    rows = Replica.objects.filter(pk__in=keys, state=LifeState.DELETING)
    delete_exports_on_nodes(
        Export.objects.filter(replica__in=rows, state=LifeState.DELETING), until=until
    )
    delete_snapshots_on_nodes(Snapshot.objects.filter(replica__in=rows), until=until)
    free = rows.filter(exports__isnull=True, snapshots__isnull=True)
    by_key = {r.pk: r for r in replicas_with_nodes(free)}
    outcomes = replicas_remove(by_key.values(), until=until)
    for key, outcome in outcomes.items():
        if isinstance(outcome, bool):
            _delete_row(by_key[key])


def _delete_row(replica: Replica) -> None:
    """Release the claims and delete the row, unless another worker already did so. The volume may
    be deleted, too.
    """
    with transaction.atomic(durable=True):
        volume = Volume.objects.select_for_update().filter(pk=replica.volume_id).first()
        row = Replica.objects.select_for_update().filter(pk=replica.pk).first()
        if volume is not None and row is not None:
            replica_release(row, tenant_id=volume.tenant_id)
            row.delete()


def volume_finish_removal(volume: Volume) -> None:
    """Delete the row of a DELETING volume if no replica of it is left on any node."""
    with transaction.atomic(durable=True):
        rows = Volume.objects.select_for_update().filter(pk=volume.pk, state=LifeState.DELETING)
        rows.filter(replicas__isnull=True, publications__isnull=True).delete()


def delete_snapshots_on_nodes(snapshots: Iterable[Snapshot], *, until: float) -> None:
    """Remove DELETING snapshots from their nodes, after their snapshot volumes.

    When the node of a snapshot confirms the removal, the capacity is released and the row is
    deleted.
    """
    keys = [s.pk for s in snapshots]
    if not keys:
        return
    rows = Snapshot.objects.filter(pk__in=keys, state=LifeState.DELETING)
    volumes = list(Volume.objects.filter(snapshot__in=rows, state=LifeState.DELETING))
    delete_replicas_on_nodes(Replica.objects.filter(volume__in=volumes), until=until)
    for volume in volumes:
        volume_finish_removal(volume)
    free = rows.filter(snapshot_volumes__isnull=True)
    by_key = {s.pk: s for s in snapshots_with_nodes(free)}
    outcomes = snapshots_remove(by_key.values(), until=until)
    for key, outcome in outcomes.items():
        if isinstance(outcome, bool):
            _delete_snapshot_row(by_key[key])


def _delete_snapshot_row(snapshot: Snapshot) -> None:
    with transaction.atomic(durable=True):
        row = Snapshot.objects.select_for_update().filter(pk=snapshot.pk).first()
        if row is not None:
            snapshot_release(row)
            row.delete()
