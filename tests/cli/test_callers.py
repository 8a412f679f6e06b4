"""Each caller can run each command that reads, as far as the API lets it."""

import csv
import io
from collections.abc import Callable

import pytest

from tests.api.inventory_steps import take_sample
from tests.api.volume_steps import created, probe_host, published
from tests.cli.conftest import Run
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
READING = (
    *("status", "nodes", "nodes show NODE", "nodes drain-status NODE", "nodes maintenance NODE"),
    *("volumes", "volumes show u1", "replicas", "replicas list u1", "snapshots"),
    *("snapshots show s1", "hosts", "targets", "tasks", "tasks show TASK", "events", "tenants"),
    *("tokens revoked", "users", "auth-server", "licence", "syslog", "inventory", "metrics"),
    "context list",
)
BUDGETS = ("capacity", "totalIOPS", "totalBW")
EVERY_ROLE = {
    "ADMIN of a tenant": (["ADMIN"], {"tenant": "acme"}),
    "MONITOR of a tenant": (["MONITOR"], {"tenant": "acme"}),
    "MONITOR": (["MONITOR"], {}),
    "STORAGE": (["STORAGE"], {}),
    "HOST": (["HOST"], {"host": "h1"}),
    "NODE": (["NODE"], {"node": "02:00:00:00:00:01"}),
}


@pytest.fixture
def lines(api: Api, pool: Callable[[int], list[str]]) -> list[str]:
    """The commands, for a pool with objects of the tenant acme."""
    [node] = pool(1)
    api.post("/tenants", {"tenantId": "acme", "name": "Acme"} | dict.fromkeys(BUDGETS, 0))
    created(api, "first", "/acme/volumes", uuid="u1")
    api.post("/acme/snapshots", {"alias": "snap", "snapshotID": "s1", "volumeID": "u1"})
    probe_host(api, "h1")
    published(api, "u1", "h1")
    take_sample()
    task = api.get("/inventory").body["taskId"]
    return [line.replace("NODE", node).replace("TASK", task) for line in READING]


def test_a_caller_sees_a_result_or_one_sentence(
    connected: dict[str, str], run: Run, api: Api, lines: list[str]
) -> None:
    """Callers bound to a tenant see no numbers of the pool."""
    for caller, (roles, bound) in EVERY_ROLE.items():
        token = api.as_role(*roles, **bound).authorization.removeprefix("Bearer ")
        for line in lines:
            ran = run(*line.split(), "-o", "wide", "--token", token)
            assert ran.code in {0, 3, 5}, (caller, line, ran)
            assert (ran.code == 0) != ran.err.startswith("Error: "), (caller, line, ran)
        if "tenant" not in bound:
            continue
        assert run("nodes", "remove", "node-1", "--yes", "--token", token).code == 5
        assert "SPACE" in run("status", "--token", token).out
        [row] = csv.DictReader(io.StringIO(run("nodes", "-o", "csv", "--token", token).out))
        assert (row["volumes"], row["used"], row["total"]) == ("", "", "")
