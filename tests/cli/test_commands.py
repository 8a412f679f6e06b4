"""The daily work of operators, from the first node to the last volume."""

import csv
import io
import json
import re
from collections.abc import Callable

import pytest
import yaml
from django.core.management import call_command
from django.utils import timezone

from inventory.models import Backend
from inventory.nodes.engines.simulated import SimulatedFleet
from tests.api.volume_steps import HOST, created, probe_host
from tests.cli.conftest import Run
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import placed_on, settle

pytestmark = pytest.mark.django_db(transaction=True)
Ok = Callable[..., str]
Pool = Callable[[int], list[str]]


def rows(text: str) -> list[list[str]]:
    """The lines of a table, split at two spaces or more."""
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def test_nodes_volumes_and_hosts_are_managed_from_first_to_last_step(
    ok: Ok, fleet: SimulatedFleet
) -> None:
    """Nodes, a volume, a host, and back."""
    for number, node in enumerate(fleet.nodes[:2], 1):
        place = ["--rack", f"r{number}", "--zone", "z"]
        said = ok("nodes", "add", node.address, "--port", str(node.port), *place)
        assert said == f"Node {node.persistent_id} was added.\n"
    ok("volumes", "create", "first", "10GiB", "--replicas", "2", "--uuid", "u1", "--class", "gold")
    ok("hosts", "probe", HOST, f"nqn.2014-08.org.nvmexpress:uuid:{HOST}", "--name", "h1")
    ok("publish", "first", "h1")
    header, *lines = rows(ok("volumes", "-o", "wide"))
    row = dict(zip(header, lines[0], strict=True))
    assert (row["ALIAS"], row["SIZE"], row["CLASS"]) == ("first", "10 GiB", "gold")
    assert (row["REPLICAS"], row["PUBLISHED"]) == ("2 Unknown", "yes")
    shown = ok("volumes", "show", "first")
    assert all(node.name in shown for node in fleet.nodes[:2]), shown
    assert HOST in ok("targets", "--volume", "first")
    ok("expand", "first", "20")
    assert json.loads(ok("volumes", "show", "u1", "-o", "json"))["capacity"] == 20 * 2**30
    assert ok("unpublish", "first", "h1") == "Volume first is no longer published to h1.\n"
    ok("volumes", "delete", "first", "--yes")
    assert ok("volumes") == "None found.\n"


def test_each_output_format_has_all_fields(ok: Ok, api: Api, pool: Pool) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    [row] = api.get("/volumes").body
    for read, how in ((json.loads, "json"), (yaml.safe_load, "yaml")):
        [shown] = read(ok("volumes", "-o", how))
        assert shown.keys() == row.keys()
        assert shown["location"][0].pop("currentStateTime") >= 0
        assert shown["location"][0].items() < row["location"][0].items()
        assert shown | {"location": 0} == row | {"location": 0}
    [line] = csv.DictReader(io.StringIO(ok("volumes", "-o", "csv")))
    assert (line["alias"], line["size"], line["published"]) == ("first", str(10 * 2**30), "no")
    shown = "ALIAS SIZE TYPE HEALTH REPLICAS PUBLISHED TENANT"
    assert rows(ok("volumes"))[0] == shown.split()
    assert "UUID" in rows(ok("volumes", "-o", "wide"))[0]


def test_a_dry_run_shows_the_chosen_nodes_and_why_not_the_others(
    ok: Ok, run: Run, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(3)
    planned = ok("volumes", "create", "v", "10", "--replicas", "2", "--zone", "z1", "--dry-run")
    assert planned.startswith("CHOSEN")
    assert all(node.name in planned for node in fleet.nodes[:2])
    assert "the node's zone is z2, not z1" in planned
    ran = run("volumes", "create", "v", "10", "--replicas", "3", "--zone", "z1", "--dry-run")
    assert ran.code == 7
    assert "2 of 3 replicas can be placed" in ran.err
    assert ok("volumes") == "None found.\n"


def test_an_alias_of_several_tenants_needs_the_tenant(
    ok: Ok, run: Run, api: Api, pool: Pool
) -> None:
    pool(1)
    ok("tenants", "create", "Acme", "--id", "acme", "--capacity", "1TiB")
    created(api, "same", uuid="u1")
    created(api, "same", "/acme/volumes", uuid="u2")
    ran = run("volumes", "show", "same")
    assert (ran.code, ran.err) == (
        2,
        "Error: 2 objects have the name 'same': name its tenant with --tenant, or give one of u1, "
        "u2.\n",
    )
    assert (
        json.loads(ok("volumes", "show", "same", "--tenant", "acme", "-o", "json"))["uuid"] == "u2"
    )
    ok("tenants", "set", "acme", "--iops", "100")
    [_, acme] = json.loads(ok("tenants", "-o", "json"))
    assert (acme["capacity"], acme["totalIOPS"]) == (1024, 100)


def test_lists_are_read_page_by_page(
    ok: Ok, api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisionerctl.client.PAGE", 2)
    pool(1)
    for number in range(5):
        created(api, f"v{number}", uuid=f"u{number}", capacity=1)
    assert [row["uuid"] for row in json.loads(ok("volumes", "-o", "json"))] == [
        "u0", "u1", "u2", "u3", "u4",
    ]  # fmt: skip
    assert len(json.loads(ok("volumes", "--limit", "3", "-o", "json"))) == 3


def test_a_drain_is_followed_to_its_end(
    ok: Ok, api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    [node, _] = pool(2)
    name = fleet.nodes[0].name
    assert "can be stopped" in ok("nodes", "maintenance", name)
    placed_on([node], lambda: created(api, "first", uuid="u1"))
    assert "lose access: 1, volumes that lose redundancy: 0" in ok("nodes", "maintenance", name)
    ok("nodes", "drain", name)
    assert "0 of 1 replicas moved" in ok("nodes", "drain-status", name)
    settle()
    assert ok("nodes", "drain", name, "--wait").endswith(f"Node {name} is drained.\n")
    assert "100 %" in ok("nodes", "drain-status", name)
    ok("nodes", "drain-stop", name)
    ok("nodes", "cordon", name)
    assert rows(ok("nodes"))[1][3] == "cordoned"
    ok("nodes", "uncordon", name)
    ok("nodes", "remove", name, "--yes")
    assert len(json.loads(ok("nodes", "-o", "json"))) == 1


def test_status_names_what_needs_attention(ok: Ok, pool: Pool, api: Api) -> None:
    [node, _] = pool(2)
    probe_host(api)
    created(api, "first", storageClass={"numReplicas": 2})
    healthy = ok("status")
    assert "2 of 2 Available" in healthy
    assert re.search(r"HEALTH +Healthy", healthy), healthy
    assert "NEEDS ATTENTION" not in healthy
    now = timezone.now()
    Backend.objects.filter(pk=node).update(available_until=now, polled_at=now)
    shown = ok("status")
    assert "1 of 2 Available" in shown
    assert re.search(r"node \S+ +Unavailable: .*no heartbeat.*; volumes on it: 1", shown), shown
    assert re.search(r"volume first +Degraded: 1 of 2 replicas can be used", shown), shown
    assert re.search(r"first .* Degraded ", ok("volumes", "list", "--health", "degraded"))
    assert "first" not in ok("volumes", "list", "--health", "Healthy")
    assert json.loads(ok("status", "-o", "json"))["nodes"]["available"] == 1


def test_snapshots_and_clones_are_created_and_deleted(ok: Ok, api: Api, pool: Pool) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    ok("snapshots", "create", "first", "before", "--id", "s1")
    ok("snapshots", "create-volume", "before", "look", "--uuid", "u2")
    ok("clones", "create", "first", "copy", "--size", "20", "--uuid", "u3")
    assert rows(ok("snapshots", "--volume", "first"))[1][:2] == ["before", "u1"]
    aliases = {row["alias"]: row["provisioningType"] for row in api.get("/volumes").body}
    assert aliases == {"first": "THICK", "look": "OTHER", "copy": "THIN"}
    ok("volumes", "delete", "look", "--yes")
    ok("snapshots", "delete", "before", "--yes")


def test_the_command_api_calls_any_path(ok: Ok, run: Run, pool: Pool) -> None:
    pool(1)
    body = json.dumps({"alias": "a", "uuid": "u1", "capacity": 1})
    assert json.loads(ok("api", "POST", "/volumes", "-d", body))["status"] == "Success"
    assert json.loads(ok("api", "GET", "/volumes?limit=1", "-q", "marker=u0"))[0]["uuid"] == "u1"
    assert json.loads(ok("api", "post", "/volumes", "-d", "@-", "-q", "dryRun=true", text=body))
    assert "# HELP" in ok("api", "GET", "/metrics")
    assert run("api", "GET", "/nothing").code == 3


def test_a_token_is_all_that_is_printed(
    run: Run, base_rows: None, connected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_PASSWORD", "not-so-easy-7")
    call_command("user_create", "olga", "--role", "ADMIN")
    monkeypatch.delenv("PROVISIONERCTL_TOKEN")
    monkeypatch.setenv("PROVISIONERCTL_PASSWORD", "not-so-easy-7")
    made = run("tokens", "create", "--role", "MONITOR", "--expires-in", "2h", "--user", "olga")
    token = made.out.strip()
    assert run("nodes", "--token", token).code == 0
    assert run("nodes", "add", "127.0.0.1", "--token", token).code == 5
