"""``POST /probe`` (reference, "Probe")."""

import datetime as dt
import time
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from inventory.jobs import read_syslogs, refresh_backend
from inventory.models import Backend
from inventory.nodes.probes import Changes
from inventory.nodes.syslogs import SyslogServer
from inventory.nodes.wire import Portal
from inventory.services.node.state import backend_refresh
from inventory.services.pool import generations
from provisioner.access import authorization_server
from provisioner.access.principals import Role
from provisioner.access.tokens import token_issue
from provisioner.celery import app
from provisioner.common import writes
from provisioner.console.attention import attention_list
from tests.api.probe_steps import TIB, report

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backend_id(pool):
    [persistent_id] = pool(1)
    return persistent_id


@pytest.fixture
def jobs():
    """Take the waiting jobs from the broker."""
    app.control.purge()

    def take():
        with app.connection_for_read() as connection, connection.channel() as any_channel:
            channel: Any = any_channel
            found = []
            while message := channel.basic_get("celery", no_ack=True):
                found.append(message.headers["task"])
            return found

    yield take
    app.control.purge()


def shown(api, persistent_id):
    [backend] = api.get(f"/backends/{persistent_id}").body
    return backend


def test_a_probe_is_answered_with_the_settings_of_the_node(api, backend_id):
    assert "lastProbTime" not in shown(api, backend_id)
    api.put(f"/backends/{backend_id}", {"zone": "z9", "region": "e1", "hostId": "h1"})
    before = time.time() * 1000
    answer = api.as_role(Role.NODE, node=backend_id).post("/probe", report(backend_id))
    assert answer.http == 200
    assert answer.body == {
        "status": "Success",
        "description": "Success",
        "provisioner": {
            "name": "provisioner",
            "url": "https://127.0.0.1:30100",
            "pushInterval": 60,
            "inUse": True,
            "tags": [
                {"name": "rack", "value": "r1"},
                {"name": "zone", "value": "z9"},
                {"name": "region", "value": "e1"},
                {"name": "hostId", "value": "h1"},
            ],
        },
        "ignoredFields": [
            "provisioner.authorizationServerPublicKey",
            "provisioner.backendsClientSecret",
        ],
    }
    backend = shown(api, backend_id)
    assert before - 1 <= backend["lastProbTime"] <= time.time() * 1000
    assert backend["version"] == "3.17.13465"
    assert backend["targetDriverVersion"] == "3.22.1b-15757"
    assert backend["authenticationMode"] == "OPEN_IDC"
    assert (backend["mgmtIPs"], backend["inUse"]) == (["127.0.0.1"], True), "ours, not the node's"


def test_the_answer_tells_a_node_that_it_is_cordoned(api, backend_id):
    api.put(f"/backends/{backend_id}", {"inUse": False})
    answer = api.post("/probe", report(backend_id))
    assert answer.body["provisioner"]["inUse"] is False


def test_probe_makes_a_backend_available(api, backend_id):
    Backend.objects.update(available_until=timezone.now())
    assert shown(api, backend_id)["state"] == "Unavailable"
    api.post("/probe", report(backend_id))
    assert shown(api, backend_id)["state"] == "Available"
    backend = Backend.objects.get()
    assert backend.last_probe_at is not None
    assert backend.available_until - backend.last_probe_at == dt.timedelta(seconds=180)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(90, "its clock is 90 s ahead of the database's"), (-90, "s behind the database's"), (3, "")],
)
def test_a_wrong_clock_is_shown_in_the_health_of_its_node(api, backend_id, ahead, said):
    at = int(1000 * (time.time() + ahead))
    assert api.post("/probe", report(backend_id, sentAt=at)).status == "Success"
    node = shown(api, backend_id)
    assert node["health"] == "Available"
    assert said in node.get("healthReason", "")
    assert bool(said) == ("healthReason" in node)
    assert [one.title for one in attention_list({}, 0)] == [
        "The clock of node node-1 is wrong"
    ] * bool(said)
    api.post("/probe", report(backend_id, sentAt=int(1000 * time.time())))
    assert "healthReason" not in shown(api, backend_id)


def test_reported_facts_are_stored_and_never_fall_below_claims(api, backend_id):
    Backend.objects.update(used_iops=300_000, used_bw=7)
    api.post("/probe", report(backend_id, Certified=False, totalBW=10, totalIOPS=10))
    # if lenient names are sent too, these count, so send only the plain ones
    plain = {k: v for k, v in report(backend_id).items() if k.strip() == k}
    plain |= {"totalBW": 10, "totalIOPS": 10, "certified": False, "numberOfSSDs": 4, "mgmtPort": 1}
    assert api.post("/probe", plain).status == "Success"
    backend = shown(api, backend_id)
    assert (backend["totalIOPS"], backend["availableIOPS"]) == (300_000, 0)
    assert (backend["totalBW"], backend["availableBW"]) == (10, 3)
    assert backend["certified"] is False


def test_a_probe_of_an_unknown_node_is_refused(api, fleet):
    unknown = fleet.nodes[0].persistent_id
    for caller in (api, api.as_role(Role.NODE, node=unknown)):
        answer = caller.post("/probe", report(unknown))
        assert (answer.http, answer.status) == (200, "NotExists")
        assert answer.description == f"there is no backend with persistentID '{unknown}'"
        assert "provisioner" not in answer.body


def test_only_the_node_itself_and_an_admin_may_probe(api, pool):
    first, second = pool(2)
    assert api.as_role(Role.NODE, node=first).post("/probe", report(first)).http == 200
    for caller in (
        api.as_role(Role.NODE, node=second),
        api.as_role(Role.NODE),
        api.as_role(Role.HOST, node=first),
        api.as_role(Role.MONITOR),
        api.as_role(Role.STORAGE),
    ):
        answer = caller.post("/probe", report(first))
        assert (answer.http, answer.status) == (403, "Forbidden")
    assert api.as_role(Role.NODE, node=second).post("/probe", report("unknown")).http == 403


def test_the_token_in_the_settings_of_a_node_may_probe(api, pool, fleet):
    [persistent_id] = pool(1)
    api.authorization = f"Bearer {fleet.nodes[0].agent.provisioner.token}"
    assert api.post("/probe", report(persistent_id)).status == "Success"
    assert api.get("/backends").http == 403


MANDATORY = sorted(name.strip() for name in report("x"))


@pytest.mark.parametrize("missing", MANDATORY)
def test_a_missing_mandatory_field_is_named(api, missing):
    fields = {name: v for name, v in report("x").items() if name.strip() != missing}
    answer = api.post("/probe", fields)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    names = {"Certified": "certified"}
    assert answer.description == f"{names.get(missing, missing)} = None: This field is required."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("persistentID", "a b"),
        ("availableCapacity", -1),
        ("usedBW", "much"),
        ("provisioner", "none"),
        ("version", "x" * 65),
        ("changes", 1.5),
        ("authenticationMode", "x" * 17),
    ],
)
def test_a_wrong_field_is_refused_and_named(api, field, value):
    answer = api.post("/probe", report("x") | {field: value})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith(field)


def test_changed_portals_are_read_by_a_job(api, backend_id, fleet, jobs):
    assert api.post("/probe", report(backend_id)).status == "Success"
    assert jobs() == []
    fleet.nodes[0].change(portals=(Portal(ip="10.0.0.7", port=4420),))
    assert api.post("/probe", report(backend_id, changes=Changes.PORTALS)).status == "Success"
    assert jobs() == ["inventory.jobs.refresh_backend"]
    refresh_backend(backend_id)
    assert shown(api, backend_id)["portals"] == [
        {"ip": "10.0.0.7", "port": 4420, "transport": "TCP_IP"}
    ]


def test_restarted_node_is_read_by_a_job(api, backend_id, fleet, jobs):
    boot_id = fleet.nodes[0].agent.boot_id
    assert Backend.objects.get().boot_id == boot_id
    api.post("/probe", report(backend_id, bootId=boot_id))
    assert jobs() == []
    fleet.nodes[0].restart()
    new_boot_id = fleet.nodes[0].agent.boot_id
    api.post("/probe", report(backend_id, bootId=new_boot_id))
    assert jobs() == ["inventory.jobs.refresh_backend"]
    assert Backend.objects.get().boot_id == new_boot_id


def test_changed_drives_are_read_by_a_job(api, backend_id, jobs):
    api.post("/probe", report(backend_id, totalCapacity=4 * TIB - 1))
    assert jobs() == ["inventory.jobs.refresh_backend"]
    backend_refresh(persistent_id=backend_id)
    assert shown(api, backend_id)["totalCapacity"] == 4 * TIB


def test_changed_syslogs_are_read_by_a_job(api, backend_id, fleet, jobs):
    Backend.objects.update(syslogs_wanted_at=None)
    server = SyslogServer(id=3, name="log", url="udp://10.0.0.9:514", state=True, use_tls=False)
    fleet.nodes[0].set_syslogs([server])
    assert api.post("/probe", report(backend_id)).status == "Success"
    assert jobs() == []
    assert api.post("/probe", report(backend_id, changes=Changes.SYSLOGS)).status == "Success"
    assert jobs() == ["inventory.jobs.read_syslogs"]
    api.post("/probe", report(backend_id))
    assert Backend.objects.get().syslogs_wanted_at is not None, "until it was read"
    read_syslogs(backend_id)
    assert [shown["url"] for shown in api.get("/syslog").body] == ["udp://10.0.0.9:514"]
    assert Backend.objects.get().syslogs_wanted_at is None
    read_syslogs(backend_id)
    read_syslogs("unknown")


def test_two_reported_changes_start_two_jobs(api, backend_id, jobs):
    api.post("/probe", report(backend_id, changes=Changes.PORTALS | Changes.SYSLOGS))
    assert jobs() == ["inventory.jobs.refresh_backend", "inventory.jobs.read_syslogs"]


def test_probe_costs_two_statements(django_assert_num_queries, backend_id, monkeypatch):
    """The whole request runs in this thread, so that its statements can be counted. Values that a
    process reads once a second are cached.
    """
    monkeypatch.setattr(generations, "STALE_SECONDS", 3600)
    monkeypatch.setattr(authorization_server, "CACHE_SECONDS", 3600)
    monkeypatch.setattr(writes, "STALE_SECONDS", 3600)
    monkeypatch.setattr(generations, "_lately", [(generations.Issued(0), 0.0)])
    generations.generation_cached()
    token, _ = token_issue(
        name="n", roles={Role.NODE}, node_id=backend_id, lifetime=dt.timedelta(hours=1)
    )
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {token}")
    client.post("/probe", report(backend_id), format="json")
    with django_assert_num_queries(2):
        answer = client.post("/probe", report(backend_id), format="json")
    assert answer.json()["status"] == "Success"
