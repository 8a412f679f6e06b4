"""Certificates are renewed and every process is restarted in turn, as docs/how-to/tls.md says. In
this time, clients create, attach, detach and delete volumes as Cinder does. No call fails, and none
is repeated.
"""

import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from cryptography import x509

from inventory.nodes.engines.simulated import SimulatedFleet
from tests.programs import tool
from tests.system.load import Client, Load, both_are_up, nothing_is_left
from tests.system.stack import Service, Stack

pytestmark = pytest.mark.timeout(900)
NODES = 3
RENEWALS = 3
WORK_SECONDS = 2.0
"""In which clients work on with what was renewed."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    tool("haproxy")
    running = Stack()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[SimulatedFleet]:
    """Nodes in the pool. Renewals replace their certificate files."""
    certificate, key = stack.certificates.node
    with SimulatedFleet(
        NODES, certificate=certificate, key=key, ca=stack.ca, require_client_certificate=True
    ) as fleet:
        client = Client(stack, stack.tokens(1)[0])
        for node in fleet.nodes:
            client.call("POST", "/backends", {"mgmtIPs": [node.address], "mgmtPort": node.port})
        yield fleet


@pytest.fixture
def load(stack: Stack, fleet: SimulatedFleet) -> Iterator[Load]:
    """A load by clients that do not retry, so that every failure is noticed."""
    running = Load(stack, stack.tokens(1)[0], Client)
    yield running
    assert running.end() > 100
    nothing_is_left(stack, fleet)


def restart(service: Service) -> None:
    assert service.terminate() == 0
    service.start()


def shown(stack: Stack, port: int) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=str(stack.ca))
    context.load_cert_chain(stack.certificates.provisioner)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate
    return x509.load_der_x509_certificate(certificate).serial_number


def test_no_call_fails_while_certificates_are_renewed(
    stack: Stack, fleet: SimulatedFleet, load: Load
) -> None:
    """HAProxy and the agents of nodes reload. Workers and APIs are restarted one after the other.
    New connections are opened all the time, also while a new process of HAProxy replaces the old
    one.
    """
    ports = (stack.port, *(node.port for node in fleet.nodes))
    seen = {port: [shown(stack, port)] for port in ports}
    for _ in range(RENEWALS):
        stack.renew_certificates()
        fleet.renew_certificates()
        end = time.monotonic() + WORK_SECONDS
        while time.monotonic() < end:
            for port, serials in seen.items():
                serials.append(shown(stack, port))
                time.sleep(0.01)
    for serials in seen.values():
        assert len(set(serials)) == 1 + RENEWALS
    for service in (*stack.workers, *stack.periodic, *stack.apis):
        restart(service)
        stack.ready()
        both_are_up(stack)
