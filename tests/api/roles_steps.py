"""Shared steps of the tests of roles."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from provisioner.access.views import ApiViewSet

OUTSIDE = re.compile(r"^$|^admin($|/)")


"""No operations: the administration pages, and the root, which leads to a page."""


ANY = "x"


def routes(patterns=None, prefix="") -> Iterator[tuple[str, URLPattern]]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif not OUTSIDE.match(path):
            yield path, pattern


def operations() -> Iterator[tuple[str, str, type[ApiViewSet], str]]:
    """Yield the method, path, view class and action of every operation of the API."""
    for path, pattern in routes():
        view: Any = pattern.callback
        for method, action in view.actions.items():
            if method != "head":
                yield method.upper(), path, view.cls, action


def guarded() -> list[tuple[str, str, str]]:
    """Yield the method, path and permission entry of every operation that needs a role."""
    return [
        (method, re.sub(r"<[^>]*>", ANY, path), f"{view.resource}.{action}")
        for method, path, view, action in operations()
        if not view.open_to_all
    ]


def routes_without(rows: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the lines of the rows to which no request (method and path) of the line belongs."""
    return [
        f"{line}: {method} {path}"
        for method, path, view, action in operations()
        if (line := f"{view.resource}.{action}") in rows
        and not any(_goes_to(request, method, path) for request in rows[line])
    ]


def _goes_to(request: str, method: str, path: str) -> bool:
    asked, _, url = request.partition(" ")
    wanted = re.sub(r"<[^>]*>", "[^/]+", path)
    return asked == method and bool(re.fullmatch(wanted, url.partition("?")[0].strip("/")))
