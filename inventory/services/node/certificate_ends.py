"""The expiry of certificates: those that nodes and the API present, and those in files of this
process.
"""

import datetime as dt
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings

from inventory.models import Backend, Pool
from inventory.nodes.client import NodeUnreachable, call_each
from inventory.nodes.https import client_context

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
HTTPS_PORT = 443
FILES = ("tls_certificate", "tls_client_ca", "node_certificate", "node_ca")
"""Settings that name a file of certificates."""


def certificates_check() -> None:
    """Store the expiry of the certificates of all nodes and of PUBLIC_URL. If a server presents no
    certificate now, the stored value stays.
    """
    backends = Backend.objects.prefetch_related("addresses")
    places = {backend.pk: (backend.mgmt_ips, backend.mgmt_port) for backend in backends}
    calls = {pk: partial(_presented, *place) for pk, place in places.items()}
    most_addresses = max((len(addresses) for addresses, _ in places.values()), default=0)
    for pk, ends_at in call_each(calls, call_seconds=2 * CONNECT_SECONDS * most_addresses):
        if isinstance(ends_at, dt.datetime):
            changed = Backend.objects.filter(pk=pk).exclude(certificate_ends_at=ends_at)
            changed.update(certificate_ends_at=ends_at)
    url = urlsplit(settings.ENVIRONMENT.public_url)
    if url.scheme == "https" and url.hostname:
        try:
            ends_at = _presented([url.hostname], url.port or HTTPS_PORT)
        except NodeUnreachable as error:
            log.warning(
                "a certificate cannot be read", extra={"url": url.geturl(), "reason": str(error)}
            )
        else:
            Pool.objects.update(certificate_ends_at=ends_at)


def file_certificate_ends() -> Iterator[tuple[str, dt.datetime]]:
    """Yield the settings that name files of certificates, each with the expiry of the first
    certificate in the file. Files that cannot be read are skipped, because the code that uses them
    reports this.
    """
    for name in FILES:
        path = getattr(settings.ENVIRONMENT, name)
        if path is None:
            continue
        try:
            certificates = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning(
                "a certificate cannot be read", extra={"path": str(path), "reason": str(error)}
            )
            continue
        yield name.upper(), min(each.not_valid_after_utc for each in certificates)


def _presented(addresses: Sequence[str], port: int) -> dt.datetime:
    """Return the expiry of the certificate that the first answering address presents to this
    process. No request is sent, so the certificate need not be valid. It may have expired.

    :raises NodeUnreachable: no address presents a certificate.
    """
    pem = settings.ENVIRONMENT.node_certificate
    context = client_context(client_certificate=(pem, pem) if pem else None)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    failures = []
    for address in addresses:
        try:
            with (
                socket.create_connection((address, port), timeout=CONNECT_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=address) as secure,
            ):
                presented = secure.getpeercert(binary_form=True)
            assert presented is not None  # a TLS server has one
            return x509.load_der_x509_certificate(presented).not_valid_after_utc
        except (OSError, ValueError) as error:
            failures.append(f"{address}: {error}")
    raise NodeUnreachable(f"port {port}: {'; '.join(failures)}")
