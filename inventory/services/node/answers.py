"""Records which nodes do not answer calls. Placement avoids such a node until it has been read
again.
"""

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


def call_outcomes_record(outcomes: Iterable[tuple[str, object]]) -> None:
    """Record the outcomes of calls, by node id.

    A node that did not answer is avoided until it has been read, unless a limit of this process
    ended the call.
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
        log.warning("node does not answer", extra={"backend": node, "reason": str(silent[node])})
        call_failure_record(node, silent[node])
    rows.update(unanswered_since=clock.now())


def call_failure_record(node: str, error: object) -> None:
    """Store the reason why a call to the node failed, for the health of the node. Reading the node
    clears it. Calls that this process ended itself do not count.
    """
    if isinstance(error, NodeUnreachable) and not error.is_fault:
        return
    Backend.objects.filter(pk=node).update(call_error=str(error)[:MOST_ERROR])


def avoided_long_enough() -> Q:
    """A condition for backends that have been avoided for half a probe interval, so that they may
    be read again.
    """
    pause = dt.timedelta(seconds=settings.ENVIRONMENT.probe_interval_seconds / 2)
    return Q(unanswered_since__lt=clock.now() - pause)
