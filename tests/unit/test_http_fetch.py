"""Calls to an authorization server end in time, whatever the server does."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from provisioner.access import http_fetch
from provisioner.access.http_fetch import FetchFailed, fetch_json
from tests.waiting import eventually

HEADERS = b"HTTP/1.1 200 OK\r\nX-Name: a"
CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1;a"
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
Dripping = Callable[[bytes], str]


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    """Return the URL of a server that answers with this begin, and then sends a byte now and
    then.
    """
    ended, servers = threading.Event(), []

    def serve(server: socket.socket, begin: bytes) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(begin)
            while not ended.wait(0.05):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    def begun(begin: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(server, begin))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.getsockname()[1]}/token"

    yield begun
    ended.set()
    for server, thread in servers:
        thread.join(30)
        server.close()


def _fetching() -> int:
    return sum(thread.name == "fetch" for thread in threading.enumerate())


@pytest.mark.parametrize("begin", [HEADERS, CHUNK, BODY], ids=["headers", "chunk", "body"])
def test_a_call_that_is_given_up_leaves_no_thread(
    dripping: Dripping, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_fetch, "CALL_SECONDS", 0.3)
    with pytest.raises(FetchFailed, match=r"no answer within 0\.3 s"):
        fetch_json(dripping(begin))
    eventually(lambda: _fetching() == 0, seconds=10, what="the thread of the call has ended")


@pytest.mark.parametrize("url", ["http:///token", "http://127.0.0.1:1/token", "http://[::1]:1/x"])
def test_a_server_that_cannot_be_called_is_reported(url: str) -> None:
    with pytest.raises(FetchFailed):
        fetch_json(url)
