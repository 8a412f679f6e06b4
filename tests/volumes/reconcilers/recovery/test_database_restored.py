"""A database that is older than its nodes is recovered by ``manage.py database_restored`` alone.
The programs of PostgreSQL make and restore the backups.
"""

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from inventory.models import Backend, Pool
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.clients import node_client
from inventory.services.pool import generations
from inventory.services.pool.generations import generation_last
from inventory.views.probe import PROBE
from provisioner.common import writes
from tasks.models import Task, TaskType
from tasks.runner import run
from tests.api.snapshot_steps import tenant
from tests.api.volume_steps import GIB, create, created, probe_host, published
from tests.backups import Backups
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import check, collect_overdue
from tests.volumes.reconcilers.recovery.database_restored_steps import recovered, unpublished
from volumes.audit import audit
from volumes.models import Export, Orphan, Replica, Volume
from volumes.reconcilers.garbage_collector import collect
from volumes.reconcilers.node_check.check import nodes_check
from volumes.reconcilers.relocation import relocate_replicas

pytestmark = pytest.mark.django_db(transaction=True)
PoolOf = Callable[[int], list[str]]
TENANT_B = "b"
MINUTE = 60 * 10**6


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path)


def exports_of(fleet: SimulatedFleet) -> list[tuple[str, int]]:
    """Return target NQN and namespace id of all exports on the nodes."""
    return sorted(
        (target.nqn, nsid)
        for node in fleet.nodes
        for target in node.engine.targets.values()
        for nsid in target.namespaces
    )


def test_generations_follow_the_clock_and_never_repeat(api: Api, pool: PoolOf) -> None:
    pool(1)
    before = time.time_ns() // 1000
    created(api, "v")
    key = Replica.objects.get().pk
    assert abs(key - before) < MINUTE, "clocks may be set, also while this runs"
    assert key < 2**53
    probe_host(api)
    published(api, Volume.objects.get().uuid)
    assert Export.objects.get().pk > key


def test_generations_grow_when_the_clock_steps_back(api: Api, pool: PoolOf) -> None:
    pool(1)
    ahead = time.time_ns() // 1000 + 3600 * 10**6
    with connection.cursor() as cursor:
        cursor.execute("SELECT provisioner_generations_raise(%s)", [ahead])
    created(api, "v1")
    created(api, "v2")
    assert list(Replica.objects.values_list("pk", flat=True)) == [ahead + 1, ahead + 2]
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('provisioner_generations', 1000)")


def test_writes_are_refused_until_database_restored_has_run(
    api: Api, pool: PoolOf, backups: Backups, capsys: pytest.CaptureFixture[str]
) -> None:
    pool(1)
    uuid = created(api, "v")
    backups.take()
    backups.restore()
    for answer in (
        create(api, "w"),
        api.delete(f"/volumes/{uuid}"),
        api.patch(f"/volumes/{uuid}", {"newCapacity": 20}),
        api.delete("/reset_inventory"),
    ):
        assert (answer.http, answer.status) == (503, "ServiceUnavailable")
        assert "manage.py database_restored" in answer.description
    assert [v["alias"] for v in api.get("/volumes").body] == ["v"]
    collect_overdue()
    check()
    assert "writes are allowed again" in recovered(capsys)
    created(api, "w")
    assert recovered(capsys) == "this database is not older than its nodes: nothing was changed\n"
    assert audit() == []


def test_a_restored_database_hands_out_no_generation(
    api: Api, pool: PoolOf, backups: Backups
) -> None:
    """A process may not know for up to a second that writes are barred. The database itself refuses
    them.
    """
    pool(1)
    backups.take()
    writes.writes_barred()
    backups.restore()
    writes._answer.last = ("", time.monotonic() + 3600)
    try:
        answer = create(api, "v")
    finally:
        writes.writes_clear_cache()
    assert (answer.http, answer.status) == (503, "ServiceUnavailable")
    assert "manage.py database_restored" in answer.description
    assert not Volume.objects.exists()


def test_a_process_learns_within_a_second_that_writes_are_barred(base_rows: None) -> None:
    assert writes.writes_barred() == ""
    Pool.objects.update(doubt="it is old")
    end = time.monotonic() + writes.STALE_SECONDS
    while not (reason := writes.writes_barred()):
        assert time.monotonic() < end + 10, "ten seconds for a query on a busy machine"
    assert reason.startswith("it is old; ")
    assert writes.STALE_SECONDS == 1.0


def test_a_node_that_is_newer_bars_writes(
    api: Api, pool: PoolOf, backups: Backups, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of the database's files has the same seal, so only the nodes show that it is older."""
    [node] = pool(1)
    created(api, "v")
    old = 1000
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('provisioner_generations', %s)", [old])
    check()
    answer = create(api, "w")
    assert (answer.http, answer.status) == (503, "ServiceUnavailable")
    assert f"older than storage node '{node}'" in answer.description
    Pool.objects.update(doubt_since=timezone.now() - dt.timedelta(minutes=1))
    assert "writes are allowed again" in recovered(capsys)
    created(api, "w")
    assert generation_last() > Replica.objects.order_by("pk")[0].pk


def test_a_volume_can_be_published_after_publications_that_the_backup_lacks(
    api: Api, pool: PoolOf, fleet: SimulatedFleet, backups: Backups, capsys
) -> None:
    pool(1)
    uuid = created(api, "v")
    probe_host(api)
    backups.take()
    for _ in range(12):
        published(api, uuid)
        unpublished(api, uuid)
    backups.restore()
    recovered(capsys)
    probe_host(api)
    published(api, uuid)
    assert len(exports_of(fleet)) == 1
    assert audit() == []


def test_an_export_that_was_unpublished_since_is_created_again(
    api: Api, pool: PoolOf, fleet: SimulatedFleet, backups: Backups, capsys
) -> None:
    pool(1)
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    backups.take()
    unpublished(api, uuid)
    backups.restore()
    recovered(capsys)
    assert len(exports_of(fleet)) == 1
    assert Export.objects.get().state == "READY"
    assert audit() == []
    unpublished(api, uuid)
    assert exports_of(fleet) == []


def test_another_tenant_never_gets_the_data_of_a_reused_uuid(
    api: Api, pool: PoolOf, fleet: SimulatedFleet, backups: Backups, capsys
) -> None:
    pool(1)
    tenant(api, TENANT_B, 1000)
    backups.take()
    created(api, "of-a", uuid="zz")
    fleet.nodes[0].write("zz", "secret of a")
    backups.restore()
    recovered(capsys)
    [orphan] = Orphan.objects.all()
    told = (orphan.uuid, orphan.alias, orphan.tenant_id, orphan.size_bytes, orphan.kept)
    assert told == ("zz", "of-a", "0", 10 * GIB, True)
    b = api.as_role("ADMIN", tenant=TENANT_B)
    answer = create(b, "of-b", uuid="zz")
    assert answer.status != "Success"
    assert "of-a" not in answer.description
    assert fleet.nodes[0].read("zz") == "secret of a"
    Orphan.objects.update(first_seen_at=timezone.now() - dt.timedelta(days=9))
    check()
    assert fleet.nodes[0].read("zz") == "secret of a"


def test_no_periodic_job_or_task_runs_while_writes_are_barred(
    api: Api, pool: PoolOf, fleet: SimulatedFleet, backups: Backups
) -> None:
    """The collector, node checks, relocation and tasks do nothing. Probes of nodes still
    succeed.
    """
    [node, _] = pool(2)
    created(api, "v")
    assert api.post(f"/backends/{node}/drain").status == "Success"
    Volume.objects.update(state="CREATING", deadline_at=timezone.now() - dt.timedelta(days=1))
    backups.take()
    backups.restore()
    task = Task.objects.create(type=TaskType.UPDATE_INVENTORY)
    collect()
    relocate_replicas()
    run(task.pk)
    Backend.objects.update(checked_at=None)
    nodes_check()
    assert Volume.objects.get().state == "CREATING"
    assert list(Task.objects.values_list("state", "attempts")) == [("IDLE", 0)]
    assert Backend.objects.filter(checked_at__isnull=False).count() == 0
    assert api.get("/readyz").http == 200
    assert fleet.nodes[0].persistent_id == node
    token = api.as_role("NODE", node=node).post("/probe", PROBE | {"persistentID": node})
    assert token.status == "Success"


def probed(api: Api, node: str, newest: int) -> None:
    """Send a probe in which the node reports the newest generation that it has seen."""
    generations._lately[0] = (generations.Issued(0), 0.0)
    said = PROBE | {"persistentID": node, "newestGeneration": newest}
    assert api.as_role("NODE", node=node).post("/probe", said).status == "Success"


def test_a_probe_of_a_newer_node_bars_writes(api: Api, pool: PoolOf) -> None:
    """The database is a copy of its files, to which nothing was written yet."""
    [node] = pool(1)
    created(api, "v")
    seen = node_client(Backend.objects.get()).read_node().newest_generation
    assert seen == Replica.objects.get().pk
    probed(api, node, seen)
    assert writes.writes_barred() == ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('provisioner_generations', 1000)")
    probed(api, node, 1000)
    assert writes.writes_barred() == ""
    probed(api, node, seen)
    answer = create(api, "x")
    assert (answer.http, answer.status) == (503, "ServiceUnavailable")
    assert f"older than storage node '{node}'" in answer.description
