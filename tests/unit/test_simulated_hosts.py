"""How a simulated host interprets the answers of the API."""

import os
import ssl
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inventory.simulated_hosts.connection import Connection, Endpoint
from inventory.simulated_hosts.legs import Legs
from inventory.simulated_hosts.migration import Migrations
from inventory.simulated_hosts.observed import MigrationTask, Volume
from inventory.simulated_hosts.raid_array import Array

NODES = frozenset({"node-a", "node-b", "node-c"})
GONE = "node-x"


def volume(*legs: tuple[str, str] | tuple[str, str, bool]) -> Volume:
    """A volume of 10 bytes; each leg has a node, a state, and whether it is exported."""
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
        {"uuid": "v", "alias": "v", "capacity": 10, "maxReplicaDownTime": 1, "location": location},
        NODES,
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
def test_the_first_report_follows_from_the_legs(
    legs: list[Any], report: tuple[str, str] | None
) -> None:
    seen = volume(*legs)
    assert Array(seen, 1).report(seen, now=0) == report


def test_only_legs_added_later_are_synchronized() -> None:
    both = volume(("node-a", "Unknown"), ("node-b", "Unknown"))
    array = Array(both, 1)
    assert array.report(both, now=0) == ("leg-a", "Available")
    half = volume(("node-a", "Available"), ("node-b", "Unknown"))
    assert array.report(half, now=1) == ("leg-b", "Available")
    later = volume(("node-a", "Available"), ("node-b", "Available"), ("node-c", "Unknown"))
    assert array.report(later, now=2) == ("leg-c", "Synchronizing")


def test_synchronization_takes_time_and_restarts_after_a_loss() -> None:
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


def test_only_a_missing_leg_is_overdue() -> None:
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
def test_only_idle_migrations_for_the_host_are_taken(more: dict[str, Any], taken: set[str]) -> None:
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
    ("arguments", "message"),
    [
        (["--url", "https://h", "--token-file", os.devnull], f"{os.devnull} is empty"),
        (["--url", "https://h", "--ca", "/none"], "No such file"),
        (["--url", "https://me:secret@h"], "the URL must have the form https://host:port"),
        (["--url", "127.0.0.1:30100"], "the URL must have the form https://host:port"),
        (["--url", "ftp://h"], "the URL must have the form https://host:port"),
        (["--url", "https://"], "the URL must have the form https://host:port"),
        (["--url", "https://h/path"], "the URL must have the form https://host:port"),
        (["--url", "https://h", "--count", "0"], "--count 0: must be more than 0"),
        (["--url", "https://h", "--poll-seconds", "-1"], "--poll-seconds -1.0: must be"),
        (["--url", "https://h", "--token-file", __file__], "tokens for 1 hosts"),
        (["--url", "https://h", "--credentials-file", ".gitignore"], "must be NAME:PASSWORD"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message) as refused:
        call_command("simulate_hosts", *arguments)
    assert "secret" not in str(refused.value)
