"""Reading of requests and format of errors, over real HTTP."""

import json
import socket

import pytest

from provisioner.common.parsing import INT64_MAX
from tests.api.faulty_urls import SECRET_DETAIL
from tests.api.wire import refused, send

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.api.faulty_urls"),
]


@pytest.fixture
def call(live_server):
    def call(method, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return send(live_server.url, method, path, body, named)

    return call


@pytest.fixture
def echo(call):
    """A view that returns the fields that ``parse`` read from a body."""

    def echo(body):
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        answer = call("POST", "/echo", text)
        return answer.body["fields"] if answer.http == 200 else answer

    return echo


class TestFields:
    def test_field_names_are_trimmed_and_may_be_in_any_case(self, echo):
        given = {" mgmtPort ": 443, "CERTIFIED": True, "Inner": {" SIZE": 1}}
        assert echo(given) == {"mgmtPort": 443, "Certified": True, "inner": {"size": 1}}

    def test_unknown_fields_are_ignored(self, echo):
        assert echo({"mgmtPort": 1, "no": {"such": ["field", None]}}) == {"mgmtPort": 1}

    @pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
    def test_no_body_is_an_empty_object(self, echo, body):
        assert echo(body) == {}

    @pytest.mark.parametrize(
        ("given", "value"),
        [("20", 20), (" 20 ", 20), (20.0, 20), ("20.0", 20), (0, 0), (INT64_MAX, INT64_MAX)],
    )
    def test_numbers_may_be_texts_or_have_a_zero_fraction(self, echo, given, value):
        assert echo({"mgmtPort": given}) == {"mgmtPort": value}

    @pytest.mark.parametrize(
        "given",
        [
            True, -1, 1.5, "1.5", "", "x", "1_0", "٣", "0x10", [1], {"a": 1}, INT64_MAX + 1,
            10**400, "9" * 999, "9" * 5000,
        ],
    )  # fmt: skip
    def test_values_that_are_no_whole_numbers_are_refused(self, echo, given):
        answer = echo({"mgmtPort": given})
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert answer.description.startswith("mgmtPort = ")
        assert len(answer.description) < 300

    @pytest.mark.parametrize("given", ["1e400", "-1e400", '"nan"', '"inf"', "1" * 400, "[]"])
    def test_numbers_that_are_not_finite_are_refused(self, echo, given):
        answer = echo(f'{{"ratio": {given}}}')
        assert (answer.http, answer.status) == (400, "InvalidInput")

    @pytest.mark.parametrize("name", ["mgmtPort", "Certified", "alias", "zones", "inner"])
    def test_lists_of_nulls_count_as_absent(self, echo, name):
        assert echo({name: [None, None]}) == {}

    @pytest.mark.parametrize("name", ["mgmtPort", "Certified", "alias", "inner"])
    def test_null_counts_as_absent(self, echo, name):
        assert echo({name: None}) == {}

    def test_null_and_empty_are_kept_if_the_field_allows_them(self, echo):
        assert echo({"rack": None, "zones": []}) == {"rack": None, "zones": []}
        assert echo({"rack": ""}) == {"rack": ""}

    def test_the_last_value_of_a_repeated_name_counts(self, echo):
        assert echo('{"mgmtPort": 1, "mgmtPort": 2}') == {"mgmtPort": 2}
        assert echo('{"mgmtPort": 1, "MGMTPORT": 2}') == {"mgmtPort": 2}

    def test_required_fields_are_named_with_their_path(self, echo):
        answer = echo({"inner": {"size": None}})
        assert answer.description == "inner.size = None: This field is required."
        answer = echo({"zones": ["a", ["b"]]})
        assert answer.description == "zones.1 = ['b']: Not a valid string."

    @pytest.mark.parametrize("text", ["a\0b", "\0", "a\ud800", "\udfff"])
    def test_characters_that_no_database_stores_are_refused(self, echo, text):
        for fields in ({"rack": text}, {"alias": text}, {"zones": [text]}):
            answer = echo(fields)
            assert (answer.http, answer.status) == (400, "InvalidInput")

    def test_long_values_are_shortened_in_the_description(self, echo):
        answer = echo({"rack": "x" * 100_000})
        assert answer.description == (
            f"rack = 'x{'x' * 75}...: Ensure this field has no more than 255 characters."
        )

    def test_secrets_are_not_in_descriptions(self, echo):
        assert echo({"clientSecret": "hunter2!"}).description == (
            "clientSecret = '...': Ensure this field has no more than 4 characters."
        )

    @pytest.mark.parametrize("depth", [50, 500, 800, 900, 1000, 5000, 50_000])
    def test_deeply_nested_bodies_are_refused(self, echo, depth):
        deep = "[" * depth + "]" * depth
        for name in ("mgmtPort", "rack", "zones", "inner", "alias"):
            answer = echo(f'{{"{name}": {deep}}}')
            assert answer.http == 400
            assert answer.status in {"InvalidInput", "BadRequest"}


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"[]", b'"x"', b"1", b"null", b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}',
            b'{"a": "\xff"}', b"\xff\xfe{\x00}\x00", b"a=1", b'{"a": 1} x', b"\x00", b'{"a": "\n"}',
            b'{"a": ' + b"9" * 5000 + b"}",
        ],
    )  # fmt: skip
    def test_a_body_that_is_no_json_object_is_refused(self, call, body):
        refused(call("POST", "/echo", body), 400, "BadRequest")

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b'{"a": 1,\n}', "not valid JSON: Expecting property name"),
            (b'{"a": 1,\n}', "line 2 column 1"),
            (b'{"a": NaN}', "NaN is not JSON"),
            (b'{"a": ' + b"9" * 5000 + b"}", "the limit (4300 digits)"),
            (b'{"a": "\xff"}', "not UTF-8: byte 7"),
            (b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        ],
    )
    def test_a_refused_body_is_said_what_is_wrong(self, call, body, said):
        description = refused(call("POST", "/echo", body), 400, "BadRequest")
        assert said in description
        assert "99" not in description
        assert "sys." not in description

    def test_a_byte_order_mark_is_ignored(self, call):
        assert call("POST", "/echo", b'\xef\xbb\xbf{"rack": "r1"}').http == 200

    def test_a_body_that_is_too_large_is_refused(self, call, settings):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        fits = b'{"rack": "' + b" " * (limit - 12) + b'"}'
        assert len(fits) == limit
        assert call("POST", "/echo", fits).http == 200
        refused(call("POST", "/echo", fits + b" "), 413, "PayloadTooLarge")
        refused(call("POST", "/echo", b"x" * 20_000_000), 413, "PayloadTooLarge")

    @pytest.mark.parametrize(
        "content_type",
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "x"],
    )
    def test_another_media_type_is_refused(self, call, content_type):
        answer = call("POST", "/echo", b"{}", Content_Type=content_type)
        refused(answer, 415, "UnsupportedMediaType")

    @pytest.mark.parametrize(
        "content_type", ["", "application/json; charset=utf-8", "APPLICATION/JSON;x=y"]
    )
    def test_json_with_parameters_or_in_capitals_is_accepted(self, call, content_type):
        answer = call("POST", "/echo", b'{"rack": "\xc3\xa9"}', Content_Type=content_type)
        assert answer.body["fields"] == {"rack": "é"}

    @pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense", ""])
    def test_the_answer_is_json_whatever_the_accept_header_says(self, call, accept):
        assert call("POST", "/echo", b"{}", Accept=accept).status == "Success"

    def test_a_body_that_ends_too_early_is_refused(self, live_server):
        head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        answer = _raw(live_server, f'{head}Content-Length: 100\r\n\r\n{{"rack": "a')
        assert answer.startswith(b"HTTP/1.1 400 ")


class TestPaths:
    @pytest.mark.parametrize("path", ["/info", "/info/", "/info//", "/info/?a=b"])
    def test_a_trailing_slash_is_optional(self, call, path):
        assert call("GET", path).http == 200

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"])
    @pytest.mark.parametrize("path", ["/nothing", "/echo/a/b", "/nothing/%00%ff", "/%0a"])
    def test_unknown_paths_are_not_found(self, call, method, path):
        refused(call(method, path), 404, "NotFound")

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"])
    def test_the_root_allows_only_get_and_head(self, call, method):
        refused(call(method, "/"), 404, "NotFound")

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"])
    def test_unknown_methods_are_refused(self, call, method):
        answer = call(method, "/echo")
        refused(answer, 405, "MethodNotAllowed")
        assert answer.headers["Allow"] == "GET, HEAD, POST"

    def test_head_is_get_without_the_body(self, call):
        answer = call("HEAD", "/info")
        assert (answer.http, answer.body) == (200, "")
        assert refused(call("GET", "/nothing"), 404, "NotFound")
        assert call("HEAD", "/nothing").http == 404

    @pytest.mark.parametrize("thing", ["a b", "a%00", "%ff", "a%2", "x" * 65, "ä", "a%0a"])
    def test_malformed_ids_in_paths_are_refused(self, call, thing):
        answer = call("GET", f"/echo/{thing}")
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert answer.description.startswith("thing = ")

    def test_requests_for_other_host_names_are_refused(self, call, settings):
        settings.ALLOWED_HOSTS = ["api.example"]
        refused(call("GET", "/info", Host="evil.example"), 400, "BadRequest")
        assert call("GET", "/info", Host="api.example").http == 200


class TestQueries:
    def test_query_names_may_be_in_any_case(self, call):
        answer = call("GET", "/echo?LIMIT=5&Offset=2")
        assert answer.body["fields"] == {"limit": 5, "offset": 2}

    def test_empty_query_fields_count_as_absent(self, call):
        assert call("GET", "/echo?limit=&offset&marker=").body["fields"] == {}

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0", "limit=-1", "limit=x", "limit=1.5", "offset=-1", f"offset={INT64_MAX + 1}",
            "limit=" + "9" * 5000, "limit=%ff", "limit=%00", "marker=%00", "marker=%ff",
            "marker=a+b", "marker=" + "x" * 65, "offset=%D9%A3",
        ],
    )  # fmt: skip
    def test_wrong_query_values_are_refused_and_named(self, call, query):
        answer = call("GET", f"/echo?{query}")
        assert (answer.http, answer.status) == (400, "InvalidInput")
        assert answer.description.startswith(query.partition("=")[0])

    @pytest.mark.parametrize(
        "query",
        [f"offset={INT64_MAX}", f"offset={INT64_MAX}&limit={INT64_MAX}", f"limit={INT64_MAX}"],
    )
    def test_the_largest_limit_and_offset_are_accepted(self, call, query):
        assert call("GET", f"/echo?{query}").body["ids"] == []

    @pytest.mark.parametrize("query", ["%", "%%%", "=", "&&&", "a=%zz", ";", "%00=%00", "\x7f"])
    def test_malformed_query_parts_are_ignored(self, call, query):
        assert call("GET", f"/echo?{query}").http == 200

    def test_a_query_of_very_many_fields_is_refused(self, call):
        refused(call("GET", "/echo?" + "a=1&" * 2000), 400, "BadRequest")


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", "/faulty"), ("PUT", "/faulty"), ("GET", "/plain_fault?kind=bug")],
    )
    def test_a_bug_is_logged_and_its_details_are_not_in_the_answer(
        self, call, caplog, method, path
    ):
        description = refused(call(method, path), 500, "InternalError")
        assert description == "HTTP Status 500 - internal error; the log has the details"
        [record] = [r for r in caplog.records if r.exc_info]
        assert record.name == "provisioner.common.api"
        assert (SECRET_DETAIL in str(record.exc_info[1])) == (method == "GET")

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/faulty"), ("GET", "/plain_fault?kind=database")]
    )
    def test_a_database_outage_is_answered_with_503(self, call, caplog, method, path):
        description = refused(call(method, path), 503, "ServiceUnavailable")
        assert SECRET_DETAIL not in description
        [record] = [r for r in caplog.records if r.name == "provisioner.common.api"]
        assert SECRET_DETAIL in record.reason

    def test_a_bad_request_of_django_has_the_envelope(self, call):
        refused(call("GET", "/plain_fault?kind=bad"), 400, "BadRequest")

    def test_a_request_without_credentials_is_refused(self, call):
        answer = call("GET", "/tasks")
        refused(answer, 401, "Unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="provisioner", charset="UTF-8"'

    def test_a_caller_without_permission_is_refused(self, api):
        refused(api.as_role("NODE").get("/tasks"), 403, "Forbidden")

    def test_an_operation_without_a_line_in_the_table_is_refused_to_all(self, api):
        refused(api.get("/unlisted"), 403, "Forbidden")


def _raw(live_server, text):
    """Send ``text`` and nothing more. Returns the answer."""
    address = (live_server.thread.host, live_server.thread.port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()
