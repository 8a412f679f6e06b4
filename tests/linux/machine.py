"""An agent with its engine on a fake machine. A test can kill the agent at any call."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import NOTICE_SECONDS
from inventory.nodes.engines.linux.config import LinuxConfig, SsdConfig
from inventory.nodes.engines.linux.engine import LinuxEngine
from inventory.nodes.errors import NodeRefused
from inventory.nodes.portal_transports import RDMA, TRTYPES
from inventory.nodes.wire import Piece, Portal, RefusalCode
from tests.linux.drives import Drive
from tests.linux.kernel import FakeKernel
from tests.linux.network import Network, Session
from tests.nodes.specs import HOST, MIB, TARGET, namespace, piece, volume

SSD_BYTES = 1024 * MIB
WATCH = 0.01
_ports = itertools.count(4420)
_generations = itertools.count(1)


class Died(BaseException):
    """The agent died. No code may catch this."""


class Machine:
    """A machine with the SSDs ``s`` and ``t``. ``kernel``: the machine without the agent."""

    def __init__(self, folder: Path, network: Network | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.network = network or Network()
        names = [f"{folder.name}-{one}" for one in "st"]
        self.drives = [Drive(f"/dev/{name}", SSD_BYTES) for name in names]
        self.kernel = FakeKernel(self.drives, self.network)
        self.portal = Portal(ip="127.0.0.1", port=next(_ports))
        ssds = zip(("s", "t"), self.drives, strict=True)
        self.config = LinuxConfig(
            node=folder.name,
            ssds=tuple(SsdConfig(name, name, drive.path) for name, drive in ssds),
            portals=(self.portal,),
            total_bw=1,
            total_iops=1,
            state_folder=folder,
        )
        self._is_running = False

    def add_rdma(self, *, is_there: bool = True) -> Portal:
        """Give the machine an RDMA device, and its next process a portal there.

        ``is_there``: otherwise the address is that of a card without RDMA.
        """
        portal = self.portal.model_copy(update={"ip": "192.0.2.1", "transport": RDMA})
        self.kernel.addresses.add(portal.ip)
        if is_there:
            self.kernel.rdma_addresses.add(portal.ip)
        self.config = replace(self.config, portals=(self.portal, portal))
        return portal

    def format(self, *names: str) -> None:
        """Allow the next process of the agent to overwrite these SSDs."""
        ssds = tuple(replace(one, format=one.id in names) for one in self.config.ssds)
        self.config = replace(self.config, ssds=ssds)

    async def boot(self, *, dies_at: int = 0) -> Agent:
        """Start a new process of the agent. ``dies_at``: the call before which it dies."""
        self.kill()
        self.kernel.on_call = lambda words: None
        if dies_at:
            self.die_at(dies_at)
        self.engine = LinuxEngine(self.kernel, self.config, watch_seconds=WATCH)
        self.database = Database(self.folder / "node.sqlite3", durable=False)
        self._is_running = True
        self.agent = Agent(Identity("n", "n", (), 1), self.engine, self.database)
        await self.agent.start()
        await self.agent.repair()
        await self.agent.finish_removals()
        return self.agent

    async def reboot(self) -> Agent:
        """Restart the machine, and the agent with it."""
        self.kernel.reboot()
        return await self.boot()

    def kill(self) -> None:
        if self._is_running:
            self.agent.stop()
            self.engine.close()
            self.database.close()
        self._is_running = False

    def die_at(self, call: int) -> None:
        """Let the agent die before this call, counted from now on, and do nothing more."""
        left = itertools.count(call, -1)

        def on_call(words: tuple[str, ...]) -> None:
            if next(left) <= 1:
                raise Died

        self.kernel.on_call = on_call

    @property
    def usable(self) -> list[str]:
        return [ssd.id for ssd in self.config.ssds if ssd.id not in self.engine.absent_ssds]

    async def free(self, ssd_id: str = "s") -> int:
        facts = await self.engine.facts()
        return next(ssd.free for ssd in facts.ssds if ssd.ssd_id == ssd_id)

    async def drift(self) -> list[str]:
        return [f"{one.kind} {one.name}" for one in (await self.agent.drift()).strays]

    def connect(self, nqn: str, host: str = HOST, *, portal: Portal | None = None) -> Session:
        """Connect as a host, by default over TCP.

        :raises OSError: the host is not allowed to connect.
        """
        at = portal or self.portal
        return self.network.connect((TRTYPES[at.transport], at.ip, at.port), nqn, host)

    @asynccontextmanager
    async def disk(self, uuid: str) -> AsyncIterator[Any]:
        """A context with the device of a volume, as its host sees it."""
        nqn, generation = f"nqn.2022-08.com.kioxia:of-{uuid}", next(_generations)
        await self.agent.targets.ensure(nqn, uuid, namespace(generation=generation))
        yield self.connect(nqn).device(1)
        await self.agent.targets.remove(nqn, uuid, generation)


Steps = Callable[[Machine], Coroutine[Any, Any, None]]


def on_machine(folder: Path, steps: Steps) -> None:
    """Run the steps on a machine whose agent is up."""

    async def main() -> None:
        machine = Machine(folder / "m")
        await machine.boot()
        await steps(machine)
        machine.kill()

    asyncio.run(main())


def two(first: int, second: int) -> Sequence[Piece]:
    """Return pieces of these sizes in MiB on both SSDs."""
    return piece("s", first * MIB), piece("t", second * MIB)


async def refused(code: RefusalCode, call: Awaitable[object], *parts: str) -> None:
    """Check that the call is refused with this code and a message that contains the parts."""
    with pytest.raises(NodeRefused) as caught:
        await call
    assert caught.value.code is code, caught.value
    assert all(part in caught.value.message for part in parts), caught.value


async def await_notice() -> None:
    """Wait until empty targets are removed."""
    await asyncio.sleep(NOTICE_SECONDS * 1.5)


async def export(machine: Machine, uuid: str = "v", nsid: int = 1) -> None:
    """Create a volume on the SSD ``s``, and export it in TARGET."""
    await machine.agent.volumes.ensure(uuid, volume(piece("s", 64 * MIB)))
    await machine.agent.targets.ensure(TARGET, uuid, namespace(nsid))
