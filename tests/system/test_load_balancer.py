"""HAProxy before two API processes: what callers see while these are killed and restarted."""

import json
import ssl
import threading
import time
import uuid as uuids
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPSConnection
from typing import Any, ClassVar

import pytest
import urllib3

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.programs import tool
from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(120)
CLIENTS = 4
KEEP_ALIVE_SECONDS = 2
KILLS = 2
"""Of each process."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    settings = {
        "API_WORKERS": "2",
        "KEEP_ALIVE": f"{KEEP_ALIVE_SECONDS}s",
        "NODE_CALL_SECONDS": "4",
        "UNFINISHED_SECONDS": "5",
        "COLLECT_INTERVAL_SECONDS": "1",
    }
    tool("haproxy")
    running = Stack(settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return stack.manage(
        "token_create", "--name=tester", "--role=ADMIN", "--expiration=3600"
    ).strip()


@pytest.fixture(scope="module")
def fleet(stack: Stack, token: str) -> Iterator[SimulatedFleet]:
    """Three nodes in the pool."""
    certificate, key = stack.authority.node("nodes", ["127.0.0.1"])
    with SimulatedFleet(
        3, certificate=certificate, key=key, ca=stack.ca, require_client_certificate=True
    ) as fleet:
        client = Client(stack, token)
        for node in fleet.nodes:
            client.call("POST", "/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
        yield fleet


class Failed(Exception):
    """A call whose client gave it up."""


class Client:
    """Repeats nothing."""

    retries: urllib3.Retry | bool = False
    done: ClassVar[dict[str, str]] = {}
    """What beside Success means that it is done, by how the call begins."""

    def __init__(self, stack: Stack, token: str) -> None:
        self._url, self._http = stack.url, stack.pool()
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer.

        :raises Failed: there is none, or it is not what the call is for.
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
    """As Cinder's KumoScale driver has it: urllib3's own retries, which leave out POST and PATCH,
    and what the driver passes over.
    """

    retries = urllib3.Retry(3)
    done: ClassVar = {
        "POST /publish": "AlreadyPublished",
        "POST /unpublish": "VolumeNotPublished",
        "DELETE /": "NotExists",
    }


class Load:
    """Clients that work until ``end``, each with volumes and a host of its own, on kept
    connections.
    """

    def __init__(self, stack: Stack, token: str, kind: type[Client]) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        clients = [kind(stack, token) for _ in range(CLIENTS)]
        self._running = [self._pool.submit(self._work, *each) for each in enumerate(clients)]

    def end(self) -> int:
        """How many calls succeeded.

        :raises Failed: one did not.
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
            self._over.wait(0.01)
        return done


def calls(host: str) -> list[tuple[str, str, object]]:
    """The life of a volume, as the driver asks for it: it chooses the uuids of volumes."""
    one, two, three = (str(uuids.uuid4()) for _ in range(3))
    volume = {"alias": one, "uuid": one, "capacity": 1, "provisioningType": "THIN"}
    publish = {"hostId": host, "volId": one}
    view = {"alias": three, "volumeID": three, "snapshotID": two, "writable": True}
    return [
        ("POST", "/volumes", volume),
        ("GET", f"/volumes/{one}", None),
        ("PATCH", f"/volumes/{one}", {"newCapacity": "2"}),
        ("POST", "/host_probe", probe(host)),
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


def test_a_killed_process_costs_cinder_nothing(
    stack: Stack, token: str, fleet: SimulatedFleet
) -> None:
    """It repeats no POST and no PATCH itself."""
    load = Load(stack, token, CinderClient)
    for api in stack.apis * KILLS:
        time.sleep(1)  # the load goes on
        api.kill()
        time.sleep(1)
        api.start()
        stack.ready()
        _both_are_up(stack)
    assert load.end() > 100
    _nothing_is_left(stack, fleet)


def test_a_rolling_restart_costs_nobody_anything(
    stack: Stack, token: str, fleet: SimulatedFleet
) -> None:
    """/readyz refuses, HAProxy turns to the other, and requests that run are finished."""
    load = Load(stack, token, Client)
    for api in stack.apis:
        assert api.terminate() == 0
        api.start()
        stack.ready()
        _both_are_up(stack)
    assert load.end() > 100
    _nothing_is_left(stack, fleet)


def _nothing_is_left(stack: Stack, fleet: SimulatedFleet) -> None:
    """All that was made was deleted; a create that died is the collector's."""
    end = time.monotonic() + 30
    while any(node.volumes() for node in fleet.nodes):
        assert time.monotonic() < end, [node.volumes() for node in fleet.nodes]
        time.sleep(0.2)
    assert stack.manage("audit").strip() == "0 differences"


def test_a_connection_rests_for_keep_alive_and_is_closed_then(stack: Stack, token: str) -> None:
    """By HAProxy, which closes none that is in use: the API keeps its own longer."""
    context = ssl.create_default_context(cafile=str(stack.ca))
    context.load_cert_chain(stack.client)
    with closing(HTTPSConnection("127.0.0.1", stack.port, context=context)) as connection:
        connection.connect()
        connection.auto_open = 0  # a closed one stays closed
        for _ in range(3):
            connection.request("GET", "/volumes", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
            time.sleep(KEEP_ALIVE_SECONDS / 2)
        connection.sock.settimeout(10 * KEEP_ALIVE_SECONDS)
        assert connection.sock.recv(1) == b""


def test_after_a_crash_of_postgresql_no_connection_is_used_that_it_cut_off(
    stack: Stack, token: str
) -> None:
    with ThreadPoolExecutor(32) as callers:
        client = Client(stack, token)

        def calls() -> list[Any]:
            return list(callers.map(lambda _: client.call("GET", "/tenants"), range(128)))

        before = calls()
        stack.postgres.restart_immediate()
        assert calls() == before


@pytest.fixture
def killed(stack: Stack) -> Iterator[Callable[[], None]]:
    """Kills all APIs; they are back after the test."""

    def kill() -> None:
        for api in stack.apis:
            api.kill()

    yield kill
    for api in stack.apis:
        api.start()
    stack.ready()
    _both_are_up(stack)


def test_when_no_api_is_left_the_answer_still_is_the_apis(
    stack: Stack, token: str, killed: Callable[[], None]
) -> None:
    killed()
    _both_are(stack, "DOWN")
    headers = {"Authorization": f"Bearer {token}"}
    answer = stack.pool().request("POST", f"{stack.url}/volumes", json={}, headers=headers)
    _is_haproxy_s(answer, 503)


def test_what_is_not_known_by_its_key_is_sent_once(
    stack: Stack, token: str, fleet: SimulatedFleet, killed: Callable[[], None]
) -> None:
    client, uuid = Client(stack, token), str(uuids.uuid4())
    volume = {"alias": uuid, "uuid": uuid, "capacity": 1, "storageClass": {"numReplicas": 2}}
    client.call("POST", "/volumes", volume)
    client.call("POST", "/host_probe", probe("host"))
    client.call("POST", "/publish", {"hostId": "host", "volId": uuid})
    for node in fleet.nodes:
        node.faults.slow(3000, method="PUT", path="/v1/volumes")
    with ThreadPoolExecutor() as caller:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{stack.url}/replica/{uuid}"
        call = caller.submit(stack.pool().request, "POST", url, json={}, headers=headers)
        time.sleep(1)  # a node is at work
        killed()
        _is_haproxy_s(call.result(), 502)


def _is_haproxy_s(answer: urllib3.BaseHTTPResponse, status: int) -> None:
    """In the API's envelope."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert answer.json()["status"] == "ServiceUnavailable"
    assert f"HTTP Status {status}" in answer.json()["description"]


def _both_are_up(stack: Stack) -> None:
    _both_are(stack, "UP")


def _both_are(stack: Stack, state: str) -> None:
    """HAProxy's log tells of each server that goes and comes."""
    end = time.monotonic() + 20
    while True:
        text = stack.haproxy.log.read_text(errors="replace")
        states = [_last_state(text, name) for name in ("api-1", "api-2")]
        if states == [state, state]:
            return
        assert time.monotonic() < end, states
        time.sleep(0.1)


def _last_state(text: str, server: str) -> str:
    lines = [line for line in text.splitlines() if f"Server api/{server} is " in line]
    return lines[-1].split(" is ")[1].split(",")[0].split()[0] if lines else "UP"


class TestWhatCallersClaim:
    @pytest.mark.parametrize(
        "name", ["X-SSL-Client-Verify", "x-ssl-client-verify", "X_SSL_Client_Verify"]
    )
    def test_no_header_stands_for_a_certificate(self, stack: Stack, token: str, name: str) -> None:
        http = urllib3.PoolManager(ca_certs=str(stack.ca), retries=False)
        headers = {"Authorization": f"Bearer {token}", name: "SUCCESS"}
        assert http.request("GET", f"{stack.url}/volumes", headers=headers).status == 403

    def test_a_certificate_of_this_ca_is_one(self, stack: Stack, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "X-SSL-Client-Verify": "NONE"}
        answer = stack.pool().request("GET", f"{stack.url}/volumes", headers=headers)
        assert answer.status == 200

    def test_nobody_names_himself(self, stack: Stack, token: str) -> None:
        """The request log has the address that HAProxy saw."""
        request_id = "who-calls"
        headers = {
            "Authorization": f"Bearer {token}",
            "X-Forwarded-For": "203.0.113.9",
            "X_Forwarded_For": "203.0.113.9",
            "Forwarded": "for=203.0.113.9",
            "X-Request-ID": request_id,
        }
        assert stack.pool().request("GET", f"{stack.url}/volumes", headers=headers).status == 200
        logs = "".join(api.log.read_text() for api in stack.apis)
        assert request_id in logs
        assert "203.0.113.9" not in logs
