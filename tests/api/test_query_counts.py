"""Exact numbers of statements of hot calls, including BEGIN and COMMIT, for any amount of data."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from provisioner.access import authorization_server
from provisioner.common import writes
from tasks.models import Task, TaskType
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from volumes import health_selectors

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
Count = Callable[..., list[str]]


@pytest.fixture
def statements(api: Api, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Count:
    """Return the statements of a call in this thread. The pool has nodes, a published volume and
    another volume.
    """
    monkeypatch.setattr(authorization_server, "CACHE_SECONDS", 3600)
    monkeypatch.setattr(writes, "STALE_SECONDS", 3600)
    monkeypatch.setattr(health_selectors, "HEALTH_SECONDS", 0)
    monkeypatch.setattr(health_selectors, "READING_FACTOR", 0)
    health_selectors.pool_counts_cache.forget()
    pool(4)
    writes.writes_clear_cache()  # the next create reads this, for all that follow
    published(api, created(api, "first", storageClass={"numReplicas": 2}), probe_host(api))
    created(api, "second")
    # with a key, as the load balancer gives each request one
    client = Client(headers={"Authorization": api.authorization, "Idempotency-Key": "k"})

    def count(method: str, path: str, body: Any = None) -> list[str]:
        client.get(
            "/token"
        )  # refused because of its credentials, so it reads the authorization server
        with CaptureQueriesContext(connection) as captured:
            answer = client.generic(
                method, path, json.dumps(body or {}), content_type="application/json"
            )
            text = b"".join(answer) if answer.streaming else answer.content
        assert answer.status_code == 200, text
        assert b'"status"' not in text or b'"Success"' in text, text
        return [query["sql"] for query in captured]

    return count


@pytest.mark.parametrize(
    ("replicas", "number"),
    [(1, 13), (3, 17)],  # two more SSDs to claim, and two more nodes to read
)
def test_create_needs_a_fixed_number_of_statements(
    statements: Count, replicas: int, number: int
) -> None:
    body = {"alias": "v", "capacity": 1, "storageClass": {"numReplicas": replicas}}
    found = statements("POST", "/volumes", body)
    assert len(found) == number, "\n".join(found)


def test_create_with_a_uuid_looks_for_rows_of_a_deleted_volume(statements: Count) -> None:
    body = {"alias": "v", "capacity": 1, "uuid": "chosen"}
    found = statements("POST", "/volumes", body)
    assert len(found) == 17, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/volumes?limit=100&marker=0", 1),
        ("/volumes_by_alias/first", 1),
        (f"/volumes?hostID={HOST}", 1),
        ("/volumes?health=Healthy&limit=100&marker=0", 4),
        ("/backends?health=Available", 6),
        ("/backends/none", 6),
        ("/tenants", 6),
        ("/info", 7),
        (f"/tasks?hostId={HOST}", 1),
        (f"/targets?hostId={HOST}", 1),
        ("/events?limit=100&newestFirst=true", 2),
        (f"/events?about=host:{HOST}", 2),
        ("/metrics", 35),
    ],
)
def test_reads_need_a_fixed_number_of_statements(
    api: Api, statements: Count, path: str, number: int
) -> None:
    Task.objects.bulk_create(
        Task(type=TaskType.REMOTE_MIGRATION, host_id=HOST, volume_id=f"v{n}") for n in range(3)
    )
    found = statements("GET", path)
    assert len(found) == number, "\n".join(found)
    for n in range(3):
        published(api, created(api, f"more-{n}"))
    assert len(statements("GET", path)) == number


def test_a_host_probe_needs_two_statements(statements: Count) -> None:
    body = {
        "hostId": HOST,
        "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{HOST}",
        "name": "host",
        "clientType": "Agent",
        "version": "3.22",
        "duration": 30,
    }
    assert len(statements("POST", "/host_probe", body)) == 2


@pytest.mark.parametrize(("replicas", "number"), [(1, 20), (3, 21)])
def test_publish_needs_a_fixed_number_of_statements(
    api: Api, statements: Count, replicas: int, number: int
) -> None:
    uuid = created(api, "v", storageClass={"numReplicas": replicas})
    found = statements("POST", "/publish", {"volId": uuid, "hostId": HOST})
    assert len(found) == number, "\n".join(found)
