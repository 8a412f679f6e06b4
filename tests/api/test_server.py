"""Behaviour that only the real server shows: gunicorn with TLS, as in the embedded form."""

import base64
import contextlib
import json
import re
import time

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from provisioner.certificates import Authority
from provisioner.common.certificate_roles import CertificateRole
from tests.api.server_steps import PROXY, Server
from tests.api.wire import ADMIN

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def servers(django_db_setup, django_db_blocker, tmp_path_factory):
    """Starts servers, and stops them."""
    started = []

    def start(**environment):
        with django_db_blocker.unblock():
            started.append(Server(tmp_path_factory.mktemp("certificates"), **environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def server(servers):
    return servers()


@pytest.fixture(scope="module")
def strict_server(servers):
    """A server that requires client certificates, and trusts a proxy to check them."""
    return servers(REQUIRE_CLIENT_CERTIFICATE="true", TRUSTED_PROXIES=PROXY)


UNFINISHED = [b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"Content-Length: 5\r\n\r\n{"]


def chunked(*pieces: bytes, authorization: str) -> bytes:
    lines = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return (
        b"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: " + authorization.encode() + b"\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(lines)
        + b"0\r\n\r\n"
    )


class TestConnections:
    def test_a_client_that_stays_after_an_error_delays_nobody(self, server):
        with contextlib.ExitStack() as stay:
            for _ in range(8):
                stay.enter_context(server.connect()).sendall(b"nonsense\r\n\r\n")
            answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


class TestRequests:
    def test_a_chunked_body_is_read(self, server, admin_header):
        body = iter([b'{"expir', b'ation": 7', b"}"])
        answer = server.request("POST", "/token", body, headers=JSON | admin_header)
        assert json.loads(answer.data)["description"].startswith("expiration = 7: ")

    def test_a_chunked_body_that_is_too_large_is_refused(self, server, admin_header):
        body = (b" " * 65536 for _ in range(32))
        answer = server.request("POST", "/token", body, headers=JSON | admin_header)
        assert (answer.status, json.loads(answer.data)["status"]) == (413, "PayloadTooLarge")

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            (b"2\r\n{}", b"zz\r\n{}"),
            (b"0\r\n\r\n", b"0\r\na: b\n\r\n"),
            (b"0\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
        ],
    )
    def test_a_broken_chunk_is_refused(self, server, admin_header, right, wrong):
        sent = chunked(b"{}", authorization=admin_header["Authorization"])
        assert (answer := server.raw(sent.replace(right, wrong))).startswith(b"HTTP/1.1 400 ")
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"status", "description"}

    def test_a_chunked_body_that_arrives_slowly_delays_no_other(self, server, admin_header):
        sent = chunked(b"{}", authorization=admin_header["Authorization"])
        with server.connect() as slow:
            slow.sendall(sent[:-5])
            time.sleep(0.5)  # a thread reads it, and waits for the end
            assert server.raw(sent).startswith(b"HTTP/1.1 200 ")
            slow.sendall(sent[-5:])  # in time
            assert slow.recv(100).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("body", UNFINISHED)
    def test_the_body_of_an_unknown_caller_is_not_awaited(self, server, strict_server, body):
        for asked, certificate, http in ((server, True, b"401"), (strict_server, False, b"403")):
            sent = b"POST /token HTTP/1.1\r\nHost: x\r\n" + body
            with asked.connect(certificate=certificate) as client:
                client.sendall(sent)
                assert client.recv(100).startswith(b"HTTP/1.1 " + http)

    def test_a_connection_is_kept_if_its_bodies_were_read(self, server, admin_header):
        with urllib3.PoolManager(ssl_context=server.context(certificate=True)) as http:
            url = f"https://127.0.0.1:{server.port}/token"
            for body in (b"{}", iter([b"{", b"}"]), b"", iter([])):
                http.request("POST", url, body=body, headers=JSON | admin_header)
            assert http.connection_from_url(url).num_connections == 1

    @pytest.mark.parametrize("length", [b"-1", b"x", b"1e3", b""])
    def test_an_invalid_content_length_is_refused(self, server, length):
        head = b"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
        answer = server.raw(head + length + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"status", "description"}

    @pytest.mark.parametrize("charset", ["hex", "undefined", "base64", "idna", "utf-16", "no-such"])
    def test_charsets_are_ignored(self, server, charset):
        kind = {"Content-Type": f"application/json; charset={charset}"}
        for query in ("a=%C3%A9", "a=1&" * 1500):
            assert server.request("GET", f"/info?{query}", headers=kind).status == 200

    def test_head_has_no_body(self, server):
        answer = server.raw(b"HEAD /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b""


class TestClientCertificates:
    def test_no_certificate_is_needed_unless_required(self, server):
        assert server.request("GET", "/info", certificate=False).status == 200

    def test_a_certificate_verified_on_this_connection_is_accepted(self, strict_server):
        assert strict_server.request("GET", "/info", certificate=True).status == 200

    def test_a_caller_without_a_certificate_is_refused_with_the_reason(self, strict_server):
        answer = strict_server.request("GET", "/info", certificate=False)
        assert answer.status == 403
        assert json.loads(answer.data) == {
            "status": "Forbidden",
            "description": "HTTP Status 403 - a client certificate is required, and none was "
            "verified",
        }

    def test_a_certificate_of_another_ca_is_refused(self, strict_server, tmp_path):
        context = strict_server.context(certificate=False)
        context.load_cert_chain(Authority.of(tmp_path).client("stranger"))
        with (
            urllib3.PoolManager(ssl_context=context, retries=False) as http,
            pytest.raises(urllib3.exceptions.HTTPError),
        ):
            http.request("GET", f"https://127.0.0.1:{strict_server.port}/info")

    @pytest.mark.parametrize("role", [*CertificateRole, None])
    def test_a_certificate_of_another_role_is_refused(self, strict_server, tmp_path, role):
        pair = strict_server.signed(tmp_path, role)
        context = strict_server.context(certificate=False)
        context.load_cert_chain(pair.certificate, pair.key)
        with urllib3.PoolManager(ssl_context=context, retries=False) as http:
            answer = http.request("GET", f"https://127.0.0.1:{strict_server.port}/info")
        assert answer.status == (200 if role is CertificateRole.CLIENT else 403)
        if answer.status == 403:
            held = f"has role {role}" if role else "has no role"
            assert (
                f"'CN=caller' {held}; client is required" in json.loads(answer.data)["description"]
            )

    @pytest.mark.parametrize("role", [*CertificateRole, None])
    def test_a_certificate_reported_by_the_proxy_needs_the_client_role(
        self, strict_server, tmp_path, role
    ):
        certificate = x509.load_pem_x509_certificate(
            strict_server.signed(tmp_path, role).certificate.read_bytes()
        )
        encoded = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": encoded}
        answer = strict_server.request(
            "GET", "/info", headers=headers, certificate=False, source=PROXY
        )
        assert answer.status == (200 if role is CertificateRole.CLIENT else 403)

    @pytest.mark.parametrize("encoded", ["", "x", "AAAA", "===="])
    def test_a_malformed_certificate_header_is_refused(self, strict_server, encoded):
        headers = {"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-Cert": encoded}
        answer = strict_server.request(
            "GET", "/info", headers=headers, certificate=False, source=PROXY
        )
        assert answer.status == 403

    @pytest.mark.parametrize(
        ("source", "verify", "http"),
        [
            (PROXY, "SUCCESS", 200),
            (PROXY, "FAILED:expired", 403),
            (PROXY, "success", 403),
            (PROXY, None, 403),
            (None, "SUCCESS", 403),
        ],
    )
    def test_only_the_proxy_may_report_a_certificate(self, strict_server, source, verify, http):
        headers = {"X-SSL-Client-Verify": verify} if verify else {}
        answer = strict_server.request(
            "GET", "/info", headers=headers, certificate=False, source=source
        )
        assert answer.status == http

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/"])
    def test_health_checks_need_no_certificate(self, strict_server, path):
        assert strict_server.request("GET", path, certificate=False).status == 200

    @pytest.mark.parametrize("path", ["/probe", "/metrics", "/probe/"])
    def test_probe_and_metrics_need_no_certificate(self, strict_server, path):
        method = "GET" if path == "/metrics" else "POST"
        headers = {"Authorization": "Bearer none"}
        answer = strict_server.request(method, path, headers=headers, certificate=False)
        assert answer.status == 401

    def test_passwords_are_not_checked_without_a_certificate(self, strict_server):
        headers = {"Authorization": "Basic eDp5"}
        answer = strict_server.request("POST", "/probe", headers=headers, certificate=False)
        assert answer.status == 403


class TestLog:
    def test_every_line_is_a_json_object(self, server):
        server.request("GET", "/nothing")
        lines = [json.loads(line) for line in server.log()]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)

    def test_a_request_has_one_line_with_its_id_and_its_caller(self, server, admin_header):
        headers = admin_header | {"X-Request-ID": "order-66"}
        answer = server.request("GET", "/tasks?hostId=h1", headers=headers)
        assert answer.headers["X-Request-ID"] == "order-66"
        [line] = _lines_of(server, "order-66", logger="provisioner.request")
        assert line["message"] == "GET /tasks 200"
        assert (line["level"], line["caller"], line["client"]) == ("INFO", "admin", "127.0.0.1")
        assert line["milliseconds"] > 0

    def test_a_refusal_has_the_same_id(self, server, admin_header):
        headers = JSON | admin_header | {"X-Request-ID": "order-67"}
        server.request("POST", "/token", b'{"expiration": 5}', headers=headers)
        [line] = _lines_of(server, "order-67", logger="provisioner.common.api")
        assert (line["message"], line["code"], line["caller"]) == (
            "refused",
            "InvalidInput",
            "admin",
        )

    @pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, '"}', "ä"])
    def test_a_malformed_request_id_is_replaced(self, server, given):
        headers = {"X-Request-ID": given} if given is not None else {}
        made = server.request("GET", "/info", headers=headers).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", made)

    def test_the_caller_of_one_request_is_not_that_of_the_next(self, server, admin_header):
        for number in range(8):
            headers = {"X-Request-ID": f"next-{number}"} | (admin_header if number % 2 else {})
            server.request("GET", "/tasks", headers=headers)
            [line] = _lines_of(server, f"next-{number}", logger="provisioner.request")
            assert line["caller"] == ("admin" if number % 2 else "")

    def test_the_log_has_the_client_address_from_the_proxy(self, strict_server):
        headers = {"X-SSL-Client-Verify": "SUCCESS", "X-Request-ID": "via"}
        for hops, client in [
            ("10.0.0.1", "10.0.0.1"),
            ("6.6.6.6, 10.0.0.1", "10.0.0.1"),
            (f"10.0.0.1, {PROXY}", "10.0.0.1"),
            ("10.0.0.1, nonsense", PROXY),
            ("", PROXY),
        ]:
            forwarded = headers | {"X-Forwarded-For": hops}
            strict_server.request("GET", "/info", headers=forwarded, source=PROXY)
            assert _lines_of(strict_server, "via")[-1]["client"] == client
        strict_server.request("GET", "/info", headers=headers | {"X-Forwarded-For": "10.0.0.9"})
        assert _lines_of(strict_server, "via")[-1]["client"] == "127.0.0.1"

    def test_a_path_cannot_forge_a_line(self, server):
        server.request("GET", "/a%0a%22b", headers={"X-Request-ID": "forged"})
        [line] = _lines_of(server, "forged")
        assert line["message"] == "GET /a%0A%22b 404"

    def test_no_secret_is_in_any_line(self, server, admin_header):
        token = json.loads(server.request("POST", "/token", headers=admin_header).data)["token"]
        bad = token[:-4] + "AAAA"
        for header in (
            *admin_header.values(),
            f"Bearer {token}",
            f"Bearer {bad}",
            "Basic c2VjcmV0",
        ):
            for path in ("/tasks", f"/tasks?token={token}", "/token"):
                server.request("GET", path, headers={"Authorization": header})
        credentials = admin_header["Authorization"].partition(" ")[2]
        log = "\n".join(server.log())
        assert "GET /tasks 200" in log
        secrets = [ADMIN[1], credentials, token, bad, token.split(".")[2], "c2VjcmV0"]
        assert [secret for secret in secrets if secret in log] == []
        assert "Authorization" not in log


def _lines_of(server, request_id, **fields):
    """The log lines of one request with these fields."""
    wanted = {"request_id": request_id} | fields
    lines = [json.loads(line) for line in server.log()]
    return [line for line in lines if wanted.items() <= line.items()]


@pytest.mark.parametrize("chunked_body", [False, True])
def test_an_answer_arrives_whole_although_the_body_was_not_read(plain_server, chunked_body):
    """If the server closed the connection at once, a reset would discard the answer."""
    body = b"x" * 32_768
    size = b"Transfer-Encoding: chunked" if chunked_body else b"Content-Length: %d" % len(body)
    head = b"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + size + b"\r\n\r\n"
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked_body else body
    with plain_server.connected() as connected:
        connected.sendall(head + sent)
        time.sleep(0.5)  # the server has answered
        answer = connected.makefile("rb").read()
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 403 "))
    assert b'"description"' in answer
