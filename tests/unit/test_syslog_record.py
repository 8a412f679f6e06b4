"""Records in RFC 5424, read back by the tests' own parser."""

import datetime as dt
import re
import string
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.syslog.record import Level, LoggingType, Record
from inventory.syslog.transport import Destination, framed
from tests.syslog_parser import parse, unframe

AT = dt.datetime(2026, 11, 23, 14, 15, 16, 7, tzinfo=dt.timezone(dt.timedelta(hours=2)))
PRINTABLE = string.ascii_letters + string.digits + string.punctuation
NAMES = st.text(sorted(set(PRINTABLE) - set('="]')), min_size=1, max_size=32)
NASTY = st.sampled_from(["\n<14>1 - h a - - - x", '"] [a b="', "\\", '\\"', "]", "\r\n", "\x85"])
TEXTS = st.one_of(st.text(), NASTY, st.lists(st.one_of(NASTY, st.text()), max_size=5).map("".join))
TEXTS = TEXTS.filter(lambda text: not any(unicodedata.category(c) == "Cs" for c in text))
RECORDS = st.builds(
    Record,
    at=st.datetimes(timezones=st.just(dt.UTC)),
    logging_type=st.sampled_from(LoggingType),
    level=st.sampled_from(Level),
    host=st.text(PRINTABLE, min_size=1, max_size=255),
    app_name=st.text(PRINTABLE, min_size=1, max_size=48),
    message=TEXTS,
    parameters=st.lists(st.tuples(NAMES, TEXTS), max_size=5),
)
SEVERITY = {"FATAL": 2, "ERROR": 3, "WARN": 4, "INFO": 6}
ENTERPRISES = st.integers(1, 2**32 - 1)


def record(**fields):
    plain: dict[str, Any] = {
        "at": AT,
        "logging_type": LoggingType.COMMAND,
        "level": Level.ERROR,
        "host": "TestHost",
        "app_name": "TestApp",
        "message": "TestMessage-forwardLogTest",
        "parameters": [("Test", "TestValue")],
    }
    return Record(**(plain | fields))


def encoded(**fields):
    return record(**fields).encoded(facility=16, enterprise_number=32473)


def shown(text):
    """The wire form of a value, computed in another way than in our code."""
    for name in ("NEXT LINE", "LINE SEPARATOR", "PARAGRAPH SEPARATOR"):
        text = text.replace(unicodedata.lookup(name), "␤")
    text = re.sub("[\x00-\x1f]", lambda m: bytes((0xE2, 0x90, 0x80 + ord(m[0]))).decode(), text)
    return re.sub("[\x80-\x9f]", "\N{REPLACEMENT CHARACTER}", text.replace("\x7f", "␡"))


def test_the_example_of_the_reference_is_encoded_exactly():
    assert encoded() == (
        b"<131>1 2026-11-23T12:15:16.000007Z TestHost TestApp - COMMAND "
        b'[parameters@32473 Test="TestValue"] \xef\xbb\xbfTestMessage-forwardLogTest'
    )


def test_a_record_without_parameters_has_no_structured_data():
    assert b" COMMAND - \xef\xbb\xbfTest" in encoded(parameters=())


@given(RECORDS, st.integers(0, 23), ENTERPRISES)
def test_any_record_reads_back_unchanged(given_record, facility, enterprise):
    line = given_record.encoded(facility=facility, enterprise_number=enterprise)
    found = parse(line)
    assert divmod(found.priority, 8) == (facility, SEVERITY[given_record.level])
    assert found.at == given_record.at
    assert (found.host, found.app_name) == (given_record.host, given_record.app_name)
    assert (found.process, found.message_id) == ("-", given_record.logging_type)
    assert found.parameters == [(name, shown(value)) for name, value in given_record.parameters]
    assert found.data_id == (f"parameters@{enterprise}" if given_record.parameters else None)
    assert found.message == shown(given_record.message)


@given(RECORDS)
def test_a_record_is_one_line_without_control_characters(given_record):
    line = given_record.encoded(facility=16, enterprise_number=32473).decode()
    assert len(line.splitlines()) == 1
    assert not [c for c in line if unicodedata.category(c) in {"Cc", "Zl", "Zp"}]


@given(st.text().filter(lambda t: t.isprintable()))
def test_printable_text_is_unchanged(text):
    line = encoded(message=text, parameters=[("p", text)])
    assert (parse(line).message, parse(line).parameters) == (text, [("p", text)])


@given(st.lists(RECORDS, max_size=5))
def test_framing_counts_octets(records):
    lines = [r.encoded(facility=16, enterprise_number=32473) for r in records]
    assert unframe(framed(lines)) == lines


@given(st.text(), st.text(), st.text())
def test_headers_that_could_be_forged_are_refused(host, app_name, name):
    """Such values are refused or harmless."""
    try:
        line = encoded(host=host, app_name=app_name, parameters=[(name, "v")])
    except ValueError:
        return
    found = parse(line)
    assert (found.host, found.app_name, found.parameters) == (host, app_name, [(name, "v")])


@pytest.mark.parametrize(
    "fields",
    [
        {"host": ""},
        {"host": "a b"},
        {"host": "h\n"},
        {"host": "ü"},
        {"host": "h" * 256},
        {"app_name": "a" * 49},
        {"app_name": "a\x7f"},
        {"parameters": [("", "v")]},
        {"parameters": [("n" * 33, "v")]},
        *[{"parameters": [(f"a{character}b", "v")]} for character in ' =]"\n\x00'],
    ],
)
def test_headers_are_printable_ascii_of_bounded_length(fields):
    with pytest.raises(ValueError, match="does not match"):
        record(**fields)


@pytest.mark.parametrize(
    ("url", "use_tls", "expected"),
    [
        ("udp://192.0.2.1:5140", False, ("udp", "192.0.2.1", 5140)),
        ("udp://192.0.2.1", False, ("udp", "192.0.2.1", 514)),
        ("tcp://[2001:db8::1]:6514", False, ("tcp", "2001:db8::1", 6514)),
        ("TCP://log.example.com", False, ("tcp", "log.example.com", 601)),
        ("tcp://192.0.2.1:6514", True, ("tls", "192.0.2.1", 6514)),
        ("tls://192.0.2.1", False, ("tls", "192.0.2.1", 6514)),
    ],
)
def test_urls_of_syslog_servers_are_parsed(url, use_tls, expected):
    found = Destination.of(url, use_tls=use_tls)
    assert (found.scheme, found.host, found.port) == expected


@pytest.mark.parametrize(
    ("url", "use_tls"),
    [
        ("192.0.2.1:514", False),
        ("http://192.0.2.1", False),
        ("tcp://", False),
        ("tcp://h:99999", False),
        ("udp://192.0.2.1:514", True),
        ("", False),
    ],
)
def test_malformed_urls_of_servers_are_refused(url, use_tls):
    with pytest.raises(ValueError):  # noqa: PT011 - some come from urllib
        Destination.of(url, use_tls=use_tls)
