"""The health of storage nodes (docs/explanation/health.md). Only this module determines it."""

import datetime as dt
from collections.abc import Iterator
from functools import cache

from django.db.models import Case, Expression, Q, TextChoices, Value, When

from inventory.models import Backend
from inventory.models.liveness import LATE_FACTOR
from inventory.read_models import BackendRow
from provisioner.common import clock
from provisioner.common.times import iso_milliseconds

COMPATIBLE_MAJOR_VERSION = "3"
CERTIFICATE_NOTICE = dt.timedelta(days=14)
"""A certificate that ends within this time is a reason to act."""

CLOCK_SECONDS = 10.0
"""A clock that differs by more is a reason to act. A probe may be on its way for some seconds."""


NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class NodeHealth(TextChoices):
    """The health of a node, the worst first."""

    UNAVAILABLE = "Unavailable"
    DRAINING = "Draining"
    CORDONED = "Cordoned"
    AVAILABLE = "Available"


def node_health(now: dt.datetime | Expression | None = None) -> Case:
    """The ``NodeHealth`` of a row of :class:`Backend`, as an annotation. ``now`` may be an argument
    of a compiled statement.
    """
    return Case(
        When(available_until__lt=now or clock.now(), then=Value(NodeHealth.UNAVAILABLE)),
        When(drain__isnull=False, then=Value(NodeHealth.DRAINING)),
        When(Q(in_use=False), then=Value(NodeHealth.CORDONED)),
        default=Value(NodeHealth.AVAILABLE),
    )


def is_compatible(version: str) -> bool:
    """Whether the pool works with nodes of this software version."""
    return version.partition(".")[0] == COMPATIBLE_MAJOR_VERSION


def node_pending_reason(node: Backend | BackendRow, now: dt.datetime) -> str:
    """What the node waits for, in a few words for clients and operators. Empty: nothing."""
    if node.unanswered_since:
        return "an answer to calls"
    if node.available_until < now:
        return "its probe"
    wanted_at = node.refresh_wanted_at
    return "to be read" if wanted_at and wanted_at > node.refreshed_at else ""


def node_silence_reason(node: Backend | BackendRow, now: dt.datetime) -> str:
    """Whether probes or calls fail, and since when. Empty: neither."""
    return "; ".join(_silence(node, now))


def node_health_reason(
    node: Backend | BackendRow,
    health: str,
    drained_since: dt.datetime | None,
    now: dt.datetime,
) -> str:
    """Return what an operator must know about the node, as sentences separated by ``; ``. Empty:
    nothing.

    ``drained_since``: when its drain started; None: it is not being drained.
    """
    reasons = list(_silence(node, now))
    if node.call_error:
        reasons.append(f"the last call to the node failed: {node.call_error}")
    if health == NodeHealth.UNAVAILABLE and not reasons:
        reasons.append(f"the node has sent no heartbeat since {_text(node.refreshed_at)}")
    reasons += _times(node, now)
    if not is_compatible(node.version):
        reasons.append(
            f"its version {node.version} is not compatible: "
            f"version {COMPATIBLE_MAJOR_VERSION} is required"
        )
    if drained_since is not None:
        reasons.append(f"it has been draining since {_text(drained_since)}")
    elif not node.in_use:
        reasons.append("it is cordoned: no new replica is placed on it")
    return "; ".join(reasons)


def node_reasons_until(node: Backend | BackendRow, now: dt.datetime) -> dt.datetime:
    """Return until when the texts of this module stay as they are ``now``, if the row of the node
    does not change. Each of them looks at the time only by asking whether a moment has passed.
    """
    probed_at = node.last_probe_at or node.created_at
    moments = [
        node.available_until,
        probed_at + _late_after(node.probe_interval),
        node.token_expires_at,
    ]
    if node.certificate_ends_at:
        moments.append(node.certificate_ends_at - CERTIFICATE_NOTICE)
    return min((moment for moment in moments if moment >= now), default=NEVER)


def _silence(node: Backend | BackendRow, now: dt.datetime) -> Iterator[str]:
    if since := node.unanswered_since:
        yield f"the node has not answered calls since {_text(since)}"
    probed_at = node.last_probe_at or node.created_at
    if probed_at + _late_after(node.probe_interval) < now:
        yield f"no probe of the node has arrived since {_text(probed_at)}"


@cache
def _late_after(probe_interval: int) -> dt.timedelta:
    """Cached, because constructing it for each node of a list took a third of this module's time.
    There are few intervals.
    """
    return dt.timedelta(seconds=LATE_FACTOR * probe_interval)


def _times(node: Backend | BackendRow, now: dt.datetime) -> Iterator[str]:
    """What is wrong with its certificate, its clock and its token."""
    ends_at = node.certificate_ends_at
    if ends_at and ends_at - CERTIFICATE_NOTICE < now:
        yield f"its certificate expires at {_text(ends_at)}: renew it"
    ahead = node.clock_ahead_seconds
    if abs(ahead) > CLOCK_SECONDS:
        which = "ahead of" if ahead > 0 else "behind"
        yield f"its clock is {abs(ahead):.0f} s {which} the database's clock: correct it"
    if node.token_expires_at < now:
        yield f"the token of its probes expired at {_text(node.token_expires_at)}"


def _text(at: dt.datetime) -> str:
    return f"{iso_milliseconds(at)}Z"
