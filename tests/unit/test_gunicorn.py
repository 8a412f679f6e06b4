"""deploy/gunicorn.conf.py: its limits fit those of the load balancer and of systemd."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from tests.system.shipped import DEPLOY, ROOT, settings
from tests.system.units import Unit

SHOW = """
import json, runpy
made = runpy.run_path("deploy/gunicorn.conf.py")
plain = (str, int, type(None))
print(json.dumps({name: value for name, value in made.items() if isinstance(value, plain)}))
"""
DEAD = """
import os, runpy, types
from pathlib import Path
child_exit = runpy.run_path("deploy/gunicorn.conf.py")["child_exit"]
from prometheus_client import Counter, Gauge
Gauge("g", "of the living", multiprocess_mode="livesum").set(1)
Counter("c", "of all").inc()
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
kinds = lambda: sorted(path.name.rpartition("_")[0] for path in folder.iterdir())
print(*kinds())
child_exit(None, types.SimpleNamespace(pid=os.getpid()))
print(*kinds())
"""


def run(script: str, folder: Path, **variables: str) -> str:
    """Run Python code with these settings. Returns its output."""
    environment = {
        "SECRET_KEY": "x" * 40,
        "DATA_DIR": str(folder),
        "DATABASE_URL": "sqlite://:memory:",
        "REDIS_URL": "memory://",
        "PYTHONPATH": ".",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(folder: Path, **variables: str) -> dict[str, Any]:
    """Return the values of the file under these settings."""
    return dict(json.loads(run(SHOW, folder, **variables)))


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    chosen = {"TRUSTED_PROXIES": "10.0.0.1,10.0.0.2", "STOP_SECONDS": "7"}
    return shown(tmp_path_factory.mktemp("data"), **chosen)


def haproxy(limit: str) -> int:
    """Return a time limit of the shipped load balancer, in seconds."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    [seconds] = re.findall(rf'^ +timeout {limit} +(?:"\$\{{\w+-)?(\d+)s', text, re.MULTILINE)
    return int(seconds)


def test_gunicorn_knows_each_name(values: dict[str, Any]) -> None:
    """gunicorn ignores other names, so a typing error would change a limit to its default."""
    for name in (
        "keepalive",
        "timeout",
        "graceful_timeout",
        "worker_tmp_dir",
        "forwarded_allow_ips",
        "forwarder_headers",
        "control_socket_disable",
        "preload_app",
    ):
        assert name in values
        Config().set(name, values[name])


def test_idle_connections_are_closed_by_the_load_balancer(values: dict[str, Any]) -> None:
    """If the API closed one, the load balancer could send a request at the same moment, which
    would get no answer.
    """
    assert values["keepalive"] > haproxy("server")
    assert values["keepalive"] >= haproxy("http-keep-alive")


def test_a_worker_is_killed_only_after_the_load_balancer_gave_up(values: dict[str, Any]) -> None:
    assert values["timeout"] >= haproxy("server")


def test_a_heartbeat_needs_no_disk(values: dict[str, Any]) -> None:
    """gunicorn kills a worker whose heartbeat waits for a slow disk."""
    assert values["worker_tmp_dir"] == "/dev/shm"  # noqa: S108 - nothing is written there


def test_only_trusted_proxies_report_the_scheme_of_a_request(
    values: dict[str, Any], tmp_path: Path
) -> None:
    assert values["forwarded_allow_ips"] == "10.0.0.1,10.0.0.2"
    assert values["forwarder_headers"] == ""
    assert shown(tmp_path)["forwarded_allow_ips"] == ""


def test_no_other_process_can_control_gunicorn(values: dict[str, Any]) -> None:
    """Its socket would be in a folder that the units do not allow, or that others can read."""
    assert values["control_socket_disable"] is True


def test_running_requests_may_end_before_the_process_is_killed(values: dict[str, Any]) -> None:
    assert values["graceful_timeout"] == 7, "STOP_SECONDS"
    unit = Unit(DEPLOY / "systemd", "provisioner-api@30101.service", lambda text: text)
    unready = int(settings()["UNREADY_SECONDS"])
    stop = int(settings().get("STOP_SECONDS", 30))
    assert unready + stop < int(unit.value("TimeoutStopSec"))


def test_metrics_do_not_count_a_worker_that_has_ended(tmp_path: Path) -> None:
    """Its counters stay, its gauges go."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    before, after = run(DEAD, tmp_path, PROMETHEUS_MULTIPROC_DIR=str(folder)).splitlines()
    assert {"counter", "gauge_livesum"} <= set(before.split())
    assert after == "counter"
