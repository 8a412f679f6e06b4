"""The embedded form as users see it: real processes, real ports, real signals."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from provisioner.certificates import Authority
from tests.system.standalone_steps import STOP_SECONDS, Standalone, processes_of
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(1200)
PORTS = 5


def free_ports() -> int:
    """Return the first of enough consecutive free ports."""
    for first in range(31000, 32000, PORTS):
        try:
            for port in range(first, first + PORTS):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("there are no free ports")


def test_the_demo_survives_a_killed_worker_and_restarts_on_the_same_data(data: Path) -> None:
    port = free_ports()
    system = Standalone(data, port, "--scenario")
    system.wait_for("The system is running.", seconds=400)
    assert "each step succeeded" in system.output
    [password] = re.findall(r"Password +(\S{12,})\n", system.output)
    [curl] = re.findall(r"(curl .*)\n", system.output)
    assert f"-u 'admin:{password}'" in curl
    pasted = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert pasted.stdout.count('"state":"Available"') == 4

    [worker] = system.api_workers()
    os.kill(worker, signal.SIGKILL)
    eventually(
        lambda: worker not in system.api_workers() and system.ready(),
        seconds=180,
        what="another worker of the API",
    )

    assert system.end(signal.SIGINT) == 0
    assert processes_of(data) == []
    assert password not in "".join(p.read_text() for p in (data / "logs").iterdir())

    again = Standalone(data, port, "--scenario", "--exit")
    assert again.process.wait(180) == 0, again.output
    assert "it was added in an earlier run" in again.output
    assert password not in again.output
    assert processes_of(data) == []


def test_children_end_with_their_supervisor_and_a_second_one_is_refused(data: Path) -> None:
    port = free_ports()
    system = Standalone(data, port)
    system.wait_for("The system is running.")
    second = Standalone(data, port)
    assert second.process.wait(90) == 1
    assert second.output == (f"provisioner: {data} is in use by process {system.process.pid}.\n")
    elsewhere = Standalone(data.with_name("other"), port)
    assert elsewhere.process.wait(90) == 1
    assert elsewhere.output.splitlines()[-1] == (
        f"provisioner: port {port} of 127.0.0.1 cannot be used (Address already in use): "
        "choose another with API_PORT; the 4 nodes use the next ports."
    )
    system.end(signal.SIGKILL)
    eventually(
        lambda: processes_of(data) == [],
        seconds=STOP_SECONDS,
        what=lambda: processes_of(data),
    )


def test_a_failed_step_ends_the_scenario_with_a_sentence_that_names_it(data: Path) -> None:
    other_ca = Authority.of(data.with_name("other-ca")).path
    system = Standalone(data, free_ports(), "--scenario", "--exit", NODE_CA=str(other_ca))
    assert system.process.wait(120) == 1
    assert '"status": "NotAvailable"' in system.output
    assert system.output.splitlines()[-1] == (
        "provisioner: step 1. Four storage nodes join the pool: two racks, two zones: "
        "POST /backends should answer Success or AlreadyExists."
    )
    assert processes_of(data) == []
