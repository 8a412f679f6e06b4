"""The embedded form as its user meets it: real processes, real ports, real signals."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.certificates import Authority
from provisioner.environment import Environment, variable_name
from provisioner.standalone.client import Client
from provisioner.standalone.data_dir import DataDir

ROOT = Path(__file__).resolve().parent.parent.parent
PORTS = 5
STOP_SECONDS = 15.0


class Standalone:
    """One run of ``manage.py standalone``; its output is collected in a file."""

    def __init__(self, data: Path, port: int, *options: str, **variables: str) -> None:
        self.folder = DataDir(data)
        ours = {variable_name(name) for name in Environment.model_fields}
        others = {name: value for name, value in os.environ.items() if name not in ours}
        self.url = f"https://127.0.0.1:{port}"
        self._output = data.with_name(f"{data.name}-{time.monotonic_ns()}.out")
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "standalone", *options],
                cwd=ROOT,
                env=others | {"DATA_DIR": str(data), "API_PORT": str(port)} | variables,
                stdout=output,
                stderr=output,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str, seconds: float = 60) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.output
            return text in self.output

        wait_until(said, seconds)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def ready(self) -> bool:
        client = Client(self.url, ca=self.folder.ca, certificate=self.folder.client_certificate)
        return client.call("GET", "/readyz").http_status == 200

    def api_workers(self) -> list[int]:
        [master] = [p for p in children(self.process.pid) if "gunicorn" in command_line(p)]
        return children(master)


def wait_until(fulfilled: Callable[[], bool], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < give_up, "it did not come true in time"
        time.sleep(0.1)


def children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in tasks.read_text().split()]


def command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def processes_of(data: Path) -> list[int]:
    """Those that were started with this data folder in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"DATA_DIR={data}\0" in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def free_ports() -> int:
    """The first of enough free ports in a row."""
    for first in range(31000, 32000, PORTS):
        try:
            for port in range(first, first + PORTS):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("there are no free ports")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    for process in processes_of(folder):
        os.kill(process, signal.SIGKILL)


def test_scenario_then_a_killed_worker_then_ctrl_c_then_again_on_the_same_data(data: Path) -> None:
    port = free_ports()
    system = Standalone(data, port, "--scenario")
    system.wait_for("The system runs.", seconds=90)
    assert "each step did what it should" in system.output
    [password] = re.findall(r"Password +(\S{12,})\n", system.output)
    [curl] = re.findall(r"(curl .*)\n", system.output)
    assert f"-u 'admin:{password}'" in curl
    pasted = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert pasted.stdout.count('"state":"Available"') == 4

    [worker] = system.api_workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in system.api_workers() and system.ready(), 20)

    assert system.end(signal.SIGINT) == 0
    assert processes_of(data) == []
    assert password not in "".join(p.read_text() for p in (data / "logs").iterdir())

    again = Standalone(data, port, "--scenario", "--exit")
    assert again.process.wait(90) == 0, again.output
    assert "it is in the pool from an earlier run" in again.output
    assert password not in again.output
    assert processes_of(data) == []


def test_children_end_with_a_killed_supervisor_and_a_second_one_is_refused(data: Path) -> None:
    port = free_ports()
    system = Standalone(data, port)
    system.wait_for("The system runs.")
    second = Standalone(data, port)
    assert second.process.wait(30) == 1
    assert second.output == (f"provisioner: {data} is in use by process {system.process.pid}.\n")
    elsewhere = Standalone(data.with_name("other"), port)
    assert elsewhere.process.wait(30) == 1
    assert elsewhere.output.splitlines()[-1] == (
        f"provisioner: port {port} of 127.0.0.1 cannot be used (Address already in use); "
        "API_PORT chooses another, the 4 nodes take the ports after it."
    )
    system.end(signal.SIGKILL)
    wait_until(lambda: processes_of(data) == [], STOP_SECONDS)


def test_a_step_that_fails_ends_it_with_a_sentence_that_says_which(data: Path) -> None:
    other_ca = Authority.of(data.with_name("other-ca")).path
    system = Standalone(data, free_ports(), "--scenario", "--exit", NODE_CA=str(other_ca))
    assert system.process.wait(60) == 1
    assert '"status": "NotAvailable"' in system.output
    assert system.output.splitlines()[-1] == (
        "provisioner: step 1. Four storage nodes join the pool: two racks, two zones: "
        "POST /backends should answer Success or AlreadyExists."
    )
    assert processes_of(data) == []
