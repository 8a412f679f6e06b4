"""Sends requests as a hostile client might."""

import base64
import json
from typing import Any

import urllib3

from tests.conftest import Answer

ADMIN = ("admin", "correct horse battery")
ENVELOPE = {"status", "description"}

_http = urllib3.PoolManager(retries=False)


def basic(name: str, password: str, encoding: str = "utf-8") -> dict[str, str]:
    credentials = base64.b64encode(f"{name}:{password}".encode(encoding)).decode()
    return {"Authorization": f"Basic {credentials}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def send(
    url: str,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a request with only these headers; a body is JSON unless they say otherwise."""
    typed = {"Content-Type": "application/json"} if body is not None else {}
    answer = _http.request(
        method, url + path, body=body, headers=typed | (headers or {}), redirect=False
    )
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    parsed: Any = json.loads(answer.data) if is_json and answer.data else answer.data.decode()
    return Answer(answer.status, parsed, dict(answer.headers))


def refused(answer: Answer, http: int, status: str) -> str:
    """Assert that the answer is this transport error in an envelope; returns its description."""
    assert (answer.http, answer.body.get("status")) == (http, status), answer
    assert set(answer.body) == ENVELOPE
    assert f"HTTP Status {http}" in answer.description
    return answer.description
