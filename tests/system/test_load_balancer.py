"""HAProxy before two API processes: what callers see while these are killed and restarted."""

import json
import ssl
import threading
import time
import uuid as uuids
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPSConnection
from typing import Any

import pytest
import urllib3

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(120)
CLIENTS = 4
KEEP_ALIVE_SECONDS = 2
REPEAT_SECONDS = 30.0
"""How long a client repeats a call; longer than the collector takes over a call that died."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    settings = {
        "API_WORKERS": "2",
        "KEEP_ALIVE": f"{KEEP_ALIVE_SECONDS}s",
        "NODE_CALL_SECONDS": "4",
        "UNFINISHED_SECONDS": "5",
        "COLLECT_INTERVAL_SECONDS": "1",
    }
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
    certificate, key = stack.authority.server("nodes", ["127.0.0.1"])
    node_token = stack.environment["NODE_TOKEN"]
    with SimulatedFleet(3, certificate=certificate, key=key, token=node_token) as fleet:
        client = Client(stack, token, repeats=False)
        for node in fleet.nodes:
            body = {"mgmtIPs": [node.address], "mgmtPort": node.port}
            assert client.call("POST", "/backends", body)["status"] == "Success"
        yield fleet


class Failed(Exception):
    """A call whose client gave it up."""


class Client:
    """Repeats a call that broke off, as docs/operations.md says how; or does not."""

    def __init__(self, stack: Stack, token: str, *, repeats: bool) -> None:
        self._url, self._http = stack.url, stack.pool()
        self._headers = {"Authorization": f"Bearer {token}"}
        self._seconds = REPEAT_SECONDS if repeats else 0.0

    def call(self, method: str, path: str, body: object = None, *, also: str = "") -> Any:
        """The answer; a call that is repeated may be answered with the status ``also``.

        :raises Failed:
        """
        end, accepted = time.monotonic() + self._seconds, {"Success"}
        while True:
            said, answer = self._once(method, path, body)
            if answer is not None:
                status = answer.get("status", "Success") if isinstance(answer, dict) else "Success"
                if status in accepted and (status == "Success" or self._is_there(path, body)):
                    return answer
            if time.monotonic() >= end:
                raise Failed(f"{method} {path}: {said}")
            accepted.add(also)
            time.sleep(0.1)

    def _once(self, method: str, path: str, body: object) -> tuple[str, Any]:
        """What was said, and the answer of the API if it is one."""
        try:
            answer = self._http.request(
                method, f"{self._url}{path}", json=body, headers=self._headers, timeout=30
            )
        except urllib3.exceptions.HTTPError as error:
            return repr(error), None
        said = f"{answer.status} {answer.data[:200]!r}"
        return said, json.loads(answer.data) if answer.status == 200 else None

    def _is_there(self, path: str, body: object) -> bool:
        """After a repeated create met what the first try made, or what it left half done."""
        if path != "/volumes" or not isinstance(body, dict):
            return True
        return bool(self._once("GET", f"/volumes/{body['uuid']}", None)[1])


class Load:
    """Clients that work until ``end``: reads, probes, creates and deletes, on kept connections."""

    def __init__(self, stack: Stack, token: str, *, repeats: bool) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        clients = [Client(stack, token, repeats=repeats) for _ in range(CLIENTS)]
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
        host = {
            "hostId": f"host-{number}",
            "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:host-{number}",
            "name": f"host-{number}",
            "clientType": "Agent",
            "version": "1.0",
            "duration": 30,
        }
        while not self._over.is_set():
            uuid = str(uuids.uuid4())
            client.call("GET", "/volumes")
            client.call("POST", "/host_probe", host)
            volume = {"alias": uuid, "uuid": uuid, "capacity": 1, "provisioningType": "THIN"}
            client.call("POST", "/volumes", volume, also="AlreadyExists")
            client.call("DELETE", f"/volumes/{uuid}", also="NotExists")
            done += 4
            self._over.wait(0.01)
        return done


def test_a_killed_process_costs_a_repeating_client_nothing(
    stack: Stack, token: str, fleet: SimulatedFleet
) -> None:
    load = Load(stack, token, repeats=True)
    for api in stack.apis:
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
    load = Load(stack, token, repeats=False)
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
        client = Client(stack, token, repeats=False)

        def calls() -> list[Any]:
            return list(callers.map(lambda _: client.call("GET", "/tenants"), range(128)))

        before = calls()
        stack.postgres.restart_immediate()
        assert calls() == before


def test_when_no_api_is_left_the_answer_still_is_the_apis(stack: Stack, token: str) -> None:
    for api in stack.apis:
        api.kill()
    try:
        http, status, end = stack.pool(), 0, time.monotonic() + 20
        # on a connection that was kept, HAProxy may close instead of answering 502
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        while status != 503:
            assert time.monotonic() < end, status
            answer = http.request("POST", f"{stack.url}/volumes", json={}, headers=headers)
            status = answer.status
            assert status in {502, 503}  # the dying socket may still take a connection
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.json()["status"] == "ServiceUnavailable"
            assert f"HTTP Status {status}" in answer.json()["description"]
    finally:
        for api in stack.apis:
            api.start()
        stack.ready()
        _both_are_up(stack)


def _both_are_up(stack: Stack) -> None:
    """HAProxy's log tells of each server that goes and comes."""
    end = time.monotonic() + 20
    while True:
        text = stack.haproxy.log.read_text(errors="replace")
        states = [_last_state(text, name) for name in ("api-1", "api-2")]
        if states == ["UP", "UP"]:
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
