"""Operators adopt or discard orphans."""

import datetime as dt
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes import wire
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node.clients import node_client
from tests.api.snapshot_steps import consumed, created_snapshot_volume, snapped
from tests.api.volume_steps import GIB, created, probe_host, published, volume
from tests.backups import Backups
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import node_named
from tests.volumes.reconcilers.node_check_steps import Pool, check, stray_volume
from tests.volumes.reconcilers.recovery.database_restored_steps import recovered
from volumes.audit import audit
from volumes.models import Export, Orphan, OrphanKind, Replica, Snapshot, Volume
from volumes.reconcilers.recovery import adoption
from volumes.services.ownership import pool_uuid

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path)


def orphans(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    call_command("orphans", *map(str, arguments))
    return capsys.readouterr().out


def key(alias: str) -> int:
    return Orphan.objects.filter(alias=alias)[0].pk


def test_a_lost_volume_is_adopted_with_its_replicas_and_snapshots(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    backups: Backups,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The test uses a replicated volume with its storage class, and a volume with a snapshot and a
    snapshot volume.
    """
    pool(3)
    probe_host(api)
    backups.take()
    classes = {"numReplicas": 2, "maxIOPSPerGB": 7, "maxReplicaDownTime": 3}
    two = created(api, "two", storageClass=classes)
    one = created(api, "one")
    shown = created_snapshot_volume(api, snapped(api, one, "taken"), "shown")
    for replica in Replica.objects.all():
        node_named(fleet, str(replica.backend_id)).write(replica.uuid, "data")
    before = {v["uuid"]: v for v in api.get("/volumes").body}
    budget = consumed(api)
    backups.restore()
    recovered(capsys)
    listed = orphans(capsys, "list")
    for alias in ("two", "one", "taken", "shown"):
        assert f"{alias!r} of tenant '0'" in listed
    with pytest.raises(CommandError, match="1 of 1 failed"):
        orphans(capsys, "adopt", key("shown"))
    with pytest.raises(CommandError, match="1 of 1 failed"):
        orphans(capsys, "adopt", key("taken"))
    for alias in ("two", "one", "taken", "shown"):
        assert "was adopted" in orphans(capsys, "adopt", key(alias))
    check()
    assert (Orphan.objects.count(), audit(), consumed(api)) == (0, [], budget)
    for uuid in (two, one, shown):
        found, wanted = volume(api, uuid), before[uuid]
        for name in ("alias", "capacity", "numReplicas", "maxIOPSPerGB", "maxReplicaDownTime"):
            assert found.get(name) == wanted.get(name), name
        places = [place["backend"] for place in wanted["location"]]
        assert [place["backend"] for place in found["location"]] == places
    published(api, two)
    assert api.patch(f"/volumes/{two}", {"newCapacity": 20}).status == "Success"
    assert audit() == []


def test_adoption_is_refused_if_the_budget_has_no_room(
    api: Api, pool: Pool, backups: Backups, capsys: pytest.CaptureFixture[str]
) -> None:
    pool(1)
    backups.take()
    created(api, "v")
    backups.restore()
    recovered(capsys)
    budget = {"name": "default", "capacity": 5, "totalIOPS": 0, "totalBW": 0}
    assert api.put("/tenants/0", budget).status == "Success"
    with pytest.raises(CommandError, match="1 of 1 failed"):
        orphans(capsys, "adopt", key("v"))
    assert "has a budget of 5 GiB" in capsys.readouterr().err
    assert (Volume.objects.count(), Orphan.objects.get().alias) == (0, "v")


def test_a_kept_orphan_stays_until_it_is_discarded(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    backups: Backups,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool(1)
    backups.take()
    created(api, "v")
    backups.restore()
    recovered(capsys)
    Orphan.objects.update(first_seen_at=timezone.now() - dt.timedelta(days=99))
    check()
    assert len(fleet.nodes[0].volumes()) == 1
    assert "was removed" in orphans(capsys, "discard", key("v"))
    assert (fleet.nodes[0].volumes(), Orphan.objects.count()) == ({}, 0)
    with pytest.raises(CommandError):
        orphans(capsys, "discard", 10**6)


def test_an_orphan_of_another_pool_can_only_be_discarded(
    api: Api, pool: Pool, fleet: SimulatedFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    [node] = pool(1)
    stray_volume(node, "theirs")
    database = fleet.nodes[0].agent._records._database
    database.execute("UPDATE volume SET spec = json_set(spec, '$.owner.pool', 'another')")
    check()
    with pytest.raises(CommandError):
        orphans(capsys, "adopt", key("alias of theirs"))
    assert "can only be discarded" in capsys.readouterr().err
    assert "was removed" in orphans(capsys, "discard", key("alias of theirs"))
    assert fleet.nodes[0].volumes() == {}


def test_a_node_that_was_away_is_compared_when_it_is_back(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    backups: Backups,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [node] = pool(1)
    uuid = created(api, "v")
    backups.take()
    assert api.patch(f"/volumes/{uuid}", {"newCapacity": 20}).status == "Success"
    created(api, "w")
    fleet.nodes[0].faults.go_down()
    backups.restore()
    with pytest.raises(CommandError, match=f"nodes do not answer .*{node}"):
        call_command("database_restored")
    assert api.post("/volumes", {"alias": "x", "capacity": 1}).http == 503
    said = recovered(capsys, "--without", node)
    assert f"node {node} is compared when it is back" in said
    fleet.nodes[0].faults.come_up()
    check()
    assert volume(api, uuid)["capacity"] == 20 * GIB
    assert Orphan.objects.get().kept is True
    created(api, "x")
    assert [d for d in audit() if "has no row" not in d.text and "claimed" not in d.text] == []
    Backend.objects.get()


def on_node(node: str) -> list[str]:
    return [found.uuid for found in node_client(Backend.objects.get(pk=node)).list_volumes()]


def failed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must fail. Returns what it writes to standard error."""
    with pytest.raises(CommandError, match="1 of 1 failed"):
        orphans(capsys, *arguments)
    return capsys.readouterr().err


def test_an_adoption_that_died_cannot_be_discarded(
    api: Api, pool: Pool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after the commit. The orphan is a volume then, and its row is gone."""
    [node] = pool(1)
    stray_volume(node, "found")
    check()
    orphan = Orphan.objects.get()
    monkeypatch.setattr(adoption, "replicas_readopt", die)
    with pytest.raises(KeyboardInterrupt):
        orphans(capsys, "adopt", orphan.pk)
    monkeypatch.undo()
    for action in ("discard", "adopt"):
        assert failed(capsys, action, orphan.pk) == f"there is no orphan {orphan.pk}\n"
    check()
    assert [v["alias"] for v in api.get("/volumes").body] == ["alias of found"]
    assert (on_node(node), audit()) == (["found"], [])


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_orphan_that_has_a_row_now_is_neither_adopted_nor_discarded(
    api: Api, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list of orphans is older than the rows."""
    pool(1)
    uuid = created(api, "v")
    taken = snapped(api, uuid, "s")
    published(api, uuid, probe_host(api))
    replica, snapshot, export = Replica.objects.get(), Snapshot.objects.get(), Export.objects.get()
    node = str(replica.backend_id)
    where = {"backend_id": node, "volume_uuid": uuid, "pool": pool_uuid(), "tenant_id": "0"}
    for kind, name, row, nqn, text in (
        (OrphanKind.VOLUME, uuid, replica, "", f"a replica of volume {uuid!r}"),
        (OrphanKind.SNAPSHOT, taken, snapshot, "", f"snapshot {taken!r}"),
        (OrphanKind.NAMESPACE, uuid, export, export.target_nqn, f"an export of volume {uuid!r}"),
    ):
        about = {"kind": kind, "uuid": name, "generation": row.pk, "target_nqn": nqn}
        orphan = Orphan.objects.create(**where, **about)
        for action, start in (("discard", "was not removed"), ("adopt", "was already adopted")):
            said = failed(capsys, action, orphan.pk)
            assert said == f"{orphan} {start}: it is {text} now\n"
    check()
    assert (on_node(node), Orphan.objects.count(), audit()) == ([uuid], 0, [])


def test_an_orphan_of_an_older_generation_of_a_volume_can_be_discarded(
    api: Api, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new replica of a moved volume has the uuid of the former one."""
    nodes = pool(2)
    uuid = created(api, "v")
    [former] = set(nodes) - {str(Replica.objects.get().backend_id)}
    stray_volume(former, uuid)
    check()
    assert "was removed" in orphans(capsys, "discard", Orphan.objects.get().pk)
    assert on_node(former) == []


@pytest.mark.parametrize("action", ["adopt", "discard"])
def test_orphans_are_kept_while_writes_are_barred(
    api: Api, pool: Pool, backups: Backups, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """The list of orphans is that of the backup. The orphan was adopted since."""
    [node] = pool(1)
    stray_volume(node, "found")
    check()
    backups.take()
    orphan = Orphan.objects.get().pk
    orphans(capsys, "adopt", orphan)
    backups.restore()
    assert "manage.py database_restored" in failed(capsys, action, orphan)
    assert on_node(node) == ["found"]
    recovered(capsys)
    assert "was adopted" in orphans(capsys, "adopt", key("alias of found"))
    check()
    assert audit() == []


def test_an_orphan_whose_node_refuses_the_discard_stays_recorded(
    api: Api, pool: Pool, fleet: SimulatedFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    [node] = pool(1)
    stray_volume(node, "found")
    check()
    before = Orphan.objects.values().get()
    fleet.nodes[0].faults.refuse(wire.RefusalCode.UNAVAILABLE, method="DELETE")
    assert "was not removed" in failed(capsys, "discard", before["id"])
    assert Orphan.objects.values().get() == before
    assert "was removed" in orphans(capsys, "discard", before["id"])
