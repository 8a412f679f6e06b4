"""Cached answers: a process sends them again to identical requests, without calling Django.

A host that has no task sends the same bytes each second and gets the same answer, and it also
repeats its probe. The view that produced the answer can tell whether it would still be the same,
and declares this with :func:`cache_answer_while`. From then on :class:`KnownAnswers` finds the
answer by the bytes of the request. The view has already decided everything that depends on the
request alone: parameters, headers, bindings of the token and certificates. Only what changes with
time is checked again.
"""

import re
import threading
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from email.utils import formatdate
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from prometheus_client import Counter

from provisioner.common import clock

GIVEN = Counter(
    "provisioner_known_answers",
    "Polls of hosts without tasks, and repeated probes, that were answered from memory.",
)
MAX_ANSWERS = 24_576
"""If a process remembers this many requests, it forgets the older ones that no caller repeats."""
END = b"\r\n\r\n"
IDEMPOTENCY_KEY = re.compile(rb"\r\nidempotency-key: [0-9a-fA-F-]{36}(?=\r\n)")
"""The load balancer adds this key to each request. No view that declares an answer needs it."""
LENGTH = re.compile(rb"\r\ncontent-length:[ ]?([0-9]+)(?=\r\n)", re.IGNORECASE)
UNUSUAL = re.compile(rb"\r\n(transfer-encoding|expect|upgrade):", re.IGNORECASE)
ANSWER = re.compile(
    rb"(HTTP/1\.1 200 .*\r\nDate: )[^\r]+"
    rb"(\r\nConnection: (?:close|keep-alive)\r\n.*\r\nX-Request-ID: )([^\r]+)(\r\n.*)",
    re.DOTALL,
)
IsValid = Callable[[], bool]

_declared: ContextVar[IsValid | None] = ContextVar("known_answer", default=None)


def cache_answer_while(is_valid: IsValid) -> None:
    """Declare that the answer to the current request may be cached while ``is_valid()`` is true.

    It is sent for each request of the same bytes from the same address, with a new date and request
    id. ``is_valid`` must not wait for anything, because it runs in the thread that accepts
    connections. If it returns True, the answer is sent, so it may also note the request. The answer
    must be in one part, not streamed.
    """
    _declared.set(is_valid)


class _Known(NamedTuple):
    is_valid: IsValid
    parts: tuple[bytes, bytes, bytes]


class KnownAnswers:
    """The cached answers of a process, by a digest of the request and the address that sent it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for moments only
        self._known: dict[bytes, _Known] = {}
        self._former: dict[bytes, _Known] = {}
        self._parts: dict[tuple[bytes, bytes, bytes], tuple[bytes, bytes, bytes]] = {}

    def find(self, address: str, request: bytes) -> bytes | None:
        """Return the complete answer to a request of these bytes. None: the application must
        answer.
        """
        digest = _digest(address, request)
        known = self._known.get(digest)
        if known is None and (known := self._former.pop(digest, None)):
            self._keep(digest, known)
        if known is None or not known.is_valid():
            return None
        GIVEN.inc()
        before, between, after = known.parts
        date, request_id = _http_date(int(clock.epoch_seconds())), uuid.uuid4().hex.encode()
        return b"".join((before, date, between, request_id, after))

    def begin(self) -> None:
        """Note that the application begins to handle a request in this thread."""
        _declared.set(None)

    def learn(self, address: str, request: bytes, answer: bytes) -> None:
        """Cache the answer to the request of this thread, if the application declared that it may
        be cached.

        An answer is not cached if the request has an id of its own or has not arrived at once.
        """
        is_valid = _declared.get()
        if is_valid is None or not _is_whole(request):
            return
        found = ANSWER.fullmatch(answer)
        if found is None:
            return
        before, between, request_id, after = found.groups()
        if request_id in request:
            return
        parts = (before, between, after)  # one copy for all hosts
        known = _Known(is_valid, self._parts.setdefault(parts, parts))
        self._keep(_digest(address, request), known)

    def _keep(self, digest: bytes, known: _Known) -> None:
        """Keep the answer. If there are too many, only those stay that are found again before there
        are as many new ones.
        """
        with self._lock:  # two threads at once would discard both sets
            if len(self._known) >= MAX_ANSWERS:
                self._former, self._known = self._known, {}
                self._parts = {}
            self._known[digest] = known


@lru_cache(maxsize=1)
def _http_date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def _is_whole(request: bytes) -> bool:
    """Whether the bytes are exactly one request."""
    head, end, body = request.partition(END)
    head += b"\r\n"
    lengths = [int(length) for length in LENGTH.findall(head)] or [0]
    return bool(end) and lengths == [len(body)] and not UNUSUAL.search(head)


def _digest(address: str, request: bytes) -> bytes:
    keyless = IDEMPOTENCY_KEY.sub(b"", request, 1)
    return blake2b(keyless + address.encode(), digest_size=32).digest()
