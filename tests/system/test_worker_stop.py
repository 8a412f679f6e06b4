"""SIGTERM to a worker during a task: another worker continues at once, not only after the lease."""

import signal
import threading

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.celery import app
from tasks.models import Task, TaskState
from tests.system.conftest import Production
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]
SLOW_MS = 4000
SOON_SECONDS = 20
"""Less than the lease, which is renewed when the node is called."""


def test_a_stopped_worker_hands_its_task_over(
    production: Production, fleet: SimulatedFleet
) -> None:
    node = fleet.nodes[0]
    body = {"mgmtIPs": [node.address], "mgmtPort": node.port}
    assert production.api.post("/backends", body).status == "Success"
    one = production.worker
    two = production.start("provisioner-worker@2.service", "two")
    workers = {worker.running.pid: worker for worker in (one, two)}
    try:
        # and the one of periodic jobs
        eventually(lambda: len(app.control.ping() or ()) == 3, seconds=180, what="two workers")
        node.faults.slow(SLOW_MS, method="GET", path="/v1/node", times=1)
        caller = threading.Thread(target=production.api.get, args=("/inventory",))
        caller.start()
        eventually(lambda: owner() != 0, seconds=20, what="begun")
        stopped = workers[owner()]
        stopped.running.send_signal(signal.SIGTERM)
        assert stopped.running.wait(SOON_SECONDS) == 0
        eventually(finished, seconds=SOON_SECONDS, what="finished by the other")
        caller.join()
        assert "task handed over" in stopped.log.read_text()
    finally:
        two.kill()


def owner() -> int:
    """Return the process that works on the task. 0: there is none."""
    said = next(iter(Task.objects.values_list("lease_owner", flat=True)), "")
    return int(said.split(":")[1]) if ":" in said else 0


def finished() -> bool:
    return Task.objects.filter(state=TaskState.FINISHED).exists()
