"""``/docs`` and ``/redoc``: for all, from files of this server alone."""

import re
from contextlib import closing

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs/"])
def test_page(page):
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
