"""A client of the API: HTTPS with a client certificate and credentials, like any other client."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

SECONDS = 40.0


@dataclass(frozen=True)
class Answer:
    """``body``: the JSON value, or the text if the body is not JSON."""

    http_status: int
    body: Any

    @property
    def code(self) -> str | None:
        """The result code of the envelope."""
        return self.body.get("status") if isinstance(self.body, dict) else None


class NoAnswer(Exception):
    """The API could not be reached, or did not answer in time."""


class Client:
    """A client with credentials. ``authorization``: the value of the header, as ``Basic ...`` or
    ``Bearer ...``.
    """

    def __init__(
        self,
        url: str,
        *,
        ca: Path,
        certificate: Path,
        authorization: str = "",
        seconds: float = SECONDS,
    ) -> None:
        self.url = url
        self._headers = {"Authorization": authorization} if authorization else {}
        self._pool = urllib3.PoolManager(
            ca_certs=str(ca), cert_file=str(certificate), timeout=seconds, retries=False
        )

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Send a request.

        :raises NoAnswer: no complete answer arrived.
        """
        try:
            answer = self._pool.request(
                method, f"{self.url}{path}", json=body, headers=dict(self._headers)
            )
        except HTTPError as error:
            raise NoAnswer(f"{method} {self.url}{path}: {error}") from error
        text = answer.data.decode(errors="replace")
        try:
            return Answer(answer.status, json.loads(text))
        except ValueError:
            return Answer(answer.status, text)
