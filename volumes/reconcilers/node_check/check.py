"""Compare the contents of nodes with the rows, and repair differences."""

import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from inventory.models import Backend
from inventory.services.node.call_time import call_deadline
from inventory.services.node.controller_slots import slot_ensure
from inventory.services.node.license import license_ensure
from inventory.services.node.register import settings_push
from inventory.services.pool.checks import (
    generation_compare,
    is_of_other_pool,
    nodes_awaited,
)
from provisioner.common import clock
from provisioner.common.writes import (
    WritesBarred,
    require_writes_now,
    writes_barred,
    writes_barred_now,
)
from volumes.models import Export
from volumes.reconcilers.node_check.exports import exports_repair
from volumes.reconcilers.node_check.orphan_removal import orphans_remove
from volumes.reconcilers.node_check.orphans import FormerRows, orphans_store
from volumes.reconcilers.node_check.owners import owners_mark
from volumes.reconcilers.node_check.readopt import replicas_readopt
from volumes.reconcilers.recovery.database import node_recover
from volumes.services.node.contents import NodeContents, nodes_read
from volumes.services.node.missing import ReadyRows, mark_missing
from volumes.services.node_calls import NodeError
from volumes.services.ownership import pool_uuid
from volumes.services.publication.exports import exports_make

log = logging.getLogger(__name__)

CHECK_AT_MOST = 32
"""The number of nodes that are read at once. Their contents are in memory at the same time."""
RUN_SECONDS = 30.0
"""After this time a run reads no further nodes."""
READ_SECONDS = 30.0
AGAIN_AFTER = dt.timedelta(seconds=60)


def nodes_check() -> None:
    """Check Available nodes that are due or have restarted, CHECK_AT_MOST at a time. Nodes whose
    last check is oldest come first. After RUN_SECONDS, the other nodes are left to the next run.

    Workers that run this at the same time choose different nodes. A replica counts as lost only if
    its row was READY before the nodes were read, and still is. An object is an orphan only if it
    had no row before the nodes were read, and has none afterwards. So an object that is being
    created or removed is reported neither as lost nor as an orphan. If writes are barred meanwhile,
    for example because a node turns out to be newer than the database, the check stops before its
    next step.
    """
    until = time.monotonic() + RUN_SECONDS
    while _check_some() == CHECK_AT_MOST and time.monotonic() < until:
        pass


def _check_some() -> int:
    """Check the nodes that are due first. Returns how many nodes were due, or 0 if writes are
    barred.
    """
    if writes_barred():
        return 0
    chosen = _choose(clock.now())
    before, former = ReadyRows.of(chosen), FormerRows.of(chosen)
    read_at = clock.now()
    answers = nodes_read(chosen, timeout_seconds=READ_SECONDS)
    lost: list[int] = []
    _compare_generations(answers)
    for backend in chosen:
        if writes_barred():
            return 0
        answer = answers[backend.pk]
        if isinstance(answer, NodeContents) and answer.node.persistent_id == backend.pk:
            lost += _check(backend, answer, before, former, read_at)
        else:
            log.info("node not checked", extra={"backend": backend.pk, "reason": str(answer)})
    if lost and not writes_barred_now():
        exports_make(Export.objects.filter(pk__in=lost), until=call_deadline())
    return len(chosen)


def _compare_generations(answers: Mapping[str, NodeContents | NodeError]) -> None:
    """Compare the generations of nodes, and of the pool's objects on them, with those of the
    database.

    Nodes that the recovery of an older database still waits for are skipped.
    """
    awaited = nodes_awaited()
    for backend_id, answer in answers.items():
        if isinstance(answer, NodeContents) and backend_id not in awaited:
            generation_compare(answer.node, answer.generations_of(pool_uuid()))


def _check(
    backend: Backend,
    contents: NodeContents,
    before: ReadyRows,
    former: FormerRows,
    read_at: dt.datetime,
) -> list[int]:
    """Check one node, and return the keys of the exports to create again.

    A failure is logged and does not stop the check of other nodes. No step begins while writes are
    barred.
    """
    lost: list[int] = []
    if is_of_other_pool(contents.node):
        about = {"backend": backend.pk, "pool": str(contents.node.pool)}
        log.error("this node was added to another pool", extra=about)
        return lost
    steps: list[Callable[[], list[int] | None]] = [
        partial(slot_ensure, backend),
        partial(node_recover, backend, contents),
        partial(replicas_readopt, backend, contents),
        partial(exports_repair, backend, contents),
        partial(mark_missing, backend, contents, before),
        partial(owners_mark, backend, contents),
        partial(orphans_store, backend, contents, former=former),
        partial(orphans_remove, backend),
        partial(license_ensure, backend),
    ]
    if contents.node.pool is None:
        steps.insert(0, partial(settings_push, backend.pk))
    try:
        for step in steps:
            require_writes_now()
            lost += step() or []
    except WritesBarred as barred:
        log.info("node check stopped", extra={"backend": backend.pk, "reason": str(barred)})
    except Exception:
        log.exception("node check failed", extra={"backend": backend.pk})
    else:
        Backend.objects.filter(pk=backend.pk).update(
            checked_at=read_at, checked_boot_id=contents.node.boot_id
        )
    return lost


def _choose(now: dt.datetime) -> list[Backend]:
    """Choose nodes to check, and claim them. If the check of a node does not end, the node is due
    again after AGAIN_AFTER.
    """
    interval = dt.timedelta(seconds=settings.ENVIRONMENT.node_check_interval_seconds)
    due = (
        Q(checked_at__isnull=True)
        | Q(checked_at__lte=now - interval)
        | clock.is_impossible("checked_at")
        | ~Q(checked_boot_id=F("boot_id"))
    )
    with transaction.atomic(durable=True):
        rows = Backend.objects.available().select_for_update(skip_locked=True).filter(due)
        oldest = F("checked_at").asc(nulls_first=True)
        rows = rows.prefetch_related("addresses").order_by(oldest, "pk")
        chosen = list(rows[:CHECK_AT_MOST])
        Backend.objects.filter(pk__in=[backend.pk for backend in chosen]).update(
            checked_at=now - interval + min(AGAIN_AFTER, interval), checked_boot_id=F("boot_id")
        )
    return chosen
