"""Console pages of nodes, hosts and tasks, completed by their volumes.

``inventory`` and ``tasks`` must not import ``volumes``, so this module extends their pages.
"""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from events.admin import event_table
from inventory.admin import BackendAdmin, HostAdmin
from inventory.models import Backend, Host
from provisioner.common.admin import link, list_url
from provisioner.common.detail_pages import Fact, Table
from provisioner.common.display import NONE, badge
from provisioner.common.tenancy import of_tenant
from tasks.admin import TaskAdmin, task_table
from tasks.models import Task
from volumes.admin.related import export_table, publication_table, replica_table
from volumes.models import Export, Replica, Volume

admin.site.unregister([Backend, Host, Task])


@admin.register(Backend)
class NodeAdmin(BackendAdmin):
    """Storage nodes with their replicas."""

    def facts(self, node: Any, tenant_id: str | None) -> list[Fact]:
        shown = [
            ("Health", self.health(node)),
            ("Why", self.health_reason(node)),
            ("Place", self.place(node)),
        ]
        if tenant_id:
            return shown
        return [
            *shown,
            ("Capacity used", self.capacity_used(node)),
            ("Effects of a stop", _if_it_stops(node)),
        ]

    def tables(self, node: Backend, tenant_id: str | None) -> list[Table]:
        every = list_url(Replica, backend__persistent_id__exact=node.pk)
        return [
            replica_table(of_tenant(node.replicas.all(), tenant_id), every),
            event_table(f"backend:{node.pk}", tenant_id),
        ]


@admin.register(Host)
class HostWithVolumesAdmin(HostAdmin):
    """Hosts with the volumes that are published to them."""

    def facts(self, host: Host, tenant_id: str | None) -> list[Fact]:
        return [
            ("State", badge(host.state)),
            ("Agent", "yes" if host.has_agent else "no"),
            ("NQN", host.nqn),
            ("Last probe", f"{host.last_probe_at:%Y-%m-%d %H:%M:%S}"),
        ]

    def tables(self, host: Host, tenant_id: str | None) -> list[Table]:
        exports = Export.objects.filter(publication__host=host)
        tasks = of_tenant(Task.objects.filter(host_id=host.pk), tenant_id)
        return [
            publication_table(of_tenant(host.publications.all(), tenant_id)),
            export_table(of_tenant(exports, tenant_id)),
            task_table(tasks, list_url(Task, host_id=host.pk)),
            event_table(f"host:{host.pk}", tenant_id),
        ]


@admin.register(Task)
class TaskOfVolumeAdmin(TaskAdmin):
    """Tasks with links to their volume and host."""

    def facts(self, task: Task, tenant_id: str | None) -> list[Fact]:
        volumes = of_tenant(Volume.objects.filter(uuid=task.volume_id), tenant_id)
        volume = volumes.order_by("-pk").first()
        host = of_tenant(Host.objects.filter(pk=task.host_id), tenant_id).first()
        return [
            *super().facts(task, tenant_id),
            ("Volume", link(volume, volume.alias) if volume else task.volume_id or NONE),
            ("Host", link(host, host.name) if host else task.host_id or NONE),
        ]

    def tables(self, task: Task, tenant_id: str | None) -> list[Table]:
        return [event_table(f"task:{task.pk}", tenant_id)]


def _if_it_stops(node: Backend) -> str:
    """Link to the effects of a stop. They are not shown here, because computing them reads each
    replica of the node.
    """
    page = f"{reverse('admin:topology')}?{urlencode({'node': node.pk})}"
    return format_html('<a href="{}">show on the topology</a>', page)
