"""Sends records over UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425)."""

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

LARGEST_RECORD = 65_507
"""The bytes that one UDP datagram can hold over IPv4."""

CONNECT_SECONDS = 5.0
SEND_SECONDS = 10.0
CLOSE_SECONDS = 5.0
REFUSAL_SECONDS = 0.05

_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The address of a syslog server. ``certificate``: the PEM that TLS trusts; empty: the CAs of
    the system.
    """

    scheme: str
    host: str
    port: int
    certificate: str = ""

    @classmethod
    def of(cls, url: str, *, use_tls: bool, certificate: str = "") -> "Destination":
        """Parse ``udp://``, ``tcp://`` or ``tls://host:port``. ``tcp`` with ``use_tls`` means TLS.

        :raises ValueError: the url has another form, or asks for TLS over UDP.
        """
        parts = urlsplit(url)
        scheme = "tls" if use_tls and parts.scheme == "tcp" else parts.scheme
        if scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is not udp://, tcp:// or tls://host:port")
        if use_tls and scheme == "udp":
            raise ValueError(f"{url!r} cannot be used with TLS")
        port = parts.port or _PORTS[scheme]
        return cls(scheme=scheme, host=parts.hostname, port=port, certificate=certificate)


def send(destination: Destination, records: Sequence[bytes]) -> None:
    """Send the records, in order, over one connection.

    For TCP and TLS, this returns when the receiver has closed the connection after the last octet,
    which means that it has read all records, or when the receiver has kept it open without an error
    for CLOSE_SECONDS. For UDP, it only shows that no host refused the records at once.

    :raises OSError, ValueError: some records may not have arrived.
    """
    _SENDERS[destination.scheme](destination, records)


def _send_udp(destination: Destination, records: Sequence[bytes]) -> None:
    found = socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as channel:
        channel.settimeout(REFUSAL_SECONDS)
        channel.connect(address)
        for record in records:
            channel.send(record)
        try:
            channel.recv(1)
        except TimeoutError:
            return


def _send_tcp(destination: Destination, records: Sequence[bytes]) -> None:
    with _connect(destination) as stream:
        stream.sendall(framed(records))
        stream.shutdown(socket.SHUT_WR)
        _await_end(stream)


def _send_tls(destination: Destination, records: Sequence[bytes]) -> None:
    context = tls_context(destination.certificate)
    with (
        _connect(destination) as plain,
        context.wrap_socket(plain, server_hostname=destination.host) as stream,
    ):
        stream.settimeout(SEND_SECONDS)
        stream.sendall(framed(records))
        stream.settimeout(CLOSE_SECONDS)
        try:
            stream.unwrap()
        except (ssl.SSLEOFError, TimeoutError):
            return  # closed without close_notify, or still open: the records are read or will be


def _connect(destination: Destination) -> socket.socket:
    address = (destination.host, destination.port)
    stream = socket.create_connection(address, timeout=CONNECT_SECONDS)
    stream.settimeout(SEND_SECONDS)
    return stream


def _await_end(stream: socket.socket) -> None:
    """Wait until the other side closes the connection, at most CLOSE_SECONDS. A reset is an
    error.
    """
    give_up = time.monotonic() + CLOSE_SECONDS
    stream.settimeout(CLOSE_SECONDS)
    try:
        while time.monotonic() < give_up and stream.recv(4096):
            pass
    except TimeoutError:
        return


def framed(records: Sequence[bytes]) -> bytes:
    """Return the records, each after its length: octet counting (RFC 6587, section 3.4.1)."""
    return b"".join(b"%d %b" % (len(record), record) for record in records)


def tls_context(certificate: str) -> ssl.SSLContext:
    """Return a context that trusts only the PEM, which is the certificate of a CA or of the server
    itself. Without a PEM, it trusts the CAs of the system.

    :raises ssl.SSLError: the text is not a PEM certificate.
    """
    context = ssl.create_default_context(cadata=certificate or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


_SENDERS: dict[str, Callable[[Destination, Sequence[bytes]], None]] = {
    "udp": _send_udp,
    "tcp": _send_tcp,
    "tls": _send_tls,
}
