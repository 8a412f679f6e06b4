"""Shallow copies: the clusters of one layer, written to another bdev."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.spdk.bdevs import Bdev, Registry
from tests.spdk.lvols import Lvol, lvol
from tests.spdk.rpc import INVALID_PARAMS, Module, Refused, no_device, not_permitted

COPY = "shallow copy"
HELD_SECONDS = 0.005


@dataclass
class Copy:
    total: int
    copied: int = 0
    state: str = "in progress"
    error: str = ""


class CopyMethods(Module):
    """``pace``: the minimum seconds for each cluster. ``held_at``: copies stop after this number of
    clusters until it is None.
    """

    METHODS = ("bdev_lvol_start_shallow_", "bdev_lvol_check_shallow_")

    def __init__(self, registry: Registry) -> None:
        self.pace = 0.0
        self.held_at: int | None = None
        self._registry = registry
        self._copies: dict[int, Copy] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0

    async def bdev_lvol_start_shallow_copy(
        self, src_lvol_name: str, dst_bdev_name: str
    ) -> dict[str, int]:
        source = lvol(self._registry.get(src_lvol_name))
        self._number += 1
        destination = self._registry.find(dst_bdev_name)
        if destination is None:
            raise Refused(INVALID_PARAMS, "No such device")
        if destination.claimed_by:
            raise not_permitted(INVALID_PARAMS)
        copy = self._copies[self._number] = Copy(len(source.blob.clusters))
        destination.claimed_by = COPY
        source.store.busy.add(source.uuid)
        task = asyncio.create_task(self._run(copy, source, destination))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"operation_id": self._number}

    async def bdev_lvol_check_shallow_copy(self, operation_id: int) -> dict[str, Any]:
        copy = self._copies.get(operation_id)
        if copy is None:
            raise no_device()
        shown = {
            "copied_clusters": copy.copied,
            "total_clusters": copy.total,
            "state": copy.state,
        }
        if copy.state != "in progress":
            del self._copies[operation_id]
        return shown | ({"error": copy.error} if copy.error else {})

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _run(self, copy: Copy, source: Lvol, destination: Bdev) -> None:
        try:
            _check(source, destination)
            for index in sorted(source.blob.clusters):
                await asyncio.sleep(self.pace)
                while self.held_at is not None and copy.copied >= self.held_at:
                    await asyncio.sleep(HELD_SECONDS)
                await _transfer(source, index, destination)
                copy.copied += 1
        except (OSError, Refused) as error:
            copy.state, copy.error = "error", str(error)
        else:
            copy.state = "complete"
        finally:
            source.store.busy.discard(source.uuid)
            destination.let_go()


def _check(source: Lvol, destination: Bdev) -> None:
    """Check that the copy is possible.

    :raises OSError: it is not; nothing is copied.
    """
    if not source.blob.is_read_only:
        raise OSError(1, "Operation not permitted")
    if destination.size < source.size or destination.block_size != source.block_size:
        raise OSError(22, "Invalid argument")


async def _transfer(source: Lvol, index: int, destination: Bdev) -> None:
    size = source.store.cluster_size
    if source.is_hole(index):
        await destination.zero(index * size, size)
    else:
        await destination.write(index * size, await source.read(index * size, size))
