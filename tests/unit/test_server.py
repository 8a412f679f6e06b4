"""The API's side of a connection: idle clients occupy no thread, and errors use the API's
envelope.
"""

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from provisioner import server
from provisioner.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.of(tmp_path)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def context(authority: Authority) -> ssl.SSLContext:
    certificate, key = authority.server("server", ["localhost"])
    return server.tls_context(certificate, key, authority.path, require_client=False)


def test_a_silent_client_does_not_get_past_the_handshake(
    authority: Authority,
    sockets: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "CLIENT_SECONDS", 0.2)
    tls = context(authority)
    connection = tls.wrap_socket(sockets[0], server_side=True, do_handshake_on_connect=False)
    with connection, pytest.raises(ConnectionResetError, match="too slowly"):
        connection.do_handshake()


def test_a_client_that_sends_no_request_is_disconnected(
    authority: Authority,
    sockets: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Browsers open connections before they need them."""
    monkeypatch.setattr(server, "CLIENT_SECONDS", 0.5)
    tls, held = context(authority), threading.Event()
    client = threading.Thread(target=_say_nothing, args=(sockets[1], authority, held), daemon=True)
    client.start()
    connection = tls.wrap_socket(sockets[0], server_side=True, do_handshake_on_connect=False)
    with connection:
        connection.do_handshake()
        for _ in range(2):
            connection.setblocking(True)  # a request begins
            with pytest.raises(ConnectionResetError, match="too slowly"):
                connection.recv(8192)
    held.set()
    client.join(5)


def _say_nothing(plain: socket.socket, authority: Authority, held: threading.Event) -> None:
    client = ssl.create_default_context(cafile=authority.path)
    with client.wrap_socket(plain, server_hostname="localhost"):
        held.wait(10)


def test_tls_is_1_2_or_newer(authority: Authority) -> None:
    assert context(authority).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(400, "Bad Request", "BadRequest"), (431, "Request Header Fields Too Large", "BadRequest")],
)
def test_a_malformed_request_is_answered_with_the_envelope(
    sockets: tuple[socket.socket, socket.socket], status: int, reason: str, code: str
) -> None:
    server.write_error(sockets[0], status, reason, "no request line")
    head, _, body = sockets[1].recv(4096).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} {reason}\r\n".encode())
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {
        "status": code,
        "description": f"HTTP Status {status} - no request line",
    }


def test_an_answer_is_sent_in_one_piece() -> None:
    """A process that dies while it answers has sent the complete answer or nothing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        request = next(RequestParser(Config(), ours, ("127.0.0.1", 1)))
        answer = server.WholeResponse(request, ours, Config())
        answer.start_response("200 OK", [("Content-Length", "9")])
        answer.write(b"first")
        answer.write(b"last")
        answer.close()
        head, _, body = theirs.recv(4096).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (body, theirs.recv(4096)) == (b"first", b"last")


SHOW_COLLECTED = """
import gc, os, runpy
prepare = runpy.run_path("deploy/gunicorn.conf.py")["when_ready"]
import provisioner.wsgi
prepare(None)
from provisioner.urls import urlpatterns
if os.fork() == 0:
    print(gc.get_freeze_count() > 100_000, len(gc.get_objects()) < 1_000)
else:
    os.wait()
"""


def test_a_worker_never_collects_the_application_as_garbage(tmp_path: Path) -> None:
    """It would stop all its threads for a tenth of a second, again and again."""
    settings = {
        "SECRET_KEY": "x" * 40,
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": "sqlite://:memory:",
        "REDIS_URL": "memory://",
        "PYTHONPATH": ".",
    }
    done = subprocess.run(
        [sys.executable, "-c", SHOW_COLLECTED],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True True\n", done.stderr
