"""The command line against the API of the tests, in this process or in a separate process."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisionerctl.main import cli
from tests.conftest import Api

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "provisionerctl"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """An environment without our settings, and with a separate configuration file."""
    for name in [name for name in os.environ if name.startswith("PROVISIONERCTL_")]:
        monkeypatch.delenv(name)
    given = {
        "PROVISIONERCTL_CONFIG": str(tmp_path / "config" / "config.yaml"),
        "PYTHONPATH": str(ROOT),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm-256color", **given}


@pytest.fixture
def connected(
    environment: dict[str, str], api: Api, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of an ADMIN."""
    given = {
        "PROVISIONERCTL_URL": api.url,
        "PROVISIONERCTL_TOKEN": api.authorization.removeprefix("Bearer "),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return environment | given


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Runs a command line in this process."""

    def run(*words: str, text: str | None = None) -> Ran:
        done = CliRunner().invoke(cli, list(words), input=text, prog_name="provisionerctl")
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def ok(connected: dict[str, str], run: Run) -> Callable[..., str]:
    """Run a command line as ADMIN. It must succeed. Returns its output."""

    def ok(*words: str, text: str | None = None) -> str:
        ran = run(*words, text=text)
        assert ran.code == 0, (words, ran)
        return ran.out

    return ok


def process(
    environment: dict[str, str], *words: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command line as a process, without a terminal."""
    return subprocess.run(
        [*PROGRAM, *words],
        env=environment,
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
