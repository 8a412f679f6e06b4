"""What the inventory's resources need of the volumes: removal, the namespace ids given out, and
exports that follow a host's NQN.
"""

from collections.abc import Iterable
from typing import ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.models import Host
from inventory.views.backends import BackendViewSet
from inventory.views.hosts import HostProbeInput, HostProbeViewSet, HostViewSet, host_json
from provisioner.common.api import success
from provisioner.common.long_lists import Items
from provisioner.common.operations import Operation
from provisioner.common.parsing import Input, parse_body, parse_query
from volumes.selectors import used_namespace_ids
from volumes.services.backend_removal import backend_remove
from volumes.services.host_nqns import host_report
from volumes.services.host_removal import host_remove


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


class RemovableHostViewSet(HostViewSet):
    """Reference, "Delete Host"."""

    operations: ClassVar = HostViewSet.operations | {
        "destroy": Operation("Delete Host", "NotExists HostAvailable")
    }

    def present(self, hosts: Iterable[Host]) -> Items:
        rows = list(hosts)
        given = used_namespace_ids(host.pk for host in rows)
        return [host_json(h, given.get(h.pk, set()) | set(h.used_namespace_ids)) for h in rows]

    def destroy(self, request: Request, host_id: str) -> Response:
        host_remove(host_id=host_id)
        return success()


class VolumesHostProbeViewSet(HostProbeViewSet):
    """Reference, "Host Probe"."""

    def create(self, request: Request) -> Response:
        fields = parse_body(HostProbeInput, request)
        self.own_host(fields["uuid"])
        host_report(
            **fields,
            tenant_id=self.caller.tenant_id,
            is_its_own=self.caller.host_id is not None,
        )
        return success()
