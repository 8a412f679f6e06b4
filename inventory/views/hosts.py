"""``/hosts`` and ``/host_probe`` (reference, "Host Management")."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request

from inventory.models import ClientType, Host
from inventory.selectors import host_list
from inventory.views.fields import HostNqn
from inventory.views.outputs import HostOutput
from provisioner.access.views import ApiViewSet
from provisioner.common.endpoint_spec import HOST, Operation
from provisioner.common.fields import AnyCase
from provisioner.common.long_lists import Items, Listing
from provisioner.common.pagination import Page, PageInput
from provisioner.common.parsing import Identifier, Input, Whole, parse_query
from provisioner.common.times import epoch_milliseconds

LAST_NAMESPACE_ID = 2**32 - 2
MOST_NAMESPACES = 4096
LONGEST_DURATION = 86_400
"""Seconds. A host is Available, and cannot be removed, for three durations. Agents send 30."""


class HostListInput(PageInput):
    extensions = ("hostId",)
    hostId = Identifier(required=False)
    hostName = serializers.CharField(required=False, max_length=255)


class HostProbeInput(Input):
    hostId = Identifier(source="uuid")
    hostNqn = HostNqn(source="nqn")
    name = serializers.CharField(max_length=255)
    clientType = AnyCase(ClientType, source="client_type")
    version = serializers.CharField(max_length=64)
    duration = Whole(min_value=1, max_value=LONGEST_DURATION)
    multipath = serializers.BooleanField(default=False)
    usedNamespacesIds = serializers.ListField(
        child=Whole(min_value=1, max_value=LAST_NAMESPACE_ID),
        required=False,
        max_length=MOST_NAMESPACES,
        source="used_namespace_ids",
    )


class HostViewSet(ApiViewSet):
    """The hosts. The ``volumes`` app adds the removal, and the namespace ids that the provisioner
    assigned.
    """

    resource = "hosts"
    operations: ClassVar[dict[str, Operation]] = {
        "list": Operation("List Hosts", query=HostListInput, answer=[HostOutput])
    }

    def list(self, request: Request) -> HttpResponseBase:
        fields = parse_query(HostListInput, request)
        uuid, named = fields.get("hostId"), fields.get("hostName")

        def rows() -> QuerySet[Host]:
            return host_list(uuid=uuid, name=named, tenant_id=self.caller.tenant_id)

        return self.listed(Page.of(fields), Listing.of_rows(rows, self.present, itemgetter("uuid")))

    def present(self, hosts: Iterable[Host]) -> Items:
        return [host_json(host, host.used_namespace_ids) for host in hosts]


class HostProbeViewSet(ApiViewSet):
    """Probes of hosts. The ``volumes`` app adds ``create``, because exports to a host depend on its
    NQN.
    """

    resource = "host_probe"
    operations: ClassVar = {
        "create": Operation(
            "Host Probe",
            "AlreadyExists",
            body=HostProbeInput,
            example={
                "hostId": HOST,
                "hostNqn": f"nqn.2014-08.org.nvmexpress:uuid:{HOST}",
                "name": "host1",
                "clientType": "Openstack",
                "version": "3.22.170",
                "duration": 30,
            },
        )
    }


def host_json(host: Host, used_namespace_ids: Iterable[int]) -> dict[str, Any]:
    """Return a host in the format of "List Hosts" in the reference."""
    return {
        "uuid": host.uuid,
        "name": host.name,
        "nqn": host.nqn,
        "clientType": host.client_type,
        "state": host.state.value,
        "version": host.version,
        "lastProbTime": epoch_milliseconds(host.last_probe_at),
        "duration": host.duration,
        "multipath": host.multipath,
        "usedNamespacesIds": sorted(set(used_namespace_ids)),
        "hasAgent": host.has_agent,
    }
