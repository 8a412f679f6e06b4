"""Callers that are slow, numerous or unknown do not affect other callers, with the shipped
haproxy.cfg and APIs.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import urllib3

from tests.programs import tool
from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(600)
SECONDS = 5.0
"""For each answer to the others; the machine is busy."""
HEAD = b"POST /volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BEGUN = b" " * 20_000
"""More than HAProxy keeps of a request by its defaults."""
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (2 * len(BEGUN), BEGUN)
SIZED = b"Content-Length: %d\r\n\r\n%s" % (2 * len(BEGUN), BEGUN)
HALF = b"GET /volumes HTTP/1.1\r\nHost: x\r\n"
REFUSED = "HTTP Status 403 - a client certificate is required, and none was verified"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    tool("haproxy")
    running = Stack(each=1)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    command = ["token_create", "--name=tester", "--role=ADMIN", "--expiration=3600"]
    return stack.manage(*command).strip()


@pytest.fixture
def crowd(stack: Stack) -> Iterator["Crowd"]:
    with contextlib.ExitStack() as connections:
        yield Crowd(stack, connections)


class Crowd:
    """Connections that stay open."""

    def __init__(self, stack: Stack, connections: contextlib.ExitStack) -> None:
        self._stack, self._connections = stack, connections

    def comes(
        self, count: int, says: bytes, url: str = "", *, certificate: bool = True
    ) -> list[ssl.SSLSocket]:
        """Send the same bytes on each connection, and nothing more."""
        context = ssl.create_default_context(cafile=str(self._stack.ca))
        if certificate:
            context.load_cert_chain(self._stack.client)
        address = urlsplit(url or self._stack.url)
        made = []
        for _ in range(count):
            plain = socket.create_connection((address.hostname, address.port), timeout=30)
            secure = context.wrap_socket(plain, server_hostname=address.hostname)
            made.append(self._connections.enter_context(secure))
            secure.sendall(says)
        return made


def get(stack: Stack, path: str, token: str = "", url: str = "") -> urllib3.BaseHTTPResponse:
    """Send a GET on a new connection, with a client certificate."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with stack.pool() as http:
        return http.request("GET", f"{url or stack.url}{path}", headers=headers, timeout=30)


def others_are_served(stack: Stack, token: str) -> None:
    for path in ["/healthz", "/volumes"] * 10:
        began = time.monotonic()
        assert get(stack, path, token).status == 200
        assert time.monotonic() - began < SECONDS, path


class TestOthersAreServed:
    @pytest.mark.parametrize("says", [CHUNKED, SIZED])
    @pytest.mark.parametrize("certificate", [True, False])
    def test_slow_bodies_do_not_delay_others(
        self, stack: Stack, token: str, crowd: Crowd, says: bytes, certificate: bool
    ) -> None:
        credentials = f"Authorization: Bearer {token}\r\n".encode() if certificate else b""
        crowd.comes(40, HEAD + credentials + says, certificate=certificate)
        others_are_served(stack, token)

    def test_incomplete_requests_do_not_delay_others(
        self, stack: Stack, token: str, crowd: Crowd
    ) -> None:
        crowd.comes(100, HALF)
        others_are_served(stack, token)

    def test_idle_connections_do_not_delay_others(
        self, stack: Stack, token: str, crowd: Crowd
    ) -> None:
        crowd.comes(500, b"")
        others_are_served(stack, token)


class TestCertificates:
    def ask(
        self, stack: Stack, path: str, scheme: str, request_id: str, url: str = ""
    ) -> urllib3.BaseHTTPResponse:
        headers = {"X-Request-ID": request_id}
        if scheme:
            headers["Authorization"] = f"{scheme} eDp5"
        with urllib3.PoolManager(ca_certs=str(stack.ca), retries=False) as http:
            method = "POST" if path.startswith("/probe") else "GET"
            return http.request(method, f"{url or stack.url}{path}", headers=headers, timeout=30)

    def was_seen(self, stack: Stack, request_id: str) -> bool:
        return any(request_id in api.log.read_text() for api in stack.apis)

    @pytest.mark.parametrize(
        ("path", "scheme"),
        [
            ("/volumes", "Bearer"),
            ("/volumes", "Basic"),
            ("/token", ""),
            ("/nothing", ""),
            ("/", ""),
            ("/admin/login/", ""),
            ("/docs", ""),
            ("/static/x", ""),
            ("/probe", "Basic"),
            ("/probe", ""),
            ("/probe/x", "Bearer"),
            ("/metrics", ""),
            ("/healthz/x", ""),
            ("/x/healthz", ""),
            ("/volumes?/healthz", ""),
        ],
    )
    def test_callers_without_a_certificate_are_refused_by_the_balancer(
        self, stack: Stack, path: str, scheme: str
    ) -> None:
        request_id = f"none-{abs(hash((path, scheme)))}"
        answer = self.ask(stack, path, scheme, request_id)
        assert answer.status == 403
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == {"status": "Forbidden", "description": REFUSED}
        assert not self.was_seen(stack, request_id)

    @pytest.mark.parametrize(
        ("path", "scheme", "http"),
        [
            ("/healthz", "", 200),
            ("/readyz/", "", 200),
            ("/probe", "Bearer", 401),
            ("/probe/", "bearer", 401),
            ("/metrics", "Basic", 401),
            ("/metrics", "Bearer", 401),
        ],
    )
    def test_some_paths_need_no_client_certificate(
        self, stack: Stack, path: str, scheme: str, http: int
    ) -> None:
        assert self.ask(stack, path, scheme, "needs-none").status == http

    def test_the_api_decides_if_haproxy_demands_no_certificate(self, stack: Stack) -> None:
        url = stack.balancer(REQUIRE_CLIENT_CERTIFICATE="false")
        assert self.ask(stack, "/volumes", "", "optional", url).status == 403
        assert self.was_seen(stack, "optional")


class TestBodies:
    def post(
        self, stack: Stack, token: str, body: bytes | Iterator[bytes]
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with stack.pool() as http:
            return http.request(
                "POST", f"{stack.url}/volumes", body=body, headers=headers, timeout=30
            )

    def test_a_large_body_is_accepted(self, stack: Stack, token: str) -> None:
        body = b'{"alias": "a", "capacity": "x"' + b" " * 120_000 + b"}"
        pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
        for each in (body, pieces):
            answer = self.post(stack, token, each)
            assert answer.json()["description"].startswith("capacity = 'x': ")

    def test_a_body_that_is_too_large_is_refused(self, stack: Stack, token: str) -> None:
        body = b"{}" + b" " * 131_072
        pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
        for each in (body, pieces):
            answer = self.post(stack, token, each)
            assert (answer.status, answer.json()["status"]) == (413, "PayloadTooLarge")

    @pytest.mark.parametrize(("certificate", "http"), [(False, b"413"), (True, b"401")])
    def test_a_chunked_body_of_a_caller_without_certificate_is_refused(
        self, crowd: Crowd, certificate: bool, http: bytes
    ) -> None:
        """The caller sends the token of a node, which was not checked yet."""
        head = b"POST /probe HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer none\r\n"
        says = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        [connection] = crowd.comes(1, says, certificate=certificate)
        assert connection.recv(100).startswith(b"HTTP/1.1 " + http)

    def test_a_body_that_arrives_too_slowly_is_refused(self, stack: Stack, crowd: Crowd) -> None:
        [connection] = crowd.comes(1, HEAD + CHUNKED)
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


class TestLimits:
    def is_refused(self, stack: Stack, token: str, url: str) -> None:
        """Whether requests other than health checks are refused."""
        answer = get(stack, "/volumes", token, url)
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["status"] == "TooManyRequests"
        assert get(stack, "/healthz", url=url).status == 200

    def test_requests_above_the_concurrent_limit_are_refused(
        self, stack: Stack, token: str, crowd: Crowd
    ) -> None:
        url = stack.balancer(MAX_REQUESTS="2")
        crowd.comes(2, HEAD + SIZED, url)
        self.is_refused(stack, token, url)

    def test_bodies_above_the_concurrent_limit_are_refused(
        self, stack: Stack, token: str, crowd: Crowd
    ) -> None:
        url = stack.balancer(MAX_BODIES="2")
        crowd.comes(2, HEAD + SIZED, url)
        [third] = crowd.comes(1, HEAD + CHUNKED, url)
        assert third.recv(100).startswith(b"HTTP/1.1 429 ")
        assert get(stack, "/volumes", token, url).status == 200

    def test_requests_above_the_total_limit_are_refused(self, stack: Stack, token: str) -> None:
        url = stack.balancer(ALL_REQUESTS="0")
        answer = get(stack, "/volumes", token, url)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json()["status"] == "ServiceUnavailable"
        assert get(stack, "/healthz", url=url).status == 200

    def test_requests_above_the_rate_limit_are_refused(self, stack: Stack, token: str) -> None:
        url = stack.balancer(REQUEST_RATE="3")
        assert {get(stack, "/volumes", token, url).status for _ in range(3)} == {200}
        self.is_refused(stack, token, url)

    def test_connections_above_the_concurrent_limit_are_refused(
        self, stack: Stack, token: str, crowd: Crowd
    ) -> None:
        url = stack.balancer(MAX_CONNECTIONS="10")
        crowd.comes(10, b"", url)
        self.is_refused(stack, token, url)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            crowd.comes(20, b"", url)

    def test_connections_above_the_rate_limit_are_refused(
        self, stack: Stack, token: str, crowd: Crowd
    ) -> None:
        url = stack.balancer(CONNECTION_RATE="20")
        for connection in crowd.comes(21, b"", url):
            connection.close()
        self.is_refused(stack, token, url)
