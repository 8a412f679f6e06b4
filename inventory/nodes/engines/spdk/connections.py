"""The connections through which copies write.

SPDK cannot cancel a copy. While a copy runs, a detach fails after ten seconds, the copy continues,
and the controller stays listed. The controller disappears when the copy has ended, either by itself
or because the target of the destination removed the namespace. So a copy counts as ended when its
controller is no longer listed. Until then the snapshots that it may read are kept, because SPDK no
longer shows a snapshot that was deleted while it was read.
"""

import asyncio
import logging
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import COPY, copy_name, is_copy_of
from inventory.nodes.engines.spdk.rpc import RpcLost, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.snapshot_tree import SnapshotTree

CONNECT_SECONDS = 120.0
ENDING_SECONDS = 5.0
SETTLE_POLLS = 5

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Connection:
    """``name``: the name of the controller, which is never used again. ``uuid``: the source volume,
    empty if unknown. ``keeping``: keeps the snapshots that are read. They are on ``ssd_ids``.
    """

    name: str
    uuid: str
    ssd_ids: set[str] = field(default_factory=set)
    keeping: ExitStack = field(default_factory=ExitStack)
    closing: asyncio.Task[None] | None = None


class Connections:
    """All connections of copies, including those that an earlier process of the agent left. Use it
    in one event loop only.
    """

    def __init__(
        self,
        rpc: SpdkRpc,
        spdk_state: KeptState,
        stores: Stores,
        engine_state: EngineState,
        snapshot_tree: SnapshotTree,
        *,
        poll: float,
    ) -> None:
        self._rpc = rpc
        self._spdk_state = spdk_state
        self._stores = stores
        self._engine_state = engine_state
        self._snapshot_tree = snapshot_tree
        self._poll = poll
        self._there: set[Connection] = set()

    def open(self, uuid: str) -> Connection:
        """Register a connection for one copy of the volume. The caller attaches the controller."""
        connection = Connection(copy_name(uuid), uuid)
        self._there.add(connection)
        return connection

    def close(self, connection: Connection) -> asyncio.Task[None]:
        """Detach the controller. The task ends when nothing is written through it any more and
        unused snapshots are removed.

        :raises RpcLost: (from the task) the SPDK target has ended.
        """
        connection.closing = asyncio.create_task(
            self._close(connection), name=f"closing {connection.name}"
        )
        connection.closing.add_done_callback(lambda task: self._note(connection, task))
        return connection.closing

    async def are_closed(self, uuid: str) -> bool:
        """Whether no copy of the volume writes any more. Waits for that, at most ENDING_SECONDS."""
        await self.adopt()
        closing = [one.closing for one in self._there if one.uuid == uuid and one.closing]
        if closing:
            await asyncio.wait(closing, timeout=ENDING_SECONDS)
        return all(one.uuid != uuid for one in self._there)

    async def settle(self) -> None:
        """Wait until all connections that are being closed are closed."""
        if closing := [one.closing for one in self._there if one.closing]:
            await asyncio.wait(closing)

    async def forget(self) -> None:
        """Stop waiting for the connections. ``adopt`` finds those that SPDK still has."""
        there = list(self._there)
        self.cancel()
        await asyncio.gather(*(one.closing for one in there if one.closing), return_exceptions=True)
        for connection in there:
            connection.keeping.close()
        self._there.clear()

    def cancel(self) -> None:
        """Stop calling the SPDK target."""
        for connection in self._there:
            if connection.closing:
                connection.closing.cancel()

    async def adopt(self) -> None:
        """Start to close the connections that an earlier process of the agent left, including those
        of a call whose answer it never received.
        """
        shown = await self._rpc.call("bdev_nvme_get_controllers")
        found = {one["name"] for one in shown if one["name"].startswith(COPY)}
        if found <= {one.name for one in self._there}:
            return
        spdk_state = await self._spdk_state.read_all()
        for name in sorted(found - {one.name for one in self._there}):
            log.warning("copy %s of an earlier start is still connected", name)
            connection = self._found(spdk_state, name)
            self._there.add(connection)
            self.close(connection)

    def _found(self, spdk_state: KeptState, name: str) -> Connection:
        """A connection found in SPDK. The snapshot that it reads is unknown, so all snapshots on
        the volume's SSDs are kept.
        """
        entry = next(
            (v for v in self._engine_state.volumes.values() if is_copy_of(name, v.uuid)), None
        )
        connection = Connection(name, entry.uuid if entry else "")
        pieces = {piece.ssd_id for piece in entry.spec.pieces} if entry else None
        for ssd_id, lvstore in self._stores.open_ones(spdk_state).items():
            if pieces is None or ssd_id in pieces:
                lvols = spdk_state.lvols[lvstore.uuid].values()
                names = [lvol.name for lvol in lvols if lvol.is_snapshot]
                connection.keeping.enter_context(self._snapshot_tree.keep(*names))
                connection.ssd_ids.add(ssd_id)
        return connection

    async def _close(self, connection: Connection) -> None:
        with connection.keeping:
            while not await self._is_gone(connection.name):
                await asyncio.sleep(self._poll)
            # SPDK may release the snapshots a little later
            await asyncio.sleep(SETTLE_POLLS * self._poll)
        await asyncio.gather(*map(self._snapshot_tree.sweep, sorted(connection.ssd_ids)))

    async def _is_gone(self, name: str) -> bool:
        """Try to detach, and check the list of controllers, because the answer of a detach proves
        nothing.
        """
        try:
            with suppress(RpcRefused):
                await self._rpc.call(
                    "bdev_nvme_detach_controller", name=name, timeout=CONNECT_SECONDS
                )
            shown = await self._rpc.call("bdev_nvme_get_controllers")
        except (RpcRefused, RpcLost):
            if self._rpc.is_lost:
                raise
            return False
        return all(one["name"] != name for one in shown)

    def _note(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """Forget the connection and log an error. After a cancel or a lost target ``adopt`` finds
        it again.
        """
        self._there.discard(connection)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._rpc.is_lost:
            log.error("after copy %s: %s", connection.name, error)
