"""The installed package: a wheel in an environment without the server."""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from provisioner import __version__
from tests.cli.conftest import ROOT
from tests.conftest import Api

PROJECT = ROOT / "provisionerctl"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, from its wheel."""
    folder = tmp_path_factory.mktemp("package")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), str(PROJECT)], check=True)
    [wheel] = folder.glob("*.whl")
    assert wheel.name == f"provisionerctl-{__version__}-py3-none-any.whl"
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    needed = str(PROJECT / "requirements.txt")
    subprocess.run([*install, "--require-hashes", "-r", needed], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "check"], check=True)
    return folder / "venv/bin/provisionerctl"


def pinned() -> dict[str, str]:
    """Return the versions in requirements-dev.txt."""
    found = re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / "requirements-dev.txt").read_text())
    return {name.lower(): version for name, version in found}


def ran(program: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_installs_the_pinned_versions() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    versions = dict(one.lower().split("==") for one in wanted)
    assert versions == {name: pinned()[name] for name in versions}


def test_the_program_runs_without_the_server_package(installed: Path) -> None:
    assert ran(installed, "--version").stdout == f"{__version__}\n"
    helped = ran(installed, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "volumes" in helped.stdout
    python = installed.with_name("python")
    asked = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    listed = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    assert {name.lower() for name in listed.stdout.split()} == {
        *("provisionerctl", "click", "rich", "urllib3", "pyyaml"),
        *("markdown-it-py", "mdurl", "pygments"),
    }


@pytest.mark.django_db(transaction=True)
def test_the_installed_program_calls_the_api(installed: Path, api: Api, tmp_path: Path) -> None:
    given = {"PROVISIONERCTL_URL": api.url, "HOME": str(tmp_path)}
    given["PROVISIONERCTL_TOKEN"] = api.authorization.removeprefix("Bearer ")
    done = ran(installed, "nodes", **given)
    assert (done.returncode, done.stdout, done.stderr) == (0, "None found.\n", "")
