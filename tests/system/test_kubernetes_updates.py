"""Updates and stops of the pods of deploy/kubernetes: they leave pods that work, and take the time
that the pages allow.
"""

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import free_port
from tests.system.deploy_steps import DEPLOY, KUBERNETES
from tests.system.stack import ROOT
from tests.waiting import eventually

DOCS = DEPLOY.parent / "docs"
LONGEST_START = 60
"""Seconds within which a process with a wrong setting ends."""


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the specifications of the objects of one kind, by name."""
    return {
        each["metadata"]["name"]: each["spec"]
        for path in sorted(KUBERNETES.glob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
        if each["kind"] == kind
    }


def deployments() -> dict[str, dict[str, Any]]:
    return of_kind("Deployment")


@pytest.mark.parametrize("app", deployments())
def test_an_update_that_cannot_start_leaves_the_old_pods(app: str) -> None:
    """Without a probe, a pod is ready when its process begins. An update would then stop all old
    pods, also if each new process ends a few seconds later.
    """
    spec = deployments()[app]
    probes = [c for c in spec["template"]["spec"]["containers"] if "readinessProbe" in c]
    assert probes or spec["minReadySeconds"] >= LONGEST_START
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("app", deployments())
def test_pods_of_an_app_do_not_all_stop_with_one_machine(app: str) -> None:
    """An update spreads the new pods, whatever the old ones' machines. A drain leaves one pod."""
    [spread] = deployments()[app]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["matchLabelKeys"] == ["pod-template-hash"]
    budgets = of_kind("PodDisruptionBudget")
    assert budgets[app] == {"minAvailable": 1, "selector": deployments()[app]["selector"]}


@pytest.mark.parametrize("app", ["worker", "periodic"])
def test_a_worker_is_ready_when_it_serves_metrics(app: str) -> None:
    [container] = deployments()[app]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}


def test_a_worker_without_a_broker_serves_no_metrics(tmp_path: Path) -> None:
    """So it is not ready. ``test_metrics.py`` reads those of workers that accept jobs."""
    port = free_port()
    code = f"""
import os, sys
os.environ.update(REDIS_URL="redis://127.0.0.1:1/0", WORKER_METRICS_PORT="{port}")
from provisioner import startup
startup.check = lambda: None  # needs a database
from provisioner.celery import app
app.worker_main(["worker", "--pool=threads", "--concurrency=1"])
"""
    log = tmp_path / "log"
    with log.open("w") as output:
        worker = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        eventually(
            lambda: "Cannot connect to redis" in log.read_text(), seconds=100, what=log.read_text
        )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
    finally:
        worker.kill()
        worker.wait()


def test_the_pages_wait_longer_than_pods_take_to_stop() -> None:
    longest = max(
        spec["template"]["spec"]["terminationGracePeriodSeconds"] for spec in deployments().values()
    )
    pages = "".join(path.read_text() for path in DOCS.rglob("*.md"))
    allowed = [int(n) for n in re.findall(r"kubectl .*--for=delete .*--timeout=(\d+)s", pages)]
    assert allowed
    assert min(allowed) >= longest + 30
