"""PostgreSQL has one plan for each compiled statement. It serves large and small tenants."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.services.hosts import NqnTaken
from provisioner.common import clock
from provisioner.common.pagination import Page
from tests.volumes.plans_steps import (
    LARGE,
    OF_PLACE,
    PLACES,
    VOLUMES,
    analyze,
    explained,
    fill,
    rows_read,
    tenant_of,
)
from volumes.models import NamespaceId
from volumes.read_models.targets import _targets, targets_read
from volumes.read_models.volumes import WHOLE, VolumesWanted, _statement
from volumes.reconcilers.garbage_collector import delete_namespace_ids
from volumes.services.host.report import _require_not_admitted_elsewhere
from volumes.services.publication import namespace_ids

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite plans each statement"),
]
NUMBER = 2 * PLACES + 8
"""A volume of a small tenant, which has no other."""
SMALL, PLACE = tenant_of(NUMBER), NUMBER % PLACES
HOST, NODE, VOLUME = f"h{PLACE}", f"b{PLACE}", f"v{NUMBER}"
MOST = 20 * OF_PLACE
"""A statement reads a few tables for each volume of a host or node. LARGE has far more volumes."""
LISTS = (Page(501), Page(100), Page(100, marker="v5"))
"""As lists read them: each first page has a limit."""
PLACES_OF_VOLUMES: list[dict[str, Any]] = [
    {"host_id": HOST},
    {"own_host_id": HOST},
    {"backend_id": NODE},
    {"backend_id": NODE, "own_host_id": HOST},
    {"host_id": HOST, "own_host_id": HOST},
    {"backend_id": NODE, "host_id": HOST, "own_host_id": HOST},
    {"own_host_id": HOST, "uuid": VOLUME},
    {"own_host_id": HOST, "alias": VOLUME},
]
TARGETS: list[dict[str, Any]] = [
    {"host_id": HOST},
    {"seen_by": HOST},
    {"host_id": HOST, "seen_by": HOST},
    {"volume_id": VOLUME},
    {"volume_id": VOLUME, "host_id": HOST},
    {"volume_id": VOLUME, "seen_by": HOST},
    {"volume_id": VOLUME, "seen_by": HOST, "host_id": HOST},
]


def volumes_there(tenant: str, wanted: dict[str, Any]) -> set[str]:
    there = {f"v{n}" for n in range(PLACE, VOLUMES, PLACES) if tenant_of(n) == tenant}
    return there & {VOLUME} if {"uuid", "alias"} & wanted.keys() else there


def test_one_plan_is_good_for_tenants_of_all_sizes() -> None:
    """Volumes and targets of a host or node are found by it, whatever their tenant."""
    fill()
    assert SMALL != LARGE
    for tenant in (LARGE, SMALL):
        for places in PLACES_OF_VOLUMES:
            given = {"tenant_id": tenant} | places
            shown = {volume.uuid for volume, _ in VolumesWanted(**given).read()}
            assert shown == volumes_there(tenant, places), given
            for page in (WHOLE,) if {"uuid", "alias"} & places.keys() else LISTS:
                _volumes_read_few_rows(given, page)
        for wanted in TARGETS:
            given = {"tenant_id": tenant} | wanted
            seen = {row.volume_uuid for row in targets_read(**given)}
            # the target of a host is listed if the tenant has the volume in it
            is_listed = "volume_id" not in wanted or tenant == SMALL
            assert seen == (volumes_there(tenant, {}) if is_listed else set()), given
            number, plan = rows_read(_targets(frozenset(given)), **given)
            assert number < MOST, f"{given}\n{plan}"


def _volumes_read_few_rows(given: dict[str, Any], page: Page) -> None:
    marker = {} if page.marker is None else {"marker": page.marker}
    arguments = given | marker
    number, plan = rows_read(_statement(frozenset(arguments), page.limit), **arguments)
    assert number < MOST, f"{arguments} {page}\n{plan}"


def test_the_collector_reads_each_id_in_use_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so in small batches. If it compared all ids with all exports, each run would."""
    fill()
    monkeypatch.setattr(namespace_ids, "BATCH", 20)
    NamespaceId.objects.update(last_used_at=clock.now() - dt.timedelta(days=2))
    analyze()
    seen = NamespaceId.objects.filter(last_used_at__gt=clock.now() - dt.timedelta(hours=1))
    with CaptureQueriesContext(connection) as busy:
        delete_namespace_ids()
    assert seen.count() == 20
    assert _rows_read_by(busy) < 10 * 20
    monkeypatch.setattr(namespace_ids, "BATCH", VOLUMES)
    delete_namespace_ids()
    assert NamespaceId.objects.count() == seen.count() == VOLUMES
    analyze()
    with CaptureQueriesContext(connection) as idle:
        delete_namespace_ids()
    assert len(idle) == 3, "BEGIN, a search for old ids, COMMIT"
    assert _rows_read_by(idle) == 0


def _rows_read_by(statements: CaptureQueriesContext) -> int:
    texts = [query["sql"] for query in statements]
    return sum(explained(sql)[0] for sql in texts if sql not in {"BEGIN", "COMMIT"})


def test_the_exports_that_admit_a_host_are_found_by_its_nqn() -> None:
    fill()
    with CaptureQueriesContext(connection) as statements:
        _require_not_admitted_elsewhere("another", "nqn:none", None)
    assert _rows_read_by(statements) == 0
    with pytest.raises(NqnTaken, match=VOLUME):
        _require_not_admitted_elsewhere("another", f"nqn:{PLACE}", None)
