"""What volumes ask of storage nodes: repeatable calls, in parallel, within one bounded time.

Nothing here writes to the database or may be called inside a transaction. ``until`` is the end of
all calls together on the monotonic clock.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from django.conf import settings

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable, call_all
from inventory.services.nodes import node_client
from volumes.models import Export, Replica, Snapshot, SubVolume, Volume
from volumes.sizing import GIB

LEAST_SECONDS = 0.1
T = TypeVar("T")
NodeError = NodeRefused | NodeUnreachable
Outcomes = Mapping[int, bool | NodeError]


def replica_spec(volume: Volume, replica: Replica) -> wire.VolumeSpec:
    """The replica as its node must have it, growth included. Limits grow with the volume."""
    gib = (volume.growing_to_bytes or volume.capacity_bytes) // GIB
    return wire.VolumeSpec(
        generation=replica.pk,
        provisioning_type=wire.ProvisioningType(volume.provisioning_type),
        block_size=volume.block_size,
        pieces=_pieces(replica.sub_volumes.all()),
        qos=wire.Qos(max_iops=volume.max_iops_per_gb * gib, max_bw=volume.max_bw_per_gb * gib),
        source=wire.Source.model_validate(replica.source) if replica.source else None,
    )


def snapshot_spec(snapshot: Snapshot) -> wire.SnapshotSpec:
    """The snapshot as its node must have it."""
    return wire.SnapshotSpec(
        generation=snapshot.pk,
        volume_uuid=snapshot.replica.uuid,
        volume_generation=snapshot.replica_id,
        pieces=_pieces(snapshot.sub_volumes.all()),
    )


def _pieces(rows: Iterable[SubVolume]) -> tuple[wire.Piece, ...]:
    return tuple(
        wire.Piece(ssd_id=p.ssd.ssd_id, capacity=p.capacity_bytes, allocated=p.claimed_bytes)
        for p in rows
    )


def replicas_ensure(volume: Volume, replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Each replica is on its node as the rows say. Outcomes by key; True: newly made."""
    return _on_nodes(
        (
            (
                r.pk,
                r.backend,
                partial(
                    NodeClient.ensure_volume,
                    uuid=r.uuid,
                    spec=replica_spec(volume, r),
                    timeout=seconds_left(until),
                ),
            )
            for r in replicas
        ),
        until,
    )


def replicas_remove(replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Each replica is gone from its node, or a later one of that name has taken its place."""
    return _on_nodes(
        (
            (
                r.pk,
                r.backend,
                partial(_remove_volume, uuid=r.uuid, generation=r.pk, timeout=seconds_left(until)),
            )
            for r in replicas
        ),
        until,
    )


def snapshots_ensure(snapshots: Iterable[Snapshot], *, until: float) -> Outcomes:
    """Each snapshot is on its node as the rows say; True: newly taken."""
    return _on_nodes(
        (
            (
                s.pk,
                s.replica.backend,
                partial(
                    NodeClient.ensure_snapshot,
                    uuid=s.uuid,
                    spec=snapshot_spec(s),
                    timeout=seconds_left(until),
                ),
            )
            for s in snapshots
        ),
        until,
    )


def snapshots_remove(snapshots: Iterable[Snapshot], *, until: float) -> Outcomes:
    """Each snapshot is gone from its node, or a later one of that name has taken its place."""
    return _on_nodes(
        (
            (
                s.pk,
                s.replica.backend,
                partial(
                    _remove_snapshot, uuid=s.uuid, generation=s.pk, timeout=seconds_left(until)
                ),
            )
            for s in snapshots
        ),
        until,
    )


def exports_ensure(exports: Iterable[Export], *, until: float) -> Outcomes:
    """Each export is a namespace of its host's target; True: newly so."""
    return _on_nodes(
        (
            (
                e.pk,
                e.replica.backend,
                partial(
                    NodeClient.ensure_namespace,
                    nqn=e.target_nqn,
                    uuid=e.replica.uuid,
                    spec=wire.NamespaceSpec(
                        generation=e.pk, nsid=e.nsid, host_nqn=e.host_nqn, by_piece=e.by_piece
                    ),
                    timeout=seconds_left(until),
                ),
            )
            for e in exports
        ),
        until,
    )


def exports_remove(exports: Iterable[Export], *, until: float) -> Outcomes:
    """Each export is gone from its node, or a later one has taken its place."""
    return _on_nodes(
        (
            (
                e.pk,
                e.replica.backend,
                partial(
                    _remove_namespace,
                    nqn=e.target_nqn,
                    uuid=e.replica.uuid,
                    generation=e.pk,
                    timeout=seconds_left(until),
                ),
            )
            for e in exports
        ),
        until,
    )


def failures_text(replicas: Mapping[int, Replica], outcomes: Outcomes) -> str:
    """For the operator: each node that failed, and how."""
    return "; ".join(
        f"node {replicas[key].backend_id}: {outcome}"
        for key, outcome in outcomes.items()
        if not isinstance(outcome, bool)
    )


def lack_space(outcomes: Outcomes) -> bool:
    """Some node refused for want of space."""
    return any(
        isinstance(outcome, NodeRefused) and outcome.code is wire.RefusalCode.NO_SPACE
        for outcome in outcomes.values()
    )


def call_deadline() -> float:
    """When, on the monotonic clock, the node calls of a request that begins now must have ended."""
    return time.monotonic() + settings.ENVIRONMENT.node_call_seconds


def seconds_left(until: float) -> float:
    """Until then, for a call; LEAST_SECONDS at least."""
    return max(until - time.monotonic(), LEAST_SECONDS)


def node_call(
    backend: Backend, call: Callable[..., T], *, until: float
) -> T | NodeRefused | NodeUnreachable:
    """Call one node; ``call`` takes it, and ``timeout``."""
    try:
        return call(node_client(backend), timeout=seconds_left(until))
    except (NodeRefused, NodeUnreachable) as error:
        return error


def _remove_volume(node: NodeClient, *, uuid: str, generation: int, timeout: float) -> bool:
    with _later_one_is_fine():
        node.remove_volume(uuid, generation, timeout=timeout)
    return True


def _remove_snapshot(node: NodeClient, *, uuid: str, generation: int, timeout: float) -> bool:
    with _later_one_is_fine():
        node.remove_snapshot(uuid, generation, timeout=timeout)
    return True


def _remove_namespace(
    node: NodeClient, *, nqn: str, uuid: str, generation: int, timeout: float
) -> bool:
    with _later_one_is_fine():
        node.remove_namespace(nqn, uuid, generation, timeout=timeout)
    return True


@contextmanager
def _later_one_is_fine() -> Iterator[None]:
    try:
        yield
    except NodeRefused as refusal:
        if refusal.code is not wire.RefusalCode.STALE:
            raise


def _on_nodes(
    work: Iterable[tuple[int, Backend | None, Callable[[NodeClient], bool]]], until: float
) -> Outcomes:
    """On a node that was removed by force there is nothing to do: done, and nothing new."""
    done: dict[int, bool | NodeError] = {}
    calls: dict[int, Callable[[], bool]] = {}
    for key, backend, call in work:
        if backend is None:
            done[key] = False
        else:
            calls[key] = partial(call, node_client(backend))
    return done | call_all(calls, timeout_seconds=seconds_left(until))
