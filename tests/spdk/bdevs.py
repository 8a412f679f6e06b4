"""Block devices: their common behaviour, their registry, and those made of files."""

import time
import uuid as uuids
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.spdk.device import Device
from tests.spdk.rpc import (
    EINVAL,
    INVALID_PARAMS,
    Module,
    Refused,
    file_exists,
    no_device,
)

IO_TYPES = ("read", "write", "unmap", "flush", "reset", "write_zeroes")
OTHER_IO_TYPES = (
    *("nvme_admin", "nvme_io", "nvme_io_md", "zcopy", "get_zone_info", "zone_management"),
    *("zone_append", "compare", "compare_and_write", "abort", "seek_hole", "seek_data", "copy"),
    "nvme_iov_md",
)
PREFERENCES = dict.fromkeys(
    (
        "preferred_write_alignment",
        "preferred_write_granularity",
        "optimal_write_size",
        "preferred_unmap_alignment",
        "preferred_unmap_granularity",
    ),
    0,
)
LIMITS = ("rw_ios_per_sec", "rw_mbytes_per_sec", "r_mbytes_per_sec", "w_mbytes_per_sec")
IOPS_STEP = 1000


class Bdev:
    """The base of all bdevs; each kind implements the access to its bytes. ``claimed_by``: the
    exclusive user; empty: none. ``sampling``: the period in which the queue depth is sampled.
    """

    product = ""

    def __init__(self, name: str, block_size: int, uuid: str | None = None) -> None:
        self.name = name
        self.block_size = block_size
        self.uuid = uuid or str(uuids.uuid4())
        self.aliases: list[str] = []
        self.claimed_by = ""
        self.limits = dict.fromkeys(LIMITS, 0)
        self.written = self.was_read = 0
        self.sampling = 0

    @property
    def size(self) -> int:
        raise NotImplementedError

    def specific(self) -> dict[str, Any]:
        raise NotImplementedError

    async def read(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    async def write(self, offset: int, data: bytes) -> None:
        """:raises OSError: read-only, beyond the end, or no space."""
        raise NotImplementedError

    async def zero(self, offset: int, length: int) -> None:
        await self.write(offset, bytes(length))

    async def unmap(self, offset: int, length: int) -> None:
        """Always succeeds, even if it does nothing."""
        raise NotImplementedError

    def shown(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "aliases": self.aliases,
            "product_name": self.product,
            "block_size": self.block_size,
            "num_blocks": self.size // self.block_size,
            **PREFERENCES,
            "uuid": self.uuid,
            "assigned_rate_limits": dict(self.limits),
            "claimed": bool(self.claimed_by),
            **({"claim_type": "exclusive_write"} if self.claimed_by else {}),
            "zoned": False,
            "supported_io_types": {kind: self.can(kind) for kind in IO_TYPES}
            | dict.fromkeys(OTHER_IO_TYPES, False),
            "driver_specific": self.specific(),
        }

    def can(self, io_type: str) -> bool:
        return True

    def let_go(self) -> None:
        """Release the exclusive claim."""
        self.claimed_by = ""


class FileBdev(Bdev):
    def __init__(self, name: str, device: Device, block_size: int, *, path: str | None) -> None:
        super().__init__(name, block_size)
        self.device = device
        self.path = path
        self.product = "AIO disk" if path else "Malloc disk"
        self._size = device.size

    @property
    def size(self) -> int:
        return self._size // self.block_size * self.block_size

    def rescan(self) -> None:
        self._size = self.device.size

    def specific(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        return {"aio": {"filename": self.path, "fallocate": self.device.has_unmap}}

    def can(self, io_type: str) -> bool:
        return io_type != "unmap" or self.device.has_unmap

    async def read(self, offset: int, length: int) -> bytes:
        return self.device.read(offset, length)

    async def write(self, offset: int, data: bytes) -> None:
        self.device.write(offset, data)

    async def zero(self, offset: int, length: int) -> None:
        self.device.zero(offset, length)

    async def unmap(self, offset: int, length: int) -> None:
        self.device.unmap(offset, length)


class Registry:
    """All bdevs, by name, UUID or alias. The registry notifies its listeners of added and removed
    bdevs.
    """

    def __init__(self) -> None:
        self._bdevs: dict[str, Bdev] = {}
        self._found: dict[str, Bdev] = {}
        self.events: list[dict[str, Any]] = []
        self.on_register: list[Callable[[Bdev], None]] = []
        self.on_remove: list[Callable[[Bdev], None]] = []
        self.on_copy: list[Callable[[], None]] = []

    def all(self) -> list[Bdev]:
        return list(self._bdevs.values())

    def find(self, name: str) -> Bdev | None:
        found = self._bdevs.get(name) or self._found.get(name)
        if found and self._bdevs.get(found.name) is found and _is(found, name):
            return found
        for bdev in self._bdevs.values():
            if _is(bdev, name):
                self._found[name] = bdev
                return bdev
        return None

    def get(self, name: str) -> Bdev:
        """:raises Refused: -19"""
        bdev = self.find(name)
        if bdev is None:
            raise no_device()
        return bdev

    def add(self, bdev: Bdev) -> None:
        """:raises Refused: -17"""
        if self.find(bdev.name) or self.find(bdev.uuid):
            raise file_exists()
        self._bdevs[bdev.name] = bdev
        self.note("bdev_register", bdev)
        for hear in self.on_register:
            hear(bdev)

    def remove(self, bdev: Bdev) -> None:
        """Remove the bdev, even if it is in use."""
        if self._bdevs.pop(bdev.name, None) is None:
            return
        self.note("bdev_unregister", bdev)
        for hear in self.on_remove:
            hear(bdev)

    def copied(self) -> None:
        """A cluster was copied for its first write, and the lvstore does not know it yet."""
        for hear in self.on_copy:
            hear()

    def note(self, kind: str, bdev: Bdev) -> None:
        self.events.append({"type": kind, "ctx": bdev.name, "id": len(self.events)})


def _is(bdev: Bdev, name: str) -> bool:
    return name in (bdev.name, bdev.uuid) or name in bdev.aliases


class BdevMethods(Module):
    METHODS = ("bdev_aio_", "bdev_malloc_", "bdev_get_", "bdev_set_", "bdev_examine", "notify_get_")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def bdev_aio_create(
        self,
        name: str,
        filename: str,
        block_size: int | None = None,
        fallocate: bool = False,
        uuid: str | None = None,
    ) -> str:
        try:
            device = Device.of_file(Path(filename), has_unmap=fallocate)
        except OSError as error:
            raise Refused(-(error.errno or 5), error.strerror or "") from error
        bdev = FileBdev(name, device, block_size or 512, path=filename)
        bdev.uuid = uuid or bdev.uuid
        self._registry.add(bdev)
        return name

    async def bdev_aio_rescan(self, name: str) -> bool:
        bdev = self._file(name)
        bdev.rescan()
        self._registry.note("bdev_resize", bdev)
        return True

    async def bdev_aio_delete(self, name: str) -> bool:
        self.lose(name)
        return True

    def lose(self, name: str) -> None:
        """Remove a drive, which may be in use."""
        bdev = self._file(name)
        self._registry.remove(bdev)
        bdev.device.close()

    async def bdev_malloc_create(
        self, num_blocks: int, block_size: int, name: str | None = None
    ) -> str:
        device = Device.of_memory(num_blocks * block_size)
        name = name or f"Malloc{len(self._registry.all())}"
        self._registry.add(FileBdev(name, device, block_size, path=None))
        return name

    async def bdev_malloc_delete(self, name: str) -> bool:
        return await self.bdev_aio_delete(name)

    async def bdev_get_bdevs(
        self, name: str | None = None, timeout: int | None = None
    ) -> list[dict[str, Any]]:
        if name is None:
            return [bdev.shown() for bdev in self._registry.all()]
        if timeout and self._registry.find(name) is None:
            raise Refused(-110, "Connection timed out")
        return [self._registry.get(name).shown()]

    async def bdev_get_iostat(self, names: list[str] | None = None) -> dict[str, Any]:
        bdevs = self._registry.all() if names is None else map(self._registry.get, names)
        return {
            "tick_rate": 10**9,
            "ticks": time.monotonic_ns(),
            "bdevs": [
                {
                    "name": one.name,
                    "bytes_read": one.was_read,
                    "bytes_written": one.written,
                    **({"queue_depth_polling_period": one.sampling} if one.sampling else {}),
                }
                for one in bdevs
            ],
        }

    async def bdev_examine(self, name: str) -> bool:
        """Examine by hand; allowed although it happens automatically."""
        self._registry.get(name)
        raise Refused(EINVAL, "Invalid argument")

    async def bdev_set_qd_sampling_period(self, name: str, period: int) -> bool:
        """The period ends with the bdev. Not measured, but SPDK's source does so."""
        self._registry.get(name).sampling = period
        return True

    async def bdev_set_qos_limit(
        self,
        name: str,
        rw_ios_per_sec: int | None = None,
        rw_mbytes_per_sec: int | None = None,
        r_mbytes_per_sec: int | None = None,
        w_mbytes_per_sec: int | None = None,
    ) -> bool:
        given = (rw_ios_per_sec, rw_mbytes_per_sec, r_mbytes_per_sec, w_mbytes_per_sec)
        limits = {name: one for name, one in zip(LIMITS, given, strict=True) if one is not None}
        if not limits:
            raise Refused(EINVAL, "No rate limits specified")
        bdev = self._registry.get(name)
        if "rw_ios_per_sec" in limits:
            limits["rw_ios_per_sec"] = -(-limits["rw_ios_per_sec"] // IOPS_STEP) * IOPS_STEP
        bdev.limits.update(limits)
        return True

    async def notify_get_types(self) -> list[str]:
        return ["bdev_register", "bdev_unregister", "bdev_resize"]

    async def notify_get_notifications(
        self,
        id: int = 0,  # noqa: A002
        max: int = 1000,  # noqa: A002
    ) -> list[dict[str, Any]]:
        return self._registry.events[id : id + max]

    def _file(self, name: str) -> FileBdev:
        bdev = self._registry.get(name)
        if not isinstance(bdev, FileBdev):
            raise Refused(INVALID_PARAMS, "Invalid argument")
        return bdev
