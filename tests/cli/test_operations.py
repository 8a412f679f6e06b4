"""A command calls every operation of the API, or the operation is in a list with the reason."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.signals import request_started

from provisionerctl.paths import KEYED, OF_TENANTS
from tests.api.inventory_steps import take_sample
from tests.api.volume_steps import HOST, probe_host
from tests.cli.conftest import ROOT, Run
from tests.conftest import Api

Request = tuple[str, str]
OF_TENANT = "_of_tenant"
DESTROYS = " --yes"
PATHS = yaml.safe_load((ROOT / "docs/reference/openapi.yaml").read_text())["paths"]
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in PATHS.items()
    for method, operation in methods.items()
}
SPELLING = "another spelling of an operation that a command reaches"
PAGES = "a description for people and programs; api GET shows it"
PROBES = "for supervisors and load balancers; api GET shows it"
BY_PATH_ALONE = {
    "license_list_at_LICENSE": SPELLING,
    "license_create_at_LICENSE": SPELLING,
    "snapshot_volumes_create": SPELLING,
    "snapshot_volumes_create_of_tenant": SPELLING,
    "documentation_swagger": PAGES,
    "documentation_redoc": PAGES,
    "openapi_list": PAGES,
    "healthz_list": PROBES,
    "readyz_list": PROBES,
    "probe_create": "storage nodes send it, with tokens of their own",
}
COMMANDS = {
    "auth_server_create": "auth-server set EMPTY",
    "auth_server_destroy": "auth-server delete --yes",
    "auth_server_list": "auth-server show",
    "backends_create": "nodes add 127.0.0.1 --port 9",
    "backends_destroy": "nodes remove NODE --yes --force",
    "backends_list": "nodes",
    "backends_retrieve": "nodes show NODE",
    "backends_update": "nodes cordon NODE",
    "clone_volume_create": "clones create VOLUME clone --size 20 --reserve 30 --uuid c",
    "connect_create": "connect VOLUME HOST",
    "disconnect_create": "disconnect VOLUME HOST --wait",
    "events_list": "events --severity error --since 1h",
    "drain_create": "nodes drain NODE",
    "drain_destroy": "nodes drain-stop NODE",
    "drain_retrieve": "nodes drain-status NODE",
    "forward_log_create": "syslog send text --level WARN --parameter a=b",
    "host_probe_create": "hosts probe HOST nqn.2014-08.org.nvmexpress:uuid:h --every 30",
    "hosts_destroy": "hosts remove HOST --yes",
    "hosts_list": "hosts --name n",
    "info_list": "status",
    "inventory_destroy": "inventory reset --yes",
    "inventory_list": "inventory",
    "license_create": "licence install LICENCE",
    "license_list": "licence show",
    "maintenance_retrieve": "nodes maintenance NODE",
    "metrics_list": "metrics ks_",
    "migrate_volume_create": "volumes migrate VOLUME --to NODE --by PROVISIONER",
    "publish_create": "publish VOLUME HOST",
    "replicas_confirm": "replicas confirm VOLUME REPLICA --yes",
    "replicas_create": "replicas add VOLUME --zone z1 --same-rack",
    "replicas_mark": "replicas remove VOLUME REPLICA --yes",
    "replicas_report": "replicas report VOLUME REPLICA Available",
    "revoked_tokens_create": "tokens revoke some-id --yes",
    "revoked_tokens_list": "tokens revoked",
    "snapshot_volumes_create_at_snapshot_volumes": "snapshots create-volume SNAPSHOT v --writable",
    "snapshots_by_alias": "snapshots show no-uuid",
    "snapshots_by_volume": "snapshots --volume VOLUME",
    "snapshots_create": "snapshots create VOLUME s2 --id s2 --reserve 30",
    "snapshots_destroy": "snapshots delete SNAPSHOT --yes",
    "snapshots_list": "snapshots --limit 5",
    "snapshots_retrieve": "snapshots show SNAPSHOT",
    "syslog_list": "syslog",
    "targets_list": "targets --host HOST --volume VOLUME",
    "tasks_destroy": "tasks remove TASK --yes",
    "tasks_list": "tasks --state RUNNING --type ReplicaSync --volume VOLUME",
    "tasks_update": "tasks stop TASK",
    "tenants_create": "tenants create Acme --id acme --capacity 1T",
    "tenants_destroy": "tenants delete acme --yes",
    "tenants_list": "tenants",
    "tenants_update": "tenants set 0 --capacity 2TiB",
    "token_create": "tokens create --role MONITOR --expires-in 2h",
    "unpublish_create": "unpublish VOLUME --yes",
    "users_list": "users",
    "volumes_by_alias": "volumes show first",
    "volumes_create": "volumes create v 10 --replicas 2 --thin --rack r1 --block-size 512",
    "volumes_destroy": "volumes delete VOLUME --yes",
    "volumes_extended": "volumes show VOLUME",
    "volumes_list": "volumes --host HOST --node NODE",
    "volumes_retrieve": "volumes show VOLUME",
    "volumes_update": "expand VOLUME 20",
}
"""A command that reaches each operation; capital words stand for what the pool holds."""


@pytest.fixture
def requests() -> Iterator[list[Request]]:
    """The requests that reach the API."""
    seen: list[Request] = []

    def note(environ: dict[str, Any], **_: object) -> None:
        seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))

    request_started.connect(note)
    yield seen
    request_started.disconnect(note)


@pytest.fixture
def things(api: Api, pool: Callable[[int], list[str]], tmp_path: Path) -> dict[str, str]:
    """A pool with one object of each kind."""
    [node, *_] = pool(3)
    api.post("/volumes", {"alias": "first", "uuid": "u1", "capacity": 10})
    api.post("/snapshots", {"alias": "snap", "snapshotID": "s1", "volumeID": "u1"})
    probe_host(api)
    take_sample()
    files = {"EMPTY": "{}", "LICENCE": "x"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return {
        "NODE": node,
        "VOLUME": "u1",
        "SNAPSHOT": "s1",
        "REPLICA": "u1",
        "HOST": HOST,
        "TASK": api.get("/inventory").body["taskId"],
        **{name: str(tmp_path / name) for name in files},
    }


def of(operation: str) -> str:
    """Return the path without the tenant."""
    return operation.removesuffix(OF_TENANT)


def matches(request: Request, operation: Request) -> bool:
    method, template = operation
    pattern = re.sub(r"\{\w+\}", "[^/]+", template)
    return request[0] == method and re.fullmatch(pattern, request[1]) is not None


def test_each_operation_has_a_command_or_a_reason() -> None:
    of_tenants = {f"{name}{OF_TENANT}" for name in COMMANDS} & set(OPERATIONS)
    assert set(COMMANDS) | of_tenants | set(BY_PATH_ALONE) == set(OPERATIONS)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("connected")
def test_the_commands_reach_their_operations(
    things: dict[str, str], run: Run, requests: list[Request]
) -> None:
    """Commands that destroy objects come last. A refusal is one sentence."""
    wanted = set(OPERATIONS) - set(BY_PATH_ALONE)
    missed = {}
    for operation in sorted(wanted, key=lambda name: (DESTROYS in COMMANDS[of(name)], name)):
        words = [things.get(word, word) for word in COMMANDS[of(operation)].split()]
        tenant = ["--tenant", "0"] if operation.endswith(OF_TENANT) else []
        requests.clear()
        ran = run(*words, *tenant)
        assert ran.code == 0 or re.match(r"Error: \w+: |Error: There is no", ran.err), ran
        assert "ignored" not in ran.err
        if not any(matches(request, OPERATIONS[operation]) for request in requests):
            missed[operation] = ran, list(requests)
    assert missed == {}


def test_the_list_of_tenant_paths_matches_the_description() -> None:
    described = {path.split("/")[2] for _, path in OPERATIONS.values() if "/{tenantId}/" in path}
    assert described == OF_TENANTS


def test_commands_send_a_key_to_exactly_the_operations_that_recognise_repeats() -> None:
    described = {
        f"{method.upper()} {path.split('/')[1]}"
        for path, methods in PATHS.items()
        for method, operation in methods.items()
        if any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
        and not path.startswith("/{tenantId}/")
    }
    assert described == KEYED
