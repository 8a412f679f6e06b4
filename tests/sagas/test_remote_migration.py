"""RemoteMigration: supervised if the agent of the host carries it out, or carried out by the
provisioner.
"""

from collections.abc import Callable

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import Task, TaskType
from tests.api.volume_steps import HOST
from tests.conftest import Api
from tests.sagas.checks import Case, SagaChecks
from tests.sagas.volume_worlds import World
from volumes.models import Volume
from volumes.services.replica.migrate import Handler, volume_migrate

pytestmark = pytest.mark.django_db(transaction=True)


def agent(world: World) -> Callable[[str], None]:
    """Return a function that does everything that the host's agent does for its task, at once."""

    def work(task_id: str) -> None:
        mine = {"taskId": task_id, "hostId": HOST}
        outgoing = Task.objects.get(pk=task_id).params[1]["value"]
        for answer in (
            lambda: world.api.put("/tasks", mine | {"state": "RUNNING"}),
            lambda: world.api.post(f"/replica/{world.uuid}", {}),
            lambda: world.host_works(task_id),
            lambda: world.api.patch(f"/replica/{world.uuid}/{outgoing}"),
            lambda: world.host_works(task_id),
            lambda: world.api.put("/tasks", mine | {"state": "FINISHED", "taskStatus": "Success"}),
        ):
            said = answer()
            assert said is None or said.status == "Success", said

    return work


def goes_offline(world: World) -> Callable[[str], None]:
    """Return a function that unpublishes the volume while its host rebuilds the new replica."""

    def work(task_id: str) -> None:
        if Volume.objects.get(uuid=world.uuid).publications.exists():
            world.unpublish()

    return work


def host(world: World) -> Callable[[str], None]:
    return world.host_works


VARIANTS = {
    "by the agent": (Handler.AGENT, agent),
    "by the provisioner": (Handler.PROVISIONER, host),
    "goes offline": (Handler.PROVISIONER, goes_offline),
}


class TestRemoteMigration(SagaChecks):
    type = TaskType.REMOTE_MIGRATION

    @pytest.fixture(params=VARIANTS)
    def case(
        self,
        request: pytest.FixtureRequest,
        api: Api,
        pool: Callable[[int], list[str]],
        fleet: SimulatedFleet,
    ) -> Case:
        handler, meanwhile = VARIANTS[request.param]
        pool(3)
        world = World(api, fleet, is_published=True)
        place = ""

        def submit() -> str:
            nonlocal place
            world.volume()
            outgoing = world.rows()[0]
            place = str(outgoing.backend_id)
            task = volume_migrate(
                volume_uuid=world.uuid, replica_uuid=outgoing.uuid, tenant_id=None, handler=handler
            )
            return task.pk

        def done() -> None:
            world.expect(2)
            assert place not in {row.backend_id for row in world.rows()}

        return Case(
            submit,
            done,
            lambda: world.expect(2),
            world.losses(),
            world.expect_no_false_data,
            meanwhile(world),
            handler is Handler.AGENT,
        )
