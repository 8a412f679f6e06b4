"""Copies from node to node, of volumes that no host uses: each is an export of the replica that is
filled, which only the node that is read may connect to.

A volume that is unpublished may still be exported: what is read must be withdrawn from all hosts.
While the replica is filling and Synchronizing, what was copied so far is good: publishing the
volume makes it Unknown, in the transaction that lets the host in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from inventory.models import Portal
from inventory.nodes import wire
from inventory.nodes.client import NodeClient
from provisioner.common.models import LifeState
from volumes.models import (
    Export,
    Replica,
    ReplicaState,
    Volume,
    copy_host_nqn,
    copy_target_nqn,
)
from volumes.selectors import LIVE
from volumes.services.deadlines import unfinished_deadline
from volumes.services.node.missing import check_after_not_found
from volumes.services.node_calls import NodeError, node_call
from volumes.services.publication.exports import (
    delete_exports_on_nodes,
    exports_make,
    mark_exports_deleting,
)
from volumes.services.replica.state import replica_state_set

T = TypeVar("T")
NSID = 1


@dataclass(frozen=True)
class CopyState:
    """How far a copy is. ``over``: none runs, or is known; ``begun``: it was begun just now;
    ``trouble``: why it does not go on.
    """

    done: bool = False
    over: bool = False
    begun: bool = False
    bytes_done: int = 0
    bytes_total: int = 0
    trouble: str = ""


def record_desired_copy(replica: Replica, source: Replica) -> None:
    """Write that ``source`` is to be copied into a new replica, inside the caller's transaction
    that holds the volume.
    """
    Export.objects.create(
        replica=replica,
        for_copy=True,
        target_nqn=copy_target_nqn(replica.pk),
        nsid=NSID,
        by_piece=source.sub_volumes.count() > 1,
        host_nqn=copy_host_nqn(str(source.backend_id)),
        deadline_at=unfinished_deadline(),
    )


def copies_outdate(volume: Volume) -> None:
    """A host is let at the volume: what is being copied of it is worth nothing. Inside the
    transaction that publishes it.
    """
    rebuilding = volume.replicas.filter(LIVE, rebuilding=True)
    if not rebuilding:
        return
    mark_copies_deleting(rebuilding.get())
    replica_state_set(rebuilding, ReplicaState.UNKNOWN)


def mark_copies_deleting(replica: Replica) -> None:
    """Write that nothing is copied into the replica any more, inside the caller's transaction."""
    exports = Export.objects.filter(LIVE, replica=replica, for_copy=True)
    mark_exports_deleting(exports, deadline_at=unfinished_deadline())


def copy_source(replica: Replica) -> Replica | None:
    """What is copied into a replica: the one on the node that may connect, while both are there."""
    export = Export.objects.filter(LIVE, replica=replica, for_copy=True).first()
    beside = Replica.objects.filter(
        volume=replica.volume_id, state=LifeState.READY, rebuilding=False
    )
    for one in beside.select_related("backend").exclude(backend=None):
        if export is not None and export.host_nqn == copy_host_nqn(str(one.backend_id)):
            return one
    return None


def copy_close(replica: Replica, *, until: float) -> str:
    """Remove the target of a copy that was withdrawn. Empty when it is gone for certain, else what
    hinders it.
    """
    exports = Export.objects.filter(replica=replica, for_copy=True)
    return _drop_withdrawn(replica, until) or ("it is not withdrawn" if exports.exists() else "")


def copy_read(replica: Replica, source: Replica, *, until: float) -> CopyState:
    """How far the copy is, by the node that is read. Both replicas with their backends."""
    found = _ask(source, NodeClient.read_sync, until)
    if isinstance(found, NodeError):
        return CopyState(trouble=f"node {source.backend_id}: {found}")
    if found is None or found.generation != replica.pk:
        return CopyState(over=True)
    if found.state is wire.SyncState.FAILED:
        return CopyState(over=True, trouble=found.message)
    done = found.state is wire.SyncState.DONE
    return CopyState(done, bytes_done=found.bytes_done, bytes_total=found.bytes_total)


def copy_renew(replica: Replica, source: Replica) -> None:
    """Write that a copy is to begin, inside the caller's transaction that holds the volume.

    What failed or was forgotten may still be written by the data plane. So a target through which
    a copy may have begun goes, and another comes in its place.
    """
    if Export.objects.filter(replica=replica, for_copy=True, state=LifeState.READY).exists():
        mark_copies_deleting(replica)
        record_desired_copy(replica, source)


def copy_begin(replica: Replica, source: Replica, why: str, *, until: float) -> CopyState:
    """Begin it, when the target of the one before is gone for certain; ``why`` that ended."""
    if trouble := _drop_withdrawn(replica, until):
        return CopyState(trouble=trouble)
    rows = Export.objects.filter(LIVE, replica=replica, for_copy=True)
    if trouble := exports_make(rows, until=until).text:
        return CopyState(trouble=trouble)
    export = rows.first()
    if export is None:
        return CopyState(trouble="it was withdrawn")
    spec = _spec(replica, source, export)
    outcome = _ask(source, partial(NodeClient.ensure_sync, spec=spec), until)
    check_after_not_found({source.pk: source}, {source.pk: outcome}, until=until)
    if isinstance(outcome, NodeError):
        return CopyState(trouble=f"node {source.backend_id}: {outcome}")
    return CopyState(begun=True, trouble=why)


def _drop_withdrawn(replica: Replica, until: float) -> str:
    """Empty when targets of copies that were withdrawn are gone, else what hinders it."""
    exports = Export.objects.filter(replica=replica, for_copy=True, state=LifeState.DELETING)
    return delete_exports_on_nodes(exports, until=until).text


def _spec(replica: Replica, source: Replica, export: Export) -> wire.SyncSpec:
    portals = Portal.objects.filter(backend=replica.backend_id)
    return wire.SyncSpec(
        generation=replica.pk,
        volume_generation=source.pk,
        nqn=export.target_nqn,
        nsid=export.nsid,
        host_nqn=export.host_nqn,
        portals=tuple(wire.Portal(ip=p.ip, port=p.port, transport=p.transport) for p in portals),
    )


def _ask(source: Replica, call: Callable[..., T], until: float) -> T | NodeError:
    assert source.backend is not None, "copy_source looks for this"
    return node_call(source.backend, partial(call, uuid=source.uuid), until=until)
