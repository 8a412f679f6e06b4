"""The production form as real processes: the units of deploy/, on the PostgreSQL and Redis of the
tests, against simulated nodes. They are killed; the test process only watches.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import urllib3
from django.conf import settings as django_settings
from django.db import connection

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.certificates import Authority
from tests.conftest import Api
from tests.system import shipped
from tests.system.standalone_steps import data  # noqa: F401
from tests.system.units import Unit
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
START_SECONDS = 120


class Process:
    """A process in its own group, so that a kill also reaches its children."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.arguments = arguments
        self.environment = environment
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(
                self.arguments,
                env=self.environment,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Send SIGKILL to the whole group, so that no process can clean up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()


class Production:
    """The units of one server without its load balancer. ``api`` calls the API as ADMIN. Processes
    are killed one by one, so that a test sees what each leaves.
    """

    def __init__(self, server: shipped.Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        api = server.api(1)
        self.url = f"http://127.0.0.1:{api.environment['API_PORT']}"
        self.api = Api(self.url, "").as_role("ADMIN")
        self.server = self._process(api, "api")
        self.worker = self.start("provisioner-worker@1.service", "worker")
        self.periodic = self.start("provisioner-periodic@1.service", "periodic")
        self.beat = self.start("provisioner-beat.service", "beat")
        self.ready()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands."""
        return self._server.environment

    def start(self, unit: str, name: str) -> Process:
        """Start a process of this unit of deploy/. It logs into a file of the same name."""
        return self._process(self._server.unit(unit), name)

    def _process(self, unit: Unit, name: str) -> Process:
        [command] = unit.commands("ExecStart")
        return Process(command, unit.environment, self._folder / f"{name}.log")

    def ready(self) -> None:
        http = urllib3.PoolManager(retries=False)

        def answers() -> bool:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return http.request("GET", f"{self.url}/readyz").status == 200
            return False

        eventually(answers, seconds=START_SECONDS, what=self.server.log.read_text())

    def restart_api(self) -> None:
        self.server.start()
        self.ready()

    def stop(self) -> None:
        for process in (self.server, self.worker, self.periodic, self.beat):
            process.kill()


@pytest.fixture
def production(
    fleet: SimulatedFleet, authority: Authority, base_rows: None, tmp_path: Path
) -> Iterator[Production]:
    parameters = connection.settings_dict
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
        **{name: parameters[name] or "" for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    )
    places = {
        "SECRET_KEY": django_settings.SECRET_KEY,
        "DATABASE_URL": url,
        "REDIS_URL": django_settings.CELERY_BROKER_URL,
        "NODE_CA": str(authority.path),
        "NODE_CERTIFICATE": str(authority.provisioner()),
    }
    spans = {
        "NODE_CALL_SECONDS": "4",
        "UNFINISHED_SECONDS": "5",
        "UNREADY_SECONDS": "0",
        "COLLECT_INTERVAL_SECONDS": "1",
    }
    exceptions = {
        # these would be certificates of the load balancer, which does not run here
        "REQUIRE_CLIENT_CERTIFICATE": "false",
        # authorization servers of tests have no certificates
        "AUTH_SERVER_HTTP": "true",
    }
    # the beat of the last test was killed and left its lock behind
    redis.Redis.from_url(django_settings.CELERY_BROKER_URL).delete("redbeat::lock")
    running = Production(shipped.Server(tmp_path, places, spans, exceptions), tmp_path)
    yield running
    running.stop()
