"""The HTTP API: one call, repeated safely while no answer comes."""

import base64
import json
import re
import ssl
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NewConnectionError,
    SSLError,
)

from provisionerctl.config import Context
from provisionerctl.errors import OF_CODES, Exit, Failure, NoAnswer, Refused

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before each further try."""
LONGEST_PAUSE = 30.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 40.0
"""Each call of the API answers within 30 s."""
PAGE = 1000
OF_TENANTS = frozenset(
    [
        "volumes",
        "volumes_by_alias",
        "volume_extended",
        "snapshots",
        "snapshots_by_alias",
        "snapshots_by_vol",
        "snapshot_volume",
        "snapshot_volumes",
        "clone_volume",
        "replica",
        "publish",
        "unpublish",
        "connect",
        "disconnect",
        "migrate_volume",
        "targets",
    ]
)
"""First segments of the paths that may begin with a tenant's id."""
KEYED = frozenset(
    [
        "POST volumes",
        "PATCH volumes",
        "POST snapshots",
        "POST snapshot_volume",
        "POST snapshot_volumes",
        "POST clone_volume",
        "POST publish",
    ]
)
"""What the API answers as before, if it comes again with the same Idempotency-Key."""
NOT_SENT = (NewConnectionError, ConnectTimeoutError)
TRY_LATER = {429, 502, 503, 504}
OF_HTTP = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"} | dict.fromkeys(
    (502, 503, 504), "ServiceUnavailable"
)
"""Result codes where something before the API answers, a load balancer for example."""
Body = dict[str, Any]


def at(*segments: str) -> str:
    """A path of the API."""
    return "".join(f"/{quote(segment, safe=':')}" for segment in segments)


class Client:
    """Calls the API of a context. ``pauses``: the seconds before each further try."""

    def __init__(self, context: Context, pauses: tuple[float, ...] | None = None) -> None:
        """:raises Failure: the URL or a file of a certificate is wrong."""
        self.context = context
        self.idempotency_key = ""
        self.read_seconds = READ_SECONDS
        self.ignored: set[str] = set()
        """Fields of requests that the API does not know."""
        self._pauses = PAUSES if pauses is None else pauses
        self._url = context.url.rstrip("/")
        if not self._url.startswith(("https://", "http://")):
            raise Failure(
                f"{context.url!r} is not a URL, such as https://127.0.0.1:30100.", Exit.USAGE
            )
        self._http = urllib3.PoolManager(retries=False, ssl_context=_tls(context))

    def get(self, *segments: str, **query: Any) -> Any:
        """The answer of a GET. :raises Failure: refused, or no answer."""
        return self.call("GET", at(*segments), query=query)

    def one(self, *segments: str) -> Body | None:
        """The one object of an answer that is a list; None: it does not exist."""
        found = self.get(*segments)
        return dict(found[0]) if found else None

    def pages(self, *segments: str, key: str, limit: int = 0, **query: Any) -> list[Body]:
        """All objects of a list, or the first ``limit``, page by page in the order of ``key``."""
        rows: list[Body] = []
        marker: Body = {}
        while True:
            size = min(PAGE, limit - len(rows)) if limit else PAGE
            page = self.get(*segments, limit=size, **marker, **query)
            rows += page
            if len(page) < size or len(rows) == limit:
                return rows
            marker = {"marker": page[-1][key]}

    def change(
        self, method: str, *segments: str, body: Body | None = None, query: Body | None = None
    ) -> Body:
        """The answer of a call that changes something. :raises Failure: refused, or no answer."""
        answer = self.call(method, at(*segments), body, query)
        return answer if isinstance(answer, dict) else {}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        *,
        repeatable: bool = False,
    ) -> Any:
        """What the API answers: parsed JSON, or text. ``repeatable``: a POST or PATCH that does
        nothing more when it comes again.

        :raises Refused: with another result code than Success
        :raises NoAnswer: it cannot be reached, or gave no answer
        """
        first = path.strip("/").partition("/")[0]
        if self.context.tenant and first in OF_TENANTS:
            path = at(self.context.tenant) + path
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self._url}{path}" + (f"?{urlencode(given)}" if given else "")
        headers = self._headers()
        keyed = not KEYED.isdisjoint(f"{method} {part}" for part in path.split("/")[1:3])
        if keyed:
            headers["Idempotency-Key"] = self.idempotency_key = self.idempotency_key or str(
                uuid.uuid4()
            )
        repeatable |= keyed or method in {"GET", "PUT", "DELETE"}
        return self._read(method, *self._send(method, url, body, headers, repeatable))

    def _headers(self) -> dict[str, str]:
        context = self.context
        if context.token:
            return {"Authorization": f"Bearer {context.token}"}
        if context.user:
            both = f"{context.user}:{context.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
        return {}

    def _send(
        self, method: str, url: str, body: Any, headers: dict[str, str], repeatable: bool
    ) -> tuple[urllib3.BaseHTTPResponse, bool]:
        """The answer, and whether one of an earlier try was lost."""
        lost = False
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=self.read_seconds)
        for pause in self._pauses:
            try:
                response = self._http.request(
                    method, url, json=body, headers=headers, timeout=timeout
                )
            except HTTPError as error:
                lost = lost or not isinstance(error, NOT_SENT)
                if isinstance(error, SSLError) or (lost and not repeatable):
                    raise self._told(method, error, lost) from None
                time.sleep(pause)
            else:
                if response.status not in TRY_LATER or not (repeatable or response.status == 429):
                    return response, lost
                time.sleep(_retry_after(response) or pause)
        try:
            return self._http.request(
                method, url, json=body, headers=headers, timeout=timeout
            ), lost
        except HTTPError as error:
            raise self._told(method, error, lost) from None

    def _told(self, method: str, error: HTTPError, lost: bool) -> NoAnswer:
        """Why no answer came, and what that means."""
        bare = self._url.startswith("https") and not self.context.certificate
        hint = " It may demand a client certificate: --certificate." if bare else ""
        if isinstance(error, SSLError):
            hint = "" if "VERIFY_FAILED" in str(error) else hint
            return NoAnswer(f"TLS with {self._url} failed: {_reason(error)}.{hint}")
        if isinstance(error, NOT_SENT) and not lost:
            return NoAnswer(f"{self._url} cannot be reached: {_reason(error)}.")
        said = f"{self._url} gave no answer: {_reason(error)}.{hint}"
        if method == "GET":
            return NoAnswer(said)
        if self.idempotency_key:
            again = f"add --idempotency-key {self.idempotency_key} to repeat it safely"
        else:
            again = "look before you repeat it"
        return NoAnswer(f"{said} What was asked may have been done: {again}.")

    def _read(self, method: str, response: urllib3.BaseHTTPResponse, lost: bool) -> Any:
        named = response.headers.get("Ignored-Fields", "").split(", ")
        self.ignored |= {unquote(name) for name in named if name}
        text = response.data.decode(errors="replace")
        try:
            body = json.loads(text)
        except ValueError:
            body = text
        if not isinstance(body, dict) or not {"status", "description"} <= set(body):
            if response.status < 400:
                return body
            status = OF_HTTP.get(response.status, f"HTTP {response.status}")
            body = {"status": status, "description": text[:200].strip() or "no text"}
        if body["status"] == "Success":
            return body
        if lost and method == "DELETE" and OF_CODES.get(body["status"]) == Exit.NOT_FOUND:
            return body | {"status": "Success"}  # the try whose answer was lost removed it
        raise Refused(body)


def tries(client: Client, *paths: tuple[str, ...]) -> Iterator[Any]:
    """The answers of several GETs; None in place of what the caller may not see."""
    for segments in paths:
        try:
            yield client.get(*segments)
        except Refused as error:
            if error.exit_code != Exit.DENIED:
                raise
            yield None


def _tls(context: Context) -> ssl.SSLContext:
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
    """What the system said, without the object that urllib3 puts before it."""
    text = str(error.args[-1] if error.args else error) or type(error).__name__
    return re.sub(r"^\S*Connection(Pool)?\(.*?\): ", "", text).rstrip(".")


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else 0.0
