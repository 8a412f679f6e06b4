"""The configuration file of a node agent: TOML with one table of values and two lists.

docs/how-to/add-an-spdk-node.md shows an example.
"""

import ipaddress
import os
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from inventory.nodes.agent.agent import Identity
from inventory.nodes.agent.listener import TlsFiles
from inventory.nodes.engines.spdk.config import SpdkConfig, SsdConfig
from inventory.nodes.wire import Identifier, Portal

GIB = 2**30
SHOWN_CHARACTERS = 100


class WrongConfig(Exception):
    """The text names the file, the field, its value and the rule."""


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("must be an existing file")
    return path


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


Address = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
File = Annotated[Path, AfterValidator(_file)]
Place = Annotated[Path, AfterValidator(_absolute)]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PortalTable(_Table):
    """An address where hosts connect."""

    ip: Address
    port: Port = 4420


class SsdTable(_Table):
    """A bdev of the SPDK target, or a file that stands for a drive and is created if it
    has a size.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
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


class NodeTable(_Table):
    """The node. Bandwidth is in bytes per second; the provisioner decides how much of it it
    reserves.
    """

    persistent_id: Identifier
    name: Name
    address: Address
    port: Port = 443
    certificate: File
    key: File
    client_ca: File | None = None
    token_file: File | None = None
    socket: Place = Path("/var/tmp/spdk.sock")  # noqa: S108 - where SPDK puts it
    state_folder: Place
    total_bandwidth: Annotated[int, Field(ge=1, lt=2**63)]
    total_iops: Annotated[int, Field(ge=1, lt=2**63)]
    portals: Annotated[tuple[PortalTable, ...], Field(min_length=1)]
    ssds: Annotated[tuple[SsdTable, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def consistent(self) -> "NodeTable":
        if self.client_ca is None and self.token_file is None:
            raise ValueError("needs client_ca or token_file to restrict who may call")
        for what, values in (
            ("ssds: id", [ssd.id for ssd in self.ssds]),
            ("ssds: bdev or file", [str(ssd.bdev or ssd.file) for ssd in self.ssds]),
            ("portals", [f"{portal.ip} port {portal.port}" for portal in self.portals]),
        ):
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"{what} {', '.join(sorted(twice))} is listed twice")
        return self


@dataclass(frozen=True)
class NodeConfig:
    """The configuration for the parts of an agent. ``token``: the bearer that callers must show.
    ``sizes``: bytes of the files that stand for drives.
    """

    identity: Identity
    tls: TlsFiles
    token: str | None
    spdk: SpdkConfig
    sizes: dict[Path, int]

    def make_files(self) -> None:
        """Create the missing files that stand for drives, as sparse files.

        :raises OSError: a file cannot be created.
        """
        for path, size in self.sizes.items():
            path.touch(mode=0o600)
            if not path.stat().st_size:
                os.truncate(path, size)


def read_config(path: Path, *, to_format: Collection[str] = ()) -> NodeConfig:
    """Read and check the file. ``to_format``: ids of the SSDs whose content may be overwritten.

    :raises WrongConfig: the file cannot be read or breaks a rule.
    """
    try:
        table = NodeTable.model_validate(tomllib.loads(path.read_text()))
    except ValidationError as error:
        raise WrongConfig(f"{path}: {_sentence(error)}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongConfig(f"{path}: {error}") from None
    unknown = sorted(set(to_format) - {ssd.id for ssd in table.ssds})
    if unknown:
        raise WrongConfig(f"--format {', '.join(unknown)}: no such id among ssds of {path}")
    return NodeConfig(
        identity=Identity(table.persistent_id, table.name, (table.address,), table.port),
        tls=TlsFiles(table.certificate, table.key, table.client_ca),
        token=_token(table.token_file),
        spdk=_spdk(table, to_format),
        sizes={ssd.file: ssd.size_gib * GIB for ssd in table.ssds if ssd.file and ssd.size_gib},
    )


def _spdk(table: NodeTable, to_format: Collection[str]) -> SpdkConfig:
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
        portals=tuple(Portal(ip=portal.ip, port=portal.port) for portal in table.portals),
        total_bw=table.total_bandwidth,
        total_iops=table.total_iops,
        state_folder=table.state_folder,
        socket=table.socket,
    )


def _token(file: Path | None) -> str | None:
    """The token in the file.

    :raises WrongConfig: the file is empty.
    """
    if file is None:
        return None
    token = file.read_text().strip()
    if not token:
        raise WrongConfig(f"token_file: {file} is empty")
    return token


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    rule = first["msg"].removeprefix("Value error, ")
    value: Any = first["input"]
    shown = f" is {str(value)[:SHOWN_CHARACTERS]!r}" if not isinstance(value, dict) else ""
    return f"{field}{shown}: {rule}" if field else rule
