"""Targets: each is a subsystem of the kernel, for one host, on all portals."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress

from inventory.nodes.engines.base import TargetState, VolumesLeftOut
from inventory.nodes.engines.linux.config import LinuxConfig
from inventory.nodes.engines.linux.connected import established
from inventory.nodes.engines.linux.engine_state import EngineState
from inventory.nodes.engines.linux.fronts import Fronts
from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel, NotAsAsked, Stuck
from inventory.nodes.engines.linux.mapped import Mapped
from inventory.nodes.engines.linux.nvmet import Namespace, Nvmet, Subsystem, address_of
from inventory.nodes.engines.linux.stores import Stores
from inventory.nodes.engines.names import MODEL, namespace_uuid, piece_uuid, serial_number
from inventory.nodes.engines.records import VolumeEntry
from inventory.nodes.errors import NodeRefused
from inventory.nodes.target_ids import MAX_NAMESPACES, ControllerIds
from inventory.nodes.wire import RefusalCode

log = logging.getLogger(__name__)


class Targets:
    """Creates, changes and removes targets. The targets of this node are recognised by their serial
    number. Targets of other programs are not changed.
    """

    def __init__(
        self,
        kernel: Kernel,
        config: LinuxConfig,
        engine_state: EngineState,
        stores: Stores,
        fronts: Fronts,
    ) -> None:
        self._kernel = kernel
        self._nvmet = Nvmet(kernel)
        self._node = config.node
        self._engine_state = engine_state
        self._stores = stores
        self._fronts = fronts
        self._portals = config.portals
        self._addresses = frozenset(map(address_of, config.portals))
        self._ports = asyncio.Lock()
        self._devices: dict[str, Mapping[int, Namespace]] = {}

    async def names(self, only: Collection[str] | None = None) -> tuple[str, ...]:
        """The targets of this node. ``only``: of these."""
        found = await self._nvmet.names() if only is None else sorted(only)
        return tuple([nqn for nqn in found if await self._is_ours(nqn)])

    async def connected_hosts(
        self, only: Collection[str] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """Kernels before 6.11 do not tell it. While anyone is connected to a portal of the node
        there, each host of a target counts as connected, because a target must not change under a
        host.
        """
        is_anyone_there = await self._is_anyone_connected()
        found = {}
        for nqn in await self.names(only) if is_anyone_there else ():
            with suppress(FileNotFoundError):  # it was removed a moment ago
                hosts = await self._nvmet.sessions(nqn)
                found[nqn] = hosts if hosts is not None else await self._nvmet.hosts(nqn)
        return {nqn: tuple(sorted(hosts)) for nqn, hosts in found.items() if hosts}

    async def controllers(self, only: Collection[str] | None = None) -> dict[str, ControllerIds]:
        found = {}
        for nqn in await self.names(only):
            with suppress(FileNotFoundError):  # it was removed a moment ago
                found[nqn] = await self._nvmet.controllers(nqn)
        return found

    async def apply(self, target: TargetState) -> None:
        """See :class:`Engine`.

        :raises NodeRefused: INVALID: an id or NQN is not possible; IN_USE: another program has a
            target with this NQN.
        :raises VolumesLeftOut: see :class:`Engine`.
        """
        _check(target)
        found = await self._nvmet.read(target.nqn)
        if found and not self._is_mark(found.serial, target.nqn):
            raise NodeRefused(
                RefusalCode.IN_USE,
                f"a target {target.nqn} of another program exists on this machine",
            )
        mapped = await self._assemble(target)
        wanted = self._wanted(mapped, target, found)
        if found is None or found.allows_any_host:
            await self.remove(target.nqn)
            await self._nvmet.create(target.nqn, self._mark(target.nqn), MODEL)
            found = await self._read(target.nqn)
        if await self._is_to_number(found, target):
            assert target.controllers is not None
            await self._nvmet.number(target.nqn, target.controllers)
        await self._set_namespaces(found, wanted)
        await self._set_host(found, target.host_nqn)
        await self._set_ports(target.nqn)
        await self._verify(target, wanted)
        if left_out := self._apart(mapped, target):
            raise VolumesLeftOut(target.nqn, [entry.uuid for entry in left_out])

    async def empty(self, nqn: str) -> None:
        """See :class:`Engine`."""
        self._devices.pop(nqn, None)
        found = await self._nvmet.read(nqn)
        if found and self._is_mark(found.serial, nqn):
            await self._set_namespaces(found, {})

    async def remove(self, nqn: str) -> None:
        """See :class:`Engine`."""
        await self.empty(nqn)
        found = await self._nvmet.read(nqn)
        if found is None or not self._is_mark(found.serial, nqn):
            return
        for number in await self._nvmet.ports_of(nqn):
            await self._nvmet.leave(number, nqn)
        for host in found.hosts:
            await self._nvmet.forbid(nqn, host)
        await self._nvmet.remove(nqn)

    async def revalidate(self, uuid: str) -> None:
        """Make hosts notice the present size of the volume."""
        mark = namespace_uuid(uuid)
        for nqn, namespaces in [*self._devices.items()]:  # they change meanwhile
            for nsid, one in namespaces.items():
                if one.uuid == mark:
                    await self._nvmet.revalidate(nqn, nsid)

    def _mark(self, nqn: str) -> str:
        return serial_number(f"{self._node} {nqn}")

    def _is_mark(self, serial: str, nqn: str) -> bool:
        return serial == self._mark(nqn)

    async def _is_ours(self, nqn: str) -> bool:
        return self._is_mark(await self._nvmet.serial(nqn), nqn)

    async def _read(self, nqn: str) -> Subsystem:
        found = await self._nvmet.read(nqn)
        if found is None:
            raise NotAsAsked(f"target {nqn} was removed by another program")
        return found

    async def _assemble(self, target: TargetState) -> Mapped:
        """Create the missing fronts of the volumes, as far as possible. Returns what is there."""
        mapped = await self._stores.mapper.read()
        apart = self._apart(mapped, target)
        for entry in apart:
            try:
                await self._fronts.assemble(entry)
            except (NotAsAsked, CommandFailed, Stuck) as error:
                log.error("volume %s cannot be assembled: %s", entry.uuid, error)
        return await self._stores.mapper.read() if apart else mapped

    def _apart(self, mapped: Mapped, target: TargetState) -> list[VolumeEntry]:
        """The volumes that hosts cannot use, although all their pieces are present."""
        found = map(self._engine_state.volumes.get, target.namespaces.values())
        return [entry for entry in found if entry and self._fronts.is_apart(mapped, entry)]

    def _wanted(
        self, mapped: Mapped, target: TargetState, found: Subsystem | None
    ) -> dict[int, Namespace]:
        """Return the wanted namespaces. Missing volumes are omitted, so that a missing SSD does not
        affect the others. Existing namespaces on an SSD that hangs are kept, because removing them
        would hang.
        """
        wanted = {}
        there = found.namespaces if found else {}
        for nsid, uuid in target.namespaces.items():
            entry = self._engine_state.volumes.get(uuid)
            device = self._fronts.device(mapped, entry) if entry else None
            old = there.get(nsid)
            if old and entry and any(self._stores.hangs(one.ssd_id) for one in entry.made_pieces):
                wanted[nsid] = old
            elif entry is None or device is None:
                log.error("target %s: volume %s is missing", target.nqn, uuid)
            elif target.by_piece:
                for place, piece in enumerate(entry.made_pieces):
                    path = self._fronts.piece_device(entry, piece)
                    wanted[nsid + place] = Namespace(path, piece_uuid(uuid, place))
            else:
                wanted[nsid] = Namespace(device, namespace_uuid(uuid))
        return wanted

    async def _is_to_number(self, found: Subsystem, target: TargetState) -> bool:
        """Whether the ids of the controllers must change. They do not change while a host may be
        connected.
        """
        if target.controllers in (None, found.controllers):
            return False
        if not await self._nvmet.ports_of(target.nqn):
            return True
        hosts = await self._nvmet.sessions(target.nqn)
        return not hosts if hosts is not None else not await self._is_anyone_connected()

    async def _is_anyone_connected(self) -> bool:
        return await established(self._kernel, self._portals)

    async def _set_namespaces(self, found: Subsystem, wanted: Mapping[int, Namespace]) -> None:
        for nsid, one in found.namespaces.items():
            if one is None or wanted.get(nsid) != one:
                await self._nvmet.remove_namespace(found.nqn, nsid)
        for nsid, one in wanted.items():
            if found.namespaces.get(nsid) != one:
                await self._nvmet.add_namespace(found.nqn, nsid, one)
        self._devices[found.nqn] = wanted

    async def _set_host(self, found: Subsystem, host: str) -> None:
        """Allow only this host. Other hosts are disconnected, because the target is removed from
        its ports for a moment.
        """
        others = found.hosts - {host}
        if others:
            for number in await self._nvmet.ports_of(found.nqn):
                await self._nvmet.leave(number, found.nqn)
        for other in others:
            await self._nvmet.forbid(found.nqn, other)
        if host not in found.hosts:
            await self._nvmet.allow(found.nqn, host)

    async def _set_ports(self, nqn: str) -> None:
        async with self._ports:
            addresses = await self._nvmet.ports()
            numbers = {address: number for number, address in addresses.items()}
            wanted = set()
            for address in sorted(self._addresses):
                number = numbers.get(address) or await self._nvmet.make_port(address)
                wanted.add(number)
            there = set(await self._nvmet.ports_of(nqn))
            for number in there - wanted:
                await self._nvmet.leave(number, nqn)
            failed = []
            for number in sorted(wanted - there):
                try:
                    await self._nvmet.join(number, nqn)
                except OSError as error:  # hosts can use the other portals
                    failed.append(error)
            if failed:
                raise failed[0]

    async def _verify(self, target: TargetState, wanted: Mapping[int, Namespace]) -> None:
        made = await self._nvmet.read(target.nqn)
        if (
            made is None
            or made.allows_any_host
            or made.hosts != {target.host_nqn}
            or made.namespaces != wanted
        ):
            raise NotAsAsked(f"target {target.nqn} is {made}, not {target} with {wanted}")


def _check(target: TargetState) -> None:
    for nqn in (target.nqn, target.host_nqn):
        if "/" in nqn or nqn in {".", ".."}:
            raise NodeRefused(RefusalCode.INVALID, f"{nqn} is not a valid NQN: it contains /")
    if max(target.namespaces, default=0) > MAX_NAMESPACES:
        raise NodeRefused(
            RefusalCode.INVALID,
            f"namespace {max(target.namespaces)} of {target.nqn}: the highest id is "
            f"{MAX_NAMESPACES}",
        )
