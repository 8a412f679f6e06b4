"""A fake of SPDK 26.05 as a process: ``python -m tests.spdk.target --socket S``.

It behaves as measured for the methods that the agent of a storage node may call; the tests in this
folder describe this. Its drives are files that really store the bytes.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.spdk.bdevs import BdevMethods, Registry
from tests.spdk.copies import CopyMethods
from tests.spdk.initiator import InitiatorMethods
from tests.spdk.lvol_methods import LvolMethods
from tests.spdk.lvstores import LvstoreMethods, Lvstores
from tests.spdk.nvmf import NvmfMethods, Subsystems
from tests.spdk.nvmf_access import NvmfAccessMethods
from tests.spdk.raids import RaidMethods
from tests.spdk.rpc import Module
from tests.spdk.server import Server

POLL_SECONDS = 0.004
VERSION = {"major": 26, "minor": 5, "patch": 0, "suffix": ""}


class Framework(Module):
    METHODS = ("spdk_", "rpc_", "framework_")
    UNDECODABLE = (-32602, "Invalid parameters")

    def __init__(self, names: Callable[[], list[str]], is_up: asyncio.Event) -> None:
        self._names = names
        self._is_up = is_up

    async def spdk_get_version(self) -> dict[str, Any]:
        return {"version": "SPDK v26.05", "fields": VERSION}

    async def rpc_get_methods(
        self, current: bool = False, include_aliases: bool = True
    ) -> list[str]:
        return self._names()

    async def framework_wait_init(self) -> bool:
        return await self._is_up.wait()


class Target:
    """One instance of the process. Create and use it in one event loop.

    ``die``: is called when it crashes. ``dies_after``: the number of calls after which it crashes,
    before it answers the last one.
    """

    def __init__(
        self, socket: Path, die: Callable[[], None], *, poll: float = POLL_SECONDS
    ) -> None:
        self._socket = socket
        self._die = die
        self.registry = Registry()
        self.bdevs = BdevMethods(self.registry)
        self.lvstores = Lvstores(self.registry)
        self.subsystems = Subsystems(self.registry)
        self.copies = CopyMethods(self.registry)
        self.initiator = InitiatorMethods(self.registry)
        self._lvstore_methods = LvstoreMethods(self.lvstores)
        is_up = asyncio.Event()
        self.lvols = LvolMethods(self.registry, self.lvstores)
        modules: list[Module] = [
            self.lvols,
            self.bdevs,
            RaidMethods(self.registry),
            NvmfMethods(self.subsystems),
            NvmfAccessMethods(self.subsystems),
            self._lvstore_methods,
            self.copies,
            self.initiator,
            Framework(lambda: sorted(methods), is_up),
        ]
        methods = {name: one for module in modules for name, one in module.methods().items()}
        self.server = Server(methods, poll, is_up, self._called)
        self.calls: list[str] = []
        self.dies_after: int | None = None

    async def open(self, init_seconds: float = 0) -> None:
        """Serve. Until the start is over, only questions about the start are answered."""
        await self.server.open(self._socket)
        asyncio.get_running_loop().call_later(init_seconds, self.server.is_up.set)

    def close(self) -> None:
        """Stop as if killed: the socket file stays."""
        self.server.close()
        self.subsystems.fabric.close()
        self.initiator.close()
        self.copies.close()

    def die_copying(self) -> None:
        """Crash when the next cluster was copied for the first write over a snapshot."""

        def die() -> None:
            self._die()
            raise OSError

        self.registry.on_copy.append(die)

    @property
    def is_clearing(self) -> bool:
        """Whether clusters of a deleted lvol are being cleared."""
        return any(store.going for _, store in self.lvstores.open.values())

    def lose_copying(self, base: str) -> None:
        """Lose this drive when the next cluster was copied for the first write over a snapshot."""

        def lose() -> None:
            self.registry.on_copy.remove(lose)
            self.bdevs.lose(base)
            raise OSError

        self.registry.on_copy.append(lose)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.dies_after is not None:
            self.dies_after -= 1
        if self._lvstore_methods.has_crashed or self.dies_after == 0:
            self._die()


async def _serve(socket: Path, poll: float, pace: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    target = Target(socket, lambda: os.kill(os.getpid(), signal.SIGKILL), poll=poll)
    target.copies.pace = pace
    await target.open()
    print("ready", flush=True)
    await stop.wait()
    target.close()
    socket.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake SPDK target.")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--poll-ms", type=float, default=POLL_SECONDS * 1000)
    parser.add_argument("--copy-ms", type=float, default=0, help="for each cluster of a copy")
    options = parser.parse_args()
    asyncio.run(_serve(options.socket, options.poll_ms / 1000, options.copy_ms / 1000))


if __name__ == "__main__":
    main()
