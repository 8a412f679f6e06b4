"""The nvmf subsystems of an SPDK target."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from inventory.nodes.engines.spdk.rpc import RpcRefused, SpdkRpc
from inventory.nodes.engines.spdk.spdk_state import NO_SUCH_DEVICE, Bdev
from inventory.nodes.target_ids import ControllerIds

Address = tuple[str, str, str]


@dataclass(frozen=True)
class Subsystem:
    """A subsystem. ``namespaces``: bdev and uuid by namespace id. ``controllers``: its controller
    ids.
    """

    nqn: str
    allows_any_host: bool
    hosts: frozenset[str]
    listeners: frozenset[Address]
    namespaces: dict[int, tuple[str, str]]
    max_namespaces: int
    controllers: ControllerIds

    @classmethod
    def of(cls, shown: dict[str, Any]) -> Self:
        return cls(
            shown["nqn"],
            shown["allow_any_host"],
            frozenset(host["nqn"] for host in shown["hosts"]),
            frozenset(
                (one["adrfam"], one["traddr"], one["trsvcid"]) for one in shown["listen_addresses"]
            ),
            {one["nsid"]: (one["bdev_name"], one["uuid"]) for one in shown["namespaces"]},
            shown["max_namespaces"],
            ControllerIds(first=shown["min_cntlid"], last=shown["max_cntlid"]),
        )


async def read_subsystems(rpc: SpdkRpc) -> dict[str, Subsystem]:
    """All subsystems by NQN, without the discovery subsystem."""
    shown = await rpc.call("nvmf_get_subsystems")
    return {one["nqn"]: Subsystem.of(one) for one in shown if one.get("subtype") == "NVMe"}


def exporter(subsystems: Mapping[str, Subsystem], bdev: str) -> str | None:
    """The NQN of the subsystem that has the bdev, or None. A bdev is in at most one namespace."""
    for one in subsystems.values():
        if any(name == bdev for name, _ in one.namespaces.values()):
            return one.nqn
    return None


async def read_subsystem(rpc: SpdkRpc, nqn: str) -> Subsystem | None:
    """The subsystem with this NQN, or None."""
    try:
        [shown] = await rpc.call("nvmf_get_subsystems", nqn=nqn)
    except RpcRefused as error:
        if error.code != NO_SUCH_DEVICE:
            raise
        return None
    return Subsystem.of(shown)


async def find_exporter(rpc: SpdkRpc, bdevs: Iterable[Bdev]) -> str | None:
    """The NQN of the subsystem that has one of these bdevs, which were just read, or None. Nobody
    exports a bdev that is not claimed, so subsystems are read for claimed ones only.
    """
    claimed = [bdev.name for bdev in bdevs if bdev.is_claimed]
    there = await read_subsystems(rpc) if claimed else {}
    return next(filter(None, (exporter(there, name) for name in claimed)), None)
