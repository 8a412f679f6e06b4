"""The first segments of the paths of this server."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.urls import URLPattern, get_resolver


@cache
def first_segments() -> frozenset[str]:
    """Return the first segments of all paths, in lower case. A tenant id must not be one of them,
    because ``/{tenantId}/volumes`` would then be ambiguous.
    """
    return frozenset(_segments(get_resolver().url_patterns)) | {settings.STATIC_URL.strip("/")}


def _segments(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        segment = route.partition("/")[0]
        if isinstance(pattern, URLPattern) or "/" in route:
            if segment and not segment.startswith("<"):
                yield segment.lower()
        else:
            yield from _segments(pattern.url_patterns, route)
