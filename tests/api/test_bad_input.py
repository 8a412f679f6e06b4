"""Bad input to every operation is refused with HTTP 400, names the field, and changes nothing.

The kind of a field decides which values are bad. The inputs are read from the code: a new field is
tested as soon as it exists, and a new body must be added to BODIES.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from rest_framework import serializers

import inventory.views
import provisioner.access
import tasks
import volumes.views
from inventory.views.auth_server import AuthServerInput
from inventory.views.backends import BackendAddInput, BackendUpdateInput
from inventory.views.hosts import HostProbeInput
from inventory.views.license import LicenseInput
from inventory.views.probe import ProbeInput
from inventory.views.syslog import ForwardLogInput
from provisioner.access.token_views import TokenInput
from provisioner.access.user_views import RevokeInput
from provisioner.common.parsing import Alias, Identifier, Input
from tasks.views import TaskUpdateInput
from tests.api.bad_input_steps import counts
from tests.conftest import Answer, Api
from volumes.views.inputs import (
    GrowInput,
    PublishInput,
    TenantBudgetInput,
    TenantInput,
    UnpublishInput,
    VolumeInput,
)
from volumes.views.replicas import MigrateInput, ReplicaInput
from volumes.views.snapshot_inputs import CloneInput, SnapshotInput, SnapshotVolumeInput

pytestmark = pytest.mark.django_db(transaction=True)

UUID = "0fdcb3b4-8b58-4cde-9d12-bb4ae7b36b8d"
NQN = f"nqn.2014-08.org.nvmexpress:uuid:{UUID}"
HUGE = 10**400
PROBE = {
    "availableCapacity": 1,
    "usedBW": 0,
    "totalBW": 1,
    "usedIOPS": 0,
    "totalIOPS": 1,
    "mgmtIPs": ["127.0.0.1"],
    "mgmtPort": 443,
    "persistentID": "node",
    "totalCapacity": 1,
    "version": "3.22",
    "numberOfSSDs": 1,
    "certified": True,
    "targetDriverVersion": "3.22",
    "changes": 0,
    "authenticationMode": "LOCAL",
    "provisioner": {"inUse": True, "url": "https://x:1", "pushInterval": 60, "tags": []},
}


class Body(NamedTuple):
    request: str
    input: type[Input]
    valid: dict[str, Any]


HOST_PROBE = {
    "hostId": UUID,
    "hostNqn": NQN,
    "name": "h",
    "clientType": "Agent",
    "version": "1",
    "duration": 30,
}
LOG = {
    "loggingType": "EVENT",
    "level": "INFO",
    "host": "h",
    "appName": "a",
    "message": "m",
    "parametersList": {},
}
AUTH_SERVER = {
    "authorizationServerTokenURL": "https://127.0.0.1:1/token",
    "authorizationServerJwkSetURL": "https://127.0.0.1:1/keys",
} | {
    f"{side}{field}": "x"
    for side in ("provisioner", "backends")
    for field in ("ResourceID", "ClientID", "ClientSecret")
}
BUDGET = {"capacity": 1, "totalIOPS": 1, "totalBW": 1}
BODIES = (
    Body("POST /token", TokenInput, {}),
    Body("POST /revoked_tokens", RevokeInput, {"token": "x"}),
    Body("POST /backends", BackendAddInput, {"mgmtIPs": ["127.0.0.1"]}),
    Body("PUT /backends/x", BackendUpdateInput, {}),
    Body("POST /probe", ProbeInput, PROBE),
    Body("POST /host_probe", HostProbeInput, HOST_PROBE),
    Body("PUT /tasks", TaskUpdateInput, {"taskId": UUID, "hostId": UUID}),
    Body("POST /tenants", TenantInput, BUDGET | {"name": "t"}),
    Body("PUT /tenants/x", TenantBudgetInput, BUDGET),
    Body("POST /volumes", VolumeInput, {"alias": "a", "capacity": 1, "storageClass": {}}),
    Body("PATCH /volumes/x", GrowInput, {"newCapacity": 1}),
    Body("POST /replica/x", ReplicaInput, {}),
    Body("POST /snapshots", SnapshotInput, {"alias": "a", "volumeID": UUID}),
    Body("POST /snapshot_volumes", SnapshotVolumeInput, {"alias": "a", "snapshotID": UUID}),
    Body("POST /clone_volume", CloneInput, {"alias": "a", "sourceVolumeId": UUID}),
    Body("POST /forward_log", ForwardLogInput, LOG),
    Body("POST /license", LicenseInput, {"license": "x"}),
    Body("POST /auth_server", AuthServerInput, AUTH_SERVER),
    Body("POST /migrate_volume", MigrateInput, {"volId": UUID, "repId": UUID}),
    Body("POST /publish", PublishInput, {"volId": UUID, "hostId": UUID}),
    Body("POST /unpublish", UnpublishInput, {"volId": UUID}),
)
QUERIES = ("/volumes", "/0/volumes", "/snapshots", "/hosts", "/targets", "/tasks")
WITH_ID = (
    "PUT /backends/{}",
    "DELETE /backends/{}",
    "GET /backends/{}",
    "DELETE /hosts/{}",
    "PUT /tenants/{}",
    "DELETE /tenants/{}",
    "GET /volumes/{}",
    "GET /{}/volumes",
    "PATCH /volumes/{}",
    "DELETE /volumes/{}",
    "GET /volumes_by_alias/{}",
    "GET /volume_extended/{}",
    "GET /snapshots/{}",
    "DELETE /snapshots/{}",
    "GET /snapshots_by_vol/{}",
    "GET /snapshots_by_alias/{}",
    "POST /replica/{}",
    "PATCH /replica/{}/x",
    "PATCH /replica/x/{}",
    "DELETE /replica/x/{}",
    "PATCH /replica/x/{}/Available",
)
NO_BODY = {
    "QUERIES": {
        "PageInput",
        "BackendListInput",
        "VolumeListInput",
        "HostListInput",
        "TargetsInput",
    },
    "tasks": {"TaskListInput", "TaskDeleteInput"},
    "switches": {"ForceInput", "DryRunInput", "ReplicaStateInput"},
    "parts": {
        "StorageClassInput",
        "ProvisionerInput",
        "TagInput",
        "NodeTagInput",
        "LocationInput",
        "Input",
        "ParameterInput",
    },
}


def inputs() -> set[str]:
    """Names of all input serializers in the code."""
    found = set()
    for package in (inventory.views, volumes.views, provisioner.access, tasks):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if "test" in module.name or module.name.endswith("migrations"):
                continue
            for name, value in inspect.getmembers(importlib.import_module(module.name)):
                if inspect.isclass(value) and issubclass(value, Input):
                    found.add(name)
    return found


def test_every_input_is_tried() -> None:
    tried = {body.input.__name__ for body in BODIES} | set().union(*NO_BODY.values())
    assert inputs() - tried == set()


BAD: tuple[tuple[type[Any], tuple[Any, ...]], ...] = (
    (
        serializers.IntegerField,
        (-1, 2**63, HUGE, 1.5, "x", "", True, [], "1e3", "\u0661", "9" * 5000),
    ),
    (serializers.FloatField, ("x", HUGE, -1, 101, [], "nan", "inf")),
    (serializers.BooleanField, ("maybe", 5, [])),
    (serializers.ChoiceField, ("NOPE", 5, [], "\0", "x" * 10_000)),
    (serializers.RegexField, ("a b\n", "\0", "\ud800", "é/", "x" * 10_000, [], True)),
    (serializers.CharField, ("\0", "\ud800", [], True)),
    (serializers.ListField, (5, True, [[]], [5.5, []], ["x", ["y"]], [None, []])),
    (serializers.Serializer, ("x", 5, [1])),
    (serializers.Field, ("x", 5, [1])),
)


def bad_values(field: Any) -> Iterator[Any]:
    """JSON values that a field of this kind must refuse."""
    yield {"a": {}} if not isinstance(field, serializers.Serializer) else []
    too_low = (getattr(field, "min_value", None) or 0) - 1
    values = next(values for kind, values in BAD if isinstance(field, kind))
    yield from (too_low if value == -1 else value for value in values)
    if isinstance(field, Identifier | Alias):
        yield "../.."
    if getattr(field, "max_length", None) and isinstance(field, serializers.CharField):
        yield "x" * ((field.max_length or 0) + 1)


def fields_of(serializer: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in serializer.fields.items():
        yield (*path, name), field
        if isinstance(field, serializers.Serializer):
            yield from fields_of(field, (*path, name))


def with_value(body: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    inner = with_value(body.get(first, {}), tuple(rest), value) if rest else value
    return body | {first: inner}


def send(api: Api, request: str, body: Any = None) -> Answer:
    method, _, path = request.partition(" ")
    return api.call(method, path, body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.request)
def test_each_bad_value_of_each_field_is_refused(api: Api, basic: Api, body: Body) -> None:
    caller = basic if body.request == "POST /token" else api
    before = counts()
    tried = 0
    for path, field in fields_of(body.input()):
        for value in bad_values(field):
            answer = send(caller, body.request, with_value(body.valid, path, value))
            case = f"{'.'.join(path)} = {repr(value)[:60]}"
            assert (answer.http, answer.status) == (400, "InvalidInput"), (case, answer)
            assert answer.description.startswith(".".join(path)), (case, answer.description)
            assert len(answer.description) < 700, case
            tried += 1
    assert tried or not body.input().fields
    assert counts() == before


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.request)
def test_each_missing_field_is_named(api: Api, basic: Api, body: Body) -> None:
    caller = basic if body.request == "POST /token" else api
    for name, field in body.input().fields.items():
        if field.required:
            answer = send(caller, body.request, {k: v for k, v in body.valid.items() if k != name})
            assert (answer.http, answer.status) == (400, "InvalidInput"), name
            assert answer.description.startswith(f"{name} = None: "), answer.description


@pytest.fixture
def basic(api: Api) -> Api:
    """An ADMIN with a password, which POST /token requires."""
    import base64

    from django.contrib.auth.models import User

    User.objects.create_superuser("root", password="a-long-password")
    return Api(api.url, "Basic " + base64.b64encode(b"root:a-long-password").decode())


@pytest.mark.parametrize("path", QUERIES)
def test_bad_query_fields_are_refused(api: Api, path: str) -> None:
    names = ["hostId", "taskId"] if path == "/tasks" else ["hostId", "volId", "hostID", "marker"]
    known = {name.lower() for name in names}
    for name in names:
        for value in ("a b", "\0", "x" * 65, "é", "../x"):
            answer = api.get(path, **{name: value})
            if answer.http == 200:
                assert name.lower() not in _query_fields(path), (name, value)
            else:
                assert (answer.http, answer.status) == (400, "InvalidInput")
    assert known
    if path in {"/targets", "/tasks"}:
        return
    for name in ("limit", "offset"):
        for number in ("-1", "x", "1.5", str(2**63), str(HUGE), "\0"):
            answer = api.get(path, **{name: number})
            assert (answer.http, answer.status) == (400, "InvalidInput"), (name, number)
            assert answer.description.startswith(f"{name} = ")
    assert api.get(path, limit=0).http == 400
    assert api.get(path, limit=2**63 - 1, offset=2**63 - 1).body == []


def _query_fields(path: str) -> set[str]:
    return {
        "/volumes": {"marker", "hostid"},
        "/0/volumes": {"marker", "hostid"},
        "/snapshots": {"marker"},
        "/hosts": {"marker"},
        "/targets": {"hostid", "volid"},
        "/tasks": {"hostid", "taskid"},
    }[path]


@pytest.mark.parametrize("request_line", WITH_ID)
def test_bad_ids_in_paths_are_refused(api: Api, request_line: str) -> None:
    before = counts()
    for value in ("a b", "\0", "x" * 300, "é", "..%2f..", "a\nb", "\u202e", "%", "' OR 1=1 --"):
        answer = send(api, request_line.format(quote(value, safe="")), {})
        assert answer.http == 400, (value, answer)
        assert answer.status == "InvalidInput"
        assert " = " in answer.description
    for value in ("a/b", "../../x"):
        answer = send(api, request_line.format(quote(value, safe="")), {})
        assert answer.http in {400, 404, 405}, (value, answer)
    assert counts() == before


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.request)
def test_bodies_that_are_no_objects_are_refused(api: Api, basic: Api, body: Body) -> None:
    caller = basic if body.request == "POST /token" else api
    for wrong in ([], [1], "x", 5, True):
        answer = send(caller, body.request, wrong)
        assert answer.http == 400, (wrong, answer)
