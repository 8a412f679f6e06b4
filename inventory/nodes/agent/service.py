"""Runs an agent. It serves HTTPS, sends probes, and restarts the agent when the engine restarts."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from inventory.nodes.agent.agent import Agent
from inventory.nodes.agent.inflight import Calls
from inventory.nodes.agent.listener import Listener
from inventory.nodes.agent.probe_sender import ProbeSender
from inventory.nodes.agent.prober import Prober

FINISH_SECONDS = 10.0
RETRY_SECONDS = 2.0
REPAIR_SECONDS = 10.0

log = logging.getLogger(__name__)


class RestartableEngine(Protocol):
    """An engine whose data plane is a separate process."""

    async def lost(self) -> None:
        """Return when the engine must be started again."""

    def close(self) -> None:
        """Disconnect from the data plane, which keeps running."""


class AgentService:
    """Serves an agent at once. While its engine is not up, all calls are refused (UNAVAILABLE).

    When the engine must be started again, running calls are aborted without an answer, so that no
    call continues across the restart. Then the agent starts again. Use it in one event loop only.
    """

    def __init__(
        self, agent: Agent, engine: RestartableEngine, app: ASGIApp, tls: ssl.SSLContext
    ) -> None:
        """:raises OSError: the port is in use, or the address is not one of this machine."""
        self.agent = agent
        self._engine = engine
        self._app = app
        identity = agent.identity
        self.listener = Listener(self, tls, identity.addresses[0], identity.port)
        self._calls = Calls(self.listener)
        self._sender = ProbeSender()
        self._prober = Prober(agent, self._sender)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Accept calls from now on, and start the agent as soon as its engine is available."""
        await self.listener.open()
        self._tasks = [
            asyncio.create_task(self._keep_up()),
            asyncio.create_task(self._prober.run()),
        ]

    async def close(self, *, finish_seconds: float = FINISH_SECONDS) -> None:
        """Refuse new calls, let running calls finish for ``finish_seconds``, and release the
        port.
        """
        self.agent.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._calls.finish(finish_seconds)
        await self._calls.end()
        self.listener.release()
        self._engine.close()
        self._sender.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._calls.run(self._serve(scope, receive, send), scope, receive)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["agent"] = self.agent
        await self._app(scope, receive, send)

    async def _keep_up(self) -> None:
        node = self.agent.identity.persistent_id
        while True:
            pause = 0.0
            try:
                await self.agent.start()
                self._prober.wake()
                await self._live()
                log.warning("the engine of node %s must be started again", node)
            except Exception as error:
                log.error("node %s is not up: %s: %s", node, type(error).__name__, error)
                log.debug("traceback of the failed start", exc_info=True)
                pause = RETRY_SECONDS
            self.agent.stop()
            await self._calls.end()
            await asyncio.sleep(pause)

    async def _live(self) -> None:
        """Wait until the engine must be started again. In the meantime, retry what could not be
        restored, for example because an address did not exist yet, and finish removals. Neither
        waits for the other, because a removal may take hours.
        """
        mending = asyncio.gather(self._keep_repaired(), self._finish_removals())
        try:
            await self._engine.lost()
        finally:
            mending.cancel()
            await asyncio.gather(mending, return_exceptions=True)

    async def _keep_repaired(self) -> None:
        while True:
            await self._is_done(self.agent.repair)
            await asyncio.sleep(REPAIR_SECONDS)

    async def _finish_removals(self) -> None:
        while not await self._is_done(self.agent.finish_removals):
            await asyncio.sleep(REPAIR_SECONDS)

    async def _is_done(self, work: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await work()
        except Exception:
            node = self.agent.identity.persistent_id
            log.exception("node %s could not be repaired, and tries again", node)
            return False
