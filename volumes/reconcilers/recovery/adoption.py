"""Operators adopt orphans, which creates rows for them."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction

from inventory.models import Backend
from inventory.nodes import wire
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.writes import require_writes_now
from volumes.models import (
    Orphan,
    OrphanKind,
    Protocol,
    ProvisioningType,
    Replica,
    ReplicaState,
    Snapshot,
    Tenant,
    Volume,
)
from volumes.reconcilers.node_check.orphans import FormerRows, orphans_store
from volumes.reconcilers.node_check.readopt import replicas_readopt
from volumes.reconcilers.recovery.findings import Copy
from volumes.reconcilers.recovery.orphan_rows import (
    OrphanIsKnown,
    OrphanNotFound,
    orphan_get,
    orphan_lock,
    orphan_row_text,
)
from volumes.reconcilers.recovery.places import replica_delete_row, replica_row
from volumes.reconcilers.recovery.snapshots import snapshot_row
from volumes.selectors import LIVE
from volumes.services.claims import ClaimLost
from volumes.services.node.contents import NodeContents, nodes_read
from volumes.services.ownership import PLACES, TOLD, pool_uuid

READ_SECONDS = 30.0


class CannotAdopt(ProvisionerError):
    """Rows cannot be created from the orphan's owner record, or conflict with existing rows."""

    code = ResultCode.NotAvailable


def orphan_adopt(orphan_id: int) -> str:
    """Create rows for an orphaned volume or snapshot, and claim its space and budget.

    A volume is adopted with all of its complete replicas that are orphans. Returns a sentence that
    describes the result.

    :raises WritesBarred: the database may be older than its nodes, and so may its list of orphans.
    :raises OrphanNotFound: there is no such orphan, or its node no longer holds it.
    :raises OrphanIsKnown: it was already adopted.
    :raises CannotAdopt: rows cannot be created; the text says why.
    :raises TenantCapacityExceeded: the tenant's budget has no room for it.
    """
    require_writes_now()
    orphan = orphan_get(orphan_id)
    if about := orphan_row_text(orphan):
        raise OrphanIsKnown(f"{orphan} was already adopted: {about}")
    same = Orphan.objects.filter(volume_uuid=orphan.volume_uuid, kind=OrphanKind.VOLUME)
    keys = {orphan.backend_id} | set(same.values_list("backend_id", flat=True))
    backends = list(Backend.objects.filter(pk__in=keys).prefetch_related("addresses"))
    former = FormerRows.of(backends)
    answers = nodes_read(backends, timeout_seconds=READ_SECONDS)
    contents = {b.pk: a for b in backends if isinstance(a := answers[b.pk], NodeContents)}
    try:
        with transaction.atomic(durable=True):
            if orphan.kind == OrphanKind.SNAPSHOT:
                orphan_lock(same.none(), orphan)
                _adopt_snapshot(orphan, contents)
                Orphan.objects.filter(pk=orphan.pk).delete()
            else:
                _adopt_volume(orphan, _copies(orphan, contents, orphan_lock(same, orphan)))
    except (IntegrityError, ClaimLost) as error:
        raise CannotAdopt(
            f"{orphan}: its uuid or alias is already used, or an SSD has no room: {error}"
        ) from error
    for backend in backends:
        if backend.pk in contents:
            replicas_readopt(backend, contents[backend.pk])
            orphans_store(backend, contents[backend.pk], former=former)
    return f"{orphan} was adopted as {orphan.alias!r} of tenant {orphan.tenant_id!r}"


def _copies(
    orphan: Orphan, contents: dict[str, NodeContents], recorded: Sequence[Orphan]
) -> list[Copy]:
    """Return the orphan's own copy, then the other complete copies of its volume. Each is in
    ``recorded``, so nobody discards it meanwhile.
    """
    copies = [
        Copy(backend_id, volume)
        for backend_id, node in contents.items()
        for volume in node.volumes
        if volume.owner
        and (volume.owner.volume, volume.owner.tenant) == (orphan.volume_uuid, orphan.tenant_id)
        and any(_is(one, Copy(backend_id, volume)) for one in recorded)
        and not Replica.objects.filter(pk=volume.generation).exists()
    ]
    named = [c for c in copies if _is(orphan, c)]
    if not named:
        raise OrphanNotFound(f"{orphan} is not on its node, or names no owner")
    return named + [c for c in copies if c not in named and c.is_complete]


def _is(orphan: Orphan, copy: Copy) -> bool:
    where = (copy.backend_id, copy.found.uuid, copy.found.generation)
    return where == (orphan.backend_id, orphan.uuid, orphan.generation)


def _adopt_volume(orphan: Orphan, copies: Sequence[Copy]) -> None:
    if orphan.kind != OrphanKind.VOLUME or orphan.pool != pool_uuid():
        raise CannotAdopt(f"{orphan} is not a volume of this pool: it can only be discarded")
    known = Volume.objects.select_for_update().filter(LIVE, uuid=orphan.volume_uuid).first()
    volume = _replaced(known, orphan) if known else _volume_row(orphan, copies[0].found)
    for copy in copies[: volume.num_replicas]:
        replica_row(volume, copy)
        where = {"backend": copy.backend_id, "generation": copy.found.generation}
        Orphan.objects.filter(kind=OrphanKind.VOLUME, uuid=copy.found.uuid, **where).delete()


def _volume_row(orphan: Orphan, found: wire.Volume) -> Volume:
    owner = found.owner
    assert owner is not None
    if not Tenant.objects.filter(pk=owner.tenant).exists():
        raise CannotAdopt(f"{orphan}: there is no tenant {owner.tenant!r}: create it first")
    told = {name: owner.more[name] for name in (*TOLD, *PLACES) if name in owner.more}
    defaults = {"num_replicas": 1, "protocol": Protocol.NVMEOF}
    return Volume.objects.create(
        uuid=owner.volume,
        tenant_id=owner.tenant,
        alias=owner.alias,
        capacity_bytes=found.capacity,
        provisioning_type=ProvisioningType(found.provisioning_type),
        claimed_bytes=sum(piece.allocated for piece in found.pieces),
        block_size=found.block_size,
        state=LifeState.READY,
        **_snapshot_volume(orphan, found),
        **defaults | told,
    )


def _snapshot_volume(orphan: Orphan, found: wire.Volume) -> dict[str, object]:
    source = found.source
    if source is None or not source.kind.is_snapshot_volume:
        return {}
    snapshot = Snapshot.objects.filter(LIVE, uuid=source.uuid, pk=source.generation).first()
    if snapshot is None:
        raise CannotAdopt(
            f"{orphan} is a volume of the snapshot {source.uuid!r}: adopt the snapshot first"
        )
    writable = source.kind is wire.SourceKind.WRITABLE_SNAPSHOT_VOLUME
    return {"snapshot": snapshot, "writable": writable}


def _replaced(volume: Volume, orphan: Orphan) -> Volume:
    """Delete the lost replicas of a known volume, so that the orphan can replace them."""
    replicas = list(volume.replicas.select_related("volume").filter(LIVE))
    good = [r for r in replicas if r.replica_state != ReplicaState.MISSING]
    if volume.tenant_id != orphan.tenant_id or good or any(r.snapshots.exists() for r in replicas):
        raise CannotAdopt(
            f"{orphan}: volume {volume.uuid!r} of tenant {volume.tenant_id!r} has the same name, "
            "and has snapshots or replicas that are not Missing"
        )
    for replica in replicas:
        replica_delete_row(replica)
    return volume


def _adopt_snapshot(orphan: Orphan, contents: dict[str, NodeContents]) -> None:
    node = contents.get(orphan.backend_id)
    for found in node.snapshots if node else ():
        if (found.uuid, found.generation) == (orphan.uuid, orphan.generation):
            if snapshot_row(orphan.backend_id, found) is None:
                raise CannotAdopt(f"{orphan}: its volume is not known: adopt the volume first")
            return
    raise OrphanNotFound(f"{orphan} is not on its node")
