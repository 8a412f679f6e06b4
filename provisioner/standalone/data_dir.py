"""The data folder of the embedded form, and its settings."""

import fcntl
import ipaddress
import os
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from provisioner.certificates import Authority
from provisioner.environment import DATA_DIR_SETTINGS, DEFAULT_DATA_DIR, Environment

FIRST_SETTINGS = """\
# Settings of this data folder, written at its first start.
# docs/reference/settings.md lists all settings.
# Variables of the environment take precedence.
SECRET_KEY={secret_key}
REDIS_URL=memory://localhost/
TLS_CERTIFICATE=${{DATA_DIR}}/tls/server.pem
TLS_KEY=${{DATA_DIR}}/tls/server.key
TLS_CLIENT_CA=${{DATA_DIR}}/tls/ca.pem
NODE_CA=${{DATA_DIR}}/tls/ca.pem
NODE_CERTIFICATE=${{DATA_DIR}}/tls/provisioner.pem
PROBE_INTERVAL_SECONDS=2
POLL_INTERVAL_SECONDS=5
COLLECT_INTERVAL_SECONDS=2
STOP_SECONDS=5
"""
OTHER_FORM = ("DATABASE_URL", "REDIS_URL", "SETTINGS_FILE")


class FolderInUse(Exception):
    """Another process uses this data folder. The text names it."""


class DataDir:
    """The folder with all files of one embedded system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tls = path / "tls"
        self.logs = path / "logs"
        self.nodes = path / "nodes"
        self.host_token = path / "host_token"

    @property
    def ca(self) -> Path:
        return self.tls / "ca.pem"

    @property
    def client_certificate(self) -> Path:
        """Certificate and key that clients of the API present."""
        return self.tls / "ssdtoolbox.pem"

    @property
    def provisioner_certificate(self) -> Path:
        """Certificate and key that the provisioner presents to nodes."""
        return self.tls / "provisioner.pem"

    @property
    def node_certificate(self) -> tuple[Path, Path]:
        """Certificate and key of the simulated nodes."""
        return self.tls / "node.pem", self.tls / "node.key"

    def lock(self) -> int:
        """Lock the folder until this process ends.

        :raises FolderInUse: another process has locked it.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode().strip()
            os.close(descriptor)
            raise FolderInUse(f"{self.path} is in use by process {holder}") from None
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor

    def complete(self, environment: Environment) -> None:
        """Create missing files, and renew old certificates."""
        authority = Authority.of(self.tls)
        authority.server("server", _names(environment))
        authority.node("node", ["localhost", "127.0.0.1", "::1"])
        authority.client("ssdtoolbox")
        authority.provisioner()
        for folder in (self.logs, self.nodes):
            folder.mkdir(mode=0o700, exist_ok=True)


def prepare() -> None:
    """Create the data folder and, at its first start, its settings, before Django reads them.

    The embedded form always uses SQLite and a broker in memory, so variables that name others are
    removed from the environment.
    """
    folder = Path(os.environ.get("DATA_DIR") or DEFAULT_DATA_DIR).resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = folder / DATA_DIR_SETTINGS
        if not settings.exists():
            write_secret(settings, FIRST_SETTINGS.format(secret_key=secrets.token_urlsafe(48)))
    except OSError as error:
        raise SystemExit(f"provisioner: DATA_DIR cannot be written: {error}.") from None
    os.environ["DATA_DIR"] = str(folder)
    for name in OTHER_FORM:
        os.environ.pop(name, None)


def write_secret(path: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _names(environment: Environment) -> list[str]:
    """The names and addresses of the API."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    names += [environment.api_host, urlsplit(environment.public_url).hostname or ""]
    return [name for name in names if name and not is_any_address(name)]


def is_any_address(name: str) -> bool:
    """Whether a server on this address listens on all addresses of the machine."""
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False
