"""Lanes limit how many operations a process runs at once, and decide which operation is next."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from provisioner.common.database import release_connection


class Bounds(NamedTuple):
    """The limits of a lane: at most ``most`` turns are taken at once, and at most ``most_of_one``
    of them by one key. If no turn is free, a caller waits at most ``seconds``; 0: it does not wait.
    """

    most: int
    most_of_one: int
    seconds: float = 0.0


def three_quarters(number: int) -> int:
    """Three quarters of a positive number, rounded down, but at least 1."""
    return max(1, number * 3 // 4)


class LaneFull(Exception):
    """No turn became free in time."""


@dataclass(frozen=True, eq=False)
class _Waiter:
    key: Hashable
    bounds: Bounds
    is_called: threading.Event = field(default_factory=threading.Event)


class Lane:
    """Turns by key.

    A free turn goes to the waiting key that has the fewest turns, so a key with many requests does
    not delay others. Among equal keys, the first one gets it. A waiting thread holds no database
    connection.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[Hashable, int] = {}
        self._total = 0
        self._waiting: list[_Waiter] = []

    @contextmanager
    def turn(self, key: Hashable, bounds: Bounds) -> Iterator[None]:
        """:raises LaneFull: no turn became free in time."""
        self.take(key, bounds)
        try:
            yield
        finally:
            self.give_back(key)

    @property
    def is_idle(self) -> bool:
        return not self._total and not self._waiting

    @property
    def taken(self) -> int:
        """The number of turns that are taken now."""
        return self._total

    def is_free(self, key: Hashable, bounds: Bounds) -> bool:
        """Whether a turn could be taken now without waiting."""
        return self._total < bounds.most and self._taken.get(key, 0) < bounds.most_of_one

    def take(self, key: Hashable, bounds: Bounds) -> None:
        """Take a turn. :meth:`give_back` returns it.

        :raises LaneFull: no turn became free in time.
        """
        with self._lock:
            if self.is_free(key, bounds):
                self._count(key, 1)
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

    def give_back(self, key: Hashable) -> None:
        with self._lock:
            self._count(key, -1)
            if self._waiting:
                self._call_next()

    def _count(self, key: Hashable, more: int) -> None:
        self._total += more
        number = self._taken.get(key, 0) + more
        if number:
            self._taken[key] = number
        else:
            del self._taken[key]

    def _call_next(self) -> None:
        able = [w for w in self._waiting if self.is_free(w.key, w.bounds)]
        if able:
            chosen = min(able, key=lambda waiter: self._taken.get(waiter.key, 0))
            self._waiting.remove(chosen)
            self._count(chosen.key, 1)
            chosen.is_called.set()
