"""``/docs`` and ``/redoc`` are open to all, and use only files of this server."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.test import Client

from provisioner.common.descriptions import FIELDS, OPERATIONS
from tests.api.conformance import description

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs/"])
def test_the_page_is_open_to_all_and_uses_only_local_files(page):
    client = Client()
    answer = client.get(page)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    parts = re.findall(r'(?:src|href|data-schema|spec-url)="([^"]+)"', answer.text)
    assert len(parts) == 5 - ("redoc" in page)
    assert all(part.startswith("/") for part in parts)
    for part in parts:
        with closing(client.get(part)) as file:
            assert file.status_code == 200, part


def _parts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Fields, operations and parameters of the description, with readable names."""
    schema = description()
    for kind, component in schema["components"]["schemas"].items():
        for field, value in component.get("properties", {}).items():
            yield f"{kind}.{field}", value
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield f"{method} {path}", operation
            for parameter in operation.get("parameters", []):
                yield f"{method} {path} {parameter['name']}", parameter


def test_every_operation_field_and_parameter_is_described():
    assert [name for name, part in _parts() if not part.get("description")] == []


def test_every_described_field_and_operation_exists():
    schema = description()
    fields = {
        name
        for kind, component in schema["components"]["schemas"].items()
        for field in component.get("properties", {})
        for name in (field, f"{kind}.{field}")
    }
    operations = [o for item in schema["paths"].values() for o in item.values()]
    fields |= {p["name"] for o in operations for p in o.get("parameters", [])}
    assert set(FIELDS) - fields == set()
    assert set(OPERATIONS.values()) - {o["description"] for o in operations} == set()


def test_no_docstring_is_shown():
    text = json.dumps(description())
    assert "``" not in text
    assert "Reference," not in text


def test_the_root_redirects_to_the_documentation():
    answer = Client().get("/", follow=True)
    assert answer.redirect_chain == [("/docs", 302)]
    assert answer.status_code == 200
