"""Each text, list and number of a request has a maximum in the OpenAPI description."""

import re
from collections.abc import Iterator
from typing import Any

from tests.api.conformance import description

Schema = dict[str, Any]
BOUNDED = re.compile(r"\{\d+,\d+\}\)?\$$")
"""The end of a pattern that limits the length of a text."""


def unbounded(schema: Schema, path: str) -> Iterator[str]:
    """Yield the paths of values without a maximum."""
    if name := schema.get("$ref"):
        yield from unbounded(description()["components"]["schemas"][name.split("/")[-1]], path)
        return
    for inner in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from unbounded(inner, path)
    if "enum" not in schema and not _is_bounded(schema):
        yield path
    if "items" in schema:
        yield from unbounded(schema["items"], f"{path}[]")
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, f"{path}.{name}")
    if isinstance(more := schema.get("additionalProperties"), dict):
        yield from unbounded(more, f"{path}.*")


def _is_bounded(schema: Schema) -> bool:
    types = schema.get("type", ())
    types = {types} if isinstance(types, str) else set(types)
    is_map = "object" in types and "properties" not in schema
    return (
        ("string" not in types or "maxLength" in schema or _ends(schema.get("pattern", "")))
        and (not types & {"integer", "number"} or "maximum" in schema)
        and ("array" not in types or "maxItems" in schema)
        and (not is_map or "maxProperties" in schema)
    )


def _ends(pattern: str) -> bool:
    return bool(BOUNDED.search(pattern))


def requests() -> Iterator[tuple[str, Schema]]:
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                yield f"{method} {path}?{parameter['name']}", parameter["schema"]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield f"{method} {path}", content["schema"]


def test_each_field_of_each_request_has_a_maximum() -> None:
    found = list(requests())
    assert len(found) > 100
    assert [path for name, schema in found for path in unbounded(schema, name)] == []


def test_the_search_finds_what_has_none() -> None:
    body = {
        "type": "object",
        "properties": {
            "text": {"type": ["string", "null"]},
            "number": {"type": "integer"},
            "list": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "fine": {"type": "string", "pattern": "^[a-z]{1,9}$"},
        },
    }
    wanted = [".text", ".number", ".list", ".list[]", ".map", ".map.*"]
    assert list(unbounded(body, "")) == wanted
