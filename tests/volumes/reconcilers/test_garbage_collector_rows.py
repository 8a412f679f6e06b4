"""A bad row or a slow node does not prevent the collector from processing other rows."""

import time
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.volume_steps import GIB, created
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.models import Replica, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
GROWN = 20


@pytest.fixture(autouse=True)
def quick(settings: Settings, fleet: SimulatedFleet) -> None:
    """Limit the time of all node calls together to a second and a half."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 1.5})


def unfinished(api: Api, fleet: SimulatedFleet, number: int) -> list[str]:
    """Volumes whose expansion no node answered."""
    uuids = [created(api, f"v{n}") for n in range(number)]
    for node in fleet.nodes:
        node.faults.fail(path="/v1/volumes", times=0)
    for uuid in uuids:
        assert api.patch(f"/volumes/{uuid}", {"newCapacity": GROWN}).status == "NotAvailable"
    for node in fleet.nodes:
        node.faults.clear()
    return uuids


def expanded(uuids: list[str]) -> list[bool]:
    return [Volume.objects.get(uuid=uuid).capacity_bytes == GROWN * GIB for uuid in uuids]


def test_a_bad_row_does_not_stop_the_others(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    uuids = unfinished(api, fleet, 3)
    Replica.objects.filter(volume__uuid=uuids[0]).update(source={"kind": "nonsense"})
    collect_overdue()
    assert expanded(uuids) == [False, True, True]
    assert Volume.objects.get(uuid=uuids[0]).expanding_to_bytes is not None, "tried again"


def test_many_slow_rows_take_as_long_as_one(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    uuids = unfinished(api, fleet, 6)
    fleet.nodes[0].faults.slow(5_000, method="PATCH", path="/v1/volumes", times=0)

    def seconds(rows: int) -> float:
        rest = Volume.objects.exclude(uuid__in=uuids[:rows])
        rest.update(deadline_at=None, expanding_to_bytes=None)
        began = time.monotonic()
        collect_overdue()
        return time.monotonic() - began

    many = seconds(6)
    one = seconds(1)
    assert many < 3 * one
