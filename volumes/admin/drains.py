"""Console pages of drains, relocations, job leases and namespace ids."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from provisioner.common.admin import ReadOnlyAdmin, link_column, list_link
from tasks.models import Task
from volumes.models import Drain, JobLease, NamespaceId, ReplicaRelocation


@admin.register(Drain)
class DrainAdmin(ReadOnlyAdmin):
    """The page of drains. ``DELETE /backends/{id}/drain`` stops a drain."""

    backend_link = link_column("backend")
    list_display = [
        "backend_link",
        "replicas_before",
        "replicas_left",
        "relocations",
        "was_in_use",
        "started_at",
    ]
    list_display_links = ["started_at"]
    list_select_related = ["backend"]
    fields = [
        "backend",
        ("replicas_before", "replicas_left", "relocations"),
        "was_in_use",
        "started_at",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Drain]:
        rows: QuerySet[Drain] = super().get_queryset(request)
        return rows.annotate(left=Count("backend__replicas"))

    @admin.display(description="replicas left")
    def replicas_left(self, drain: Any) -> int:
        return int(drain.left)

    @admin.display(description="relocations")
    def relocations(self, drain: Drain) -> str:
        return list_link(ReplicaRelocation, "relocations", replica__backend=drain.backend_id)


@admin.register(ReplicaRelocation)
class ReplicaRelocationAdmin(ReadOnlyAdmin):
    """The page of relocations: attempts to replace replicas on drained nodes, and lost replicas."""

    replica_link = link_column("replica")
    list_display = ["replica_link", "refusal", "attempts", "task", "again_at"]
    list_display_links = ["again_at"]
    list_filter = ["replica__backend"]
    list_select_related = ["replica"]
    search_fields = ["=replica__uuid", "=replica__volume__uuid", "refusal"]
    fields = ["replica", "refusal", "attempts", "task", "again_at"]

    @admin.display(description="task")
    def task(self, relocation: ReplicaRelocation) -> str:
        return (
            list_link(Task, relocation.task_id, task_id=relocation.task_id)
            if relocation.task_id
            else ""
        )


@admin.register(JobLease)
class JobLeaseAdmin(ReadOnlyAdmin):
    """The page of job leases. A job lease lets one worker at a time run a periodic job."""

    list_display = ["job", "until", "unbroken_since"]
    fields = ["job", "until", "unbroken_since"]


@admin.register(NamespaceId)
class NamespaceIdAdmin(ReadOnlyAdmin):
    """The page of namespace ids of hosts' targets, with the replicas that use or recently used
    them.
    """

    list_display = ["target_nqn", "nsid", "replica_key", "last_used_at"]
    search_fields = ["target_nqn"]
    fields = ["target_nqn", ("nsid", "replica_key"), "last_used_at"]
