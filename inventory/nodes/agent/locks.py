"""Locks by name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Locks:
    """One lock for each name. A lock exists only while a task holds it or waits for it. Use it in
    one event loop only.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    def is_held(self, name: str) -> bool:
        """Whether a task holds the lock or waits for it."""
        return name in self._locks

    @asynccontextmanager
    async def hold(self, *names: str) -> AsyncIterator[None]:
        """Hold the locks of all names. They are acquired in sorted order to avoid deadlocks."""
        if not names:
            yield
            return
        first, *rest = sorted(names)
        async with self._hold_one(first), self.hold(*rest):
            yield

    @asynccontextmanager
    async def _hold_one(self, name: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._users[name] = self._users.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._locks[name]
