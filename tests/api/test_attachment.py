"""``POST /connect`` and ``/disconnect``: extensions that clients of release 3.22 send."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from inventory.models import Host
from tests.api.released_clients import AGENT, DRIVER, HOST, ReleasedClient
from tests.api.replicas_steps import replicated
from tests.api.volume_steps import published
from tests.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


@pytest.mark.parametrize(
    ("path", "kind"), [("connect", "ConnectVolume"), ("disconnect", "DisconnectVolume")]
)
def test_a_service_creates_a_task_for_the_hosts_agent(
    api: Api, pool: Pool, path: str, kind: str
) -> None:
    pool(2)
    service, agent = ReleasedClient.of(api, "STORAGE"), ReleasedClient.of(api, "HOST")
    agent.probe(AGENT)
    uuid = replicated(api, "vol")
    body = {"hostId": HOST, "volId": uuid}
    assert service.call("POST", path, body).status == "VolumeNotPublished"
    published(api, uuid, HOST)
    task_id = service.call("POST", path, body).body["taskId"]
    assert service.call("POST", path, body).status == "TaskAlreadyRunning"
    [task] = agent.get(f"tasks?hostId={HOST}")
    tags = [{"name": "volId", "value": uuid}, {"name": "volumeAlias", "value": "vol"}]
    assert (task["type"], task["state"], task["taskConfiguration"]) == (kind, "IDLE", tags)
    assert "taskStatus" not in task
    agent.done(
        "PUT",
        "tasks",
        {
            "hostId": HOST,
            "progress": task["progress"],
            "state": "FINISHED",
            "statusDescription": "Success",
            "taskConfiguration": [*tags, {"name": "path", "value": "/dev/md/vol"}],
            "taskId": task_id,
            "taskStatus": "Success",
        },
    )
    [ended] = service.get(f"tasks?taskId={task_id}")
    assert (ended["state"], ended["progress"]) == ("FINISHED", 100)
    assert {"name": "path", "value": "/dev/md/vol"} in ended["taskConfiguration"]


def test_attaching_is_refused_without_a_known_volume_host_or_tenant(api: Api, pool: Pool) -> None:
    pool(2)
    client = ReleasedClient.of(api, "ADMIN")
    uuid = replicated(api, "vol")
    for path in ("connect", "disconnect"):
        body = {"hostId": HOST, "volId": uuid}
        assert client.call("POST", path, body | {"volId": "no"}).status == "VolumeNotFound"
        assert client.call("POST", path, body | {"hostId": "no"}).status == "HostNotFound"
        assert client.call("POST", f"nobody/{path}", body).status == "TenantNotFound"
        assert client.call("POST", path, {"hostId": HOST}).http == 400
        if path == "connect":
            client.probe(AGENT)
            published(api, uuid, HOST)
    Host.objects.update(agent_until=timezone.now())
    client.probe(DRIVER)
    refused = client.call("POST", "connect", {"hostId": HOST, "volId": uuid})
    assert refused.status == "NotAvailable"
    assert "no agent on host" in refused.description


def test_unpublish_aborts_an_attachment(api: Api, pool: Pool) -> None:
    pool(2)
    client = ReleasedClient.of(api, "ADMIN")
    client.probe(AGENT)
    uuid = replicated(api, "vol")
    published(api, uuid, HOST)
    body = {"hostId": HOST, "volId": uuid}
    task_id = client.call("POST", "connect", body).body["taskId"]
    client.done("POST", "unpublish", body)
    [task] = client.get(f"tasks?taskId={task_id}")
    assert task["state"] == "ABORTED"
