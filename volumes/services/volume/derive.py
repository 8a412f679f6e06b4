"""Create a volume from a volume or snapshot on a node. It works like "Create Volume", but without a
choice of nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from events.kinds import Kind
from events.recording import record
from inventory.nodes.wire import Source
from inventory.services.node.call_time import call_deadline
from provisioner.common.models import LifeState
from provisioner.common.parsing import INT64_MAX
from provisioner.common.results import InvalidInput
from volumes.models import Replica, SubVolume, Volume
from volumes.services.claims import ClaimLost
from volumes.services.colocation import require_node, sub_volumes_claim
from volumes.services.deadlines import unfinished_deadline
from volumes.services.errors import NodesFailed, NoFreeSpace, VolumeExists
from volumes.services.replica.provision import replicas_make
from volumes.services.volume.create import volume_abort, volume_of_request, volume_ready
from volumes.services.volume.delete import delete_replicas_on_nodes
from volumes.sizing import GIB

RATES = {"max_iops_per_gb": "maxIOPSPerGB", "max_bw_per_gb": "maxBWPerGB"}
PLACE = ("racks", "zones", "regions", "host_id", "same_rack_allowed", "block_size")


@dataclass(frozen=True)
class VolumeSource:
    """The source of a new volume. ``sub_volumes``: the sub-volumes of ``source``, on the node of
    ``replica``.
    """

    replica: Replica
    sub_volumes: QuerySet[SubVolume]
    source: Source


def volume_derive(
    draft: Callable[[], tuple[Volume, VolumeSource]], *, former: Q | None = None
) -> Volume:
    """Create the volume that ``draft`` describes.

    ``draft`` is called in the transaction that inserts the rows, and must lock the source.
    ``former``: matches replicas of deleted volumes that must be removed first. A retry with the
    same idempotency digest continues or returns the volume of the first attempt.

    :raises VolumeExists: the uuid or the alias is taken.
    :raises InvalidInput: the rates are too large for the capacity.
    :raises NoFreeSpace: an SSD of the source has no room for the reserved space.
    :raises TenantCapacityExceeded: the budget has no room for it.
    :raises NodeDown: the node is not Available.
    :raises NodesFailed: the node did not create the volume. The request has no effect.
    """
    until = call_deadline()
    if former is not None:
        gone = Replica.objects.filter(former, state=LifeState.DELETING)
        delete_replicas_on_nodes(gone, until=until)
    try:
        with transaction.atomic(durable=True):
            drafted, origin = draft()
            volume = volume_of_request(drafted) or _insert(drafted, origin)
    except ClaimLost as error:
        raise NoFreeSpace("an SSD of the source has no room for the reserved space") from error
    except IntegrityError as error:
        raise VolumeExists("a volume with this uuid or alias was just created") from error
    if volume.state == LifeState.READY:
        return volume
    while failed := replicas_make(volume, until=until):
        if volume_abort(volume, failed.replicas, failed.text):
            raise (NoFreeSpace if failed.lack_space else NodesFailed)(failed.text)
    volume_ready(volume)
    return volume


def placement_fields(volume: Volume) -> dict[str, object]:
    """Return the placement fields of ``volume``, which a derived volume copies."""
    return {name: getattr(volume, name) for name in PLACE}


def _insert(volume: Volume, origin: VolumeSource) -> Volume:
    backend = require_node(origin.replica)
    for name, on_wire in RATES.items():
        if getattr(volume, name) * (volume.capacity_bytes // GIB) > INT64_MAX:
            raise InvalidInput.of(on_wire, getattr(volume, name), "times capacity is too large")
        if getattr(volume, name) and not backend.enforces_limits:
            text = f"node {backend.name}, which holds the source, cannot limit IOPS or bandwidth"
            raise InvalidInput.of(on_wire, getattr(volume, name), text)
    volume.deadline_at = unfinished_deadline()
    volume.save(force_insert=True)
    replica = Replica.objects.create(
        uuid=volume.uuid,
        volume=volume,
        backend=backend,
        claimed_bytes=volume.claimed_bytes,
        source=origin.source.model_dump(mode="json"),
        deadline_at=volume.deadline_at,
    )
    sub_volumes_claim(
        origin.sub_volumes,
        replica,
        capacity_bytes=volume.capacity_bytes,
        tenant_id=volume.tenant_id,
    )
    is_of_snapshot = origin.source.kind.is_of_snapshot
    record(
        Kind.SNAPSHOT_VOLUME_CREATED if is_of_snapshot else Kind.VOLUME_CLONED,
        tenant=volume.tenant_id,
        volume=[volume.uuid, origin.replica.volume.uuid],
        snapshot=origin.source.uuid if is_of_snapshot else None,
        backend=backend.pk,
        alias=volume.alias,
        capacityGiB=volume.capacity_bytes // GIB,
        source=origin.replica.volume.uuid,
    )
    return volume
