"""The calls with which a host changes the legs of its arrays."""

import logging

from inventory.simulated_hosts.connection import Connection, Result

TARGET_NQN = "nqn.2022-08.com.kioxia"

log = logging.getLogger(__name__)


class Legs:
    """Changes legs. All methods raise NoAnswer if it is unknown whether the change was made."""

    def __init__(self, api: Connection, host: str, name: str) -> None:
        self._api, self._host, self._name = api, host, name

    async def report(self, volume: str, leg: str, state: str) -> Result:
        """Report the state of the leg."""
        return await self._change("PATCH", volume, f"/{leg}/{state}")

    async def add(self, volume: str, destination: str = "") -> Result:
        """Add a leg, in another rack if possible, and connect it."""
        wish = {"destinationBackendId": destination} if destination else {}
        result = await self._change("POST", volume, "", wish | {"sameRackAllowed": False})
        if not result.done:
            result = await self._change("POST", volume, "", wish | {"sameRackAllowed": True})
        if result.done:
            await self._api.send("POST", "/publish", {"volId": volume, "hostId": self._host})
        return result

    async def mark(self, volume: str, leg: str) -> Result:
        """Mark the leg for removal."""
        return await self._change("PATCH", volume, f"/{leg}")

    async def confirm_removal(self, volume: str, leg: str) -> Result:
        """Confirm that the leg is no longer used."""
        return await self._change("DELETE", volume, f"/{leg}")

    async def are_shared(self, volume: str) -> bool:
        """Whether the volume is published to another host."""
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
