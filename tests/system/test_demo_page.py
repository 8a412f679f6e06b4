"""README.md's commands for the demo; and the demo where further nodes are in the pool."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import pages
from tests.servers import free_port
from tests.system.test_standalone import Standalone, wait_until

SHELL = ["bash", "-euo", "pipefail", "-c"]
SECONDS = 150.0


def texts(data: Path, port: int, password: str) -> list[str]:
    """The blocks, for this demo; the second goes on in the shell of the first."""
    two_minutes, further = (block.text for block in pages.of("demo"))
    shell = "\n".join(re.findall(r"(?m)^(?:url|PASSWORD)=.*$", two_minutes))
    changed = {".data/": f"{data}/", "30100": str(port), "PASSWORD=...": f"PASSWORD={password}"}
    made = [two_minutes, f"{shell}\n{further.rstrip().removesuffix('&')}"]
    for shown, here in changed.items():
        made = [text.replace(shown, here) for text in made]
    return made


def with_provisionerctl(folder: Path) -> dict[str, str]:
    """The program as ``pipx`` would put it into the path, and a configuration file of its own."""
    program = folder / "bin" / "provisionerctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m provisionerctl "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(pages.ROOT),
        "PROVISIONERCTL_CONFIG": str(folder / "config.yaml"),
    }


@contextmanager
def further_nodes(script: str, log: Path) -> Iterator[None]:
    with (
        log.open("wb") as output,
        subprocess.Popen([*SHELL, script], stdout=output, start_new_session=True) as process,
    ):
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@contextmanager
def running(demo: Standalone) -> Iterator[Standalone]:
    """Once it serves; with ``--scenario``, that has been played."""
    try:
        demo.wait_for("another one:", SECONDS)
        yield demo
    finally:
        demo.process.terminate()
        demo.process.wait(SECONDS)


@pytest.mark.timeout(400)
def test_the_demo_and_its_commands_beside_further_nodes(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    with running(Standalone(data, port)) as first:
        [password] = re.findall(r"Password +(\S+)", first.output)
        two_minutes, further = texts(data, port, password)
        log = tmp_path / "further"
        with contextlib.ExitStack() as stay:
            stay.enter_context(further_nodes(further, log))
            wait_until(lambda: log.read_text().count("added") == 2, SECONDS)
            beside = stay.pop_all()
    with beside, running(Standalone(data, port, "--scenario")):
        done = subprocess.run(
            [*SHELL, two_minutes],
            env=os.environ | with_provisionerctl(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Error: (\w+)|(exit code 7)", done.stderr + done.stdout) == [
        ("NoMatchingBackend", ""),
        ("", "exit code 7"),
    ]
    for said in (
        "6 of 6 Available",
        "CHOSEN",
        "Volume first was created: ",
        "Volume first is published to my-host.",
        '"alias":"first"',
        "Volume first is not published to my-host any more.",
        "Volume first was deleted.",
    ):
        assert said in done.stdout, done.stdout
