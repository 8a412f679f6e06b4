"""``manage.py simulate_nodes`` as a process, without the project's settings."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from inventory.nodes.client import NodeClient, NodeTransport, NodeUnreachable
from tests.nodes.certificates import KeyPair, TestCa
from tests.nodes.specs import GIB, piece, volume
from tests.waiting import eventually

MANAGE = """
from django.conf import settings
settings.configure(DATABASES={})
import sys
from inventory.management.commands.simulate_nodes import Command
Command().run_from_argv(["manage.py", "simulate_nodes", *sys.argv[1:]])
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
print(child.pid, flush=True)
for line in child.stdout:
    print(line, end="", flush=True)
"""
ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def command(server_pair: KeyPair) -> list[str]:
    files = ["--certificate", str(server_pair.certificate), "--key", str(server_pair.key)]
    return [sys.executable, "-c", MANAGE, *files]


@pytest.fixture
def run() -> Iterator[Run]:
    processes: list[subprocess.Popen[str]] = []

    def start(command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_the_command_serves_nodes_until_a_signal(
    ca: TestCa, command: list[str], run: Run, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("from-a-file\n")
    transport = NodeTransport(ca_file=ca.file, token="from-a-file")
    data = ["--data", str(tmp_path / "data"), "--token-file", str(token_file)]
    copies = ["--copy-mib", "3"]
    volumes = []
    for number in (signal.SIGTERM, signal.SIGINT):
        process = run([*command, *data, "--count", "2", "--ssds", "1", "--ssd-gib", "7", *copies])
        nodes = [line(process), line(process)]
        assert [node[0] for node in nodes] == ["02:00:00:00:00:01", "02:00:00:00:00:02"]
        address, port = nodes[0][1].split(":")
        client = NodeClient(transport, [address], int(port))
        [ssd] = client.read_node().ssds
        assert ssd.capacity == 7 * GIB
        client.ensure_volume("v", volume(piece(ssd.ssd_id)))
        volumes.append(client.list_volumes())
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.communicate()[1] == ""
    assert volumes[0] == volumes[1]


def test_the_command_ends_with_its_parent(ca: TestCa, command: list[str], run: Run) -> None:
    """NODE_TOKEN, a setting of older versions, is ignored."""
    parent = run(
        [sys.executable, "-c", PARENT, *command, "--count", "1", "--exit-with-parent"],
        NODE_TOKEN="from-the-environment",
    )
    line(parent)
    address, port = line(parent)[1].split(":")
    transport = NodeTransport(ca_file=ca.file)
    client = NodeClient(transport, [address], int(port))
    assert client.read_node().name == "node-1"

    def is_gone() -> bool:
        try:
            client.read_node()
        except NodeUnreachable:
            return True
        return False

    parent.kill()
    eventually(is_gone, seconds=60, what="the nodes end with their parent")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--certificate", "/none"], "cannot serve"),
        (["--require-client-certificate"], "needs --ca"),
        (["--token-file", os.devnull], "is empty"),
    ],
)
def test_wrong_arguments_end_the_command_with_a_message(
    command: list[str], run: Run, arguments: list[str], message: str
) -> None:
    process = run([*command, *arguments])
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert message in errors
    assert "Traceback" not in errors
