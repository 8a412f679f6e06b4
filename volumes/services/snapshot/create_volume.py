"""Create a snapshot volume (reference, "Create Snapshot Volume")."""

import uuid as uuids
from dataclasses import dataclass

from django.db.models import Q

from inventory.nodes.wire import Source, SourceKind
from provisioner.common.results import InvalidInput
from volumes.models import Protocol, ProvisioningType, Snapshot, Volume
from volumes.selectors import LIVE, snapshots_visible
from volumes.services.errors import SnapshotNotExists, VolumeExists
from volumes.services.volume.derive import VolumeSource, placement_fields, volume_derive
from volumes.sizing import reserved_bytes

KINDS = {
    False: SourceKind.READ_ONLY_SNAPSHOT_VOLUME,
    True: SourceKind.WRITABLE_SNAPSHOT_VOLUME,
}


@dataclass(frozen=True)
class SnapshotVolumeRequest:
    """The request of a client. Rates are per GiB; 0 means no limit. ``uuid``: the uuid of the new
    volume.
    """

    snapshot_uuid: str
    alias: str
    uuid: str | None = None
    reserved_space_percentage: int = 0
    writable: bool = False
    max_iops_per_gb: int = 0
    max_bw_per_gb: int = 0
    protocol: Protocol = Protocol.NVMEOF
    allow_span: bool = True
    storage_class_name: str = ""


def snapshot_volume_create(
    *, tenant_id: str | None, request: SnapshotVolumeRequest, idempotency_digest: str = ""
) -> Volume:
    """Create the volume through which hosts use a snapshot. It is on the snapshot's node and in its
    tenant. A snapshot has at most one.

    A read-only snapshot volume reserves no space.

    :raises SnapshotNotExists: there is no such snapshot, or the tenant may not see it.
    :raises VolumeExists: the uuid or the alias is taken, or the snapshot has a snapshot volume.
    :raises InvalidInput: ``Local`` on a node that does not run on a host, or too large rates.
    :raises ProvisionerError: as for :func:`volume_derive`.
    """
    former = Q(volume__snapshot__uuid=request.snapshot_uuid)
    if request.uuid is not None:
        former |= Q(uuid=request.uuid)
    return volume_derive(lambda: _draft(tenant_id, request, idempotency_digest), former=former)


def _draft(
    tenant_id: str | None, request: SnapshotVolumeRequest, idempotency_digest: str
) -> tuple[Volume, VolumeSource]:
    rows = snapshots_visible(tenant_id).select_for_update()
    snapshot = rows.filter(uuid=request.snapshot_uuid).first()
    if snapshot is None:
        raise SnapshotNotExists.of(request.snapshot_uuid)
    _require_unassigned(snapshot, idempotency_digest)
    _protocol_possible(snapshot, request)
    volume = Volume(
        uuid=request.uuid or str(uuids.uuid4()),
        tenant_id=snapshot.tenant_id,
        snapshot=snapshot,
        capacity_bytes=snapshot.capacity_bytes,
        claimed_bytes=_reserved(snapshot, request),
        provisioning_type=ProvisioningType.THIN,
        num_replicas=1,
        idempotency_digest=idempotency_digest,
        **_volume_fields(request),
        **placement_fields(snapshot.volume),
    )
    source = Source(kind=KINDS[request.writable], uuid=snapshot.uuid, generation=snapshot.pk)
    return volume, VolumeSource(snapshot.replica, snapshot.sub_volumes.all(), source)


def _protocol_possible(snapshot: Snapshot, request: SnapshotVolumeRequest) -> None:
    node = snapshot.replica.backend
    if request.protocol == Protocol.LOCAL and not (node and node.host_id):
        raise InvalidInput.of("protocol", "Local", "the snapshot's node does not run inside a host")


def _require_unassigned(snapshot: Snapshot, idempotency_digest: str) -> None:
    other = snapshot.snapshot_volumes.filter(LIVE).first()
    if other is not None and not other.matches_request(idempotency_digest):
        raise VolumeExists(f"snapshot {snapshot.uuid!r} already has the volume {other.uuid!r}")


def _reserved(snapshot: Snapshot, request: SnapshotVolumeRequest) -> int:
    if not request.writable:
        return 0
    return reserved_bytes(snapshot.capacity_bytes, request.reserved_space_percentage)


def _volume_fields(request: SnapshotVolumeRequest) -> dict[str, object]:
    return {k: v for k, v in vars(request).items() if k not in {"snapshot_uuid", "uuid"}}
