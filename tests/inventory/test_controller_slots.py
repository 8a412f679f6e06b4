"""Each node has its own NVMe controller ids."""

import datetime as dt
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from inventory.models import Backend, License, ReleasedSlot
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.controller_slots import SLOTS, controller_ids, slot_release, slot_take
from tests.api.host_nqns_steps import pool_again
from tests.conftest import Api
from tests.inventory.backends_steps import store
from volumes.reconcilers.node_check.check import nodes_check

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_slots_give_nodes_disjoint_controller_ids() -> None:
    backends = [Backend(controller_slot=slot) for slot in range(1, SLOTS + 1)]
    ranges = [ids for backend in backends if (ids := controller_ids(backend))]
    assert SLOTS == 1023
    assert (ranges[0].first, ranges[0].last) == (64, 127)
    assert (ranges[-1].first, ranges[-1].last) == (65_472, 65_519)
    assert all(a.last < b.first for a, b in pairwise(ranges))


def test_a_node_that_returns_gets_its_slot_again(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    first, second = pool(2)
    assert slots() == {first: 1, second: 2}
    assert api.delete(f"/backends/{first}").status == "Success"
    pool_again(api, fleet.nodes[2])
    pool_again(api, fleet.nodes[0])
    assert slots() == {first: 1, second: 2, fleet.nodes[2].persistent_id: 3}
    assert not ReleasedSlot.objects.exists()


def slots() -> dict[str, int | None]:
    return dict(Backend.objects.values_list("persistent_id", "controller_slot"))


def test_released_slots_are_reused_only_when_no_unused_slot_is_left() -> None:
    gone = store("gone")
    slot_release(gone)
    gone.delete()
    store("last", controller_slot=SLOTS)
    now = timezone.now()
    ReleasedSlot.objects.bulk_create(
        ReleasedSlot(
            persistent_id=f"node-{slot}",
            controller_slot=slot,
            released_at=now - dt.timedelta(days=slot),
        )
        for slot in range(2, SLOTS)
    )
    for name, expected in (("new", SLOTS - 1), ("gone-2", SLOTS - 2), ("gone", 1)):
        assert slot_take(name) == expected
        store(name, controller_slot=expected)


def test_a_node_check_gives_a_slot_to_a_node_added_by_an_older_version(pool: Pool) -> None:
    first, second = pool(2)
    Backend.objects.filter(pk=first).update(controller_slot=None)
    nodes_check()
    assert slots() == {first: 1, second: 2}


def test_adding_a_node_is_refused_when_no_slot_is_left(api: Api, fleet: SimulatedFleet) -> None:
    one = store("b1")
    Backend.objects.bulk_create(
        Backend(**_facts(one) | {"persistent_id": f"node-{slot}", "controller_slot": slot})
        for slot in range(2, SLOTS + 1)
    )
    License.objects.update(max_backends=2 * SLOTS)
    node = fleet.nodes[0]
    answer = api.post("/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
    assert answer.status == "NotAvailable"
    assert "the pool has 1023 nodes, and no NVMe controller ids" in answer.description


def _facts(backend: Backend) -> dict[str, object]:
    return {field.name: getattr(backend, field.name) for field in Backend._meta.concrete_fields}


def test_the_migration_numbers_existing_nodes_by_age() -> None:
    now = timezone.now()
    for number, name in enumerate("cab"):
        store(name, created_at=now - dt.timedelta(days=number), controller_slot=10 + number)
    with connection.schema_editor() as editor:
        import_module("inventory.migrations.0006_controller_slots").number(apps, editor)
    assert slots() == {"b": 1, "a": 2, "c": 3}
