"""The storage nodes that are Available. They are read once for all hosts of a process."""

import asyncio

from inventory.simulated_hosts.connection import Connection, Endpoint


class Nodes:
    """The Available nodes. ``fresh_seconds``: how long a result is used. Use it in one event loop
    only.
    """

    def __init__(self, endpoint: Endpoint, fresh_seconds: float) -> None:
        self._api = Connection(endpoint)
        self._fresh_seconds = fresh_seconds
        self._lock = asyncio.Lock()
        self._living: frozenset[str] = frozenset()
        self._read_at = -fresh_seconds

    async def living(self) -> frozenset[str]:
        """Return the persistent ids of the Available nodes.

        :raises NoAnswer: the API does not answer.
        """
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() - self._read_at >= self._fresh_seconds:
                rows = await self._api.read("/backends")
                self._living = frozenset(
                    row["persistentID"] for row in rows if row["state"] == "Available"
                )
                self._read_at = loop.time()
        return self._living

    def close(self) -> None:
        self._api.close()
