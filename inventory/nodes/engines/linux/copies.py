"""Copies of volumes to other nodes. They run in the background until they end or are stopped."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass

from inventory.nodes.engines.base import RESULT_SECONDS
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.fronts import Fronts
from inventory.nodes.engines.linux.initiator import ConnectFailed, Disk, Initiator
from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel, Stuck
from inventory.nodes.engines.linux.names import volume_name
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode, Sync, SyncSpec, SyncState

ENDING_SECONDS = 40.0
BLOCK = 2**20

log = logging.getLogger(__name__)


class CopyFailed(Exception):
    """The copy ended without success. The text gives the reason."""


@dataclass
class Copy:
    """One copy and its result. ``done``: the number of bytes of the volume that are durable at the
    destination, or need not be copied.
    """

    spec: SyncSpec
    total: int
    done: int = 0
    state: SyncState = SyncState.RUNNING
    message: str = ""
    task: asyncio.Task[None] | None = None
    ended_at: float = math.inf

    @property
    def is_needed(self) -> bool:
        return time.monotonic() - self.ended_at < RESULT_SECONDS

    def shown(self) -> Sync:
        """The copy in the format of the node API."""
        return Sync(
            state=self.state,
            bytes_done=self.done,
            bytes_total=self.total,
            message=self.message,
            **dict(self.spec),
        )


class Copies:
    """The copies of one engine, at most one for each volume. The progress of a copy is recorded.
    The same copy continues from there, also after a restart.
    """

    def __init__(
        self, kernel: Kernel, stores: Stores, engine_state: EngineState, fronts: Fronts
    ) -> None:
        self._kernel = kernel
        self._initiator = Initiator(kernel)
        self._stores = stores
        self._engine_state = engine_state
        self._fronts = fronts
        self._copies: dict[str, Copy] = {}

    @property
    def are_needed(self) -> bool:
        """Whether a copy runs, or has a result that the provisioner may not have read."""
        return any(copy.is_needed for copy in self._copies.values())

    async def clear(self) -> None:
        """Stop and forget all copies. Disconnect the connections that an earlier process left."""
        tasks = [copy.task for copy in self._copies.values() if copy.task]
        self._copies.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for nqn, host_nqn in list(self._engine_state.connections()):
            await self._initiator.disconnect(nqn, host_nqn)
            self._engine_state.drop_connection(nqn, host_nqn)

    def cancel(self) -> None:
        """Stop the copies without waiting for their end."""
        for copy in self._copies.values():
            if copy.task:
                copy.task.cancel()

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

        :raises NodeRefused: UNAVAILABLE: it still writes, because the kernel hangs.
        """
        copy = self._copies.get(uuid)
        if copy and copy.task:
            copy.task.cancel()
            _, running = await asyncio.wait([copy.task], timeout=ENDING_SECONDS)
            if running:
                raise NodeRefused(
                    RefusalCode.UNAVAILABLE, f"the copy of volume {uuid} has not ended yet"
                )
        if self._copies.get(uuid) is copy:
            self._copies.pop(uuid, None)

    def forget(self, uuid: str) -> None:
        """Forget the progress of copies of the volume, because the volume is removed."""
        self._engine_state.forget_copied(uuid)

    async def _run(self, copy: Copy, entry: VolumeEntry) -> None:
        try:
            await self._copy(copy, entry)
        except (CopyFailed, ConnectFailed, CommandFailed, Stuck, NodeRefused, OSError) as error:
            copy.message, copy.state = str(error), SyncState.FAILED
        except Exception:
            log.exception("the copy of volume %s failed", entry.uuid)
            copy.message, copy.state = "the agent failed", SyncState.FAILED
        else:
            copy.done, copy.state = copy.total, SyncState.DONE
        finally:
            copy.ended_at = time.monotonic()

    async def _copy(self, copy: Copy, entry: VolumeEntry) -> None:
        spec = copy.spec
        self._engine_state.note_connection(spec.nqn, spec.host_nqn)
        async with self._initiator.connected(spec) as controller:
            for place, piece in enumerate(entry.made_pieces):
                disk = await self._initiator.disk(controller, spec.nsid + place)
                self._check(entry, piece, spec, spec.nsid + place, disk)
                assert disk is not None
                await self._copy_piece(copy, entry, place, disk)
        self._engine_state.drop_connection(spec.nqn, spec.host_nqn)

    def _check(
        self, entry: VolumeEntry, piece: Piece, spec: SyncSpec, nsid: int, disk: Disk | None
    ) -> None:
        """Check that the namespace can receive the piece.

        :raises CopyFailed: it cannot.
        """
        if disk is None:
            raise CopyFailed(f"{spec.nqn} has no namespace {nsid}")
        if disk.block_size != entry.spec.block_size:
            raise CopyFailed(
                f"namespace {nsid} of {spec.nqn} has blocks of {disk.block_size} bytes,"
                f" and the volume of {entry.spec.block_size}"
            )
        if disk.size < piece.capacity:
            raise CopyFailed(
                f"namespace {nsid} of {spec.nqn} has {disk.size} bytes,"
                f" and the volume {piece.capacity}"
            )

    async def _copy_piece(self, copy: Copy, entry: VolumeEntry, place: int, disk: Disk) -> None:
        """Copy one piece, starting where an earlier attempt ended. Ranges that are not allocated in
        the pool are not read.
        """
        piece = entry.spec.pieces[place]
        before = sum(one.capacity for one in entry.spec.pieces[:place])
        what = f"{copy.spec.nqn} {copy.spec.generation}"
        done_place, done = self._engine_state.copied(entry.uuid, what)
        start = done if place == done_place else piece.capacity if place < done_place else 0

        def note(offset: int) -> None:
            copy.done = max(copy.done, before + offset)
            self._engine_state.note_copied(entry.uuid, what, place, offset)

        store = self._stores.get(piece.ssd_id)
        thin = store.thin(await self._stores.mapper.read(), volume_name(entry.uuid))
        if thin is None:
            raise CopyFailed(f"volume {entry.uuid} is lost on SSD {piece.ssd_id}")
        end = min(piece.capacity, -(-thin.highest // BLOCK) * BLOCK)
        if start < end:
            source = self._fronts.piece_device(entry, piece)
            await self._kernel.copy(source, disk.device, start=start, end=end, note=note)
        note(piece.capacity)
