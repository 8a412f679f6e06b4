"""Compare the database with every node and every budget, without changing anything."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.db.models import Count, F, Sum

from inventory.models import Backend, Ssd
from inventory.nodes import wire
from inventory.nodes.drift import DriftKind
from inventory.services.node.controller_slots import controller_ids
from inventory.services.pool.checks import is_of_other_pool
from inventory.services.pool.generations import generation_last
from inventory.services.pool.identity import database_doubt, pool_identity
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import (
    Export,
    Publication,
    Replica,
    Snapshot,
    SubVolume,
    Tenant,
    Volume,
)
from volumes.selectors import LIVE
from volumes.services.node.contents import NodeContents, drift_read, nodes_read
from volumes.services.node_calls import replica_spec, snapshot_spec
from volumes.services.ownership import owner_as_complete

NODE_SECONDS = 60.0
AT_ONCE = 32
"""The number of nodes that are read at once. Their contents are in memory at the same time."""
SETTLING_SECONDS = 1.0
OVERDUE = dt.timedelta(seconds=30)
NODE_OF: dict[type[Volume | Replica | Snapshot | Publication | Export], str] = {
    Volume: "replicas__backend",
    Replica: "backend",
    Snapshot: "replica__backend",
    Publication: "",
    Export: "replica__backend",
}
"""The path to the node of a row with a deadline."""


@dataclass(frozen=True, order=True)
class Difference:
    """A difference between the expected and the actual state. ``text`` gives both."""

    subject: str
    text: str


def audit() -> list[Difference]:
    """Return all differences, sorted.

    A difference counts only if it is seen twice, SETTLING_SECONDS apart. Otherwise a change was in
    progress.
    """
    first = set(_compare())
    if not first:
        return []
    time.sleep(SETTLING_SECONDS)
    return sorted(first & set(_compare()))


def _compare() -> Iterator[Difference]:
    """Yield the present differences.

    Nodes are read before the rows, because a row is inserted before its object is created on a
    node.
    """
    if doubt := database_doubt():
        yield Difference("database", doubt)
    keys = list(Backend.objects.values_list("pk", flat=True))
    for start in range(0, len(keys), AT_ONCE):
        backends = Backend.objects.filter(pk__in=keys[start : start + AT_ONCE])
        yield from _compare_nodes(list(backends.prefetch_related("addresses")))
    yield from _compare_ids()
    yield from _compare_budgets()
    yield from _compare_sizes()
    yield from _overdue()


def _compare_nodes(backends: list[Backend]) -> Iterator[Difference]:
    answers = nodes_read(backends, timeout_seconds=NODE_SECONDS)
    for backend in backends:
        answer = answers.pop(backend.pk)
        if isinstance(answer, NodeContents):
            yield from _compare_node(backend, answer)
        else:
            yield Difference(f"node {backend.pk}", f"cannot be read: {answer}")
    yield from _drift(backends)


def _drift(backends: Iterable[Backend]) -> Iterator[Difference]:
    """Yield the drift of nodes. Nodes that cannot be read are skipped; ``_compare`` reports
    them.
    """
    for key, answer in drift_read(backends, timeout_seconds=NODE_SECONDS).items():
        for item in answer if isinstance(answer, tuple) else ():
            if item.kind is DriftKind.LOST:
                yield Difference(f"node {key}", f"has lost {item.name}, which its agent recorded")
            else:
                yield Difference(
                    f"node {key}",
                    f"has the {item.kind} {item.name}, which its agent did not create",
                )


def _compare_node(backend: Backend, contents: NodeContents) -> Iterator[Difference]:
    name = f"node {backend.pk}"
    yield from _compare_pool(name, contents.node)
    rows = Replica.objects.filter(backend=backend).select_related("volume")
    replicas = list(rows.prefetch_related("sub_volumes__ssd"))
    at_rest = [r for r in replicas if _ready(r) and r.volume.expanding_to_bytes is None]
    yield from _compare_things(
        name,
        "replica",
        {r.uuid: replica_spec(r.volume, r) for r in at_rest},
        {v.uuid: v for v in contents.volumes},
    )
    yield from _unknown(name, "volume", contents.volumes, replicas)
    snapshots = list(
        Snapshot.objects.filter(replica__backend=backend)
        .select_related("replica")
        .prefetch_related("sub_volumes__ssd")
    )
    yield from _compare_things(
        name,
        "snapshot",
        {s.uuid: snapshot_spec(s) for s in snapshots if _ready(s)},
        {s.uuid: s for s in contents.snapshots},
    )
    yield from _unknown(name, "snapshot", contents.snapshots, snapshots)
    yield from _compare_exports(backend, contents.targets)
    if all(map(_ready, replicas)) and all(map(_ready, snapshots)):
        yield from _compare_drives(backend, contents.node)


def _compare_pool(name: str, node: wire.Node) -> Iterator[Difference]:
    if node.pool is None or is_of_other_pool(node):
        theirs = node.pool or "no pool"
        yield Difference(name, f"belongs to {theirs}, should belong to {pool_identity()}")
    elif node.newest_generation > (last := generation_last()):
        text = (
            f"has seen generation {node.newest_generation}, but the last generation of this "
            f"database is {last}"
        )
        yield Difference(name, text)


def _ready(row: Replica | Snapshot) -> bool:
    return row.state == LifeState.READY


def _compare_things(
    name: str, kind: str, wanted: Mapping[str, wire.Wire], there: Mapping[str, wire.Wire]
) -> Iterator[Difference]:
    """Yield the differences between the objects that must be on a node and those that it has, by
    uuid.
    """
    for uuid, spec in wanted.items():
        found = there.get(uuid)
        if found is None:
            yield Difference(name, f"does not hold {kind} {uuid}")
            continue
        for key in type(spec).model_fields:
            is_now, should_be = _comparable(getattr(found, key)), _comparable(getattr(spec, key))
            if is_now != should_be:
                yield Difference(name, f"{kind} {uuid}: {key} is {is_now}, should be {should_be}")


def _comparable(value: object) -> object:
    """Return the value to compare. In an owner record, ``complete`` and its time are ignored,
    because the next node check updates them.
    """
    return owner_as_complete(value) if isinstance(value, wire.Owner) else value


def _unknown(
    name: str,
    kind: str,
    there: Iterable[wire.Volume | wire.Snapshot],
    rows: Iterable[Replica | Snapshot],
) -> Iterator[Difference]:
    for uuid in sorted({one.uuid for one in there} - {row.uuid for row in rows}):
        yield Difference(name, f"holds {kind} {uuid}, which has no row")


def _compare_exports(backend: Backend, targets: Iterable[wire.Target]) -> Iterator[Difference]:
    name = f"node {backend.pk}"
    found = list(targets)
    there = {(t.nqn, n.volume_uuid): (n.nsid, t.host_nqn) for t in found for n in t.namespaces}
    rows = Export.objects.filter(replica__backend=backend).order_by("id")
    rows = rows.select_related("replica", "publication__host")
    exports = {(e.target_nqn, e.replica.uuid): e for e in rows}
    for key, export in exports.items():
        if export.state != LifeState.READY:
            continue
        host = export.publication.host.nqn if export.publication else export.host_nqn
        wanted = (export.nsid, host)
        if there.get(key) != wanted:
            yield Difference(name, f"export {key}: is {there.get(key)}, should be {wanted}")
    for key in sorted(set(there) - set(exports)):
        yield Difference(name, f"exports {key}, which has no row")
    ids = controller_ids(backend)
    for target in found:
        if ids is not None and target.controllers != ids:
            text = f"has the controller ids {target.controllers}, should have {ids}"
            yield Difference(name, f"target {target.nqn} {text}: its host must disconnect once")


def _compare_ids() -> Iterator[Difference]:
    """Check that each namespace id of a host belongs to one replica, over all nodes."""
    rows = Export.objects.filter(for_copy=False).order_by("target_nqn", "nsid")
    ids = rows.values("target_nqn", "nsid").annotate(replicas=Count("replica", distinct=True))
    for one in ids.filter(replicas__gt=1):
        text = f"namespace id {one['nsid']} is used by {one['replicas']} replicas"
        yield Difference(f"target {one['target_nqn']}", text)


def _compare_drives(backend: Backend, node: wire.Node) -> Iterator[Difference]:
    used = {s.ssd_id: s.capacity - s.free - s.outgrown for s in node.ssds}
    for ssd in Ssd.objects.filter(backend=backend, present=True):
        if used.get(ssd.ssd_id) != ssd.used_bytes:
            yield Difference(
                f"node {backend.pk}",
                f"SSD {ssd.ssd_id}: {used.get(ssd.ssd_id)} bytes are used, "
                f"{ssd.used_bytes} are claimed",
            )


def _compare_budgets() -> Iterator[Difference]:
    claims = _sums(SubVolume.objects.values_list("ssd_id").annotate(Sum("claimed_bytes")))
    for ssd in Ssd.objects.all():
        if ssd.used_bytes != claims[ssd.pk]:
            text = f"{ssd.used_bytes} bytes are claimed, its sub-volumes claim {claims[ssd.pk]}"
            yield Difference(f"SSD {ssd.ssd_id} of {ssd.backend_id}", text)
    replicas = Replica.objects.values_list("volume__tenant_id").annotate(Sum("claimed_bytes"))
    snapshots = Snapshot.objects.values_list("tenant_id").annotate(Sum("claimed_bytes"))
    used = _sums(replicas.order_by()) + _sums(snapshots.order_by())
    for tenant in Tenant.objects.all():
        if tenant.used_bytes != used[tenant.pk]:
            text = f"{tenant.used_bytes} bytes are claimed, its volumes claim {used[tenant.pk]}"
            yield Difference(f"tenant {tenant.pk}", text)
    yield from _compare_performance()


def _compare_performance() -> Iterator[Difference]:
    rows = Replica.objects.order_by().values_list("backend_id")
    iops = _sums(rows.annotate(Sum("desired_iops")))
    bandwidth = _sums(rows.annotate(Sum("desired_bw")))
    for backend in Backend.objects.all():
        claimed = (backend.used_iops, backend.used_bw)
        wanted = (iops[backend.pk], bandwidth[backend.pk])
        if claimed != wanted:
            text = f"the claimed IOPS and bandwidth are {claimed}, its replicas claim {wanted}"
            yield Difference(f"node {backend.pk}", text)


def _compare_sizes() -> Iterator[Difference]:
    sums = {
        "claimed": Sum("sub_volumes__claimed_bytes"),
        "capacity": Sum("sub_volumes__capacity_bytes"),
    }
    snapshots = Snapshot.objects.filter(replica__backend__isnull=False).annotate(**sums)
    for snapshot in snapshots.exclude(claimed_bytes=F("claimed"), capacity_bytes=F("capacity")):
        yield Difference(f"snapshot {snapshot.uuid}", "the sum of its sub-volumes is not its size")
    rows = Replica.objects.filter(backend__isnull=False).annotate(**sums)
    for replica in rows.exclude(claimed_bytes=F("claimed")):
        yield Difference(f"replica {replica.uuid}", "the sum of its sub-volumes is not its claim")
    settled = rows.filter(
        LIVE, volume__expanding_to_bytes__isnull=True, volume__state=LifeState.READY
    )
    for replica in settled.exclude(volume__capacity_bytes=F("capacity")):
        yield Difference(
            f"replica {replica.uuid}", "the sum of its sub-volumes is not the size of its volume"
        )


def _overdue() -> Iterator[Difference]:
    """Yield rows that the collector should have finished. It waits for nodes that are down."""
    now = clock.now()
    for model, backend in NODE_OF.items():
        down = {f"{backend}__available_until__lt": now} if backend else {}
        rows = model.objects.filter(deadline_at__lt=now - OVERDUE)
        for row in rows.exclude(**down) if down else rows:
            text = f"{row.state} and overdue since {row.deadline_at}"
            yield Difference(f"{model.__name__.lower()} {row}", text)


def _sums(rows: Iterable[tuple[object, int]]) -> Counter[object]:
    return Counter(dict(rows))
