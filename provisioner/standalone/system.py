"""The processes of the embedded form: storage nodes, a host, and the API with Celery."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from provisioner.environment import Environment
from provisioner.standalone import processes
from provisioner.standalone.client import Client, NoAnswer
from provisioner.standalone.data_dir import DataDir, is_any_address

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_ADDRESS = "127.0.0.1"
NODES = 4
HOST_NAME = "demo-host"
HOST_POLL_SECONDS = 0.5
HOST_SYNC_MIB = 50 * 1024
START_SECONDS = 60.0
LONGEST_LOG_BYTES = 32 * 2**20


class StartFailed(Exception):
    """The system cannot run. The text is one sentence with the reason."""


class System:
    """One embedded system. It runs inside the block of :meth:`running`."""

    def __init__(self, folder: DataDir, environment: Environment) -> None:
        self._folder = folder
        self._environment = environment
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        host = "127.0.0.1" if is_any_address(environment.api_host) else environment.api_host
        self.address = (f"[{host}]" if ":" in host else host, environment.api_port)
        self.nodes = [(NODE_ADDRESS, environment.api_port + 1 + n) for n in range(NODES)]

    @property
    def url(self) -> str:
        host, port = self.address
        return f"https://{host}:{port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all processes, and stop them when the block ends.

        :raises StartFailed: a port is taken, or a process was not ready in time.
        """
        self._check_ports()
        try:
            self._start_nodes()
            self._start_api()
            self._wait_until_ready()
            self._start_host()
            yield
        finally:
            for child in reversed(self._children.values()):
                processes.stop(child, seconds=self._environment.stop_seconds + 3)

    def check(self) -> None:
        """Check the processes, and shorten their logs. Call it regularly.

        :raises StartFailed: a process has ended.
        """
        for name, child in self._children.items():
            self._keep_short(self._log(name))
            if child.poll() is not None:
                raise StartFailed(
                    f"{name} ended with code {child.returncode}: {self._last_words(name)}"
                )

    def _check_ports(self) -> None:
        for host, port in [(self._environment.api_host, self._environment.api_port), *self.nodes]:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                socket.create_server((host, port), family=family).close()
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise StartFailed(
                    f"port {port} of {host} cannot be used ({reason}): choose another with "
                    f"API_PORT; the {NODES} nodes use the next ports"
                ) from None

    def _start_nodes(self) -> None:
        certificate, key = self._folder.node_certificate
        options = {
            "--count": NODES,
            "--address": NODE_ADDRESS,
            "--base-port": self.nodes[0][1],
            "--data": self._folder.nodes,
            "--certificate": certificate,
            "--key": key,
            "--ca": self._folder.ca,
        }
        self._start_command("nodes", "simulate_nodes", options, "--require-client-certificate")

    def _start_host(self) -> None:
        options = {
            "--count": 1,
            "--name": HOST_NAME,
            "--url": self.url,
            "--ca": self._folder.ca,
            "--certificate": self._folder.client_certificate,
            "--token-file": self._folder.host_token,
            "--poll-seconds": HOST_POLL_SECONDS,
            "--look-seconds": HOST_POLL_SECONDS,
            "--sync-mib": HOST_SYNC_MIB,
        }
        self._start_command("host", "simulate_hosts", options)

    def _start_command(
        self, name: str, command: str, options: Mapping[str, object], *flags: str
    ) -> None:
        words = [str(word) for option in options.items() for word in option]
        manage = [str(ROOT / "manage.py"), command, *words, *flags, "--exit-with-parent"]
        self._start(name, manage)

    def _start_api(self) -> None:
        configuration = ROOT / "deploy" / "gunicorn.conf.py"
        self._start("api", ["-m", "gunicorn", "--chdir", str(ROOT), "-c", str(configuration)])

    def _start(self, name: str, arguments: list[str]) -> None:
        log = self._log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.previous"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
            self._children[name] = processes.start([sys.executable, *arguments], output=output)

    def _wait_until_ready(self) -> None:
        api = Client(
            self.url, ca=self._folder.ca, certificate=self._folder.client_certificate, seconds=2
        )
        give_up = time.monotonic() + START_SECONDS
        while not (_answers(api) and all(map(_listens, self.nodes))):
            self.check()
            if time.monotonic() > give_up:
                raise StartFailed(
                    f"it was not ready within {START_SECONDS:.0f} s: see {self._folder.logs}"
                )
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self._folder.logs / f"{name}.log"

    def _keep_short(self, log: Path) -> None:
        """Empty a log that is too long. Its process may append to it at the same time."""
        if log.stat().st_size > LONGEST_LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.previous"))
            os.truncate(log, 0)

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _answers(api: Client) -> bool:
    try:
        return api.call("GET", "/readyz").http_status == 200
    except NoAnswer:
        return False


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True
