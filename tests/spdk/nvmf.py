"""NVMe-oF subsystems: which host has access to which bdev at which address. All state is in
memory.
"""

import re
import uuid as uuids
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tests.spdk.bdevs import Bdev, Registry
from tests.spdk.fabric import Fabric
from tests.spdk.rpc import INTERNAL, Module, Refused, invalid_parameters, no_device

DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
UUID_NQN = "nqn.2014-08.org.nvmexpress:uuid:"
LONGEST_NQN = 223
MASKABLE = {"nvmcmps", "nvmdsmsv", "nvmwzsv", "reservs", "nvmcpys"}
LAST_CNTLID = 65519
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NQN = re.compile(r"nqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+:.+|nqn\.\d{4}-\d{2}\.[A-Za-z0-9-]+\..+")


@dataclass(frozen=True)
class Address:
    trtype: str
    traddr: str
    trsvcid: str
    adrfam: str = "IPv4"

    def shown(self) -> dict[str, str]:
        return {
            "trtype": self.trtype.upper(),
            "adrfam": self.adrfam,
            "traddr": self.traddr,
            "trsvcid": self.trsvcid,
        }


@dataclass(frozen=True)
class NamespaceOptions:
    bdev_name: str
    nsid: int = 0
    uuid: str | None = None
    nguid: str | None = None
    eui64: str | None = None
    anagrpid: int | None = None
    no_auto_visible: bool = False


@dataclass(frozen=True)
class Transport:
    """``masked``: commands that its hosts cannot use although their namespaces support them."""

    max_aq_depth: int
    masked: frozenset[str]


@dataclass
class Namespace:
    bdev: Bdev
    uuid: str
    nguid: str


@dataclass
class Subsystem:
    nqn: str
    serial_number: str
    model_number: str
    max_namespaces: int
    ana_reporting: bool
    allow_any_host: bool
    dmrsl: int
    min_cntlid: int
    max_cntlid: int
    last_cntlid: int = 0
    hosts: list[str] = field(default_factory=list)
    listeners: list[Address] = field(default_factory=list)
    namespaces: dict[int, Namespace] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        return {
            "nqn": self.nqn,
            "subtype": "NVMe",
            "listen_addresses": [address.shown() for address in self.listeners],
            "allow_any_host": self.allow_any_host,
            "hosts": [{"nqn": host} for host in self.hosts],
            "serial_number": self.serial_number,
            "model_number": self.model_number,
            "max_namespaces": self.max_namespaces,
            "passthrough": False,
            "min_cntlid": self.min_cntlid,
            "max_cntlid": self.max_cntlid,
            "dmrsl": self.dmrsl,
            "wzsl": 0,
            "namespaces": [
                {
                    "nsid": nsid,
                    "bdev_name": one.bdev.name,
                    "name": one.bdev.name,
                    "nguid": one.nguid,
                    "uuid": one.uuid,
                }
                for nsid, one in sorted(self.namespaces.items())
            ],
        }

    def next_cntlid(self, used: Collection[int]) -> int | None:
        """Return the id after the last one, or the lowest id after the highest. None: all are in
        use.
        """
        number = self.max_cntlid - self.min_cntlid + 1
        for step in range(1, number + 1):
            place = max(self.last_cntlid, self.min_cntlid - 1) - self.min_cntlid + step
            cntlid = self.min_cntlid + place % number
            if cntlid not in used:
                self.last_cntlid = cntlid
                return cntlid
        return None

    def admits(self, host: str) -> bool:
        return self.allow_any_host or host in self.hosts


def is_nqn(text: str) -> bool:
    if text.startswith(UUID_NQN):
        return UUID.fullmatch(text.removeprefix(UUID_NQN)) is not None
    return len(text.encode()) <= LONGEST_NQN and NQN.fullmatch(text) is not None


class Subsystems:
    """The exports. If a bdev disappears, its namespaces disappear, too."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.all: dict[str, Subsystem] = {}
        self.transports: dict[str, Transport] = {}
        self.fabric = Fabric(self)
        registry.on_remove.append(self._forget)

    def get(self, nqn: str) -> Subsystem:
        """:raises Refused: -32602"""
        if nqn not in self.all:
            raise invalid_parameters()
        return self.all[nqn]

    def is_masked(self, command: str) -> bool:
        """Whether the command is masked. Hosts have only one transport."""
        return any(command in one.masked for one in self.transports.values())

    def _forget(self, bdev: Bdev) -> None:
        for subsystem in self.all.values():
            for nsid, one in list(subsystem.namespaces.items()):
                if one.bdev is bdev:
                    del subsystem.namespaces[nsid]


class NvmfMethods(Module):
    METHODS = ("nvmf_",)
    UNDECODABLE = (-32602, "Invalid parameters")

    def __init__(self, subsystems: Subsystems) -> None:
        self._subsystems = subsystems

    async def nvmf_create_transport(
        self,
        trtype: str,
        max_queue_depth: int | None = None,
        max_io_qpairs_per_ctrlr: int | None = None,
        in_capsule_data_size: int | None = None,
        max_io_size: int | None = None,
        max_aq_depth: int = 128,
        masked_oncs: list[str] | None = None,
    ) -> bool:
        kind = trtype.upper()
        masked = frozenset(masked_oncs or ())
        if masked - MASKABLE:
            raise invalid_parameters()
        if kind in self._subsystems.transports:
            raise Refused(INTERNAL, f"Transport type '{kind}' already exists")
        self._subsystems.transports[kind] = Transport(max_aq_depth, masked)
        return True

    async def nvmf_get_transports(self, trtype: str | None = None) -> list[dict[str, Any]]:
        if trtype and trtype.upper() not in self._subsystems.transports:
            raise no_device()
        return [
            {
                "trtype": kind,
                "max_queue_depth": 128,
                "max_io_size": 131072,
                "max_aq_depth": one.max_aq_depth,
            }
            for kind, one in self._subsystems.transports.items()
        ]

    async def nvmf_create_subsystem(
        self,
        nqn: str,
        serial_number: str = "00000000000000000000",
        model_number: str = "SPDK bdev Controller",
        max_namespaces: int = 32,
        allow_any_host: bool = False,
        ana_reporting: bool = False,
        min_cntlid: int = 1,
        max_cntlid: int = LAST_CNTLID,
        dmrsl: int = 2097152,
    ) -> bool:
        is_taken = nqn in self._subsystems.all
        if is_taken or not is_nqn(nqn) or len(serial_number) > 20 or len(model_number) > 40:
            raise Refused(INTERNAL, f"Unable to create subsystem {nqn}")
        if not 1 <= min_cntlid <= max_cntlid <= LAST_CNTLID:
            raise Refused(INTERNAL, f"Unable to create subsystem {nqn}")
        self._subsystems.all[nqn] = Subsystem(
            *(nqn, serial_number, model_number, max_namespaces),
            *(ana_reporting, allow_any_host),
            *(dmrsl, min_cntlid, max_cntlid),
        )
        return True

    async def nvmf_delete_subsystem(self, nqn: str) -> bool:
        subsystem = self._subsystems.get(nqn)
        del self._subsystems.all[nqn]
        for one in subsystem.namespaces.values():
            one.bdev.claimed_by = ""
        self._subsystems.fabric.disconnect(nqn)
        self._subsystems.fabric.close_unused()
        return True

    async def nvmf_get_subsystems(self, nqn: str | None = None) -> list[dict[str, Any]]:
        if nqn is not None and nqn not in self._subsystems.all:
            raise no_device()
        chosen = [one for one in self._subsystems.all.values() if nqn in {None, one.nqn}]
        shown = [one.shown() for one in chosen]
        return shown if nqn else [_discovery(), *shown]

    async def nvmf_subsystem_add_ns(self, nqn: str, namespace: NamespaceOptions) -> int:
        subsystem = self._subsystems.get(nqn)
        bdev = self._subsystems.registry.find(namespace.bdev_name)
        free = (nsid for nsid in range(1, 2**32) if nsid not in subsystem.namespaces)
        nsid = namespace.nsid or next(free)
        if nsid in subsystem.namespaces or nsid > subsystem.max_namespaces:
            raise invalid_parameters()
        if bdev is None or bdev.claimed_by:
            raise invalid_parameters()
        uuid = str(uuids.UUID(namespace.uuid)) if namespace.uuid else bdev.uuid
        nguid = (namespace.nguid or uuid.replace("-", "")).upper()
        bdev.claimed_by = "nvmf"
        subsystem.namespaces[nsid] = Namespace(bdev, uuid, nguid)
        return nsid

    async def nvmf_subsystem_remove_ns(self, nqn: str, nsid: int) -> bool:
        subsystem = self._subsystems.get(nqn)
        if nsid not in subsystem.namespaces:
            raise invalid_parameters()
        subsystem.namespaces.pop(nsid).bdev.claimed_by = ""
        return True


def _discovery() -> dict[str, Any]:
    return {
        "nqn": DISCOVERY,
        "subtype": "Discovery",
        "listen_addresses": [],
        "allow_any_host": True,
        "hosts": [],
    }
