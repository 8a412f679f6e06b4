"""A volume on the host: a RAID 1 of its replicas, with the behaviour of Linux md. This module
decides what to do, but makes no calls.
"""

from inventory.simulated_hosts.observed import (
    AVAILABLE,
    MISSING,
    SYNCHRONIZING,
    TERMINATING,
    UNKNOWN,
    Leg,
    Volume,
)


class Array:
    """The knowledge of the host about a volume that the API does not show. It is kept in memory
    only. After a restart, the host assumes that the legs it finds are those of the array, and
    synchronizes again from the start.

    ``size``: the number of legs that the array should have: the smallest number while all were
    healthy. ``bytes_per_second``: the speed at which each leg is synchronized.
    """

    def __init__(self, volume: Volume, bytes_per_second: float) -> None:
        self.size = len(volume.legs)
        self._rate = bytes_per_second
        self._since: dict[str, float] = {}
        self._founders: frozenset[str] = frozenset()

    def report(self, volume: Volume, now: float) -> tuple[str, str] | None:
        """Return the first leg whose state differs from that in the API, and its state. None: there
        is no difference.
        """
        if set(volume.states.values()) == {AVAILABLE}:
            self.size = min(self.size, len(volume.legs))
        good = self._good(volume)
        if not good:
            return None
        for leg in volume.legs.values():
            if leg.state != TERMINATING:
                state = self._state(leg, good, volume, now)
                if state != leg.state:
                    return leg.uuid, state
        return None

    def synchronized(self, leg: str, volume: Volume, now: float) -> float:
        """Return the part of the leg that is synchronized, from 0 to 1."""
        since = self._since.get(leg, now)
        return min(1.0, (now - since) * self._rate / volume.capacity_bytes)

    def _good(self, volume: Volume) -> frozenset[str]:
        """Return the reachable legs that hold the data. If a volume was never attached, its legs
        are good when the array is created. Without a good leg, the array does not change: like md,
        it never removes its last leg.
        """
        states = set(volume.states.values())
        here = {leg.uuid: leg.state for leg in volume.legs.values() if leg.is_here}
        unknown = frozenset(uuid for uuid in here if here[uuid] == UNKNOWN)
        is_new = not states & {AVAILABLE, SYNCHRONIZING}
        self._founders = unknown if is_new else unknown & self._founders
        return self._founders | {uuid for uuid in here if here[uuid] == AVAILABLE}

    def _state(self, leg: Leg, good: frozenset[str], volume: Volume, now: float) -> str:
        if leg.uuid in good:
            self._since.pop(leg.uuid, None)
            return AVAILABLE
        if leg.is_here:
            self._since.setdefault(leg.uuid, now)
            done = self.synchronized(leg.uuid, volume, now) == 1
            return AVAILABLE if done and leg.state == SYNCHRONIZING else SYNCHRONIZING
        self._since.pop(leg.uuid, None)
        is_coming = leg.state == UNKNOWN and not leg.is_lost
        return UNKNOWN if is_coming else MISSING
