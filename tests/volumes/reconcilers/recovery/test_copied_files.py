"""A copy of the database's files looks like the original database. Its first write raises the
sequence of generations to the clock, but the gap is remembered.
"""

import datetime as dt
from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from inventory.models import Backend, Pool, Recovery
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.clients import node_client
from inventory.services.pool import generations
from inventory.services.pool.generations import generation_last, generations_issued
from inventory.services.pool.identity import database_doubt
from inventory.views.probe import PROBE
from tests.api.volume_steps import create, created
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import TWO, check
from volumes.models import Orphan, Replica, SubVolume, Volume
from volumes.reconcilers.recovery.database import NOT_OLDER, database_recover
from volumes.reconcilers.recovery.restored_state import SLACK

pytestmark = pytest.mark.django_db(transaction=True)
PoolOf = Callable[[int], list[str]]
MINUTE = 60 * 10**6


@pytest.fixture(autouse=True)
def no_gap() -> None:
    generations.generation_gap_clear()


def newest(node: str) -> int:
    return node_client(Backend.objects.get(pk=node)).read_node().newest_generation


def set_back(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('provisioner_generations', %s)", [number])


def forget_all(number: int) -> None:
    """Put a copy in place that is an hour older than this number, and lacks all volumes."""
    SubVolume.objects.all().delete()
    Replica.objects.all().delete()
    Volume.objects.all().delete()
    set_back(number - 60 * MINUTE)


def copy_in_place(api: Api, nodes: list[str]) -> tuple[str, str]:
    """Put a copy in place that lacks a volume on both nodes. Then a client creates a volume on one
    of them. Returns this node, and the other one.
    """
    created(api, "lost", storageClass=TWO)
    forget_all(Replica.objects.order_by("pk")[0].pk)
    created(api, "first-write")
    written = str(Replica.objects.get().backend_id)
    [other] = set(nodes) - {written}
    assert newest(other) < generation_last()
    return written, other


def test_a_node_with_a_generation_of_the_gap_bars_writes(api: Api, pool: PoolOf) -> None:
    copy_in_place(api, pool(2))
    check()
    answer = create(api, "w")
    assert (answer.http, answer.status) == (503, "ServiceUnavailable")
    issued = generations_issued()
    assert "this database is older than storage node" in answer.description
    assert f"issued none between {issued.after} and {issued.until}" in answer.description
    assert not Orphan.objects.exists()


def test_an_object_with_a_generation_of_the_gap_bars_writes(api: Api, pool: PoolOf) -> None:
    """The node has seen a greater generation since."""
    [node] = pool(1)
    created(api, "lost")
    lost = Replica.objects.get().pk
    forget_all(lost)
    created(api, "first-write")
    assert newest(node) == generation_last()
    check()
    assert f"{node!r}, which has seen generation {lost}; this database" in database_doubt()
    assert not Orphan.objects.exists()
    ends = generations_issued().after
    Pool.objects.update(doubt_since=timezone.now() - dt.timedelta(minutes=1))
    database_recover()
    assert Recovery.objects.get().after_generation == ends - SLACK
    assert Orphan.objects.get().kept is True


def test_a_probe_with_a_generation_of_the_gap_bars_writes(api: Api, pool: PoolOf) -> None:
    written, other = copy_in_place(api, pool(2))
    for node, is_barred in ((written, False), (other, True)):
        generations._lately[0] = (generations.Issued(0), 0.0)
        said = PROBE | {"persistentID": node, "newestGeneration": newest(node)}
        assert api.as_role("NODE", node=node).post("/probe", said).status == "Success"
        assert bool(database_doubt()) is is_barred


def test_a_recovery_forgets_the_gap(api: Api, pool: PoolOf) -> None:
    """The state of the copy ends where the gap begins."""
    copy_in_place(api, pool(2))
    check()
    ends = generations_issued().after
    Pool.objects.update(doubt_since=timezone.now() - dt.timedelta(minutes=1))
    assert "writes are allowed again" in database_recover()
    assert Recovery.objects.get().after_generation == ends - SLACK
    check()
    created(api, "v")
    assert set(Orphan.objects.values_list("alias", "kept")) == {("lost", True)}


def test_the_command_recognizes_the_gap_itself(api: Api, pool: PoolOf) -> None:
    copy_in_place(api, pool(2))
    assert database_recover()[-1] == "writes are allowed again"
    assert Orphan.objects.filter(kept=True).count() == 2
    assert database_recover() == [NOT_OLDER]


def test_a_pool_that_was_idle_is_not_barred(api: Api, pool: PoolOf) -> None:
    pool(2)
    created(api, "v", storageClass=TWO)
    last = generation_last()
    with connection.cursor() as cursor:
        cursor.execute("SELECT provisioner_generations_raise(%s)", [last + 60 * MINUTE])
    issued = generations_issued()
    assert issued == (last + 60 * MINUTE, last + 10**6, last + 60 * MINUTE)
    created(api, "w")
    check()
    assert database_doubt() == ""
    set_back(1000)


def test_a_node_of_another_pool_may_have_a_generation_of_the_gap(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    pool(1)
    set_back(generation_last() - 60 * MINUTE)
    created(api, "v")
    issued = generations_issued()
    foreign = (issued.after + issued.until) // 2
    other = fleet.nodes[1]
    other.agent._fences._put_setting("newest generation", foreign)
    added = api.post("/backends", {"mgmtIPs": [other.address], "mgmtPort": other.port})
    assert newest(added.body["persistentID"]) == foreign
    check()
    assert database_doubt() == ""


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(60, 30, 60), (60, 90, 90), (60, 1260, 1260), (1300, 20, 1300)]
)
def test_the_larger_gap_is_remembered(base_rows: None, first: int, second: int, kept: int) -> None:
    """The numbers are seconds."""
    start = generation_last()
    number = start
    with connection.cursor() as cursor:
        for seconds in (first, second):
            number += seconds * 10**6
            cursor.execute("SELECT provisioner_generations_raise(%s)", [number])
    issued = generations_issued()
    assert issued.until - issued.after == kept * 10**6 - 10**6
    set_back(start)


def test_a_small_gap_replaces_an_old_one(base_rows: None) -> None:
    """The old one ended more than 20 minutes ago."""
    start = number = generation_last()
    with connection.cursor() as cursor:
        for seconds in (60, *([9] * 140), 11):
            number += seconds * 10**6
            cursor.execute("SELECT provisioner_generations_raise(%s)", [number])
    assert generations_issued() == (number, number - 10 * 10**6, number)
    set_back(start)
