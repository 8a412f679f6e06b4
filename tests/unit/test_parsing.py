"""Parsing any input ends with fields or with one of two refusals."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from provisioner.common.api import envelope
from provisioner.common.pagination import PageInput
from provisioner.common.parsing import (
    INT64_MAX,
    JSONObjectParser,
    Whole,
    parse,
    path_identifiers,
)
from provisioner.common.results import InvalidInput
from tests.api.faulty_urls import EchoInput

NAMES = st.sampled_from([*EchoInput().fields, " MGMTPORT ", "clientsecret"]) | st.text()
TEXT = st.text(st.characters(exclude_categories=[]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES))
def test_any_object_is_parsed_or_refused(body):
    try:
        fields = parse(EchoInput, body)
    except InvalidInput as refusal:
        text = json.dumps(envelope(refusal.code, refusal.description), ensure_ascii=False)
        assert len(text.encode()) < 4000
    else:
        json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_parsed_or_refused(body):
    try:
        parsed = JSONObjectParser().parse(io.BytesIO(body))
    except ParseError:
        return
    assert isinstance(parsed, dict)


@given(st.dictionaries(st.sampled_from(["limit", "OFFSET", "marker", "x"]), TEXT))
def test_any_query_is_parsed_or_refused(query):
    try:
        fields = parse(PageInput, query)
    except InvalidInput:
        return
    assert 0 <= fields.get("offset", 0) <= INT64_MAX


@given(TEXT)
def test_any_path_is_parsed_or_refused(text):
    try:
        path_identifiers({"volume": text, "alias": text})
    except InvalidInput:
        return
    assert 0 < len(text) <= 64
    assert text.isascii()


@pytest.mark.parametrize(
    ("bounds", "accepted", "refused"),
    [({}, [0, INT64_MAX], [-1, INT64_MAX + 1]), ({"min_value": 3, "max_value": 5}, [3, 5], [2, 6])],
)
def test_whole_numbers_outside_of_their_bounds_are_refused(bounds, accepted, refused):
    field = Whole(**bounds)
    assert [field.run_validation(value) for value in accepted] == accepted
    for value in refused:
        with pytest.raises(Exception, match="Ensure this value is"):
            field.run_validation(value)


def test_long_rules_and_values_are_shortened():
    refusal = InvalidInput.of("field", "v" * 1000, "r" * 1000)
    assert refusal.description == f"field = '{'v' * 76}...: {'r' * 197}..."


@pytest.mark.parametrize("name", ["clientSecret", "password", "authToken", "license", "a.0.SECRET"])
def test_fields_with_secrets_are_recognised_by_name(name):
    from provisioner.common.parsing import SECRET

    assert SECRET.search(name)
