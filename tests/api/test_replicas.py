"""Replicas over HTTP: every operation and result code."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone

from inventory.models import Backend, Host, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.target_ids import MAX_NAMESPACES
from inventory.nodes.wire import RefusalCode
from tests.api.replicas_steps import all_available, places, replicated, report
from tests.api.volume_steps import GIB, HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.sagas.checks import work_off_all
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Replica, Volume
from volumes.services.replica.placement import replica_request
from volumes.services.replica.rules import replicas_beside
from volumes.services.scheduling import ReplicaOrigin, replicas_claim, volume_place

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def in_use(api: Api) -> tuple[str, list[str]]:
    """Create a volume that is published and whose replicas are Available. Returns their uuids."""
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    return uuid, all_available(api, uuid)


def test_a_never_attached_volume_gets_one_more(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(3)
    uuid = replicated(api)
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    states = [place["replicaState"] for place in places(api, uuid).values()]
    assert sorted(states) == ["Synchronizing", "Unknown", "Unknown"]
    work_off_all()
    shown = volume(api, uuid)
    assert shown["numReplicas"] == 3
    assert {place["replicaState"] for place in shown["location"]} == {"Unknown"}
    assert len({place["backend"]["persistentID"] for place in shown["location"]}) == 3
    assert all(len(node.volumes()) == 1 for node in fleet.nodes[:3])
    assert api.get("/tenants").body[0]["consumedCapacity"] == 30
    assert audit() == []


def test_a_replica_that_a_full_target_cannot_have_is_removed_again(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(3)
    uuid, known = in_use(api)
    Host.objects.update(used_namespace_ids=list(range(1, MAX_NAMESPACES + 1)))
    answer = api.post(f"/replica/{uuid}", {})
    assert (answer.status, "unpublish volumes from it" in answer.description) == (
        "NotAvailable",
        True,
    )
    assert set(places(api, uuid)) == set(known)
    collect_overdue()
    assert Replica.objects.count() == 2
    assert audit() == []


def test_a_report_about_a_replica_that_is_being_created_ends(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = replicated(api)
    first, _ = places(api, uuid)
    Replica.objects.filter(uuid=first).update(state="CREATING", deadline_at=timezone.now())
    for state in ("Missing", "Available"):
        assert report(api, uuid, first, state).status == "Success"


def test_a_new_replica_and_its_exports_are_recorded_together(api: Api, pool: Pool) -> None:
    """Nobody would export the replica if the process died in between."""
    pool(3)
    uuid, _ = in_use(api)
    client = Client(headers={"Authorization": api.authorization})

    def lose_export(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith('INSERT INTO "volumes_export"'):
            raise OperationalError("the connection is lost")
        return execute(sql, *arguments)

    with connection.execute_wrapper(lose_export):
        assert client.post(f"/replica/{uuid}", {}, "application/json").status_code == 503
    assert sorted(Replica.objects.values_list("state", flat=True)) == ["CREATING", "READY", "READY"]


def test_adding_does_not_take_over_the_replica_of_another_request(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(6)
    uuid, _ = in_use(api)
    row = Volume.objects.get()
    plan = volume_place(row, replica_request(row, replicas_beside(row)))
    with transaction.atomic(durable=True):
        [other] = replicas_claim(row, plan, ReplicaOrigin())
    node = next(n for n in fleet.nodes if n.persistent_id == other.backend_id)
    node.faults.refuse(RefusalCode.NO_SPACE, times=0, method="PUT", path="/v1/volumes")
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    assert Replica.objects.filter(state="READY").count() == 3
    assert Replica.objects.get(state="CREATING") == other


def test_a_published_volume_exports_the_new_replica_at_once(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(3)
    uuid, known = in_use(api)
    assert api.post(f"/0/replica/{uuid}", {}).status == "Success"
    [new] = set(places(api, uuid)) - set(known)
    assert places(api, uuid)[new]["replicaState"] == "Unknown"
    assert places(api, uuid)[new]["inUse"] is True
    assert all(len(node.engine.targets) == 1 for node in fleet.nodes[:3])
    assert audit() == []


def test_adding_is_refused_with_the_reason(api: Api, pool: Pool) -> None:
    pool(6)
    single = created(api, "single")
    assert api.post(f"/replica/{single}", {}).status == "NotReplicated"
    assert api.post("/replica/none", {}).status == "NotExists"
    assert api.post(f"/nobody/replica/{single}", {}).status == "TenantNotFound"
    uuid = replicated(api, number=3)
    first, *_ = places(api, uuid)
    report(api, uuid, first, "Missing")
    nothing_good = api.post(f"/replica/{uuid}", {})
    assert nothing_good.status == "NotAvailable"
    assert nothing_good.description == f"no replica of volume '{uuid}' is Available"
    all_available(api, uuid)
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    busy = api.post(f"/replica/{uuid}", {})
    assert busy.status == "NotAvailable"
    assert "has the task" in busy.description
    work_off_all()
    full = api.post(f"/replica/{uuid}", {})
    assert full.status == "InvalidReplicas"
    assert full.description == f"volume '{uuid}' has 4 replicas: the limit is 4"


def test_adding_is_refused_while_a_replica_is_terminating(api: Api, pool: Pool) -> None:
    pool(3)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    first, _ = all_available(api, uuid)
    assert api.patch(f"/replica/{uuid}/{first}").status == "Success"
    assert api.post(f"/replica/{uuid}", {}).status == "ReplicaTerminating"


def test_adding_is_refused_if_every_node_has_a_replica(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = replicated(api)
    assert api.post(f"/replica/{uuid}", {}).status == "NotEnoughMatchingBackends"


def test_no_node_for_another_replica_says_why(api: Api, pool: Pool) -> None:
    nodes = pool(3)
    uuid = replicated(api)
    holders = {p["backend"]["persistentID"] for p in volume(api, uuid)["location"]}
    [free] = set(nodes) - holders
    racks = {b["persistentID"]: b["rack"] for b in api.get("/backends").body}
    taken = racks[min(holders)]
    assert api.post(f"/replica/{uuid}", {"zones": ["none"]}).status == "TopologyConstraints"
    api.put(f"/backends/{free}", {"rack": taken})
    rack = api.post(f"/replica/{uuid}", {})
    assert rack.status == "SameRackNotAllowed"
    assert "1 node in a rack that already has a replica" in rack.description
    api.put(f"/backends/{free}", {"rack": "r9", "inUse": False})
    assert api.post(f"/replica/{uuid}", {}).status == "NotInUse"
    api.put(f"/backends/{free}", {"inUse": True})
    Backend.objects.filter(pk=free).update(available_until=timezone.now())
    assert api.post(f"/replica/{uuid}", {}).status == "NotAvailable"


def test_adding_is_refused_if_no_node_has_the_space(api: Api, pool: Pool) -> None:
    pool(3)
    uuid = replicated(api)
    holders = {p["backend"]["persistentID"] for p in volume(api, uuid)["location"]}
    for ssd in Ssd.objects.exclude(backend__in=holders):
        Ssd.objects.filter(pk=ssd.pk).update(used_bytes=ssd.capacity_bytes - GIB)
    answer = api.post(f"/replica/{uuid}", {})
    assert answer.status == "NoFreeSpace"
    assert "1 node with less than 10 GiB free on one SSD" in answer.description


def test_adding_is_refused_if_no_node_has_the_performance(api: Api, pool: Pool) -> None:
    pool(3)
    uuid = replicated(api, desiredIOPSPerGB=1)
    Backend.objects.filter(used_iops=0).update(used_iops=F("total_iops"))
    answer = api.post(f"/replica/{uuid}", {})
    assert answer.status == "NoMatchingBackend"
    assert "unreserved IOPS" in answer.description


def test_the_budget_counts_every_replica(api: Api, pool: Pool) -> None:
    pool(3)
    budget = {"name": "t", "capacity": 25, "totalIOPS": 0, "totalBW": 0, "tenantId": "t1"}
    api.post("/tenants", budget)
    uuid = created(api, "v", "/t1/volumes", storageClass={"numReplicas": 2})
    assert api.post(f"/t1/replica/{uuid}", {}).status == "TenantCapacityExceeded"
    assert audit() == []


def test_a_node_that_fails_is_replaced(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(4)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    for node in fleet.nodes:
        node.faults.lose_reply(method="PUT", path="/v1/volumes")
    idle = [node for node in fleet.nodes[:4] if not node.volumes()]
    idle[0].faults.clear()
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    for node in fleet.nodes:
        node.faults.clear()
    collect_overdue()
    assert volume(api, uuid)["numReplicas"] == 3
    assert audit() == []


def test_a_replica_of_a_published_volume_is_removed_when_its_host_confirms(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    first, second = all_available(api, uuid)
    path = f"/replica/{uuid}/{first}"
    early = api.delete(path)
    assert early.status == "NoTerminating"
    assert early.description == f"replica '{first}' is Available: mark it for removal first"
    assert api.patch(path).status == "Success"
    assert places(api, uuid)[first]["replicaState"] == "Terminating"
    assert api.patch(path).status == "ReplicaTerminating"
    assert api.patch(f"/replica/{uuid}/{second}").status == "ReplicaTerminating"
    assert report(api, uuid, first, "Available").status == "ReplicaTerminating"
    assert api.delete(path).status == "Success"
    assert list(places(api, uuid)) == [second]
    assert api.delete(path).status == "NotExists"
    assert sum(len(node.volumes()) for node in fleet.nodes) == 1
    assert sum(len(node.engine.targets) for node in fleet.nodes) == 1
    assert audit() == []


def test_a_replica_of_an_unpublished_volume_is_removed_at_once(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = replicated(api)
    first, second = places(api, uuid)
    assert api.patch(f"/replica/{uuid}/{first}").status == "Success"
    assert list(places(api, uuid)) == [second]
    assert sum(len(node.volumes()) for node in fleet.nodes) == 1
    assert api.get("/tenants").body[0]["consumedCapacity"] == 10
    assert audit() == []


@pytest.mark.parametrize("gone", ["unpublished", "removed"])
def test_a_marked_replica_is_removed_when_its_host_goes(api: Api, pool: Pool, gone: str) -> None:
    pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    marked, kept = all_available(api, uuid)
    assert api.patch(f"/replica/{uuid}/{marked}").status == "Success"
    if gone == "unpublished":
        assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    else:
        Host.objects.update(available_until=timezone.now())
        assert api.delete(f"/hosts/{HOST}").status == "Success"
    assert set(places(api, uuid)) == {kept}
    collect_overdue()
    assert audit() == []


def test_a_marked_replica_stays_while_it_is_the_last_good_one(api: Api, pool: Pool) -> None:
    """After the mark, the host loses the other replica and stops."""
    pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    marked, other = all_available(api, uuid)
    assert api.patch(f"/replica/{uuid}/{marked}").status == "Success"
    assert report(api, uuid, other, "Missing").status == "Success"
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"
    assert places(api, uuid)[marked]["replicaState"] == "Terminating"


def test_the_last_good_replica_cannot_be_marked(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = replicated(api)
    first, second = all_available(api, uuid)
    report(api, uuid, second, "Missing")
    answer = api.patch(f"/replica/{uuid}/{first}")
    assert answer.status == "AllReplicasDown"
    assert answer.description == f"no other replica of volume '{uuid}' is Available"
    assert api.patch(f"/replica/{uuid}/{second}").status == "Success"
    assert api.patch(f"/replica/{uuid}/{first}").status == "AllReplicasDown"


def test_marking_an_unknown_or_only_replica_is_refused(api: Api, pool: Pool) -> None:
    pool(2)
    single = created(api, "single")
    assert api.patch(f"/replica/{single}/{single}").status == "NotReplicated"
    uuid = replicated(api)
    first, _ = places(api, uuid)
    assert api.patch(f"/replica/{uuid}/none").status == "NotExists"
    assert api.patch(f"/replica/none/{first}").status == "NotExists"
    assert api.patch(f"/nobody/replica/{uuid}/{first}").status == "TenantNotFound"
    assert api.delete(f"/nobody/replica/{uuid}/{first}").status == "TenantNotFound"
    assert api.delete(f"/replica/{uuid}/none").status == "NotExists"


def test_reported_states_are_stored_and_others_refused(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = replicated(api)
    first, _ = places(api, uuid)
    for state in ("Synchronizing", "Available", "Missing"):
        assert report(api, uuid, first, state).status == "Success"
        assert places(api, uuid)[first]["replicaState"] == state
    since = Replica.objects.get(uuid=first).replica_state_since
    assert report(api, uuid, first, "Missing").status == "Success"
    assert Replica.objects.get(uuid=first).replica_state_since == since
    for state in ("Unknown", "Terminating", "available", "Gone"):
        wrong = report(api, uuid, first, state)
        assert (wrong.http, wrong.status) == (400, "InvalidInput")
        assert wrong.description == (
            f"replicaState = '{state}': must be one of Available, Missing, Synchronizing"
        )
    assert report(api, uuid, "none", "Available").status == "NotExists"
    assert report(api, "none", first, "Available").status == "NotExists"
    single = created(api, "single")
    assert report(api, single, single, "Available").status == "NotReplicated"
    tenant = api.patch(f"/nobody/replica/{uuid}/{first}/Available")
    assert tenant.status == "TenantNotFound"


def test_replica_states_survive_unpublishing(api: Api, pool: Pool) -> None:
    pool(2)
    uuid, _ = in_use(api)
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert {p["replicaState"] for p in volume(api, uuid)["location"]} == {"Available"}


def test_a_removal_can_be_confirmed_while_its_node_is_dead(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    first, _ = all_available(api, uuid)
    holder = nodes.index(places(api, uuid)[first]["backend"]["persistentID"])
    fleet.nodes[holder].faults.go_down()
    assert api.patch(f"/replica/{uuid}/{first}").status == "Success"
    assert api.delete(f"/replica/{uuid}/{first}").status == "Success"
    assert volume(api, uuid)["numReplicas"] == 1
    fleet.nodes[holder].faults.come_up()
    collect_overdue()
    assert fleet.nodes[holder].volumes() == {}
    assert audit() == []


def test_a_replica_of_a_removed_backend_is_replaced(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(3)
    uuid = replicated(api)
    all_available(api, uuid)
    lost = places(api, uuid)
    [gone, _] = lost
    holder = lost[gone]["backend"]["persistentID"]
    Backend.objects.filter(pk=holder).update(available_until=timezone.now())
    assert api.delete(f"/backends/{holder}", force="true").status == "Success"
    assert report(api, uuid, gone, "Available").status == "NotExists"
    assert api.post(f"/replica/{uuid}", {}).status == "Success"
    assert api.patch(f"/replica/{uuid}/{gone}").status == "Success"
    now = places(api, uuid)
    assert gone not in now
    assert {p["backend"]["persistentID"] for p in now.values()} == set(nodes) - {holder}
    assert audit() == []
