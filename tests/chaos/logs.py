"""Errors that processes logged with a stack trace. A fault of a test must not look like a bug."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

EXPECTED = re.compile(r"\b(OperationalError|redis\.exceptions\.\w+|kombu\.exceptions\.\w+)\b")
"""What a call to PostgreSQL or Redis raises while that server is down."""
SHOWN = 5


def unexpected_errors(logs: Iterable[Path]) -> list[str]:
    """Return the first few errors with a stack trace that no outage of a server explains."""
    found = [text for log in logs for text in _errors(log)]
    return found[:SHOWN]


def _errors(log: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        trace = record.get("exc_info") or "" if isinstance(record, dict) else ""
        if trace and not EXPECTED.search(trace):
            yield f"{log.stem} logged: {record['message']}: {trace[-1500:]}"
