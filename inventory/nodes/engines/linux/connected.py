"""Reads the TCP and RDMA connections of the machine."""

import ipaddress
import json
import socket
import struct
from collections.abc import Iterable, Set

from inventory.nodes.engines.linux.kernel import CommandFailed, Kernel
from inventory.nodes.portal_transports import RDMA
from inventory.nodes.wire import Portal

ESTABLISHED = "01"
FILES = ("/proc/net/tcp", "/proc/net/tcp6")
RDMA_ESTABLISHED = "CONNECT"
COMMAND = ("rdma", "-j", "resource", "show", "cm_id")

Place = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


async def established(kernel: Kernel, portals: Iterable[Portal]) -> bool:
    """Whether there is a connection to one of the portals."""
    over_rdma, over_tcp = set[Place](), set[Place]()
    for portal in portals:
        place = ipaddress.ip_address(portal.ip), portal.port
        (over_rdma if portal.transport == RDMA else over_tcp).add(place)
    if await _is_tcp_established(kernel, over_tcp):
        return True
    return bool(over_rdma) and await _is_rdma_established(kernel, over_rdma)


async def _is_tcp_established(kernel: Kernel, wanted: Set[Place]) -> bool:
    for file in FILES:
        lines = (await kernel.read(file)).splitlines()[1:]
        if any(_local(line) in wanted for line in lines if line.split()[3] == ESTABLISHED):
            return True
    return False


async def _is_rdma_established(kernel: Kernel, wanted: Set[Place]) -> bool:
    """Both ends of a connection are in the list if both are on this machine. The target's end has
    the address of the portal as its ``src-addr``.
    """
    output = await kernel.run(*COMMAND)
    if output.code:
        raise CommandFailed(COMMAND, output.code, output.err)
    for one in json.loads(output.out or "[]"):
        if one.get("state") == RDMA_ESTABLISHED:
            address, _, port = one["src-addr"].rpartition(":")
            if (ipaddress.ip_address(address), int(port)) in wanted:
                return True
    return False


def _local(line: str) -> Place:
    """Parse the local address of a connection. It consists of words of 32 bits in the byte order of
    the machine.
    """
    address, port = line.split()[1].split(":")
    words = [int(address[place : place + 8], 16) for place in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return ipaddress.ip_address(socket.inet_ntop(family, packed)), int(port, 16)
