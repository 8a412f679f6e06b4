"""The event log on the command line. Following continues when a stream ends."""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from events import stream
from events.kinds import Kind
from events.recording import record
from tests.api.events_steps import followers_left
from tests.cli.conftest import PROGRAM, Run
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Ok = Callable[..., str]
Followed = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let streams read new events often and end soon, so that a follower must reconnect."""
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(stream, "FOLLOW_SECONDS", 0.5)
    yield
    followers_left()


@pytest.fixture
def followed(connected: dict[str, str]) -> Iterator[Followed]:
    """Start a follower whose output can be read while it runs."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> "subprocess.Popen[str]":
        made = subprocess.Popen(
            [*PROGRAM, "events", "--follow", *words],
            env=connected | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(made)
        return made

    yield start
    for one in started:
        one.kill()
        one.communicate()


def line(follower: "subprocess.Popen[str]") -> str:
    assert follower.stdout
    return follower.stdout.readline()


def test_the_newest_events_are_listed_with_the_last_at_the_end(ok: Ok) -> None:
    for node in "abc":
        record(Kind.BACKEND_CORDONED, backend=node)
    header, *lines = ok("events", "-n", "2").splitlines()
    assert header.split() == ["TIME", "SEVERITY", "EVENT", "BY"]
    assert ["Node b was cordoned." in lines[0], "Node c was cordoned." in lines[1]] == [True, True]
    assert "BackendCordoned" in ok("events", "-o", "wide")


def test_options_filter_events(ok: Ok, run: Run, pool: Callable[[int], list[str]]) -> None:
    [node] = pool(1)
    ok("volumes", "create", "v", "10")
    uuid = json.loads(ok("volumes", "show", "v", "-o", "json"))["uuid"]
    ok("volumes", "delete", "v", "--yes")

    def kinds(*words: str) -> list[str]:
        return [row["kind"] for row in json.loads(ok("events", *words, "-o", "json"))]

    assert kinds("--about", uuid) == ["VolumeCreated", "VolumeDeleted"]
    assert kinds("--node", node) == ["BackendAdded", "VolumeCreated"]
    assert kinds("--node", node, "--kind", "BackendAdded", "--since", "1h") == ["BackendAdded"]
    assert kinds("--severity", "warning") == []
    assert kinds("--until", "2020-01-01") == []
    wrong = run("events", "--since", "yesterday")
    assert (wrong.code, "is not a time, such as 12h" in wrong.err) == (2, True)
    both = run("events", "--node", node, "--about", uuid)
    assert (both.code, "Name one object at most" in both.err) == (2, True)


def test_a_follower_shows_old_and_new_events_over_the_end_of_streams(followed: Followed) -> None:
    record(Kind.BACKEND_CORDONED, backend="before")
    follower = followed("-o", "json")
    shown = [json.loads(line(follower))]
    for number in range(3):
        record(Kind.BACKEND_CORDONED, backend=f"n{number}")
        shown.append(json.loads(line(follower)))
        followers_left()  # the stream ends, and the program continues it
    nodes = [event["objects"][0]["id"] for event in shown]
    assert nodes == ["before", "n0", "n1", "n2"]


def test_a_follower_shows_a_line_for_each_event_to_people(followed: Followed) -> None:
    record(Kind.BACKEND_CORDONED, backend="n")
    assert "info  Node n was cordoned." in line(followed())


def test_a_follower_who_may_not_read_events_is_told_so(
    connected: dict[str, str], run: Run, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.as_role("STORAGE").authorization.removeprefix("Bearer ")
    monkeypatch.setenv("PROVISIONERCTL_TOKEN", token)
    assert run("events", "--follow").code == 5
