"""The health of storage nodes (docs/explanation/health.md). Only this module determines it."""

import datetime as dt
from collections.abc import Iterator

from django.db.models import Case, Q, TextChoices, Value, When

from inventory.models import Backend
from provisioner.common import clock
from provisioner.common.times import iso_milliseconds

COMPATIBLE_MAJOR_VERSION = "3"
CERTIFICATE_NOTICE = dt.timedelta(days=14)
"""A certificate that ends within this time is a reason to act."""

CLOCK_SECONDS = 10.0
"""A clock that differs by more is a reason to act. A probe may be on its way for some seconds."""


class NodeHealth(TextChoices):
    """The health of a node, the worst first."""

    UNAVAILABLE = "Unavailable"
    DRAINING = "Draining"
    CORDONED = "Cordoned"
    AVAILABLE = "Available"


def node_health(now: dt.datetime | None = None) -> Case:
    """Return the ``NodeHealth`` of a row of :class:`Backend`, as an annotation."""
    return Case(
        When(available_until__lt=now or clock.now(), then=Value(NodeHealth.UNAVAILABLE)),
        When(drain__isnull=False, then=Value(NodeHealth.DRAINING)),
        When(Q(in_use=False), then=Value(NodeHealth.CORDONED)),
        default=Value(NodeHealth.AVAILABLE),
    )


def is_compatible(version: str) -> bool:
    """Whether the pool works with nodes of this software version."""
    return version.partition(".")[0] == COMPATIBLE_MAJOR_VERSION


def node_health_reason(
    backend: Backend, health: NodeHealth, drained_since: dt.datetime | None
) -> str:
    """Return what an operator must know about the node, as sentences separated by ``; ``. Empty:
    nothing.

    ``drained_since``: when its drain started; None: it is not being drained.
    """
    reasons = [backend.health_reason] if backend.health_reason else []
    if backend.call_error:
        reasons.append(f"the last call to the node failed: {backend.call_error}")
    if health is NodeHealth.UNAVAILABLE and not reasons:
        reasons.append(f"the node has sent no heartbeat since {_text(backend.refreshed_at)}")
    reasons += _times(backend)
    if not is_compatible(backend.version):
        reasons.append(
            f"its version {backend.version} is not compatible: "
            f"version {COMPATIBLE_MAJOR_VERSION} is needed"
        )
    if drained_since is not None:
        reasons.append(f"it has been drained since {_text(drained_since)}")
    elif not backend.in_use:
        reasons.append("it is cordoned: nothing new is placed on it")
    return "; ".join(reasons)


def _times(backend: Backend) -> Iterator[str]:
    """Yield what is wrong with the certificate, the clock and the token of the node."""
    ends_at = backend.certificate_ends_at
    if ends_at and ends_at < clock.now() + CERTIFICATE_NOTICE:
        yield f"its certificate ends at {_text(ends_at)}: renew it"
    ahead = backend.clock_ahead_seconds
    if abs(ahead) > CLOCK_SECONDS:
        which = "ahead of" if ahead > 0 else "behind"
        yield f"its clock is {abs(ahead):.0f} s {which} the database's: set it"
    if backend.token_expires_at < clock.now():
        yield f"the token of its probes expired at {_text(backend.token_expires_at)}"


def _text(at: dt.datetime) -> str:
    return f"{iso_milliseconds(at)}Z"
