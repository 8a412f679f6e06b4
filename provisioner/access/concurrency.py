"""Limits for each caller, so that no caller occupies a whole process.

A request occupies a place, which is a thread, until it is answered. It runs only while it has a
turn. There are more places than turns. If a caller has many requests, they wait for the turns of
this caller, while other callers still find free places and turns.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from django.conf import settings
from rest_framework.exceptions import APIException

from provisioner.access.principals import Caller
from provisioner.common.lanes import Bounds, Lane, LaneFull, three_quarters

TURN_SECONDS = 10.0
"""Longest wait for a turn. Together with the longest node calls, a request ends within 30 s."""
LIST_SECONDS = 20.0
"""Longest wait of a long list. It may be longer, because a list calls no node."""
LISTS_AT_ONCE = 2
"""Number of long lists that are written at once. Each takes CPU time from other requests, and a
connection.
"""


_places, _turns, _lists, _followers = Lane(), Lane(), Lane(), Lane()


class TooManyAtOnce(APIException):
    """HTTP 429: the caller has too many concurrent requests."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    retry_after = 1


class RequestTurn:
    """The place and the turn of one request. They are held until the request is answered.

    :raises TooManyAtOnce: the caller has three quarters of all places, or no turn became free in
        time.
    """

    def __init__(self, caller: Caller) -> None:
        self._key = caller.lane_key
        self._held: list[Lane] = []
        try:
            self._take(_places, place_bounds())
            self._take(_turns, turn_bounds())
        except TooManyAtOnce:
            self.close()
            raise

    def close(self) -> None:
        while self._held:
            self._held.pop().give_back(self._key)

    def exchange_for_list(self) -> Callable[[], None]:
        """Exchange the turn for a turn to write a long list. This may wait. The place is kept.

        Returns a function that ends the turn.

        :raises TooManyAtOnce: other lists took too long.
        """
        self._give_back(_turns)
        self._take(_lists, Bounds(LISTS_AT_ONCE, 1, LIST_SECONDS))
        return partial(self._give_back, _lists)

    def exchange_for_follower(self) -> None:
        """Exchange the turn for the turn of a follower of events, which lasts for minutes and
        mostly waits.

        The place is kept. Followers may have a quarter of all places, and one caller half of that.

        :raises TooManyAtOnce: no place for a follower is free.
        """
        places: int = settings.ENVIRONMENT.api_places
        self._give_back(_turns)
        self._take(_followers, Bounds(max(2, places // 4), max(1, places // 8)))

    def _take(self, lane: Lane, bounds: Bounds) -> None:
        try:
            lane.take(self._key, bounds)
        except LaneFull:
            raise TooManyAtOnce(
                "too many requests of this caller are in progress: try again"
            ) from None
        self._held.append(lane)

    def _give_back(self, lane: Lane) -> None:
        self._held.remove(lane)
        lane.give_back(self._key)


def place_bounds() -> Bounds:
    """The number of requests that have a place at once, in total and for one caller."""
    places: int = settings.ENVIRONMENT.api_places
    return Bounds(places, three_quarters(places))


def turn_bounds() -> Bounds:
    """The number of requests that run at once, in total and for one caller."""
    environment = settings.ENVIRONMENT
    threads: int = environment.api_threads
    of_one: int = environment.caller_requests or three_quarters(threads)
    return Bounds(threads, of_one, TURN_SECONDS)


def others_work(*, mine: int = 0) -> bool:
    """Whether requests other than long lists have a turn now. ``mine``: the number of turns of the
    caller, which are not counted.
    """
    return _turns.taken > mine


def all_idle() -> bool:
    """Whether no request has a place or a turn."""
    return all(lane.is_idle for lane in (_places, _turns, _lists, _followers))
