"""Revoked tokens, and headers for browsers and proxies."""

import datetime as dt
import io
import json

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from provisioner.access import revocation
from provisioner.access.authorization_server import CACHE_SECONDS, authorization_server_refresh
from provisioner.access.models import RevokedToken, UserTenant
from provisioner.access.principals import Role
from provisioner.access.revocation import (
    revocations_clear_cache,
    revocations_refresh,
    why_revoked,
)
from provisioner.access.tokens import token_identify, token_issue, token_watch
from provisioner.environment import MOST_TOKEN_DAYS
from tests.api.server_steps import PROXY, Server
from tests.api.wire import bearer, refused, send

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _read_anew():
    revocations_clear_cache()


@pytest.fixture
def get(live_server):
    return lambda token: send(live_server.url, "GET", "/tasks", headers=bearer(token))


def issued() -> str:
    return token_issue(name="x", roles=[Role.ADMIN], lifetime=dt.timedelta(hours=1))[0]


@pytest.fixture
def revoke(monkeypatch):
    def revoke(token, *arguments):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
        call_command("token_revoke", *arguments, stdout=io.StringIO())

    return revoke


def test_a_revoked_token_is_refused_and_others_are_not(get, revoke):
    token, other = issued(), issued()
    assert get(token).http == 200
    revoke(token)
    revoke(token)
    assert "was revoked" in refused(get(token), 401, "Unauthorized")
    assert get(other).http == 200


def test_a_token_is_revoked_by_its_id(get, revoke):
    token = issued()
    token_id = jwt.decode(token, options={"verify_signature": False})["jti"]
    revoke("", f"--id={token_id}")
    refused(get(token), 401, "Unauthorized")


def test_a_revocation_by_id_is_kept_as_long_as_any_token_lives(revoke):
    lifetime = dt.timedelta(days=MOST_TOKEN_DAYS)
    token, expires_at = token_issue(
        name="node n1", roles=[Role.NODE], node_id="n1", lifetime=lifetime
    )
    token_id = jwt.decode(token, options={"verify_signature": False})["jti"]
    revoke("", f"--id={token_id}")
    assert RevokedToken.objects.get(pk=token_id).expires_at >= expires_at
    with pytest.raises(AssertionError):
        token_issue(name="x", roles=[Role.ADMIN], lifetime=lifetime + dt.timedelta(seconds=1))


@pytest.mark.parametrize("by", ["token", "id"])
def test_a_token_is_revoked_over_the_api(live_server, get, by):
    token, admin = issued(), bearer(issued())
    token_id = jwt.decode(token, options={"verify_signature": False})["jti"]
    body = json.dumps({"token": token if by == "token" else token_id})
    assert send(live_server.url, "POST", "/revoked_tokens", body, admin).body["status"] == "Success"
    assert "was revoked" in refused(get(token), 401, "Unauthorized")
    [row] = send(live_server.url, "GET", "/revoked_tokens", headers=admin).body
    assert row["tokenId"] == token_id


def test_the_api_refuses_a_text_that_is_no_token_and_does_not_repeat_it(live_server):
    body = json.dumps({"token": "secret.secret.secret"})
    answer = send(live_server.url, "POST", "/revoked_tokens", body, bearer(issued()))
    assert answer.body["status"] == "InvalidInput"
    assert "secret" not in answer.body["description"]


def test_users_are_listed_with_their_roles_and_tenants(live_server, make_user):
    make_user("op", "right password", "ADMIN", "STORAGE")
    make_user("of-acme", "right password", "MONITOR")
    user = get_user_model().objects.get(username="of-acme")
    UserTenant.objects.create(user=user, tenant_id="acme")
    answer = send(live_server.url, "GET", "/users", headers=bearer(issued()))
    by_name = {row.pop("name"): row for row in answer.body}
    active = {"isActive": True, "isSuperuser": False}
    assert by_name["op"] == active | {"roles": ["ADMIN", "STORAGE"]}
    assert by_name["of-acme"] == active | {"roles": ["MONITOR"], "tenantId": "acme"}


@pytest.mark.parametrize("text", ["", "x", "a.b.c"])
def test_the_command_refuses_a_text_that_is_no_token(revoke, text):
    with pytest.raises(CommandError, match="not valid"):
        revoke(text)
    with pytest.raises(CommandError, match="the id of a token is"):
        revoke("", "--id=" + 65 * "x")


def test_other_processes_see_a_revocation_in_time(get, monkeypatch):
    """The test simulates another process: its cached answer is read again when it is old."""
    token = issued()
    assert get(token).http == 200
    token_id = jwt.decode(token, options={"verify_signature": False})["jti"]
    later = timezone.now() + dt.timedelta(hours=1)
    RevokedToken.objects.create(token_id=token_id, expires_at=later)
    read = revocation._known
    assert read is not None
    assert CACHE_SECONDS < 5
    aged = revocation._Known(read.revoked, read.users, read.read_at - CACHE_SECONDS)
    monkeypatch.setattr(revocation, "_known", aged)
    refused(get(token), 401, "Unauthorized")


def test_rows_of_expired_tokens_are_deleted(revoke):
    past = timezone.now() - dt.timedelta(seconds=1)
    RevokedToken.objects.create(token_id="old", expires_at=past)
    revoke(issued())
    assert not RevokedToken.objects.filter(pk="old").exists()


@pytest.mark.parametrize("end", ["deactivated", "deleted"])
def test_tokens_of_an_inactive_user_are_refused(get, live_server, make_user, end):
    user = make_user("op", "right password", "ADMIN")
    answer = send(live_server.url, "POST", "/token", json.dumps({"name": "ci"}), user)
    token = answer.body["token"]
    assert get(token).http == 200
    rows = get_user_model().objects.filter(username="op")
    rows.update(is_active=False) if end == "deactivated" else rows.delete()
    revocations_clear_cache()
    assert "user 'op', who is not active" in refused(get(token), 401, "Unauthorized")


def test_a_known_answer_is_not_repeated_to_a_token_of_an_inactive_user(make_user):
    make_user("op", "right password", "ADMIN")
    token, _ = token_issue(
        name="op/ci", roles=[Role.ADMIN], user="op", lifetime=dt.timedelta(hours=1)
    )
    authorization_server_refresh()
    revocations_refresh()
    is_valid = token_watch(token)
    assert is_valid()
    get_user_model().objects.update(is_active=False)
    revocations_clear_cache()
    revocations_refresh()
    assert not is_valid()


def test_a_revocation_during_a_refresh_takes_effect_at_once(revoke, monkeypatch):
    """The refresh has read the revoked tokens, and not yet the users, when the token is revoked."""
    token = issued()
    revocations_refresh()
    read = revocation._known
    assert read is not None
    aged = revocation._Known(read.revoked, read.users, read.read_at - CACHE_SECONDS)
    monkeypatch.setattr(revocation, "_known", aged)

    def revoke_before_users_are_read(execute, sql, *arguments):
        if "auth_user" in sql and revocation._known is aged:
            revoke(token)
        return execute(sql, *arguments)

    with connection.execute_wrapper(revoke_before_users_are_read):
        revocations_refresh()
    assert why_revoked(token_identify(token)[0], "") == "the token was revoked"


def test_a_token_of_a_new_user_is_valid_at_once(get, live_server, make_user):
    assert get(issued()).http == 200, "who is active was read"
    user = make_user("new", "right password", "ADMIN")
    answer = send(live_server.url, "POST", "/token", "{}", user)
    assert get(answer.body["token"]).http == 200


def test_the_pages_run_only_scripts_of_this_server(client):
    answer = client.get("/admin/login/", secure=True)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert b"<script>" not in answer.content
    assert b" style=" not in answer.content


def test_no_header_changes_the_paths_of_the_api(django_db_setup, tmp_path):
    """A proxy that forwards headers of callers cannot change them either."""
    server = Server(tmp_path, TRUSTED_PROXIES=PROXY)
    try:
        for header in ("SCRIPT_NAME", "PATH_INFO", "Script-Name"):
            for source in (None, PROXY):
                answer = server.request("GET", "/info", headers={header: "/x"}, source=source)
                assert answer.status == 200, (header, source, answer.data)
    finally:
        server.stop()
