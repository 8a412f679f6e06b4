"""The engine ``spdk``: implements :class:`Engine` with the other modules of this package."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

from inventory.nodes.drift import DriftItem
from inventory.nodes.engines.base import VERSION, EngineFacts, Held, Known, TargetState
from inventory.nodes.engines.spdk.clearing import Clearing
from inventory.nodes.engines.spdk.concat_volumes import ConcatVolumes, enforced
from inventory.nodes.engines.spdk.config import SpdkConfig
from inventory.nodes.engines.spdk.connections import Connections
from inventory.nodes.engines.spdk.copies import Copies
from inventory.nodes.engines.spdk.drift import find_drift
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import SPACE_SECONDS, KeptState
from inventory.nodes.engines.spdk.lvols import Lvols
from inventory.nodes.engines.spdk.lvstores import Stores
from inventory.nodes.engines.spdk.presence import find_held, look_held
from inventory.nodes.engines.spdk.required_methods import NEEDED
from inventory.nodes.engines.spdk.rpc import RpcLost, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.snapshot_tree import Parts, SnapshotTree
from inventory.nodes.engines.spdk.snapshots import Snapshots
from inventory.nodes.engines.spdk.subsystems import read_subsystems
from inventory.nodes.engines.spdk.targets import Targets
from inventory.nodes.engines.spdk.transfer import Transfer
from inventory.nodes.engines.spdk.volumes import Volumes
from inventory.nodes.engines.spdk.zeroing import Zeroing
from inventory.nodes.errors import NodeRefused
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import (
    Qos,
    RefusalCode,
    SnapshotSpec,
    Sync,
    SyncSpec,
    VolumeSpec,
)

WATCH_SECONDS = 5.0
STATE_FILE = "engine.sqlite3"


class SpdkEngine:
    """The engine over one SPDK target. It finds its objects in SPDK by name. State that SPDK cannot
    keep is in the engine state.

    ``watch_seconds``: interval between checks for removed or added SSDs. ``poll``: seconds between
    checks of a copy. ``space_seconds``: see :class:`KeptState`. Use it in one event loop only.
    """

    def __init__(
        self,
        rpc: SpdkRpc,
        config: SpdkConfig,
        *,
        watch_seconds: float = WATCH_SECONDS,
        poll: float = 0.1,
        space_seconds: float = SPACE_SECONDS,
    ) -> None:
        self.on_change: Callable[[int], None] = lambda changes: None
        self._rpc = rpc
        self._config = config
        self._watch_seconds = watch_seconds
        self._version = ""
        self._devices: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._engine_state = EngineState(config.state_folder / STATE_FILE)
        self._spdk_state = state = KeptState(rpc, space_seconds=space_seconds)
        lvols = Lvols(rpc, state, self._engine_state)
        self._stores = Stores(rpc, config, state, self._engine_state)
        self._snapshot_tree = SnapshotTree(state, self._stores, self._engine_state, lvols)
        self._concat_volumes = ConcatVolumes(rpc, state, self._stores, self._engine_state)
        self._targets = Targets(rpc, config, state, self._engine_state, self._concat_volumes)
        parts = Parts(rpc, state, self._stores, self._engine_state, lvols, self._snapshot_tree)
        self._volumes = Volumes(parts, self._concat_volumes)
        self._snapshots = Snapshots(parts, self._volumes)
        self._zeroing = Zeroing(parts)
        self._clearing = Clearing(parts)
        self._connections = Connections(
            rpc, state, self._stores, self._engine_state, self._snapshot_tree, poll=poll
        )
        transfer = Transfer(
            rpc, state, self._stores, self._snapshot_tree, self._connections, poll=poll
        )
        self._copies = Copies(self._engine_state, transfer, self._connections)

    @property
    def absent_ssds(self) -> frozenset[str]:
        return self._stores.absent

    async def start(self) -> None:
        """See :class:`Engine`.

        :raises RpcLost: there is no SPDK target, or it ended during the start.
        :raises RpcRefused: the target lacks a required function.
        :raises NotAsAsked: hosts could see old data, so the target must be restarted.
        """
        await self._clearing.end()
        await self._copies.clear()
        self._snapshot_tree.reset()
        self._spdk_state.invalidate()
        await self._rpc.ready()
        await self._rpc.demand(NEEDED)
        self._version = (await self._rpc.call("spdk_get_version"))["version"]
        present = await self._stores.present()
        await self._stores.open()
        if await self._targets.is_open():
            await self._zeroing.refuse_unmapped()
        await self._zeroing.take()
        await self._targets.open()
        await self._connections.adopt()
        await self._clearing.begin()
        self._devices = present, self._stores.opened

    async def lost(self) -> None:
        """Return when ``start`` is due: the SPDK target has ended, or SSDs were removed, added or
        replugged, or an SSD that failed should be tried again. An SSD is not tried again
        while copies are needed, because ``start`` stops and forgets them.
        """
        while True:
            try:
                async with asyncio.timeout(self._watch_seconds):
                    await self._rpc.lost()
            except TimeoutError:
                if not await self._has_changed():
                    continue
            return

    async def settle(self) -> None:
        """Wait until the background work of ``start`` is done, and earlier copies have ended."""
        await self.free_space_zeroed()
        await self._connections.settle()

    async def free_space_zeroed(self) -> None:
        """Wait until all free clusters read as zeros, and unused snapshots are removed, or until
        this has failed once and will be tried again.
        """
        await self._clearing.settle()

    def close(self) -> None:
        """Disconnect from the SPDK target, which keeps running."""
        self._clearing.cancel()
        self._connections.cancel()
        self._rpc.close()
        self._engine_state.close()

    async def facts(self) -> EngineFacts:
        return EngineFacts(
            version=VERSION,
            target_driver_version=self._version,
            ssds=await self._stores.ssds(),
            portals=self._config.portals,
            total_bw=self._config.total_bw,
            total_iops=self._config.total_iops,
        )

    async def held(self, only: Held | None = None) -> Held:
        if only is None:
            spdk_state = await self._spdk_state.read_all()
        else:
            spdk_state = await self._spdk_state.current()
            await look_held(self._stores, spdk_state, self._engine_state, only)
        held = find_held(self._stores, spdk_state, self._engine_state, only)
        if only is not None and held != only:
            await spdk_state.read_stores()  # so that ``absent_ssds`` is up to date
        return held

    async def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await self._volumes.create(uuid, spec)

    async def expand_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await self._volumes.expand(uuid, spec)

    async def remove_volume(self, uuid: str) -> None:
        await self._volumes.remove(uuid)

    async def ensure_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        await self._snapshots.ensure(uuid, spec)

    async def remove_snapshot(self, uuid: str) -> None:
        await self._snapshots.remove(uuid)

    async def set_qos(self, uuid: str, qos: Qos) -> None:
        entry = self._engine_state.limit_volume(uuid, qos)
        if entry is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")
        await self._concat_volumes.assemble(entry)
        await self._concat_volumes.limit(entry)

    def enforced(self, qos: Qos) -> Qos:
        return enforced(qos)

    async def apply_target(self, target: TargetState) -> None:
        await self._targets.apply(target)

    async def empty_target(self, nqn: str) -> None:
        await self._targets.empty(nqn)

    async def remove_target(self, nqn: str) -> None:
        await self._targets.remove(nqn)

    async def start_copy(self, uuid: str, spec: SyncSpec) -> None:
        self._copies.begin(uuid, spec)

    async def copy(self, uuid: str) -> Sync | None:
        return self._copies.read(uuid)

    async def stop_copy(self, uuid: str) -> None:
        await self._copies.end(uuid)

    async def target_names(self) -> tuple[str, ...]:
        return await self._targets.names()

    async def connected_hosts(
        self, only: Collection[str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        return await self._targets.connected_hosts(only)

    async def controllers(self, only: Collection[str] | None = None) -> dict[str, ControllerIds]:
        return await self._targets.controllers(only)

    async def drift(self, known: Known) -> tuple[DriftItem, ...]:
        spdk_state = await self._spdk_state.read_all()
        subsystems = await read_subsystems(self._rpc)
        return find_drift(
            self._stores.open_ones(spdk_state), spdk_state, subsystems, known, self._engine_state
        )

    async def _has_changed(self) -> bool:
        with suppress(RpcLost, RpcRefused):
            if self._spdk_state.is_old:
                await self._spdk_state.read_all()
            if (await self._stores.present(), await self._stores.usable()) != self._devices:
                return True
            is_retried = self._stores.retries.is_due and not self._copies.are_needed
            return is_retried or bool(await self._stores.reloaded())
        return self._rpc.is_lost
