"""The current lvstores, lvols and raids of an SPDK target."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc

NO_SUCH_DEVICE = -19
UNKNOWN = "?"


@dataclass(frozen=True)
class Lvstore:
    """An lvstore. Sizes are in bytes, except ``free_clusters``."""

    uuid: str
    name: str
    base: str
    cluster_size: int
    block_size: int
    capacity: int
    free_clusters: int

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        return cls(
            shown["uuid"],
            shown["name"],
            shown["base_bdev"],
            shown["cluster_size"],
            shown["block_size"],
            shown["total_data_clusters"] * shown["cluster_size"],
            shown["free_clusters"],
        )


@dataclass(frozen=True)
class Bdev:
    """A bdev. ``parent``: for an lvol, the name of the snapshot below it in its lvstore; UNKNOWN if
    SPDK shows that there is one, but not which. ``is_claimed``: a namespace, raid or lvstore uses
    it.
    """

    name: str
    aliases: tuple[str, ...]
    size: int
    block_size: int
    limits: tuple[int, int]
    parent: str | None = None
    is_claimed: bool = False

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        limits = shown.get("assigned_rate_limits") or {}
        lvol = (shown.get("driver_specific") or {}).get("lvol") or {}
        return cls(
            shown["name"],
            (shown.get("uuid") or "", *shown.get("aliases", ())),
            shown["block_size"] * shown["num_blocks"],
            shown["block_size"],
            (limits.get("rw_ios_per_sec", 0), limits.get("rw_mbytes_per_sec", 0)),
            lvol.get("base_snapshot", UNKNOWN if lvol.get("clone") else None),
            shown.get("claimed", False),
        )


@dataclass(frozen=True)
class Lvol:
    """An lvol. ``bdev`` is None while it is being created or deleted, and for a degraded one."""

    uuid: str
    name: str
    lvstore: str
    owned_clusters: int
    is_snapshot: bool
    bdev: Bdev | None

    @classmethod
    def of_bdev(cls, name: str, shown: dict[str, Any]) -> Self:
        """Return the lvol ``name`` with the data of its bdev."""
        lvol = shown["driver_specific"]["lvol"]
        return cls(
            shown["uuid"],
            name,
            lvol["lvol_store_uuid"],
            lvol["num_allocated_clusters"],
            lvol["snapshot"],
            Bdev.of(shown),
        )

    @property
    def size(self) -> int:
        return self.bdev.size if self.bdev else 0

    @property
    def parent(self) -> str | None:
        return self.bdev.parent if self.bdev else None


@dataclass(frozen=True)
class Raid:
    """A raid. ``members``: in order, each with the name and UUID that SPDK reports."""

    name: str
    state: str
    members: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        members = (
            frozenset(filter(None, (one.get("name"), one.get("uuid"))))
            for one in shown["base_bdevs_list"]
        )
        return cls(shown["name"], shown["state"], tuple(members))

    def is_over(self, lvols: Sequence["Lvol"]) -> bool:
        """Whether these are its members, in this order."""
        names = [{lvol.uuid, *(lvol.bdev.aliases if lvol.bdev else ())} for lvol in lvols]
        return len(names) == len(self.members) and all(
            one & member for one, member in zip(names, self.members, strict=True)
        )


class SpdkState:
    """The target's state at one time. ``lvstores``: by the bdev under them. ``lvols``: by the
    UUID of their lvstore, then by name.
    """

    def __init__(
        self, lvstores: list[Any], lvols: list[Any], bdevs: list[Any], raids: list[Any]
    ) -> None:
        self.bdevs = {one.name: one for one in map(Bdev.of, bdevs)}
        self.lvstores = {one.base: one for one in map(Lvstore.of, lvstores)}
        self.raids = {one.name: one for one in map(Raid.of, raids)}
        self.lvols: dict[str, dict[str, Lvol]] = {one.uuid: {} for one in self.lvstores.values()}
        for shown in lvols:
            lvol = self._lvol(shown)
            self.lvols.setdefault(lvol.lvstore, {})[lvol.name] = lvol

    @classmethod
    async def read(cls, rpc: SpdkRpc) -> Self:
        return cls(
            *await asyncio.gather(
                rpc.call("bdev_lvol_get_lvstores"),
                rpc.call("bdev_lvol_get_lvols"),
                rpc.call("bdev_get_bdevs"),
                rpc.call("bdev_raid_get_bdevs", category="all"),
            )
        )

    def find(self, lvstore: Lvstore, name: str) -> Lvol | None:
        return self.lvols.get(lvstore.uuid, {}).get(name)

    def chain(self, lvstore: Lvstore, name: str) -> list[Lvol]:
        """The lvol and the snapshots below it, oldest first.

        :raises NotAsAsked: one of them is not visible.
        """
        chain: list[Lvol] = []
        wanted: str | None = name
        while wanted is not None:
            lvol = self.find(lvstore, wanted)
            if lvol is None or lvol.bdev is None:
                raise NotAsAsked(f"{wanted} of {lvstore.name} is not visible in SPDK")
            chain.insert(0, lvol)
            wanted = lvol.parent
        return chain

    def _lvol(self, shown: dict[str, Any]) -> Lvol:
        return Lvol(
            shown["uuid"],
            shown["name"],
            shown["lvs"]["uuid"],
            shown["num_allocated_clusters"],
            shown["is_snapshot"],
            self.bdevs.get(shown["uuid"]),
        )


async def read_bdev(rpc: SpdkRpc, name: str) -> Bdev | None:
    """The bdev with this name, UUID or alias, or None."""
    shown = await read_shown(rpc, name)
    return Bdev.of(shown) if shown else None


async def read_shown(rpc: SpdkRpc, name: str) -> dict[str, Any] | None:
    """Return SPDK's description of the bdev with this name, UUID or alias. None: there is no such
    bdev.
    """
    try:
        [shown] = await rpc.call("bdev_get_bdevs", name=name)
    except RpcRefused as error:
        if error.code != NO_SUCH_DEVICE:
            raise
        return None
    found: dict[str, Any] = shown
    return found
