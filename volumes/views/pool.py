"""Views of the app ``inventory`` that also concern volumes.

They remove backends and hosts, show the namespace ids in use, and renew exports when the NQN of a
host changes.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.models import Host
from inventory.services.hosts import HostReport
from inventory.views.backends import BackendViewSet, InfoViewSet
from inventory.views.hosts import HostProbeInput, HostProbeViewSet, HostViewSet, host_json
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.long_lists import Items
from provisioner.common.parsing import Input, parse_body, parse_query
from volumes.health_selectors import pool_counts_cache
from volumes.selectors import used_namespace_ids
from volumes.services.host import repeated
from volumes.services.host.remove import host_remove
from volumes.services.host.report import host_report
from volumes.services.node.remove import backend_remove


class ForceInput(Input):
    force = serializers.BooleanField(required=False, default=False)


class RemovableBackendViewSet(BackendViewSet):
    """Reference, "Remove Backend"."""

    operations: ClassVar = BackendViewSet.operations | {
        "destroy": Operation("Remove Backend", "NotExists BackendHasVolumes", query=ForceInput)
    }

    def destroy(self, request: Request, persistent_id: str) -> Response:
        force = parse_query(ForceInput, request)["force"]
        backend_remove(persistent_id=persistent_id, force=force)
        return success()


class HealthInfoViewSet(InfoViewSet):
    """``GET /info`` with the health of the pool.

    Everybody may call it, and reading the health reads every volume. So the health is cached.
    """

    def info(self) -> dict[str, Any]:
        health = pool_counts_cache.get().health
        reason = {"healthReason": health.reason} if health.reason else {}
        return super().info() | {"health": health.health.value} | reason


class RemovableHostViewSet(HostViewSet):
    """Reference, "Delete Host"."""

    operations: ClassVar = HostViewSet.operations | {
        "destroy": Operation("Delete Host", "NotExists HostAvailable")
    }

    def present(self, hosts: Iterable[Host]) -> Items:
        rows, tenant = list(hosts), self.caller.tenant_id
        used = used_namespace_ids((host.pk for host in rows), tenant)
        for host in rows:
            if tenant in {None, host.tenant_id}:  # otherwise, they may be of other tenants' volumes
                used.setdefault(host.pk, set()).update(host.used_namespace_ids)
        return [host_json(host, used.get(host.pk, ())) for host in rows]

    def destroy(self, request: Request, host_id: str) -> Response:
        host_remove(host_id=host_id)
        return success()


class VolumesHostProbeViewSet(HostProbeViewSet):
    """Reference, "Host Probe"."""

    def create(self, request: Request) -> Response:
        fields = parse_body(HostProbeInput, request)
        self.own_host(fields["uuid"])
        caller = self.caller
        is_its_own = caller.host_id is not None
        report = HostReport(**fields, tenant_id=caller.tenant_id, is_its_own=is_its_own)
        host_report(report)
        if not report.by_driver and report.tenant_id is None:
            repeated.probes.admit(report)
            self.cache_answer_while(partial(repeated.probes.repeat, report))
        return success()
