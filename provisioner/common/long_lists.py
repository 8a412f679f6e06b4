"""Lists of any length: read, written and sent piece by piece, and of one moment all the same."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPMethod
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Generic, TypeVar
from wsgiref.util import FileWrapper

from django.db.models import Model, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer

from provisioner.common.database import release_connection
from provisioner.common.moment import one_moment
from provisioner.common.pagination import Page

FEW_ROWS = 500
"""A list that is no longer is answered as a whole."""
PIECE_ROWS = 100
"""Other threads wait for a piece at most: a few milliseconds."""
GIVES_WAY = 2.0
"""How much longer than a piece took a list then rests, while others work."""
CLIENT_SECONDS = 2.0
"""How long a moment is drawn out for a client that reads slowly; the rest of its list then waits
for it in a temporary file."""
MEMORY_BYTES = 2**20
CHUNK_BYTES = 2**16

M = TypeVar("M", bound=Model)
Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Listing(Generic[M]):
    """What a list shows: ``rows`` by their column ``key``, each as one item of ``show``, which has
    the row's key as ``key_of`` finds it. ``rows`` is called anew in each moment.
    """

    rows: Callable[[], QuerySet[M]]
    show: Callable[[QuerySet[M]], Items]
    key_of: Callable[[dict[str, Any]], str]
    key: str = "uuid"

    def first(self, page: Page) -> tuple[Items, bool]:
        """FEW_ROWS at most, and whether the page has more than these."""
        items = next(self.pieces(page, FEW_ROWS), [])
        return items, len(items) == FEW_ROWS != page.limit

    def pieces(self, page: Page, size: int) -> Iterator[Items]:
        """The page in pieces of ``size``, the last with less; none is empty."""
        rows = self.rows()
        after, offset, left = page.marker, page.offset, page.limit
        while left is None or left > 0:
            wanted = size if left is None else min(size, left)
            items = self.show(Page(wanted, offset, after).cut(rows, self.key))
            if items:
                yield items
            if len(items) < wanted:
                return
            after, offset = self.key_of(items[-1]), 0
            left = None if left is None else left - wanted


class Sender:
    """Sends the pieces of a list as one JSON array. ``ends`` is called once they are all written,
    ``held`` is closed once they are sent, or will not be. ``gives_way``: whether others wait.
    """

    def __init__(
        self, held: ExitStack, ends: Callable[[], None], gives_way: Callable[[], bool]
    ) -> None:
        self._held, self._ends, self._gives_way = held, ends, gives_way

    def response(self, request: HttpRequest, pieces: Iterator[Items]) -> StreamingHttpResponse:
        """What fails until the first piece is there is raised; what fails later breaks the
        connection: the end of a chunked body is missing, and no client takes it for a whole one.

        A body of HTTP/1.0 ends with its connection, so it is not begun before it is whole.
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

    def _sent(self, pieces: Iterator[Items], patience: float) -> Iterator[bytes]:
        """First the bytes that wait in memory or a file, as a number; then the body."""
        with self._held, SpooledTemporaryFile(MEMORY_BYTES) as rest:
            yield from self._written(pieces, rest, patience)
            release_connection()
            if not patience:
                yield str(rest.tell()).encode()
            rest.seek(0)
            yield from FileWrapper(rest, CHUNK_BYTES)

    def _written(
        self, pieces: Iterator[Items], rest: IO[bytes], patience: float
    ) -> Iterator[bytes]:
        with ExitStack() as writing:
            writing.callback(self._ends)
            writing.enter_context(one_moment())
            text = self._text(pieces)
            begun = [next(text)]
            if patience:
                yield b"0"
            for piece in chain(begun, text):
                if patience <= 0:
                    rest.write(piece)
                    continue
                began = time.monotonic()
                yield piece
                patience -= time.monotonic() - began

    def _text(self, pieces: Iterator[Items]) -> Iterator[bytes]:
        """Between pieces it rests, so that others that work have most of the time."""
        renderer, before = JSONRenderer(), b"["
        began = time.monotonic()
        for items in pieces:
            yield before + renderer.render(items)[1:-1]
            before = b","
            if self._gives_way():
                time.sleep(GIVES_WAY * (time.monotonic() - began))
            began = time.monotonic()
        yield b"[]" if before == b"[" else b"]"
