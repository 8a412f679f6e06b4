"""Creates the certificates of the pool: a CA, and the certificates that it signs.

Each certificate has one role (:mod:`provisioner.common.certificate_roles`). Keys are ECDSA P-256.
They are readable only by their owner, and are never overwritten. All methods may be repeated. A
certificate is renewed, with the same key, in the last third of its life, if it lacks a requested
host or role, or if another CA signed it.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioner.common.certificate_roles import CertificateRole, role_names

CA_LIFE = dt.timedelta(days=3650)
LEAF_LIFE = dt.timedelta(days=397)
CLOCK_SKEW = dt.timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """The CA in a folder: ``ca.pem``, which everyone may read, and ``ca.key``."""

    folder: Path
    certificate: x509.Certificate
    key: Key

    @classmethod
    def of(cls, folder: Path) -> "Authority":
        """Return the CA in the folder. It is created if there is none.

        :raises OSError: the folder cannot be written.
        :raises ValueError: a file there is not a key or certificate.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _key(folder / "ca.key")
        path = folder / "ca.pem"
        if not path.exists():
            name = _name("Provisioner pool CA")
            builder = _builder(name, name, key.public_key(), CA_LIFE).add_extension(
                _usage(signs_certificates=True), critical=True
            )
            builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
            _write(path, _pem(builder.sign(key, hashes.SHA256())), 0o644)
        return cls(folder, x509.load_pem_x509_certificate(path.read_bytes()), key)

    @property
    def path(self) -> Path:
        return self.folder / "ca.pem"

    def server(self, name: str, hosts: Iterable[str]) -> tuple[Path, Path]:
        """Return the certificate and key of an API with these names and addresses."""
        return self._listening(name, hosts, role_names(CertificateRole.API))

    def node(
        self, name: str, hosts: Iterable[str], node_ids: Collection[str] = ()
    ) -> tuple[Path, Path]:
        """Return the certificate and key of a storage node with these names and addresses.

        ``node_ids``: the persistentIDs for which the certificate is valid. Empty: any node at these
        addresses.
        """
        return self._listening(name, hosts, role_names(CertificateRole.NODE, node_ids))

    def client(self, name: str) -> Path:
        """Return a PEM file with the certificate and key of a client of the API."""
        return self._calling(name, CertificateRole.CLIENT)

    def provisioner(self, name: str = "provisioner") -> Path:
        """Return a PEM file with the certificate and key that the provisioner presents to nodes."""
        return self._calling(name, CertificateRole.PROVISIONER)

    def _listening(
        self, name: str, hosts: Iterable[str], roles: Collection[x509.GeneralName]
    ) -> tuple[Path, Path]:
        path, key_path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        key = _key(key_path)
        wanted = tuple(dict.fromkeys([*(_general_name(host) for host in hosts), *roles]))
        if self._must_renew(path, wanted):
            signed = self._sign(name, key, ExtendedKeyUsageOID.SERVER_AUTH, wanted)
            _write(path, _pem(signed), 0o644)
        return path, key_path

    def balancer(self, name: str) -> Path:
        """Return a PEM file with the certificate and key of a server, in the form that HAProxy
        needs.
        """
        path = self.folder / "haproxy.pem"
        parts = (self.folder / f"{name}.pem", self.folder / f"{name}.key")
        _write(path, b"".join(part.read_bytes() for part in parts), 0o600)
        return path

    def _calling(self, name: str, role: CertificateRole) -> Path:
        path = self.folder / f"{name}.pem"
        wanted = role_names(role)
        if self._must_renew(path, wanted):
            key = _read_key(path) if path.exists() else _new_key()
            signed = self._sign(name, key, role.purpose, wanted)
            _write(path, _pem(signed) + _key_pem(key), 0o600)
        return path

    def _sign(
        self,
        name: str,
        key: Key,
        purpose: x509.ObjectIdentifier,
        names: Collection[x509.GeneralName],
    ) -> x509.Certificate:
        subject = self.certificate.subject
        builder = _builder(_name(name), subject, key.public_key(), LEAF_LIFE)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            builder.add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    def _must_renew(self, path: Path, names: Collection[x509.GeneralName]) -> bool:
        if not path.exists():
            return True
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
        found = _alternative_names(certificate)
        return (
            left < LEAF_LIFE / 3
            or not _signed_by(certificate, self.certificate)
            or not set(names) <= set(found)
            or _uris(names) != _uris(found)
        )


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - any failure: not signed by this CA
        return False
    return True


def _alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(extension.value)


def _uris(names: Iterable[x509.GeneralName]) -> set[x509.GeneralName]:
    return {name for name in names if isinstance(name, x509.UniformResourceIdentifier)}


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - CLOCK_SKEW,
        not_valid_after=now + life,
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _key(path: Path) -> Key:
    if not path.exists():
        _write(path, _key_pem(_new_key()), 0o600)
    return _read_key(path)


def _read_key(path: Path) -> Key:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} contains no ECDSA key")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write the file atomically, with permissions ``mode`` from the start."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
