"""Connects this machine to the targets of other nodes, as a host does, with nvme-cli and sysfs."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel
from inventory.nodes.engines.names import namespace_uuid
from inventory.nodes.wire import Portal, SyncSpec

CONTROLLERS = "/sys/class/nvme"
BLOCK = "/sys/class/block"
SECTOR = 512
LOSS_SECONDS = 30
"""After this time without the other node, I/O to it fails."""
FIND_SECONDS = 15.0
POLL_SECONDS = 0.1
OTHERS_POLLS = 10
"""So many more polls when the kernel has found another namespace: it finds them one by one."""
PATH = re.compile(r"(nvme\d+)(?:c\d+)?(n\d+)")
"""A namespace of a controller. With multipathing it is a path, and the disk has no ``c``."""


class ConnectFailed(Exception):
    """A connection failed. The text gives the target, the host NQN and the reason."""


@dataclass(frozen=True)
class Disk:
    """A namespace of another node, which is a block device on this machine."""

    device: str
    size: int
    block_size: int


class Initiator:
    """Connects to other nodes."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    @asynccontextmanager
    async def connected(self, spec: SyncSpec) -> AsyncIterator[str]:
        """A context in which the machine is connected to the target. Yields the name of the
        controller.

        :raises ConnectFailed: no portal accepted the connection.
        """
        await self.disconnect(spec.nqn, spec.host_nqn)
        failures = []
        for portal in spec.portals:
            try:
                await self._connect(spec, portal)
                break
            except CommandFailed as error:
                failures.append(f"at {portal.ip} port {portal.port}: {error}")
        else:
            raise ConnectFailed(
                f"cannot connect to {spec.nqn} as {spec.host_nqn} {'; '.join(failures)}"
            )
        try:
            found = await self._controllers(spec.nqn, spec.host_nqn)
            if not found:
                raise ConnectFailed(f"the controller of {spec.nqn} no longer exists")
            yield found[0]
        finally:
            await asyncio.shield(self.disconnect(spec.nqn, spec.host_nqn))

    async def disconnect(self, nqn: str, host_nqn: str) -> None:
        """End all connections to the target as this host."""
        for name in await self._controllers(nqn, host_nqn):
            with suppress(CommandFailed):  # the connection may have ended by itself
                await self._run("nvme", "disconnect", "--device", name)

    async def disk(self, controller: str, nsid: int) -> Disk | None:
        """Wait until the kernel has found the namespace of the controller, and return its device.
        None: it was not found.
        """
        polls = int(FIND_SECONDS / POLL_SECONDS)
        while polls > 0:
            if found := await self._find(controller, nsid):
                return found
            polls -= 1
            if await self._has_scanned(controller):
                polls = min(polls, OTHERS_POLLS)
            await asyncio.sleep(POLL_SECONDS)
        return None

    async def _connect(self, spec: SyncSpec, portal: Portal) -> None:
        await self._run(
            *("nvme", "connect", "--transport", "tcp", "--traddr", portal.ip),
            *("--trsvcid", str(portal.port), "--nqn", spec.nqn, "--hostnqn", spec.host_nqn),
            *("--hostid", namespace_uuid(spec.host_nqn)),
            *("--ctrl-loss-tmo", str(LOSS_SECONDS), "--reconnect-delay", "2"),
        )

    async def _controllers(self, nqn: str, host_nqn: str) -> list[str]:
        found = []
        for name in await self._names(CONTROLLERS):
            with suppress(OSError):  # the controller has disappeared, or is not of a fabric
                folder = f"{CONTROLLERS}/{name}"
                if (
                    await self._kernel.read(f"{folder}/subsysnqn") == nqn
                    and await self._kernel.read(f"{folder}/hostnqn") == host_nqn
                ):
                    found.append(name)
        return found

    async def _find(self, controller: str, nsid: int) -> Disk | None:
        for name in await self._names(f"{CONTROLLERS}/{controller}"):
            path = PATH.fullmatch(name)
            with suppress(OSError):
                disk = path[1] + path[2] if path else ""
                if disk and int(await self._kernel.read(f"{BLOCK}/{disk}/nsid")) == nsid:
                    return await self._disk(disk)
        return None

    async def _disk(self, name: str) -> Disk:
        sectors = await self._kernel.read(f"{BLOCK}/{name}/size")
        block_size = await self._kernel.read(f"{BLOCK}/{name}/queue/logical_block_size")
        return Disk(f"/dev/{name}", int(sectors) * SECTOR, int(block_size))

    async def _has_scanned(self, controller: str) -> bool:
        """Whether the kernel has found a namespace of the controller."""
        names: Iterable[str] = await self._names(f"{CONTROLLERS}/{controller}")
        return any(PATH.fullmatch(name) for name in names)

    async def _names(self, folder: str) -> list[str]:
        try:
            return await self._kernel.names(folder)
        except FileNotFoundError:
            return []

    async def _run(self, *command: str) -> None:
        output = await self._kernel.run(*command)
        if output.code:
            raise CommandFailed(command, output.code, output.err or output.out)
