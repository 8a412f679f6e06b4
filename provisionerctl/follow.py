"""Follows the event log by server-sent events. When a stream ends, the next stream continues it."""

import json
import time
from collections.abc import Iterator
from typing import Any

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from provisionerctl.client import Body, Client
from provisionerctl.errors import Exit, Failure, NoAnswer

OUTAGE_SECONDS = 300.0
"""The longest time for which the API may be unreachable."""
PAUSE_SECONDS = 1.0
LAST_EVENT = "Last-Event-ID"


def follow_events(client: Client, after: int, **query: Any) -> Iterator[Body]:
    """Yield the events after the number ``after``, without end. When a stream ends, another one
    continues after its last event.

    :raises Failure: the call was refused, or the API was unreachable for OUTAGE_SECONDS.
    """
    give_up = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            with client.stream("events", headers={LAST_EVENT: str(after)}, **query) as lines:
                give_up = time.monotonic() + OUTAGE_SECONDS
                for event in _events(lines):
                    after = event["number"]
                    yield event
        except HTTPError as error:
            lost: Failure = NoAnswer(f"The stream of events broke: {error}.")
        except Failure as error:
            if error.exit_code != Exit.UNAVAILABLE:
                raise
            lost = error
        else:
            continue
        if time.monotonic() > give_up:
            raise lost
        time.sleep(PAUSE_SECONDS)


def _events(response: BaseHTTPResponse) -> Iterator[Body]:
    """Yield the data of each message."""
    rest = b""
    for piece in response.stream(2**16):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))
