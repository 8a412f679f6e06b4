"""An answer of another server, or a value that leads to another path, never looks like success."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Run
from tests.cli.relay import SameAnswer, running
from tests.conftest import Api

live = pytest.mark.django_db(transaction=True)
READS = ("nodes", "status", "volumes list", "tenants list", "api GET /backends")
CHANGES = (
    "volumes create v 1",
    "tenants create acme",
    "tenants delete acme --yes",
    "auth-server delete --yes",
    "api POST /tenants -d {}",
)
HTML = {"Content-Type": "text/html"}
REDIRECT = {"Location": "https://elsewhere/"}


@pytest.mark.parametrize("line", [*READS, *CHANGES])
@pytest.mark.parametrize(("status", "headers"), [(301, REDIRECT), (307, REDIRECT), (200, HTML)])
def test_another_server_is_named(run: Run, line: str, status: int, headers: dict[str, str]) -> None:
    """As a load balancer that redirects to HTTPS, and a portal that asks for a login."""
    with running(SameAnswer(b"<html>", status=status, headers=headers)) as other:
        ran = run("--url", other.url, *line.split())
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: {other.url} is not the API of a provisioner: it")
    assert ("https://elsewhere/" if status != 200 else "text/html") in ran.err


@pytest.mark.parametrize("line", CHANGES[:-1])
def test_a_change_is_confirmed_by_the_api(run: Run, line: str) -> None:
    with running(SameAnswer(b"[]")) as other:
        ran = run("--url", other.url, *line.split())
    assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize(
    "url",
    ["https://a?x=1", "https://a#x", "https://a:99999", "https://a b", "https://", "ftp://a", "a"],
)
def test_a_wrong_url_is_refused_at_once(run: Run, url: str) -> None:
    ran = run("nodes", "--url", url)
    assert (ran.code, ran.err) == (
        2,
        f"Error: {url!r} is not a URL, such as https://127.0.0.1:30100.\n",
    )


@pytest.mark.parametrize("token", ["secret\ttoken", "secret€", "secret\x00"])
def test_a_malformed_token_is_refused_and_not_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    ran = run("nodes", "--token", token)
    assert (ran.code, "secret" in ran.err) == (2, False)


@live
def test_a_token_from_a_file_with_line_ends_is_valid(
    connected: dict[str, str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONERCTL_TOKEN", connected["PROVISIONERCTL_TOKEN"] + "\r\n")
    assert run("nodes").code == 0


def test_an_idempotency_key_is_text_that_a_header_can_have(run: Run) -> None:
    ran = run("volumes", "create", "v", "1", "--idempotency-key", "€")
    assert (ran.code, "--idempotency-key" in ran.err) == (2, True)


@live
@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
@pytest.mark.parametrize(
    "line",
    [
        "nodes show {}",
        "nodes cordon {}",
        "nodes remove {} --yes",
        "volumes show {}",
        "volumes delete {} --yes",
        "tasks show {}",
        "--tenant {} volumes list",
    ],
)
def test_a_name_never_leads_to_another_path(
    connected: dict[str, str],
    run: Run,
    api: Api,
    pool: Callable[[int], list[str]],
    name: str,
    line: str,
) -> None:
    """An empty variable of a script does not mean the first object."""
    pool(1)
    api.post("/volumes", {"alias": "kept", "capacity": 1})
    ran = run(*(word.format(name) for word in line.split()))
    assert ran.code in {2, 3}, ran
    assert [row["alias"] for row in api.get("/volumes").body] == ["kept"]
    assert api.get("/backends").body[0]["inUse"] is True


@live
def test_a_query_of_the_path_is_sent_once(
    pool: Callable[[int], list[str]], ok: Callable[..., str], api: Api
) -> None:
    pool(1)
    for name in ("a", "b"):
        tenant = {"tenantId": name, "name": name, "capacity": 0, "totalIOPS": 0, "totalBW": 0}
        assert api.post("/tenants", tenant).status == "Success"
    about = ok("api", "GET", "/events?about=tenant%3Aa&limit=5")
    assert len(json.loads(about)) == 1
    assert ok("api", "GET", "/events", "-q", "about=tenant:a", "-q", "limit=5") == about


def test_nan_is_no_number_of_seconds(run: Run) -> None:
    ran = run("nodes", "-w", "--interval", "nan")
    assert (ran.code, "nan" in ran.err) == (2, True)
