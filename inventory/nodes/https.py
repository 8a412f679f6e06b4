"""HTTPS calls that end in time, whatever the server does.

A socket timeout limits only one read, so a server that sends one byte at a time could block a
caller forever. Here, the time limit of each socket operation is the remaining time of the whole
call.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse

CONNECT_SECONDS = 2.0
READ_SECONDS = 10.0
IDLE_SECONDS = 30.0  # well below the agent's keep-alive, so that this side closes first
MAX_ANSWER_BYTES = 2**20
CONNECTIONS_PER_HOST = 64

CheckCertificate = Callable[[bytes | None], None]
"""Checks the server's verified certificate (DER).

:raises ValueError: nothing may be sent to this server.
"""

_deadline: ContextVar[float] = ContextVar("deadline")
_check: ContextVar[CheckCertificate | None] = ContextVar("check", default=None)


class CannotConnect(HTTPError):
    """No connection was made, so nothing was sent."""


class AnswerTooLarge(HTTPError):
    """The answer is longer than the request allows."""


@contextmanager
def finish_within(seconds: float) -> Iterator[None]:
    """A context in which HTTPS calls of this thread raise TimeoutError as soon as ``seconds`` have
    passed.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(at_most: float) -> float:
    seconds = min(at_most, _deadline.get() - time.monotonic())
    if seconds <= 0:
        raise TimeoutError("the time limit of the whole call has expired")
    return seconds


class _BoundedSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_left(CONNECT_SECONDS))
        super().do_handshake(block)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left(READ_SECONDS))
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left(READ_SECONDS))
        return super().send(*args, **kwargs)


class _Connection(HTTPSConnection):
    """A connection that distinguishes a failed connect from later failures. It is not reused after
    IDLE_SECONDS.
    """

    _used_at = 0.0

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPError, ValueError, OverflowError) as error:
            raise CannotConnect(failure_text(error)) from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._check_certificate()
        self._used_at = time.monotonic()
        super().request(*args, **kwargs)

    def _check_certificate(self) -> None:
        check, connection = _check.get(), self.sock
        if check is None:
            return
        secured = connection if isinstance(connection, ssl.SSLSocket) else None
        try:
            check(secured.getpeercert(binary_form=True) if secured else None)
        except ValueError as error:
            raise CannotConnect(str(error)) from error

    @property
    def is_connected(self) -> bool:
        is_fresh = time.monotonic() - self._used_at < IDLE_SECONDS
        return is_fresh and super().is_connected


def failure_text(error: Exception) -> str:
    """Return the reason of a failed call, without the names of Python objects."""
    for one in (error.__cause__, error):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    told = isinstance(error, ConnectTimeoutError | ProtocolError) and error.args
    return str(error.args[-1] if told else error)


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


@dataclass(frozen=True)
class Outgoing:
    """A request. Of the answer, at most ``most_bytes`` are read."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None
    most_bytes: int = MAX_ANSWER_BYTES


class Pools:
    """Keep-alive connections to HTTPS servers that ``context`` trusts. Threads share them."""

    def __init__(self, context: ssl.SSLContext, *, servers: int = 10_000) -> None:
        context.sslsocket_class = _BoundedSocket
        self._manager = urllib3.PoolManager(
            num_pools=servers,
            maxsize=CONNECTIONS_PER_HOST,
            ssl_context=context,
            retries=False,
        )
        self._manager.pool_classes_by_scheme = {"https": _Pool}

    def call(
        self, host: str, port: int, request: Outgoing, check: CheckCertificate | None = None
    ) -> tuple[int, bytes]:
        """Send the request at most once, and return the status and the body. Use this inside
        ``finish_within`` only.

        ``check``: checks the certificate of the server before anything is sent.

        :raises CannotConnect: nothing was sent.
        :raises OSError, urllib3.exceptions.HTTPError: the request may have been sent.
        """
        token = _check.set(check)
        try:
            return self._send(host, port, request)
        finally:
            _check.reset(token)

    def _send(self, host: str, port: int, request: Outgoing) -> tuple[int, bytes]:
        timeout = urllib3.Timeout(connect=_left(CONNECT_SECONDS), read=_left(READ_SECONDS))
        response = self._manager.connection_from_host(host, port, scheme="https").urlopen(
            request.method,
            request.path,
            body=request.body,
            headers=request.headers,
            timeout=timeout,
            retries=False,
            preload_content=False,
        )
        return response.status, _read(response, request.most_bytes)

    def close(self) -> None:
        """Close all idle connections."""
        self._manager.clear()


def _read(response: BaseHTTPResponse, most_bytes: int) -> bytes:
    try:
        body = response.read(most_bytes + 1)
    except BaseException:
        response.close()
        raise
    if len(body) > most_bytes:
        response.close()
        raise AnswerTooLarge(f"the answer has more than {most_bytes} bytes")
    response.release_conn()
    return body


def client_context(
    *,
    ca_file: str | Path | None = None,
    ca_text: str | None = None,
    client_certificate: tuple[str | Path, str | Path] | None = None,
) -> ssl.SSLContext:
    """Return a TLS context that trusts the CA (a file or PEM text). Without a CA, it trusts the CAs
    of the system.

    ``client_certificate``: files with the certificate and key of the client, for servers that ask
    for one.

    :raises OSError, ssl.SSLError: a file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file, cadata=ca_text)
    if client_certificate is not None:
        certificate, key = client_certificate
        context.load_cert_chain(certificate, key)
    return context
