"""Targets: each is an nvmf subsystem, for one host, on all portals.

SPDK's errors do not contain a reason. So the state is read first, changed step by step, and read
again.
"""

import ipaddress
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from inventory.nodes.bounded import gather_bounded
from inventory.nodes.engines.base import TargetState, VolumesLeftOut
from inventory.nodes.engines.names import MODEL, namespace_uuid, piece_uuid, serial_number
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.engines.spdk.concat_volumes import ConcatVolumes
from inventory.nodes.engines.spdk.config import SpdkConfig
from inventory.nodes.engines.spdk.engine_state import EngineState
from inventory.nodes.engines.spdk.kept_state import KeptState
from inventory.nodes.engines.spdk.rpc import NotAsAsked, RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.subsystems import (
    Address,
    Subsystem,
    find_exporter,
    read_subsystem,
    read_subsystems,
)
from inventory.nodes.errors import NodeRefused
from inventory.nodes.target_ids import ANY_CONTROLLERS, MAX_NAMESPACES, ControllerIds
from inventory.nodes.wire import Portal, RefusalCode

TRANSPORT = "TCP"
MASKED_DEPTH = 127
"""Depth of the admin queues when hosts cannot discard blocks. SPDK reports this value but not what
is masked, so it marks a masked transport. Hosts use 32.
"""
NO_DISCARDS: dict[str, Any] = {"masked_oncs": ["nvmdsmsv"], "max_aq_depth": MASKED_DEPTH}
"""The target refuses discards. Linux sends them anyway, unless the subsystem also says
NO_RANGES.
"""
NO_RANGES: dict[str, Any] = {"dmrsl": 0}

log = logging.getLogger(__name__)


class Targets:
    """Creates, changes and removes targets."""

    def __init__(
        self,
        rpc: SpdkRpc,
        config: SpdkConfig,
        spdk_state: KeptState,
        engine_state: EngineState,
        concat_volumes: ConcatVolumes,
    ) -> None:
        self._rpc = rpc
        self._spdk_state = spdk_state
        self._engine_state = engine_state
        self._concat_volumes = concat_volumes
        self._addresses = frozenset(map(_address, config.portals))
        self._discards = config.discards

    async def is_open(self) -> bool:
        """Whether ``open`` was called since SPDK started. Only the agent creates this transport.

        :raises NotAsAsked: hosts can discard blocks through it, but must not.
        """
        transports = await self._rpc.call("nvmf_get_transports")
        found = [one for one in transports if one["trtype"].upper() == TRANSPORT]
        is_masked = all(one["max_aq_depth"] == MASKED_DEPTH for one in found)
        if not self._discards and not is_masked:
            raise NotAsAsked(
                "hosts can discard blocks on this target, and an SSD of the node is not declared"
                " zeroes_on_unmap: restart the target"
            )
        return bool(found)

    async def open(self) -> None:
        """Create the transport if it does not exist."""
        if not await self.is_open():
            options = {} if self._discards else NO_DISCARDS
            await self._rpc.call("nvmf_create_transport", trtype=TRANSPORT, **options)

    async def names(self) -> tuple[str, ...]:
        return tuple(await read_subsystems(self._rpc))

    async def connected_hosts(self, only: Collection[str] | None) -> dict[str, tuple[str, ...]]:
        names = await self.names() if only is None else tuple(only)
        found = await gather_bounded(self._hosts, names)
        return {nqn: hosts for nqn, hosts in zip(names, found, strict=True) if hosts}

    async def apply(self, target: TargetState) -> None:
        """See :class:`Engine`. Only volumes that the target does not have yet are read.

        :raises NodeRefused: IN_USE: another target has one of the volumes; INVALID: a namespace id
            is too high; UNAVAILABLE: an SSD was removed and has just returned.
        :raises VolumesLeftOut: see :class:`Engine`.
        """
        _check_ids(target)
        spdk_state = await self._spdk_state.current()
        found = await read_subsystem(self._rpc, target.nqn)
        new = self._new(found, target)
        await gather_bounded(lambda entry: self._ready(found, target, entry), new)
        wanted, left_out = self._wanted(spdk_state, target)
        await self._concat_volumes.refuse_reloaded(new)
        if found and await self._must_recreate(found, target, wanted):
            await self.remove(target.nqn)
            found = None
        if target.by_piece:
            for uuid in target.namespaces.values():
                await self._concat_volumes.disassemble(uuid)
        if found is None or not self._is_as_wanted(found, target, wanted):
            await self._change(found, target, wanted)
        if left_out:
            raise VolumesLeftOut(target.nqn, left_out)

    async def empty(self, nqn: str) -> None:
        """See :class:`Engine`. SPDK notifies hosts of each removed namespace, but not of a deleted
        subsystem.
        """
        found = await read_subsystem(self._rpc, nqn)
        if found is None:
            return
        for nsid in found.namespaces:
            with suppress(RpcRefused):
                await self._rpc.call("nvmf_subsystem_remove_ns", nqn=nqn, nsid=nsid)
        left = await read_subsystem(self._rpc, nqn)
        if left and left.namespaces:
            raise NotAsAsked(f"target {nqn} still has the namespaces {sorted(left.namespaces)}")
        await self._concat_volumes.assemble_all({bdev for bdev, _ in found.namespaces.values()})

    async def remove(self, nqn: str) -> None:
        """See :class:`Engine`. Volumes that it exported by piece are assembled again, at the latest
        at their next start or export.
        """
        found = await read_subsystem(self._rpc, nqn)
        if found is None:
            return
        with suppress(RpcRefused):
            await self._rpc.call("nvmf_delete_subsystem", nqn=nqn)
        if await read_subsystem(self._rpc, nqn):
            raise NotAsAsked(f"target {nqn} still exists")
        await self._concat_volumes.assemble_all({bdev for bdev, _ in found.namespaces.values()})

    async def controllers(self, only: Collection[str] | None) -> dict[str, ControllerIds]:
        if only is None:
            there = list((await read_subsystems(self._rpc)).values())
        else:
            there = [one for nqn in only if (one := await read_subsystem(self._rpc, nqn))]
        return {one.nqn: one.controllers for one in there}

    async def _change(
        self, found: Subsystem | None, target: TargetState, wanted: dict[int, tuple[str, str]]
    ) -> None:
        if found is None:
            found = await self._create(target.nqn, target.controllers)
        await self._take_out(found, target.host_nqn, wanted)
        await self._put_in(found, target.host_nqn, wanted)
        made = await read_subsystem(self._rpc, target.nqn)
        if made is None or not self._is_as_wanted(made, target, wanted):
            raise NotAsAsked(f"target {target.nqn} is {made}, not {target} with {wanted}")

    async def _must_recreate(
        self, found: Subsystem, target: TargetState, wanted: dict[int, tuple[str, str]]
    ) -> bool:
        """Whether the target must be recreated. If only the controller ids differ, this waits until
        no host is connected, because a host would lose its disks for a while.
        """
        if found.allows_any_host or found.max_namespaces <= max(wanted, default=0):
            # hosts that connected while any host was allowed stay connected
            return True
        differs = target.controllers is not None and found.controllers != target.controllers
        return differs and not await self._hosts(target.nqn)

    def _new(self, found: Subsystem | None, target: TargetState) -> list[VolumeEntry]:
        """The recorded volumes that the target does not export as wanted."""
        there = found.namespaces if found else {}
        entries = self._engine_state.volumes
        return [
            entries[uuid]
            for nsid, uuid in target.namespaces.items()
            if uuid in entries and there.get(nsid, ("", ""))[1] != namespace_uuid(uuid)
        ]

    async def _ready(
        self, found: Subsystem | None, target: TargetState, entry: VolumeEntry
    ) -> None:
        """Read a volume that will be added to the target, and make it ready: set its limits and, if
        it spans SSDs, assemble it, even if a crash left it exported by piece.

        :raises NodeRefused: IN_USE: another target has it.
        """
        bdevs = await self._concat_volumes.look(entry.uuid)
        own = {bdev for bdev, _ in found.namespaces.values()} if found else set()
        others = [bdev for bdev in bdevs if bdev.name not in own]
        if other := await find_exporter(self._rpc, others):
            raise NodeRefused(
                RefusalCode.IN_USE,
                f"volume {entry.uuid} is already exported by {other}: a volume can be in only one "
                f"target at a time, so not in {target.nqn}",
            )
        latest = self._engine_state.volumes.get(entry.uuid)  # its limits may have changed meanwhile
        if latest and not target.by_piece:
            try:
                await self._concat_volumes.ready(latest)
            except (NotAsAsked, RpcRefused) as error:
                log.error("volume %s is not ready for %s: %s", entry.uuid, target.nqn, error)

    def _wanted(
        self, spdk_state: KeptState, target: TargetState
    ) -> tuple[dict[int, tuple[str, str]], list[str]]:
        """Return the bdev and uuid of each namespace id, and the volumes that are present and have
        no bdev. Missing volumes are omitted, so that a missing SSD does not affect the others.
        """
        wanted, left_out = {}, []
        for nsid, uuid in target.namespaces.items():
            entry = self._engine_state.volumes.get(uuid)
            is_there = entry is not None and self._concat_volumes.is_there(entry)
            bdev = self._concat_volumes.bdev(entry) if entry else None
            if entry and is_there and target.by_piece:
                for place, piece in enumerate(self._concat_volumes.members(spdk_state, entry)):
                    wanted[nsid + place] = (piece.uuid, piece_uuid(uuid, place))
            elif bdev and not target.by_piece:
                wanted[nsid] = (bdev.name, namespace_uuid(uuid))
            elif is_there:
                left_out.append(uuid)
            else:
                log.error("target %s: volume %s is missing", target.nqn, uuid)
        return wanted, left_out

    async def _create(self, nqn: str, controllers: ControllerIds | None) -> Subsystem:
        ids = controllers or ANY_CONTROLLERS
        await self._rpc.call(
            "nvmf_create_subsystem",
            nqn=nqn,
            serial_number=serial_number(nqn),
            model_number=MODEL,
            allow_any_host=False,
            max_namespaces=MAX_NAMESPACES,
            min_cntlid=ids.first,
            max_cntlid=ids.last,
            **({} if self._discards else NO_RANGES),
        )
        return Subsystem(nqn, False, frozenset(), frozenset(), {}, MAX_NAMESPACES, ids)

    async def _take_out(
        self, found: Subsystem, host: str, wanted: dict[int, tuple[str, str]]
    ) -> None:
        for other in found.hosts - {host}:
            await self._rpc.call("nvmf_subsystem_remove_host", nqn=found.nqn, host=other)
        for nsid, one in found.namespaces.items():
            if wanted.get(nsid) != one:
                await self._rpc.call("nvmf_subsystem_remove_ns", nqn=found.nqn, nsid=nsid)
        for address in found.listeners - self._addresses:
            await self._listener("nvmf_subsystem_remove_listener", found.nqn, address)

    async def _put_in(
        self, found: Subsystem, host: str, wanted: dict[int, tuple[str, str]]
    ) -> None:
        """Add namespaces, then the host and the listeners, so that hosts find everything when they
        connect.
        """
        missing = [nsid for nsid, one in wanted.items() if found.namespaces.get(nsid) != one]
        await gather_bounded(lambda nsid: self._add(found.nqn, nsid, *wanted[nsid]), missing)
        if host not in found.hosts:
            await self._rpc.call("nvmf_subsystem_add_host", nqn=found.nqn, host=host)
        for address in self._addresses - found.listeners:
            await self._listener("nvmf_subsystem_add_listener", found.nqn, address)

    async def _add(self, nqn: str, nsid: int, bdev: str, uuid: str) -> None:
        namespace = {
            "bdev_name": bdev,
            "nsid": nsid,
            "uuid": uuid,
            "nguid": uuid.replace("-", ""),
        }
        await self._rpc.call("nvmf_subsystem_add_ns", nqn=nqn, namespace=namespace)

    async def _listener(self, method: str, nqn: str, address: Address) -> None:
        adrfam, traddr, trsvcid = address
        listen_address = {
            "trtype": TRANSPORT,
            "adrfam": adrfam,
            "traddr": traddr,
            "trsvcid": trsvcid,
        }
        await self._rpc.call(method, nqn=nqn, listen_address=listen_address)

    def _is_as_wanted(
        self, made: Subsystem, target: TargetState, wanted: dict[int, tuple[str, str]]
    ) -> bool:
        """Whether hosts can use the subsystem exactly as wanted."""
        return (
            not made.allows_any_host
            and made.hosts == {target.host_nqn}
            and made.namespaces == wanted
            and made.listeners == self._addresses
        )

    async def _hosts(self, nqn: str) -> tuple[str, ...]:
        try:
            shown = await self._rpc.call("nvmf_subsystem_get_controllers", nqn=nqn)
        except RpcRefused:  # the target was removed meanwhile
            return ()
        return tuple(sorted({one["hostnqn"] for one in shown}))


def _address(portal: Portal) -> Address:
    family = f"IPv{ipaddress.ip_address(portal.ip).version}"
    return family, portal.ip, str(portal.port)


def _check_ids(target: TargetState) -> None:
    if max(target.namespaces, default=0) > MAX_NAMESPACES:
        raise NodeRefused(
            RefusalCode.INVALID,
            f"namespace {max(target.namespaces)} of {target.nqn}: the highest id is "
            f"{MAX_NAMESPACES}",
        )
