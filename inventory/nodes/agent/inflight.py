"""The running requests, which can be aborted."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from inventory.nodes.agent.listener import Listener


class Calls:
    """The running requests of one listener. Use it in one event loop only."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._running: set[asyncio.Task[None]] = set()

    async def run(
        self, serving: Coroutine[Any, Any, None], scope: "Scope", receive: "Receive"
    ) -> None:
        """Serve one request. If ``end`` is called before it is answered, the connection is
        reset.
        """
        task = asyncio.create_task(serving)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait([task])
        if task.cancelled():
            await self.hang_up(scope, receive)
        else:
            task.result()

    async def hang_up(self, scope: "Scope", receive: "Receive") -> None:
        """Reset the connection of a request. Returns when it is closed."""
        self._listener.reset(cast("tuple[str, int]", scope["client"]))
        while (await receive())["type"] != "http.disconnect":
            pass

    async def finish(self, seconds: float) -> None:
        """Wait until the running requests are answered, for at most ``seconds``."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=seconds)

    async def end(self) -> None:
        """Abort the running requests without an answer."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
