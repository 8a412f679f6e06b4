"""HAProxy before two API processes: what callers see while these are killed and restarted."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(120)
CLIENTS = 4


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    running = Stack({"API_WORKERS": "2"})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return stack.manage(
        "token_create", "--name=tester", "--role=ADMIN", "--expiration=3600"
    ).strip()


class Load:
    """Clients that call until ``end``: reads and writes in turn, on connections that are kept.

    ``attempts`` is how often a client makes a call before it counts as failed.
    """

    def __init__(self, stack: Stack, token: str, *, attempts: int) -> None:
        self._stack, self._attempts = stack, attempts
        self._headers = {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.failed: list[str] = []
        self._running = [self._pool.submit(self._client, n) for n in range(CLIENTS)]

    def end(self) -> int:
        """How many calls succeeded."""
        self._over.set()
        self._pool.shutdown()
        return sum(client.result() for client in self._running)

    def _client(self, number: int) -> int:
        http, done = self._stack.pool(), 0
        probe = {
            "hostId": f"host-{number}",
            "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:host-{number}",
            "name": f"host-{number}",
            "clientType": "Agent",
            "version": "1.0",
            "duration": 30,
        }
        while not self._over.is_set():
            self._call(http, "GET", "/volumes", None)
            self._call(http, "POST", "/host_probe", probe)
            done += 2
            self._over.wait(0.01)
        return done

    def _call(self, http: urllib3.PoolManager, method: str, path: str, body: object) -> None:
        said = ""
        for _ in range(self._attempts):
            try:
                answer = http.request(
                    method, f"{self._stack.url}{path}", json=body, headers=self._headers, timeout=30
                )
                if answer.status == 200:
                    return
                said = f"{answer.status} {answer.data[:200]!r}"
            except urllib3.exceptions.HTTPError as error:
                said = repr(error)
            if self._attempts > 1:
                time.sleep(0.1)
        self.failed.append(f"{method} {path}: {said}")


def test_a_killed_process_costs_a_repeating_client_nothing(stack: Stack, token: str) -> None:
    load = Load(stack, token, attempts=4)
    for api in stack.apis:
        time.sleep(1)  # the load goes on
        api.kill()
        time.sleep(1)
        api.start()
        stack.ready()
        _both_are_up(stack)
    assert load.end() > 100
    assert load.failed == []


def test_a_rolling_restart_costs_nobody_anything(stack: Stack, token: str) -> None:
    """/readyz refuses, HAProxy turns to the other, and requests that run are finished."""
    load = Load(stack, token, attempts=1)
    for api in stack.apis:
        assert api.terminate() == 0
        api.start()
        stack.ready()
        _both_are_up(stack)
    assert load.end() > 100
    assert load.failed == []


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
