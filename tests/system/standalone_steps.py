"""Shared steps of the tests of the embedded form."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.environment import Environment, variable_name
from provisioner.standalone.client import Client
from provisioner.standalone.data_dir import DataDir
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent.parent


STOP_SECONDS = 60.0


class Standalone:
    """One run of ``manage.py standalone``. Its output is collected in a file."""

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

    def wait_for(self, text: str, seconds: float = 240) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.output
            return text in self.output

        eventually(said, seconds=seconds, what=text)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def ready(self) -> bool:
        client = Client(self.url, ca=self.folder.ca, certificate=self.folder.client_certificate)
        return client.call("GET", "/readyz").http_status == 200

    def api_workers(self) -> list[int]:
        [master] = [p for p in children(self.process.pid) if "gunicorn" in command_line(p)]
        return children(master)


def children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in tasks.read_text().split()]


def command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def processes_of(data: Path) -> list[int]:
    """Return the processes that have this data folder in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"DATA_DIR={data}\0" in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    for process in processes_of(folder):
        os.kill(process, signal.SIGKILL)
