"""The collector: a bad row or a slow node hinders no other row."""

import time
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.volume_steps import created, volume
from tests.conftest import Api
from tests.services.test_unfinished import collect_overdue, node_of
from volumes.models import Replica, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
GROWN = 20


@pytest.fixture(autouse=True)
def quick(settings: Settings, fleet: SimulatedFleet) -> None:
    """Node calls together are given up after a second and a half."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 1.5})


def unfinished(api: Api, fleet: SimulatedFleet, number: int) -> list[str]:
    """Volumes whose growth no node answered."""
    uuids = [created(api, f"v{n}") for n in range(number)]
    for node in fleet.nodes:
        node.faults.fail(path="/v1/volumes", times=0)
    for uuid in uuids:
        assert api.patch(f"/volumes/{uuid}", {"newCapacity": GROWN}).status == "NotAvailable"
    for node in fleet.nodes:
        node.faults.clear()
    return uuids


def grown(api: Api, uuids: list[str]) -> list[bool]:
    return [volume(api, uuid)["capacity"] == GROWN for uuid in uuids]


def test_a_bad_row_hinders_no_other(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    uuids = unfinished(api, fleet, 3)
    Replica.objects.filter(volume__uuid=uuids[0]).update(source={"kind": "nonsense"})
    collect_overdue()
    assert grown(api, uuids) == [False, True, True]
    assert Volume.objects.get(uuid=uuids[0]).growing_to_bytes is not None, "tried again"


def test_a_bad_replica_that_is_to_be_removed(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    """Its node's token cannot be read: no key of DATA_KEYS fits."""
    first, second = pool(2)
    by_node: dict[str, list[str]] = {first: [], second: []}
    for number in range(6):
        uuid = created(api, f"v{number}")
        by_node[node_of(api, uuid)].append(uuid)
    assert all(by_node.values())
    for node in fleet.nodes:
        node.faults.fail(path="/v1/volumes", times=0)
    for uuid in [*by_node[first], *by_node[second]]:
        assert api.delete(f"/volumes/{uuid}").status == "Success"
    for node in fleet.nodes:
        node.faults.clear()
    Backend.objects.filter(pk=first).update(encrypted_token="nonsense")
    collect_overdue()
    left = set(Volume.objects.values_list("uuid", flat=True))
    assert left == set(by_node[first])


def test_many_slow_rows_take_as_long_as_one(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    uuids = unfinished(api, fleet, 6)
    fleet.nodes[0].faults.slow(5_000, method="PATCH", path="/v1/volumes", times=0)

    def seconds(rows: int) -> float:
        rest = Volume.objects.exclude(uuid__in=uuids[:rows])
        rest.update(deadline_at=None, growing_to_bytes=None)
        began = time.monotonic()
        collect_overdue()
        return time.monotonic() - began

    many = seconds(6)
    one = seconds(1)
    assert many < 3 * one
