"""Reads the TCP connections of the machine."""

import ipaddress
import socket
import struct
from collections.abc import Iterable

from inventory.nodes.engines.linux.kernel import Kernel
from inventory.nodes.wire import Portal

ESTABLISHED = "01"
FILES = ("/proc/net/tcp", "/proc/net/tcp6")


async def established(kernel: Kernel, portals: Iterable[Portal]) -> bool:
    """Whether there is a connection to one of the portals."""
    wanted = {(ipaddress.ip_address(portal.ip), portal.port) for portal in portals}
    for file in FILES:
        lines = (await kernel.read(file)).splitlines()[1:]
        if any(_local(line) in wanted for line in lines if line.split()[3] == ESTABLISHED):
            return True
    return False


def _local(line: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """Parse the local address of a connection. It consists of words of 32 bits in the byte order of
    the machine.
    """
    address, port = line.split()[1].split(":")
    words = [int(address[place : place + 8], 16) for place in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return ipaddress.ip_address(socket.inet_ntop(family, packed)), int(port, 16)
