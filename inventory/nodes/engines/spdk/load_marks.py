"""Marks on the bdevs under lvstores, which show that SPDK has not loaded an lvstore again.

SPDK loads an lvstore when it starts, and when an SSD returns while it runs. The agent may not see
that an SSD was gone, because it was away for a short time only, or because the agent did not run.
So the mark is in SPDK, on the bdev of the SSD: a period for sampling its queue depth, which SPDK
keeps only as long as the bdev exists. The period is one day and some minutes that depend on the
lvstore, so the sampling costs nothing, and nobody else sets the same period.
"""

import asyncio
import zlib
from collections.abc import Iterable

from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import NO_SUCH_DEVICE, Lvstore

DAY_MICROSECONDS = 24 * 3600 * 10**6


class LoadMarks:
    """Sets and reads the marks."""

    def __init__(self, rpc: SpdkRpc) -> None:
        self._rpc = rpc

    async def put(self, lvstore: Lvstore) -> None:
        """Set the mark. It disappears when SPDK loads the lvstore again.

        :raises NotAsAsked: SPDK did not set it.
        """
        await self._rpc.call(
            "bdev_set_qd_sampling_period", name=lvstore.base, period=_period(lvstore)
        )
        if not await self._is_marked(lvstore):
            raise NotAsAsked(f"the queue depth of bdev {lvstore.base} is not sampled as asked")

    async def missing(self, lvstores: Iterable[Lvstore]) -> set[str]:
        """The UUIDs of those of these lvstores that have no mark."""
        asked = tuple(lvstores)
        marked = await asyncio.gather(*map(self._is_marked, asked))
        return {one.uuid for one, is_so in zip(asked, marked, strict=True) if not is_so}

    async def _is_marked(self, lvstore: Lvstore) -> bool:
        try:
            shown = await self._rpc.call("bdev_get_iostat", names=[lvstore.base])
        except RpcRefused as error:
            if error.code != NO_SUCH_DEVICE:
                raise
            return False
        periods = [one.get("queue_depth_polling_period") for one in shown["bdevs"]]
        return periods == [_period(lvstore)]


def _period(lvstore: Lvstore) -> int:
    return DAY_MICROSECONDS + zlib.crc32(lvstore.uuid.encode())
