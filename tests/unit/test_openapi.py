"""The OpenAPI description is complete, matches the reference, and has valid examples."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.api.conformance import JSON, description, response_of, validator
from tests.api.documented import OPERATIONS
from tests.api.roles_steps import operations

CODES = {operation.line: set(operation.codes) - {"InvalidInput"} for operation in OPERATIONS}


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The JSON content of the body and of every answer."""
    bodies = [operation.get("requestBody", {})]
    bodies += [response_of(operation, int(status)) for status in operation["responses"]]
    for body in bodies:
        if JSON in body.get("content", {}):
            yield body["content"][JSON]


def codes_of(schema: dict[str, Any]) -> set[str]:
    """The result codes that this schema of an answer allows."""
    if "oneOf" in schema:
        return set().union(*map(codes_of, schema["oneOf"]))
    return set(schema.get("properties", {}).get("status", {}).get("enum", ()))


def test_every_operation_is_described():
    assert len(list(described())) == len(list(operations()))


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for *_, operation in described()]
    assert len(set(ids)) == len(ids)


def test_every_code_of_the_reference_is_described():
    """The OpenAPI description may have additional codes."""
    described_codes = {
        f"{view.resource}.{action}": {"Success", *view.operations[action].codes.split()}
        for *_, view, action in operations()
    }
    missing = {line: codes - described_codes[line] for line, codes in CODES.items()}
    assert {line: codes for line, codes in missing.items() if codes} == {}


def test_extensions_of_the_reference_are_marked():
    known = {line.partition(".")[0] for line in CODES}
    marked = {view.resource: view.operations[action].extension for *_, view, action in operations()}
    assert {resource for resource, extension in marked.items() if extension} == set(marked) - known


def test_answers_carry_the_codes_of_their_operation():
    add = description()["paths"]["/backends"]["post"]
    [(_, ok), *_] = add["responses"].items()
    assert codes_of(ok["content"][JSON]["schema"]) == CODES["backends.create"]
    refused = response_of(add, 400)["content"][JSON]["schema"]
    assert codes_of(refused) == {"InvalidInput", "BadRequest"}


def test_open_operations_are_described_without_credentials():
    asked = {path: operation["security"] for path, _, operation in described()}
    assert asked["/info"] == []
    assert asked["/token"] == [{"basic": []}]
    assert asked["/{tenantId}/volumes"] == [{"basic": []}, {"bearer": []}]


def test_every_body_has_an_example():
    bodies = [operation.get("requestBody") for *_, operation in described()]
    assert all("example" in body["content"][JSON] for body in bodies if body)


def test_examples_are_valid():
    examples = [c for *_, operation in described() for c in contents(operation) if "example" in c]
    assert len(examples) > 100
    for content in examples:
        validator(content["schema"]).validate(content["example"])


def test_a_field_that_is_not_described_is_refused():
    with pytest.raises(jsonschema_rs.ValidationError):
        validator({"$ref": "#/components/schemas/InfoOutput"}).validate({"unknown": 1})
