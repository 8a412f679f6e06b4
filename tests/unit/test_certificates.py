"""The pool's CA and what it signs: usable by TLS, kept, renewed in time."""

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from provisioner import certificates
from provisioner.certificates import LEAF_LIFE, Authority


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_server_and_client_meet_in_mutual_tls(tmp_path: Path) -> None:
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


def test_asking_again_changes_nothing(tmp_path: Path) -> None:
    def everything() -> dict[str, bytes]:
        authority = Authority.of(tmp_path)
        authority.server("server", ["localhost"])
        authority.client("ssdtoolbox")
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert everything() == everything()


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
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
    assert [str(name.value) for name in found] == ["localhost", "10.0.0.7"]


def test_the_balancers_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    authority.server("server", ["localhost"])
    pem = authority.balancer("server")
    assert oct(pem.stat().st_mode)[-3:] == "600"
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(pem)


def test_what_another_ca_signed_is_signed_anew(tmp_path: Path) -> None:
    server, key = Authority.of(tmp_path).server("server", ["localhost"])
    before, key_before = serial(server), key.read_bytes()
    for name in ("ca.pem", "ca.key"):
        (tmp_path / name).unlink()
    Authority.of(tmp_path).server("server", ["localhost"])
    assert serial(server) != before
    assert key.read_bytes() == key_before
