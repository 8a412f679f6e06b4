"""GET /metrics, read by prometheus_client's own parser."""

import re
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.access import concurrency
from provisioner.common import long_lists
from provisioner.common.lanes import Bounds
from tasks.models import TaskType
from tasks.services import task_create
from tests.api.metrics_steps import samples
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published
from tests.conftest import Api
from tests.programs import tool
from volumes.metrics.pool import PoolCollector
from volumes.metrics.scale import TESTED
from volumes.metrics.volumes import volume_metrics
from volumes.models import Orphan, Replica
from volumes.reconcilers.relocation import relocate_replicas
from volumes.views import metrics

pytestmark = pytest.mark.django_db(transaction=True)
MIB = 2**20
Pool = Callable[[int], list[str]]


def test_nodes_are_shown_with_state_capacity_and_load(api: Api, pool: Pool) -> None:
    first, second = pool(2)
    api.put(f"/backends/{second}", {"rack": "", "zone": None})
    Backend.objects.filter(pk=second).update(available_until="2000-01-01T00:00:00Z")
    uuid = created(api, "v", storageClass={"desiredIOPSPerGB": 3, "desiredBWPerGB": 4})
    found = samples(api)
    assert found["ks_node_state"] == [
        (
            {"node": first, "name": "node-1", "rack": "r1", "zone": "z1", "region": "null"},
            1.0,
        ),
        (
            {"node": second, "name": "node-2", "rack": "null", "zone": "null", "region": "null"},
            2.0,
        ),
    ]
    backend = api.get(f"/backends/{first}").body[0]
    labels = {"node": first, "name": "node-1"}
    assert found["ks_node_used_capacity_bytes"][0] == (labels, 10 * GIB)
    assert found["ks_node_free_capacity_bytes"][0] == (labels, backend["availableCapacity"])
    assert found["ks_node_used_iops"][0] == (labels, 30)
    assert found["ks_node_free_iops"][0] == (labels, backend["availableIOPS"])
    assert found["ks_node_used_bw_bytes_per_sec"][0] == (labels, 40)
    assert found["ks_node_free_bw_bytes_per_sec"][0] == (labels, backend["availableBW"])
    assert api.delete(f"/volumes/{uuid}").status == "Success"


def test_volumes_and_publications_have_metrics(api: Api, pool: Pool) -> None:
    nodes = pool(2)
    probe_host(api)
    single = created(api, "one", provisioningType="THIN")
    double = created(api, "two", storageClass={"numReplicas": 2, "name": "gold"})
    published(api, double)
    Replica.objects.filter(volume__uuid=double).update(replica_state="Available")
    found = samples(api)
    volumes = {labels["uuid"]: (labels, value) for labels, value in found["ks_vol_capacity_bytes"]}
    labels, value = volumes[single]
    assert value == 10 * GIB
    place = labels["nodeID1"]
    assert labels == {
        "uuid": single,
        "alias": "one",
        "numReplicas": "1",
        "tenantID": "0",
        "storageClassName": "unknown",
        "provisioningType": "THIN",
        "protocol": "NVMeoF",
        "repUUID1": "",
        "nodeID1": place,
        "nodeName1": f"node-{nodes.index(place) + 1}",
    } | {f"{name}{n}": "" for name in ("repUUID", "nodeID", "nodeName") for n in (2, 3, 4)}
    labels, _ = volumes[double]
    assert {labels["nodeID1"], labels["nodeID2"]} == set(nodes)
    assert labels["storageClassName"] == "gold"
    host = {
        "hostId": HOST,
        "hostname": "host-6d4a",
        "nqn": f"nqn.2014-08.org.nvmexpress:uuid:{HOST}",
    }
    assert found["ks_connected_volumes_state"] == [
        ({"uuid": double, "alias": "two", "version": "1.4"} | host, 0.0)
    ]
    assert found["ks_connected_replica_state"] == [
        ({"uuid": double, "alias": "two", "repUUID": labels[f"repUUID{n}"]} | host, 0.0)
        for n in (1, 2)
    ]


def test_every_metric_is_documented(api: Api, pool: Pool) -> None:
    pool(1)
    published(api, created(api, "v"), probe_host(api))
    page = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text()
    named = set(re.findall(r"`((?:ks|provisioner)_[a-z_]+)`", page))
    found = {
        re.sub(r"_(bucket|sum|count|created)$", "", name)
        for name in samples(api)
        if name.startswith(("ks_", "provisioner_"))
    }
    assert found - {name.removesuffix("_total") for name in named} <= named


def test_labels_are_escaped(api: Api, pool: Pool) -> None:
    [node] = pool(1)
    odd = 'a"b\\c\nd'
    api.put(f"/backends/{node}", {"rack": odd})
    assert samples(api)["ks_node_state"][0][0]["rack"] == odd


def test_node_calls_and_http_requests_have_metrics(api: Api, pool: Pool) -> None:
    pool(1)
    created(api, "v")
    found = samples(api)
    calls = {
        (labels["method"], labels["path"], labels["outcome"])
        for labels, _ in found["provisioner_node_calls_total"]
    }
    assert ("PUT", "/v1/volumes/{uuid}", "OK") in calls
    assert "django_http_requests_total_by_method_total" in found


def test_orphans_and_missing_replicas_have_metrics(api: Api, pool: Pool) -> None:
    first, _ = pool(2)
    created(api, "one")
    created(api, "two", storageClass={"numReplicas": 2})
    found = samples(api)
    assert (found.get("provisioner_orphans"), found.get("provisioner_missing_replicas")) == (
        None,
        None,
    )
    for number, kind in enumerate(["volume", "volume", "namespace"]):
        Orphan.objects.create(backend_id=first, kind=kind, uuid=f"u{number}", generation=1)
    alone = Replica.objects.filter(volume__num_replicas=1)
    alone.update(replica_state="Missing")
    Replica.objects.filter(volume__num_replicas=2, backend_id=first).update(replica_state="Missing")
    found = samples(api)
    assert found["provisioner_orphans"] == [
        ({"node": first, "kind": "namespace"}, 1.0),
        ({"node": first, "kind": "volume"}, 2.0),
    ]
    assert sorted(found["provisioner_missing_replicas"], key=str) == sorted(
        [
            ({"node": alone.get().backend_id, "only": "yes"}, 1.0),
            ({"node": first, "only": "no"}, 1.0),
        ],
        key=str,
    )
    Replica.objects.update(replica_state="Missing")
    lost = samples(api)["provisioner_missing_replicas"]
    assert ({labels["only"] for labels, _ in lost}, sum(n for _, n in lost)) == ({"yes"}, 3.0)


def test_the_progress_of_drains_has_metrics(api: Api, pool: Pool) -> None:
    [node, other] = pool(2)
    assert samples(api).get("provisioner_drain_replicas") is None
    api.put(f"/backends/{other}", {"inUse": False})
    created(api, "moves")
    published(api, created(api, "refused"), probe_host(api))
    api.put(f"/backends/{other}", {"inUse": True})
    assert api.post(f"/backends/{node}/drain").status == "Success"
    relocate_replicas()
    assert samples(api)["provisioner_drain_replicas"] == [
        ({"node": node, "state": "left"}, 2.0),
        ({"node": node, "state": "moving"}, 1.0),
        ({"node": node, "state": "refused"}, 1.0),
    ]


def test_unfinished_rows_have_metrics(api: Api, pool: Pool, fleet: SimulatedFleet) -> None:
    """A deleted volume on a dead node counts as overdue until the node confirms its removal."""
    pool(1)
    uuid = created(api, "v")
    assert "provisioner_unfinished" not in samples(api)
    fleet.nodes[0].faults.go_down()
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    assert samples(api)["provisioner_unfinished"] == [
        ({"kind": kind, "state": "DELETING"}, 1.0) for kind in ("volume", "replica")
    ]


def test_a_scrape_needs_the_same_queries_for_more_volumes(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(1)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(list(PoolCollector().collect())) == 23
            assert b"".join(volume_metrics()).count(b"# TYPE") == 3
        return len(captured)

    created(api, "first")
    published(api, created(api, "second"), probe_host(api))
    before = queries()
    for number in range(5):
        published(api, created(api, f"v{number}"))
    assert queries() == before


@pytest.mark.parametrize("others", [0, 1])
def test_a_scrape_pauses_after_each_chunk_while_others_work(
    api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    pool(1)
    created(api, "v")
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append)
    monkeypatch.setattr(long_lists, "time", clock)
    turns = Bounds(others + 1, others + 1)
    with ExitStack() as held:
        for _ in range(others):
            held.enter_context(concurrency._turns.turn("another", turns))
        answer = Client(headers={"Authorization": api.authorization}).get("/metrics")
        assert b"ks_vol_capacity_bytes{" in b"".join(answer)
        answer.close()
    assert len(pauses) == 4 * others  # the head, one batch, and the two other metrics


FORCED_BY_THE_REFERENCE = {
    "ks_vol_capacity_bytes": "label names should be written in 'snake_case' not 'camelCase'",
    "ks_connected_volumes_state": "label names should be written in 'snake_case' not 'camelCase'",
    "ks_connected_replica_state": "label names should be written in 'snake_case' not 'camelCase'",
    "ks_node_free_bw_bytes_per_sec": ("metric names should not contain abbreviated units"),
    "ks_node_used_bw_bytes_per_sec": ("metric names should not contain abbreviated units"),
}


def test_promtool_accepts_all_metrics_except_names_of_the_reference(api: Api, pool: Pool) -> None:
    pool(1)
    probe_host(api)
    published(api, created(api, "v", storageClass={"numReplicas": 1}))
    program = tool("promtool")
    text = api.get("/metrics").body
    own = "".join(
        line + "\n"
        for line in text.splitlines()
        if re.match(r"(# (HELP|TYPE) )?(ks_|provisioner_)", line)
    )
    checked = subprocess.run(
        [program, "check", "metrics"], input=own, capture_output=True, text=True, check=False
    )
    found = {line.partition(" ")[0] for line in checked.stderr.splitlines()}
    assert found <= set(FORCED_BY_THE_REFERENCE), checked.stderr


def test_tasks_and_jobs_are_counted(api: Api) -> None:
    task_create(type=TaskType.FETCH_INVENTORY)
    assert samples(api)["provisioner_tasks"] == [({"type": "FetchInventory", "state": "IDLE"}, 1.0)]


def test_the_size_of_the_pool_is_compared_with_the_tested_limits(api: Api, pool: Pool) -> None:
    pool(2)
    uuid = created(api, "v")
    snapped(api, uuid, "s1")
    snapped(api, uuid, "s2")
    snapped(api, created(api, "w"), "s3")
    found = samples(api)
    numbers = {labels["kind"]: value for labels, value in found["provisioner_objects"]}
    assert numbers == {
        "node": 2,
        "volume": 2,
        "host": 0,
        "tenant": 1,
        "snapshot_of_volume": 2,
        "task": 0,
    }
    tested = {labels["kind"]: value for labels, value in found["provisioner_tested_objects"]}
    assert tested == TESTED
    page = (Path(__file__).parents[2] / "docs/reference/tested-limits.md").read_text()
    for kind, limit in TESTED.items():
        assert f"| `{kind}` | {limit:,} |" in page


def test_metrics_need_the_role_monitor(api: Api) -> None:
    assert api.as_role("MONITOR").get("/metrics").http == 200
    assert api.as_role("STORAGE").get("/metrics").http == 403
    assert Api(api.url, "").get("/metrics").http == 401


def test_a_scrape_of_a_large_pool_takes_little_memory(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the text about the pool itself fits into memory."""
    client = Client(headers={"Authorization": api.authorization})
    client.get("/metrics").close()
    monkeypatch.setattr(metrics, "volume_metrics", lambda: (b"#" * MIB for _ in range(64)))
    tracemalloc.start()
    answer = client.get("/metrics")
    size = sum(len(chunk) for chunk in answer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 64 * MIB
    assert peak < 16 * MIB
