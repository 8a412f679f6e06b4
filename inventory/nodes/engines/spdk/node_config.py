"""The configuration file of a node on SPDK: docs/how-to/add-an-spdk-node.md shows an example."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from inventory.nodes.engines.node_config import (
    Name,
    NodeConfig,
    NodeTable,
    Place,
    PortalTable,
    SsdId,
    Table,
    common_values,
    read_table,
    refuse_unknown_ssds,
)
from inventory.nodes.engines.spdk.config import SpdkConfig, SsdConfig
from inventory.nodes.engines.spdk.engine import SpdkEngine
from inventory.nodes.engines.spdk.rpc import SpdkRpc

GIB = 2**30


class SsdTable(Table):
    """A bdev of the SPDK target, or a file that stands for a drive and is created if it
    has a size.
    """

    id: SsdId
    name: Name | None = None
    bdev: Name | None = None
    file: Place | None = None
    size_gib: Annotated[int, Field(ge=1, le=2**20)] | None = None
    block_size: Literal[512, 4096] = 4096
    zeroes_on_unmap: bool = False

    @model_validator(mode="after")
    def one_of_both(self) -> "SsdTable":
        if (self.bdev is None) == (self.file is None):
            raise ValueError("must have either bdev or file")
        if self.bdev is not None and self.size_gib is not None:
            raise ValueError("size_gib is for a file only")
        if self.file is not None and self.size_gib is None and not self.file.is_file():
            raise ValueError("file must exist, or have size_gib")
        return self


class TcpPortalTable(PortalTable):
    """An address where hosts connect over TCP."""

    transport: Literal["tcp"] = "tcp"


class SpdkTable(NodeTable):
    """A node on SPDK."""

    engine: Literal["spdk"] = "spdk"
    socket: Place = Path("/var/tmp/spdk.sock")  # noqa: S108 - where SPDK puts it
    ssds: Annotated[tuple[SsdTable, ...], Field(min_length=1)]
    portals: Annotated[tuple[TcpPortalTable, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def consistent(self) -> "SpdkTable":
        self.check_consistent(
            {
                "ssds: id": [ssd.id for ssd in self.ssds],
                "ssds: bdev or file": [ssd.bdev or ssd.file for ssd in self.ssds],
            }
        )
        return self


@dataclass(frozen=True)
class SpdkNodeConfig(NodeConfig):
    """The configuration of a node on SPDK. ``sizes``: bytes of the files that stand for drives."""

    spdk: SpdkConfig
    sizes: dict[Path, int]

    def prepare(self) -> None:
        """Create the missing files that stand for drives, as sparse files.

        :raises OSError: a file cannot be created.
        """
        for path, size in self.sizes.items():
            path.touch(mode=0o600)
            if not path.stat().st_size:
                os.truncate(path, size)

    def make_engine(self) -> SpdkEngine:
        return SpdkEngine(SpdkRpc(self.spdk.socket), self.spdk)


def read_config(path: Path, *, to_format: Collection[str] = ()) -> SpdkNodeConfig:
    """Read and check the file. ``to_format``: ids of the SSDs whose content may be overwritten.

    :raises WrongConfig: the file cannot be read or breaks a rule.
    """
    table = read_table(path, SpdkTable)
    refuse_unknown_ssds(path, to_format, [ssd.id for ssd in table.ssds])
    return SpdkNodeConfig(
        **common_values(table),
        spdk=_spdk(table, to_format),
        sizes={ssd.file: ssd.size_gib * GIB for ssd in table.ssds if ssd.file and ssd.size_gib},
    )


def _spdk(table: SpdkTable, to_format: Collection[str]) -> SpdkConfig:
    return SpdkConfig(
        ssds=tuple(
            SsdConfig(
                id=ssd.id,
                name=ssd.name or ssd.id,
                bdev=ssd.bdev,
                file=ssd.file,
                block_size=ssd.block_size,
                zeroes_on_unmap=ssd.zeroes_on_unmap,
                format=ssd.id in to_format,
            )
            for ssd in table.ssds
        ),
        portals=table.wire_portals(),
        total_bw=table.total_bandwidth,
        total_iops=table.total_iops,
        state_folder=table.state_folder,
        socket=table.socket,
    )
