"""Limits the number of attempted passwords, and the number of passwords that are hashed at once.

A slow hash makes guessing slow, but then each guess takes CPU time and a thread from other callers.
So each attempt is counted before the password is hashed, and only a few threads hash at a time.
Further logins wait for their turn, so that many callers with correct passwords can log in at once.
The counts are in Redis, where all processes see them. While Redis cannot be reached, each process
keeps its own counts.
"""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import redis
from django.conf import settings

from events.kinds import Kind
from events.recording import Tally
from provisioner.common.lanes import Bounds, Lane, LaneFull, three_quarters

log = logging.getLogger(__name__)

PREFIX = "provisioner:login:"
WIDE_LIMIT_FACTOR = 10
"""Factor of the limits for one name from all sources, and for all names from one source."""
REDIS_SECONDS = 0.3
REST_SECONDS = 5.0
MAX_KEYS = 10_000
HASHED_AT_ONCE = 2
HASHED_AT_ONCE_OF_ADDRESS = 1
"""The number of passwords from one address that a process hashes at once. So a process checks one
password at a time for each pair of name and address.
"""
TURN_SECONDS = 10.0
"""Longest wait for a turn to hash; a hash takes 0.4 s."""

REFUSED = Tally(Kind.LOGINS_REFUSED)
"""Names are not recorded: users may type a password there by mistake."""

T = TypeVar("T")
Counts = dict[str, tuple[int, float]]
"""For each key, the number of attempts in the window, and the seconds until the window ends."""

_places, _turns = Lane(), Lane()


class TooManyLogins(Exception):
    """Too many passwords were tried. ``seconds``: when to try again. The text may be shown."""

    def __init__(self, text: str, *, seconds: float) -> None:
        super().__init__(text)
        self.seconds = max(1, math.ceil(seconds))


@contextmanager
def login_turn(source: str) -> Iterator[None]:
    """Wait for a turn to hash a password.

    All logins together take at most half of the threads, and those from one address at most three
    quarters of that half. Other addresses get the next turn first.

    :raises TooManyLogins: no turn became free in time.
    """
    places: int = settings.ENVIRONMENT.api_places // 2
    try:
        with (
            _places.turn(source, Bounds(places, three_quarters(places))),
            _turns.turn(source, Bounds(HASHED_AT_ONCE, HASHED_AT_ONCE_OF_ADDRESS, TURN_SECONDS)),
        ):
            yield
    except LaneFull:
        raise TooManyLogins("too many logins at once: try again", seconds=1) from None


def login_checked(name: str, source: str, check: Callable[[], T | None]) -> T | None:
    """Return the result of ``check``, which hashes a password. None: the password is wrong.

    Call this within :func:`login_turn`. An attempt counts as a failure until ``check`` succeeds.

    :raises TooManyLogins: this name or source failed too often; the password was not hashed.
    """
    keys = _limits(name, source)
    counts = _counted(keys)
    waits = [left for key, (count, left) in counts.items() if count > keys[key]]
    if waits:
        log.warning("login refused", extra={"client": source})
        raise TooManyLogins("too many failed logins: try again later", seconds=max(waits))
    found = check()
    if found is not None:
        _uncount(keys)
    return found


def _limits(name: str, source: str) -> dict[str, int]:
    """Return the allowed number of attempts in a window, by key. The keys contain hashes of names,
    because users may type a password as the name by mistake.
    """
    attempts = settings.ENVIRONMENT.login_attempts
    who = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return {
        f"{PREFIX}{who}:{source}": attempts,
        f"{PREFIX}{who}": attempts * WIDE_LIMIT_FACTOR,
        f"{PREFIX}:{source}": attempts * WIDE_LIMIT_FACTOR,
    }


def _counted(keys: dict[str, int]) -> Counts:
    window: int = settings.ENVIRONMENT.login_window_seconds
    shared = _shared()
    if shared is not None:
        counts = shared.count(list(keys), window)
        if counts is not None:
            return counts
    return _own.count(list(keys), window)


def _uncount(keys: dict[str, int]) -> None:
    """Uncount the successful attempt at every key, and all earlier attempts with this name and
    source.
    """
    pair, *others = keys
    shared = _shared()
    if shared is not None:
        shared.forget(pair, others)
    _own.forget(pair, others)


class _Own:
    """Counts in the memory of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counts = {}

    def count(self, keys: list[str], window: int) -> Counts:
        now = time.monotonic()
        with self._lock:
            if len(self._counts) > MAX_KEYS:
                self._counts = {k: (n, end) for k, (n, end) in self._counts.items() if end > now}
            if len(self._counts) > MAX_KEYS:
                self._counts.clear()
            for key in keys:
                count, end = self._counts.get(key, (0, 0.0))
                self._counts[key] = (count + 1, end) if end > now else (1, now + window)
            return {key: (self._counts[key][0], self._counts[key][1] - now) for key in keys}

    def forget(self, pair: str, others: list[str]) -> None:
        with self._lock:
            self._counts.pop(pair, None)
            for key in others:
                if key in self._counts:
                    count, end = self._counts[key]
                    self._counts[key] = (max(count - 1, 0), end)


class _Shared:
    """Counts in Redis. After a failure, Redis is not used for REST_SECONDS."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
        )
        self._rests_until = 0.0

    def count(self, keys: list[str], window: int) -> Counts | None:
        """Return the counts after this attempt. None: Redis cannot be reached."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            with self._redis.pipeline() as pipe:
                for key in keys:
                    pipe.set(key, 0, ex=window, nx=True)
                    pipe.incr(key)
                    pipe.ttl(key)
                said = pipe.execute()
        except redis.RedisError as error:
            self._rest(error)
            return None
        return {key: (said[3 * n + 1], float(said[3 * n + 2])) for n, key in enumerate(keys)}

    def forget(self, pair: str, others: list[str]) -> None:
        if time.monotonic() < self._rests_until:
            return
        try:
            with self._redis.pipeline() as pipe:
                pipe.delete(pair)
                for key in others:
                    # if the window has ended, the next one starts at -1 and allows one more attempt
                    pipe.decr(key)
                    pipe.expire(key, 60, nx=True)
                pipe.execute()
        except redis.RedisError as error:
            self._rest(error)

    def _rest(self, error: redis.RedisError) -> None:
        self._rests_until = time.monotonic() + REST_SECONDS
        log.warning(
            "Redis cannot be reached: each process counts failed logins separately",
            extra={"reason": str(error)},
        )


_own = _Own()


def _shared() -> _Shared | None:
    url = settings.ENVIRONMENT.broker_url.get_secret_value()
    return _of(url) if url.startswith("redis") else None


@lru_cache(maxsize=2)
def _of(url: str) -> _Shared:
    return _Shared(url)
