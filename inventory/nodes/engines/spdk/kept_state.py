"""The state of an SPDK target, cached between calls.

The time to read the whole state increases with the number of volumes, and in this time one of
SPDK's cores does no I/O. So the whole state is read at the start, when a part of it may be wrong,
for lists and for the audit. An operation reads only the parts that it depends on and the parts that
it changed.

If another program changes SPDK, the other parts may be outdated until the next full read, which is
at most FULL_SECONDS later.
"""

import asyncio
import itertools
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from inventory.nodes.engines.spdk.reservations import Ledger
from inventory.nodes.engines.spdk.rpc import RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import (
    NO_SUCH_DEVICE,
    Bdev,
    Lvol,
    Lvstore,
    Raid,
    SpdkState,
    read_shown,
)

FULL_SECONDS = 300.0
"""A full read is at most this old, plus one interval of the watch."""
SPACE_SECONDS = 10.0
"""What thin lvols own is at most this old when the space of an SSD is reported."""

RAID = ""
"""Stands for the lvstore in the key of a raid."""


class KeptState(SpdkState):
    """The state of one SPDK target. Each lvol is as of the latest read of it that has begun.

    ``bdevs`` holds the bdevs of raids only. ``space_seconds`` replaces SPACE_SECONDS. Use it in one
    event loop only.
    """

    def __init__(self, rpc: SpdkRpc, *, space_seconds: float = SPACE_SECONDS) -> None:
        super().__init__([], [], [], [])
        self.ledgers: dict[str, Ledger] = {}
        self._rpc = rpc
        self._space_seconds = space_seconds
        self._reading = asyncio.Lock()
        self._moments = itertools.count(1)
        self._full_moment = 0
        self._full_at = float("-inf")
        self._counted_at: dict[str, float] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._doubts, self._cleared = 1, 0

    def invalidate(self) -> None:
        """Mark the state as invalid, so that everything is read before it is used again."""
        self._doubts += 1

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A context in which SPDK is changed and the changes are read back. If it fails, the result
        is unknown, so the state becomes invalid.
        """
        try:
            yield
        except BaseException:
            self.invalidate()
            raise

    @property
    def is_old(self) -> bool:
        """Whether a full read is due because the last one was FULL_SECONDS ago."""
        return time.monotonic() - self._full_at > FULL_SECONDS

    async def current(self) -> Self:
        """Return the state, after a full read if it is invalid."""
        if self._cleared != self._doubts:
            await self.read_all()
        return self

    async def read_all(self) -> Self:
        """Read everything. Callers that wait for a read share the next one."""
        asked = next(self._moments)
        async with self._reading:
            if self._full_moment < asked:
                began, doubts = next(self._moments), self._doubts
                self._install(await SpdkState.read(self._rpc), began)
                self._cleared, self._full_at = doubts, time.monotonic()
        return self

    async def read_stores(self) -> Self:
        """Read all lvstores, but not their lvols."""
        found = [Lvstore.of(one) for one in await self._rpc.call("bdev_lvol_get_lvstores")]
        if any(one.uuid not in self.lvols for one in found):
            self.invalidate()
        self._put_stores({one.base: one for one in found})
        return self

    async def look_stores(self, lvstores: Collection[Lvstore]) -> None:
        """Read these lvstores."""
        await asyncio.gather(*map(self._look_store, lvstores))

    async def look(self, lvstore: Lvstore, name: str) -> Lvol | None:
        """Read the lvol; None: it does not exist, or has no bdev."""
        moment = next(self._moments)
        shown = await read_shown(self._rpc, f"{lvstore.name}/{name}")
        lvol = Lvol.of_bdev(name, shown) if shown else None
        self._note(lvstore.uuid, name, lvol, moment)
        return self.find(lvstore, name)

    async def look_chain(self, lvstore: Lvstore, name: str) -> list[Lvol]:
        """Read the lvol and the snapshots below it, oldest first.

        :raises NotAsAsked: one of them is not visible.
        """
        wanted: str | None = name
        while wanted is not None:
            lvol = await self.look(lvstore, wanted)
            wanted = lvol.parent if lvol else None
        return self.chain(lvstore, name)

    async def look_raid(self, name: str) -> Bdev | None:
        """Read the raid's bdev; None: there is none, because a member is missing, or there is no
        such raid.
        """
        moment = next(self._moments)
        shown = await read_shown(self._rpc, name)
        if self._is_news(RAID, name, moment):
            self.bdevs.pop(name, None)
            if shown is not None:
                self.bdevs[name] = Bdev.of(shown)
                self.raids[name] = Raid.of({"name": name, **shown["driver_specific"]["raid"]})
        return self.bdevs.get(name)

    async def forget(self, lvstore: Lvstore, name: str) -> None:
        """Record that the lvol was deleted, and read the lvols above it, which SPDK has changed."""
        above = sorted(self._above(lvstore, name))
        self._note(lvstore.uuid, name, None, next(self._moments))
        await asyncio.gather(*(self.look(lvstore, one) for one in above))

    def forget_raid(self, name: str) -> None:
        """Note that the raid was deleted."""
        self._seen[RAID, name] = next(self._moments)
        self.bdevs.pop(name, None)
        self.raids.pop(name, None)

    def count_above(self, lvstore: Lvstore, name: str) -> int:
        """Return the number of lvols directly above the snapshot."""
        return len(self._above(lvstore, name))

    def unseen(self, lvstore: Lvstore) -> int:
        """Return the number of clusters that are neither free nor owned by a known lvol. A negative
        number means that known lvols have become smaller since they were read.
        """
        ledger = self.ledgers.get(lvstore.uuid)
        return ledger.unseen(lvstore.capacity, lvstore.free_clusters) if ledger else 0

    async def count(self, lvstore: Lvstore, *, at_once: bool = False) -> None:
        """Read again how many clusters the lvols own, if the free clusters of the lvstore, which
        were just read, show that this has changed, and if it was read ``space_seconds`` ago or
        earlier. ``at_once``: read it in any case.
        """
        now = time.monotonic()
        counted_at = max(self._counted_at.get(lvstore.uuid, self._full_at), self._full_at)
        is_due = self.unseen(lvstore) != 0 and now - counted_at >= self._space_seconds
        if at_once or is_due:
            self._counted_at[lvstore.uuid] = now
            await self._count(lvstore)

    async def _count(self, lvstore: Lvstore) -> None:
        moment = next(self._moments)
        shown = await self._rpc.call("bdev_lvol_get_lvols", lvs_uuid=lvstore.uuid)
        owned = {one["name"]: one["num_allocated_clusters"] for one in shown}
        there = self.lvols.get(lvstore.uuid, {})
        for name in owned.keys() & there.keys():
            lvol = replace(there[name], owned_clusters=owned[name])
            self._note(lvstore.uuid, name, lvol, moment)
        await asyncio.gather(*(self.look(lvstore, one) for one in owned.keys() ^ there.keys()))

    async def _look_store(self, lvstore: Lvstore) -> None:
        try:
            [shown] = await self._rpc.call("bdev_lvol_get_lvstores", uuid=lvstore.uuid)
        except RpcRefused as error:
            if error.code != NO_SUCH_DEVICE:
                raise
            left = {base: one for base, one in self.lvstores.items() if one.uuid != lvstore.uuid}
            self._put_stores(left)
        else:
            found = Lvstore.of(shown)
            self._put_stores(self.lvstores | {found.base: found})

    def _above(self, lvstore: Lvstore, name: str) -> Collection[str]:
        ledger = self.ledgers.get(lvstore.uuid)
        return ledger.above.get(name, ()) if ledger else ()

    def _install(self, found: SpdkState, began: int) -> None:
        """Replace the state by that of a full read, except for objects that were read separately
        since the full read began.
        """
        self._full_moment = began
        self._seen = {key: moment for key, moment in self._seen.items() if moment > began}
        self._put_stores(found.lvstores)
        for lvstore, there in self.lvols.items():
            read = found.lvols[lvstore]
            for name in there.keys() | read.keys():
                if (lvstore, name) not in self._seen:
                    self._put(lvstore, name, read.get(name))
        for name in self.raids.keys() | found.raids.keys():
            if (RAID, name) not in self._seen:
                _put(self.raids, name, found.raids.get(name))
                _put(self.bdevs, name, found.bdevs.get(name))

    def _put_stores(self, lvstores: dict[str, Lvstore]) -> None:
        self.lvstores = lvstores
        there = {one.uuid: one for one in lvstores.values()}
        for gone in self.lvols.keys() - there.keys():
            del self.lvols[gone], self.ledgers[gone]
        for new in there.keys() - self.lvols.keys():
            self.lvols[new], self.ledgers[new] = {}, Ledger(there[new].cluster_size)

    def _note(self, lvstore: str, name: str, lvol: Lvol | None, moment: int) -> None:
        if self._is_news(lvstore, name, moment):
            self._put(lvstore, name, lvol)

    def _is_news(self, lvstore: str, name: str, moment: int) -> bool:
        """Whether the read that began at this moment is the latest one of the object so far."""
        if moment <= max(self._seen.get((lvstore, name), 0), self._full_moment):
            return False
        self._seen[lvstore, name] = moment
        return True

    def _put(self, lvstore: str, name: str, lvol: Lvol | None) -> None:
        there = self.lvols.get(lvstore)
        if there is not None and there.get(name) != lvol:
            _put(there, name, lvol)
            self.ledgers[lvstore].set_lvol(name, lvol)


def _put(there: dict[str, Any], name: str, value: object) -> None:
    if value is None:
        there.pop(name, None)
    else:
        there[name] = value
