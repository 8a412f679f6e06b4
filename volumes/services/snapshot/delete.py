"""Delete a snapshot (reference, "Delete Snapshot")."""

from django.db import transaction

from events.kinds import Kind
from events.recording import record
from inventory.services.node.call_time import call_deadline
from provisioner.common.models import LifeState
from volumes.models import Snapshot
from volumes.selectors import LIVE
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import SnapshotNotExists, VolumeIsInUse
from volumes.services.volume.delete import delete_snapshots_on_nodes


def snapshot_delete(*, snapshot_uuid: str, tenant_id: str | None) -> None:
    """Delete a snapshot.

    If its node does not answer, the collector removes it when the node is back. Its reserved space
    stays claimed until then.

    :raises SnapshotNotExists: there is no such snapshot, or the tenant may not see it.
    :raises VolumeIsInUse: it has a snapshot volume.
    """
    with transaction.atomic(durable=True):
        rows = Snapshot.objects.select_for_update().filter(LIVE, uuid=snapshot_uuid)
        if tenant_id is not None:
            rows = rows.filter(tenant_id=tenant_id)
        snapshot = rows.first()
        if snapshot is None:
            raise SnapshotNotExists.of(snapshot_uuid)
        _require_unused(snapshot)
        Snapshot.objects.filter(pk=snapshot.pk).update(
            state=LifeState.DELETING, deadline_at=unfinished_deadline()
        )
        record(
            Kind.SNAPSHOT_DELETED,
            tenant=snapshot.tenant_id,
            snapshot=snapshot.uuid,
            alias=snapshot.alias,
        )
    delete_snapshots_on_nodes([snapshot], until=call_deadline())


def _require_unused(snapshot: Snapshot) -> None:
    """Refuse a snapshot that has a snapshot volume.

    The caller holds the snapshot's lock, so no snapshot volume can be inserted meanwhile.
    """
    volume = snapshot.snapshot_volumes.filter(LIVE).first()
    if volume is not None:
        raise VolumeIsInUse(
            f"snapshot {snapshot.uuid!r} has the snapshot volume {volume.uuid!r}: delete it first"
        )
