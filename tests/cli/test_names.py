"""Which object a name on the command line means."""

from collections.abc import Callable

import jwt
import pytest
from django.core.management import call_command

from inventory.models import Backend
from tests.api.volume_steps import created, probe_host
from tests.cli.conftest import Run
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Ok = Callable[..., str]
Pool = Callable[[int], list[str]]
LONG = "a" * 255


def published_to(api: Api, host: str) -> list[str]:
    return [row["uuid"] for row in api.get(f"/volumes?hostID={host}").body]


def test_a_host_is_found_by_its_id_even_if_another_host_has_this_name(
    ok: Ok, api: Api, pool: Pool
) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    probe_host(api, "other", name="real")
    probe_host(api, "real", name="anything")
    assert ok("publish", "first", "real") == "Volume first is published to real.\n"
    assert (published_to(api, "real"), published_to(api, "other")) == (["u1"], [])


def test_a_name_of_several_hosts_is_refused(ok: Ok, run: Run, api: Api, pool: Pool) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    probe_host(api, "h1", name="same")
    assert ok("publish", "first", "same") == "Volume first is published to h1.\n"
    probe_host(api, "h2", name="same")
    ran = run("unpublish", "first", "same", "--yes")
    assert (ran.code, "give one of h1, h2" in ran.err) == (2, True), ran
    assert published_to(api, "h1") == ["u1"]


@pytest.mark.parametrize(
    "line",
    [
        "volumes --host none",
        "events --host none",
        "targets --host none",
        "tasks --host none",
        "publish first none",
        "unpublish first none",
        "tenants set none --iops 1",
    ],
)
def test_an_unknown_host_or_tenant_has_exit_code_3(
    ok: Ok, run: Run, api: Api, pool: Pool, line: str
) -> None:
    pool(1)
    created(api, "first")
    ran = run(*line.split())
    assert (ran.code, ran.err.startswith("Error: There is no ")) == (3, True), ran


def test_a_callers_own_host_needs_no_right_to_list_hosts(
    connected: dict[str, str], run: Run, api: Api
) -> None:
    probe_host(api, "h1")
    token = api.as_role("HOST", host="h1").authorization.removeprefix("Bearer ")
    assert run("targets", "--host", "h1", "--token", token).code == 0


def test_an_alias_that_is_the_uuid_of_another_volume_or_snapshot_is_refused(
    ok: Ok, run: Run, api: Api, pool: Pool
) -> None:
    pool(1)
    ok("tenants", "create", "Acme", "--id", "acme")
    created(api, "amb", uuid="u1")
    created(api, "other", "/acme/volumes", uuid="amb")
    ran = run("volumes", "delete", "amb", "--yes")
    assert (ran.code, "with --tenant, or give one of amb, u1" in ran.err) == (2, True), ran
    assert len(api.get("/volumes").body) == 2
    ok("volumes", "delete", "amb", "--yes", "--tenant", "acme")
    assert [row["uuid"] for row in api.get("/volumes").body] == ["u1"]
    ok("snapshots", "create", "u1", "same", "--id", "s1")
    ok("snapshots", "create", "u1", "another", "--id", "same")
    assert run("snapshots", "delete", "same", "--yes").code == 2
    ok("snapshots", "delete", "s1", "--yes")


def test_long_aliases_and_names_with_spaces_are_found(
    ok: Ok, run: Run, api: Api, pool: Pool
) -> None:
    [node] = pool(1)
    created(api, LONG, uuid="u1")
    ok("snapshots", "create", LONG, "b" * 65)
    assert LONG in ok("volumes", "show", LONG)
    assert "b" * 65 in ok("snapshots", "show", "b" * 65)
    ok("events", "--volume", LONG)
    Backend.objects.update(name="node one")
    assert node in ok("nodes", "show", "node one")
    assert run("volumes", "show", "no alias").code == 3


def test_options_that_name_a_host_or_node_send_its_id(
    ok: Ok, run: Run, api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = pool(1)
    probe_host(api, "h1", name="my-host")
    ok("nodes", "set", node, "--host", "my-host")
    assert api.get(f"/backends/{node}").body[0]["hostId"] == "h1"
    ok("volumes", "create", "local", "1", "--on-host", "my-host")
    assert "no backend has" in run("volumes", "create", "v", "1", "--on-host", "none").err
    monkeypatch.setenv("USER_PASSWORD", "not-so-easy-7")
    call_command("user_create", "olga", "--role", "ADMIN")
    monkeypatch.setenv("PROVISIONERCTL_PASSWORD", "not-so-easy-7")

    def claims(*words: str) -> dict[str, object]:
        token = ok("tokens", "create", "--user", "olga", *words).strip()
        return dict(jwt.decode(token, options={"verify_signature": False}))

    assert claims("--role", "HOST", "--for-host", "my-host")["host"] == "h1"
    assert claims("--role", "HOST", "--for-host", "later")["host"] == "later"
    [name] = Backend.objects.values_list("name", flat=True)
    assert claims("--role", "NODE", "--for-node", name)["node"] == node
    assert claims("--role", "STORAGE", "--for-tenant", "0")["tenant"] == "0"
    ran = run("tokens", "create", "--user", "olga", "--for-tenant", "none")
    assert (ran.code, ran.out, ran.err) == (3, "", "Error: There is no tenant 'none'.\n")
