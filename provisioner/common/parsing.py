"""Lenient reading of requests: names, numbers, nulls, query fields and ids in paths."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import IO, Any, ClassVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from provisioner.common.results import InvalidInput

INT64_MAX = 2**63 - 1
IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,64}")
ALIAS = re.compile(r"[A-Za-z0-9._-]{1,255}")
IDENTIFIER_RULE = "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"
ALIAS_RULE = "must be 1 to 255 characters of A-Z a-z 0-9 . _ -"
DIGITS = re.compile(r"\s*-?[0-9]+(\.0*)?\s*")
SECRET = re.compile(r"secret|password|token|licen[sc]e", re.IGNORECASE)
"""Names of fields whose values never appear in descriptions, because descriptions are logged."""
USER_IN_URL = re.compile(r"//[^/]*@")
"""A value with this may contain a password."""


class JSONObjectParser(BaseParser):
    """Accepts a JSON object only; an empty body is an empty object.

    :raises ParseError: HTTP 400, the body is not a JSON object in UTF-8, is nested too deeply, or
        contains NaN or Infinity.
    """

    media_type = "application/json"

    def accepts(self, content_type: str) -> bool:
        return content_type.partition(";")[0].strip().lower() in {"", self.media_type}

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            text = _bounded(stream).decode("utf-8-sig")
            data = json.loads(text, parse_constant=_refuse_constant) if text.strip() else {}
        except RecursionError as error:
            raise ParseError("the body is nested too deeply") from error
        except UnicodeDecodeError as error:
            raise ParseError(f"the body is not UTF-8: byte {error.start}") from error
        except ValueError as error:
            place = str(error).partition(";")[0]  # nothing of the body, which may have a secret
            raise ParseError(f"the body is not valid JSON: {place}") from error
        if not isinstance(data, dict):
            raise ParseError("the body is not a JSON object")
        return data


def _bounded(stream: IO[Any]) -> bytes:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body: bytes = stream.read(limit + 1)
    if len(body) > limit:
        raise RequestDataTooBig
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _absent(value: object, field: serializers.Field[Any, Any, Any, Any]) -> bool:
    if isinstance(value, list):
        return bool(value) and all(v is None for v in value)
    return value is None and not field.allow_null


class Input(serializers.Serializer[Any]):
    """Base of all input serializers.

    Names are trimmed and compared without regard to case. Unknown names are ignored. If a name
    appears twice, the last one counts. Null counts as absent unless the field allows it. A list of
    nulls always counts as absent. ``extensions``: fields beyond the reference.
    """

    extensions: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unused = [name for name in vars(cls) if name.startswith("validate_")]
        assert not unused, f"{cls.__name__} would not call {unused}: define validate instead"

    @cached_property
    def fields_by_name(self) -> dict[str, Any]:
        """The fields by their names in lower case, in the order of the class."""
        return {name.lower(): field for name, field in self.fields.items()}

    def to_internal_value(self, data: Any) -> Any:
        """As DRF does, but without work for fields that are absent and may be."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        given = {str(name).strip().lower(): value for name, value in data.items()}
        found, errors = {}, {}
        for name, field in self.fields_by_name.items():
            is_absent = name not in given or _absent(given[name], field)
            if is_absent and not field.required and field.default is serializers.empty:
                continue
            try:
                value = field.run_validation(serializers.empty if is_absent else given[name])
            except serializers.ValidationError as error:
                errors[field.field_name] = error.detail
            else:
                found[field.source] = value
        if errors:
            raise serializers.ValidationError(errors)
        return found

    def run_validators(self, value: Any) -> None:
        """Inputs have no validators of their own."""


class _Pattern(serializers.RegexField):
    """A text that matches ``pattern`` as a whole; ``rule`` says so."""

    def __init__(self, pattern: re.Pattern[str], rule: str, **kwargs: Any) -> None:
        self._pattern = pattern
        whole = re.compile(rf"^{pattern.pattern}\Z")
        super().__init__(whole, error_messages={"invalid": rule}, **kwargs)

    def run_validators(self, value: Any) -> None:
        """DRF's other validators refuse only texts that do not match. One looks at each
        character.
        """
        if not self._pattern.fullmatch(value):
            super().run_validators(value)


class Identifier(_Pattern):
    """An opaque id as clients send it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(IDENTIFIER, IDENTIFIER_RULE, **kwargs)


class Alias(_Pattern):
    """The name that a client gives to a volume or snapshot."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ALIAS, ALIAS_RULE, **kwargs)


class Whole(serializers.IntegerField):
    """A whole number from 0 (or ``min_value``) to 2^63-1. A string of digits is accepted, a boolean
    is not.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"min_value": 0, "max_value": INT64_MAX} | kwargs))

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or (isinstance(data, str) and not DIGITS.fullmatch(data)):
            self.fail("invalid")
        return super().to_internal_value(data)


def parse(serializer_class: type[Input], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the validated fields of a body or of a query string.

    :raises InvalidInput: names the first wrong field, its value and the rule that it breaks.
    """
    try:
        return dict(_built(serializer_class).run_validation(data))
    except serializers.ValidationError as error:
        path, rule = _first_error(error.detail)
        name = ".".join(path)
        value = _value_at(data, path)
        is_secret = value is not None and (SECRET.search(name) or USER_IN_URL.search(str(value)))
        raise InvalidInput.of(name, "..." if is_secret else value, rule) from error
    except RecursionError as error:
        raise InvalidInput("the values are nested too deeply") from error


@cache
def _built(serializer_class: type[Input]) -> Input:
    """Return one instance for all requests. Building its fields takes longer than reading a
    request, and an instance keeps nothing of a request.
    """
    return serializer_class()


def parse_body(serializer_class: type[Input], request: Request) -> dict[str, Any]:
    assert isinstance(request.data, Mapping)  # JSONObjectParser returns nothing else
    return parse(serializer_class, request.data)


def parse_query(serializer_class: type[Input], request: Request) -> dict[str, Any]:
    """Like :func:`parse`, for a query string. An empty query field counts as absent."""
    query = {name: value for name, value in request.query_params.items() if value != ""}
    return parse(serializer_class, query)


def ignored_fields(serializer_class: type[Input] | None, data: Mapping[str, Any]) -> list[str]:
    """Return the names in ``data`` that the serializer does not know, in the order in which they
    were sent.

    Names in nested objects have a path (``storageClass.numReplica``). Objects are checked to the
    depth of the serializer. Without a serializer, all names are unknown.
    """
    known = _built(serializer_class).fields_by_name if serializer_class else {}
    return list(dict.fromkeys(_unknown(known, data)))


def _unknown(known: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        field = known.get(str(name).strip().lower())
        if field is None:
            yield str(name).strip()
            continue
        item = getattr(field, "child", field)
        if not isinstance(item, Input):
            continue
        inner = item.fields_by_name
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                yield from (f"{field.field_name}.{path}" for path in _unknown(inner, one))


def _first_error(errors: Any) -> tuple[list[str], str]:
    if isinstance(errors, Mapping):
        name, inner = next((n, e) for n, e in errors.items() if e)
        path, rule = _first_error(inner)
        return ([] if name == "non_field_errors" else [str(name)]) + path, rule
    for index, inner in enumerate(errors):
        if isinstance(inner, Mapping | list):
            if inner:
                path, rule = _first_error(inner)
                return [str(index), *path], rule
        else:
            return [], str(inner)
    return [], "is invalid"


def _value_at(data: Any, path: list[str]) -> object:
    for name in path:
        if isinstance(data, Mapping):
            data = next(
                (v for n, v in data.items() if str(n).strip().lower() == name.lower()), None
            )
        elif isinstance(data, list) and name.isdigit():
            data = data[int(name)]
    return data


def path_identifiers(parts: Mapping[str, Any]) -> None:
    """Check the ids in a path.

    :raises InvalidInput: an id contains a character that is not allowed.
    """
    for name, value in parts.items():
        pattern, rule = (ALIAS, ALIAS_RULE) if name == "alias" else (IDENTIFIER, IDENTIFIER_RULE)
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise InvalidInput.of(name, value, rule)
