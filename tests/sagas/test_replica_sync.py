"""ReplicaSync: a replica more, one in place of another, and an only one that moves."""

from collections.abc import Callable

import pytest

from inventory.nodes.engines.simulated import SimulatedFleet
from tasks.models import TaskType
from tests.conftest import Api
from tests.sagas.checks import Case, SagaChecks, nothing
from tests.sagas.volume_worlds import World
from volumes.services.replica_sync import replica_sync_submit

pytestmark = pytest.mark.django_db(transaction=True)

VARIANTS = {
    "one more": (2, False, False),
    "replaced by copy": (2, False, True),
    "replaced by its host": (2, True, True),
    "the only one moves": (1, False, True),
}


class TestReplicaSync(SagaChecks):
    type = TaskType.REPLICA_SYNC

    @pytest.fixture(params=VARIANTS)
    def case(
        self,
        request: pytest.FixtureRequest,
        api: Api,
        pool: Callable[[int], list[str]],
        fleet: SimulatedFleet,
    ) -> Case:
        replicas, is_published, leaves = VARIANTS[request.param]
        pool(3)
        world = World(api, fleet, replicas, is_published)
        place = ""

        def submit() -> str:
            nonlocal place
            uuid = world.volume()
            place = str(world.rows()[0].backend_id)
            leaving = world.rows()[0].uuid if leaves else None
            return replica_sync_submit(volume_uuid=uuid, leaving_uuid=leaving).pk

        def done() -> None:
            world.expect(replicas if leaves else replicas + 1)
            assert (place in {row.backend_id for row in world.rows()}) is not leaves

        def undone() -> None:
            world.expect(replicas)

        return Case(submit, done, undone, world.host_works if is_published else nothing)
