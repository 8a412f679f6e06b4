"""schemathesis against the running server, with valid and invalid requests from the OpenAPI
description.

At least CASES requests with a fixed seed: the examples, the boundaries of every field and
parameter, missing values and wrong types, methods that a path does not have, and EXAMPLES random
requests for each operation. Ids in paths and bodies are often those of existing objects.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conformance import description
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import HOST, created, probe_host, published, volume
from tests.conftest import Api
from tests.worker import running_worker

SEED = 20261123
EXAMPLES = 6
CASES = 3000
SECOND_PATHS = "^/.tenantId|LICENSE|snapshot_volumes"
"""The same operations again: random requests only."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
"""Those that fit answers of HTTP 200 whose body says what happened, and lenient parsing."""
NOWHERE = "http://127.0.0.1:9/"
ONLY: dict[str, list[Any]] = {
    "follow": [False],
    "mgmtIPs": [["127.0.0.1"]],
    "authorizationServerTokenURL": [NOWHERE],
    "authorizationServerJwkSetURL": [NOWHERE],
}
"""Where the server calls somebody, it is nobody; and no list is followed, which takes minutes."""


@pytest.fixture
def known(api: Api, pool: Any) -> dict[str, list[str]]:
    """Create objects of each kind; returns their ids by the names of fields and parameters."""
    nodes = pool(4)
    probe_host(api)
    volumes = [
        created(api, f"v{n}", uuid=f"vol-{n}", storageClass={"numReplicas": 1 + n % 2})
        for n in range(6)
    ]
    replicas = [replica["uuid"] for uuid in volumes for replica in volume(api, uuid)["location"]]
    snapshots = [snapped(api, volumes[0], f"snap-{number}") for number in range(3)]
    published(api, volumes[1])
    published(api, volumes[2])
    for replica in replicas[1:3]:
        api.patch(f"/replica/{volumes[1]}/{replica}/Available")
    task = api.post("/migrate_volume", {"volId": volumes[1], "repId": replicas[1]}).body["taskId"]
    return {
        **dict.fromkeys(("persistentId", "persistentID", "backendId"), nodes),
        **dict.fromkeys(("volumeUuid", "volId", "volumeID", "sourceVolumeId"), volumes),
        **dict.fromkeys(("replicaUuid", "repId"), replicas),
        **dict.fromkeys(("snapshotUuid", "snapshotID"), snapshots),
        "hostId": [HOST],
        "hostID": [HOST],
        "alias": ["v0", "snap-0"],
        "tenantId": ["0"],
        "taskId": [task],
    }


def steered(schema: Any, known: dict[str, list[str]]) -> Any:
    """Return the description with these values for fields and parameters."""
    if isinstance(schema, list):
        return [steered(item, known) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: steered(value, known) for name, value in schema.items()}
    for name in set(inner.get("properties", ())) & {*known, *ONLY}:
        inner["properties"][name] = _values(name, inner["properties"][name], known)
    if "in" in inner and inner["name"] in {*known, *ONLY}:
        inner["schema"] = _values(inner["name"], inner["schema"], known)
    return inner


def _values(name: str, schema: Any, known: dict[str, list[str]]) -> Any:
    if name in ONLY:
        return {"enum": ONLY[name]}
    return {"anyOf": [{"enum": known[name]}, schema]}


def run(api: Api, schema: Path, *options: str) -> str:
    """Return the report of a run."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", str(schema), "--url", api.url, "-H", f"Authorization: {api.authorization}"),
        *("--checks", ",".join(CHECKS), "--mode", "all", "--seed", str(SEED)),
        *("--max-examples", str(EXAMPLES), "--generation-database", "none"),
        *("--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off"),
        *options,
    ]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=schema.parent
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


BOUNDARIES = ("--phases", "examples,coverage", "--exclude-path-regex", SECOND_PATHS)
RANDOM = ("--phases", "fuzzing")


@pytest.mark.timeout(1500)
@pytest.mark.django_db(transaction=True)
def test_no_generated_request_breaks_an_operation(api, known, tmp_path, settings):
    """Removals come last, so that objects exist until then. The limit of failed logins is raised,
    because each operation is also called with wrong credentials.
    """
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={"login_attempts": 1_000_000})
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(steered(description(), known)))
    with running_worker():
        reports = [
            run(api, schema, *phases, method, "DELETE")
            for method in ("--exclude-method", "--include-method")
            for phases in (BOUNDARIES, RANDOM)
        ]
    print(*reports, sep="\n")
    cases = sum(int(number) for r in reports for number in re.findall(r"(\d+) generated", r))
    assert cases >= CASES
