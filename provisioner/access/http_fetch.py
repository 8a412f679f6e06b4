"""Calls to an authorization server. They are limited in time and size, and follow no redirect.

Imports no Django, because the agents on storage nodes use it too.
"""

import contextvars
import json
import ssl
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

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
    """Run the call in a thread, and stop waiting for it after ``seconds``. No other limit covers
    DNS look-ups and headers that arrive slowly.
    """
    outcome: SimpleQueue[tuple[int, bytes] | FetchFailed] = SimpleQueue()
    give_up = time.monotonic() + seconds
    late = f"no answer within {seconds:g} s"

    def run() -> None:
        try:
            outcome.put(_call(url, form, ca, give_up))
        except (TimeoutError, urllib3.exceptions.TimeoutError):
            outcome.put(FetchFailed(late))
        except (HTTPError, OSError, ValueError) as error:
            outcome.put(FetchFailed(f"{type(error).__name__}: {error}"))
        except FetchFailed as error:
            outcome.put(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), daemon=True, name="fetch").start()
    try:
        answer = outcome.get(timeout=seconds)
    except Empty:
        raise FetchFailed(late) from None
    if isinstance(answer, FetchFailed):
        raise answer
    return answer


def _call(url: str, form: Mapping[str, str] | None, ca: str, give_up: float) -> tuple[int, bytes]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    with urllib3.PoolManager(ssl_context=_context(ca), retries=False) as pools:
        response = pools.request(
            "GET" if form is None else "POST",
            url,
            body=None if form is None else urlencode(form),
            headers=headers,
            timeout=urllib3.Timeout(total=max(0.1, give_up - time.monotonic())),
            redirect=False,
            preload_content=False,
        )
        try:
            return response.status, _read(response, give_up)
        finally:
            response.close()


@lru_cache(maxsize=4)
def _context(ca: str) -> ssl.SSLContext:
    """The TLS context of all calls. It is shared, because reading the CAs of the system takes
    longer than a call.
    """
    return ssl.create_default_context(cadata=ca or None)


def _read(response: urllib3.BaseHTTPResponse, give_up: float) -> bytes:
    body = b""
    while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise FetchFailed(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > give_up:
            raise TimeoutError
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
