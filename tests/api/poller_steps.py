"""A server behind HAProxy, and requests as HAProxy forwards them."""

import base64
import datetime as dt
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from provisioner.access.principals import Role
from provisioner.access.tokens import token_issue
from provisioner.certificates import Authority
from tests.api.server_steps import Server
from tests.waiting import eventually

REQUEST_ID = re.compile(rb"(?<=\r\nX-Request-ID: )[^\r]+")
CHANGING = re.compile(rb"(?<=\r\nDate: )[^\r]+|(?<=\r\nX-Request-ID: )[0-9a-f]{32}(?=\r\n)")
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSES = b"\r\nConnection: close\r\n"
TRIES = 6
PLAIN = dict.fromkeys(("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA"), "") | {
    "TRUSTED_PROXIES": "127.0.0.1",
    "REQUIRE_CLIENT_CERTIFICATE": "true",
    "METRICS_OPEN": "true",
}


@pytest.fixture(scope="module")
def plain_server(
    django_db_setup: None,
    django_db_blocker: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server that behaves as behind HAProxy, which is trusted to check certificates."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        running = Server(tmp_path_factory.mktemp("plain"), **PLAIN)
    yield running
    running.stop()


def token(*roles: Role, seconds: int = 3600, **bindings: Any) -> str:
    lifetime = dt.timedelta(seconds=seconds)
    return token_issue(name="poller", roles=roles, lifetime=lifetime, **bindings)[0]


def certificate(authority: Authority) -> str:
    pem = Path(authority.client("poller")).read_bytes()
    return base64.b64encode(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).decode()


def one_answer(connected: socket.socket) -> bytes:
    """Receive one answer from a connection that stays open."""
    answer = b""
    while not _is_whole(answer):
        received = connected.recv(65536)
        assert received, f"the connection was closed after {answer!r}"
        answer += received
    return answer


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    if found := LENGTH.search(head):
        return int(found[1]) == len(body)
    return body.endswith(b"0\r\n\r\n")  # chunked


class Poller:
    """Sends requests as HAProxy forwards them: on kept connections, one for each address."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.kept: dict[str, socket.socket] = {}
        self._certificate = certificate(server.authority)
        self._key = 0

    def request(
        self,
        path: str,
        credentials: str,
        *more: str,
        method: str = "GET",
        body: str = "",
        end: str = "keep-alive",
    ) -> bytes:
        self._key += 1
        lines = [f"{method} {path} HTTP/1.1", "host: api", f"authorization: {credentials}", *more]
        lines += ["x-ssl-client-verify: SUCCESS", f"x-ssl-client-cert: {self._certificate}"]
        lines += ["x-forwarded-for: 10.0.0.7", "x-forwarded-proto: https"]
        lines += [f"idempotency-key: 00000000-0000-0000-0000-{self._key:012}", f"connection: {end}"]
        lines += [f"content-length: {len(body)}"] if body else []
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def send(self, *arguments: str, source: str = "127.0.0.1", **how: str) -> bytes:
        """Return the answer. If it closes the connection, the next request is sent on a new one."""
        connected = self.kept.pop(source, None) or self.server.connected(source)
        connected.sendall(self.request(*arguments, **how))
        answer = one_answer(connected)
        if CLOSES in answer:
            assert connected.recv(1) == b""
            connected.close()
        else:
            self.kept[source] = connected
        return answer

    def close(self) -> None:
        while self.kept:
            self.kept.popitem()[1].close()

    def is_logged(self, answer: bytes) -> bool:
        """Whether the API gave this answer. The API logs each request; answers from the cache are
        only counted.
        """
        found = REQUEST_ID.search(answer)
        assert found, answer
        return any(found[0].decode() in line for line in self.server.log())

    def known(self, send: Callable[[], bytes]) -> bytes:
        """Return the cached answer to this request. If the data is too old, the API answers
        first.
        """
        answers: list[bytes] = []

        def is_known() -> bool:
            answers.append(send())
            return not self.is_logged(answers[-1])

        eventually(is_known, seconds=60, what=lambda: answers[-1])
        return answers[-1]


@pytest.fixture
def poller(plain_server: Server) -> Iterator[Poller]:
    poller = Poller(plain_server)
    yield poller
    poller.close()
