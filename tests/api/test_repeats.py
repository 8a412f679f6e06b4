"""Retries with the same ``Idempotency-Key`` get the first answer, and have no second effect."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from inventory.models import Backend
from tests.api.conformance import description
from tests.api.snapshot_steps import clone, snapped, tenant
from tests.api.volume_steps import GIB, HOST, create, created, probe_host, published, volume
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Publication, Snapshot, Volume

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]

REQUESTS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], str]] = {
    "create": (
        "POST",
        "/volumes",
        {"alias": "x", "capacity": 10},
        {"capacity": 11},
        "AlreadyExists",
    ),
    "create with a uuid": (
        "POST",
        "/volumes",
        {"alias": "x", "capacity": 10, "uuid": "x", "storageClass": {"numReplicas": 3}},
        {"alias": "y"},
        "AlreadyExists",
    ),
    "create of a tenant": (
        "POST",
        "/0/volumes",
        {"alias": "x", "capacity": 10},
        {"provisioningType": "THIN"},
        "AlreadyExists",
    ),
    "expand": ("PATCH", "/volumes/v", {"newCapacity": 20}, {"newCapacity": 19}, "InvalidSize"),
    "snapshot": (
        "POST",
        "/snapshots",
        {"alias": "x", "volumeID": "v"},
        {"reservedSpacePercentage": 1},
        "AlreadyExists",
    ),
    "snapshot volume": (
        "POST",
        "/snapshot_volumes",
        {"alias": "x", "snapshotID": "s"},
        {"writable": True},
        "AlreadyExists",
    ),
    "clone": (
        "POST",
        "/clone_volume",
        {"alias": "x", "sourceVolumeId": "v", "volumeId": "x"},
        {"volumeId": "y"},
        "AlreadyExists",
    ),
    "publish": ("POST", "/publish", {"volId": "v", "hostId": HOST}, {}, ""),
    "publish of a Local volume": ("POST", "/publish", {"volId": "l", "hostId": HOST}, {}, ""),
}
"""Method, path and body; what differs in another request, and what that is answered."""


@pytest.fixture
def things(api: Api, pool: Pool) -> None:
    """Create nodes, one of which runs on a host, the volumes ``v`` and ``l``, and the snapshot
    ``s``.
    """
    node, *_ = pool(3)
    probe_host(api)
    assert api.put(f"/backends/{node}", {"hostId": HOST}).status == "Success"
    created(api, "v", uuid="v")
    created(api, "l", uuid="l", protocol="Local", storageClass={"hostId": HOST})
    snapped(api, "v", "s", snapshotID="s")


def rows() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Volume, Snapshot, Publication))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_repeated_request_gets_the_first_answer(api: Api, things: None, name: str) -> None:
    method, path, body, *_ = REQUESTS[name]
    first = api.keyed("k").call(method, path, body)
    assert first.status == "Success"
    known = rows()
    for _ in range(2):
        again = api.keyed("k").call(method, path, body)
        assert (again.http, again.body) == (first.http, first.body)
    assert rows() == known
    assert audit() == []


@pytest.mark.parametrize("name", ["create", "snapshot", "publish", "publish of a Local volume"])
def test_a_repeat_is_answered_while_no_node_answers(api: Api, things: None, name: str) -> None:
    method, path, body, *_ = REQUESTS[name]
    first = api.keyed("k").call(method, path, body)
    assert first.status == "Success"
    Backend.objects.update(available_until=timezone.now())
    again = api.keyed("k").call(method, path, body)
    assert (again.http, again.body) == (first.http, first.body)


@pytest.mark.parametrize("key", ["", "other"])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_differs_is_not_a_repeat(
    api: Api, things: None, name: str, key: str
) -> None:
    method, path, body, change, refusal = REQUESTS[name]
    assert api.keyed("k").call(method, path, body).status == "Success"
    assert api.keyed(key).call(method, path, body).status == (refusal or "AlreadyPublished")
    if change:
        assert api.keyed("k").call(method, path, body | change).status == refusal
    assert audit() == []


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_without_a_key_is_never_a_repeat(api: Api, things: None, name: str) -> None:
    method, path, body, _, refusal = REQUESTS[name]
    assert api.call(method, path, body).status == "Success"
    assert api.keyed("").call(method, path, body).status == (refusal or "AlreadyPublished")


def test_any_text_may_be_a_key(api: Api, pool: Pool) -> None:
    pool(1)
    for number, key in enumerate(["8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"', "x" * 255]):
        body = {"alias": f"v{number}", "capacity": 1}
        uuids = {api.keyed(key).post("/volumes", body).body["uuid"] for _ in range(2)}
        assert len(uuids) == 1


def test_a_key_that_is_too_long_is_refused(api: Api, pool: Pool) -> None:
    pool(1)
    answer = api.keyed("x" * 256).post("/volumes", {"alias": "v", "capacity": 1})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith("Idempotency-Key")
    assert api.get("/volumes").body == []


def test_a_key_is_forgotten_with_its_object(api: Api, pool: Pool) -> None:
    pool(1)
    keyed = api.keyed("k")
    assert keyed.delete(f"/volumes/{created(keyed, 'v', uuid='u')}").status == "Success"
    assert created(keyed, "v", uuid="u") == "u"
    assert volume(api, "u")["alias"] == "v"


def test_a_key_of_another_tenant_is_not_a_repeat(api: Api, pool: Pool) -> None:
    pool(1)
    tenant(api, "t1")
    bound = [api.as_role("ADMIN", tenant=name).keyed("k") for name in ("0", "t1")]
    answers = [create(each, "v", uuid="u") for each in bound]
    assert [answer.status for answer in answers] == ["Success", "AlreadyExists"]


def test_a_repeat_after_a_later_change_is_a_new_request(api: Api, things: None) -> None:
    """If the object was expanded or published again in between, it belongs to another request."""
    keyed = api.keyed("k")
    assert keyed.patch("/volumes/v", {"newCapacity": 15}).status == "Success"
    assert api.patch("/volumes/v", {"newCapacity": 20}).status == "Success"
    assert keyed.patch("/volumes/v", {"newCapacity": 15}).status == "InvalidSize"
    assert volume(api, "v")["capacity"] == 20 * GIB
    body = {"volId": "v", "hostId": HOST}
    assert keyed.post("/publish", body).status == "Success"
    assert api.post("/unpublish", body).status == "Success"
    published(api, "v")
    assert keyed.post("/publish", body).status == "AlreadyPublished"


def test_a_refusal_is_not_remembered(api: Api, pool: Pool) -> None:
    """A request that was refused before may succeed now."""
    pool(1)
    keyed = api.keyed("k")
    assert clone(keyed, "u", "c").status == "NotExists"
    created(api, "v", uuid="u")
    assert clone(keyed, "u", "c").status == "Success"


def test_the_openapi_description_names_the_header_of_each_repeatable_operation() -> None:
    named = {
        (method.upper(), path)
        for path, methods in description()["paths"].items()
        for method, operation in methods.items()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
    }
    collections = ("volumes", "snapshots", "snapshot_volume", "snapshot_volumes", "clone_volume")
    expected = {("POST", f"/{name}") for name in (*collections, "publish")}
    expected.add(("PATCH", "/volumes/{volumeUuid}"))
    assert named == expected | {(method, f"/{{tenantId}}{path}") for method, path in expected}
