"""Calls to storage nodes about volumes: repeatable, in parallel, within one time limit.

These functions write nothing to the database, except that a node did not answer. Do not call them
inside a transaction. ``until`` is the time, on the monotonic clock, by which all calls together
must have ended.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable, call_all
from inventory.services.node.answers import call_outcomes_record
from inventory.services.node.call_time import seconds_left
from inventory.services.node.clients import node_client
from inventory.services.node.controller_slots import controller_ids
from volumes.models import Export, Replica, Snapshot, SubVolume, Volume
from volumes.services.ownership import replica_owner, snapshot_owner
from volumes.sizing import GIB

T = TypeVar("T")
NodeError = NodeRefused | NodeUnreachable
Outcomes = Mapping[int, bool | NodeError]
Work = tuple[int, Backend | None, Callable[..., bool]]
"""The key of a row, its node, and the call. The call takes the client of the node, and ``timeout``
in seconds.
"""


def replica_spec(volume: Volume, replica: Replica) -> wire.VolumeSpec:
    """Return the spec that the replica must have on its node. It includes a claimed expansion."""
    gib = (volume.expanding_to_bytes or volume.capacity_bytes) // GIB
    return wire.VolumeSpec(
        generation=replica.pk,
        provisioning_type=wire.ProvisioningType(volume.provisioning_type),
        block_size=volume.block_size,
        pieces=_pieces(replica.sub_volumes.all()),
        qos=wire.Qos(max_iops=volume.max_iops_per_gb * gib, max_bw=volume.max_bw_per_gb * gib),
        source=wire.Source.model_validate(replica.source) if replica.source else None,
        owner=replica_owner(volume, replica),
    )


def snapshot_spec(snapshot: Snapshot) -> wire.SnapshotSpec:
    """Return the spec that the snapshot must have on its node."""
    return wire.SnapshotSpec(
        generation=snapshot.pk,
        volume_uuid=snapshot.replica.uuid,
        volume_generation=snapshot.replica_id,
        pieces=_pieces(snapshot.sub_volumes.all()),
        owner=snapshot_owner(snapshot),
    )


def _pieces(rows: Iterable[SubVolume]) -> tuple[wire.Piece, ...]:
    return tuple(
        wire.Piece(ssd_id=p.ssd.ssd_id, capacity=p.capacity_bytes, allocated=p.claimed_bytes)
        for p in rows
    )


def replicas_ensure(volume: Volume, replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Create each replica on its node as its rows say, if it does not exist there yet. Returns
    outcomes by key; True: newly created.

    Call it only for rows that are CREATING. A replica that was READY once is never created again,
    because it would be empty.
    """

    def work(r: Replica) -> Work:
        spec = replica_spec(volume, r)
        return r.pk, r.backend, partial(NodeClient.ensure_volume, uuid=r.uuid, spec=spec)

    return _on_nodes(map(work, replicas), until)


def replicas_change(replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Change each replica on its node as its rows say. Returns outcomes by key.

    A node that does not hold the replica refuses with NOT_FOUND.
    """

    def work(r: Replica) -> Work:
        spec = replica_spec(r.volume, r)
        return r.pk, r.backend, partial(NodeClient.change_volume, uuid=r.uuid, spec=spec)

    return _on_nodes(map(work, replicas), until)


def replicas_remove(replicas: Iterable[Replica], *, until: float) -> Outcomes:
    """Remove each replica from its node. Returns outcomes by key.

    A later generation of the same uuid stays, and counts as success.
    """

    def work(r: Replica) -> Work:
        call = partial(_gone, NodeClient.remove_volume, uuid=r.uuid, generation=r.pk)
        return r.pk, r.backend, call

    return _on_nodes(map(work, replicas), until)


def snapshots_ensure(snapshots: Iterable[Snapshot], *, until: float) -> Outcomes:
    """Take each snapshot on its node, if it does not exist there yet. Returns outcomes by key;
    True: newly taken.
    """

    def work(s: Snapshot) -> Work:
        call = partial(NodeClient.ensure_snapshot, uuid=s.uuid, spec=snapshot_spec(s))
        return s.pk, s.replica.backend, call

    return _on_nodes(map(work, snapshots), until)


def snapshots_remove(snapshots: Iterable[Snapshot], *, until: float) -> Outcomes:
    """Remove each snapshot from its node. Returns outcomes by key.

    A later generation of the same uuid stays, and counts as success.
    """

    def work(s: Snapshot) -> Work:
        call = partial(_gone, NodeClient.remove_snapshot, uuid=s.uuid, generation=s.pk)
        return s.pk, s.replica.backend, call

    return _on_nodes(map(work, snapshots), until)


def exports_ensure(exports: Iterable[Export], *, until: float) -> Outcomes:
    """Make each export a namespace of its target. Returns outcomes by key; True: newly created."""

    def work(e: Export) -> Work:
        spec = wire.NamespaceSpec(
            generation=e.pk,
            nsid=e.nsid,
            host_nqn=e.host_nqn,
            by_piece=e.by_piece,
            controllers=controller_ids(e.replica.backend) if e.replica.backend else None,
        )
        call = partial(
            NodeClient.ensure_namespace, nqn=e.target_nqn, uuid=e.replica.uuid, spec=spec
        )
        return e.pk, e.replica.backend, call

    return _on_nodes(map(work, exports), until)


def exports_remove(exports: Iterable[Export], *, until: float) -> Outcomes:
    """Remove each export from its node. Returns outcomes by key.

    A later generation of the same export stays, and counts as success.
    """

    def work(e: Export) -> Work:
        remove = partial(NodeClient.remove_namespace, nqn=e.target_nqn, uuid=e.replica.uuid)
        return e.pk, e.replica.backend, partial(_gone, remove, generation=e.pk)

    return _on_nodes(map(work, exports), until)


def failures_text(replicas: Mapping[int, Replica], outcomes: Outcomes) -> str:
    """Describe for operators which nodes failed, and how. Returns "" if no node failed."""
    return "; ".join(
        f"node {replicas[key].backend_id}: {outcome}"
        for key, outcome in outcomes.items()
        if not isinstance(outcome, bool)
    )


def lack_space(outcomes: Outcomes) -> bool:
    """Whether a node refused because it has too little space."""
    return any(
        isinstance(outcome, NodeRefused) and outcome.code is wire.RefusalCode.NO_SPACE
        for outcome in outcomes.values()
    )


def node_call(
    backend: Backend, call: Callable[..., T], *, until: float
) -> T | NodeRefused | NodeUnreachable:
    """Call one node, and return its answer or the error. ``call`` takes the client of the node, and
    ``timeout`` in seconds.
    """
    try:
        return call(node_client(backend), timeout=seconds_left(until))
    except (NodeRefused, NodeUnreachable) as error:
        call_outcomes_record([(backend.pk, error)])
        return error


def _gone(remove: Callable[..., None], node: NodeClient, **named: Any) -> bool:
    """Remove an object. The answer that a later generation exists counts as success."""
    try:
        remove(node, **named)
    except NodeRefused as refusal:
        if refusal.code is not wire.RefusalCode.STALE:
            raise
    return True


def _on_nodes(work: Iterable[Work], until: float) -> Outcomes:
    """Run the calls in parallel, and a single call in this thread. If the node of a row was removed
    by force, no call is made, and the outcome is False.
    """
    rows = list(work)
    match rows:
        case [(key, Backend() as only, call)]:
            return {key: node_call(only, call, until=until)}
    done: dict[int, bool | NodeError] = {}
    calls: dict[int, Callable[[], bool]] = {}
    nodes: dict[int, str] = {}
    for key, backend, call in rows:
        if backend is None:
            done[key] = False
        else:
            nodes[key] = backend.pk
            calls[key] = partial(call, node_client(backend), timeout=seconds_left(until))
    outcomes = call_all(calls, timeout_seconds=seconds_left(until), nodes=nodes)
    call_outcomes_record((nodes[key], outcome) for key, outcome in outcomes.items())
    return done | outcomes
