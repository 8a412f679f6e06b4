"""Every role against every operation."""

import datetime as dt
import json

import pytest

from provisioner.access.permissions import ALLOWED
from provisioner.access.principals import Role
from provisioner.access.tokens import token_issue
from provisioner.access.views import ApiViewSet
from tests.api.roles_steps import ANY, guarded, operations, routes
from tests.api.wire import bearer, send
from tests.worker import running_worker


def test_every_path_leads_to_an_api_view():
    for path, pattern in routes():
        view = getattr(pattern.callback, "cls", None)
        assert view is not None, path
        assert issubclass(view, ApiViewSet), path


def test_every_operation_has_its_line_in_the_table():
    assert {line for *_, line in guarded()} == set(ALLOWED)


def test_only_these_paths_are_open_to_all():
    open_paths = {path for _, path, view, _ in operations() if view.open_to_all}
    assert open_paths == {"healthz", "readyz", "info", "openapi.json", "docs", "redoc"}


def test_each_method_and_path_exists_once():
    paths = [(method, path) for method, path, *_ in operations()]
    assert len(paths) == len(set(paths))


def test_the_admin_may_do_everything():
    assert {line for line, roles in ALLOWED.items() if Role.ADMIN not in roles} == set()


def test_the_monitor_may_read_everything_and_nothing_else():
    reads = {line for method, _, line in guarded() if method == "GET"}
    given = {line for line, roles in ALLOWED.items() if Role.MONITOR in roles}
    of_admins = {"revoked_tokens.list", "users.list"}
    assert given == reads - of_admins | {"token.create"}


def test_a_node_may_only_probe():
    given = {line for line, roles in ALLOWED.items() if Role.NODE in roles}
    assert given == {"probe.create", "token.create"}


READ_BY_HOSTS = {
    "volumes.list",
    "volumes.retrieve",
    "volumes.by_alias",
    "volumes.extended",
    "snapshots.list",
    "snapshots.retrieve",
    "snapshots.by_volume",
    "snapshots.by_alias",
}
REPLICA_CALLS = {"replicas.create", "replicas.mark", "replicas.confirm", "replicas.report"}


def test_a_host_may_call_exactly_these_operations():
    given = {line for line, roles in ALLOWED.items() if Role.HOST in roles}
    assert given == READ_BY_HOSTS | REPLICA_CALLS | {
        "host_probe.create",
        "forward_log.create",
        "publish.create",
        "unpublish.create",
        "targets.list",
        "backends.list",
        "backends.retrieve",
        "tasks.list",
        "tasks.update",
        "token.create",
    }


def test_a_storage_client_may_call_exactly_these_operations():
    given = {line for line, roles in ALLOWED.items() if Role.STORAGE in roles}
    assert given == READ_BY_HOSTS | REPLICA_CALLS | {
        "migrate_volume.create",
        "volumes.create",
        "volumes.update",
        "volumes.destroy",
        "snapshots.create",
        "snapshots.destroy",
        "snapshot_volumes.create",
        "clone_volume.create",
        "connect.create",
        "disconnect.create",
        "host_probe.create",
        "hosts.list",
        "targets.list",
        "backends.list",
        "backends.retrieve",
        "tenants.list",
        "publish.create",
        "unpublish.create",
        "tasks.list",
        "tasks.update",
        "tasks.destroy",
        "token.create",
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", [*Role, None])
def test_each_role_is_refused_exactly_what_the_table_says(live_server, base_rows, make_user, role):
    """The answer is 403 exactly if the table says so. The objects in the requests do not exist."""
    host = ANY if role is Role.HOST else None
    token, _ = token_issue(
        name="x", roles={role} - {None}, host_id=host, lifetime=dt.timedelta(hours=1)
    )
    user = make_user("user", "pw", *([role] if role else []))
    wrong = []
    with running_worker():
        for method, path, line in guarded():
            headers = user if line == "token.create" else bearer(token)
            answer = send(live_server.url, method, f"/{path}", json.dumps({}), headers)
            refused = answer.http == 403 and "HTTP Status 403" in answer.description
            own_rule = line in {"token.create", "probe.create"} and role in {Role.NODE, Role.HOST}
            names_roles = refused and all(other in answer.description for other in ALLOWED[line])
            if refused == (role in ALLOWED[line]) and not own_rule:
                wrong.append((method, path, answer))
            if refused and not names_roles and not own_rule:
                wrong.append((method, path, answer))
    assert wrong == []
