"""Lists of any length. They are read, written and sent in chunks, and show the database at one
moment.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPMethod
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeVar
from wsgiref.util import FileWrapper

from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from provisioner.common.database import release_connection
from provisioner.common.moment import one_moment
from provisioner.common.pagination import Page
from provisioner.common.rendering import OrjsonRenderer

FEW_ROWS = 500
"""A list with at most this number of rows is answered as a whole."""
PIECE_ROWS = 100
"""Number of rows of a chunk. Other threads wait for one chunk at most: a few milliseconds."""
GIVES_WAY = 2.0
"""While other requests run, a list pauses after each chunk. The pause is this many times the
duration of the chunk.
"""
CLIENT_SECONDS = 2.0
"""How long the transaction waits for a client that reads slowly. Then the rest of the list is
written to a temporary file."""
MEMORY_BYTES = 2**20
CHUNK_BYTES = 2**16

R = TypeVar("R", bound=QuerySet[Any, Any])
T = TypeVar("T")
Items = list[dict[str, Any]]


def paused(
    pieces: Iterable[T], others_work: Callable[[], bool], times: float = GIVES_WAY
) -> Iterator[T]:
    """Yield the chunks. While other requests run, pause after each chunk: ``times`` as long as it
    took to make and use the chunk.
    """
    began = time.monotonic()
    for piece in pieces:
        yield piece
        if others_work():
            time.sleep(times * (time.monotonic() - began))
        began = time.monotonic()


@dataclass(frozen=True)
class Listing:
    """Describes a list. ``read`` reads the items of a page, once or more in each transaction.
    ``key_of`` reads from an item the key that the list is ordered by. ``is_one_statement``: whether
    one call of ``read`` is one statement, or calls ``require_one_moment`` before the second one.
    Then a short list needs no transaction.
    """

    read: Callable[[Page], Items]
    key_of: Callable[[dict[str, Any]], str]
    is_one_statement: bool = False

    @classmethod
    def of_rows(
        cls,
        rows: Callable[[], R],
        show: Callable[[R], Items],
        key_of: Callable[[dict[str, Any]], str],
        key: str = "uuid",
    ) -> "Listing":
        """A list of ``rows`` ordered by the column ``key``, each shown as one item of ``show``."""
        return cls(lambda page: show(page.cut(rows(), key)), key_of)

    def first(self, page: Page) -> tuple[Items, bool]:
        """Return at most FEW_ROWS items, and whether the page has more."""
        items = next(self.pieces(page, FEW_ROWS), [])
        return items, len(items) == FEW_ROWS != page.limit

    def pieces(self, page: Page, size: int) -> Iterator[Items]:
        """The page in chunks of ``size`` items. The last one may be shorter; none is empty."""
        after, offset, left = page.marker, page.offset, page.limit
        while left is None or left > 0:
            wanted = size if left is None else min(size, left)
            items = self.read(Page(wanted, offset, after))
            if items:
                yield items
            if len(items) < wanted:
                return
            after, offset = self.key_of(items[-1]), 0
            left = None if left is None else left - wanted


class Sender:
    """Sends the chunks of a list as one JSON array.

    ``ends`` is called when all chunks are written. ``held`` is closed when they are sent or the
    sending is aborted. ``gives_way`` tells whether other requests run now.
    """

    def __init__(
        self, held: ExitStack, ends: Callable[[], None], gives_way: Callable[[], bool]
    ) -> None:
        self._held, self._ends, self._gives_way = held, ends, gives_way

    def response(self, request: HttpRequest, pieces: Iterator[Items]) -> StreamingHttpResponse:
        """Return the response. A failure before the first chunk is raised. A later failure breaks
        the connection: the end of the chunked body is missing, so no client takes the body for
        complete.

        With HTTP/1.0, the end of the connection ends the body. So sending starts only when the body
        is complete.
        """
        can_break = request.method == HTTPMethod.GET and self._is_chunked(request)
        sent = self._sent(pieces, CLIENT_SECONDS if can_break else 0.0)
        size = next(sent)
        response = StreamingHttpResponse(sent, content_type="application/json")
        if not can_break:
            response["Content-Length"] = size.decode()
        return response

    @staticmethod
    def _is_chunked(request: HttpRequest) -> bool:
        return bool(request.META.get("SERVER_PROTOCOL") != "HTTP/1.0")

    def _sent(self, pieces: Iterator[Items], seconds: float) -> Iterator[bytes]:
        """Yield first the number of bytes that wait in memory or in a file, then the body."""
        with self._held, SpooledTemporaryFile(MEMORY_BYTES) as rest:
            yield from self._written(pieces, rest, seconds)
            release_connection()
            if not seconds:
                yield str(rest.tell()).encode()
            rest.seek(0)
            yield from FileWrapper(rest, CHUNK_BYTES)

    def _written(self, pieces: Iterator[Items], rest: IO[bytes], seconds: float) -> Iterator[bytes]:
        with ExitStack() as writing:
            writing.callback(self._ends)
            writing.enter_context(one_moment())
            text = self._text(pieces)
            begun = [next(text)]
            if seconds:
                yield b"0"
            for piece in chain(begun, text):
                if seconds <= 0:
                    rest.write(piece)
                    continue
                began = time.monotonic()
                yield piece
                seconds -= time.monotonic() - began

    def _text(self, pieces: Iterator[Items]) -> Iterator[bytes]:
        """Yield the JSON text in parts. Pauses between chunks, so that other requests get most of
        the time.
        """
        renderer, before = OrjsonRenderer(), b"["
        for items in paused(pieces, self._gives_way):
            yield before + renderer.render(items)[1:-1]
            before = b","
        yield b"[]" if before == b"[" else b"]"
