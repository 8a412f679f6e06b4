"""The agent of a simulated host. It repeatedly reads its volumes and tasks, and acts on them."""

import asyncio
import logging
import math
import uuid
from dataclasses import dataclass

from inventory.simulated_hosts.connection import Connection, Endpoint, NoAnswer
from inventory.simulated_hosts.legs import Legs
from inventory.simulated_hosts.migration import Migrations
from inventory.simulated_hosts.node_availability import Nodes
from inventory.simulated_hosts.observed import AVAILABLE, TERMINATING, MigrationTask, Volume
from inventory.simulated_hosts.raid_array import Array
from inventory.simulated_hosts.self_healing import Healing

MOST_STEPS = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Behaviour:
    """The behaviour of a host. ``look_seconds``: the interval between checks of its volumes and
    their nodes while all are healthy; otherwise it checks at each poll. ``bytes_per_second``: the
    speed at which it synchronizes a leg. ``only_reports``: it neither replaces replicas nor
    migrates volumes.
    """

    client_type: str = "Agent"
    version: str = "3.22"
    only_reports: bool = False
    probe_seconds: float = 30.0
    poll_seconds: float = 1.0
    look_seconds: float = 5.0
    bytes_per_second: float = 2**30


def host_identity(name: str) -> tuple[str, str]:
    """Return the uuid and NQN of the host with this name. They never change."""
    host = host_uuid(name)
    return host, f"nqn.2014-08.org.nvmexpress:uuid:{host}"


def host_uuid(name: str) -> str:
    """The id of the simulated host with this name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


class HostAgent:
    """The agent of one host.

    Each step depends only on the present state in the API. So after a lost answer or an outage of
    the API, the next poll continues.
    """

    def __init__(self, name: str, behaviour: Behaviour, endpoint: Endpoint, nodes: Nodes) -> None:
        self.name = name
        self.uuid, self.nqn = host_identity(name)
        self._behaviour = behaviour
        self._nodes = nodes
        self._api = Connection(endpoint)
        self._arrays: dict[str, Array] = {}
        self._legs = Legs(self._api, self.uuid, name)
        self._migrations = Migrations(self._api, self.uuid, name, self._legs)
        self._healing = Healing(self._legs)
        self._probe_at = self._look_at = 0.0
        self._is_cut_off = False

    async def run(self, delay: float = 0) -> None:
        """Start after ``delay`` seconds, and run until cancelled."""
        await asyncio.sleep(delay)
        try:
            while True:
                began = _now()
                await self._tick()
                await asyncio.sleep(began + self._behaviour.poll_seconds - _now())
        finally:
            self._api.close()

    async def _tick(self) -> None:
        try:
            await self._probe()
            await self._poll()
        except NoAnswer as error:
            level = logging.DEBUG if self._is_cut_off else logging.WARNING
            log.log(level, "host %s: %s", self.name, error)
            self._is_cut_off = True
        except Exception:
            log.exception("host %s: its agent failed and continues", self.name)
        else:
            self._is_cut_off = False

    async def _probe(self) -> None:
        if _now() < self._probe_at:
            return
        probe = {
            "hostId": self.uuid,
            "hostNqn": self.nqn,
            "name": self.name,
            "clientType": self._behaviour.client_type,
            "version": self._behaviour.version,
            "duration": math.ceil(self._behaviour.probe_seconds),
        }
        result = await self._api.send("POST", "/host_probe", probe)
        if not result.done:
            log.error("host %s: its probe is refused: %s", self.name, result.description)
        self._probe_at = _now() + self._behaviour.probe_seconds

    async def _poll(self) -> None:
        rows = await self._api.read(f"/tasks?hostId={self.uuid}")
        tasks = [task for task in map(MigrationTask.of, rows) if task is not None]
        if not self._behaviour.only_reports:
            self._migrations.follow(tasks)
        if self._migrations.volumes or _now() >= self._look_at:
            await self._look(frozenset(task.volume for task in tasks))

    async def _look(self, migrating: frozenset[str]) -> None:
        """Read the volumes again after each change, so that changes are made one after the
        other.
        """
        for _ in range(MOST_STEPS):
            volumes = await self._volumes()
            if not await self._step(volumes, migrating):
                break
        quiet = all(set(volume.states.values()) == {AVAILABLE} for volume in volumes.values())
        self._look_at = _now() + (self._behaviour.look_seconds if quiet else 0)

    async def _volumes(self) -> dict[str, Volume]:
        rows = await self._api.read(f"/volumes?hostID={self.uuid}")
        nodes = await self._nodes.living() if rows else frozenset()
        volumes = {row["uuid"]: Volume.of(row, nodes) for row in rows if row["replicable"]}
        for gone in self._arrays.keys() - volumes.keys():
            log.info("host %s: volume %s is detached", self.name, gone)
            del self._arrays[gone]
        for new in volumes.keys() - self._arrays.keys():
            log.info("host %s: volume %s is attached", self.name, new)
            self._arrays[new] = Array(volumes[new], self._behaviour.bytes_per_second)
        return volumes

    async def _step(self, volumes: dict[str, Volume], migrating: frozenset[str]) -> bool:
        """Whether a leg was changed."""
        changed = False
        for volume in volumes.values():
            array = self._arrays[volume.uuid]
            changed |= await self._maintain_array(volume, array)
            if not self._behaviour.only_reports and volume.uuid not in migrating and not changed:
                changed |= await self._healing.step(volume, array, _now())
        return changed or await self._migrations.step(volumes, self._arrays, _now())

    async def _maintain_array(self, volume: Volume, array: Array) -> bool:
        for leg, state in volume.states.items():
            if state == TERMINATING:
                return (await self._legs.confirm_removal(volume.uuid, leg)).done
        report = array.report(volume, _now())
        return report is not None and (await self._legs.report(volume.uuid, *report)).done


def _now() -> float:
    return asyncio.get_running_loop().time()
