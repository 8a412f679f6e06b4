"""Records which test produces which result code of which operation, over real HTTP.

A run of all tests compares the record with ``docs/reference/api-coverage.md``.
``WRITE_API_COVERAGE=1``
writes that page instead.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from django.urls import Resolver404, resolve

from tests.api.documented import CANNOT_OCCUR, OPERATIONS

PAGE = Path(__file__).parents[2] / "docs/reference/api-coverage.md"
ANSWER = "answer"
HEAD = """# API coverage

This page lists every operation of the API reference and every result code documented for it, with a
test that produces it over real HTTP. The tests write this page (`WRITE_API_COVERAGE=1 make test`),
and each run of all tests checks it.

| operation | request | result | test |
| --- | --- | --- | --- |
"""

_seen: dict[tuple[str, str], set[str]] = defaultdict(set)


def record(method: str, path: str, http: int, body: Any) -> None:
    """Record an answer. The tests' client calls it for each one."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0].partition("[")[0]
    if not test.startswith("tests/api/"):
        return
    try:
        match: Any = resolve(path.rstrip("/") or "/").func
    except Resolver404:
        return
    action = getattr(match, "actions", {}).get(method.lower())
    if action is None:
        return
    line = f"{match.cls.resource}.{action}"
    if isinstance(body, dict) and "status" in body:
        _seen[line, body["status"]].add(test)
    elif http == 200:
        _seen[line, ANSWER].add(test)


def seen() -> list[tuple[str, str, list[str]]]:
    """Return the record of this process, for the process that started it."""
    return [(line, code, sorted(tests)) for (line, code), tests in _seen.items()]


def add(seen: list[tuple[str, str, list[str]]]) -> None:
    """Add the record of another process of the same run."""
    for line, code, tests in seen:
        _seen[line, code].update(tests)


def _rows() -> list[tuple[str, str, str, str, str]]:
    """Return for each row the title, request, operation, code, and the alphabetically first test,
    or the reason why there is none.
    """
    rows = []
    for operation in OPERATIONS:
        codes = operation.codes
        if "Success" not in codes:
            codes = (ANSWER, *codes)
        for code in codes:
            tests = sorted(_seen.get((operation.line, code), ()))
            reason = CANNOT_OCCUR.get((operation.line, code))
            proof = f"cannot occur: {reason}" if reason else (f"`{tests[0]}`" if tests else "")
            rows.append((operation.title, operation.request, operation.line, code, proof))
    return rows


def missing() -> list[str]:
    """Return documented results that no test produced, and results that tests produced although
    they count as impossible.
    """
    gaps = [f"{title}: {code}" for title, _, _, code, proof in _rows() if not proof]
    wrong = [f"{line}: {code} occurs" for line, code in CANNOT_OCCUR if _seen.get((line, code))]
    return gaps + wrong


def page() -> str:
    lines = [
        f"| {title} | `{request}` | {code} | {proof or '**missing**'} |"
        for title, request, _, code, proof in _rows()
    ]
    return HEAD + "\n".join(lines) + "\n"
