"""HTTP calls to the API like those of a host's agent: one keep-alive connection, with a time limit
for each call.

A thousand hosts in a process have one connection each, as they would on a thousand servers.
"""

import asyncio
import json
import ssl
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

CALL_SECONDS = 40.0  # the API answers within 30
CHUNK_BYTES = 64 * 1024


class NoAnswer(Exception):
    """The API did not answer, so it is unknown whether the call was done. The text describes the
    failure.
    """


@dataclass(frozen=True)
class Result:
    """The status and description of an answer."""

    code: str
    description: str

    @property
    def done(self) -> bool:
        """Whether the call succeeded."""
        return self.code == "Success"


@dataclass(frozen=True)
class Endpoint:
    """The address of the API, and the caller's credentials. ``context`` None: no TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None
    authorization: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str, context: ssl.SSLContext, authorization: str = "") -> Self:
        """Parse the url. ``authorization``: the whole value of the header, as in ``Bearer ...``.

        :raises ValueError: the url is not like https://host:port, or the text is not allowed in a
            header.
        """
        parts = urlsplit(url)
        more = parts.username or parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in {"http", "https"} or not parts.hostname or more:
            raise ValueError("the URL must have the form https://host:port")
        if not (authorization.isascii() and authorization.isprintable()):
            raise ValueError("the credentials contain characters that a header cannot carry")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return cls(parts.hostname, port, context if secure else None, authorization)

    def with_token(self, token: str) -> Self:
        """Return the same endpoint with this token."""
        return replace(self, authorization=f"Bearer {token}")

    def request(self, method: str, path: str, body: Any) -> bytes:
        """The bytes of a request."""
        content = b"" if body is None else json.dumps(body).encode()
        name = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"{method} {path} HTTP/1.1", f"Host: {name}:{self.port}"]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*lines, "", ""]).encode() + content


class _Reply:
    """Collects an answer from httptools. ``keeps_alive`` is valid when the answer is complete."""

    def __init__(self) -> None:
        self.body = b""
        self.is_whole = self.keeps_alive = False
        self.parser = HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole, self.keeps_alive = True, self.parser.should_keep_alive()


class Connection:
    """Makes one call at a time. It connects when a connection is needed, and again after a failure.
    A request is sent at most once.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def read(self, path: str) -> list[dict[str, Any]]:
        """Return the list that a GET returns.

        :raises NoAnswer: the answer is not a list.
        """
        status, body = await self._call("GET", path, None)
        if status != HTTPStatus.OK or not isinstance(body, list):
            raise NoAnswer(f"GET {path}: HTTP {status}: {body}")
        return body

    async def send(self, method: str, path: str, body: Any = None) -> Result:
        """Make a call that changes something. InvalidInput is a result, too.

        :raises NoAnswer: there is no result.
        """
        status, answer = await self._call(method, path, body)
        answered = status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}
        if not answered or not isinstance(answer, dict):
            raise NoAnswer(f"{method} {path}: HTTP {status}: {answer}")
        return Result(str(answer.get("status")), str(answer.get("description")))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        request = self._endpoint.request(method, path, body)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                status, content = await self._exchange(request)
            return status, json.loads(content)
        except (OSError, HttpParserError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise NoAnswer(f"{method} {path}: {reason}") from error

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send the request and read the answer. An error or a cancellation closes the
        connection.
        """
        reader, writer = await self._open()
        self._streams = None
        try:
            writer.write(request)
            reply = _Reply()
            while not reply.is_whole:
                data = await reader.read(CHUNK_BYTES)
                if not data:
                    raise ConnectionError("the connection was closed before the answer was whole")
                reply.parser.feed_data(data)
        except BaseException:
            writer.transport.abort()
            raise
        if reply.keeps_alive:
            self._streams = reader, writer
        else:
            writer.transport.abort()
        return reply.parser.get_status_code(), reply.body

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and not self._streams[0].at_eof():
            return self._streams
        self.close()
        there = self._endpoint
        return await asyncio.open_connection(there.host, there.port, ssl=there.context)
