"""Claims on the SSDs of an existing object: for snapshots, clones and snapshot volumes."""

from typing import Any

from django.db.models import QuerySet

from inventory.models import Backend
from provisioner.common.results import ProvisionerError, ResultCode
from volumes.models import Replica, Snapshot, SubVolume
from volumes.services.claims import Claims, claims_take
from volumes.sizing import split_in_proportion


class NodeDown(ProvisionerError):
    """The object can be created only on one node, and that node was removed or is not Available."""

    code = ResultCode.NotAvailable


def sub_volumes_claim(
    beside: QuerySet[SubVolume], owner: Replica | Snapshot, *, capacity_bytes: int, tenant_id: str
) -> None:
    """Insert the owner's sub-volumes on the SSDs of ``beside``, and claim their space.

    Capacity beyond that of ``beside`` is added to the last sub-volume. Runs inside the caller's
    transaction.

    :raises ClaimLost: an SSD has no room for it.
    :raises TenantCapacityExceeded: the tenant's budget would be exceeded.
    """
    models = list(beside.order_by("id"))
    sizes = [piece.capacity_bytes for piece in models]
    sizes[-1] += capacity_bytes - sum(sizes)
    shares = split_in_proportion(owner.claimed_bytes, sizes)
    SubVolume.objects.bulk_create(
        SubVolume(ssd_id=model.ssd_id, capacity_bytes=size, claimed_bytes=share, **_owned_by(owner))
        for model, size, share in zip(models, sizes, shares, strict=True)
    )
    claims = Claims(tenant_id)
    claims.ssd_bytes.update(dict(zip([m.ssd_id for m in models], shares, strict=True)))
    claims_take(claims)


def _owned_by(owner: Replica | Snapshot) -> dict[str, Any]:
    """Return the owner's fields. A snapshot gets no storage class, so it never counts against
    ``shareSSDBetweenVolumes``.
    """
    if isinstance(owner, Snapshot):
        return {"snapshot": owner}
    return {"replica": owner, "storage_class_name": owner.volume.storage_class_name}


def require_node(replica: Replica) -> Backend:
    """Return the replica's backend.

    :raises NodeDown: the node was removed, or is not Available.
    """
    if replica.backend is None or not replica.backend.is_available:
        raise NodeDown(f"the node of volume {replica.uuid!r} is not Available: try again")
    return replica.backend
