"""Turns: how much of something a process does at once, and who is next."""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from provisioner.common.database import release_connection


@dataclass(frozen=True)
class Bounds:
    """``most`` turns are taken at once, ``most_of_one`` of them by one key; who finds none free
    waits at most ``seconds``, 0: not at all.
    """

    most: int
    most_of_one: int
    seconds: float = 0.0


def three_quarters(number: int) -> int:
    """Of a number above 0; rounded down, but 1 at least."""
    return max(1, number * 3 // 4)


class LaneFull(Exception):
    """No turn came free in time."""


@dataclass(frozen=True, eq=False)
class _Waiter:
    key: Hashable
    bounds: Bounds
    is_called: threading.Event = field(default_factory=threading.Event)


class Lane:
    """Turns by key. A free one goes to the key that has the fewest, so that who asks for much does
    not stand before who asks for little; among those, to whoever came first. Who waits keeps no
    connection to the database.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()
        self._waiting: list[_Waiter] = []

    @contextmanager
    def turn(self, key: Hashable, bounds: Bounds) -> Iterator[None]:
        """:raises LaneFull: all turns stay taken."""
        self._take(key, bounds)
        try:
            yield
        finally:
            with self._lock:
                self._taken[key] -= 1
                if not self._taken[key]:
                    del self._taken[key]
                self._call_next()

    @property
    def is_idle(self) -> bool:
        return not self._taken and not self._waiting

    def taken(self) -> int:
        """How many turns are taken now."""
        with self._lock:
            return self._taken.total()

    def _take(self, key: Hashable, bounds: Bounds) -> None:
        with self._lock:
            if self._is_free(key, bounds):
                self._taken[key] += 1
                return
            if not bounds.seconds:
                raise LaneFull
            waiter = _Waiter(key, bounds)
            self._waiting.append(waiter)
        release_connection()
        if waiter.is_called.wait(bounds.seconds):
            return
        with self._lock:
            if not waiter.is_called.is_set():  # it may have been called just now
                self._waiting.remove(waiter)
                raise LaneFull

    def _is_free(self, key: Hashable, bounds: Bounds) -> bool:
        return self._taken.total() < bounds.most and self._taken[key] < bounds.most_of_one

    def _call_next(self) -> None:
        able = [w for w in self._waiting if self._is_free(w.key, w.bounds)]
        if able:
            chosen = min(able, key=lambda waiter: self._taken[waiter.key])
            self._waiting.remove(chosen)
            self._taken[chosen.key] += 1
            chosen.is_called.set()
