"""A process dies in a request, before each of its statements; a retry finishes the request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.wire import RefusalCode
from provisioner.common.models import LifeState
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import HOST, created, probe_host
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit
from volumes.models import Export, Publication, Replica, Snapshot, Volume
from volumes.services.publication.publish import volume_publish
from volumes.services.snapshot.create import (
    SnapshotExists,
    SnapshotRequest,
    snapshot_create,
)
from volumes.services.snapshot.create_volume import (
    SnapshotVolumeRequest,
    snapshot_volume_create,
)
from volumes.services.volume.clone import CloneRequest, volume_clone
from volumes.services.volume.create import VolumeRequest, volume_create
from volumes.services.volume.expand import volume_expand

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
Prepare = Callable[[Api, str], Callable[[], Any]]


class Died(BaseException):
    """Simulates the death of the process. No code under test catches it."""


@contextmanager
def dying(statement: int) -> Iterator[None]:
    """Raise an exception before statement number ``statement``, counted from 1. Uncommitted changes
    are rolled back.
    """
    left = statement

    def execute(call: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Died
        return call(*arguments)

    with connection.execute_wrapper(execute):
        yield


def create(replicas: int, *, named: bool) -> Prepare:
    def prepare(api: Api, name: str) -> Callable[[], Any]:
        uuid = name if named else None
        request = VolumeRequest(alias=name, capacity_gib=1, uuid=uuid, num_replicas=replicas)
        return lambda: volume_create(tenant_id="0", request=request, idempotency_digest=name).uuid

    return prepare


def snapshot(api: Api, name: str) -> Callable[[], Any]:
    request = SnapshotRequest(created(api, name, capacity=1), alias=name)
    return lambda: snapshot_create(tenant_id=None, request=request, idempotency_digest=name).uuid


def snapshot_volume(api: Api, name: str) -> Callable[[], Any]:
    made = snapped(api, created(api, f"{name}-source", capacity=1), name)
    request = SnapshotVolumeRequest(made, alias=name)
    return lambda: (
        snapshot_volume_create(tenant_id=None, request=request, idempotency_digest=name).uuid
    )


def clone(api: Api, name: str) -> Callable[[], Any]:
    request = CloneRequest(created(api, f"{name}-source", capacity=1), alias=name)
    return lambda: volume_clone(tenant_id=None, request=request, idempotency_digest=name).uuid


def publish(api: Api, name: str) -> Callable[[], Any]:
    uuid = created(api, name, capacity=1, storageClass={"numReplicas": 2})
    return lambda: volume_publish(
        volume_uuid=uuid, host_id=HOST, tenant_id=None, idempotency_digest=name
    )


def expand(api: Api, name: str) -> Callable[[], Any]:
    uuid = created(api, name, capacity=1, storageClass={"numReplicas": 2})
    return lambda: volume_expand(
        volume_uuid=uuid, tenant_id=None, new_gib=2, idempotency_digest=name
    )


REQUESTS = {
    "create": create(1, named=False),
    "create three replicas with a uuid": create(3, named=True),
    "snapshot": snapshot,
    "snapshot volume": snapshot_volume,
    "clone": clone,
    "publish": publish,
    "expand": expand,
}


def deaths(api: Api, prepare: Prepare) -> int:
    """Retry a request that died before each of its statements, and a request whose answer was lost.
    Returns the number of requests.
    """
    for number in range(1, 100):
        call = prepare(api, f"n{number}")
        try:
            with dying(number):
                first = call()
        except Died:
            call()
        else:
            assert call() == first
            return number
    raise AssertionError("it has no end")


def all_is_at_rest() -> None:
    for model in (Volume, Snapshot, Publication, Replica, Export):
        assert not model.objects.exclude(state=LifeState.READY).exists()
    assert not Volume.objects.exclude(expanding_to_bytes=None).exists()
    assert audit() == []


@pytest.mark.parametrize("name", REQUESTS)
def test_a_retry_finishes_a_request_whose_process_died(api: Api, pool: Pool, name: str) -> None:
    pool(3)
    probe_host(api)
    assert deaths(api, REQUESTS[name]) > 5
    aliases = Volume.objects.values_list("alias", flat=True)
    assert len(aliases) == len(set(aliases))
    all_is_at_rest()


@pytest.mark.parametrize(
    ("name", "failing"), [("create", 5), ("create three replicas with a uuid", 3)]
)
def test_a_retry_finishes_a_create_that_was_replacing_failed_nodes(
    api: Api, pool: Pool, fleet: SimulatedFleet, name: str, failing: int
) -> None:
    pool(6)
    for node in fleet.nodes[:failing]:
        node.faults.refuse(RefusalCode.NO_SPACE, method="PUT", path="/v1/volumes", times=0)
    made = deaths(api, REQUESTS[name])
    assert Replica.objects.filter(state=LifeState.DELETING).exists()
    for _ in range(5):  # a hundred each
        collect_overdue()
    assert Volume.objects.count() == made
    all_is_at_rest()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_collector_settles_a_request_that_is_not_retried(
    api: Api, pool: Pool, name: str
) -> None:
    """What the request began is rolled back or completed."""
    pool(3)
    probe_host(api)
    for number in range(1, 100):
        call = REQUESTS[name](api, f"n{number}")
        try:
            with dying(number):
                call()
        except Died:
            continue
        break
    for _ in range(2):
        collect_overdue()
    all_is_at_rest()


def test_a_repeat_for_another_volume_is_refused(api: Api, pool: Pool) -> None:
    """It is another volume if the first one was deleted and its uuid is used again."""
    pool(1)
    first, second = (
        SnapshotRequest(volume_uuid=created(api, name, uuid=name), alias="s") for name in "vw"
    )
    made = snapshot_create(tenant_id="0", request=first, idempotency_digest="d")
    assert snapshot_create(tenant_id="0", request=first, idempotency_digest="d") == made
    with pytest.raises(SnapshotExists, match="alias 's' already exists"):
        snapshot_create(tenant_id="0", request=second, idempotency_digest="d")
    assert Snapshot.objects.count() == 1
