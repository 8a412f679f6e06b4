"""Sends requests over HTTP and TLS, again if this is safe."""

import base64
import re
import ssl
import time
from functools import partial
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Url, parse_url

from provisionerctl.config import Context
from provisionerctl.errors import Exit, Failure, NoAnswer

KEY = "Idempotency-Key"
LOOK = "check the state before you repeat it"
PAUSES = (0.5, 1.0, 2.0)
"""Seconds before each further attempt."""
LONGEST_PAUSE = 30.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 40.0
"""The API answers each call within 30 s. A request that was not answered in this time is not sent
again.
"""
QUICK_SECONDS = 3.0
NOT_SENT = (NewConnectionError, ConnectTimeoutError)
FINAL = (SSLError, ReadTimeoutError)
TRY_LATER = {429, 502, 503, 504}


class Transport:
    """The connection to the API of a context. With ``quick``, each call is one short attempt."""

    def __init__(self, context: Context, *, quick: bool) -> None:
        """:raises Failure: the URL, or the file of a certificate, is wrong."""
        self._url = checked_url(context.url)
        self._certificate = context.certificate
        self._pauses = () if quick else PAUSES
        connect, read = (QUICK_SECONDS,) * 2 if quick else (CONNECT_SECONDS, READ_SECONDS)
        timeout = urllib3.Timeout(connect=connect, read=read)
        self._http = urllib3.PoolManager(
            retries=False, timeout=timeout, ssl_context=tls_context(context)
        )

    def send(
        self, method: str, path: str, body: Any, headers: dict[str, str], *, repeatable: bool
    ) -> tuple[urllib3.BaseHTTPResponse, bool]:
        """Return the answer, and whether the answer of an earlier attempt was lost.

        :raises NoAnswer: there was no answer, and the request was tried often enough, or is not
            ``repeatable`` and may have had an effect.
        """
        lost = False
        if not printable_ascii(key := headers.get(KEY, "")):
            raise Failure(f"--idempotency-key {key!r} is not printable ASCII text.", Exit.USAGE)
        ask = partial(self._http.request, method, self._url + path, json=body, headers=headers)
        for pause in self._pauses:
            try:
                response = ask()
            except HTTPError as error:
                lost = lost or not isinstance(error, NOT_SENT)
                if isinstance(error, FINAL) or (lost and not repeatable):
                    raise self._no_answer(method, error, headers, lost) from None
                time.sleep(pause)
            else:
                if response.status not in TRY_LATER or not (repeatable or response.status == 429):
                    return response, lost
                time.sleep(_retry_after(response) or pause)
        try:
            return ask(), lost
        except HTTPError as error:
            raise self._no_answer(method, error, headers, lost) from None

    def open(self, path: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Return the answer of a GET. Its body is not read yet.

        :raises NoAnswer: there was no answer.
        """
        try:
            return self._http.request(
                "GET", self._url + path, headers=headers, preload_content=False
            )
        except HTTPError as error:
            raise self._no_answer("GET", error, headers, lost=False) from None

    def _no_answer(
        self, method: str, error: HTTPError, headers: dict[str, str], lost: bool
    ) -> NoAnswer:
        """Return an error with the reason why there was no answer, and what this means for the
        request.
        """
        bare = self._url.startswith("https") and not self._certificate
        hint = " It may require a client certificate: --certificate." if bare else ""
        if isinstance(error, SSLError):
            hint = "" if "VERIFY_FAILED" in str(error) else hint
            return NoAnswer(f"TLS with {self._url} failed: {_reason(error)}.{hint}")
        if isinstance(error, NOT_SENT) and not lost:
            return NoAnswer(f"{self._url} cannot be reached: {_reason(error)}.")
        said = f"{self._url} did not answer: {_reason(error)}.{hint}"
        if method == "GET":
            return NoAnswer(said)
        key = headers.get(KEY)
        again = f"add --idempotency-key {key} to repeat it safely" if key else LOOK
        return NoAnswer(f"{said} The request may have been carried out: {again}.")


def checked_url(url: str) -> str:
    """Return the URL of an API without slashes at its end.

    :raises Failure: it is not the URL of an API.
    """
    try:
        parts = parse_url(url)
    except LocationParseError:
        parts = Url()
    if parts.scheme not in {"https", "http"} or not parts.host or parts.query or parts.fragment:
        raise Failure(f"{url!r} is not a URL, such as https://127.0.0.1:30100.", Exit.USAGE)
    return url.rstrip("/")


def printable_ascii(text: str) -> bool:
    """Whether a header can have this text."""
    return text.isascii() and text.isprintable()


def credentials(context: Context) -> dict[str, str]:
    """Return the header with the credentials of a context.

    :raises Failure: the token has characters that no token has. The message does not show it.
    """
    if context.token:
        if not printable_ascii(context.token):
            raise Failure("The token is not printable ASCII text: copy it again.", Exit.USAGE)
        return {"Authorization": f"Bearer {context.token}"}
    if context.user:
        both = f"{context.user}:{context.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
    return {}


def tls_context(context: Context) -> ssl.SSLContext:
    """Return the TLS context.

    :raises Failure: the file of a certificate cannot be used.
    """
    named = context.ca
    try:
        made = ssl.create_default_context(cafile=context.ca or None)
        if context.insecure:
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
            urllib3.disable_warnings(InsecureRequestWarning)  # it was asked for
        if context.certificate:
            named = f"{context.certificate} {context.key}".strip()
            made.load_cert_chain(context.certificate, context.key or None)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise Failure(f"The certificate {named} cannot be used: {reason}.", Exit.USAGE) from None
    return made


def _reason(error: BaseException) -> str:
    """Return the message of the system, without the object that urllib3 puts before it."""
    text = str(error.args[-1] if error.args else error) or type(error).__name__
    return re.sub(r"^\S*Connection(Pool)?\(.*?\): ", "", text).rstrip(".")


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else 0.0
