"""Shared steps of the tests of simulated hosts."""

import datetime as dt
from typing import Any

from django.utils import timezone

from inventory.models import Backend
from tests.api.replicas_steps import places, replicated
from tests.api.volume_steps import published
from tests.conftest import Api
from tests.waiting import eventually
from volumes.models import Replica

SECONDS = 120


def states(api: Api, uuid: str) -> list[str]:
    return sorted(place["replicaState"] for place in places(api, uuid).values())


def come_to(api: Api, uuid: str, *wanted: str) -> None:
    """Wait until the replicas are in these states."""
    eventually(
        lambda: states(api, uuid) == sorted(wanted),
        seconds=SECONDS,
        what=f"{wanted}, they are {states(api, uuid)}",
    )


def task_of(api: Api, task_id: str) -> dict[str, Any]:
    [task] = api.get("/tasks", taskId=task_id).body
    return dict(task)


def ended(api: Api, task_id: str) -> dict[str, Any]:
    def over() -> bool:
        return task_of(api, task_id)["state"] not in {"IDLE", "RUNNING"}

    eventually(over, seconds=SECONDS, what="the task ends")
    return task_of(api, task_id)


def attached(api: Api, host: str, number: int = 2, alias: str = "vol", **storage: Any) -> str:
    """A published volume that the host has checked."""
    uuid = replicated(api, alias, number, **storage)
    published(api, uuid, host)
    come_to(api, uuid, *["Available"] * number)
    return uuid


def be_silent(node: str, *, minutes: int) -> None:
    """Make the node Unavailable for this time. -1 minutes: make it Available again."""
    until = timezone.now() - dt.timedelta(minutes=minutes)
    Backend.objects.filter(pk=node).update(available_until=until)


def let_time_pass(replica: str) -> None:
    """Set the state of the replica to be one minute older."""
    rows = Replica.objects.filter(uuid=replica)
    rows.update(replica_state_since=timezone.now() - dt.timedelta(minutes=1))
