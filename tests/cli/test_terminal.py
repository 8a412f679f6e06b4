"""Output that only a terminal shows: moving bars, colours, and questions."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator

import pexpect
import pytest
from django.utils import timezone

from tasks.models import Task, TaskType
from tasks.services import task_create
from tests.api.replicas_steps import all_available, replicated
from tests.api.volume_steps import created
from tests.cli.conftest import PROGRAM, process
from tests.conftest import Api
from tests.volumes.reconcilers.drain_steps import placed_on, settle
from volumes.reconcilers.relocation import relocate_replicas

pytestmark = pytest.mark.django_db(transaction=True)
Terminal = Callable[..., "pexpect.spawn[str]"]
GREEN, RED = "\x1b[32m", "\x1b[1;31m"
SECONDS = 180


@pytest.fixture
def terminal(connected: dict[str, str]) -> Iterator[Terminal]:
    """Runs a command line in a terminal of 200 columns."""
    started: list[pexpect.spawn[str]] = []

    def start(*words: str, **variables: str) -> "pexpect.spawn[str]":
        made = pexpect.spawn(
            PROGRAM[0],
            [*PROGRAM[1:], *words],
            env=connected | variables,
            dimensions=(40, 200),
            encoding="utf-8",
            timeout=SECONDS,
        )
        started.append(made)
        return made

    yield start
    for one in started:
        one.close(force=True)


def ended(terminal: "pexpect.spawn[str]") -> tuple[int | None, str]:
    """Return the exit code, and the output since the last expected text."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus, str(terminal.before)


def test_colours_are_only_used_on_a_terminal(
    terminal: Terminal, connected: dict[str, str], pool: Callable[[int], list[str]]
) -> None:
    pool(1)
    code, shown = ended(terminal("nodes"))
    assert (code, f"{GREEN}Available" in shown) == (0, True), shown
    code, shown = ended(terminal("nodes", NO_COLOR="1"))
    assert (code, GREEN in shown, "Available" in shown) == (0, False, True)
    piped = process(connected, "nodes")
    assert (piped.returncode, "\x1b" in piped.stdout) == (0, False)


def test_a_deletion_is_confirmed(
    terminal: Terminal, api: Api, pool: Callable[[int], list[str]]
) -> None:
    pool(1)
    created(api, "first", uuid="u1")
    asked = terminal("volumes", "delete", "first")
    asked.expect(r"Delete volume first \(u1, 10 GiB\) and all its data\? \[y/N\]")
    asked.sendline("n")
    code, shown = ended(asked)
    assert (code, "Nothing was changed." in shown) == (9, True)
    assert len(api.get("/volumes").body) == 1
    asked = terminal("volumes", "delete", "first")
    asked.expect(r"\[y/N\]")
    asked.sendline("y")
    assert ended(asked)[0] == 0
    assert api.get("/volumes").body == []


def test_bars_of_a_drain_move_to_the_end(
    terminal: Terminal, api: Api, pool: Callable[[int], list[str]]
) -> None:
    """They show the rate and the remaining time of the tasks."""
    [node, _] = pool(2)
    placed_on([node], lambda: created(api, "first", uuid="u1"))
    drain = terminal("nodes", "drain", "node-1", "--wait", "--interval", "0.1")
    drain.expect("0 of 1 replicas moved, 0 moving")
    relocate_replicas()
    Task.objects.update(
        state="RUNNING", progress=40, bytes_done=4 * 2**30, bytes_total=10 * 2**30,
        bytes_per_second=2**30,
    )  # fmt: skip
    drain.expect("1 GiB/s")
    drain.expect("ReplicaSync")
    drain.expect("━━━")
    drain.expect("40 %")
    drain.expect("1 GiB/s")
    drain.expect("0:06")
    Task.objects.update(state="IDLE")
    settle()
    drain.expect("1 of 1 replicas moved")
    code, shown = ended(drain)
    assert (code, "Node node-1 is drained." in shown) == (0, True)


def test_a_rebuild_is_followed_to_its_end(
    terminal: Terminal, api: Api, pool: Callable[[int], list[str]]
) -> None:
    pool(3)
    all_available(api, replicated(api, "first"))
    added = terminal("replicas", "add", "first", "--wait", "--interval", "0.1")
    added.expect("A replica of first was added.")
    added.expect("ReplicaSync")
    settle()
    added.expect("FINISHED")
    assert ended(added)[0] == 0
    code, shown = ended(terminal("replicas", "list", "first"))
    assert (code, shown.count("Available")) == (0, 3)


def test_a_failed_task_is_shown_with_its_reason_and_exit_code(terminal: Terminal, api: Api) -> None:
    made = task_create(type=TaskType.FETCH_INVENTORY)
    task = terminal("tasks", "wait", made.pk, "--interval", "0.1")
    task.expect("FetchInventory")
    said = "a the node does not answer"
    Task.objects.update(state="FAILED", description=said, ended_at=timezone.now())
    code, shown = ended(task)
    assert code == 8
    assert f"{RED}FAILED" in shown
    assert f"Error: The task FetchInventory is FAILED: {said}\r\n" in shown


def test_a_list_is_watched_until_ctrl_c(
    terminal: Terminal, api: Api, pool: Callable[[int], list[str]]
) -> None:
    pool(1)
    watched = terminal("volumes", "--watch", "--interval", "0.1")
    watched.expect("None found.")
    created(api, "first", uuid="u1")
    watched.expect("first")
    watched.sendintr()
    assert ended(watched)[0] == 0


def test_programs_read_each_change_as_a_line(
    connected: dict[str, str], api: Api, pool: Callable[[int], list[str]]
) -> None:
    """The output is not a terminal."""
    pool(1)
    words = [*PROGRAM, "volumes", "--watch", "--interval", "0.1", "-o", "json"]
    with subprocess.Popen(words, env=connected, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        assert json.loads(watching.stdout.readline()) == []
        created(api, "first", uuid="u1")
        assert json.loads(watching.stdout.readline())[0]["alias"] == "first"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(SECONDS) == 0


def test_a_password_is_asked_for_and_not_shown(
    terminal: Terminal, environment: dict[str, str]
) -> None:
    asked = terminal("context", "set", "lab", "--user", "olga")
    asked.expect("Password of olga:")
    asked.sendline("secret")
    code, shown = ended(asked)
    assert (code, "secret" in shown) == (0, False)
