"""Snapshots that volumes and clones have in common.

A snapshot lvol that nobody asked for, or nobody wants any more, is shared: it is there for the
lvols above it, and goes, merged into the last of them, when at most one is left. So a clone never
bars the removal of what it was made from, and nothing is copied for that.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inventory.nodes.engines.spdk.books import Books
from inventory.nodes.engines.spdk.lvols import Lvols, NotAsAsked
from inventory.nodes.engines.spdk.names import SHARED, shared_name
from inventory.nodes.engines.spdk.rpc import RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.stores import Stores
from inventory.nodes.engines.spdk.view import Lvol, Lvstore, View

log = logging.getLogger(__name__)


class Chains:
    """The caller of all but ``keep`` holds the lock of the SSD (``Stores.lock``)."""

    def __init__(self, rpc: SpdkRpc, stores: Stores, lvols: Lvols) -> None:
        self._rpc = rpc
        self._stores = stores
        self._lvols = lvols
        self._kept: set[str] = set()

    @contextmanager
    def keep(self, name: str) -> Iterator[None]:
        """A shared snapshot that is in use meanwhile, whatever lies above it."""
        self._kept.add(name)
        try:
            yield
        finally:
            self._kept.discard(name)

    async def freeze(self, lvstore: Lvstore, name: str) -> Lvol:
        """A snapshot of what the lvol is now: the one below it where nothing was written since, as
        always below a read-only one; else a new one, which is shared.
        """
        view = await View.read(self._rpc)
        lvol = view.find(lvstore, name)
        below = view.find(lvstore, lvol.parent) if lvol and lvol.parent else None
        if lvol and below and not lvol.owned_clusters and below.size == lvol.size:
            return below
        made = shared_name()
        await self._lvols.snapshot(lvstore, name, made)
        found = (await View.read(self._rpc)).find(lvstore, made)
        if found is None:
            raise NotAsAsked(f"snapshot {made} of {name} is gone")
        return found

    async def release(self, lvstore: Lvstore, name: str) -> None:
        """A snapshot is nobody's from now on. Gone already is fine."""
        try:
            await self._lvols.rename(lvstore, name, shared_name())
        except RpcRefused:
            if (await View.read(self._rpc)).find(lvstore, name):
                raise

    async def sweep(self, ssd_id: str) -> None:
        """Remove the shared snapshots that are for one lvol or none."""
        refused: set[str] = set()
        while True:
            view = await View.read(self._rpc)
            lvstore = self._stores.find(view, ssd_id)
            idle = self._idle(view, lvstore) - refused if lvstore else set()
            if lvstore is None or not idle:
                return
            for name in sorted(idle):
                try:
                    await self._lvols.delete(lvstore, name)
                except RpcRefused as error:
                    refused.add(name)
                    log.warning("snapshot %s on SSD %s stays: %s", name, ssd_id, error)

    def _idle(self, view: View, lvstore: Lvstore) -> set[str]:
        lvols = view.lvols[lvstore.uuid].values()
        above = Counter(lvol.parent for lvol in lvols)
        return {
            lvol.name
            for lvol in lvols
            if lvol.name.startswith(SHARED)
            and lvol.name not in self._kept
            and above[lvol.name] <= 1
        }


@dataclass(frozen=True)
class Parts:
    """What volumes and snapshots are made with."""

    rpc: SpdkRpc
    stores: Stores
    books: Books
    lvols: Lvols
    chains: Chains
