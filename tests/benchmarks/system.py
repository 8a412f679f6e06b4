"""The measured system: the production form on this machine, with one API behind HAProxy.

HAProxy ends TLS according to deploy/haproxy.cfg, and connects to gunicorn
(deploy/gunicorn.conf.py). PostgreSQL commits to the disk. The nodes are simulated in a separate
process.
"""

import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import urllib3

from provisioner.certificates import Authority
from tests import servers
from tests.programs import installed
from tests.system.stack import DEPLOY, ROOT, Postgres, Redis, Service, announced, manage, until
from tests.system.units import Unit

RACKS = tuple(f"r{number}" for number in range(16))
SSD_GIB = str(2**20)
API_WORKERS = 2
SETTINGS = {
    "SECRET_KEY": "only-for-benchmarks-only-for-benchmarks",
    "API_HOST": "127.0.0.1",
    "TRUSTED_PROXIES": "127.0.0.1",
    "API_WORKERS": str(API_WORKERS),
    # rows inserted by SQL have no objects on nodes
    "NODE_CHECK_INTERVAL_SECONDS": "86400",
}


class System:
    """The running system. ``api`` and ``bare`` are the two servers. ``services``: all processes, by
    name. ``settings``: in addition to SETTINGS. ``racks``: that of each node.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        racks: Sequence[str] = RACKS,
    ) -> None:
        self.folder = folder
        self._racks = racks
        self._settings = {**SETTINGS, **settings}
        folder.chmod(0o755)
        self.services: dict[str, Service] = {}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        authority = Authority.of(self.folder / "tls")
        self.ca = str(authority.path)
        self.postgres = self._add(
            "PostgreSQL", Postgres(self.folder / "postgres", fsync="on", log_line_prefix="%a ")
        )
        self._add("Redis", redis := Redis(self.folder))
        authority.server("server", ["127.0.0.1"])
        self._pem = str(authority.balancer("server"))
        self.environment = self._settings | {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(self.folder),
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": redis.url,
            "NODE_CA": self.ca,
            "NODE_CERTIFICATE": str(authority.provisioner()),
        }
        manage(self.environment, "migrate", "-v0")
        self._http = urllib3.PoolManager(ca_certs=self.ca, retries=False)
        self.port = self._balanced("API")
        self.environment["PUBLIC_URL"] = f"https://127.0.0.1:{self.port}"
        self.bare_port = self._balanced("bare view", "tests.benchmarks.bare")
        for name in ("worker@1", "periodic@1", "beat"):
            self._celery(name)
        self._certificate, self._key = map(str, authority.node("nodes", ["127.0.0.1"]))
        self._simulate("nodes", len(self._racks))
        self.token = self.token_of("benchmark", "ADMIN")
        self.ready("API", self.port, "/readyz")
        self.ready("bare view", self.bare_port, "/hosts/none")
        self._join("nodes", self._racks)

    def add_node(self, name: str, id_prefix: str, rack: str) -> None:
        """Start a node in a process of its own, and add it to the pool. Simulated nodes of
        different processes cannot copy to each other.
        """
        self._simulate(name, 1, "--id-prefix", id_prefix, "--name", name.replace(" ", "-"))
        self._join(name, [rack])

    def _simulate(self, name: str, count: int, *options: str) -> None:
        command = ["simulate_nodes", "--count", str(count), "--ssd-gib", SSD_GIB, *options]
        command += ["--certificate", self._certificate, "--key", self._key]
        command += ["--ca", self.ca, "--require-client-certificate"]
        self._python(name, str(ROOT / "manage.py"), *command)

    def _add(self, name: str, service: Any) -> Any:
        self.services[name] = service
        return service

    def _python(self, name: str, *arguments: str, **environment: str) -> None:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        command = [sys.executable, *arguments]
        self._add(name, Service(command, self.environment | environment, log))

    def _balanced(self, name: str, *application: str) -> int:
        """Start an API behind HAProxy, with wide limits because one client generates all load.
        Returns the port of HAProxy.
        """
        program = installed("haproxy")
        if not program:
            raise servers.NoServer("no HAProxy here: make test-tools")
        port = servers.free_port()
        api = f"127.0.0.1:{self._gunicorn(name, f'https://127.0.0.1:{port}', *application)}"
        unit = Unit(DEPLOY / "systemd", "provisioner-haproxy.service", str)
        limits = ("MAX_CONNECTIONS", "CONNECTION_RATE", "MAX_REQUESTS", "REQUEST_RATE")
        environment = unit.environment | dict.fromkeys(limits, "1000000")
        environment |= {"API_1": api, "API_2": api, "REQUIRE_CLIENT_CERTIFICATE": "false"}
        environment |= {"BIND": f"127.0.0.1:{port}", "TLS_PEM": self._pem, "TLS_CLIENT_CA": self.ca}
        command = [program, "-db", "-f", str(DEPLOY / "haproxy.cfg")]
        log = self.folder / f"haproxy-{application_name(name)}.log"
        self._add(f"HAProxy of {name}", Service(command, environment, log))
        return port

    def _gunicorn(self, name: str, public: str, *application: str) -> int:
        port = servers.free_port()
        command = ["-m", "gunicorn", "-c", str(DEPLOY / "gunicorn.conf.py"), *application]
        url = f"{self.postgres.url}?application_name={application_name(name)}"
        self._python(name, *command, API_PORT=str(port), PUBLIC_URL=public, DATABASE_URL=url)
        return port

    def _celery(self, name: str) -> None:
        unit = Unit(DEPLOY / "systemd", f"provisioner-{name}.service", str)
        [[_, *arguments]] = unit.commands("ExecStart")
        self._python(name, "-m", "celery", *arguments)
        give_weight(self.services[name].running.pid, int(unit.value("CPUWeight", "100")))

    def ready(self, name: str, port: int, path: str) -> None:
        def asked() -> None:
            answer = self._http.request("GET", f"https://127.0.0.1:{port}{path}", timeout=5)
            if answer.status != 200:
                raise urllib3.exceptions.HTTPError(answer.data.decode())

        until(asked, self.services[name].log)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer of the API.

        :raises AssertionError: the call failed.
        """
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"https://127.0.0.1:{self.port}{path}"
        answer = self._http.request(method, url, json=body, headers=headers, timeout=60)
        text = answer.data.decode()
        assert answer.status == 200, text
        is_json = answer.headers["Content-Type"].startswith("application/json")
        value = json.loads(text) if is_json else text
        assert not isinstance(value, dict) or value.get("status", "Success") == "Success", value
        return value

    def token_of(self, name: str, role: str, tenant: str = "") -> str:
        """Return the token of a caller with this name. ``tenant``: the tenant that it is bound
        to.
        """
        options = [f"--name={name}", f"--role={role}", "--expiration=7200"]
        bound = [f"--tenant={tenant}"] if tenant else []
        return manage(self.environment, "token_create", *options, *bound).strip()

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.postgres.url, autocommit=True)

    def stop(self) -> None:
        for service in reversed(self.services.values()):
            service.kill()

    def _join(self, name: str, racks: Sequence[str]) -> None:
        nodes = announced(self.services[name].log, len(racks))
        for rack, (_, place) in zip(racks, nodes, strict=True):
            address, port = place.split(":")
            body = {"mgmtIPs": [address], "mgmtPort": int(port), "rack": rack}
            self.call("POST", "/backends", body)


def give_weight(pid: int, weight: int) -> None:
    """Give a new process and its session about the share of the CPU that systemd would give it.
    Others have the weight 100. Each nice level is 1.25 times as much as the next one.
    """
    nice = round(math.log(100 / weight, 1.25))
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(FileNotFoundError):  # the kernel may share cores between sessions
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def application_name(service: str) -> str:
    """Return the application name of a service's sessions with PostgreSQL."""
    return service.replace(" ", "-")
