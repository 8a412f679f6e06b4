"""The calls by which a host changes the legs of its arrays."""

import logging

from inventory.simulated_hosts.connection import Connection, Result

TARGET_NQN = "nqn.2022-08.com.kioxia"

log = logging.getLogger(__name__)


class Legs:
    """All raise NoAnswer where it is unknown whether anything was done."""

    def __init__(self, api: Connection, host: str, name: str) -> None:
        self._api, self._host, self._name = api, host, name

    async def report(self, volume: str, leg: str, state: str) -> Result:
        """The state that the leg is in."""
        return await self._change("PATCH", volume, f"/{leg}/{state}")

    async def add(self, volume: str, destination: str = "") -> Result:
        """One more, in a rack of its own if that can be; it is there at once."""
        wish = {"destinationBackendId": destination} if destination else {}
        result = await self._change("POST", volume, "", wish | {"sameRackAllowed": False})
        if not result.done:
            result = await self._change("POST", volume, "", wish | {"sameRackAllowed": True})
        if result.done:
            await self._api.send("POST", "/publish", {"volId": volume, "hostId": self._host})
        return result

    async def mark(self, volume: str, leg: str) -> Result:
        """It is to go."""
        return await self._change("PATCH", volume, f"/{leg}")

    async def let_go(self, volume: str, leg: str) -> Result:
        """It is used no more."""
        return await self._change("DELETE", volume, f"/{leg}")

    async def are_shared(self, volume: str) -> bool:
        """Whether another host has the volume, too, or instead."""
        targets = await self._api.read(f"/targets?volId={volume}")
        return [target["name"] for target in targets] != [f"{TARGET_NQN}:{self._host}"]

    async def _change(
        self, method: str, volume: str, rest: str, body: dict[str, object] | None = None
    ) -> Result:
        path = f"/replica/{volume}{rest}"
        result = await self._api.send(method, path, body)
        level = logging.INFO if result.done else logging.WARNING
        log.log(level, "host %s: %s %s: %s", self._name, method, path, result.description)
        return result
