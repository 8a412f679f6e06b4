"""The embedded form's server closes connections on which nothing arrives."""

import socket
import ssl
import threading
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
    """Return the server's and the client's end of a connection on which a request has begun."""
    monkeypatch.setattr(server, "CLIENT_SECONDS", SECONDS)
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


def test_the_time_that_the_server_needs_does_not_count_as_idle(
    ends: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    ours, client = ends
    client.sendall(b"head")
    assert ours.recv(100) == b"head"
    threading.Event().wait(2 * SECONDS)  # the database is slow
    client.sendall(b"body")
    assert ours.recv(100) == b"body"


def test_a_client_that_sends_nothing_loses_its_connection(
    ends: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    ours, client = ends
    client.sendall(b"half of a head")
    assert ours.recv(100) == b"half of a head"
    with pytest.raises(ConnectionResetError, match="arrived too slowly"):
        ours.recv(100)
