"""The information that a real host gets from its kernel and from os-brick, and not from the API.

The simulation reads it from the API through separate connections: attached volumes, exported
replicas, Available nodes. So the connection of the agent carries only the calls of the agent.
"""

from dataclasses import dataclass

from inventory.simulated_hosts.connection import Connection, Endpoint
from inventory.simulated_hosts.node_availability import Nodes
from inventory.simulated_hosts.observed import AVAILABLE, SYNCHRONIZING, UNKNOWN, Volume


@dataclass
class Leg:
    """A device of an array. ``synced_at``: when it will hold all data, by the clock of the event
    loop.
    """

    synced_at: float
    is_failed: bool = False

    def is_active(self, now: float) -> bool:
        """Whether the leg holds all data and has not failed."""
        return not self.is_failed and self.synced_at <= now


class Md:
    """A RAID 1 with the behaviour of Linux md. ``raid_devices``: the number of legs that it should
    have.
    """

    def __init__(self, volume: Volume, bytes_per_second: float, now: float) -> None:
        self.uuid, self.alias = volume.uuid, volume.alias
        self._seconds = volume.capacity_bytes / bytes_per_second
        self.legs: dict[str, Leg] = {}
        states = set(volume.states.values())
        good = {AVAILABLE} if states & {AVAILABLE, SYNCHRONIZING} else {UNKNOWN}
        for leg in volume.legs.values():
            if leg.is_here and leg.state in good:
                self.legs[leg.uuid] = Leg(now)
            elif leg.is_here and leg.state == SYNCHRONIZING:
                self.add(leg.uuid, now)
        self.raid_devices = len(volume.legs)

    def add(self, leg: str, now: float) -> None:
        """Add a leg and start to synchronize it."""
        self.legs[leg] = Leg(now + self._seconds)

    def remove(self, leg: str) -> bool:
        """Remove the leg. Returns whether it was in the array."""
        return self.legs.pop(leg, None) is not None

    def fail_all_but(self, live: list[str], now: float) -> None:
        """Fail the legs that are not ``live``. Like md, this never fails the last good leg."""
        for uuid, leg in self.legs.items():
            if uuid not in live and self.active(now) != [uuid]:
                leg.is_failed = True

    def failed(self) -> list[str]:
        """The failed legs."""
        return [uuid for uuid, leg in self.legs.items() if leg.is_failed]

    def active(self, now: float) -> list[str]:
        """The legs that hold all data."""
        return [uuid for uuid, leg in self.legs.items() if leg.is_active(now)]

    def sync_percent(self, now: float) -> float | None:
        """Return the progress of the legs that are being synchronized. None: there are none."""
        ends = [
            leg.synced_at for leg in self.legs.values() if not leg.is_failed and leg.synced_at > now
        ]
        return 100 * max(0.0, 1 - (max(ends) - now) / self._seconds) if ends else None


class Kernel:
    """The kernel of one host."""

    def __init__(
        self, endpoint: Endpoint, nodes: Nodes, host: str, bytes_per_second: float
    ) -> None:
        self._api = Connection(endpoint)
        self._nodes = nodes
        self._host = host
        self._rate = bytes_per_second
        self._volumes: dict[str, Volume] = {}
        self.arrays: dict[str, Md] = {}

    async def look(self, now: float) -> None:
        """Read which volumes are attached now. os-brick creates an array when it attaches a volume,
        and removes it when it detaches the volume.

        :raises NoAnswer: the API does not answer.
        """
        rows = await self._api.read(f"/volumes?hostID={self._host}")
        nodes = await self._nodes.living() if rows else frozenset()
        self._volumes = {row["uuid"]: Volume.of(row, nodes) for row in rows if row["replicable"]}
        for gone in self.arrays.keys() - self._volumes.keys():
            del self.arrays[gone]
        for uuid, volume in self._volumes.items():
            if uuid not in self.arrays and any(leg.is_here for leg in volume.legs.values()):
                self.arrays[uuid] = Md(volume, self._rate, now)

    def is_here(self, volume: str, leg: str) -> bool:
        """Whether the host can reach the replica."""
        known = self._volumes.get(volume)
        return known is not None and leg in known.legs and known.legs[leg].is_here

    def live(self, array: Md) -> list[str]:
        """The legs of an array that the host can reach."""
        return [leg for leg in array.legs if self.is_here(array.uuid, leg)]

    def close(self) -> None:
        self._api.close()
