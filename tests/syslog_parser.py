"""A small reader of RFC 5424, written from the RFC and not from our own code."""

import datetime as dt
from dataclasses import dataclass, field

BOM = "\ufeff"


@dataclass
class Parsed:
    priority: int
    at: dt.datetime
    host: str
    app_name: str
    process: str
    message_id: str
    data_id: str | None = None
    parameters: list[tuple[str, str]] = field(default_factory=list)
    message: str = ""


def parse(line: bytes) -> Parsed:
    """Parse a record.

    :raises ValueError, AssertionError: it is not a record of version 1 with a UTF-8 message.
    """
    text = line.decode("utf-8")
    header, version, at, host, app_name, process, message_id, rest = _split(text)
    assert version == "1"
    assert header.startswith("<")
    assert header.endswith(">")
    found = Parsed(
        int(header[1:-1]), dt.datetime.fromisoformat(at), host, app_name, process, message_id
    )
    end = 1 if rest.startswith("-") else _read_element(rest, found)
    assert rest[end : end + 2] == f" {BOM}"
    found.message = rest[end + 2 :]
    return found


def unframe(stream: bytes) -> list[bytes]:
    """Return the records of a stream with octet counting (RFC 6587)."""
    records = []
    while stream:
        length, _, stream = stream.partition(b" ")
        records.append(stream[: int(length)])
        assert len(records[-1]) == int(length)
        stream = stream[int(length) :]
    return records


def _split(text: str) -> list[str]:
    end = text.index(">") + 1
    return [text[:end], *text[end:].split(" ", 6)]


def _read_element(text: str, found: Parsed) -> int:
    """Read one SD-ELEMENT. Returns the position of its end."""
    assert text[0] == "["
    place = 1
    while text[place] not in " ]":
        place += 1
    found.data_id = text[1:place]
    while text[place] == " ":
        equals = text.index("=", place)
        assert text[equals + 1] == '"'
        value, end = _read_value(text, equals + 2)
        found.parameters.append((text[place + 1 : equals], value))
        place = end
    assert text[place] == "]"
    return place + 1


def _read_value(text: str, place: int) -> tuple[str, int]:
    value = ""
    while text[place] != '"':
        assert text[place] != "]", "must be escaped"
        if text[place] == "\\":
            place += 1
            assert text[place] in '"\\]', "nothing else is escaped"
        value += text[place]
        place += 1
    return value, place + 1
