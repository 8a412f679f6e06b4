"""How long the node calls of one request may take together."""

import time

from django.conf import settings

LEAST_SECONDS = 0.1


def call_deadline() -> float:
    """Return the time, on the monotonic clock, by which the node calls of a request that begins now
    must end.
    """
    return time.monotonic() + settings.ENVIRONMENT.node_call_seconds


def seconds_left(until: float) -> float:
    """Return the seconds until ``until``, at least LEAST_SECONDS."""
    return max(until - time.monotonic(), LEAST_SECONDS)
