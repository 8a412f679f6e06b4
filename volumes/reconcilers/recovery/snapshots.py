"""Recover snapshots whose rows are older than the contents of nodes."""

from django.db import IntegrityError, transaction

from inventory.models import Ssd
from inventory.nodes import wire
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError
from volumes.models import Replica, Snapshot, SubVolume
from volumes.reconcilers.recovery.findings import Findings
from volumes.services.claims import ClaimLost, Claims, budget_take, claims_take
from volumes.services.ownership import pool_uuid


def snapshots_resolve(findings: Findings) -> None:
    """Make snapshots agree with the nodes, inside the caller's transaction.

    A snapshot that was being taken becomes READY if its node has it or does not answer. Snapshots
    of known volumes that were taken after the restored state are adopted, if their alias is free
    and the budget has room.
    """
    for contents in findings.nodes.values():
        there = {(s.uuid, s.generation) for s in contents.snapshots}
        for snapshot in Snapshot.objects.filter(state=LifeState.CREATING):
            if (snapshot.uuid, snapshot.pk) in there:
                done = {"state": LifeState.READY, "deadline_at": None}
                Snapshot.objects.filter(pk=snapshot.pk).update(**done)
        for found in contents.snapshots:
            _adopt(contents.node.persistent_id, found, findings)
    if findings.returned:
        return
    silent = Snapshot.objects.filter(state=LifeState.CREATING).exclude(
        replica__backend__in=list(findings.nodes)
    )
    silent.update(state=LifeState.READY, deadline_at=None)


def _adopt(backend_id: str, found: wire.Snapshot, findings: Findings) -> None:
    owner = found.owner
    if owner is None or owner.pool != pool_uuid() or not findings.is_late(found.generation):
        return
    try:
        with transaction.atomic():
            made = snapshot_row(backend_id, found)
    except (IntegrityError, ClaimLost, ProvisionerError) as error:
        about = f"snapshot {found.uuid} ({owner.alias}) on {backend_id} is not adopted"
        findings.report.append(f"{about}: {error}")
        return
    if made:
        findings.report.append(f"snapshot {found.uuid} ({owner.alias}) is adopted")


def snapshot_row(backend_id: str, found: wire.Snapshot) -> Snapshot | None:
    """Insert a row for a snapshot that a node holds.

    Returns None if it already has a row, or if its replica is not known.

    :raises IntegrityError: its uuid or alias is taken.
    :raises ClaimLost, TenantCapacityExceeded: there is no room for it.
    """
    rows = Replica.objects.filter(
        pk=found.volume_generation, uuid=found.volume_uuid, state=LifeState.READY
    )
    replica = rows.select_related("volume").first()
    owner = found.owner
    if replica is None or owner is None or Snapshot.objects.filter(pk=found.generation).exists():
        return None
    if replica.volume.tenant_id != owner.tenant:
        return None
    size = sum(piece.allocated for piece in found.pieces)
    snapshot = Snapshot.objects.create(
        id=found.generation,
        uuid=found.uuid,
        tenant_id=owner.tenant,
        alias=owner.alias,
        volume=replica.volume,
        replica=replica,
        capacity_bytes=sum(piece.capacity for piece in found.pieces),
        reserved_space_percentage=owner.more.get("reserved_space_percentage", 0),
        claimed_bytes=size,
        state=LifeState.READY,
    )
    _place(snapshot, backend_id, found, is_placed=replica.backend_id is not None)
    return snapshot


def _place(snapshot: Snapshot, backend_id: str, found: wire.Snapshot, *, is_placed: bool) -> None:
    """Charge the budget, and claim SSD space now or, if the replica has no backend, when it is
    readopted.
    """
    if not is_placed:
        budget_take(snapshot.tenant_id, snapshot.claimed_bytes)
        return
    ssds = dict(Ssd.objects.filter(backend=backend_id).values_list("ssd_id", "pk"))
    claims = Claims(snapshot.tenant_id)
    claims.ssd_bytes.update({ssds[piece.ssd_id]: piece.allocated for piece in found.pieces})
    claims_take(claims)
    SubVolume.objects.bulk_create(
        SubVolume(
            snapshot=snapshot,
            ssd_id=ssds[piece.ssd_id],
            capacity_bytes=piece.capacity,
            claimed_bytes=piece.allocated,
        )
        for piece in found.pieces
    )
