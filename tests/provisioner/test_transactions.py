"""No call to a storage node is made while a transaction is open (architecture, section 6)."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection, transaction

from inventory.models import Backend, Host
from inventory.nodes.engines.simulated import SimulatedFleet
from inventory.services.node import clients as node_clients
from provisioner.access.secrets import encrypt
from tasks import runner
from tasks.models import Task, TaskType
from tasks.services import task_create
from tests.api.snapshot_steps import cloned, created_snapshot_volume, snapped
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from tests.sagas.checks import work_off_all
from volumes.reconcilers.garbage_collector import collect
from volumes.reconcilers.node_check.check import nodes_check
from volumes.reconcilers.relocation import relocate_replicas
from volumes.services.replica.replace import replica_sync_submit

TASKS = {
    TaskType.FETCH_INVENTORY: {},
    TaskType.RESET_INVENTORY: {},
    TaskType.INSTALL_LICENSE: {"license": encrypt("of the tests")},
}

pytestmark = pytest.mark.django_db(transaction=True)

OPEN_TRANSACTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


@pytest.fixture
def calls(fleet: SimulatedFleet) -> Iterator[list[tuple[str, int]]]:
    """Collect each node call, with the number of transactions that were open during the call."""
    seen: list[tuple[str, int]] = []
    with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as spy:

        def watch(address: str, method: str, path: str, outcome: str, seconds: float) -> None:
            row = spy.execute(OPEN_TRANSACTIONS).fetchone()
            assert row is not None
            seen.append((f"{method} {path}", row[0]))

        node_clients.node_transport().observers.append(watch)
        yield seen


def test_a_node_call_inside_a_transaction_would_be_found(
    pool: Callable[[int], list[str]], calls: list[tuple[str, int]]
) -> None:
    [node] = pool(1)
    calls.clear()
    with transaction.atomic():
        backend = Backend.objects.select_for_update().get(pk=node)
        node_clients.node_client(backend).read_node()
    assert calls == [("GET /v1/node", 1)]


def test_no_use_case_calls_a_node_inside_a_transaction(
    api: Api, pool: Callable[[int], list[str]], calls: list[tuple[str, int]]
) -> None:
    [first, *_] = pool(3)
    api.put(f"/backends/{first}", {"rack": "other"})
    for type_, outputs in TASKS.items():
        runner.run(task_create(type=type_, outputs=outputs).pk)
    uuid = created(api, "v", storageClass={"numReplicas": 3})
    published(api, uuid, probe_host(api))
    api.get(f"/volume_extended/{uuid}")
    api.patch(f"/volumes/{uuid}", {"newCapacity": 11})
    api.post("/unpublish", {"volId": uuid, "hostId": HOST})
    api.delete(f"/volumes/{uuid}")
    single = created(api, "single")
    taken = snapped(api, single, "s")
    shown, copied = created_snapshot_volume(api, taken, "sv"), cloned(api, single, "c")
    for path in (f"volumes/{shown}", f"snapshots/{taken}", f"volumes/{copied}"):
        api.delete(f"/{path}")
    _replica_and_host(api)
    api.post(f"/backends/{first}/drain")
    relocate_replicas()
    api.delete(f"/backends/{first}/drain")
    _copied(api)
    collect()
    nodes_check()
    assert {call for call, _ in calls} == {
        "GET /v1/node",
        "PUT /v1/node/provisioner",
        "GET /v1/node/license",
        "PUT /v1/node/license",
        "GET /v1/volumes/{uuid}",
        "PUT /v1/volumes/{uuid}",
        "PATCH /v1/volumes/{uuid}",
        "PUT /v1/snapshots/{uuid}",
        "DELETE /v1/snapshots/{uuid}",
        "PUT /v1/targets/{nqn}/namespaces/{uuid}",
        "GET /v1/targets",
        "GET /v1/volumes",
        "GET /v1/volumes/{uuid}/sync",
        "PUT /v1/volumes/{uuid}/sync",
        "GET /v1/snapshots",
        "DELETE /v1/targets/{nqn}/namespaces/{uuid}",
        "DELETE /v1/volumes/{uuid}",
    }
    assert [call for call in calls if call[1]] == []


def _copied(api: Api) -> None:
    """Copy a replica, and start another copy when the volume is published. Move the only replica of
    a volume, and move it again when the volume is deleted.
    """
    wide = created(api, "copied", storageClass={"numReplicas": 2})
    for place in api.get(f"/volumes/{wide}").body[0]["location"]:
        api.patch(f"/replica/{wide}/{place['uuid']}/Available")
    assert api.post(f"/replica/{wide}", {}).status == "Success"
    work_off_all()
    first = api.get(f"/volumes/{wide}").body[0]["location"][0]["uuid"]
    assert api.patch(f"/replica/{wide}/{first}").status == "Success"
    replica_sync_submit(volume_uuid=wide, outgoing_uuid=None)
    runner.run(Task.objects.get(state="IDLE").pk)
    published(api, wide, probe_host(api))
    runner.run(Task.objects.get(state="RUNNING").pk)
    assert api.put("/tasks", _abortion(Task.objects.get(state="RUNNING"))).status == "Success"
    only = created(api, "moves")
    for _ in range(2):
        work_off_all()
        replica_sync_submit(volume_uuid=only, outgoing_uuid=only)
    assert api.delete(f"/volumes/{only}").status == "Success"


def _abortion(task: Task) -> dict[str, str]:
    return {"taskId": task.pk, "hostId": task.host_id, "state": "ABORTED"}


def _replica_and_host(api: Api) -> None:
    """Add, mark and confirm a replica. Then remove the host that uses the volume."""
    wide = created(api, "wide", storageClass={"numReplicas": 2})
    published(api, wide)
    assert api.post(f"/replica/{wide}", {}).status == "Success"
    [row] = api.get(f"/volumes/{wide}").body
    first = row["location"][0]["uuid"]
    assert api.patch(f"/replica/{wide}/{first}").status == "Success"
    assert api.delete(f"/replica/{wide}/{first}").status == "Success"
    Host.objects.update(available_until="2000-01-01T00:00:00Z")
    assert api.delete(f"/hosts/{HOST}").status == "Success"
