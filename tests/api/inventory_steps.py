"""Shared steps of the tests of the inventory."""

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
    """Take a sample, as beat and a worker do."""
    update_inventory()
    runner.run(Task.objects.get(type=TaskType.UPDATE_INVENTORY, state=TaskState.IDLE).pk)
