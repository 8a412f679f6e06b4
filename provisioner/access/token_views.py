"""``POST /token`` (an extension of the reference)."""

import datetime as dt
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from events.kinds import Kind
from events.recording import Tally
from provisioner.access.authentication import BasicAuthentication
from provisioner.access.principals import Caller, Role, WrongBinding
from provisioner.access.tokens import LONGEST, SHORTEST, bindings_check, token_issue
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation, Output
from provisioner.common.parsing import Identifier, Input, Whole, parse_body
from provisioner.common.results import InvalidInput
from provisioner.common.times import iso_milliseconds

ISSUED = Tally(Kind.TOKENS_ISSUED)


class TokenInput(Input):
    expiration = Whole(
        required=False,
        default=int(SHORTEST.total_seconds()),
        min_value=int(SHORTEST.total_seconds()),
        max_value=int(LONGEST.total_seconds()),
        help_text="seconds",
    )
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=list(Role)),
        required=False,
        allow_empty=False,
        max_length=2 * len(Role),
        help_text="default: all roles of the caller",
    )
    tenant = Identifier(
        required=False,
        help_text="the tenant whose objects the token can access; default: all tenants",
    )
    node = Identifier(
        required=False,
        help_text="persistentID of the node; required for the role NODE, and only for it",
    )
    host = Identifier(
        required=False, help_text="hostId of the host; required for the role HOST, and only for it"
    )
    name = Identifier(required=False, help_text="name of the token; logs show <user>/<name>")


class TokenOutput(Output):
    example: ClassVar = {
        "token": "eyJhbGciOiJ...",
        "expirationDate": "2026-11-23T14:00:00.000+0000",
    }
    token = serializers.CharField()
    expirationDate = serializers.CharField(help_text="yyyy-MM-dd'T'HH:mm:ss.SSSZ")  # noqa: N815


class TokenViewSet(ApiViewSet):
    """Issues tokens to users who authenticate with name and password. A token cannot be used to get
    another token.
    """

    resource = "token"
    allowed_while_barred = True
    authentication_classes = [BasicAuthentication]  # noqa: RUF012
    operations: ClassVar = {
        "create": Operation(
            "Issue Token",
            body=TokenInput,
            example={"expiration": 86400, "roles": ["STORAGE"], "tenant": "0"},
            adds=TokenOutput,
            extension=True,
        )
    }

    def create(self, request: Request) -> Response:
        fields = parse_body(TokenInput, request)
        name = "/".join(filter(None, [self.caller.name, fields.get("name")]))
        roles = _granted(self.caller, fields)
        token, expires_at = token_issue(
            name=name,
            roles=roles,
            tenant_id=_tenant(self.caller, fields.get("tenant")),
            node_id=fields.get("node"),
            host_id=fields.get("host"),
            user=self.caller.name,
            lifetime=dt.timedelta(seconds=fields["expiration"]),
        )
        ISSUED.count(self.caller.name, user=self.caller.name, name=name, roles=sorted(roles))
        return success(token=token, expirationDate=f"{iso_milliseconds(expires_at)}+0000")


def _tenant(caller: Caller, named: str | None) -> str | None:
    """Return the tenant of the token. A caller who is bound to a tenant may not name another one.

    :raises PermissionDenied: the caller is bound to another tenant. The answer is HTTP 403.
    """
    bound = caller.tenant_id
    if bound is not None and named not in {None, bound}:
        raise PermissionDenied(f"{caller.name} is bound to tenant {bound!r}, not to {named!r}")
    return named if bound is None else bound


def _granted(caller: Caller, fields: dict[str, Any]) -> frozenset[Role]:
    """Return the requested roles if the caller may grant them. Only ADMIN may grant NODE and HOST,
    and only if not bound to a tenant, because nodes and most hosts serve all tenants.

    :raises PermissionDenied: the caller may not grant one of the roles. The answer is HTTP 403.
    :raises InvalidInput: a node or host is named without its role, or the role without a node or
        host.
    """
    roles = frozenset(Role(role) for role in fields.get("roles", caller.acts_as))
    of_pool = caller.is_admin and caller.tenant_id is None
    given = frozenset(Role) if of_pool else caller.acts_as - {Role.NODE}
    if missing := sorted(roles - given):
        raise PermissionDenied(f"{caller.name} may not issue a token of role {', '.join(missing)}")
    try:
        bindings_check(
            roles,
            tenant_id=fields.get("tenant"),
            node_id=fields.get("node"),
            host_id=fields.get("host"),
        )
    except WrongBinding as error:
        raise InvalidInput.of(error.name, fields.get(error.name), error.rule) from error
    return roles
