"""A node that does not answer calls: placement avoids it, and it becomes Unavailable although its
probes arrive.
"""

import datetime as dt
from collections.abc import Callable

import pytest
from django.utils import timezone

from inventory.jobs import poll_late_backends
from inventory.models import Backend
from inventory.nodes.client import NodeUnreachable
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.answers import call_outcomes_record
from tests.api.probe_steps import report
from tests.api.volume_steps import create, created, volume
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
THREE = {"numReplicas": 3}


def silent_since(seconds: float, node: str) -> None:
    """Change the node as if it had not answered since then, and as if the poll had run long ago."""
    now = timezone.now()
    Backend.objects.filter(pk=node).update(
        unanswered_since=now - dt.timedelta(seconds=seconds),
        polled_at=now - dt.timedelta(hours=1),
    )


def nodes_of(api: Api, uuid: str) -> set[str]:
    return {str(place["backend"]["persistentID"]) for place in volume(api, uuid)["location"]}


@pytest.mark.parametrize("fault", ["go_down", "lose_reply", "fail"])
def test_a_node_that_does_not_answer_is_avoided(
    api: Api, pool: Pool, fleet: SimulatedFleet, fault: str
) -> None:
    first, second = pool(2)
    getattr(fleet.nodes[0].faults, fault)()
    for number in range(8):
        assert nodes_of(api, created(api, f"v{number}")) == {second}
    assert Backend.objects.get(pk=first).unanswered_since is not None
    fleet.nodes[0].faults.clear()
    assert nodes_of(api, created(api, "still")) == {second}


def test_a_node_that_does_not_answer_is_chosen_if_no_other_fits(api: Api, pool: Pool) -> None:
    nodes = pool(3)
    silent_since(1, nodes[0])
    assert nodes_of(api, created(api, "v", storageClass=THREE)) == set(nodes)


def test_a_refusal_names_the_node_that_did_not_answer(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    nodes = pool(3)
    fleet.nodes[0].faults.go_down()
    answer = create(api, "v", storageClass=THREE)
    assert answer.status == "NotEnoughMatchingBackends"
    assert f"node {nodes[0]}: port" in answer.description
    [backend] = api.get(f"/backends/{nodes[0]}").body
    assert backend["waitsFor"] == "an answer to calls"


def test_a_call_that_never_reached_a_node_is_not_its_fault(pool: Pool) -> None:
    [node] = pool(1)
    call_outcomes_record([(node, NodeUnreachable("not begun", is_fault=False))])
    assert Backend.objects.get().unanswered_since is None
    call_outcomes_record([(node, NodeUnreachable("no answer"))])
    since = Backend.objects.get().unanswered_since
    assert since is not None
    call_outcomes_record([(node, NodeUnreachable("no answer"))])
    assert Backend.objects.get().unanswered_since == since, "the first one counts"


def test_a_failure_whose_text_postgresql_does_not_store_is_recorded(pool: Pool) -> None:
    [node] = pool(1)
    call_outcomes_record([(node, NodeUnreachable("HT\0P"))])
    assert Backend.objects.get().call_error == "HT\ufffdP"


@pytest.mark.parametrize(("seconds", "is_read"), [(29, False), (31, True)])
def test_the_poll_reads_it_again_after_half_a_probe_interval(
    pool: Pool, seconds: int, is_read: bool
) -> None:
    [node] = pool(1)
    silent_since(seconds, node)
    poll_late_backends()
    assert (Backend.objects.get().unanswered_since is None) is is_read


def test_a_node_is_available_only_if_its_probes_and_our_calls_arrive(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node] = pool(1)
    silent_since(200, node)
    late = timezone.now() - dt.timedelta(seconds=1)
    Backend.objects.update(available_until=late)
    assert api.post("/probe", report(node)).http == 200
    fleet.nodes[0].faults.go_down()
    poll_late_backends()
    [backend] = api.get("/backends").body
    assert backend["state"] == "Unavailable", "its probes come, but our calls do not reach it"
    assert backend["healthReason"].startswith("the node has not answered calls since 20")
    fleet.nodes[0].faults.clear()
    Backend.objects.update(polled_at=timezone.now() - dt.timedelta(hours=1))
    poll_late_backends()
    [backend] = api.get("/backends").body
    assert backend["state"] == "Available"
    assert "healthReason" not in backend


def test_missing_probes_are_in_the_health_of_their_node(api: Api, pool: Pool) -> None:
    pool(1)
    Backend.objects.update(last_probe_at=timezone.now() - dt.timedelta(seconds=200))
    [backend] = api.get("/backends").body
    assert backend["state"] == "Available", "the poll reached it"
    assert backend["healthReason"].startswith("no probe of the node has arrived since 20")
