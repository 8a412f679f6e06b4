"""Copies of volumes to other nodes, which run on their own until they are told to stop."""

import asyncio
import logging
from dataclasses import dataclass, field

from inventory.nodes.engines.spdk.books import Books, VolumeEntry
from inventory.nodes.engines.spdk.names import COPY
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.transfer import CopyFailed, Progress, Transfer
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, Sync, SyncSpec, SyncState

log = logging.getLogger(__name__)


@dataclass
class Copy:
    spec: SyncSpec
    total: int
    progress: Progress = field(default_factory=Progress)
    state: SyncState = SyncState.RUNNING
    message: str = ""
    task: asyncio.Task[None] | None = None

    def shown(self) -> Sync:
        share = self.progress.done * self.total // max(1, self.progress.clusters)
        return Sync(
            state=self.state,
            bytes_done=self.total if self.state is SyncState.DONE else min(share, self.total),
            bytes_total=self.total,
            message=self.message,
            **dict(self.spec),
        )


class Copies:
    """The copies of one engine, one of a volume at most. SPDK tells a result once; it is kept here.
    A copy has ended when nothing of it is left in the target.
    """

    def __init__(self, rpc: SpdkRpc, books: Books, transfer: Transfer) -> None:
        self._rpc = rpc
        self._books = books
        self._transfer = transfer
        self._copies: dict[str, Copy] = {}

    async def clear(self) -> None:
        """None is known any more, and none has a connection."""
        tasks = [copy.task for copy in self._copies.values() if copy.task]
        self._copies.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Disconnect what an earlier process of the agent left connected; its copies end."""
        shown = await self._rpc.call("bdev_nvme_get_controllers")
        left = [one["name"] for one in shown if one["name"].startswith(COPY)]
        for name in left:
            await self._transfer.disconnect(name)
        if left:
            await self._transfer.settle()

    def begin(self, uuid: str, spec: SyncSpec) -> None:
        """:raises NodeRefused: NOT_FOUND"""
        entry = self._books.volumes.get(uuid)
        if entry is None or not entry.made:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not here")
        copy = self._copies[uuid] = Copy(spec, entry.spec.capacity)
        copy.task = asyncio.create_task(self._run(copy, entry), name=f"copy of {uuid}")

    def read(self, uuid: str) -> Sync | None:
        copy = self._copies.get(uuid)
        return copy.shown() if copy else None

    async def end(self, uuid: str) -> None:
        """Stop it and forget it."""
        copy = self._copies.get(uuid)
        if copy is None:
            return
        copy.progress.is_unwanted = True
        if copy.task:
            await asyncio.shield(copy.task)
        if self._copies.get(uuid) is copy:
            del self._copies[uuid]

    async def _run(self, copy: Copy, entry: VolumeEntry) -> None:
        try:
            await self._transfer.run(entry, copy.spec, copy.progress)
        except (CopyFailed, RpcRefused, RpcLost, NotAsAsked, NodeRefused) as error:
            copy.message, copy.state = str(error), SyncState.FAILED
        except Exception:
            log.exception("the copy of volume %s failed", entry.uuid)
            copy.message, copy.state = "the agent failed", SyncState.FAILED
        else:
            copy.state = SyncState.DONE
