"""Common parts of the configuration files of all engines: TOML with a table of values and two
lists.
"""

import ipaddress
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.app import make_app
from inventory.nodes.agent.database import Database
from inventory.nodes.agent.listener import TlsFiles
from inventory.nodes.agent.service import AgentService, RestartableEngine
from inventory.nodes.engines.base import Engine
from inventory.nodes.portal_transports import TRTYPES
from inventory.nodes.wire import Identifier, Portal

SHOWN_CHARACTERS = 100
TRANSPORTS = {name: transport for transport, name in TRTYPES.items()}
STATE_FILE = "node.sqlite3"


class WrongConfig(Exception):
    """The configuration file is wrong. The text names the file, field, value and rule."""


def _address(value: str) -> str:
    address = ipaddress.ip_address(value)
    if address.is_unspecified:
        raise ValueError("must be an address that others can connect to")
    return str(address)


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
SsdId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
PerSecond = Annotated[int, Field(ge=1, lt=2**63)]


class Table(BaseModel):
    """A table of the file. Unknown values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PortalTable(Table):
    """An address where hosts connect."""

    ip: Address
    port: Port = 4420
    transport: Literal["tcp", "rdma"] = "tcp"

    def __str__(self) -> str:
        return f"{self.ip} port {self.port}" + (" over RDMA" if self.transport == "rdma" else "")


class NodeTable(Table):
    """The node. Bandwidth is in bytes per second; the provisioner decides how much can be
    reserved.
    """

    engine: str
    persistent_id: Identifier
    name: Name
    address: Address
    port: Port = 443
    certificate: File
    key: File
    client_ca: File | None = None
    token_file: File | None = None
    state_folder: Place
    total_bandwidth: PerSecond
    total_iops: PerSecond
    portals: Annotated[tuple[PortalTable, ...], Field(min_length=1)]

    def check_consistent(self, unique: dict[str, Iterable[object]]) -> None:
        """Check the rules for several values. ``unique``: lists that must not repeat a value.

        :raises ValueError: a rule is broken.
        """
        if self.client_ca is None and self.token_file is None:
            raise ValueError("needs client_ca or token_file to restrict callers")
        for what, listed in {**unique, "portals": self.portals}.items():
            values = [str(one) for one in listed]
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"{what} {', '.join(sorted(twice))} is listed twice")

    def wire_portals(self) -> tuple[Portal, ...]:
        """The portals in the format of the node API."""
        return tuple(
            Portal(ip=one.ip, port=one.port, transport=TRANSPORTS[one.transport])
            for one in self.portals
        )


@dataclass(frozen=True)
class NodeConfig:
    """The configuration of an agent. ``token``: the bearer token that callers must have.
    ``state_folder``: the folder where the agent and its engine keep their state across restarts.
    """

    identity: Identity
    tls: TlsFiles
    token: str | None
    state_folder: Path

    def prepare(self) -> None:
        """Create the files and folders that must exist before the engine starts.

        :raises OSError: one of them cannot be created.
        """

    def open_database(self) -> Database:
        """Open the database of the agent in the state folder, which must exist."""
        return Database(self.state_folder / STATE_FILE)

    def make_service(self, database: Database) -> AgentService:
        """Create the service. Call it in the event loop that will run it.

        :raises OSError: a certificate cannot be read, or the port is in use.
        """
        engine = self.make_engine()
        agent = Agent(self.identity, engine, database)
        return AgentService(agent, engine, make_app(token=self.token), self.tls.context())

    def make_engine(self) -> "NodeEngine":
        """The engine that the file names."""
        raise NotImplementedError


class NodeEngine(Engine, RestartableEngine, Protocol):
    """An engine that an agent runs on a server."""


T = TypeVar("T", bound=NodeTable)


def read_table(path: Path, kind: type[T]) -> T:
    """Read and check the file.

    :raises WrongConfig: it cannot be read or breaks a rule.
    """
    try:
        return kind.model_validate(tomllib.loads(path.read_text()))
    except ValidationError as error:
        raise WrongConfig(f"{path}: {_sentence(error)}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongConfig(f"{path}: {error}") from None


def common_values(table: NodeTable) -> dict[str, Any]:
    """The values of a :class:`NodeConfig`.

    :raises WrongConfig: the token file is empty.
    """
    return {
        "identity": Identity(table.persistent_id, table.name, (table.address,), table.port),
        "tls": TlsFiles(table.certificate, table.key, table.client_ca),
        "token": _token(table.token_file),
        "state_folder": table.state_folder,
    }


def refuse_unknown_ssds(path: Path, to_format: Collection[str], ssds: Iterable[str]) -> None:
    """Check that ``--format`` names SSDs of the file.

    :raises WrongConfig: it does not.
    """
    unknown = sorted(set(to_format) - set(ssds))
    if unknown:
        raise WrongConfig(f"--format {', '.join(unknown)}: no such id among ssds of {path}")


def _token(file: Path | None) -> str | None:
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
