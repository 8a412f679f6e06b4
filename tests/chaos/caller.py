"""Calls the API through the load balancer, and interprets the answers."""

import itertools
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import urllib3

from tests.chaos.oracle import ExpectedObject
from tests.chaos.system import System

SECONDS = 40.0
LOG_SECONDS = 5.0
"""A call is in the log of HAProxy after so long, at most."""


@dataclass(frozen=True)
class CallResult:
    """The result of a call. ``code``: the result code, or "" if it is unknown whether the call had
    an effect. ``why``: what happened instead of an answer. ``call``: the query that identifies the
    call in the log of HAProxy.
    """

    code: str
    body: Any
    why: str = ""
    call: str = ""

    @property
    def done(self) -> bool:
        return self.code == "Success"

    @property
    def unknown(self) -> bool:
        return not self.code


class Caller:
    """Makes calls, and counts them by operation. Several threads may use it."""

    def __init__(self, system: System) -> None:
        self._url = system.stack.url
        self._tokens = itertools.cycle(system.tokens)
        self._http = system.stack.pool()
        self._lock = threading.Lock()
        self._log = system.stack.haproxy.log
        self._numbers = itertools.count(1)
        self.counts: dict[str, Counter[str]] = {}
        self.errors: list[str] = []

    def call(self, operation: str, method: str, path: str, body: Any = None) -> CallResult:
        """Make a call that changes something."""
        call = f"?call={next(self._numbers)}"
        said = replace(self._send(method, path + call, body), call=call)
        with self._lock:
            self.counts.setdefault(operation, Counter())[said.code or "unknown"] += 1
            if said.why.startswith("HTTP 500"):
                self.errors.append(f"{method} {path} {body}: {said.why}")
        return said

    def ask(
        self, operation: str, thing: ExpectedObject, method: str, path: str, body: Any = None
    ) -> CallResult:
        """Make a call that changes an object, and add it to the history of the object."""
        thing.note(f"{method} {path} {body or ''}")
        said = self.call(operation, method, path, body)
        thing.note(f"  {said.code or 'unknown'} {said.why or said.body}")
        return said

    def was_repeated(self, said: CallResult) -> bool:
        """Whether HAProxy sent the call again after a process died. Then an earlier attempt may
        have had the effect.
        """
        line = re.compile(rf"/\+?([0-9]+) [0-9]+/[0-9]+ .*{re.escape(said.call)} HTTP")
        end = time.monotonic() + LOG_SECONDS
        while (found := line.search(self._log.read_text(errors="replace"))) is None:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return found[1] != "0"

    def read(self, path: str, *, seconds: float = 0) -> Any:
        """Return the body of a GET. A failed call is repeated for ``seconds``. None: it still
        fails.
        """
        end = time.monotonic() + seconds
        while True:
            said = self._send("GET", path, None)
            if said.done:
                return said.body
            if time.monotonic() >= end:
                return None
            time.sleep(0.3)

    def _send(self, method: str, path: str, body: Any) -> CallResult:
        try:
            answer = self._http.request(
                method,
                f"{self._url}{path}",
                json=body,
                headers={"Authorization": f"Bearer {next(self._tokens)}"},
                timeout=urllib3.Timeout(total=SECONDS),
            )
            content = answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            return CallResult("", None, f"{type(error).__name__}: {error}")
        if answer.status >= 500:
            return CallResult("", content, f"HTTP {answer.status}: {content}")
        if isinstance(content, dict) and "status" in content:
            return CallResult(str(content["status"]), content)
        return CallResult("Success", content)
