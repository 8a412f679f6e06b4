"""Roles of certificates: each certificate of the pool's CA names one role.

A chain to the CA only proves that a certificate belongs to the pool. The role is a URI among the
subject's alternative names, ``urn:provisioner:role:<role>``, together with the extended key usage
that the role needs. A node's certificate may also name the nodes that it is valid for, by
``urn:provisioner:node:<persistentID>``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioner.common.limits import MOST_CREDENTIALS

ROLE_URI = "urn:provisioner:role:"
NODE_URI = "urn:provisioner:node:"


class CertificateRole(StrEnum):
    """The kind of program that presents the certificate."""

    PROVISIONER = "provisioner"  # to storage nodes
    NODE = "node"  # a storage node, to the provisioner
    API = "api"  # the API or its load balancer, to clients and nodes
    CLIENT = "client"  # to the API

    @property
    def purpose(self) -> x509.ObjectIdentifier:
        """The extended key usage of its certificates."""
        if self in {CertificateRole.NODE, CertificateRole.API}:
            return ExtendedKeyUsageOID.SERVER_AUTH
        return ExtendedKeyUsageOID.CLIENT_AUTH


class WrongRole(ValueError):
    """The certificate does not have the required role. The text is for logs and answers."""


@dataclass(frozen=True)
class _Names:
    subject: str
    roles: frozenset[str]
    node_ids: frozenset[str]
    purposes: frozenset[x509.ObjectIdentifier]


def require_role(
    certificate: bytes | None, role: CertificateRole, *, node_id: str | None = None
) -> None:
    """Check that a verified certificate (DER) is for ``role``.

    ``node_id``: the persistentID of the node that must have presented it. A node certificate that
    names no node is valid for each node at its addresses.

    :raises WrongRole: there is no certificate, or it is for another role or node.
    """
    if not certificate:
        raise WrongRole(f"no certificate was presented; a certificate with role {role} is required")
    names = _names(certificate)
    if names.roles != {role}:
        held = f"has role {', '.join(sorted(names.roles))}" if names.roles else "has no role"
        raise WrongRole(
            f"the certificate {names.subject!r} {held}; {role} is required: issue it again with "
            f"`manage.py certificates`, or with the URI {ROLE_URI}{role} as an alternative name"
        )
    if role.purpose not in names.purposes:
        raise WrongRole(
            f"the certificate {names.subject!r} has role {role}, but not the extended key usage "
            f"{role.purpose._name}"
        )
    if node_id is not None and names.node_ids and node_id not in names.node_ids:
        raise WrongRole(
            f"the certificate {names.subject!r} is of node {', '.join(sorted(names.node_ids))}, "
            f"not of {node_id}"
        )


def role_names(role: CertificateRole, node_ids: Collection[str] = ()) -> list[x509.GeneralName]:
    """The alternative names that give a certificate its role."""
    uris = [f"{ROLE_URI}{role}", *(f"{NODE_URI}{node_id}" for node_id in node_ids)]
    return [x509.UniformResourceIdentifier(uri) for uri in uris]


@lru_cache(maxsize=MOST_CREDENTIALS)  # called for each request of a connection
def _names(certificate: bytes) -> _Names:
    """:raises WrongRole: it cannot be read."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        extensions = parsed.extensions
    except ValueError as error:
        raise WrongRole(f"the certificate cannot be read: {error}") from error
    uris: list[str] = []
    purposes: frozenset[x509.ObjectIdentifier] = frozenset()
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
        elif isinstance(extension.value, x509.ExtendedKeyUsage):
            purposes = frozenset(extension.value)
    return _Names(
        parsed.subject.rfc4514_string(),
        frozenset(uri.removeprefix(ROLE_URI) for uri in uris if uri.startswith(ROLE_URI)),
        frozenset(uri.removeprefix(NODE_URI) for uri in uris if uri.startswith(NODE_URI)),
        purposes,
    )
