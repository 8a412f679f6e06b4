"""Recovery after a database was restored: compare it with all nodes, then allow writes again."""

import datetime as dt
import logging
import time
from collections.abc import Collection, Iterable

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from inventory.models import Backend, Pool, Recovery
from inventory.services.pool.checks import is_of_other_pool
from inventory.services.pool.generations import (
    generation_gap_clear,
    generation_last,
    generations_issued,
    generations_raise,
)
from inventory.services.pool.identity import database_confirm, database_doubt
from provisioner.common import clock
from provisioner.common.results import ProvisionerError, ResultCode
from provisioner.common.writes import STALE_SECONDS
from volumes.models import Orphan
from volumes.reconcilers.node_check.orphans import FormerRows, orphans_store
from volumes.reconcilers.node_check.readopt import replicas_readopt
from volumes.reconcilers.recovery.exports import exports_resolve
from volumes.reconcilers.recovery.findings import Findings
from volumes.reconcilers.recovery.restored_state import after_restored
from volumes.reconcilers.recovery.snapshots import snapshots_resolve
from volumes.reconcilers.recovery.volumes import volumes_resolve
from volumes.services.node.contents import NodeContents, nodes_read
from volumes.services.ownership import pool_uuid

log = logging.getLogger(__name__)

READ_SECONDS = 60.0
NOT_OLDER = "this database is not older than its nodes: nothing was changed"


class NodesSilent(ProvisionerError):
    """Nodes do not answer, so their contents are unknown."""

    code = ResultCode.NotAvailable


class RecoveredMeanwhile(ProvisionerError):
    """Another process recovered the database after this one had read the nodes."""

    code = ResultCode.NotAvailable


def database_recover(
    *, without: Collection[str] = (), since: dt.datetime | None = None
) -> list[str]:
    """Make a database that is older than its nodes agree with them, and allow writes again.

    Returns a line for each change. If the database is not older, nothing is done. ``since``: the
    time of the restored state. If it is given, the database counts as older even if no node shows
    it. ``without``: ids of nodes that need not answer. They are compared when they are back.

    :raises NodesSilent: nodes that are not in ``without`` do not answer.
    :raises RecoveredMeanwhile: another process did this meanwhile, and the database still counts as
        older.
    """
    _wait_for_requests()
    known = _last_recovery()
    backends = list(Backend.objects.prefetch_related("addresses"))
    former = FormerRows.of(backends)
    nodes = nodes_answers(backends, without=without, timeout_seconds=READ_SECONDS)
    newest = [contents.node.newest_generation for contents in nodes.values()]
    own = [one for contents in nodes.values() for one in contents.generations_of(pool_uuid())]
    seen = [*newest, *own]
    issued = generations_issued()
    if not (database_doubt() or since or any(map(issued.lacks, seen))):
        return [NOT_OLDER]
    after = after_restored(since, seen=seen)
    generations_raise(above=max(newest, default=0))
    findings = Findings(nodes, after, generation_last())
    awaited = sorted({b.pk for b in backends} - set(nodes))
    with transaction.atomic(durable=True):
        Pool.objects.select_for_update().get()
        if _last_recovery() > known:
            return _recovered_meanwhile(since)
        Recovery.objects.create(
            after_generation=findings.after,
            until_generation=findings.until,
            awaited=awaited,
            keeps_older=True,
        )
        _resolve(findings)
        database_confirm()
    _compare(backends, findings, former)
    waiting = [f"node {node} is compared when it is back" for node in awaited]
    return [*findings.report, *waiting, *_orphans_text(), "writes are allowed again"]


def _last_recovery() -> int:
    return Recovery.objects.aggregate(key=Max("pk"))["key"] or 0


def _recovered_meanwhile(since: dt.datetime | None) -> list[str]:
    """Change nothing according to nodes that were read before another recovery."""
    if since or database_doubt():
        raise RecoveredMeanwhile("another process recovered this database meanwhile: run it again")
    return [NOT_OLDER]


def _wait_for_requests() -> None:
    """Wait until all requests have ended that began before writes were barred."""
    since = Pool.objects.get().doubt_since
    if since is None:
        return
    longest = dt.timedelta(seconds=settings.ENVIRONMENT.node_call_seconds + STALE_SECONDS)
    time.sleep(max((since + longest - clock.now()).total_seconds(), 0.0))


def node_recover(backend: Backend, contents: NodeContents) -> None:
    """Compare the database with a node that did not answer during a recovery and is back."""
    for recovery in Recovery.objects.all():
        if backend.pk not in recovery.awaited:
            continue
        generations_raise(above=contents.node.newest_generation)
        generation_gap_clear()
        findings = Findings(
            {backend.pk: contents},
            recovery.after_generation,
            generation_last(),
            returned=backend.pk,
        )
        with transaction.atomic(durable=True):
            rest = [node for node in recovery.awaited if node != backend.pk]
            Recovery.objects.filter(pk=recovery.pk).update(
                awaited=rest, until_generation=findings.until
            )
            _resolve(findings)
        for line in findings.report:
            log.warning(
                "rows were corrected according to a node",
                extra={"backend": backend.pk, "done": line},
            )


def _resolve(findings: Findings) -> None:
    """Resolve replicas before the snapshots that belong to them, and exports last."""
    volumes_resolve(findings)
    snapshots_resolve(findings)
    exports_resolve(findings)


def nodes_answers(
    backends: Iterable[Backend], *, without: Collection[str], timeout_seconds: float
) -> dict[str, NodeContents]:
    """Return the contents of the nodes that answer, by id.

    :raises NodesSilent: nodes that are not in ``without`` do not answer.
    """
    answers = nodes_read(backends, timeout_seconds=timeout_seconds)
    silent: dict[str, str] = {}
    nodes: dict[str, NodeContents] = {}
    for backend_id, answer in answers.items():
        if not isinstance(answer, NodeContents):
            silent[backend_id] = str(answer)
        elif answer.node.persistent_id != backend_id or is_of_other_pool(answer.node):
            silent[backend_id] = f"it is {answer.node.persistent_id} of {answer.node.pool}"
        else:
            nodes[backend_id] = answer
    if missing := sorted(set(silent) - set(without)):
        text = "; ".join(f"{node}: {silent[node]}" for node in missing)
        raise NodesSilent(f"nodes do not answer ({text}): start them, or continue without them")
    return nodes


def _compare(backends: Iterable[Backend], findings: Findings, former: FormerRows) -> None:
    """Readopt the adopted replicas on their nodes, and record the remaining orphans. An object
    whose row in ``former`` is gone was removed meanwhile.
    """
    for backend in backends:
        if contents := findings.nodes.get(backend.pk):
            replicas_readopt(backend, contents)
            orphans_store(backend, contents, former=former)


def _orphans_text() -> list[str]:
    kept = Orphan.objects.filter(kept=True).count()
    return [f"{kept} orphans are kept until an operator decides: manage.py orphans"] if kept else []
