"""The wire types of ``/v1/node/syslogs``."""

from typing import Annotated

from pydantic import Field

from inventory.nodes.wire import Wire

MOST_SERVERS = 16
NO_NUL = r"^[^\x00]*$"

ShortText = Annotated[str, Field(max_length=255, pattern=NO_NUL)]


class SyslogServer(Wire):
    """A server that receives log records. ``certificate``: the PEM to trust for ``url``; empty: the
    system's CAs.
    """

    id: int = Field(ge=0, lt=2**63)
    name: ShortText
    url: ShortText
    state: bool
    use_tls: bool
    cert_file_name: ShortText = ""
    certificate: str = Field(default="", max_length=65_536, pattern=NO_NUL)


class SyslogServers(Wire):
    """The syslog servers of a node."""

    servers: tuple[SyslogServer, ...] = Field(default=(), max_length=MOST_SERVERS)
