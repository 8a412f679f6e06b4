"""Checks of nodes during creates and removals. An object that is being created is no orphan, and an
object that is being removed is no loss.
"""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from django.db import connections
from django.db.models import F
from pytest_django.fixtures import Settings

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.nodes.engines.simulated.node import SimulatedNode
from inventory.nodes.wire import RefusalCode
from inventory.services.node.clients import node_transport
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.concurrency.volumes_steps import at_once
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Orphan, Replica
from volumes.reconcilers.node_check.check import nodes_check

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
WRITERS, ROUNDS = 4, 6
SLOW = 1500
"""Milliseconds, in which all is made."""


def check_until(done: threading.Event) -> None:
    """Check all nodes repeatedly."""
    try:
        while not done.is_set():
            Backend.objects.update(checked_at=None)
            nodes_check()
    finally:
        connections.close_all()


def come_and_go(api: Api, writer: int) -> None:
    """Create and remove volumes of the same names again and again. The last ones stay."""
    for round_ in range(ROUNDS):
        uuid = created(api, f"v{writer}", uuid=f"u{writer}")
        published(api, uuid)
        taken = snapped(api, uuid, f"s{writer}", snapshotID=f"s{writer}")
        if round_ == ROUNDS - 1:
            return
        assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
        assert api.delete(f"/snapshots/{taken}").status == "Success"
        assert api.delete(f"/volumes/{uuid}").status == "Success"


def test_checks_during_creates_and_removes_find_no_orphan_and_no_loss(
    api: Api, pool: Pool, fleet: SimulatedFleet, settings: Settings
) -> None:
    """There is no grace period, so an orphan would be removed by the check after the one that found
    it.
    """
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"orphan_grace_hours": 0})
    pool(2)
    probe_host(api)
    done = threading.Event()
    checks = [threading.Thread(target=check_until, args=[done]) for _ in range(2)]
    for thread in checks:
        thread.start()
    try:
        at_once([partial(come_and_go, api, writer) for writer in range(WRITERS)])
    finally:
        done.set()
        for thread in checks:
            thread.join()
    Backend.objects.update(checked_at=None)
    nodes_check()
    assert (Orphan.objects.count(), audit()) == (0, [])
    assert not Replica.objects.filter(replica_state="Missing").exists()
    for writer in range(WRITERS):
        assert "waitsFor" not in volume(api, f"u{writer}")


@pytest.fixture
def read_of() -> Callable[[SimulatedNode, str], threading.Event]:
    """Return an event that is set when the node has answered a read."""

    def event(node: SimulatedNode, path: str) -> threading.Event:
        answered = threading.Event()

        def watch(address: str, method: str, called: str, outcome: str, seconds: float) -> None:
            if address.endswith(f":{node.port}") and (method, called) == ("GET", path):
                answered.set()

        node_transport().observers.append(watch)
        return answered

    return event


def check_in_thread() -> threading.Thread:
    """Check the nodes that are due, in a thread."""

    def run() -> None:
        try:
            nodes_check()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_object_created_before_the_node_is_read_is_no_orphan(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    read_of: Callable[[SimulatedNode, str], threading.Event],
) -> None:
    """The check has begun, but it reads the lists of the node after the volume was created."""
    pool(1)
    probe_host(api)
    fleet.nodes[0].faults.slow(SLOW, method="GET", path="/v1/volumes")
    has_begun = read_of(fleet.nodes[0], "/v1/node")
    check = check_in_thread()
    assert has_begun.wait(10)
    make(api, fleet.nodes[0])
    check.join()
    assert Orphan.objects.count() == 0
    assert Backend.objects.get().checked_at is not None


def test_an_object_created_after_the_node_is_read_is_no_loss(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    read_of: Callable[[SimulatedNode, str], threading.Event],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The node has been read, but another node has not. The check continues when all rows are
    READY.
    """
    [_, other] = pool(2)
    probe_host(api)
    assert api.put(f"/backends/{other}", {"inUse": False}).status == "Success"
    fleet.nodes[1].faults.slow(SLOW, method="GET", path="/v1/targets")
    is_read = read_of(fleet.nodes[0], "/v1/targets")
    check = check_in_thread()
    assert is_read.wait(10)
    make(api, fleet.nodes[0])
    check.join()
    assert "lost" not in caplog.text
    assert Replica.objects.get().replica_state == "Unknown"
    assert Backend.objects.filter(checked_boot_id=F("boot_id")).count() == 2
    assert (Orphan.objects.count(), audit()) == (0, [])


def test_an_object_removed_after_the_node_is_read_is_no_orphan(
    api: Api,
    pool: Pool,
    fleet: SimulatedFleet,
    read_of: Callable[[SimulatedNode, str], threading.Event],
) -> None:
    """The node has been read, but another node has not. The check continues when no row is left."""
    [_, other] = pool(2)
    probe_host(api)
    assert api.put(f"/backends/{other}", {"inUse": False}).status == "Success"
    make(api, fleet.nodes[0])
    [uuid] = fleet.nodes[0].volumes()
    [taken] = fleet.nodes[0].snapshots()
    fleet.nodes[1].faults.slow(SLOW, method="GET", path="/v1/targets")
    is_read = read_of(fleet.nodes[0], "/v1/targets")
    check = check_in_thread()
    assert is_read.wait(10)
    assert api.post("/unpublish", {"volId": uuid, "hostId": HOST}).status == "Success"
    assert api.delete(f"/snapshots/{taken}").status == "Success"
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    check.join()
    assert Backend.objects.filter(checked_boot_id=F("boot_id")).count() == 2
    assert (Replica.objects.count(), Orphan.objects.count(), audit()) == (0, 0, [])


def make(api: Api, node: SimulatedNode) -> None:
    """Create a volume, a snapshot and an export."""
    uuid = created(api, "v")
    published(api, uuid)
    snapped(api, uuid, "s")
    assert list(node.volumes()) == [uuid]


def test_workers_at_once_check_different_nodes(
    api: Api, pool: Pool, fleet: SimulatedFleet, caplog: pytest.LogCaptureFixture
) -> None:
    """Each node can be read only once."""
    caplog.set_level("INFO", "volumes")
    pool(6)
    for node in fleet.nodes:
        node.faults.refuse(RefusalCode.UNAVAILABLE, path="/v1/snapshots", nth=2, times=0)
    at_once([nodes_check] * 6)
    assert Backend.objects.filter(checked_boot_id=F("boot_id")).count() == 6
    assert "node not checked" not in caplog.text
    Backend.objects.update(checked_at=None)
    nodes_check()
    assert caplog.text.count("node not checked") == 6
