"""A volume as the host has it: a RAID 1 of its replicas, as Linux md keeps it. Makes decisions, but
no calls.
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
    """What the host knows of a volume beyond what the API shows. It is kept in memory only: after a
    restart the host takes the legs that it finds for the legs of the array, and synchronizes again
    from the start.

    ``size``: how many legs the array should have: the smallest number while all were healthy.
    ``bytes_per_second``: how fast each leg is synchronized.
    """

    def __init__(self, volume: Volume, bytes_per_second: float) -> None:
        self.size = len(volume.legs)
        self._rate = bytes_per_second
        self._since: dict[str, float] = {}
        self._founders: frozenset[str] = frozenset()

    def report(self, volume: Volume, now: float) -> tuple[str, str] | None:
        """The first leg whose state differs from the one in the API, and its state; None: there is
        none.
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
        """How much of the leg is synchronized, from 0 to 1."""
        since = self._since.get(leg, now)
        return min(1.0, (now - since) * self._rate / volume.capacity_bytes)

    def _good(self, volume: Volume) -> frozenset[str]:
        """The reachable legs that hold the data. The legs of a volume that was never attached are
        good when the array is created. Without a good leg the array does not change: like md, it
        never removes its last leg.
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
