"""Calls to an authorization server. They are limited in time and size, and follow no redirect.

Imports no Django, because the agents on storage nodes use it too.
"""

import contextvars
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import lru_cache
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

CALL_SECONDS = 5.0
MAX_ANSWER_BYTES = 512 * 1024
_CHUNK_BYTES = 64 * 1024


class FetchFailed(Exception):
    """There is no usable answer. The text gives the reason. It contains no secret and may be
    shown.
    """


def fetch_json(url: str, *, form: Mapping[str, str] | None = None, ca: str = "") -> dict[str, Any]:
    """Return the JSON object at ``url``. The request is a POST if a form is given, else a GET.

    ``ca``: PEM of the CA that verifies the certificate of an https server; empty: the CAs of the
    system. Each call ends within CALL_SECONDS, whatever the server does.

    :raises FetchFailed: the answer is not HTTP 200 with a JSON object. Redirects are not followed.
    """
    status, body = _within(CALL_SECONDS, url, form, ca)
    if status != 200:
        raise FetchFailed(f"it answered with HTTP status {status}{_oauth_error(body)}")
    return _object(body)


def _within(seconds: float, url: str, form: Mapping[str, str] | None, ca: str) -> tuple[int, bytes]:
    """Run the call in a thread. After ``seconds``, stop waiting for it and shut down its
    connection, so that the thread ends too, even if the server sends a byte now and then. No other
    limit covers DNS look-ups.
    """
    outcome: SimpleQueue[tuple[int, bytes] | FetchFailed] = SimpleQueue()
    opened: list[socket.socket] = []
    give_up = time.monotonic() + seconds
    late = f"no answer within {seconds:g} s"

    def run() -> None:
        try:
            with closing(_connection(url, ca, seconds)) as connection:
                connection.connect()
                opened.append(connection.sock)
                outcome.put(_call(connection, url, form, give_up))
        except (TimeoutError, urllib3.exceptions.TimeoutError):
            outcome.put(FetchFailed(late))
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            outcome.put(FetchFailed(f"{type(error).__name__}: {error}"))
        except FetchFailed as error:
            outcome.put(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), daemon=True, name="fetch").start()
    try:
        answer = outcome.get(timeout=seconds)
    except Empty:
        for connected in opened:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        raise FetchFailed(late) from None
    if isinstance(answer, FetchFailed):
        raise answer
    return answer


def _connection(url: str, ca: str, seconds: float) -> HTTPConnection:
    """:raises ValueError: the URL names no host."""
    where = parse_url(url)
    if not where.host:
        raise ValueError(f"{url!r} names no host")
    host = where.host.strip("[]")
    if where.scheme == "https":
        return HTTPSConnection(host, where.port, timeout=seconds, ssl_context=_context(ca))
    return HTTPConnection(host, where.port, timeout=seconds)


def _call(
    connection: HTTPConnection, url: str, form: Mapping[str, str] | None, give_up: float
) -> tuple[int, bytes]:
    if time.monotonic() > give_up:  # the connection was opened too late to be shut down
        raise TimeoutError
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(
        "GET" if form is None else "POST",
        parse_url(url).request_uri,
        body=None if form is None else urlencode(form),
        headers=headers,
        preload_content=False,
    )
    response = connection.getresponse()
    try:
        return response.status, _read(response)
    finally:
        response.close()


@lru_cache(maxsize=4)
def _context(ca: str) -> ssl.SSLContext:
    """The TLS context of all calls. It is shared, because reading the CAs of the system takes
    longer than a call.
    """
    return ssl.create_default_context(cadata=ca or None)


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    body = b""
    while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise FetchFailed(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    return body


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise FetchFailed("its answer is not a JSON object")
    return value


OAUTH_ERRORS = frozenset({
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
    "unsupported_grant_type", "invalid_scope", "invalid_target", "access_denied",
})  # fmt: skip
"""Error codes of RFC 6749, section 5.2, and RFC 8707. Only these are shown of a refusal, because a
server's own text might repeat a secret that it was sent.
"""


def _oauth_error(body: bytes) -> str:
    try:
        error = _object(body).get("error")
    except FetchFailed:
        return ""
    return f" ({error})" if isinstance(error, str) and error in OAUTH_ERRORS else ""
