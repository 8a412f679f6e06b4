"""``/tasks`` (reference, "Task Management")."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import HOST, TASK, Operation, Output
from provisioner.common.fields import AnyCase
from provisioner.common.long_lists import Listing
from provisioner.common.pagination import Page
from provisioner.common.parsing import Identifier, Input, parse_body, parse_query
from provisioner.common.times import iso_milliseconds
from tasks.busy_hosts import is_known_idle
from tasks.models import TaskState, TaskType
from tasks.selectors import seconds_left, shown_tasks, task_list, task_pending_reason
from tasks.services import task_delete, task_update


class TaskListInput(Input):
    taskId = Identifier(required=False, source="task_id")
    hostId = Identifier(required=False, source="host_id")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) > 1:
            raise serializers.ValidationError(
                {"hostId": "only one of taskId and hostId may be given"}
            )
        return attrs


class TaskDeleteInput(Input):
    taskId = Identifier(source="task_id")
    hostId = Identifier(required=False, source="host_id")


class Percent(serializers.FloatField):
    """A number from 0 to 100. It need not be whole."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=100, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if isinstance(data, bool) or math.isnan(value):
            self.fail("invalid")
        return value


class TagInput(Input):
    name = serializers.CharField(max_length=255)
    value = serializers.CharField(max_length=4096, allow_blank=True, default="")


class TaskUpdateInput(Input):
    taskId = Identifier(source="task_id")
    hostId = Identifier(
        source="host_id", allow_blank=True, help_text="empty for a task that no host carries out"
    )
    type = AnyCase(TaskType, required=False)
    state = AnyCase(TaskState, required=False)
    progress = Percent(required=False)
    taskStatus = serializers.CharField(
        required=False, allow_blank=True, max_length=255, source="task_status"
    )
    statusDescription = serializers.CharField(
        required=False, allow_blank=True, max_length=4096, source="description"
    )
    taskConfiguration = serializers.ListField(
        child=TagInput(), required=False, max_length=100, source="params"
    )


class TagOutput(Output):
    name = serializers.CharField()
    value = serializers.CharField()


class TaskOutput(Output):
    extensions = ("bytesDone", "bytesTotal", "bytesPerSecond", "secondsLeft", "waitsFor")
    taskId = serializers.CharField()
    type = serializers.ChoiceField(TaskType.choices)
    state = serializers.ChoiceField(TaskState.choices)
    hostId = serializers.CharField(required=False)
    taskConfiguration = TagOutput(many=True)
    progress = serializers.FloatField(min_value=0, max_value=100)
    taskStatus = serializers.CharField(required=False)
    statusDescription = serializers.CharField(required=False)
    stoppable = serializers.BooleanField()
    startDate = serializers.CharField(required=False, help_text="yyyy-MM-dd'T'HH:mm:ss.SSS, UTC")
    endDate = serializers.CharField(required=False, help_text="yyyy-MM-dd'T'HH:mm:ss.SSS, UTC")
    bytesDone = serializers.IntegerField(
        required=False, help_text="bytes, for a copy between nodes"
    )
    bytesTotal = serializers.IntegerField(required=False)
    bytesPerSecond = serializers.IntegerField(required=False)
    secondsLeft = serializers.IntegerField(
        required=False, help_text="remaining time at the present rate"
    )
    waitsFor = serializers.CharField(
        required=False,
        help_text="reason why the task waits; absent: a worker or host is working on it",
    )
    example: ClassVar = {
        "taskId": TASK,
        "type": "RemoteMigration",
        "state": "RUNNING",
        "hostId": HOST,
        "taskConfiguration": [{"name": "volumeAlias", "value": "vol1"}],
        "progress": 37.5,
        "stoppable": True,
        "startDate": "2026-11-23T13:00:00.000",
    }


class TaskViewSet(ApiViewSet):
    resource = "tasks"
    operations: ClassVar = {
        "list": Operation("Get Tasks", query=TaskListInput, answer=[TaskOutput]),
        "update": Operation(
            "Update Task",
            "TaskNotFound UpdateTaskFailed TaskEnded",
            body=TaskUpdateInput,
            example={"taskId": TASK, "hostId": HOST, "state": "RUNNING", "progress": 37.5},
        ),
        "destroy": Operation(
            "Remove Task", "NoTask OngoingTask TaskBelongsToOtherHost", query=TaskDeleteInput
        ),
    }

    def list(self, request: Request) -> HttpResponseBase:
        """List tasks. Every host polls its own list each second, so this takes one statement and no
        transaction.
        """
        fields = parse_query(TaskListInput, request)
        fields["host_id"] = self.own_host(fields.get("host_id"))
        tenant_id = self.caller.tenant_id
        if any(fields.values()):
            shown = _shown(task_list(**fields, tenant_id=tenant_id))
            if not shown and fields["host_id"]:
                self.cache_answer_while(partial(is_known_idle, fields["host_id"]))
            return Response(shown)
        rows = partial(shown_tasks, tenant_id=tenant_id)
        return self.listed(
            Page(), Listing.of_rows(rows, _shown, itemgetter("taskId"), key="task_id")
        )

    def update(self, request: Request) -> Response:
        fields = parse_body(TaskUpdateInput, request)
        self.own_host(fields["host_id"])
        task_update(**fields, tenant_id=self.caller.tenant_id)
        return success()

    def destroy(self, request: Request) -> Response:
        task_delete(**parse_query(TaskDeleteInput, request), tenant_id=self.caller.tenant_id)
        return success()


def _shown(tasks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [task_json(task) for task in tasks]


def task_json(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task in the form of the reference, without unknown values.

    An IDLE task has no ``taskStatus``, because the host agent treats any text there as a refusal.
    """
    started_at, ended_at = task["started_at"], task["ended_at"]
    fields = {
        "taskId": task["task_id"],
        "type": task["type"],
        "state": task["state"],
        "hostId": task["host_id"],
        "taskConfiguration": (
            task["params"] if task["reported_params"] is None else task["reported_params"]
        ),
        "progress": task["progress"],
        "taskStatus": task["task_status"] if task["state"] != TaskState.IDLE else "",
        "statusDescription": task["description"],
        "stoppable": task["stoppable"],
        "startDate": iso_milliseconds(started_at) if started_at else "",
        "endDate": iso_milliseconds(ended_at) if ended_at else "",
        "bytesDone": task["bytes_done"],
        "bytesTotal": task["bytes_total"],
        "bytesPerSecond": task["bytes_per_second"],
        "secondsLeft": seconds_left(task),
        "waitsFor": task_pending_reason(task),
    }
    return {name: value for name, value in fields.items() if value not in ("", None)}
