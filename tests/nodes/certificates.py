"""A small CA for tests: one key pair per name, valid for a day, ECDSA P-256."""

import datetime
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioner.certificates import Authority
from provisioner.common.certificate_roles import CertificateRole, role_names

TOKEN = "the-token-of-one-node-of-these-tests"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")


@dataclass(frozen=True)
class KeyPair:
    certificate: Path
    key: Path


class TestCa:
    """A CA. It writes its own certificate to ``file`` and issues others."""

    __test__ = False

    def __init__(self, directory: Path, *, signed_by: Authority | None = None) -> None:
        """``signed_by``: a CA that signs this one. Without it, this one is self-signed."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = signed_by.key if signed_by else ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, directory.name)])
        self.file = directory / "ca.pem"
        if signed_by:
            self._name = signed_by.certificate.subject
            self.file = signed_by.path
            return
        builder = _builder(self._name, self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        name: str,
        *roles: CertificateRole,
        purposes: Collection[x509.ObjectIdentifier] | None = None,
        node_ids: Collection[str] = (),
    ) -> KeyPair:
        """Issue a certificate for all loopback addresses of the tests. ``purposes`` replaces the
        key usages that its roles need.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
        for role in roles:
            names += role_names(role, node_ids)
        usages = [role.purpose for role in roles] if purposes is None else list(purposes)
        builder = _builder(subject, self._name, key.public_key()).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        pair = KeyPair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
