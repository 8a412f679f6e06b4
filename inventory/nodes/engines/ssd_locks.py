"""Locks of SSDs, held while their space is counted and claimed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from inventory.nodes.wire import Piece


class SsdLocks:
    """One lock per SSD. They are acquired in the order of the SSD ids to avoid deadlocks. Use it in
    one event loop only.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def hold(self, pieces: Iterable[Piece]) -> AsyncIterator[None]:
        """Hold the locks of the SSDs of these pieces, so that no other task counts or claims their
        space.
        """
        async with AsyncExitStack() as stack:
            for ssd_id in sorted({piece.ssd_id for piece in pieces}):
                lock = self._locks.setdefault(ssd_id, asyncio.Lock())
                await stack.enter_async_context(lock)
            yield
