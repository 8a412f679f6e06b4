"""Records which nodes do not answer calls. Placement avoids such a node until it is read again."""

import datetime as dt
import logging
from collections.abc import Iterable

from django.conf import settings
from django.db.models import Q

from inventory.models import Backend
from inventory.nodes.client import NodeUnreachable
from provisioner.common import clock

log = logging.getLogger(__name__)

MOST_ERROR = 255


def answers_note(outcomes: Iterable[tuple[str, object]]) -> None:
    """Record the outcomes of calls, by node id.

    A node that did not answer is avoided until it is read, unless a limit of this process ended the
    call.
    """
    silent = {
        node: outcome
        for node, outcome in outcomes
        if isinstance(outcome, NodeUnreachable) and outcome.is_fault
    }
    if not silent:
        return
    rows = Backend.objects.filter(pk__in=silent, unanswered_since=None)
    for node in rows.values_list("pk", flat=True):
        log.warning(
            "the node does not answer", extra={"backend": node, "reason": str(silent[node])}
        )
        call_failed(node, silent[node])
    rows.update(unanswered_since=clock.now())


def call_failed(node: str, error: object) -> None:
    """Store why a call to the node failed, for its health. Reading the node clears it. Calls that
    this process ended itself do not count.
    """
    if isinstance(error, NodeUnreachable) and not error.is_fault:
        return
    Backend.objects.filter(pk=node).update(call_error=str(error)[:MOST_ERROR])


def silence_over() -> Q:
    """Backends that have been avoided for half a probe interval, so they may be read again."""
    pause = dt.timedelta(seconds=settings.ENVIRONMENT.probe_interval_seconds / 2)
    return Q(unanswered_since__lt=clock.now() - pause)
