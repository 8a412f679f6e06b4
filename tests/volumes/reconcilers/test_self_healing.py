"""The provisioner replaces lost replicas if no host does."""

import datetime as dt

import pytest
from django.db.models.signals import pre_save
from django.utils import timezone
from pytest_django.fixtures import Settings

from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task
from tests.api.released_clients import DRIVER
from tests.api.replicas_steps import all_available, places, replicated
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import (
    Pool,
    active,
    contents,
    drained,
    host_without_agent,
    node_named,
    nodes_of,
    placed_on,
    retry,
    settle,
    write,
)
from tests.volumes.reconcilers.node_check_steps import check
from volumes.audit import audit
from volumes.models import JobLease, Replica, ReplicaRelocation
from volumes.reconcilers.relocation import relocate_replicas

pytestmark = pytest.mark.django_db(transaction=True)
MINUTES = 5


@pytest.fixture(autouse=True)
def nodes(pool: Pool) -> list[str]:
    return pool(4)


def a_volume(api: Api, fleet: SimulatedFleet, alias: str = "v", **storage: int) -> str:
    """Create a volume with two Available replicas of the same content, on the first two nodes."""
    first_two = list(Backend.objects.order_by("pk").values_list("pk", flat=True)[:2])
    constraints = {"maxReplicaDownTime": MINUTES} | storage
    uuid = placed_on(first_two, lambda: replicated(api, alias, 2, **constraints))
    all_available(api, uuid)
    write(fleet, uuid)
    return uuid


def ago(minutes: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(minutes=minutes)


def missing(uuid: str, minutes: float, number: int = 1) -> list[str]:
    """Change replicas as if hosts had reported them Missing this many minutes ago."""
    rows = Replica.objects.filter(volume__uuid=uuid).order_by("pk")[:number]
    keys = [row.pk for row in rows]
    Replica.objects.filter(pk__in=keys).update(
        replica_state="Missing", replica_state_since=ago(minutes)
    )
    return [row.uuid for row in rows]


def silent(node: str, minutes: float) -> None:
    Backend.objects.filter(pk=node).update(available_until=ago(minutes))


def watched(minutes: float) -> None:
    """Change the lease as if relocation had run without a break for this many minutes."""
    relocate_replicas()
    JobLease.objects.update(unbroken_since=ago(minutes))


def whole(fleet: SimulatedFleet, uuid: str, *without: str) -> bool:
    """Whether the volume has two good replicas with the data, and none of them is on the nodes in
    ``without``.
    """
    rows = Replica.objects.filter(volume__uuid=uuid, backend__isnull=False)
    states = [row.replica_state for row in rows]
    return (
        not nodes_of(uuid) & set(without)
        and states == ["Available", "Available"]
        and contents(fleet, uuid) == {f"data of {uuid}"}
    )


def test_a_replica_that_its_node_lost_is_replaced_after_the_down_time(
    api: Api, fleet: SimulatedFleet
) -> None:
    uuid = a_volume(api, fleet)
    lost = Replica.objects.filter(volume__uuid=uuid).order_by("pk")[0]
    node_named(fleet, str(lost.backend_id)).lose(lost.uuid)
    check()
    relocate_replicas()
    assert active() == []
    Replica.objects.filter(pk=lost.pk).update(replica_state_since=ago(MINUTES + 1))
    relocate_replicas()
    [task] = active()
    assert (task.type, task.volume_id) == ("ReplicaSync", uuid)
    settle()
    assert whole(fleet, uuid, str(lost.backend_id))
    assert audit() == []


def test_only_replicas_past_max_replica_down_time_are_replaced(
    api: Api, fleet: SimulatedFleet
) -> None:
    late = a_volume(api, fleet, "late")
    for alias, minutes, gone in (("early", 5, 4), ("off", 0, 10**6), ("never", 2**31 - 1, 10**6)):
        missing(a_volume(api, fleet, alias, maxReplicaDownTime=minutes), gone)
    missing(late, MINUTES + 1)
    relocate_replicas()
    assert [task.volume_id for task in active()] == [late]


def test_a_replica_counts_as_lost_since_its_node_became_unavailable(
    api: Api, fleet: SimulatedFleet
) -> None:
    """The replica keeps the state that hosts reported."""
    uuid = a_volume(api, fleet)
    node = str(Replica.objects.filter(volume__uuid=uuid).order_by("pk")[0].backend_id)
    node_named(fleet, node).faults.go_down()
    silent(node, MINUTES - 1)
    watched(60)
    relocate_replicas()
    assert active() == []
    silent(node, MINUTES + 1)
    relocate_replicas()
    assert len(active()) == 1
    assert set(
        Replica.objects.filter(volume__uuid=uuid, rebuilding=False).values_list("replica_state")
    ) == {("Available",)}
    settle()
    node_named(fleet, node).faults.come_up()
    Backend.objects.update(available_until=ago(-60))
    settle()
    assert whole(fleet, uuid, node)
    assert (node_named(fleet, node).volumes(), audit()) == ({}, [])


def test_time_in_which_no_relocation_ran_does_not_count(api: Api, fleet: SimulatedFleet) -> None:
    """If the system was stopped, all nodes seem silent when it starts again."""
    uuid = a_volume(api, fleet)
    silent(str(Replica.objects.filter(volume__uuid=uuid)[0].backend_id), 60)
    watched(MINUTES - 1)
    relocate_replicas()
    assert active() == []
    watched(MINUTES + 1)
    relocate_replicas()
    assert len(active()) == 1


def test_replicas_of_a_node_removed_by_force_are_replaced(api: Api, fleet: SimulatedFleet) -> None:
    uuid = a_volume(api, fleet)
    node = str(Replica.objects.filter(volume__uuid=uuid)[0].backend_id)
    silent(node, 1)
    assert api.delete(f"/backends/{node}", force="true").status == "Success"
    relocate_replicas()
    assert active() == []
    Replica.objects.filter(backend=None).update(replica_state_since=ago(MINUTES + 1))
    settle()
    assert whole(fleet, uuid, node)
    assert Replica.objects.filter(volume__uuid=uuid).count() == 2


def test_lost_replicas_of_hosts_with_an_agent_are_left_to_the_host(
    api: Api, fleet: SimulatedFleet
) -> None:
    for kind in ("Agent", "Kubernetes", "Openstack"):
        uuid = a_volume(api, fleet, kind)
        published(api, uuid, probe_host(api, f"host-{kind}", clientType=kind))
        missing(uuid, 60)
        relocate_replicas()
        assert (active(), ReplicaRelocation.objects.count()) == ([], 0), kind


def test_a_host_without_an_agent_rebuilds_the_replacement(api: Api, fleet: SimulatedFleet) -> None:
    uuid = a_volume(api, fleet)
    published(api, uuid, probe_host(api, **DRIVER))
    [lost] = missing(uuid, 60)
    kept = set(places(api, uuid)) - {lost}
    settle(host_without_agent(api, fleet, uuid))
    assert Task.objects.get().state == "FINISHED"
    assert lost not in places(api, uuid)
    assert kept < set(places(api, uuid))
    assert whole(fleet, uuid)
    assert audit() == []


def test_no_replacement_starts_while_the_only_host_is_unavailable(
    api: Api, fleet: SimulatedFleet
) -> None:
    uuid = a_volume(api, fleet)
    published(api, uuid, probe_host(api, **DRIVER))
    Host.objects.update(available_until=ago(1))
    missing(uuid, 60)
    relocate_replicas()
    assert active() == []
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    relocate_replicas()
    assert len(active()) == 1


def test_two_lost_replicas_of_a_volume_are_replaced_one_after_the_other(
    api: Api, fleet: SimulatedFleet
) -> None:
    uuid = placed_on(
        list(Backend.objects.values_list("pk", flat=True)[:3]),
        lambda: replicated(api, "v", 3, maxReplicaDownTime=MINUTES),
    )
    all_available(api, uuid)
    write(fleet, uuid)
    missing(uuid, 60, number=2)
    for _ in range(3):
        relocate_replicas()
        assert len(active()) == 1
    [first] = active()
    settle()
    assert first.pk != Task.objects.order_by("-created_at")[0].pk
    assert Replica.objects.filter(volume__uuid=uuid, replica_state="Available").count() == 3
    assert (Task.objects.count(), audit()) == (2, [])


def test_pauses_between_failed_attempts_double(api: Api, fleet: SimulatedFleet) -> None:
    uuid = a_volume(api, fleet)
    missing(uuid, 60)
    free = Backend.objects.exclude(pk__in=[n for n in nodes_of(uuid) if n])
    free.update(in_use=False)
    pauses = []
    for _ in range(3):
        before = timezone.now()
        relocate_replicas()
        relocation = ReplicaRelocation.objects.get()
        pauses.append(round((relocation.again_at - before) / dt.timedelta(minutes=1)))
        relocate_replicas()
        assert ReplicaRelocation.objects.get().attempts == relocation.attempts
        retry()
    assert pauses == [1, 2, 4]
    assert "2 nodes cordoned" in ReplicaRelocation.objects.get().refusal
    free.update(in_use=True)
    settle()
    assert whole(fleet, uuid)
    assert ReplicaRelocation.objects.count() == 0


def test_no_more_than_moves_parallel_replacements_run(
    api: Api, fleet: SimulatedFleet, settings: Settings
) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"moves_parallel": 2})
    uuids = [a_volume(api, fleet, f"v{number}") for number in range(4)]
    for uuid in uuids:
        missing(uuid, 60)
    relocate_replicas()
    relocate_replicas()
    assert len(active()) == 2
    settle()
    assert all(whole(fleet, uuid) for uuid in uuids)
    assert audit() == []


def test_a_lost_replica_does_not_wait_for_a_drain(
    api: Api, fleet: SimulatedFleet, nodes: list[str], settings: Settings
) -> None:
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"moves_parallel": 1})
    uuid = a_volume(api, fleet)
    placed_on(nodes[3:], lambda: created(api, "single"))
    fleet.set_copy_rate(0)
    drained(api, nodes[3])
    relocate_replicas()
    missing(uuid, 60)
    relocate_replicas()
    assert {task.volume_id for task in active()} > {uuid}


def test_a_replica_that_is_removed_while_its_replacement_starts_is_no_error(
    api: Api, fleet: SimulatedFleet, caplog: pytest.LogCaptureFixture
) -> None:
    uuid = a_volume(api, fleet)
    watched(MINUTES + 1)
    missing(uuid, MINUTES + 1)

    def remove(instance: ReplicaRelocation, **_: object) -> None:
        Replica.objects.filter(pk=instance.pk)._raw_delete("default")

    pre_save.connect(remove, ReplicaRelocation)
    try:
        relocate_replicas()
    finally:
        pre_save.disconnect(remove, ReplicaRelocation)
    assert active() == []
    assert "ERROR" not in {record.levelname for record in caplog.records}
