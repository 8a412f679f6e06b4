"""Copies between simulated nodes: their speed, content and end."""

import time
from collections.abc import Callable
from functools import partial

import pytest

from inventory.nodes.client import NodeClient
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.wire import RefusalCode, SourceKind, Sync, SyncSpec, SyncState
from tests.nodes.specs import (
    COPY_TARGET,
    GIB,
    NODE_HOST,
    OTHER_HOST,
    derived,
    ended,
    namespace,
    open_copy,
    piece,
    refused,
    snapshot,
    sync,
    volume,
)

End = Callable[[SimulatedFleet, NodeClient], object]


@pytest.fixture
def filled(fleet: SimulatedFleet) -> SimulatedNode:
    return fleet.nodes[1]


@pytest.fixture
def copy(client: NodeClient, peer: NodeClient, node: SimulatedNode, ssds: list[str]) -> SyncSpec:
    """A copy of the volume ``read``, whose content is "data". Copies stand still."""
    client.ensure_volume("read", volume(piece(ssds[0])))
    node.write("read", "data")
    node.set_copy_rate(0)
    return open_copy(peer)


def running(client: NodeClient) -> Sync:
    found = client.read_sync("read")
    assert found is not None
    assert found.state is SyncState.RUNNING
    return found


def test_the_content_arrives_with_the_last_byte(
    client: NodeClient, node: SimulatedNode, filled: SimulatedNode, copy: SyncSpec
) -> None:
    client.ensure_sync("read", copy)
    assert client.ensure_sync("read", copy) is False
    assert (running(client).bytes_done, running(client).bytes_total) == (0, GIB)
    assert filled.read("filled") == ""
    node.set_copy_rate(2**40)
    ended(client, "read", SyncState.DONE)
    assert filled.read("filled") == "data"
    filled.restart()
    assert filled.read("filled") == "data"
    filled.write("filled", "newer")
    assert client.ensure_sync("read", copy) is False
    assert filled.read("filled") == "newer"


def test_the_progress_follows_the_rate(
    client: NodeClient, node: SimulatedNode, filled: SimulatedNode, copy: SyncSpec
) -> None:
    client.ensure_sync("read", copy)
    node.set_copy_rate(GIB // 4)
    seen = [0]
    while len(set(seen)) < 4:
        seen.append(running(client).bytes_done)
    assert seen == sorted(seen)
    node.set_copy_rate(0)
    stopped_at = running(client).bytes_done
    assert seen[-1] <= stopped_at < GIB
    time.sleep(0.01)
    assert running(client).bytes_done == stopped_at
    node.set_copy_rate(2**40)
    ended(client, "read", SyncState.DONE)
    assert filled.read("filled") == "data"


ENDS: dict[str, tuple[End, str]] = {
    "target removed": (
        lambda fleet, peer: peer.remove_namespace(COPY_TARGET, "filled", 1),
        f"target {COPY_TARGET} is not there",
    ),
    "destination lost": (
        lambda fleet, peer: fleet.nodes[1].vanish("filled"),
        f"target {COPY_TARGET} is not there",
    ),
    "another host": (
        lambda fleet, peer: peer.ensure_namespace(
            COPY_TARGET, "filled", namespace(generation=2, host_nqn=OTHER_HOST)
        ),
        f"target {COPY_TARGET} does not admit host {NODE_HOST}",
    ),
    "destination down": (
        lambda fleet, peer: fleet.nodes[1].faults.go_down(),
        "no node answers at 127.0.0.1 port 4421",
    ),
    "source down": (
        lambda fleet, peer: fleet.nodes[0].faults.go_down(0.001),
        "this node is partitioned",
    ),
    "destination restarted": (
        lambda fleet, peer: fleet.nodes[1].restart(),
        f"target {COPY_TARGET} is not there",
    ),
    "portals gone": (
        lambda fleet, peer: fleet.nodes[1].change(portals=()),
        "no node answers at 127.0.0.1 port 4421",
    ),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_copy_fails_when_it_loses_its_source_or_target(
    fleet: SimulatedFleet, client: NodeClient, peer: NodeClient, copy: SyncSpec, how: str
) -> None:
    end, message = ENDS[how]
    client.ensure_sync("read", copy)
    running(client)
    end(fleet, peer)
    fleet.nodes[0].faults.come_up()
    assert ended(client, "read", SyncState.FAILED).message == message
    fleet.set_copy_rate(2**40)
    assert fleet.nodes[1].engine.engine_state.mark("filled") == ""


def test_a_copy_never_writes_into_another_volume_with_its_namespace_id(
    client: NodeClient, peer: NodeClient, filled: SimulatedNode, copy: SyncSpec
) -> None:
    ssd = peer.read_node().ssds[0].ssd_id
    peer.ensure_volume("other", volume(piece(ssd)))
    peer.ensure_namespace(COPY_TARGET, "other", namespace(2, host_nqn=NODE_HOST))
    client.ensure_sync("read", copy)
    peer.remove_namespace(COPY_TARGET, "filled", 1)
    ended(client, "read", SyncState.FAILED, f"target {COPY_TARGET} has no namespace 1")
    peer.remove_namespace(COPY_TARGET, "other", 1)
    again = namespace(generation=2, host_nqn=NODE_HOST)
    refused(
        RefusalCode.ID_IN_USE,
        lambda: peer.ensure_namespace(COPY_TARGET, "other", again),
        "filled",
    )
    ended(client, "read", SyncState.FAILED, "no namespace 1")


def test_a_restarted_copy_delivers_the_content(
    fleet: SimulatedFleet, client: NodeClient, filled: SimulatedNode, copy: SyncSpec
) -> None:
    client.ensure_sync("read", copy)
    filled.restart()
    ended(client, "read", SyncState.FAILED)
    fleet.set_copy_rate(2**40)
    assert client.ensure_sync("read", copy) is True
    ended(client, "read", SyncState.DONE)
    assert filled.read("filled") == "data"


def test_a_stopped_copy_never_delivers_content(
    client: NodeClient, node: SimulatedNode, filled: SimulatedNode, copy: SyncSpec
) -> None:
    client.ensure_sync("read", copy)
    client.remove_sync("read", 3)
    later = copy.model_copy(update={"generation": 4})
    client.ensure_sync("read", later)
    node.restart()
    client.ensure_sync("read", later)
    client.remove_volume("read", 1)
    node.set_copy_rate(2**40)
    time.sleep(0.02)
    assert filled.read("filled") == ""
    assert node.engine.copies.read("read") is None


def test_the_portals_choose_between_targets_of_one_name(
    fleet: SimulatedFleet,
    client: NodeClient,
    copy: SyncSpec,
    make_client: Callable[[SimulatedNode], NodeClient],
) -> None:
    third = make_client(fleet.nodes[2])
    third.ensure_volume("filled", volume(piece(third.read_node().ssds[0].ssd_id)))
    third.ensure_namespace(COPY_TARGET, "filled", namespace(host_nqn=OTHER_HOST))
    other = sync(third.read_node().portals, host_nqn=OTHER_HOST)
    assert other.portals != copy.portals
    fleet.set_copy_rate(2**40)
    client.ensure_sync("read", other)
    ended(client, "read", SyncState.DONE)
    assert [node.read("filled") for node in fleet.nodes[1:]] == ["", "data"]


def test_a_derived_volume_holds_the_content_of_its_source(
    client: NodeClient, node: SimulatedNode, ssds: list[str]
) -> None:
    client.ensure_volume("parent", volume(piece(ssds[0]), generation=7))
    assert node.read("parent") == ""
    node.write("parent", "one")
    client.ensure_snapshot("taken", snapshot(piece(ssds[0], GIB, 4096)))
    node.write("parent", "two")
    kinds = {"shown": SourceKind.WRITABLE_SNAPSHOT_VOLUME, "clone": SourceKind.CLONE_OF_SNAPSHOT}
    for uuid, kind in kinds.items():
        client.ensure_volume(uuid, derived(piece(ssds[0], GIB, 0), kind=kind, of="taken"))
    of_volume = derived(
        piece(ssds[0], GIB, 0), kind=SourceKind.CLONE_OF_VOLUME, of="parent", generation_of=7
    )
    client.ensure_volume("twin", of_volume)
    client.change_volume("parent", volume(piece(ssds[0], 2 * GIB), generation=7))
    node.restart()
    marks = {uuid: node.read(uuid) for uuid in ("parent", "shown", "clone", "twin")}
    assert marks == {"parent": "two", "shown": "one", "clone": "one", "twin": "two"}
    client.remove_volume("twin", 1)
    client.ensure_volume("twin", volume(piece(ssds[0]), generation=2))
    assert node.read("twin") == ""
    refused(RefusalCode.NOT_FOUND, lambda: node.read("none"), "none")
    refused(RefusalCode.NOT_FOUND, lambda: node.write("none", "x"), "none")


def test_a_different_copy_of_one_generation_is_a_violation(
    client: NodeClient, fleet: SimulatedFleet
) -> None:
    """Only the portals may differ."""
    spec = open_copy(client)
    for wrong in ({}, {"portals": spec.portals * 2}, {"nsid": 2}):
        other = spec.model_copy(update=wrong)
        refused(RefusalCode.NOT_FOUND, partial(client.ensure_sync, "none", other))
    [violation] = fleet.violations
    assert "nsid=2" in violation
    fleet.reset()
