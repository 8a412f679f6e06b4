"""SIGHUP to a node's agent: new connections see the renewed certificate, or the old one if the new
one is unusable.
"""

import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.common.certificate_roles import CertificateRole
from tests.nodes.certificates import KeyPair, TestCa
from tests.system.stack import ROOT
from tests.waiting import eventually

WAIT_SECONDS = 60.0


class Nodes:
    """``manage.py simulate_nodes`` with separate files."""

    def __init__(self, ca: TestCa, pair: KeyPair, folder: Path) -> None:
        self._ca = ca
        self.pair = KeyPair(folder / "node.pem", folder / "node.key")
        self.log = folder / "log"
        self.install(pair)
        command = [sys.executable, str(ROOT / "manage.py"), "simulate_nodes", "--count", "1"]
        command += ["--certificate", str(self.pair.certificate), "--key", str(self.pair.key)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def install(self, pair: KeyPair) -> None:
        shutil.copy(pair.certificate, self.pair.certificate)
        shutil.copy(pair.key, self.pair.key)

    def shown(self) -> bytes:
        """Return the certificate that a new connection gets."""
        context = ssl.create_default_context(cafile=str(self._ca.file))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            certificate = secure.getpeercert(binary_form=True)
        assert certificate
        return certificate

    def reload_until(self, true: Callable[[], bool]) -> None:
        self.process.send_signal(signal.SIGHUP)
        eventually(true, seconds=WAIT_SECONDS, what=self.log.read_text)


def der(pair: KeyPair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


@pytest.fixture
def first(ca: TestCa) -> KeyPair:
    return ca.issue("first", CertificateRole.NODE)


@pytest.fixture
def nodes(ca: TestCa, first: KeyPair, tmp_path: Path) -> Iterator[Nodes]:
    running = Nodes(ca, first, tmp_path)
    yield running
    running.process.kill()
    running.process.communicate()


def test_new_connections_see_the_renewed_certificate(
    ca: TestCa, first: KeyPair, nodes: Nodes
) -> None:
    assert nodes.shown() == der(first)
    second = ca.issue("second", CertificateRole.NODE)
    nodes.install(second)
    assert nodes.shown() == der(first), "files alone change nothing"
    nodes.reload_until(lambda: nodes.shown() == der(second))


def test_an_unusable_certificate_is_not_loaded(ca: TestCa, first: KeyPair, nodes: Nodes) -> None:
    """The certificate has no key yet, as when only half of the files are written."""
    shutil.copy(ca.issue("half", CertificateRole.NODE).certificate, nodes.pair.certificate)
    nodes.reload_until(lambda: "was not renewed" in nodes.log.read_text())
    assert nodes.shown() == der(first)
