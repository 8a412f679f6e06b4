"""README.md's commands for the demo; and the demo where further nodes are in the pool."""

import contextlib
import os
import re
import signal
import subprocess
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
    shell = "\n".join(re.findall(r"(?m)^(?:api\(\)|url=|PASSWORD=).*$", two_minutes))
    changed = {".data/": f"{data}/", "30100": str(port), "PASSWORD=...": f"PASSWORD={password}"}
    made = [two_minutes, f"{shell}\n{further.rstrip().removesuffix('&')}"]
    for shown, here in changed.items():
        made = [text.replace(shown, here) for text in made]
    return made


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
            [*SHELL, two_minutes], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 0, done.stderr
    codes = re.findall(r'(?m)^\{.*"status": ?"(\w+)"', done.stdout)
    assert codes.count("NoMatchingBackend") == 1, done.stdout
    assert set(codes) == {"NoMatchingBackend", "Success"}
