"""The wire types of ``/v1/node/syslogs``."""

from typing import Annotated

from pydantic import Field

from inventory.nodes.wire import Wire

MOST_SERVERS = 16
NO_NUL = r"^[^\x00]*$"

ShortText = Annotated[str, Field(max_length=255, pattern=NO_NUL)]


class SyslogServer(Wire):
    """``certificate``: the PEM that is trusted when ``url`` is called, empty for the system's."""

    id: int = Field(ge=0, lt=2**63)
    name: ShortText
    url: ShortText
    state: bool
    use_tls: bool
    cert_file_name: ShortText = ""
    certificate: str = Field(default="", max_length=65_536, pattern=NO_NUL)


class SyslogServers(Wire):
    servers: tuple[SyslogServer, ...] = Field(default=(), max_length=MOST_SERVERS)
