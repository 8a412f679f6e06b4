import datetime as dt

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import model_to_dict

from provisioner.common.admin import (
    DeadlineFilter,
    ReadOnlyAdmin,
    badge_column,
    named_column,
    size_column,
    wait_column,
)
from provisioner.common.admin import link as row_link
from provisioner.common.detail_pages import SHOWN, Fact, Table, table
from provisioner.common.display import NONE, badge, progress, span
from tasks.models import JobRun, Task
from tasks.selectors import seconds_left, task_pending_reason


def task_table(tasks: QuerySet[Task], link: str) -> Table:
    """The latest tasks of an object, for its page. ``link``: the list of all its tasks."""
    rows = (
        (
            row_link(task, task.type),
            badge(task.state),
            progress(task.progress),
            task.description or task.task_status,
            f"{task.created_at:%Y-%m-%d %H:%M:%S}",
        )
        for task in tasks.order_by("-created_at")[: SHOWN + 1]
    )
    return table("Tasks", "Task, State, Progress, Outcome, Created", rows, link)


class LeaseFilter(DeadlineFilter):
    """Filters tasks that a worker works on, or tasks whose lease has expired."""

    title = "lease"
    parameter_name = "lease"
    field = "lease_until"


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    """Shows tasks. The API creates them, and ``PUT /tasks`` stops those that may be stopped."""

    named = named_column("type", "task_id", "task")
    shown_state = badge_column("state", "state")
    list_display = [
        "named",
        "shown_state",
        "shown_progress",
        "attempts",
        "volume_id",
        "host_id",
        "lease_ends",
        "created_at",
        "ended_at",
    ]
    list_filter = ["state", "type", LeaseFilter, "stoppable"]
    search_fields = ["=task_id", "=host_id", "=volume_id", "description"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "task_id",
                    "type",
                    "state",
                    "shown_progress",
                    "task_status",
                    "description",
                ]
            },
        ),
        ("About", {"fields": ["host_id", "volume_id", "tenant_id", "params", "reported_params"]}),
        ("Times", {"fields": ["created_at", "started_at", "last_activity_at", "ended_at"]}),
        (
            "Work",
            {
                "fields": [
                    "steps_done",
                    "attempts",
                    "pending_reason",
                    ("copied", "copy_total", "copy_rate"),
                    "outputs",
                    "stoppable",
                    "lease_owner",
                    "lease_ends",
                ]
            },
        ),
    ]

    def facts(self, task: Task, tenant_id: str | None) -> list[Fact]:
        row = model_to_dict(task)
        left = seconds_left(row)
        return [
            ("State", badge(task.state)),
            ("Progress", progress(task.progress)),
            ("Time left", NONE if left is None else span(dt.timedelta(seconds=left))),
            ("Waits for", task_pending_reason(row) or NONE),
            ("Outcome", task.description or task.task_status or NONE),
        ]

    lease_ends = wait_column("lease_until", "lease ends")
    copied = size_column("bytes_done", "copied")
    copy_total = size_column("bytes_total", "of")
    copy_rate = size_column("bytes_per_second", "in a second")

    @admin.display(description="waits for")
    def pending_reason(self, task: Task) -> str:
        return task_pending_reason(model_to_dict(task))

    @admin.display(description="progress", ordering="progress")
    def shown_progress(self, task: Task) -> str:
        return progress(task.progress)


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    """Shows the latest run of each periodic job."""

    list_display = ["job", "began_at", "ended_at", "succeeded_at"]
    search_fields = ["job"]
    fields = ["job", "began_at", "ended_at", "succeeded_at"]
