"""The production form as real processes: gunicorn, a Celery worker and beat, on PostgreSQL and
Redis, against simulated nodes. They are killed; the test process only watches.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import urllib3
from django.conf import settings as django_settings
from django.db import connection

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.certificates import Authority
from tests.conftest import Api
from tests.servers import free_port
from tests.system.standalone_steps import data  # noqa: F401

ROOT = Path(__file__).parents[2]
START_SECONDS = 30


def eventually(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until something is so.

    :raises AssertionError: it is not so in time.
    """
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Process:
    """A process in a group of its own, so that a kill takes its children too."""

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
        """SIGKILL to all of it: nothing can be tidied up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait()


class Production:
    """API and worker; ``api`` calls the API as ADMIN."""

    def __init__(self, environment: dict[str, str], port: int, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.api = Api(self.url, "").as_role("ADMIN")
        python = sys.executable
        self.server = Process(
            [python, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
            environment,
            folder / "api.log",
        )
        celery = [python, "-m", "celery", "-A", "provisioner"]
        worker = [*celery, "worker", "--pool=threads", "--concurrency=4"]
        self.worker = Process(worker, environment, folder / "worker.log")
        self.beat = Process([*celery, "beat"], environment, folder / "beat.log")
        self.ready()

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
        self.server.kill()
        self.worker.kill()
        self.beat.kill()


@pytest.fixture
def production(
    fleet: SimulatedFleet, authority: Authority, base_rows: None, tmp_path: Path
) -> Iterator[Production]:
    port = free_port()
    parameters = connection.settings_dict
    environment = os.environ | {
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
            **{
                name: parameters[name] or ""
                for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")
            }
        ),
        "REDIS_URL": django_settings.CELERY_BROKER_URL,
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
        "API_WORKERS": "2",
        "PUBLIC_URL": f"https://127.0.0.1:{port}",
        "NODE_CA": str(authority.path),
        "NODE_CERTIFICATE": str(authority.provisioner()),
        "NODE_CALL_SECONDS": "4",
        "UNFINISHED_SECONDS": "5",
        "COLLECT_INTERVAL_SECONDS": "1",
        "LOG_LEVEL": "INFO",
    }
    # the beat of the last test was killed and left its lock behind
    redis.Redis.from_url(django_settings.CELERY_BROKER_URL).delete("redbeat::lock")
    running = Production(environment, port, tmp_path)
    yield running
    running.stop()
