"""Lvols one by one: each change is read back, for a refusal hardly says why, and a success not
what was made.
"""

from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.lvstores import CLEARING_SECONDS
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import NO_SUCH_DEVICE, Bdev, Lvol, Lvstore, read_bdev
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode

MIB = 2**20
MAX_MIB = 2**63 // MIB


class Lvols:
    def __init__(self, rpc: SpdkRpc, engine_state: EngineState) -> None:
        self._rpc = rpc
        self._engine_state = engine_state

    async def create(
        self, lvstore: Lvstore, name: str, size: int, *, is_thin: bool, clear_method: str
    ) -> None:
        """``clear_method`` is what its clusters meet when the lvol is deleted."""
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
        """A thin one that begins as the snapshot ``parent``.

        Not by bdev_lvol_clone: a clone made so is cleared by unmapping, whatever its parent is.
        """
        await self.create(lvstore, name, parent.size, is_thin=True, clear_method=clear_method)
        await self._rpc.call(
            "bdev_lvol_set_parent",
            lvol_name=alias(lvstore, name),
            parent_name=alias(lvstore, parent.name),
        )
        found = await self._expect(lvstore, name, parent.size)
        if found.parent != parent.name:
            raise NotAsAsked(f"{alias(lvstore, name)} is over {found.parent}, not {parent.name}")
        await self.grow(lvstore, name, size)

    async def grow(self, lvstore: Lvstore, name: str, size: int) -> None:
        """Never smaller.

        :raises NodeRefused: NOT_FOUND; it is not there.
        """
        found = await read_bdev(self._rpc, alias(lvstore, name))
        if found is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"{alias(lvstore, name)} is not there")
        if found.size < size:
            await self._rpc.call(
                "bdev_lvol_resize", name=alias(lvstore, name), size_in_mib=in_mib(size)
            )
            await self._expect(lvstore, name, size)

    async def snapshot(self, lvstore: Lvstore, lvol: str, name: str) -> None:
        await self._rpc.call(
            "bdev_lvol_snapshot", lvol_name=alias(lvstore, lvol), snapshot_name=name
        )
        if await read_bdev(self._rpc, alias(lvstore, name)) is None:
            raise NotAsAsked(f"there is no snapshot {alias(lvstore, name)}")

    async def set_read_only(self, lvstore: Lvstore, name: str) -> None:
        await self._rpc.call("bdev_lvol_set_read_only", name=alias(lvstore, name))

    async def delete(self, lvstore: Lvstore, name: str) -> None:
        """Returns when its clusters are cleared and free. Gone already is fine; not to be seen any
        more is not the same: SPDK hides an lvol that it could not delete.

        SPDK forgets an lvol before it clears its clusters. If that is not seen to end, they may
        hold what was in it, and the books say so (see :class:`Zeroing`).
        """
        self._engine_state.begin_clearing(lvstore.uuid, name)
        try:
            await self._rpc.call(
                "bdev_lvol_delete", name=alias(lvstore, name), timeout=CLEARING_SECONDS
            )
        except RpcRefused as error:
            if error.code != NO_SUCH_DEVICE or await self._is_there(lvstore, name):
                raise
        else:
            self._engine_state.end_clearing(lvstore.uuid, name)

    async def _is_there(self, lvstore: Lvstore, name: str) -> bool:
        """Also without a bdev."""
        shown = await self._rpc.call("bdev_lvol_get_lvols", lvs_uuid=lvstore.uuid)
        return any(one["name"] == name for one in shown)

    async def _expect(self, lvstore: Lvstore, name: str, size: int) -> Bdev:
        found = await read_bdev(self._rpc, alias(lvstore, name))
        if found is None or found.size != size:
            there = f"{found.size} bytes" if found else "not there"
            raise NotAsAsked(f"{alias(lvstore, name)} is {there}, not {size} bytes")
        return found


def alias(lvstore: Lvstore, name: str) -> str:
    """How a lvol is called where its UUID is not known."""
    return f"{lvstore.name}/{name}"


def in_mib(size: int) -> int:
    """:raises ValueError: SPDK could not make exactly that."""
    mib, rest = divmod(size, MIB)
    if rest or not 0 < mib <= MAX_MIB:
        raise ValueError(f"{size} bytes are not 1 to {MAX_MIB} MiB")
    return mib
