"""Keep the owner records on nodes up to date."""

import logging
import random
from collections.abc import Mapping
from typing import TypeVar

from inventory.models import Backend
from inventory.nodes.wire import Owner
from inventory.services.node.call_time import call_deadline
from provisioner.common.models import LifeState
from provisioner.common.writes import require_writes_now
from volumes.models import Replica, Snapshot
from volumes.selectors import replicas_with_nodes, snapshots_with_nodes
from volumes.services.node.contents import NodeContents
from volumes.services.node_calls import (
    NodeError,
    replicas_change,
    snapshot_spec,
    snapshots_ensure,
)
from volumes.services.ownership import is_newer_than_row, replica_owner

log = logging.getLogger(__name__)

WRITE_AT_MOST = 100
T = TypeVar("T")


def owners_mark(backend: Backend, contents: NodeContents) -> None:
    """Write the owner records that are missing or differ from the rows, up to WRITE_AT_MOST of each
    kind. If there are more, they are chosen at random, because the node may refuse some.

    Objects of older versions have no owner record. A record differs, for example, if its replica
    became complete since. If a record says that a replica became incomplete after the state in its
    row, the row may come from an older database. Then the record stays, for ``database_restored``.

    :raises WritesBarred: writes were barred meanwhile.
    """
    replicas, snapshots = _replicas(backend, contents), _snapshots(backend, contents)
    until = call_deadline()
    outcomes: dict[int, bool | NodeError] = {}
    for snapshot in snapshots:
        require_writes_now()
        outcomes |= snapshots_ensure([snapshot], until=until)
    for replica in replicas:
        require_writes_now()
        outcomes |= replicas_change([replica], until=until)
    failed = [str(outcome) for outcome in outcomes.values() if not isinstance(outcome, bool)]
    if failed:
        log.warning(
            "owners cannot be written to a node", extra={"backend": backend.pk, "reason": failed[0]}
        )


def _replicas(backend: Backend, contents: NodeContents) -> list[Replica]:
    """Return replicas with a missing or wrong record. Replicas that are being rebuilt, or whose
    volume is being expanded, are excluded.
    """
    there = {(v.uuid, v.generation): v.owner for v in contents.volumes}
    rows = Replica.objects.filter(
        backend=backend,
        state=LifeState.READY,
        rebuilding=False,
        volume__state=LifeState.READY,
        volume__expanding_to_bytes__isnull=True,
    )
    found = [
        replica
        for replica in replicas_with_nodes(rows).select_related("volume", "backend")
        if (replica.uuid, replica.pk) in there and _differs(replica, there)
    ]
    return _some(found)


def _differs(replica: Replica, there: Mapping[tuple[str, int], Owner | None]) -> bool:
    on_node = there[replica.uuid, replica.pk]
    own = replica_owner(replica.volume, replica)
    if on_node and own.complete and is_newer_than_row(on_node, replica):
        about = {"backend": replica.backend_id, "replica": replica.uuid}
        log.warning("an owner record is newer than the row of its replica", extra=about)
        return False
    return on_node != own


def _snapshots(backend: Backend, contents: NodeContents) -> list[Snapshot]:
    there = {(s.uuid, s.generation): s for s in contents.snapshots}
    rows = Snapshot.objects.filter(replica__backend=backend, state=LifeState.READY)
    return _some(
        [
            snapshot
            for snapshot in snapshots_with_nodes(rows)
            if (found := there.get((snapshot.uuid, snapshot.pk)))
            and found.owner != snapshot_spec(snapshot).owner
        ]
    )


def _some(found: list[T]) -> list[T]:
    return found if len(found) <= WRITE_AT_MOST else random.sample(found, WRITE_AT_MOST)
