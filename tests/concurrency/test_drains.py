"""Drains with several workers at once, and workers that die."""

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task
from tests.api.volume_steps import created
from tests.concurrency.volumes_steps import at_once
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import (
    Pool,
    active,
    contents,
    drain,
    drained,
    nodes_of,
    placed_on,
    retry,
    settle,
    write,
)
from volumes.audit import audit
from volumes.models import Drain, JobLease, ReplicaRelocation
from volumes.reconcilers import relocation
from volumes.reconcilers.job_lease import HeldLease
from volumes.reconcilers.relocation import relocate_replicas
from volumes.services.node.drain import drain_stop

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Simulates ``kill -9``. No code may catch it."""


@pytest.fixture
def node(api: Api, pool: Pool, fleet: SimulatedFleet) -> str:
    """A node with six volumes on it."""
    first = pool(3)[0]
    for number in range(6):
        uuid = placed_on([first], partial(created, api, f"v{number}", uuid=f"u{number}"))
        write(fleet, uuid)
    return first


def all_moved(api: Api, fleet: SimulatedFleet, node: str) -> None:
    assert drain(api, node)["done"] is True
    for number in range(6):
        uuid = f"u{number}"
        assert node not in nodes_of(uuid)
        assert contents(fleet, uuid) == {f"data of {uuid}"}
    assert audit() == []


def test_several_workers_together_start_at_most_moves_parallel_tasks(
    api: Api, node: str, fleet: SimulatedFleet
) -> None:
    drained(api, node)
    for _ in range(3):
        at_once([relocate_replicas] * 6)
        assert len(active()) == 4
    assert Task.objects.count() == 4
    settle()
    all_moved(api, fleet, node)
    assert Task.objects.count() == 6


def test_simultaneous_starts_make_one_drain(api: Api, node: str) -> None:
    answers = at_once([partial(api.post, f"/backends/{node}/drain")] * 6)
    assert {answer.status for answer in answers} == {"Success"}
    assert Drain.objects.get().was_in_use is True
    assert Drain.objects.get().replicas_before == 6


def test_a_drain_stopped_while_workers_start_tasks_leaves_none(api: Api, node: str) -> None:
    """Tasks that were started at the same moment are stopped in the next round."""
    drained(api, node)
    stop = partial(drain_stop, persistent_id=node)
    calls: list[Callable[[], None]] = [relocate_replicas, stop, *[relocate_replicas] * 3]
    at_once(calls)
    relocate_replicas()
    assert active() == []
    assert Backend.objects.get(pk=node).in_use is True
    settle()
    assert all(nodes_of(f"u{number}") == {node} for number in range(6))
    assert audit() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_another_worker_continues_after_one_died_while_starting_tasks(
    api: Api, node: str, fleet: SimulatedFleet, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The worker dies before or after its third task exists. Until its lease has expired, no other
    worker starts tasks.
    """
    drained(api, node)
    submit, calls = relocation._submit, iter(range(100))

    def die_at_the_third(*arguments: Any) -> Task:
        is_third = next(calls) == 2
        if is_third and when == "before":
            raise Killed
        task = submit(*arguments)
        if is_third:
            raise Killed
        return task

    with monkeypatch.context() as patched:
        patched.setattr(relocation, "_submit", die_at_the_third)
        patched.setattr(HeldLease, "release", lambda lease: None)
        with pytest.raises(Killed):
            relocate_replicas()
    begun = len(active())
    assert begun == {"before": 2, "after": 3}[when]
    relocate_replicas()
    assert len(active()) == begun
    JobLease.objects.update(until=timezone.now() - dt.timedelta(seconds=1))
    relocate_replicas()
    assert len(active()) == 4
    retry()
    settle()
    retry()
    settle()
    all_moved(api, fleet, node)
    assert (Task.objects.count(), ReplicaRelocation.objects.count()) == (6, 0)


def test_a_drain_and_a_simultaneous_removal_of_its_node_leave_no_drain(
    api: Api, pool: Pool
) -> None:
    node = pool(1)[0]
    calls: list[Callable[[], Any]] = [
        partial(api.post, f"/backends/{node}/drain"),
        partial(api.delete, f"/backends/{node}"),
    ]
    begun, removed = at_once(calls)
    assert removed.status == "Success"
    assert begun.status in {"Success", "NotExists"}
    assert Drain.objects.count() == 0
