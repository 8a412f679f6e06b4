"""Many concurrent callers."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event

import pytest

from inventory.nodes.client import NodeClient, NodeRefused
from inventory.nodes.engines.simulated import SimulatedNode
from inventory.nodes.wire import RefusalCode, SyncState
from tests.nodes.specs import GIB, TARGET, ended, namespace, open_copy, piece, snapshot, volume

THREADS = 16


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Start all calls together, and return the result or refusal of each."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except NodeRefused as refusal:
            return refusal.code

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def test_concurrent_creates_make_one_volume(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    free = client.read_node().ssds[0].free
    spec = volume(piece(ssds[0]))
    outcomes = at_once([partial(client.ensure_volume, "v", spec)] * THREADS)
    assert sorted(map(bool, outcomes)) == [False] * (THREADS - 1) + [True]
    assert client.read_node().ssds[0].free == free - GIB
    assert node.volumes() == {"v": spec}
    removals = at_once([partial(client.remove_volume, "v", 1)] * THREADS)
    assert removals == [None] * THREADS
    assert client.read_node().ssds[0].free == free


def test_concurrent_requests_start_one_copy(
    client: NodeClient, peer: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    spec = open_copy(peer)
    outcomes = at_once([partial(client.ensure_sync, "v", spec)] * THREADS)
    assert sorted(map(bool, outcomes)) == [False] * (THREADS - 1) + [True]
    ended(client, "v", SyncState.DONE)
    later = [spec.model_copy(update={"generation": 10 + n}) for n in range(THREADS)]
    outcomes = at_once([partial(client.ensure_sync, "v", one) for one in later])
    assert {*outcomes} <= {True, RefusalCode.STALE}
    assert ended(client, "v", SyncState.DONE).generation == 9 + THREADS
    removals = at_once([partial(client.remove_sync, "v", 9 + THREADS)] * THREADS)
    assert removals == [None] * THREADS
    assert client.read_sync("v") is None


def test_a_copy_never_outlives_a_concurrent_removal(
    client: NodeClient, peer: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    spec = open_copy(peer)
    for round_number in range(10):
        name = f"v{round_number}"
        client.ensure_volume(name, volume(piece(ssds[0])))
        outcomes = at_once(
            [partial(client.remove_volume, name, 1), partial(client.ensure_sync, name, spec)]
        )
        assert outcomes in ([None, RefusalCode.NOT_FOUND], [None, True])
        assert client.read_sync(name) is None


def test_concurrent_exports_make_one_namespace(client: NodeClient, ssds: list[str]) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    outcomes = at_once([partial(client.ensure_namespace, TARGET, "v", namespace())] * THREADS)
    assert sorted(map(bool, outcomes)) == [False] * (THREADS - 1) + [True]
    [target] = client.list_targets()
    assert len(target.namespaces) == 1


def test_concurrent_exports_never_share_a_namespace_id(client: NodeClient, ssds: list[str]) -> None:
    names = [f"v{number}" for number in range(THREADS)]
    for name in names:
        client.ensure_volume(name, volume(piece(ssds[0])))
    outcomes = at_once(
        [partial(client.ensure_namespace, TARGET, name, namespace()) for name in names]
    )
    assert outcomes.count(True) == 1
    assert outcomes.count(RefusalCode.ID_IN_USE) == THREADS - 1


def test_concurrent_exports_to_one_target_all_succeed(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    names = [f"v{number}" for number in range(THREADS)]
    for name in names:
        client.ensure_volume(name, volume(piece(ssds[0])))
    calls = [
        partial(client.ensure_namespace, TARGET, name, namespace(nsid))
        for nsid, name in enumerate(names, 1)
    ]
    assert at_once([*calls]) == [True] * THREADS
    assert node.engine.targets[TARGET].namespaces == dict(enumerate(names, 1))
    at_once([partial(client.remove_namespace, TARGET, name, 1) for name in names])
    assert client.list_targets() == ()
    assert node.engine.targets == {}


def test_concurrent_creates_never_share_space(client: NodeClient, ssds: list[str]) -> None:
    capacity = client.read_node().ssds[0].free
    size = capacity // 10 // 4096 * 4096
    calls = [
        partial(client.ensure_volume, f"v{number}", volume(piece(ssds[0], size)))
        for number in range(THREADS)
    ]
    outcomes = at_once([*calls])
    assert outcomes.count(True) == 10
    assert outcomes.count(RefusalCode.NO_SPACE) == THREADS - 10
    assert client.read_node().ssds[0].free == capacity - 10 * size
    assert len(client.list_volumes()) == 10


def test_an_export_and_a_concurrent_removal_exclude_each_other(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    for round_number in range(10):
        name = f"v{round_number}"
        client.ensure_volume(name, volume(piece(ssds[0])))
        outcomes = at_once(
            [
                partial(client.remove_volume, name, 1),
                partial(client.ensure_namespace, TARGET, name, namespace(round_number + 1)),
            ]
        )
        assert outcomes in ([None, RefusalCode.NOT_FOUND], [RefusalCode.IN_USE, True])
        exported = {uuid for t in node.engine.targets.values() for uuid in t.namespaces.values()}
        assert (name in node.volumes()) is (name in exported)


def test_an_export_that_waits_for_its_volume_delays_no_other(
    client: NodeClient, node: SimulatedNode, ssds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SPDK, the removal of a snapshot may take hours."""
    removing, go_on = Event(), Event()

    async def take_hours(engine: object, uuid: str) -> None:
        removing.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    for uuid in "vw":
        client.ensure_volume(uuid, volume(piece(ssds[0])))
    client.ensure_snapshot("s", snapshot(piece(ssds[0]), volume_uuid="v", volume_generation=1))
    monkeypatch.setattr(type(node.engine), "remove_snapshot", take_hours)
    with ThreadPoolExecutor(2) as threads:
        removal = threads.submit(client.remove_snapshot, "s", 1)
        assert removing.wait(30)
        waiting = threads.submit(client.ensure_namespace, TARGET, "v", namespace(1))
        time.sleep(0.5)
        assert not waiting.done()
        try:
            assert client.ensure_namespace(TARGET, "w", namespace(2))
        finally:
            go_on.set()
        removal.result(30)
        assert waiting.result(30)
