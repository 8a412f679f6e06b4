"""``/backends`` and ``/info`` (reference, "Inventory Management")."""

import re
from functools import lru_cache
from typing import Any, ClassVar, cast

import orjson
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.health import NodeHealth
from inventory.models.liveness import Liveness
from inventory.read_models import BackendSummary, PortalRow
from inventory.selectors import backend_list, pool_free_bytes, syslog_source_id
from inventory.services.node.register import BackendChanges, backend_add, backend_update
from inventory.services.node.tokens import token_columns
from inventory.views.fields import LocationInput, ManagementAddresses, Port
from inventory.views.outputs import BackendOutput, InfoOutput, PersistentIdOutput
from provisioner.access.authorization_server import authentication_mode
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.fields import AnyCase
from provisioner.common.moment import one_moment
from provisioner.common.parsing import Input, parse_body, parse_query
from provisioner.common.times import epoch_milliseconds

API_LEVEL = "1.1"
DEFAULT_PORT = 443
MOST_NODES = 4_000
"""The JSON of this number of nodes is kept, about 4 KB each. Longer lists are slower."""


class NodeToken(serializers.RegexField):
    """A secret that is allowed in a header, and long enough that it cannot be guessed."""

    def __init__(self, **kwargs: Any) -> None:
        rule = "must be 32 to 512 printable ASCII characters without spaces"
        super().__init__(
            re.compile(r"^[!-~]{32,512}\Z"),
            max_length=512,
            write_only=True,
            error_messages={"invalid": rule, "max_length": rule},
            help_text="the token of this node only, if it does not use mutual TLS",
            **kwargs,
        )


class BackendAddInput(LocationInput):
    extensions = ("nodeToken", "takeOver")
    mgmtIPs = ManagementAddresses(source="mgmt_ips")
    mgmtPort = Port(default=DEFAULT_PORT, source="mgmt_port")
    nodeToken = NodeToken(required=False, source="node_token")
    takeOver = serializers.BooleanField(
        default=False,
        source="take_over",
        help_text="add the node even if it belongs to another pool, or holds volumes of another "
        "pool",
    )


class BackendUpdateInput(LocationInput):
    extensions = ("nodeToken", "mgmtIPs")
    inUse = serializers.BooleanField(required=False, source="in_use")
    mgmtIPs = ManagementAddresses(required=False, source="mgmt_ips")
    mgmtPort = Port(required=False, source="mgmt_port")
    nodeToken = NodeToken(required=False, allow_null=True, allow_blank=True, source="node_token")


class BackendListInput(Input):
    extensions = ("health",)
    health = AnyCase(NodeHealth, required=False)


class BackendViewSet(ApiViewSet):
    """The storage nodes of the pool. The ``volumes`` app adds the removal, because it must check
    the volumes.
    """

    resource = "backends"
    operations: ClassVar[dict[str, Operation]] = {
        "list": Operation("List Backends", query=BackendListInput, answer=[BackendOutput]),
        "retrieve": Operation("Get Backend by ID", answer=[BackendOutput]),
        "create": Operation(
            "Add Backend",
            "AlreadyExists NoGroups InvalidLocationValue NotAvailable "
            "BackendWithHostIdAlreadyExists LicenseError",
            body=BackendAddInput,
            example={"mgmtIPs": ["192.0.2.10"], "mgmtPort": 443, "rack": "Dev", "zone": "Lab"},
            adds=PersistentIdOutput,
        ),
        "update": Operation(
            "Update Backend",
            "NotExists AlreadyExists InvalidLocationValue NotAvailable "
            "BackendWithHostIdAlreadyExists",
            body=BackendUpdateInput,
            example={"inUse": False, "rack": "Dev", "zone": None},
        ),
    }

    @one_moment()
    def list(self, request: Request) -> Response:
        health = parse_query(BackendListInput, request).get("health")
        return Response([backend_json(summary) for summary in backend_list(health=health)])

    @one_moment()
    def retrieve(self, request: Request, persistent_id: str) -> Response:
        found = backend_list(persistent_id=persistent_id)
        return Response([backend_json(summary) for summary in found])

    def create(self, request: Request) -> Response:
        backend = backend_add(**parse_body(BackendAddInput, request))
        return success(persistentID=backend.persistent_id)

    def update(self, request: Request, persistent_id: str) -> Response:
        fields = parse_body(BackendUpdateInput, request)
        if "node_token" in fields:
            fields |= token_columns(fields.pop("node_token"))
        mgmt_ips = fields.pop("mgmt_ips", None)
        changes = cast("BackendChanges", fields)
        backend_update(persistent_id=persistent_id, changes=changes, mgmt_ips=mgmt_ips)
        return success()


class InfoViewSet(ApiViewSet):
    """The level of the API. Clients read it first, without credentials."""

    resource = "info"
    operations: ClassVar = {"list": Operation("Get Info", answer=InfoOutput)}
    open_to_all: ClassVar[bool] = True

    @one_moment()
    def list(self, request: Request) -> Response:
        return Response(self.info())

    def info(self) -> dict[str, Any]:
        source = syslog_source_id()
        return {
            "totalFreeSpace": pool_free_bytes(),
            "version": API_LEVEL,
            "authenticationMode": authentication_mode(),
        } | ({"syslogsBackend": source} if source else {})


OPTIONAL = ("rack", "zone", "region", "lastProbTime", "hostId", "waitsFor", "healthReason")
"""Fields of a backend that may be unset."""


@lru_cache(maxsize=MOST_NODES)
def backend_json(summary: BackendSummary) -> orjson.Fragment:
    """Return a backend in the format of "List Backends" in the reference, as JSON. Unset fields are
    omitted.

    The result depends on the summary alone, so it is kept for the next list: most nodes have not
    changed since then.
    """
    backend = summary.backend
    probe_at = backend.last_probe_at
    state = Liveness.AVAILABLE if summary.is_available else Liveness.UNAVAILABLE
    fields = {
        "persistentID": backend.persistent_id,
        "mgmtIPs": summary.mgmt_ips,
        "mgmtPort": backend.mgmt_port,
        "rack": backend.rack,
        "zone": backend.zone,
        "region": backend.region,
        "inUse": backend.in_use,
        "state": state.value,
        "lastProbTime": epoch_milliseconds(probe_at) if probe_at else None,
        "probeInterval": backend.probe_interval,
        "version": backend.version,
        "targetDriverVersion": backend.target_driver_version,
        "certified": backend.certified,
        "portals": [portal_json(portal) for portal in summary.portals],
        "name": backend.name,
        "hostId": backend.host_id,
        "authenticationMode": backend.authentication_mode,
        "waitsFor": summary.pending_reason or None,
        "health": backend.health,
        "healthReason": summary.health_reason or None,
        "totalCapacity": summary.capacity_bytes,
        "availableCapacity": summary.free_bytes,
        "numVolumes": backend.volumes,
        "totalBW": backend.total_bw,
        "availableBW": backend.total_bw - backend.used_bw,
        "totalIOPS": backend.total_iops,
        "availableIOPS": backend.total_iops - backend.used_iops,
        "numberOfSSDs": summary.ssds,
    }
    for name in OPTIONAL:
        if fields[name] is None:
            del fields[name]
    return orjson.Fragment(orjson.dumps(fields))


def portal_json(portal: PortalRow) -> dict[str, Any]:
    return {"ip": portal.ip, "port": portal.port, "transport": portal.transport}
