"""Checks client certificates: those of TLS connections, and those that a trusted proxy reports."""

import base64
import ipaddress
import ssl
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from provisioner.common.api import transport_response
from provisioner.common.certificate_roles import CertificateRole, WrongRole, require_role

Handler = Callable[[HttpRequest], HttpResponse]

PROXY_HEADERS = (
    "HTTP_X_SSL_CLIENT_VERIFY",
    "HTTP_X_SSL_CLIENT_CERT",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
)
NONE_VERIFIED = "a client certificate is required, and none was verified"
WITHOUT = frozenset({"/healthz", "/readyz", "/probe", "/metrics"})
"""Paths that need no client certificate. Agents of nodes send a token to ``/probe``, Prometheus a
token or password to ``/metrics``.
"""


class ClientCertificate:
    """Middleware that answers 403 to callers without a client certificate, if one is required.

    A trusted proxy sends four headers. ``X-SSL-Client-Verify`` says whether the proxy verified a
    certificate. ``X-SSL-Client-Cert`` is the certificate, as base64 of its DER; a proxy that omits
    it must have checked the role. ``X-Forwarded-For`` is the address of the client, which becomes
    ``REMOTE_ADDR``. ``X-Forwarded-Proto`` is ``https`` if the client uses TLS.

    These headers of other callers are dropped, and their certificate must have been verified on
    this connection. Certificates of nodes and of the provisioner are refused. The paths of WITHOUT
    need no certificate.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.required = settings.ENVIRONMENT.require_client_certificate
        self.proxies = [ipaddress.ip_network(p) for p in settings.ENVIRONMENT.trusted_proxies]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_proxy = self._is_proxy(request.META.get("REMOTE_ADDR", ""))
        if is_proxy:
            request.META["REMOTE_ADDR"] = self._client_behind_proxies(request)
        else:
            for header in PROXY_HEADERS:
                request.META.pop(header, None)
        if self.required and not self._needs_none(request):
            try:
                _require_client_behind(request) if is_proxy else _require_client_here(request)
            except WrongRole as error:
                return transport_response(HTTPStatus.FORBIDDEN, str(error))
        return self.get_response(request)

    def _needs_none(self, request: HttpRequest) -> bool:
        """Whether the request needs no certificate. ``/probe`` needs none only with a token, so
        that nobody can guess passwords there without a certificate.
        """
        path = request.path_info.rstrip("/")
        scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
        return path in WITHOUT and (path != "/probe" or scheme == "bearer")

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self.proxies)

    def _client_behind_proxies(self, request: HttpRequest) -> str:
        """Return the last address in ``X-Forwarded-For`` that is not a trusted proxy itself."""
        client: str = request.META["REMOTE_ADDR"]
        for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            if not self._is_proxy(client) or not _is_address(hop.strip()):
                break
            client = hop.strip()
        return client


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _require_client_behind(proxied: HttpRequest) -> None:
    """:raises WrongRole: the proxy verified no certificate, or one of another role."""
    if proxied.META.get("HTTP_X_SSL_CLIENT_VERIFY") != "SUCCESS":
        raise WrongRole(NONE_VERIFIED)
    encoded = proxied.META.get("HTTP_X_SSL_CLIENT_CERT")
    if encoded is None:
        return
    try:
        certificate = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise WrongRole("the proxy's X-SSL-Client-Cert is not base64") from error
    require_role(certificate, CertificateRole.CLIENT)


def _require_client_here(request: HttpRequest) -> None:
    """Check the certificate of this TLS connection. OpenSSL returns only verified certificates.

    :raises WrongRole: there is no certificate, or it has another role.
    """
    connection = request.META.get("gunicorn.socket")
    if not isinstance(connection, ssl.SSLSocket):
        raise WrongRole(NONE_VERIFIED)
    certificate = connection.getpeercert(binary_form=True)
    if not certificate:
        raise WrongRole(NONE_VERIFIED)
    require_role(certificate, CertificateRole.CLIENT)
