"""Wire values as tests need them."""

from typing import Any

from inventory.nodes.wire import NamespaceSpec, Piece, ProvisioningType, VolumeSpec

GIB = 2**30
HOST = "nqn.2014-08.org.nvmexpress:uuid:host-a"
OTHER_HOST = "nqn.2014-08.org.nvmexpress:uuid:host-b"
TARGET = "nqn.2022-08.com.kioxia:target-a"
OTHER_TARGET = "nqn.2022-08.com.kioxia:target-b"


def piece(ssd_id: str, capacity: int = GIB, allocated: int | None = None) -> Piece:
    """A piece that allocates its capacity unless told otherwise."""
    return Piece(
        ssd_id=ssd_id, capacity=capacity, allocated=capacity if allocated is None else allocated
    )


def volume(*pieces: Piece, generation: int = 1, **more: Any) -> VolumeSpec:
    """A thick volume in blocks of 4096 unless told otherwise."""
    fields = {"provisioning_type": ProvisioningType.THICK, "block_size": 4096} | more
    return VolumeSpec(generation=generation, pieces=pieces, **fields)


def namespace(nsid: int = 1, generation: int = 1, host_nqn: str = HOST) -> NamespaceSpec:
    return NamespaceSpec(generation=generation, nsid=nsid, host_nqn=host_nqn)
