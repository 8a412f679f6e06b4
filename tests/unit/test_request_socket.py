"""The time that a client has for a request is its own alone."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner import server
from provisioner.certificates import Authority

SECONDS = 0.5


@pytest.fixture
def ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """A server's end of a connection on which a request begins, and its client's."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", SECONDS)
    authority = Authority.of(tmp_path)
    certificate, key = authority.server("api", ["localhost"])
    context = server.tls_context(certificate, key, None, require_client=False)
    trusting = ssl.create_default_context(cafile=str(authority.path))
    ours, theirs = socket.socketpair()
    wrapped: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: wrapped.append(trusting.wrap_socket(theirs, server_hostname="localhost"))
    )
    thread.start()
    with context.wrap_socket(ours, server_side=True) as accepted:
        thread.join()
        [client] = wrapped
        with client:
            accepted.setblocking(True)
            yield accepted, client


def test_what_the_server_does_meanwhile_does_not_count(
    ends: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    ours, client = ends
    client.sendall(b"head")
    assert ours.recv(100) == b"head"
    threading.Event().wait(2 * SECONDS)  # the database is slow
    client.sendall(b"body")
    assert ours.recv(100) == b"body"


def test_pauses_of_the_client_add_up(ends: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, client = ends
    began = time.monotonic()

    def trickle() -> None:
        over = threading.Event()
        while not over.wait(SECONDS / 10):
            try:
                client.sendall(b".")
            except OSError:
                return

    threading.Thread(target=trickle, daemon=True).start()
    with pytest.raises(ConnectionResetError, match="came too slowly"):
        list(iter(lambda: ours.recv(100), b""))
    assert time.monotonic() - began > SECONDS * 0.9
