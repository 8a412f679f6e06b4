"""How a simulated host judges what it reads."""

import ssl
from typing import Any

import pytest

from inventory.simulated_hosts.array import Array
from inventory.simulated_hosts.connection import Connection, Endpoint
from inventory.simulated_hosts.legs import Legs
from inventory.simulated_hosts.migration import Migrations
from inventory.simulated_hosts.observed import MigrationTask, Volume

NODES = frozenset({"node-a", "node-b", "node-c"})
GONE = "node-x"


def volume(*legs: tuple[str, str] | tuple[str, str, bool]) -> Volume:
    """Of 10 bytes; each leg by its node, state and whether it is exported."""
    location = [
        {
            "uuid": f"leg-{node[-1]}",
            "backend": {"persistentID": node},
            "replicaState": state,
            "currentStateTime": 60_000,
            "inUse": not rest or rest[0],
        }
        for node, state, *rest in legs
    ]
    return Volume.of(
        {"uuid": "v", "capacity": 10, "maxReplicaDownTime": 1, "location": location}, NODES
    )


@pytest.mark.parametrize(
    ("legs", "report"),
    [
        ([("node-a", "Unknown"), ("node-b", "Unknown")], ("leg-a", "Available")),
        ([("node-a", "Available"), ("node-b", "Available")], None),
        ([("node-a", "Available"), ("node-b", "Unknown")], ("leg-b", "Synchronizing")),
        ([("node-a", "Available"), ("node-b", "Missing")], ("leg-b", "Synchronizing")),
        ([("node-a", "Available"), ("node-b", "Synchronizing")], None),
        ([("node-a", "Available"), ("node-b", "Unknown", False)], None),
        ([("node-a", "Available"), ("node-b", "Available", False)], ("leg-b", "Missing")),
        ([("node-a", "Available"), (GONE, "Available")], ("leg-x", "Missing")),
        ([("node-a", "Available"), (GONE, "Synchronizing")], ("leg-x", "Missing")),
        ([("node-a", "Available"), (GONE, "Unknown")], ("leg-x", "Missing")),
        ([("node-a", "Available"), (GONE, "Missing")], None),
        ([("node-a", "Available"), (GONE, "Terminating")], None),
        ([(GONE, "Available"), ("node-a", "Missing")], None),
        ([("node-a", "Missing"), ("node-b", "Missing")], None),
    ],
)
def test_the_first_report(legs: list[Any], report: tuple[str, str] | None) -> None:
    seen = volume(*legs)
    assert Array(seen, 1).report(seen, now=0) == report


def test_founders_need_no_synchronization_and_others_do() -> None:
    both = volume(("node-a", "Unknown"), ("node-b", "Unknown"))
    array = Array(both, 1)
    assert array.report(both, now=0) == ("leg-a", "Available")
    half = volume(("node-a", "Available"), ("node-b", "Unknown"))
    assert array.report(half, now=1) == ("leg-b", "Available")
    later = volume(("node-a", "Available"), ("node-b", "Available"), ("node-c", "Unknown"))
    assert array.report(later, now=2) == ("leg-c", "Synchronizing")


def test_synchronization_takes_its_time_and_begins_anew_after_a_loss() -> None:
    there = volume(("node-a", "Available"), ("node-b", "Synchronizing"))
    array = Array(there, bytes_per_second=2)
    assert array.report(there, now=100) is None
    assert array.synchronized("leg-b", there, now=102.5) == 0.5
    assert array.report(there, now=104.9) is None
    lost = volume(("node-a", "Available"), ("node-b", "Synchronizing", False))
    assert array.report(lost, now=104.95) == ("leg-b", "Missing")
    assert array.report(there, now=105) is None
    assert array.synchronized("leg-b", there, now=106) == 0.2
    assert array.report(there, now=110) == ("leg-b", "Available")


def test_overdue() -> None:
    assert volume(("node-a", "Available"), ("node-b", "Missing")).overdue() == "leg-b"
    assert volume(("node-a", "Available"), ("node-b", "Synchronizing")).overdue() is None


@pytest.mark.parametrize(
    ("more", "taken"),
    [
        ({}, {"v"}),
        ({"taskStatus": "NotAvailable"}, set()),
        ({"state": "RUNNING"}, set()),
        ({"state": "ABORTED"}, set()),
        ({"type": "ReplicaSync"}, set()),
        ({"taskConfiguration": [{"name": "migrationHandler", "value": "PROVISIONER"}]}, set()),
    ],
)
def test_which_tasks_are_taken(more: dict[str, Any], taken: set[str]) -> None:
    row = {
        "taskId": "t",
        "type": "RemoteMigration",
        "state": "IDLE",
        "taskConfiguration": [{"name": "volId", "value": "v"}, {"name": "replicaId", "value": "r"}],
    }
    api = Connection(Endpoint.of("https://127.0.0.1:1", ssl.create_default_context()))
    migrations = Migrations(api, "host", "name", Legs(api, "host", "name"))
    migrations.follow([task for task in [MigrationTask.of(row | more)] if task is not None])
    assert migrations.volumes == taken


@pytest.mark.parametrize(
    "url", ["127.0.0.1:30100", "ftp://h", "https://", "https://me:secret@h", "https://h/path"]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the url must be like https://host:port") as refused:
        Endpoint.of(url, ssl.create_default_context())
    assert "secret" not in str(refused.value)
