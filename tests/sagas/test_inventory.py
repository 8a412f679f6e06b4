"""UpdateInventory, FetchInventory and ResetInventory."""

import pytest

from inventory.models import Backend, InventorySample
from tasks.models import TaskType
from tasks.services import task_create
from tests.sagas.checks import Case, SagaChecks

pytestmark = pytest.mark.django_db(transaction=True)


class SamplingChecks(SagaChecks):
    """Each task that finishes adds one sample of three nodes. Other tasks add no sample."""

    @pytest.fixture
    def case(self, pool, fleet):
        ids = sorted(pool(3))
        expected = 0

        def submit():
            return task_create(type=self.type).pk

        def done():
            nonlocal expected
            expected = max(expected, InventorySample.objects.count())
            [sample] = InventorySample.objects.order_by("-pk")[:1]
            assert [entry["hardwareId"] for entry in sample.backends] == ids
            assert {entry["state"] for entry in sample.backends} == {"AVAILABLE"}

        def undone():
            assert InventorySample.objects.count() == expected

        return Case(submit, done, undone, losses_of(fleet), lambda task: done())


def losses_of(fleet):
    """Return what may be lost. Samples do not describe volumes, so the tasks finish."""
    return [fleet.nodes[0].come_back_empty]


class TestUpdateInventory(SamplingChecks):
    type = TaskType.UPDATE_INVENTORY


class TestFetchInventory(SamplingChecks):
    type = TaskType.FETCH_INVENTORY


class TestResetInventory(SagaChecks):
    """The old samples are deleted when the task has finished, and not before."""

    type = TaskType.RESET_INVENTORY

    @pytest.fixture
    def case(self, pool, fleet):
        ids = sorted(pool(3))
        old = 0

        def submit():
            nonlocal old
            Backend.objects.update(refresh_wanted_at=None)
            old = InventorySample.objects.create(backends=[]).pk
            return task_create(type=self.type).pk

        def done():
            [sample] = InventorySample.objects.all()
            assert sample.pk > old
            assert [entry["hardwareId"] for entry in sample.backends] == ids
            assert not Backend.objects.filter(refresh_wanted_at=None).exists()

        def undone():
            assert InventorySample.objects.filter(pk=old).exists()
            assert not Backend.objects.exclude(refresh_wanted_at=None).exists()

        return Case(submit, done, undone, losses_of(fleet), lambda task: done())
