"""Handles volumes like the agent of release 3.22, with the same calls. It reports, adds and removes
legs, and replaces a leg that is missing for too long.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from inventory.simulated_hosts.kernel import Kernel, Md
from inventory.simulated_hosts.observed import (
    AVAILABLE,
    MISSING,
    MS_PER_MINUTE,
    SYNCHRONIZING,
    TERMINATING,
)
from inventory.simulated_hosts.released_calls import Calls

MOST_REPLICAS = 4
DEGRADED, SYNCING, HEALTHY = "degraded", "syncing", "healthy"
EVENTS = {
    HEALTHY: ("INFO", "Volume is healed."),
    DEGRADED: ("FATAL", "Volume is degraded."),
    SYNCING: ("WARN", "Volume synchronization started."),
}
Row = Mapping[str, Any]


class Volumes:
    """The volumes of the agent. ``seen``: the state of each array at the last check, by alias. It
    is kept in memory only, so a restarted agent runs no migration of an array that it has not
    checked yet.
    """

    def __init__(self, calls: Calls, kernel: Kernel) -> None:
        self._calls, self._kernel = calls, kernel
        self.seen: dict[str, str] = {}

    async def check_array(self, array: Md, now: float) -> None:
        """Check an array once."""
        live = self._kernel.live(array)
        volume = await self._calls.volume(array.uuid if live else "", array.alias)
        if volume is None or not await self._is_connected(array.uuid):
            return
        was_failed = bool(array.failed())
        if live:
            array.fail_all_but(live, now)
        await self._note_state(array, now)
        await self._report(array, volume, live, now)
        if live and not await self._check(array, volume, now, was_failed=was_failed):
            await self._heal(array, volume, now)

    async def _is_connected(self, uuid: str) -> bool:
        targets = await self._calls.targets(uuid, of_host=False)
        return any(target["numNamespaces"] > 0 for target in targets)

    async def _note_state(self, array: Md, now: float) -> None:
        active, failed = len(array.active(now)), len(array.failed())
        state = HEALTHY if active >= array.raid_devices else DEGRADED
        if state == DEGRADED and len(array.legs) > active + failed:
            state = SYNCING
        await self.note(array.alias, state)

    async def note(self, alias: str, state: str) -> None:
        """Send an event if the state of the array changed."""
        before = self.seen.get(alias)
        self.seen[alias] = state
        if state in {before, HEALTHY if before is None else ""}:
            return
        if state != DEGRADED or before not in {None, SYNCING}:
            level, message = EVENTS[state]
            await self._calls.event(level, message, {"volumeAlias": alias})

    async def _report(self, array: Md, volume: Row, live: Iterable[str], now: float) -> None:
        for place in volume["location"]:
            state = self._state(array, place["uuid"], now) if live else MISSING
            if place["replicaState"] not in {state, TERMINATING}:
                await self._calls.report(array.uuid, place["uuid"], state)

    def _state(self, array: Md, replica: str, now: float) -> str:
        leg = array.legs.get(replica)
        if leg is None or leg.is_failed:
            return MISSING
        return AVAILABLE if leg.is_active(now) else SYNCHRONIZING

    async def _check(self, array: Md, volume: Row, now: float, *, was_failed: bool) -> bool:
        """Remove or add legs. Returns whether a leg was removed or added."""
        outgoing = [p["uuid"] for p in volume["location"] if p["replicaState"] == TERMINATING]
        if len(outgoing) == 1:
            return await self.remove_leg(array, volume, outgoing[0])
        wanted = len(volume["location"])
        if array.raid_devices < wanted or len(array.legs) < wanted or was_failed:
            return await self.add_legs(array, volume, now) is not None
        return False

    async def remove_leg(self, array: Md, volume: Row, outgoing: str) -> bool:
        """Remove a leg and confirm it; return whether it was there."""
        before = len(array.legs)
        removed = array.remove(outgoing)
        if before > 2 and before > len(volume["location"]) - 1:
            array.raid_devices = before - 1
        if (await self._calls.replica_confirm(array.uuid, outgoing)).done:
            await self._calls.targets(array.uuid, of_host=False)
        return removed

    async def add_legs(self, array: Md, volume: Row, now: float) -> str | None:
        """Add the reachable legs that are not in the array. Returns the last leg that was added, or
        None.

        The agent adds a leg only if there is exactly one target.
        """
        if len(await self._calls.targets(array.uuid, of_host=True)) != 1:
            return None
        before, failed, added = len(array.legs), array.failed(), None
        for place in volume["location"]:
            if not await self._may_add(array, place, failed):
                continue
            if not await self._calls.publish(array.uuid):
                continue
            await self._calls.portals()
            await self._kernel.look(now)
            if not self._kernel.is_here(array.uuid, place["uuid"]):
                continue
            array.add(place["uuid"], now)
            added = place["uuid"]
            if before < len(volume["location"]) and not failed:
                array.raid_devices = before + 1
                await self.note(array.alias, SYNCING)
                await self._calls.report(array.uuid, added, SYNCHRONIZING)
        return added

    async def _may_add(self, array: Md, place: Row, failed: Iterable[str]) -> bool:
        node = place["backend"]["persistentID"]
        if not node or not await self._calls.backend_is_available(node):
            return False
        is_wanted = place["uuid"] not in array.legs or place["uuid"] in failed
        return is_wanted and bool(place["replicaState"] != TERMINATING)

    async def _heal(self, array: Md, volume: Row, now: float) -> None:
        most = volume["maxReplicaDownTime"]
        if volume["numReplicas"] == MOST_REPLICAS or not most:
            return
        for place in volume["location"]:
            is_gone = place["uuid"] not in array.active(now) and place["replicaState"] == MISSING
            if is_gone and place["currentStateTime"] / MS_PER_MINUTE % 60 >= most:
                if not (await self._calls.replica_add(array.uuid)).done:
                    return
                grown = await self._calls.volume(array.uuid)
                if grown is not None and await self.add_legs(array, grown, now):
                    await self._calls.replica_mark(array.uuid, place["uuid"])
                return
