"""Why an object is not finished yet, in a few words for clients and operators. "" means that it is
finished.

The functions use only rows and their prefetched relations. They make no query.
"""

from provisioner.common.models import LifeState
from volumes.models import Export, Publication, Replica, ReplicaState, Snapshot, Volume
from volumes.read_models import ReplicaRow, VolumeRow
from volumes.sizing import GIB

REMOVED_NODE = "its node, which was removed by force"
READY = LifeState.READY
SETTLED = frozenset({ReplicaState.UNKNOWN, ReplicaState.AVAILABLE})
"""States in which nobody must do anything."""


def volume_pending_reason(volume: Volume | VolumeRow) -> str:
    """Return what the volume waits for. Replicas and publications have reasons of their own."""
    if volume.state != READY:
        return _life(volume.state, "its nodes")
    if volume.expanding_to_bytes is not None:
        return f"its nodes to expand it to {volume.expanding_to_bytes // GIB} GiB"
    return ""


def replica_pending_reason(replica: Replica | ReplicaRow, *, exporting: bool, alone: bool) -> str:
    """Return what the replica waits for.

    ``exporting``: its node must still export it. ``alone``: its volume has one replica.
    """
    if replica.backend_id is None:
        return REMOVED_NODE
    if replica.state != READY:
        return _life(replica.state, f"node {replica.backend_id}")
    if replica.rebuilding:
        return f"its copy to node {replica.backend_id} to end"
    if exporting:
        return f"node {replica.backend_id} to export it"
    if replica.replica_state in SETTLED:
        return ""
    return _pending_by_state(replica, alone=alone)


def replica_row_pending_reason(replica: Replica) -> str:
    """Call :func:`replica_pending_reason` for a replica with its volume and exports prefetched."""
    exporting = any(
        export.state == LifeState.CREATING and not export.for_copy
        for export in replica.exports.all()
    )
    alone = replica.volume.num_replicas == 1
    return replica_pending_reason(replica, exporting=exporting, alone=alone)


def _pending_by_state(replica: Replica | ReplicaRow, *, alone: bool) -> str:
    match replica.replica_state:
        case ReplicaState.TERMINATING:
            return "its host to confirm that it no longer uses it"
        case ReplicaState.SYNCHRONIZING:
            return "its host to synchronize it"
        case ReplicaState.MISSING if alone:
            return f"node {replica.backend_id}, which lost its data, to find the data again"
        case ReplicaState.MISSING:
            return "its host to synchronize it, or a new replica"
        case _:
            return ""


def snapshot_pending_reason(snapshot: Snapshot) -> str:
    """Return what the snapshot waits for. Its replica must be loaded."""
    node = snapshot.replica.backend_id
    return REMOVED_NODE if node is None else _life(snapshot.state, f"node {node}")


def publication_pending_reason(publication: Publication) -> str:
    """Return what the publication waits for."""
    return "a node to export it" if publication.state == LifeState.CREATING else ""


def export_pending_reason(export: Export) -> str:
    """Return what the export waits for. Its replica must be loaded."""
    node = f"node {export.replica.backend_id}"
    match export.state:
        case LifeState.CREATING:
            return f"{node} to export it"
        case LifeState.DELETING:
            return f"{node} to remove it"
        case _:
            return ""


def _life(state: str, node: str) -> str:
    match state:
        case LifeState.CREATING:
            return f"{node} to create it"
        case LifeState.DELETING:
            return f"{node} to remove it"
        case _:
            return ""
