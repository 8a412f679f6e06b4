"""``manage.py simulate_hosts`` as a process, while the API is killed beside it."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.test_migration import migrate
from tests.api.test_replicas import places, replicated
from tests.api.volume_steps import published
from tests.conftest import Api
from tests.system.conftest import Process, Production, eventually
from tests.system.test_kills import pool_of, settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
SECONDS = 40
PASSWORD = "correct-horse-battery-staple"


@pytest.fixture
def hosts(
    production: Production, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Process]:
    """Two, that synchronize 10 GiB within three seconds."""
    monkeypatch.setenv("USER_PASSWORD", PASSWORD)
    call_command("user_create", "agents", "--role", "HOST")
    environment = production.server.environment | {"HOST_CREDENTIALS": f"agents:{PASSWORD}"}
    command = [sys.executable, "manage.py", "simulate_hosts", "--count", "2"]
    command += ["--url", production.url, "--sync-mib", "3500", "--exit-with-parent"]
    command += ["--poll-seconds", "0.1", "--look-seconds", "0.2"]
    process = Process(command, environment, tmp_path / "hosts.log")
    yield process
    process.kill()


def attached(api: Api, alias: str, host: str) -> str:
    """A volume of two replicas that the host has."""

    def is_up() -> bool:
        return {place["replicaState"] for place in places(api, uuid).values()} == {"Available"}

    uuid = replicated(api, alias)
    published(api, uuid, host)
    eventually(is_up, seconds=SECONDS, what="the host attaches it")
    return uuid


def task_of(api: Api, task_id: str) -> dict[str, Any]:
    [task] = api.get("/tasks", taskId=task_id).body
    return dict(task)


def test_two_hosts_migrate_while_the_api_is_killed(
    production: Production, fleet: SimulatedFleet, hosts: Process
) -> None:
    api = pool_of(production, fleet)
    eventually(lambda: len(api.get("/hosts").body) == 2, seconds=SECONDS, what="they probe")
    printed = [row.split() for row in hosts.log.read_text().splitlines() if " nqn." in row[:42]]
    assert {row[0] for row in printed} == {host["uuid"] for host in api.get("/hosts").body}
    moves = {}
    for (host, _), handler in zip(printed, ("AGENT", "PROVISIONER"), strict=True):
        uuid = attached(api, f"of-{host}", host)
        leaving = min(places(api, uuid))
        asked = migrate(api, uuid, leaving, migrationHandler=handler)
        moves[uuid] = (asked.body["taskId"], set(places(api, uuid)), leaving)
    [(hosts_task, *_), (workers_task, *_)] = moves.values()
    eventually(lambda: task_of(api, hosts_task)["progress"] > 0, seconds=SECONDS, what="progress")
    production.server.kill()
    production.restart_api()
    for uuid, (task_id, before, leaving) in moves.items():
        eventually(
            lambda task_id=task_id: task_of(api, task_id)["state"] not in {"IDLE", "RUNNING"},
            seconds=60,
            what=f"task {task_of(api, task_id)} ends; {hosts.log.read_text()[-3000:]}",
        )
        assert task_of(api, task_id)["state"] == "FINISHED"
        now = places(api, uuid)
        assert len(now) == 2
        assert before - set(now) == {leaving}
        assert {place["replicaState"] for place in now.values()} == {"Available"}
    assert workers_task not in hosts.log.read_text()
    settled()
    hosts.running.send_signal(signal.SIGTERM)
    assert hosts.running.wait(10) == 0
    assert "Traceback" not in hosts.log.read_text()
