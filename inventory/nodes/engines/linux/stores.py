"""The SSDs of a node, each with a volume group and one thin pool."""

import asyncio
import logging
from collections.abc import Iterable

from inventory.nodes.engines.linux.config import LinuxConfig, SsdConfig
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel, Stuck
from inventory.nodes.engines.linux.lvm import Lvm
from inventory.nodes.engines.linux.mapped import FAILED, Mapped, Pool
from inventory.nodes.engines.linux.mapper import Mapper
from inventory.nodes.engines.linux.names import vg_name, volume_name
from inventory.nodes.engines.linux.opening import NotReady, NotUsable, Opening, Store
from inventory.nodes.engines.linux.reservations import Use, count_space
from inventory.nodes.engines.retries import Retries
from inventory.nodes.engines.space import Space
from inventory.nodes.engines.ssd_locks import SsdLocks
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, RefusalCode, Ssd

RETRY_SECONDS = 60.0
MAX_RETRY_SECONDS = 1800.0
"""The pause before an SSD that failed is tried again doubles up to this."""

log = logging.getLogger(__name__)


class Stores:
    """The SSDs of the node. A device that is missing, fails, hangs, or has foreign content counts
    as absent: this is logged, and the device is not changed. ``retries`` says when a device that
    failed or hung is tried again.
    """

    def __init__(self, kernel: Kernel, config: LinuxConfig, engine_state: EngineState) -> None:
        self._kernel = kernel
        self._ssds = {ssd.id: ssd for ssd in config.ssds}
        self._engine_state = engine_state
        self.lvm = Lvm(kernel)
        self.lvm.on_stuck = self._hangs
        self.mapper = Mapper(kernel)
        self._opening = Opening(kernel, self.lvm, self.mapper)
        self.locks = SsdLocks()
        self._stores: dict[str, Store] = {}
        self._hanging: set[str] = set()
        self.retries = Retries(RETRY_SECONDS, MAX_RETRY_SECONDS)
        self.absent: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Find all SSDs, activate what is on them, and create pools on new ones."""
        self.retries.begin(self.absent | self._hanging)
        self._stores.clear()
        self._hanging.clear()
        await self.mapper.resume_all([vg_name(ssd_id) for ssd_id in self._ssds])
        await asyncio.gather(*map(self._open, self._ssds.values()))
        self.absent = frozenset(self._ssds.keys() - self._stores.keys())

    async def present(self) -> frozenset[str]:
        """The SSDs whose device exists now."""
        ssds = self._ssds.values()
        return frozenset({ssd.id for ssd in ssds if await self._kernel.exists(ssd.device)})

    async def working(self) -> frozenset[str]:
        """The SSDs whose pool works now."""
        mapped = await self.mapper.read()
        return frozenset(ssd_id for ssd_id in self._ssds if self._works(mapped, ssd_id))

    @property
    def opened(self) -> frozenset[str]:
        """The SSDs that became usable at the last ``open``, and have not hung since."""
        return frozenset(self._stores.keys() - self._hanging)

    def find(self, ssd_id: str) -> Store | None:
        """Return the store of the SSD. None: the SSD is absent, or does not belong to this node."""
        return self._stores.get(ssd_id)

    def get(self, ssd_id: str) -> Store:
        """The store of the SSD.

        :raises NodeRefused: NOT_FOUND: not an SSD of this node; UNAVAILABLE: it is absent.
        """
        if ssd_id not in self._ssds:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"SSD {ssd_id} is not on this node")
        found = self.find(ssd_id)
        if found is None:
            raise NodeRefused(RefusalCode.UNAVAILABLE, f"SSD {ssd_id} is missing")
        return found

    def refuse_missing(self, ssd_ids: Iterable[str]) -> None:
        """Check that none of these SSDs is absent. SSDs that were removed from the configuration
        are accepted, because their content no longer exists.

        :raises NodeRefused: UNAVAILABLE
        """
        for ssd_id in ssd_ids:
            if ssd_id in self._ssds:
                self.get(ssd_id)

    def all(self) -> tuple[Store, ...]:
        """All usable SSDs, in the order of the configuration."""
        return tuple(self._stores[ssd_id] for ssd_id in self._ssds if ssd_id in self._stores)

    def are_there(self, mapped: Mapped, lv: str, pieces: Iterable[Piece]) -> bool:
        """Whether each piece has its logical volume, and it is active."""
        stores = [self.find(piece.ssd_id) for piece in pieces]
        return all(store and store.thin(mapped, lv) for store in stores)

    def refuse_lost(self, mapped: Mapped, what: str, lv: str, pieces: Iterable[Piece]) -> None:
        """Check that each piece has its logical volume.

        :raises NodeRefused: NOT_FOUND: a piece has none; UNAVAILABLE: an SSD is missing.
        """
        for piece in pieces:
            if self.get(piece.ssd_id).thin(mapped, lv) is None:
                raise NodeRefused(
                    RefusalCode.NOT_FOUND, f"{what} is lost: SSD {piece.ssd_id} has no {lv}"
                )

    async def remove_lv(self, store: Store, lv: str) -> None:
        """Remove a logical volume. It need not exist.

        :raises CommandFailed: it is in use.
        """
        is_active = store.thin(await self.mapper.read(), lv) is not None
        if is_active or lv in await self.lvm.logical_volumes(store.ssd, store.vg):
            await self.lvm.remove(store.ssd, store.vg, lv)

    def ssds(self, mapped: Mapped) -> tuple[Ssd, ...]:
        """All SSDs that are not absent."""
        return tuple(self._shown(mapped, store) for store in self.all())

    def space(
        self, mapped: Mapped, store: Store, *, promised: dict[str, int] | None = None
    ) -> Space:
        """Return the space of the SSD. ``promised``: bytes by logical volume, which replace the
        recorded allocations.
        """
        promises = self._engine_state.promises(store.ssd.id, volume_name) | (promised or {})
        pool = self.pool(mapped, store)
        use = Use(
            capacity=pool.size,
            chunk_size=store.chunk_size,
            used=pool.used_data * store.chunk_size,
            mapped={lv: one.mapped for (vg, lv), one in mapped.thins.items() if vg == store.vg},
            family=self._engine_state.families,
        )
        return count_space(use, promises)

    async def _open(self, ssd: SsdConfig) -> None:
        known = self._engine_state.stores.get(ssd.id)
        try:
            store = await self._opening.open(ssd, known)
        except (NotUsable, CommandFailed, OSError) as error:
            log.error("SSD %s cannot be used: %s", ssd.id, error)
            if not isinstance(error, NotUsable) or isinstance(error, NotReady):
                self.retries.fail(ssd.id)
        except Stuck as error:
            log.error("SSD %s hangs: %s", ssd.id, error)
            self._hangs(ssd.id)
        else:
            self._engine_state.put_store(ssd.id, store.vg_uuid)
            self._stores[ssd.id] = store

    def _shown(self, mapped: Mapped, store: Store) -> Ssd:
        space = self.space(mapped, store)
        return Ssd(
            ssd_id=store.ssd.id,
            name=store.ssd.name,
            capacity=space.capacity,
            free=space.free if self.pool(mapped, store).is_writable else 0,
            outgrown=space.outgrown,
            block_sizes=(store.block_size,),
        )

    def hangs(self, ssd_id: str) -> bool:
        """Whether a command for the SSD did not end."""
        return ssd_id in self._hanging

    def _hangs(self, ssd_id: str) -> None:
        self._hanging.add(ssd_id)
        self.retries.fail(ssd_id)

    def _works(self, mapped: Mapped, ssd_id: str) -> bool:
        store = self._stores.get(ssd_id)
        if self.hangs(ssd_id):
            return False
        return store is not None and not self.pool(mapped, store).has_failed

    def pool(self, mapped: Mapped, store: Store) -> Pool:
        """The SSD's thin pool."""
        return mapped.pools.get(store.vg, FAILED)
