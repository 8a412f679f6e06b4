"""A volume as one bdev: its lvol, or a concat raid over its lvols if it spans SSDs.

The raids have no superblock. They are recreated from the engine state at each start, so the pieces
hold only the volume's data, and snapshots of the pieces contain no raid metadata
(docs/decisions/0012-spdk-engine.md).
"""

import asyncio
from collections.abc import Collection, Iterable

from inventory.nodes.engines.names import namespace_uuid
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import volume_name
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import Bdev, Lvol, SpdkState
from inventory.nodes.engines.spdk.subsystems import find_exporter
from inventory.nodes.wire import Piece, Qos

STRIP_KIB = 1024
IOPS_STEP = 1000
MIB = 2**20


class ConcatVolumes:
    """Assembles volumes from their pieces, and limits them."""

    def __init__(
        self, rpc: SpdkRpc, spdk_state: KeptState, stores: Stores, engine_state: EngineState
    ) -> None:
        self._rpc = rpc
        self._spdk_state = spdk_state
        self._stores = stores
        self._engine_state = engine_state

    async def assemble(self, entry: VolumeEntry) -> None:
        """Make the volume one bdev over all its existing pieces. A raid over other pieces is
        deleted first. A volume that is exported by piece is not changed.

        :raises NotAsAsked: a piece is missing, or a target exports a raid that would have to be
            deleted.
        """
        name = volume_name(entry.uuid)
        spdk_state = await self._spdk_state.current()
        if entry.made == 1 and name not in spdk_state.raids:
            return
        await self._look_pieces(entry.uuid)
        raid = await spdk_state.look_raid(name)
        members = self.members(spdk_state, entry)
        if self._is_assembled(spdk_state, name, members):
            return
        if await self._is_by_piece(members):
            return
        if nqn := await find_exporter(self._rpc, [raid] if raid else []):
            raise NotAsAsked(
                f"raid {name} does not consist of its sub-volumes, but {nqn} exports it"
            )
        await self.disassemble(entry.uuid)
        if len(members) == 1:
            return
        with self._spdk_state.changing():
            await self._rpc.call(
                "bdev_raid_create",
                name=name,
                raid_level="concat",
                base_bdevs=[member.uuid for member in members],
                strip_size_kb=STRIP_KIB,
                uuid=namespace_uuid(entry.uuid),
            )
            made = await spdk_state.look_raid(name)
            size = sum(member.size for member in members)
            if made is None or made.size != size:
                there = f"{made.size} bytes" if made else "not there"
                raise NotAsAsked(f"raid {name} is {there}, not {size} bytes")

    async def assemble_all(self, bdevs: Collection[str]) -> None:
        """Assemble and limit the volumes that have pieces among ``bdevs``.

        :raises NotAsAsked: see :meth:`assemble`.
        """
        spdk_state = await self._spdk_state.current()
        for entry in [one for one in self._engine_state.volumes.values() if one.made > 1]:
            pieces = [self._find(spdk_state, entry, piece) for piece in entry.made_pieces]
            if any(lvol and lvol.uuid in bdevs for lvol in pieces):
                await self.ready(entry)

    async def ready(self, entry: VolumeEntry) -> None:
        """Make the volume ready for hosts: assembled and limited.

        :raises NotAsAsked: see :meth:`assemble` and :meth:`limit`.
        """
        await self.assemble(entry)
        if entry.qos != Qos():
            await self.limit(entry)

    async def refuse_reloaded(self, entries: Iterable[VolumeEntry]) -> None:
        """Check that hosts may write to these volumes: see :meth:`Stores.refuse_reloaded`."""
        pieces = (piece for entry in entries for piece in entry.made_pieces)
        await self._stores.refuse_reloaded(piece.ssd_id for piece in pieces)

    async def disassemble(self, uuid: str) -> None:
        """Delete the raid of the volume, in whatever state it is."""
        name = volume_name(uuid)
        spdk_state = await self._spdk_state.current()
        if name not in spdk_state.raids:
            return
        try:
            with spdk_state.changing():
                await self._rpc.call("bdev_raid_delete", name=name)
                spdk_state.forget_raid(name)
                await self._look_pieces(uuid)
        except RpcRefused:
            if name in (await spdk_state.read_all()).raids:
                raise

    async def look(self, uuid: str) -> list[Bdev]:
        """Read the bdevs through which a target may export the volume: its raid or, without a raid,
        its lvols. They need not be on record. While there is a raid, its members belong to it.
        """
        spdk_state = await self._spdk_state.current()
        entry, name = self._engine_state.volumes.get(uuid), volume_name(uuid)
        is_span = name in spdk_state.raids or (entry and entry.made > 1)
        if is_span and (raid := await spdk_state.look_raid(name)):
            return [raid]
        return [lvol.bdev for lvol in await self._look_pieces(uuid) if lvol and lvol.bdev]

    async def _look_pieces(self, uuid: str) -> list[Lvol | None]:
        """Read the lvols of the volume, both where they are on record and where one was seen."""
        spdk_state, entry = self._spdk_state, self._engine_state.volumes.get(uuid)
        recorded = {piece.ssd_id for piece in entry.spec.pieces} if entry else set()
        return await asyncio.gather(
            *(
                spdk_state.look(lvstore, volume_name(uuid))
                for ssd_id, lvstore in self._stores.open_ones(spdk_state).items()
                if ssd_id in recorded or spdk_state.find(lvstore, volume_name(uuid))
            )
        )

    def bdev(self, entry: VolumeEntry) -> Bdev | None:
        """Return the bdev that hosts of the volume see, according to the last read. None: the
        volume is not complete.
        """
        if not entry.made:
            return None
        if entry.made > 1:
            return self._spdk_state.bdevs.get(volume_name(entry.uuid))
        lvol = self._find(self._spdk_state, entry, entry.spec.pieces[0])
        return lvol.bdev if lvol else None

    def is_there(self, entry: VolumeEntry) -> bool:
        """Whether each existing piece of the volume has its lvol, according to the last read."""
        pieces = entry.made_pieces
        return bool(pieces) and all(self._find(self._spdk_state, entry, one) for one in pieces)

    async def limit(self, entry: VolumeEntry) -> None:
        """Enforce the recorded limits, rounded up to values that SPDK supports. Single pieces are
        not limited, because no host uses them. SPDK is not called if it had these limits when the
        volume was last read.

        :raises NotAsAsked: the volume does not exist, or SPDK set other limits.
        """
        bdev = self.bdev(entry)
        if (
            bdev is None
            and entry.made > 1
            and await self._is_by_piece(self.members(self._spdk_state, entry))
        ):
            return
        if bdev is None:
            raise NotAsAsked(f"volume {entry.uuid} does not exist, so it has no limits")
        qos = enforced(entry.qos)
        limits = (qos.max_iops, qos.max_bw // MIB)
        if bdev.limits == limits:
            return
        with self._spdk_state.changing():
            await self._rpc.call(
                "bdev_set_qos_limit",
                name=bdev.name,
                rw_ios_per_sec=limits[0],
                rw_mbytes_per_sec=limits[1],
            )
            await self.look(entry.uuid)
            after = self.bdev(entry)
            if after is None or after.limits != limits:
                raise NotAsAsked(f"volume {entry.uuid} is limited to {after}, not {limits}")

    def members(self, spdk_state: SpdkState, entry: VolumeEntry) -> list[Lvol]:
        """Return the lvols of the existing pieces, in order. Each must have its size, because the
        next piece follows it. Only the last one may be in the middle of an expansion.

        :raises NotAsAsked: a piece is missing or has another size.
        """
        members = []
        for place, piece in enumerate(entry.made_pieces, 1):
            lvol = self._find(spdk_state, entry, piece)
            if lvol is None or lvol.bdev is None:
                raise NotAsAsked(f"its sub-volume on SSD {piece.ssd_id} is missing")
            is_fixed = entry.is_whole or place < entry.made
            if is_fixed and lvol.size != piece.capacity:
                raise NotAsAsked(
                    f"its sub-volume on SSD {piece.ssd_id} has {lvol.size} bytes, not "
                    f"{piece.capacity}"
                )
            members.append(lvol)
        return members

    def _find(self, spdk_state: SpdkState, entry: VolumeEntry, piece: Piece) -> Lvol | None:
        lvstore = self._stores.find(spdk_state, piece.ssd_id)
        return spdk_state.find(lvstore, volume_name(entry.uuid)) if lvstore else None

    async def _is_by_piece(self, members: list[Lvol]) -> bool:
        """Whether a target exports pieces of the volume. Then nobody uses the volume as a whole."""
        bdevs = [member.bdev for member in members if member.bdev]
        return len(members) > 1 and await find_exporter(self._rpc, bdevs) is not None

    def _is_assembled(self, spdk_state: SpdkState, name: str, members: list[Lvol]) -> bool:
        raid = spdk_state.raids.get(name)
        if raid is None or len(members) == 1:
            return raid is None and len(members) == 1
        bdev = spdk_state.bdevs.get(name)
        return (
            raid.is_over(members)
            and bdev is not None
            and bdev.size == sum(member.size for member in members)
        )


def enforced(qos: Qos) -> Qos:
    """Round up to SPDK's units: thousands of IOPS, and MiB per second. 0 stays 0: no limit."""
    return Qos(max_iops=_up(qos.max_iops, IOPS_STEP), max_bw=_up(qos.max_bw, MIB))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
