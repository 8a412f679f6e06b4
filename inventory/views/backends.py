"""``/backends`` and ``/info`` (reference, "Inventory Management")."""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.backend_selectors import backend_list
from inventory.health import NodeHealth
from inventory.read_models import BackendSummary
from inventory.selectors import pool_free_bytes, syslog_source_id
from inventory.services.node.register import BackendChanges, backend_add, backend_update
from inventory.services.node.tokens import token_columns
from inventory.views.backend_json import backend_json
from inventory.views.fields import LocationInput, ManagementAddresses, Port
from inventory.views.outputs import BackendOutput, InfoOutput, PersistentIdOutput
from provisioner.access.authorization_server import authentication_mode
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.fields import AnyCase
from provisioner.common.moment import one_moment
from provisioner.common.parsing import Input, parse_body, parse_query

API_LEVEL = "1.1"
DEFAULT_PORT = 443


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
        return self._shown(backend_list(health=health))

    @one_moment()
    def retrieve(self, request: Request, persistent_id: str) -> Response:
        return self._shown(backend_list(persistent_id=persistent_id))

    def _shown(self, found: Iterable[BackendSummary]) -> Response:
        is_tenants = self.caller.tenant_id is not None
        return Response([backend_json(summary, is_tenants) for summary in found])

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
