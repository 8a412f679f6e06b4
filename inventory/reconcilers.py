"""Keeps the stored state of nodes up to date, even if they do not report."""

import datetime as dt
import logging
from collections.abc import Mapping
from functools import partial

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F, Q

from inventory.models import LATE_FACTOR, Backend
from inventory.nodes.client import NodeClient, NodeRefused, NodeUnreachable, call_all
from inventory.nodes.wire import Node, ProvisionerSettings
from inventory.services.node.answers import (
    avoided_long_enough,
    call_failure_record,
    call_outcomes_record,
)
from inventory.services.node.clients import node_client
from inventory.services.node.settings import node_settings_with_token, token_renewal_due_before
from inventory.services.node.state import READ_SECONDS, reading_store
from provisioner.common import clock

log = logging.getLogger(__name__)

LATE_AFTER_INTERVALS = 1.5
POLL_AT_MOST = 256
POLL_SECONDS = 12.0

Outcome = tuple[Node, bool] | NodeRefused | NodeUnreachable
"""What a node reported, and whether it accepted new settings; or why it could not be read."""


def poll_late_backends() -> None:
    """Read nodes that are late, that did not answer calls, that reported a change which was not
    read yet, or whose token is past half of its lifetime.

    A node is late 1.5 probe intervals after its last heartbeat, which is before it counts as
    Unavailable. Reading a node counts as a heartbeat. One run reads at most POLL_AT_MOST nodes
    within POLL_SECONDS, those polled longest ago first. Workers that run this at the same time
    choose different nodes.

    A late node that answers gets its settings with a new token, because its probes may have been
    refused because of wrong settings.
    """
    read_at = clock.now()
    chosen = _choose(read_at)
    renew_before, late_before = token_renewal_due_before(), read_at + _rest()
    renewals = {
        backend.pk: node_settings_with_token(backend)
        for backend in chosen
        if backend.token_expires_at < renew_before or backend.available_until < late_before
    }
    calls = {
        backend.pk: partial(
            _visit, node_client(backend), backend.pk, renewals.get(backend.pk, (None,))[0]
        )
        for backend in chosen
    }
    outcomes = call_all(calls, timeout_seconds=POLL_SECONDS)
    for persistent_id, outcome in outcomes.items():
        try:
            call_outcomes_record([(persistent_id, outcome)])
            _store(persistent_id, outcome, read_at, renewals)
        except DatabaseError:
            # the rows of this node are locked, or it reports what cannot be stored
            log.exception("the state of a node cannot be stored", extra={"backend": persistent_id})


def _store(
    persistent_id: str,
    outcome: Outcome,
    read_at: dt.datetime,
    renewals: Mapping[str, tuple[ProvisionerSettings, dt.datetime]],
) -> None:
    if isinstance(outcome, NodeRefused | NodeUnreachable):
        about = {"backend": persistent_id, "reason": str(outcome)}
        log.info("the node did not answer", extra=about)
        call_failure_record(persistent_id, outcome)
        return
    node, has_settings = outcome
    reading_store(persistent_id=persistent_id, node=node, read_at=read_at)
    if has_settings:
        expires_at = renewals[persistent_id][1]
        Backend.objects.filter(pk=persistent_id).update(token_expires_at=expires_at)


def _rest() -> dt.timedelta:
    """A node is late if it would count as Unavailable in less than this time."""
    intervals = LATE_FACTOR - LATE_AFTER_INTERVALS
    return dt.timedelta(seconds=intervals * settings.ENVIRONMENT.probe_interval_seconds)


def _choose(now: dt.datetime) -> list[Backend]:
    """Choose the nodes to read, and claim them with ``polled_at``. Times in the future count for
    nothing.
    """
    due = (
        Q(available_until__lt=now + _rest())
        | Q(refresh_wanted_at__gt=F("refreshed_at"))
        | avoided_long_enough()
        | Q(token_expires_at__lt=token_renewal_due_before())
        | clock.is_impossible("refreshed_at")
    )
    pause = dt.timedelta(seconds=settings.ENVIRONMENT.poll_interval_seconds / 2)
    rested = Q(polled_at__lt=now - pause) | clock.is_impossible("polled_at")
    with transaction.atomic(durable=True):
        rows = Backend.objects.select_for_update(skip_locked=True).filter(due, rested)
        rows = rows.prefetch_related("addresses").order_by("polled_at", "pk")
        chosen = list(rows[:POLL_AT_MOST])
        Backend.objects.filter(pk__in=[backend.pk for backend in chosen]).update(polled_at=now)
    return chosen


def _visit(
    client: NodeClient, persistent_id: str, renewal: ProvisionerSettings | None
) -> tuple[Node, bool]:
    """Read the node. If it is the expected one, renew its settings. Returns the node, and whether
    it accepted the settings.

    :raises NodeRefused, NodeUnreachable: it could not be read.
    """
    node = client.read_node(timeout=READ_SECONDS)
    if renewal is None or node.persistent_id != persistent_id:
        return node, False
    try:
        client.put_provisioner(renewal, timeout=READ_SECONDS)
    except (NodeRefused, NodeUnreachable) as error:
        log.warning(
            "settings cannot be sent to a node",
            extra={"backend": persistent_id, "reason": str(error)},
        )
        return node, False
    return node, True
