"""Each layer contract can fail: a forbidden import in a copy of the source tree breaks it."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("provisioner", "events", "tasks", "inventory", "volumes", "provisionerctl")
PROGRAMS = Path(sys.executable).parent

FORBIDDEN = [
    ("apps", "tasks/services.py", "import inventory.selectors"),
    ("apps", "inventory/selectors.py", "import volumes.models"),
    ("apps", "provisioner/access/tokens.py", "import tasks.models"),
    ("apps provisioner", "provisioner/common/times.py", "import provisioner.access.principals"),
    ("volumes", "volumes/selectors.py", "import volumes.services.tenant"),
    ("inventory", "inventory/services/hosts.py", "import inventory.views.hosts"),
    ("tasks", "tasks/submission.py", "import tasks.services"),
    ("events", "events/models.py", "import events.recording"),
    ("provisioner", "provisioner/access/tokens.py", "import provisioner.certificates"),
    ("steps", "volumes/services/tenant.py", "import tasks.context"),
    ("celery", "volumes/reconcilers/garbage_collector.py", "import celery"),
    ("placement", "volumes/placement/request.py", "import django.db"),
    ("services", "volumes/services/tenant.py", "import rest_framework"),
    ("nodes", "inventory/nodes/wire.py", "import django.conf"),
    (
        "hosts inventory",
        "inventory/simulated_hosts/node_availability.py",
        "import inventory.services.hosts",
    ),
    ("cli", "provisionerctl/units.py", "import provisioner.common.times"),
    ("node-calls", "volumes/selectors.py", "import inventory.nodes.client"),
]
"""All contracts that forbid an import in a file, the file, and the import."""


def contracts() -> dict[str, str]:
    """Names of the contracts by id, from pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {c["id"]: c["name"] for c in settings["tool"]["importlinter"]["contracts"]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    copy = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", copy)
    yield copy
    shutil.rmtree(copy)


def lint(tree: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(PROGRAMS / command[0]), *command[1:]],
        cwd=tree,
        env={"COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def broken(output: str) -> set[str]:
    return {identifier for identifier, name in contracts().items() if f"{name} BROKEN" in output}


def test_each_import_contract_is_tested_here() -> None:
    assert {name for names, *_ in FORBIDDEN for name in names.split()} == set(contracts())


def test_the_code_keeps_all_import_contracts(tree: Path) -> None:
    code, output = lint(tree, "lint-imports", "--no-cache")
    assert (code, broken(output)) == (0, set()), output


@pytest.mark.parametrize(("contract", "file", "line"), FORBIDDEN)
def test_forbidden_import_breaks_its_contract(
    tree: Path, contract: str, file: str, line: str
) -> None:
    path = tree / file
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        code, output = lint(tree, "lint-imports", "--no-cache")
    finally:
        path.write_text(before)
    assert (code, broken(output)) == (1, set(contract.split())), output


def test_a_service_that_sees_requests_is_refused(tree: Path) -> None:
    path = tree / "volumes" / "services" / "tenant.py"
    before = path.read_text()
    path.write_text(f"from django.http import HttpRequest  # noqa: F401\n{before}")
    try:
        code, output = lint(tree, "ruff", "check", "--no-cache", "--select", "TID251", ".")
    finally:
        path.write_text(before)
    assert code == 1
    assert "`django.http` is banned: A service does not see requests." in output


def test_there_are_no_circular_imports() -> None:
    graph = grimp.build_graph(*PACKAGES)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError


def test_no_test_module_imports_another() -> None:
    """Code that several test modules need is in a step module: ``*_steps.py``."""
    pattern = re.compile(r"(?m)^\s*(?:from|import) tests\.(?:\w+\.)*test_\w+")
    wrong = [
        f"{path.relative_to(ROOT)}: {found[0].strip()}"
        for path in (ROOT / "tests").rglob("*.py")
        for found in pattern.finditer(path.read_text())
    ]
    assert wrong == []


def test_no_code_can_miss_that_it_was_cancelled() -> None:
    """In Python 3.11, ``asyncio.wait_for`` swallows a cancellation that comes together with the
    result: use ``asyncio.timeout``.
    """
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    assert not [path for path in files if "asyncio.wait_for(" in path.read_text()]


def test_no_property_is_computed_under_a_lock() -> None:
    """In Python 3.11, ``functools.cached_property`` has one lock for all objects of a class: use
    ``django.utils.functional.cached_property``. Threads that held all database connections waited
    for one that needed a connection to compute the value.
    """
    files = [path for name in PACKAGES[:-1] for path in (ROOT / name).rglob("*.py")]
    pattern = re.compile(r"from functools import .*cached_property|functools\.cached_property")
    assert not [path for path in files if pattern.search(path.read_text())]


def test_a_module_in_no_contract_is_refused(tree: Path) -> None:
    path = tree / "volumes" / "somewhere.py"
    path.touch()
    try:
        code, output = lint(tree, "lint-imports", "--no-cache")
    finally:
        path.unlink()
    assert code == 1, output
    assert "volumes.somewhere" in output
