"""One copy from beginning to end: a frozen volume, written layer by layer through NVMe/TCP."""

import asyncio
import ipaddress
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from inventory.nodes.engines.spdk.books import VolumeEntry
from inventory.nodes.engines.spdk.chains import Chains
from inventory.nodes.engines.spdk.names import copy_name, volume_name
from inventory.nodes.engines.spdk.rpc import RpcLost, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.stores import Stores
from inventory.nodes.engines.spdk.view import Lvol, Lvstore, View, read_bdev
from inventory.nodes.wire import Portal, SyncSpec

POLL_SECONDS = 0.1
SETTLE_POLLS = 5
STALL_SECONDS = 30.0
CONNECT_SECONDS = 120.0

IN_PROGRESS = "in progress"
COMPLETE = "complete"

log = logging.getLogger(__name__)


class CopyFailed(Exception):
    """The text says why; it may be begun anew."""


@dataclass
class Progress:
    """In clusters. ``is_unwanted``: to be ended as soon as possible."""

    done: int = 0
    clusters: int = 0
    is_unwanted: bool = False


class Transfer:
    def __init__(
        self, rpc: SpdkRpc, stores: Stores, chains: Chains, *, poll: float = POLL_SECONDS
    ) -> None:
        self._rpc = rpc
        self._stores = stores
        self._chains = chains
        self._poll = poll

    async def run(self, entry: VolumeEntry, spec: SyncSpec, progress: Progress) -> None:
        """On return, and on failure, too, nothing of it is left in the target.

        :raises CopyFailed, RpcRefused, RpcLost:
        """
        async with self._connected(entry.uuid, spec) as bdevs, AsyncExitStack() as freezing:
            destinations = [
                await self._destination(bdevs, entry, spec, place) for place in range(entry.made)
            ]
            frozen = [
                await freezing.enter_async_context(self._frozen(piece.ssd_id, entry.uuid))
                for piece in entry.made_pieces
            ]
            view = await View.read(self._rpc)
            layers = [
                (layer, destination)
                for (lvstore, name), destination in zip(frozen, destinations, strict=True)
                for layer in view.chain(lvstore, name)
                if layer.owned_clusters
            ]
            progress.clusters = sum(layer.owned_clusters for layer, _ in layers)
            for layer, destination in layers:
                await self._copy(layer, destination, copy_name(entry.uuid), progress)
                progress.done += layer.owned_clusters

    async def settle(self) -> None:
        """What was disconnected has failed by then, and let go of what it read."""
        await asyncio.sleep(SETTLE_POLLS * self._poll)

    async def disconnect(self, controller: str) -> None:
        """What is written through it fails. Gone already is fine."""
        try:
            await self._rpc.call(
                "bdev_nvme_detach_controller", name=controller, timeout=CONNECT_SECONDS
            )
        except RpcRefused as error:
            log.debug("controller %s: %s", controller, error)

    @asynccontextmanager
    async def _connected(self, uuid: str, spec: SyncSpec) -> AsyncIterator[list[str]]:
        """The names of the bdevs that the target at the other end has for this host."""
        controller = copy_name(uuid)
        await self.disconnect(controller)
        try:
            yield await self._connect(controller, spec)
        finally:
            await self.disconnect(controller)

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
        self, bdevs: list[str], entry: VolumeEntry, spec: SyncSpec, place: int
    ) -> str:
        """The bdev to write for the piece at that place: each begins where the one before it ends.

        :raises CopyFailed: there is none, or it is of another size or in other blocks.
        """
        nsid, wanted = spec.nsid + place, entry.made_pieces[place].capacity
        name = f"{copy_name(entry.uuid)}n{nsid}"
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

    @asynccontextmanager
    async def _frozen(self, ssd_id: str, uuid: str) -> AsyncIterator[tuple[Lvstore, str]]:
        """A snapshot of the volume as it is now, for as long as it is copied."""
        lvstore = self._stores.get(await View.read(self._rpc), ssd_id)
        try:
            async with self._chains.frozen(lvstore, volume_name(uuid)) as lvol:
                yield lvstore, lvol.name
        finally:
            await self._chains.sweep(ssd_id)

    async def _copy(
        self, layer: Lvol, destination: str, controller: str, progress: Progress
    ) -> None:
        """The clusters of one layer.

        :raises CopyFailed:
        """
        _refuse_unwanted(progress)
        before = progress.done
        started = await self._rpc.call(
            "bdev_lvol_start_shallow_copy", src_lvol_name=layer.uuid, dst_bdev_name=destination
        )
        patience = Patience()
        while True:
            # one pause more than needed: SPDK says complete before it has let go of the lvol
            await asyncio.sleep(self._poll)
            try:
                found = await self._check(started["operation_id"])
            except RpcLost:
                await self._cut(controller, layer, started["operation_id"])
                raise
            if found["state"] != IN_PROGRESS:
                break
            patience.note(found["copied_clusters"])
            progress.done = max(progress.done, before + found["copied_clusters"])
            if progress.is_unwanted or patience.is_over:
                await self._cut(controller, layer, started["operation_id"])
                raise CopyFailed("it was stopped" if progress.is_unwanted else "it stands still")
        await asyncio.sleep(self._poll)
        if found["state"] != COMPLETE or found["copied_clusters"] != found["total_clusters"]:
            raise CopyFailed(f"{destination}: {found.get('error') or found}")

    async def _cut(self, controller: str, layer: Lvol, operation: int) -> None:
        """Nothing is written any more: SPDK cannot cancel, but what has no connection fails. If it
        does not, it goes on to its end, and so does this; a layer that is stuck must stay.
        """
        await self.disconnect(controller)
        patience = Patience()
        while not patience.is_over:
            await asyncio.sleep(self._poll)
            found = await self._check(operation)
            if found["state"] != IN_PROGRESS:
                await asyncio.sleep(self._poll)
                return
            patience.note(found["copied_clusters"])
        log.error("copy %d through %s does not end", operation, controller)
        self._chains.pin(layer.name)

    async def _check(self, operation: int) -> dict[str, Any]:
        """The end is told once, and is lost with the reply."""
        found: dict[str, Any] = await self._rpc.call(
            "bdev_lvol_check_shallow_copy", operation_id=operation
        )
        return found


class Patience:
    """Over when nothing moved for STALL_SECONDS."""

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
