"""How much of a process each caller takes: nobody takes all of it.

A request has a place, which is a thread, and works once it has a turn. There are more places than
turns, so that a caller with many requests waits for its own, and all others find both.
"""

from collections.abc import Callable, Hashable
from functools import partial
from http import HTTPStatus

from django.conf import settings
from rest_framework.exceptions import APIException

from provisioner.common.lanes import Bounds, Lane, LaneFull, three_quarters

TURN_SECONDS = 10.0
"""Longest wait for a turn. With the longest call to nodes after it, a request ends in 30 s."""
LIST_SECONDS = 20.0
"""Longest wait of a long list: it calls no node."""
LISTS_AT_ONCE = 2
"""Long lists that are written at once: each takes time of all who work here, and a connection."""

_places, _turns, _lists = Lane(), Lane(), Lane()


class TooManyAtOnce(APIException):
    """HTTP 429: the caller has as many requests under way as it may."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    retry_after = 1


class RequestTurn:
    """What a request of this caller holds until it is answered.

    :raises TooManyAtOnce: three quarters of all places are the caller's, or none of its turns came
        free in time.
    """

    def __init__(self, caller: Hashable) -> None:
        self._caller = caller
        self._held: list[Lane] = []
        places: int = settings.ENVIRONMENT.api_places
        try:
            self._take(_places, Bounds(places, three_quarters(places)))
            self._take(_turns, turn_bounds())
        except TooManyAtOnce:
            self.close()
            raise

    def close(self) -> None:
        while self._held:
            self._held.pop().give_back(self._caller)

    def for_a_list(self) -> Callable[[], None]:
        """Write a long list: wait for one's turn to do so, while others work. Returns what ends
        that turn; the place is kept.

        :raises TooManyAtOnce: other lists took too long.
        """
        self._give_back(_turns)
        self._take(_lists, Bounds(LISTS_AT_ONCE, 1, LIST_SECONDS))
        return partial(self._give_back, _lists)

    def _take(self, lane: Lane, bounds: Bounds) -> None:
        try:
            lane.take(self._caller, bounds)
        except LaneFull:
            raise TooManyAtOnce(
                "too many requests of this caller are under way: try again"
            ) from None
        self._held.append(lane)

    def _give_back(self, lane: Lane) -> None:
        self._held.remove(lane)
        lane.give_back(self._caller)


def turn_bounds() -> Bounds:
    """Of requests that work at once."""
    environment = settings.ENVIRONMENT
    threads: int = environment.api_threads
    of_one: int = environment.caller_requests or three_quarters(threads)
    return Bounds(threads, of_one, TURN_SECONDS)


def others_work() -> bool:
    """Whether requests other than long lists have a turn now."""
    return bool(_turns.taken)


def all_idle() -> bool:
    """Whether no request has a place or a turn."""
    return _places.is_idle and _turns.is_idle and _lists.is_idle
