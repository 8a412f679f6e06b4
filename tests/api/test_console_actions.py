"""The actions of the console. Each asks for confirmation, does the same as the operation of the
API, shows its refusals, and is refused to users whom the API refuses.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import copy_context
from html import unescape
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django.fixtures import Settings

from inventory.models import Backend, Pool
from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.access.permissions import ALLOWED
from provisioner.access.principals import Caller, Role
from provisioner.common import writes
from provisioner.common.models import LifeState
from provisioner.console.actions import nodes, volumes
from provisioner.console.actions.action import Action
from provisioner.console.actions.all import ACTIONS
from provisioner.console.actions.operation import Call, operation_call
from tasks.models import Task
from tests.api.action_cases import CASES, Case, World, no_row
from tests.api.action_steps import PASSWORD, address, key_of, object_page, state, user_of
from tests.api.admin_pages import make_rows
from tests.api.licenses import believe
from tests.api.tenants_steps import BUDGET
from tests.api.volume_steps import created
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import placed_on
from tests.worker import running_worker
from volumes.audit import audit
from volumes.models import Snapshot, Volume

pytestmark = pytest.mark.django_db(transaction=True)
OLD = "the database may be older than the nodes"

NOT_IN_THE_CONSOLE = {
    "auth_server.create": "set with the API or provisionerctl: a mistake locks everybody out",
    "auth_server.destroy": "as auth_server.create",
    "inventory.destroy": "only for tests of an inventory",
    "connect.create": "the host's agent attaches what is published to it",
    "disconnect.create": "as connect.create",
    "replicas.create": "migrating, draining and self-healing replace replicas",
    "replicas.mark": "a step of the host's agent",
    "replicas.confirm": "a step of the host's agent",
    "replicas.report": "a step of the host's agent",
    "host_probe.create": "hosts send it",
    "probe.create": "nodes send it",
    "forward_log.create": "hosts and nodes are told to send it",
    "revoked_tokens.create": "the page of revoked tokens adds them",
    "revoked_tokens.list": "reads",
    "users.list": "reads",
    "tasks.destroy": "ended tasks leave the list by themselves",
}
"""The changes that the API allows to ADMIN, and why the console has no action for them."""
OF_TENANT: dict[str, dict[str, object]] = {
    "create_volume": {"alias": "x", "capacity": 1, "tenantId": "t1"},
    "expand": {"newCapacity": 99},
    "snapshot": {"alias": "x"},
    "clone": {"alias": "x"},
    "publish": {"hostId": "host-1"},
    "snapshot_volume": {"alias": "x"},
}
"""What is sent for the operations that tenants may call."""
NOT_THERE = {"NotExists", "TenantNotFound", "VolumeNotFound", "VolumeNoFound", "TaskNotFound"}


@pytest.fixture(params=ACTIONS, ids=lambda action: action.name)
def action(request: pytest.FixtureRequest) -> Action:
    found: Action = request.param
    return found


@pytest.fixture
def case(action: Action) -> Case:
    return CASES[action.name]


@pytest.fixture
def world(
    api: Api, pool: Callable[[int], list[str]], fleet: SimulatedFleet, settings: Settings
) -> World:
    believe(settings)
    return World(api, fleet, pool(3)[0])


@pytest.fixture
def operator(base_rows: None) -> Client:
    return user_of("ADMIN")


@pytest.fixture
def barred() -> Iterator[Callable[[bool], None]]:
    """Bar all writes, and allow them again at the end."""

    def bar(is_barred: bool) -> None:
        Pool.objects.update(doubt=OLD if is_barred else "")
        writes.writes_clear_cache()

    yield bar
    writes.writes_clear_cache()


def errors(text: str) -> str:
    """The errors on the form of a page."""
    found = re.findall(r'(?s)class="(?:errornote|mt-2 text-red-600)[^>]*>(.*?)</div>', text)
    return unescape(" ".join(found))


def test_each_action_is_an_operation_of_the_permission_table() -> None:
    for action in ACTIONS:
        assert action.endpoint.line in ALLOWED, action.name
    assert {action.name for action in ACTIONS} == set(CASES)


def test_each_change_of_the_api_has_an_action_or_a_reason_why_not() -> None:
    changes = {line for line, roles in ALLOWED.items() if Role.MONITOR not in roles}
    changes |= {"token.create"}
    assert {action.endpoint.line for action in ACTIONS} | set(NOT_IN_THE_CONSOLE) == changes
    assert {action.endpoint.line for action in ACTIONS}.isdisjoint(NOT_IN_THE_CONSOLE)


@pytest.mark.parametrize(
    "of_object",
    [action for action in ACTIONS if action.model in {Volume, Snapshot} and not action.of_list],
    ids=lambda action: action.name,
)
def test_an_old_object_has_no_action_because_a_newer_one_may_have_its_uuid(
    of_object: Action, world: World, operator: Client
) -> None:
    case = CASES[of_object.name]
    row: Any = case.row(world)
    page = address(of_object, row)
    typed = case.typed(world) | {"idempotency_key": key_of(operator.get(page).text)}
    old = type(row).objects.filter(pk=row.pk)
    old.update(state=LifeState.DELETING, deadline_at=timezone.now())
    row.pk, row.alias = None, "newer"
    row.save()
    before = state()
    assert page not in operator.get(object_page(of_object, old.get())).text
    for answer in (operator.get(page, follow=True), operator.post(page, typed, follow=True)):
        [text] = map(str, answer.context["messages"])
        assert f"{of_object.title} is not possible for" in text
    assert state() == before


def test_an_action_asks_first_and_is_then_done_once(
    action: Action, case: Case, world: World, operator: Client, barred: Callable[[bool], None]
) -> None:
    row = case.row(world)
    before = state()
    assert address(action, row) in operator.get(object_page(action, row)).text
    shown = operator.get(address(action, row))
    assert shown.status_code == HTTPStatus.OK
    assert action.says.split(":")[0] in shown.text
    assert state() == before
    typed = case.typed(world) | {"idempotency_key": key_of(shown.text)}
    if not action.endpoint.view.allowed_while_barred:
        barred(True)
        before = state()
        assert OLD in operator.post(address(action, row), typed).text
        assert state() == before
        barred(False)
    with running_worker() if case.needs_worker else nullcontext():
        answer = operator.post(address(action, row), typed)
        assert case.done(world, row)
        if action.reveals:
            assert re.search(r"<code[^>]*>ey[^<]{100,}</code>", answer.text)
            assert "no-store" in answer.headers["Cache-Control"]
            return
        assert answer.status_code == HTTPStatus.FOUND, errors(answer.text)
        assert case.opens in answer.headers["Location"]
        follows = operator.get(answer.headers["Location"])
        assert follows.status_code == HTTPStatus.OK
        [message] = list(follows.context["messages"])
        assert message.level_tag == "success"
        numbers = counted()
        again = operator.post(address(action, row), typed)
    assert again.status_code == HTTPStatus.FOUND or errors(again.text)
    if action.name == "install_license":  # a second task installs the same licence
        numbers["tasks.Task"] += 1
    assert counted() == numbers
    assert case.done(world, row)
    assert audit() == []


def counted() -> dict[str, int]:
    """Return the number of rows."""
    return {label: len(rows) for label, rows in state().items()}


def test_monitor_sees_and_calls_only_what_the_api_allows(action: Action, base_rows: None) -> None:
    make_rows(2)
    monitor = user_of("MONITOR")
    row = None if action.of_list else action.model._default_manager.earliest("pk")
    page = monitor.get(object_page(action, row))
    assert page.status_code == HTTPStatus.OK
    if Role.MONITOR in ALLOWED[action.endpoint.line]:
        assert address(action, row) in page.text
        return
    before = state()
    assert address(action, row) not in page.text
    for answer in (monitor.get(address(action, row)), monitor.post(address(action, row), {})):
        assert answer.status_code == HTTPStatus.FORBIDDEN
    monitor.logout()
    assert monitor.post(address(action, row), {}).status_code == HTTPStatus.FOUND
    assert state() == before


def test_a_form_sent_from_another_site_is_refused(world: World) -> None:
    operator = user_of("ADMIN", enforce_csrf_checks=True)
    node = world.backend()
    [cordon] = [action for action in ACTIONS if action.name == "cordon"]
    assert operator.post(address(cordon, node), {}).status_code == HTTPStatus.FORBIDDEN
    assert Backend.objects.get(pk=node.pk).in_use


def test_a_dry_run_shows_the_nodes_and_why_not_the_others(world: World, operator: Client) -> None:
    url = address(volumes.CREATE)
    assert 'name="dry_run"' in operator.get(url).text
    typed = {"alias": "a", "capacity": 1, "storageClass.zones": "z1", "dry_run": "1"}
    before = state()
    text = operator.post(url, typed).text
    first, second, third = Backend.objects.order_by("pk")
    assert (first.zone, second.zone, third.zone) == ("z1", "z1", "z2")
    chosen, _, refused = text.partition("Chosen nodes")[2].partition("Refused nodes")
    assert (first.name in chosen) != (second.name in chosen)
    assert third.name in refused
    assert "zone" in refused.partition(third.name)[2].partition("</tr>")[0]
    assert state() == before


def test_a_drain_shows_first_what_moves_and_what_cannot(world: World, operator: Client) -> None:
    node = Backend.objects.get(pk=world.used().replicas.get().backend_id)
    placed_on([node.pk], lambda: created(world.api, "free"))
    text = operator.get(address(nodes.DRAIN, node)).text
    moves, _, rest = text.partition("Cannot move now")
    stays, _, loses = rest.partition("Volumes that lose access or redundancy")
    assert "free" in moves
    assert "is published: unpublish it" in unescape(stays)
    assert "2 would lose access" in loses


@pytest.mark.parametrize(
    ("name", "make", "typed", "text"),
    [
        ("add_node", no_row, {"mgmtIPs": "127.0.0.1", "mgmtPort": 70000}, "mgmtPort = '70000': "),
        (
            "add_node",
            no_row,
            {"mgmtIPs": "a, b!", "mgmtPort": 1},
            "mgmtIPs.1 = 'b!': must be an IP",
        ),
        ("remove_node", World.of_volume, {}, "holds 1 replicas: delete them"),
        ("create_volume", no_row, {"alias": "a b", "capacity": 1}, "alias = 'a b': must be 1 to"),
        ("create_volume", no_row, {"alias": "", "capacity": 1}, "This field is required"),
        (
            "create_volume",
            no_row,
            {"alias": "a", "capacity": 10**9},
            "3 nodes with less than 1000000000 GiB free",
        ),
        ("expand", World.volume, {"newCapacity": 1}, "newCapacity = 1: must be more"),
        ("publish", World.volume, {"hostId": "nobody"}, "there is no host 'nobody'"),
        ("delete_volume", World.used, {}, "unpublish it first"),
        ("migrate", World.volume, {}, "was created with one replica"),
        ("snapshot", World.migratable, {"alias": "s"}, "replicas"),
        ("create_tenant", no_row, BUDGET | {"name": "default"}, "name 'default' already exists"),
        ("install_license", no_row, {"license": "x"}, "cannot be decoded"),
        ("issue_token", no_row, {"expiration": 1, "password": PASSWORD}, "expiration = '1'"),
        ("issue_token", no_row, {"expiration": 3600, "password": "guess"}, "wrong user name or"),
        (
            "issue_token",
            no_row,
            {"roles": ["HOST"], "expiration": 3600, "password": PASSWORD},
            "host",
        ),
    ],
)
def test_the_form_shows_what_the_api_says(
    world: World, operator: Client, name: str, make: Any, typed: dict[str, Any], text: str
) -> None:
    [action] = [action for action in ACTIONS if action.name == name]
    row = make(world)
    before = state()
    answer = operator.post(address(action, row), typed)
    assert answer.status_code == HTTPStatus.OK
    assert text in errors(answer.text)
    assert PASSWORD not in answer.text
    assert state() == before


def test_a_caller_of_another_tenant_gets_what_the_api_answers(
    action: Action, base_rows: None
) -> None:
    """The caller sees neither objects of other tenants, nor objects of the pool."""
    if action.name == "issue_token":
        return  # tests/api/test_console_tenants.py: it is a token of the caller's own tenant
    make_rows(2)
    row = None if action.of_list else action.model._default_manager.earliest("pk")
    if action.model is Task:
        Task.objects.update(tenant_id="t1")
    before = state()
    caller = Caller("theirs", frozenset({Role.ADMIN}), tenant_id="other")
    sent = {**action.body(row), **OF_TENANT.get(action.name, {})}
    call = Call(action.method, action.path_of(row), sent, query={}, key="")
    # in a context of its own, as the middleware of a request would leave no caller behind
    answer = copy_context().run(operation_call, RequestFactory().post("/admin/"), caller, call)
    if action.is_allowed(caller):
        assert answer.code in NOT_THERE, answer
    else:
        assert answer.http == HTTPStatus.FORBIDDEN
    assert state() == before
