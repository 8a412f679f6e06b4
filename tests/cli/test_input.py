"""What is refused before a command changes anything, and input that is no text."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from provisionerctl.commands.replicas import STATES
from provisionerctl.commands.tasks import TYPES
from provisionerctl.main import cli
from provisionerctl.options import Clearable, Command
from provisionerctl.units import Number
from tasks.models import TaskType
from tests.api.inventory_steps import take_sample
from tests.api.replicas_steps import all_available, replicated
from tests.api.volume_steps import created, probe_host, published, volume
from tests.cli.conftest import PROGRAM, Run, process
from tests.conftest import Api
from volumes.models import ReplicaState

live = pytest.mark.django_db(transaction=True)
Ok = Callable[..., str]
Pool = Callable[[int], list[str]]


def commands(group: click.Group) -> Iterator[Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        elif isinstance(command, Command):
            yield command


def test_only_options_that_clear_a_property_may_be_empty(run: Run) -> None:
    unchecked = {
        f"{command.name} {param.name}"
        for command in commands(cli)
        for param in command.params
        if param.callback is None
    }
    names = {f"set {name}" for name in ("rack", "zone", "region", "host")}
    assert unchecked == names
    assert all(
        isinstance(param, Clearable) == (f"{command.name} {param.name}" in names)
        for command in commands(cli)
        for param in command.params
    )


@live
@pytest.mark.parametrize(
    "line",
    [
        "unpublish u1 EMPTY --yes",
        "volumes --host EMPTY",
        "volumes --node=",
        "volumes --tenant EMPTY",
        "events --volume EMPTY",
        "events --about EMPTY",
        "replicas list EMPTY",
        "targets --host EMPTY",
        "volumes create v 1 --rack EMPTY",
        "--context EMPTY volumes",
    ],
)
def test_an_empty_text_is_refused(
    connected: dict[str, str], run: Run, api: Api, pool: Pool, line: str
) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    probe_host(api)
    published(api, "u1")
    ran = run(*(word.replace("EMPTY", "") for word in line.split()))
    assert (ran.code, ran.out, "must not be empty" in ran.err) == (2, "", True), ran
    assert volume(api, "u1")["inUse"] is True


@live
def test_an_empty_text_clears_the_place_of_a_node(ok: Ok, api: Api, pool: Pool) -> None:
    [node] = pool(1)
    ok("nodes", "set", node, "--rack", "", "--host", "")
    assert api.get(f"/backends/{node}").body[0].get("rack", "") == ""


@live
def test_csv_is_refused_before_the_first_change(
    connected: dict[str, str], run: Run, api: Api, pool: Pool
) -> None:
    [node] = pool(1)
    refused = (2, "", "Error: This command has no CSV output: use -o json.\n")
    for line in ("volumes create v 1", f"nodes drain {node} --wait", "status", "metrics"):
        ran = run(*line.split(), "-o", "csv")
        assert (ran.code, ran.out, ran.err) == refused
    assert api.get("/volumes").body == []
    assert api.get(f"/backends/{node}/drain").status == "NotExists"
    assert run("nodes", "-o", "csv").out.startswith("name,id,health,")


def test_states_and_types_are_those_of_the_api(run: Run) -> None:
    assert set(STATES) == set(ReplicaState)
    assert set(TYPES) == set(TaskType)
    assert run("replicas", "list", "--state", "Bogus").code == 2
    assert run("tasks", "--type", "bogus").code == 2


@live
def test_a_replica_is_listed_by_its_state_in_any_case(ok: Ok, api: Api, pool: Pool) -> None:
    pool(2)
    all_available(api, replicated(api, "first"))
    assert ok("replicas", "list", "--state", "AVAILABLE").count("first") == 2
    assert ok("tasks", "--type", "replicasync") == "None found.\n"


@live
def test_a_command_without_a_change_says_so(ok: Ok, run: Run, api: Api) -> None:
    take_sample()
    task = api.get("/inventory").body["taskId"]
    for line in ("tenants set 0", f"tasks report {task}", "nodes set node-1"):
        ran = run(*line.split())
        assert (ran.code, ran.err) == (2, "Error: No change was given.\n"), line


@live
def test_a_removed_replica_is_not_called_marked(ok: Ok, api: Api, pool: Pool) -> None:
    pool(3)
    uuid = replicated(api, "first")
    all_available(api, uuid)
    one, two = [row["uuid"] for row in volume(api, uuid)["location"]]
    assert ok("replicas", "remove", uuid, one, "--yes") == f"The replica {one} was removed.\n"
    probe_host(api)
    published(api, uuid)
    ok("replicas", "add", uuid)
    all_available(api, uuid)
    said = ok("replicas", "remove", uuid, two, "--yes")
    assert said == f"The replica {two} is marked for removal.\n"


@live
def test_a_deleted_volume_is_a_sentence(ok: Ok, run: Run, api: Api, pool: Pool) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    words = [*PROGRAM, "volumes", "show", "first", "-w", "--interval", "0.1", "-o", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as show:
        assert show.stdout
        assert show.stderr
        assert json.loads(show.stdout.readline())["alias"] == "first"
        ok("volumes", "delete", "first", "--yes")
        assert show.stderr.read() == "Error: There is no volume 'u1'.\n"
        assert show.wait() == 3


@pytest.mark.parametrize(
    "line", ["licence install FILE", "auth-server set FILE", "nodes set n --node-token-file FILE"]
)
def test_a_file_that_is_no_text_is_a_sentence(run: Run, tmp_path: Path, line: str) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\x00")
    ran = run(*(str(path) if word == "FILE" else word for word in line.split()))
    assert (ran.code, ran.err.startswith("Error: The input is not text in UTF-8")) == (2, True), ran


@pytest.mark.parametrize("text", ["a: 2026-11-23", "a: .nan", "&a [*a]", "a: [", "2026-11-23: a"])
def test_a_file_that_is_no_json_or_yaml_is_a_sentence(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(text)
    ran = run("auth-server", "set", str(path))
    assert (ran.code, "is neither JSON, nor YAML" in ran.err) == (2, True), ran


@pytest.mark.parametrize("text", ["nan", "-1", "101", "x"])
def test_a_progress_is_a_number_from_0_to_100(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Number(0, 100).convert(text, None, None)
    assert Number(0, 100).convert("40.5", None, None) == 40.5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_a_sentence(environment: dict[str, str]) -> None:
    process(environment, "context", "set", "lab", "--url", "http://127.0.0.1:1")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "context", "list"],
            env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    said = "Error: Input or output failed: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, said)
