"""Sends requests exactly as clients of release 3.22 do: the hosts' agent, and Cinder's driver.

Both encode in the same way: the path without a tenant or a trailing slash, a Bearer token in any
mode, JSON with sorted names on separate lines, a content type except with GET, no absent fields.
"""

import json
from typing import Any

import urllib3

from tests.conftest import Answer, Api

HOST = "6d4a8383-c09f-4f91-836d-5ed192ca6f64"
HOST_NQN = f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"
NAME = "compute-1"
AGENT = {"clientType": "Openstack", "version": "3.22.170", "multipath": False}
DRIVER = {"clientType": "Agent", "version": "cinder-driver-0.1"}
ANYWHERE: dict[str, Any] = {"sameRackAllowed": False, "racks": [], "regions": [], "zones": []}

_http = urllib3.PoolManager(retries=False)


class ReleasedClient:
    """A client of release 3.22, with a token."""

    def __init__(self, url: str, authorization: str) -> None:
        self._url = url
        self._authorization = authorization

    @classmethod
    def of(cls, api: Api, *roles: str) -> "ReleasedClient":
        """A client with a token of these roles."""
        return cls(api.url, api.as_role(*roles).authorization)

    def call(self, method: str, path: str, fields: Any = None) -> Answer:
        """Send a request; ``path`` has no leading slash, as in these clients."""
        body = None if fields is None else json.dumps(fields, sort_keys=True, indent=4)
        headers = {"Authorization": self._authorization}
        if method != "GET":
            headers["Content-Type"] = "application/json"
        answer = _http.request(method, f"{self._url}/{path}", body=body, headers=headers)
        return Answer(answer.status, json.loads(answer.data), dict(answer.headers))

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.http == 200, answer
        return answer.body

    def done(self, method: str, path: str, fields: Any = None) -> None:
        """Send a request that must succeed."""
        answer = self.call(method, path, fields)
        assert answer.status == "Success", answer

    def probe(self, client: dict[str, Any], host: str = HOST, duration: int = 30) -> None:
        identity = {
            "hostId": host,
            "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{host}",
            "name": NAME,
            "duration": duration,
        }
        self.done("POST", "host_probe", identity | client)
