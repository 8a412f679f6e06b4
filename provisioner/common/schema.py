"""Generates OpenAPI 3.1 from the ``operations`` of the views (an inspector of drf-spectacular)."""

import re
from http import HTTPStatus
from typing import Any

from drf_spectacular.drainage import warn
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent

from provisioner.common.api import TRANSPORT_CODES, envelope
from provisioner.common.descriptions import OPERATIONS, field_description
from provisioner.common.endpoint_spec import Operation, Output
from provisioner.common.parsing import ALIAS, IDENTIFIER
from provisioner.common.results import ResultCode

JSON = "application/json"
PATH_NAMES = {"tenant": "tenantId", "state": "replicaState"}
ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
WITH_CREDENTIALS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
)
WITH_PATH = (HTTPStatus.NOT_FOUND,)
WITH_BODY = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)

Schema = dict[str, Any]
IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Any text. A repeat of the request with the same key gets the answer of the "
    "first request and changes nothing more.",
    "x-extension": True,
    "schema": {"type": "string", "maxLength": 255},
}
IGNORED_FIELDS: Schema = {"$ref": "#/components/schemas/IgnoredFields"}
IGNORED_HEADER: Schema = {"Ignored-Fields": {"$ref": "#/components/headers/IgnoredFields"}}


def wire_paths(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Replace names in paths by those that clients see, for example ``{volumeUuid}``."""
    return [(re.sub(r"{(\w+)}", _wire_name, path), *rest) for path, *rest in endpoints]


def _wire_name(match: re.Match[str]) -> str:
    name = PATH_NAMES.get(match[1], match[1])
    return "{" + re.sub(r"_(\w)", lambda letter: letter[1].upper(), name) + "}"


class OperationSchema(AutoSchema):
    """Describes an :class:`Operation`, together with the parts that all operations share."""

    view: Any

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Schema | None:
        self.registry, self.path, self.method = registry, path, method
        operation = self.view.operations.get(self.view.action)
        if operation is None:
            warn(f"{self.view.resource}.{self.view.action} is not described")
            return None
        described = {
            "operationId": self.get_operation_id(),
            "summary": operation.summary,
            "description": OPERATIONS.get(f"{self.view.resource}.{self.view.action}", ""),
            "tags": [self.view.resource],
            "parameters": [
                *self._path(operation),
                *self._query(operation),
                *([IDEMPOTENCY_KEY] if operation.repeatable else []),
            ],
            "requestBody": self._body(operation),
            "security": self.get_auth(),
            "responses": self._responses(operation),
            "x-extension": operation.extension,
        }
        return {name: value for name, value in described.items() if value or name == "security"}

    def get_operation_id(self) -> str:
        """``resource_action``, plus a suffix for a second path of the same operation."""
        parts = self.path.split("/")
        alias = "".join(f"_at_{part}" for part in parts if part in self.view.aliases)
        tenant = "_of_tenant" if parts[1] == "{tenantId}" else ""
        return f"{self.view.resource}_{self.view.action}{alias}{tenant}"

    def _get_serializer_name(self, serializer: Any, *_: Any, **__: Any) -> str:
        return type(serializer).__name__

    def _map_serializer(self, serializer: Any, direction: Any, *_: Any, **__: Any) -> Schema:
        """Map a serializer, and add what DRF does not know: the descriptions of fields, which
        fields are extensions, and that answers have no other fields.

        Docstrings are removed, because they are for readers of the code.
        """
        schema: Schema = super()._map_serializer(serializer, direction)  # type: ignore[no-untyped-call] # untyped library
        schema.pop("description", None)
        kind = type(serializer).__name__
        for name, field in schema["properties"].items():
            if "description" not in field and (text := field_description(kind, name)):
                field["description"] = text
        for name in serializer.extensions:
            schema["properties"][name]["x-extension"] = True
        return schema | ({"additionalProperties": False} if isinstance(serializer, Output) else {})

    def _map_serializer_field(self, field: Any, direction: Any, *_: Any, **__: Any) -> Schema:
        schema: Schema = super()._map_serializer_field(field, direction)  # type: ignore[no-untyped-call] # untyped library
        schema.pop("x-spec-enum-id", None)
        return schema

    def _fields(self, serializer: type[Any] | None, direction: str = "request") -> Schema:
        return self._map_serializer(serializer(), direction) if serializer else {"properties": {}}

    def _component(self, serializer: type[Any], direction: Any) -> Schema:
        return dict(self.resolve_serializer(serializer, direction).ref)

    def _path(self, operation: Operation) -> list[Schema]:
        """The ids in the path, with the rule that :func:`path_identifiers` checks."""
        known = self._fields(operation.path)["properties"]
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": field_description("", name),
                "schema": known.get(name) or _id(name),
            }
            for name in re.findall(r"{(\w+)}", self.path)
        ]

    def _query(self, operation: Operation) -> list[Schema]:
        fields = self._fields(operation.query)
        return [
            {"name": name, "in": "query", "required": name in fields.get("required", ())}
            | {key: schema.pop(key) for key in ("description", "x-extension") if key in schema}
            | {"schema": schema}
            for name, schema in fields["properties"].items()
        ]

    def _body(self, operation: Operation) -> Schema:
        if operation.body is None:
            return {}
        content = {"schema": self._component(operation.body, "request")}
        if operation.example is not None:
            content["example"] = dict(operation.example)
        return {"required": True, "content": {JSON: content}}

    def _responses(self, operation: Operation) -> Schema:
        statuses = [*ALWAYS, *(WITH_PATH if "{" in self.path else ())]
        if not self.view.open_to_all:
            statuses += WITH_CREDENTIALS
        if operation.body:
            statuses += WITH_BODY
        refusals = {str(status.value): self._refusal(status) for status in sorted(statuses)}
        result = {
            "description": "The result.",
            "headers": IGNORED_HEADER,
            "content": self._ok(operation),
        }
        return {"200": result} | refusals

    def _refusal(self, status: HTTPStatus) -> Schema:
        """A transport error. It is described once, among the components."""
        codes = [TRANSPORT_CODES[status]]
        if status is HTTPStatus.BAD_REQUEST:
            codes.insert(0, ResultCode.InvalidInput)
        response = {
            "description": " or ".join(codes),
            "content": {JSON: {"schema": _envelope(codes)}},
        }
        name = TRANSPORT_CODES[status].value
        component = ResolvedComponent(name, ResolvedComponent.RESPONSE, response, name)  # type: ignore[no-untyped-call] # untyped library
        self.registry.register_on_missing(component)
        return dict(component.ref)

    def _ok(self, operation: Operation) -> Schema:
        kind = "object" if operation.media == JSON else "string"
        text = {operation.media: {"schema": {"type": kind}}} if operation.media else {}
        if text and operation.answer is None:
            return text
        codes = [ResultCode(code) for code in operation.codes.split()]
        if operation.answer is None:
            adds = operation.adds
            schema = _envelope([ResultCode.Success, *codes], self._fields(adds, "response"))
            example: Any = envelope(ResultCode.Success, "Success") | (adds.example if adds else {})
        else:
            schema, example = self._object(operation.answer)
            if codes:
                schema = {"oneOf": [schema, _envelope(codes)]}
        return {JSON: {"schema": schema, "example": example}} | text

    def _object(self, answer: type[Output] | list[type[Output]]) -> tuple[Schema, Any]:
        """Return the schema of an answer, and an example."""
        if isinstance(answer, list):
            (kind,) = answer
            return {"type": "array", "items": self._component(kind, "response")}, [kind.example]
        return self._component(answer, "response"), dict(answer.example)


def _id(name: str) -> Schema:
    pattern = ALIAS if name == "alias" else IDENTIFIER
    return {"type": "string", "pattern": f"^{pattern.pattern}$"}


def _envelope(codes: list[ResultCode], adds: Schema | None = None) -> Schema:
    """The schema of an envelope with one of these codes. ``adds`` is present only with Success."""
    schema: Schema = {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": [code.value for code in codes]},
            "description": {"type": "string"},
            "ignoredFields": IGNORED_FIELDS,
        },
        "required": ["status", "description"],
        "additionalProperties": False,
    }
    if adds and adds["properties"]:
        schema["properties"] |= adds["properties"]
        schema["if"] = {"properties": {"status": {"const": ResultCode.Success.value}}}
        schema["then"] = {"required": adds.get("required", [])}
        schema["else"] = {"propertyNames": {"enum": ["status", "description", "ignoredFields"]}}
    return schema
