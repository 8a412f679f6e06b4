"""The reports of the agent of release 3.22 when a migration fails, in its own format."""

from collections.abc import Callable

import pytest

from tests.api.released_clients import AGENT, ANYWHERE, HOST, ReleasedClient
from tests.api.replicas_steps import all_available, places, replicated
from tests.api.volume_steps import published
from tests.conftest import Api
from tests.volumes.reconcilers.garbage_collector_steps import collect_overdue
from volumes.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.fixture
def agent(api: Api, pool: Pool) -> ReleasedClient:
    pool(4)
    client = ReleasedClient.of(api, "HOST")
    client.probe(AGENT)
    return client


def begun(api: Api) -> tuple[str, str, dict[str, object]]:
    """Return a volume, its outgoing replica, and the task."""
    uuid = replicated(api, "vol")
    published(api, uuid, HOST)
    outgoing, _ = all_available(api, uuid)
    task_id = api.post("/migrate_volume", {"volId": uuid, "repId": outgoing}).body["taskId"]
    [task] = api.get("/tasks", taskId=task_id).body
    return uuid, outgoing, task


def said(task: dict[str, object], **changes: object) -> dict[str, object]:
    """Return all fields that the agent sends for a task. It sends ``N/A`` for absent fields."""
    names = ("taskId", "hostId", "progress", "taskConfiguration")
    known = {name: task[name] for name in names}
    return known | {"statusDescription": "N/A"} | changes


def test_the_new_replica_stays_if_the_agent_removed_the_old_one(
    api: Api, agent: ReleasedClient
) -> None:
    """The agent means the new replica, but names the old one. That does not exist any more, so the
    new one stays.
    """
    uuid, outgoing, task = begun(api)
    before = set(places(api, uuid))
    agent.done("POST", f"replica/{uuid}", ANYWHERE)
    [new] = set(places(api, uuid)) - before
    agent.done("PATCH", f"replica/{uuid}/{outgoing}")
    agent.done("DELETE", f"replica/{uuid}/{outgoing}")
    text = "Could not connect to replica after adding it"
    failed = {"state": "FAILED", "taskStatus": "CommunicationError", "statusDescription": text}
    agent.done("PUT", "tasks", said(task, **failed))
    assert set(places(api, uuid)) == (before - {outgoing}) | {new}
    agent.done("PATCH", f"replica/{uuid}/{new}/Synchronizing")
    agent.done("PATCH", f"replica/{uuid}/{new}/Available")
    collect_overdue()
    assert audit() == []


def test_a_migration_of_a_volume_that_the_agent_does_not_have_fails(
    api: Api, agent: ReleasedClient
) -> None:
    uuid, outgoing, task = begun(api)
    failed = {"state": "FAILED", "taskStatus": "VolumeNotFound"}
    agent.done("PUT", "tasks", said(task, **failed, statusDescription="Could not find volume: vol"))
    [ended] = agent.get(f"tasks?hostId={HOST}")
    assert (ended["state"], ended["taskStatus"]) == ("FAILED", "VolumeNotFound")
    assert outgoing in places(api, uuid)


def test_a_tag_without_a_value_is_stored_as_empty(api: Api, agent: ReleasedClient) -> None:
    _, _, task = begun(api)
    tags = [{"name": "path", "value": None}]
    agent.done("PUT", "tasks", said(task, state="RUNNING", taskConfiguration=tags))
    [shown] = agent.get(f"tasks?hostId={HOST}")
    assert shown["taskConfiguration"] == [{"name": "path", "value": ""}]


@pytest.mark.parametrize(
    "tags",
    [
        [{"name": "path", "value": "/dev/md/vol"}],
        [{"name": "migrationHandler", "value": "PROVISIONER"}],
        [{"name": "destinationBackendId", "value": "none"}],
        [],
    ],
)
def test_tags_that_the_agent_reports_are_shown_but_decide_nothing(
    api: Api, agent: ReleasedClient, tags: list[dict[str, str]]
) -> None:
    """In a pool of two racks, the new replica must go into the rack of the outgoing one. The agent
    still sees and ends its task.
    """
    for number, node in enumerate(api.get("/backends").body):
        rack = {"rack": f"r{number % 2}"}
        assert api.put(f"/backends/{node['persistentID']}", rack).status == "Success"
    uuid, outgoing, task = begun(api)
    agent.done("PUT", "tasks", said(task, state="RUNNING", taskConfiguration=tags))
    [shown] = agent.get(f"tasks?hostId={HOST}")
    assert shown["taskConfiguration"] == tags
    assert shown["waitsFor"] == "the host"
    agent.done("POST", f"replica/{uuid}", ANYWHERE)
    agent.done("PATCH", f"replica/{uuid}/{outgoing}")
    agent.done("DELETE", f"replica/{uuid}/{outgoing}")
    agent.done("PUT", "tasks", said(task, state="FINISHED", taskConfiguration=tags))
    [ended] = agent.get(f"tasks?hostId={HOST}")
    assert ended["state"] == "FINISHED"
    assert outgoing not in places(api, uuid)
