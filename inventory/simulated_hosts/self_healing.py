"""Replaces a leg that is Missing for longer than the volume allows."""

from inventory.simulated_hosts.legs import Legs
from inventory.simulated_hosts.observed import AVAILABLE, MISSING, Volume
from inventory.simulated_hosts.raid_array import Array

REST_SECONDS = 30.0


class Healing:
    """Replaces legs that have been Missing for too long."""

    def __init__(self, legs: Legs) -> None:
        self._legs = legs
        self._resting: dict[str, float] = {}

    async def step(self, volume: Volume, array: Array, now: float) -> bool:
        """Add a leg or, when the new leg is synchronized, mark the Missing one for removal. Returns
        whether anything was done.

        After a refusal, the volume is not changed for ``REST_SECONDS``. Nor is it changed while it
        is published to another host.

        :raises NoAnswer: it is unknown whether the change was made.
        """
        missing = volume.overdue()
        settled = set(volume.states.values()) == {AVAILABLE, MISSING}
        if not missing or not settled or now < self._resting.get(volume.uuid, 0):
            return False
        if len(volume.legs) > array.size:
            result = await self._legs.mark(volume.uuid, missing)
        elif await self._legs.are_shared(volume.uuid):
            return False
        else:
            result = await self._legs.add(volume.uuid)
        if not result.done:
            self._resting[volume.uuid] = now + REST_SECONDS
        return result.done
