"""Readopt the replicas of a node that was removed by force and has come back."""

import logging

from django.db import IntegrityError, transaction

from events.kinds import Kind
from inventory.models import Backend, Ssd
from inventory.nodes import wire
from inventory.nodes.client import NodeRefused, NodeUnreachable
from inventory.services.node.call_time import call_deadline, seconds_left
from inventory.services.node.clients import node_client
from provisioner.common import clock
from provisioner.common.models import LifeState
from provisioner.common.writes import require_writes_now
from volumes.models import (
    Replica,
    ReplicaState,
    Snapshot,
    SubVolume,
    Volume,
)
from volumes.reconcilers.node_check.exports import former_exports
from volumes.services.claims import ClaimLost, Claims, claims_take
from volumes.services.node.contents import NodeContents
from volumes.services.publication.exports import record_desired_exports_for_all_hosts
from volumes.services.publication.namespace_ids import TargetFull
from volumes.services.replica.state import replica_record
from volumes.sizing import GIB

log = logging.getLogger(__name__)


class OtherLayout(Exception):
    """The replica on the node does not match its rows, or its rows are about to change."""


NOT_NOW = ClaimLost, IntegrityError, OtherLayout, TargetFull, NodeRefused, NodeUnreachable


def replicas_readopt(backend: Backend, contents: NodeContents) -> None:
    """Take back the replicas without a backend that this node holds, with their snapshots.

    Their SSD space, IOPS and bandwidth, which the removal of the node released, are claimed again.
    The budget is still charged. If others have claimed the space meanwhile, this is logged, and the
    replica stays without a backend. Exports to hosts that may no longer use the volume are removed
    first, because these might write to it. The only replica of a volume becomes Unknown. One of
    several stays Missing, because its data is outdated. Raises WritesBarred between replicas.
    """
    volumes = {(v.uuid, v.generation): v for v in contents.volumes}
    rows = Replica.objects.filter(backend=None, state=LifeState.READY)
    for replica in rows.filter(uuid__in=[uuid for uuid, _ in volumes]).order_by("pk"):
        if (found := volumes.get((replica.uuid, replica.pk))) is None:
            continue
        require_writes_now()
        about = {"backend": backend.pk, "replica": replica.uuid}
        try:
            former = former_exports(replica, contents)
            _delete_on_node(backend, replica.uuid, former)
            _take_back(replica, backend, found, contents, withdrawn=former)
        except NOT_NOW as error:
            log.error("a replica cannot be readopted", extra=about | {"reason": repr(error)})
        else:
            log.warning("replica readopted", extra=about)


def _take_back(
    known: Replica,
    backend: Backend,
    found: wire.Volume,
    contents: NodeContents,
    *,
    withdrawn: set[tuple[str, int]],
) -> None:
    """Write the rows of the replica and its snapshots, and claim their space."""
    with transaction.atomic(durable=True):  # lock order: volume, snapshots, SSDs, backends
        volume = Volume.objects.select_for_update().get(pk=known.volume_id)
        row = Replica.objects.filter(pk=known.pk, backend=None, state=LifeState.READY)
        replica = row.select_for_update().first()
        if replica is None or volume.expanding_to_bytes is not None:
            raise OtherLayout("it is being removed, or its volume is being expanded")
        if former_exports(replica, contents) - withdrawn:
            raise OtherLayout("its volume was just unpublished")
        pieces = _expanded(found.pieces, volume.capacity_bytes, replica.claimed_bytes)
        if pieces != found.pieces:
            Volume.objects.filter(pk=volume.pk).update(
                expanding_to_bytes=volume.capacity_bytes, deadline_at=clock.now()
            )
        claims = Claims(volume.tenant_id)
        _put_on_node(replica, volume, backend, pieces, claims)
        _take_snapshots(replica, backend, contents, claims)
        claims_take(claims, of_budget=False)
        record_desired_exports_for_all_hosts(volume)
        replica.backend = backend
        replica_record(Kind.REPLICA_READOPTED, replica)


def _delete_on_node(backend: Backend, uuid: str, exports: set[tuple[str, int]]) -> None:
    """Remove exports from the node. Errors of the node are raised."""
    until = call_deadline()
    for nqn, generation in sorted(exports):
        node_client(backend).remove_namespace(nqn, uuid, generation, timeout=seconds_left(until))


def _put_on_node(
    replica: Replica,
    volume: Volume,
    backend: Backend,
    pieces: tuple[wire.Piece, ...],
    claims: Claims,
) -> None:
    gib = volume.capacity_bytes // GIB
    iops, bandwidth = volume.desired_iops_per_gb * gib, volume.desired_bw_per_gb * gib
    claims.add_replica(
        backend.pk, _write_sub_volumes(backend, pieces, replica, volume), iops, bandwidth
    )
    changes = {"backend": backend, "desired_iops": iops, "desired_bw": bandwidth}
    if volume.num_replicas == 1:
        now = clock.now()
        changes |= {"replica_state": ReplicaState.UNKNOWN, "replica_state_since": now}
    Replica.objects.filter(pk=replica.pk).update(**changes)


def _expanded(
    pieces: tuple[wire.Piece, ...], capacity_bytes: int, claimed_bytes: int
) -> tuple[wire.Piece, ...]:
    """Return the sub-volumes with their right sizes, or raise OtherLayout if those on the node are
    larger. If the node missed an expansion, only the last one differs.
    """
    *others, last = pieces
    capacity = capacity_bytes - sum(piece.capacity for piece in others)
    claimed = claimed_bytes - sum(piece.allocated for piece in others)
    if capacity < last.capacity or claimed < last.allocated:
        raise OtherLayout(f"{pieces} are larger than {capacity_bytes} or {claimed_bytes} bytes")
    return (*others, last.model_copy(update={"capacity": capacity, "allocated": claimed}))


def _write_sub_volumes(
    backend: Backend, pieces: tuple[wire.Piece, ...], replica: Replica, volume: Volume
) -> dict[int, int]:
    """Insert the replica's sub-volumes. Returns the bytes to claim, by SSD key."""
    keys = _ssd_keys(backend, pieces)
    SubVolume.objects.bulk_create(
        SubVolume(
            replica=replica,
            ssd_id=keys[piece.ssd_id],
            capacity_bytes=piece.capacity,
            claimed_bytes=piece.allocated,
            storage_class_name=volume.storage_class_name,
            exclusive_class=None if volume.share_ssd else volume.storage_class_name,
        )
        for piece in pieces
    )
    return {keys[piece.ssd_id]: piece.allocated for piece in pieces}


def _take_snapshots(
    replica: Replica, backend: Backend, contents: NodeContents, claims: Claims
) -> None:
    """Insert the sub-volumes of the replica's snapshots that are on the node."""
    there = {(s.uuid, s.generation): s for s in contents.snapshots}
    rows = Snapshot.objects.select_for_update().filter(replica=replica, state=LifeState.READY)
    for snapshot in rows.order_by("pk"):
        found = there.get((snapshot.uuid, snapshot.pk))
        if found is None:
            continue
        if sum(piece.allocated for piece in found.pieces) != snapshot.claimed_bytes:
            raise OtherLayout(f"the sub-volumes of snapshot {snapshot.uuid} differ from its claim")
        keys = _ssd_keys(backend, found.pieces)
        SubVolume.objects.bulk_create(
            SubVolume(
                snapshot=snapshot,
                ssd_id=keys[piece.ssd_id],
                capacity_bytes=piece.capacity,
                claimed_bytes=piece.allocated,
            )
            for piece in found.pieces
        )
        claims.ssd_bytes.update({keys[p.ssd_id]: p.allocated for p in found.pieces})


def _ssd_keys(backend: Backend, pieces: tuple[wire.Piece, ...]) -> dict[str, int]:
    """Return SSD keys by SSD id, or raise OtherLayout if the node does not have an SSD."""
    names = {piece.ssd_id for piece in pieces}
    keys = dict(Ssd.objects.filter(backend=backend, ssd_id__in=names).values_list("ssd_id", "pk"))
    if missing := names - set(keys):
        raise OtherLayout(f"the node has no SSD {sorted(missing)}")
    return keys
