"""After a failover to a standby, only the timeline of the database is different."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Concat, Left, Length
from django.utils import timezone

from inventory.models import Backend, Pool, Recovery
from inventory.nodes.client import NodeClient
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.clients import node_client
from provisioner.common import writes
from tasks.models import Task, TaskType
from tests.api.metrics_steps import samples
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import create, created, probe_host, published
from tests.backups import Backups
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import check, stray_volume
from volumes.models import Export, Orphan, Replica, Snapshot, SubVolume, Volume
from volumes.reconcilers.job_lease import job_lease_acquire
from volumes.reconcilers.node_check.check import nodes_check
from volumes.reconcilers.recovery.failover import JOB, failover_settle

pytestmark = pytest.mark.django_db(transaction=True)
PoolOf = Callable[[int], list[str]]
TIMELINE = "FFFFFFFF"


def took_over() -> None:
    """Give the seal another timeline than that of the database."""
    same = Left("seal", Length("seal") - len(TIMELINE))
    Pool.objects.update(seal=Concat(same, Value(TIMELINE)))
    writes.writes_clear_cache()


def barred(api: Api) -> str:
    """Check that reads are answered and writes are refused. Returns the reason."""
    assert api.get("/volumes").http == 200
    answer = create(api, "barred")
    assert (answer.http, answer.status) == (503, "ServiceUnavailable")
    return answer.description


def test_writes_resume_if_the_standby_lacks_no_commit(api: Api, pool: PoolOf) -> None:
    """The pool has a snapshot, an export, a Missing replica and a recorded orphan."""
    [node, _] = pool(2)
    uuid = created(api, "v")
    snapped(api, uuid, "s")
    published(api, uuid, probe_host(api))
    gone = created(api, "gone")
    lost = Replica.objects.get(volume__uuid=gone)
    node_client(Backend.objects.get(pk=lost.backend_id)).remove_volume(lost.uuid, lost.pk)
    stray_volume(node, "noted")
    check()
    took_over()
    reason = barred(api)
    assert "a standby took over" in reason
    assert samples(api)["provisioner_writes_barred"] == [({}, 1.0)]
    assert reason.endswith("within seconds, or an operator runs 'manage.py database_restored'")
    failover_settle()
    created(api, "w")
    assert samples(api)["provisioner_writes_barred"] == [({}, 0.0)]
    assert Recovery.objects.get().awaited == []
    assert Replica.objects.get(volume__uuid=uuid).replica_state != "Missing"


def lose_number(node: NodeClient) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('provisioner_generations', 1000)")
    return "has seen generation"


def lose_creation(node: NodeClient) -> str:
    """Lose the rows of a creation. The standby knew the generation before it was handed out."""
    stray_volume(node.read_node().persistent_id, "made")
    return "holds volume made, which this database does not know"


def lose_removal(node: NodeClient) -> str:
    replica = Replica.objects.get(volume__alias="removed")
    node.remove_volume(replica.uuid, replica.pk)
    return f"does not hold replica {replica.uuid}"


def lose_expansion(node: NodeClient) -> str:
    SubVolume.objects.filter(replica__volume__alias="removed").update(
        capacity_bytes=F("capacity_bytes") - 4096
    )
    return "bytes of replica"


def lose_unpublish(node: NodeClient) -> str:
    export = Export.objects.get()
    node.remove_namespace(export.target_nqn, export.replica.uuid, export.pk)
    return "does not export replica"


def lose_snapshot_removal(node: NodeClient) -> str:
    snapshot = Snapshot.objects.get()
    node.remove_snapshot(snapshot.uuid, snapshot.pk)
    return f"does not hold snapshot {snapshot.uuid}"


@pytest.mark.parametrize(
    "lose",
    [
        lose_number,
        lose_creation,
        lose_removal,
        lose_expansion,
        lose_unpublish,
        lose_snapshot_removal,
    ],
)
def test_writes_stay_barred_if_the_standby_lacks_commits(
    api: Api, pool: PoolOf, lose: Callable[[NodeClient], str]
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    created(api, "removed")
    snapped(api, uuid, "s")
    published(api, uuid, probe_host(api))
    text = lose(node_client(Backend.objects.get()))
    took_over()
    for _ in range(2):
        failover_settle()
        reason = barred(api)
        assert f"without the last commits: storage node '{node}' " in reason
        assert text in reason
        assert "an operator runs 'manage.py database_restored'" in reason
    assert not Recovery.objects.exists()


def test_a_node_that_is_silent_is_compared_when_it_is_back(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    """Objects of lost commits that only this node has are kept."""
    silent, other = pool(2)
    created(api, "v")
    known = Replica.objects.get().pk
    stray_volume(silent, "made", generation=known + 1)
    fleet.nodes[0].faults.go_down()
    took_over()
    failover_settle()
    created(api, "w")
    assert Recovery.objects.get().awaited == [silent]
    fleet.nodes[0].faults.come_up()
    check()
    assert writes.writes_barred() == ""
    assert Recovery.objects.get().awaited == []
    [orphan] = Orphan.objects.all()
    assert (orphan.backend_id, orphan.uuid, orphan.kept) == (silent, "made", True)
    assert other != silent


def test_a_node_that_is_back_changes_nothing_on_other_nodes(
    api: Api, pool: PoolOf, fleet: SimulatedFleet
) -> None:
    """Changes on other nodes that were begun since then continue."""
    silent, other = pool(2)
    assert api.put(f"/backends/{silent}", {"inUse": False}).status == "Success"
    uuid = created(api, "v")
    published(api, uuid, probe_host(api))
    snapped(api, uuid, "s")
    fleet.nodes[0].faults.go_down()
    took_over()
    failover_settle()
    created(api, "w")
    under_way = {"state": "CREATING", "deadline_at": timezone.now() + dt.timedelta(hours=1)}
    Volume.objects.filter(alias="w").update(**under_way)
    Replica.objects.filter(volume__alias="w").update(**under_way)
    Snapshot.objects.update(**under_way)
    task = Task.objects.create(type=TaskType.REPLICA_SYNC, volume_id=uuid)
    key = Export.objects.get().pk
    fleet.nodes[0].faults.come_up()
    Backend.objects.filter(pk=silent).update(checked_at=None)
    nodes_check()
    assert Recovery.objects.get().awaited == []
    assert Export.objects.get().pk == key
    assert Volume.objects.get(alias="w").state == "CREATING"
    assert Replica.objects.get(volume__alias="w").state == "CREATING"
    assert Snapshot.objects.get().state == "CREATING"
    assert Task.objects.get(pk=task.pk).state == "IDLE"
    assert {r.backend_id for r in Replica.objects.all()} == {other}


def test_writes_wait_while_no_node_answers(api: Api, pool: PoolOf, fleet: SimulatedFleet) -> None:
    pool(1)
    fleet.nodes[0].faults.go_down()
    took_over()
    failover_settle()
    assert "within seconds" in barred(api)
    fleet.nodes[0].faults.come_up()
    failover_settle()
    created(api, "v")


def test_only_one_worker_at_a_time_settles_a_failover(api: Api, pool: PoolOf) -> None:
    pool(1)
    took_over()
    lease = job_lease_acquire(JOB)
    assert lease is not None
    failover_settle()
    barred(api)
    lease.release()
    failover_settle()
    created(api, "v")


def test_without_a_failover_the_job_makes_one_query(
    api: Api, pool: PoolOf, backups: Backups, django_assert_num_queries
) -> None:
    """A restored database waits for an operator instead."""
    pool(1)
    with django_assert_num_queries(1):
        failover_settle()
    backups.take()
    backups.restore()
    with django_assert_num_queries(1):
        failover_settle()
    assert "this database was restored or copied" in barred(api)
    Pool.objects.update(seal="")
    with django_assert_num_queries(1):
        failover_settle()


def test_a_copy_made_by_template_is_another_database(base_rows: None, backups: Backups) -> None:
    """Its tables have the same oids in the same cluster. Only the oid of the database differs."""
    backups.take()
    name = connection.settings_dict["NAME"]
    first, copy = f"{name}_sealed", f"{name}_copy"
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {first}")
        backups.restore_beside(first)
        with psycopg.connect(backups.url(first)) as sealed:
            sealed.execute("UPDATE inventory_pool SET seal = provisioner_seal()")
            [number] = sealed.execute("SELECT provisioner_generation()").fetchone() or (0,)
            assert number > 0
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {copy} TEMPLATE {first}")
        with psycopg.connect(backups.url(copy)) as copied:
            [seal, own] = copied.execute(
                "SELECT seal, provisioner_seal() FROM inventory_pool"
            ).fetchone() or ("", "")
            differ = [a != b for a, b in zip(seal.split("/"), own.split("/"), strict=True)]
            assert differ == [False, True, False, False]
            with pytest.raises(psycopg.Error) as refused:
                copied.execute("SELECT provisioner_generation()")
            assert refused.value.sqlstate == writes.SQLSTATE
            copied.rollback()
    finally:
        with connection.cursor() as cursor:
            for made in (copy, first):
                cursor.execute(f"DROP DATABASE IF EXISTS {made}")


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path)
