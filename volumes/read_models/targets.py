"""Targets as clients see them: plain rows of one statement."""

from functools import cache
from typing import Any, NamedTuple

from django.db.models import QuerySet

from provisioner.common.compiled import Compiled, text
from volumes.models import Publication
from volumes.selectors import publications_of_targets


class TargetRow(NamedTuple):
    """An export of a publication; without exports, the last three are None."""

    publication_id: int
    host_id: str
    host_name: str
    probed_by_driver: bool
    volume_uuid: str
    export_state: str | None
    nsid: int | None
    backend_id: str | None


def target_rows(publications: QuerySet[Publication]) -> list[TargetRow]:
    """Return the rows of the publications, in their order, then that of their exports."""
    return [TargetRow._make(row) for row in _exports_of(publications)]


def targets_read(**wanted: str | None) -> list[TargetRow]:
    """Return the rows of ``publications_of_targets(**wanted)``."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return [TargetRow._make(row) for row in _targets(frozenset(given)).rows(**given)]


@cache
def _targets(given: frozenset[str]) -> Compiled:
    arguments = {name: text(name) for name in given}
    return Compiled(lambda: _exports_of(publications_of_targets(**arguments)))


def _exports_of(publications: QuerySet[Publication]) -> QuerySet[Publication, tuple[Any, ...]]:
    return publications.order_by("id", "exports__id").values_list(
        "id",
        "host_id",
        "host__name",
        "host__probed_by_driver",
        "volume__uuid",
        "exports__state",
        "exports__nsid",
        "exports__replica__backend_id",
    )
