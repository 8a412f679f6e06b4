"""The procedures of docs/how-to, on real processes."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tests import servers
from tests.programs import tool
from tests.system.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(1200)
OLD, NEW = "old-data-key-" * 4, "new-data-key-" * 4
OLD_TOKENS, NEW_TOKENS = "old-token-key" * 4, "new-token-key" * 4
OLD_NODE_TOKEN = "the-old-token-of-this-node-alone-"
NEW_NODE_TOKEN = "the-new-token-of-this-node-alone-"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    settings = {
        "DATA_KEYS": OLD,
        "TOKEN_KEYS": OLD_TOKENS,
        "COLLECT_INTERVAL_SECONDS": "1",
        "NODE_CALL_SECONDS": "4",
        "UNFINISHED_SECONDS": "5",
        "UNREADY_SECONDS": "0",
    }
    tool("haproxy")
    running = Stack(settings, each=1)
    yield running
    running.stop()


def beat_sends(stack: Stack) -> None:
    """Wait until beat has sent jobs. No worker runs, so the queue becomes longer. If beat ends, it
    is started again, as by its supervisor.
    """
    queued = stack.redis.client.llen
    before, end = int(queued("periodic")), time.monotonic() + 60
    while int(queued("periodic")) < before + 3:
        assert time.monotonic() < end, [beat.log.read_text()[-2000:] for beat in stack.beats]
        for beat in stack.beats:
            if beat.running.poll() is not None:
                beat.start()
        time.sleep(0.1)


def test_beat_continues_after_redis_lost_all_data(stack: Stack) -> None:
    for worker in (*stack.workers, *stack.periodic):
        worker.kill()
    beat_sends(stack)
    stack.redis.flush()
    beat_sends(stack)
    for worker in (*stack.workers, *stack.periodic):
        worker.start()


def test_a_backup_can_be_restored_beside_the_running_system(stack: Stack) -> None:
    backup = stack.folder / "backup"
    programs = stack.postgres.programs
    url = stack.postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    restored = url.replace("/provisioner", "/restored")
    commands: tuple[list[str | Path], ...] = (
        [programs / "pg_dump", "--format=custom", f"--file={backup}", url],
        [programs / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={restored}", backup],
    )
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, timeout=240)
    stack.environment["DATABASE_URL"] = restored
    try:
        stack.manage("migrate", "--check")
        assert stack.manage("database_restored").strip() == "writes are allowed again"
        assert "nothing was changed" in stack.manage("database_restored")
        assert stack.manage("audit").strip() == "0 differences"
    finally:
        del stack.environment["DATABASE_URL"]


class TestNewTokens:
    """The key of tokens and the token of a node are changed at once."""

    def test_tokens_stay_valid_and_nodes_get_new_ones(self, stack: Stack) -> None:
        certificate, key = stack.authority.node("nodes", ["127.0.0.1"])
        node: dict[str, Any] = {
            "certificate": certificate,
            "key": key,
            "base_port": servers.free_port(),
            "store": stack.folder / "node.sqlite3",
        }
        token = stack.manage("token_create", "--name=x", "--role=ADMIN", "--expiration=3600")
        http = stack.pool()
        headers = {"Authorization": f"Bearer {token.strip()}"}

        def call(method: str, path: str, body: object = None) -> Any:
            return http.request(method, f"{stack.url}{path}", json=body, headers=headers).json()

        with SimulatedFleet(1, token=OLD_NODE_TOKEN, **node):
            body = {"mgmtIPs": ["127.0.0.1"], "mgmtPort": node["base_port"]}
            added = call("POST", "/backends", body | {"nodeToken": OLD_NODE_TOKEN})
            assert added["status"] == "Success"
            for name in ("stays", "goes"):
                volume = {"alias": name, "uuid": name, "capacity": 1}
                assert call("POST", "/volumes", volume)["status"] == "Success"
        with SimulatedFleet(1, token=NEW_NODE_TOKEN, **node) as fleet:
            assert call("DELETE", "/volumes/goes")["status"] == "Success"
            assert len(fleet.nodes[0].volumes()) == 2, "the node refuses the old token"
            told = {"nodeToken": NEW_NODE_TOKEN}
            put = call("PUT", f"/backends/{added['persistentID']}", told)
            assert put["status"] == "Success"
            changed = {"TOKEN_KEYS": f"{NEW_TOKENS},{OLD_TOKENS}"}
            stack.environment.update(changed)
            for service in (*stack.apis, *stack.workers, *stack.periodic):
                service.environment = {**service.environment, **changed}
                service.terminate()
                service.start()
            stack.ready()
            eventually(
                lambda: list(fleet.nodes[0].volumes()) == ["stays"],
                seconds=180,
                what=fleet.nodes[0].volumes,
            )
            assert stack.manage("audit").strip() == "0 differences"
        assert [volume["uuid"] for volume in call("GET", "/volumes")] == ["stays"]


def test_data_keys_are_rotated(stack: Stack) -> None:
    """This is the last test, because running processes lack the new key. The database has a
    licence, and the token of the node that the previous test added.
    """
    put = "from provisioner.access.secrets import encrypt; from inventory.models import License; "
    get = "from inventory.services.licenses import license_text; print(license_text())"
    stack.manage("shell", "-c", put + "License.objects.update(encrypted_text=encrypt('terms'))")
    stack.environment["DATA_KEYS"] = f"{NEW},{OLD}"
    said = stack.manage("rotate_data_keys")
    assert said.strip() == "2 secrets encrypted with the first key of DATA_KEYS"
    stack.environment["DATA_KEYS"] = NEW
    assert stack.manage("shell", "-c", get).split()[-1] == "terms"
