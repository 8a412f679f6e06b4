"""The fake target as a host: namespaces of other targets as bdevs, and copies to them."""

import asyncio
from typing import Any

from tests.spdk.bdevs import Bdev, Registry
from tests.spdk.fabric import receive, send
from tests.spdk.rpc import Module, Refused, no_device

IO_ERROR = Refused(-5, "Input/output error")


class Controller:
    """A connection to a subsystem. It makes one request at a time."""

    def __init__(self, address: tuple[str, str], subnqn: str, hostnqn: str) -> None:
        self.address = address
        self.subnqn = subnqn
        self.hostnqn = hostnqn
        self.namespaces: list[dict[str, Any]] = []
        self.bdevs: list[Remote] = []
        self.is_detached = False
        self.gone = asyncio.Event()
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Connect to the subsystem.

        :raises OSError, EOFError: the connect was refused, or nobody listens.
        """
        reader, writer = await asyncio.open_connection(self.address[0], int(self.address[1]))
        self._streams = (reader, writer)
        await send(writer, {"subnqn": self.subnqn, "hostnqn": self.hostnqn})
        header, _ = await receive(reader)
        if "error" in header:
            self.close()
            raise OSError(5, header["error"])
        self.namespaces = header["namespaces"]

    async def ask(self, data: bytes = b"", **header: Any) -> bytes:
        """:raises OSError:"""
        async with self._lock:
            try:
                if self._streams is None and not self.gone.is_set():
                    await self.connect()
                if self._streams is None:
                    raise EOFError
                reader, writer = self._streams
                await send(writer, header, data)
                reply, found = await receive(reader)
            except (OSError, EOFError) as error:
                self.close()
                raise OSError(5, "the connection is gone") from error
        if "error" in reply:
            raise OSError(5, reply["error"])
        return found

    def detach(self) -> None:
        """Disconnect as soon as no copy writes through the connection."""
        self.is_detached = True
        self.end_unused()

    def end_unused(self) -> None:
        if self.is_detached and not any(bdev.claimed_by for bdev in self.bdevs):
            self.close()
            self.gone.set()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Remote(Bdev):
    product = "NVMe disk"

    def __init__(self, name: str, controller: Controller, found: dict[str, Any]) -> None:
        super().__init__(name, found["block_size"], found["uuid"])
        self.controller = controller
        self._found = found

    @property
    def size(self) -> int:
        return int(self._found["size"])

    def specific(self) -> dict[str, Any]:
        traddr, trsvcid = self.controller.address
        trid = {
            "trtype": "TCP",
            "adrfam": "IPv4",
            "traddr": traddr,
            "trsvcid": trsvcid,
            "subnqn": self.controller.subnqn,
        }
        return {"nvme": [{"trid": trid, "ns_data": {"id": self._found["nsid"]}}]}

    def let_go(self) -> None:
        super().let_go()
        self.controller.end_unused()

    async def read(self, offset: int, length: int) -> bytes:
        nsid = self._found["nsid"]
        return await self.controller.ask(op="read", nsid=nsid, offset=offset, length=length)

    async def write(self, offset: int, data: bytes) -> None:
        await self.controller.ask(data, op="write", nsid=self._found["nsid"], offset=offset)

    async def zero(self, offset: int, length: int) -> None:
        nsid = self._found["nsid"]
        await self.controller.ask(op="zero", nsid=nsid, offset=offset, length=length)

    async def unmap(self, offset: int, length: int) -> None:
        nsid = self._found["nsid"]
        await self.controller.ask(op="unmap", nsid=nsid, offset=offset, length=length)


class InitiatorMethods(Module):
    """A detach waits ``detach_seconds`` for the copies through the controller, and then fails: the
    bdevs are no longer listed, but the copy and the controller stay until the copy has ended.
    """

    METHODS = ("bdev_nvme_",)

    def __init__(self, registry: Registry) -> None:
        self.detach_seconds = 10.0
        self._registry = registry
        self._controllers: dict[str, Controller] = {}

    async def bdev_nvme_attach_controller(
        self,
        name: str,
        trtype: str,
        traddr: str,
        adrfam: str | None = None,
        trsvcid: str | None = None,
        subnqn: str | None = None,
        hostnqn: str | None = None,
        ctrlr_loss_timeout_sec: int | None = None,
        reconnect_delay_sec: int | None = None,
        fast_io_fail_timeout_sec: int | None = None,
    ) -> list[str]:
        if name in self._there():
            raise Refused(
                -114, f"A controller named {name} already exists and multipath is disabled"
            )
        controller = Controller((traddr, trsvcid or ""), subnqn or "", hostnqn or "")
        self._controllers[name] = controller
        try:
            await controller.connect()
        except (OSError, EOFError, ValueError):
            del self._controllers[name]
            raise IO_ERROR from None
        controller.bdevs = [
            Remote(f"{name}n{found['nsid']}", controller, found) for found in controller.namespaces
        ]
        for bdev in controller.bdevs:
            self._registry.add(bdev)
        return [bdev.name for bdev in controller.bdevs]

    async def bdev_nvme_detach_controller(self, name: str) -> bool:
        controller = self._there().get(name)
        if controller is None:
            raise no_device()
        for bdev in controller.bdevs:
            self._registry.remove(bdev)
        controller.detach()
        try:
            async with asyncio.timeout(self.detach_seconds):
                await controller.gone.wait()
        except TimeoutError:
            raise Refused(-110, "Connection timed out") from None
        return True

    async def bdev_nvme_get_controllers(self, name: str | None = None) -> list[dict[str, Any]]:
        there = self._there()
        if name is not None and name not in there:
            raise no_device()
        chosen = [name] if name else list(there)
        return [{"name": one, "ctrlrs": [{"state": "enabled"}]} for one in chosen]

    def close(self) -> None:
        for controller in self._controllers.values():
            controller.close()

    def _there(self) -> dict[str, Controller]:
        gone = [name for name, one in self._controllers.items() if one.gone.is_set()]
        for name in gone:
            del self._controllers[name]
        return self._controllers
