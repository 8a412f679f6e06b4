"""The answer lists the names that the operation does not know."""

import pytest

from provisioner.access.views import IGNORED_AT_MOST, IGNORED_LENGTH

pytestmark = pytest.mark.django_db(transaction=True)

HEADER = "Ignored-Fields"


def test_unknown_names_of_body_and_query_are_named(api):
    body = {"name": "t", "capacity": 1, "totalIOPS": 0, "totalBW": 0, "colour": "red"}
    answer = api.post("/tenants", body, dryrun="yes")
    assert answer.body["ignoredFields"] == ["dryrun", "colour"]
    assert answer.headers[HEADER] == "dryrun, colour"


def test_a_misspelt_nested_name_has_its_path(api):
    storage_class = {"numReplica": 2, "NUMREPLICAS": 1}
    answer = api.post("/volumes", {"alias": "v", "capacity": 1, "storageClass": storage_class})
    assert answer.body["ignoredFields"] == ["storageClass.numReplica"]


def test_a_misspelt_name_in_a_list_is_named_once(api):
    tags = [{"name": "a", "value": "b", "kind": 1}, {"name": "c", "value": "d", "kind": 2}]
    answer = api.put("/tasks", {"taskId": "t", "hostId": "h", "taskConfiguration": tags})
    assert answer.body["ignoredFields"] == ["taskConfiguration.kind"]


def test_a_refusal_for_a_missing_field_names_the_misspelt_one(api):
    answer = api.post("/volumes", {"allias": "v", "capacity": 1})
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.body["ignoredFields"] == ["allias"]


def test_a_list_names_them_in_a_header(api):
    answer = api.get("/tasks", state="FAILED", größe="1")
    assert answer.body == []
    assert answer.headers[HEADER] == "state, gr%C3%B6%C3%9Fe"


def test_half_of_a_surrogate_pair_in_a_name_is_escaped(api):
    answer = api.post("/volumes", {"alias": "v", "capacity": 1, "\ud800": 1})
    assert answer.status == "NoMatchingBackend"
    assert answer.body["ignoredFields"] == ["\\ud800"]
    assert answer.headers[HEADER] == "%5Cud800"


def test_known_names_in_any_case_are_not_named(api):
    answer = api.get("/volumes", HOSTID="h", Limit="5")
    assert answer.body == []
    assert HEADER not in answer.headers
    assert "ignoredFields" not in api.delete("/tenants/t").body


def test_names_are_bounded_in_number_and_length(api):
    names = {f"x{number}" + "y" * 200: 1 for number in range(IGNORED_AT_MOST + 5)}
    answer = api.post("/volumes", {"alias": "v", "capacity": 1} | names)
    assert len(answer.body["ignoredFields"]) == IGNORED_AT_MOST
    assert {len(name) for name in answer.body["ignoredFields"]} == {IGNORED_LENGTH}


def test_a_caller_without_credentials_is_told_nothing(api):
    anonymous = type(api)(api.url, "")
    answer = anonymous.get("/volumes", colour="red")
    assert answer.http == 401
    assert HEADER not in answer.headers
