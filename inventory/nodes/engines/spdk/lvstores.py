"""The SSDs of a node and their lvstores."""

import logging
from collections.abc import Iterable, Set
from pathlib import Path

from inventory.nodes.bounded import gather_bounded
from inventory.nodes.engines.retries import Retries
from inventory.nodes.engines.space import Space
from inventory.nodes.engines.spdk.config import SpdkConfig, SsdConfig
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.load_marks import LoadMarks
from inventory.nodes.engines.spdk.names import ssd_name
from inventory.nodes.engines.spdk.reservations import Ledger
from inventory.nodes.engines.spdk.rpc import RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import Lvstore, SpdkState, read_bdev
from inventory.nodes.engines.ssd_locks import SsdLocks
from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import RefusalCode, Ssd

CLEARING_SECONDS = 24 * 3600.0
HEAD_BYTES = 2**20
RETRY_SECONDS = 10.0
MAX_RETRY_SECONDS = 1800.0
"""The pause before an SSD that failed is tried again doubles up to this."""

log = logging.getLogger(__name__)


class Stores:
    """The SSDs of the node, each with one lvstore. An SSD that is missing or has foreign content
    counts as absent: this is logged, and the SSD is not changed. So does an SSD that failed, and
    ``retries`` says when it is tried again.

    All free clusters always read as zeros, so a new volume never shows old data. So an lvstore is
    created over zeros, and deleted lvols leave zeros. If a host discards blocks, SPDK only unmaps
    them. So hosts cannot discard blocks on SSDs where unmapped blocks may not read as zeros.
    """

    def __init__(
        self,
        rpc: SpdkRpc,
        config: SpdkConfig,
        spdk_state: KeptState,
        engine_state: EngineState,
    ) -> None:
        self._rpc = rpc
        self._spdk_state = spdk_state
        self._ssds = {ssd.id: ssd for ssd in config.ssds}
        self._engine_state = engine_state
        self._bdevs: dict[str, str] = {}
        self._ledgers: dict[str, Ledger] = {}
        self.locks = SsdLocks()
        self.marks = LoadMarks(rpc)
        self.retries = Retries(RETRY_SECONDS, MAX_RETRY_SECONDS)
        self._excluded: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Find all SSDs, and create lvstores on new ones."""
        await gather_bounded(self._make_bdev, self._ssds.values())
        await self._rpc.call("bdev_wait_for_examine", timeout=CLEARING_SECONDS)
        self.retries.begin(self._excluded)
        self._excluded = frozenset()
        for ssd in self._ssds.values():
            await self._open(ssd)

    def exclude(self, ssd_id: str, reason: str, *, is_final: bool = False) -> None:
        """Make the SSD absent until the next ``open``. ``is_final``: another attempt is useless
        until something else changes.
        """
        log.error("SSD %s cannot be used: %s", ssd_id, reason)
        self._bdevs.pop(ssd_id, None)
        self._excluded |= {ssd_id}
        if not is_final:
            self.retries.fail(ssd_id)

    async def present(self) -> frozenset[str]:
        """The SSDs whose file or bdev exists now."""
        return frozenset(
            {
                ssd.id
                for ssd in self._ssds.values()
                if (ssd.file.exists() if ssd.file else await self._bdev_name(ssd))
            }
        )

    async def usable(self) -> frozenset[str]:
        """The SSDs that are usable now."""
        return frozenset(self.open_ones(await self._spdk_state.read_stores()))

    @property
    def opened(self) -> frozenset[str]:
        """The SSDs that became usable at the last ``open``, and were not excluded since."""
        return frozenset(self._ssds.keys() - self._excluded)

    @property
    def absent(self) -> frozenset[str]:
        """The SSDs that were not usable when the lvstores were last read."""
        return frozenset(self._ssds.keys() - self.open_ones(self._spdk_state).keys())

    def find(self, spdk_state: SpdkState, ssd_id: str) -> Lvstore | None:
        """Return the lvstore of the SSD. None: the SSD is absent, or does not belong to this
        node.
        """
        found = spdk_state.lvstores.get(self._bdevs.get(ssd_id, ""))
        return found if found and self._engine_state.stores.get(ssd_id) == found.uuid else None

    def get(self, spdk_state: SpdkState, ssd_id: str) -> Lvstore:
        """The lvstore of the SSD.

        :raises NodeRefused: NOT_FOUND: not an SSD of this node; UNAVAILABLE: it is absent.
        """
        if ssd_id not in self._ssds:
            raise NodeRefused(RefusalCode.NOT_FOUND, f"SSD {ssd_id} is not on this node")
        found = self.find(spdk_state, ssd_id)
        if found is None:
            raise NodeRefused(RefusalCode.UNAVAILABLE, f"SSD {ssd_id} is missing")
        return found

    def refuse_missing(self, spdk_state: SpdkState, ssd_ids: Iterable[str]) -> None:
        """Check that none of these SSDs is absent. SSDs that were removed from the configuration
        are accepted, because their content no longer exists.

        :raises NodeRefused: UNAVAILABLE
        """
        for ssd_id in ssd_ids:
            if ssd_id in self._ssds:
                self.get(spdk_state, ssd_id)

    def open_ones(self, spdk_state: SpdkState) -> dict[str, Lvstore]:
        """The lvstores of all usable SSDs, by SSD id."""
        found = {ssd_id: self.find(spdk_state, ssd_id) for ssd_id in self._ssds}
        return {ssd_id: lvstore for ssd_id, lvstore in found.items() if lvstore}

    async def reloaded(self, ssd_ids: Set[str] | None = None) -> set[str]:
        """Return those of these usable SSDs, or of all, whose lvstore SPDK has loaded again since
        its last ``Zeroing.take``. Their free clusters may hold old data.
        """
        found = self.open_ones(self._spdk_state)
        asked = found if ssd_ids is None else {one: found[one] for one in found.keys() & ssd_ids}
        missing = await self.marks.missing(asked.values())
        return {ssd_id for ssd_id, lvstore in asked.items() if lvstore.uuid in missing}

    async def refuse_reloaded(self, ssd_ids: Iterable[str]) -> None:
        """Check that free clusters that were allocated until now on these SSDs read as zeros. The
        next start of the engine, which follows at once, makes other SSDs usable again.

        :raises NodeRefused: UNAVAILABLE
        """
        for ssd_id in sorted(await self.reloaded(set(ssd_ids))):
            raise NodeRefused(
                RefusalCode.UNAVAILABLE,
                f"SSD {ssd_id} was removed and has returned, and is not ready yet: try again",
            )

    def clear_method(self, ssd_id: str) -> str:
        """Return the method by which deleted lvols are made to read as zeros on this SSD."""
        return _clear_method(self._ssds[ssd_id])

    def trusts_unmap(self, ssd_id: str) -> bool:
        return self._ssds[ssd_id].zeroes_on_unmap

    async def look(self, ssd_ids: Iterable[str]) -> None:
        """Read the lvstores of these SSDs, if they have any."""
        found = (self.find(self._spdk_state, ssd_id) for ssd_id in sorted(set(ssd_ids)))
        await self._spdk_state.look_stores([lvstore for lvstore in found if lvstore])

    async def count(self, ssd_ids: Iterable[str]) -> None:
        """Count the space of these SSDs exactly."""
        chosen = set(ssd_ids)
        await self.look(chosen)
        for ssd_id in chosen:
            if lvstore := self.find(self._spdk_state, ssd_id):
                await self._spdk_state.count(lvstore, at_once=True)

    def space(self, ssd_id: str, *, promised: tuple[str, int] | None = None) -> Space:
        """The space of the SSD. ``promised``: the name of an lvol, and bytes that replace its
        recorded allocation.

        :raises NodeRefused: see ``get``.
        """
        lvstore = self.get(self._spdk_state, ssd_id)
        ledger = self._ledger(ssd_id, lvstore)
        if promised is None:
            return ledger.space(lvstore.capacity, lvstore.free_clusters)
        with ledger.promised(*promised):
            return ledger.space(lvstore.capacity, lvstore.free_clusters)

    async def ssds(self) -> tuple[Ssd, ...]:
        """All SSDs that are not absent."""
        spdk_state = await (await self._spdk_state.current()).read_stores()
        for lvstore in self.open_ones(spdk_state).values():
            await spdk_state.count(lvstore)
        return tuple(
            self._shown(ssd_id, lvstore) for ssd_id, lvstore in self.open_ones(spdk_state).items()
        )

    def _shown(self, ssd_id: str, lvstore: Lvstore) -> Ssd:
        space = self.space(ssd_id)
        return Ssd(
            ssd_id=ssd_id,
            name=self._ssds[ssd_id].name,
            capacity=space.capacity,
            free=space.free,
            outgrown=space.outgrown,
            block_sizes=(lvstore.block_size,),
        )

    def _ledger(self, ssd_id: str, lvstore: Lvstore) -> Ledger:
        """The ledger of the SSD's lvstore, with the recorded promises."""
        ledger, state = self._spdk_state.ledgers[lvstore.uuid], self._engine_state
        if self._ledgers.get(ssd_id) is not ledger:
            self._ledgers[ssd_id] = ledger
            state.repromised[ssd_id] |= state.promised[ssd_id].keys()
        for name in state.repromised.pop(ssd_id, ()):
            ledger.set_promise(name, state.promised[ssd_id].get(name))
        return ledger

    async def _make_bdev(self, ssd: SsdConfig) -> None:
        """Create the aio bdev of an SSD that is a file. SPDK replies when it has loaded the
        lvstore, which takes seconds for thousands of lvols after a crash (measured).
        """
        name = ssd_name(ssd.id)
        if ssd.file is None or await read_bdev(self._rpc, name):
            return
        try:
            await self._rpc.call(
                "bdev_aio_create",
                name=name,
                filename=str(ssd.file),
                block_size=ssd.block_size,
                fallocate=ssd.zeroes_on_unmap,
                timeout=CLEARING_SECONDS,
            )
        except RpcRefused as error:
            log.error("SSD %s: %s", ssd.id, error)

    async def _bdev_name(self, ssd: SsdConfig) -> str | None:
        found = await read_bdev(self._rpc, ssd.bdev or ssd_name(ssd.id))
        return found.name if found else None

    async def _open(self, ssd: SsdConfig) -> None:
        """Take the SSD into use, or exclude it."""
        self._bdevs.pop(ssd.id, None)
        name = await self._bdev_name(ssd)
        if name is None:
            is_missing = ssd.file is None or not ssd.file.exists()
            self.exclude(ssd.id, "there is no such bdev", is_final=is_missing)
            return
        self._bdevs[ssd.id] = name
        lvstore = await self._examined(name)
        known = self._engine_state.stores.get(ssd.id)
        is_ours = not known and not ssd.format and lvstore and lvstore.name == ssd_name(ssd.id)
        if lvstore and (lvstore.uuid == known or is_ours):
            self._engine_state.put_store(ssd.id, lvstore.uuid)
        elif reason := self._keeps_from_making(ssd, lvstore):
            # SPDK shows no lvstore, too, if it could not read the SSD
            self.exclude(ssd.id, reason, is_final=not known or lvstore is not None)
        elif reason := await self._make(ssd, name, lvstore):
            self.exclude(ssd.id, reason)

    async def _examined(self, name: str) -> Lvstore | None:
        """Return the lvstore on a bdev. The bdev is examined first if SPDK does not do this by
        itself.
        """
        spdk_state = await self._spdk_state.read_stores()
        if name not in spdk_state.lvstores:
            try:
                await self._rpc.call("bdev_examine", name=name)
                await self._rpc.call("bdev_wait_for_examine", timeout=CLEARING_SECONDS)
            except RpcRefused as error:
                log.debug("bdev %s: %s", name, error)
            spdk_state = await self._spdk_state.read_stores()
        return spdk_state.lvstores.get(name)

    def _keeps_from_making(self, ssd: SsdConfig, lvstore: Lvstore | None) -> str:
        if known := self._engine_state.stores.get(ssd.id):
            there = lvstore.uuid if lvstore else "none"
            return f"it has the lvstore {there}, not {known}, which the node created on it"
        if ssd.format:
            return ""
        if lvstore:
            return f"it contains the lvstore {lvstore.name} ({lvstore.uuid})"
        if ssd.file is None:
            return "it contains no lvstore, and SPDK cannot show other data on it: see --format"
        return f"{ssd.file} is not empty" if _head(ssd.file).strip(b"\0") else ""

    async def _make(self, ssd: SsdConfig, bdev: str, old: Lvstore | None) -> str:
        """Create an lvstore. Returns the reason if this failed."""
        log.warning("SSD %s: creating an lvstore on bdev %s", ssd.id, bdev)
        self._spdk_state.invalidate()
        try:
            if old:
                await self._rpc.call(
                    "bdev_lvol_delete_lvstore", uuid=old.uuid, timeout=CLEARING_SECONDS
                )
            uuid = await self._rpc.call(
                "bdev_lvol_create_lvstore",
                bdev_name=bdev,
                lvs_name=ssd_name(ssd.id),
                clear_method=_clear_method(ssd),
                timeout=CLEARING_SECONDS,
            )
        except RpcRefused as error:
            return str(error)
        self._engine_state.put_store(ssd.id, uuid)
        self._engine_state.note_overwritten(uuid, is_so=not ssd.zeroes_on_unmap)
        return ""


def _clear_method(ssd: SsdConfig) -> str:
    return "unmap" if ssd.zeroes_on_unmap else "write_zeroes"


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(HEAD_BYTES)
