"""ConnectVolume and DisconnectVolume are supervised while the host carries them out."""

from collections.abc import Callable

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import TaskType
from tests.api.volume_steps import HOST
from tests.conftest import Api
from tests.sagas.checks import Case, SagaChecks
from tests.sagas.volume_worlds import World
from volumes.services.publication.attach import attachment_ask

pytestmark = pytest.mark.django_db(transaction=True)


class _OfHost(SagaChecks):
    @pytest.fixture
    def case(self, api: Api, pool: Callable[[int], list[str]], fleet: SimulatedFleet) -> Case:
        pool(3)
        world = World(api, fleet, is_published=True)

        def submit() -> str:
            world.volume()
            task = attachment_ask(
                type=self.type, volume_uuid=world.uuid, host_id=HOST, tenant_id=None
            )
            return task.pk

        def agent(task_id: str) -> None:
            ended = {"state": "FINISHED", "taskStatus": "Success", "progress": 0}
            answer = api.put("/tasks", {"taskId": task_id, "hostId": HOST} | ended)
            assert answer.status == "Success", answer

        def unchanged() -> None:
            world.expect(2)

        return Case(
            submit, unchanged, unchanged, (), lambda task: None, meanwhile=agent, is_hosts=True
        )


class TestConnectVolume(_OfHost):
    type = TaskType.CONNECT_VOLUME


class TestDisconnectVolume(_OfHost):
    type = TaskType.DISCONNECT_VOLUME
