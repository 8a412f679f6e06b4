"""Fake SPDK targets, and clients for them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.conftest import ca, server_pair, transport  # noqa: F401
from tests.spdk.client import Client
from tests.spdk.fixtures import make_node, targets  # noqa: F401
from tests.spdk.machine import Machine, Run, Steps
from tests.spdk.running import RunningTarget


@pytest.fixture
def target() -> Iterator[RunningTarget]:
    target = RunningTarget()
    yield target
    target.close()


@pytest.fixture
def call(target: RunningTarget) -> Iterator[Client]:
    client = Client(target.socket)
    yield client
    client.close()


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A file of 4 GiB that was never written."""
    file = tmp_path / "drive"
    with file.open("wb") as opened:
        opened.truncate(4 * 2**30)
    return file


@pytest.fixture
def run(tmp_path: Path, target: RunningTarget) -> Run:
    """Run steps on a machine with the SSDs ``s`` and ``t``. Its agent is not started yet."""

    def run(steps: Steps) -> None:
        async def main() -> None:
            machine = Machine(tmp_path, target.socket)
            await steps(machine)
            machine.kill()

        asyncio.run(main())

    return run
