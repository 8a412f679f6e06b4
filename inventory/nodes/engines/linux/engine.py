"""The engine ``linux``: implements :class:`Engine` with the other modules of this package."""

import asyncio
import logging
from collections.abc import Callable, Collection

from inventory.nodes.drift import DriftItem
from inventory.nodes.engines.base import VERSION, EngineFacts, Held, Known, TargetState
from inventory.nodes.engines.linux.config import LinuxConfig
from inventory.nodes.engines.linux.copies import Copies
from inventory.nodes.engines.linux.drift import find_drift
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.fronts import Fronts
from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel, Stuck
from inventory.nodes.engines.linux.names import volume_name
from inventory.nodes.engines.linux.nvmet import ROOT
from inventory.nodes.engines.linux.snapshots import Snapshots
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.engines.linux.targets import Targets
from inventory.nodes.engines.linux.udev import guard_volumes
from inventory.nodes.engines.linux.volumes import Volumes
from inventory.nodes.errors import NodeRefused
from inventory.nodes.portal_transports import RDMA
from inventory.nodes.target_ids import ControllerIds
from inventory.nodes.wire import Qos, RefusalCode, SnapshotSpec, Sync, SyncSpec, VolumeSpec

WATCH_SECONDS = 5.0
LOOKS = 2
STATE_FILE = "engine.sqlite3"
MODULES = ("nvmet-tcp", "nvme-tcp", "dm-thin-pool", "dm-flakey")
RDMA_MODULE = "nvmet-rdma"

log = logging.getLogger(__name__)


class LinuxEngine:
    """The engine over the kernel of this machine. It finds its objects there by name; what the
    kernel cannot keep is in the engine state.

    ``watch_seconds``: interval between checks for removed or added SSDs. For one event loop.
    """

    def __init__(
        self, kernel: Kernel, config: LinuxConfig, *, watch_seconds: float = WATCH_SECONDS
    ) -> None:
        self.on_change: Callable[[int], None] = lambda changes: None
        self._kernel = kernel
        self._config = config
        self._watch_seconds = watch_seconds
        self._version = ""
        self._devices: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._engine_state = EngineState(config.state_folder / STATE_FILE)
        self._stores = Stores(kernel, config, self._engine_state)
        self._fronts = Fronts(self._stores, self._engine_state)
        self._volumes = Volumes(self._stores, self._engine_state, self._fronts)
        self._snapshots = Snapshots(self._stores, self._engine_state, self._fronts, self._volumes)
        self._targets = Targets(kernel, config, self._engine_state, self._stores, self._fronts)
        self._copies = Copies(kernel, self._stores, self._engine_state, self._fronts)

    @property
    def absent_ssds(self) -> frozenset[str]:
        return self._stores.absent

    async def start(self) -> None:
        """See :class:`Engine`.

        :raises CommandFailed, OSError, Stuck: the kernel cannot do what is needed.
        """
        is_rdma = any(portal.transport == RDMA for portal in self._config.portals)
        modules = (*MODULES, RDMA_MODULE) if is_rdma else MODULES
        output = await self._kernel.run("modprobe", "--all", *modules)
        if output.code:  # one may be built in
            log.warning("kernel modules: %s", output.err.strip())
        if not await self._kernel.exists(ROOT):
            raise FileNotFoundError(f"{ROOT} does not exist: the kernel has no NVMe-oF target")
        self._version = f"Linux {(await self._kernel.run('uname', '-r')).out.strip()}"
        await guard_volumes(self._kernel)
        await self._copies.clear()
        await self._fronts.drop(self._stores.absent)
        present = await self._stores.present()
        await self._stores.open()
        await self._fronts.restore()
        self._devices = present, self._stores.opened

    async def lost(self) -> None:
        """Returns when ``start`` is due: SSDs were removed or added, failed, or should be tried
        again, or a front could not be resumed. An SSD is not tried again while copies are needed,
        because ``start`` stops and forgets them.

        A difference must be seen LOOKS times in a row. LVM and udev replace devices and links for a
        moment, for example when the first volume of a pool is created.
        """
        seen = 0
        while (seen := seen + 1 if await self._has_changed() else 0) < LOOKS:
            await asyncio.sleep(self._watch_seconds)

    def close(self) -> None:
        """Leave the kernel as it is."""
        self._copies.cancel()
        self._kernel.close()
        self._engine_state.close()

    async def facts(self) -> EngineFacts:
        return EngineFacts(
            version=VERSION,
            target_driver_version=self._version,
            ssds=self._stores.ssds(await self._stores.mapper.read()),
            portals=self._config.portals,
            total_bw=self._config.total_bw,
            total_iops=self._config.total_iops,
            expands_spans_online=True,
            enforces_limits=False,
        )

    async def held(self, only: Held | None = None) -> Held:
        mapped, stores = await self._stores.mapper.read(), self._stores
        return Held(
            volumes={
                one.uuid
                for one in self._engine_state.volumes.values()
                if one.made and stores.are_there(mapped, volume_name(one.uuid), one.made_pieces)
            },
            snapshots={
                one.uuid
                for one in self._engine_state.snapshots.values()
                if one.is_made and stores.are_there(mapped, one.name, one.spec.pieces)
            },
        )

    async def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await self._volumes.create(uuid, spec)

    async def expand_volume(self, uuid: str, spec: VolumeSpec) -> None:
        await self._volumes.expand(uuid, spec)
        await self._targets.revalidate(uuid)

    async def remove_volume(self, uuid: str) -> None:
        await self._volumes.remove(uuid)
        self._copies.forget(uuid)

    async def ensure_snapshot(self, uuid: str, spec: SnapshotSpec) -> None:
        await self._snapshots.ensure(uuid, spec)

    async def remove_snapshot(self, uuid: str) -> None:
        await self._snapshots.remove(uuid)

    async def set_qos(self, uuid: str, qos: Qos) -> None:
        """The limits are recorded only: the kernel cannot enforce them."""
        if self._engine_state.limit_volume(uuid, qos) is None:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"volume {uuid} is not on this node")

    def enforced(self, qos: Qos) -> Qos:
        """No limits: the kernel's target has none for a namespace."""
        return Qos()

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
        names = await self._targets.names()
        return await find_drift(self._stores, self._fronts.names(), names, known)

    async def _has_changed(self) -> bool:
        try:
            if (await self._stores.present(), await self._stores.working()) != self._devices:
                return True
            is_retried = self._stores.retries.is_due and not self._copies.are_needed
            return is_retried or not self._fronts.are_resumed
        except (CommandFailed, Stuck, OSError) as error:
            log.error("the devices cannot be checked: %s", error)
            return False
