"""Values of wire types, and checks, for tests."""

from collections.abc import Callable
from typing import Any

import pytest

from inventory.nodes.client import NodeClient, NodeRefused
from inventory.nodes.wire import (
    NamespaceSpec,
    Piece,
    Portal,
    ProvisioningType,
    RefusalCode,
    SnapshotSpec,
    Source,
    SourceKind,
    Ssd,
    Sync,
    SyncSpec,
    SyncState,
    VolumeSpec,
)
from tests.waiting import eventually

MIB = 2**20
GIB = 2**30
HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"
OTHER_HOST = "nqn.2014-08.org.nvmexpress:uuid:22222222-2222-4222-8222-222222222222"
TARGET = "nqn.2022-08.com.kioxia:target-a"
OTHER_TARGET = "nqn.2022-08.com.kioxia:target-b"
COPY_TARGET = "nqn.2022-08.com.kioxia:copy-1"
NODE_HOST = "nqn.2022-08.com.kioxia:node-a"

ENDED_SECONDS = 60  # a real target copies all bytes
CLEARED_SECONDS = 60

Restart = Callable[[], None]


def piece(ssd_id: str, capacity: int = GIB, allocated: int | None = None) -> Piece:
    """A piece that allocates its capacity by default."""
    return Piece(
        ssd_id=ssd_id, capacity=capacity, allocated=capacity if allocated is None else allocated
    )


def volume(*pieces: Piece, generation: int = 1, **more: Any) -> VolumeSpec:
    """A thick volume with blocks of 4096 bytes by default."""
    fields = {"provisioning_type": ProvisioningType.THICK, "block_size": 4096} | more
    return VolumeSpec(generation=generation, pieces=pieces, **fields)


def snapshot(
    *pieces: Piece, volume_uuid: str = "parent", volume_generation: int = 7, generation: int = 1
) -> SnapshotSpec:
    return SnapshotSpec(
        generation=generation,
        volume_uuid=volume_uuid,
        volume_generation=volume_generation,
        pieces=pieces,
    )


def derived(
    *pieces: Piece, kind: SourceKind, of: str, generation_of: int = 1, **more: Any
) -> VolumeSpec:
    """A thin volume made from a snapshot or volume."""
    source = Source(kind=kind, uuid=of, generation=generation_of)
    return volume(*pieces, provisioning_type=ProvisioningType.THIN, source=source, **more)


def namespace(
    nsid: int = 1, generation: int = 1, host_nqn: str = HOST, **more: Any
) -> NamespaceSpec:
    return NamespaceSpec(generation=generation, nsid=nsid, host_nqn=host_nqn, **more)


def ssd_of(client: NodeClient, block_size: int) -> str:
    """An SSD that supports volumes with this block size."""
    ssds = client.read_node().ssds
    return next(ssd.ssd_id for ssd in ssds if block_size in ssd.block_sizes)


def pieces_on(client: NodeClient, *capacities: int) -> list[Piece]:
    """Pieces on SSDs that support blocks of 4096 bytes."""
    ssds = [ssd.ssd_id for ssd in client.read_node().ssds if 4096 in ssd.block_sizes]
    return [piece(ssd, capacity) for ssd, capacity in zip(ssds, capacities, strict=False)]


def open_copy(peer: NodeClient, capacity: int = GIB, **more: Any) -> SyncSpec:
    """Create the volume ``filled`` on the peer, in a target for copies."""
    ssd = ssd_of(peer, more.get("block_size", 4096))
    peer.ensure_volume("filled", volume(piece(ssd, capacity), **more))
    peer.ensure_namespace(COPY_TARGET, "filled", namespace(host_nqn=NODE_HOST))
    return sync(peer.read_node().portals)


def sync(portals: tuple[Portal, ...], **more: Any) -> SyncSpec:
    fields = {
        "generation": 3,
        "volume_generation": 1,
        "nqn": COPY_TARGET,
        "nsid": 1,
        "host_nqn": NODE_HOST,
    }
    return SyncSpec(portals=portals, **fields | more)


def ended(client: NodeClient, uuid: str, state: SyncState, *parts: str) -> Sync:
    """Wait until the copy has ended in this state, with a message that contains the parts."""

    def found() -> Sync:
        copy = client.read_sync(uuid)
        assert copy is not None
        return copy

    eventually(
        lambda: found().state is not SyncState.RUNNING,
        seconds=ENDED_SECONDS,
        what=found,
        pause=0.005,
    )
    copy = found()
    assert copy.state is state, copy
    assert all(part in copy.message for part in parts), copy
    return copy


def refused(code: RefusalCode, call: Callable[[], object], *parts: str) -> None:
    """Check that the call is refused with this code and a message that contains the parts."""
    with pytest.raises(NodeRefused) as caught:
        call()
    assert caught.value.code is code, caught.value
    for part in parts:
        assert part in caught.value.message


def await_ssds(client: NodeClient, ssds: tuple[Ssd, ...]) -> None:
    """Wait until the SSDs are as before, because free space may first have to be cleared.

    :raises AssertionError: they are not within CLEARED_SECONDS.
    """
    eventually(
        lambda: client.read_node().ssds == ssds,
        seconds=CLEARED_SECONDS,
        what=lambda: client.read_node().ssds,
    )
