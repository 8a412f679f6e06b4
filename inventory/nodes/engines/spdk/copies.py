"""Copies of volumes to other nodes. They run in the background until they end or are stopped."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field

from inventory.nodes.engines.base import RESULT_SECONDS
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.connections import ENDING_SECONDS, Connections
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcLost, RpcRefused
from inventory.nodes.engines.spdk.transfer import CopyFailed, Progress, Transfer
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, Sync, SyncSpec, SyncState

log = logging.getLogger(__name__)


@dataclass
class Copy:
    """One copy and its result."""

    spec: SyncSpec
    total: int
    progress: Progress = field(default_factory=Progress)
    state: SyncState = SyncState.RUNNING
    message: str = ""
    task: asyncio.Task[None] | None = None
    ended_at: float = math.inf

    @property
    def is_needed(self) -> bool:
        return time.monotonic() - self.ended_at < RESULT_SECONDS

    def shown(self) -> Sync:
        """The copy in the format of the node API."""
        share = self.progress.done * self.total // max(1, self.progress.clusters)
        return Sync(
            state=self.state,
            bytes_done=self.total if self.state is SyncState.DONE else min(share, self.total),
            bytes_total=self.total,
            message=self.message,
            **dict(self.spec),
        )


class Copies:
    """The copies of one engine, at most one for each volume. SPDK reports a result only once, so it
    is kept here.

    When a copy is DONE, nothing of it is left in SPDK. A FAILED copy may still write. :meth:`end`
    waits for its end.
    """

    def __init__(
        self, engine_state: EngineState, transfer: Transfer, connections: Connections
    ) -> None:
        self._engine_state = engine_state
        self._transfer = transfer
        self._connections = connections
        self._copies: dict[str, Copy] = {}

    @property
    def are_needed(self) -> bool:
        """Whether a copy runs, or has a result that the provisioner may not have read."""
        return any(copy.is_needed for copy in self._copies.values())

    async def clear(self) -> None:
        """Forget all copies. ``Connections.adopt`` finds what SPDK still has."""
        tasks = [copy.task for copy in self._copies.values() if copy.task]
        self._copies.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connections.forget()

    def begin(self, uuid: str, spec: SyncSpec) -> None:
        """Start a copy of the volume.

        :raises NodeRefused: NOT_FOUND
        """
        entry = self._engine_state.volumes.get(uuid)
        if entry is None or not entry.made:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
        copy = self._copies[uuid] = Copy(spec, entry.spec.capacity)
        copy.task = asyncio.create_task(self._run(copy, entry), name=f"copy of {uuid}")

    def read(self, uuid: str) -> Sync | None:
        """The latest copy of the volume, or None."""
        copy = self._copies.get(uuid)
        return copy.shown() if copy else None

    async def end(self, uuid: str) -> None:
        """Stop and forget the copy.

        :raises NodeRefused: UNAVAILABLE: a copy of the volume, perhaps one of an earlier process of
            the agent, still writes. It ends by itself, or when its target is removed.
        """
        copy = self._copies.get(uuid)
        if copy and copy.task:
            copy.progress.is_unwanted = True
            await asyncio.wait([copy.task], timeout=ENDING_SECONDS)
        if not await self._connections.are_closed(uuid):
            raise NodeRefused(
                RefusalCode.UNAVAILABLE,
                f"a stopped copy of volume {uuid} is still being written, and SPDK cannot cancel "
                "it: remove its target to end it",
            )
        if self._copies.get(uuid) is copy:
            self._copies.pop(uuid, None)

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
        finally:
            copy.ended_at = time.monotonic()
