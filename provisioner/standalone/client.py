"""A client of the API as others are: HTTPS with a client certificate and credentials."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

SECONDS = 40.0


@dataclass(frozen=True)
class Answer:
    """``body``: the JSON, or the text where it is none."""

    http_status: int
    body: Any

    @property
    def code(self) -> str | None:
        """The result code of the envelope."""
        return self.body.get("status") if isinstance(self.body, dict) else None


class NoAnswer(Exception):
    """The API could not be reached, or did not answer in time."""


class Client:
    """``authorization`` is the whole header, as in ``Basic ...`` or ``Bearer ...``."""

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
        """:raises NoAnswer: no whole answer came."""
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
