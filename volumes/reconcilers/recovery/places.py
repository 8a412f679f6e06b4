"""Remove the backend from rows of replicas, as a forced removal of their node does.

``replicas_readopt`` then readopts the replicas on the node that holds them, and claims their space.
"""

from django.db.models import F

from inventory.models import Backend, Ssd
from provisioner.common.models import LifeState
from volumes.models import Export, Replica, ReplicaState, SubVolume, Volume
from volumes.reconcilers.recovery.findings import Copy
from volumes.services.claims import budget_take, replica_release
from volumes.sizing import claimed_bytes


def replica_row(volume: Volume, copy: Copy) -> Replica:
    """Insert a row for a replica that a node holds, without a backend, and charge the budget of the
    tenant.

    :raises TenantCapacityExceeded: the budget has no room for it.
    """
    found = copy.found
    size = sum(piece.allocated for piece in found.pieces)
    budget_take(volume.tenant_id, size)
    return Replica.objects.create(
        id=found.generation,
        uuid=found.uuid,
        volume=volume,
        backend=None,
        replica_state=ReplicaState.UNKNOWN,
        claimed_bytes=size,
        source=found.source.model_dump(mode="json") if found.source else None,
        state=LifeState.READY,
    )


def replica_delete_row(replica: Replica) -> None:
    """Delete the row of a replica that no node holds, with its exports and claims."""
    Export.objects.filter(replica=replica).delete()
    replica_release(replica, tenant_id=replica.volume.tenant_id)
    replica.delete()


def replica_unplace(replica: Replica) -> None:
    """Remove the backend from the rows of the replica and its snapshots, and release their space.

    The budget stays charged. Exports stay, because they are still on the node.
    """
    pieces = SubVolume.objects.filter(replica=replica) | SubVolume.objects.filter(
        snapshot__replica=replica
    )
    for ssd_id, size in pieces.order_by("ssd_id").values_list("ssd_id", "claimed_bytes"):
        Ssd.objects.filter(pk=ssd_id).update(used_bytes=F("used_bytes") - size)
    pieces.delete()
    Backend.objects.filter(pk=replica.backend_id).update(
        used_iops=F("used_iops") - replica.desired_iops, used_bw=F("used_bw") - replica.desired_bw
    )
    Replica.objects.filter(pk=replica.pk).update(backend=None, desired_iops=0, desired_bw=0)


def volume_expand_rows(volume: Volume, replicas: list[Replica], capacity_bytes: int) -> None:
    """Set the rows to the size that the volume was expanded to. The replicas lose their backend,
    and are readopted later.

    :raises TenantCapacityExceeded: the budget has no room for it.
    """
    claim = claimed_bytes(
        volume.provisioning_type, capacity_bytes, volume.reserved_space_percentage
    )
    for replica in replicas:
        budget_take(volume.tenant_id, claim - replica.claimed_bytes)
        replica_unplace(replica)
        Replica.objects.filter(pk=replica.pk).update(claimed_bytes=claim)
    volume.claimed_bytes, volume.capacity_bytes = claim, capacity_bytes
    volume.expanding_to_bytes = None
    Volume.objects.filter(pk=volume.pk).update(
        claimed_bytes=claim, capacity_bytes=capacity_bytes, expanding_to_bytes=None
    )
