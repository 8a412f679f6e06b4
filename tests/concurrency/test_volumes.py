"""Many calls at once, with real transactions. Limits hold, and all data agrees at the end."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db.models import F
from django.utils import timezone

from inventory.models import Backend, Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.common.models import LifeState
from tests.api.volume_steps import GIB, HOST, create, created, probe_host, published, volume
from tests.concurrency.volumes_steps import at_once, codes
from tests.conftest import Api
from tests.waiting import eventually
from volumes.audit import audit
from volumes.models import Export, Replica, Volume
from volumes.reconcilers.garbage_collector import collect

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_one_alias_is_given_once(api: Api, pool: Pool) -> None:
    pool(3)
    answers = at_once([partial(create, api, "same")] * 8)
    assert codes(answers) == {"Success": 1, "AlreadyExists": 7}
    assert audit() == []


def test_one_uuid_is_given_once(api: Api, pool: Pool) -> None:
    pool(3)
    calls = [partial(create, api, f"v{n}", uuid="u") for n in range(8)]
    assert codes(at_once(calls)) == {"Success": 1, "AlreadyExists": 7}
    assert audit() == []


def test_a_budget_is_never_exceeded(api: Api, pool: Pool) -> None:
    pool(6)
    budget = {"name": "t", "capacity": 100, "totalIOPS": 0, "totalBW": 0, "tenantId": "t1"}
    api.post("/tenants", budget)
    calls = [partial(create, api, f"v{n}", "/t1/volumes") for n in range(16)]
    assert codes(at_once(calls)) == {"Success": 10, "TenantCapacityExceeded": 6}
    assert {t["tenantId"]: t["consumedCapacity"] for t in api.get("/tenants").body}["t1"] == 100
    assert audit() == []


def test_an_ssd_is_never_overfilled(api: Api, pool: Pool) -> None:
    """Each of the eight SSDs has room for one volume. Every create that fits succeeds."""
    pool(2)
    room = 100 * GIB
    for ssd in Ssd.objects.all():
        Ssd.objects.filter(pk=ssd.pk).update(used_bytes=ssd.capacity_bytes - room)
    answers = at_once([partial(create, api, f"v{n}", capacity=100) for n in range(12)])
    assert codes(answers) == {"Success": 8, "NoMatchingBackend": 4}
    assert not Ssd.objects.filter(used_bytes__lt=F("capacity_bytes")).exists()


def test_volumes_of_an_exclusive_class_never_share_an_ssd(api: Api, pool: Pool) -> None:
    pool(2)
    alone = {"name": "gold", "shareSSDBetweenVolumes": False}
    answers = at_once([partial(create, api, f"v{n}", storageClass=alone) for n in range(12)])
    assert codes(answers)["Success"] == 8
    assert audit() == []


def test_creates_and_deletes_of_three_replicas_do_not_deadlock(api: Api, pool: Pool) -> None:
    pool(6)
    wish = {"numReplicas": 3, "desiredIOPSPerGB": 1}

    def life(number: int) -> list[str]:
        steps = []
        for step in range(3):
            answer = create(api, f"v{number}-{step}", storageClass=wish)
            steps.append(answer.status)
            steps.append(api.delete(f"/volumes/{answer.body.get('uuid')}").status)
        return steps

    outcome = at_once([partial(life, n) for n in range(8)])
    assert {status for steps in outcome for status in steps} == {"Success"}
    assert list(Backend.objects.values_list("used_iops", flat=True)) == [0] * 6
    assert audit() == []


def test_simultaneous_publications_to_a_host_get_different_namespace_ids(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(3)
    probe_host(api)
    uuids = [created(api, f"v{n}", storageClass={"numReplicas": 2}) for n in range(6)]
    body = [{"volId": uuid, "hostId": HOST} for uuid in uuids]
    assert codes(at_once([partial(api.post, "/publish", b) for b in body])) == {"Success": 6}
    assert sorted(Export.objects.values_list("nsid", flat=True)) == list(range(1, 13))
    twice = at_once([partial(api.post, "/unpublish", b) for b in body * 2])
    assert set(codes(twice)) <= {"Success", "VolumeNotPublished"}
    collect()
    assert all(node.engine.targets == {} for node in fleet.nodes)
    assert audit() == []


def test_simultaneous_publish_and_unpublish_end_in_agreement(api: Api, pool: Pool) -> None:
    pool(2)
    probe_host(api)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    body = {"volId": uuid, "hostId": HOST}
    for _ in range(5):
        at_once([partial(api.post, "/publish", body), partial(api.post, "/unpublish", body)] * 2)
    collect()
    assert audit() == []
    api.post("/unpublish", body)
    collect()
    assert volume(api, uuid)["inUse"] is False
    assert audit() == []


def test_publish_and_a_simultaneous_delete_exclude_each_other(api: Api, pool: Pool) -> None:
    pool(1)
    probe_host(api)
    for number in range(5):
        uuid = created(api, f"v{number}")
        body = {"volId": uuid, "hostId": HOST}
        publish, delete = at_once(
            [partial(api.post, "/publish", body), partial(api.delete, f"/volumes/{uuid}")]
        )
        assert (publish.status, delete.status) in {
            ("Success", "VolumeIsInUse"),
            ("VolumeNotFound", "Success"),
        }
    assert audit() == []


def test_simultaneous_expansions_end_at_one_size(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = created(api, "v", storageClass={"numReplicas": 2})
    sizes = [11, 12, 13, 14]
    answers = at_once([partial(api.patch, f"/volumes/{uuid}", {"newCapacity": g}) for g in sizes])
    assert set(codes(answers)) <= {"Success", "InvalidSize", "NotAvailable"}
    collect()
    assert volume(api, uuid)["capacity"] == 14 * GIB
    assert audit() == []


def test_space_is_released_once_by_delete_or_collector(api: Api, pool: Pool) -> None:
    pool(2)
    uuids = [created(api, f"v{n}", storageClass={"numReplicas": 2}) for n in range(4)]
    at_once([partial(_delete, api, u) for u in uuids * 2] + [_collect] * 2)
    collect()
    assert Volume.objects.count() == 0
    assert sum(Ssd.objects.values_list("used_bytes", flat=True)) == 0
    assert audit() == []


def test_a_delete_succeeds_although_the_collector_finished_it(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)
    uuid = created(api, "v")
    fleet.nodes[0].faults.slow(1500, method="DELETE", times=1)

    def collect_it() -> str:
        deleting = Volume.objects.filter(state=LifeState.DELETING)
        eventually(deleting.exists, seconds=10, what="the volume is DELETING", pause=0.01)
        Replica.objects.update(deadline_at=timezone.now())
        Volume.objects.update(deadline_at=timezone.now())
        collect()
        return "gone" if not Volume.objects.exists() else "there"

    removed_by: list[Callable[[], str]] = [partial(_delete, api, uuid), collect_it]
    assert at_once(removed_by) == ["Success", "gone"]
    assert audit() == []


def _delete(api: Api, uuid: str) -> str:
    return api.delete(f"/volumes/{uuid}").status


def _collect() -> str:
    collect()
    return "collected"


def test_removing_a_backend_and_creating_on_it_exclude_each_other(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    answers = at_once(
        [
            partial(api.delete, f"/backends/{node}"),
            partial(create, api, "v"),
            partial(create, api, "w"),
        ]
    )
    if answers[0].status == "Success":
        assert api.get("/volumes").body == []
    else:
        assert answers[0].status == "BackendHasVolumes"
        published(api, api.get("/volumes").body[0]["uuid"], probe_host(api))
    assert audit() == []
