"""Shared steps of the tests of the real server."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import urllib3
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.db import connection

from provisioner.certificates import Authority
from provisioner.common.certificate_roles import CertificateRole
from tests.nodes.certificates import KeyPair, TestCa

PROXY = "127.0.0.2"


CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH


class Server:
    """gunicorn with the database of the tests, and a CA for the certificates of its clients.

    An empty value unsets a variable. Without TLS_CERTIFICATE, TLS_KEY and TLS_CLIENT_CA, the server
    uses plain HTTP.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.authority = Authority.of(folder)
        certificate, key = self.authority.server("api", ["127.0.0.1"])
        self.client_certificate = str(self.authority.client("client"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log = folder / "log"
        settings = connection.settings_dict
        host = f"{settings['HOST'] or '127.0.0.1'}:{settings['PORT'] or 5432}"
        variables = {
            "DATABASE_URL": f"postgresql://{settings['USER']}@{host}/{settings['NAME']}",
            "API_PORT": str(self.port),
            "API_THREADS": "4",
            "PUBLIC_URL": f"https://127.0.0.1:{self.port}",
            "NODE_CA": str(self.authority.path),
            "NODE_CERTIFICATE": str(self.authority.provisioner()),
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "TLS_CERTIFICATE": str(certificate),
            "TLS_KEY": str(key),
            "TLS_CLIENT_CA": str(self.authority.path),
        } | environment
        self.scheme = "https" if variables["TLS_CERTIFICATE"] else "http"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
                env=os.environ | {name: value for name, value in variables.items() if value},
                stdout=log,
                stderr=log,
            )
        self._wait()

    def signed(self, folder: Path, role: CertificateRole | None) -> KeyPair:
        """Return a certificate of this CA that TLS accepts from clients, with this role or without
        a role.
        """
        shared = TestCa(folder / "callers", signed_by=self.authority)
        return shared.issue("caller", *filter(None, [role]), purposes=[CLIENT_AUTH])

    def context(self, *, certificate: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if certificate:
            context.load_cert_chain(self.client_certificate)
        return context

    def request(self, method, path, body=None, *, headers=None, certificate=True, source=None):
        context = self.context(certificate=certificate)
        with urllib3.PoolManager(
            ssl_context=context, retries=False, source_address=source and (source, 0)
        ) as http:
            return http.request(
                method, f"{self.scheme}://127.0.0.1:{self.port}{path}", body=body, headers=headers
            )

    def plain(self, text: bytes, source: str = "127.0.0.1", seconds: float = 10) -> bytes:
        """Send exactly these bytes without TLS, and return the answer."""
        with self.connected(source, seconds) as connected:
            connected.sendall(text)
            return connected.makefile("rb").read()

    def connected(self, source: str = "127.0.0.1", seconds: float = 10) -> socket.socket:
        """A connection without TLS."""
        place = ("127.0.0.1", self.port)
        return socket.create_connection(place, seconds, source_address=(source, 0))

    def connect(self, *, certificate: bool = True) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context(certificate=certificate).wrap_socket(plain, server_hostname="127.0.0.1")

    def raw(self, text: bytes, **how: bool) -> bytes:
        """Send exactly these bytes, and return the answer."""
        with self.connect(**how) as secure:
            secure.sendall(text)
            return secure.makefile("rb").read()

    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def _wait(self) -> None:
        until = time.monotonic() + 120
        while True:
            try:
                self.request("GET", "/healthz")
                return
            except urllib3.exceptions.HTTPError:
                assert time.monotonic() < until
                assert self.process.poll() is None
                time.sleep(0.1)
