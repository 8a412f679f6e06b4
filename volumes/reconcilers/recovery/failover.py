"""After a failover to a standby: allow writes again if the database has every change that the nodes
have.
"""

import logging
import time
from collections.abc import Iterable, Iterator

from django.db import transaction
from django.db.models import Sum

from inventory.models import Backend, Pool, Recovery
from inventory.services.pool.generations import generation_last, generations_raise
from inventory.services.pool.identity import database_confirm, database_doubt_set, has_new_timeline
from provisioner.common.models import LifeState
from provisioner.common.writes import STALE_SECONDS
from volumes.models import Export, Replica, ReplicaState, Snapshot
from volumes.reconcilers.job_lease import job_lease_acquire
from volumes.reconcilers.node_check.orphans import new_orphans, orphans_keep
from volumes.reconcilers.recovery.database import nodes_answers
from volumes.reconcilers.recovery.restored_state import after_restored
from volumes.services.node.contents import NodeContents

log = logging.getLogger(__name__)

JOB = "failover"
READ_SECONDS = 12.0
READY = {"state": LifeState.READY}


def failover_settle() -> None:
    """Compare the database with all nodes that answer, if a standby took over and nothing else
    changed.

    One worker at a time does this. If rows and nodes agree, writes are allowed again. Otherwise the
    database lacks commits: writes stay barred, and the reason names a node. Nodes that do not
    answer are compared when they are back. If no node answers, the next run tries again. Without a
    failover, this function makes one query.
    """
    lease = job_lease_acquire(JOB) if has_new_timeline() else None
    if lease is None:
        return
    try:
        _settle(list(Backend.objects.prefetch_related("addresses")))
    finally:
        lease.release()


def _settle(backends: list[Backend]) -> None:
    last = generation_last()
    nodes = _answers(backends)
    if backends and not nodes:
        log.warning("a standby took over: no node answers, so writes stay barred")
        return
    if differences := _differences(nodes, last):
        time.sleep(STALE_SECONDS)  # in this time, requests that had begun end
        seen_again = set(_differences(_answers(backends), last))
        if lacking := [text for text in differences if text in seen_again]:
            database_doubt_set(f"a standby took over without the last commits: {lacking[0]}")
            return
    _allow_writes(awaited=sorted({backend.pk for backend in backends} - set(nodes)))


def _allow_writes(*, awaited: list[str]) -> None:
    """Allow writes. Nodes that do not answer may hold objects of lost commits. These objects are
    kept when the nodes are back, and so are all recorded orphans.
    """
    generations_raise()
    with transaction.atomic(durable=True):
        Pool.objects.select_for_update().get()
        if not has_new_timeline():
            return
        Recovery.objects.create(
            after_generation=after_restored(), until_generation=generation_last(), awaited=awaited
        )
        orphans_keep()
        database_confirm()
    log.warning(
        "a standby took over without a lost commit: writes are allowed again",
        extra={"silent": awaited},
    )


def _answers(backends: Iterable[Backend]) -> dict[str, NodeContents]:
    everybody = [backend.pk for backend in backends]
    return nodes_answers(backends, without=everybody, timeout_seconds=READ_SECONDS)


def _differences(nodes: dict[str, NodeContents], last: int) -> list[str]:
    """Describe the differences that a lost commit would leave, node by node. The nodes must be read
    before the rows.
    """
    return [
        f"storage node {backend_id!r} {text}"
        for backend_id, contents in nodes.items()
        for text in _of_node(backend_id, contents, last)
    ]


def _of_node(backend_id: str, contents: NodeContents, last: int) -> Iterator[str]:
    """Describe the objects on the node that show a lost removal, expansion or creation, because no
    row matches them.

    Changes in progress, replicas that are already lost, and recorded orphans do not count. A
    standby may know a generation before it is handed out. So a standby that knows the greatest
    generation may still lack the row with that generation.
    """
    newest = contents.node.newest_generation
    if newest > last:
        yield f"has seen generation {newest}, but the last generation of this database is {last}"
    for orphan in new_orphans(backend_id, contents):
        yield f"holds {orphan.kind} {orphan.uuid}, which this database does not know"
    yield from _replicas(backend_id, contents)
    there = {(snapshot.uuid, snapshot.generation) for snapshot in contents.snapshots}
    snapshots = Snapshot.objects.filter(replica__backend=backend_id, **READY).order_by("pk")
    for one in snapshots.values_list("uuid", "pk"):
        if one not in there:
            yield f"does not hold snapshot {one[0]}"
    yield from _exports(backend_id, contents)


def _replicas(backend_id: str, contents: NodeContents) -> Iterator[str]:
    there = {(volume.uuid, volume.generation): volume.capacity for volume in contents.volumes}
    rows = Replica.objects.filter(backend=backend_id, volume__expanding_to_bytes=None, **READY)
    rows = rows.exclude(replica_state__in=[ReplicaState.MISSING, ReplicaState.TERMINATING])
    for replica in rows.annotate(size=Sum("sub_volumes__capacity_bytes")):
        found = there.get((replica.uuid, replica.pk))
        if found != replica.size:
            text = "does not hold" if found is None else f"has {found} bytes of"
            yield f"{text} replica {replica.uuid}, which has {replica.size} bytes here"


def _exports(backend_id: str, contents: NodeContents) -> Iterator[str]:
    there = {
        (target.nqn, one.volume_uuid, one.nsid, one.generation)
        for target in contents.targets
        for one in target.namespaces
    }
    rows = Export.objects.filter(replica__backend=backend_id, **READY).order_by("pk")
    for nqn, uuid, nsid, key in rows.values_list("target_nqn", "replica__uuid", "nsid", "pk"):
        if (nqn, uuid, nsid, key) not in there:
            yield f"does not export replica {uuid} in {nqn}, as this database says"
