"""The production form on this machine, as compose starts it: two of each process, behind HAProxy.

Each process can be killed, stopped and started again. All of them end with the thread that started
them: start them in the main thread.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psycopg
import redis
import urllib3

from provisioner.certificates import Authority
from provisioner.standalone import processes
from tests import servers
from tests.programs import installed

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
START_SECONDS = 60.0
S = TypeVar("S", bound="Service")


class Service:
    """A process with its children, in a group of its own."""

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
        """SIGKILL to all of it: nothing can be tidied up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()

    def ask(self) -> None:
        """Ask it to end, and do not wait."""
        self.running.send_signal(self.request)

    def terminate(self, seconds: float = START_SECONDS) -> int:
        """Ask it to end and wait; its exit code.

        :raises subprocess.TimeoutExpired: it did not.
        """
        self.ask()
        return self.running.wait(seconds)


class Postgres(Service):
    """A server with a data directory of its own, as safe against a crash as a real one.

    ``options`` differ from the usual ones.
    """

    def __init__(self, folder: Path, **options: object) -> None:
        folder.mkdir()
        programs = servers.postgresql_programs(folder)
        user = servers.unprivileged(folder)
        self.programs = programs
        self.port = servers.free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/provisioner"
        data = str(folder / "data")
        initdb = [str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N"]
        servers.run([*initdb, "--encoding=UTF8", "--locale=C"], user)
        usual = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "off",  # the machine does not crash, only the server
        }
        command = [str(programs / "postgres"), "-D", data]
        for name, value in (usual | options).items():
            command += ["-c", f"{name}={value}"]
        log = folder.with_suffix(".log")
        super().__init__(command, os.environ, log, user=user, request=signal.SIGINT)
        self.ready()
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute("CREATE DATABASE provisioner")

    @property
    def _admin(self) -> str:
        return self.url.replace("/provisioner", "/postgres")

    def ready(self) -> None:
        until(lambda: psycopg.connect(self._admin).close(), self.log)

    def execute(self, statement: str) -> None:
        """One statement of the superuser, outside a transaction."""
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(self._admin, autocommit=True, options=writable) as connection:
            connection.execute(statement)

    def restart_immediate(self) -> None:
        """As after a crash: sessions are cut off, what was not committed is gone."""
        self.running.send_signal(signal.SIGQUIT)
        self.running.wait()
        self.start()
        self.ready()


class Redis(Service):
    """A server that keeps nothing: killed, it has forgotten all."""

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

    def flush(self) -> None:
        self.client.flushall()


class Stack:
    """All of it: ``url`` is HAProxy's, ``ca`` verifies it, ``client`` is a certificate and key.

    ``settings`` are environment variables that differ from the usual ones.

    :raises servers.NoServer: a program is missing here.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, folder: Path | None = None
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="provisioner-stack-"))
        self.folder.chmod(0o755)
        self._made = folder is None
        self._services: list[Service] = []
        try:
            self._start(settings or {})
        except BaseException:
            self.stop()
            raise

    def _start(self, settings: Mapping[str, str]) -> None:
        self.authority = Authority.of(self.folder / "tls")
        self.ca = self.authority.path
        self.client = self.authority.client("ssdtoolbox")
        self.postgres = self._add(Postgres(self.folder / "postgres"))
        self.redis = self._add(Redis(self.folder))
        self.environment = self._environment(settings)
        self.manage("migrate", "-v0")
        ports = [servers.free_port() for _ in range(2)]
        self.apis = [self._add(self._api(n, port)) for n, port in enumerate(ports)]
        self.workers = [self._add(self._worker("celery", n)) for n in range(2)]
        self.periodic = [self._add(self._worker("periodic", n)) for n in range(2)]
        self.beats = [self._add(self._celery(f"beat-{n}", "beat")) for n in range(2)]
        self.api_urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._answering(self.api_urls, self.apis[0].log)
        self.haproxy = self._add(
            self._haproxy(self.environment | {"BIND": f"127.0.0.1:{self.port}"})
        )
        self.ready()

    def _add(self, service: S) -> S:
        self._services.append(service)
        return service

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.port = servers.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        return {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(self.folder),
            "SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "TRUSTED_PROXIES": "127.0.0.1",
            "REQUIRE_CLIENT_CERTIFICATE": "true",
            "PUBLIC_URL": self.url,
            "UNREADY_SECONDS": "4",
            "NODE_CA": str(self.ca),
            "NODE_CERTIFICATE": str(self.authority.provisioner()),
            **settings,
        }

    def _api(self, number: int, port: int) -> Service:
        command = [sys.executable, "-m", "gunicorn", "-c", str(DEPLOY / "gunicorn.conf.py")]
        environment = self.environment | {"API_HOST": "127.0.0.1", "API_PORT": str(port)}
        return Service(command, environment, self.folder / f"api-{number}.log")

    def _worker(self, queue: str, number: int) -> Service:
        name = f"{'worker' if queue == 'celery' else queue}-{number}"
        threads = [f"--queues={queue}", "--pool=threads", "--concurrency=4"]
        return self._celery(name, "worker", *threads, f"--hostname={name}@stack")

    def _celery(self, name: str, *arguments: str) -> Service:
        command = [sys.executable, "-m", "celery", "-A", "provisioner", *arguments]
        return Service(command, self.environment, self.folder / f"{name}.log")

    def _haproxy(self, settings: Mapping[str, str]) -> Service:
        program = installed("haproxy")
        if not program:
            raise servers.NoServer("no HAProxy here: make test-tools")
        certificate, key = self.authority.server("server", ["127.0.0.1", "localhost"])
        both = self.folder / "tls" / "haproxy.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        file = DEPLOY / "haproxy.cfg"
        optional = re.findall(r"\$\{(\w+)-|env\((\w+)\)", file.read_text())
        environment = {
            "TLS_PEM": str(both),
            "TLS_CLIENT_CA": str(self.ca),
            **{f"API_{n}": url.removeprefix("http://") for n, url in enumerate(self.api_urls, 1)},
            **{
                name: settings[name]
                for name in map("".join, [*optional, ("BIND",)])
                if name in settings
            },
        }
        log = self.folder / f"haproxy-{settings['BIND']}.log"
        return Service([program, "-db", "-f", str(file)], environment, log, request=signal.SIGUSR1)

    def balancer(self, **settings: str) -> str:
        """The URL of a further HAProxy before the same APIs, which differs by these settings."""
        bind = f"127.0.0.1:{servers.free_port()}"
        started = self._add(self._haproxy(self.environment | settings | {"BIND": bind}))
        self._answering([f"https://{bind}"], started.log)
        return f"https://{bind}"

    def pool(self) -> urllib3.PoolManager:
        """Connections with the client certificate, without retries."""
        return urllib3.PoolManager(
            ca_certs=str(self.ca), cert_file=str(self.client), retries=False, maxsize=32
        )

    def ready(self) -> None:
        """Wait until both APIs are ready, and so through HAProxy.

        :raises AssertionError: they are not.
        """
        self._answering([*self.api_urls, self.url], self.apis[0].log)

    def _answering(self, urls: Sequence[str], log: Path) -> None:
        http = self.pool()

        def asked() -> None:
            for url in urls:
                answer = http.request("GET", f"{url}/readyz", timeout=5)
                if answer.status != 200:
                    raise urllib3.exceptions.HTTPError(f"{url}: {answer.data.decode()}")

        until(asked, log)

    def manage(self, *arguments: str) -> str:
        """As :func:`manage`, with the stack's settings."""
        return manage(self.environment, *arguments)

    def stop(self) -> None:
        for service in reversed(self._services):
            service.kill()
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)


def manage(environment: Mapping[str, str], *arguments: str) -> str:
    """What ``manage.py`` prints.

    :raises AssertionError: it failed.
    """
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-1000:]} {done.stderr[-2000:]}"
    return done.stdout


def announced(log: Path, count: int) -> list[tuple[str, str]]:
    """Id and ``address:port`` of each node that ``simulate_nodes`` serves, once all are there."""
    end = time.monotonic() + START_SECONDS
    while True:
        lines = [line.split() for line in log.read_text().splitlines()]
        nodes = [(line[0], line[1]) for line in lines if len(line) == 2 and line[0].count(":") == 5]
        if len(nodes) == count:
            return nodes
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def until(probe: Callable[[], object], log: Path) -> None:
    """Call it until it raises no error.

    :raises AssertionError: it still does after ``START_SECONDS``.
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
