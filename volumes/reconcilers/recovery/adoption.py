"""Operators adopt orphans, which creates rows for them, or discard them."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from events.kinds import Kind
from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.services.node.call_time import call_deadline, seconds_left
from inventory.services.node.clients import node_client
from provisioner.common.models import LifeState
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.writes import require_writes_now
from volumes.models import (
    Export,
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
from volumes.reconcilers.node_check.orphans import (
    FormerRows,
    orphan_record,
    orphan_removal,
    orphans_store,
)
from volumes.reconcilers.node_check.readopt import replicas_readopt
from volumes.reconcilers.recovery.findings import Copy
from volumes.reconcilers.recovery.places import replica_delete_row, replica_row
from volumes.reconcilers.recovery.snapshots import snapshot_row
from volumes.selectors import LIVE
from volumes.services.claims import ClaimLost
from volumes.services.node.contents import NodeContents, nodes_read
from volumes.services.ownership import PLACES, TOLD, pool_uuid

READ_SECONDS = 30.0


class OrphanNotFound(ProvisionerError):
    """There is no such orphan, or its node no longer holds it."""

    code = ResultCode.NotExists


class OrphanIsKnown(ProvisionerError):
    """The object has a row now, so it is no orphan any more."""

    code = ResultCode.NotAvailable


class CannotAdopt(ProvisionerError):
    """Rows cannot be created from the orphan's owner record, or conflict with existing rows."""

    code = ResultCode.NotAvailable


class CannotDiscard(ProvisionerError):
    """The orphan's node refuses to remove it, or does not answer."""

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
    orphan = _orphan(orphan_id)
    if about := _row_text(orphan):
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
                _lock(same.none(), orphan)
                _adopt_snapshot(orphan, contents)
                Orphan.objects.filter(pk=orphan.pk).delete()
            else:
                _adopt_volume(orphan, _copies(orphan, contents, _lock(same, orphan)))
    except (IntegrityError, ClaimLost) as error:
        raise CannotAdopt(
            f"{orphan}: its uuid or alias is already used, or an SSD has no room: {error}"
        ) from error
    for backend in backends:
        if backend.pk in contents:
            replicas_readopt(backend, contents[backend.pk])
            orphans_store(backend, contents[backend.pk], former=former)
    return f"{orphan} was adopted as {orphan.alias!r} of tenant {orphan.tenant_id!r}"


def orphan_discard(orphan_id: int) -> str:
    """Remove an orphan from its node permanently. Returns a sentence that describes the result.

    Its row is deleted before the node is called, so that nobody can adopt the orphan meanwhile.

    :raises WritesBarred: the database may be older than its nodes, and so may its list of orphans.
    :raises OrphanNotFound: there is no such orphan.
    :raises OrphanIsKnown: the object is a volume, a snapshot or an export now.
    :raises CannotDiscard: the node did not remove it, because it is exported or has snapshots, or
        the node does not answer.
    """
    require_writes_now()
    with transaction.atomic(durable=True):
        [orphan] = _lock(Orphan.objects.none(), _orphan(orphan_id))
        if about := _row_text(orphan):
            raise OrphanIsKnown(f"{orphan} was not removed: {about}")
        Orphan.objects.filter(pk=orphan.pk).delete()
    remove = orphan_removal(node_client(orphan.backend), orphan, seconds_left(call_deadline()))
    try:
        remove()
    except (NodeRefused, NodeUnreachable) as error:
        Orphan.objects.bulk_create([orphan], ignore_conflicts=True)
        raise CannotDiscard(f"{orphan} was not removed: {error}") from error
    with transaction.atomic(durable=True):
        orphan_record(Kind.ORPHAN_REMOVED, orphan)
    return f"{orphan} was removed"


def _orphan(orphan_id: int) -> Orphan:
    orphan = Orphan.objects.select_related("backend").filter(pk=orphan_id).first()
    if orphan is None:
        raise OrphanNotFound(f"there is no orphan {orphan_id}")
    return orphan


def _lock(same: QuerySet[Orphan], orphan: Orphan) -> list[Orphan]:
    """Lock the rows of the orphan and of ``same``, and return them.

    :raises OrphanNotFound: the orphan was adopted or discarded meanwhile.
    """
    rows = (same | Orphan.objects.filter(pk=orphan.pk)).select_related("backend")
    locked = list(rows.select_for_update(of=("self",)).order_by("pk"))
    if orphan not in locked:
        raise OrphanNotFound(f"there is no orphan {orphan.pk}")
    return locked


def _row_text(orphan: Orphan) -> str:
    """Describe the row that the object has now. Returns "" if it has none.

    A row with the same uuid but another generation is another object.
    """
    if orphan.kind == OrphanKind.SNAPSHOT:
        taken = Snapshot.objects.filter(pk=orphan.generation, uuid=orphan.uuid).first()
        return f"it is snapshot {taken.uuid!r} now" if taken else ""
    rows = Replica.objects.filter(pk=orphan.generation, uuid=orphan.uuid)
    if orphan.kind == OrphanKind.NAMESPACE:
        exports = Export.objects.filter(target_nqn=orphan.target_nqn)
        rows = Replica.objects.filter(uuid=orphan.uuid, pk__in=exports.values("replica"))
    replica = rows.select_related("volume").first()
    what = "an export" if orphan.kind == OrphanKind.NAMESPACE else "a replica"
    return f"it is {what} of volume {replica.volume.uuid!r} now" if replica else ""


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
