"""Checks answers against the OpenAPI description; the tests' client checks each answer."""

import re
from functools import cache
from typing import Any

import jsonschema_rs
from django.urls import Resolver404, resolve
from drf_spectacular.generators import SchemaGenerator

from provisioner.common.schema import wire_paths

JSON = "application/json"


@cache
def description() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator for a schema that may refer to components of the description."""
    whole = schema | {"components": description()["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def response_of(operation: dict[str, Any], status: int) -> Any:
    """Return the description of the answer with this status, or None."""
    response = operation["responses"].get(str(status))
    if response and "$ref" in response:
        return description()["components"]["responses"][response["$ref"].rsplit("/")[-1]]
    return response


@cache
def _validator_of(path: str, method: str, status: int) -> jsonschema_rs.Draft202012Validator | None:
    operation = description()["paths"][path].get(method)
    if operation is None:
        return None
    response = response_of(operation, status)
    assert response, f"HTTP {status} of {method} {path} is not described"
    content = response["content"]
    return validator(content[JSON]["schema"]) if JSON in content else None


def check(method: str, path: str, status: int, body: Any) -> None:
    """Check an answer.

    :raises AssertionError: the answer does not match the description.
    """
    try:
        match = resolve(path.rstrip("/") or "/")
    except Resolver404:
        return
    template = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", match.route)
    [(wire, *_)] = wire_paths([(template, "", "", None)])
    if wire not in description()["paths"]:
        return
    rules = _validator_of(wire, method.lower(), status)
    if rules is not None:
        errors = [f"{e.instance_path}: {e.message}" for e in rules.iter_errors(body)]
        assert not errors, f"{method} {wire} {status}: {errors}"
