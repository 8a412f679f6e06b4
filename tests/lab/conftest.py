"""Machines of the lab, and nodes in them."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest

from inventory.nodes import https
from inventory.nodes import transport as node_transport
from inventory.nodes.client import NodeTransport
from provisioner.certificates import Authority
from tests.lab.image import Image, image
from tests.lab.machine import Machine
from tests.servers import free_port
from volumes.sagas.replace_replica import waiting

CALL_SECONDS = 300.0
"""An emulated processor makes a volume in 5 to 20 s."""

Drive = tuple[int, int]


class MakeMachine(Protocol):
    def __call__(self, drives: Sequence[Drive], *, init: str = "/init") -> Machine: ...


@pytest.fixture(scope="session")
def disk_image() -> Image:
    return image()


@pytest.fixture(scope="module")
def make_machine(
    disk_image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeMachine]:
    """Starts machines that reach each other, with these drives (bytes, block size)."""
    folder, group = tmp_path_factory.mktemp("lab"), free_port()
    machines: list[Machine] = []
    numbers = itertools.count(1)

    def make(drives: Sequence[Drive], *, init: str = "/init") -> Machine:
        machines.append(Machine(disk_image, folder, next(numbers), drives, group, init=init))
        return machines[-1]

    yield make
    for machine in machines:
        machine.close()


@pytest.fixture(scope="session")
def lab_transport(_patience: None, authority: Authority) -> Iterator[NodeTransport]:
    """Calls nodes as the provisioner, and waits for slow ones."""
    pair = authority.provisioner()
    transport = NodeTransport(ca_file=authority.path, client_certificate=(pair, pair))
    yield transport
    transport.close()


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_transport, "CALL_SECONDS", CALL_SECONDS)
        patch.setattr(https, "CONNECT_SECONDS", CALL_SECONDS)
        patch.setattr(https, "READ_SECONDS", CALL_SECONDS)
        patch.setattr(waiting, "CALL_SECONDS", CALL_SECONDS)
        yield
