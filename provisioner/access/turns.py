"""How many requests of one caller a process works on at once: nobody takes all of its threads."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from django.conf import settings
from rest_framework.exceptions import APIException

from provisioner.access.callers import Caller

_lock = threading.Lock()
_running: Counter[Caller] = Counter()


class TooManyAtOnce(APIException):
    """HTTP 429: the caller has as many requests under way as it may."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    retry_after = 1


@contextmanager
def turn_of(caller: Caller) -> Iterator[None]:
    """One of the caller's CALLER_REQUESTS, taken at once or not at all.

    :raises TooManyAtOnce: all are taken.
    """
    most: int = settings.ENVIRONMENT.caller_requests
    with _lock:
        if _running[caller] >= most:
            raise TooManyAtOnce(f"{most} requests of this caller are under way: try again")
        _running[caller] += 1
    try:
        yield
    finally:
        with _lock:
            _running[caller] -= 1
            if not _running[caller]:
                del _running[caller]
