"""After a recovery, no orphan is removed before an operator decides."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat, Left, Length

from inventory.models import Backend, Pool
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.clients import node_client
from inventory.services.pool.generations import generation_last, generations_raise
from provisioner.common import writes
from tests.api.volume_steps import created
from tests.backups import Backups
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import Pool as PoolOf
from tests.volumes.reconcilers.node_check_steps import check, grow_old, stray_volume
from tests.volumes.reconcilers.recovery.database_restored_steps import recovered
from volumes.models import Orphan, OrphanKind
from volumes.reconcilers.recovery.failover import failover_settle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path)


@pytest.fixture(autouse=True)
def _generations_of_the_clock() -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('provisioner_generations', 1000)")


def on_node(node: str) -> list[str]:
    return sorted(v.uuid for v in node_client(Backend.objects.get(pk=node)).list_volumes())


def old_orphan(api: Api, node: str) -> int:
    """Record an orphan that is 20 minutes older than the youngest row. Returns its id."""
    stray_volume(node, "found")
    check()
    generations_raise(above=generation_last() + 20 * 60 * 10**6)
    created(api, "other")
    orphan = Orphan.objects.get()
    assert orphan.kept is False
    return orphan.pk


@pytest.mark.parametrize("is_silent", [False, True])
def test_an_orphan_that_was_adopted_after_the_backup_is_kept(
    api: Api,
    pool: PoolOf,
    fleet: SimulatedFleet,
    backups: Backups,
    capsys: pytest.CaptureFixture[str],
    is_silent: bool,
) -> None:
    """Its generation is older than the backup. Its node answers during the recovery, or is compared
    when it is back.
    """
    [node] = pool(1)
    orphan = old_orphan(api, node)
    backups.take()
    call_command("orphans", "adopt", str(orphan))
    backups.restore()
    if is_silent:
        fleet.nodes[0].faults.go_down()
        recovered(capsys, "--without", node)
        fleet.nodes[0].faults.come_up()
    else:
        assert "1 orphans are kept" in recovered(capsys)
    grow_old()
    check()
    assert Orphan.objects.get().kept is True
    assert "found" in on_node(node)


def test_an_orphan_is_kept_even_if_its_row_is_lost_meanwhile(
    api: Api, pool: PoolOf, backups: Backups, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row is lost, for example, if an SSD of the node is absent for a while."""
    [node] = pool(1)
    old_orphan(api, node)
    backups.take()
    backups.restore()
    recovered(capsys)
    Orphan.objects.all().delete()
    check()
    grow_old()
    check()
    assert Orphan.objects.get().kept is True
    assert "found" in on_node(node)


def test_an_orphan_of_after_the_recovery_is_removed(
    api: Api, pool: PoolOf, backups: Backups, capsys: pytest.CaptureFixture[str]
) -> None:
    [node] = pool(1)
    backups.take()
    backups.restore()
    recovered(capsys)
    stray_volume(node, "found")
    check()
    grow_old()
    check()
    assert (Orphan.objects.count(), on_node(node)) == (0, [])


def test_a_recorded_orphan_is_kept_after_a_failover(api: Api, pool: PoolOf) -> None:
    """The standby may lack the commit of its adoption. An orphaned namespace is removed."""
    [node] = pool(1)
    old_orphan(api, node)
    where = {"backend_id": node, "kind": OrphanKind.NAMESPACE, "target_nqn": "nqn.x"}
    Orphan.objects.create(**where, uuid="v", generation=1)
    Pool.objects.update(seal=Concat(Left("seal", Length("seal") - 8), Value("FFFFFFFF")))
    writes.writes_clear_cache()
    failover_settle()
    assert writes.writes_barred() == ""
    kept = Orphan.objects.order_by("kind").values_list("kind", "kept")
    assert list(kept) == [("namespace", False), ("volume", True)]
    grow_old()
    check()
    assert "found" in on_node(node)
