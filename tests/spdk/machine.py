"""An agent with its SPDK engine and a fake target. A test can kill each of them."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.engines.base import EngineFacts
from inventory.nodes.engines.spdk.config import SpdkConfig, SsdConfig
from inventory.nodes.engines.spdk.engine import SpdkEngine
from inventory.nodes.engines.spdk.names import SHARED
from inventory.nodes.engines.spdk.rpc import SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import SpdkState
from inventory.nodes.engines.spdk.subsystems import read_subsystems
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Portal, RefusalCode
from tests.nodes.specs import HOST, MIB, namespace
from tests.servers import free_port
from tests.spdk.client import Client, Failed
from tests.spdk.host import Host

SSD_BYTES = 1024 * MIB
COPY_POLL = 0.005
WATCH = 0.01


Steps = Callable[["Machine"], Awaitable[None]]
Run = Callable[[Steps], None]


class Died(BaseException):
    """The agent died. No code may catch this."""


class MortalRpc(SpdkRpc):
    """Lets the agent die at call number ``dies_at``, counted from now on: before it gets the answer
    or, with ``is_early``, before it sends the call.
    """

    dies_at = 0
    is_early = False
    is_dead = False
    calls: tuple[str, ...] = ()
    last = ""

    def dies_before(self, method: str) -> None:
        """Let the agent die before it calls the method."""
        self.last = method

    async def call(self, method: str, /, *, timeout: float | None = None, **params: Any) -> Any:
        self.dies_at -= 1
        self.is_dead |= method == self.last
        self.calls = (*self.calls, method)
        if self.is_dead or (self.dies_at == 0 and self.is_early):
            self.is_dead = True
            raise Died
        is_last = self.dies_at == 0
        self.is_dead = is_last
        try:
            return await super().call(method, timeout=timeout, **params)
        finally:
            if is_last:
                raise Died


class Machine:
    """``socket``: the socket of the target. ``ssds``: the ids of the SSDs, and whether unmapping
    zeroes them.
    """

    def __init__(
        self,
        folder: Path,
        socket: Path,
        ssds: dict[str, bool] | None = None,
        *,
        ssd_bytes: int = SSD_BYTES,
    ) -> None:
        self.folder = folder
        self.socket = socket
        folder.mkdir(parents=True, exist_ok=True)
        self.portal = Portal(ip="127.0.0.1", port=free_port())
        self.ssds = tuple(
            SsdConfig(id=name, name=name, file=folder / name, zeroes_on_unmap=zeroes)
            for name, zeroes in (ssds or {"s": True, "t": True}).items()
        )
        for ssd in self.ssds:
            assert ssd.file
            with ssd.file.open("wb") as file:
                file.truncate(ssd_bytes)
        self.boots = 0

    def only_ssd(self, name: str, *, zeroes: bool) -> None:
        """Keep only this SSD, and set whether unmapping zeroes it."""
        [ssd] = [one for one in self.ssds if one.id == name]
        self.ssds = (replace(ssd, zeroes_on_unmap=zeroes),)

    def use_ssds(self, *, zeroes: bool) -> None:
        """Set whether unmapping zeroes the SSDs."""
        self.ssds = tuple(replace(one, zeroes_on_unmap=zeroes) for one in self.ssds)

    def pull(self, name: str) -> None:
        """Remove the SSD while SPDK runs, or while it does not run."""
        (self.folder / name).rename(self.folder / f"{name}-away")
        self._drop_bdev(name)

    def plug(self, name: str) -> None:
        """Return the SSD. The agent must be started to use it."""
        (self.folder / f"{name}-away").rename(self.folder / name)

    def replug(self, name: str) -> None:
        """Remove and return the SSD so fast that the agent does not see it absent."""
        self._drop_bdev(name)
        [ssd] = [one for one in self.ssds if one.id == name]
        call = Client(self.socket)
        call(
            "bdev_aio_create",
            name=f"ssd-{name}",
            filename=str(ssd.file),
            block_size=ssd.block_size,
            fallocate=ssd.zeroes_on_unmap,
        )
        call.close()

    def _drop_bdev(self, name: str) -> None:
        call = Client(self.socket)
        with suppress(Failed):  # the target has none, because it has just started or lost it
            call("bdev_aio_delete", name=f"ssd-{name}")
        call.close()

    def config(self) -> SpdkConfig:
        return SpdkConfig(
            ssds=self.ssds,
            portals=(self.portal,),
            total_bw=1,
            total_iops=1,
            state_folder=self.folder,
            socket=self.socket,
        )

    async def boot(self) -> Agent:
        """Start a new process of the agent, and wait until its background work is done."""
        await self.launch()
        await self.settle()
        return self.agent

    async def launch(self) -> None:
        """Start a new process of the agent."""
        if self.boots:
            self.kill()
        self.boots += 1
        asyncio.get_running_loop().set_exception_handler(_heed)
        self.rpc = MortalRpc(self.socket)
        self.engine = SpdkEngine(
            self.rpc, self.config(), poll=COPY_POLL, watch_seconds=WATCH, space_seconds=0
        )
        self.database = Database(self.folder / "node.sqlite3", durable=False)
        self.agent = Agent(Identity("n", "n", (), 1), self.engine, self.database)
        await self.agent.start()

    async def start(self) -> None:
        """Start the agent again after the target restarted, and wait until its background work is
        done.
        """
        await self.agent.start()
        await self.settle()

    async def settle(self) -> None:
        await self.agent.repair()
        await self.agent.finish_removals()
        await self.engine.settle()

    def kill(self) -> None:
        self.engine.close()
        self.database.close()

    async def facts(self) -> EngineFacts:
        return await self.engine.facts()

    async def seen(self) -> dict[str, Any]:
        """Return the state of the target, without values that differ in each run or are being
        removed.
        """
        spdk_state = await SpdkState.read(self.rpc)
        return {
            "lvols": sorted(
                (
                    spdk_state.lvstores[lvstore.base].name,
                    _plain(lvol.name),
                    lvol.size // MIB,
                    lvol.owned_clusters,
                    lvol.is_snapshot,
                    _plain(lvol.parent),
                    lvol.bdev.limits if lvol.bdev else None,
                )
                for lvstore in spdk_state.lvstores.values()
                for lvol in spdk_state.lvols[lvstore.uuid].values()
            ),
            "raids": sorted(
                (raid.name, raid.state, len(raid.members)) for raid in spdk_state.raids.values()
            ),
            "subsystems": {
                nqn: (
                    one.allows_any_host,
                    one.hosts,
                    one.listeners,
                    {nsid: uuid for nsid, (_, uuid) in one.namespaces.items()},
                )
                for nqn, one in (await read_subsystems(self.rpc)).items()
                if one.namespaces
            },
            "controllers": await self.rpc.call("bdev_nvme_get_controllers"),
        }


def _heed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore exceptions of copies that die with their agent."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)


def _plain(name: str | None) -> str | None:
    if name is None or name.startswith(SHARED):
        return name and "shared"
    return re.sub(r"^(s-.*)-[0-9a-f]{8}$", r"\1", name)


class Disk:
    """A context in which a volume is in its own target."""

    _generations = itertools.count(1)

    def __init__(self, machine: Machine, uuid: str) -> None:
        self._machine = machine
        self._uuid = uuid
        self._nqn = f"nqn.2022-08.com.kioxia:of-{uuid}"

    async def __aenter__(self) -> Host:
        self._generation = next(self._generations)
        spec = namespace(generation=self._generation)
        await self._machine.agent.targets.ensure(self._nqn, self._uuid, spec)
        self._host = Host(self._machine.portal.ip, self._machine.portal.port, self._nqn, HOST)
        return self._host

    async def __aexit__(self, *error: object) -> None:
        self._host.close()
        await self._machine.agent.targets.remove(self._nqn, self._uuid, self._generation)


async def refused(code: RefusalCode, call: Awaitable[object], *parts: str) -> None:
    """Check that the call is refused with this code and a message that contains the parts."""
    with pytest.raises(NodeRefused) as caught:
        await call
    assert caught.value.code is code, caught.value
    assert all(part in caught.value.message for part in parts), caught.value
