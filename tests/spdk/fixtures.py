"""Nodes on SPDK in the process of the test. It needs the fixtures of ``tests.nodes.conftest``."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inventory.nodes.client import NodeTransport
from tests.nodes.certificates import KeyPair
from tests.spdk.nodes import SpdkNode, clean, write_config
from tests.spdk.running import RunningTarget

REAL = [Path(os.environ[name]) for name in ("SPDK_SOCKET", "SPDK_SOCKET_2") if os.environ.get(name)]

MakeNode = Callable[[int, Path], SpdkNode]


@pytest.fixture
def make_node(tmp_path: Path, server_pair: KeyPair, transport: NodeTransport) -> Iterator[MakeNode]:
    """Creates nodes with SSDs of both block sizes over an SPDK target, which is cleaned after the
    test.
    """
    nodes: list[SpdkNode] = []

    def make(number: int, socket: Path) -> SpdkNode:
        if socket in REAL:
            clean(socket)  # objects left by a killed run
        zeroes = (True, socket in REAL, True)  # a real target would write 16 GiB of zeros
        file = write_config(number, tmp_path / str(number), socket, server_pair, zeroes=zeroes)
        nodes.append(SpdkNode.of_file(file, transport))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()
        clean(node.socket)
        for ssd in node.config.spdk.ssds:
            if ssd.file:
                ssd.file.unlink(missing_ok=True)  # a real target writes every byte that it copies


@pytest.fixture(scope="module")
def targets() -> Iterator[list[RunningTarget]]:
    targets = [RunningTarget(), RunningTarget()]
    yield targets
    for target in targets:
        target.close()
