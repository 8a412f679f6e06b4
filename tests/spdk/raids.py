"""Concat raids over block devices."""

import asyncio
import json
import uuid as uuids
from typing import Any

from tests.spdk.bdevs import Bdev, Registry
from tests.spdk.lvols import Lvol
from tests.spdk.rpc import EEXIST, EINVAL, PARSE, Module, Refused, no_device, not_permitted

MAGIC = b"RAIDFAKE"
HEAD = 4096
ALIGNMENT = 2**20
KIB = 2**10


class Raid(Bdev):
    """``members``: by position; None: missing. Sizes and positions do not change when the sizes of
    the members change.
    """

    product = "Raid Volume"

    def __init__(self, name: str, uuid: str, strip_kib: int, *, has_superblock: bool) -> None:
        super().__init__(name, 0, uuid)
        self.strip = strip_kib * KIB
        self.has_superblock = has_superblock
        self.names: list[str] = []
        self.uuids: list[str] = []
        self.sizes: list[int] = []
        self.offsets: list[int] = []
        self.members: list[Bdev | None] = []
        self.state = "configuring"

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def specific(self) -> dict[str, Any]:
        return {"raid": self.description()}

    def description(self) -> dict[str, Any]:
        members = [
            {
                "name": member.name if member else name,
                "uuid": member.uuid if member else uuid,
                "is_configured": member is not None,
                "data_offset": offset // (self.block_size or 1),
                "data_size": size // (self.block_size or 1),
            }
            for name, uuid, size, offset, member in zip(
                *(self.names, self.uuids, self.sizes, self.offsets, self.members), strict=True
            )
        ]
        return {
            "name": self.name,
            "uuid": self.uuid,
            "strip_size_kb": self.strip // KIB,
            "state": self.state,
            "raid_level": "concat",
            "superblock": self.has_superblock,
            "num_base_bdevs": len(members),
            "num_base_bdevs_discovered": sum(one is not None for one in self.members),
            "num_base_bdevs_operational": len(members),
            "base_bdevs_list": members,
        }

    def superblock(self) -> bytes:
        text = json.dumps(
            {
                "name": self.name,
                "uuid": self.uuid,
                "strip": self.strip,
                "block_size": self.block_size,
                "uuids": self.uuids,
                "sizes": self.sizes,
                "offsets": self.offsets,
            }
        ).encode()
        return (MAGIC + len(text).to_bytes(4, "big") + text).ljust(HEAD, b"\0")

    async def read(self, offset: int, length: int) -> bytes:
        parts = self._parts(offset, length)
        return b"".join([await member.read(start, size) for member, start, size in parts])

    async def write(self, offset: int, data: bytes) -> None:
        for member, start, size in self._parts(offset, len(data)):
            await member.write(start, data[:size])
            data = data[size:]

    async def zero(self, offset: int, length: int) -> None:
        for member, start, size in self._parts(offset, length):
            await member.zero(start, size)

    async def unmap(self, offset: int, length: int) -> None:
        for member, start, size in self._parts(offset, length):
            await member.unmap(start, size)

    def _parts(self, offset: int, length: int) -> list[tuple[Bdev, int, int]]:
        if offset + length > self.size or self.state != "online":
            raise OSError(5, "beyond the end, or not online")
        parts = []
        for member, head, size in zip(self.members, self.offsets, self.sizes, strict=True):
            there = min(length, max(0, size - offset))
            if there and member is not None:
                parts.append((member, head + offset, there))
            length -= there
            offset = max(0, offset - size)
        return parts


class RaidMethods(Module):
    METHODS = ("bdev_raid_", "bdev_wait_")
    UNDECODABLE = (PARSE, "Parse error")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._raids: dict[str, Raid] = {}
        self._examining: set[asyncio.Task[None]] = set()
        registry.on_register.append(self._look)
        registry.on_remove.append(self._lose)

    async def bdev_raid_create(
        self,
        name: str,
        raid_level: str,
        base_bdevs: list[str],
        strip_size_kb: int | None = None,
        superblock: bool = False,
        uuid: str | None = None,
    ) -> bool:
        if raid_level != "concat" or not strip_size_kb or strip_size_kb & (strip_size_kb - 1):
            raise Refused(EINVAL, f"Failed to create RAID bdev {name}: Invalid argument")
        there = [self._registry.find(one) for one in base_bdevs]
        if any(bdev and bdev.claimed_by for bdev in there):
            raise not_permitted()
        carried = [(await _carried(bdev)) for bdev in there if bdev]
        others = [one for one in carried if one and one["uuid"] != uuid]
        if name in self._raids or others or self._registry.find(name):
            raise Refused(EEXIST, f"Failed to create RAID bdev {name}: File exists")
        raid = Raid(name, uuid or str(uuids.uuid4()), strip_size_kb, has_superblock=superblock)
        raid.names, raid.uuids = list(base_bdevs), [one.uuid if one else "" for one in there]
        raid.sizes, raid.offsets = [0] * len(there), [0] * len(there)
        raid.members = list(there)
        self._raids[name] = raid
        await self._configure(raid)
        return True

    async def bdev_raid_get_bdevs(self, category: str) -> list[dict[str, Any]]:
        if category not in {"all", "online", "configuring", "offline"}:
            raise Refused(EINVAL, "Invalid argument")
        raids = self._raids.values()
        return [one.description() for one in raids if category in {"all", one.state}]

    async def bdev_raid_delete(self, name: str, clear_sb: bool = False) -> bool:
        raid = self._raids.pop(name, None)
        if raid is None:
            raise no_device()
        self._registry.remove(raid)
        for member in raid.members:
            if member is not None:
                member.claimed_by = ""
                if clear_sb and raid.has_superblock:
                    await member.zero(0, HEAD)
        return True

    async def bdev_wait_for_examine(self) -> bool:
        while self._examining:
            await asyncio.wait(self._examining)
        return True

    def _look(self, bdev: Bdev) -> None:
        task = asyncio.create_task(self._examine(bdev))
        self._examining.add(task)
        task.add_done_callback(self._examining.discard)

    async def _examine(self, bdev: Bdev) -> None:
        """Load the raid whose superblock is on the bdev, or add the bdev to it."""
        found = None if bdev.claimed_by else await _carried(bdev)
        if found is None or bdev.uuid not in found["uuids"]:
            return
        raid = self._raids.get(found["name"])
        if raid is None:
            raid = Raid(found["name"], found["uuid"], found["strip"] // KIB, has_superblock=True)
            raid.uuids, raid.sizes = found["uuids"], found["sizes"]
            raid.offsets = found["offsets"]
            raid.names, raid.block_size = list(raid.uuids), found["block_size"]
            raid.members = [None] * len(raid.uuids)
            self._raids[raid.name] = raid
        if raid.uuid != found["uuid"] or raid.state != "configuring":
            return
        raid.members[raid.uuids.index(bdev.uuid)] = bdev
        bdev.claimed_by = "raid"
        self._go_online(raid)

    async def _configure(self, raid: Raid) -> None:
        """Add a raid, which is online when all members are present."""
        members = [member for member in raid.members if member is not None]
        for member in members:
            member.claimed_by = "raid"
            raid.block_size = member.block_size
        if len(members) < len(raid.members):
            return
        if raid.has_superblock:
            raid.offsets = [_head(member) for member in members]
        raid.sizes = [
            (member.size - head) // raid.strip * raid.strip
            for member, head in zip(members, raid.offsets, strict=True)
        ]
        if raid.has_superblock:
            for member in members:
                await member.write(0, raid.superblock())
        self._go_online(raid)

    def _go_online(self, raid: Raid) -> None:
        if all(member is not None for member in raid.members):
            raid.state = "online"
            self._registry.add(raid)

    def _lose(self, bdev: Bdev) -> None:
        for raid in list(self._raids.values()):
            if bdev in raid.members:
                raid.members[raid.members.index(bdev)] = None
                if raid.state == "online":
                    raid.state = "offline"
                    self._registry.remove(raid)
                elif raid.state == "configuring" and not any(raid.members):
                    del self._raids[raid.name]


def _head(member: Bdev) -> int:
    """The size of the superblock, up to the start of the member's clusters."""
    return max(ALIGNMENT, member.store.cluster_size if isinstance(member, Lvol) else 0)


async def _carried(bdev: Bdev) -> dict[str, Any] | None:
    """Return the superblock on the bdev, or None."""
    if isinstance(bdev, Raid) or bdev.size < HEAD:
        return None
    head = await bdev.read(0, HEAD)
    if not head.startswith(MAGIC):
        return None
    start = len(MAGIC) + 4
    length = int.from_bytes(head[len(MAGIC) : start], "big")
    found: dict[str, Any] = json.loads(head[start : start + length])
    return found
