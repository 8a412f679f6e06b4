"""``/inventory`` and ``/reset_inventory`` (reference, "Inventory Management")."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from inventory.models import InventorySample
from inventory.sample_selectors import Change, Changes, Entry, sample_list
from inventory.services.pool.samples import inventory_fetch, inventory_reset, task_number
from inventory.views.outputs import InventoryOutput, ResetOutput
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.times import epoch_milliseconds


class InventoryViewSet(ApiViewSet):
    resource = "inventory"
    operations: ClassVar = {
        "list": Operation("Get Inventory", answer=InventoryOutput),
        "destroy": Operation("Reset Inventory", "CommunicationError", adds=ResetOutput),
    }

    def list(self, request: Request) -> Response:
        task_id = inventory_fetch()
        samples = [sample_json(sample, changes) for sample, changes in sample_list()]
        return Response({"inventorySamples": samples, "taskId": task_id})

    def destroy(self, request: Request) -> Response:
        task_id = inventory_reset()
        return success(id=task_number(task_id), taskId=task_id)


def sample_json(sample: InventorySample, changes: Changes) -> dict[str, Any]:
    return {
        "timestamp": epoch_milliseconds(sample.taken_at),
        "backends": sample.backends,
        "changes": [change_json(change, entry) for change, entry in changes]
        or [{"change": Change.NONE.value, "tags": []}],
    }


def change_json(change: Change, entry: Entry) -> dict[str, Any]:
    values = {"id": entry["hardwareId"]} | {
        name: str(entry[name]) for name in ("version", "state", "numSSDs")
    }
    tags = [{"name": name, "value": value} for name, value in values.items()]
    return {"change": change.value, "tags": tags}
