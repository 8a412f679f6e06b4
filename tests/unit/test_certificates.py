"""The pool's CA and its certificates: TLS accepts them, they are kept, and they are renewed in
time.
"""

import datetime as dt
import io
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management import CommandError, call_command

from provisioner import certificates
from provisioner.certificates import LEAF_LIFE, Authority
from provisioner.common.certificate_roles import CertificateRole, WrongRole, require_role


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_server_and_client_certificates_work_for_mutual_tls(tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    certificate, key = authority.server("server", ["localhost", "127.0.0.1"])
    client = authority.client("ssdtoolbox")
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path)
    server_side.load_cert_chain(certificate, key)
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cafile=authority.path)
    client_side.load_cert_chain(client)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer: list[object] = []

        def serve() -> None:
            with server_side.wrap_socket(listener.accept()[0], server_side=True) as connection:
                peer.append(connection.getpeercert())

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            socket.create_connection(listener.getsockname()) as plain,
            client_side.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.recv(1)
        thread.join(10)
    [shown] = peer
    assert isinstance(shown, dict)
    assert shown["subject"] == ((("commonName", "ssdtoolbox"),),)


def test_a_repeated_request_returns_the_same_certificates(tmp_path: Path) -> None:
    def everything() -> dict[str, bytes]:
        authority = Authority.of(tmp_path)
        authority.server("server", ["localhost"])
        authority.client("ssdtoolbox")
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert everything() == everything()


def test_keys_are_readable_only_by_their_owner(tmp_path: Path) -> None:
    authority = Authority.of(tmp_path / "tls")
    certificate, key = authority.server("server", ["localhost"])
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in (tmp_path / "tls", key, certificate, authority.path, authority.client("c"))
    }
    assert modes == {
        "tls": 0o700,
        "server.key": 0o600,
        "server.pem": 0o644,
        "ca.pem": 0o644,
        "c.pem": 0o600,
    }
    assert (tmp_path / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("share_left", "renewed"), [(0.4, False), (0.3, True)])
def test_certificates_are_renewed_with_their_key_in_the_last_third_of_their_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share_left: float, renewed: bool
) -> None:
    authority = Authority.of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "LEAF_LIFE", LEAF_LIFE * share_left)
        server, key = authority.server("server", ["localhost"])
        client = authority.client("c")
    before = (serial(server), serial(client))
    key_before, client_key_before = (
        key.read_bytes(),
        client.read_text().partition("-----BEGIN P")[2],
    )
    authority.server("server", ["localhost"])
    authority.client("c")
    changed = [
        old != new for old, new in zip(before, (serial(server), serial(client)), strict=True)
    ]
    assert changed == [renewed, renewed]
    assert key.read_bytes() == key_before
    assert client.read_text().partition("-----BEGIN P")[2] == client_key_before
    life_left = x509.load_pem_x509_certificate(server.read_bytes()).not_valid_after_utc
    assert (life_left - dt.datetime.now(dt.UTC) > LEAF_LIFE / 2) is renewed


def test_a_new_host_makes_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    server, _ = authority.server("server", ["localhost"])
    before = serial(server)
    authority.server("server", ["localhost", "10.0.0.7"])
    assert serial(server) != before
    names = x509.load_pem_x509_certificate(server.read_bytes()).extensions
    found = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in found] == [
        "localhost",
        "10.0.0.7",
        "urn:provisioner:role:api",
    ]


def test_the_file_of_the_balancer_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    authority.server("server", ["localhost"])
    pem = authority.balancer("server")
    assert oct(pem.stat().st_mode)[-3:] == "600"
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(pem)


def test_a_certificate_of_another_ca_is_replaced(tmp_path: Path) -> None:
    server, key = Authority.of(tmp_path).server("server", ["localhost"])
    before, key_before = serial(server), key.read_bytes()
    for name in ("ca.pem", "ca.key"):
        (tmp_path / name).unlink()
    Authority.of(tmp_path).server("server", ["localhost"])
    assert serial(server) != before
    assert key.read_bytes() == key_before


@pytest.mark.parametrize("role", CertificateRole)
def test_each_certificate_has_one_role(tmp_path: Path, role: CertificateRole) -> None:
    certificate = made(Authority.of(tmp_path), role)
    for wanted in CertificateRole:
        if wanted is role:
            require_role(certificate, wanted)
        else:
            with pytest.raises(WrongRole, match=f"has role {role}; {wanted} is required"):
                require_role(certificate, wanted)


def made(authority: Authority, role: CertificateRole) -> bytes:
    """Create a certificate of a role (DER). All use files of the same name."""
    make: dict[CertificateRole, Callable[[], Path]] = {
        CertificateRole.API: lambda: authority.server("one", ["localhost"])[0],
        CertificateRole.NODE: lambda: authority.node("one", ["localhost"])[0],
        CertificateRole.CLIENT: lambda: authority.client("one"),
        CertificateRole.PROVISIONER: lambda: authority.provisioner("one"),
    }
    pem = make[role]().read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def test_a_certificate_without_the_requested_role_is_replaced(tmp_path: Path) -> None:
    """The file has a certificate with another role, or without one, as from before roles."""
    authority = Authority.of(tmp_path)
    made(authority, CertificateRole.CLIENT)
    require_role(made(authority, CertificateRole.PROVISIONER), CertificateRole.PROVISIONER)


def test_a_node_certificate_is_valid_for_the_nodes_that_it_names(tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    for named, others in (((), ()), (("a", "b"), ("c",)), (("c",), ("a", "b"))):
        path, _ = authority.node("node", ["localhost"], named)
        pem = x509.load_pem_x509_certificate(path.read_bytes())
        certificate = pem.public_bytes(Encoding.DER)
        for node_id in (*named, None):
            require_role(certificate, CertificateRole.NODE, node_id=node_id)
        for node_id in others:
            with pytest.raises(WrongRole, match=f"not of {node_id}"):
                require_role(certificate, CertificateRole.NODE, node_id=node_id)


def test_the_command_creates_the_requested_certificates(tmp_path: Path) -> None:
    node = ("--storage-node", "--name", "node-1", "--persistent-id", "n1", "--host", "127.0.0.1")
    for arguments in ((), node):
        call_command("certificates", f"--dir={tmp_path}", *arguments, stdout=io.StringIO())
    roles = {
        "server": CertificateRole.API,
        "node-1": CertificateRole.NODE,
        "ssdtoolbox": CertificateRole.CLIENT,
        "provisioner": CertificateRole.PROVISIONER,
    }
    for name, role in roles.items():
        pem = x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes())
        require_role(pem.public_bytes(Encoding.DER), role, node_id="n1")
    with pytest.raises(CommandError, match="--storage-node"):
        call_command("certificates", f"--dir={tmp_path}", "--persistent-id", "n1")
