"""A simulated node in its event loop, with agent, engine, listener, prober and faults."""

import asyncio
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.agent.inflight import Calls
from inventory.nodes.agent.listener import Listener
from inventory.nodes.agent.probe_sender import ProbeSender
from inventory.nodes.agent.prober import Prober
from inventory.nodes.agent.records import Records
from inventory.nodes.agent.requests import refusal
from inventory.nodes.engines.base import EngineFacts
from inventory.nodes.engines.simulated.engine import SimulatedEngine
from inventory.nodes.engines.simulated.faults import Fault, FaultCounter, FaultKind, Faults
from inventory.nodes.engines.simulated.generation_checker import GenerationChecker
from inventory.nodes.engines.simulated.network import Network
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode

FINISH_SECONDS = 60.0


@dataclass(frozen=True)
class Surroundings:
    """The parts that the nodes of a process share."""

    app: ASGIApp
    tls: ssl.SSLContext
    database: Database
    sender: ProbeSender
    probe_within_seconds: float
    network: Network
    copy_rate: int


@dataclass(frozen=True)
class NodePlan:
    """The properties of a simulated node. Port 0: any free port."""

    persistent_id: str
    name: str
    address: str
    port: int
    facts: EngineFacts


class NodeService:
    """A simulated node. All methods run in one event loop."""

    def __init__(self, plan: NodePlan, shared: Surroundings) -> None:
        self._app = shared.app
        self._counter = FaultCounter()
        self._faults = Faults()
        self._down: asyncio.Task[None] | None = None
        self.listener = Listener(self, shared.tls, plan.address, plan.port)
        self._calls = Calls(self.listener)
        self.generation_checker = GenerationChecker()
        self._records = Records(shared.database, plan.persistent_id)
        self.engine = SimulatedEngine(
            plan.persistent_id,
            shared.database,
            plan.facts,
            network=shared.network,
            copy_rate=shared.copy_rate,
        )
        identity = Identity(plan.persistent_id, plan.name, (plan.address,), self.listener.port)
        self.agent = Agent(identity, self.engine, shared.database)
        self.agent.generation_checker = self.generation_checker
        self.prober = Prober(
            self.agent, shared.sender, start_within_seconds=shared.probe_within_seconds
        )
        self._probing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Serve, and send probes, from now on."""
        await self._start()
        self._probing = asyncio.create_task(self.prober.run())
        await self.listener.open()

    async def close(self) -> None:
        """Abort running calls and release the port."""
        if self._probing is not None:
            self._probing.cancel()
        if self._down is not None:
            self._down.cancel()
        await self.crash()
        self.listener.release()

    async def finish_calls(self) -> None:
        """Wait until the running calls are done, including those whose callers have
        disconnected.
        """
        await self._calls.finish(FINISH_SECONDS)

    async def crash(self) -> None:
        """Abort running calls without an answer."""
        await self._calls.end()

    async def restart(self) -> None:
        """Restart agent and engine as after a crash: running calls are aborted without
        an answer.
        """
        await self.crash()
        await self._start()
        self.prober.wake()

    async def lose(self, uuid: str) -> None:
        """Lose the volume or snapshot, its namespaces and its record, and restart."""
        await self.crash()
        for nqn in self._records.targets_of(uuid):
            self._records.drop_namespace(nqn, uuid)
        self._records.drop_volume(uuid)
        self._records.drop_snapshot(uuid)
        await self.engine.remove_volume(uuid)
        await self.engine.remove_snapshot(uuid)
        await self.restart()

    async def vanish(self, uuid: str) -> None:
        """Lose the volume or snapshot in the data plane only. The agent still has it on record."""
        self.engine.lose(uuid)

    async def come_back_empty(self, only: Collection[str] | None = None) -> None:
        """Lose all content, as if all SSDs were replaced and the agent reinstalled with only its
        settings.

        :raises NodeRefused: IN_USE: the node has something that is not in ``only``.
        """
        await self.crash()
        there = {*self.engine.volumes(), *self.engine.snapshots()}
        if only is not None and (more := there - set(only)):
            await self.restart()
            raise NodeRefused(RefusalCode.IN_USE, f"{', '.join(sorted(more))} would be lost")
        for uuid in there:
            self.engine.lose(uuid)
        self._records.forget_contents()
        await self.restart()

    async def lose_targets(self) -> None:
        """Lose all targets, and restart."""
        await self.crash()
        for record in self._records.namespaces():
            self._records.drop_namespace(record.nqn, record.uuid)
        await self.restart()

    async def reset(self) -> None:
        """Make the node like a new one, after ``crash`` and after the database was cleared."""
        self.engine.reset()
        self.generation_checker.reset()
        await self.put_faults(Faults())
        self.prober.forget()
        await self._start()
        self.prober.wake()

    @property
    def violations(self) -> list[str]:
        """Violations of the rule of generations, and of the rules of the hosts' kernels."""
        return [*self.generation_checker.violations, *self.engine.faults]

    @property
    def faults(self) -> Faults:
        return self._faults.model_copy(update={"calls": self._counter.faults})

    @property
    def struck(self) -> int:
        """The number of calls that were affected by a fault."""
        return self._counter.struck

    async def put_faults(self, faults: Faults) -> None:
        """Replace all faults by these. Calls are counted from now on."""
        self._counter.put(faults.calls)
        await self.change_faults(faults)

    async def change_faults(self, faults: Faults) -> None:
        """Change everything except the faults of single calls."""
        self._faults = faults
        self.engine.is_full = faults.full
        self.prober.mute(faults.drop_probes)
        self.agent.now = lambda: time.time() + faults.clock_ahead_seconds
        await self._be_down_for(faults.down_seconds)

    def add_fault(self, fault: Fault) -> None:
        """Add a fault. The counts of the other faults continue."""
        self._counter.add(fault)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["agent"], scope["service"] = self.agent, self
        if scope["path"].startswith("/sim/"):
            await self._app(scope, receive, send)
            return
        await self._calls.run(self._serve(scope, receive, send), scope, receive)

    async def _start(self) -> None:
        await self.agent.start()
        await self.agent.repair()
        await self.agent.finish_removals()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        faults = self._counter.striking(scope["method"], scope["path"])
        struck = {fault.kind: fault for fault in faults}
        if FaultKind.SLOW in struck:
            receive = await _received(receive)
            await asyncio.sleep(struck[FaultKind.SLOW].milliseconds / 1000)
        if FaultKind.LOSE_REQUEST in struck:
            await self._calls.hang_up(scope, receive)
        elif FaultKind.REFUSE in struck:
            answer = refusal(struck[FaultKind.REFUSE].code, "a simulated fault")
            await answer(scope, receive, send)
        elif FaultKind.FAIL in struck:
            await Response("a simulated fault", 500)(scope, receive, send)
        elif FaultKind.LOSE_REPLY in struck:
            await self._app(scope, receive, _discard)
            await self._calls.hang_up(scope, receive)
        else:
            await self._app(scope, receive, send)

    async def _be_down_for(self, seconds: float | None) -> None:
        if self._down is not None:
            self._down.cancel()
            self._down = None
        self.engine.cut_off(seconds != 0)
        if seconds == 0:
            await self.listener.open()
            return
        self.listener.close()
        if seconds is not None:
            self._down = asyncio.create_task(self._come_up_after(seconds))

    async def _come_up_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._faults = self._faults.model_copy(update={"down_seconds": 0})
        self.engine.cut_off(False)
        await self.listener.open()


async def _received(receive: Receive) -> Receive:
    """Receive the whole request, so that it is processed even if the client disconnects."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay


async def _discard(message: Message) -> None:
    """Drop the reply."""
