"""``/syslog`` and ``/forward_log`` (reference, "Logging to an External Syslog Server")."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.models import SyslogServer
from inventory.selectors import host_is_named, syslog_server_list
from inventory.services.syslog.forwarding import syslog_forward
from inventory.syslog.record import APP_NAME, HOST, PARAMETER_NAME, Level, LoggingType, Record
from inventory.syslog.transport import LARGEST_RECORD
from inventory.views.outputs import SyslogOutput
from provisioner.access.views import ApiViewSet
from provisioner.common import clock
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.fields import AnyCase
from provisioner.common.parsing import Input, parse_body

MOST_PARAMETERS = 100
HOST_RULE = "must be 1 to 255 printable ASCII characters without spaces"
APP_NAME_RULE = "must be 1 to 48 printable ASCII characters without spaces"
PARAMETER_NAME_RULE = 'must be 1 to 32 printable ASCII characters without spaces, = ] "'


class Text(serializers.CharField):
    """Any text, unchanged."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)


class Word(serializers.RegexField):
    """A text that matches the whole pattern, unchanged."""

    def __init__(self, pattern: re.Pattern[str], rule: str, **kwargs: Any) -> None:
        super().__init__(
            re.compile(rf"^(?:{pattern.pattern})\Z"),
            trim_whitespace=False,
            error_messages={"invalid": rule, "blank": rule},
            **kwargs,
        )


class ParameterInput(Input):
    name = Word(PARAMETER_NAME, PARAMETER_NAME_RULE)
    value = Text(allow_blank=True, max_length=LARGEST_RECORD)


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": MOST_PARAMETERS,
        "additionalProperties": {"type": "string", "maxLength": LARGEST_RECORD},
    }
)
class Parameters(serializers.Field[Any, Any, Any, Any]):
    """An object of texts, or a list of ``{"name": .., "value": ..}``. A null value is ignored."""

    default_error_messages = {  # noqa: RUF012
        "shape": "must be an object of texts",
        "many": f"has at most {MOST_PARAMETERS} texts",
    }

    def to_internal_value(self, data: Any) -> list[tuple[str, str]]:
        if isinstance(data, Mapping | list) and len(data) > MOST_PARAMETERS:
            self.fail("many")
        if isinstance(data, Mapping):
            return [_pair(name, value) for name, value in data.items() if value is not None]
        if not isinstance(data, list):
            self.fail("shape")
        pairs = serializers.ListField(child=ParameterInput()).run_validation(data)
        return [(pair["name"], pair["value"]) for pair in pairs]


def _pair(name: str, value: Any) -> tuple[str, str]:
    if not PARAMETER_NAME.fullmatch(name):
        raise serializers.ValidationError(f"the name {name[:80]!r} {PARAMETER_NAME_RULE}")
    try:
        return name, Text(allow_blank=True, max_length=LARGEST_RECORD).run_validation(value)
    except serializers.ValidationError as error:
        raise serializers.ValidationError({name: error.detail}) from error


class ForwardLogInput(Input):
    loggingType = AnyCase(LoggingType, source="logging_type")
    level = AnyCase(Level)
    host = Word(HOST, HOST_RULE)
    appName = Word(APP_NAME, APP_NAME_RULE, source="app_name")
    message = Text(max_length=LARGEST_RECORD)
    parametersList = Parameters(default=tuple, source="parameters")


class ForwardLogViewSet(ApiViewSet):
    resource = "forward_log"
    allowed_while_barred = True
    operations: ClassVar = {
        "create": Operation(
            "Forward Log",
            "SyslogNotAvailable",
            body=ForwardLogInput,
            example={
                "loggingType": "EVENT",
                "level": "INFO",
                "host": "host1",
                "appName": "agent",
                "message": "volume connected",
                "parametersList": {"volume": "vol1"},
            },
        )
    }

    def create(self, request: Request) -> Response:
        fields = parse_body(ForwardLogInput, request)
        host_id = self.caller.host_id
        if host_id is not None and not host_is_named(host_id, fields["host"]):
            raise PermissionDenied(
                f"this token is valid for host {host_id!r}, not for {fields['host']!r}"
            )
        syslog_forward(record=Record(at=clock.now(), **fields))
        return success()


class SyslogViewSet(ApiViewSet):
    """The syslog servers of the pool."""

    resource = "syslog"
    operations: ClassVar = {"list": Operation("Get Syslogs", answer=[SyslogOutput])}

    def list(self, request: Request) -> Response:
        return Response(syslogs_json(syslog_server_list()))


def syslogs_json(servers: Iterable[SyslogServer]) -> list[dict[str, Any]]:
    """Return the servers in the format of "Get Syslogs" in the reference, without an empty file
    name.
    """
    return [
        {
            "id": server.node_server_id,
            "name": server.name,
            "url": server.url,
            "state": server.state,
            "useTls": server.use_tls,
        }
        | ({"certFileName": server.cert_file_name} if server.cert_file_name else {})
        for server in servers
    ]
