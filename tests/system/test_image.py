"""The image of deploy/Dockerfile: what .dockerignore admits is enough to run each process."""

import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from provisioner.environment import Environment
from tests.system.deploy_steps import DEPLOY, dockerfile, passes

pytestmark = pytest.mark.timeout(600)
ROOT = DEPLOY.parent
NEVER = {".env", ".git", ".venv", "settings.env", "tests", "tls"}
"""Secrets, and what no process needs."""


def admitted(path: Path) -> bool:
    """Whether the engine copies this path to the image. The last rule that names it, or a folder
    that it is in, decides.
    """
    parts = path.relative_to(ROOT).parts
    ways = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    copied = True
    for rule in (ROOT / ".dockerignore").read_text().split():
        pattern = rule.removeprefix("!")
        tails = [*ways, *parts] if pattern.startswith("**/") else ways
        if any(fnmatch(way, pattern.removeprefix("**/")) for way in tails):
            copied = rule.startswith("!")
    return copied


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the image."""
    folder = tmp_path_factory.mktemp("image")
    tops = [path for path in [*ROOT.iterdir(), *DEPLOY.iterdir()] if admitted(path)]
    for top in tops:
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and admitted(path):
                copy = folder / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the variables of the image and the few settings that have no default."""
    assert dockerfile().variables["DATA_DIR"] == dockerfile().data, "the user can write there"
    return {
        "PATH": "/usr/bin:/bin",
        **dockerfile().variables,
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
        "PUBLIC_URL": "https://storage.example.com",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
    }


def test_the_image_has_no_secrets_and_no_tests(tree: Path) -> None:
    assert [path for path in tree.rglob("*") if path.name in NEVER] == []


def test_the_image_has_the_migrations_and_starts_the_api(
    tree: Path, environment: dict[str, str]
) -> None:
    """Without any file that .dockerignore leaves out."""
    for words in (["check"], ["migrate", "--plan", "-v0"]):
        passes(sys.executable, "manage.py", *words, environment=environment, cwd=tree)
    program, *arguments = dockerfile().command
    gunicorn = [Path(sys.executable).with_name(program), "--print-config", *arguments]
    shown = passes(*gunicorn, environment=environment, cwd=tree)
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    values = {name.strip(): value.strip() for name, value in said.items()}
    port = Environment.model_fields["api_port"].default
    assert dockerfile().port == port
    # other containers cannot reach the loopback interface
    assert values["bind"] == f"['0.0.0.0:{port}']"


def test_the_image_has_the_tasks_of_workers(tree: Path, environment: dict[str, str]) -> None:
    celery = Path(sys.executable).with_name("celery")
    passes(celery, "-A", "provisioner", "report", environment=environment, cwd=tree)


def test_the_image_has_the_python_that_tests_run_with() -> None:
    """The other form uses the Python of Debian 12, which is the same."""
    assert dockerfile().python.split(".")[:2] == [str(part) for part in sys.version_info[:2]]


def test_the_image_runs_as_the_user_that_it_creates() -> None:
    """Not as root, and with a number that compose, Kubernetes and the page repeat."""
    assert dockerfile().user == dockerfile().created != ""
    assert int(dockerfile().uid) > 0
