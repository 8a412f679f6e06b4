"""Checks that nodes can reach the API at the address that they are given, PUBLIC_URL."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from django.conf import settings

from inventory.models import BackendAddress


def nodes_out_of_reach() -> str:
    """Return an address of a node in the pool that cannot reach PUBLIC_URL. Empty: there is
    none.
    """
    if not _url_is_local():
        return ""
    addresses = BackendAddress.objects.order_by("pk").values_list("address", flat=True)
    return next((address for address in addresses if not _is_local(address)), "")


def is_out_of_reach(addresses: Iterable[str]) -> bool:
    """Whether PUBLIC_URL is an address of this machine only, and the node is on another machine."""
    return _url_is_local() and not any(_is_local(address) for address in addresses)


def _url_is_local() -> bool:
    return _is_local(urlsplit(settings.ENVIRONMENT.url_for_nodes).hostname or "")


def _is_local(host: str) -> bool:
    """Whether the host is a loopback address, or unspecified (``0.0.0.0``)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() in {"", "localhost"}
    return address.is_loopback or address.is_unspecified
