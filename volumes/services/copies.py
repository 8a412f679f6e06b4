"""Copies from node to node, for volumes that no host uses.

The new replica is exported through a target that only the source node may connect to. The source
node reads its own replica and writes to that target.

An unpublished volume may still be exported to hosts until its nodes confirm the removal. So the
source replica is read only once it has no exports. While the new replica is ``rebuilding`` and
Synchronizing, the data copied so far is valid. Publishing the volume sets the new replica to
Unknown, in the transaction that admits the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from inventory.models import Portal
from inventory.nodes import wire
from inventory.nodes.client import NodeClient
from inventory.nodes.portal_transports import RDMA
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
    """The progress of a copy.

    ``over``: the source node runs no such copy, because it failed or the node forgot it. ``begun``:
    this call started it. ``trouble``: the reason why it makes no progress, or why the previous copy
    ended.
    """

    done: bool = False
    over: bool = False
    begun: bool = False
    bytes_done: int = 0
    bytes_total: int = 0
    trouble: str = ""


def record_desired_copy(replica: Replica, source: Replica) -> None:
    """Record that ``source`` must be copied into the new ``replica``.

    Runs inside the caller's transaction, which holds the lock of the volume.
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
    """Invalidate the copy into a new replica of the volume, because a host may write to the volume
    from now on.

    The replica becomes Unknown. Runs inside the transaction that publishes the volume.
    """
    rebuilding = volume.replicas.filter(LIVE, rebuilding=True)
    if not rebuilding:
        return
    mark_copies_deleting(rebuilding.get())
    replica_state_set(rebuilding, ReplicaState.UNKNOWN, reason="the volume was published")


def mark_copies_deleting(replica: Replica) -> None:
    """Mark the exports for copies into the replica as deleting, inside the caller's transaction."""
    exports = Export.objects.filter(LIVE, replica=replica, for_copy=True)
    mark_exports_deleting(exports, deadline_at=unfinished_deadline())


def copy_source(replica: Replica) -> Replica | None:
    """Return the replica that is copied into ``replica``, with its backend.

    It is the READY replica on the node that may connect to the target of the copy. None: that
    target or replica no longer exists.
    """
    export = Export.objects.filter(LIVE, replica=replica, for_copy=True).first()
    beside = Replica.objects.filter(
        volume=replica.volume_id, state=LifeState.READY, rebuilding=False
    )
    for one in beside.select_related("backend").exclude(backend=None):
        if export is not None and export.host_nqn == copy_host_nqn(str(one.backend_id)):
            return one
    return None


def copy_close(replica: Replica, *, until: float) -> str:
    """Remove the target of a copy that was marked for deletion.

    Returns "" if the node confirmed the removal, else the reason why not.
    """
    exports = Export.objects.filter(replica=replica, for_copy=True)
    left = "it is not marked for deletion"
    return _remove_closed_targets(replica, until) or (left if exports.exists() else "")


def copy_read(replica: Replica, source: Replica, *, until: float) -> CopyState:
    """Ask the source node for the progress of the copy. Both replicas must have their backends
    loaded.
    """
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
    """Record that a new copy must start, inside the caller's transaction, which holds the lock of
    the volume.

    The data plane may still write for a copy that failed or was forgotten. So the target that such
    a copy may use is marked for deletion, and a new target replaces it.
    """
    if Export.objects.filter(replica=replica, for_copy=True, state=LifeState.READY).exists():
        mark_copies_deleting(replica)
        record_desired_copy(replica, source)


def copy_begin(replica: Replica, source: Replica, why: str, *, until: float) -> CopyState:
    """Start the copy after the targets of earlier copies are removed.

    ``why``: the reason why the previous copy ended. It is returned in ``trouble``.
    """
    if trouble := _remove_closed_targets(replica, until):
        return CopyState(trouble=trouble)
    rows = Export.objects.filter(LIVE, replica=replica, for_copy=True)
    if trouble := exports_make(rows, until=until).text:
        return CopyState(trouble=trouble)
    export = rows.first()
    if export is None:
        return CopyState(trouble="its target was marked for deletion")
    spec = _spec(replica, source, export)
    outcome = _ask(source, partial(NodeClient.ensure_sync, spec=spec), until)
    check_after_not_found({source.pk: source}, {source.pk: outcome}, until=until)
    if isinstance(outcome, NodeError):
        return CopyState(trouble=f"node {source.backend_id}: {outcome}")
    return CopyState(begun=True, trouble=why)


def _remove_closed_targets(replica: Replica, until: float) -> str:
    """Remove the targets of copies that were marked for deletion. Returns "" if they are removed,
    else the reason why not.
    """
    exports = Export.objects.filter(replica=replica, for_copy=True, state=LifeState.DELETING)
    return delete_exports_on_nodes(exports, until=until).text


def _spec(replica: Replica, source: Replica, export: Export) -> wire.SyncSpec:
    portals = Portal.objects.filter(backend=replica.backend_id).exclude(transport=RDMA)
    return wire.SyncSpec(
        generation=replica.pk,
        volume_generation=source.pk,
        nqn=export.target_nqn,
        nsid=export.nsid,
        host_nqn=export.host_nqn,
        portals=tuple(wire.Portal(ip=p.ip, port=p.port, transport=p.transport) for p in portals),
    )


def _ask(source: Replica, call: Callable[..., T], until: float) -> T | NodeError:
    assert source.backend is not None, "copy_source returns only replicas that have a backend"
    return node_call(source.backend, partial(call, uuid=source.uuid), until=until)
