"""One copy from start to end: a frozen volume is written layer by layer over NVMe/TCP."""

import asyncio
import ipaddress
import time
from dataclasses import dataclass
from typing import Any

from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.connections import CONNECT_SECONDS, Connection, Connections
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.names import volume_name
from inventory.nodes.engines.spdk.rpc import RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.snapshot_tree import SnapshotTree
from inventory.nodes.engines.spdk.spdk_state import Lvol, read_bdev
from inventory.nodes.wire import Portal, SyncSpec

POLL_SECONDS = 0.1
STALL_SECONDS = 30.0

IN_PROGRESS = "in progress"
COMPLETE = "complete"


class CopyFailed(Exception):
    """The copy failed. The text gives the reason. The copy may be started again."""


@dataclass
class Progress:
    """Progress in clusters. ``is_unwanted``: the copy should end as soon as possible."""

    done: int = 0
    clusters: int = 0
    is_unwanted: bool = False


class Transfer:
    """Runs copies."""

    def __init__(
        self,
        rpc: SpdkRpc,
        spdk_state: KeptState,
        stores: Stores,
        snapshot_tree: SnapshotTree,
        connections: Connections,
        *,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._rpc = rpc
        self._spdk_state = spdk_state
        self._stores = stores
        self._snapshot_tree = snapshot_tree
        self._connections = connections
        self._poll = poll

    async def run(self, entry: VolumeEntry, spec: SyncSpec, progress: Progress) -> None:
        """Copy the volume. On return, nothing of the copy is left in SPDK. After a failure, the
        copy may continue in SPDK until its connection is closed.

        :raises CopyFailed, RpcRefused, RpcLost, NotAsAsked, NodeRefused: the copy failed.
        """
        connection = self._connections.open(entry.uuid)
        try:
            await self._fill(connection, entry, spec, progress)
        finally:
            closing = self._connections.close(connection)
        await asyncio.shield(closing)

    async def _fill(
        self, connection: Connection, entry: VolumeEntry, spec: SyncSpec, progress: Progress
    ) -> None:
        bdevs = await self._connect(connection.name, spec)
        destinations = [
            await self._destination(bdevs, connection.name, entry, spec, place)
            for place in range(entry.made)
        ]
        layers = [
            (layer, destination)
            for piece, destination in zip(entry.made_pieces, destinations, strict=True)
            for layer in await self._freeze(connection, piece.ssd_id)
            if layer.owned_clusters
        ]
        progress.clusters = sum(layer.owned_clusters for layer, _ in layers)
        for layer, destination in layers:
            await self._copy(layer, destination, progress)
            progress.done += layer.owned_clusters

    async def _freeze(self, connection: Connection, ssd_id: str) -> list[Lvol]:
        """Return the layers of a piece's content, oldest first, which the connection keeps."""
        lvstore = self._stores.get(await self._spdk_state.current(), ssd_id)
        connection.ssd_ids.add(ssd_id)
        async with self._snapshot_tree.frozen(lvstore, volume_name(connection.uuid)) as frozen:
            return await self._snapshot_tree.keep_layers(lvstore, frozen.name, connection.keeping)

    async def _connect(self, controller: str, spec: SyncSpec) -> list[str]:
        reasons = []
        for portal in spec.portals:
            try:
                found: list[str] = await self._rpc.call(
                    "bdev_nvme_attach_controller",
                    name=controller,
                    trtype="TCP",
                    adrfam=f"IPv{ipaddress.ip_address(portal.ip).version}",
                    traddr=portal.ip,
                    trsvcid=str(portal.port),
                    subnqn=spec.nqn,
                    hostnqn=spec.host_nqn,
                    timeout=CONNECT_SECONDS,
                )
            except RpcRefused as error:
                reasons.append(f"{_where(portal)}: {error.message}")
            else:
                return found
        raise CopyFailed(
            f"{spec.host_nqn} has no access to target {spec.nqn}: {'; '.join(reasons)}"
        )

    async def _destination(
        self, bdevs: list[str], controller: str, entry: VolumeEntry, spec: SyncSpec, place: int
    ) -> str:
        """The bdev to write for the piece at this position. Its size must match, because the next
        piece follows it.

        :raises CopyFailed: there is no such namespace, or its size or block size is wrong.
        """
        nsid, wanted = spec.nsid + place, entry.made_pieces[place].capacity
        name = f"{controller}n{nsid}"
        found = await read_bdev(self._rpc, name) if name in bdevs else None
        if found is None:
            raise CopyFailed(f"target {spec.nqn} has no namespace {nsid}")
        where = f"namespace {nsid} of {spec.nqn}"
        if found.size < wanted or (entry.made > 1 and found.size != wanted):
            raise CopyFailed(f"{where} has {found.size} bytes, not {wanted}")
        if found.block_size != entry.spec.block_size:
            raise CopyFailed(
                f"{where} is in blocks of {found.block_size}, not {entry.spec.block_size}"
            )
        return name

    async def _copy(self, layer: Lvol, destination: str, progress: Progress) -> None:
        """Copy the clusters of one layer.

        :raises CopyFailed: SPDK reports an error, the copy stalls, or it is unwanted.
        """
        _refuse_unwanted(progress)
        before = progress.done
        started = await self._rpc.call(
            "bdev_lvol_start_shallow_copy", src_lvol_name=layer.uuid, dst_bdev_name=destination
        )
        stall_timer = StallTimer()
        while True:
            # wait again, because SPDK reports the end before it releases the lvol
            await asyncio.sleep(self._poll)
            found = await self._check(started["operation_id"])
            if found["state"] != IN_PROGRESS:
                break
            stall_timer.note(found["copied_clusters"])
            progress.done = max(progress.done, before + found["copied_clusters"])
            _refuse_unwanted(progress)
            if stall_timer.is_over:
                raise CopyFailed(f"no progress for {STALL_SECONDS:g} s")
        await asyncio.sleep(self._poll)
        if found["state"] != COMPLETE or found["copied_clusters"] != found["total_clusters"]:
            raise CopyFailed(f"{destination}: {found.get('error') or found}")

    async def _check(self, operation: int) -> dict[str, Any]:
        """Return the state of the operation. SPDK reports its end only once."""
        found: dict[str, Any] = await self._rpc.call(
            "bdev_lvol_check_shallow_copy", operation_id=operation
        )
        return found


class StallTimer:
    """Expires when no progress was made for STALL_SECONDS."""

    def __init__(self) -> None:
        self._seen = 0
        self._since = time.monotonic()

    def note(self, done: int) -> None:
        if done > self._seen:
            self._seen, self._since = done, time.monotonic()

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self._since > STALL_SECONDS


def _refuse_unwanted(progress: Progress) -> None:
    if progress.is_unwanted:
        raise CopyFailed("it was stopped")


def _where(portal: Portal) -> str:
    return f"{portal.ip} port {portal.port}"
