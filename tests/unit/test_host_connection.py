"""A simulated host's connection to correct and to faulty servers."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable

import pytest

from inventory.simulated_hosts import connection
from inventory.simulated_hosts.connection import Connection, Endpoint, NoAnswer, Result
from provisioner.certificates import Authority
from tests.nodes.certificates import KeyPair
from tests.nodes.servers import Talk, answering, talking

Calls = Callable[[Connection], Awaitable[None]]
LIST = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[{"a":1}]'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"


def envelope(status: int, code: str) -> bytes:
    body = json.dumps({"status": code, "description": "why"})
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Server:
    """Answers the requests of each connection in turn. ``seen`` records them."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.seen: list[list[bytes]] = []

    def __call__(self, there: ssl.SSLSocket) -> None:
        self.seen.append([])
        for answer in self._answers:
            request = there.recv(65536)
            if not request:
                return
            self.seen[-1].append(request)
            there.sendall(answer)


@pytest.fixture
def pair(authority: Authority) -> KeyPair:
    return KeyPair(*authority.server("api", ["127.0.0.1"]))


def talk_to(server: Talk, authority: Authority, pair: KeyPair, calls: Calls) -> None:
    """Make calls on a connection to the server."""
    context = ssl.create_default_context(cafile=authority.path)

    async def talk(port: int) -> None:
        api = Connection(Endpoint.of(f"https://127.0.0.1:{port}", context, "Bearer secret-token"))
        try:
            await calls(api)
        finally:
            api.close()

    with talking(pair, server) as port:
        asyncio.run(talk(port))


def test_a_connection_is_kept_and_reopened_after_it_was_closed(
    authority: Authority, pair: KeyPair
) -> None:
    server = Server(LIST, envelope(200, "Success"), CHUNKED)

    async def calls(api: Connection) -> None:
        assert await api.read("/a") == [{"a": 1}]
        assert await api.send("PUT", "/b", {"x": "é"}) == Result("Success", "why")
        assert await api.read("/c") == []
        try:
            rows = await api.read("/d")
        except NoAnswer:  # the client has not noticed yet that the server closed the connection
            rows = await api.read("/d")
        assert rows == [{"a": 1}]

    talk_to(server, authority, pair, calls)
    first, second = server.seen
    assert [request.split()[1] for request in first] == [b"/a", b"/b", b"/c"]
    assert first[1].startswith(b"PUT /b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert first[1].endswith(b'Content-Length: 15\r\n\r\n{"x": "\\u00e9"}')
    assert b"\r\nAuthorization: Bearer secret-token\r\n" in second[0]


@pytest.mark.parametrize(
    ("code", "status", "done"), [("Success", 200, True), ("InvalidInput", 400, False)]
)
def test_a_result_tells_whether_the_call_was_done(
    authority: Authority, pair: KeyPair, code: str, status: int, done: bool
) -> None:
    async def calls(api: Connection) -> None:
        result = await api.send("DELETE", "/a")
        assert (result.code, result.done) == (code, done)

    talk_to(Server(envelope(status, code)), authority, pair, calls)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (answering(), "closed before the answer was whole"),
        (answering(LIST[:-3]), "closed before the answer was whole"),
        (answering(b"NOT HTTP\r\n\r\n"), "GET /a: "),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<>"), "GET /a: "),
        (answering(envelope(503, "NotAvailable")), "GET /a: HTTP 503"),
        (answering(envelope(401, "Unauthorized")), "GET /a: HTTP 401"),
        (answering(envelope(200, "TenantNotFound")), "GET /a: HTTP 200"),
    ],
)
def test_an_incomplete_or_unexpected_answer_raises_no_answer(
    authority: Authority, pair: KeyPair, server: Talk, reason: str
) -> None:
    async def calls(api: Connection) -> None:
        with pytest.raises(NoAnswer, match=reason) as failed:
            await api.read("/a")
        assert "secret-token" not in str(failed.value)

    talk_to(server, authority, pair, calls)


def test_a_call_to_a_silent_server_ends_in_time(
    authority: Authority, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CALL_SECONDS", 0.2)

    async def calls(api: Connection) -> None:
        with pytest.raises(NoAnswer, match="TimeoutError"):
            await api.send("POST", "/a", {})
        api.close()

    def wait(there: ssl.SSLSocket) -> None:
        while there.recv(65536):
            pass

    talk_to(wait, authority, pair, calls)


def test_a_server_of_another_ca_is_refused(authority: Authority, pair: KeyPair) -> None:
    async def calls(port: int) -> None:
        endpoint = Endpoint.of(f"https://127.0.0.1:{port}", ssl.create_default_context())
        with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
            await Connection(endpoint).read("/a")

    with talking(pair, answering(LIST)) as port:
        asyncio.run(calls(port))
