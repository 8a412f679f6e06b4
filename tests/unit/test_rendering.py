"""Answers are JSON as DRF writes it."""

import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest
from django.utils.functional import lazystr
from rest_framework.renderers import JSONRenderer

from provisioner.common.models import LifeState
from provisioner.common.rendering import OrjsonRenderer

NOON = dt.datetime(2026, 11, 29, 12, 0, 0, 123456, dt.UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"text": 'naïve \N{SNOWMAN} " \\ \n \x00', "number": 2**63, "float": 0.1, "none": None},
        [True, LifeState.READY, lazystr("lazy"), Decimal("1.50"), uuid.UUID(int=7)],
        {"at": NOON, "day": NOON.date(), "for": dt.timedelta(seconds=90)},
    ],
)
def test_values_are_written_as_by_drf(value: object) -> None:
    assert OrjsonRenderer().render(value) == JSONRenderer().render(value)


@pytest.mark.parametrize("value", [{"sum": 2**64}, {1: "key"}])
def test_drf_writes_what_orjson_refuses(value: object) -> None:
    assert OrjsonRenderer().render(value) == JSONRenderer().render(value)


def test_separators_of_lines_are_not_escaped() -> None:
    """DRF escapes them for JavaScript. Both forms are the same text."""
    text = "\u2028 \u2029"
    assert json.loads(OrjsonRenderer().render([text])) == [text]
