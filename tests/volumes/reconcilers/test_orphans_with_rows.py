"""An orphan whose uuid is in use stays. After a database was restored, only data is kept for an
operator, not the exports of known volumes.
"""

import pytest

from inventory.models import Recovery
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import created, probe_host, published
from tests.conftest import Api
from tests.volumes.reconcilers.node_check_steps import (
    TWO,
    Pool,
    check,
    collect_overdue,
    grow_old,
    noted,
    stray_volume,
)
from tests.waiting import eventually
from volumes.audit import audit
from volumes.models import Export, Orphan, Publication, Replica, Volume
from volumes.reconcilers.node_check import orphan_removal

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_orphan_with_the_uuid_of_a_volume_or_a_snapshot_stays(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """No replica has such a uuid: that of a snapshot, and that of a volume with two replicas."""
    node = pool(3)[2]
    created(api, "v", uuid="v", storageClass=TWO)
    created(api, "w", uuid="w")
    snapped(api, "w", "s", snapshotID="s")
    assert not Replica.objects.filter(uuid__in=["v", "s"]).exists()
    for uuid in ("v", "s", "free"):
        stray_volume(node, uuid)
    check()
    assert noted() == {(node, "volume", uuid) for uuid in ("v", "s", "free")}
    grow_old()
    check()
    assert noted() == {(node, "volume", uuid) for uuid in ("v", "s")}
    assert {"v", "s"} <= set(fleet.nodes[2].volumes())
    for path in ("/snapshots/s", "/volumes/v"):
        assert api.delete(path).status == "Success"
    collect_overdue()
    check()
    assert noted() == set()
    assert audit() == []


def test_orphans_that_a_node_refuses_to_remove_do_not_keep_the_others(
    pool: Pool, fleet: SimulatedFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = pool(1)
    monkeypatch.setattr(orphan_removal, "REMOVE_AT_MOST", 1)
    for uuid in ("0", "1", "2"):
        stray_volume(node, uuid)
    check()
    grow_old()
    faults = fleet.nodes[0].faults
    faults.refuse(RefusalCode.IN_USE, method="DELETE", path="/v1/volumes/0", times=0)

    def only_one_is_left() -> bool:
        check()
        return set(fleet.nodes[0].volumes()) == {"0"}

    eventually(only_one_is_left, seconds=60, what=fleet.nodes[0].volumes)


def test_an_export_newer_than_a_restored_database_is_removed_if_its_volume_is_known(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """A host sees the volume through it, but nothing is lost without it."""
    [node] = pool(1)
    published(api, created(api, "v", uuid="known"), probe_host(api))
    published(api, created(api, "w", uuid="unknown"))
    last = Export.objects.order_by("pk").last()
    assert last is not None
    Recovery.objects.create(after_generation=0, until_generation=last.pk + 1000)
    Export.objects.all().delete()
    Publication.objects.all().delete()
    Replica.objects.filter(uuid="unknown").delete()
    Volume.objects.filter(uuid="unknown").delete()
    check()
    kept = Orphan.objects.filter(kept=True)
    assert set(kept.values_list("kind", "uuid")) == {
        ("volume", "unknown"),
        ("namespace", "unknown"),
    }
    grow_old()
    check()
    assert noted() == {(node, "volume", "unknown"), (node, "namespace", "unknown")}
    [target] = fleet.nodes[0].engine.targets.values()
    assert list(target.namespaces.values()) == ["unknown"]
