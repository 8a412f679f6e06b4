"""HAProxy before two API processes: what callers see while processes are killed and restarted, and
certificates are renewed.
"""

import json
import socket
import ssl
import time
import uuid as uuids
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from cryptography import x509

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.programs import tool
from tests.system.load import (
    CinderClient,
    Client,
    Failed,
    Load,
    both_are,
    both_are_up,
    nothing_is_left,
    probe,
)
from tests.system.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(900)
KEEP_ALIVE_SECONDS = 2
RENEWALS = 3
ESTABLISHED = "01"  # in /proc/net/tcp
WORK_SECONDS = 2.0
"""In which clients work on with what was renewed."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    settings = {
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
    certificate, key = stack.certificates.node
    with SimulatedFleet(
        3, certificate=certificate, key=key, ca=stack.ca, require_client_certificate=True
    ) as fleet:
        client = Client(stack, token)
        for node in fleet.nodes:
            client.call("POST", "/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
        yield fleet


def test_no_call_of_cinder_fails_when_a_process_is_killed(
    stack: Stack, token: str, fleet: SimulatedFleet
) -> None:
    """Cinder itself does not retry POST and PATCH."""
    load = Load(stack, token, CinderClient)
    for api in stack.apis:
        time.sleep(1)  # the load continues
        api.kill()
        time.sleep(1)
        api.start()
        stack.ready()
        both_are_up(stack)
    assert load.end() > 100
    nothing_is_left(stack, fleet)


def shown(stack: Stack, port: int) -> int:
    """Serial number of the certificate that a server shows to a new connection."""
    context = ssl.create_default_context(cafile=str(stack.ca))
    context.load_cert_chain(stack.certificates.provisioner)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate
    return x509.load_der_x509_certificate(certificate).serial_number


def test_renewed_certificates_and_a_rolling_restart_fail_no_call(
    stack: Stack, token: str, fleet: SimulatedFleet
) -> None:
    """As docs/how-to/tls.md says: HAProxy and the nodes' agents reload, workers and APIs are
    restarted one after the other. Clients that repeat no call work meanwhile, and new connections
    arrive while one process of HAProxy replaces the other.
    """
    load = Load(stack, token, Client)
    ports = (stack.port, *(node.port for node in fleet.nodes))
    seen = {port: [shown(stack, port)] for port in ports}
    for _ in range(RENEWALS):
        stack.renew_certificates()
        fleet.renew_certificates()
        end = time.monotonic() + WORK_SECONDS
        while time.monotonic() < end:
            for port, serials in seen.items():
                serials.append(shown(stack, port))
                time.sleep(0.01)
    for serials in seen.values():
        assert len(set(serials)) == 1 + RENEWALS
    for service in (*stack.workers, *stack.periodic, *stack.apis):
        assert service.terminate() == 0
        service.start()
        stack.ready()
        both_are_up(stack)
    assert load.end() > 100
    nothing_is_left(stack, fleet)


def test_haproxy_closes_an_idle_connection_after_keep_alive(stack: Stack, token: str) -> None:
    """HAProxy never closes a connection that is in use. The API keeps its connections longer than
    HAProxy.
    """
    context = ssl.create_default_context(cafile=str(stack.ca))
    context.load_cert_chain(stack.client)
    port = urlsplit(stack.balancer(KEEP_ALIVE=f"{KEEP_ALIVE_SECONDS}s")).port
    with closing(HTTPSConnection("127.0.0.1", port, context=context)) as connection:
        connection.connect()
        connection.auto_open = 0  # a closed one stays closed
        for _ in range(3):
            connection.request("GET", "/volumes", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
            time.sleep(KEEP_ALIVE_SECONDS / 2)
        connection.sock.settimeout(10 * KEEP_ALIVE_SECONDS)
        assert connection.sock.recv(1) == b""


def test_haproxy_keeps_connections_for_polls_only(stack: Stack, token: str) -> None:
    client = Client(stack, token)

    def kept(*calls: tuple[str, str, object]) -> set[str]:
        return _kept(stack, lambda: [client.call(*call) for call in calls])

    _no_connections(stack)
    eventually(lambda: not kept(("GET", "/volumes", None)), seconds=5, what="one is kept")
    assert kept(("GET", "/tasks?hostId=host", None), ("POST", "/host_probe", probe("host")))


def test_haproxy_keeps_them_for_as_many_clients_as_it_accepts(stack: Stack, token: str) -> None:
    """By default, HAProxy closes them if a quarter of its files are open, and clients may have
    half.
    """
    url = stack.balancer(OPEN_FILES="400")
    place = ("127.0.0.1", urlsplit(url).port or 0)
    headers = {"Authorization": f"Bearer {token}"}
    with ExitStack() as clients, stack.pool() as http:

        def poll() -> None:
            assert http.request("GET", f"{url}/tasks?hostId=x", headers=headers).status == 200

        poll()
        for _ in range(180):
            clients.enter_context(socket.create_connection(place, timeout=30))
        _no_connections(stack)
        assert _kept(stack, poll)


def test_haproxy_does_not_log_polls_that_succeed(stack: Stack, token: str) -> None:
    def lines(request: str) -> list[str]:
        return [
            x for x in stack.haproxy.log.read_text(errors="replace").splitlines() if request in x
        ]

    client, stranger = Client(stack, token), Client(stack, "none")
    for path in ("/tasks?hostId=logged", "/volumes?hostID=logged"):
        client.call("GET", path)
        with pytest.raises(Failed):
            stranger.call("GET", path)
    eventually(lambda: len(lines("/volumes?hostID=logged")) == 2, seconds=5, what="not logged")
    [line] = lines("/tasks?hostId=logged")
    assert " polls/api-" in line
    assert " 401 " in line


def _no_connections(stack: Stack) -> None:
    """Wait until those of earlier tests are closed."""
    eventually(lambda: not _of_apis(stack), seconds=60, what=lambda: _of_apis(stack))


def _kept(stack: Stack, call: Callable[[], object]) -> set[str]:
    """The connections to the APIs that two calls use."""
    found = []
    for _ in range(2):
        call()
        found.append(_of_apis(stack))
    return found[0] & found[1]


def _of_apis(stack: Stack) -> set[str]:
    return {each for url in stack.api_urls for each in _connections(urlsplit(url).port or 0)}


def _connections(port: int) -> Iterator[str]:
    """The clients that are connected to this port of this machine."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, client, server, state, *_ = line.split()
        if server.endswith(f":{port:04X}") and state == ESTABLISHED:
            yield client


def test_no_broken_connection_is_used(stack: Stack) -> None:
    """After sessions were ended, no call fails. After a crash of PostgreSQL, calls may fail as long
    as a process waits before it tries to connect again.
    """
    clients = [Client(stack, token) for token in stack.tokens(8)]
    with ThreadPoolExecutor(32) as callers:

        def calls() -> list[Any]:
            return list(callers.map(lambda n: clients[n % 8].call("GET", "/tenants"), range(128)))

        def work() -> bool:
            with suppress(Failed):
                return calls() == before
            return False

        before = calls()
        stack.postgres.end_sessions()
        assert calls() == before
        stack.postgres.restart_immediate()
        eventually(work, seconds=60, what="calls still fail")


@pytest.fixture
def killed(stack: Stack) -> Iterator[Callable[[], None]]:
    """Kill all APIs. They are started again after the test."""

    def kill() -> None:
        for api in stack.apis:
            api.kill()

    yield kill
    for api in stack.apis:
        api.start()
    stack.ready()
    both_are_up(stack)


def test_haproxy_answers_with_the_apis_envelope_when_no_api_is_left(
    stack: Stack, token: str, killed: Callable[[], None]
) -> None:
    killed()
    both_are(stack, "DOWN")
    headers = {"Authorization": f"Bearer {token}"}
    answer = stack.pool().request("POST", f"{stack.url}/volumes", json={}, headers=headers)
    _is_haproxy_s(answer, 503)


def test_a_call_without_repeat_protection_is_sent_once(
    stack: Stack, token: str, fleet: SimulatedFleet, killed: Callable[[], None]
) -> None:
    client, uuid = Client(stack, token), str(uuids.uuid4())
    volume = {"alias": uuid, "uuid": uuid, "capacity": 1, "storageClass": {"numReplicas": 2}}
    client.call("POST", "/volumes", volume)
    client.call("POST", "/host_probe", probe("host"))
    client.call("POST", "/publish", {"hostId": "host", "volId": uuid})
    for node in fleet.nodes:
        node.faults.slow(3000, method="PUT", path="/v1/volumes")

    def struck() -> int:
        return sum(node.faults.struck for node in fleet.nodes)

    before = struck()
    with ThreadPoolExecutor() as caller:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{stack.url}/replica/{uuid}"
        call = caller.submit(stack.pool().request, "POST", url, json={}, headers=headers)
        eventually(lambda: struck() > before, seconds=60, what="a node is executing the call")
        killed()
        _is_haproxy_s(call.result(), 502)


def _is_haproxy_s(answer: urllib3.BaseHTTPResponse, status: int) -> None:
    """Whether the answer is of HAProxy. It uses the envelope of the API."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    assert answer.json()["status"] == "ServiceUnavailable"
    assert f"HTTP Status {status}" in answer.json()["description"]


class TestForgedHeaders:
    @pytest.mark.parametrize(
        "name", ["X-SSL-Client-Verify", "x-ssl-client-verify", "X_SSL_Client_Verify"]
    )
    def test_no_header_replaces_a_client_certificate(
        self, stack: Stack, token: str, name: str
    ) -> None:
        http = urllib3.PoolManager(ca_certs=str(stack.ca), retries=False)
        headers = {"Authorization": f"Bearer {token}", name: "SUCCESS"}
        assert http.request("GET", f"{stack.url}/volumes", headers=headers).status == 403

    def test_a_header_cannot_hide_a_client_certificate(self, stack: Stack, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "X-SSL-Client-Verify": "NONE"}
        answer = stack.pool().request("GET", f"{stack.url}/volumes", headers=headers)
        assert answer.status == 200

    def test_no_header_changes_the_logged_address(self, stack: Stack, token: str) -> None:
        """The request log has the address of the client that HAProxy saw."""
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

    def test_the_logged_address_is_the_callers(self, stack: Stack, token: str) -> None:
        """The API limits wrong passwords by this address, and HAProxy itself has 127.0.0.1."""
        for address in ("127.0.0.2", "127.0.0.3"):
            http = urllib3.PoolManager(
                ca_certs=str(stack.ca),
                cert_file=str(stack.client),
                retries=False,
                source_address=(address, 0),
            )
            headers = {"Authorization": f"Bearer {token}", "X-Request-ID": f"from-{address}"}
            assert http.request("GET", f"{stack.url}/volumes", headers=headers).status == 200
            logs = "".join(api.log.read_text() for api in stack.apis)
            [line] = [x for x in logs.splitlines() if f"from-{address}" in x and "/volumes" in x]
            assert json.loads(line)["client"] == address
