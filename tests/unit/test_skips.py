"""Under CI, a skipped test fails the run, in one process and in a parallel run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips

ROOT = Path(__file__).parents[2]
PASSES = "def test_one(): pass\n"
FAILS = "def test_one(): assert False\n"
XFAILS = "import pytest\n\n@pytest.mark.xfail\ndef test_one(): assert False\n"
SKIPPED = {
    "test_mark.py": "import pytest\n\n@pytest.mark.skip\ndef test_one(): pass\n",
    "test_call.py": "import pytest\n\ndef test_one(): pytest.skip('why')\n",
    "test_fixture.py": "import pytest\n\n@pytest.fixture\ndef no(): pytest.skip('why')\n\n"
    "def test_one(no): pass\n",
    "test_file.py": "import pytest\n\npytest.skip('why', allow_module_level=True)\n",
}
POSTGRESQL, SQLITE = "postgresql://h/d", "sqlite:///d"
TITLE = "Under CI, no test may be skipped:\n"


def run(
    folder: Path, files: dict[str, str], *, processes: int = 0, ci: str, database: str
) -> tuple[int, str]:
    """Run pytest on these files. Returns its exit code and its output."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (folder / name).write_text(text)
    plugins = ["-p", "tests.skips", "-p", "no:cacheprovider", "-p", "no:django"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "-n", str(processes), str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CI": ci, "DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("processes", [0, 2])
def test_a_run_of_ci_with_skipped_tests_fails_and_names_them(
    tmp_path: Path, processes: int
) -> None:
    files = SKIPPED | {"test_passes.py": PASSES}
    code, output = run(tmp_path, files, processes=processes, ci="true", database=POSTGRESQL)
    assert code == pytest.ExitCode.TESTS_FAILED, output
    _, _, listed = output.partition(TITLE)
    named = {line.strip().partition(":")[0] for line in listed.splitlines()}
    assert set(SKIPPED) <= named, output


def test_other_runs_may_skip(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPPED | {"test_passes.py": PASSES}, ci="", database=POSTGRESQL)
    assert (code, TITLE in output) == (pytest.ExitCode.OK, False), output
    code, output = run(tmp_path, {}, ci="true", database=SQLITE)
    assert (code, TITLE in output) == (pytest.ExitCode.OK, False), output


def test_a_run_of_ci_without_skipped_tests_has_its_own_result(tmp_path: Path) -> None:
    files = {"test_passes.py": PASSES, "test_xfails.py": XFAILS}
    code, output = run(tmp_path, files, ci="1", database=POSTGRESQL)
    assert (code, TITLE in output) == (pytest.ExitCode.OK, False), output
    code, output = run(tmp_path, {"test_fails.py": FAILS}, ci="1", database=POSTGRESQL)
    assert (code, TITLE in output) == (pytest.ExitCode.TESTS_FAILED, False), output


def test_runs_of_this_suite_are_checked(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.get_plugin("tests.skips") is skips
