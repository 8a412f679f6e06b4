"""Many snapshots, snapshot volumes and clones at once, together with deletes and expansions."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.snapshot_steps import clone, consumed, create_snapshot_volume, snap, snapped, tenant
from tests.api.volume_steps import created
from tests.concurrency.volumes_steps import at_once, codes
from tests.conftest import Answer, Api
from volumes.audit import audit
from volumes.models import Snapshot, Volume
from volumes.reconcilers.garbage_collector import collect

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_a_snapshot_and_a_simultaneous_delete_of_its_volume_exclude_each_other(
    api: Api, pool: Pool
) -> None:
    pool(1)
    for number in range(6):
        uuid = created(api, f"v{number}")
        take, delete = at_once(
            [partial(snap, api, uuid, f"s{number}"), partial(api.delete, f"/volumes/{uuid}")]
        )
        assert (take.status, delete.status) in {
            ("Success", "VolumeIsInUse"),
            ("NotExists", "Success"),
            ("NotAvailable", "VolumeIsInUse"),
        }
    collect()
    assert audit() == []


def test_a_snapshot_volume_and_a_delete_of_its_snapshot_exclude_each_other(
    api: Api, pool: Pool
) -> None:
    pool(1)
    uuid = created(api, "v")
    for number in range(6):
        made = snapped(api, uuid, f"s{number}")
        make, delete = at_once(
            [
                partial(create_snapshot_volume, api, made, f"sv{number}"),
                partial(api.delete, f"/snapshots/{made}"),
            ]
        )
        assert (make.status, delete.status) in {
            ("Success", "VolumeIsInUse"),
            ("NotExists", "Success"),
        }
    assert audit() == []


def test_simultaneous_snapshot_volumes_of_one_snapshot_create_one(api: Api, pool: Pool) -> None:
    pool(1)
    made = snapped(api, created(api, "v"), "s")
    answers = at_once(
        [partial(create_snapshot_volume, api, made, f"sv{n}", writable=True) for n in range(8)]
    )
    assert codes(answers) == {"Success": 1, "AlreadyExists": 7}
    assert Volume.objects.exclude(snapshot=None).count() == 1
    assert audit() == []


def test_one_alias_and_one_uuid_are_given_once(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    same = [partial(snap, api, uuid, "same")] * 4
    also = [partial(snap, api, uuid, f"s{n}", snapshotID="u") for n in range(4)]
    assert codes(at_once(same + also)) == {"Success": 2, "AlreadyExists": 6}
    clones = [partial(clone, api, uuid, "same") for _ in range(6)]
    assert codes(at_once(clones)) == {"Success": 1, "AlreadyExists": 5}
    assert audit() == []


def test_a_budget_is_never_exceeded(api: Api, pool: Pool) -> None:
    pool(2)
    tenant(api, "t1", 100)
    uuids = [created(api, f"v{n}", "/t1/volumes") for n in range(4)]
    calls: list[Callable[[], Answer]] = []
    for number in range(6):
        calls.append(partial(snap, api, uuids[number % 4], f"s{number}"))
        calls.append(partial(clone, api, uuids[number % 4], f"c{number}"))
    assert codes(at_once(calls)) == {"Success": 6, "TenantCapacityExceeded": 6}
    assert consumed(api, "t1") == 100
    assert audit() == []


def test_snapshots_and_clones_are_created_and_deleted_without_deadlock(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    shared = created(api, "shared")

    def life(number: int) -> Counter[str]:
        made = snap(api, shared, f"s{number}").body["persistentId"]
        shown = create_snapshot_volume(api, made, f"sv{number}", writable=True).body["persistentId"]
        copied = clone(api, shown, f"c{number}", capacity=12).body["persistentId"]
        paths = [f"/volumes/{shown}", f"/snapshots/{made}", f"/volumes/{copied}"]
        return codes([api.delete(path) for path in paths])

    assert at_once([partial(life, n) for n in range(8)]) == [{"Success": 3}] * 8
    assert (Volume.objects.count(), Snapshot.objects.count(), consumed(api)) == (1, 0, 10)
    assert audit() == []


def test_an_expansion_and_simultaneous_snapshots_and_clones_agree(api: Api, pool: Pool) -> None:
    """Each request sees the volume before or after the expansion. A request that cannot is
    refused.
    """
    pool(1)
    for number in range(4):
        uuid = created(api, f"v{number}")
        calls = [
            partial(api.patch, f"/volumes/{uuid}", {"newCapacity": 20}),
            partial(snap, api, uuid, f"s{number}"),
            partial(clone, api, uuid, f"c{number}"),
        ]
        grow, *others = at_once(calls)
        assert grow.status == "Success"
        assert {answer.status for answer in others} <= {"Success", "NotAvailable"}
    collect()
    assert audit() == []


def test_space_is_released_once_by_delete_or_collector(api: Api, pool: Pool) -> None:
    pool(1)
    uuid = created(api, "v")
    made = [snapped(api, uuid, f"s{n}") for n in range(4)]
    deletes: list[Callable[[], str]] = [partial(_delete, api, f"/snapshots/{s}") for s in made * 2]
    at_once([*deletes, _collect, _collect])
    collect()
    assert (Snapshot.objects.count(), consumed(api)) == (0, 10)
    assert audit() == []


def _delete(api: Api, path: str) -> str:
    return api.delete(path).status


def _collect() -> str:
    collect()
    return "collected"
