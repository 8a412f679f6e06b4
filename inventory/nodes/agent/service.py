"""An agent that serves HTTPS and probes, over an engine that may go and come again."""

import asyncio
import logging
import ssl
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
    """An engine whose data plane lives and dies by itself."""

    async def lost(self) -> None:
        """Returns when the engine must be started again."""

    def close(self) -> None:
        """Let go of the data plane, which goes on as it is."""


class AgentService:
    """The agent listens at once, and refuses all calls (UNAVAILABLE) while its engine is not up.

    When the engine must be started again, calls in flight end where they are, unanswered, so that
    nothing begun with one life of it goes on in the next, and the agent starts again. For one event
    loop.
    """

    def __init__(
        self, agent: Agent, engine: RestartableEngine, app: ASGIApp, tls: ssl.SSLContext
    ) -> None:
        """:raises OSError: the agent's port is taken, or the address not of this machine."""
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
        """Serve from now on; start the agent as soon as its engine is there."""
        await self.listener.open()
        self._tasks = [
            asyncio.create_task(self._keep_up()),
            asyncio.create_task(self._prober.run()),
        ]

    async def close(self, *, finish_seconds: float = FINISH_SECONDS) -> None:
        """Refuse new calls, let those in flight finish for a while, and give the port up."""
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
                log.debug("the trace", exc_info=True)
                pause = RETRY_SECONDS
            self.agent.stop()
            await self._calls.end()
            await asyncio.sleep(pause)

    async def _live(self) -> None:
        """Until the engine must be started again; what could not be restored, as when an address
        was not there yet, is tried again and again.
        """
        mending = asyncio.create_task(self._repair())
        try:
            await self._engine.lost()
        finally:
            mending.cancel()
            await asyncio.gather(mending, return_exceptions=True)

    async def _repair(self) -> None:
        while not await self.agent.repair():
            await asyncio.sleep(REPAIR_SECONDS)
