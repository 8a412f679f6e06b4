"""Tenants over HTTP: every operation and result code of "Multi-Tenancy Management"."""

from collections.abc import Callable

import pytest

from provisioner.common.paths import first_segments
from tasks.models import TaskType
from tasks.services import task_create
from tests.api.tenants_steps import BUDGET
from tests.api.volume_steps import created
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_the_default_tenant_follows_the_pool_until_it_has_a_budget(api: Api, pool: Pool) -> None:
    assert api.get("/tenants").body == [
        {
            "tenantId": "0",
            "name": "default",
            "capacity": 0,
            "totalIOPS": 0,
            "totalBW": 0,
            "consumedCapacity": 0,
            "consumedIOPS": 0,
            "consumedBW": 0,
        }
    ]
    pool(2)
    backends = api.get("/backends").body
    [default] = api.get("/tenants").body
    assert default["capacity"] == sum(b["totalCapacity"] for b in backends) // 2**30
    assert default["totalIOPS"] == sum(b["totalIOPS"] for b in backends)
    assert default["totalBW"] == sum(b["totalBW"] for b in backends)
    assert api.put("/tenants/0", {"capacity": 7, "totalIOPS": 8, "totalBW": 9}).status == "Success"
    [default] = api.get("/tenants").body
    assert (default["capacity"], default["totalIOPS"], default["totalBW"]) == (7, 8, 9)


def test_a_new_tenant_is_listed_with_its_budget_and_use(api: Api, pool: Pool) -> None:
    pool(2)
    answer = api.post("/tenants/", BUDGET)
    assert (answer.http, answer.status) == (200, "Success")
    tenant = answer.body["tenantId"]
    rates = {"numReplicas": 2, "desiredIOPSPerGB": 3, "desiredBWPerGB": 4}
    created(api, "v", f"/{tenant}/volumes", storageClass=rates)
    shown = {row["tenantId"]: row for row in api.get("/tenants").body}[tenant]
    assert shown == BUDGET | {
        "tenantId": tenant,
        "consumedCapacity": 20,
        "consumedIOPS": 30,
        "consumedBW": 40,
    }


def test_name_and_id_are_taken_once(api: Api, pool: Pool) -> None:
    pool(1)
    assert api.post("/tenants", BUDGET | {"tenantId": "t1"}).body["tenantId"] == "t1"
    for other in ({"tenantId": "t2"}, {"tenantId": "t1", "name": "x"}, {"name": "default"}):
        assert api.post("/tenants", BUDGET | other).status == "TenantAlreadyExists"


def test_tenants_cannot_be_managed_in_an_empty_pool(api: Api) -> None:
    assert api.post("/tenants", BUDGET).status == "NoBackends"
    budget = {"capacity": 1, "totalIOPS": 1, "totalBW": 1}
    assert api.put("/tenants/0", budget).status == "NoBackends"
    assert api.delete("/tenants/t1").status == "NoBackends"


@pytest.mark.parametrize("field", ["name", "capacity", "totalIOPS", "totalBW"])
def test_a_missing_field_is_named(api: Api, pool: Pool, field: str) -> None:
    pool(1)
    answer = api.post("/tenants", {k: v for k, v in BUDGET.items() if k != field})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith(f"{field} = None: ")


def test_modifying_a_budget_is_refused_below_what_is_used(api: Api, pool: Pool) -> None:
    pool(1)
    api.post("/tenants", BUDGET | {"tenantId": "t1"})
    created(api, "v", "/t1/volumes", capacity=30)
    new = {"capacity": 30, "totalIOPS": 2, "totalBW": 3}
    assert api.put("/tenants/t1", new | {"tenantId": "t1"}).status == "Success"
    less = api.put("/tenants/t1", new | {"capacity": 29})
    assert (less.http, less.status) == (400, "InvalidInput")
    assert less.description == "capacity = 29: 30 GiB are already used"
    assert api.put("/tenants/t1", new | {"capacity": 0}).status == "Success"
    assert api.put("/tenants/none", new).status == "TenantNotFound"
    other = api.put("/tenants/t1", new | {"tenantId": "t2"})
    assert (other.http, other.description) == (400, "tenantId = 't2': the path names tenant 't1'")


def test_deleting_a_tenant_requires_that_it_has_no_volumes(api: Api, pool: Pool) -> None:
    pool(1)
    api.post("/tenants", BUDGET | {"tenantId": "t1"})
    uuid = created(api, "v", "/t1/volumes")
    assert api.delete("/tenants/t1").status == "TenantHasVolumes"
    api.delete(f"/volumes/{uuid}")
    assert api.delete("/tenants/t1").status == "Success"
    assert api.delete("/tenants/t1").status == "TenantNotFound"
    default = api.delete("/tenants/0")
    assert (default.http, default.status) == (400, "InvalidInput")


def test_a_later_tenant_of_the_same_id_sees_nothing_of_the_former_one(api: Api, pool: Pool) -> None:
    pool(1)
    api.post("/tenants", BUDGET | {"tenantId": "t1"})
    uuid = created(api, "secret", "/t1/volumes")
    task = task_create(type=TaskType.REPLICA_SYNC, volume_id=uuid, tenant_id="t1", stoppable=True)
    assert api.put("/tasks", {"taskId": task.pk, "hostId": "", "state": "ABORTED"}).status == (
        "Success"
    )
    assert api.delete(f"/volumes/{uuid}").status == "Success"
    bound = api.as_role("MONITOR", tenant="t1")
    assert bound.get("/events", about=uuid).body
    assert bound.get("/tasks").body
    assert api.delete("/tenants/t1").status == "Success"
    assert api.post("/tenants", BUDGET | {"tenantId": "t1"}).status == "Success"
    assert [event["kind"] for event in bound.get("/events").body] == ["TenantCreated"]
    assert bound.get("/tasks").body == []
    kinds = [event["kind"] for event in api.get("/events", about="tenant:t1").body]
    assert {"VolumeCreated", "VolumeDeleted", "TenantDeleted"} <= {*kinds}
    assert [row["taskId"] for row in api.get("/tasks").body] == [task.pk]


def test_a_bound_caller_sees_its_own_tenant_only(api: Api, pool: Pool) -> None:
    pool(1)
    api.post("/tenants", BUDGET | {"tenantId": "t1"})
    rows = api.as_role("MONITOR", tenant="t1").get("/tenants").body
    assert [row["tenantId"] for row in rows] == ["t1"]


@pytest.mark.parametrize("word", ["admin", "static", "Volumes", "snapshots_by_vol", "LICENSE"])
def test_a_first_path_segment_is_no_tenant_id(api: Api, pool: Pool, word: str) -> None:
    pool(1)
    answer = api.post("/tenants", BUDGET | {"tenantId": word})
    assert answer.status == "InvalidInput"
    assert answer.description == (
        f"tenantId = {word!r}: is reserved: paths of this server begin with /{word.lower()}"
    )
    assert [tenant["tenantId"] for tenant in api.get("/tenants").body] == ["0"]


def test_every_first_path_segment_is_reserved() -> None:
    reserved = first_segments()
    for route in ("volumes", "backends", "tasks", "token", "metrics", "docs", "admin", "static"):
        assert route in reserved
    assert not any("<" in segment or "/" in segment for segment in reserved)
