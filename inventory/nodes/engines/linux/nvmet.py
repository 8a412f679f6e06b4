"""The NVMe-oF target of the kernel, through configfs."""

import asyncio
import errno
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from inventory.nodes.engines.linux.kernel import Kernel
from inventory.nodes.portal_transports import TRTYPES
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import Portal

ROOT, DEBUG = "/sys/kernel/config/nvmet", "/sys/kernel/debug/nvmet"
HOSTS, SUBSYSTEMS, PORTS = f"{ROOT}/hosts", f"{ROOT}/subsystems", f"{ROOT}/ports"

ENDED = {errno.ENOENT, errno.EIO}
"""The errors of the files of a controller that has ended, unopened and opened ones."""

Address = tuple[str, str, str, str]  # transport, address family, address and port


@dataclass(frozen=True)
class Namespace:
    """A namespace of a target. ``device``: the path of its block device."""

    device: str
    uuid: str


@dataclass(frozen=True)
class Subsystem:
    """A target in the kernel. ``serial``: shows which node it belongs to. ``namespaces``: by id;
    None: the namespace exists, but is not enabled.
    """

    nqn: str
    serial: str
    allows_any_host: bool
    controllers: ControllerIds
    hosts: frozenset[str]
    namespaces: Mapping[int, Namespace | None] = field(default_factory=dict)


class Nvmet:
    """Reads and changes the target of the kernel, one object at a time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._hosts = asyncio.Lock()  # the targets of a host share its folder

    async def names(self) -> list[str]:
        """Return the NQNs of all subsystems, including those of other programs."""
        return await self._kernel.names(SUBSYSTEMS)

    async def serial(self, nqn: str) -> str:
        """Return the serial number of a subsystem. Empty: there is no such subsystem."""
        try:
            return await self._kernel.read(f"{SUBSYSTEMS}/{nqn}/attr_serial")
        except FileNotFoundError:
            return ""

    async def hosts(self, nqn: str) -> frozenset[str]:
        """The NQNs of the hosts that may connect to a subsystem."""
        return frozenset(await self._kernel.names(f"{SUBSYSTEMS}/{nqn}/allowed_hosts"))

    async def controllers(self, nqn: str) -> ControllerIds:
        """The ids that new controllers of a subsystem get."""
        folder = f"{SUBSYSTEMS}/{nqn}"
        first = int(await self._kernel.read(f"{folder}/attr_cntlid_min"))
        last = int(await self._kernel.read(f"{folder}/attr_cntlid_max"))
        return ControllerIds(first=first, last=last)

    async def read(self, nqn: str) -> Subsystem | None:
        """The subsystem, or None."""
        folder = f"{SUBSYSTEMS}/{nqn}"
        if not await self._kernel.exists(folder):
            return None
        namespaces = {}
        for name in await self._kernel.names(f"{folder}/namespaces"):
            namespaces[int(name)] = await self._namespace(f"{folder}/namespaces/{name}")
        return Subsystem(
            nqn,
            await self.serial(nqn),
            await self._kernel.read(f"{folder}/attr_allow_any_host") != "0",
            await self.controllers(nqn),
            await self.hosts(nqn),
            namespaces,
        )

    async def create(self, nqn: str, serial: str, model: str) -> None:
        """Create a subsystem that no host may use."""
        folder = f"{SUBSYSTEMS}/{nqn}"
        await self._kernel.make(folder)
        for name, value in (("allow_any_host", "0"), ("serial", serial), ("model", model)):
            await self._kernel.write(f"{folder}/attr_{name}", value)

    async def number(self, nqn: str, ids: ControllerIds) -> None:
        """Set the ids for new controllers. Existing controllers keep their ids."""
        folder = f"{SUBSYSTEMS}/{nqn}"
        now = await self.controllers(nqn)
        first = ("attr_cntlid_min", ids.first)
        last = ("attr_cntlid_max", ids.last)
        # the kernel refuses a first id that is greater than the last
        for name, value in (first, last) if ids.first <= now.last else (last, first):
            await self._kernel.write(f"{folder}/{name}", str(value))

    async def add_namespace(self, nqn: str, nsid: int, namespace: Namespace) -> None:
        """Add a namespace, and tell connected hosts."""
        folder = f"{SUBSYSTEMS}/{nqn}/namespaces/{nsid}"
        await self._kernel.make(folder)
        await self._kernel.write(f"{folder}/device_path", namespace.device)
        await self._kernel.write(f"{folder}/device_uuid", namespace.uuid)
        await self._kernel.write(f"{folder}/device_nguid", namespace.uuid)
        await self._kernel.write(f"{folder}/enable", "1")

    async def remove_namespace(self, nqn: str, nsid: int) -> None:
        """Remove a namespace, and tell connected hosts. This waits for their I/O."""
        folder = f"{SUBSYSTEMS}/{nqn}/namespaces/{nsid}"
        await self._kernel.write(f"{folder}/enable", "0")
        await self._kernel.remove(folder)

    async def revalidate(self, nqn: str, nsid: int) -> None:
        """Read the size of the namespace's device again, and tell connected hosts."""
        await self._kernel.write(f"{SUBSYSTEMS}/{nqn}/namespaces/{nsid}/revalidate_size", "1")

    async def allow(self, nqn: str, host: str) -> None:
        """Let the host connect."""
        async with self._hosts:
            if not await self._kernel.exists(f"{HOSTS}/{host}"):
                await self._kernel.make(f"{HOSTS}/{host}")
            await self._kernel.link(f"{HOSTS}/{host}", f"{SUBSYSTEMS}/{nqn}/allowed_hosts/{host}")

    async def forbid(self, nqn: str, host: str) -> None:
        """Let the host connect no more. It stays connected until the subsystem leaves the ports."""
        async with self._hosts:
            await self._kernel.unlink(f"{SUBSYSTEMS}/{nqn}/allowed_hosts/{host}")
            try:
                await self._kernel.remove(f"{HOSTS}/{host}")
            except OSError as error:
                if error.errno not in {errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT}:
                    raise

    async def remove(self, nqn: str) -> None:
        """Remove a subsystem. It must have no namespaces and hosts, and be on no port."""
        await self._kernel.remove(f"{SUBSYSTEMS}/{nqn}")

    async def ports(self) -> dict[str, Address]:
        """The address of each port."""
        found = {}
        for number in await self._kernel.names(PORTS):
            fields = ("trtype", "adrfam", "traddr", "trsvcid")
            read = [await self._kernel.read(f"{PORTS}/{number}/addr_{one}") for one in fields]
            found[number] = (read[0], read[1], read[2], read[3])
        return found

    async def ports_of(self, nqn: str) -> list[str]:
        """Return the numbers of the ports where hosts find the subsystem."""
        return [
            number
            for number in await self._kernel.names(PORTS)
            if await self._kernel.exists(f"{PORTS}/{number}/subsystems/{nqn}")
        ]

    async def make_port(self, address: Address) -> str:
        """Create a port, and return its number. It listens as long as it has a subsystem."""
        there = set(await self._kernel.names(PORTS))
        number = next(str(one) for one in range(1, 65536) if str(one) not in there)
        await self._kernel.make(f"{PORTS}/{number}")
        for name, value in zip(("trtype", "adrfam", "traddr", "trsvcid"), address, strict=True):
            await self._kernel.write(f"{PORTS}/{number}/addr_{name}", value)
        return number

    async def join(self, number: str, nqn: str) -> None:
        """Let hosts find the subsystem at the port."""
        await self._kernel.link(f"{SUBSYSTEMS}/{nqn}", f"{PORTS}/{number}/subsystems/{nqn}")

    async def leave(self, number: str, nqn: str) -> None:
        """Remove the subsystem from the port, and disconnect its hosts there."""
        await self._kernel.unlink(f"{PORTS}/{number}/subsystems/{nqn}")

    async def sessions(self, nqn: str) -> frozenset[str] | None:
        """Return the NQNs of connected hosts. None: the kernel does not report those of this
        subsystem.
        """
        try:
            names = await self._kernel.names(f"{DEBUG}/{nqn}")
        except FileNotFoundError:
            return None
        read = [await self._session(nqn, one) for one in names]
        return frozenset(host for host in read if host is not None)

    async def _session(self, nqn: str, controller: str) -> str | None:
        """The NQN of the host of a controller. None: the controller has ended."""
        try:
            return await self._kernel.read(f"{DEBUG}/{nqn}/{controller}/hostnqn")
        except OSError as error:
            if error.errno not in ENDED:
                raise
            return None

    async def _namespace(self, folder: str) -> Namespace | None:
        if await self._kernel.read(f"{folder}/enable") != "1":
            return None
        device = await self._kernel.read(f"{folder}/device_path")
        return Namespace(device, await self._kernel.read(f"{folder}/device_uuid"))


def address_of(portal: Portal) -> Address:
    """The address of a port at the portal."""
    family = f"ipv{ipaddress.ip_address(portal.ip).version}"
    return TRTYPES[portal.transport], family, portal.ip, str(portal.port)
