"""The files of deploy/ and the settings of docs/how-to/install.md, for processes of this machine.

Only places differ from the shipped files: folders, ports, addresses and paths of programs. Apart
from that, a test changes only intervals, so that it need not wait, or keys.
"""

import contextlib
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from provisioner.certificates import Authority
from tests import pages, servers
from tests.programs import installed
from tests.system.units import Unit

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = "docs/how-to/install.md"
PLACES = {"DATABASE_URL", "REDIS_URL", "NODE_CA", "NODE_CERTIFICATE", "SECRET_KEY"}
"""Settings of the page that name a place, or are secret; PUBLIC_URL is HAProxy's."""
CHANGED = re.compile(r"\w+_(SECONDS|KEYS)")
"""What a test may change: intervals, limits of time, keys that are rotated."""


def settings() -> dict[str, str]:
    """Return settings.env as the page writes it, with the variables of the shell replaced."""
    [block] = [b.text for b in pages.of("install", PAGE) if "/settings.env <<END" in b.text]
    lines = block.partition("/settings.env <<END\n")[2].partition("\nEND\n")[0].splitlines()
    return dict(line.split("=", 1) for line in lines)


def free_prefix() -> str:
    """Return four digits that become a free port if 1, 2 or 3 is appended."""
    while True:
        prefix = str(servers.free_port())[:4]
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for digit in "123":
                held.enter_context(socket.create_server(("127.0.0.1", int(prefix + digit))))
            return prefix


def with_ports(text: str, prefixes: Mapping[str, str]) -> str:
    """Replace ports with the prefix of the shipped files by free ones."""
    for shown, free in prefixes.items():
        text = re.sub(rf"\b{shown}(?=\d\b|%i)", free, text)
    return text


class Server:
    """The units of one server, with ``folder`` instead of /etc/provisioner and
    /var/lib/provisioner.

    ``places``: values of PLACES. ``changed``: settings that CHANGED allows. ``exceptions``:
    settings that no form has; the caller gives the reason.
    """

    def __init__(
        self,
        folder: Path,
        places: Mapping[str, str],
        changed: Mapping[str, str],
        exceptions: Mapping[str, str] | None = None,
    ) -> None:
        assert set(places) == PLACES
        wrong = [name for name in changed if not CHANGED.fullmatch(name)]
        assert not wrong, f"no shipped form sets {wrong}"
        self.folder = folder
        self.port: Final = servers.free_port()
        self.prefixes: Final = {shown: free_prefix() for shown in ("3010", "3020", "3021")}
        self.settings = settings() | dict(places) | {"PUBLIC_URL": self.url} | dict(changed)
        self.settings |= exceptions or {}
        self._settings_file = folder / "settings.env"
        self.write_settings()

    @property
    def url(self) -> str:
        """The URL of HAProxy."""
        return f"https://127.0.0.1:{self.port}"

    def write_settings(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        self._settings_file.write_text("".join(lines))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands, as ``provisioner-manage`` sets it."""
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SETTINGS_FILE": str(self._settings_file),
            "DATA_DIR": str(self.folder),
        }

    def unit(self, name: str) -> Unit:
        return Unit(DEPLOY / "systemd", name, self._put)

    def api(self, number: int) -> Unit:
        """Return an API by its port, of which the last digit counts."""
        return self.unit(f"provisioner-api@{self.prefixes['3010']}{number}.service")

    def _put(self, text: str) -> str:
        changed = {
            "/opt/provisioner/.venv/bin": str(Path(sys.executable).parent),
            "/opt/provisioner": str(ROOT),
            "/etc/provisioner": str(self.folder),
            "/var/lib/provisioner": str(self.folder),
            "/usr/sbin/haproxy": installed("haproxy") or "/usr/sbin/haproxy",
            "BIND=:443": f"BIND=127.0.0.1:{self.port}",
        }
        for shown, here in changed.items():
            text = text.replace(shown, here)
        return with_ports(text, self.prefixes)


class Certificates:
    """The certificates of docs/how-to/install.md. They are created where the CA's key is, and
    installed in ``tls``.
    """

    NAMES = ("ca.pem", "haproxy.pem", "provisioner.pem", "ssdtoolbox.pem", "nodes.pem", "nodes.key")

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.of(folder / "ca")
        self._installed = folder / "tls"
        self._installed.mkdir()
        self.renew()

    @property
    def ca(self) -> Path:
        return self._installed / "ca.pem"

    @property
    def client(self) -> Path:
        """Certificate and key of a client of the API."""
        return self._installed / "ssdtoolbox.pem"

    @property
    def provisioner(self) -> Path:
        return self._installed / "provisioner.pem"

    @property
    def node(self) -> tuple[Path, Path]:
        """Certificate and key of all storage nodes."""
        return self._installed / "nodes.pem", self._installed / "nodes.key"

    def renew(self) -> None:
        """Renew all certificates except the CA's, as if each were near its expiry. Each file is
        replaced atomically.
        """
        for name in ("server", "provisioner", "ssdtoolbox", "nodes"):
            (self.authority.folder / f"{name}.pem").unlink(missing_ok=True)
        self.authority.server("server", ["127.0.0.1", "localhost"])
        self.authority.balancer("server")
        self.authority.node("nodes", ["127.0.0.1"])
        self.authority.client("ssdtoolbox")
        self.authority.provisioner()
        for name in self.NAMES:
            draft = self._installed / f".{name}"
            shutil.copy(self.authority.folder / name, draft)
            draft.rename(self._installed / name)
