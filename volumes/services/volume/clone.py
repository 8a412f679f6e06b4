"""Clone a volume (reference, "Clone Volume")."""

import uuid as uuids
from dataclasses import dataclass

from django.db.models import Q

from inventory.nodes.wire import Source, SourceKind
from volumes.models import ProvisioningType, Volume
from volumes.selectors import volumes_visible
from volumes.services.errors import InvalidSize, VolumeNotExists
from volumes.services.snapshot.create import only_replica
from volumes.services.volume.derive import VolumeSource, placement_fields, volume_derive
from volumes.sizing import GIB, reserved_bytes

SAME = (
    "protocol",
    "max_iops_per_gb",
    "max_bw_per_gb",
    "max_replica_down_minutes",
    "allow_span",
    "storage_class_name",
)
"""Fields that a clone copies, in addition to the placement. A clone reserves no performance."""


@dataclass(frozen=True)
class CloneRequest:
    """The request of a client. Without a capacity, the clone has the capacity of the source."""

    source_uuid: str
    alias: str
    uuid: str | None = None
    capacity_gib: int | None = None
    reserved_space_percentage: int = 0


def volume_clone(
    *, tenant_id: str | None, request: CloneRequest, idempotency_digest: str = ""
) -> Volume:
    """Create a thin volume with the current content of the source, on the same node and SSDs, and
    in the same tenant.

    The clone is independent of its source.

    :raises VolumeNotExists: there is no such source, or the tenant may not see it.
    :raises Replicated: the source has more than one replica.
    :raises InvalidSize: the capacity is smaller than the source's.
    :raises ProvisionerError: as for :func:`volume_derive`.
    """
    former = None if request.uuid is None else Q(uuid=request.uuid)
    return volume_derive(lambda: _draft(tenant_id, request, idempotency_digest), former=former)


def _draft(
    tenant_id: str | None, request: CloneRequest, idempotency_digest: str
) -> tuple[Volume, VolumeSource]:
    rows = volumes_visible(tenant_id).select_for_update()
    source = rows.filter(uuid=request.source_uuid).first()
    if source is None:
        raise VolumeNotExists.of(request.source_uuid)
    replica = only_replica(source)
    capacity = _capacity(source, request)
    percent = request.reserved_space_percentage
    volume = Volume(
        uuid=request.uuid or str(uuids.uuid4()),
        tenant_id=source.tenant_id,
        alias=request.alias,
        cloned_from=source.uuid,
        idempotency_digest=idempotency_digest,
        capacity_bytes=capacity,
        reserved_space_percentage=percent,
        claimed_bytes=reserved_bytes(capacity, percent),
        provisioning_type=ProvisioningType.THIN,
        num_replicas=1,
        **{name: getattr(source, name) for name in SAME},
        **placement_fields(source),
    )
    kind = SourceKind.CLONE_OF_VOLUME
    origin = Source(kind=kind, uuid=replica.uuid, generation=replica.pk)
    return volume, VolumeSource(replica, replica.sub_volumes.all(), origin)


def _capacity(source: Volume, request: CloneRequest) -> int:
    if request.capacity_gib is None:
        return source.capacity_bytes
    if request.capacity_gib * GIB < source.capacity_bytes:
        raise InvalidSize(
            f"capacity = {request.capacity_gib}: must be at least the source's "
            f"{source.capacity_bytes // GIB} GiB"
        )
    return request.capacity_gib * GIB
