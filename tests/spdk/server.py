"""JSON-RPC over a Unix socket, with the behaviour of SPDK's server."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.spdk.rpc import Method, Object, Refused

CONNECTIONS = 64
MAX_REQUEST_BYTES = 2**18
INVALID_REQUEST = Refused(-32600, "Invalid Request")
TOO_EARLY = Refused(
    -1, "Method may only be called after framework is initialized using framework_start_init RPC."
)
AT_THE_START = {"framework_wait_init", "rpc_get_methods", "spdk_get_version"}
MEMBERS = {"jsonrpc", "id", "method", "params"}


class Malformed(Exception):
    """The request is not JSON, whatever bytes follow."""


class Server:
    """``poll``: seconds between two checks of the sockets. A method that changes something is
    answered one check later than other methods. ``watch`` is called for each call after it was
    executed and before its reply is sent. ``replied_bytes``: the size of all replies so far.
    """

    def __init__(
        self,
        methods: dict[str, Method],
        poll: float,
        is_up: asyncio.Event,
        watch: Callable[[str], None],
    ) -> None:
        self.is_up = is_up
        self._methods = methods
        self._poll = poll
        self._watch = watch
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.delays: dict[str, float] = {}
        self.refusals: dict[str, Refused] = {}
        self.replied_bytes = 0

    async def open(self, path: Path) -> None:
        """Listen. A socket file without a listener is replaced."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(path))

    def close(self) -> None:
        """Reset all connections, and abort running calls."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()  # accepted just before ``close``
            return
        self._writers.add(writer)
        try:
            async with self._places:
                await self._read(reader, writer)
        except (Malformed, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = ""
        while data := await reader.read(2**16):
            text += data.decode()
            if len(text) > MAX_REQUEST_BYTES:
                raise Malformed
            requests: list[Any] = []
            try:
                text = _take(text, requests)
            finally:
                for request in requests:
                    task = asyncio.create_task(self._answer(request, writer))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._poll)
        reply: Any
        if request and isinstance(request, list):
            replies = [await self._reply(one) for one in request]
            reply = [one for one in replies if one]
        else:
            reply = await self._reply(request)
        if reply:
            data = json.dumps(reply, separators=(",", ":")).encode() + b"\n"
            self.replied_bytes += len(data)
            writer.write(data)

    async def _reply(self, request: Any) -> dict[str, Any] | None:
        call_id = None
        try:
            call_id = _check(request)
            result = await self._call(request["method"], request.get("params"))
        except Refused as refused:
            return _error(call_id, refused)
        if call_id is None:
            return None
        return {"jsonrpc": "2.0", "id": call_id, "result": result}

    async def _call(self, name: str, params: Any) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise Refused(-32601, "Method not found")
        if isinstance(params, str | int | float):
            raise INVALID_REQUEST
        if not self.is_up.is_set() and name not in AT_THE_START:
            raise TOO_EARLY
        if name in self.refusals:
            raise self.refusals[name]
        result = await method.call(params)
        self._watch(name)
        if "_get_" not in name:
            await asyncio.sleep(self._poll)
        await asyncio.sleep(self.delays.get(name, 0))
        return result


def _check(request: Any) -> str | float | None:
    """Check the request; return its id.

    :raises Refused: it is not a valid request.
    """
    if not isinstance(request, Object) or set(request) - MEMBERS or request.has_duplicates:
        raise INVALID_REQUEST
    call_id: Any = request.get("id")
    is_id = call_id is None or (
        isinstance(call_id, str | int | float) and not isinstance(call_id, bool)
    )
    if not is_id or request.get("jsonrpc", "2.0") != "2.0":
        raise INVALID_REQUEST
    if not isinstance(request.get("method"), str):
        raise INVALID_REQUEST
    return call_id  # type: ignore[no-any-return]


def _error(call_id: str | float | None, refused: Refused) -> dict[str, Any]:
    error = {"code": refused.code, "message": refused.message}
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def _take(text: str, values: list[Any]) -> str:
    """Append the complete values; return the rest of the text.

    :raises Malformed: the rest is not the start of a value.
    """
    decoder = json.JSONDecoder(object_pairs_hook=Object)
    while text := text.lstrip():
        try:
            value, end = decoder.raw_decode(text)
        except json.JSONDecodeError as error:
            if _is_cut(text, error):
                break
            raise Malformed from error
        text = text[end:]
        values.append(value)
    return text


def _is_cut(text: str, error: json.JSONDecodeError) -> bool:
    rest = text[error.pos :].strip()
    is_word = any(word.startswith(rest) for word in ("true", "false", "null", "-"))
    return is_word or error.msg.startswith(("Unterminated", "Invalid \\escape"))
