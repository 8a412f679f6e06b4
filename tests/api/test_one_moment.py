"""Every answer shows one moment, whatever is deleted between its statements."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Case, F, When
from django.test import Client
from django.urls import get_resolver

from inventory.models import Backend, Host, Ssd
from provisioner.access import authorization_server
from provisioner.common import clock
from provisioner.common.moment import one_moment
from tasks.models import Task, TaskState, TaskType
from tests.api.replicas_steps import all_available, replicated, report
from tests.api.snapshot_steps import snapped
from tests.api.volume_steps import GIB, HOST, created, probe_host, published
from tests.conftest import Api
from volumes.models import (
    Drain,
    Export,
    Publication,
    Replica,
    ReplicaRelocation,
    ReplicaState,
    Snapshot,
    SubVolume,
    Tenant,
    Volume,
)

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]

PATHS = [
    "/volumes",
    f"/volumes?hostID={HOST}",
    "/volumes/{uuid}",
    "/volumes_by_alias/goes",
    "/volume_extended/{uuid}",
    "/0/volumes",
    "/snapshots",
    "/0/snapshots",
    "/0/snapshots/{snapshot}",
    "/snapshots_by_vol/{uuid}",
    "/snapshots_by_alias/goes",
    "/targets",
    f"/targets?hostId={HOST}",
    f"/targets?hostId={HOST}&volumeId={{uuid}}",
    "/hosts",
    "/tenants",
    "/users",
    "/backends",
    "/backends/{node}",
    "/backends/{node}/drain",
    "/backends/{node}/maintenance",
    "/info",
    "/tasks",
    f"/tasks?hostId={HOST}",
    "/metrics",
]
ONE_STATEMENT = {"tasks", "inventory", "license", "auth_server", "syslog", "revoked_tokens"}
"""Resources whose answers are one statement."""
UNCHANGING = {"events"}
"""Resources whose rows are never changed, so that a list of them needs no moment."""
NO_ROWS = {"healthz", "readyz", "openapi.json", "docs", "redoc"}


@pytest.fixture
def caller(api: Api, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The API, called in this thread. It does not read the authorization server again."""
    monkeypatch.setattr(authorization_server, "CACHE_SECONDS", 3600)
    client = Client(headers={"Authorization": api.authorization})
    client.get("/info")
    return client


@pytest.fixture
def node(api: Api, pool: Pool) -> str:
    """The node of the volumes that a test deletes. Another node has a volume that stays."""
    _, node = pool(2)
    Drain.objects.create(backend_id=node, was_in_use=True, replicas_before=9)
    probe_host(api)
    Backend.objects.filter(pk=node).update(in_use=False)
    published(api, created(api, "stays"))
    Backend.objects.update(in_use=Case(When(pk=node, then=True), default=False))
    return node


def read(client: Client, path: str) -> Any:
    answer = client.get(path)
    text = (b"".join(answer) if answer.streaming else answer.content).decode()
    assert answer.status_code == 200, text
    if path != "/metrics":
        return json.loads(re.sub(r'"currentStateTime":\s*\d+', '"currentStateTime":0', text))
    return sorted(line for line in text.splitlines() if line.startswith("ks_"))


def copied(row: Any, **changed: Any) -> Any:
    """Insert the rows for publishing another volume, without calling the node, because publishing
    can be repeated.
    """
    for name, value in {"pk": None, "nsid": 2, **changed}.items():
        setattr(row, name, value)
    row.save()
    return row


def goes(api: Api, node: str) -> dict[str, str]:
    """A published volume with a snapshot, and with a replica that cannot be moved. The test deletes
    it.
    """
    uuid = created(api, "goes", capacity=1, storageClass={"desiredIOPSPerGB": 7})
    snapshot = snapped(api, uuid, "goes")
    replica = Replica.objects.get(volume__uuid=uuid)
    export = Export.objects.select_related("publication").get()
    copied(export, replica=replica, publication=copied(export.publication, volume=replica.volume))
    ReplicaRelocation.objects.create(
        replica=replica, refusal="it has snapshots", again_at="2100-01-01T00:00:00Z"
    )
    Tenant.objects.update(name="before")
    return {"uuid": uuid, "snapshot": snapshot, "node": node}


def delete_all(uuid: str) -> None:
    """Delete everything of the volume at one moment, and change the other objects."""
    with transaction.atomic():
        SubVolume.objects.filter(replica__volume__uuid=uuid).delete()
        Snapshot.objects.filter(volume__uuid=uuid).delete()
        Export.objects.filter(publication__volume__uuid=uuid).delete()
        Publication.objects.filter(volume__uuid=uuid).delete()
        ReplicaRelocation.objects.filter(replica__volume__uuid=uuid).delete()
        Replica.objects.filter(volume__uuid=uuid).delete()
        Volume.objects.filter(uuid=uuid).delete()
        Ssd.objects.update(capacity_bytes=F("capacity_bytes") + GIB)
        Host.objects.update(version="after")
        Tenant.objects.update(name="after")


def elsewhere(work: Callable[[], None]) -> None:
    """Run the function on another connection."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@contextmanager
def after_select(number: int, work: Callable[[], None]) -> Iterator[list[str]]:
    """Call the function after the n-th SELECT of this thread. Yields the SELECTs."""
    seen: list[str] = []

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("SELECT"):
            seen.append(sql)
            if len(seen) == number:
                elsewhere(work)
        return result

    with connection.execute_wrapper(wrapper):
        yield seen


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_shows_the_state_before_a_delete_or_after_it(
    api: Api, caller: Client, node: str, path: str
) -> None:
    seen, number = ["first"], 0
    while number < len(seen):
        number += 1
        ids = goes(api, node)
        filled = path.format(**ids)
        before = read(caller, filled)
        with after_select(number, lambda ids=ids: delete_all(ids["uuid"])) as seen:  # type: ignore[misc]
            found = read(caller, filled)
        assert found in (before, read(caller, filled)), (number, seen)
        delete_all(ids["uuid"])


@pytest.mark.parametrize("path", ["/volumes", "/volumes/{uuid}", "/volumes_by_alias/v"])
def test_a_volume_and_the_progress_of_its_rebuild_are_of_one_moment(
    api: Api, caller: Client, pool: Pool, path: str
) -> None:
    """The progress is a second statement."""
    pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    [first, _] = all_available(api, uuid)
    report(api, uuid, first, "Synchronizing")
    task = Task.objects.create(type=TaskType.REPLICA_SYNC, volume_id=uuid, progress=40)
    filled = path.format(uuid=uuid)
    [before] = read(caller, filled)
    assert (before["health"], before["rebuildProgress"]) == ("Rebuilding", 40.0)

    def end() -> None:
        with transaction.atomic():
            Replica.objects.filter(uuid=first).update(replica_state=ReplicaState.AVAILABLE)
            Task.objects.filter(pk=task.pk).update(state=TaskState.FINISHED, ended_at=clock.now())

    with after_select(1, end):
        [found] = read(caller, filled)
    [after] = read(caller, filled)
    assert (after["health"], "rebuildProgress" in after) == ("Healthy", False)
    assert found in (before, after)


def test_every_get_is_listed_in_this_file() -> None:
    resources = set()
    for pattern in get_resolver().url_patterns:
        for inner in getattr(pattern, "url_patterns", [pattern]):
            actions = getattr(inner.callback, "actions", None) or {}
            if "get" in actions:
                resources.add(
                    str(inner.pattern).replace("<str:tenant>/", "").partition("/")[0].lower()
                )
    tried = {
        path.replace("/0/", "/").lstrip("/").partition("?")[0].partition("/")[0] for path in PATHS
    }
    assert resources - NO_ROWS - ONE_STATEMENT - UNCHANGING == tried - ONE_STATEMENT


@pytest.mark.parametrize("path", ["/license", "/auth_server", "/syslog", "/revoked_tokens"])
def test_a_get_outside_of_one_moment_is_one_statement(caller: Client, node: str, path: str) -> None:
    with after_select(0, lambda: None) as seen:
        read(caller, path)
    assert len(seen) <= 1, seen


def test_one_moment_refuses_writes_until_its_transaction_ends(api: Api) -> None:
    with pytest.raises(Exception, match="read-only"), one_moment():
        Tenant.objects.update(name="written")
    Tenant.objects.update(name="written")
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("read committed",)
