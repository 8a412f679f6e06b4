"""Steps that tests of inventory share with others."""

import pytest

from inventory.jobs import update_inventory
from tasks import runner
from tasks.models import Task, TaskState, TaskType
from tests.worker import running_worker


@pytest.fixture
def worker(api):
    with running_worker():
        yield


def take_sample():
    """As beat and a worker do."""
    update_inventory()
    runner.run(Task.objects.get(type=TaskType.UPDATE_INVENTORY, state=TaskState.IDLE).pk)
