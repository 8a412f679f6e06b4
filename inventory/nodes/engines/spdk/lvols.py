"""Operations on single lvols. Each change is read back, because SPDK's errors rarely contain a
reason, and its success does not show what was created.
"""

from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.lvstores import CLEARING_SECONDS
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import NO_SUCH_DEVICE, Lvol, Lvstore
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode

MIB = 2**20
MAX_MIB = 2**63 // MIB


class Lvols:
    """Creates, expands, snapshots and deletes lvols."""

    def __init__(self, rpc: SpdkRpc, spdk_state: KeptState, engine_state: EngineState) -> None:
        self._rpc = rpc
        self._spdk_state = spdk_state
        self._engine_state = engine_state

    async def create(
        self, lvstore: Lvstore, name: str, size: int, *, is_thin: bool, clear_method: str
    ) -> None:
        """Create an lvol. ``clear_method``: how SPDK clears its clusters when it is deleted."""
        with self._spdk_state.changing():
            await self._rpc.call(
                "bdev_lvol_create",
                uuid=lvstore.uuid,
                lvol_name=name,
                size_in_mib=in_mib(size),
                thin_provision=is_thin,
                clear_method=clear_method,
            )
            await self._expect(lvstore, name, size)

    async def derive(
        self, lvstore: Lvstore, name: str, size: int, parent: Lvol, *, clear_method: str
    ) -> None:
        """Create a thin lvol whose content is that of the snapshot ``parent``.

        bdev_lvol_clone is not used, because SPDK clears such a clone by unmapping, whatever the
        method of its parent is.
        """
        await self.create(lvstore, name, parent.size, is_thin=True, clear_method=clear_method)
        with self._spdk_state.changing():
            await self._rpc.call(
                "bdev_lvol_set_parent",
                lvol_name=alias(lvstore, name),
                parent_name=alias(lvstore, parent.name),
            )
            found = await self._expect(lvstore, name, parent.size)
            if found.parent != parent.name:
                raise NotAsAsked(
                    f"the parent of {alias(lvstore, name)} is {found.parent}, not {parent.name}"
                )
        await self.grow(lvstore, name, size)

    async def grow(self, lvstore: Lvstore, name: str, size: int) -> None:
        """Expand the lvol to ``size``. It never becomes smaller.

        :raises NodeRefused: NOT_FOUND: the lvol does not exist.
        """
        found = await self._spdk_state.look(lvstore, name)
        if found is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"{alias(lvstore, name)} does not exist")
        if found.size < size:
            with self._spdk_state.changing():
                await self._rpc.call(
                    "bdev_lvol_resize", name=alias(lvstore, name), size_in_mib=in_mib(size)
                )
                await self._expect(lvstore, name, size)

    async def snapshot(self, lvstore: Lvstore, lvol: str, name: str) -> None:
        """Take a snapshot of the lvol."""
        with self._spdk_state.changing():
            await self._rpc.call(
                "bdev_lvol_snapshot", lvol_name=alias(lvstore, lvol), snapshot_name=name
            )
            await self._spdk_state.look(lvstore, lvol)
            if await self._spdk_state.look(lvstore, name) is None:
                raise NotAsAsked(f"there is no snapshot {alias(lvstore, name)}")

    async def set_read_only(self, lvstore: Lvstore, name: str) -> None:
        """Bar all writes to the lvol."""
        await self._rpc.call("bdev_lvol_set_read_only", name=alias(lvstore, name))

    async def delete(self, lvstore: Lvstore, name: str) -> None:
        """Delete the lvol. Returns when its clusters are cleared and free.

        An lvol that no longer exists is no error. But an lvol that is only hidden is an error: SPDK
        hides an lvol that it could not delete.

        SPDK forgets an lvol before it clears its clusters. If the end of that is not seen, the
        clusters may hold old data, and the engine state records this (see :class:`Zeroing`).
        """
        was_begun = name in self._engine_state.clearing(lvstore.uuid)
        self._engine_state.begin_clearing(lvstore.uuid, name)
        try:
            with self._spdk_state.changing():
                await self._rpc.call(
                    "bdev_lvol_delete", name=alias(lvstore, name), timeout=CLEARING_SECONDS
                )
                self._engine_state.end_clearing(lvstore.uuid, name)
                await self._spdk_state.forget(lvstore, name)
        except RpcRefused as error:
            if error.code != NO_SUCH_DEVICE or await self._is_there(lvstore, name):
                raise
            if not was_begun:
                self._engine_state.end_clearing(lvstore.uuid, name)

    async def _is_there(self, lvstore: Lvstore, name: str) -> bool:
        """Whether SPDK has the lvol, even without a bdev."""
        shown = await self._rpc.call("bdev_lvol_get_lvols", lvs_uuid=lvstore.uuid)
        return any(one["name"] == name for one in shown)

    async def _expect(self, lvstore: Lvstore, name: str, size: int) -> Lvol:
        found = await self._spdk_state.look(lvstore, name)
        if found is None or found.size != size:
            there = f"{found.size} bytes" if found else "not there"
            raise NotAsAsked(f"{alias(lvstore, name)} is {there}, not {size} bytes")
        return found


def alias(lvstore: Lvstore, name: str) -> str:
    """The name of an lvol whose UUID is not known."""
    return f"{lvstore.name}/{name}"


def in_mib(size: int) -> int:
    """The size in MiB.

    :raises ValueError: SPDK cannot create exactly this size.
    """
    mib, rest = divmod(size, MIB)
    if rest or not 0 < mib <= MAX_MIB:
        raise ValueError(f"{size} bytes are not 1 to {MAX_MIB} MiB")
    return mib
