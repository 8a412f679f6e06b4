"""``GET /hosts`` and ``POST /host_probe``."""

import datetime as dt

import pytest
from django.utils import timezone

from inventory.models import Host
from provisioner.access.principals import Role

pytestmark = pytest.mark.django_db(transaction=True)

NQN = "nqn.2014-08.org.nvmexpress:NVMf:uuid:6d4a8383-c09f-4f91-836d-5ed192ca6f64"
PROBE = {
    "hostId": "6d4a8383-c09f-4f91-836d-5ed192ca6f64",
    "hostNqn": NQN,
    "name": "testhostname",
    "clientType": "Agent",
    "version": "1.4",
    "duration": 30,
    "multipath": True,
}


def probe(api, **fields):
    return api.post("/host_probe", PROBE | fields)


def probe_many(api, *names):
    """Send a probe for each name, with the uuids h0, h1 ..."""
    for index, name in enumerate(names):
        answer = probe(api, hostId=f"h{index}", hostNqn=f"{NQN}-{index}", name=name)
        assert answer.status == "Success", answer.description


def uuids(answer):
    return [host["uuid"] for host in answer.body]


def test_first_probe_makes_the_host(api):
    before = timezone.now()
    assert probe(api).body == {"status": "Success", "description": "Success"}

    [host] = api.get("/hosts").body
    last_probe = dt.datetime.fromtimestamp(host.pop("lastProbTime") / 1000, dt.UTC)
    assert before - dt.timedelta(milliseconds=1) <= last_probe <= timezone.now()
    assert host == {
        "uuid": PROBE["hostId"],
        "name": "testhostname",
        "nqn": NQN,
        "clientType": "Agent",
        "state": "Available",
        "version": "1.4",
        "duration": 30,
        "multipath": True,
        "usedNamespacesIds": [],
        "hasAgent": True,
    }


def test_later_probe_changes_the_host(api):
    probe(api, usedNamespacesIds=[2, 1, 2])
    probe(api, hostNqn=f"{NQN}-b", name="renamed", version="1.5", duration=60)

    host = Host.objects.get()
    assert (host.nqn, host.name, host.version, host.duration) == (
        f"{NQN}-b",
        "renamed",
        "1.5",
        60,
    )
    assert host.available_until - host.last_probe_at == dt.timedelta(seconds=180)
    [shown] = api.get("/hosts").body
    assert shown["usedNamespacesIds"] == [1, 2], "a probe without them leaves them"


def test_used_namespace_ids_are_replaced_when_given(api):
    probe(api, usedNamespacesIds=[1, 2])
    probe(api, usedNamespacesIds=[])
    assert api.get("/hosts").body[0]["usedNamespacesIds"] == []


def test_multipath_is_off_by_default(api):
    probe(api)
    assert api.get("/hosts").body[0]["multipath"] is True
    api.post("/host_probe", {name: v for name, v in PROBE.items() if name != "multipath"})
    assert api.get("/hosts").body[0]["multipath"] is False


@pytest.mark.parametrize("given", ["Kubernetes", "agent", "OPENSTACK"])
def test_the_client_type_may_be_in_any_case(api, given):
    assert probe(api, clientType=given).status == "Success"
    assert api.get("/hosts").body[0]["clientType"] == given.capitalize()


def test_names_and_numbers_are_read_leniently(api):
    lenient = {f" {name.upper()} ": value for name, value in PROBE.items()}
    answer = api.post("/host_probe", lenient | {" DURATION ": "45", "unknown": 1})
    assert answer.status == "Success", answer.description
    assert api.get("/hosts").body[0]["duration"] == 45


def test_host_is_unavailable_after_three_silent_durations(api):
    probe(api)
    now = timezone.now()
    Host.objects.update(available_until=now - dt.timedelta(seconds=1))
    assert api.get("/hosts").body[0]["state"] == "Unavailable"
    probe(api)
    assert api.get("/hosts").body[0]["state"] == "Available"


def test_second_host_with_the_same_nqn_is_refused(api):
    probe(api)
    answer = probe(api, hostId="other")
    assert answer.http == 200
    assert answer.status == "AlreadyExists"
    assert answer.description == (
        f"NQN '{NQN}' belongs to host testhostname ({PROBE['hostId']}) (Available), so host "
        "'other' cannot have it: give one of them another NQN, or remove the other host"
    )
    assert uuids(api.get("/hosts")) == [PROBE["hostId"]]


@pytest.mark.parametrize("missing", sorted(PROBE.keys() - {"multipath"}))
def test_a_missing_mandatory_field_is_named(api, missing):
    answer = api.post("/host_probe", {name: v for name, v in PROBE.items() if name != missing})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description == f"{missing} = None: This field is required."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostId", "a b"),
        ("hostId", "x" * 65),
        ("hostNqn", "testNqn1"),
        ("hostNqn", "nqn.2014-13.org.nvmexpress:uuid:1"),
        ("hostNqn", "nqn.2014-08.org.nvmexpress:a b"),
        ("hostNqn", "nqn.2014-08.org.nvmexpress:" + "x" * 197),
        ("name", ""),
        ("name", "x" * 256),
        ("clientType", "Windows"),
        ("clientType", 5),
        ("duration", 0),
        ("duration", -1),
        ("duration", 1.5),
        ("duration", True),
        ("duration", 86_401),
        ("multipath", "perhaps"),
        ("usedNamespacesIds", [0]),
        ("usedNamespacesIds", [2**32 - 1]),
        ("usedNamespacesIds", 7),
    ],
)
def test_a_wrong_field_is_refused_and_named(api, field, value):
    answer = probe(api, **{field: value})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith(field)
    assert api.get("/hosts").body == []


def test_a_duration_of_more_than_a_day_is_refused_with_the_rule(api):
    """A host is Available for three durations, and cannot be removed meanwhile."""
    answer = probe(api, duration=86_401)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description == (
        "duration = 86401: Ensure this value is less than or equal to 86400."
    )
    assert probe(api, duration=86_400).status == "Success"


def test_an_nqn_of_223_bytes_is_accepted(api):
    longest = "nqn.2014-08.org.nvmexpress:" + "x" * 196
    assert len(longest) == 223
    assert probe(api, hostNqn=longest).status == "Success"


def test_pages_begin_after_the_marker(api):
    probe_many(api, *"abcde")
    assert uuids(api.get("/hosts")) == ["h0", "h1", "h2", "h3", "h4"]
    assert uuids(api.get("/hosts", limit=2)) == ["h0", "h1"]
    assert uuids(api.get("/hosts", limit=2, offset=3)) == ["h3", "h4"]
    assert uuids(api.get("/hosts", limit=2, Offset=4)) == ["h4"]
    assert uuids(api.get("/hosts", limit=2, marker="h1")) == ["h2", "h3"]
    assert uuids(api.get("/hosts", marker="h3")) == ["h4"]
    assert uuids(api.get("/hosts", marker="h4")) == []


def test_hosts_are_filtered_by_name_page_by_page(api):
    probe_many(api, "a", "b", "a", "b", "a")
    assert uuids(api.get("/hosts", hostName="a")) == ["h0", "h2", "h4"]
    assert uuids(api.get("/hosts", HOSTNAME="a", limit=1, marker="h0")) == ["h2"]
    assert uuids(api.get("/hosts", hostName="A")) == []


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "x"}, {"offset": -1}, {"marker": "a b"}])
def test_wrong_page_fields_are_refused(api, query):
    answer = api.get("/hosts", **query)
    assert (answer.http, answer.status) == (400, "InvalidInput")


def test_roles_without_the_right_are_refused(api):
    assert probe(api.as_role(Role.HOST)).status == "Success"
    assert probe(api.as_role(Role.MONITOR)).http == 403
    assert probe(api.as_role(Role.NODE, node="n")).http == 403
    assert api.as_role(Role.MONITOR).get("/hosts").http == 200
    assert api.as_role(Role.HOST).get("/hosts").http == 403


def test_a_host_is_listed_by_its_id(api):
    probe(api)
    probe(api, hostId="other", hostNqn=f"{PROBE['hostNqn']}-2", name=PROBE["hostId"])
    found = api.get(f"/hosts?hostId={PROBE['hostId']}").body
    assert [row["uuid"] for row in found] == [PROBE["hostId"]]
    assert api.get("/hosts?hostId=none").body == []
    assert api.get("/hosts?hostId=other&hostName=none").body == []
