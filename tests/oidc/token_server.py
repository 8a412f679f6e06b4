"""An authorization server of the tests that misbehaves as it is told to."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

ISSUER = "https://issuer.test"
PROVISIONER, NODES = "prov", "nodes"
SECRETS = {PROVISIONER: "s3cret & of prov=", NODES: "s3cret of nödes"}


class Reply(NamedTuple):
    """A reply that is sent, after ``seconds``, instead of the correct one."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = {}  # noqa: RUF012
    seconds: float = 0


def new_key() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def key(number: int) -> RSAPrivateKey:
    """Return a key for the number. Creating a key takes some time, so it is cached."""
    return new_key()


def pem(key: RSAPrivateKey) -> str:
    """Return the public key."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def jwk(key: Any, kid: str | None, algorithm: str = "RS256", **fields: Any) -> dict[str, Any]:
    shown = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**shown, "use": "sig", "alg": algorithm, **({"kid": kid} if kid else {}), **fields}


class TokenServer:
    """A server that runs until ``close``. With a certificate, it uses https.

    ``broken``: replies by path, or by client at ``/token``. ``claims``: changes of the claims of a
    client, or of the header with ``header``. ``asked``: the forms that were received.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.key = key(0)
        self.published = [jwk(self.key, "k1")]
        self.kid = "k1"
        self.sign: Callable[[str, dict[str, Any]], str] = self.signed
        self.broken: dict[str, Reply] = {}
        self.claims: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, str]] = []
        self.fetched: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        scheme = "http"
        if certificate:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def body(self, **changes: Any) -> dict[str, Any]:
        """Return the body of POST /auth_server. Values of None are omitted."""
        body = {
            "authorizationServerTokenURL": f"{self.url}/token",
            "authorizationServerJwkSetURL": f"{self.url}/jwks",
            "authorizationServerIssuer": ISSUER,
            "authorizationServerAudience": "provisioner",
            "provisionerClientID": PROVISIONER,
            "provisionerResourceID": "prov-resource",
            "provisionerClientSecret": SECRETS[PROVISIONER],
            "backendsClientID": NODES,
            "backendsResourceID": "nodes-resource",
            "backendsClientSecret": SECRETS[NODES],
        } | changes
        return {name: value for name, value in body.items() if value is not None}

    def token(self, client: str = PROVISIONER, **changes: Any) -> str:
        """Return a token in the form that Keycloak uses. Claims of None are omitted."""
        now = int(time.time())
        access = {
            PROVISIONER: {"prov-resource": {"roles": ["ADMIN"]}},
            NODES: {"nodes-resource": {"roles": ["ADMIN"]}},
        }
        claims = {
            "iss": ISSUER,
            "aud": "provisioner",
            "azp": client,
            "iat": now,
            "exp": now + 300,
            "resource_access": access.get(client, {}),
        }
        claims |= self.claims.get(client, {}) | changes
        return self.sign(client, {n: value for n, value in claims.items() if value is not None})

    def signed(self, client: str, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.kid})

    def answer(self, path: str, form: dict[str, str]) -> Reply:
        self.fetched.append(path)
        if path == "/jwks":
            right = Reply(body=json.dumps({"keys": self.published}).encode())
            return self.broken.get(path, right)
        self.asked.append(form)
        client = form.get("client_id", "")
        if reply := self.broken.get(path) or self.broken.get(client):
            return reply
        if path != "/token" or form.get("client_secret") != SECRETS.get(client):
            return Reply(401, b'{"error": "invalid_client"}')
        token = {"access_token": self.token(client), "expires_in": 300, "token_type": "Bearer"}
        return Reply(body=json.dumps(token).encode())


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            self._send(server.answer(self.path, form))

        def do_GET(self) -> None:
            self._send(server.answer(self.path, {}))

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.seconds)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                """The caller did not wait."""

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Not to stderr."""

    return Handler
