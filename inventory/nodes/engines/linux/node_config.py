"""The configuration file of a node on the Linux kernel. docs/how-to/add-a-linux-node.md shows an
example.
"""

import ipaddress
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from inventory.nodes.engines.linux.config import LinuxConfig, SsdConfig
from inventory.nodes.engines.linux.engine import LinuxEngine
from inventory.nodes.engines.linux.real_kernel import ENVIRONMENT, RealKernel
from inventory.nodes.engines.node_config import (
    Name,
    NodeConfig,
    NodeTable,
    SsdId,
    Table,
    common_values,
    read_table,
    refuse_unknown_ssds,
)


class SsdTable(Table):
    """A whole block device or a partition. A path under ``/dev/disk/by-id`` stays the same when
    devices are renamed.
    """

    id: SsdId
    name: Name | None = None
    device: Annotated[str, Field(pattern=r"^/dev/[A-Za-z0-9/._:+=@-]+$", max_length=255)]


class LinuxTable(NodeTable):
    """A node on the Linux kernel."""

    engine: Literal["linux"]
    ssds: Annotated[tuple[SsdTable, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def consistent(self) -> "LinuxTable":
        self.check_consistent(
            {
                "ssds: id": [ssd.id for ssd in self.ssds],
                "ssds: device": [ssd.device for ssd in self.ssds],
            }
        )
        self._check_portals()
        return self

    def _check_portals(self) -> None:
        """:raises ValueError: copies between nodes or connected hosts could not work."""
        over_rdma = [portal for portal in self.portals if portal.transport == "rdma"]
        if len(over_rdma) == len(self.portals):
            raise ValueError(
                "portals: at least one must have transport tcp, over which nodes copy volumes"
            )
        for portal in over_rdma:
            if ipaddress.ip_address(portal.ip).is_loopback:
                # the kernel would listen on all RDMA devices
                raise ValueError(f"portals: {portal}: must be the address of an RDMA device")
        if over_rdma and not shutil.which("rdma", path=ENVIRONMENT["PATH"]):
            raise ValueError(
                "portals: transport rdma needs the command rdma, which shows connected hosts:"
                " install the package iproute2"
            )


@dataclass(frozen=True)
class LinuxNodeConfig(NodeConfig):
    """The configuration of a node on the Linux kernel."""

    linux: LinuxConfig

    def make_engine(self) -> LinuxEngine:
        return LinuxEngine(RealKernel(), self.linux)


def read_config(path: Path, *, to_format: Collection[str] = ()) -> LinuxNodeConfig:
    """Read and check the file. ``to_format``: ids of the SSDs whose content may be overwritten.

    :raises WrongConfig: the file cannot be read or breaks a rule.
    """
    table = read_table(path, LinuxTable)
    refuse_unknown_ssds(path, to_format, [ssd.id for ssd in table.ssds])
    linux = LinuxConfig(
        node=table.persistent_id,
        ssds=tuple(
            SsdConfig(ssd.id, ssd.name or ssd.id, ssd.device, format=ssd.id in to_format)
            for ssd in table.ssds
        ),
        portals=table.wire_portals(),
        total_bw=table.total_bandwidth,
        total_iops=table.total_iops,
        state_folder=table.state_folder,
    )
    return LinuxNodeConfig(**common_values(table), linux=linux)
