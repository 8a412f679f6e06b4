"""Clients of the production form that use volumes as Cinder does, and checks of the result."""

import json
import threading
import uuid as uuids
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import urllib3

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.system.stack import Stack
from tests.waiting import eventually

CLIENTS = 4
PAUSE_SECONDS = 0.03
"""Between the calls of a client: the machine also has to do what the test is about."""


class Failed(Exception):
    """A call failed, and its client does not retry it."""


class Client:
    """A client that does not retry."""

    retries: urllib3.Retry | bool = False
    done: ClassVar[dict[str, str]] = {}
    """What beside Success means that it is done, by how the call begins."""

    def __init__(self, stack: Stack, token: str) -> None:
        self._url, self._http = stack.url, stack.pool()
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer.

        :raises Failed: there is no answer, or it is not the expected one.
        """
        try:
            answer = self._http.request(
                method,
                f"{self._url}{path}",
                body=None if body is None else json.dumps(body),
                headers=self._headers,
                timeout=30,
                retries=self.retries,
            )
            said = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise Failed(f"{method} {path}: {error!r}") from error
        status = said["status"] if isinstance(said, dict) else "Success"
        what = f"{method} {path}"
        fine = {"Success", *(done for begin, done in self.done.items() if what.startswith(begin))}
        if answer.status != 200 or status not in fine:
            raise Failed(f"{what}: {answer.status} {said}")
        return said


class CinderClient(Client):
    """A client that retries like Cinder's KumoScale driver: urllib3 retries, except for POST and
    PATCH, and errors that the driver ignores.
    """

    retries = urllib3.Retry(3)
    done: ClassVar = {
        "POST /publish": "AlreadyPublished",
        "POST /unpublish": "VolumeNotPublished",
        "DELETE /": "NotExists",
    }


class Load:
    """Clients that work until ``end``. Each has its own volumes, its own host, and a keep-alive
    connection.
    """

    def __init__(self, stack: Stack, token: str, kind: type[Client]) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        clients = [kind(stack, token) for _ in range(CLIENTS)]
        self._running = [self._pool.submit(self._work, *each) for each in enumerate(clients)]

    def end(self) -> int:
        """Return the number of successful calls.

        :raises Failed: a call failed.
        """
        self._over.set()
        self._pool.shutdown()
        return sum(client.result() for client in self._running)

    def _work(self, number: int, client: Client) -> int:
        done = 0
        while not self._over.is_set():
            for method, path, body in calls(f"host-{number}"):
                client.call(method, path, body)
                done += 1
                self._over.wait(PAUSE_SECONDS)
        return done


def calls(host: str) -> list[tuple[str, str, object]]:
    """Yield the calls in the life of a volume, as the driver makes them, and a poll of its
    host. The driver chooses the uuids of volumes.
    """
    one, two, three = (str(uuids.uuid4()) for _ in range(3))
    volume = {"alias": one, "uuid": one, "capacity": 1, "provisioningType": "THIN"}
    publish = {"hostId": host, "volId": one}
    view = {"alias": three, "volumeID": three, "snapshotID": two, "writable": True}
    return [
        ("POST", "/volumes", volume),
        ("GET", f"/volumes/{one}", None),
        ("PATCH", f"/volumes/{one}", {"newCapacity": "2"}),
        ("POST", "/host_probe", probe(host)),
        ("GET", f"/tasks?hostId={host}", None),
        ("POST", "/publish", publish),
        ("GET", f"/targets?hostId={host}&volId={one}", None),
        ("POST", "/unpublish", publish),
        ("POST", "/snapshots", {"alias": two, "volumeID": one, "snapshotID": two}),
        ("POST", "/snapshot_volumes", view),
        ("DELETE", f"/volumes/{three}", None),
        ("POST", "/clone_volume", {"alias": three, "sourceVolumeId": one, "volumeId": three}),
        ("DELETE", f"/volumes/{three}", None),
        ("DELETE", f"/snapshots/{two}", None),
        ("DELETE", f"/volumes/{one}", None),
    ]


def probe(host: str) -> dict[str, object]:
    return {
        "hostId": host,
        "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{host}",
        "name": host,
        "clientType": "Openstack",
        "version": "1.0",
        "duration": 30,
    }


def nothing_is_left(stack: Stack, fleet: SimulatedFleet) -> None:
    """Check that everything that was created was deleted. The collector removes what a create that
    died has left.
    """

    def left() -> list[str]:
        return [uuid for node in fleet.nodes for uuid in node.volumes()]

    eventually(lambda: not left(), seconds=30, what=left, pause=0.2)
    assert stack.manage("audit").strip() == "0 differences"


def both_are_up(stack: Stack) -> None:
    both_are(stack, "UP")


def both_are(stack: Stack, state: str) -> None:
    """Wait until both servers are up or down, according to the log of HAProxy."""

    def states() -> list[str]:
        text = stack.haproxy.log.read_text(errors="replace")
        return [_last_state(text, name) for name in ("api-1", "api-2")]

    eventually(lambda: states() == [state, state], seconds=20, what=states, pause=0.1)


def _last_state(text: str, server: str) -> str:
    lines = [line for line in text.splitlines() if f"Server api/{server} is " in line]
    return lines[-1].split(" is ")[1].split(",")[0].split()[0] if lines else "UP"
