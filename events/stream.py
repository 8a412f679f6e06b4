"""Follows the event log: new events as server-sent events (HTML standard, section 9.2)."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from django.db import Error
from django.http import StreamingHttpResponse

from provisioner.access.health import is_serving
from provisioner.common.database import release_connection

EVENT_STREAM = "text/event-stream"
POLL_SECONDS = 1.0
"""Interval in which a follower reads new events."""
KEEP_ALIVE_SECONDS = 15.0
"""Longest time without a line. It is shorter than the timeouts of HAProxy and of clients."""
FOLLOW_SECONDS = 300.0
"""Duration of a stream. The client continues it with ``Last-Event-ID``."""
RETRY_MILLISECONDS = 1000

Items = list[dict[str, Any]]


def stream_events(
    read: Callable[[int], Items], after: int, is_admitted: Callable[[], bool], held: ExitStack
) -> StreamingHttpResponse:
    """Stream the events after the number ``after`` for FOLLOW_SECONDS. ``read`` returns the next
    events after a number. ``is_admitted`` is asked before each read; the stream ends when it
    returns False, for example because the token was revoked.

    ``held`` is closed when the stream ends, or when its client has disconnected.
    """
    stream = _stream(read, after, is_admitted, held)
    next(stream)
    response = StreamingHttpResponse(stream, content_type=EVENT_STREAM)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # otherwise nginx would buffer the events
    return response


def _stream(
    read: Callable[[int], Items], after: int, is_admitted: Callable[[], bool], held: ExitStack
) -> Iterator[bytes]:
    """Yield the parts of the stream. The first part is empty, so that ``held`` is closed even if
    the client disconnects at once.

    While the stream waits or writes, it holds no database connection.
    """
    until = time.monotonic() + FOLLOW_SECONDS
    with held:
        yield b""
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        spoke_at = time.monotonic()
        while time.monotonic() < until and is_serving():
            try:
                if not is_admitted():
                    return
                items = read(after)
            except Error:  # the database is unavailable: the client will reconnect
                return
            release_connection()
            if items:
                yield b"".join(map(_message, items))
                after, spoke_at = items[-1]["number"], time.monotonic()
                continue
            if time.monotonic() - spoke_at >= KEEP_ALIVE_SECONDS:
                yield b": nothing new\n\n"
                spoke_at = time.monotonic()
            time.sleep(POLL_SECONDS)


def _message(item: dict[str, Any]) -> bytes:
    data = json.dumps(item, separators=(",", ":"))
    return f"id: {item['number']}\nevent: {item['kind']}\ndata: {data}\n\n".encode()
