"""Tests install nothing; missing programs are listed once, with the command to install them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import programs

ROOT = Path(__file__).parents[2]


def test_skipped_tests_are_grouped_by_missing_program() -> None:
    lacks = f"Skipped: {programs.MISSING}"
    assert programs.summary([f"{lacks}haproxy", f"{lacks}node", f"{lacks}haproxy"]) == [
        "Not run, for want of programs:",
        "2 tests: haproxy",
        "1 tests: node",
        "All run after: make test-tools",
    ]
    assert programs.summary([]) == []


def tools(tmp_path: Path, said: str = "") -> subprocess.CompletedProcess[str]:
    """Return ``make test-tools`` on a machine where nothing is installed except an apt-get that
    only records its calls.
    """
    fake = tmp_path / "apt-get"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    fake.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "tests.programs"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )


def test_test_tools_lists_the_packages_and_asks(tmp_path: Path) -> None:
    done = tools(tmp_path, "n\n")
    assert done.returncode == 1, done.stderr
    assert "kubernetes-client" in done.stdout
    if os.geteuid() == 0:
        assert done.stdout.endswith("Install them? [y/N] ")
    assert not (tmp_path / "calls").exists()


def test_no_other_file_installs_packages() -> None:
    """Only tests/programs.py, this file, the stand-in of the program with its test, and the code
    that installs into the disk image of the lab's machines may name it.
    """
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"[\"']apt-get[\"']|dpkg", path.read_text())
    }
    assert found - {
        "tests/unit/test_programs.py",
        "tests/system/machine.py",
        "tests/system/stand_in.py",
        "tests/system/test_stand_in.py",
        "tests/lab/image.py",
    } == {"tests/programs.py"}
