"""A volume as the host has it: a RAID 1 of its replicas, as Linux md keeps one. Decides, and calls
nothing.
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
    """What the host knows of a volume beside what the API says. It is memory: a host that was
    started anew takes the legs it finds for those that the array should have, and synchronizes
    from the beginning.

    ``size``: how many legs it should have: the fewest it had while all was well.
    ``bytes_per_second``: of each leg that is synchronized.
    """

    def __init__(self, volume: Volume, bytes_per_second: float) -> None:
        self.size = len(volume.legs)
        self._rate = bytes_per_second
        self._since: dict[str, float] = {}
        self._founders: frozenset[str] = frozenset()

    def report(self, volume: Volume, now: float) -> tuple[str, str] | None:
        """The first leg that is not in the state which the API shows, and its state."""
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
        """How much of a leg is, from 0 to 1."""
        since = self._since.get(leg, now)
        return min(1.0, (now - since) * self._rate / volume.capacity_bytes)

    def _good(self, volume: Volume) -> frozenset[str]:
        """The legs that hold the data and can be reached. Those of a volume that was never attached
        found the array. Without any, the array stands still: as md does, it never gives its last
        leg up.
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
