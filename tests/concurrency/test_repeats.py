"""A request and its retries at the same time have one effect and get one answer."""

from collections.abc import Callable
from functools import partial

import pytest

from inventory.models import Ssd
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from provisioner.common.models import LifeState
from tests.api.snapshot_steps import clone, create_snapshot_volume, snap, snapped
from tests.api.volume_steps import GIB, HOST, create, created, probe_host, volume
from tests.concurrency.volumes_steps import at_once, codes
from tests.conftest import Answer, Api
from volumes.audit import audit
from volumes.models import Publication, Replica, Snapshot, Volume
from volumes.reconcilers.garbage_collector import collect

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
TRIES = 4


def one_answer(call: Callable[[], Answer]) -> None:
    answers = at_once([call] * TRIES)
    assert codes(answers) == {"Success": TRIES}, answers
    assert all(answer.body == answers[0].body for answer in answers)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("replicas", [1, 3])
def test_create_repeated_at_once_is_done_once(
    api: Api, pool: Pool, replicas: int, named: bool
) -> None:
    pool(3)
    for number in range(4):
        fields = {"uuid": f"u{number}"} if named else {}
        wish = {"numReplicas": replicas}
        call = partial(create, api.keyed("k"), f"v{number}", storageClass=wish, **fields)
        one_answer(call)
    assert (Volume.objects.count(), Replica.objects.count()) == (4, 4 * replicas)
    assert audit() == []


@pytest.mark.parametrize("fault", ["refuse", "lose_reply", "fail", "slow"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_simultaneous_repeats_replace_a_failed_replica_once(
    api: Api, pool: Pool, fleet: SimulatedFleet, replicas: int, fault: str
) -> None:
    """Each failed replica is replaced once."""
    pool(6)
    for number in range(3):
        for node in fleet.nodes[:3]:
            faults: dict[str, Callable[..., None]] = {
                "refuse": partial(node.faults.refuse, RefusalCode.NO_SPACE),
                "lose_reply": node.faults.lose_reply,
                "fail": node.faults.fail,
                "slow": partial(node.faults.slow, 50),
            }
            # some attempts see it, and others do not
            faults[fault](method="PUT", path="/v1/volumes", times=0 if fault == "refuse" else 3)
        wish = {"numReplicas": replicas}
        one_answer(partial(create, api.keyed("k"), f"v{number}", storageClass=wish))
        for node in fleet.nodes[:3]:
            node.faults.clear()
    for _ in range(2):
        collect()
    assert Replica.objects.filter(state=LifeState.READY).count() == 3 * replicas
    assert Replica.objects.count() == 3 * replicas
    assert audit() == []


def test_no_attempt_succeeds_while_another_replaces_its_replica(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    """The node fails the first attempt and serves the second one, which ends while the first
    attempt uses another node.
    """
    nodes = pool(2)
    created(api, "v", uuid="u")
    first = nodes.index(volume(api, "u")["location"][0]["backend"]["persistentID"])
    assert api.delete("/volumes/u").status == "Success"
    for milliseconds, nth in ((300, 1), (800, 2)):
        fleet.nodes[first].faults.slow(milliseconds, nth=nth, method="PUT", path="/v1/volumes")
    fleet.nodes[first].faults.lose_request(method="PUT", path="/v1/volumes")
    fleet.nodes[1 - first].faults.slow(1500, method="PUT", path="/v1/volumes", times=0)

    def call() -> tuple[str, str]:
        answer = create(api.keyed("k"), "v", uuid="u")
        live = Replica.objects.exclude(state=LifeState.DELETING)
        return answer.status, live.get().state

    assert at_once([call] * 2) == [("Success", "READY")] * 2
    collect()
    assert audit() == []


def test_simultaneous_repeats_fit_where_one_volume_fits(api: Api, pool: Pool) -> None:
    """Attempts that find the space taken see that it was taken by the same request."""
    pool(1)
    first, *others = Ssd.objects.all()
    for ssd in others:
        Ssd.objects.filter(pk=ssd.pk).update(used_bytes=ssd.capacity_bytes)
    room = first.capacity_bytes - 10 * GIB
    Ssd.objects.filter(pk=first.pk).update(used_bytes=room)
    one_answer(partial(create, api.keyed("k"), "v"))
    assert Ssd.objects.get(pk=first.pk).used_bytes == first.capacity_bytes


def test_a_repeated_create_that_no_node_accepts_leaves_nothing(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    for node in fleet.nodes[:2]:
        node.faults.refuse(RefusalCode.NO_SPACE, method="PUT", path="/v1/volumes", times=0)
    answers = at_once([partial(create, api.keyed("k"), "v")] * TRIES)
    assert set(codes(answers)) <= {"NoMatchingBackend", "NotAvailable"}
    for _ in range(2):
        collect()
    assert Volume.objects.count() == 0
    assert audit() == []


def test_simultaneous_snapshots_and_clones_with_one_key_are_created_once(
    api: Api, pool: Pool
) -> None:
    pool(1)
    uuid = created(api, "v")
    for number in range(4):
        made = snapped(api, uuid, f"of-{number}")
        one_answer(partial(snap, api.keyed("k"), uuid, f"s{number}"))
        one_answer(partial(create_snapshot_volume, api.keyed("k"), made, f"sv{number}"))
        one_answer(partial(clone, api.keyed("k"), uuid, f"c{number}"))
    assert (Volume.objects.count(), Snapshot.objects.count()) == (9, 8)
    assert audit() == []


def test_simultaneous_expands_and_publishes_with_one_key_are_done_once(
    api: Api, pool: Pool
) -> None:
    pool(2)
    probe_host(api)
    keyed = api.keyed("k")
    for number in range(4):
        uuid = created(api, f"v{number}", storageClass={"numReplicas": 2})
        one_answer(partial(keyed.patch, f"/volumes/{uuid}", {"newCapacity": 20}))
        assert volume(api, uuid)["capacity"] == 20 * GIB
        one_answer(partial(keyed.post, "/publish", {"volId": uuid, "hostId": HOST}))
    assert Publication.objects.count() == 4
    assert audit() == []
