"""Removals succeed within 30 seconds although their node is dead; the node is cleaned up later."""

import datetime as dt
import time
from collections.abc import Callable

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node import clients as node_clients
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import created, probe_host, published
from tests.conftest import Answer, Api
from tests.volumes.reconcilers.node_check_steps import TWO, Pool, check, collect_overdue, noted
from volumes.audit import audit
from volumes.models import Export, Replica, Snapshot, Volume

pytestmark = pytest.mark.django_db(transaction=True)
ANSWER_SECONDS = 30
Removal = Callable[[], Answer]


@pytest.fixture(autouse=True)
def quick(settings: Settings, fleet: SimulatedFleet) -> None:
    """End the node calls of a request after 2 seconds. The setting allows 25 at most."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"node_call_seconds": 2})


def a_volume(api: Api) -> Removal:
    uuid = created(api, "v")
    return lambda: api.delete(f"/volumes/{uuid}")


def a_snapshot(api: Api) -> Removal:
    uuid = snapped(api, created(api, "v"), "s")
    return lambda: api.delete(f"/snapshots/{uuid}")


def a_publication(api: Api) -> Removal:
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    return lambda: api.post("/unpublish", {"volId": uuid})


def a_replica(api: Api) -> Removal:
    """A replica that is marked, and whose host confirms the removal."""
    uuid = created(api, "v", storageClass=TWO)
    published(api, uuid, probe_host(api))
    [dead] = Replica.objects.filter(backend=Backend.objects.first())
    Replica.objects.update(replica_state="Available")
    path = f"/replica/{uuid}/{dead.uuid}"
    assert api.patch(path).status == "Success"
    return lambda: api.delete(path)


def refuse_connections(fleet: SimulatedFleet) -> None:
    fleet.nodes[0].faults.go_down()


def hang(fleet: SimulatedFleet) -> None:
    """Delay all answers of the node for longer than any time limit."""
    fleet.nodes[0].faults.slow(120_000, times=0)


@pytest.mark.parametrize("die", [refuse_connections, hang])
@pytest.mark.parametrize("make", [a_volume, a_snapshot, a_publication, a_replica])
def test_a_removal_succeeds_although_its_node_is_dead(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    make: Callable[[Api], Removal],
    die: Callable[[SimulatedFleet], None],
) -> None:
    pool(2)
    Backend.objects.filter(pk=fleet.nodes[1].persistent_id).update(in_use=make is a_replica)
    removal = make(api)
    die(fleet)
    down = Backend.objects.filter(pk=fleet.nodes[0].persistent_id)
    down.update(available_until=timezone.now())
    started = time.monotonic()
    assert removal().status == "Success"
    assert time.monotonic() - started < ANSWER_SECONDS
    fleet.nodes[0].faults.clear()
    down.update(available_until=timezone.now() + dt.timedelta(minutes=1))
    collect_overdue()
    collect_overdue()
    assert not {"DELETING"} & {
        state
        for model in (Volume, Replica, Snapshot, Export)
        for state in model.objects.values_list("state", flat=True)
    }
    check()
    assert (noted(), audit()) == (set(), [])


@pytest.mark.parametrize("make", [a_volume, a_snapshot])
def test_the_collector_does_not_call_a_node_that_is_unavailable(
    api: Api, pool: Pool, fleet: SimulatedFleet, make: Callable[[Api], Removal]
) -> None:
    """Rows may wait for the node for days, and calls to it would delay the others."""
    pool(1)
    removal = make(api)
    refuse_connections(fleet)
    Backend.objects.update(available_until=timezone.now())
    assert removal().status == "Success"
    seen: list[str] = []
    node_clients.node_transport().observers.append(lambda *call: seen.append(call[2]))
    collect_overdue()
    assert seen == []
