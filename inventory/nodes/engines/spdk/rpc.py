"""JSON-RPC 2.0 calls to an SPDK target on this machine, over its Unix socket."""

import asyncio
import itertools
import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from inventory.nodes.engines.spdk.rpc_stream import Broken, Reply, Stream

CONNECTIONS = 8  # the target accepts 64, from all its clients together
CALL_SECONDS = 10.0
READY_SECONDS = 60.0
RETRY_SECONDS = 0.05
MAX_REQUEST_BYTES = 2**18

NOT_SENT = 0

log = logging.getLogger(__name__)


class RpcRefused(Exception):
    """The target answered with an error. Read the state back, because a method may fail halfway.

    ``code``: NOT_SENT if the request was not sent.
    """

    def __init__(self, code: int, message: str, method: str) -> None:
        super().__init__(f"{method}: {code} {message}")
        self.code = code
        self.message = message
        self.method = method


class NotAsAsked(Exception):
    """The target reported success but the result differs, or something that must exist is
    missing.
    """


class RpcLost(Exception):
    """There was no answer. The call may have been done, or may still be running. Read the state
    back.
    """

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"{method}: {reason}")
        self.method = method
        self.reason = reason


class SpdkRpc:
    """Calls to one target process, from ``ready`` until the process is lost. Use it in one event
    loop only.

    The process counts as lost as soon as one connection breaks. Then all calls fail until ``ready``
    finds this process or its successor, so that no operation continues across two processes.
    Parameters are never logged, because some are secrets.
    """

    def __init__(
        self,
        socket: str | Path,
        *,
        connections: int = CONNECTIONS,
        timeout: float = CALL_SECONDS,
    ) -> None:
        self._path = Path(socket)
        self._connections = connections
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._streams: list[Stream] = []
        self._methods: frozenset[str] = frozenset()
        self._lost = asyncio.Event()
        self._lost.set()

    async def ready(self, *, within: float = READY_SECONDS) -> None:
        """Wait until the target is running and initialised. Information about an earlier process is
        forgotten.

        :raises RpcLost: the target is not ready after ``within`` seconds.
        """
        try:
            async with asyncio.timeout(within):
                while not await self._begin():
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            self.close()
            raise RpcLost(
                "framework_wait_init", f"{self._path}: not ready within {within:g} s"
            ) from None

    async def lost(self) -> None:
        """Return when the process has ended."""
        await self._lost.wait()

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    async def call(self, method: str, /, *, timeout: float | None = None, **params: Any) -> Any:
        """Call the method and return its result. Parameters that are None are omitted, because SPDK
        refuses null.

        ``timeout``: in seconds. After a timeout, the call continues in the target, and its result
        is lost.

        :raises RpcRefused: the target answered with an error, or the request is too large.
        :raises RpcLost: there was no answer.
        """
        seconds = self._timeout if timeout is None else timeout
        call_id = next(self._ids)
        request = _request(call_id, method, params)
        if self.is_lost:
            raise RpcLost(method, "the target has ended")
        try:
            async with asyncio.timeout(seconds):
                reply = await self._stream().ask(call_id, request)
        except TimeoutError:
            raise RpcLost(method, f"no answer within {seconds:g} s") from None
        except Broken as error:
            raise RpcLost(method, str(error)) from error
        return _result(method, reply)

    async def methods(self) -> frozenset[str]:
        """Return the methods that this target process has. They are read once.

        :raises RpcRefused, RpcLost: the target did not return them.
        """
        if not self._methods:
            self._methods = frozenset(await self.call("rpc_get_methods"))
        return self._methods

    async def demand(self, methods: Collection[str]) -> None:
        """Check that the target has these methods.

        :raises RpcRefused: the target lacks some of them, which the message names.
        :raises RpcLost: there was no answer.
        """
        missing = sorted(set(methods) - await self.methods())
        if missing:
            raise RpcRefused(NOT_SENT, f"this SPDK lacks {', '.join(missing)}", "rpc_get_methods")

    def close(self) -> None:
        """Fail all running calls. ``ready`` starts again."""
        self._break("closed")

    async def _begin(self) -> bool:
        self.close()
        self._streams = [Stream(self._path, self._break) for _ in range(self._connections)]
        self._methods = frozenset()
        self._lost.clear()
        try:
            await self.call("framework_wait_init", timeout=READY_SECONDS)
        except (RpcRefused, RpcLost) as error:
            log.debug("the SPDK target is not ready: %s", error)
            self.close()
        return not self.is_lost

    def _stream(self) -> Stream:
        return min(self._streams, key=lambda stream: stream.calls)

    def _break(self, reason: str) -> None:
        if not self.is_lost:
            self._lost.set()
            for stream in self._streams:
                stream.close(reason)


def _request(call_id: int, method: str, params: dict[str, Any]) -> bytes:
    sent = {name: value for name, value in params.items() if value is not None}
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": call_id, "method": method}
    if sent:
        body["params"] = sent
    request = json.dumps(body, separators=(",", ":")).encode()
    if len(request) >= MAX_REQUEST_BYTES:
        text = f"the request has {len(request)} bytes, the limit is {MAX_REQUEST_BYTES}"
        raise RpcRefused(NOT_SENT, text, method)
    return request


def _result(method: str, reply: Reply) -> Any:
    error = reply.get("error")
    if error is None:
        return reply.get("result")
    if not isinstance(error, dict):
        raise RpcLost(method, "an answer that is neither result nor error")
    raise RpcRefused(int(error.get("code", NOT_SENT)), str(error.get("message", "")), method)
