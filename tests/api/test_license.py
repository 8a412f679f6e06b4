"""``/license``."""

import base64
import datetime as dt
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings as django_settings
from django.db import connection

from inventory.models import Backend, License
from inventory.nodes import wire
from inventory.nodes.wire import RefusalCode
from inventory.services import licenses
from inventory.services.licenses import DEMO_PUBLIC_KEY, vendor_public_key
from provisioner.access.principals import Role
from provisioner.access.secrets import decrypt
from tasks import runner
from tasks.models import Task, TaskState
from tests.api.backends import body
from tests.api.licenses import KEY, PUBLIC_KEY, believe, issued
from tests.worker import running_worker
from volumes.reconcilers.node_check.check import nodes_check

pytestmark = pytest.mark.django_db(transaction=True)

LATER = "2031-02-26T00:00:00.350+0000"


@pytest.fixture
def worker(api):
    with running_worker():
        yield


@pytest.fixture(autouse=True)
def vendor(settings):
    believe(settings)


def restrict(**fields):
    License.objects.update(**fields)


# reading


@pytest.mark.parametrize("expires_at", [None, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)])
def test_without_a_licence_nothing_is_limited(api, pool, expires_at):
    """This is so even if an older version stored its own limits."""
    from importlib import import_module

    from django.apps import apps

    restrict(type="POC", expires_at=expires_at, max_backends=4)
    import_module("inventory.migrations.0009_no_license_no_limit").lift(apps, None)
    assert api.get("/license").body == {"type": "PRODUCTION"}
    assert len(pool(5)) == 5


def test_an_installed_licence_is_kept_by_the_upgrade(api, worker):
    from importlib import import_module

    from django.apps import apps

    assert api.post("/license", {"license": issued(type="POC", maxBackends=2)}).status == "Success"
    import_module("inventory.migrations.0009_no_license_no_limit").lift(apps, None)
    assert api.get("/license").body == {"type": "POC", "maxBackends": 2}


# installing


@pytest.mark.parametrize("path", ["/license", "/LICENSE", "/license/"])
def test_an_installed_licence_is_put_on_all_nodes(api, pool, fleet, worker, path):
    pool(3)
    text = issued(expirationDate=LATER, maxBackends=7)
    answer = api.post(path, {" License ": f" {text} "})
    assert (answer.http, answer.status, answer.description) == (200, "Success", "Success")
    assert api.get(path).body == {
        "type": "PRODUCTION",
        "expirationDate": LATER,
        "maxBackends": 7,
    }
    assert [node.agent.license.license for node in fleet.nodes[:3]] == [text] * 3
    [task] = api.get("/tasks", taskId=answer.body["taskId"]).body
    assert (task["type"], task["state"], task["progress"]) == ("InstallLicense", "FINISHED", 100.0)
    assert task["taskConfiguration"] == []


def test_a_node_that_is_added_later_gets_the_licence(api, pool, fleet, worker):
    text = issued()
    assert api.post("/license", {"license": text}).status == "Success"
    pool(1)
    assert fleet.nodes[0].agent.license.license == text


def test_a_licence_may_allow_any_number_of_nodes(api, worker):
    assert api.post("/license", {"license": issued(maxBackends=None)}).status == "Success"
    assert api.get("/license").body == {"type": "PRODUCTION"}
    [event] = api.get("/events", kind="LicenseInstalled").body
    assert event["text"].startswith("A licence for any number of nodes was installed")


def test_a_licence_can_be_installed_without_nodes(api, worker):
    assert api.post("/license", {"license": issued(type="POC", maxBackends=1)}).status == "Success"
    assert api.get("/license").body == {"type": "POC", "maxBackends": 1}


def test_the_licence_text_is_encrypted_and_in_no_task(api, worker):
    text = issued()
    assert api.post("/license", {"license": text}).status == "Success"
    assert decrypt(License.objects.get().encrypted_text) == text
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            assert text not in str(cursor.fetchall()), table
    assert text not in json.dumps(api.get("/tasks").body)


@pytest.mark.parametrize(
    ("down", "expected"), [(0, "Success"), (1, "Success"), (2, "LicenseError"), (4, "LicenseError")]
)
def test_more_than_half_of_the_nodes_must_take_the_licence(
    api, pool, fleet, worker, down, expected
):
    pool(4)
    for node in fleet.nodes[:down]:
        node.faults.go_down()
    answer = api.post("/license", {"license": issued(maxBackends=9)})
    assert (answer.http, answer.status) == (200, expected)
    limit = {"maxBackends": 9} if expected == "Success" else {}
    assert api.get("/license").body == {"type": "PRODUCTION"} | limit
    if expected == "LicenseError":
        lost = ", ".join(sorted(node.persistent_id for node in fleet.nodes[:down]))
        assert answer.description == (
            f"only {4 - down} of 4 backends accepted the licence, and more than half must "
            f"accept it; not accepted by: {lost}"
        )
        [task] = api.get("/tasks").body
        assert (task["state"], task["taskStatus"]) == ("FAILED", "LicenseError")


def test_an_installation_that_takes_longer_continues_after_the_answer(api, monkeypatch):
    monkeypatch.setattr(licenses, "ANSWER_SECONDS", 0.2)
    answer = api.post("/license", {"license": issued()})
    assert answer.status == "Success"
    assert Task.objects.get(pk=answer.body["taskId"]).state == TaskState.IDLE


def test_another_licence_is_refused_until_the_installation_has_ended(api, pool, monkeypatch):
    pool(2)
    monkeypatch.setattr(licenses, "ANSWER_SECONDS", 0.2)
    older, newer = issued(maxBackends=5), issued(maxBackends=50)
    task_id = api.post("/license", {"license": older}).body["taskId"]
    answer = api.post("/license", {"license": newer})
    assert (answer.http, answer.status) == (200, "LicenseError")
    assert answer.description == (
        f"task '{task_id}' installs another licence: try again when it has ended"
    )
    assert Task.objects.count() == 1
    runner.run(task_id)
    assert api.get("/license").body["maxBackends"] == 5
    runner.run(api.post("/license", {"license": newer}).body["taskId"])
    assert api.get("/license").body["maxBackends"] == 50


def test_a_repeat_waits_for_the_same_installation(api, monkeypatch):
    monkeypatch.setattr(licenses, "ANSWER_SECONDS", 0.2)
    text = issued()
    first, second = (api.post("/license", {"license": text}).body["taskId"] for _ in range(2))
    assert first == second


def held(fleet, number):
    return [node.agent.license.license for node in fleet.nodes[:number]]


def test_a_node_that_was_down_during_the_installation_gets_the_licence(api, pool, fleet, worker):
    pool(3)
    fleet.nodes[2].faults.go_down()
    text = issued()
    assert api.post("/license", {"license": text}).status == "Success"
    fleet.nodes[2].faults.come_up()
    nodes_check()
    assert held(fleet, 3) == [text] * 3


@pytest.mark.parametrize("is_installed", [True, False])
def test_a_node_with_another_licence_gets_the_installed_one(api, pool, fleet, worker, is_installed):
    pool(2)
    text = issued() if is_installed else ""
    if is_installed:
        assert api.post("/license", {"license": text}).status == "Success"
    fleet.nodes[1].agent.put_license(wire.License(license=issued(maxBackends=1)))
    nodes_check()
    assert held(fleet, 2) == [text] * 2


def test_a_node_that_refuses_the_licence_is_checked_all_the_same(api, pool, fleet, worker):
    pool(1)
    fleet.nodes[0].faults.refuse(RefusalCode.UNAVAILABLE, method="PUT", path="/v1/node/license")
    assert api.post("/license", {"license": issued()}).status == "LicenseError"
    fleet.nodes[0].agent.put_license(wire.License(license="of another pool"))
    fleet.nodes[0].faults.refuse(RefusalCode.UNAVAILABLE, method="PUT", path="/v1/node/license")
    nodes_check()
    assert Backend.objects.get().checked_boot_id
    assert held(fleet, 1) == ["of another pool"]


def claims(**fields):
    return {"type": "POC", "maxBackends": 3} | fields


def unsigned():
    return jwt.encode(claims(), "", algorithm="none")


def signed_with_the_public_key():
    key = base64.b64decode(PUBLIC_KEY)
    return jwt.encode(claims(), key, algorithm="HS256")


UNDECODABLE = {
    "text": "XXXXXXXXXXXXXXXXXX",
    "unsigned": unsigned(),
    "symmetric": signed_with_the_public_key(),
    "no terms": jwt.encode({}, KEY, algorithm="EdDSA"),
    "no backends": jwt.encode(claims(maxBackends=0), KEY, algorithm="EdDSA"),
    "unknown type": jwt.encode(claims(type="GOLD"), KEY, algorithm="EdDSA"),
    "no zone": jwt.encode(claims(expirationDate="2031-01-01T00:00"), KEY, algorithm="EdDSA"),
    "cut": issued()[:-9],
    "not ascii": "é.é.é",
    "deep": base64.urlsafe_b64encode(b'{"a":' * 1000).decode() + ".e30.AA",
}


@pytest.mark.parametrize("text", UNDECODABLE.values(), ids=UNDECODABLE)
def test_a_licence_that_cannot_be_decoded_is_refused(api, text):
    answer = api.post("/license", {"license": text})
    assert (answer.http, answer.status) == (200, "InvalidLicense"), answer
    assert answer.description in {
        "the licence cannot be decoded",
        "the licence is not signed by the vendor of this system",
    }
    assert not Task.objects.exists()


def test_a_licence_of_another_vendor_is_refused(api):
    answer = api.post("/license", {"license": issued(key=Ed25519PrivateKey.generate())})
    assert answer.status == "InvalidLicense"
    assert answer.description == "the licence is not signed by the vendor of this system"


def test_an_expired_licence_is_refused(api):
    answer = api.post("/license", {"license": issued(expirationDate="2020-02-26T00:00:00Z")})
    assert answer.status == "InvalidLicense"
    assert answer.description == "the licence expired at 2020-02-26T00:00:00+00:00"
    assert api.get("/license").body == {"type": "PRODUCTION"}


def test_a_licence_is_refused_without_a_vendors_key(api, settings):
    believe(settings, "")
    answer = api.post("/license", {"license": issued()})
    assert answer.status == "InvalidLicense"
    assert answer.description == "no key of a vendor is configured: set LICENSE_PUBLIC_KEY"


def test_the_public_demo_key_matches_its_file():
    file = django_settings.BASE_DIR / "deploy" / "demo-license-key.pem"
    key = load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    assert vendor_public_key(key) == DEMO_PUBLIC_KEY


@pytest.mark.parametrize("given", [{}, {"license": None}, {"license": ""}, {"license": "x" * 8193}])
def test_a_missing_or_too_long_licence_is_refused(api, given):
    answer = api.post("/license", given)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith("license = ")
    assert "xxx" not in answer.description


# what it allows


def test_no_more_backends_are_added_than_the_licence_allows(api, pool, fleet):
    restrict(max_backends=2)
    [first, _] = pool(2)
    answer = api.post("/backends", body(fleet.nodes[2]))
    assert (answer.http, answer.status) == (200, "LicenseError")
    assert answer.description == (
        "licence limit reached (2 of 2 nodes): install a licence for more nodes, or remove a node"
    )
    assert api.post("/backends", body(fleet.nodes[0])).status == "AlreadyExists"
    assert api.delete(f"/backends/{first}").status == "Success"
    assert api.post("/backends", body(fleet.nodes[2])).status == "Success"


def test_an_expired_licence_only_prevents_adding_nodes(api, pool, fleet):
    [persistent_id] = pool(1)
    restrict(expires_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    answer = api.post("/backends", body(fleet.nodes[1]))
    assert (answer.http, answer.status) == (200, "LicenseError")
    assert answer.description == "the licence expired at 2026-01-01T00:00:00+00:00"
    assert api.put(f"/backends/{persistent_id}", {"rack": "x"}).status == "Success"
    assert api.post("/volumes", {"alias": "a", "capacity": 10}).status == "Success"
    assert Backend.objects.count() == 1


def test_a_licence_for_fewer_nodes_keeps_the_present_ones(api, pool, worker):
    pool(3)
    assert api.post("/license", {"license": issued(maxBackends=1)}).status == "Success"
    assert len(api.get("/backends").body) == 3
    assert api.post("/volumes", {"alias": "a", "capacity": 10}).status == "Success"


def test_roles_without_the_right_are_refused(api):
    monitor = api.as_role(Role.MONITOR)
    assert monitor.get("/license").http == 200
    assert monitor.post("/license", {"license": issued()}).http == 403
    for role in (Role.STORAGE, Role.HOST):
        assert api.as_role(role).get("/license").http == 403
