"""The calls of KIOXIA's agent of release 3.22, encoded in the same way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inventory.simulated_hosts.connection import Connection, Endpoint, Result

CLIENT_TYPE, VERSION = "Openstack", "3.22.170"
USER_AGENT = "python-urllib3/1.26.9"
NO_TOKEN = "Bearer Unknown"  # noqa: S105 - what it sends without one
ANYWHERE: Mapping[str, Any] = {"sameRackAllowed": False, "racks": [], "regions": [], "zones": []}
WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
UNSAID = "N/A"
"""The agent's value, which it also sends, for a field that an answer left out."""


@dataclass(frozen=True)
class ReleasedEndpoint(Endpoint):
    """Encodes requests with exactly the same bytes as the released agent."""

    @classmethod
    def like(cls, other: Endpoint) -> Self:
        return cls(other.host, other.port, other.context, other.authorization or NO_TOKEN)

    def request(self, method: str, path: str, body: Any) -> bytes:
        content = b"" if body is None else json.dumps(body, sort_keys=True, indent=4).encode()
        name = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {name}:{self.port}",
            "Accept-Encoding: identity",
        ]
        if method in WITH_CONTENT:
            lines.append(f"Content-Length: {len(content)}")
        if method != "GET":
            lines.append("Content-Type: application/json")
        lines += [f"Authorization: {self.authorization}", f"User-Agent: {USER_AGENT}"]
        return "\r\n".join([*lines, "", ""]).encode() + content


class Calls:
    """The calls of the agent. All methods raise NoAnswer if the API does not answer."""

    def __init__(self, endpoint: Endpoint, host: str, nqn: str, name: str) -> None:
        self._api = Connection(ReleasedEndpoint.like(endpoint))
        self._host, self._nqn, self._name = host, nqn, name

    async def info(self) -> None:
        await self._api.send("GET", "/info")

    async def probe(self, seconds: int) -> Result:
        identity = {"hostNqn": self._nqn, "hostId": self._host, "name": self._name}
        client = {"clientType": CLIENT_TYPE, "version": VERSION, "multipath": False}
        return await self._api.send(
            "POST", "/host_probe", identity | client | {"duration": seconds}
        )

    async def targets(self, volume: str = "", *, of_host: bool) -> list[dict[str, Any]]:
        """The targets of the host, of a volume, or of both."""
        fields = [f"hostId={self._host}"] if of_host else []
        fields += [f"volId={volume}"] if volume else []
        return await self._api.read(f"/targets?{'&'.join(fields)}")

    async def volume(self, uuid: str, alias: str = "") -> dict[str, Any] | None:
        """Return the volume with this uuid. If there is none and an alias is given, return the
        volume with this alias.
        """
        rows = await self._api.read(f"/volumes/{uuid}") if uuid else []
        if not rows and alias:
            rows = await self._api.read(f"/volumes_by_alias/{alias}")
        return rows[0] if rows else None

    async def backend_is_available(self, node: str) -> bool:
        rows = await self._api.read(f"/backends/{node}")
        return len(rows) == 1 and rows[0]["state"] == "Available"

    async def portals(self) -> None:
        """Read the portals. The agent does this before it connects to a node."""
        await self._api.read("/backends")

    async def publish(self, volume: str) -> bool:
        body = {"hostId": self._host, "volId": volume}
        result = await self._api.send("POST", "/publish", body)
        return result.code in {"Success", "AlreadyPublished"}

    async def replica_add(self, volume: str) -> Result:
        return await self._api.send("POST", f"/replica/{volume}", ANYWHERE)

    async def replica_mark(self, volume: str, replica: str) -> Result:
        return await self._api.send("PATCH", f"/replica/{volume}/{replica}")

    async def replica_confirm(self, volume: str, replica: str) -> Result:
        return await self._api.send("DELETE", f"/replica/{volume}/{replica}")

    async def report(self, volume: str, replica: str, state: str) -> Result:
        return await self._api.send("PATCH", f"/replica/{volume}/{replica}/{state}")

    async def tasks(self) -> list[dict[str, Any]]:
        return await self._api.read(f"/tasks?hostId={self._host}")

    async def task_update(self, task: Mapping[str, Any]) -> Result:
        """Send all fields of the task, whether they changed or not."""
        names = ("taskId", "state", "progress", "taskStatus", "statusDescription")
        body = {name: task.get(name, UNSAID) for name in names}
        tags = {"taskConfiguration": task["taskConfiguration"], "hostId": self._host}
        return await self._api.send("PUT", "/tasks", body | tags)

    async def event(self, level: str, message: str, parameters: Mapping[str, str]) -> None:
        record = {"loggingType": "EVENT", "level": level, "message": message}
        source = {"host": self._nqn, "appName": "nvmeof_agent", "parametersList": parameters}
        await self._api.send("POST", "/forward_log", record | source)

    def close(self) -> None:
        self._api.close()
