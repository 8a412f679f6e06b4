"""A bad row or a slow node does not prevent the collector from processing other rows."""

import datetime as dt
import time
from collections.abc import Callable

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django.fixtures import Settings

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Export, Replica, Snapshot, Volume
from volumes.reconcilers.garbage_collector import collect
from volumes.services import deadlines

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
GROWN = 20


@pytest.fixture(autouse=True)
def quick(settings: Settings, fleet: SimulatedFleet) -> None:
    """Limit the time of all node calls together to a second and a half."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 1.5})


def unfinished(api: Api, fleet: SimulatedFleet, number: int, prefix: str = "v") -> list[str]:
    """Volumes whose expansion no node answered."""
    uuids = [created(api, f"{prefix}{n}") for n in range(number)]
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


def stay_up(*nodes: str) -> None:
    """Let only these nodes be Available."""
    now = timezone.now()
    Backend.objects.update(available_until=now - dt.timedelta(seconds=1))
    Backend.objects.filter(pk__in=nodes).update(available_until=now + dt.timedelta(minutes=1))


def test_expansions_on_a_dead_node_do_not_delay_those_of_others(
    api: Api, pool: Pool, fleet: SimulatedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead node has as many as one run takes, and they have waited longer."""
    monkeypatch.setattr(deadlines, "BATCH", 2)
    dead, well = pool(2)
    stay_up(dead)
    waiting = unfinished(api, fleet, 2)
    stay_up(well)
    [other] = unfinished(api, fleet, 1, prefix="other")
    for uuid in (*waiting, other):
        Volume.objects.filter(uuid=uuid).update(deadline_at=timezone.now())
    collect()
    assert expanded([*waiting, other]) == [False, False, True]
    stay_up(dead, well)
    collect()
    assert expanded(waiting) == [True, True]


def make_deletable(api: Api, name: str) -> None:
    uuid = created(api, name, uuid=name)
    snapped(api, uuid, name, snapshotID=f"s-{name}")
    published(api, created(api, f"p-{name}", uuid=f"p-{name}"))


def delete(api: Api, name: str) -> None:
    """Delete what ``make_deletable`` made. Its node confirms nothing."""
    api.delete(f"/snapshots/s-{name}")
    api.post("/unpublish", {"volId": f"p-{name}", "hostId": HOST})
    for uuid in (name, f"p-{name}"):
        assert api.delete(f"/volumes/{uuid}").status == "Success"


def counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Export, Snapshot, Replica, Volume))


def test_rows_of_a_dead_node_do_not_delay_those_of_others(
    api: Api, pool: Pool, fleet: SimulatedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead node has more rows than one run takes, and they have waited longer."""
    monkeypatch.setattr(deadlines, "BATCH", 2)
    dead, well = pool(2)
    probe_host(api)
    stay_up(dead)
    for number in range(2):
        make_deletable(api, f"dead{number}")
    stay_up(well)
    make_deletable(api, "well")
    for node in fleet.nodes[:2]:
        node.faults.go_down()
    for name in ("dead0", "dead1", "well"):
        delete(api, name)
    for model in (Export, Snapshot, Replica, Volume):
        model.objects.update(deadline_at=F("deadline_at") - dt.timedelta(hours=1))
    fleet.nodes[1].faults.come_up()
    assert counts() == (3, 3, 6, 6)
    collect()
    assert counts() == (2, 2, 4, 4)
    assert [one.subject for one in audit()] == [f"node {dead}"], "it cannot be read"
    fleet.nodes[0].faults.come_up()
    stay_up(dead, well)
    for _ in range(3):
        collect_overdue()
    assert counts() == (0, 0, 0, 0)
    assert audit() == []
