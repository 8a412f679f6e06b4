"""The bytes that hosts read and write on nodes over the fake target, whatever the records say."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from inventory.nodes.engines.spdk import connections
from inventory.nodes.wire import (
    ProvisioningType,
    Qos,
    RefusalCode,
    SourceKind,
    SyncState,
)
from tests.nodes.specs import (
    COPY_TARGET,
    GIB,
    HOST,
    MIB,
    NODE_HOST,
    OTHER_HOST,
    OTHER_TARGET,
    TARGET,
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
from tests.spdk.client import Client
from tests.spdk.fixtures import MakeNode
from tests.spdk.host import Host, IoFailed, NoAccess
from tests.spdk.nodes import SpdkNode
from tests.spdk.running import RunningTarget

BLOCK = 4096
UNMAPPED, ZEROED = "ssd-1-1", "ssd-1-2"
THIN = ProvisioningType.THIN
FIRST = {"volume_generation": 1}
GENERATIONS = itertools.count(1)


@pytest.fixture
def node(make_node: MakeNode, targets: list[RunningTarget]) -> SpdkNode:
    return make_node(1, targets[0].socket)


@pytest.fixture
def peer(make_node: MakeNode, targets: list[RunningTarget]) -> SpdkNode:
    return make_node(2, targets[1].socket)


@pytest.fixture
def spdk(targets: list[RunningTarget]) -> Iterator[Client]:
    """Calls to the SPDK target of the node."""
    client = Client(targets[0].socket)
    yield client
    client.close()


def connect(node: SpdkNode, nqn: str = TARGET, host: str = HOST) -> Host:
    [portal] = node.config.spdk.portals
    return Host(portal.ip, portal.port, nqn, host)


@contextmanager
def exported(node: SpdkNode, uuid: str) -> Iterator[Host]:
    """A context in which the volume is namespace 1 of its own target."""
    generation, nqn = next(GENERATIONS), f"{TARGET}-{uuid}"
    node.client.ensure_namespace(nqn, uuid, namespace(generation=generation))
    with connect(node, nqn) as host:
        yield host
    node.client.remove_namespace(nqn, uuid, generation)


def read(node: SpdkNode, uuid: str, offset: int) -> bytes:
    with exported(node, uuid) as host:
        return host.read(1, offset, BLOCK)


def write(node: SpdkNode, uuid: str, offset: int, data: bytes) -> None:
    with exported(node, uuid) as host:
        host.write(1, offset, data * (BLOCK // len(data)))


OLD = b"old!" * (BLOCK // 4)


def fill(node: SpdkNode, uuid: str, size: int) -> None:
    with exported(node, uuid) as host:
        for offset in range(0, size, MIB):
            host.write(1, offset, OLD)


@pytest.mark.parametrize("ssd", [UNMAPPED, ZEROED])
@pytest.mark.parametrize("kind", list(ProvisioningType))
def test_a_new_volume_reads_zeros_after_a_former_one_was_removed(
    node: SpdkNode, ssd: str, kind: ProvisioningType
) -> None:
    size = 16 * MIB
    own = piece(ssd, size)
    node.client.ensure_volume("old", volume(own, provisioning_type=kind))
    fill(node, "old", size)
    node.client.ensure_snapshot("s", snapshot(own, volume_uuid="old", **FIRST))
    fill(node, "old", size)
    for name, source in (
        ("written", SourceKind.WRITABLE_SNAPSHOT_VOLUME),
        ("clone", SourceKind.CLONE_OF_SNAPSHOT),
    ):
        node.client.ensure_volume(name, derived(own, kind=source, of="s"))
        fill(node, name, size)
    node.client.remove_volume("written", 1)
    node.restart()
    node.client.remove_snapshot("s", 1)
    node.client.remove_volume("old", 1)
    node.client.remove_volume("clone", 1)
    for new in ProvisioningType:
        node.client.ensure_volume(new, volume(piece(ssd, 8 * size), provisioning_type=new))
        with exported(node, new) as host:
            for offset in range(0, 8 * size, 4 * MIB):
                host.write(1, offset, b"mine" * (BLOCK // 4))
                assert host.read(1, offset + BLOCK, 4 * MIB - BLOCK) == bytes(4 * MIB - BLOCK)
        node.client.remove_volume(new, 1)


def test_snapshots_and_clones_of_a_spanned_volume_have_its_bytes(node: SpdkNode) -> None:
    pieces = piece(UNMAPPED, GIB), piece(ZEROED, GIB)
    node.client.ensure_volume("v", volume(*pieces))
    write(node, "v", GIB - BLOCK, b"one.")
    write(node, "v", GIB, b"two.")
    node.client.ensure_snapshot("s", snapshot(*pieces, volume_uuid="v", **FIRST))
    write(node, "v", GIB, b"2222")
    thin = piece(UNMAPPED, GIB, 0), piece(ZEROED, GIB, 0)
    read_only = derived(*thin, kind=SourceKind.READ_ONLY_SNAPSHOT_VOLUME, of="s")
    node.client.ensure_volume("shown", read_only)
    node.client.ensure_volume("clone", derived(*thin, kind=SourceKind.CLONE_OF_SNAPSHOT, of="s"))
    of_volume = derived(*thin, kind=SourceKind.CLONE_OF_VOLUME, of="v")
    node.client.ensure_volume("again", of_volume)
    write(node, "clone", GIB - BLOCK, b"mine")
    found = {
        name: (read(node, name, GIB - BLOCK)[:4], read(node, name, GIB)[:4])
        for name in ("v", "shown", "clone", "again")
    }
    assert found == {
        "v": (b"one.", b"2222"),
        "shown": (b"one.", b"two."),
        "clone": (b"mine", b"two."),
        "again": (b"one.", b"2222"),
    }
    with exported(node, "shown") as host, pytest.raises(IoFailed):
        host.write(1, 0, bytes(BLOCK))
    node.client.remove_volume("shown", 1)
    node.client.remove_snapshot("s", 1)
    node.client.remove_volume("v", 1)
    node.restart()
    assert read(node, "clone", GIB)[:4] == b"two."
    assert read(node, "again", GIB)[:4] == b"2222"


def test_a_volume_is_expanded_while_a_host_uses_it(node: SpdkNode) -> None:
    node.client.ensure_volume("v", volume(piece(UNMAPPED, GIB)))
    with exported(node, "v") as host:
        host.write(1, 0, b"kept" * (BLOCK // 4))
        node.client.change_volume("v", volume(piece(UNMAPPED, 2 * GIB)))
        assert host.read(1, 0, 4) == b"kept"
        assert host.read(1, 2 * GIB - BLOCK, BLOCK) == bytes(BLOCK)


def test_a_host_that_lost_access_is_disconnected(node: SpdkNode) -> None:
    node.client.ensure_volume("v", volume(piece(UNMAPPED)))
    node.client.ensure_namespace(TARGET, "v", namespace())
    with pytest.raises(NoAccess):
        connect(node, host=OTHER_HOST)
    with connect(node) as host:
        [target] = node.client.list_targets()
        assert target.connected_hosts == (HOST,)
        later = namespace(generation=2, host_nqn=OTHER_HOST)
        node.client.ensure_namespace(TARGET, "v", later)
        with pytest.raises(ConnectionError):
            host.read(1, 0, BLOCK)
    with pytest.raises(NoAccess):
        connect(node)
    with connect(node, host=OTHER_HOST) as other:
        assert other.read(1, 0, 4) == bytes(4)


def test_a_volume_is_in_at_most_one_target(node: SpdkNode) -> None:
    node.client.ensure_volume("v", volume(piece(UNMAPPED)))
    node.client.ensure_namespace(TARGET, "v", namespace())
    second = namespace(host_nqn=OTHER_HOST)
    refused(
        RefusalCode.IN_USE,
        lambda: node.client.ensure_namespace(OTHER_TARGET, "v", second),
        TARGET,
    )
    assert [target.nqn for target in node.client.list_targets()] == [TARGET]
    node.client.remove_namespace(TARGET, "v", 1)
    node.client.ensure_namespace(OTHER_TARGET, "v", namespace(generation=2, host_nqn=OTHER_HOST))


def test_limits_are_set_in_spdk_and_restored_after_a_restart(
    node: SpdkNode, targets: list[RunningTarget], spdk: Client
) -> None:
    def limits() -> dict[str, int]:
        found = [bdev["assigned_rate_limits"] for bdev in spdk("bdev_get_bdevs")]
        return next((one for one in found if any(one.values())), {})

    qos = Qos(max_iops=1500, max_bw=10 * MIB - 1)
    node.client.ensure_volume("v", volume(piece(UNMAPPED), qos=qos))
    expected = {"rw_ios_per_sec": 2000, "rw_mbytes_per_sec": 10}
    assert expected.items() <= limits().items()
    shown = node.client.read_volume("v")
    assert shown is not None
    assert (shown.qos, shown.enforced_qos) == (qos, Qos(max_iops=2000, max_bw=10 * MIB))
    boot = node.await_up()
    targets[0].restart()
    spdk.close()
    node.await_up(other_than=boot)
    assert expected.items() <= limits().items()
    node.client.change_volume("v", volume(piece(UNMAPPED)))
    assert limits() == {}


def test_a_missing_drive_affects_only_its_own_volumes(
    node: SpdkNode, targets: list[RunningTarget]
) -> None:
    node.client.ensure_volume("both", volume(piece(UNMAPPED, 64 * MIB), piece(ZEROED, 64 * MIB)))
    write(node, "both", 64 * MIB, b"span")
    for nsid, ssd in ((1, UNMAPPED), (2, ZEROED)):
        node.client.ensure_volume(ssd, volume(piece(ssd, 64 * MIB)))
        node.client.ensure_namespace(TARGET, ssd, namespace(nsid))
    drive = node.config.spdk.ssds[1].file
    assert drive is not None
    boot = node.await_up()
    targets[0].kill()
    away = drive.rename(drive.with_suffix(".away"))
    targets[0].start()
    boot = node.await_up(other_than=boot)
    assert [one.uuid for one in node.client.list_volumes()] == [UNMAPPED]
    with connect(node) as host:
        assert list(host.namespaces) == [1]
    away.rename(drive)
    node.await_up(other_than=boot)
    with connect(node) as host:
        assert sorted(host.namespaces) == [1, 2]
    for ssd in (UNMAPPED, ZEROED):
        node.client.remove_namespace(TARGET, ssd, 1)
    assert read(node, "both", 64 * MIB)[:4] == b"span"


def test_a_copy_has_the_bytes_of_its_source(node: SpdkNode, peer: SpdkNode, spdk: Client) -> None:
    node.client.ensure_volume("read", volume(piece(ZEROED)))
    write(node, "read", 0, b"old.")
    write(node, "read", 8 * MIB, b"both")
    node.client.ensure_snapshot("s", snapshot(piece(ZEROED), volume_uuid="read", **FIRST))
    write(node, "read", 0, b"new.")
    write(node, "read", GIB - BLOCK, b"end.")
    before = {one["name"] for one in spdk("bdev_lvol_get_lvols")}
    node.client.ensure_sync("read", open_copy(peer.client))
    ended(node.client, "read", SyncState.DONE)
    with connect(peer, COPY_TARGET, NODE_HOST) as host:
        found = [host.read(1, at, 4) for at in (0, BLOCK, 8 * MIB, GIB - BLOCK)]
    assert found == [b"new.", bytes(4), b"both", b"end."]
    assert spdk("bdev_nvme_get_controllers") == []
    assert {one["name"] for one in spdk("bdev_lvol_get_lvols")} == before
    assert read(node, "read", 0)[:4] == b"new."


def test_a_copy_of_a_spanned_volume_has_the_bytes_of_its_source(
    node: SpdkNode, peer: SpdkNode, spdk: Client
) -> None:
    """The bytes of both pieces and of a snapshot are compared, also after restarts in between."""
    pieces = piece(UNMAPPED, GIB), piece(ZEROED, 64 * MIB)
    node.client.ensure_volume("read", volume(*pieces))
    write(node, "read", GIB - BLOCK, b"one.")
    write(node, "read", GIB, b"two.")
    node.client.ensure_snapshot("s", snapshot(*pieces, volume_uuid="read", **FIRST))
    write(node, "read", GIB, b"2222")
    wanted = volume(piece("ssd-2-2", GIB), piece("ssd-2-1", 64 * MIB), qos=Qos(max_iops=5000))
    peer.client.ensure_volume("filled", wanted)
    by_piece = namespace(host_nqn=NODE_HOST, by_piece=True)
    peer.client.ensure_namespace(COPY_TARGET, "filled", by_piece)
    node.client.ensure_sync("read", sync(peer.client.read_node().portals))
    ended(node.client, "read", SyncState.DONE)
    assert spdk("bdev_nvme_get_controllers") == []
    whole = partial(peer.client.ensure_namespace, TARGET, "filled", namespace())
    refused(RefusalCode.IN_USE, whole, COPY_TARGET)
    pieces = piece("ssd-2-2", GIB), piece("ssd-2-1", 128 * MIB)
    larger = volume(*pieces, qos=Qos(max_iops=5000))
    refused(RefusalCode.CONFLICT, lambda: peer.client.change_volume("filled", larger), COPY_TARGET)
    for _ in range(2):
        assert peer.client.read_drift() == ()
        with connect(peer, COPY_TARGET, NODE_HOST) as host:
            found = [host.read(1, GIB - BLOCK, 4), host.read(2, 0, 4), host.read(2, BLOCK, 4)]
        assert found == [b"one.", b"2222", bytes(4)]
        peer.restart()
    peer.client.remove_namespace(COPY_TARGET, "filled", 1)
    assert read(peer, "filled", GIB - BLOCK)[:4] == b"one."
    assert read(peer, "filled", GIB)[:4] == b"2222"
    assert read(peer, "filled", GIB + BLOCK)[:4] == bytes(4)
    call = Client(peer.socket)
    limits = call("bdev_get_bdevs", name="v-filled")[0]["assigned_rate_limits"]
    call.close()
    assert limits["rw_ios_per_sec"] == 5000


@pytest.mark.parametrize("by_piece", [True, False])
def test_a_spanned_volume_is_copied_only_into_pieces_of_its_sizes(
    node: SpdkNode, peer: SpdkNode, *, by_piece: bool
) -> None:
    node.client.ensure_volume("read", volume(piece(UNMAPPED, GIB), piece(ZEROED, 64 * MIB)))
    peer.client.ensure_volume("filled", volume(piece("ssd-2-1", GIB), piece("ssd-2-2", GIB)))
    spec = namespace(host_nqn=NODE_HOST, by_piece=by_piece)
    peer.client.ensure_namespace(COPY_TARGET, "filled", spec)
    node.client.ensure_sync("read", sync(peer.client.read_node().portals))
    ended(node.client, "read", SyncState.FAILED, f"{GIB}" if by_piece else f"{2 * GIB}")


def test_a_copy_is_stopped_only_when_it_writes_no_more(
    node: SpdkNode,
    peer: SpdkNode,
    targets: list[RunningTarget],
    spdk: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SPDK cannot cancel it; removing its target ends it."""
    monkeypatch.setattr(connections, "ENDING_SECONDS", 0.1)
    node.client.ensure_volume("read", volume(piece(UNMAPPED, GIB)))
    copy = open_copy(peer.client)
    targets[0].hold(1)
    node.client.ensure_sync("read", copy)
    while (found := node.client.read_sync("read")) and not found.bytes_done:
        assert found.state is SyncState.RUNNING
    stop = partial(node.client.remove_sync, "read", 3)
    refused(RefusalCode.UNAVAILABLE, stop, "still being written")
    peer.client.remove_namespace(COPY_TARGET, "filled", 1)
    monkeypatch.undo()
    targets[0].hold(None)
    stop()
    assert spdk("bdev_nvme_get_controllers") == []


def test_a_copy_fails_when_its_target_is_removed(
    node: SpdkNode, peer: SpdkNode, targets: list[RunningTarget]
) -> None:
    node.client.ensure_volume("read", volume(piece(UNMAPPED, GIB)))
    copy = open_copy(peer.client)
    targets[0].pace(0.05)
    node.client.ensure_sync("read", copy)
    peer.client.remove_namespace(COPY_TARGET, "filled", 1)
    ended(node.client, "read", SyncState.FAILED)
    targets[0].pace(0)
    peer.client.ensure_namespace(COPY_TARGET, "filled", namespace(2, 2, host_nqn=NODE_HOST))
    again = sync(copy.portals, nsid=2, generation=4)
    node.client.ensure_sync("read", again)
    ended(node.client, "read", SyncState.DONE)
