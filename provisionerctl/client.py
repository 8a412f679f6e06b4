"""The client of the HTTP API. A call without an answer is sent again if this is safe."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlencode

import urllib3

from provisionerctl.config import Context
from provisionerctl.errors import OF_CODES, Exit, Failure, Refused
from provisionerctl.paths import KEYED, OF_TENANTS, at
from provisionerctl.transport import KEY, Transport, credentials
from provisionerctl.units import printable

PAGE = 1000
OF_HTTP = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"} | dict.fromkeys(
    (502, 503, 504), "ServiceUnavailable"
)
"""Result codes for answers that do not come from the API, but for example from a load balancer."""
Body = dict[str, Any]


class Client:
    """Calls the API of a context. With ``quick``, each call is one short attempt."""

    def __init__(self, context: Context, *, quick: bool = False) -> None:
        """:raises Failure: the URL, or the file of a certificate, is wrong."""
        self.context = context
        self.idempotency_key = ""
        self.ignored: set[str] = set()
        """Fields of requests that the API does not know."""
        self._transport = Transport(context, quick=quick)

    def get(self, *segments: str, **query: Any) -> Any:
        """Return the answer of a GET.

        :raises Failure: the call was refused, or got no answer.
        """
        return self.call("GET", at(*segments), query=query)

    def one(self, *segments: str) -> Body | None:
        """Return the only object of an answer that is a list. None: the object does not exist."""
        found = self.get(*segments)
        return dict(found[0]) if found else None

    def pages(self, *segments: str, key: str, limit: int = 0, **query: Any) -> list[Body]:
        """Return all objects of a list, or the first ``limit`` ones. They are read page by page, in
        the order of ``key``.
        """
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
        """Return the answer of a call that changes something.

        :raises Failure: the call was refused, or got no answer.
        """
        answer = self.call(method, at(*segments), body, query)
        if not isinstance(answer, dict):
            raise self._other_server("its answer is not an object")
        return answer

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        *,
        repeatable: bool = False,
    ) -> Any:
        """Return the answer of the API: parsed JSON, or text.

        ``repeatable``: a POST or PATCH that changes nothing more when it is sent again.

        :raises Refused: the result code is not Success.
        :raises NoAnswer: the API cannot be reached, or gave no answer.
        :raises Failure: another server answered.
        """
        first = path.strip("/").partition("/")[0]
        if self.context.tenant and first in OF_TENANTS:
            path = at(self.context.tenant) + path
        given = {name: value for name, value in (query or {}).items() if value is not None}
        headers = credentials(self.context)
        keyed = not KEYED.isdisjoint(f"{method} {part}" for part in path.split("/")[1:3])
        if keyed:
            headers[KEY] = self.idempotency_key = self.idempotency_key or str(uuid.uuid4())
        repeatable |= keyed or method in {"GET", "PUT", "DELETE"}
        path += f"?{urlencode(given, doseq=True)}" if given else ""
        answer = self._transport.send(method, path, body, headers, repeatable=repeatable)
        return self._read(method, *answer)

    @contextmanager
    def stream(
        self, *segments: str, headers: dict[str, str], **query: Any
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Open a GET whose answer is read while the API still writes it.

        :raises Failure: the call was refused, or got no answer.
        """
        given = {name: value for name, value in query.items() if value is not None}
        path = f"{at(*segments)}?{urlencode(given)}"
        response = self._transport.open(path, credentials(self.context) | headers)
        try:
            if response.status >= 400 or "json" in response.headers.get("Content-Type", ""):
                self._read("GET", response, lost=False)
            yield response
        finally:
            response.close()

    def _other_server(self, reason: str) -> Failure:
        url = self.context.url
        return Failure(f"{url} is not the API of a provisioner: {printable(reason)}.", Exit.USAGE)

    def _read(self, method: str, response: urllib3.BaseHTTPResponse, lost: bool) -> Any:
        named = response.headers.get("Ignored-Fields", "").split(", ")
        self.ignored |= {unquote(name) for name in named if name}
        text = response.data.decode(errors="replace")
        if 300 <= response.status < 400:
            raise self._other_server(f"it redirects to {response.headers.get('Location')}")
        try:
            body = json.loads(text)
        except ValueError:
            body = text
        if not isinstance(body, dict) or not {"status", "description"} <= set(body):
            if response.status < 400:
                kind = response.headers.get("Content-Type", "")
                if body is text and not kind.startswith("text/plain"):
                    raise self._other_server(f"its answer is of the type {kind!r}")
                return body
            status = OF_HTTP.get(response.status, f"HTTP {response.status}")
            body = {"status": status, "description": text[:200].strip() or "no text"}
        if body["status"] == "Success":
            return body
        if lost and method == "DELETE" and OF_CODES.get(body["status"]) == Exit.NOT_FOUND:
            return body | {"status": "Success"}  # the attempt whose answer was lost has removed it
        raise Refused(body)


def get_all_or_none(client: Client, *paths: tuple[str, ...]) -> Iterator[Any]:
    """Yield the answers of several GETs. An answer is None if the caller may not see it."""
    for segments in paths:
        try:
            yield client.get(*segments)
        except Refused as error:
            if error.exit_code != Exit.DENIED:
                raise
            yield None
