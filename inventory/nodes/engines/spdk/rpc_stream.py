"""One connection to an SPDK target: JSON values in both directions, replies matched by id."""

import asyncio
import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 2**16
MAX_REPLY_BYTES = 2**25 + CHUNK_BYTES

Reply = dict[str, Any]


class Broken(Exception):
    """The connection is closed. The calls made on it may have been done."""


class Values:
    """Splits a stream without length prefixes into complete JSON values."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._json = json.JSONDecoder()
        self._parts: list[str] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the values that have become complete.

        :raises Broken: a value is too long, or not UTF-8.
        """
        try:
            self._parts.append(self._decode(data))
        except UnicodeDecodeError as error:
            raise Broken("a reply is not UTF-8") from error
        self._length += len(data)
        if data.rstrip()[-1:] in {b"}", b"]"}:
            text = "".join(self._parts).lstrip()
            while text:
                try:
                    value, end = self._json.raw_decode(text)
                except json.JSONDecodeError:
                    break
                text = text[end:].lstrip()
                yield value
            self._parts, self._length = [text], len(text)
        if self._length > MAX_REPLY_BYTES:
            raise Broken(f"a reply is longer than {MAX_REPLY_BYTES} bytes")


class Stream:
    """A connection that the first call opens and that all concurrent calls share. Once it is
    broken, it stays broken. ``on_break`` is called once, with the reason. Use it in one event loop
    only.
    """

    def __init__(self, path: Path, on_break: Callable[[str], None]) -> None:
        self._path = path
        self._on_break = on_break
        self._awaited: dict[int, asyncio.Future[Reply]] = {}
        self._opening = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reason = ""
        self.calls = 0

    async def ask(self, call_id: int, request: bytes) -> Reply:
        """Send the request and return the reply with this id.

        :raises Broken: there will be no reply.
        """
        self.calls += 1
        try:
            writer = await self._open()
            reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self._awaited[call_id] = reply
            writer.write(request)
            return await reply
        finally:
            self.calls -= 1
            self._awaited.pop(call_id, None)

    def close(self, reason: str = "closed") -> None:
        """Close the connection. All awaited replies raise ``Broken``."""
        if self._reason:
            return
        self._reason = reason
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.transport.abort()
        for reply in self._awaited.values():
            if not reply.done():
                reply.set_exception(Broken(reason))
        self._on_break(reason)

    async def _open(self) -> asyncio.StreamWriter:
        async with self._opening:
            if self._writer is None and not self._reason:
                try:
                    reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                except OSError as error:
                    self.close(f"cannot connect: {error.strerror or error}")
                else:
                    self._reading = asyncio.create_task(self._read(reader))
            if self._reason or self._writer is None:
                raise Broken(self._reason)
            return self._writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        values = Values()
        try:
            while data := await reader.read(CHUNK_BYTES):
                for value in values.feed(data):
                    self._take(value)
            self.close("the target closed the connection")
        except (OSError, Broken) as error:
            self.close(str(error))

    def _take(self, value: Any) -> None:
        """Hand a reply to its caller.

        :raises Broken: the reply has no id, so it cannot be matched.
        """
        if not isinstance(value, dict) or not isinstance(value.get("id"), int):
            raise Broken("a reply without the id of a call")
        reply = self._awaited.get(value["id"])
        if reply is not None and not reply.done():
            reply.set_result(value)
