"""The production form on this machine: the units of deploy/ behind HAProxy.

Each process can be killed, stopped and started again. All of them end with the thread that started
them, so start them in the main thread.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import psycopg
import redis
import urllib3

from provisioner.standalone import processes
from tests import servers
from tests.programs import installed
from tests.system import shipped
from tests.system.shipped import DEPLOY, ROOT
from tests.system.units import Unit
from tests.waiting import eventually

__all__ = ["DEPLOY", "ROOT"]
START_SECONDS = 180.0
SECRET_KEY = "only-for-tests-only-for-tests-only-for-tests"
S = TypeVar("S", bound="Service")


class Service:
    """A process with its children, in its own group."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        user: int | None = None,
        request: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.command = list(command)
        self.environment = environment
        self.log = log
        self.user = user
        self.request = request
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.running = processes.start(
                self.command, output=output, user=self.user, environment=self.environment
            )

    def kill(self) -> None:
        """Send SIGKILL to the whole group, so that no process can clean up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()

    def ask(self) -> None:
        """Ask the process to end, without waiting."""
        self.running.send_signal(self.request)

    def reload(self, unit: Unit) -> None:
        """Reload the service as systemd does.

        :raises subprocess.CalledProcessError: the command of the unit failed.
        """
        environment = unit.environment | {"MAINPID": str(self.running.pid)}
        for command in unit.commands("ExecReload"):
            subprocess.run(command, env=environment, check=True, capture_output=True)

    def terminate(self, seconds: float = START_SECONDS) -> int:
        """Ask the process to end, and wait. Returns its exit code.

        :raises subprocess.TimeoutExpired: it did not end.
        """
        self.ask()
        return self.running.wait(seconds)


class Postgres(Service):
    """A server with a data directory of its own, as safe against a crash as a real one.

    ``copied`` is the data directory of a server that was stopped; without it, the database
    ``provisioner`` is empty. ``options`` differ from the usual ones.
    """

    def __init__(self, folder: Path, *, copied: Path | None = None, **options: object) -> None:
        folder.mkdir()
        self.data = folder / "data"
        if copied:
            shutil.copytree(copied, self.data)
        programs = servers.postgresql_programs(folder)
        user = servers.unprivileged(folder)
        self.programs = programs
        self.port = servers.free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/provisioner"
        if not copied:
            servers.initialize(programs, self.data, user)
        usual = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "off",  # only the server crashes, not the machine
        }
        command = [str(programs / "postgres"), "-D", str(self.data)]
        for name, value in (usual | options).items():
            command += ["-c", f"{name}={value}"]
        log = folder.with_suffix(".log")
        super().__init__(command, os.environ, log, user=user, request=signal.SIGINT)
        self.ready()
        if not copied:
            self.execute("CREATE DATABASE provisioner")

    @property
    def _admin(self) -> str:
        return self.url.replace("/provisioner", "/postgres")

    def ready(self) -> None:
        until(lambda: psycopg.connect(self._admin).close(), self.log)

    def execute(self, statement: str) -> None:
        """Execute one statement as superuser, outside a transaction."""
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(self._admin, autocommit=True, options=writable) as connection:
            connection.execute(statement)

    def end_sessions(self) -> None:
        """End all sessions, as an operator may do, and wait for it. The server stays up."""
        others = "FROM pg_stat_activity WHERE datname = 'provisioner'"
        self.execute("SELECT pg_terminate_backend(pid, 5000) " + others)

    def restart_immediate(self) -> None:
        """Restart the server as after a crash: sessions are ended, and uncommitted changes are
        lost.
        """
        self.running.send_signal(signal.SIGQUIT)
        self.running.wait()
        self.start()
        self.ready()


class Redis(Service):
    """A server that stores nothing on disk. When it is killed, all its data is lost."""

    def __init__(self, folder: Path) -> None:
        port = servers.free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [servers.redis_program(), "--bind", "127.0.0.1", "--port", str(port)]
        command += ["--dir", str(folder), "--save", "", "--appendonly", "no"]
        super().__init__(command, os.environ, folder / "redis.log")

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def start(self) -> None:
        super().start()
        until(self.client.ping, self.log)

    def configure(self, file: Path) -> None:
        """Use this file of settings from the next start on."""
        self.kill()
        program, *arguments = self.command
        self.command = [program, str(file), *arguments]
        password = file.read_text().partition("requirepass ")[2].split()[0]
        self.url = self.url.replace("//", f"//:{password}@")
        self.start()

    def flush(self) -> None:
        self.client.flushall()


@cache
def migrated() -> Path:
    """The data directory of a stopped server whose database is migrated. It is made once in a test
    process, because making it costs more than copying it.
    """
    folder = Path(tempfile.mkdtemp(prefix="provisioner-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    server = Postgres(folder / "postgres")
    environment = os.environ | {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": server.url}
    manage(environment | {"DATA_DIR": str(folder)}, "migrate", "-v0")
    server.terminate()
    return server.data


class Stack:
    """The whole production form. ``url`` is that of HAProxy, ``ca`` verifies it, and ``client`` is
    a certificate and key.

    ``each``: the number of processes of each kind. One is enough for a test that stops none of
    them. ``changed``: intervals and keys that differ from the shipped values. ``python_path``:
    comes before the system's own modules.

    :raises servers.NoServer: a program is missing on this machine.
    """

    def __init__(
        self,
        changed: Mapping[str, str] | None = None,
        *,
        each: int = 2,
        folder: Path | None = None,
        python_path: str = "",
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="provisioner-stack-"))
        self.folder.chmod(0o755)
        self._made = folder is None
        self._services: list[Service] = []
        self._planted = {"PYTHONPATH": python_path} if python_path else {}
        try:
            self._start(changed or {}, range(1, each + 1))
        except BaseException:
            self.stop()
            raise

    def _start(self, changed: Mapping[str, str], numbers: Sequence[int]) -> None:
        if not installed("haproxy"):
            raise servers.NoServer("no HAProxy here: make test-tools")
        self.certificates = shipped.Certificates(self.folder)
        self.authority = self.certificates.authority
        self.ca, self.client = self.certificates.ca, self.certificates.client
        self.postgres = self._add(Postgres(self.folder / "postgres", copied=migrated()))
        self.redis = self._add(Redis(self.folder))
        places = {
            "SECRET_KEY": SECRET_KEY,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "NODE_CA": str(self.ca),
            "NODE_CERTIFICATE": str(self.certificates.provisioner),
        }
        self.server = shipped.Server(self.folder, places, changed)
        self.environment = self.server.environment | self._planted
        self.url, self.port = self.server.url, self.server.port
        apis = [self.server.api(n) for n in numbers]
        self.apis = [self._unit(unit, f"api-{n}") for n, unit in zip(numbers, apis, strict=True)]
        self.api_urls = [f"http://127.0.0.1:{unit.environment['API_PORT']}" for unit in apis]
        self.workers = [self._numbered("worker", n) for n in numbers]
        self.periodic = [self._numbered("periodic", n) for n in numbers]
        beat = self.server.unit("provisioner-beat.service")
        self.beats = [self._unit(beat, f"beat-{n}") for n in numbers]
        self.metrics_urls = [
            *(f"{url}/metrics" for url in self.api_urls),
            *(
                f"http://127.0.0.1:{self.server.prefixes[prefix]}{n}/metrics"
                for prefix in ("3020", "3021")
                for n in numbers
            ),
        ]
        self._answering(self.api_urls, self.apis[0].log)
        self.haproxy = self._haproxy("haproxy")
        self.ready()

    def _add(self, service: S) -> S:
        self._services.append(service)
        return service

    def _numbered(self, kind: str, number: int) -> Service:
        return self._unit(
            self.server.unit(f"provisioner-{kind}@{number}.service"), f"{kind}-{number}"
        )

    def _unit(self, unit: Unit, name: str, **more: str) -> Service:
        """Return the service of a unit, which is started and stopped as by systemd."""
        [command] = unit.commands("ExecStart")
        place = ["env", "-C", unit.value("WorkingDirectory", "/")]
        log = self.folder / f"{name}.log"
        request = signal.Signals[unit.value("KillSignal", "SIGTERM")]
        return self._add(
            Service(
                [*place, *command], unit.environment | self._planted | more, log, request=request
            )
        )

    def _haproxy(self, name: str, **more: str) -> Service:
        return self._unit(self.server.unit("provisioner-haproxy.service"), name, **more)

    def balancer(self, **variables: str) -> str:
        """Start another HAProxy in front of the same APIs. ``haproxy.cfg`` reads these variables
        from its environment. Returns its URL.
        """
        bind = f"127.0.0.1:{servers.free_port()}"
        started = self._haproxy(f"haproxy-{bind}", **variables, BIND=bind)
        self._answering([f"https://{bind}"], started.log)
        return f"https://{bind}"

    def renew_certificates(self) -> None:
        """Create new certificates for all, as docs/how-to/tls.md says. Processes load them as the
        page says, except for those that the page restarts.
        """
        self.certificates.renew()
        self.haproxy.reload(self.server.unit("provisioner-haproxy.service"))

    def pool(self) -> urllib3.PoolManager:
        """Connections with the client certificate, without retries."""
        return urllib3.PoolManager(
            ca_certs=str(self.ca), cert_file=str(self.client), retries=False, maxsize=32
        )

    def ready(self) -> None:
        """Wait until both APIs are ready, also through HAProxy.

        :raises AssertionError: they are not.
        """
        self._answering([*self.api_urls, self.url], self.apis[0].log)

    def _answering(self, urls: Sequence[str], log: Path) -> None:
        http, once = self.pool(), {"Connection": "close"}

        def asked() -> None:
            for url in urls:
                answer = http.request("GET", f"{url}/readyz", headers=once, timeout=5)
                if answer.status != 200:
                    raise urllib3.exceptions.HTTPError(f"{url}: {answer.data.decode()}")

        until(asked, log)

    def manage(self, *arguments: str) -> str:
        """Like :func:`manage`, with the settings of the stack."""
        return manage(self.environment, *arguments)

    def tokens(self, count: int) -> list[str]:
        """Return tokens of the role ADMIN. Each belongs to a different caller, because
        CALLER_REQUESTS limits the calls of one caller.
        """
        code = (
            "import datetime as dt; from provisioner.access.principals import Role; "
            "from provisioner.access.tokens import token_issue; "
            f"print(*(token_issue(name=f'caller-{{n}}', roles={{Role.ADMIN}}, "
            f"lifetime=dt.timedelta(hours=2))[0] for n in range({count})))"
        )
        return self.manage("shell", "-c", code).split()[-count:]

    def stop(self) -> None:
        for service in reversed(self._services):
            service.kill()
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)


def manage(environment: Mapping[str, str], *arguments: str) -> str:
    """Return the output of ``manage.py``.

    :raises AssertionError: the command failed.
    """
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-1000:]} {done.stderr[-2000:]}"
    return done.stdout


def announced(log: Path, count: int) -> list[tuple[str, str]]:
    """Wait until all nodes of ``simulate_nodes`` serve. Returns the id and ``address:port`` of
    each.
    """

    def nodes() -> list[tuple[str, str]]:
        lines = [line.split() for line in log.read_text().splitlines()]
        return [(line[0], line[1]) for line in lines if len(line) == 2 and line[0].count(":") == 5]

    eventually(lambda: len(nodes()) == count, seconds=START_SECONDS, what=log.read_text, pause=0.1)
    return nodes()


def until(probe: Callable[[], object], log: Path) -> None:
    """Call the function until it raises no error.

    :raises AssertionError: it still raises one after ``START_SECONDS``.
    """
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            probe()
            return
        except (psycopg.OperationalError, redis.RedisError, urllib3.exceptions.HTTPError) as error:
            if time.monotonic() > end:
                text = log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"{error}: {text}") from error
        time.sleep(0.1)
