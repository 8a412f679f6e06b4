"""Locks of SSDs, held while their space is counted and claimed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from inventory.nodes.wire import Piece


class SsdLocks:
    """One lock per SSD, taken in the order of their ids, so that no two tasks wait for each other.
    For one event loop.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def hold(self, pieces: Iterable[Piece]) -> AsyncIterator[None]:
        """Hold the locks of the pieces' SSDs, so that nobody else counts or claims their space
        meanwhile.
        """
        async with AsyncExitStack() as stack:
            for ssd_id in sorted({piece.ssd_id for piece in pieces}):
                lock = self._locks.setdefault(ssd_id, asyncio.Lock())
                await stack.enter_async_context(lock)
            yield
