"""``POST /token`` and ``manage.py token_create``."""

import datetime as dt
import json

import jwt
import pytest
from django.core.management import CommandError, call_command

from provisioner.access.authorization_server import authorization_server_refresh
from provisioner.access.principals import Caller, Role
from provisioner.access.tokens import token_issue, token_verify, token_watch
from tests.api.wire import bearer, refused, send

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, MONTH = 3600, 30 * 24 * 3600


@pytest.fixture
def post(live_server):
    """``POST /token`` with these headers and fields."""

    def post(headers, **fields):
        return send(live_server.url, "POST", "/token", json.dumps(fields), headers)

    return post


@pytest.fixture
def get_tasks(live_server):
    """``GET /tasks`` with these headers."""
    return lambda headers: send(live_server.url, "GET", "/tasks", headers=headers)


def lifetime(answer):
    """Return the seconds from now until the date in the answer."""
    at = dt.datetime.strptime(answer.body["expirationDate"], "%Y-%m-%dT%H:%M:%S.%f%z")
    return (at - dt.datetime.now(dt.UTC)).total_seconds()


def test_a_token_has_one_hour_and_all_roles_of_the_user_by_default(post, make_user):
    answer = post(make_user("u", "pw", "STORAGE", "MONITOR"))
    assert set(answer.body) == {"status", "description", "token", "expirationDate"}
    assert (answer.http, answer.status) == (200, "Success")
    assert HOUR - 5 < lifetime(answer) <= HOUR
    assert token_verify(answer.body["token"]) == Caller(
        "u", frozenset({Role.STORAGE, Role.MONITOR}), user="u"
    )


def test_an_issued_token_is_accepted(post, live_server, admin_header):
    token = post(admin_header).body["token"]
    assert send(live_server.url, "GET", "/tasks", headers=bearer(token)).http == 200


@pytest.mark.parametrize("expiration", [HOUR, MONTH, str(MONTH)])
def test_a_lifetime_within_bounds_is_used(post, admin_header, expiration):
    answer = post(admin_header, expiration=expiration)
    assert int(expiration) - 5 < lifetime(answer) <= int(expiration)


@pytest.mark.parametrize("expiration", [HOUR - 1, MONTH + 1, 0, -1, "x", True, 1e9, 10**30])
def test_a_lifetime_out_of_bounds_is_refused(post, admin_header, expiration):
    answer = post(admin_header, expiration=expiration)
    assert (answer.http, answer.status) == (400, "InvalidInput")
    assert answer.description.startswith("expiration = ")


def test_a_token_may_have_fewer_roles_and_a_tenant(post, make_user):
    user = make_user("u", "pw", "STORAGE", "MONITOR")
    token = post(user, roles=["MONITOR"], tenant="t1", name="grafana").body["token"]
    assert token_verify(token) == Caller("u/grafana", frozenset({Role.MONITOR}), "t1", user="u")


def test_a_token_cannot_have_a_role_that_its_user_lacks(post, make_user):
    description = refused(post(make_user("u", "pw", "STORAGE"), roles=["ADMIN"]), 403, "Forbidden")
    assert description == "HTTP Status 403 - u may not issue a token of role ADMIN"


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.NODE, Role.HOST}))
def test_an_admin_may_grant_any_role(post, admin_header, role):
    token = post(admin_header, roles=[role]).body["token"]
    assert token_verify(token).roles == {role}


def test_a_node_token_must_name_its_node(post, admin_header):
    token = post(admin_header, roles=["NODE"], node="n1").body["token"]
    assert token_verify(token) == Caller("admin", frozenset({Role.NODE}), None, "n1", user="admin")
    for fields in ({"roles": ["NODE"]}, {"node": "n1"}):
        answer = post(admin_header, **fields)
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert answer.description.startswith("node = ")


def test_a_host_token_must_name_its_host_and_has_no_other_role(post, admin_header):
    token = post(admin_header, roles=["HOST"], host="h1", tenant="t1").body["token"]
    assert token_verify(token) == Caller(
        "admin", frozenset({Role.HOST}), "t1", None, "h1", user="admin"
    )
    both = {"roles": ["HOST", "STORAGE"], "host": "h1"}
    for fields in ({"roles": ["HOST"]}, {"host": "h1"}, both):
        answer = post(admin_header, **fields)
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert answer.description.startswith("host = ")


@pytest.mark.parametrize(("role", "binding"), [("NODE", "node"), ("HOST", "host")])
def test_only_an_admin_may_issue_node_and_host_tokens(post, make_user, role, binding):
    user = make_user("u", "pw", role, "STORAGE")
    refused(post(user, roles=[role], **{binding: "n1"}), 403, "Forbidden")


def test_a_user_with_the_role_host_has_no_rights_without_a_host(post, get_tasks, make_user):
    user = make_user("u", "pw", "HOST")
    refused(get_tasks(user), 403, "Forbidden")
    refused(post(user), 403, "Forbidden")


@pytest.mark.parametrize(
    "fields", [{"roles": []}, {"roles": ["X"]}, {"tenant": "a b"}, {"name": ""}]
)
def test_wrong_fields_are_refused(post, admin_header, fields):
    answer = post(admin_header, **fields)
    assert (answer.http, answer.status) == (400, "InvalidInput")


@pytest.mark.parametrize("binding", ["tenant_id", "node_id", "host_id"])
def test_a_token_with_an_empty_binding_is_refused(get_tasks, binding):
    """Older versions issued such tokens."""
    token, _ = token_issue(
        name="x", roles=[Role.ADMIN], lifetime=dt.timedelta(hours=1), **{binding: ""}
    )
    refused(get_tasks(bearer(token)), 401, "Unauthorized")


def test_a_token_cannot_be_used_to_get_another_token(post, admin_header):
    token = post(admin_header).body["token"]
    refused(post(bearer(token)), 401, "Unauthorized")
    refused(post({}), 401, "Unauthorized")


def test_a_user_without_roles_gets_no_token(post, make_user):
    refused(post(make_user("u", "pw")), 403, "Forbidden")


def test_the_watch_of_a_token_that_has_become_invalid_is_false(base_rows):
    """A token may expire, and the mode may change, while its request is being handled."""
    valid, expired = (
        token_issue(name="x", roles=[Role.ADMIN], lifetime=dt.timedelta(seconds=seconds))[0]
        for seconds in (HOUR, -1)
    )
    of_a_server = jwt.encode({"sub": "x"}, "k" * 32, algorithm="HS256")
    token_verify(valid)
    authorization_server_refresh()
    assert token_watch(valid)()
    for token in (expired, of_a_server):
        assert not token_watch(token)()


class TestCommand:
    def test_the_command_prints_only_the_token(self, capsys):
        arguments = "--name ci --role STORAGE --role MONITOR --tenant t1 --expiration 3600"
        call_command("token_create", *arguments.split())
        printed, complaints = capsys.readouterr()
        [token] = printed.splitlines()
        roles = frozenset({Role.STORAGE, Role.MONITOR})
        assert token_verify(token) == Caller("ci", roles, "t1")
        assert complaints == ""

    def test_the_command_issues_a_node_token(self, capsys):
        arguments = "--name n --role NODE --node n1 --expiration 2592000"
        call_command("token_create", *arguments.split())
        assert token_verify(capsys.readouterr().out.strip()).node_id == "n1"

    def test_the_command_issues_a_host_token(self, capsys):
        arguments = "--name h --role HOST --host h1 --expiration 2592000"
        call_command("token_create", *arguments.split())
        assert token_verify(capsys.readouterr().out.strip()).host_id == "h1"

    @pytest.mark.parametrize(
        ("role", "binding"), [("ADMIN", "tenant"), ("NODE", "node"), ("HOST", "host")]
    )
    def test_the_command_refuses_an_empty_binding(self, role, binding, capsys):
        """The variable of a script may be unset."""
        arguments = ["--name", "n", "--role", role, f"--{binding}", "", "--expiration", "3600"]
        with pytest.raises(CommandError, match=f"--{binding} must not be empty"):
            call_command("token_create", *arguments)
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        "arguments",
        [
            "--name n --role HOST --expiration 3600",
            "--name n --role HOST --role STORAGE --host h1 --expiration 3600",
            "--name n --role ADMIN --host h1 --expiration 3600",
            "--name n --role NODE --expiration 3600",
            "--name n --role ADMIN --node n1 --expiration 3600",
            "--name n --role ADMIN --expiration 3599",
            "--name n --role ADMIN --expiration 2592001",
            "--name n --role ADMIN --expiration x",
            "--name n --role X --expiration 3600",
            "--name n --expiration 3600",
            "--role ADMIN --expiration 3600",
            "--name n --role ADMIN",
        ],
    )
    def test_the_command_refuses_wrong_arguments(self, arguments, capsys):
        with pytest.raises(CommandError):
            call_command("token_create", *arguments.split())
        assert capsys.readouterr().out == ""
