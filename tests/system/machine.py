"""A server for docs/how-to/install.md. A folder is used instead of ``/``, and a supervisor instead
of systemd.

Nothing outside the folder is touched. PostgreSQL and Redis run as in Debian's packages, on a socket
in the folder and on another port. Ports and addresses in the pages are replaced by free ones on the
loopback interface, and so are the paths.
"""

import contextlib
import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from provisioner.environment import Environment, variable_name
from provisioner.standalone import processes
from tests import servers
from tests.system.shipped import ROOT, free_prefix, with_ports
from tests.system.stack import Postgres, Redis
from tests.system.units import Unit

STAND_INS = ("apt-get", "git", "install", "runuser", "systemctl", "useradd")
PLACES = (
    "/opt/provisioner",
    "/etc/provisioner",
    "/etc/systemd/system",
    "/etc/redis",
    "/usr/local/sbin",
    "/var/lib/provisioner",
    "/root/provisioner-ca",
    "/root/provisioner-backups",
)
SECONDS = 1300.0
OURS = {variable_name(field) for field in Environment.model_fields}


class Machine:
    """A simulated server. ``folder`` must have a short path, because it contains sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        for place in (*PLACES[1:5], "/opt", "/var/lib", "/root", "/run/postgresql", "/stand-ins"):
            (folder / place[1:]).mkdir(parents=True)
        self.postgres = Postgres(folder / "postgres", unix_socket_directories=self._sockets())
        (folder / "run/postgresql/.s.PGSQL.5432").symlink_to(f".s.PGSQL.{self.postgres.port}")
        with psycopg.connect(self.postgres.url.replace("/provisioner", "/postgres")) as connection:
            connection.autocommit = True
            connection.execute("DROP DATABASE provisioner")
        (folder / "redis").mkdir()
        self.redis = Redis(folder / "redis")
        self.port = servers.free_port()
        self.prefixes: Final = {shown: free_prefix() for shown in ("3010", "3020", "3021", "3110")}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._owners = folder / "owners"
        self._listen()

    def put(self, text: str) -> str:
        """Return a text of the pages or of deploy/, adapted to this machine."""
        for place in PLACES:
            text = re.sub(rf"(?<![\w/.]){place}(?![\w.])", f"{self.folder}{place}", text)
        text = with_ports(text, self.prefixes)
        changed = {
            "%2Frun%2Fpostgresql": quote(f"{self.folder}/run/postgresql", safe=""),
            "127.0.0.1:6379": f"127.0.0.1:{self.redis.url.split(':')[2].split('/')[0]}",
            "BIND=:443": f"BIND=127.0.0.1:{self.port}",
            "https://$HOST": f"https://$HOST:{self.port}",
            "HOST=storage.example.com": "HOST=127.0.0.1",
        }
        for shown, here in changed.items():
            text = text.replace(shown, here)
        return text

    def run(self, script: str) -> str:
        """Run the script in bash, which stops at the first command that fails. Returns its output.

        :raises AssertionError: a command failed.
        """
        for name in STAND_INS:
            path = self.folder / "stand-ins" / name
            if not path.exists():
                path.write_text(
                    f"#!{sys.executable} -S\n{(ROOT / 'tests/system/stand_in.py').read_text()}"
                )
                path.chmod(0o755)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.put(script)],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{self.logs()}"
        return done.stdout

    def owners(self) -> dict[str, str]:
        """Return the ``user:group`` of files that were given an owner, by file name."""
        lines = (line.split() for line in self._owners.read_text().splitlines())
        return {Path(source).name: owner for source, _, owner in lines}

    def logs(self) -> str:
        """Return the last log of each unit."""
        found = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in found)

    def stop(self) -> None:
        self._listener.close()
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                processes.stop(process, seconds=0.5)
        self.redis.kill()
        self.postgres.kill()

    def _sockets(self) -> str:
        folder = self.folder / "run/postgresql"
        servers.unprivileged(folder)
        return str(folder)

    def _environment(self) -> dict[str, str]:
        """Return the environment of the test without our variables, and with the stand-ins before
        all programs.
        """
        places = (self.folder / "stand-ins", self.folder / "usr/local/sbin", self.postgres.programs)
        path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
        kept = {name: value for name, value in os.environ.items() if name not in OURS}
        return kept | {
            "PATH": path,
            "PIP_NO_COMPILE": "1",  # imported modules are compiled then
            "STAND_IN_SOCKET": str(self.folder / "stand-ins.sock"),
            "STAND_IN_OWNERS": str(self._owners),
            "STAND_IN_POSTGRESQL": str(self.folder / "run/postgresql"),
        }

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / "stand-ins.sock"))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                name, *arguments = json.loads(connection.makefile().readline())
                try:
                    if name == "git":
                        self._clone(Path(arguments[-1]))
                    else:
                        self._systemctl(arguments)
                except (OSError, ValueError, subprocess.CalledProcessError) as error:
                    connection.sendall(f"{name}: {error!r}\n".encode())

    def _clone(self, target: Path) -> None:
        """Copy the files that git tracks or would add to ``target``, so that a change can be tested
        before it is committed.
        """
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        for name in names.decode().split("\0"):
            if name and (ROOT / name).is_file():
                copy = target / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy)
        command_file = target / "deploy/systemd/provisioner-manage"
        command_file.write_text(self.put(command_file.read_text()))

    def _systemctl(self, arguments: list[str]) -> None:
        verb, *rest = (word for word in arguments if not word.startswith("-"))
        for name in rest if verb == "reload" else ():
            self._reload(f"{name}.service")
        for pattern in rest if verb == "stop" else ():
            for name in fnmatch.filter([*self.running], f"{pattern}.service"):
                processes.stop(self.running.pop(name), seconds=10)
        now = verb in {"start", "restart"} or (verb == "enable" and "--now" in arguments)
        for name in rest if now else ():
            if name == "redis-server":
                self.redis.configure(self.folder / "etc/redis/redis.conf")
                continue
            self._begin(name if "." in name else f"{name}.service", again=verb == "restart")

    def _begin(self, name: str, *, again: bool) -> None:
        unit = Unit(self.folder / "etc/systemd/system", name, self.put)
        for wanted in unit.words("Wants") if name.endswith(".target") else ():
            self._begin(wanted, again=again)
        if again and name in self.running:
            processes.stop(self.running.pop(name), seconds=10)
        if name not in self.running and (commands := unit.commands("ExecStart")):
            self._start(unit, commands[0])

    def _reload(self, name: str) -> None:
        unit = Unit(self.folder / "etc/systemd/system", name, self.put)
        environment = unit.environment | {"MAINPID": str(self.running[name].pid)}
        for command in unit.commands("ExecReload"):
            subprocess.run(command, env=environment, check=True, capture_output=True)

    def _start(self, unit: Unit, command: list[str]) -> None:
        state = self.folder / "var/lib" / unit.value("StateDirectory", "provisioner")
        state.mkdir(exist_ok=True)
        for before in unit.commands("ExecStartPre"):
            subprocess.run(before, env=unit.environment, check=True, capture_output=True)
        with (self.folder / f"{unit.name}.log").open("ab") as log:
            # the thread that serves runs as long as the test
            self.running[unit.name] = processes.start(
                ["env", "-C", unit.value("WorkingDirectory", "/"), *command],
                output=log,
                environment=unit.environment,
            )
