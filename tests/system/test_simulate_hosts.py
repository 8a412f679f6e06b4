"""``manage.py simulate_hosts`` as a process. The API is killed while it runs."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.simulated_hosts import host_uuid
from tests.api.migration_steps import migrate
from tests.api.replicas_steps import places
from tests.conftest import Api
from tests.inventory.simulated_hosts_steps import SECONDS, attached, ended, states, task_of
from tests.system.conftest import Process, Production
from tests.system.kills_steps import pool_of, settled
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture
def hosts(production: Production, tmp_path: Path) -> Iterator[Process]:
    """Two hosts, which synchronize 10 GiB within three seconds."""
    callers = [Api("", "").as_role("HOST", host=host_uuid(f"host-{n}")) for n in (1, 2)]
    tokens = [caller.authorization.removeprefix("Bearer ") for caller in callers]
    environment = production.environment | {"HOST_TOKEN": "\n".join(tokens)}
    command = [sys.executable, "manage.py", "simulate_hosts", "--count", "2"]
    command += ["--url", production.url, "--sync-mib", "3500", "--exit-with-parent"]
    command += ["--poll-seconds", "0.1", "--look-seconds", "0.2"]
    process = Process(command, environment, tmp_path / "hosts.log")
    yield process
    process.kill()


def test_migrations_of_two_hosts_survive_kills_of_the_api(
    production: Production, fleet: SimulatedFleet, hosts: Process
) -> None:
    api = pool_of(production, fleet)
    eventually(lambda: len(api.get("/hosts").body) == 2, seconds=SECONDS, what="they probe")
    printed = [row.split() for row in hosts.log.read_text().splitlines() if " nqn." in row[:42]]
    assert {row[0] for row in printed} == {host["uuid"] for host in api.get("/hosts").body}
    volumes = [attached(api, host, alias=f"of-{host}") for host, _ in printed]
    moves = {}
    for uuid, handler in zip(volumes, ("AGENT", "PROVISIONER"), strict=True):
        outgoing = min(places(api, uuid))
        asked = migrate(api, uuid, outgoing, migrationHandler=handler)
        moves[uuid] = (asked.body["taskId"], set(places(api, uuid)), outgoing)
    [(hosts_task, *_), (workers_task, *_)] = moves.values()
    eventually(lambda: task_of(api, hosts_task)["progress"] > 0, seconds=SECONDS, what="progress")
    production.server.kill()
    production.restart_api()
    for uuid, (task_id, before, outgoing) in moves.items():
        assert ended(api, task_id)["state"] == "FINISHED", hosts.log.read_text()
        assert before - set(places(api, uuid)) == {outgoing}
        assert states(api, uuid) == ["Available", "Available"]
    assert workers_task not in hosts.log.read_text()
    settled()
    hosts.running.send_signal(signal.SIGTERM)
    assert hosts.running.wait(10) == 0
    assert "Traceback" not in hosts.log.read_text()
