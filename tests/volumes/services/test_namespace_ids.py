"""Each replica has its own namespace id in the target of its host, and keeps it."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.target_ids import MAX_NAMESPACES
from inventory.nodes.wire import (
    NamespaceSpec,
)
from provisioner.common.models import LifeState
from tests.api.host_nqns_steps import collect_all
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Export, NamespaceId, Publication, Replica, target_nqn
from volumes.reconcilers.garbage_collector import delete_namespace_ids
from volumes.reconcilers.node_check.check import nodes_check
from volumes.services.publication import namespace_ids

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
NQN = target_nqn(HOST)
HOST_NQN = f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"


def ids(*volumes: str) -> list[int]:
    """Return the namespace ids of the volumes' replicas, sorted."""
    rows = Export.objects.filter(publication__volume__uuid__in=volumes)
    return sorted(rows.values_list("nsid", flat=True))


def unpublished(api: Api, uuid: str) -> None:
    assert api.post("/unpublish", {"volId": uuid}).status == "Success"


def check_all() -> None:
    Export.objects.exclude(state=LifeState.READY).update(deadline_at=timezone.now())
    Backend.objects.update(checked_at=None)
    nodes_check()
    collect_all()


def test_an_id_stays_reserved_for_its_replica_for_a_day(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    first, second = (created(api, name, storageClass={"numReplicas": 2}) for name in "ab")
    published(api, first, probe_host(api, usedNamespacesIds=[2]))
    assert ids(first) == [1, 3]
    unpublished(api, first)
    published(api, second)
    assert ids(second) == [4, 5]
    published(api, first)
    assert ids(first) == [1, 3], "a replica has the id that hosts know it by"
    unpublished(api, first)
    NamespaceId.objects.update(last_used_at=timezone.now() - dt.timedelta(hours=25))
    delete_namespace_ids()
    assert list(NamespaceId.objects.values_list("nsid", flat=True)) == [4, 5]
    assert audit() == []


def test_a_removed_export_is_the_last_use_of_its_id(api: Api, pool: Pool) -> None:
    """A volume may be published for days. Its host then remembers the id from the unpublication,
    not from the publication, and confuses disks if another volume gets it, on any node.
    """
    pool(2)
    first, second = (created(api, name) for name in "ab")
    used = Replica.objects.get(volume__uuid=second).backend_id
    Backend.objects.filter(pk=used).update(in_use=False)
    third = created(api, "c")
    published(api, first, probe_host(api))
    days_ago = timezone.now() - dt.timedelta(days=2)
    NamespaceId.objects.update(last_used_at=days_ago)
    unpublished(api, first)
    assert NamespaceId.objects.get().last_used_at > days_ago + dt.timedelta(days=1)
    collect_all()
    published(api, second)
    published(api, third)
    assert ids(second, third) == [2, 3]
    others = Replica.objects.filter(volume__uuid__in=[second, third])
    assert others.values("backend").distinct().count() == 2, "one is on another node"
    assert audit() == []


def test_a_target_that_used_all_ids_reuses_the_longest_unused(api: Api, pool: Pool) -> None:
    """The next id is the one that no replica has used for the longest time."""
    pool(1)
    host = probe_host(api)
    now = timezone.now()
    NamespaceId.objects.bulk_create(
        NamespaceId(
            target_nqn=NQN,
            nsid=nsid,
            replica_key=10_000 + nsid,
            last_used_at=now - dt.timedelta(seconds=2 * MAX_NAMESPACES - nsid),
        )
        for nsid in range(1, MAX_NAMESPACES + 1)
    )
    for expected in (1, 2):
        uuid = created(api, f"v{expected}")
        published(api, uuid, host)
        assert ids(uuid) == [expected]
    assert NamespaceId.objects.count() == MAX_NAMESPACES


def test_an_id_that_a_node_refuses_is_replaced(api: Api, pool: Pool) -> None:
    """This happens after an older database was restored: only the node remembers the last use of
    the id.
    """
    pool(1)
    first, second = created(api, "a"), created(api, "b")
    published(api, first, probe_host(api))
    unpublished(api, first)
    NamespaceId.objects.all().delete()
    answer = api.post("/publish", {"volId": second, "hostId": HOST})
    assert answer.status == "PublishFailed"
    assert (
        f"namespace id 1 of {NQN} belonged to volume {first} less than 60 minutes ago"
        in answer.description
    )
    published(api, second)
    assert ids(second) == [2]
    collect_all()
    assert audit() == []


def test_publish_is_refused_if_the_target_is_full(api: Api, pool: Pool) -> None:
    pool(1)
    host = probe_host(api, usedNamespacesIds=list(range(1, MAX_NAMESPACES + 1)))
    uuid = created(api, "v")
    answer = api.post("/publish", {"volId": uuid, "hostId": host})
    assert answer.status == "PublishFailed"
    assert f"{MAX_NAMESPACES} replicas" in answer.description
    assert not Publication.objects.exists()


def published_of_old(fleet: SimulatedFleet, volume: str, nsid: int) -> list[Export]:
    """Create exports like an older release: one id on all nodes, and controllers without fixed
    ids.
    """
    replicas = Replica.objects.filter(volume__uuid=volume).order_by("backend")
    host = Host.objects.get()
    publication = Publication.objects.create(
        volume=replicas[0].volume, host=host, state=LifeState.READY
    )
    nodes = {node.persistent_id: node for node in fleet.nodes}
    exports = []
    for replica in replicas:
        export = Export.objects.create(
            publication=publication,
            replica=replica,
            target_nqn=NQN,
            nsid=nsid,
            host_nqn=host.nqn,
            state=LifeState.READY,
        )
        spec = NamespaceSpec(generation=export.pk, nsid=nsid, host_nqn=host.nqn)
        node = nodes[str(replica.backend_id)]
        node.run(node.agent.targets.ensure(NQN, replica.uuid, spec))
        exports.append(export)
    assert bool(fleet.violations) is (len(exports) > 1), "a host refuses them"
    for node in fleet.nodes:
        node.engine.faults.clear()
    fleet.nodes[0].engine.network.initiators.clear()
    with connection.schema_editor() as editor:
        import_module("volumes.migrations.0007_namespace_ids").keep(apps, editor)
    return exports


def test_replicas_that_share_an_id_get_their_own_where_no_host_is_connected(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """A connected host keeps the ids that it sees. Replicas that it does not see get other ids."""
    pool(3)
    probe_host(api)
    uuid = created(api, "v", storageClass={"numReplicas": 3})
    first, second, third = published_of_old(fleet, uuid, 1)
    texts = [difference.text for difference in audit()]
    assert "namespace id 1 is used by 3 replicas" in texts
    assert sum("controller ids 1 to 65519" in text for text in texts) == 3
    fleet.nodes[1].set_connected_hosts(NQN, [HOST_NQN])
    check_all()
    check_all()
    assert dict(Export.objects.values_list("replica", "nsid")) == {
        first.replica_id: 2,
        second.replica_id: 1,
        third.replica_id: 3,
    }
    assert Export.objects.get(replica=second.replica_id).pk == second.pk
    [difference] = audit()
    assert "should have 128 to 191: its host must disconnect once" in difference.text
    fleet.nodes[1].set_connected_hosts(NQN, [])
    check_all()
    assert audit() == []
    of_old_targets(fleet)


def of_old_targets(fleet: SimulatedFleet) -> None:
    """Clear the violations that a host would have reported before the exports were renewed."""
    assert {text.partition(",")[0] for text in fleet.violations} <= {"Duplicate cntlid 1"}
    for node in fleet.nodes:
        node.engine.faults.clear()


def test_a_replica_alone_with_its_id_keeps_it(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    pool(1)
    probe_host(api)
    uuid = created(api, "v")
    [export] = published_of_old(fleet, uuid, 7)
    check_all()
    assert audit() == []
    assert Export.objects.get().pk == export.pk
    again = api.post("/publish", {"volId": uuid, "hostId": HOST})
    assert again.status == "AlreadyPublished"
    published(api, created(api, "w"))
    assert sorted(Export.objects.values_list("nsid", flat=True)) == [1, 7]


def _many(number: int, *, in_use: bool, last_used_at: dt.datetime, first: int = 1) -> None:
    """Create ids of a host that no test probes, with exports that use them or without."""
    replica = Replica.objects.get()
    of = [{"target_nqn": "nqn:other", "nsid": first + n} for n in range(number)]
    rows = [NamespaceId(replica_key=10_000 + first + n, **of[n]) for n in range(number)]
    NamespaceId.objects.bulk_create(rows)
    NamespaceId.objects.filter(nsid__gte=first).update(last_used_at=last_used_at)
    now = timezone.now()
    removed = {"state": LifeState.DELETING, "deadline_at": now, "host_nqn": "nqn"}
    if in_use:
        Export.objects.bulk_create(Export(replica=replica, **removed, **one) for one in of)


def test_ids_that_a_crash_left_behind_are_deleted(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their exports were deleted, and their last use was not recorded."""
    pool(1)
    created(api, "v")
    monkeypatch.setattr(namespace_ids, "BATCH", 50)
    now = timezone.now()
    _many(120, in_use=True, last_used_at=now - dt.timedelta(days=3))
    _many(30, in_use=False, last_used_at=now - dt.timedelta(hours=25), first=200)
    _many(10, in_use=False, last_used_at=now - dt.timedelta(hours=23), first=300)
    Export.objects.filter(nsid__lte=20).delete()
    for _ in range(3):
        delete_namespace_ids()
    left = [*range(21, 121), *range(300, 310)]
    assert list(NamespaceId.objects.values_list("nsid", flat=True)) == left
    Export.objects.filter(nsid__gt=100).delete()
    for _ in range(3):
        delete_namespace_ids()
    assert NamespaceId.objects.count() == len(left), "they were in use less than a day ago"
    NamespaceId.objects.update(last_used_at=now - dt.timedelta(hours=25))
    for _ in range(3):
        delete_namespace_ids()
    assert list(NamespaceId.objects.values_list("nsid", flat=True)) == [*range(21, 101)]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_an_id_that_is_being_taken_is_not_deleted(api: Api, pool: Pool) -> None:
    """The collector does not wait for a transaction that publishes a volume with the id."""
    pool(1)
    created(api, "v")
    _many(2, in_use=False, last_used_at=timezone.now() - dt.timedelta(days=2))

    def collect() -> None:
        try:
            delete_namespace_ids()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other, transaction.atomic():
        NamespaceId.objects.filter(nsid=1).update(last_used_at=timezone.now())
        other.submit(collect).result(10)
    assert list(NamespaceId.objects.values_list("nsid", flat=True)) == [1]
