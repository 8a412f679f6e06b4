"""Paths of the API."""

from urllib.parse import quote

from provisionerctl.errors import Exit, Failure

OF_TENANTS = frozenset(
    [
        "volumes",
        "volumes_by_alias",
        "volume_extended",
        "snapshots",
        "snapshots_by_alias",
        "snapshots_by_vol",
        "snapshot_volume",
        "snapshot_volumes",
        "clone_volume",
        "replica",
        "publish",
        "unpublish",
        "connect",
        "disconnect",
        "migrate_volume",
        "targets",
    ]
)
"""First segments of the paths that may begin with the id of a tenant."""
KEYED = frozenset(
    [
        "POST volumes",
        "PATCH volumes",
        "POST snapshots",
        "POST snapshot_volume",
        "POST snapshot_volumes",
        "POST clone_volume",
        "POST publish",
    ]
)
"""Operations with an Idempotency-Key. The API repeats its answer if the same key comes again."""


def at(*segments: str) -> str:
    """Return a path of the API.

    :raises Failure: a segment would lead to another path.
    """
    for segment in segments:
        if segment in {"", ".", ".."} or "/" in segment:
            raise Failure(f"{segment!r} is not a name of an object.", Exit.USAGE)
    return "".join(f"/{quote(segment, safe=':')}" for segment in segments)
