"""Sends, shows and checks the requests of the scenario."""

import json
import time
from collections.abc import Callable
from typing import Any

from provisioner.standalone.client import Answer, Client
from provisioner.standalone.console import paint, say, shorten

SHOWN = 320
REPEATS = 3
REPEAT_SECONDS = 2.0


class StepFailed(Exception):
    """A step had the wrong result. The text describes it."""


class ScenarioRunner:
    """Sends requests to the API and shows each with its answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._title = ""
        self._number = 0

    def step(self, title: str) -> None:
        self._number += 1
        self._title = f"{self._number}. {title}"
        say()
        say(self._title, "bold")

    def send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        codes: tuple[str, ...] = ("Success",),
    ) -> dict[str, Any]:
        """Send a request that answers with the envelope; returns the body.

        A busy machine lets calls to nodes time out, and the API answers NotAvailable after it has
        changed nothing. Then the request is repeated, as clients do.

        :raises StepFailed: the result code is none of ``codes``.
        """
        answer = self._exchange(method, path, body)
        for _ in range(REPEATS):
            if answer.code != "NotAvailable" or answer.code in codes:
                break
            self.note(f"nothing was changed; the same request again in {REPEAT_SECONDS:.0f} s")
            time.sleep(REPEAT_SECONDS)
            answer = self._exchange(method, path, body)
        self.check(answer.code in codes, f"{method} {path} should answer {' or '.join(codes)}")
        return dict(answer.body)

    def get(self, path: str) -> list[Any]:
        """Send a GET that must answer a list.

        :raises StepFailed: the answer is not a list.
        """
        answer = self._exchange("GET", path)
        listed = answer.http_status == 200 and isinstance(answer.body, list)
        self.check(listed, f"GET {path} should answer a list")
        return list(answer.body)

    def text(self, path: str) -> str:
        """Send a GET that must answer text.

        :raises StepFailed: the answer is not text.
        """
        answer = self._exchange("GET", path)
        self.check(isinstance(answer.body, str), f"GET {path} should answer text")
        return str(answer.body)

    def read(self, path: str) -> Answer:
        """Send a GET without showing it."""
        return self._client.call("GET", path)

    def wait(self, seconds: float, what: str, arrived: Callable[[], bool]) -> None:
        """Wait until ``arrived`` is true.

        :raises StepFailed: it was not true within ``seconds``.
        """
        self.note(f"waiting until {what}")
        give_up = time.monotonic() + seconds
        while not arrived():
            self.check(time.monotonic() < give_up, f"not within {seconds:.0f} s: {what}")
            time.sleep(0.2)

    def watch(
        self, seconds: float, what: str, read: Callable[[], str], last: Callable[[str], bool]
    ) -> str:
        """Show the result of ``read`` whenever it changes, until ``last`` accepts it. Returns this
        result.

        :raises StepFailed: ``last`` accepted nothing within ``seconds``.
        """
        shown = ""

        def arrived() -> bool:
            nonlocal shown
            now = read()
            if now != shown:
                self.note(now)
            shown = now
            return last(now)

        self.wait(seconds, what, arrived)
        return shown

    def check(self, fulfilled: bool, rule: str) -> None:
        """:raises StepFailed: the rule does not hold."""
        if not fulfilled:
            raise StepFailed(f"step {self._title}: {rule}")

    def note(self, text: str) -> None:
        say(f"   {text}", "cyan")

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        asked = f" {json.dumps(body)}" if body is not None else ""
        say(f"   {paint('->', 'dim')} {method} {path}{paint(asked, 'dim')}")
        answer = self._client.call(method, path, body)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        good = answer.http_status == 200 and answer.code in (None, "Success")
        status = paint(str(answer.http_status), "green" if good else "yellow")
        shown = shorten(" ".join(text.split()), SHOWN)
        say(f"   {paint('<-', 'dim')} {status} {paint(shown, 'dim')}")
        return answer
